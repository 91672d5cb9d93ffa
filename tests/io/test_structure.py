"""Trees taken apart into JSON and arrays, and put together again."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.io.structure import by_dots, leaf_specs, put_together, taken_apart

Point = namedtuple("Point", "x y")


@tg.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    kernel: Any
    name: str = dataclasses.field(metadata={"static": True})


def again(tree: Any) -> Any:
    """A tree by way of JSON."""
    found = taken_apart(tree)
    spec = json.loads(json.dumps(found.spec, allow_nan=False))
    assert [name for name, _ in leaf_specs(spec)] == list(found.leaves)
    return put_together(spec, lambda name: np.asarray(found.leaves[name].value))


@pytest.mark.parametrize(
    "tree",
    [
        None,
        3,
        -(10**30),
        2.5,
        True,
        "text",
        1 + 2j,
        [],
        {},
        (),
        [1, (2.0, [None])],
        {"b": 1, "a": {"c": "x"}},
        OrderedDict(z=1, a=2),
        {0: "int", 1: "one"},
        OrderedDict([(1.5, 0), (None, 1), (True, 2), ((1, "a"), 3)]),
        {"name": "name"},
    ],
    ids=repr,
)
def test_python_is_itself_again(tree: Any) -> None:
    found = again(tree)
    assert found == tree and type(found) is type(tree)
    assert repr(found) == repr(tree)  # the order of keys, and True apart from 1


def test_floats_to_the_last_bit() -> None:
    for x in (0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf):
        assert again([x])[0].hex() == x.hex()
    assert math.isnan(again(math.nan))
    assert repr(again(complex(-0.0, math.inf))) == repr(complex(-0.0, math.inf))


def test_numpy_scalars_are_scalars_again() -> None:
    for x in (np.float64(0.5), np.int8(3), np.bool_(True), np.complex64(1j)):
        found = again([x])[0]
        assert type(found) is type(x) and found == x


def test_classes_come_as_their_fields() -> None:
    assert again(Point(1, [2])) == {"x": 1, "y": [2]}
    assert again(Layer(3, "dense")) == {"kernel": 3}
    assert again(defaultdict(list, a=1)) == {"a": 1}
    assert taken_apart({"p": Point(1, 2)}).leaves.keys() == {"p.x", "p.y"}
    assert "Point" in json.dumps(taken_apart(Point(1, 2)).spec)


def test_unordered_keys() -> None:
    """A tree of jax's sorts its keys; a file has no need to."""
    assert again({"b": 1, 3: 2, None: 0}) == {"b": 1, 3: 2, None: 0}


def test_nodes_of_jax() -> None:
    flax = pytest.importorskip("flax.struct")

    @flax.dataclass
    class State:
        w: Any
        step: int = flax.field(pytree_node=False)

    assert again(State(w=1.5, step=3)) == {"w": 1.5}


def test_what_has_no_form() -> None:
    with pytest.raises(
        TypeError, match=r"tree\['f'\]\[0\] cannot be saved: a value of type function is not an array.*leave it out"
    ):
        taken_apart({"f": [lambda: 0]})
    with pytest.raises(
        TypeError, match=r"tree\['x'\] cannot be saved: a numpy\.ma\.MaskedArray .*its mask would be lost"
    ):
        taken_apart({"x": np.ma.masked_array([1.0], [True])})
    with pytest.raises(TypeError, match=r"tree\['a'\] has the key b'k' of type bytes"):
        taken_apart({"a": {b"k": 1}})
    with pytest.raises(ValueError, match=r"tree\[0\] and tree\['0'\] would both be called '0' in a file"):
        taken_apart({0: 1, "0": 2})
    with pytest.raises(
        TypeError, match=r"tree\[0\] is the type .*f64\[3\].*no values|tree\[0\] is the type ShapeDtypeStruct"
    ):
        taken_apart([tg.ShapeDtypeStruct(3, "f8")])

    @dataclasses.dataclass
    class Unregistered:
        w: float

    with pytest.raises(TypeError, match=r"register its class \(tg\.tree_util\.register_dataclass\)"):
        taken_apart(Unregistered(1.0))


@pytest.mark.parametrize("transform", [tg.grad, tg.jit, lambda f: tg.jit(f, backend="xla")])
def test_traced_arrays(transform: Any) -> None:
    def f(x: Any) -> Any:
        taken_apart({"x": x})
        return x

    with pytest.raises(TypeError, match=r"tree\['x'\] is an array that is being traced, .* call save outside of jit"):
        transform(f)(1.0)


def test_arrays_of_jax_that_it_traces(jax: Any) -> None:
    with pytest.raises(TypeError, match=r"tree\['x'\] is an array that is being traced"):
        jax.jit(lambda x: taken_apart({"x": x}) and x)(1.0)
    with pytest.raises(TypeError, match=r"tree\['k'\] cannot be saved: .*jax\.random\.key_data"):
        taken_apart({"k": jax.random.key(0)})


def test_by_dots() -> None:
    names = {name: name.split(".") for name in ("a.b.c", "a.b.d", "e")}
    assert by_dots(names, str.upper) == {"a": {"b": {"c": "A.B.C", "d": "A.B.D"}}, "e": "E"}
    for beginning in (("a", "a.b"), ("a.b", "a")):
        assert by_dots({name: name.split(".") for name in beginning}, str.upper) == {"a": "A", "a.b": "A.B"}


def test_structures_of_a_later_version() -> None:
    with pytest.raises(ValueError, match="which this version of tracegrad does not know"):
        put_together({"set": [1]}, lambda name: np.zeros(1))
