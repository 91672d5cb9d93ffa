"""Indexing and `.at`: values against NumPy over random index expressions, derivatives against counting and jax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.check import check
from tracegrad.ops.index import at

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)


# ---------------------------------------------------------------------------------------------------------------------
# Random index expressions.


@st.composite
def slices(draw: Any, size: int) -> slice:
    bound = st.none() | st.integers(-size - 2, size + 2)
    return slice(draw(bound), draw(bound), draw(st.none() | st.integers(-3, 3).filter(bool)))


@st.composite
def expressions(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape and an index expression for it, of all kinds mixed."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    joint = tuple(draw(st.lists(st.integers(0, 3), min_size=0, max_size=2)))
    wild = draw(st.booleans())
    items: list[Any] = []
    axis = 0
    places: list[int] = []  # where an ellipsis may stand
    while axis < len(shape):
        places.append(len(items))
        size = shape[axis]
        kind = draw(st.sampled_from("ssiinaaalmM0b" if wild else "ssin"))
        if kind == "n":
            items.append(None)
            if len(items) > 7:
                break
            continue
        if kind == "b" and not any(isinstance(i, bool) for i in items):
            items.append(draw(st.booleans()) if joint in ((), (1,)) else True)
            continue
        if kind == "s" or size == 0:
            items.append(draw(slices(size)))
        elif kind in "i0":
            i = draw(st.integers(-size, size - 1))
            items.append(draw(st.sampled_from([i, np.int64(i), np.array(i)])))
        elif kind in "al":
            cut = draw(st.integers(0, len(joint)))
            part = tuple([draw(st.sampled_from([n, 1])) if n != 0 else n for n in joint[cut:]])
            a = draw(
                hnp.arrays(np.dtype(draw(st.sampled_from(["i8", "i4"]))), part, elements=st.integers(-size, size - 1))
            )
            items.append(a.tolist() if kind == "l" and a.ndim else a)
        elif kind == "m":
            mask = draw(hnp.arrays(bool, (size,)))
            items.append(mask)
        elif kind == "M":
            mask = draw(hnp.arrays(bool, shape[axis : axis + 2]))
            items.append(mask)
            axis += mask.ndim - 1
        else:
            items.append(draw(slices(size)))
        axis += 1
    places.append(len(items))
    if draw(st.booleans()):
        # An ellipsis stands for some of the slices, or for no axes at all.
        where = draw(st.sampled_from(places))
        items.insert(where, Ellipsis)
        while where + 1 < len(items) and type(items[where + 1]) is slice and draw(st.booleans()):
            del items[where + 1]
    elif draw(st.booleans()):
        while items and type(items[-1]) is slice:
            items.pop()
    if len(items) == 1 and draw(st.booleans()) and not isinstance(items[0], tuple):
        return shape, items[0]
    return shape, tuple(items)


def attempt(f: Callable[[], Any]) -> Any:
    try:
        return f()
    except (IndexError, ValueError) as error:
        return error


@settings(max_examples=600, deadline=None)
@given(expressions())
def test_values_types_and_derivative(drawn: tuple[tuple[int, ...], Any]) -> None:
    shape, index = drawn
    x = np.arange(float(np.prod(shape))).reshape(shape) + 1.0
    expected = attempt(lambda: x[index])
    if isinstance(expected, Exception):
        for argument in (x, tg.ShapeDtypeStruct(shape, "float64")):
            with pytest.raises((IndexError, ValueError)):
                tg.make_graph(lambda x: x[index])(argument)
        return
    abstract = tg.make_graph(lambda x: x[index])(tg.ShapeDtypeStruct(shape, "float64"))
    for graph in (tg.make_graph(lambda x: x[index])(x), abstract):
        check(graph)
        (found,) = graph(x)
        np.testing.assert_array_equal(found, expected)
        assert np.shape(found) == np.shape(expected)
    # The derivative of sum(w * x[index]): each w goes to the element that it met.
    w = RNG.normal(size=np.shape(expected))
    met = np.arange(x.size).reshape(shape)[index]
    counted = np.bincount(np.ravel(met), np.ravel(w), x.size).reshape(shape)
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(w * x[index]))(x), counted, atol=1e-14)
    np.testing.assert_allclose(tg.jvp(lambda x: x[index], (x,), (x * x,))[1], (x * x)[index])
    # Batched, one example is as before.
    xs = np.stack([x, 2 * x])
    np.testing.assert_array_equal(tg.vmap(lambda x: x[index])(xs), np.stack([x[index] for x in xs]))
    g = tg.vmap(tg.grad(lambda x: np.sum(w * x[index] ** 2)))(xs)
    np.testing.assert_allclose(g, 2 * xs * counted_with(w, met, x), atol=1e-12)


def counted_with(w: Any, met: Any, x: Any) -> Any:
    return np.bincount(np.ravel(met), np.ravel(w), x.size).reshape(x.shape)


@settings(max_examples=400, deadline=None)
@given(expressions(), st.randoms(use_true_random=False))
def test_set(drawn: tuple[tuple[int, ...], Any], random: Any) -> None:
    shape, index = drawn
    x = np.arange(float(np.prod(shape))).reshape(shape) + 1.0
    region = attempt(lambda: x[index])
    if isinstance(region, Exception):
        return
    v = RNG.normal(size=np.shape(region))
    # Written one by one, in order.
    places = np.arange(x.size).reshape(shape)[index]
    expected, writer = x.copy().reshape(-1), np.full(x.size, -1)
    for k, (place, value) in enumerate(zip(np.ravel(places), np.ravel(v), strict=True)):
        expected[place], writer[place] = value, k
    f = lambda x, v: at(x)[index].set(v)
    for found in (tg.make_graph(f)(x, v)(x, v)[0], at(x)[index].set(v), tg.make_graph(f)(*specs(x, v))(x, v)[0]):
        np.testing.assert_array_equal(found, expected.reshape(shape))
    w = RNG.normal(size=shape)
    gx, gv = tg.grad(lambda x, v: np.sum(w * f(x, v)), argnums=(0, 1))(x, v)
    np.testing.assert_array_equal(gx, np.where(writer.reshape(shape) < 0, w, 0))
    last = np.zeros(v.size)
    last[writer[writer >= 0]] = w.reshape(-1)[writer >= 0]
    np.testing.assert_array_equal(gv, last.reshape(v.shape))
    tangent = tg.jvp(lambda v: f(x, v), (v,), (2 * v,))[1]
    np.testing.assert_array_equal(tangent.reshape(-1)[writer >= 0], 2 * v.reshape(-1)[writer[writer >= 0]])
    xs, vs = np.stack([x, -x]), np.stack([v, v + 1])
    np.testing.assert_array_equal(tg.vmap(f)(xs, vs), np.stack([f(x, v) for x, v in zip(xs, vs, strict=True)]))
    np.testing.assert_array_equal(tg.vmap(f, (None, 0))(x, vs), np.stack([at(x)[index].set(v) for v in vs]))
    np.testing.assert_array_equal(tg.vmap(f, (0, None))(xs, v), np.stack([at(x)[index].set(v) for x in xs]))
    value = tg.vmap(lambda x: x.at[index].set(0.5))(xs)
    np.testing.assert_array_equal(value, np.stack([at(x)[index].set(0.5) for x in xs]))


def specs(*arrays: Any) -> list[Any]:
    return [tg.ShapeDtypeStruct(a.shape, a.dtype) for a in map(np.asarray, arrays)]


def test_places_may_be_traced_where_the_arrays_are_not() -> None:
    """NumPy does not look for tracers among the indices of np.take, nor among the shifts of np.roll."""
    x, v, places = np.arange(1.0, 4.0), np.array([2.0, 3.0]), np.array([[0, 0], [2, 1]])
    for name, by_hand in (("multiply", np.multiply.at), ("max", np.maximum.at), ("add", np.add.at)):
        found = tg.vmap(lambda i: getattr(at(x)[i], name)(v))(places)
        for row, i in zip(found, places, strict=True):
            expected = x.copy()
            by_hand(expected, i, v)
            np.testing.assert_array_equal(row, expected)
    np.testing.assert_array_equal(tg.vmap(lambda i: tnp.take(x, i))(places), x[places])
    np.testing.assert_array_equal(tg.vmap(lambda s: tnp.roll(x, s))(np.arange(3)), [np.roll(x, s) for s in range(3)])


# ---------------------------------------------------------------------------------------------------------------------
# Index arrays of every width, on axes that are longer than their dtype counts.


def by_hand(x: Any, places: list[int], mode: str | None) -> list[int | None]:
    """Where exact integers point: a place, or None for one that is left out."""
    n = len(x)
    if mode == "clip":
        return [min(max(i + n if i < 0 else i, 0), n - 1) for i in places]
    return [i % n if -n <= i < n else None for i in places]


@pytest.mark.parametrize("n", [127, 128, 256, 257])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_index_arrays_of_every_width(dtype: str, n: int) -> None:
    limits = np.iinfo(dtype)
    x = 1.0 + np.arange(n)
    anywhere = np.array([limits.min, limits.max, 0, 1, 126, min(n, limits.max), max(-n, limits.min)], dtype)
    inside = np.array([i for i in map(int, anywhere) if -n <= i < n], dtype)
    reads = {
        "clip": lambda x, i: at(x)[i].get(mode="clip"),
        "fill": lambda x, i: at(x)[i].get(mode="fill", fill_value=-1.0),
        None: lambda x, i: x[i],
    }
    for mode, read in reads.items():
        i = inside if mode is None else anywhere
        places = by_hand(x, [int(k) for k in i], mode)
        expected = np.array([-1.0 if k is None else x[k] for k in places])
        counts = np.bincount([k for k in places if k is not None], minlength=n).astype(float)
        for f in (read, tg.jit(read)):
            np.testing.assert_array_equal(f(x, i), expected)
        np.testing.assert_array_equal(tg.jit(lambda x: read(x, i))(x), expected)
        np.testing.assert_array_equal(tg.grad(lambda x: np.sum(read(x, i)))(x), counts)
    functions = {"add": (2.0, np.add), "multiply": (2.0, np.multiply), "max": (50.0, np.maximum), "set": (7.0, None)}
    for mode in ("clip", "drop"):
        for name, (value, function) in functions.items():
            update = lambda x, i: getattr(at(x)[i], name)(value, mode=mode)
            places = np.array([k for k in by_hand(x, [int(k) for k in anywhere], mode) if k is not None])
            expected = x.copy()
            if function is None:
                expected[places] = value
            else:
                function.at(expected, places, value)
            for f in (update, tg.jit(update)):
                np.testing.assert_array_equal(f(x, anywhere), expected)
            np.testing.assert_array_equal(tg.jit(lambda x: update(x, anywhere))(x), expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint64"])
def test_index_arrays_of_every_width_on_xla(dtype: str) -> None:
    limits, n = np.iinfo(dtype), 256
    x = 1.0 + np.arange(n)
    anywhere = np.array([limits.min, limits.max, 0, 1, 126], dtype)
    inside = np.array([i for i in map(int, anywhere) if -n <= i < n], dtype)
    f = lambda x, i, k: (
        x[k],
        x[k[1]],
        at(x)[i].get(mode="clip"),
        at(x)[i].add(1.0, mode="drop"),
        at(x)[k].multiply(2.0),
        np.take_along_axis(x, k, 0),
    )
    expected = f(x, anywhere, inside)
    for program in (f, lambda x, i, k: f(x, anywhere, inside)):
        for got, wanted in zip(tg.jit(program, backend="xla")(x, anywhere, inside), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_several_narrow_index_arrays() -> None:
    """Positions in the flat array are counted in a dtype of their own."""
    i, j = np.array([0, 3, 99, 3], np.int8), np.array([99, 5, 0, 5], np.uint8)
    x = np.ones((100, 300))
    expected = x.copy()
    np.multiply.at(expected, (i.astype(int), j.astype(int)), 2.0)
    for f in (lambda i, j: at(x)[i, j].multiply(2.0), tg.jit(lambda i, j: at(x)[i, j].multiply(2.0))):
        np.testing.assert_array_equal(f(i, j), expected)
    flat = np.ravel_multi_index((i.astype(int), j.astype(int)), x.shape)
    np.testing.assert_array_equal(tg.jit(lambda i, j: np.ravel_multi_index((i, j), x.shape))(i, j), flat)
    same = lambda u: np.stack(np.unravel_index(u, (16, 20)))
    np.testing.assert_array_equal(tg.jit(same)(np.array([0, 200, 255], np.uint8)), [[0, 10, 12], [0, 0, 15]])
    for dtype in (np.uint8, np.int8):
        k = np.array([0, 3, 100, 127], dtype)
        for mode in ("clip", "wrap"):
            np.testing.assert_array_equal(
                tg.jit(lambda k: tnp.take(np.arange(300.0), k, mode=mode))(k), k.astype(float)
            )
    rolled = tg.jit(lambda s: tnp.roll(np.arange(300.0), s))
    for shift in (np.uint8(200), np.int8(-100), np.uint64(7)):
        np.testing.assert_array_equal(rolled(shift), np.roll(np.arange(300.0), int(shift)))
