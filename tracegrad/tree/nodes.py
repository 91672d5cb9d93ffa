"""How each type is taken apart, and what is said where one cannot be."""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tracegrad.tree.keys import DictKey, FlattenedIndexKey, GetAttrKey, KeyPath, SequenceKey, keystr

Apart = tuple[Iterable[Any], Any]  # a node taken apart: its children (or pairs of key and child), and its data


class Node:
    """`flatten(x) -> (children, data)`, `unflatten(data, children) -> x`, `keyed(x) -> ([(key, child), ...], data)`."""

    __slots__ = ("flatten", "keyed", "unflatten")

    def __init__(
        self,
        flatten: Callable[[Any], Apart],
        unflatten: Callable[[Any, tuple[Any, ...]], Any],
        keyed: Callable[[Any], Apart],
    ) -> None:
        self.flatten = flatten
        self.unflatten = unflatten
        self.keyed = keyed


class _Kinds(dict[type, Any]):
    """The `Node` of every type met so far, None for a type of leaves: what a walk asks about each value."""

    def __missing__(self, cls: Any) -> Node | None:
        node = REGISTERED.get(cls)
        if is_namedtuple(cls):
            node = Node(lambda x: (x, None), lambda _, xs: cls(*xs), lambda x: (named(cls._fields, x), None))
        elif node is None and _is_node_of_jax(cls):
            node = _NODE_OF_JAX
        if len(self) >= 10_000:  # types made in a loop must not pile up for ever
            self.clear()
        self[cls] = node
        return node


def is_namedtuple(cls: type) -> bool:
    """Whether it is the type of a namedtuple, and nobody has said that it is to be taken apart in another way.

    >>> from collections import namedtuple
    >>> is_namedtuple(namedtuple("Point", "x y")), is_namedtuple(tuple)
    (True, False)
    """
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and cls not in REGISTERED


def named(names: Iterable[str], children: Iterable[Any]) -> list[tuple[GetAttrKey, Any]]:
    return [(GetAttrKey(name), child) for name, child in zip(names, children, strict=True)]


class SortedKeys(tuple[Any, ...]):
    """The sorted keys of a dict that has them in another order, which does not count where they are compared."""

    order: tuple[Any, ...]


def sorted_keys(mapping: dict[Any, Any]) -> tuple[Any, ...]:
    order = tuple(mapping)
    try:
        keys = tuple(sorted(order))
        if keys == order:
            return keys
        found = SortedKeys(keys)
        found.order = order
        return found
    except Exception as why:
        raise Fault(
            f"its keys cannot be sorted: {clip(list(mapping))} ({why}). Leaves stand in the order of their sorted"
            " keys. Use keys of one type, or an OrderedDict, which keeps its own order"
        ) from None


def in_order(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    return keys.order if type(keys) is SortedKeys else keys


def dict_of(keys: tuple[Any, ...], values: Iterable[Any]) -> dict[Any, Any]:
    """The dict of sorted keys and their values, in the order in which it was taken apart."""
    found = dict(zip(keys, values, strict=True))
    return {k: found[k] for k in keys.order} if type(keys) is SortedKeys else found


def _keyed_mapping(d: dict[Any, Any], keys: tuple[Any, ...]) -> Apart:
    return [(DictKey(k), d[k]) for k in keys], keys


def _keyed_sequence(xs: Sequence[Any]) -> Apart:
    return [(SequenceKey(i), x) for i, x in enumerate(xs)], None


def _keyed_defaultdict(d: defaultdict[Any, Any]) -> Apart:
    items, keys = _keyed_mapping(d, sorted_keys(d))
    return items, (d.default_factory, keys)


def with_keys(flatten: Callable[[Any], Apart]) -> Callable[[Any], Apart]:
    def keyed(x: Any) -> Apart:
        children, data = checked(type(x), flatten(x))
        return [(FlattenedIndexKey(i), child) for i, child in enumerate(children)], data

    return keyed


def without_keys(keyed: Callable[[Any], Apart]) -> Callable[[Any], Apart]:
    def flatten(x: Any) -> Apart:
        items, data = checked(type(x), keyed(x))
        return [child for _, child in items], data

    return flatten


def checked(cls: type, apart: Any) -> Apart:
    if type(apart) is tuple and len(apart) == 2:
        return apart
    raise Fault(f"the flatten function of {cls.__name__} must return (children, aux_data), it returned {clip(apart)}")


# -- Types that are registered with jax alone: an equinox module, a flax struct. Who has one has imported jax; this does not.


def _is_node_of_jax(cls: type) -> bool:
    """Whether jax takes instances of a class apart. It is asked about an empty one, since it goes by the type."""
    all_leaves = getattr(sys.modules.get("jax.tree_util"), "all_leaves", None)
    if all_leaves is None or hasattr(cls, "__del__"):
        return False
    for base in (object, dict, list, tuple):
        with contextlib.suppress(TypeError):  # which is what an array's class, say, is not made by
            return not all_leaves([base.__new__(cls)])
    return False


def _flatten_of_jax(x: Any) -> Apart:
    found: Apart = sys.modules["jax.tree_util"].tree_flatten(x, is_leaf=lambda y: y is not x)
    return found


def _keyed_of_jax(x: Any) -> Apart:
    found, data = sys.modules["jax.tree_util"].tree_flatten_with_path(x, is_leaf=lambda y: y is not x)
    return [(_own_key(path[0]), child) for path, child in found], data


def _own_key(key: Any) -> Any:
    """A key of jax's as one of ours."""
    kind = next(
        (k for k in (DictKey, SequenceKey, GetAttrKey, FlattenedIndexKey) if k.__name__ == type(key).__name__), None
    )
    return key if kind is None else kind(getattr(key, kind.__match_args__[0]))


_NODE_OF_JAX = Node(_flatten_of_jax, lambda structure, children: structure.unflatten(children), _keyed_of_jax)


class Fault(ValueError):
    """What is wrong at one node. A walk notes the number of the child at each level that it leaves, innermost first."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.indices: list[int] = []

    def refused(self, tree: Any) -> ValueError:
        return ValueError(f"cannot flatten the tree, at tree{self.path(tree)}: {self.args[0]}.")

    def mismatch(self, who: str, ours: str, theirs: str, advice: str, tree: Any) -> ValueError:
        if len(self.args) == 1:
            return self.refused(tree)
        mine, other, hint = self.args
        return ValueError(
            f"{who}: the structures differ at {ours}{self.path(tree)}\n"
            f"  {ours} has {mine}\n  {theirs} has {other}\n{hint}{advice}"
        )

    def path(self, tree: Any) -> str:
        path: KeyPath = ()
        for i in reversed(self.indices):
            key, tree = [*KINDS[type(tree)].keyed(tree)[0]][i]
            path = (*path, key)
        return keystr(path)


def clip(x: Any, show: Callable[[Any], str] = repr) -> str:
    text = show(x)
    return text if len(text) <= 100 else text[:97] + "..."


def full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


REGISTERED: dict[type, Node] = {
    type(None): Node(lambda _: ((), None), lambda *_: None, lambda _: ((), None)),
    tuple: Node(lambda xs: (xs, None), lambda _, xs: xs, _keyed_sequence),
    list: Node(lambda xs: (xs, None), lambda _, xs: list(xs), _keyed_sequence),
    dict: Node(
        without_keys(lambda d: _keyed_mapping(d, sorted_keys(d))),
        dict_of,
        lambda d: _keyed_mapping(d, sorted_keys(d)),
    ),
    OrderedDict: Node(
        lambda d: (d.values(), tuple(d)),
        lambda keys, xs: OrderedDict(zip(keys, xs, strict=True)),
        lambda d: _keyed_mapping(d, tuple(d)),
    ),
    defaultdict: Node(
        without_keys(_keyed_defaultdict),
        lambda data, xs: defaultdict(data[0], dict_of(data[1], xs)),
        _keyed_defaultdict,
    ),
}
BUILT_IN = frozenset(REGISTERED)
KINDS = _Kinds()
