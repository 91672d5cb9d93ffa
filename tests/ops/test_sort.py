"""Sorting and searching: values and dtypes against NumPy, derivatives against jax or
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
from tests.lax.test_lax import leaves
from tracegrad import lax
from tracegrad.core.errors import ConcretizationTypeError, ShapeError
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)
jax = pytest.importorskip("jax")

rng = np.random.default_rng(0)
DISTINCT = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.5
TIED = np.array([[3, 1, 3, 1, 2], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]])
NAN = np.where(np.isin(np.arange(24).reshape(2, 3, 4), [0, 6, 7, 17]), np.nan, DISTINCT)
DTYPES = ["float16", "float32", "float64", "int8", "uint8", "int64", "bool"]


def traced_and_typed(f: Callable[..., Any], *args: Any) -> Any:
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


def agrees_along(f: Callable[..., Any], *args: Any) -> None:
    """`f(xp, *args)`: value as NumPy's; gradients, a Hessian's product and the forward derivative as jax's."""
    same(traced_and_typed(lambda *xs: f(np, *xs), *args), f(np, *args), 1e-13)
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
    same(traced_and_typed(lambda x: np.sort(x, axis), x), np.sort(x, axis))
    same(traced_and_typed(lambda x: np.argsort(x, axis), x), np.argsort(x, axis, kind="stable"))
    same(traced_and_typed(np.sort_complex, x), np.sort_complex(x))


def test_equal_elements_keep_their_order() -> None:
    for kind in (None, "quicksort", "stable", "heapsort"):
        same(traced_and_typed(lambda x, k=kind: np.argsort(x, kind=k), TIED), np.argsort(TIED, kind="stable"))
    same(traced_and_typed(lambda x: np.argsort(x, stable=True), TIED), np.argsort(TIED, stable=True))
    # Each of the equals has its own derivative.
    jacobian = tg.jacrev(np.sort)(np.array([2.0, 1.0, 2.0, 1.0]))
    assert jacobian.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(jacobian, tg.jacfwd(np.sort)(np.array([2.0, 1.0, 2.0, 1.0])))
    np.testing.assert_array_equal(jacobian, jax.jacrev(jnp.sort)(np.array([2.0, 1.0, 2.0, 1.0])))


def test_nan_goes_last() -> None:
    for axis in (-1, 0, None):
        same(traced_and_typed(lambda x: np.sort(x, axis), NAN), np.sort(NAN, axis))
        same(traced_and_typed(lambda x: np.argsort(x, axis), NAN), np.argsort(NAN, axis, kind="stable"))
    x = np.array([np.nan, 2.0, -np.inf, np.nan, 1.0])
    np.testing.assert_array_equal(tg.jacfwd(np.sort)(x), np.eye(5)[[2, 4, 1, 0, 3]])
    np.testing.assert_array_equal(tg.jacrev(np.sort)(x), np.eye(5)[[2, 4, 1, 0, 3]])


@pytest.mark.parametrize("axis", [-1, 0, None])
def test_derivatives_of_sorting(axis: Any) -> None:
    agrees_along(lambda xp, x: xp.sort(x, axis=axis), DISTINCT)
    agrees_along(lambda xp, x: xp.sort(x, axis=axis)[..., 1:3], DISTINCT)
    z = DISTINCT + 1j * DISTINCT[::-1]  # real parts far enough apart for differences not to change the order
    own = np.random.default_rng(1)
    t = own.normal(size=z.shape) + 1j * own.normal(size=z.shape)
    f = lambda z: (np.sort(z, axis),)
    np.testing.assert_allclose(tg.jvp(lambda z: np.sort(z, axis), (z,), (t,))[1], *five_point(f, [z], [t]), rtol=1e-9)


def test_empty_and_scalar() -> None:
    for shape in ((0,), (2, 0), (0, 3)):
        x = np.zeros(shape)
        same(traced_and_typed(np.sort, x), np.sort(x))
        same(traced_and_typed(np.argsort, x), np.argsort(x))
        assert tg.grad(lambda x: np.sum(np.sort(x)))(x).shape == shape
    same(traced_and_typed(lambda x: np.sort(x, None), np.array(2.5)), np.sort(np.array(2.5), None))
    with pytest.raises(np.exceptions.AxisError):
        traced_and_typed(np.sort, np.array(2.5))


# ---------------------------------------------------------------------------------------------------------------------
# Searching.


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side: Any) -> None:
    a = np.array([-1.0, 0.0, 0.5, 0.5, 2.0])
    v = np.array([[0.5, -2.0, 0.0], [2.0, 9.0, np.nan]])
    f = lambda a, v: np.searchsorted(a, v, side)
    for sorted_array in (a, a[:0], np.array([-np.inf, 0.5, np.nan])):
        same(traced_and_typed(f, sorted_array, v), f(sorted_array, v))
        for number in (0.5, 3, np.float32(0.5)):
            same(traced_and_typed(lambda a: f(a, number), sorted_array), np.asarray(f(sorted_array, number)))
        same(traced_and_typed(lambda v: f(sorted_array, v), v), f(sorted_array, v))
    for dtype in DTYPES:
        few = np.sort(np.array([1, 0, 1, 1], dtype))
        same(traced_and_typed(f, few, np.array([0, 1], dtype)), f(few, np.array([0, 1], dtype)))
        same(traced_and_typed(f, few, np.array([0.5, 1])), f(few, np.array([0.5, 1])))
    order = np.array([3, 1, 0, 2])
    shuffled = np.array([1.0, 0.5, 2.0, 0.0])
    expected = np.searchsorted(shuffled, v, side, order)
    same(traced_and_typed(lambda a, v: np.searchsorted(a, v, side, order), shuffled, v), expected)
    same(traced_and_typed(lambda a, v: a.searchsorted(v, side), a, v), f(a, v))
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
        traced_and_typed(lambda a: np.searchsorted(a, 1.0), np.ones((2, 2)))
    with pytest.raises(ValueError, match="side must be 'left' or 'right', got 'middle'"):
        traced_and_typed(lambda a: np.searchsorted(a, 1.0, "middle"), np.ones(2))


# ---------------------------------------------------------------------------------------------------------------------
# Interpolation.

XP, FP = np.array([0.0, 1.0, 1.5, 4.0]), np.array([1.0, -0.5, 2.0, 0.3])
BETWEEN = np.array([[-2.0, 0.3, 1.2], [1.7, 3.9, 6.1]])


# ---------------------------------------------------------------------------------------------------------------------
# Counting.


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


# ---------------------------------------------------------------------------------------------------------------------
# The largest of many.


@pytest.mark.parametrize("k", [0, 1, 2, 4, 6])
def test_top_k_of_equals_and_nan(k: int) -> None:
    for x in (
        np.array([3, 1, 3, 2, 3, 1]),
        np.array([1.0, np.nan, 3.0, 3.0, np.nan, -np.inf]),
        np.array([np.nan] * 6),
        np.array([True, False, True, True, False, False]),
        np.array([[5, 5, 5, 5, 5, 5], [1, 2, 3, 1, 2, 3]], np.uint8),
        np.array([np.inf, -np.inf, np.inf, 0, 1, 2], np.float32),
    ):
        same(lax.top_k(x, k), leaves(jax.lax.top_k(x, k)))
        same(tg.jit(lambda x: lax.top_k(x, k))(x), leaves(jax.lax.top_k(x, k)))


def test_top_k_of_many() -> None:
    x = rng.integers(0, 50, (20, 500))
    for k in (1, 7, 499):
        same(lax.top_k(x, k), leaves(jax.lax.top_k(x, k)))
        same(lax.top_k(x / 1, k), leaves(jax.lax.top_k(x / 1, k)))
        same(lax.top_k(x.T, k, axis=0), leaves(jax.lax.top_k(x.T, k, axis=0)))


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_searchsorted_in_the_dtype_that_holds_both(backend: str) -> None:
    """A Python number is an array: what int16 does not hold has a place among them all the same, and 0.1 is above float32's."""
    for a, v in (
        (np.array([4], np.int16), 2**40), (np.array([0.1, 2.0], np.float32), 0.1), (np.array([3], np.uint8), -1),
        (np.array([1, 2], np.int64), np.uint64(2**63)),
    ):  # fmt: skip
        assert tg.jit(np.searchsorted, backend=backend)(a, v) == np.searchsorted(a, v)
        assert tg.jit(lambda a, v=v: np.searchsorted(a, v), backend=backend)(a) == np.searchsorted(a, v)
