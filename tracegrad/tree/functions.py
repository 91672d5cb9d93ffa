"""What is done with trees: flatten, unflatten, map; and prefixes, trees whose leaves stand for whole subtrees."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tracegrad.tree.keys import KeyPath
from tracegrad.tree.nodes import BUILT_IN, KINDS, REGISTERED, Fault, clip
from tracegrad.tree.structure import LEAF, PyTreeDef, subtrees, treedef_tuple
from tracegrad.tree.walks import MISSING, IsLeaf, is_deep, put_together, repeat, stops, take_apart, take_apart_with_path

T = TypeVar("T")


# -- Flatten, unflatten, map


def tree_flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], PyTreeDef]:
    """The leaves of a tree, and its structure.

    `is_leaf(x)` is asked about every value from the root down; where it says True, what stands there is one leaf.
    ValueError, with the key path, if dict keys cannot be sorted or a flatten function returns something else.

    >>> tree_flatten({"b": [1, None], "a": 2.0})
    ([2.0, 1], PyTreeDef({'a': *, 'b': [*, None]}))
    """
    cls = type(tree)
    leaves: list[Any] = []
    try:
        if (is_leaf is not None and stops(is_leaf, tree)) or KINDS[cls] is None:
            return [tree], LEAF
        spec = take_apart(tree, cls, leaves, is_leaf)
    except Fault as fault:
        raise fault.refused(tree) from None
    except RecursionError:
        if is_deep(tree):
            raise RecursionError("the tree is deeper than Python's recursion limit, or contains itself") from None
        raise  # so is the recursion that has come to flatten it
    return leaves, PyTreeDef(spec, len(leaves))


def tree_unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of this structure with these leaves; ValueError if they are too few or too many.

    >>> tree_unflatten(tree_structure({"a": 0, "b": (0, 0)}), [1, 2, 3])
    {'a': 1, 'b': (2, 3)}
    """
    if not isinstance(treedef, PyTreeDef):
        raise TypeError(f"tree_unflatten(treedef, leaves) takes a PyTreeDef first, got {type(treedef).__name__}")
    return treedef.unflatten(leaves)


def tree_leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a tree, in the order of `tree_flatten`.

    >>> tree_leaves({"b": [1, None], "a": 2.0})
    [2.0, 1]
    """
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: IsLeaf | None = None) -> PyTreeDef:
    """The structure of a tree.

    >>> tree_structure([1, (2,)])
    PyTreeDef([*, (*,)])
    """
    return tree_flatten(tree, is_leaf)[1]


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf | None = None) -> bool:
    """Whether every element is a leaf.

    >>> all_leaves([1, 2.0]), all_leaves([1, [2.0]])
    (True, False)
    """
    return all(tree_structure(x, is_leaf) is LEAF for x in iterable)


def tree_map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """A tree like `tree` of `f(leaf, *others)`, where `others` are the subtrees of `rest` at the place of the leaf.

    ValueError, with the key path, if a tree of `rest` differs in structure above the leaves of `tree`.

    >>> tree_map(lambda x, y: x + y, {"a": 1, "b": (2, 3)}, {"a": 10, "b": (20, 30)})
    {'a': 11, 'b': (22, 33)}
    """
    leaves, treedef = tree_flatten(tree, is_leaf)
    spec = treedef._spec
    if not rest:
        return put_together(spec, iter([f(x) for x in leaves]))
    columns = [subtrees(spec, r, "tree_map", "tree", f"rest[{i}]") for i, r in enumerate(rest)]
    return put_together(spec, iter([f(*xs) for xs in zip(leaves, *columns, strict=True)]))


def tree_reduce(
    function: Callable[[T, Any], T], tree: Any, initializer: T = MISSING, is_leaf: IsLeaf | None = None
) -> T:
    """`functools.reduce` over the leaves; TypeError if there are none and no `initializer`.

    >>> tree_reduce(lambda total, x: total + x, {"a": 1, "b": (2, 3)}, 0)
    6
    """
    start = () if initializer is MISSING else (initializer,)
    return functools.reduce(function, tree_leaves(tree, is_leaf), *start)


def tree_all(tree: Any, *, is_leaf: IsLeaf | None = None) -> bool:
    """Whether every leaf is true.

    >>> tree_all({"a": True, "b": [True, False]})
    False
    """
    return all(tree_leaves(tree, is_leaf))


def tree_transpose(outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any) -> Any:
    """A tree of trees turned inside out; `inner_treedef=None` takes the structure of the first inner tree.

    TypeError unless a tree of `inner_treedef` is at each leaf of `outer_treedef`. Of a registered type whose aux data speak
    of what it holds (a structure, say), so that they are others where its leaves are trees, the leaves are counted.

    >>> tree_transpose(tree_structure([0, 0]), tree_structure({"a": 0}), [{"a": 1}, {"a": 2}])
    {'a': [1, 2]}
    """
    who = "tree_transpose"
    try:
        rows = subtrees(outer_treedef._spec, pytree_to_transpose, who, "outer_treedef", "tree")
        if inner_treedef is None and not rows:
            raise ValueError(f"{who}: outer_treedef has no leaves to take the inner structure from; pass inner_treedef")
        inner = inner_treedef or tree_structure(rows[0])
        table = [subtrees(inner._spec, row, who, "inner_treedef", f"inner tree {i}") for i, row in enumerate(rows)]
    except ValueError as why:
        leaves, own = tree_flatten(pytree_to_transpose)[0], outer_treedef._spec
        kind = None if own is None else own[0]
        size = 0 if inner_treedef is None else inner_treedef.num_leaves
        has_own_data = kind in REGISTERED and kind not in BUILT_IN and kind is type(pytree_to_transpose)
        if not has_own_data or inner_treedef is None or len(leaves) != outer_treedef.num_leaves * size:
            raise TypeError(f"Mismatch: {why}") from None
        inner, table = inner_treedef, [leaves[i : i + size] for i in range(0, len(leaves), size)] if size else []
    return inner.unflatten([outer_treedef.unflatten(column) for column in zip(*table, strict=True)])


def tree_flatten_with_path(
    tree: Any, is_leaf: IsLeaf | None = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
    """`tree_flatten` with each leaf as `(key path, leaf)`; `is_leaf_takes_path` calls `is_leaf(path, x)`.

    >>> from tracegrad.tree import keystr
    >>> [(keystr(path), leaf) for path, leaf in tree_flatten_with_path({"a": [1, 2]})[0]]
    [("['a'][0]", 1), ("['a'][1]", 2)]
    """
    ask = is_leaf if is_leaf is None or is_leaf_takes_path else lambda _, x: is_leaf(x)
    leaves: list[tuple[KeyPath, Any]] = []
    try:
        spec = take_apart_with_path(tree, (), leaves, ask)
    except Fault as fault:
        raise fault.refused(tree) from None
    return leaves, PyTreeDef(spec, len(leaves))


def tree_leaves_with_path(
    tree: Any, is_leaf: IsLeaf | None = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """The pairs `(key path, leaf)` of a tree.

    >>> tree_leaves_with_path([7.0])
    [((SequenceKey(idx=0),), 7.0)]
    """
    return tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def tree_map_with_path(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None, is_leaf_takes_path: bool = False
) -> Any:
    """`tree_map` of an `f(path, leaf, *others)`.

    >>> from tracegrad.tree import keystr
    >>> tree_map_with_path(lambda path, x: f"{keystr(path)} = {x}", {"a": [1]})
    {'a': ["['a'][0] = 1"]}
    """
    pairs, treedef = tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    columns = [subtrees(treedef._spec, r, "tree_map_with_path", "tree", f"rest[{i}]") for i, r in enumerate(rest)]
    return treedef.unflatten([f(*pair, *xs) for pair, *xs in zip(pairs, *columns, strict=True)])


# -- Prefixes: trees whose leaves stand for whole subtrees


def _broadcast(name: str, prefix_tree: Any, value: str, full: PyTreeDef, is_leaf: IsLeaf | None) -> list[Any]:
    leaves, prefix = tree_flatten(prefix_tree, is_leaf)
    out: list[Any] = []
    try:
        repeat(prefix._spec, full._spec, iter(leaves), out)
    except Fault as fault:
        advice = f"{name} must have the containers of {value} down to its leaves, each of which stands for all below."
        if type(prefix_tree) is not tuple and full == treedef_tuple(full.children()) and len(full.children()) == 1:
            advice += f" For the one element of that tuple, write ({clip(prefix_tree)},)."
        raise fault.mismatch(f"{name} does not fit {value}", name, value, advice, prefix_tree) from None
    return out


def broadcast_prefix(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a prefix, each once for every leaf of `full_tree` below it; `is_leaf` is asked of the prefix.

    ValueError, with the key path, if `prefix_tree` is not a prefix of `full_tree`.

    >>> broadcast_prefix((1, 2), (0, {"a": 0, "b": 0}))
    [1, 2, 2]
    """
    return _broadcast("prefix_tree", prefix_tree, "full_tree", tree_structure(full_tree), is_leaf)


def tree_broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> Any:
    """`broadcast_prefix` as a tree of the structure of `full_tree`.

    >>> tree_broadcast((1, 2), (0, {"a": 0, "b": 0}))
    (1, {'a': 2, 'b': 2})
    """
    return tree_structure(full_tree).unflatten(broadcast_prefix(prefix_tree, full_tree, is_leaf))


def flatten_axes(name: str, treedef: PyTreeDef, axes_prefix: Any) -> list[Any]:
    """A prefix like `in_axes`, in which None is a leaf, spread over the leaves of a structure; errors call it `name`.

    ValueError, with the key path, if `axes_prefix` is not a prefix.

    >>> flatten_axes("in_axes", tree_structure(({"w": 1, "b": 2}, 3)), (0, None))
    [0, 0, None]
    """
    return _broadcast(name, axes_prefix, "the value", treedef, lambda x: x is None)
