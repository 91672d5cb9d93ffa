"""The long names, and own types of nodes."""

from __future__ import annotations

import dataclasses
from collections import namedtuple

import pytest

from tests.tree import both, describe
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
