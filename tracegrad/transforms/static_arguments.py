"""Which arguments of a function are static: positions and names, as users give them, that its parameters have."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tracegrad.core.errors import at, clip, described, user_source


class Static(NamedTuple):
    """Which arguments are static, as the user gave it; see `static_arguments`."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]


def _parameters(fun: Any, follow_wrapped: bool = True) -> list[inspect.Parameter]:
    """The parameters of a function, none where nothing is known of them."""
    try:
        return list(inspect.signature(fun, follow_wrapped=follow_wrapped).parameters.values())
    except (TypeError, ValueError):
        return []


def _positional(parameters: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def static_positions(fun: Any, numbers: Sequence[int], names: Sequence[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The positions and the names of the arguments that these stand for, each of them both where a parameter has both."""
    parameters = _parameters(fun)
    order = [p.name for p in parameters]
    count = len(_positional(parameters))
    open_ended = not parameters or any([p.kind is p.VAR_POSITIONAL for p in parameters])
    positions = [i if open_ended else i % count for i in numbers]
    called = [
        order[i] for i in positions if 0 <= i < count and parameters[i].kind is not inspect.Parameter.POSITIONAL_ONLY
    ]
    positions += [order.index(n) for n in names if n in order[:count]]
    return tuple(dict.fromkeys(positions)), tuple(dict.fromkeys([*names, *called]))


def static_arguments(fun: Any, argnums: Any, argnames: Any = (), transform: str = "jit") -> Static:
    """The options `static_argnums` and `static_argnames` of a transform: positions and names that the function has."""
    return Static(
        existing_numbers(fun, argnums, "static_argnums", transform),
        argument_names(fun, argnames, "static_argnames", transform),
    )


def _argument_numbers(given: Any, option: str, transform: str) -> tuple[int, ...]:
    """An option of a transform as a tuple of positions."""
    try:
        return tuple([operator.index(i) for i in (given if isinstance(given, Iterable) else (given,))])
    except TypeError:
        raise TypeError(
            f"{transform}{at(user_source())}: {option} must be an int or a sequence of ints, the positions of arguments, got "
            f"{clip(repr(given))}"
            + (f"; names go into {option.replace('nums', 'names')}" if isinstance(given, str) else "")
        ) from None


def existing_numbers(fun: Any, given: Any, option: str, transform: str) -> tuple[int, ...]:
    """An option of a transform as a tuple of positions, which the function's parameters have."""
    numbers = _argument_numbers(given, option, transform)
    parameters = _parameters(fun) if numbers else []
    found = [p.name for p in _positional(parameters)]
    if parameters and not any([p.kind is p.VAR_POSITIONAL for p in parameters]):
        for i in numbers:
            if not -len(found) <= i < len(found):
                raise ValueError(
                    f"{transform}{at(user_source())}: {option}={clip(repr(given))}, but {described(fun)} has no "
                    f"positional parameter {i}; those that it has are numbered from 0: {', '.join(found) or 'none'}"
                )
    return numbers


def argument_names(fun: Any, given: Any, option: str, transform: str) -> tuple[str, ...]:
    """An option of a transform as a tuple of names, which the function's parameters have."""
    is_several = isinstance(given, Iterable) and not isinstance(given, str)
    names = tuple(given) if is_several else (given,)
    if not all([isinstance(n, str) for n in names]):
        raise TypeError(
            f"{transform}{at(user_source())}: {option} must be a string or a sequence of strings, the names of "
            f"arguments, got {clip(repr(given))}; positions go into {option.replace('names', 'nums')}"
        )
    # A wrapper that shows the signature of what it wraps may take more.
    parameters = _parameters(fun) + _parameters(fun, follow_wrapped=False) if names else []
    if parameters and not any([p.kind is p.VAR_KEYWORD for p in parameters]):
        known = list(dict.fromkeys([p.name for p in parameters]))
        for n in names:
            if n not in known:
                raise ValueError(
                    f"{transform}{at(user_source())}: {option}={given!r}, but {described(fun)} has no "
                    f"parameter {n!r}; its parameters are {', '.join(known)}"
                )
    return names
