"""`r_` and `c_`, which join what stands between their brackets."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import UnsupportedFunctionError, at, user_source
from tracegrad.core.programs import call_anew
from tracegrad.core.trace import as_array, contains_tracer
from tracegrad.core.types import type_of
from tracegrad.numpy.creation import arange, linspace
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.typing import Array


def _steps(s: slice) -> Any:
    """`start:stop:step`, or with a complex step `start:stop:5j` so many points, the last among them."""
    start, step = (0 if s.start is None else s.start), (1 if s.step is None else s.step)
    if isinstance(step, complex):
        return linspace(start, s.stop, int(abs(step)))
    return arange(start, s.stop, step)


def _directive(text: str) -> list[int]:
    """The numbers of "axis,ndmin,start", a first item that says how the others are joined."""
    if text in ("r", "c"):
        raise UnsupportedFunctionError(
            f"np.r_[{text!r}, ...]{at(user_source())} makes a matrix, and what is traced is no matrix.\n"
            "  Write np.atleast_2d(np.r_[...]), and .T of it for 'c'."
        )
    try:
        return [int(n) for n in text.split(",")][:3]
    except ValueError:
        raise ValueError(f"unknown special directive {text!r}{at(user_source())}") from None


def _placed(item: Any, ndmin: int, start: int) -> Any:
    """An item with as many axes of size one as it lacks; its own begin at `start`."""
    x = as_array(_steps(item) if isinstance(item, slice) else item)
    shape = shape_of(x)
    missing = ndmin - len(shape)
    if missing <= 0 or not shape:
        return x
    before = start if start >= 0 else start + missing + 1
    return np.reshape(x, (*(1,) * before, *shape, *(1,) * (missing - before)))


class _Concatenator:
    """What `r_` and `c_` are: indexed, an array of all that is given, traced or not."""

    def __init__(self, numpys: Any, axis: int, ndmin: int, start: int, doc: str) -> None:
        self._numpys, self._axis, self._ndmin, self._start = numpys, axis, ndmin, start
        self.__doc__ = doc

    def __getitem__(self, key: Any) -> Array:
        items = key if isinstance(key, tuple) else (key,)
        if not contains_tracer([(x.start, x.stop, x.step) if isinstance(x, slice) else x for x in items]):
            return self._numpys[key]
        return call_anew(self._joined, items, {})

    def _joined(self, *items: Any) -> Any:
        axis, ndmin, start = self._axis, self._ndmin, self._start
        if isinstance(items[0], str):
            numbers = _directive(items[0])
            axis, ndmin, start = (*numbers, *(axis, ndmin, start)[len(numbers) :])
            items = items[1:]
        arrays = [_placed(x, ndmin, start) for x in items]
        dtype = np.result_type(*[type_of(x).weight for x in arrays])
        return np.concatenate([np.reshape(astype(x, dtype), shape_of(x) or (1,) * ndmin) for x in arrays], axis)

    def __len__(self) -> int:
        return 0


r_ = _Concatenator(
    np.r_, 0, 1, -1,
    """What stands in the brackets joined along the first axis: arrays, numbers, lists and ranges, traced or not.

    A string before them says otherwise, as in NumPy: "axis,ndmin,start" along which axis, how many axes each item has at least, and
    where its own begin among them.

    >>> r_[1:4, 0, np.array([7, 8])].tolist()
    [1, 2, 3, 0, 7, 8]
    """,
)  # fmt: skip
c_ = _Concatenator(
    np.c_, -1, 2, 0,
    """What stands in the brackets as columns, joined along the last axis.

    >>> c_[np.array([1, 2]), np.array([3, 4])].tolist()
    [[1, 3], [2, 4]]
    """,
)  # fmt: skip
