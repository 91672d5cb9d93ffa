"""`x.at[...]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tracegrad as tg
from tracegrad.ops.index import at

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)


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


@pytest.mark.parametrize("mode", [None, "drop", "clip", "fill"])
@pytest.mark.parametrize("method", ["set", "add", "subtract", "multiply", "mul", "divide", "power", "min", "max"])
def test_methods_of_tracers_are_those_of_jaxs_arrays(method: str, mode: str | None) -> None:
    x, w = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.arange(6.0).reshape(2, 3)
    v = np.array([[2.0], [0.5], [3.0]]) * np.ones(3)
    i = np.array([1, 0, 1])
    if method == "set":  # which of several updates counts jax does not say
        i, v = i[:2], v[:2]
    if mode is not None:
        i = np.where(i == 0, 7, i)
    f = lambda x: getattr(x.at[i], method)(v, mode=mode, indices_are_sorted=False, unique_indices=False)
    np.testing.assert_allclose(tg.jit(f)(x), f(jnp.asarray(x)), 1e-14)
    wanted = jax.grad(lambda x: jnp.sum(w * f(x)))(jnp.asarray(x))
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(w * f(x)))(x), wanted, 1e-14)


def test_get_and_apply_of_tracers() -> None:
    x, i = np.array([1.0, 2.0]), np.array([0, 5])
    assert tg.jit(lambda x: x.at[i].get(mode="fill", fill_value=-1.0))(x).tolist() == [1.0, -1.0]
    assert tg.jit(lambda x: x.at[i].get(mode="clip"))(x).tolist() == [1.0, 2.0]
    assert tg.jit(lambda x: x.at[np.array([0, 0])].apply(np.square))(2 * x).tolist() == [16.0, 4.0]


def test_ndarrays_have_no_at() -> None:
    x = np.array([1.0, 2.0])
    with pytest.raises(
        AttributeError, match=r"a plain NumPy array has no .at, asked for at .*write `tnp.at\(x\)\[i\].set\(v\)`"
    ):
        tg.grad(lambda t: t * np.sum(x.at[0].set(t)))(1.0)
