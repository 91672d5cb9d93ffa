"""tracegrad.tree against jax.tree_util: the same leaves in the same order, the same structures; and our own errors."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import pickle
import re
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracegrad import tree, tree_util

Point = namedtuple("Point", "x y")


class Segment(Point):
    """A namedtuple's subclass is a node; a list's is not."""


class Row(list):
    pass


class Plain:
    """Registered without keys. Equality is by parts, so that a round trip can be compared."""

    def __init__(self, *children, aux="aux"):
        self.children, self.aux = children, aux

    def __eq__(self, other):
        return type(self) is type(other) and (self.children, self.aux) == (other.children, other.aux)

    def __repr__(self):
        return f"{type(self).__name__}{self.children}[{self.aux}]"

    def tree_flatten(self):
        return self.children, self.aux

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children, aux=aux)


class Keyed(Plain):
    """Registered with keys, in each library of its own kind."""

    def tree_flatten_with_keys(self):
        import jax

        key = (tree if Keyed.library == "tracegrad" else jax.tree_util).GetAttrKey
        return [(key(f"c{i}"), child) for i, child in enumerate(self.children)], self.aux


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


def with_jax(function, *args):
    """`function(jax.tree_util)`, in which Keyed makes jax's keys."""
    import jax

    Keyed.library = "jax"
    try:
        return function(jax.tree_util, *args)
    finally:
        Keyed.library = "tracegrad"


def both(function):
    """What a function of a tree library gives, having checked that jax's gives the same."""
    ours = function(tree)
    assert ours == with_jax(function)
    return ours


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


def describe(library, x, **options):
    """All that a library says of a tree, in comparable form."""
    leaves, treedef = library.tree_flatten(x, **options)
    pairs, again = library.tree_flatten_with_path(x, **options)
    assert again == treedef and hash(again) == hash(treedef) and [leaf for _, leaf in pairs] == leaves
    return {
        "leaves": leaves,
        "structure": str(treedef),
        "sizes": (treedef.num_leaves, treedef.num_nodes),
        "is_leaf": library.treedef_is_leaf(treedef),
        "children": [str(child) for child in library.treedef_children(treedef)],
        "paths": [library.keystr(path) for path, _ in pairs],
        "names": [library.keystr(path, simple=True, separator="/") for path, _ in pairs],
        "keys": [[repr(key) for key in path] for path, _ in pairs],
        "up_to": treedef.flatten_up_to(x),
        "all_leaves": library.all_leaves(leaves),
    }


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


def test_a_leaf_has_one_shared_structure():
    assert tree.tree_structure(1) is tree.tree_structure(np.ones(3)) is tree.tree_structure([1], is_leaf=bool)
    assert tree.tree_unflatten(tree.tree_structure(1), [[1, 2]]) == [1, 2]


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
    both(lambda library: library.keystr(("mine", 3)) + library.keystr(("mine", 3), simple=True, separator="."))
    both(lambda library: (library.all_leaves([1, None]), library.all_leaves([None], lambda x: x is None)))
    both(lambda library: [library.DictKey(0) == library.SequenceKey(0), library.DictKey(0) == library.DictKey(0)])
    assert len({tree.DictKey("a"), tree.DictKey("a"), tree.GetAttrKey("a")}) == 2


def test_partial_as_jax():
    def call(library):
        inner = library.Partial(lambda *args, **kwargs: (args, kwargs), 1, k=[2])
        outer = library.Partial(inner, 3)
        assert outer.func is inner or library is not tree
        results = []
        for p in (inner, outer, library.Partial(functools.partial(max, 1), 5)):
            leaves, treedef = library.tree_flatten(p)
            doubled = library.tree_map(lambda x: 2 * x, p)
            assert isinstance(doubled, library.Partial) and treedef == library.tree_structure(doubled)
            results.append((leaves, treedef.num_nodes, p(7), doubled(7)))
        return results

    both(call)
    p = pickle.loads(pickle.dumps(tree.Partial(max, 3)))
    assert type(p) is tree.Partial and p(4) == 4 and tree.tree_leaves(p) == [3]


def test_deep_trees():
    x, y = 1, 1
    for i in range(500):
        x, y = ([x], [y]) if i % 2 else ({"a": x}, {"a": y})
    treedef = tree.tree_structure(x)
    assert treedef == tree.tree_structure(y) and hash(treedef) == hash(tree.tree_structure(y))
    assert treedef.num_nodes == 501 and len(str(treedef)) > 1000
    assert tree.tree_leaves(tree.tree_map(lambda a, b: a + b, x, y)) == [2]
    assert len(tree.tree_leaves_with_path(x)[0][0]) == 500
    assert pickle.loads(pickle.dumps(treedef)) == treedef
    assert tree.broadcast_prefix(y, x) == [1]
    loop = []
    loop.append(loop)
    with pytest.raises(RecursionError, match="contains itself"):
        tree.tree_flatten(loop)


def test_many_passing_types_are_forgotten():
    for _ in range(10_010):
        Passing = namedtuple("Passing", "x")
        assert tree.tree_leaves(Passing(1)) == [1]
    assert len(tree._KINDS) <= 10_000
    assert tree.tree_leaves([Plain(1), {"a": (2, None)}]) == [1, 2]


# ---- errors: each names the key path, both sides, and what to do


def refusal(error, function, *args, **kwargs):
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_unsortable_keys():
    for x in ({1: 2, "b": 3}, defaultdict(int, {1: 2, "b": 3})):
        for function in (tree.tree_flatten, tree.tree_flatten_with_path, tree.tree_leaves):
            text = refusal(ValueError, function, {"a": [0, x]})
            assert text.startswith("cannot flatten the tree, at tree['a'][1]: its keys cannot be sorted: [1, 'b'] (")
            assert text.endswith("Use keys of one type, or an OrderedDict, which keeps its own order.")


def test_is_leaf_must_answer_yes_or_no():
    import jax

    for answer in (1, np.True_, "no"):
        is_leaf = {1: answer}.get  # None for the root, which jax takes for False
        refusal(ValueError, jax.tree_util.tree_flatten, (1,), is_leaf)
        for function in (tree.tree_flatten, tree.tree_flatten_with_path):
            text = refusal(ValueError, function, (1,), is_leaf)
            assert "at tree[0]: is_leaf must return True or False" in text and repr(answer) in text


def test_wrong_number_of_leaves():
    treedef = tree.tree_structure({"a": (1, 2)})
    assert refusal(ValueError, treedef.unflatten, [1]) == (
        "Too few leaves for PyTreeDef({'a': (*, *)}); expected 2, got 1."
        " Pass one for each *, in the order of tree_leaves."
    )
    assert refusal(ValueError, tree.tree_unflatten, treedef, range(3)).startswith("Too many leaves")
    assert "takes a PyTreeDef first, got list" in refusal(TypeError, tree.tree_unflatten, [1], treedef)


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


def test_prefixes_that_do_not_fit():
    value = tree.tree_structure(({"w": 1, "b": (2, 3)}, 4))
    assert tree.flatten_axes("in_axes", value, (0, None)) == [0, 0, 0, None]
    assert tree.flatten_axes("in_axes", value, None) == [None] * 4
    assert tree.flatten_axes("in_axes", value, ({"w": None, "b": 1}, 0)) == [1, 1, None, 0]
    assert refusal(ValueError, tree.flatten_axes, "in_axes", value, ({"w": 0}, None)) == (
        "in_axes does not fit the value: the structures differ at in_axes[0]\n"
        "  in_axes has dict of 1: {'w': *}\n"
        "  the value has dict of 2: {'b': (*, *), 'w': *}\n"
        "Missing keys: []; unexpected keys: ['b']. in_axes must have the containers of the value down to its leaves,"
        " each of which stands for all below."
    )
    assert "at in_axes[1]\n" in refusal(ValueError, tree.flatten_axes, "in_axes", value, (0, [1]))
    assert "write ({'w': 0, 'b': 1},)." in refusal(
        ValueError, tree.flatten_axes, "in_axes", tree.tree_structure(({"w": 1, "b": 2},)), {"w": 0, "b": 1}
    )
    text = refusal(ValueError, tree.tree_broadcast, {"a": [1, 2]}, {"a": [1, 2, 3]})
    assert text.startswith("prefix_tree does not fit full_tree: the structures differ at prefix_tree['a']")


class FlatCache:
    """A tree whose aux data are the structure of what it holds, as in jax's tests."""

    def __init__(self, leaves, structure):
        self.leaves, self.structure = list(leaves), structure


def test_transpose_where_aux_data_speak_of_what_is_held():
    def transposed(library):
        class Cache(FlatCache):
            pass

        library.register_pytree_node(Cache, lambda c: (c.leaves, c.structure), lambda td, xs: Cache(xs, td))
        a, nested = library.tree_flatten({"a": 1, "b": 2}), library.tree_flatten({"a": [3, 4], "b": [5, 6]})
        outer, inner = library.tree_structure(Cache(*a)), library.tree_structure([1, 2])
        with pytest.raises(TypeError, match="Mismatch"):
            library.tree_transpose(outer, library.tree_structure([1, 2, 3]), Cache(*nested))
        return [c.leaves for c in library.tree_transpose(outer, inner, Cache(*nested))]

    assert both(transposed) == [[3, 5], [4, 6]]


@pytest.mark.parametrize(
    ("outer", "inner", "x"),
    [
        ({"a": 1, "b": 2, "c": 3}, [1, 2], {"a": [1, 2], "b": [3, 4]}),
        ({"a": 1, "b": 2}, [1, 2, 3], {"a": [1, 2], "b": [3, 4]}),
        ([0, 0, 0], (0, 0), [[1, 2], [3, 4], [5, 6]]),
        ([0, 0, 0], [0, 0], [(1, 2), (3, 4), (5, 6)]),
        ([0, 0, 0], [0, 0], [1, [2, [3, [4, [5, [6]]]]]]),
    ],
)
def test_transpose_of_mismatched_structures_of_jax_tests(outer, inner, x):
    with pytest.raises(TypeError, match="Mismatch"):
        tree.tree_transpose(tree.tree_structure(outer), tree.tree_structure(inner), x)


@pytest.mark.parametrize("x", [1, None, (), [1, (2, {"b": 3, "a": None})], OrderedDict(b=1, a=[2])])
def test_compose_and_walk_as_jax(x):
    def composed(library):
        outer, inner = library.tree_structure(x), library.tree_structure(["*", {"k": "*"}])
        found = outer.compose(inner)
        return str(found), found.num_leaves, found.num_nodes, outer.compose(outer) == outer

    both(composed)

    def walked(library):
        seen: list[object] = []

        def node(children, data):
            seen.append((children, data if data is None else list(data)))
            return sum(children)

        def leaf(leaf):
            seen.append(leaf)
            return 2 * leaf

        leaves, structure = library.tree_flatten(x)
        with pytest.raises(ValueError, match="Too many leaves"):
            structure.walk(node, leaf, [*leaves, 1])
        seen.clear()
        return structure.walk(node, leaf, leaves), seen

    both(walked)
    leaves, structure = tree.tree_flatten(x)
    assert structure.walk(lambda children, _: sum(children), None, leaves) == sum(leaves)
    assert "takes a PyTreeDef" in refusal(TypeError, structure.compose, x)


def test_transpose_of_what_does_not_fit():
    outer, inner = tree.tree_structure([0, 0]), tree.tree_structure({"a": 0})
    text = refusal(TypeError, tree.tree_transpose, outer, inner, [{"a": 1}, {"b": 2}])
    assert "inner_treedef has dict of 1: {'a': *}" in text and "inner tree 1 has dict of 1: {'b': *}" in text
    assert "outer_treedef has list of 2" in refusal(TypeError, tree.tree_transpose, outer, inner, ({"a": 1},))
    assert "pass inner_treedef" in refusal(TypeError, tree.tree_transpose, tree.tree_structure([]), None, [])


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


def test_structure_of_a_type_unknown_here():
    class Gone:
        pass

    treedef = tree.PyTreeDef((Gone, None, None), 1)
    assert "first import the module that registers it" in refusal(TypeError, treedef.unflatten, [1])


# ---- the file itself


def test_imports_nothing_but_the_standard_library():
    text = Path(tree.__file__).read_text()
    modules = {alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert modules == {"builtins", "collections", "collections.abc", "contextlib", "functools", "sys", "typing"}
    # The aliases at the end hide two builtins: a bare use of them anywhere would be a bug.
    assert not re.search(r"(?<![\w.])(map|all)\(", re.sub(r'"""(.|\n)*?"""', "", text))


def test_registration():
    text = refusal(ValueError, tree.register_pytree_node, Plain, lambda x: ((), None), lambda *_: None)
    assert "test_tree.Plain is registered as a tree node already" in text and "register a subclass" in text
    assert "list is registered" in refusal(ValueError, tree_util.register_static, list)
    assert "only a class" in refusal(TypeError, tree.register_pytree_node, 3, lambda x: ((), None), lambda *_: None)

    class Wrong:
        def __init__(self, answer=3):
            self.answer = answer

    tree.register_pytree_node(Wrong, lambda x: x.answer, lambda *_: Wrong())
    for function in (tree.tree_flatten, tree.tree_flatten_with_path):
        text = refusal(ValueError, function, {"a": Wrong()})
        assert "at tree['a']: the flatten function of Wrong must return (children, aux_data)" in text
    text = refusal(ValueError, tree.tree_map, lambda *xs: xs, [Wrong(([1], None))], [Wrong()])
    assert "at tree[0]: the flatten function of Wrong" in text
    child = type("Child", (Wrong,), {})(([1], None))
    assert tree.tree_leaves(child) == [child], "subclasses are not registered along"


def test_types_that_are_registered_with_jax_alone():
    jax = pytest.importorskip("jax")

    class Layer:
        def __init__(self, w, b, name):
            self.w, self.b, self.name = w, b, name

    class Table(dict):
        pass

    jax.tree_util.register_pytree_with_keys(
        Layer,
        lambda x: (((jax.tree_util.GetAttrKey("w"), x.w), (jax.tree_util.GetAttrKey("b"), x.b)), x.name),
        lambda name, xs: Layer(*xs, name),
    )
    jax.tree_util.register_pytree_node(
        Table, lambda t: (list(t.values()), tuple(t)), lambda k, v: Table(zip(k, v, strict=False))
    )
    made = {"layer": Layer([1, 2], None, "first"), "table": Table(x=3, y=(4, 5))}
    leaves, treedef = tree.tree_flatten(made)
    assert leaves == [1, 2, 3, 4, 5] == jax.tree_util.tree_leaves(made)
    back = treedef.unflatten([10 * x for x in leaves])
    assert (back["layer"].w, back["layer"].b, back["layer"].name) == ([10, 20], None, "first")
    assert type(back["table"]) is Table and back["table"] == {"x": 30, "y": (40, 50)}
    paths = [tree.keystr(path) for path, _ in tree.tree_leaves_with_path(made)]
    assert paths == [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(made)]
    assert treedef == tree.tree_structure(back) and hash(treedef) == hash(tree.tree_structure(back))
    assert treedef != tree.tree_structure({**made, "layer": Layer([1, 2], None, "second")})
    assert "Layer[" in repr(treedef) and "first" in repr(treedef)
    assert "first" in refusal(ValueError, tree.tree_map, max, made, {**made, "layer": Layer([1, 2], None, "second")})


def test_what_jax_has_not_registered_is_a_leaf():
    pytest.importorskip("jax")

    class Own:
        pass

    class Sealed:
        def __new__(cls):
            raise AssertionError

    own, sealed = Own(), object.__new__(Sealed)
    assert tree.tree_leaves([own, sealed, np.ones(2), "a"])[:2] == [own, sealed]
