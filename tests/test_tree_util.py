"""The long names, and own types of nodes."""

from __future__ import annotations

import dataclasses
from collections import namedtuple

import pytest

from tests.test_tree import Plain, both, describe, refusal
from tracegrad import tree, tree_util


def test_dataclasses():
    import jax

    @dataclasses.dataclass
    class Fields:
        x: object
        y: object = 0
        z: object = dataclasses.field(default=0, init=False)

    class NoDataclass:
        def __init__(self, a, mode):
            self.a, self.mode = a, mode

    for arguments in [{}, {"data_fields": ["x"], "meta_fields": ["y", "q"]}, {"data_fields": ["x"], "meta_fields": []}]:
        for library in (tree_util, jax.tree_util):
            with pytest.raises(ValueError, match=r"fields"):
                library.register_dataclass(Fields, **arguments)
    for library in (tree_util, jax.tree_util):
        with pytest.raises(ValueError, match="x"):
            library.register_dataclass(Fields, ["x", "y"], ["x"])
        with pytest.raises(TypeError, match="data_fields"):
            library.register_dataclass(Fields, ["x", "y"])
        with pytest.raises(TypeError, match="data_fields"):
            library.register_dataclass(NoDataclass)
        library.register_dataclass(Fields, ["x"], [], drop_fields=["y"])
        library.register_dataclass(NoDataclass, data_fields=["a"], meta_fields=["mode"])
    both(lambda library: library.tree_map(lambda x: x + 1, Fields(1, 2)))
    both(lambda library: describe(library, [NoDataclass((1, 2), "fast")]))
    assert tree.tree_structure(NoDataclass(1, "fast")) != tree.tree_structure(NoDataclass(1, "slow"))

    @tree_util.register_dataclass
    @dataclasses.dataclass
    class Once:
        x: object

    with pytest.raises(ValueError, match=r"Once is registered as a tree node already"):
        tree_util.register_dataclass(Once)


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


def test_named_tuple_registered_later():
    Late = namedtuple("Late", "x y")
    assert tree.tree_leaves(Late(1, 2)) == [1, 2]
    tree.register_pytree_node(Late, lambda p: ((p.x,), p.y), lambda y, xs: Late(*xs, y))
    assert tree.tree_flatten(Late(1, 2))[0] == [1] and tree.tree_map(lambda x: x + 1, Late(1, 2)) == (2, 2)


def test_short_and_long_names():
    import jax

    missing = {"reduce_associative", "static"}
    short = {name for name in vars(jax.tree) if not name.startswith("_")} - missing
    for name in short:
        assert getattr(tree, name) is getattr(tree_util, f"tree_{name}")
    assert set(tree_util.__all__) <= set(vars(jax.tree_util)), "names that jax does not have"


def test_every_public_name_has_a_docstring():
    for name in tree_util.__all__:
        if name != "KeyPath":
            assert getattr(tree_util, name).__doc__, name
