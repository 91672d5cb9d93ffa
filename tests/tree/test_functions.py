"""Prefixes that do not fit, and trees turned inside out."""

from __future__ import annotations

import pytest

from tests.tree import both, refusal
from tracegrad import tree


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


def test_transpose_of_what_does_not_fit():
    outer, inner = tree.tree_structure([0, 0]), tree.tree_structure({"a": 0})
    text = refusal(TypeError, tree.tree_transpose, outer, inner, [{"a": 1}, {"b": 2}])
    assert "inner_treedef has dict of 1: {'a': *}" in text and "inner tree 1 has dict of 1: {'b': *}" in text
    assert "outer_treedef has list of 2" in refusal(TypeError, tree.tree_transpose, outer, inner, ({"a": 1},))
    assert "pass inner_treedef" in refusal(TypeError, tree.tree_transpose, tree.tree_structure([]), None, [])
