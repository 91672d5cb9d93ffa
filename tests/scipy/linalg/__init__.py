"""What the tests of `tg.scipy.linalg` share: functions of a module like scipy.linalg and of arrays, and these, against SciPy's values,
differences, and both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import tracegrad as tg
from tests.numpy.test_linalg import weighted
from tracegrad import tree
from tracegrad.core.op import OPS
from tracegrad.scipy import linalg
from tracegrad.testing import check_grads

Case = tuple[Callable[..., Any], Callable[[str], list[Any]]]  # the function; the arrays for "f" (real) or "c" (complex)


def upper(a: Any) -> Any:
    """What counts of a factor where SciPy leaves something else in the other half."""
    return np.where(~np.tri(a.shape[-1], k=-1, dtype=bool), a, 0)


def leaves(x: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in tree.leaves(x)]


def same(out: Any, expected: Any, rtol: float) -> None:
    got, wanted = leaves(out), leaves(expected)
    assert len(got) == len(wanted)
    for x, y in zip(got, wanted, strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype, (x.dtype, y.dtype, x.shape, y.shape)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


def of_ours(case: Case) -> Callable[..., Any]:
    return lambda *xs: case[0](linalg, *xs)


def check_values_and_derivatives(case: Case, kind: str) -> None:
    args = case[1](kind)
    expected = case[0](scipy.linalg, *args)
    traced = tg.vjp(of_ours(case), *args)[0]
    same(traced, expected, 1e-10)
    abstract = tg.eval_shape(of_ours(case), *args)
    for leaf, value in zip(tree.leaves(abstract), leaves(traced), strict=True):
        assert (leaf.shape, leaf.dtype) == (value.shape, value.dtype)
    positions = tuple(range(len(args)))
    gradient = tg.grad(lambda *xs: sum([weighted(np, x) for x in tree.leaves(of_ours(case)(*xs))]), positions)
    check_grads(of_ours(case), args, order=1, directions=1, rtol=1e-6, atol=1e-7)
    same(tg.jit(gradient)(*args), gradient(*args), 1e-12)
    single = [x.astype(np.result_type(x, np.float32) if x.dtype.kind == "c" else np.float32) for x in args]
    single = [x.astype({"f": np.float32, "c": np.complex64}[x.dtype.kind]) for x in single]
    low = tg.vjp(of_ours(case), *single)[0]
    for x, y in zip(leaves(low), leaves(expected), strict=True):
        assert x.dtype.itemsize == y.dtype.itemsize // 2 or y.dtype.kind in "iu", (x.dtype, y.dtype)
        np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4)


def check_on_xla(cases: dict[str, Case], kind: str) -> None:
    """All in one program, but for those that are ops, which tests/test_xla_registry.py tries."""
    pytest.importorskip("jax")
    arguments = {name: case[1](kind) for name, case in cases.items() if name not in OPS}
    program = tg.jit(lambda given: {name: of_ours(cases[name])(*xs) for name, xs in given.items()}, backend="xla")
    for name, out in program(arguments).items():
        same(out, cases[name][0](scipy.linalg, *arguments[name]), 1e-9)


def check_batches(case: Case) -> None:
    args = case[1]("f")
    batched = [np.stack([x, 1.05 * x]) for x in args]
    out = leaves(tg.vmap(of_ours(case))(*batched))
    for i in range(2):
        expected = leaves(of_ours(case)(*[x[i] for x in batched]))
        for x, y in zip(out, expected, strict=True):
            np.testing.assert_allclose(x[i], y, rtol=1e-9, atol=1e-10)
