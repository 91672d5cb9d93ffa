"""np.pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, unsupported
from tracegrad.core.symbols import as_index, has_symbol
from tracegrad.core.trace import as_array, strengthened
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import Shape, is_inexact, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.ops.index import slice_entry, unslice
from tracegrad.ops.shape import copied
from tracegrad.ops.writes import fitting, held
from tracegrad.typing import Array, ArrayLike

_PAD_OPTIONS = {
    "constant": ("constant_values", 0),
    "linear_ramp": ("end_values", 0),
    "mean": ("stat_length", None),
    "median": ("stat_length", None),
    "maximum": ("stat_length", None),
    "minimum": ("stat_length", None),
    "reflect": ("reflect_type", "even"),
    "symmetric": ("reflect_type", "even"),
    "edge": ("", None),
    "wrap": ("", None),
}


_STATISTICS = {"mean": np.mean, "median": np.median, "maximum": np.max, "minimum": np.min}


@implements(np.pad)
def pad(array: ArrayLike, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Array:
    """`array` with borders, filled as `mode` says.

    `pad_width` is an int, a pair (before, after), one pair for each axis, or a dict from axis to one of these. Modes:
    "constant" (with constant_values, which may be traced), "edge", "reflect", "symmetric", "wrap", "linear_ramp" (with
    end_values), "mean", "median", "maximum", "minimum" (with stat_length). The dtype is that of `array`; DtypeError for a traced
    constant that it cannot hold, ValueError for negative widths.

    >>> pad(np.array([1.0, 2.0]), (1, 2), mode="linear_ramp").tolist()
    [0.0, 1.0, 2.0, 1.0, 0.0]
    """
    array = strengthened(as_array(array))
    shape = shape_of(array)
    ndim = len(shape)
    if mode not in _PAD_OPTIONS:
        raise unsupported(np.pad, f" with mode={mode!r}")
    keyword, default = _PAD_OPTIONS[mode]
    option = kwargs.pop(keyword, default)
    if kwargs or (keyword == "reflect_type" and option != "even"):
        raise unsupported(np.pad, f" with mode={mode!r} and {', '.join(kwargs) or keyword}=")
    widths = [(as_index(b), as_index(a)) for b, a in _pairs(pad_width, ndim, "pad")]
    if any([w < 0 for pair in widths for w in pair]):
        raise ValueError(f"pad: widths cannot be negative, got {pad_width}")
    if mode == "constant" and type(option) is not Tracer and _is_zero(_plain_or_one(option)):
        larger = tuple([b + n + a for n, (b, a) in zip(shape, widths, strict=True)])
        index = tuple([slice_entry(b, b + n, 1, m) for n, m, (b, _) in zip(shape, larger, widths, strict=True)])
        return unslice(array, index, larger) if larger != shape else copied(array)
    if mode == "constant" and type(option) is Tracer:
        option = fitting(option, array.dtype, "np.pad")
    options = _pairs(option, ndim, "pad") if mode in ("constant", "linear_ramp") else None
    lengths = (
        [(None, None)] * ndim
        if options or option is None
        else _pairs(option, ndim, "pad")
        if keyword == "stat_length"
        else None
    )
    for axis, width in enumerate(widths):
        if not any(width):
            continue
        if options is not None:
            borders = [
                _constant_border(array, axis, w, value) if mode == "constant" else _ramp(array, axis, i, w, value)
                for i, (w, value) in enumerate(zip(width, options[axis], strict=True))
            ]
        elif mode in _STATISTICS:
            assert lengths is not None
            borders = [
                _statistic_border(array, axis, i, w, _STATISTICS[mode], n)
                for i, (w, n) in enumerate(zip(width, lengths[axis], strict=True))
            ]
        else:
            array = np.take(array, np.pad(np.arange(shape[axis]), width, mode), axis)
            continue
        array = np.concatenate([borders[0], array, borders[1]], axis)
    return array


def _pairs(given: Any, ndim: int, name: str) -> list[tuple[Any, Any]]:
    """A number, a (before, after) or one such pair for each axis, as the last; entries may be traced."""
    if isinstance(given, dict):
        pairs = [(0, 0)] * ndim
        for axis, pair in given.items():
            pairs[normalize_axis(axis, ndim, name)] = (pair, pair) if np.ndim(pair) == 0 else tuple(pair)
        return pairs
    if has_symbol(given):
        each = [pair if type(pair) is tuple else (pair, pair) for pair in given]
        same = len(given) == 2 and tuple not in map(type, given)  # (before, after), for all axes
        return [given] * ndim if same else each * ndim if len(each) == 1 else each
    table = np.broadcast_to(as_array(given), (ndim, 2))
    if type(table) is np.ndarray:
        return [tuple(row) for row in table.tolist()]
    return [(table[i, 0], table[i, 1]) for i in range(ndim)]


def _is_zero(value: Any) -> bool:
    """Whether it is zero, and none of it -0.0."""
    x = np.asarray(value)
    return not (np.any(x) or np.any(np.signbit(x.real)) or np.any(np.signbit(x.imag)))


def _plain_or_one(value: Any) -> Any:
    """A value to look at: 1 where a tracer is in it."""
    return 1 if type(as_array(value)) is Tracer else value


def _border_shape(array: Any, axis: int, width: int) -> Shape:
    return (*array.shape[:axis], width, *array.shape[axis + 1 :])


def _constant_border(array: Any, axis: int, width: int, value: Any) -> Any:
    dtype = array.dtype
    if type(value) is Tracer and is_inexact(value.dtype) and number_kind(value.dtype) > number_kind(dtype):
        raise DtypeError(f"pad: {type_of(array)} cannot hold the constant {value.type}; write x.astype(float)")
    return np.broadcast_to(held(value, dtype, "np.pad"), _border_shape(array, axis, width))


def _end_of(array: Any, axis: int, after: int, length: int) -> Any:
    """The first or the last so many entries along the axis."""
    n = array.shape[axis]
    return array[(slice(None),) * axis + (slice(n - length, n) if after else slice(0, length),)]


def _ramp(array: Any, axis: int, after: int, width: int, end: Any) -> Any:
    """From `end` at the border to just before the edge."""
    edge = _end_of(array, axis, after, 1)
    steps = np.arange(width) / max(width, 1)
    steps = np.reshape(steps[::-1] if after else steps, (-1, *(1,) * (len(array.shape) - axis - 1)))
    dtype = array.dtype
    if is_inexact(dtype):
        return end + (edge - end) * astype(steps, dtype)
    return astype(np.floor(end + (edge - end) * steps), dtype)


def _statistic_border(array: Any, axis: int, after: int, width: int, statistic: Any, length: int | None) -> Any:
    n = array.shape[axis]
    value = statistic(_end_of(array, axis, after, n if length is None else min(length, n)), axis, keepdims=True)
    if number_kind(array.dtype) in "iu":
        value = np.rint(value)
    return np.broadcast_to(astype(value, array.dtype), _border_shape(array, axis, width))
