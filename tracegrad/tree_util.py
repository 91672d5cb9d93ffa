"""`jax.tree_util`'s names: the functions of `tracegrad.tree`, and the ways of making own types tree nodes."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tracegrad.tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    KeyPath,
    Partial,
    PyTreeDef,
    SequenceKey,
    _Apart,
    _named,
    _Node,
    _register,
    _without_keys,
    all_leaves,
    keystr,
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

T = TypeVar("T")
C = TypeVar("C", bound=type)


def register_pytree_with_keys(
    nodetype: type[T],
    flatten_with_keys: Callable[[T], _Apart],
    unflatten_func: Callable[[Any, Any], T],
    flatten_func: Callable[[T], _Apart] | None = None,
) -> None:
    """`register_pytree_node` with names for the children: `flatten_with_keys(x) -> ([(key, child), ...], aux_data)`.

    >>> class Box:
    ...     def __init__(self, x): self.x = x
    >>> register_pytree_with_keys(Box, lambda b: ([(GetAttrKey("x"), b.x)], None), lambda _, xs: Box(*xs))
    >>> keystr(tree_leaves_with_path([Box(3)])[0][0])
    '[0].x'
    """
    _register(nodetype, _Node(flatten_func or _without_keys(flatten_with_keys), unflatten_func, flatten_with_keys))


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


def register_dataclass(
    nodetype: C,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> C:
    """Make a dataclass a tree node with the children `data_fields` and static `meta_fields`; also as a decorator.

    With neither given, every field is data but those with `metadata={"static": True}`. What `drop_fields` names is not
    kept: the constructor must fill it in. A class that is no dataclass needs both, and a constructor by keywords.
    TypeError if one is given without the other; ValueError if they overlap or are not what the constructor takes.

    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Layer:
    ...     w: float
    ...     name: str = dataclasses.field(metadata={"static": True})
    >>> tree_flatten(Layer(1.5, "dense"))
    ([1.5], PyTreeDef(CustomNode(Layer[('dense',)], [*])))
    """
    is_dataclass = dataclasses.is_dataclass(nodetype)
    fields = [f for f in dataclasses.fields(nodetype) if f.name not in drop_fields] if is_dataclass else []
    if data_fields is None and meta_fields is None and is_dataclass:
        data_fields = [f.name for f in fields if not f.metadata.get("static", False)]
        meta_fields = [f.name for f in fields if f.metadata.get("static", False)]
    if data_fields is None or meta_fields is None:
        raise TypeError(
            "register_dataclass needs data_fields and meta_fields, or neither of them and a dataclass; for"
            f" {nodetype!r} it got {data_fields=}, {meta_fields=}."
        )
    data, meta = tuple(data_fields), tuple(meta_fields)
    if both := sorted({*data} & {*meta}):
        raise ValueError(f"register_dataclass: {both} are in data_fields and in meta_fields; leave each in one.")
    needed = {f.name for f in fields if f.init}
    if is_dataclass and {*data, *meta} != needed:
        raise ValueError(
            f"register_dataclass: data_fields and meta_fields must be the fields of {nodetype.__name__} with init=True;"
            f" missing {sorted(needed - {*data, *meta})}, unexpected {sorted({*data, *meta} - needed)}. Name in"
            " drop_fields those that its constructor fills in."
        )

    def flatten(x: Any) -> _Apart:
        return [getattr(x, name) for name in data], tuple([getattr(x, name) for name in meta])

    def flatten_with_keys(x: Any) -> _Apart:
        children, aux = flatten(x)
        return _named(data, children), aux

    def unflatten(aux: Any, children: Any) -> Any:
        return nodetype(**dict(zip(meta + data, (*aux, *children), strict=True)))

    _register(nodetype, _Node(flatten, unflatten, flatten_with_keys))
    return nodetype


def register_static(cls: C) -> C:
    """Make the instances of a class, as a decorator, trees without leaves: part of the structure, to be hashable.

    >>> @register_static
    ... class Mode(str): pass
    >>> tree_flatten([1, Mode("train")])
    ([1], PyTreeDef([*, CustomNode(Mode[train], [])]))
    """
    register_pytree_node(cls, lambda x: ((), x), lambda x, _: x)
    return cls
