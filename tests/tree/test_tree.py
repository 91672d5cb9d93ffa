"""tracegrad.tree against jax.tree_util: the same leaves in the same order, the same structures."""

from __future__ import annotations

import ast
import copy
import dataclasses
import pickle
import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tree import Keyed, Plain, both, describe, refusal
from tracegrad import tree, tree_util

Point = namedtuple("Point", "x y")


class Segment(Point):
    """A namedtuple's subclass is a node; a list's is not."""


class Row(list):
    pass


@dataclasses.dataclass
class Layer:
    w: object
    b: object = None
    name: str = dataclasses.field(default="dense", metadata={"static": True})


class Mode(str):
    __slots__ = ()


@pytest.fixture(scope="module", autouse=True)
def registered():
    import jax

    Keyed.library = "tracegrad"
    for library in (tree_util, jax.tree_util):
        assert library.register_pytree_node_class(Plain) is Plain
        assert library.register_pytree_with_keys_class(Keyed) is Keyed
        assert library.register_dataclass(Layer) is Layer
        assert library.register_static(Mode) is Mode


TREES = [
    1.0,
    None,
    (),
    [],
    {},
    (1,),
    [1, (2, [3, None])],
    {"b": 1, "a": (2, {"d": 3, "c": 4})},
    {2: "two", 0: None, 1: "one"},
    {(1, 2): 3, (1, 1): 4},
    {True: 1, 0.5: 2},
    OrderedDict([("b", 1), ("a", [2])]),
    OrderedDict([(1, 2), ("a", 3)]),
    defaultdict(list, b=1, a=(2,)),
    Point(1, (2, 3)),
    [Segment(Point(1, 2), None)],
    deque([1, 2]),
    Counter("aab"),
    Row([1, 2]),
    {1, 2},
    "text",
    Plain(1, [2, 3]),
    {"k": Keyed(1, {"x": 2}, aux=(1, "s"))},
    [Layer(1, (2, 3)), Layer(None, name="other")],
    [Mode("train"), 1],
    tree.Partial(max, 1, (2, 3), key=None),
    {"it's": 1, 'say "x"': 2, "line\n": 3},
    (None, [None], {"a": None}),
]


@pytest.mark.parametrize("x", [x for x in TREES if not isinstance(x, tree.Partial)], ids=str)
def test_takes_apart_and_puts_together_as_jax(x):
    said = both(lambda library: describe(library, x))
    treedef = tree.tree_structure(x)
    back = treedef.unflatten(iter(said["leaves"]))
    assert type(back) is type(x) and back == x
    both(lambda library: library.tree_map(lambda leaf: [leaf], x))
    if isinstance(x, dict):
        assert list(back) == list(x)  # where jax sorts
    for copied in (pickle.loads(pickle.dumps(treedef)), copy.deepcopy(treedef), treedef):
        assert copied == treedef and hash(copied) == hash(treedef) and copied.unflatten(said["leaves"]) == x


keys = st.one_of(st.text("abc", max_size=2), st.just("key"))
values = st.one_of(st.integers(0, 9), st.none(), st.text("xy", max_size=1))
trees = st.recursive(
    values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(st.integers(0, 5), inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
        st.dictionaries(keys, inner, max_size=3).map(lambda d: defaultdict(int, d)),
        st.builds(Point, inner, inner),
        st.builds(Plain, inner, inner),
        st.builds(Keyed, inner, aux=st.integers(0, 1)),
        st.builds(Layer, inner, inner, st.sampled_from("pq")),
    ),
    max_leaves=12,
)
PREDICATES = [None, lambda x: x is None, lambda x: isinstance(x, tuple), lambda x: isinstance(x, dict) and "a" in x]


@given(trees, trees, st.sampled_from(PREDICATES))
def test_random_trees_as_jax(x, y, is_leaf):
    both(lambda library: describe(library, x, is_leaf=is_leaf))
    same = both(lambda library: library.tree_structure(x) == library.tree_structure(y))
    assert not same or hash(tree.tree_structure(x)) == hash(tree.tree_structure(y))

    def outcome(function):
        try:
            return function()
        except ValueError:
            return ValueError

    def cut(library):
        return outcome(lambda: library.tree_structure(x, is_leaf).flatten_up_to(y))

    def paired(library):
        return outcome(lambda: library.tree_map(lambda a, b: (a, b), x, y, is_leaf=is_leaf))

    def spread(library):
        return outcome(lambda: library.tree_broadcast(x, y, is_leaf))

    both(cut), both(paired), both(spread)


def orders(x):
    """The keys of every dict in a tree, in their order."""
    if isinstance(x, dict):
        return list(x), [orders(x[k]) for k in sorted(x)]
    if isinstance(x, list | tuple):
        return [orders(part) for part in x]
    return [orders(part) for part in vars(x).values()] if hasattr(x, "__dict__") else None


@given(trees)
def test_dicts_keep_the_order_of_their_keys(x):
    leaves, treedef = tree.tree_flatten(x)
    made = [
        treedef.unflatten(leaves),
        pickle.loads(pickle.dumps(treedef)).unflatten(leaves),
        tree.tree_map(lambda leaf: leaf, x),
        tree.tree_map_with_path(lambda _, leaf: leaf, x),
        tree.tree_broadcast(x, x),
    ]
    assert [orders(m) for m in made] == [orders(x)] * 5


def test_structures_differ_in_details_where_python_can_tell():
    for x, y in [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"c": {}, "d": {"y": None, "x": None}}, {"c": {}, "d": {"x": None, "y": None}}),
        ({1: 0}, {True: 0}),
        ({1: 0}, {1.0: 0}),
        (defaultdict(int, b=1, a=2), defaultdict(int, a=2, b=1)),
        ([Layer(1, name=1)], [Layer(1, name=True)]),
    ]:
        one, two = tree.tree_structure(x), tree.tree_structure(y)
        assert one == two and hash(one) == hash(two)
        assert repr(one.details()) != repr(two.details()), (x, y)
        assert repr(one.details()) == repr(tree.tree_structure(copy.deepcopy(x)).details())
    assert tree.tree_structure(1).details() == tree.tree_structure([(1, None)]).details() == []


@given(trees)
def test_every_prefix_spreads(full):
    """Cutting a tree anywhere gives a prefix; its leaves, spread, number the tree's."""
    prefix = tree.tree_map(lambda x: "p", full, is_leaf=lambda x: isinstance(x, tuple | Layer))
    spread = tree.broadcast_prefix(prefix, full)
    assert len(spread) == tree.tree_structure(full).num_leaves and set(spread) <= {"p"}
    assert both(lambda library: library.tree_broadcast(prefix, full)) == tree.tree_unflatten(
        tree.tree_structure(full), spread
    )
    assert tree.flatten_axes("in_axes", tree.tree_structure(full), prefix) == spread


def test_reduce_all_tuple_transpose_and_paths_as_jax():
    x = {"b": (1, 2), "a": [3]}
    assert both(lambda library: library.tree_reduce(lambda total, leaf: (total, leaf), x)) == ((3, 1), 2)
    assert both(lambda library: library.tree_reduce(lambda total, leaf: total + leaf, [], 5)) == 5
    assert both(lambda library: [library.tree_all(t) for t in ([], [1, 0], (True, {"a": 1}))]) == [True, False, True]
    assert tree.tree_all([None, 0], is_leaf=lambda x: x == [None, 0])
    both(lambda library: str(library.treedef_tuple(library.tree_structure(t) for t in (1, x))))
    assert tree.treedef_tuple([tree.tree_structure(1), tree.tree_structure(x)]) == tree.tree_structure((1, x))

    def transposed(library):
        outer, inner = library.tree_structure([0, 0]), library.tree_structure({"p": 0, "q": (0,)})
        rows = [{"p": 1, "q": (2,)}, {"p": 3, "q": (4,)}]
        return library.tree_transpose(outer, inner, rows), library.tree_transpose(outer, None, rows)

    assert both(transposed)[0] == {"p": [1, 3], "q": ([2, 4],)}
    both(
        lambda library: library.tree_map_with_path(
            lambda p, a, b: (library.keystr(p), a, b), x, {"b": (0, [1]), "a": [2]}
        )
    )
    both(
        lambda library: library.tree_flatten_with_path([1, (2,)], lambda p, _: len(p) == 1, is_leaf_takes_path=True)[0][
            1
        ][1]
    )
    both(lambda library: (library.all_leaves([1, None]), library.all_leaves([None], lambda x: x is None)))


def test_tree_map_of_different_trees():
    def text(*args, **kwargs):
        return refusal(ValueError, tree.tree_map, lambda *xs: xs, *args, **kwargs)

    assert text({"a": (1, 2)}, {"a": (1, 2)}, {"a": (1, 2, 3)}) == (
        "tree_map: the structures differ at tree['a']\n"
        "  tree has tuple of 2: (*, *)\n"
        "  rest[1] has tuple of 3: (*, *, *)\n"
        "rest[1] must have the containers of tree; where tree has a leaf, it may have any subtree."
    )
    assert "at tree\n  tree has dict of 1: {'a': *}\n  rest[0] has dict of 1: {'b': *}\n" in text({"a": 1}, {"b": 1})
    assert "Missing keys: ['a']; unexpected keys: ['b']" in text({"a": 1}, {"b": 1})
    assert "rest[0] has a leaf, ndarray of shape (3,)\n" in text([(1, 2)], [np.ones(3)])
    assert "tree has NoneType of 0: an empty tree" in text([None], [1])
    assert "pass is_leaf=lambda x: x is None" in text([None], [1])
    assert tree.tree_map(lambda x, y: y, [None], [1], is_leaf=lambda x: x is None) == [1]
    assert "at tree.w\n" in text(Layer((1, 2)), Layer(3))
    assert "Layer[('dense',)]" in text(Layer(1), Layer(1, name="b")) and "Layer[('b',)]" in text(
        Layer(1), Layer(1, name="b")
    )
    assert "at tree[<flat index 1>]\n" in text(Plain(1, [2]), Plain(1, 2))
    assert "at tree.c0\n" in text(Keyed([2]), Keyed(2))
    assert "rest[0] has dict\n" in text([1], {1: 2, "b": 3}), "what is wrong further down is not the point"
    assert "OrderedDict[('a', 'b')]" in text(OrderedDict(b=1, a=2), OrderedDict(a=1, b=2))
    assert "tuple of 2" in text(Point(1, 2), (1, 2))
    assert "tree_map_with_path: " in refusal(ValueError, tree.tree_map_with_path, lambda *xs: xs, [1], (1,))
    assert "flatten_up_to: the structures differ at treedef[0]" in refusal(
        ValueError, tree.tree_structure([[1]]).flatten_up_to, [2]
    )


def test_aux_data_that_cannot_be_hashed_or_compared():
    treedef = tree.tree_structure(Plain(1, aux=[2]))
    assert treedef == tree.tree_structure(Plain(1, aux=[2])) and treedef.unflatten([3]) == Plain(3, aux=[2])
    text = refusal(TypeError, hash, treedef)
    assert "PyTreeDef(CustomNode(Plain[[2]], [*])) cannot be hashed" in text and "Use a tuple" in text
    array = tree.tree_structure(Plain(1, aux=np.ones(2)))
    text = refusal(ValueError, lambda: array == tree.tree_structure(Plain(1, aux=np.ones(2))))
    assert "belongs among the children (data_fields)" in text
    text = refusal(ValueError, tree.tree_map, lambda *xs: xs, Plain(1, aux=np.ones(2)), Plain(1, aux=np.ones(2)))
    assert "cannot be compared" in text


def test_imports_nothing_but_the_standard_library():
    found = set()
    for path in Path(tree.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module)
    assert {name.split(".")[0] for name in found} <= {*sys.stdlib_module_names, "tracegrad"}
    assert all(name.startswith("tracegrad.tree.") for name in found if name.startswith("tracegrad"))
