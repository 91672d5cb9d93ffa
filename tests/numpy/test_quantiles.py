"""Quantiles, against NumPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.ops.test_sort import agrees_along, like_a_loop, traced_and_typed
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.testing.differences import five_point

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4))


DISTINCT = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.5
TIED = np.array([[3, 1, 3, 1, 2], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]])
NAN = np.where(np.isin(np.arange(24).reshape(2, 3, 4), [0, 6, 7, 17]), np.nan, DISTINCT)
DTYPES = ["float16", "float32", "float64", "int8", "uint8", "int64", "bool"]
METHODS = [
    "inverted_cdf", "averaged_inverted_cdf", pytest.param("closest_observation", marks=pytest.mark.numpy("2.1.0")),
    "interpolated_inverted_cdf", "hazen", "weibull",
    "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest",
]  # fmt: skip
QUANTILES = np.array([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.9, 1.0])


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_quantiles(method: Any) -> None:
    for n in (1, 2, 5, 8, 9):
        x = rng.permutation(n) / 3 - 1
        same(
            traced_and_typed(lambda x: np.quantile(x, QUANTILES, method=method), x),
            np.quantile(x, QUANTILES, method=method),
            1e-14,
        )
        same(
            traced_and_typed(lambda x: np.percentile(x, 30, method=method), x),
            np.percentile(x, 30, method=method),
            1e-14,
        )
    counts = np.array([5, 1, 7, 3, 3])
    same(
        traced_and_typed(lambda x: np.quantile(x, 0.4, method=method), counts),
        np.quantile(counts, 0.4, method=method),
        1e-14,
    )
    x, t = rng.permutation(9) / 3 - 1, rng.normal(size=9)
    f = lambda x: np.quantile(x, QUANTILES, method=method)
    np.testing.assert_allclose(tg.jvp(f, (x,), (t,))[1], *five_point(lambda x: (f(x),), [x], [t]), rtol=1e-8, atol=1e-9)
    w = rng.normal(size=8)
    np.testing.assert_allclose(tg.vjp(f, x)[1](w)[0] @ t, w @ tg.jvp(f, (x,), (t,))[1], rtol=1e-12)


@pytest.mark.parametrize("axis, keepdims", [(None, False), (0, True), (-1, False), ((0, 2), False), ((2, 1), True)])
def test_quantiles_over_axes(axis: Any, keepdims: bool) -> None:
    for q in (0.3, QUANTILES, QUANTILES.reshape(2, 4)):
        if np.ndim(q) < 2:  # jax takes no more
            agrees_along(lambda xp, x: xp.quantile(x, q, axis=axis, keepdims=keepdims), DISTINCT)
        same(
            traced_and_typed(lambda x: np.percentile(x, 100 * q, axis, keepdims=keepdims), DISTINCT),
            np.percentile(DISTINCT, 100 * q, axis, keepdims=keepdims),
            1e-14,
        )
        for function in (np.nanquantile, np.quantile):
            f = lambda x: function(x, q, axis, keepdims=keepdims)
            # NumPy's nanquantile mixes up the axes of a q that has two.
            expected = function(NAN, np.ravel(q), axis, keepdims=keepdims)
            same(traced_and_typed(f, NAN), np.reshape(expected, (*np.shape(q), *expected.shape[1:])), 1e-14)
    f = lambda x: np.nanpercentile(x, 30.0, axis, keepdims=keepdims)
    same(traced_and_typed(f, NAN), f(NAN), 1e-14)
    agrees_along(lambda xp, x: xp.median(x, axis=axis, keepdims=keepdims), DISTINCT)
    for function in (np.median, np.nanmedian):
        f = lambda x: function(x, axis, keepdims=keepdims)
        same(traced_and_typed(f, NAN), f(NAN), 1e-14)
    like_a_loop(lambda x: np.quantile(x, 0.3, -1), DISTINCT)
    like_a_loop(lambda x: np.nanquantile(x, QUANTILES, 0), NAN)
    like_a_loop(lambda x: np.median(x, 0), DISTINCT)
    like_a_loop(lambda x: np.nanmedian(x), NAN)


def test_derivatives_by_the_quantile() -> None:
    q = np.array([0.13, 0.4, 0.88])
    agrees_along(lambda xp, x, q: xp.quantile(x, q, axis=1), DISTINCT, q)
    agrees_along(lambda xp, x, q: xp.percentile(x, 100 * q), DISTINCT, q)
    like_a_loop(lambda x, q: np.quantile(x, q, 0), DISTINCT, np.array([0.13, 0.4]))
    like_a_loop(lambda x, q: np.nanquantile(x, q), NAN, np.array([0.13, 0.4]))


def test_derivatives_beside_nan() -> None:
    """What is left out gets zero, and what is left gets what it would without the NaN."""
    x = np.array([3.0, np.nan, 1.0, 2.5, np.nan, -1.0])
    few = np.isfinite(x)
    for skip, plain in ((np.nanmedian, np.median), (lambda x: np.nanquantile(x, 0.3), lambda x: np.quantile(x, 0.3))):
        g = tg.grad(skip)(x)
        np.testing.assert_allclose(g[few], tg.grad(plain)(x[few]))
        assert (g[~few] == 0).all()
    assert np.isnan(tg.vjp(np.median, x)[0]) and np.isnan(tg.vjp(lambda x: np.quantile(x, 0.5), x)[0])


EQUALS = [[2.0, 2.0, 2.0, 2.0, 2.0], [9.0, 2.0, 2.0, 1.0, 2.0], [1.0, 2.0, 1.0, 2.0, 3.0], [0.0, -0.0, 0.0, 1.0, -1.0]]


@pytest.mark.parametrize("size", [4, 5])
def test_medians_of_equal_elements_are_jax_s_to_second_order(size: int) -> None:
    """Where three are equal, a median moves by the median of what these move by, and has no derivative. The convention is that of a
    stable sort: those that come to lie in the middle, in every mode, on both backends, under vmap and of what a mask selects."""
    jax = pytest.importorskip("jax")
    f = lambda x: np.median(x) ** 2
    g = lambda x: jax.numpy.median(x) ** 2
    theirs = jax.jit(lambda x: (jax.grad(g)(x), jax.hessian(g)(x)))
    ours = lambda x: (tg.grad(f)(x), tg.hessian(f)(x))
    on_xla = tg.jit(ours, backend="xla")
    for row in EQUALS:
        x = np.array(row[:size])
        with jax.enable_x64(True):
            slope, curvature = map(np.asarray, theirs(x))
        assert np.sum(slope) == 2 * np.median(x) and np.count_nonzero(slope) in (0, 2 - size % 2)
        for found in (ours(x), tg.jit(ours)(x), on_xla(x), [a[0] for a in tg.vmap(ours)(x[None])]):
            for a, b in zip(found, (slope, curvature), strict=True):
                np.testing.assert_array_equal(np.asarray(a), b)
        for skipping in (np.nanmedian, lambda x: np.quantile(x, 0.5), lambda x: np.median(x[x < np.inf])):
            h = lambda x, m=skipping: m(x) ** 2
            for again in (tg.grad(h), tg.jacfwd(h), tg.jit(tg.grad(h))):
                np.testing.assert_array_equal(again(x), slope)
        for second in (tg.jacfwd(tg.jacfwd(f)), tg.jacrev(tg.jacrev(f)), tg.jacrev(tg.jacfwd(f))):
            np.testing.assert_array_equal(second(x), curvature)


@pytest.mark.numpy("2.4.0")
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_of_quantiles(dtype: str) -> None:
    x = (rng.permutation(12).reshape(3, 4)).astype(dtype)
    tolerance = {"float16": 2e-3, "float32": 1e-6}.get(dtype, 1e-14)
    same(traced_and_typed(lambda x: np.median(x, 1), x), np.median(x, 1), tolerance)
    if dtype != "bool":
        for q in (0.5, 1, np.float64(0.3), np.array([0.3]), np.float32(0.25)):
            same(traced_and_typed(lambda x: np.quantile(x, q, 1), x), np.quantile(x, q, 1), tolerance)
            same(traced_and_typed(lambda x: np.percentile(x, q, 1), x), np.percentile(x, q, 1), tolerance)
        same(traced_and_typed(lambda x: np.nanmedian(x), x), np.nanmedian(x), tolerance)
    if x.dtype.kind == "f":
        assert tg.grad(lambda x: np.sum(np.quantile(x, 0.3, 0)))(x).dtype == dtype


def test_quantiles_refuse() -> None:
    for function, args, error, text in [
        (np.quantile, (1.5,), ValueError, "quantiles lie from 0 to 1"),
        (np.percentile, (-1,), ValueError, "percentiles from 0 to 100"),
        (
            np.quantile,
            (0.5, None, None, False, "cubic"),
            ValueError,
            "method must be one of 'inverted_cdf'.*got 'cubic'",
        ),
        (np.quantile, (0.5, 3), np.exceptions.AxisError, "axis 3 is out of bounds"),
    ]:
        with pytest.raises(error, match=text):
            traced_and_typed(lambda x: function(x, *args), DISTINCT)
    for f in (np.median, lambda x: np.quantile(x, 0.5)):
        with pytest.raises(DtypeError, match="complex numbers have no order"):
            traced_and_typed(f, DISTINCT + 1j)
        with pytest.raises(ShapeError, match="nothing to take it of"):
            traced_and_typed(f, np.zeros((2, 0)))


WEIGHED: list[tuple[tuple[int, ...], Any]] = [
    ((2, 3, 4), None), ((2, 3, 4), 1), ((3,), 1), ((4,), -1), ((2, 4), (0, 2)), ((4, 2), (2, 0)), ((2, 3, 4), (0, 1)),
]  # fmt: skip


@pytest.mark.numpy("2.4.0")  # earlier ones pick elements of no weight
@pytest.mark.parametrize("shape, axis", WEIGHED, ids=str)
@pytest.mark.parametrize("name", ["quantile", "percentile", "nanquantile", "nanpercentile"])
def test_weighted_quantiles(name: str, shape: tuple[int, ...], axis: Any) -> None:
    whole = 100 if name.endswith("percentile") else 1
    # No row is without weight once NaN are left out: these, and weights of 0, are in every other place at most.
    odd = np.indices(X.shape).sum(0) % 2 == 1
    gaps = np.where(odd & (rng.uniform(size=X.shape) < 0.4), np.nan, X)
    weights = rng.integers(1, 4, shape).astype(float)
    if shape == X.shape:
        weights[odd] = rng.integers(0, 4, X.shape)[odd]

    def f(x: Any, w: Any) -> Any:
        if name.startswith("nan") and isinstance(w, np.ndarray) and type(w) is np.ndarray and w.shape != x.shape:
            w = spread(w, axis)  # of fewer axes NumPy takes none here
        return [
            getattr(np, name)(x, q * whole, axis, method="inverted_cdf", weights=w, keepdims=True) for q in QUANTILES
        ]

    for x in (X, gaps) if name.startswith("nan") else (X, np.where(X.max() == X, np.nan, X), (10 * X).astype(int)):
        for found, wanted in zip(tg.jit(f)(x, weights), f(x, weights), strict=True):
            np.testing.assert_array_equal(found, wanted)
    tg.testing.check_grads(lambda x: np.sum(f(x, weights)[1] ** 2), (X,), order=1)


PARTS: list[Any] = [0, 0.3, 1, np.array([0.0, 0.25, 0.5, 1.0])]


def spread(weights: Any, axis: Any) -> Any:
    """Weights for the axes as weights of all elements of X."""
    axes = [a % 3 for a in (axis if isinstance(axis, tuple) else (axis,))]
    w = np.moveaxis(weights.reshape(weights.shape + (1,) * (3 - len(axes))), range(len(axes)), axes)
    return np.broadcast_to(w, X.shape)


def test_weighted_quantiles_of_traced_weights() -> None:
    f = lambda x, w: np.quantile(x, [0.2, 0.7], method="inverted_cdf", weights=w)
    weights = np.array([1.0, 0.0, 2.0, 0.5])
    assert not tg.jacrev(f, 1)(X[0, 0], weights).any()
    np.testing.assert_array_equal(tg.jit(f, backend="xla")(X[0, 0], weights), f(X[0, 0], weights))


@pytest.mark.numpy("2.4.0")
def test_weights_that_are_refused() -> None:
    for weights, axis, method, error in [
        (np.ones(4), 2, "linear", ValueError),
        (-np.ones(4), 2, "inverted_cdf", ValueError),
        (np.zeros(4), 2, "inverted_cdf", ValueError),
        (np.ones(4), None, "inverted_cdf", TypeError),
        (np.ones(5), 2, "inverted_cdf", ValueError),
    ]:
        f = lambda x, w=weights, a=axis, m=method: np.quantile(x, 0.5, a, method=m, weights=w)
        for g in (f, tg.make_graph(f)):
            with pytest.raises(error, match=r"weights|Weights"), warnings.catch_warnings(action="ignore"):
                g(X)
