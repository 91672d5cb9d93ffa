"""Parts of a state, by name: found, replaced; and those that are like the parameters. Part of `tracegrad.optim.tree`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from tracegrad import tree as trees
from tracegrad.tree_util import register_pytree_node
from tracegrad.typing import PyTree


@dataclasses.dataclass(frozen=True)
class NamedTupleKey:
    """A step of a path into a named tuple, which says of what class that is."""

    tuple_name: str
    name: str

    def __str__(self) -> str:
        return f"{self.tuple_name}.{self.name}"


Filter = Callable[[tuple[Any, ...], Any], bool]


def get_all_with_path(tree: PyTree, key: Any, filtering: Filter | None = None) -> list[tuple[tuple[Any, ...], Any]]:
    """All that a key stands for in a tree, with the path to it: the entry of a dict, the field of a named tuple, or the named tuples
    of a class of this name. `filtering(path, value)` says which of them are wanted.

    >>> state = ({"mu": 1.0}, [{"mu": 2.0, "nu": 3.0}])
    >>> [(trees.keystr(path), value) for path, value in get_all_with_path(state, "mu")]
    [("[0]['mu']", 1.0), ("[1][0]['mu']", 2.0)]
    """
    found = [(path, value) for path, value, _ in _found(tree, frozenset([key]), ())]
    return [pair for pair in found if filtering is None or filtering(*pair)]


def _is_named_tuple(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _children(node: Any) -> list[tuple[Any, Any]]:
    """The steps into the children of a node, with these; none of a leaf."""
    if _is_named_tuple(node):
        return [(NamedTupleKey(type(node).__name__, name), getattr(node, name)) for name in node._fields]
    pairs = trees.leaves_with_path(node, is_leaf=lambda x: x is not node)
    return [(path[0], value) for path, value in pairs if path]


def _bare(step: Any) -> Any:
    return getattr(step, "name", getattr(step, "key", None))


def _found(tree: Any, keys: frozenset[Any], path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """`(path, value, key)` of what keys stand for."""
    if _is_named_tuple(tree) and type(tree).__name__ in keys:
        yield path, tree, type(tree).__name__
    named = _is_named_tuple(tree) or isinstance(tree, dict)
    for step, child in _children(tree):
        here = (*path, step)
        if named and _bare(step) in keys:
            yield here, child, _bare(step)
        yield from _found(child, keys, here)


def get(tree: PyTree, key: Any, default: Any = None, filtering: Filter | None = None) -> Any:
    """What a key stands for in a tree (see `get_all_with_path`); `default` if there is nothing of that name.

    Raises:
        KeyError: several of that name.

    >>> get(({"mu": 1.0, "count": 3}, ()), "count")
    3
    """
    found = get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        raise KeyError(
            f"{key!r} stands for several values, at {', '.join(_shown(path) for path, _ in found)}; choose one by"
            " filtering=lambda path, value: ..., or take all by get_all_with_path"
        )
    return found[0][1] if found else default


def _shown(path: tuple[Any, ...]) -> str:
    return trees.keystr(path) or "the root"


def set(tree: PyTree, filtering: Filter | None = None, /, **kwargs: Any) -> PyTree:
    """A tree in which what keys stand for (see `get_all_with_path`) is replaced.

    Raises:
        KeyError: a key that stands for nothing.

    >>> set(({"mu": 1.0, "count": 3}, ()), count=0)
    ({'mu': 1.0, 'count': 0}, ())
    """
    keys = frozenset(kwargs)
    met: dict[str, bool] = {}

    def replaced(node: Any, path: tuple[Any, ...], key: Any) -> Any:
        names = [key, type(node).__name__ if _is_named_tuple(node) else None]
        for name in names:
            if name in keys and (filtering is None or filtering(path, node)):
                met[name] = True
                return kwargs[name]
        children = _children(node)
        if not children:
            return node
        named = _is_named_tuple(node) or isinstance(node, dict)
        new = [replaced(child, (*path, step), _bare(step) if named else None) for step, child in children]
        return trees.structure(node, is_leaf=lambda x: x is not node).unflatten(new)

    out = replaced(tree, (), None)
    if missing := [key for key in kwargs if key not in met]:
        raise KeyError(
            f"nothing in the tree is called {missing[0]!r}" + (" that the filter lets through" if filtering else "")
        )
    return out


# -- States that hold trees like the parameters


class ParamsPlaceholder:
    """What stands for parameters where a transformation is asked what its state holds of them: a tree without leaves."""


register_pytree_node(ParamsPlaceholder, lambda x: ((), None), lambda data, children: ParamsPlaceholder())


def map_params(
    initable: Any,
    f: Callable[..., Any],
    state: PyTree,
    /,
    *rest: PyTree,
    transform_non_params: Callable[[Any], Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """A state in which `f` is applied to the leaves of what has the structure of the parameters (moments, say), and nothing else.

    Args:
        initable: the transformation whose state it is, or its `init`.
        f: what to call with each leaf, and the leaves of `rest` at its place.
        state: the state.
        rest: trees like the parameters: shardings, say.
        transform_non_params: what to call with all other leaves.
        is_leaf: what is a leaf of the trees like the parameters.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.trace(0.9)
    >>> tg.optim.tree.map_params(opt, lambda x: x + 1, opt.init({"w": np.zeros(2)}))
    TraceState(trace={'w': array([1., 1.])})
    """
    init = getattr(initable, "init", initable)
    outline = init(ParamsPlaceholder())

    def mapped(marked: Any, value: Any) -> Any:
        if isinstance(marked, ParamsPlaceholder):
            return trees.map(f, value, *rest, is_leaf=is_leaf)
        return value if transform_non_params is None else transform_non_params(value)

    return trees.map(mapped, outline, state, is_leaf=lambda x: isinstance(x, ParamsPlaceholder))
