"""What functions, their arguments and the leaves of these are called in errors and listings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tracegrad import tree
from tracegrad.core.errors import described, name_of

# What attributes of a function must be.
_KINDS = {"__name__": str, "__qualname__": str, "__annotations__": dict, "__type_params__": tuple}


def wraps(fun: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """functools.wraps, of callables too that have for their `__name__` or the like what no function may have."""
    kept = [a for a in functools.WRAPPER_ASSIGNMENTS if isinstance(getattr(fun, a, None), _KINDS.get(a, object))]
    return functools.wraps(fun, assigned=kept)


def called(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Call a function, as a decorator, by the name under which users know what is made for them."""

    def renamed(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__name__ = function.__qualname__ = name
        return function

    return renamed


def named_after(wrapper: Callable[..., Any], fun: Callable[..., Any], transform: str) -> Callable[..., Any]:
    """Name and document the transformed function after the original one."""
    wraps(fun)(wrapper)
    name = name_of(fun)
    wrapper.__name__ = f"{transform}({name})"
    wrapper.__qualname__ = f"{transform}({getattr(fun, '__qualname__', name)})"
    wrapper.__doc__ = f"{transform} of {name}. {getattr(fun, '__doc__', None) or ''}".rstrip()
    return wrapper


def leaf_names(
    function: Any, arguments: tree.PyTreeDef, positions: Sequence[int] | None = None
) -> Callable[[int], str]:
    """How to name the leaves of a tuple of arguments: parameter and key path, found out when somebody asks.

    `positions` says which positional arguments of the function the tuple holds, if not all from the first on.
    """

    @functools.cache
    def names() -> list[str]:
        numbered = tree.tree_unflatten(arguments, list(range(arguments.num_leaves)))
        paths = [path for path, _ in tree.tree_leaves_with_path(numbered)]
        called = {
            i: parameter_name(function, i if positions is None else positions[i]) for i in {p[0].idx for p in paths}
        }
        return [called[path[0].idx] + tree.keystr(path[1:]) for path in paths]

    return lambda leaf: names()[leaf]


def output_name(function: Any, out: Any, leaf: int) -> str:
    """How to name a leaf of what a function returned."""
    return f"the output{tree.keystr(tree.tree_leaves_with_path(out)[leaf][0])} of {described(function)}"


def parameter_name(function: Any, position: int) -> str:
    """What the function calls its positional argument; `args[i]` if that cannot be known."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return f"args[{position}]"
    for i, p in enumerate(parameters):
        if p.kind is p.VAR_POSITIONAL:
            return f"{p.name}[{position - i}]"
        if i == position and p.kind is not p.KEYWORD_ONLY:
            return p.name
    return f"args[{position}]"
