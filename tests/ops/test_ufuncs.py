"""Methods of ufuncs."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.ops.reduce import traced
from tracegrad.testing import check_grads

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))


def test_ufunc_methods_and_tracer_methods() -> None:
    for f in (
        lambda x: np.add.reduce(x, 0),
        lambda x: np.add.reduce(x),
        lambda x: np.maximum.reduce(x, axis=None),
        lambda x: np.minimum.reduce(x, axis=(0, 1), keepdims=True),
        lambda x: np.multiply.reduce(x, -1, initial=2.0),
        lambda x: np.multiply.accumulate(x),
        lambda x: np.add.accumulate(x, 1),
        lambda x: np.logical_or.reduce(x > 1, 1),
        lambda x: np.logical_and.reduce(x > -1),
        lambda x: x.sum(axis=1),
        lambda x: x.sum((0, 2), keepdims=True),
        lambda x: x.mean(),
        lambda x: x.std(ddof=1),
        lambda x: x.var(0, ddof=1),
        lambda x: x.prod(-1),
        lambda x: x.max(0),
        lambda x: x.min(axis=1, keepdims=True),
        lambda x: x.cumsum(0),
        lambda x: x.cumprod(),
        lambda x: x.argmax(),
        lambda x: x.argmin(2),
        lambda x: (x > -9).all(),
        lambda x: (x > 9).any(axis=0),
    ):
        same(traced(f, X), f(X), 1e-13)


BINARY = [
    "subtract",
    "hypot",
    "logaddexp",
    "logaddexp2",
    "divide",
    "fmod",
    "logical_xor",
    "copysign",
]
BINARY += [
    "add",
    "multiply",
    "maximum",
    "fmin",
    "logical_and",
    "bitwise_or",
    "gcd",
    "left_shift",
    "floor_divide",
    "less",
]


@pytest.mark.parametrize("name", BINARY)
def test_methods_of_any_ufunc(name: str) -> None:
    """Folded as NumPy folds them, dtypes included."""
    ufunc = getattr(np, name)
    whole = name in ("bitwise_or", "gcd", "left_shift")
    x = np.arange(1, 13).reshape(3, 4) if whole else np.linspace(0.5, 2.5, 12).reshape(3, 4)
    calls = [
        lambda x: ufunc.reduce(x),
        lambda x: ufunc.reduce(x, axis=1, keepdims=True),
        lambda x: ufunc.reduce(x, axis=-1, initial=2),
        lambda x: ufunc.accumulate(x, axis=1),
        lambda x: ufunc.reduceat(x, [0, 2, 1, 3], axis=1),
        lambda x: ufunc.reduceat(x, [0, 0, 2]),
        lambda x: ufunc.outer(x[0], x[1]),
    ]
    if ufunc.identity is not None:
        calls += [
            lambda x: ufunc.reduce(x, axis=None),
            lambda x: ufunc.reduce(x, axis=(0, 1)),
            lambda x: ufunc.reduce(x[:0]),
        ]
    for f in calls:
        try:
            expected = f(x)
        except TypeError:  # NumPy has no loop of these dtypes
            continue
        for found in (traced(f, x), tg.jit(f)(x)):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=1e-14)
    if name in ("subtract", "hypot", "logaddexp", "divide"):
        for f in calls[:5]:
            check_grads(f, (x,))


@pytest.mark.parametrize("name", ["arctan2", "power"])
def test_folds_that_numpy_gets_wrong(name: str) -> None:
    """On processors with AVX-512 NumPy's own reductions of these along the last axis are no folds."""
    ufunc, x = getattr(np, name), np.linspace(0.5, 2.5, 12).reshape(3, 4)
    expected = functools.reduce(ufunc, x.T)
    np.testing.assert_allclose(traced(lambda x: ufunc.reduce(x, axis=1), x), expected, rtol=1e-14)
    np.testing.assert_allclose(tg.jit(lambda x: ufunc.accumulate(x, axis=1)[:, -1])(x), expected, rtol=1e-14)
    check_grads(lambda x: ufunc.accumulate(x, axis=1), (x,))


def test_folds_that_cannot_be() -> None:
    x = np.ones((2, 3))
    for f, kind, text in [
        (
            lambda x: np.subtract.reduce(x, axis=(0, 1)),
            ValueError,
            r"subtract.reduce goes along one axis of f64\[2,3\], got",
        ),
        (lambda x: np.subtract.reduce(x[:0]), ValueError, "there is nothing to reduce, and no identity"),
        (lambda x: np.add.reduceat(x, [0, 2]), IndexError, r"indices from 0 to 1 along axis 0, got \[0, 2\]"),
        (lambda x: np.hypot.accumulate(x, axis=2), np.exceptions.AxisError, "axis 2 is out of bounds"),
    ]:
        with pytest.raises(kind, match=text):
            traced(f, x)
