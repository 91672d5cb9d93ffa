"""What the ops on windows share: parameters, type rule, batching, samples, and arrays combined over windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, Shape
from tracegrad.ops.cumulative import along
from tracegrad.ops.window.geometry import Pads, dilated, padded_and_dilated, transposed_padding, window_count


class Windows(NamedTuple):
    """The parameters of a windowed op, all of which have one entry for each axis of the operand."""

    window: Shape
    strides: Shape
    padding: Pads
    base_dilation: Shape
    window_dilation: Shape

    def counts(self, shape: Shape) -> Shape:
        """The shape of the result for an operand of this shape."""
        return tuple(
            [
                window_count(low + dilated(n, b) + high, w, s, d)
                for n, w, s, (low, high), b, d in zip(shape, *self, strict=True)
            ]
        )

    def transposed(self, shape: Shape) -> Windows:
        """The windows over the results that hold each element of an operand of this shape: one for each element."""
        pads = map(
            transposed_padding,
            shape, self.window, self.counts(shape), self.strides, self.padding, self.base_dilation, self.window_dilation,
        )  # fmt: skip
        return Windows(self.window, self.base_dilation, tuple(pads), self.strides, self.window_dilation)

    def with_batch(self) -> Windows:
        """The same with one axis more in front, along which windows hold one element each."""
        return Windows((1, *self.window), (1, *self.strides), ((0, 0), *self.padding),
                       (1, *self.base_dilation), (1, *self.window_dilation))  # fmt: skip


# Combines two lists of arrays, the second into the first.
Combine = Callable[[Sequence[Any], Sequence[Any]], None]
_CALL = 1000  # elements that are combined in the time of one call


def _windows_along(arrays: Sequence[Any], axis: int, size: int, stride: int, dilation: int, combine: Combine) -> Any:
    """The arrays combined over windows along one axis.

    Short windows element by element; long ones by doubling, in which the result over m elements from each place on
    gives that over 2 m: log2(size) passes over everything instead of `size` passes over the windows.
    """
    n, ndim = arrays[0].shape[axis], arrays[0].ndim
    count = window_count(n, size, stride, dilation)

    def piece(of: Sequence[Any], start: int, count: int, step: int = 1) -> list[Any]:
        where = along(axis, ndim, slice(start, start + (count - 1) * step + 1 if count else start, step))
        return [a[where] for a in of]

    width = arrays[0].size // max(n, 1)
    if size * (_CALL + count * width) <= 2 * size.bit_length() * (_CALL + n * width):
        total = [a.copy() for a in piece(arrays, 0, count, stride)]
        for j in range(1, size):
            combine(total, piece(arrays, j * dilation, count, stride))
        return total
    full = n - (size - 1) * dilation
    total, done, m = [], 0, 1
    while True:
        if size & m:
            if total:
                combine(total, piece(arrays, done * dilation, full))
            else:
                total = [a.copy() for a in piece(arrays, done * dilation, full)]
            done += m
        if done == size:
            return piece(total, 0, count, stride)
        length = n - (2 * m - 1) * dilation
        twice = [a.copy() for a in piece(arrays, 0, length)]
        combine(twice, piece(arrays, m * dilation, length))
        arrays, m = twice, 2 * m


def combined(arrays: Sequence[Any], fills: Sequence[Any], windows: Windows, combine: Combine) -> Sequence[Any]:
    """The arrays combined over all windows, one axis after another. From the last axis on: of what is equal, an order
    in which each left operand comes before the right one keeps the first in the window."""
    combined = [
        padded_and_dilated(a, windows.padding, windows.base_dilation, fill)
        for a, fill in zip(arrays, fills, strict=True)
    ]
    for axis in reversed(range(combined[0].ndim)):
        size, stride = windows.window[axis], windows.strides[axis]
        if size > 1 or stride > 1:
            combined = _windows_along(combined, axis, size, stride, windows.window_dilation[axis], combine)
    return [f.copy() if f is a else f for f, a in zip(combined, arrays, strict=True)]


def reduced(x: Any, ufunc: np.ufunc, fill: Any, windows: Windows) -> Any:
    def combine(total: Sequence[Any], others: Sequence[Any]) -> None:
        ufunc(total[0], others[0], out=total[0])

    return combined([x], [fill], windows, combine)[0]


def windows_type(dtype: Any = None) -> Callable[[Sequence[ArrayType], Params], ArrayType]:
    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        return ArrayType(Windows(**params).counts(types[0].shape), dtype or types[0].dtype)

    return infer


def windows_batch(op: Callable[[], Op]) -> Callable[[int, Sequence[bool], Sequence[Any], Params], Any]:
    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        return bind(op(), tuple(inputs), Windows(**params).with_batch()._asdict())

    return batch


# One dimension and several; overlapping windows and gaps; holes and cuts of every kind; a long window; none that fits.
_FULL: list[tuple[Shape, Windows]] = [
    ((5,), Windows((2,), (1,), ((0, 0),), (1,), (1,))),
    ((5,), Windows((3,), (2,), ((1, 1),), (1,), (1,))),
    ((5,), Windows((2,), (3,), ((-1, 2),), (1,), (2,))),
    ((4,), Windows((2,), (1,), ((1, 0),), (2,), (1,))),
    ((3,), Windows((1,), (1,), ((0, 0),), (1,), (1,))),
    ((40,), Windows((21,), (2,), ((0, 3),), (1,), (1,))),
    ((2,), Windows((3,), (1,), ((0, 0),), (1,), (1,))),
    ((3, 4), Windows((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1))),
    ((4, 3), Windows((2, 3), (2, 1), ((0, 1), (1, 1)), (1, 2), (2, 1))),
    ((2, 4, 4, 2), Windows((1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4, (1,) * 4, (1,) * 4)),
]
# Windows that hold nothing but holes: their maximum is infinite, which has no differences to compare with.
_EMPTY: list[tuple[Shape, Windows]] = [
    ((4,), Windows((2,), (1,), ((1, 0),), (3,), (2,))),
    ((3,), Windows((2,), (1,), ((3, 2),), (1,), (1,))),
    ((2, 0), Windows((1, 2), (1, 1), ((0, 0), (1, 2)), (1, 1), (1, 1))),
]


def full_samples() -> Iterable[Sample]:
    return _samples_of(_FULL)


def all_samples() -> Iterable[Sample]:
    return _samples_of(_FULL + _EMPTY)


def _samples_of(table: list[tuple[Shape, Windows]]) -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for shape, windows in table:
        # A permutation of spaced numbers: no two are so close that a difference swaps them.
        x = (rng.permutation(math.prod(shape)) + 1.0).reshape(shape) / 4 - 1.1
        yield Sample((x,), windows._asdict())
