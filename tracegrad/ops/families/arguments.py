"""What public functions make of their arguments, and how they are registered as what NumPy's functions do to tracers."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tracegrad.core.calls import called
from tracegrad.core.context import sizing
from tracegrad.core.errors import ShapeError, at, unsupported, user_source
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.symbols import has_symbol
from tracegrad.core.trace import as_array, contains_tracer
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import number_kind
from tracegrad.ops.families.broadcasting import shape_of
from tracegrad.typing import F

_ALL_AXES = [tuple(range(ndim)) for ndim in range(65)]


def is_of_a_scalar(axis: Any, ndim: int) -> bool:
    """Whether it is the axis 0 or -1 that NumPy's ufuncs let a scalar have when it is reduced or accumulated."""
    return ndim == 0 and isinstance(axis, int | np.integer) and axis in (0, -1)


def normalize_axes(axis: Any, ndim: int, name: str) -> tuple[int, ...]:
    """An axis argument (None, an int, a tuple) as a sorted tuple of axes counted from the front."""
    if axis is None:
        return _ALL_AXES[ndim]
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    axes = []
    for a in axis if isinstance(axis, tuple | list) else (axis,):
        a = operator.index(a)
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(a, ndim, f"{name}")
        axes.append(a % ndim)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{name}: an axis is named twice in {axis}")
    return tuple(sorted(axes))


def normalize_axis(axis: int, ndim: int, name: str) -> int:
    """One axis, counted from the front."""
    axes = () if axis is None else normalize_axes(axis, ndim, name)
    if len(axes) != 1:
        raise TypeError(f"{name} acts along one axis: axis must be an integer, got {axis!r}")
    return axes[0]


def of_axis(a: Any, axis: int | None, name: str) -> tuple[Any, int]:
    """The array and the axis counted from the front; all axes as one where it is None."""
    a = as_array(a)
    if axis is None:
        return np.reshape(a, -1), 0
    return a, normalize_axis(axis, len(shape_of(a)), name)


def is_tracer(*values: Any) -> bool:
    """Whether any of the values is a tracer."""
    return any([isinstance(v, Tracer) for v in values])


def implements(*numpy_functions: Any, further: Iterable[str] = ()) -> Callable[[F], F]:
    """Register a function as what these NumPy functions do to tracers.

    Returns the public function of `tracegrad.numpy`: on plain arrays it is NumPy's own, to the last keyword; on tracers,
    or lists that hold tracers, and with one of the `further` keywords, or values of them ("mode=fill"), which NumPy has not
    got, ours. That one never sees an `out`: whoever calls it writes its result there (`trace.called`).
    A function that not every NumPy has from 2.0 on is given as `getattr(np, name, None)`: where there is none, ours is all.
    """

    further = frozenset(further)

    def register(traced: F) -> F:
        for f in filter(None, numpy_functions):
            FUNCTIONS[f] = traced
        plain = numpy_functions[0] or traced

        @functools.wraps(traced)
        def public(*args: Any, **kwargs: Any) -> Any:
            if (
                kwargs
                and further
                and any([k in further or f"{k}={v}" in further for k, v in kwargs.items() if k != "out"])
            ):
                return called(plain, traced, args, kwargs)
            for x in (*args, *kwargs.values()) if kwargs else args:
                if isinstance(x, Tracer) or ((type(x) is list or type(x) is tuple) and contains_tracer(x)):
                    return called(plain, traced, args, kwargs)
            if sizing and has_symbol((*args, *kwargs.values())):
                return called(plain, traced, args, kwargs)
            return plain(*args, **kwargs)

        same: Any = public
        return same

    return register


def require_held(v: Any, dtype: np.dtype[Any], what: str) -> None:
    """Raise, as NumPy does, where an integer dtype has not an int of Python's. (One that is known later only is an error where
    it is written, by NumPy.)"""
    if type(v) is int and number_kind(dtype) in "iu":
        info = np.iinfo(dtype)
        if not info.min <= v <= info.max:
            raise OverflowError(f"Python integer {v} out of bounds for {dtype}: {what}{at(user_source())}")


def reject(function: Any, **given: Any) -> None:
    """Raise for keywords of a NumPy function that are not traced, wherever one was given (is not None)."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise unsupported(function, f" with {', '.join(f'{n}=' for n in names)}")
