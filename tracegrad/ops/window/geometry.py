"""Where windows lie, which convolution shares: how far they reach, how many there are, padding; and these as users give them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.symbols import as_index
from tracegrad.core.types import Shape

Pads = tuple[tuple[int, int], ...]


# ---------------------------------------------------------------------------------------------------------------------
# Geometry.


def dilated(n: int, dilation: int) -> int:
    """How far n elements reach that stand `dilation` apart."""
    return (n - 1) * dilation + 1 if n else 0


def window_count(n: int, size: int, stride: int, dilation: int) -> int:
    """At how many places in n elements a window fits."""
    return max((n - dilated(size, dilation)) // stride + 1, 0)


def transposed_padding(
    n: int, size: int, count: int, stride: int, pads: tuple[int, int], base_dilation: int, dilation: int
) -> tuple[int, int]:
    """The padding with which windows over `count` outputs, `stride` apart, come back to the n elements they were made
    of: element i lay in the windows from `i - reach` to `i`, counted with the padding in front."""
    reach = dilated(size, dilation) - 1
    low = reach - pads[0]
    return low, reach + dilated(n, base_dilation) - dilated(count, stride) - low


def landing(n: int, start: int, step: int, total: int) -> tuple[slice, slice]:
    """Of n elements, of which the i-th goes to `start + i * step`: those that land in range(total), and where."""
    first = max(0, -(start // step))
    stop = max(first, min(n, -((start - total) // step)))
    return slice(first, stop), slice(start + first * step, start + stop * step, step)


def padded_and_dilated(x: Any, padding: Sequence[tuple[int, int]], dilation: Sequence[int], fill: Any) -> Any:
    """A C-ordered copy of `x` with holes between neighbours and at the ends, which hold `fill`; `x` if there are none."""
    if all([d == 1 for d in dilation]) and all([p == (0, 0) for p in padding]):
        return x
    shape = [max(low + dilated(n, d) + high, 0) for n, (low, high), d in zip(x.shape, padding, dilation, strict=True)]
    places = [landing(n, low, d, m) for n, (low, _), d, m in zip(x.shape, padding, dilation, shape, strict=True)]
    out = np.full(shape, fill, x.dtype) if fill else np.zeros(shape, x.dtype)
    out[tuple([target for _, target in places])] = x[tuple([source for source, _ in places])]
    return out


def window_view(x: Any, first: int, sizes: Shape, strides: Shape, dilation: Shape) -> Any:
    """The windows over the axes from `first` on, without a copy: those axes become the windows' places, and behind
    them stand the places within a window."""
    last = first + len(sizes)
    counts = map(window_count, x.shape[first:last], sizes, strides, dilation)
    steps = x.strides[first:last]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:first], *counts, *sizes, *x.shape[last:]),
        (
            *x.strides[:first],
            *map(operator.mul, steps, strides),
            *map(operator.mul, steps, dilation),
            *x.strides[last:],
        ),
        writeable=False,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Arguments, as users give them.


def refused(name: str, why: str) -> ShapeError:
    """The error for arguments of a windowed function, which names the user's line."""
    return ShapeError(f"{name}{at(user_source())}: {why}")


def one_per_axis(name: str, what: str, values: Any, count: int) -> Shape:
    """Positive ints, one for each of `count` axes, as a tuple; ones, if None is given."""
    if values is None:
        return (1,) * count
    try:
        sizes = tuple([as_index(v) for v in values])
    except TypeError:
        sizes = ()
    if len(sizes) != count or any([v < 1 for v in sizes]):
        raise refused(name, f"{what} must be {count} positive ints, one for each axis of the windows, got {values!r}")
    return sizes


def padding_pairs(name: str, padding: Any, sizes: Shape, windows: Shape, strides: Shape) -> Pads:
    """Padding in any of its forms as pairs (in front, behind). `windows` are counted with their dilation."""
    count = len(sizes)
    if isinstance(padding, str):
        if (kind := padding.upper()) == "VALID":
            return ((0, 0),) * count
        if kind not in ("SAME", "SAME_LOWER"):
            raise refused(
                name, f"padding must be 'SAME', 'SAME_LOWER', 'VALID' or {count} pairs of ints, got {padding!r}"
            )
        pairs = []
        for n, w, s in zip(sizes, windows, strides, strict=True):
            total = max((-(-n // s) - 1) * s + w - n, 0)
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if kind == "SAME" else (more, less))
        return tuple(pairs)
    try:
        given = tuple([(as_index(low), as_index(high)) for low, high in padding])
    except (TypeError, ValueError):
        given = None
    if given is None or len(given) != count:
        raise refused(
            name,
            f"padding must be 'SAME', 'SAME_LOWER', 'VALID' or {count} pairs of ints (in front, behind), one for each "
            f"axis of the windows, such as {((1, 1),) * count}; got {padding!r}",
        )
    return given
