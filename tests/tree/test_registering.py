"""Own types as nodes, and partial functions."""

from __future__ import annotations

import functools
import pickle

from tests.tree import both, refusal
from tracegrad import tree, tree_util


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


def test_registration():
    text = refusal(ValueError, tree.register_pytree_node, tree.Partial, lambda x: ((), None), lambda *_: None)
    assert "Partial is registered as a tree node already" in text and "register a subclass" in text
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
