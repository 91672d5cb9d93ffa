"""Deep trees, what is_leaf may answer, and where trees differ."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.tree import refusal
from tracegrad import tree


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


def test_is_leaf_must_answer_yes_or_no():
    import jax

    for answer in (1, np.True_, "no"):
        is_leaf = {1: answer}.get  # None for the root, which jax takes for False
        refusal(ValueError, jax.tree_util.tree_flatten, (1,), is_leaf)
        for function in (tree.tree_flatten, tree.tree_flatten_with_path):
            text = refusal(ValueError, function, (1,), is_leaf)
            assert "at tree[0]: is_leaf must return True or False" in text and repr(answer) in text
