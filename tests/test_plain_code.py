"""Ordinary NumPy, as people write it: each snippet is traced as it stands, or by `tg.numpyize`, or the error of its line says what
to write instead."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

X = np.array([1.5, 0.7, 2.2])
M = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0], [2.0, 1.0, 1.0]])
V = np.array([1.0, 2.0, 3.0])


def filled(x: Any) -> Any:
    y = np.zeros(3)
    y[0] = x[0]
    y[1:] = x[1:] ** 2
    return np.sum(y * V)


def table(x: Any) -> Any:
    y = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            y[i, j] = x[i] * x[j]
    return np.sum(y * M)


def like(x: Any) -> Any:
    y = np.zeros_like(x)
    y[1] = x[0] ** 2
    return np.sum(y)


def copied(x: Any) -> Any:
    y = x.copy()
    y[0] *= 2
    return np.sum(y**2)


def appended(x: Any) -> Any:
    out = []
    for v in x:
        out.append(v**2)
    return np.mean(out)


def matrix(x: Any) -> Any:
    a = np.eye(3)
    a[0, 1] = a[1, 0] = x[0] / 4
    return np.linalg.det(a)


def masked(x: Any) -> Any:
    c = np.cumsum(x)
    c[c > 2] = 0.0
    return np.sum(c)


def normalised(x: Any) -> Any:
    w = np.array([0.2, 0.3, 0.6])
    w /= w.sum()
    return w.dot(x)


def scattered(x: Any) -> Any:
    y = np.zeros(3)
    np.add.at(y, [0, 0, 1], x)
    return np.sum(y * V)


def copied_to(x: Any) -> Any:
    y = np.zeros(3)
    np.copyto(y, x)
    return np.sum(y**2)


def of_one_value(x: Any) -> Any:
    y = np.zeros(3)
    y.fill(x[0])
    return np.sum(y * V)


def of_a_list(x: Any) -> Any:
    y: list[Any] = [0.0] * 3
    y[0] = x[0]
    return np.sum(np.array(y))


def views(x: Any) -> Any:
    u = np.zeros((3, 3))
    u[1:-1, 1:-1] = x[0]
    rows = u.T[1]
    rows += x
    u.reshape(-1)[::4] *= x[1]
    return np.sum(u * M)


def stencil(x: Any) -> Any:
    u = np.array([0.0, 1.0, 0.5, 0.25, 0.0])
    for _ in range(3):
        u[1:-1] += x[0] * (u[2:] - 2 * u[1:-1] + u[:-2])
    return np.sum(u**2)


def controlled(x: Any) -> Any:
    tolerance, steps = np.array([1e-3, 1.0]), np.zeros(1, int)
    while tolerance[1] > tolerance[0]:
        tolerance[1] /= 10
        steps[0] += 1
    return np.sum(x) * float(tolerance[1]) * steps[0]


def shifted(x: Any) -> Any:
    v = V.copy()
    v[0] += x[0]
    return np.sum(v**2)


def added(x: Any) -> Any:
    v = V.copy()
    v += x
    return np.sum(v**2)


AS_IT_STANDS: list[Callable[[Any], Any]] = [
    like, copied, masked, controlled,
    lambda x: np.sum(x[range(2)]),
    lambda x: sum([v * v for v in x]),
    lambda x: np.sum(np.vstack([x, x]) * np.arange(6.0).reshape(2, 3)),
    lambda x: np.sum(np.matmul(M, x)) + np.sum(M @ x),
    lambda x: np.sum(np.concatenate([[x[0]], x[1:]]) ** 2),
    lambda x: np.sum(np.where(x > 1, x, 0.0)),
    lambda x: np.sum(V.clip(x[0], None)),
    lambda x: np.sum(np.diag(x) + np.array(0.5)),
    lambda x: np.sum(M[:, np.argsort(x)] * x),
    lambda x: np.interp(x[0], V, V**2),
    lambda x: np.sum(np.ones(3) * x[0]) + max(x[0], x[1]),
]  # fmt: skip
BY_NUMPYIZE: list[Callable[[Any], Any]] = [
    filled, table, appended, matrix, normalised, scattered, copied_to, of_one_value, of_a_list, views, stencil,
    lambda x: np.sum(np.array([x[0], x[1] ** 2])),
    lambda x: np.sum(np.asarray(x) ** 2),
    lambda x: np.sum(np.full(3, x[0])),
    lambda x: np.sum(np.atleast_2d([x[0], x[1]]) ** 2),
    lambda x: np.sum(np.r_[x[0], x] ** 2) + np.sum(np.c_[x, x] ** 3),
    lambda x: np.max([x[0], x[1]]),
    lambda x: np.dot([x[0], x[1]], [1.0, 2.0]) + np.linalg.norm([x[0], x[1]]),
    lambda x: np.sum(np.vectorize(lambda v: v * v if v > 0 else -v)(x)),
    lambda x: np.sum(np.array(x, copy=True) ** 2),
    lambda x: np.sum(np.array([[x[0], 0.0], [1.0, x[1]]]) @ np.ones(2)),
    lambda x: np.sum(np.add(V, x, out=np.empty(3)) ** 2),
    lambda x: np.asanyarray(x).sum(),
    lambda x: np.sum(np.array(list(map(lambda v: v**2, x)))),
    lambda x: np.sum(np.fromiter((v * v for v in x), float)),
]  # fmt: skip
# What the error of a line says, in whose place nothing can be put: the array is plain, or Python wants a number.
ADVICE: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: np.sum(M.dot(x)), "In place of `M.dot(x)` of a plain array write `M @ x`"),
    (lambda x: np.sum(V.searchsorted(x) * x), "of a plain array write `tnp.searchsorted(V, ...)`"),
    (lambda x: math.sin(x[0]), "Write `np.sin(...)` in place of `math.sin(...)`"),
    (lambda x: math.sqrt(x[0] ** 2 + x[1] ** 2), "Write `np.sqrt(...)` in place of `math.sqrt(...)`"),
    (lambda x: float(x[0]) * 2, "Leave it out"),
    (lambda x: np.float64(x[0]) * 2, "write `x.astype(np.float64)`, or x as it is"),
    (lambda x: np.sum(np.sin([x[0], x[1]])), "write `np.sin(np.stack([...]))`"),
    (shifted, "or by `tnp.copy(y)` of one that there is"),
    (added, "`tnp.zeros(n)` or `tnp.copy(y)`, into which traced values can be written"),
]


def differences(f: Callable[[Any], Any]) -> Any:
    h = 1e-6
    return np.array([(f(X + h * e) - f(X - h * e)) / (2 * h) for e in np.eye(3)])


@pytest.mark.parametrize("number", range(len(AS_IT_STANDS)))
def test_as_it_stands(number: int) -> None:
    f = AS_IT_STANDS[number]
    for g in (f, tg.numpyize(f)):
        np.testing.assert_allclose(tg.grad(g)(X), differences(f), 1e-6, 1e-7)


@pytest.mark.parametrize("number", range(len(BY_NUMPYIZE)))
def test_by_numpyize(number: int) -> None:
    f = BY_NUMPYIZE[number]
    copy, expected = tg.numpyize(f), differences(f)
    np.testing.assert_allclose(tg.grad(copy)(X), expected, 1e-6, 1e-7)
    np.testing.assert_allclose(tg.vmap(copy)(np.stack([X, X]))[0] if number != 18 else f(X), f(X), 1e-12)
    with pytest.raises(Exception) as caught:  # noqa: PT011, of which kind is said by the golden texts
        tg.grad(f)(X)
    assert re.search(rf"{re.escape(__file__)}:\d+", str(caught.value))
    assert "tnp" in str(caught.value)


@pytest.mark.parametrize("number", range(len(ADVICE)))
def test_advice(number: int) -> None:
    f, text = ADVICE[number]
    for g in (f, tg.numpyize(f)):
        for transform in (tg.grad, partial(tg.jit, branches="error")):
            with pytest.raises(TypeError) as caught:
                transform(g)(X)
            assert text in str(caught.value)
            assert "of a plain array" not in text or "numpyize" not in str(caught.value)  # which does nothing for it
            assert re.search(rf"{re.escape(__file__)}:\d+", str(caught.value))
