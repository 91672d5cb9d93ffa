"""Reductions and running reductions: values against NumPy, first and second derivatives against jax.

What jax leaves undefined (a standard deviation of zero, products of many zeros) is held against closed forms.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import same
from tests.jaxprs import run_with_numpy
from tracegrad.core.errors import DtypeError, ShapeError, UnsupportedFunctionError
from tracegrad.ops import cumulative, reduce

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))
DISTINCT = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.5


def traced(f: Callable[..., Any], *args: Any) -> Any:
    """The value of `f` computed through tracers."""
    return tg.vjp(f, *args)[0]


def mixed(f: Callable[..., Any], xp: Any) -> Callable[..., Any]:
    """A scalar made of all outputs of `f`, curved in each of them, so that wrong derivatives cannot cancel."""

    def scalar(*xs: Any) -> Any:
        outs = f(xp, *xs)
        total = 0.0
        for out in outs if isinstance(outs, tuple) else (outs,):
            weights = np.cos(np.arange(out.size, dtype=float)).reshape(out.shape) + 0.3
            total = total + xp.sum(weights * out + 0.5 * out**2)
        return total

    return scalar


def agrees(f: Callable[..., Any], *args: Any, rtol: float = 1e-10, second: bool = True) -> None:
    """`f(xp, *args)`: the value through tracers is NumPy's; gradient and Hessian are jax's, which take reverse mode
    and forward over reverse. Where jax has NaN (by a NaN that was left out, at a deviation of zero), ours is zero."""
    same(traced(lambda *xs: f(np, *xs), *args), f(np, *args), 1e-13)
    ours, theirs = mixed(f, np), mixed(f, jnp)
    for i in range(len(args)):
        expected = np.nan_to_num(run_with_numpy(jax.grad(theirs, i), *args))
        np.testing.assert_allclose(tg.grad(ours, i)(*args), expected, rtol=rtol, atol=rtol)
        if second:
            expected = np.nan_to_num(run_with_numpy(jax.hessian(theirs, i), *args))
            np.testing.assert_allclose(tg.hessian(ours, i)(*args), expected, rtol=rtol, atol=10 * rtol)
        tangents = [np.where(np.isnan(x), 0.0, np.cos(np.arange(np.size(x))).reshape(np.shape(x))) for x in args]
        found = tg.jvp(ours, args, tuple(tangents))[1]
        expected = sum(np.sum(tg.grad(ours, i)(*args) * t) for i, t in enumerate(tangents))
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


# ---------------------------------------------------------------------------------------------------------------------
# The plain reductions.

SMOOTH = ["sum", "prod", "mean", "var", "std", "nansum", "nanprod", "nanmean", "nanvar", "nanstd"]
EXTREMES = ["max", "min", "amax", "amin", "ptp", "nanmax", "nanmin"]


@pytest.mark.parametrize("axis, keepdims", [(None, False), (-2, True), ((0, -1), False)])
@pytest.mark.parametrize("name", SMOOTH + EXTREMES)
def test_against_jax(name: str, axis: Any, keepdims: bool) -> None:
    x = X if name in SMOOTH else DISTINCT
    agrees(lambda xp, x: getattr(xp, name)(x, axis=axis, keepdims=keepdims), x, rtol=1e-9)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8", "uint8", "int64", "bool"]
)
@pytest.mark.parametrize(
    "name", [*SMOOTH, *EXTREMES, "any", "all", "argmax", "argmin", "count_nonzero", "cumsum", "cumprod"]
)
def test_values_and_dtypes_are_numpys(name: str, dtype: str) -> None:
    function = getattr(np, name)
    if (name, dtype) in {("ptp", "bool")}:
        pytest.skip("NumPy does not subtract booleans")
    x = (
        (X * (1 if dtype == "float16" else 2)).astype(dtype)
        if np.dtype(dtype).kind != "c"
        else (X + 1j * X[::-1]).astype(dtype)
    )
    for axis in (None, 1, -1):
        got, expected = traced(lambda x: function(x, axis=axis), x), function(x, axis=axis)
        same(got, expected, {"float16": 1e-3, "float32": 1e-6, "complex64": 1e-6}.get(dtype, 1e-14))


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "mean"])
def test_no_axes_and_scalars(name: str) -> None:
    function = getattr(np, name)
    same(traced(lambda x: function(x, axis=()), X), function(X, axis=()))
    same(traced(function, 1.5), function(1.5))
    same(traced(lambda x: function(x, keepdims=True), np.float64(1.5)), function(np.float64(1.5), keepdims=True))
    if name not in ("any", "all"):
        assert tg.grad(function)(2.0) == 1.0


def test_dtype_initial_where() -> None:
    mask = X > -0.5
    column = np.array([[True], [False], [True]])
    small = np.array([[100, 100], [3, 4]], np.int8)
    for f in (
        lambda x: np.sum(x, dtype=np.float32),
        lambda x: np.sum(x, 0, initial=2.5),
        lambda x: np.sum(x, -1, where=mask, keepdims=True),
        lambda x: np.sum(x, where=column),
        lambda x: np.prod(x, 1, initial=3, where=mask),
        lambda x: np.max(x, initial=0.25),
        lambda x: np.max(x, 0, where=mask, initial=-9.0),
        lambda x: np.min(x, (0, 1), None, True, 0.25, mask),
        lambda x: np.max(x[:0], 0, initial=1.0),
        lambda x: np.mean(x, 1, where=mask),
        lambda x: np.mean(x, dtype=np.float32),
        lambda x: np.var(x, 1, where=column, ddof=1),
        lambda x: np.std(x, 0, keepdims=True, correction=1),
        lambda x: np.var(x, mean=np.mean(x, keepdims=True)),
        lambda x: np.var(x, dtype=np.float32),
        lambda x: np.any(x > 1, 0, where=mask),
        lambda x: np.all(x > -1, 0, where=mask),
        lambda x: np.nansum(x, 0, where=mask),
        lambda x: np.nanmax(x, 0, where=mask, initial=-9.0),
        lambda x: np.nanmean(x, 1, where=mask),
        lambda x: np.nanvar(x, 1, where=column, ddof=1),
        lambda x: np.argmax(x, keepdims=True),
        lambda x: np.argmin(x, 1, keepdims=True),
        lambda x: np.count_nonzero(x > 0, axis=(0, 2), keepdims=True),
    ):
        same(traced(f, X), f(X), 1e-6 if np.asarray(f(X)).dtype == np.float32 else 1e-13)
    for f in (
        lambda x: np.sum(x, dtype=np.int8),
        lambda x: np.prod(x, dtype=np.float32),
        lambda x: np.sum(x, 0, initial=1.5),
        lambda x: np.max(x, initial=127),
    ):
        same(traced(f, small), f(small))


def test_gradients_of_keywords() -> None:
    mask = X > -0.5
    agrees(lambda xp, x: xp.sum(x, 1, where=mask, initial=2.0), X)
    agrees(lambda xp, x: xp.prod(x, (0, 2), where=mask), X)
    agrees(lambda xp, x: xp.max(x, 0, where=mask, initial=-5.0), DISTINCT)
    agrees(lambda xp, x: xp.mean(x, 2, where=mask), X)
    agrees(lambda xp, x: xp.var(x, 2, where=mask, ddof=0.5), X)
    agrees(lambda xp, x, m: xp.var(x, 2, mean=m), X, np.mean(X, 2, keepdims=True) + 0.1)
    gradient = tg.grad(lambda v: reduce.sum(X, initial=v) * 3)(1.5)
    assert gradient == 3.0
    assert tg.grad(lambda v: reduce.max(X, initial=v))(9.0) == 1.0


def test_refused() -> None:
    x = np.ones((2, 3))
    for f in (
        np.sum,
        np.prod,
        np.max,
        np.mean,
        np.var,
        np.std,
        np.argmax,
        np.any,
        np.cumsum,
        np.nanmax,
        np.nanmean,
        np.ptp,
    ):
        with pytest.raises(UnsupportedFunctionError, match="out="):
            tg.grad(lambda x, f=f: f(x, out=np.zeros(())))(x)
    with pytest.raises(np.exceptions.AxisError):
        tg.grad(lambda x: np.sum(x, 2))(x)
    with pytest.raises(ValueError, match="axis is named twice"):
        tg.grad(lambda x: np.max(x, (0, -2)))(x)
    with pytest.raises(ShapeError, match=r"max of f64\[2,0\].*initial="):
        tg.grad(lambda x: np.max(x, 1))(np.ones((2, 0)))
    with pytest.raises(ValueError, match="initial="):
        tg.grad(lambda x: np.max(x, where=x > 0))(x)
    with pytest.raises(ShapeError, match="where"):
        tg.grad(lambda x: np.sum(x, where=np.ones((4, 2, 3), bool)))(x)
    with pytest.raises(ShapeError, match="argmax"):
        tg.grad(lambda x: np.argmax(x, 1))(np.ones((2, 0)))
    with pytest.raises(ValueError, match="All-NaN"):
        tg.grad(lambda x: np.nanargmax(x))(x * np.nan)


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


def test_lists_of_tracers_and_weak_scalars() -> None:
    gradient = tg.grad(lambda a, b: np.sum(tnp.array([a, b, 3.0])) * np.max(np.stack([a, b])), (0, 1))(1.0, 2.0)
    assert gradient == (2.0, 8.0)
    assert reduce.sum([np.float64(1.0), 2.0]) == 3.0
    assert tg.grad(lambda a: reduce.sum([a, 2.0]))(1.0) == 1.0


# ---------------------------------------------------------------------------------------------------------------------
# Ties, zeros, NaN.


@pytest.mark.parametrize("name", ["max", "min", "amax", "nanmax", "nanmin"])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_ties_share_as_in_jax(name: str, axis: Any) -> None:
    x = np.array([[1.0, 3.0, 3.0, 1.0], [3.0, 1.0, 3.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    agrees(lambda xp, x: getattr(xp, name)(x, axis=axis), x)


def test_extremes_of_infinities_and_nan() -> None:
    x = np.array([[-np.inf, -np.inf], [np.inf, 1.0]])
    np.testing.assert_array_equal(tg.grad(lambda x: np.max(x, 1)[0])(x), [[0.5, 0.5], [0, 0]])
    np.testing.assert_array_equal(tg.grad(lambda x: np.max(x, 1)[1])(x), [[0, 0], [1, 0]])
    x = np.array([[np.nan, -np.inf, 2.0], [np.nan, np.nan, np.nan]])
    gradient = tg.grad(lambda x: np.sum(reduce.nanmax(x, 1)))(x)
    np.testing.assert_array_equal(gradient, [[0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(traced(lambda x: np.nanmin(x, 1), x), [-np.inf, np.nan])
    np.testing.assert_array_equal(traced(np.fmax.reduce, x), [np.nan, -np.inf, 2.0])
    gradient = tg.grad(lambda x: np.max(x))(x)  # NaN: everything shares, and nothing warns
    np.testing.assert_allclose(gradient, np.full((2, 3), 1 / 6))


def closed_form_prod(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian of the product of a vector, from the definition."""
    n = len(x)
    gradient = np.array([np.prod(np.delete(x, i)) for i in range(n)])
    hessian = np.zeros((n, n))
    for i, j in itertools.permutations(range(n), 2):
        hessian[i, j] = np.prod(np.delete(x, [i, j]))
    return gradient, hessian


@pytest.mark.parametrize("zeros", [[], [0], [3], [1, 2], [0, 4], [0, 2, 3]])
def test_prod_at_zeros(zeros: list[int]) -> None:
    x = np.array([0.5, -1.5, 2.0, 1.25, -0.75])
    x[zeros] = 0.0
    gradient, hessian = closed_form_prod(x)
    np.testing.assert_allclose(tg.grad(np.prod)(x), gradient, rtol=1e-14)
    np.testing.assert_allclose(tg.hessian(np.prod)(x), hessian, rtol=1e-14)
    np.testing.assert_allclose(tg.jacfwd(tg.jacfwd(np.prod))(x), hessian, rtol=1e-14)
    np.testing.assert_allclose(tg.jacrev(tg.jacrev(np.prod))(x), hessian, rtol=1e-14)
    third = tg.jacfwd(tg.hessian(np.prod))(x)
    for i, j, k in itertools.permutations(range(5), 3):
        np.testing.assert_allclose(third[i, j, k], np.prod(np.delete(x, [i, j, k])), rtol=1e-14)
    assert third[0, 0, 1] == third[1, 1, 1] == 0


@pytest.mark.parametrize("axis", [None, (0, 2), (1, 2), (0, 1), 1])
def test_prod_at_zeros_over_several_axes(axis: Any) -> None:
    x = X.copy()
    x[0, 1, 2] = x[1, 0, 0] = x[1, 2, 0] = x[1, 2, 3] = 0.0
    agrees(lambda xp, x: xp.prod(x, axis=axis), x)


def test_cumprod_at_zeros() -> None:
    x = np.array([[0.5, 0.0, 2.0, 0.0, -1.5], [0.0, 1.0, 2.0, 3.0, 0.5]])
    n = x.shape[1]
    jacobian = tg.jacrev(lambda row: np.cumprod(row))(x[0])
    np.testing.assert_allclose(tg.jacfwd(lambda row: np.cumprod(row))(x[0]), jacobian)
    for j in range(n):
        gradient, hessian = closed_form_prod(x[0, : j + 1])
        np.testing.assert_allclose(jacobian[j, : j + 1], gradient, rtol=1e-14)
        assert not np.any(jacobian[j, j + 1 :])
        found = tg.hessian(lambda row, j=j: np.cumprod(row)[j])(x[0])
        np.testing.assert_allclose(found[: j + 1, : j + 1], hessian, rtol=1e-14)
    agrees(lambda xp, x: xp.cumprod(x, axis=1), X)
    agrees(lambda xp, x: xp.cumprod(x, axis=-2), x)


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


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "max", "var", "std", "cumsum", "cumprod", "logsumexp"])
def test_float32_stays(name: str) -> None:
    f = reduce.logsumexp if name == "logsumexp" else getattr(np, name)
    x = X.astype(np.float32)
    gradient = tg.grad(lambda x: np.sum(f(x, 1)))(x)
    assert gradient.dtype == np.float32
    assert tg.jvp(lambda x: f(x, 1), (x,), (x,))[1].dtype == np.float32


def test_complex() -> None:
    z = X[0] + 1j * X[1]

    def real(xp: Any, f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda z: xp.real(xp.sum(f(xp, z) * (0.3 + 0.7j)))

    for f in (
        lambda xp, z: xp.sum(z, 1),
        lambda xp, z: xp.prod(z, 1),
        lambda xp, z: xp.mean(z),
        lambda xp, z: xp.var(z, 0),
        lambda xp, z: xp.std(z, 1),
        lambda xp, z: xp.cumprod(z, 1),
        lambda xp, z: xp.cumsum(z, 0),
        lambda xp, z: xp.cov(z),
        lambda xp, z: xp.convolve(z[0], z[1]),
        lambda xp, z: xp.correlate(z[0], z[1], "same"),
    ):
        np.testing.assert_allclose(tg.grad(real(np, f))(z), run_with_numpy(jax.grad(real(jnp, f)), z), rtol=1e-12)
        same(traced(lambda z, f=f: f(np, z), z), f(np, z), 1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# logsumexp.


def logsumexp(xp: Any, *args: Any, **kwargs: Any) -> Any:
    return (reduce.logsumexp if xp is np else jax.nn.logsumexp)(*args, **kwargs)


@pytest.mark.parametrize("axis", [None, 1, (0, -1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(axis: Any, keepdims: bool) -> None:
    mask = X > -0.5
    weights = np.abs(X[::-1]) + 0.1
    agrees(lambda xp, x: logsumexp(xp, x, axis, keepdims=keepdims), X * 3)
    agrees(lambda xp, x: logsumexp(xp, x, axis, keepdims=keepdims, where=mask), X)
    agrees(lambda xp, x, b: logsumexp(xp, x, axis, b, keepdims), X, weights)
    agrees(lambda xp, x, b: logsumexp(xp, x, axis, b, keepdims, True)[0], X, X[::-1] + 0.1, rtol=1e-8)
    same(reduce.logsumexp(X, axis, keepdims=keepdims), scipy.special.logsumexp(X, axis, keepdims=keepdims), 1e-14)
    ours, theirs = [f(X, axis, X[::-1], keepdims, True) for f in (reduce.logsumexp, scipy.special.logsumexp)]
    for a, b in zip(ours, theirs, strict=True):
        same(a, b, 1e-13)


def test_logsumexp_at_infinities() -> None:
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1.0], [1e4, 1e4]])
    np.testing.assert_array_equal(traced(lambda x: reduce.logsumexp(x, 1), x)[:2], [-np.inf, 1.0])
    for f in (lambda x: np.sum(reduce.logsumexp(x, 1)[1:]), lambda x: reduce.logsumexp(x, 1)[0]):
        assert np.all(np.isfinite(tg.grad(f)(x)))
        assert np.all(np.isfinite(tg.hessian(f)(x)))
    gradient = tg.grad(lambda x: np.sum(reduce.logsumexp(x, 1)))(x)
    np.testing.assert_allclose(gradient, [[0, 0], [0, 1], [0.5, 0.5]], rtol=1e-12)
    assert reduce.logsumexp(np.array([1.0, 2.0]), b=np.zeros(2)) == -np.inf
    # A weight of zero takes its term out however large, and has a derivative of its own.
    b = np.array([1.0, 0.0])
    np.testing.assert_allclose(reduce.logsumexp(np.array([1.0, 5000.0]), b=b), 1.0)
    gradient = tg.grad(lambda b: reduce.logsumexp(np.array([1.0, 0.5]), b=b))(b)
    np.testing.assert_allclose(gradient, [1.0, np.exp(-0.5)])
    assert reduce.logsumexp(np.zeros((2, 0)), 1).tolist() == [-np.inf, -np.inf]
    assert reduce.logsumexp(np.array([1, 2])).dtype == np.float64
    with pytest.raises(DtypeError, match="complex"):
        reduce.logsumexp(np.ones(2, complex))


# ---------------------------------------------------------------------------------------------------------------------
# Weighted means, covariances.


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


# ---------------------------------------------------------------------------------------------------------------------
# Running reductions.


def test_cumulative_values() -> None:
    small = np.array([[100, 100], [3, 4]], np.int8)
    for f in (
        lambda x: np.cumsum(x),
        lambda x: np.cumsum(x, 1, np.float32),
        lambda x: np.cumprod(x, -1),
        lambda x: np.cumulative_sum(x, axis=1),
        lambda x: np.cumulative_sum(x, axis=-1, include_initial=True),
        lambda x: np.cumulative_prod(x, axis=0, include_initial=True),
        lambda x: np.cumulative_prod(x[0]),
    ):
        same(traced(f, X[0]), f(X[0]), 1e-6 if f(X[0]).dtype == np.float32 else 1e-13)
    same(traced(lambda x: np.cumsum(x, 1, dtype=np.int8), small), np.cumsum(small, 1, dtype=np.int8))
    same(traced(lambda x: np.cumprod(x, 0), small), np.cumprod(small, 0))


LAX = {
    "cummax": np.maximum,
    "cummin": np.minimum,
    "cumlogsumexp": np.logaddexp,
    "cumsum": np.add,
    "cumprod": np.multiply,
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["cummax", "cummin", "cumlogsumexp"])
def test_running_extremes(name: str, axis: int, reverse: bool) -> None:
    f = getattr(cumulative, name)
    turn = tuple([slice(None, None, -1) if reverse and i == axis else slice(None) for i in range(3)])
    same(traced(lambda x: f(x, axis, reverse), DISTINCT), LAX[name].accumulate(DISTINCT[turn], axis)[turn], 1e-14)
    agrees(lambda xp, x: (f if xp is np else getattr(jax.lax, name))(x, axis=axis, reverse=reverse), DISTINCT)


def test_running_extremes_of_ties_and_infinities() -> None:
    x = np.array([1.0, 3.0, 3.0, 2.0, 5.0])
    np.testing.assert_array_equal(
        tg.jacrev(cumulative.cummax)(x),
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]],
    )
    np.testing.assert_array_equal(traced(np.maximum.accumulate, x), np.maximum.accumulate(x))
    y = np.array([-np.inf, -np.inf, 0.0, 1.0])
    jacobian = tg.jacfwd(cumulative.cumlogsumexp)(y)
    np.testing.assert_allclose(tg.jacrev(cumulative.cumlogsumexp)(y), jacobian, atol=1e-16)
    share = 1 / (1 + np.e)
    np.testing.assert_allclose(jacobian, [[0] * 4, [0] * 4, [0, 0, 1, 0], [0, 0, share, 1 - share]], atol=1e-15)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.bool_])
def test_the_running_logarithm_of_integers_is_a_float_under_every_transform(dtype: Any) -> None:
    x = np.arange(4).astype(dtype)
    expected = np.logaddexp.accumulate(x)
    graph = tg.jit(np.logaddexp.accumulate).lower(x).graph
    assert graph.outputs[0].type.dtype == expected.dtype
    np.testing.assert_array_equal(tg.jit(np.logaddexp.accumulate)(x), expected)
    pytest.importorskip("jax")
    on_xla = np.asarray(tg.jit(np.logaddexp.accumulate, backend="xla")(x))
    assert on_xla.dtype == expected.dtype
    np.testing.assert_allclose(on_xla, expected, rtol=1e-3 if dtype != np.int64 else 1e-14)


@pytest.mark.parametrize(
    "name", ["argmax", "nanargmin", "cumsum", "cumulative_prod", "sort", "argsort", "diff", "trapezoid"]
)
def test_functions_along_one_axis_take_no_two(name: str) -> None:
    for axis in [(0, 1), ()]:
        with pytest.raises(
            TypeError, match=r"acts along one axis: axis must be an integer, got \([01, ]*\)\n  in .* at "
        ):
            traced(lambda x, axis=axis: getattr(np, name)(x, axis=axis), X)


def test_a_numpy_integer_is_an_axis_of_a_scalar_too() -> None:
    for name in ("sum", "max", "any", "cumsum"):
        same(traced(lambda x, name=name: getattr(np, name)(x, axis=np.int64(0)), 1.5), getattr(np, name)(1.5, axis=0))


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


def test_running_totals_are_of_real_numbers_along_one_axis() -> None:
    with pytest.raises(tg.core.errors.DtypeError, match=r"cumlogsumexp of c128\[2\]: complex numbers are not taken"):
        tg.lax.cumlogsumexp(np.ones(2, complex))
    for name in LAX:
        with pytest.raises(TypeError):
            getattr(tg.lax, name)(np.ones((2, 2)), None)


def test_what_would_lose_a_part_of_numbers_is_refused() -> None:
    DtypeError = tg.core.errors.DtypeError
    with pytest.raises(DtypeError, match=r"interp: x is c128\[2\]"):
        traced(lambda x: np.interp(x, [0.0, 1.0], [0.0, 1.0]), np.ones(2, complex))
    with pytest.raises(DtypeError, match="complex numbers are in no bin"):
        traced(lambda b: np.digitize([0.5], b), np.ones(2, complex))
    with pytest.raises(DtypeError, match=r"ediff1d: to_end, f64\[1\], does not become int64"):
        traced(lambda x: np.ediff1d(x, to_end=1.5), np.arange(3))


@pytest.mark.parametrize("shape, axis", [((7,), 0), ((300,), 0), ((3, 50), 1), ((50, 200), 0), ((2, 3, 4), 1)])
@pytest.mark.parametrize("reverse", [False, True])
def test_linear_recurrence(shape: tuple[int, ...], axis: int, reverse: bool) -> None:
    """Both ways of evaluating it, against the loop that defines it."""
    a, b = rng.uniform(-1, 1, (2, *shape))
    turn = slice(None, None, -1) if reverse else slice(None)
    rows_a, rows_b = np.moveaxis(a, axis, 0)[turn], np.moveaxis(b, axis, 0)[turn]
    rows = [rows_b[0]]
    for j in range(1, len(rows_b)):
        rows.append(rows_a[j] * rows[-1] + rows_b[j])
    expected = np.moveaxis(np.stack(rows)[turn], 0, axis)
    np.testing.assert_allclose(cumulative.linear_recurrence(a, b, axis, reverse), expected, rtol=1e-12, atol=1e-14)


def test_linear_recurrence_overflowing_factors() -> None:
    """Products of factors that overflow where nothing is carried must not make NaN, nor a warning."""
    a = np.full(500, 1e300)
    assert not np.any(cumulative.linear_recurrence(a, np.zeros(500)))
    with pytest.raises(ShapeError, match="differ in shape"):
        tg.grad(lambda a: np.sum(cumulative.linear_recurrence(a, np.ones(3))))(np.ones(2))


# ---------------------------------------------------------------------------------------------------------------------
# Differences, integrals, convolution.


def test_diff() -> None:
    for keywords in ({}, {"n": 2}, {"n": 0}, {"axis": 0}, {"axis": 1, "prepend": 0.5}, {"append": X[..., :1], "n": 2}):
        agrees(lambda xp, x, k=keywords: xp.diff(x, **k), X)
    flags = X > 0
    same(traced(np.diff, flags), np.diff(flags))
    same(
        traced(lambda x: np.diff(x, prepend=1), np.arange(4, dtype=np.uint8)),
        np.diff(np.arange(4, dtype=np.uint8), prepend=1),
    )
    with pytest.raises(ValueError, match="negative"):
        tg.grad(lambda x: np.diff(x, -1))(X)


def test_ediff1d() -> None:
    agrees(lambda xp, x: xp.ediff1d(x), X)
    agrees(lambda xp, x, e: xp.ediff1d(x, to_begin=e, to_end=2 * e), X, np.array([0.5, 1.0]))


def test_trapezoid() -> None:
    grid = np.cumsum(rng.uniform(0.1, 1, 4))
    agrees(lambda xp, y: xp.trapezoid(y, dx=0.3, axis=1), X)
    agrees(lambda xp, y, x: xp.trapezoid(y, x), X, grid)
    agrees(lambda xp, y, x: xp.trapezoid(y, x, axis=0), X, X[::-1] + 1)
    same(traced(np.trapezoid, np.arange(5)), np.trapezoid(np.arange(5)))


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient(edge_order: int) -> None:
    grid = np.cumsum(rng.uniform(0.1, 1, 4))
    x = rng.uniform(-1, 1, (3, 3, 4))
    for arguments, keywords in [
        ((), {}), ((0.5,), {}), ((0.5, 1.0, 2.0), {}), ((0.5,), {"axis": 1}), ((0.5, grid), {"axis": (0, 2)}),
        ((grid,), {"axis": -1}), ((), {"axis": (2, 0)}),
    ]:  # fmt: skip
        f = lambda x, a=arguments, k=keywords: np.gradient(x, *a, **k, edge_order=edge_order)
        same(traced(f, x), f(x), 1e-13)
    same(traced(lambda x: np.gradient(x), np.arange(5) ** 2), np.gradient(np.arange(5) ** 2))
    agrees(lambda xp, x: xp.gradient(x, 0.5, axis=1) if xp is jnp else np.gradient(x, 0.5, axis=1), x)
    # In the coordinates: against differences.
    f = lambda g: np.sum(np.gradient(x, g, axis=2, edge_order=edge_order) ** 2)
    h = 1e-6
    found = [(f(grid + h * e) - f(grid - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(tg.grad(f)(grid), found, rtol=1e-6)
    if edge_order == 2:
        with pytest.raises(ShapeError, match="edge_order=2 needs 3"):
            tg.grad(lambda x: np.sum(np.gradient(x, edge_order=2)))(np.ones(2))
    same(traced(np.gradient, np.array([1.0, 3.0])), np.gradient(np.array([1.0, 3.0])))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("n, m", [(5, 3), (3, 5), (4, 4), (6, 1), (1, 4), (6, 4), (4, 6), (7, 2), (2, 7)])
def test_convolve_and_correlate(mode: str, n: int, m: int) -> None:
    a, v = rng.uniform(-1, 1, n), rng.uniform(-1, 1, m)
    agrees(lambda xp, a, v: xp.convolve(a, v, mode), a, v)
    f = lambda a, v: np.correlate(a, v, mode)
    same(traced(f, a, v), f(a, v), 1e-13)
    z = v * (1 + 0.5j)
    same(traced(f, a, z), f(a, z), 1e-13)
    if n >= m or mode != "same":
        agrees(lambda xp, a, v: xp.correlate(a, v, mode), a, v)


def test_convolve_under_vmap_and_its_errors() -> None:
    a, v = rng.uniform(-1, 1, (3, 6)), rng.uniform(-1, 1, (3, 4))
    for f in (np.convolve, lambda a, v: np.correlate(a, v, "same")):
        np.testing.assert_allclose(tg.vmap(f)(a, v), np.stack([f(*p) for p in zip(a, v, strict=True)]))
        np.testing.assert_allclose(tg.vmap(f, (0, None))(a, v[0]), np.stack([f(p, v[0]) for p in a]))
        both = tg.vmap(tg.vmap(f, (None, 0)), (0, None))(a, v)
        np.testing.assert_allclose(both[1, 2], f(a[1], v[2]))
    with pytest.raises(ShapeError, match="vectors"):
        tg.grad(lambda a: np.sum(np.convolve(a, v[0])))(a)
    with pytest.raises(ValueError, match="mode"):
        tg.grad(lambda a: np.sum(np.convolve(a, v[0], "all")))(a[0])


def test_vmap_of_composites() -> None:
    for f in (np.std, np.mean, lambda x: np.prod(x), lambda x: np.cumprod(x, 1), np.ptp, lambda x: np.argmax(x, 0), np.nanvar,
              lambda x: np.gradient(x)[1], lambda x: np.trapezoid(x), reduce.logsumexp, np.cov, lambda x: np.average(x, 1)):  # fmt: skip
        np.testing.assert_allclose(tg.vmap(f)(X), np.stack([f(x) for x in X]), rtol=1e-13)
        gradients = tg.vmap(tg.grad(lambda x, f=f: np.sum(f(x) * 1.0)))(X)
        np.testing.assert_allclose(
            gradients, np.stack([tg.grad(lambda x, f=f: np.sum(f(x) * 1.0))(x) for x in X]), rtol=1e-10, atol=1e-14
        )


def test_scalars_along_the_axis_that_numpy_lets_them_have() -> None:
    for name in [
        "sum",
        "prod",
        "max",
        "min",
        "any",
        "all",
        "argmax",
        "argmin",
        "nansum",
        "nanmax",
        "nanprod",
        "ptp",
        "cumsum",
        "cumprod",
    ]:
        f = getattr(np, name)
        for axis in (0, -1):
            for x in (2.0, np.array(-0.5)):
                (got,) = tg.make_graph(lambda x, f=f, axis=axis: f(x, axis=axis))(x)(x)
                expected = f(x, axis=axis)
                assert (np.shape(got), got) == (np.shape(expected), expected), name
    for f in (np.mean, np.var):
        with pytest.raises(np.exceptions.AxisError):
            tg.grad(lambda x, f=f: f(x, axis=0))(2.0)
    assert tg.grad(lambda x: np.cumsum(x, 0)[0] * np.max(x, axis=-1))(3.0) == 6.0
