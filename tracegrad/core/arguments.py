"""Arguments of functions that make things, such as optimisers: what is wrong with one is said where it is given, by name and value."""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
import re
from collections.abc import Callable, Container, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from tracegrad.core.errors import at, clip, described, user_source
from tracegrad.core.tracebacks import trimming
from tracegrad.core.types import PYTHON_SCALARS, is_numpy_scalar, type_of

_F = TypeVar("_F", bound=Callable[..., Any])

Count: TypeAlias = int
"""A size, from 1 on, as an annotation that makers are looked over by."""

# Numbers within bounds, as such annotations. Of numbers that are not known yet, those of tracers and of
# arrays on devices, nothing is asked.
NotNegative: TypeAlias = Any
Positive: TypeAlias = Any
Share: TypeAlias = Any
"""From 0 to 1, such as momentum."""
Decay: TypeAlias = Any
"""From 0 to below 1: of what is kept of a mean, which is divided by 1 minus powers of it."""
Growth: TypeAlias = Any
"""From 1 on: a factor that makes nothing smaller."""

NOT_NEGATIVE, POSITIVE = "a number from 0 on", "a number above 0"
SHARE, DECAY = "a number from 0 to 1", "a number from 0 to below 1"
_WITHIN: dict[str, Callable[[Any], Any]] = {
    NOT_NEGATIVE: lambda x: x >= 0,
    POSITIVE: lambda x: x > 0,
    SHARE: lambda x: (x >= 0) & (x <= 1),
    DECAY: lambda x: (x >= 0) & (x < 1),
    "a number from 1 on": lambda x: x >= 1,
}

# What annotations ask for, in words.
_NUMBER, _COUNT, _STEP, _FUNCTION, _MAPPING, _DTYPE, _NOTHING = (
    "a number", "a whole number from 1 on", "a schedule, a function of the step", "a function", "a dict",
    "a dtype such as np.float32", "None",
)  # fmt: skip
_DUE = {
    "ArrayLike": (_NUMBER,),
    "float": (_NUMBER,),
    "int": (_NUMBER,),
    **{
        name: (due,) for name, due in zip(("NotNegative", "Positive", "Share", "Decay", "Growth"), _WITHIN, strict=True)
    },
    "Count": (_COUNT,),
    "ScalarOrSchedule": (_NUMBER, _STEP),
    "Schedule": (_STEP,),
    "Callable": (_FUNCTION,),
    "ConditionFn": (_FUNCTION,),
    "Measure": (_FUNCTION,),
    "Mapping": (_MAPPING,),
    "DType": (_DTYPE,),
    "None": (_NOTHING,),
}
_BRACKETS = re.compile(r"\[[^\[\]]*\]")

_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _is_whole(x: Any) -> bool:
    with contextlib.suppress(TypeError):
        operator.index(x)
        return True
    return False


def is_number(x: Any) -> bool:
    """Whether something is a number: Python's, or an array of any kind, traced or not, that may hold one."""
    return type(x) in PYTHON_SCALARS or (hasattr(x, "dtype") and getattr(x.dtype, "kind", "f") not in "OSUMm")


class _Place:
    """A parameter: what is due there in words, and types that need no second look."""

    __slots__ = ("default", "due", "holds", "name", "plain")

    def __init__(self, name: str, due: tuple[str, ...], default: Any) -> None:
        self.name, self.due, self.default = name, due, default
        within = next((_WITHIN[one] for one in due if one in _WITHIN), None)
        self.holds = (lambda x: x >= 1) if _COUNT in due else within
        self.plain: Container[type] = PYTHON_SCALARS if _NUMBER in due else (int,) if _COUNT in due else ()
        if within:
            self.plain = (float, int)

    def passes(self, x: Any) -> bool:
        """Whether something needs no second look."""
        if not self.due or x is self.default:
            return True
        return type(x) in self.plain and (self.holds is None or self.holds(x))


def shown(x: Any) -> str:
    """An argument as errors show it: a function by name and line, what is made of functions by its type."""
    if callable(x):
        return described(x)
    if getattr(x, "shape", ()):
        return str(type_of(x))
    text = repr(x)
    return f"a {type(x).__name__}" if "<locals>" in text or " at 0x" in text else clip(text)


def looking_over(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], None]:
    """What looks over the arguments of a call of a maker: numbers, functions, dicts and dtypes as the annotations tell, and
    names of keywords. TypeError for one that is none of what is due, with its name and value; ValueError for a number out of bounds."""
    parameters = inspect.signature(function).parameters
    found = {n: _Place(n, _due(p.annotation), p.default) for n, p in parameters.items() if p.kind not in _ANY_NUMBER}
    by_place = [found.get(name, _Place(name, (), None)) for name in parameters]
    open_ended = len(found) < len(parameters)
    who = function.__name__

    def look(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        for place, x in zip(by_place, args, strict=False):
            if not place.passes(x):
                _require(place.due, who, place.name, x, place.default)
        for name, x in kwargs.items():
            if name in found:
                place = found[name]
                if not place.passes(x):
                    _require(place.due, who, name, x, place.default)
            elif not open_ended:
                raise TypeError(
                    f"{who}{at(user_source())} has no argument {name!r}; its arguments are {', '.join(parameters)}"
                )

    return look


def checked(function: _F) -> _F:
    """A maker, as a decorator, whose arguments are looked over.

    >>> @checked
    ... def halved(x: float) -> float:
    ...     return x / 2
    >>> halved(3.0)
    1.5
    """
    look = looking_over(function)

    @trimming
    @functools.wraps(function)
    def made(*args: Any, **kwargs: Any) -> Any:
        look(args, kwargs)
        return function(*args, **kwargs)

    return made  # type: ignore[return-value]


def _due(annotation: Any) -> tuple[str, ...]:
    """What an annotation asks for, () of one that is not looked at."""
    if not isinstance(annotation, str):
        return ()
    while annotation != (annotation := _BRACKETS.sub("", annotation)):
        pass
    names = {*annotation.split(" | ")}
    if names - _DUE.keys() or names == {"None"}:
        return ()
    return tuple(dict.fromkeys([x for name in _DUE if name in names for x in _DUE[name]]))


def is_within(due: str, x: Any) -> bool:
    """Whether a number, or each of a list, is within bounds, or not known."""
    if isinstance(x, list | tuple):
        return all([is_within(due, one) for one in x])
    if type(x) in PYTHON_SCALARS or type(x) is np.ndarray or is_numpy_scalar(x):
        return np.asarray(x).dtype.kind != "c" and bool(np.all(_WITHIN[due](x)))
    return True


def _is(due: str, x: Any) -> bool:
    if due is _NUMBER:
        return is_number(x)
    if due in _WITHIN:
        return is_number(x) and is_within(due, x)
    if due is _COUNT:
        return _is_whole(x) and bool(x >= 1)
    if due is _MAPPING:
        return isinstance(x, Mapping)
    if due is _DTYPE:
        with contextlib.suppress(TypeError):
            return bool(np.dtype(x))
        return False
    return x is None if due is _NOTHING else callable(x)


def _require(due: tuple[str, ...], who: str, name: str, x: Any, default: Any) -> None:
    if any([_is(one, x) for one in due]):
        return
    advice = ""
    bounds = next((one for one in due if one in _WITHIN), None)
    is_out = is_number(x) if bounds else _COUNT in due and _is_whole(x)
    if isinstance(x, str) and _COUNT in due:
        advice = f"; write {int(x)}" if x.isdecimal() else ""
    elif isinstance(x, str) and (_NUMBER in due or bounds):
        with contextlib.suppress(ValueError):
            advice = f"; write {int(x) if x.isdecimal() else float(x)}"
    elif callable(x) and (_NUMBER in due or bounds):
        advice = f"; for a schedule of it write tg.optim.inject_hyperparams(tg.optim.{who})(...)"
    elif is_out and bounds and type(default) in (int, float):
        advice = f"; the default is {default}"
    raise (ValueError if is_out else TypeError)(
        f"{who}{at(user_source())}: {name} is {' or '.join(due)}, got {shown(x)}{advice}"
    )


def require_within(who: str, due: str, **numbers: Any) -> None:
    """ValueError for an argument by name, a number or an array of them, that is not within the bounds `due`, such as
    POSITIVE; None passes, and what is no number is somebody else's to refuse.

    >>> require_within("huber_loss", POSITIVE, delta=1.0)
    """
    for name, x in numbers.items():
        if x is not None and not is_within(due, x):
            raise ValueError(f"{who}{at(user_source())}: {name} is {due}, got {shown(x)}")


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
            f"{who}{at(user_source())}: {name} is a whole number from {least} on, got {shown(x)}"
        )
    return found


def require_function(x: Any, who: str, name: str, write: str, takes: int | None = None) -> None:
    """TypeError for an argument that is no function, or none of so many arguments, with what to write."""
    if not callable(x):
        raise TypeError(f"{who}{at(user_source())}: {name} is a function, got {shown(x)}; write {write}")
    if takes is None:
        return
    with contextlib.suppress(ValueError):  # of builtins without a signature
        signature = inspect.signature(x)
        try:
            signature.bind(*[None] * takes)
        except TypeError:
            raise TypeError(
                f"{who}{at(user_source())}: {name} is called with {takes} argument{'s' * (takes > 1)}, got {shown(x)}, "
                f"which takes {signature}; write {write}"
            ) from None


def dtype_of(x: Any, who: str) -> np.dtype[Any]:
    """An argument that is a dtype, or the name of one.

    Raises:
        TypeError: for what names none.
    """
    try:
        return np.dtype(x)
    except TypeError:
        raise TypeError(
            f"{who}{at(user_source())}: dtype is one of NumPy's, got {shown(x)}; write np.float32"
        ) from None
