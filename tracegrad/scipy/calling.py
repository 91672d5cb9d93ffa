"""Which function one of SciPy's names stands for: SciPy's own for plain arrays, or the one that is written here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from tracegrad.core.errors import UnsupportedFunctionError, at, user_source
from tracegrad.core.late import imported
from tracegrad.core.tracer import Tracer

F = TypeVar("F", bound=Callable[..., Any])


def is_traced(x: Any) -> bool:
    """Whether an argument is a tracer, or a tuple or list with one in it."""
    return isinstance(x, Tracer) or (type(x) in (tuple, list) and any([is_traced(part) for part in x]))


def module_or_none(name: str) -> ModuleType | None:
    """A module of SciPy's, or None where it is missing."""
    try:
        return imported(name)
    except ImportError:
        return None


def needed(name: str) -> ModuleType:
    """A module of SciPy's. Where it is missing, the error says what to install."""
    module = module_or_none(name)
    if module is None:
        raise ImportError(f"this needs {name}, and SciPy is not installed; write: pip install 'tracegrad[scipy]'")
    return module


def refused(name: str, what: str, instead: str) -> UnsupportedFunctionError:
    """The error for what a function of `tg.scipy` is asked that only SciPy's own does, and what to write instead."""
    return UnsupportedFunctionError(f"tg.scipy.{name} {what} is not traced{at(user_source())}.\n  {instead}")


def of_scipy(name: str) -> Callable[[F], F]:
    """A decorator: the function of the same name in this module of SciPy's for plain arrays, and ours for tracers, or where SciPy
    is missing."""

    def decorate(traced: F) -> F:
        @functools.wraps(traced)
        def public(*args: Any, **kwargs: Any) -> Any:
            if not any([is_traced(x) for x in (*args, *kwargs.values())]):
                module = module_or_none(name)
                if module is not None:
                    return getattr(module, traced.__name__)(*args, **kwargs)
            return traced(*args, **kwargs)

        same: Any = public
        return same

    return decorate
