"""Structures: equal, hashable, composed, walked, and filled with as many leaves as they have."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from tests.tree import both, refusal
from tracegrad import tree


def test_a_leaf_has_one_shared_structure():
    assert tree.tree_structure(1) is tree.tree_structure(np.ones(3)) is tree.tree_structure([1], is_leaf=bool)
    assert tree.tree_unflatten(tree.tree_structure(1), [[1, 2]]) == [1, 2]


def test_wrong_number_of_leaves():
    treedef = tree.tree_structure({"a": (1, 2)})
    assert refusal(ValueError, treedef.unflatten, [1]) == (
        "Too few leaves for PyTreeDef({'a': (*, *)}); expected 2, got 1."
        " Pass one for each *, in the order of tree_leaves."
    )
    assert refusal(ValueError, tree.tree_unflatten, treedef, range(3)).startswith("Too many leaves")
    assert "takes a PyTreeDef first, got list" in refusal(TypeError, tree.tree_unflatten, [1], treedef)


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


def test_structure_of_a_type_unknown_here():
    class Gone:
        pass

    treedef = tree.PyTreeDef((Gone, None, None), 1)
    assert "first import the module that registers it" in refusal(TypeError, treedef.unflatten, [1])
