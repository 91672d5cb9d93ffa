"""The way in and out of a compiled function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.compare import same_bits
from tests.transforms.jit.test_numpy import chain
from tests.transforms.test_signatures import Point

X = np.array([0.3, -1.2, 2.0])
BIG = np.random.default_rng(0).normal(size=(64, 128))


def layouts(x: Any) -> dict[str, Any]:
    frozen = x.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    return {
        "fortran": np.asfortranarray(x), "strided": np.repeat(x, 2, 0)[::2], "reversed": x[::-1].copy()[::-1],
        "read-only": frozen, "transposed": x.T.copy().T, "unaligned": unaligned, "swapped": x.astype(x.dtype.newbyteorder()),
        "broadcast": np.broadcast_to(x[:1], x.shape),
    }  # fmt: skip


@pytest.mark.parametrize("name", layouts(BIG))
def test_layouts_of_inputs(name: str) -> None:
    x = layouts(BIG)[name]
    f = lambda x: (chain(x), x @ x.T, np.sum(x, 0))
    for got, expected in zip(tg.jit(f)(x), f(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        assert got.dtype == np.float64


def test_empty_arrays() -> None:
    same_bits(tg.jit(chain)(np.zeros((0, 3))), np.zeros((0, 3)))


def test_methods_keywords_and_names() -> None:
    class Model:
        scale = 2.0

        @staticmethod
        @tg.jit
        def twice(x: Any) -> Any:
            "Doubles."
            return x * 2.0

    same_bits(Model().twice(X), X * 2)
    assert Model.twice.__doc__ == "Doubles."
    f = tg.jit(lambda x, *, y: x - y)
    same_bits(f(X, y=2.0), X - 2.0)
    same_bits(f(y=1.0, x=X), X - 1.0)


def test_outputs_of_all_kinds_of_containers() -> None:
    f = lambda x: Point(x, {"k": [x]})
    same_bits(tg.jit(f)(X), f(X))
    g = lambda x: {"a": [x, (x + 1.0, None)], "e": (), "one": (x,), "d": {"quote's": x}}
    same_bits(tg.jit(g)(X), g(X))
    assert tg.jit(lambda x: None)(X) is None


def test_calls_with_namedtuples_and_numbers_are_matched() -> None:
    """Such a call takes the short way: what it is called with is not taken apart by `tree`."""
    f = tg.jit(lambda state, y: Point(state.x + y, state.y + 1))
    state = Point(X, np.zeros((), np.int32))
    for count in range(4):
        same_bits(state.y, np.int32(count) if count else np.zeros((), np.int32))
        state = f(state, X)
        assert type(state) is Point and type(state.y) is np.int32
    entry = f._recent
    assert entry.matches((state, X)) is not None
    for other in (
        (tuple(state), X), (Point(state.x, np.int64(3)), X), (Point(state.x, 3), X), (Point(state.x, np.zeros(1, np.int32)), X)
    ):  # fmt: skip
        assert entry.matches(other) is None
    same_bits(f(Point(X, np.array(7, np.int32)), X), Point(X + X, np.int32(8)))


def test_many_leaves_of_one_type_are_matched() -> None:
    """Each of them is asked for its type, in whichever container it is."""
    given = {"first": [X.copy() for _ in range(70)], "second": {f"w{i}": BIG for i in range(40)}, "third": 1.5}
    f = tg.jit(lambda t: t["first"][69] * t["third"] + t["second"]["w39"][0, 0])
    want = f(given)
    leaves = f._recent.matches((given,))
    assert leaves is not None
    assert [id(x) for x in leaves] == [id(x) for x in tg.tree.tree_leaves(given)]
    same_bits(f(given), want)
    for name, key, other in (
        ("first", 0, X.astype(np.float32)), ("first", 69, X[:2]), ("first", 35, list(X)), ("second", "w39", BIG.T),
        ("second", "w0", X), ("second", "w7", {}),
    ):  # fmt: skip
        changed = given | {name: given[name].copy()}
        changed[name][key] = other
        assert f._recent.matches((changed,)) is None, (name, key)
    assert f._recent.matches((given | {"third": 1},)) is None
