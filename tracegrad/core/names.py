"""What functions, their arguments and the leaves of these are called in errors and listings."""

from __future__ import annotations

import functools
import inspect
import sys
import types
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


class Transformed(functools.partial[Any]):
    """What a transform returns: a function that can be pickled wherever the one that it was made of can be."""

    made: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> Any:
        return global_name(self) or (made_again, self.made)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __repr__(self) -> str:
        return f"<{getattr(self.made[0], '__name__', 'transform')} of {described(self.made[1][0])}>"


def made_again(maker: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return maker(*args, **kwargs)


def transformed(
    wrapper: Callable[..., Any], maker: Callable[..., Any], *args: Any, **kwargs: Any
) -> Callable[..., Any]:
    """The wrapper of a function, which is what this call of a transform, `maker`, makes."""
    found = Transformed(wrapper)
    vars(found).update(vars(wrapper))
    for name in functools.WRAPPER_ASSIGNMENTS:
        if hasattr(wrapper, name):
            setattr(found, name, getattr(wrapper, name))
    found.made = maker, args, kwargs
    return found


def global_name(x: Any) -> str | None:
    """By which name a wrapper is found in its module, if a decorator has put it in the place of its function, which then can
    be pickled by name only. cloudpickle takes the function of a program by value, since another process has another program:
    it gets no name of what stands there."""
    return found_as(x, getattr(x, "__wrapped__", None), 3)


def found_as(x: Any, fun: Any, depth: int) -> str | None:
    """The name of a function, if it is in its module that of what a decorator made of it, x. The pickler called `depth` frames
    further out."""
    module, path = getattr(fun, "__module__", None), getattr(fun, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str):
        return None
    if module == "__main__" and "cloudpickle" in sys._getframe(depth).f_globals.get("__name__", ""):
        return None
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return path if found is x else None


def named_after(
    wrapper: Callable[..., Any],
    fun: Callable[..., Any],
    transform: str,
    maker: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Callable[..., Any]:
    """Name and document the transformed function after the original one. It can be pickled as `maker(fun, *args, **kwargs)`."""
    wraps(fun)(wrapper)
    name = name_of(fun)
    wrapper.__name__ = f"{transform}({name})"
    wrapper.__qualname__ = f"{transform}({getattr(fun, '__qualname__', name)})"
    wrapper.__doc__ = f"{transform} of {name}. {getattr(fun, '__doc__', None) or ''}".rstrip()
    return transformed(wrapper, maker, fun, *args, **kwargs)


def leaf_names(
    function: Any, arguments: tree.PyTreeDef, positions: Sequence[int] | None = None
) -> Callable[[int], str]:
    """How to name the leaves of a tuple of arguments: parameter and key path, found out when somebody asks.

    `positions` says which positional arguments of the function the tuple holds, if not all from the first on.
    """

    found: list[str] = []

    def names() -> list[str]:
        numbered = tree.tree_unflatten(arguments, list(range(arguments.num_leaves)))
        paths = [path for path, _ in tree.tree_leaves_with_path(numbered)]
        called = {
            i: parameter_name(function, i if positions is None else positions[i]) for i in {p[0].idx for p in paths}
        }
        return [called[path[0].idx] + tree.keystr(path[1:]) for path in paths]

    def name(leaf: int) -> str:
        if not found:
            found.extend(names())
        return found[leaf]

    return name


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
