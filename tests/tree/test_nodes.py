"""Which types are nodes, and what cannot be taken apart."""

from __future__ import annotations

from collections import defaultdict, namedtuple

import numpy as np
import pytest

from tests.tree import refusal
from tracegrad import tree
from tracegrad.tree.nodes import KINDS


def test_many_passing_types_are_forgotten():
    for _ in range(10_010):
        Passing = namedtuple("Passing", "x")
        assert tree.tree_leaves(Passing(1)) == [1]
    assert len(KINDS) <= 10_000
    assert tree.tree_leaves([1, {"a": (2, None)}]) == [1, 2]


def test_unsortable_keys():
    for x in ({1: 2, "b": 3}, defaultdict(int, {1: 2, "b": 3})):
        for function in (tree.tree_flatten, tree.tree_flatten_with_path, tree.tree_leaves):
            text = refusal(ValueError, function, {"a": [0, x]})
            assert text.startswith("cannot flatten the tree, at tree['a'][1]: its keys cannot be sorted: [1, 'b'] (")
            assert text.endswith("Use keys of one type, or an OrderedDict, which keeps its own order.")


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
