"""The namespace: it has what the ops implement, and is NumPy on plain arrays."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.trace import FUNCTIONS, UFUNCS


def test_every_implemented_function_has_its_name() -> None:
    refused_or_renamed = {
        "asfortranarray",
        "asanyarray",
        "put",
        "place",
        "putmask",
        "put_along_axis",
        "fill_diagonal",
        "ufunc",
        "around",
    }
    missing = {
        f.__name__
        for f in (*FUNCTIONS, *UFUNCS)
        if getattr(np, getattr(f, "__name__", ""), None) is f and not hasattr(tnp, f.__name__)
    }
    assert missing <= refused_or_renamed


def test_joining() -> None:
    x = np.array([2.0, 3.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.stack([x, x**2]) * [[1.0], [2.0]]))(x), 1 + 4 * x)
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.roll(x, 1) * [5.0, 7.0]))(x), [7.0, 5.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.flip(x) * [5.0, 7.0]))(x), [7.0, 5.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.split(x, 2)[1]))(x), [0.0, 1.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(tnp.array([x[0] * x[1], x[1] ** 2])))(x), [3.0, 8.0])
    for f in (np.hstack, np.vstack, np.column_stack):
        np.testing.assert_array_equal(tg.make_graph(lambda x, f=f: f([x, x]))(x)(x)[0], f([x, x]))


@pytest.mark.parametrize("name", ["sin", "add", "matmul", "sum", "reshape", "sort", "cumsum"])
def test_plain_arrays_get_numpys_answer(name: str) -> None:
    x = np.array([[3.0, 1.0], [2.0, 5.0]])
    arguments = {"add": (x, x), "matmul": (x, x), "reshape": (x, 4)}.get(name, (x,))
    got = getattr(tnp, name)(*arguments)
    assert type(got) is type(getattr(np, name)(*arguments))
    np.testing.assert_array_equal(got, getattr(np, name)(*arguments))


def test_linalg() -> None:
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(tg.grad(tnp.linalg.det)(a), np.linalg.det(a) * np.linalg.inv(a).T)
