"""What NumPy's functions do when they are called with tracers: `out=`, `like=`, and arguments that have been written into."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tracegrad.core import operators
from tracegrad.core.context import writing
from tracegrad.core.errors import CALL_ERRORS
from tracegrad.core.functions import FUNCTIONS, TAKE_WRITTEN
from tracegrad.core.numpy_warnings import again, has_warned, watch
from tracegrad.core.operators import place_call
from tracegrad.core.programs import call_anew
from tracegrad.core.tracer import Tracer, like_tracer, present, settled


def called(function: Any, traced: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What our function does in place of NumPy's, with arguments as the user has them, `out` among them."""
    try:
        if (out := taken_out(function, args, kwargs)) is not None:
            return FUNCTIONS["out="](function, traced, *out)
        if writing and traced not in TAKE_WRITTEN:
            args, kwargs = settled(args), settled(kwargs)
        return call_anew(traced, args, kwargs)
    except CALL_ERRORS as error:
        if has_warned(error):
            return again(called, function, traced, args, kwargs)
        place_call(error, function, args)
        raise


def taken_out(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Any] | None:
    """The arguments without `out`, and what that is, if it is given; if not, None."""
    if (out := kwargs.get("out")) is not None:
        return args, {k: v for k, v in kwargs.items() if k != "out"}, out
    position = _position_of_out(function)
    if position is not None and len(args) > position and (out := args[position]) is not None:
        return (*args[:position], None, *args[position + 1 :]), kwargs, out
    return None


@functools.lru_cache(maxsize=1024)
def _position_of_out(function: Any) -> int | None:
    """Which positional argument of a NumPy function is `out`."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    found = parameters.get("out")
    return None if found is None or found.kind is found.KEYWORD_ONLY else list(parameters).index("out")


def made_like(like: Tracer, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What one of them makes with `like=tracer`."""
    try:
        if writing:
            like, args, kwargs = present(like), settled(args), settled(kwargs)
        return like_tracer((FUNCTIONS.get(function) or function)(*args, **kwargs), like)
    except CALL_ERRORS as error:
        place_call(error, function, args)
        raise


operators.call_anew, operators.called, operators.made_like = call_anew, called, made_like
watch(globals())
