"""tg.lax.gather and the scatter functions: values and derivatives against jax.lax on drawn
dimension numbers, vmap against a loop, jit against plain calls; errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.jaxprs import run_with_numpy
from tracegrad import lax
from tracegrad.core.errors import DtypeError, ShapeError

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

MODES = ["clip", "fill", None]


class Drawn(NamedTuple):
    """A call of gather, and the same windows as a call of a scatter function."""

    x: Any
    indices: Any
    updates: Any
    sizes: tuple[int, ...]
    gather: tuple[Any, ...]

    def numbers(self, namespace: Any, of_scatter: bool = False) -> Any:
        return (namespace.ScatterDimensionNumbers if of_scatter else namespace.GatherDimensionNumbers)(*self.gather)


def drawn(seed: int, reach: int = 1, least: int = 0) -> Drawn:
    """Dimension numbers at random, with so many indexed axes at least, and indices that reach so far beyond the operand."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    shape = tuple(rng.integers(1, 5, ndim).tolist())
    axes = rng.permutation(ndim).tolist()
    batching = tuple(sorted(axes[: rng.integers(0, min(2, ndim))]))
    others = [a for a in range(ndim) if a not in batching]
    index_map = tuple(rng.permutation(others)[: rng.integers(least, len(others) + 1)].tolist())
    collapsed = tuple(sorted(rng.permutation(others)[: rng.integers(0, len(others) + 1)].tolist()))
    removed = {*batching, *collapsed}
    sizes = tuple([1 if a in removed else int(rng.integers(1, n + 1)) for a, n in enumerate(shape)])
    lead = [int(n) for n in rng.integers(1, 4, rng.integers(len(batching), 3))]
    along = rng.permutation(len(lead))[: len(batching)].tolist()
    for a, i in zip(batching, along, strict=True):
        lead[i] = shape[a]
    indices = np.stack(
        [rng.integers(-reach, shape[a] - sizes[a] + 1 + reach, lead) for a in index_map] or [np.zeros((*lead, 0), int)],
        -1,
    ).reshape(*lead, len(index_map))
    window = [n for a, n in enumerate(sizes) if a not in removed]
    total = len(lead) + len(window)
    offsets = tuple(sorted(rng.permutation(total)[: len(window)].tolist()))
    in_window, in_lead = iter(window), iter(lead)
    result = tuple([next(in_window if i in offsets else in_lead) for i in range(total)])
    numbers = (offsets, collapsed, index_map, batching, tuple(along))
    return Drawn(rng.normal(size=shape), indices, rng.normal(size=result), sizes, numbers)


def derivatives_agree(ours: Callable[..., Any], theirs: Callable[..., Any], *xs: Any) -> None:
    """Value, jvp, vjp and a Hessian's product of a curved scalar of the result, against jax."""
    turned = tuple([np.sin(1.0 + np.arange(float(np.size(x)))).reshape(np.shape(x)) for x in xs])
    positions = tuple(range(len(xs)))

    def scalar(f: Callable[..., Any], xp: Any) -> Callable[..., Any]:
        def curved(*xs: Any) -> Any:
            out = f(*xs)
            weights = np.cos(np.arange(float(out.size))).reshape(out.shape)
            return xp.sum(weights * out + 0.5 * out**2)

        return curved

    reference = scalar(theirs, jax.numpy)
    expected = run_with_numpy(
        lambda xs: (jax.jvp(theirs, xs, turned), jax.jvp(jax.grad(reference, positions), xs, turned)), xs
    )
    mine = scalar(ours, np)
    found = tg.jvp(ours, xs, turned), tg.jvp(tg.grad(mine, positions), xs, turned)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    same(ours(*xs), found[0][0])
    for a, b in zip(tg.jit(tg.grad(mine, positions))(*xs), found[1][0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# gather.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(16))
def test_gather(seed: int, mode: Any) -> None:
    d = drawn(seed, 0 if mode is None else 1, least=1)
    ours = lambda x, i: lax.gather(x, i, d.numbers(lax), d.sizes, mode=mode, fill_value=0.5)
    theirs = lambda x, i: jax.lax.gather(x, i, d.numbers(jax.lax), d.sizes, mode=mode, fill_value=0.5)
    derivatives_agree(lambda x: ours(x, d.indices), lambda x: theirs(x, d.indices), d.x)
    expected = np.asarray(theirs(d.x, d.indices))
    assert type(ours(d.x, d.indices)) is np.ndarray or expected.shape == ()
    same(tg.jit(ours)(d.x, d.indices), expected, 1e-14)
    # Batched in the operand, in the indices, in both.
    step = 0 if mode is None else 1
    xs, indices = np.stack([d.x, -d.x, 2 * d.x]), np.stack([d.indices, d.indices + step, d.indices - step])
    same(tg.vmap(ours)(xs, indices), np.stack([theirs(x, i) for x, i in zip(xs, indices, strict=True)]), 1e-14)
    same(tg.vmap(ours, (0, None))(xs, d.indices), np.stack([theirs(x, d.indices) for x in xs]), 1e-14)
    same(tg.vmap(ours, (None, 0))(d.x, indices), np.stack([theirs(d.x, i) for i in indices]), 1e-14)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int8", "uint8", "int64", "bool"])
def test_what_windows_outside_are_filled_with(dtype: str) -> None:
    x = np.array([1, 0, 1], dtype)
    numbers = ((0,), (), (0,))
    for start in (-1, 0, 1, 2, 300):
        i = np.array([start], np.int16)
        found = lax.gather(x, i, lax.GatherDimensionNumbers(*numbers), (2,), mode="fill")
        expected = jax.lax.gather(x, i, jax.lax.GatherDimensionNumbers(*numbers), (2,), mode="fill")
        same(found, np.asarray(expected))


def test_a_promise_is_kept_or_raises() -> None:
    numbers = lax.GatherDimensionNumbers((), (0,), (0,))
    x, i = np.arange(4.0), np.array([[3], [0]])
    for mode in (None, "promise_in_bounds", lax.GatherScatterMode.PROMISE_IN_BOUNDS):
        f = lambda x, i: lax.gather(x, i, numbers, (1,), mode=mode)
        assert f(x, i).tolist() == tg.jit(f)(x, i).tolist() == [3, 0]
        for outside in (-1, 4):
            with pytest.raises(
                IndexError, match=rf"a window of 1 that begins at {outside} is out of bounds for axis 0"
            ):
                f(x, np.array([[1], [outside]]))
            with pytest.raises(IndexError, match="out of bounds"):
                tg.jit(f)(x, np.array([[1], [outside]]))


# ---------------------------------------------------------------------------------------------------------------------
# Scatter.

SCATTERS = ["scatter", "scatter_add", "scatter_sub", "scatter_mul", "scatter_max", "scatter_min"]


def densely(name: str, d: Drawn, mode: Any) -> Callable[..., Any]:
    """The function in jax, written over the whole matrix of which update meets which element: jax has the derivative of
    a product for unique indices only, and NaN for second derivatives of extremes."""
    units = np.eye(d.updates.size).reshape(d.updates.size, *d.updates.shape)
    add = lambda v: jax.lax.scatter_add(np.zeros(d.x.shape), d.indices, v, d.numbers(jax.lax, True), mode=mode)
    meets = np.moveaxis(np.asarray(jax.jit(jax.vmap(add))(units)), 0, -1) > 0
    reduce, neutral = {"mul": ("prod", 1), "max": ("max", -np.inf), "min": ("min", np.inf)}[
        name.removeprefix("scatter_")
    ]
    candidates = lambda x, v: [x[..., None], jax.numpy.where(meets, v.reshape(-1), neutral)]
    return lambda x, v: getattr(jax.numpy, reduce)(jax.numpy.concatenate(candidates(x, v), -1), -1)


@pytest.mark.parametrize("mode", ["clip", None])
@pytest.mark.parametrize("name", SCATTERS)
@pytest.mark.parametrize("seed", range(8))
def test_scatter(name: str, mode: Any, seed: int) -> None:
    d = drawn(seed, least=1)
    ours = lambda x, i, v: getattr(lax, name)(x, i, v, d.numbers(lax, True), mode=mode)
    theirs = jax.jit(lambda x, i, v: getattr(jax.lax, name)(x, i, v, d.numbers(jax.lax, True), mode=mode))
    expected = np.asarray(theirs(d.x, d.indices, d.updates))
    same(ours(d.x, d.indices, d.updates), expected, 1e-12)
    same(tg.jit(ours)(d.x, d.indices, d.updates), expected, 1e-12)
    reference = lambda x, v: theirs(x, d.indices, v)
    if name in ("scatter_mul", "scatter_max", "scatter_min"):
        reference = densely(name, d, mode)
    derivatives_agree(lambda x, v: ours(x, d.indices, v), reference, d.x, d.updates)
    rows = [(d.x, d.indices, d.updates), (-d.x, d.indices + 1, 2 * d.updates), (2 * d.x, d.indices - 1, -d.updates)]
    for axes in ((0, 0, 0), (0, None, 0), (None, 0, None), (None, None, 0), (0, 0, None)):
        chosen = [
            tuple([r if a == 0 else first for a, r, first in zip(axes, row, rows[0], strict=True)]) for row in rows
        ]
        given = [np.stack([r[k] for r in rows]) if a == 0 else rows[0][k] for k, a in enumerate(axes)]
        same(tg.vmap(ours, axes)(*given), np.stack([theirs(*row) for row in chosen]), 1e-12)


def test_equals_share_the_derivative_of_an_extreme() -> None:
    numbers = ((), (0,), (0,))
    i = np.array([[0], [0], [1], [2], [2]])
    x, v = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 2.0, 5.0, 5.0])
    for name in ("scatter_max", "scatter_min"):
        ours = lambda x, v: getattr(lax, name)(x, i, v, lax.ScatterDimensionNumbers(*numbers))
        derivatives_agree(ours, densely(name, Drawn(x, i, v, (1,), numbers), None), x, v)
    gx, gv = tg.grad(
        lambda x, v: np.sum(lax.scatter_max(x, i, v, lax.ScatterDimensionNumbers(*numbers))), argnums=(0, 1)
    )(x, v)
    np.testing.assert_allclose(gx, [1 / 3, 1 / 2, 0, 1])
    np.testing.assert_allclose(gv, [1 / 3, 1 / 3, 1 / 2, 1 / 2, 1 / 2])


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "bool"])
@pytest.mark.parametrize("name", ["scatter", "scatter_max", "scatter_min", "scatter_add"])
def test_scatter_keeps_the_dtype(name: str, dtype: str) -> None:
    x, v, i = np.array([1, 0, 1, 0], dtype), np.array([0, 1], dtype), np.array([[1], [7]], np.uint8)
    if (name, dtype) == ("scatter_add", "bool"):
        return  # jax has no such sum
    found = getattr(lax, name)(x, i, v, lax.ScatterDimensionNumbers((), (0,), (0,)))
    expected = getattr(jax.lax, name)(x, i, v, jax.lax.ScatterDimensionNumbers((), (0,), (0,)))
    same(found, np.asarray(expected))


def test_scatter_apply() -> None:
    numbers = ((), (0,), (0,))
    i = np.array([[1], [3], [9]])
    x = np.arange(1.0, 5.0)
    ours = lambda x: lax.scatter_apply(x, i, np.sin, lax.ScatterDimensionNumbers(*numbers), update_shape=(3,))
    theirs = jax.lax.scatter_apply(x, i, jax.numpy.sin, jax.lax.ScatterDimensionNumbers(*numbers), update_shape=(3,))
    same(ours(x), np.asarray(theirs), 1e-15)
    derivatives_agree(ours, lambda x: jax.numpy.where(np.array([False, True, False, True]), jax.numpy.sin(x), x), x)


def test_windows_without_indices() -> None:
    """Windows at the origin, one for each place of the indices, also of a scalar. (Of these, jax adds up the last only.)"""
    none = np.zeros((3, 0), int)
    x, v = np.arange(1.0, 5.0), np.array([5.0, 6.0, 7.0])
    read = lambda x: lax.gather(x, none, lax.GatherDimensionNumbers((), (0,), ()), (1,))
    add = lambda x, v: lax.scatter_add(x, none, v, lax.ScatterDimensionNumbers((), (0,), ()))
    assert read(x).tolist() == [1, 1, 1]
    assert tg.grad(lambda x: np.sum(read(x) * v))(x).tolist() == [18, 0, 0, 0]
    assert add(x, v).tolist() == [19, 2, 3, 4]
    assert tg.grad(lambda v: np.sum(add(x, v) * x))(v).tolist() == [1, 1, 1]
    scalar = lambda x: lax.gather(x, none, lax.GatherDimensionNumbers((), (), ()), ())
    assert scalar(2.0).tolist() == [2, 2, 2]
    assert tg.grad(lambda x: np.sum(scalar(x) * v))(2.0) == 18
    found = lax.scatter_add(2.0, none, v, lax.ScatterDimensionNumbers((), (), ()))
    assert found == 20 and np.shape(found) == ()


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


def test_errors_of_dimension_numbers() -> None:
    x, i = np.zeros((3, 4)), np.array([[0], [1]])
    numbers = lax.GatherDimensionNumbers((1,), (0,), (0,))
    for given, sizes, indices, text in (
        (numbers, (1, 4), np.zeros((2, 2), int), r"i64\[2,2\] has 2 entries for the 1 axes \(0,\)"),
        (numbers, (1, 5), i, r"a window of 5 does not fit axis 1 of size 4"),
        (numbers, (2, 4), i, r"axis 0 is collapsed or batched, so its window must be 1 wide, not 2"),
        (numbers, (1,), i, r"a window needs a size for each axis"),
        (numbers._replace(offset_dims=(2,)), (1, 4), i, r"as many places, in order, among the 2 of the result"),
        (numbers._replace(offset_dims=()), (1, 4), i, r"a window has 1 axes"),
        (numbers._replace(start_index_map=(5,)), (1, 4), i, r"names axes that an operand of shape \(3, 4\) has not"),
        (numbers._replace(collapsed_slice_dims=(0, 0)), (1, 4), i, r"an axis of the operand is named twice"),
        (
            lax.GatherDimensionNumbers((1,), (), (1,), (0,), (0,)), (1, 4), i,
            r"batching axes \(0,\) of the operand \(3, 4\) and \(0,\) of the indices i64\[2,1\]",
        ),
    ):  # fmt: skip
        with pytest.raises(ShapeError, match=text):
            lax.gather(x, indices, given, sizes)
    with pytest.raises(DtypeError, match=r"indices must be integers, got f64\[2,1\].*write i\.astype\(int\)"):
        lax.gather(x, i / 1, numbers, (1, 4))
    with pytest.raises(ValueError, match=r"mode must be one of 'clip'.*got 'wrap'"):
        lax.gather(x, i, numbers, (1, 4), mode="wrap")
    into = lax.ScatterDimensionNumbers((1,), (0,), (0,))
    with pytest.raises(ShapeError, match=r"updates f64\[3,4\] must have the 1 axes \(2,\) of the indices"):
        lax.scatter(x, i, np.zeros((3, 4)), into)
    with pytest.raises(DtypeError, match=r"updates f64\[2,4\] cannot be written into i64\[3,4\] without loss"):
        lax.scatter_add(x.astype(int), i, np.zeros((2, 4)), into)
    with pytest.raises(DtypeError, match=r"scatter_max: complex numbers have no order"):
        lax.scatter_max(x + 0j, i, np.zeros((2, 4)), into)
