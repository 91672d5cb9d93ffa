"""Sorting, searching, quantiles, interpolation and counting: values and dtypes against NumPy, derivatives against jax or
differences, vmap against a loop. Derivatives are taken where they exist: away from ties, unless a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import same
from tracegrad.core.errors import ConcretizationTypeError, DtypeError, ShapeError
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
DISTINCT = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.5
TIED = np.array([[3, 1, 3, 1, 2], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]])
NAN = np.where(np.isin(np.arange(24).reshape(2, 3, 4), [0, 6, 7, 17]), np.nan, DISTINCT)
DTYPES = ["float16", "float32", "float64", "int8", "uint8", "int64", "bool"]


def traced(f: Callable[..., Any], *args: Any) -> Any:
    """The value of `f` computed through tracers, whose type is known without values too."""
    out = tg.vjp(f, *args)[0]
    expected = tg.tree.tree_map(lambda x: (np.shape(x), np.asarray(x).dtype), out)
    try:
        types = tg.eval_shape(f, *args)
    except ConcretizationTypeError:
        return out
    assert tg.tree.tree_map(lambda x: (x.shape, x.dtype), types) == expected
    return out


def mixed(f: Callable[..., Any], xp: Any) -> Callable[..., Any]:
    """A scalar made of all elements of the result, curved in each."""

    def scalar(*xs: Any) -> Any:
        out = f(xp, *xs)
        weights = np.cos(np.arange(out.size, dtype=float)).reshape(out.shape) + 0.3
        return xp.sum(weights * out + 0.5 * out**2)

    return scalar


def agrees(f: Callable[..., Any], *args: Any) -> None:
    """`f(xp, *args)`: value as NumPy's; gradients, a Hessian's product and the forward derivative as jax's."""
    same(traced(lambda *xs: f(np, *xs), *args), f(np, *args), 1e-13)
    ours, theirs = mixed(f, np), mixed(f, jnp)
    positions = tuple(range(len(args)))
    tangents = tuple([np.cos(1.0 + np.arange(np.size(x))).reshape(np.shape(x)) for x in args])
    expected, second = jax.jit(lambda xs: jax.jvp(lambda *xs: jax.grad(theirs, positions)(*xs), xs, tangents))(args)
    found, ours_second = tg.jvp(tg.grad(ours, positions), args, tangents)
    for a, b in zip((*found, *ours_second), (*expected, *second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    slope = sum(np.sum(g * t) for g, t in zip(expected, tangents, strict=True))
    np.testing.assert_allclose(tg.jvp(ours, args, tangents)[1], slope, rtol=1e-9)


def like_a_loop(f: Callable[..., Any], *args: Any, rtol: float = 1e-13) -> None:
    """vmap over all arguments, over the first alone and along another axis, against a loop."""
    rows = list(zip(*args, strict=True))
    for in_axes in (0, *[tuple([0 if i == k else None for i in range(len(args))]) for k in range(len(args))]):
        if in_axes == 0:
            found, expected = tg.vmap(f)(*args), [f(*row) for row in rows]
        else:
            chosen = [row if a == 0 else [row[0]] * len(row) for row, a in zip(args, in_axes, strict=True)]
            found = tg.vmap(f, in_axes)(*[x if a == 0 else x[0] for x, a in zip(args, in_axes, strict=True)])
            expected = [f(*row) for row in zip(*chosen, strict=True)]
        same(found, np.stack(expected), rtol)
    same(tg.vmap(f, -1)(*[np.moveaxis(x, 0, -1) for x in args]), np.stack([f(*row) for row in rows]), rtol)


# ---------------------------------------------------------------------------------------------------------------------
# Sorting.


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64", "complex128"])
@pytest.mark.parametrize("axis", [-1, 0, None])
def test_sort_and_argsort(dtype: str, axis: Any) -> None:
    x = rng.uniform(-100, 100, (3, 4, 5)).astype(np.int64)
    x = np.abs(x).astype(dtype) if dtype == "uint8" else x.astype(dtype)
    same(traced(lambda x: np.sort(x, axis), x), np.sort(x, axis))
    same(traced(lambda x: np.argsort(x, axis), x), np.argsort(x, axis, kind="stable"))
    same(traced(np.sort_complex, x), np.sort_complex(x))


def test_equal_elements_keep_their_order() -> None:
    for kind in (None, "quicksort", "stable", "heapsort"):
        same(traced(lambda x, k=kind: np.argsort(x, kind=k), TIED), np.argsort(TIED, kind="stable"))
    same(traced(lambda x: np.argsort(x, stable=True), TIED), np.argsort(TIED, stable=True))
    # Each of the equals has its own derivative.
    jacobian = tg.jacrev(np.sort)(np.array([2.0, 1.0, 2.0, 1.0]))
    assert jacobian.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(jacobian, tg.jacfwd(np.sort)(np.array([2.0, 1.0, 2.0, 1.0])))
    np.testing.assert_array_equal(jacobian, jax.jacrev(jnp.sort)(np.array([2.0, 1.0, 2.0, 1.0])))


def test_nan_goes_last() -> None:
    for axis in (-1, 0, None):
        same(traced(lambda x: np.sort(x, axis), NAN), np.sort(NAN, axis))
        same(traced(lambda x: np.argsort(x, axis), NAN), np.argsort(NAN, axis, kind="stable"))
    x = np.array([np.nan, 2.0, -np.inf, np.nan, 1.0])
    np.testing.assert_array_equal(tg.jacfwd(np.sort)(x), np.eye(5)[[2, 4, 1, 0, 3]])
    np.testing.assert_array_equal(tg.jacrev(np.sort)(x), np.eye(5)[[2, 4, 1, 0, 3]])


@pytest.mark.parametrize("axis", [-1, 0, None])
def test_derivatives_of_sorting(axis: Any) -> None:
    agrees(lambda xp, x: xp.sort(x, axis=axis), DISTINCT)
    agrees(lambda xp, x: xp.sort(x, axis=axis)[..., 1:3], DISTINCT)
    z = DISTINCT + 1j * DISTINCT[::-1]  # real parts far enough apart for differences not to change the order
    own = np.random.default_rng(1)
    t = own.normal(size=z.shape) + 1j * own.normal(size=z.shape)
    f = lambda z: (np.sort(z, axis),)
    np.testing.assert_allclose(tg.jvp(lambda z: np.sort(z, axis), (z,), (t,))[1], *five_point(f, [z], [t]), rtol=1e-9)


def test_sorting_by_keys_and_places() -> None:
    keys = (TIED[0], np.array([1, 0, 1, 1, 0]), np.array([1.0, 1.0, 0.0, 1.0, 1.0]))
    same(traced(lambda *k: np.lexsort(k), *keys), np.lexsort(keys))
    same(traced(lambda a, b: np.lexsort((a, b), 0), TIED, TIED % 2), np.lexsort((TIED, TIED % 2), 0))
    same(traced(np.lexsort, TIED), np.lexsort(TIED))
    x = DISTINCT[0]
    like_a_loop(lambda x: np.sort(x, 0), DISTINCT)
    like_a_loop(lambda x: np.argsort(x, 1), DISTINCT)
    like_a_loop(tg.grad(lambda x: np.sum(np.sort(x, 0) * x)), DISTINCT)
    # x[argsort(x)] is sort(x), derivative included.
    ours = tg.jacrev(lambda x: np.take_along_axis(x, np.argsort(x, 0), 0))(x)
    np.testing.assert_array_equal(ours, tg.jacrev(lambda x: np.sort(x, 0))(x))


def test_empty_and_scalar() -> None:
    for shape in ((0,), (2, 0), (0, 3)):
        x = np.zeros(shape)
        same(traced(np.sort, x), np.sort(x))
        same(traced(np.argsort, x), np.argsort(x))
        assert tg.grad(lambda x: np.sum(np.sort(x)))(x).shape == shape
    same(traced(lambda x: np.sort(x, None), np.array(2.5)), np.sort(np.array(2.5), None))
    with pytest.raises(np.exceptions.AxisError):
        traced(np.sort, np.array(2.5))


@pytest.mark.parametrize("kth", [0, 2, -1, (1, 3)])
@pytest.mark.parametrize("axis", [-1, 0, None])
def test_partition(kth: Any, axis: Any) -> None:
    x = rng.permutation(30).reshape(5, 6) / 4.0
    found = traced(lambda x: np.partition(x, kth, axis), x)
    by_place = traced(lambda x: np.argpartition(x, kth, axis), x)
    ordered = np.sort(x, axis)
    flat_axis = 0 if axis is None else axis
    places = np.atleast_1d(kth) % found.shape[flat_axis]
    assert found.shape == ordered.shape and by_place.dtype == np.intp
    np.testing.assert_array_equal(np.sort(found, flat_axis), ordered)
    np.testing.assert_array_equal(np.take_along_axis(x.ravel() if axis is None else x, by_place, flat_axis), found)
    for k in places:
        here = np.take(found, [k], flat_axis)
        np.testing.assert_array_equal(here, np.take(ordered, [k], flat_axis))
        assert (np.take(found, np.arange(k), flat_axis) <= here).all()
    # What is in place has the derivative of the sorted array.
    weights = rng.normal(size=np.take(found, places, flat_axis).shape)
    ours = tg.grad(lambda x: np.sum(weights * np.take(np.partition(x, kth, axis), places, flat_axis)))(x)
    theirs = jax.grad(lambda x: jnp.sum(weights * jnp.take(jnp.sort(x, axis), places, flat_axis)))(x)
    np.testing.assert_allclose(ours, theirs)
    if axis is not None:
        like_a_loop(
            lambda x: np.sort(np.take(np.partition(x, kth, axis), places, axis), axis),
            np.stack([x, -x, x.T.reshape(x.shape)]),
        )


def test_partition_refuses_places_that_are_not_there() -> None:
    with pytest.raises(ShapeError, match=r"no place kth=3 among 3 along axis 0 of f64\[3\]"):
        traced(lambda x: np.partition(x, 3), np.ones(3))


# ---------------------------------------------------------------------------------------------------------------------
# Searching.


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side: Any) -> None:
    a = np.array([-1.0, 0.0, 0.5, 0.5, 2.0])
    v = np.array([[0.5, -2.0, 0.0], [2.0, 9.0, np.nan]])
    f = lambda a, v: np.searchsorted(a, v, side)
    for sorted_array in (a, a[:0], np.array([-np.inf, 0.5, np.nan])):
        same(traced(f, sorted_array, v), f(sorted_array, v))
        for number in (0.5, 3, np.float32(0.5)):
            same(traced(lambda a: f(a, number), sorted_array), np.asarray(f(sorted_array, number)))
        same(traced(lambda v: f(sorted_array, v), v), f(sorted_array, v))
    for dtype in DTYPES:
        few = np.sort(np.array([1, 0, 1, 1], dtype))
        same(traced(f, few, np.array([0, 1], dtype)), f(few, np.array([0, 1], dtype)))
        same(traced(f, few, np.array([0.5, 1])), f(few, np.array([0.5, 1])))
    order = np.array([3, 1, 0, 2])
    shuffled = np.array([1.0, 0.5, 2.0, 0.0])
    expected = np.searchsorted(shuffled, v, side, order)
    same(traced(lambda a, v: np.searchsorted(a, v, side, order), shuffled, v), expected)
    same(traced(lambda a, v: a.searchsorted(v, side), a, v), f(a, v))
    np.testing.assert_array_equal(tg.grad(lambda v: np.sum(f(a, v) * v))(v[0]), f(a, v[0]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted_under_vmap(side: Any) -> None:
    a = np.sort(rng.integers(0, 6, (4, 7)), 1)
    f = lambda a, v: np.searchsorted(a, v, side)
    like_a_loop(f, a / 2, rng.integers(-1, 7, (4, 3, 2)) / 2)
    like_a_loop(f, a, rng.integers(-1, 7, 4))
    like_a_loop(f, a, rng.integers(-1, 14, (4, 5)) / 2)
    like_a_loop(f, np.zeros((2, 0)), np.zeros((2, 3)))
    np.testing.assert_array_equal(tg.vmap(lambda a: f(a, 2))(a), [f(row, 2) for row in a])
    both = tg.vmap(tg.vmap(f, (None, 0)), (0, None))(a, np.arange(6))
    np.testing.assert_array_equal(both, [f(row, np.arange(6)) for row in a])


def test_searchsorted_refusals() -> None:
    with pytest.raises(ShapeError, match=r"the sorted array must have one dimension; map over others with tg\.vmap"):
        traced(lambda a: np.searchsorted(a, 1.0), np.ones((2, 2)))
    with pytest.raises(ValueError, match="side must be 'left' or 'right', got 'middle'"):
        traced(lambda a: np.searchsorted(a, 1.0, "middle"), np.ones(2))


@pytest.mark.parametrize("right", [False, True])
def test_digitize(right: bool) -> None:
    x = np.array([[0.2, 6.4, 3.0], [1.0, -1.0, 10.0]])
    for bins in (np.array([0.0, 1.0, 2.5, 4.0, 10.0]), np.array([1.0, 1.0, 3.0]), np.array([3.0]), np.array([2, 2])):
        for edges in (bins, bins[::-1]):
            f = lambda x, b: np.digitize(x, b, right)
            same(traced(f, x, edges), f(x, edges))
            same(traced(lambda x: f(x, edges), x), f(x, edges))
            same(traced(lambda x: f(x, edges), 2), np.asarray(f(2, edges)))
            np.testing.assert_array_equal(tg.vmap(lambda x: f(x, edges))(x), f(x, edges))
            np.testing.assert_array_equal(
                tg.vmap(f, (None, 0))(x, np.stack([edges, edges + 1])), [f(x, edges), f(x, edges + 1)]
            )
    with pytest.raises(ValueError, match="bins must ascend or descend"):
        traced(lambda x: np.digitize(x, np.array([0.0, 2.0, 1.0])), x)
    with pytest.raises(DtypeError, match="complex numbers are in no bin"):
        traced(lambda x: np.digitize(x, np.array([0.0, 2.0])), x + 1j)


# ---------------------------------------------------------------------------------------------------------------------
# Distinct values.


def test_unique() -> None:
    for x in (TIED, TIED.astype(np.float32) / 2, TIED > 2, np.array([np.nan, 1.0, np.nan]), np.zeros(0)):
        same(traced(np.unique, x), np.unique(x))
        f = lambda x: np.unique(x, return_index=True, return_inverse=True, return_counts=True)
        same(traced(lambda x: tuple(f(x)), x), tuple(f(x)))
    same(
        traced(lambda x: np.unique(x, equal_nan=False), np.array([np.nan, 1.0, np.nan])),
        np.array([1.0, np.nan, np.nan]),
    )
    for axis in (0, 1):
        x = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [2.0, 3.0, 2.0]])
        f = lambda x: tuple(np.unique(x, True, True, True, axis))
        same(traced(f, x), f(x))
    # The derivative is with the first of the equals, as jax has it.
    x = np.array([2.0, 1.0, 2.0, 3.0, 1.0])
    np.testing.assert_array_equal(tg.jacrev(np.unique)(x), np.eye(5)[[1, 0, 3]])
    with pytest.raises(ConcretizationTypeError, match=r"np\.unique"):
        tg.eval_shape(np.unique, x)
    with pytest.raises(ConcretizationTypeError, match=r"np\.unique"):
        tg.vmap(np.unique)(TIED)


# ---------------------------------------------------------------------------------------------------------------------
# Quantiles.

METHODS = [
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
    "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest",
]  # fmt: skip
QUANTILES = np.array([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.9, 1.0])


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_quantiles(method: Any) -> None:
    for n in (1, 2, 5, 8, 9):
        x = rng.permutation(n) / 3 - 1
        same(
            traced(lambda x: np.quantile(x, QUANTILES, method=method), x),
            np.quantile(x, QUANTILES, method=method),
            1e-14,
        )
        same(traced(lambda x: np.percentile(x, 30, method=method), x), np.percentile(x, 30, method=method), 1e-14)
    counts = np.array([5, 1, 7, 3, 3])
    same(traced(lambda x: np.quantile(x, 0.4, method=method), counts), np.quantile(counts, 0.4, method=method), 1e-14)
    x, t = rng.permutation(9) / 3 - 1, rng.normal(size=9)
    f = lambda x: np.quantile(x, QUANTILES, method=method)
    np.testing.assert_allclose(tg.jvp(f, (x,), (t,))[1], *five_point(lambda x: (f(x),), [x], [t]), rtol=1e-8, atol=1e-9)
    w = rng.normal(size=8)
    np.testing.assert_allclose(tg.vjp(f, x)[1](w)[0] @ t, w @ tg.jvp(f, (x,), (t,))[1], rtol=1e-12)


@pytest.mark.parametrize("axis, keepdims", [(None, False), (0, True), (-1, False), ((0, 2), False), ((2, 1), True)])
def test_quantiles_over_axes(axis: Any, keepdims: bool) -> None:
    for q in (0.3, QUANTILES, QUANTILES.reshape(2, 4)):
        if np.ndim(q) < 2:  # jax takes no more
            agrees(lambda xp, x: xp.quantile(x, q, axis=axis, keepdims=keepdims), DISTINCT)
        same(
            traced(lambda x: np.percentile(x, 100 * q, axis, keepdims=keepdims), DISTINCT),
            np.percentile(DISTINCT, 100 * q, axis, keepdims=keepdims),
            1e-14,
        )
        for function in (np.nanquantile, np.quantile):
            f = lambda x: function(x, q, axis, keepdims=keepdims)
            # NumPy's nanquantile mixes up the axes of a q that has two.
            expected = function(NAN, np.ravel(q), axis, keepdims=keepdims)
            same(traced(f, NAN), np.reshape(expected, (*np.shape(q), *expected.shape[1:])), 1e-14)
    f = lambda x: np.nanpercentile(x, 30.0, axis, keepdims=keepdims)
    same(traced(f, NAN), f(NAN), 1e-14)
    agrees(lambda xp, x: xp.median(x, axis=axis, keepdims=keepdims), DISTINCT)
    for function in (np.median, np.nanmedian):
        f = lambda x: function(x, axis, keepdims=keepdims)
        same(traced(f, NAN), f(NAN), 1e-14)
    like_a_loop(lambda x: np.quantile(x, 0.3, -1), DISTINCT)
    like_a_loop(lambda x: np.nanquantile(x, QUANTILES, 0), NAN)
    like_a_loop(lambda x: np.median(x, 0), DISTINCT)
    like_a_loop(lambda x: np.nanmedian(x), NAN)


def test_derivatives_by_the_quantile() -> None:
    q = np.array([0.13, 0.4, 0.88])
    agrees(lambda xp, x, q: xp.quantile(x, q, axis=1), DISTINCT, q)
    agrees(lambda xp, x, q: xp.percentile(x, 100 * q), DISTINCT, q)
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_of_quantiles(dtype: str) -> None:
    x = (rng.permutation(12).reshape(3, 4)).astype(dtype)
    tolerance = {"float16": 2e-3, "float32": 1e-6}.get(dtype, 1e-14)
    same(traced(lambda x: np.median(x, 1), x), np.median(x, 1), tolerance)
    if dtype != "bool":
        for q in (0.5, 1, np.float64(0.3), np.array([0.3]), np.float32(0.25)):
            same(traced(lambda x: np.quantile(x, q, 1), x), np.quantile(x, q, 1), tolerance)
            same(traced(lambda x: np.percentile(x, q, 1), x), np.percentile(x, q, 1), tolerance)
        same(traced(lambda x: np.nanmedian(x), x), np.nanmedian(x), tolerance)
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
            traced(lambda x: function(x, *args), DISTINCT)
    for f in (np.median, lambda x: np.quantile(x, 0.5)):
        with pytest.raises(DtypeError, match="complex numbers have no order"):
            traced(f, DISTINCT + 1j)
        with pytest.raises(ShapeError, match="nothing to take it of"):
            traced(f, np.zeros((2, 0)))


# ---------------------------------------------------------------------------------------------------------------------
# Interpolation.

XP, FP = np.array([0.0, 1.0, 1.5, 4.0]), np.array([1.0, -0.5, 2.0, 0.3])
BETWEEN = np.array([[-2.0, 0.3, 1.2], [1.7, 3.9, 6.1]])


@pytest.mark.parametrize("keywords", [{}, {"left": -1.0}, {"right": 7.0}, {"period": 4.5}, {"period": -3.0}])
def test_interp(keywords: Any) -> None:
    agrees(lambda xp, x, p, f: xp.interp(x, p, f, **keywords), BETWEEN, XP, FP)
    f = lambda x, p, f: np.interp(x, p, f, **keywords)
    like_a_loop(f, BETWEEN, np.stack([XP, XP + 0.1]), np.stack([FP, -FP]))
    same(traced(f, BETWEEN, XP, FP * (1 + 2j)), f(BETWEEN, XP, FP * (1 + 2j)), 1e-13)
    for x in (np.array([0.0, 1.0, 1.5, 4.0]), np.array([2, 3]), np.float32(0.7), np.array([np.nan, 2.0]), np.zeros(0)):
        same(traced(lambda x: f(x, XP, FP), x), np.asarray(f(x, XP, FP)), 1e-13)


def test_interp_at_edges() -> None:
    same(traced(lambda x: np.interp(x, [1.0], [5.0]), BETWEEN), np.interp(BETWEEN, [1.0], [5.0]))
    same(traced(lambda x: np.interp(x, [1.0], [5.0], -1, 9), BETWEEN), np.interp(BETWEEN, [1.0], [5.0], -1, 9))
    assert tg.grad(np.interp)(1.0, XP, FP) == 5.0  # at a corner the slope to the right
    assert tg.grad(np.interp)(-1.0, XP, FP) == 0.0
    step = np.array([0.0, 1.0, 1.0, 2.0])
    x = np.array([0.5, 1.0, 1.5])
    same(traced(lambda x: np.interp(x, step, FP), x), np.interp(x, step, FP), 1e-13)
    for g in tg.grad(lambda x, p, f: np.sum(np.interp(x, p, f)), (0, 1, 2))(x, step, FP):
        assert np.isfinite(g).all()
    with pytest.raises(ShapeError, match=r"vectors of one length"):
        traced(lambda x: np.interp(x, XP, FP[1:]), x)
    with pytest.raises(ValueError, match="period must not be zero"):
        traced(lambda x: np.interp(x, XP, FP, period=0), x)


# ---------------------------------------------------------------------------------------------------------------------
# Counting.


def test_bincount() -> None:
    x, w = np.array([0, 3, 1, 3, 0, 0]), rng.normal(size=6)
    for numbers in (x, x.astype(np.uint8), x[:0]):
        weights = w[: numbers.size]
        for minlength in (0, 2, 7):
            f = lambda w: np.bincount(numbers, w, minlength)
            expected = f(weights).astype(float)  # of nothing, NumPy counts in integers
            same(traced(f, weights), expected, 1e-14)
            same(traced(f, weights.astype(np.float32)), expected, 1e-6)
            same(
                traced(lambda x: np.bincount(x, minlength=minlength), numbers),
                np.bincount(numbers, minlength=minlength),
            )
            same(traced(lambda x: np.bincount(x, weights, minlength), numbers), expected, 1e-14)
    same(traced(lambda w: np.bincount(x, w), np.arange(6)), np.bincount(x, np.arange(6)))
    agrees(lambda xp, w: xp.bincount(x, w, length=5) if xp is jnp else xp.bincount(x, w, 5), w)
    assert tg.grad(lambda w: np.sum(np.bincount(x, w)))(w.astype(np.float32)).dtype == np.float32
    several = rng.normal(size=(3, 6))
    like_a_loop(lambda w: np.bincount(x, w, 5), several)
    like_a_loop(tg.grad(lambda w: np.sum(np.bincount(x, w, 5) ** 2)), several)
    with pytest.raises(ConcretizationTypeError, match=r"write np\.zeros\(n\)\.at\[x\]\.add\(weights\)"):
        tg.eval_shape(np.bincount, x)
    with pytest.raises(ShapeError, match="must be vectors of one length"):
        traced(lambda w: np.bincount(x, w), w[1:])
    with pytest.raises(DtypeError, match="complex weights"):
        traced(lambda w: np.bincount(x, w), w + 1j)


@pytest.mark.parametrize("keywords", [{}, {"bins": 3}, {"bins": 4, "range": (-1, 1.5)}, {"bins": [-2.0, 0.0, 0.3, 2.0]},
                                      {"bins": "auto"}, {"bins": [-1, 0, 1]}])  # fmt: skip
def test_histogram(keywords: Any) -> None:
    x, w = DISTINCT.ravel(), rng.uniform(0.5, 1, 24)
    for density in (False, True):
        f = lambda x, w=None: np.histogram(x, density=density, weights=w, **keywords)
        same(traced(f, x), f(x), 1e-13)
        if keywords.get("bins") == "auto":
            with pytest.raises(TypeError, match="weights"):
                traced(lambda w: f(x, w), w)
            continue
        same(traced(lambda w: f(x, w), w), f(x, w), 1e-13)
        same(traced(f, DISTINCT, w.reshape(2, 3, 4)), f(x, w), 1e-13)
        # By the weights, with the edges as they are.
        t = rng.normal(size=24)
        tangent = tg.jvp(lambda w: f(x, w)[0], (w,), (t,))[1]
        np.testing.assert_allclose(tangent, *five_point(lambda w: (f(x, w)[0],), [w], [t]), rtol=1e-8, atol=1e-9)
    same(traced(lambda x: np.histogram(x, **keywords), TIED), np.histogram(TIED, **keywords))


def test_edges_of_a_histogram_follow_the_extremes() -> None:
    edges = lambda x: np.histogram(x, 3)[1]
    for x in (np.array([0.3, 2.0, -1.0, 1.1]), np.array([1.0, 1.0, 1.0])):
        t = np.array([0.1, 0.5, -0.3, 0.2])[: x.size] if np.ptp(x) else np.ones(3)
        np.testing.assert_allclose(
            tg.jvp(edges, (x,), (t,))[1], *five_point(lambda x: (edges(x),), [x], [t]), rtol=1e-8
        )


def test_a_density_follows_its_edges() -> None:
    x, t, w = np.array([0.3, 2.0, -1.0, 1.1]), np.array([0.1, 0.5, -0.3, 0.2]), np.array([1.0, 2.0, 0.5, 3.0])
    for density in (lambda x: np.histogram(x, 3, density=True)[0], lambda x: np.histogram(x, 3, None, True, w)[0]):
        tangent = tg.jvp(density, (x,), (t,))[1]
        np.testing.assert_allclose(tangent, *five_point(lambda x: (density(x),), [x], [t]), rtol=1e-8)
    bins = np.array([-1.5, 0.5, 2.5])
    by_edges = lambda b: np.histogram(x, b, density=True)[0]
    tangent = tg.jvp(by_edges, (bins,), (t[:3],))[1]
    np.testing.assert_allclose(tangent, *five_point(lambda b: (by_edges(b),), [bins], [t[:3]]), rtol=1e-8)
    assert type(tg.make_graph(lambda x: np.histogram(x, [0.0, 1.0])[1])(x)(x)[0]) is np.ndarray


def test_places_may_be_traced_where_the_array_is_not() -> None:
    plain, keys = np.array([3.0, 1.0, 2.0]), np.array([[3.0, 1.0, 2.0], [5.0, 0.0, 1.0]])
    by_sorter = lambda k: np.searchsorted(plain, 1.5, sorter=np.argsort(k))
    np.testing.assert_array_equal(tg.vmap(by_sorter)(keys), [1, 1])
    np.testing.assert_array_equal(tg.vmap(lambda x: np.interp(x, XP, FP))(BETWEEN), np.interp(BETWEEN, XP, FP))
    counted = tg.vmap(lambda w: np.bincount([0, 2, 0], w))(keys)
    np.testing.assert_array_equal(counted, [np.bincount([0, 2, 0], w) for w in keys])


def test_lists_of_tracers() -> None:
    for name in ("sort", "median", "ptp", "std", "nanstd", "nanmedian", "unique"):
        function = getattr(tnp, name)
        ours = tg.grad(lambda x: np.sum(function([x, 5.0, 2 * x]) * np.array(2.0)))(1.3)
        theirs = tg.grad(lambda x: np.sum(function(np.stack([x, 5.0, 2 * x])) * np.array(2.0)))(1.3)
        np.testing.assert_allclose(ours, theirs)
