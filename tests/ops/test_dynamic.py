"""Windows at computed places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.ops.test_gather import derivatives_agree
from tracegrad import lax
from tracegrad.core.errors import DtypeError, ShapeError

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

STARTS = [(0, 0), (1, 2), (-1, -2), (7, -9), (2, 3)]


@pytest.mark.parametrize("starts", STARTS[1:4])
@pytest.mark.parametrize("sizes", [(2, 2), (3, 4), (3, 0)])
def test_dynamic_slice(starts: Any, sizes: Any) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    v = np.random.default_rng(1).normal(size=sizes)
    start = np.array(starts)
    derivatives_agree(
        lambda x: lax.dynamic_slice(x, starts, sizes), lambda x: jax.lax.dynamic_slice(x, starts, sizes), x
    )
    derivatives_agree(
        lambda x, v: lax.dynamic_update_slice(x, v, starts),
        lambda x, v: jax.lax.dynamic_update_slice(x, v, starts),
        x, v,
    )  # fmt: skip
    # The starts traced: as one vector, each alone, and one for each of a batch.
    read = lambda x, s: lax.dynamic_slice(x, s, sizes)
    write = lambda x, v, s: lax.dynamic_update_slice(x, v, s)
    there, written = np.asarray(jax.lax.dynamic_slice(x, starts, sizes)), jax.lax.dynamic_update_slice(x, v, starts)
    same(tg.jit(read)(x, start), there)
    same(tg.jit(read)(x, starts), there)
    same(tg.jit(write)(x, v, start), np.asarray(written))
    xs, vs, many = np.stack([x, -x, 2 * x]), np.stack([v, 2 * v, -v]), np.stack([start, start + 1, start - 3])
    for axes in ((0, 0), (None, 0), (0, None)):
        given = [a if k == 0 else a[0] for a, k in zip((xs, many), axes, strict=True)]
        expected = jax.vmap(lambda x, s: jax.lax.dynamic_slice(x, s, sizes), axes)(*given)
        same(tg.vmap(read, axes)(*given), np.asarray(expected))
    for axes in ((0, 0, 0), (None, 0, 0), (0, None, None), (None, None, 0)):
        given = [a if k == 0 else a[0] for a, k in zip((xs, vs, many), axes, strict=True)]
        expected = jax.vmap(jax.lax.dynamic_update_slice, axes)(*given)
        same(tg.vmap(write, axes)(*given), np.asarray(expected))

    def curved(namespace: Any, xp: Any) -> Callable[..., Any]:
        return lambda x, v, s: xp.sum(
            xp.sin(namespace.dynamic_update_slice(x * x, v, s)) * xp.cos(namespace.dynamic_slice(x, s, (1, 1)))
        )

    expected = jax.vmap(jax.grad(curved(jax.lax, jax.numpy), (0, 1)), (None, 0, 0))(x, vs, many)
    for a, b in zip(tg.vmap(tg.grad(curved(lax, np), (0, 1)), (None, 0, 0))(x, vs, many), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("index", [0, 1, -1, 9])
def test_dynamic_functions_of_one_axis(axis: int, index: int) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    slab = np.take(x, [0], axis) * 2
    for call in (
        lambda lax, x, v: lax.dynamic_slice_in_dim(x, index, 2, axis),
        lambda lax, x, v: lax.dynamic_index_in_dim(x, index, axis),
        lambda lax, x, v: lax.dynamic_index_in_dim(x, index, axis, keepdims=False),
        lambda lax, x, v: lax.dynamic_update_slice_in_dim(x, v, index, axis),
        lambda lax, x, v: lax.dynamic_update_index_in_dim(x, v, index, axis),
        lambda lax, x, v: lax.dynamic_update_index_in_dim(x, v.reshape(-1), index, axis),
    ):
        derivatives_agree(lambda x, v: call(lax, x, v), lambda x, v: call(jax.lax, x, v), x, slab)
    traced = tg.jit(lambda x, i: lax.dynamic_index_in_dim(x, i, axis))(x, index)
    same(traced, np.asarray(jax.lax.dynamic_index_in_dim(x, index, axis)))
    vector = tg.vmap(lambda i: lax.dynamic_index_in_dim(x, i, axis, False))(np.arange(-1, 5))
    same(vector, np.asarray(jax.vmap(lambda i: jax.lax.dynamic_index_in_dim(x, i, axis, False))(np.arange(-1, 5))))


def test_negative_starts_can_be_ruled_out() -> None:
    f = lambda i: lax.dynamic_slice(np.arange(10), (i,), (3,), allow_negative_indices=False)
    assert tg.jit(f)(-4).tolist() == f(-4).tolist() == [0, 1, 2]
    assert lax.dynamic_slice(np.arange(10), (-4,), (3,)).tolist() == [6, 7, 8]


def test_starts_of_small_integers() -> None:
    x = np.arange(1000.0)
    for dtype in (np.uint8, np.int8):
        starts = np.array([0, 3, 100], dtype)
        expected = np.stack([x[s : s + 2] for s in starts.tolist()])
        same(tg.vmap(lambda s: lax.dynamic_slice(x, (s,), (2,)))(starts), expected)
        same(tg.vmap(lambda s: lax.dynamic_slice(x, s[None], (2,)))(starts), expected)
    assert tg.jit(lambda s: lax.dynamic_slice(x, (s,), (1,)))(np.int8(-1)).tolist() == [999]


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_windows_of_windows(backend: str) -> None:
    """Each is moved until it lies within its own array. XLA makes one slice of two, and then one start of both starts."""
    x, v, one = np.arange(10.0), np.array([-1.0, -2.0, -3.0, -4.0]), np.array([7.0])
    read = lambda x, i, n: lax.dynamic_slice(x, (i,), (n,))
    write = lambda x, v, i: lax.dynamic_update_slice(x, v, (i,))
    nested = lambda x, i, j: (
        read(read(x, i, 4), j, 1),
        read(x, i, 4)[j % 4],
        write(x, write(v, one, j), i),
        read(write(x, v, i), j, 2),
        write(read(x, i, 4), one, j),
        read(write(read(x, i, 6), v, j), i, 3),
    )
    gradient = tg.grad(lambda x, i, j: sum([np.sum(np.sin(y)) for y in nested(x, i, j)]))
    programs = [tg.jit(f, backend=backend) for f in (nested, gradient, tg.vmap(gradient, (None, 0, 0)))]
    for i, j in [(9, 0), (9, 9), (-1, 2), (-30, -3), (3, 30), (2, 1)]:
        for got, expected in zip(programs[0](x, i, j), nested(x, np.int64(i), np.int64(j)), strict=True):
            same(np.asarray(got), expected)
        np.testing.assert_allclose(programs[1](x, i, j), gradient(x, i, j), rtol=1e-12, atol=1e-14)
    rows = np.array([9, 9, -1, 3]), np.array([0, 9, 2, 30])
    expected = np.stack([gradient(x, i, j) for i, j in zip(*rows, strict=True)])
    np.testing.assert_allclose(programs[2](x, *rows), expected, rtol=1e-12, atol=1e-14)
    assert tg.jit(lambda i, j: read(read(x, i, 4), j, 1), backend=backend)(9, 0).tolist() == [6.0]


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_windows_at_integers_of_every_width(dtype: str, backend: str) -> None:
    """On an axis longer than their dtype counts; and numbers that no dtype of ours holds lie beyond the end."""
    x, v = np.arange(300.0), np.array([-1.0, -2.0, -3.0])
    limits = np.iinfo(dtype)
    starts = np.array([limits.min, limits.max, 0, 1, 127], dtype)
    f = lambda x, s: (
        [lax.dynamic_slice(x, (s[k],), (3,)) for k in range(5)],
        [lax.dynamic_update_slice(x, v, (s[k],)) for k in range(5)],
        lax.gather(x, s[:, None], lax.GatherDimensionNumbers((1,), (), (0,)), (3,), mode="clip"),
        lax.scatter_add(x, s[:, None], np.ones(5), lax.ScatterDimensionNumbers((), (0,), (0,)), mode="drop"),
        tg.vmap(lambda s: lax.dynamic_slice(x, (s,), (3,)))(s),
        tg.vmap(lambda s: lax.dynamic_update_slice(x, v, (s,)))(s),
    )
    exact = [int(s) for s in starts]
    first = [min(max(s + 300 if s < 0 else s, 0), 297) for s in exact]
    slices = [x[s : s + 3] for s in first]
    updated = [np.concatenate([x[:s], v, x[s + 3 :]]) for s in first]
    clipped = np.stack([x[k : k + 3] for k in [min(max(s, 0), 297) for s in exact]])
    added = x.copy()
    np.add.at(added, [s for s in exact if 0 <= s < 300], 1)
    for got in (
        f(x, starts),
        tg.jit(f, backend=backend)(x, starts),
        tg.jit(lambda x: f(x, starts), backend=backend)(x),
    ):
        wanted = (slices, updated, clipped, added, np.stack(slices), np.stack(updated))
        for a, b in zip(tg.tree.tree_leaves(got), tg.tree.tree_leaves(wanted), strict=True):
            same(np.asarray(a), b)


def test_windows_in_nested_transforms() -> None:
    """A batch of Hessians of a function that reads and writes at places that are batched twice."""
    numbers = lambda lax: lax.GatherDimensionNumbers((1,), (), (0,))
    into = lambda lax: lax.ScatterDimensionNumbers((1,), (), (0,))

    def f(lax: Any, xp: Any, x: Any, i: Any) -> Any:
        windows = lax.gather(xp.sin(x), i, numbers(lax), (2,), mode="fill", fill_value=0.0)
        y = lax.scatter_add(x * x, i, windows * x[0], into(lax), mode="clip")
        y = lax.dynamic_update_slice(y, y[:2] ** 3, (i[0, 0],))
        return xp.sum(lax.dynamic_slice(y, (i[1, 0],), (3,)) ** 2)

    x, places = np.linspace(0.3, 1.2, 5), np.array([[[[0], [2]], [[3], [9]]], [[[-1], [1]], [[4], [0]]]])
    ours = tg.vmap(tg.vmap(tg.hessian(lambda x, i: f(lax, np, x, i)), (None, 0)), (None, 0))
    theirs = jax.vmap(jax.vmap(jax.hessian(lambda x, i: f(jax.lax, jax.numpy, x, i)), (None, 0)), (None, 0))
    expected = jax.jit(theirs)(x, places)
    np.testing.assert_allclose(ours(x, places), expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(tg.jit(ours)(x, places), expected, rtol=1e-11, atol=1e-12)


def test_errors_of_windows() -> None:
    x = np.zeros((3, 4))
    for call, text in (
        (lambda: lax.dynamic_slice(x, (0, 0), (2, 5)), r"a window of 5 does not fit axis 1 of f64\[3,4\], of size 4"),
        (lambda: lax.dynamic_slice(x, (0,), (2, 2)), r"a start and a size for each of its 2 axes, got 1 starts"),
        (lambda: lax.dynamic_slice(x, 3, (2, 2)), r"start_indices must be a sequence"),
        (lambda: lax.dynamic_update_slice(x, np.zeros((4, 1)), (0, 0)), r"a window of 4 does not fit axis 0"),
    ):
        with pytest.raises(ShapeError, match=text):
            call()
    with pytest.raises(DtypeError, match=r"a start must be an integer scalar, got f64~\[\] for axis 1"):
        lax.dynamic_slice(x, (0, 0.5), (1, 1))
    with pytest.raises(DtypeError, match=r"f64\[1,1\] cannot be written into i64\[3,4\].*operand\.astype\('float64'\)"):
        lax.dynamic_update_slice(x.astype(int), np.zeros((1, 1)), (0, 0))
