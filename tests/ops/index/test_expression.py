"""Index expressions against NumPy, and index arrays of every width."""

from __future__ import annotations

import array
from collections import UserList, deque, namedtuple
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.ops.index.test_at import attempt, expressions
from tracegrad.core.check import check
from tracegrad.ops.index import at

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)


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


class Counted:
    """A sequence of its own: a length and items."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> int:
        if i >= 2:
            raise IndexError(i)
        return i


class Interface:
    def __init__(self, a: Any) -> None:
        self.a = a
        self.__array_interface__ = a.__array_interface__


class Tuple(tuple[Any, ...]):
    pass


Pair = namedtuple("Pair", "row column")

# What NumPy takes for an index, for several, or for none.
OBJECTS: dict[str, Any] = {
    "range": range(2), "empty range": range(0), "range backwards": range(2, -1, -1),
    "array.array": array.array("i", [0, 1]), "of floats": array.array("d", [0, 1]), "of no floats": array.array("d"),
    "deque": deque([0, 1]), "empty deque": deque(), "deque of bools": deque([True, False, True, False]),
    "memoryview": memoryview(np.array([0, 1])), "of bytes": memoryview(b"\0\1"), "of one": memoryview(np.array(1)),
    "of bools": memoryview(np.array([True, False, True, False])),
    "UserList": UserList([0, 1]), "a sequence": Counted(), "an interface": Interface(np.array([0, 1])),
    "list of ranges": [range(2), range(2)], "list of tuples": [(0, 1), (1, 0)], "list of none": [[], []],
    "tuple": Tuple((0, 1)), "named tuple": Pair(0, 1), "of arrays": Pair(np.array([0, 1]), np.array([1, 2])),
    "bytes": b"\0\1", "bytearray": bytearray([0, 1]), "str": "01", "empty str": "", "NumPy's str": np.str_("a"),
    "set": {0, 1}, "dict": {0: 1}, "keys": {0: 1}.keys(), "iterator": iter([0, 1]), "object": object(),
    "array of objects": np.array([0, 1], dtype=object), "None in a list": [None, 0], "slice in a list": [slice(0, 1)],
    "str in a list": ["a"], "float": 1.0, "NumPy's float": np.float64(1.0), "complex": 1j, "empty floats": np.zeros(0),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OBJECTS))
@pytest.mark.filterwarnings("ignore:Conversion of an array with ndim")
def test_every_kind_of_object_is_an_index_as_it_is_to_numpy(name: str) -> None:
    item = OBJECTS[name]
    x = np.arange(24.0).reshape(4, 3, 2)
    places: list[Callable[[Any], Any]] = [lambda x: x[item], lambda x: x[item, 1], lambda x: x[item, :, 0]]
    for f in places:
        wanted = attempt(lambda: f(x))
        runs: list[Callable[[], Any]] = [
            lambda: tg.vjp(f, x)[0],
            lambda: tg.jit(f)(x),
            lambda: f(at(x)).get(),
        ]
        for run in runs:
            if isinstance(wanted, np.ndarray):
                assert np.array_equal(run(), wanted)
            else:
                with pytest.raises(IndexError):
                    run()


def test_sequences_that_hold_traced_indices() -> None:
    x = np.arange(24.0).reshape(4, 3, 2)
    for made in (list, deque, UserList):

        def f(x: Any, i: Any, made: Any = made) -> Any:
            return x[made([i[0], 2])]

        i = np.array([1, 0])
        assert np.array_equal(tg.vjp(lambda x, f=f: f(x, i), x)[0], f(x, i))
        assert np.array_equal(tg.jit(f)(x, i), f(x, i))
        assert np.array_equal(tg.vmap(f, in_axes=(None, 0))(x, i[:, None]), np.stack([f(x, [1]), f(x, [0])]))


def test_tnp_takes_every_kind_of_sequence() -> None:
    x = np.arange(6.0)
    for i in (range(3), array.array("i", [0, 2]), deque([1, 2]), memoryview(np.array([0, 1]))):
        for transform in (tg.jit, lambda f: lambda x: tg.vjp(f, x)[0]):
            assert np.array_equal(transform(lambda x, i=i: tnp.take(x, i))(x), np.take(x, i))
            assert np.array_equal(transform(lambda x, i=i: tnp.take_along_axis(x, np.array(i), 0))(x), x[np.array(i)])
            assert np.array_equal(transform(lambda x, i=i: tnp.at(x)[i].set(9.0))(x), tnp.at(x)[i].set(9.0))
            assert np.array_equal(transform(lambda x, i=i: tnp.delete(x, i))(x), np.delete(x, i))
