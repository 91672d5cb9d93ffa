"""`jax.tree_util`'s names: the functions of `tracegrad.tree`, and the ways of making own types tree nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

from tracegrad.tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    KeyPath,
    Partial,
    PyTreeDef,
    SequenceKey,
    all_leaves,
    keystr,
    register_dataclass,
    register_pytree_node,
    tree_all,
    tree_broadcast,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_with_path,
    tree_reduce,
    tree_structure,
    tree_transpose,
    tree_unflatten,
    treedef_children,
    treedef_is_leaf,
    treedef_tuple,
)

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "KeyPath",
    "Partial",
    "PyTreeDef",
    "SequenceKey",
    "all_leaves",
    "keystr",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "tree_all",
    "tree_broadcast",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
]
from tracegrad.tree.nodes import Apart, Node, without_keys
from tracegrad.tree.registering import register

T = TypeVar("T")
C = TypeVar("C", bound=type)


def register_pytree_with_keys(
    nodetype: type[T],
    flatten_with_keys: Callable[[T], Apart],
    unflatten_func: Callable[[Any, Any], T],
    flatten_func: Callable[[T], Apart] | None = None,
) -> None:
    """`register_pytree_node` with names for the children: `flatten_with_keys(x) -> ([(key, child), ...], aux_data)`.

    >>> class Box:
    ...     def __init__(self, x): self.x = x
    >>> register_pytree_with_keys(Box, lambda b: ([(GetAttrKey("x"), b.x)], None), lambda _, xs: Box(*xs))
    >>> keystr(tree_leaves_with_path([Box(3)])[0][0])
    '[0].x'
    """
    register(nodetype, Node(flatten_func or without_keys(flatten_with_keys), unflatten_func, flatten_with_keys))


def register_pytree_node_class(cls: C) -> C:
    """`register_pytree_node` as a decorator: by the methods `tree_flatten()`, and `tree_unflatten(cls, aux, children)`.

    >>> @register_pytree_node_class
    ... class Box:
    ...     def __init__(self, x): self.x = x
    ...     def tree_flatten(self): return (self.x,), None
    ...     @classmethod
    ...     def tree_unflatten(cls, aux_data, children): return cls(*children)
    >>> tree_leaves(Box(3))
    [3]
    """
    methods: Any = cls
    register_pytree_node(cls, operator.methodcaller("tree_flatten"), methods.tree_unflatten)
    return cls


def register_pytree_with_keys_class(cls: C) -> C:
    """The same by `tree_flatten_with_keys()` and `tree_unflatten`, and for speed `tree_flatten()` if it is there.

    >>> @register_pytree_with_keys_class
    ... class Box:
    ...     def __init__(self, x): self.x = x
    ...     def tree_flatten_with_keys(self): return [(GetAttrKey("x"), self.x)], None
    ...     @classmethod
    ...     def tree_unflatten(cls, aux_data, children): return cls(*children)
    >>> keystr(tree_leaves_with_path(Box(3))[0][0])
    '.x'
    """
    methods: Any = cls
    plain = operator.methodcaller("tree_flatten") if hasattr(cls, "tree_flatten") else None
    keyed = operator.methodcaller("tree_flatten_with_keys")
    register_pytree_with_keys(cls, keyed, methods.tree_unflatten, plain)
    return cls


def register_static(cls: C) -> C:
    """Make the instances of a class, as a decorator, trees without leaves: part of the structure, to be hashable.

    >>> @register_static
    ... class Mode(str): pass
    >>> tree_flatten([1, Mode("train")])
    ([1], PyTreeDef([*, CustomNode(Mode[train], [])]))
    """
    register_pytree_node(cls, lambda x: ((), x), lambda x, _: x)
    return cls


def __dir__() -> list[str]:
    return list(__all__)
