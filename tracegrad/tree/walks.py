"""Walks over trees and structures, each one recursion. A structure is a nest of plain tuples here, `(type, data, *children)` with
None for a leaf, so that comparing and hashing structures, which every call of a jitted function does, never leaves C.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tracegrad.tree.keys import KeyPath
from tracegrad.tree.nodes import (
    KINDS,
    Fault,
    SortedKeys,
    checked,
    clip,
    dict_of,
    full_name,
    in_order,
    is_namedtuple,
    sorted_keys,
)

IsLeaf = Callable[..., bool | None]
Spec = tuple[Any, ...] | None


MISSING: Any = object()


def stops(is_leaf: IsLeaf, *args: Any) -> bool:
    answer = is_leaf(*args)
    if answer is not None and type(answer) is not bool:
        raise Fault(f"is_leaf must return True or False, it returned {clip(answer)}; wrap its result in bool()")
    return answer is True


def take_apart(x: Any, cls: type, leaves: list[Any], is_leaf: IsLeaf | None) -> Spec:
    children: Iterable[Any]
    if cls is tuple or cls is list:
        children, data = x, None
    elif cls is dict:
        data = sorted_keys(x)
        children = [x[k] for k in data]
    else:
        children, data = checked(cls, KINDS[cls].flatten(x))
    spec = [cls, data]
    try:
        for child in children:
            kind = type(child)
            if (is_leaf is not None and stops(is_leaf, child)) or KINDS[kind] is None:
                leaves.append(child)
                spec.append(None)
            else:
                spec.append(take_apart(child, kind, leaves, is_leaf))
    except Fault as fault:
        fault.indices.append(len(spec) - 2)
        raise
    return tuple(spec)


def take_apart_with_path(x: Any, path: KeyPath, leaves: list[tuple[KeyPath, Any]], is_leaf: IsLeaf | None) -> Spec:
    cls = type(x)
    if (is_leaf is not None and stops(is_leaf, path, x)) or (node := KINDS[cls]) is None:
        leaves.append((path, x))
        return None
    items, data = checked(cls, node.keyed(x))
    spec = [cls, data]
    try:
        for key, child in items:
            spec.append(take_apart_with_path(child, (*path, key), leaves, is_leaf))
    except Fault as fault:
        fault.indices.append(len(spec) - 2)
        raise
    return tuple(spec)


def put_together(spec: Spec, leaves: Iterator[Any]) -> Any:
    if spec is None:
        return next(leaves)
    children = []
    for child in spec[2:]:  # not a comprehension, which would halve the depth of trees that fit on the stack
        children.append(next(leaves) if child is None else put_together(child, leaves))
    cls = spec[0]
    if cls is tuple:
        return tuple(children)
    if cls is list:
        return children
    if cls is dict:
        return dict_of(spec[1], children)
    if (node := KINDS[cls]) is None:  # the structure was unpickled where its type is unknown
        raise TypeError(f"{full_name(cls)} is no tree node in this process; first import the module that registers it")
    return node.unflatten(spec[1], tuple(children))


def is_deep(x: Any) -> bool:
    """Whether a tree takes a good part of what Python's recursion limit allows."""
    waiting = [(x, 0)]
    while waiting:
        x, depth = waiting.pop()
        node = KINDS[type(x)]
        if node is not None:
            if depth == _DEEP:
                return True
            waiting.extend([(child, depth + 1) for child in checked(type(x), node.flatten(x))[0]])
    return False


_DEEP = 100


def cut_off(spec: tuple[Any, ...], x: Any, subtrees: list[Any]) -> None:
    """The subtrees of `x` that stand where `spec` has leaves."""
    cls, data = spec[:2]
    children: Any = x
    if same := type(x) is cls:
        if cls is dict:
            children = [x[k] for k in data if k in x]
            same = len(children) == len(x)
        elif cls is not tuple and cls is not list:
            children, theirs = checked(cls, KINDS[cls].flatten(x))
            children = tuple(children)
            same = equal(data, theirs)
    if not same or len(children) != len(spec) - 2:
        raise difference(spec, None, x)
    i = 2
    try:
        for child in children:
            if spec[i] is None:
                subtrees.append(child)
            else:
                cut_off(spec[i], child, subtrees)
            i += 1
    except Fault as fault:
        fault.indices.append(i - 2)
        raise


def repeat(prefix: Spec, full: Spec, leaves: Iterator[Any], out: list[Any]) -> None:
    """Each leaf of `prefix` as many times as there are leaves of `full` under it."""
    if prefix is None:
        out.extend([next(leaves)] * count(full)[0])
        return
    if full is None or len(full) != len(prefix) or not equal(prefix[:2], full[:2]):
        raise difference(prefix, full)
    for i in range(2, len(prefix)):
        try:
            repeat(prefix[i], full[i], leaves, out)
        except Fault as fault:
            fault.indices.append(i - 2)
            raise


def composed(spec: Spec, inner: Spec) -> Spec:
    return inner if spec is None else (*spec[:2], *[composed(child, inner) for child in spec[2:]])


def walk(spec: Spec, f_node: Callable[[tuple[Any, ...], Any], Any], leaves: Iterator[Any]) -> Any:
    if spec is None:
        return next(leaves)
    children = tuple([walk(child, f_node, leaves) for child in spec[2:]])
    return f_node(children, list(spec[1]) if spec[0] is dict else spec[1])


def count(spec: Spec) -> tuple[int, int]:
    """How many leaves there are, and how many nodes, leaves among them."""
    leaves = nodes = 0
    stack: list[Spec] = [spec]
    while stack:
        top = stack.pop()
        nodes += 1
        leaves += top is None
        stack.extend((top or ())[2:])
    return leaves, nodes


def equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except ValueError as why:
        raise ValueError(
            f"the aux data of two tree nodes cannot be compared ({why}). Aux data (meta_fields) must be hashable and"
            " compare to a bool: an array there belongs among the children (data_fields)."
        ) from None


def add_details(spec: tuple[Any, ...], found: list[Any]) -> None:
    cls, data = spec[:2]
    if data is not None:
        found.append((data[0], in_order(data[1])) if cls is defaultdict else in_order(data))
    for child in spec[2:]:
        if child is not None:
            add_details(child, found)


def with_data(spec: Spec, change: Callable[[Any], Any]) -> Spec:
    return spec and (spec[0], change(spec[1]), *[with_data(child, change) for child in spec[2:]])


def sorted_everywhere(spec: tuple[Any, ...]) -> bool:
    if type(spec[1][1] if spec[0] is defaultdict else spec[1]) is SortedKeys:
        return False
    return all([child is None or sorted_everywhere(child) for child in spec[2:]])


# -- How structures are shown


def show_spec(spec: Spec) -> str:
    if spec is None:
        return "*"
    cls, data = spec[:2]
    texts = []
    for child in spec[2:]:  # no comprehension: its frame would halve the depth that can be shown
        texts.append(show_spec(child))
    inside = ", ".join(texts)
    if cls is dict:
        return "{" + ", ".join([f"{key!r}: {text}" for key, text in zip(data, texts, strict=True)]) + "}"
    if cls is tuple:
        return f"({inside},)" if len(texts) == 1 else f"({inside})"
    if cls is list:
        return f"[{inside}]"
    if cls is type(None):
        return "None"
    label = f"namedtuple[{cls.__name__}]" if is_namedtuple(cls) else f"{cls.__name__}[{data}]"
    return f"CustomNode({label}, [{inside}])"


def _side(spec: Spec, value: Any) -> str:
    if spec is not None:
        shown = "an empty tree" if spec[0] is type(None) else clip(spec, show_spec)
        return f"{spec[0].__name__} of {len(spec) - 2}: {shown}"
    if value is MISSING:
        return "a leaf"
    shape = f" of shape {value.shape}" if hasattr(value, "shape") else ""
    return f"{'a leaf, ' if KINDS[type(value)] is None else ''}{type(value).__name__}{shape}"


def difference(mine: tuple[Any, ...], other: Spec, value: Any = MISSING) -> Fault:
    if value is not MISSING:
        with contextlib.suppress(ValueError):  # what is wrong further down is not what this error is about
            other = None if KINDS[type(value)] is None else take_apart(value, type(value), [], None)
    hint = ""
    if mine[0] is type(None):
        hint = "To have None as a leaf, pass is_leaf=lambda x: x is None. "
    elif mine[0] is dict and other is not None and other[0] is dict:
        hint = f"Missing keys: {clip([k for k in mine[1] if k not in other[1]])}; "
        hint += f"unexpected keys: {clip([k for k in other[1] if k not in mine[1]])}. "
    return Fault(_side(mine, MISSING), _side(other, value), hint)
