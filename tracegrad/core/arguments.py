"""Arguments of functions that make things, such as optimisers: what is wrong with one is said where it is given, by name and value."""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.tracebacks import trimming
from tracegrad.core.types import PYTHON_SCALARS

_F = TypeVar("_F", bound=Callable[..., Any])

# What annotations ask for, in words.
_NUMBER, _STEP, _FUNCTION, _MAPPING, _DTYPE = (
    "a number", "a schedule, a function of the step", "a function", "a dict", "a dtype such as np.float32"
)  # fmt: skip
_DUE = {
    "ArrayLike": (_NUMBER,),
    "float": (_NUMBER,),
    "int": (_NUMBER,),
    "ScalarOrSchedule": (_NUMBER, _STEP),
    "Schedule": (_STEP,),
    "Callable": (_FUNCTION,),
    "ConditionFn": (_FUNCTION,),
    "Mapping": (_MAPPING,),
    "DType": (_DTYPE,),
}


def is_number(x: Any) -> bool:
    """Whether something is a number: Python's, or an array of any kind, traced or not, that may hold one."""
    return type(x) in PYTHON_SCALARS or (hasattr(x, "dtype") and getattr(x.dtype, "kind", "f") not in "OSUMm")


def checked(function: _F) -> _F:
    """A maker, as a decorator: numbers, functions, dicts and dtypes are looked at as the annotations tell, and names of keywords.

    Raises:
        TypeError: an argument that is none of what its annotation says, with its name and value.
    """
    parameters = inspect.signature(function).parameters
    defaults = {name: p.default for name, p in parameters.items()}
    due = {
        name: _due(p.annotation) for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    open_ended = len(due) < len(parameters)

    @trimming
    @functools.wraps(function)
    def made(*args: Any, **kwargs: Any) -> Any:
        for name, x in (*zip(parameters, args, strict=False), *kwargs.items()):
            if name not in parameters and not open_ended:
                raise TypeError(
                    f"{function.__name__}{at(user_source())} has no argument {name!r}; its arguments are {', '.join(parameters)}"
                )
            if due.get(name) and x is not defaults[name]:
                _require(due[name], function.__name__, name, x)
        return function(*args, **kwargs)

    return made  # type: ignore[return-value]


def _due(annotation: Any) -> tuple[str, ...]:
    """What an annotation asks for, () of one that is not looked at. What may be None is so by default."""
    names = (
        {text.partition("[")[0] for text in annotation.split(" | ")} - {"None"}
        if isinstance(annotation, str)
        else set()
    )
    return () if names - _DUE.keys() else tuple(dict.fromkeys([x for name in sorted(names) for x in _DUE[name]]))


def _is(due: str, x: Any) -> bool:
    if due is _NUMBER:
        return is_number(x)
    if due is _MAPPING:
        return isinstance(x, Mapping)
    if due is _DTYPE:
        with contextlib.suppress(TypeError):
            return bool(np.dtype(x))
        return False
    return callable(x)


def _require(due: tuple[str, ...], who: str, name: str, x: Any) -> None:
    if any([_is(one, x) for one in due]):
        return
    advice = ""
    if isinstance(x, str) and _NUMBER in due:
        with contextlib.suppress(ValueError):
            advice = f"; write {float(x)!r}"
    elif callable(x) and due == (_NUMBER,):
        advice = f"; for a schedule of it write tg.optim.inject_hyperparams(tg.optim.{who})(...)"
    raise TypeError(f"{who}{at(user_source())}: {name} is {' or '.join(due)}, got {clip(repr(x))}{advice}")


def whole(x: Any, who: str, name: str, least: int = 0) -> int:
    """An argument that is a whole number from `least` on.

    Raises:
        TypeError: for what is no integer.  ValueError: for one below.

    >>> whole(np.int64(3), "stack", "n")
    3
    """
    try:
        found = operator.index(x)
    except TypeError:
        found = None
    if found is None or found < least:
        raise (TypeError if found is None else ValueError)(
            f"{who}{at(user_source())}: {name} is a whole number from {least} on, got {clip(repr(x))}"
        )
    return found


def require_function(x: Any, who: str, name: str, write: str) -> None:
    """TypeError for an argument that is no function, with what to write."""
    if not callable(x):
        raise TypeError(f"{who}{at(user_source())}: {name} is a function, got {clip(repr(x))}; write {write}")
