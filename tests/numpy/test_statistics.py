"""Statistics, against NumPy and jax."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.ops.reduce import agrees, traced
from tracegrad.core.errors import ShapeError

jax.config.update("jax_enable_x64", True)


rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))


def test_variance_at_zero() -> None:
    x = np.full((2, 3), 1.5)
    for f in (np.var, np.nanvar, np.std, np.nanstd):
        np.testing.assert_array_equal(tg.grad(f)(x), np.zeros((2, 3)))
        np.testing.assert_array_equal(tg.grad(lambda x, f=f: np.sum(f(x, 1)))(x), np.zeros((2, 3)))
    second = tg.hessian(np.var)(x[0])
    np.testing.assert_allclose(second, jax.hessian(jnp.var)(x[0]))
    assert np.all(np.isnan(tg.hessian(np.std)(x)))
    row = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]])
    gradient = tg.grad(lambda x: np.sum(np.std(x, 1)))(row)
    np.testing.assert_array_equal(gradient[0], np.zeros(3))
    np.testing.assert_allclose(gradient[1], jax.grad(jnp.std)(row[1]), rtol=1e-12)


def test_without_nan() -> None:
    x = X.copy()
    x[0, 1, 2] = x[1, 0, :] = np.nan
    x[1, 0, 1] = 0.5
    for name in ("nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd"):
        for axis in (None, 0, 1, (0, 2)):
            agrees(
                lambda xp, x, name=name, axis=axis: getattr(xp, name)(x, axis=axis),
                x,
                second=name != "nanstd",
                rtol=1e-9,
            )
    for name in ("nancumsum", "nancumprod"):
        agrees(lambda xp, x, name=name: getattr(xp, name)(x, axis=1), x)
    for name in ("nanargmax", "nanargmin"):
        same(traced(lambda x, name=name: getattr(np, name)(x, 1), x), getattr(np, name)(x, 1))
    empty = np.array([[np.nan, np.nan], [1.0, np.nan]])
    np.testing.assert_array_equal(traced(lambda x: np.nanmean(x, 1), empty), [np.nan, 1.0])
    np.testing.assert_array_equal(traced(lambda x: np.nanvar(x, 1, ddof=1), empty), [np.nan, np.nan])
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(np.nanmean(x, 1)[1:]))(empty), [[0, 0], [1, 0]])


def test_float16_means_are_accumulated_as_numpy_does() -> None:
    x = np.full(5000, 30.1, np.float16)
    same(traced(np.mean, x), np.mean(x))
    y = rng.uniform(0, 4, 3000).astype(np.float16)
    same(traced(np.var, y), np.var(y))
    gradient = tg.grad(np.mean)(x)
    assert gradient.dtype == np.float16
    np.testing.assert_allclose(gradient, 1 / 5000, rtol=1e-3)


@pytest.mark.parametrize("axis, shape", [(None, (2, 3, 4)), (1, (2, 3, 4)), (1, (3,)), (-1, (4,)), ((2, 0), (4, 2))])
def test_average(axis: Any, shape: tuple[int, ...]) -> None:
    weights = rng.uniform(0.5, 2, shape)
    for keepdims in (False, True):
        f = lambda x, w, k=keepdims: np.average(x, axis, w, keepdims=k)
        same(traced(f, X, weights), f(X, weights), 1e-13)
    returned = lambda x, w: np.average(x, axis, w, returned=True)
    for a, b in zip(traced(returned, X, weights), returned(X, weights), strict=True):
        same(a, b, 1e-13)
    if not isinstance(axis, tuple):
        agrees(lambda xp, x, w: xp.average(x, axis, w), X, weights)


def test_average_without_weights() -> None:
    x = np.arange(6).reshape(2, 3)
    same(traced(lambda x: np.average(x, 1, returned=True), x), np.average(x, 1, returned=True))
    same(traced(lambda x: np.average(x, 1, [1, 2, 3]), x), np.average(x, 1, [1, 2, 3]))
    with pytest.raises(ShapeError, match="weights"):
        tg.grad(lambda x: np.average(x, 0, [1.0, 2.0, 3.0]))(X)


@pytest.mark.parametrize("keywords", [
    {}, {"rowvar": False}, {"bias": True}, {"ddof": 0}, {"fweights": np.array([1, 2, 3, 1])},
    {"aweights": np.array([0.5, 1.0, 2.0, 0.25])},
    {"fweights": np.array([1, 2, 3, 1]), "aweights": np.array([0.5, 1.0, 2.0, 0.25]), "ddof": 0},
    {"fweights": np.array([1, 2, 3, 1]), "aweights": np.array([0.5, 1.0, 2.0, 0.25])},
])  # fmt: skip
def test_cov(keywords: dict[str, Any]) -> None:
    m, y = X[0], X[1, :2]
    if keywords.get("rowvar", True):
        agrees(lambda xp, m, y: xp.cov(m, y, **keywords), m, y)
        agrees(lambda xp, v: xp.cov(v, **keywords), m[0])
    else:
        agrees(lambda xp, m: xp.cov(m, **keywords), m)
        agrees(lambda xp, m: xp.cov(m[:, 0], m[:, 1], **keywords), m)


def test_corrcoef() -> None:
    agrees(lambda xp, m: xp.corrcoef(m), X[0], rtol=1e-9)
    agrees(lambda xp, m: xp.corrcoef(m, m[:1] ** 2, rowvar=True), X[0], rtol=1e-9)
    agrees(lambda xp, m: xp.corrcoef(m, rowvar=False), X[0], rtol=1e-9, second=False)
    z = X[0] + 1j * X[1]
    same(traced(np.corrcoef, z), np.corrcoef(z), 1e-13)
    same(traced(lambda v: np.corrcoef(v), X[0, 0]), np.corrcoef(X[0, 0]))


def test_the_dtype_of_a_nanvar_is_that_of_its_sums() -> None:
    z = np.array([1 + 2j, 3 - 1j, np.nan, 2.5j])
    with warnings.catch_warnings(action="ignore"):  # NumPy's, of the imaginary part of the mean
        same(traced(lambda z: np.nanvar(z, dtype=np.float32), z), np.nanvar(z, dtype=np.float32), 1e-6)
        same(traced(lambda x: np.nanvar(x, dtype=complex), X), np.nanvar(X, dtype=complex), 1e-14)
    for function in (np.nanmean, np.nanvar, np.nanstd):
        with pytest.raises(
            tg.core.errors.DtypeError, match=r"of f64\[.*\]: dtype must be floating or complex, got int64"
        ):
            traced(lambda x, f=function: f(x, dtype=int), X)
        for axis in (0, -1):
            same(traced(lambda x, f=function, axis=axis: f(x, axis), np.array(1.5)), function(np.array(1.5), axis))
        with pytest.raises(tg.core.errors.ShapeError, match=r"where, of shape \(2, 1\), does not broadcast to f64\[\]"):
            traced(lambda x, f=function: f(x, where=[[True], [False]]), np.array(1.5))
