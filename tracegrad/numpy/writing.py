"""NumPy's functions that write into an array that they are given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, TracerArrayConversionError, at, user_source
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer, concrete, present, settled
from tracegrad.core.types import number_kind, type_of
from tracegrad.core.views import Place, write
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.index.expression import locate
from tracegrad.ops.index.scatters import scatter_op
from tracegrad.ops.writes import assigned, broadcast_into, cast_by, cycled, held, replace, setitem, target, writes
from tracegrad.typing import ArrayLike


def _flat(x: Tracer) -> Any:
    return np.reshape(present(x), (-1,))


@writes(np.put)
def put(a: ArrayLike, ind: ArrayLike, v: ArrayLike, mode: str = "raise") -> None:
    """`a.flat[ind] = v`, with `v` again from the beginning where it is too short.

    >>> x = np.zeros(3)
    >>> put(x, [0, 2], [1.0, 2.0])
    >>> x.tolist()
    [1.0, 0.0, 2.0]
    """
    x, place = target(a, "np.put")
    places = as_array(settled(ind))
    if number_kind(type_of(places).dtype) not in "iub":
        raise TypeError(f"np.put{at(user_source())}: indices must be integers, got {type_of(places)}")
    places = np.reshape(astype(places, np.intp), (-1,))
    if mode == "clip":
        places = np.clip(places, 0, x.size - 1)
    elif mode == "wrap":
        places = np.remainder(places, x.size)
    elif mode != "raise":
        raise ValueError(f"np.put{at(user_source())}: mode must be 'raise', 'wrap' or 'clip', got {mode!r}")
    v = held(assigned(v, x.dtype), x.dtype, "np.put")
    if places.shape[0] and math.prod(shape_of(v)):
        _write_flat(x, place, places, cycled(v, places.shape[0]))


def _write_flat(x: Tracer, place: Place, index: Any, v: Any) -> None:
    """`x.flat[index] = v`."""
    found, entries, arrays = locate(_flat(x), index)
    write(x, place, np.reshape(bind(scatter_op, (found, v, *arrays), {"index": entries}), x.shape))


_MASK = "write `np.copyto(x, v, where=mask)`, whose shapes do not depend on values"


@writes(np.place)
def place(arr: ArrayLike, mask: ArrayLike, vals: ArrayLike) -> None:
    """`arr[mask] = vals`, with `vals` again from the beginning where it is too short.

    >>> x = np.zeros(3)
    >>> place(x, [True, False, True], [1.0, 2.0])
    >>> x.tolist()
    [1.0, 0.0, 2.0]
    """
    x, where = target(arr, "np.place")
    mask = np.reshape(as_array(settled(mask)), (-1,))
    v = _safely(vals, x.dtype, "np.place")
    if math.prod(shape_of(v)) == 1:
        write(x, where, np.where(np.reshape(mask, x.shape), held(_single(v), x.dtype, "np.place"), present(x)))
        return
    v = np.reshape(v, (-1,))
    places = np.flatnonzero(concrete(mask, "np.place", _MASK))
    if places.size:
        if not v.shape[0]:
            raise ValueError(f"Cannot insert from an empty array: np.place{at(user_source())}")
        _write_flat(x, where, places, cycled(v, places.size))


@writes(np.putmask)
def putmask(a: ArrayLike, /, mask: ArrayLike, values: ArrayLike) -> None:
    """`a.flat[i] = values.flat[i]` where the mask holds, with `values` again from the beginning where it is too short.

    >>> x = np.zeros(3)
    >>> putmask(x, [True, False, True], [1.0, 2.0, 3.0])
    >>> x.tolist()
    [1.0, 0.0, 3.0]
    """
    x, place = target(a, "np.putmask")
    mask = as_array(settled(mask))
    if math.prod(shape_of(mask)) != x.size:
        raise ValueError(
            f"putmask: mask and data must be the same size, got {type_of(mask)} and {x.type}{at(user_source())}"
        )
    v = _safely(values, x.dtype, "np.putmask")
    if size := math.prod(shape_of(v)):
        v = held(_single(v), x.dtype, "np.putmask") if size == 1 else np.reshape(cycled(v, x.size), x.shape)
        write(x, place, np.where(np.not_equal(np.reshape(mask, x.shape), 0), v, present(x)))


def _safely(value: Any, dtype: np.dtype[Any], what: str) -> Any:
    """What these two write: numbers and lists as all else does, arrays by the casting rule 'safe'. (What is traced and has no axes
    may stand for a number of NumPy's.)"""
    value = settled(value)
    if issubclass(type(value), np.ndarray) or (isinstance(value, Tracer) and value.shape):
        return cast_by(value, dtype, "safe", what)
    return assigned(value, dtype)


def _single(v: Any) -> Any:
    """A value of one element without axes: a Python number stays one."""
    return np.reshape(v, ()) if shape_of(v) else v


@writes(np.put_along_axis)
def put_along_axis(arr: ArrayLike, indices: ArrayLike, values: ArrayLike, axis: int | None) -> None:
    """For each place along the other axes, into its own elements along `axis`: arr[i, indices[i, j]] = values[i, j].

    >>> x = np.zeros((2, 2))
    >>> put_along_axis(x, np.array([[0], [1]]), 1.0, axis=1)
    >>> x.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    x, place = target(arr, "np.put_along_axis")
    indices = as_array(settled(indices))
    if number_kind(type_of(indices).dtype) not in "iu":
        raise IndexError(f"`indices` must be an integer array, got {type_of(indices)}{at(user_source())}")
    v = assigned(values, x.dtype)
    if axis is None:
        if len(shape_of(indices)) != 1:
            raise ValueError(f"when axis=None, `indices` must have a single dimension, got {type_of(indices)}")
        _write_flat(x, place, indices, v)
        return
    if len(shape_of(indices)) != x.ndim:
        raise ValueError(
            "put_along_axis: `indices` and `arr` must have the same number of dimensions, got "
            f"{type_of(indices)} and {x.type}"
        )
    axis = range(x.ndim)[axis]
    grid = [np.reshape(np.arange(n), (-1, *(1,) * (x.ndim - i - 1))) for i, n in enumerate(x.shape)]
    setitem(x, (*grid[:axis], indices, *grid[axis + 1 :]), v)


@writes(np.fill_diagonal)
def fill_diagonal(a: ArrayLike, val: ArrayLike, wrap: bool = False) -> None:
    """Fill the main diagonal with `val`, again from the beginning where it is too short.

    >>> x = np.zeros((2, 2))
    >>> fill_diagonal(x, 1.0)
    >>> x.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    x, place = target(a, "np.fill_diagonal")
    if x.ndim < 2:
        raise ValueError(f"array must be at least 2-d, got {x.type}")
    end = None
    if x.ndim == 2:
        step = x.shape[1] + 1
        if not wrap:
            end = x.shape[1] * x.shape[1]
    else:
        if len(set(x.shape)) > 1:
            raise ValueError(f"All dimensions of input must be of equal length, got {x.type}")
        step = 1 + int(np.cumprod(x.shape[:-1]).sum())
    places = slice(None, end, step)
    count = len(range(*places.indices(x.size)))
    v = assigned(val, x.dtype)
    if count:
        _write_flat(x, place, places, v if not shape_of(v) else cycled(v, count))


@writes(np.copyto)
def copyto(dst: Any, src: ArrayLike, casting: str = "same_kind", where: Any = True) -> None:
    """Write `src` into `dst`, where `where` holds.

    >>> x = np.zeros(2)
    >>> copyto(x, 1.0)
    >>> x.tolist()
    [1.0, 1.0]
    """
    if not isinstance(dst, Tracer):
        raise TracerArrayConversionError(
            f"np.copyto would write a traced array into a plain one{at(user_source())}; make it by `tnp.zeros(n)` or "
            "`tnp.copy(y)` (as np.zeros does in `tg.numpyize(f)`), or use a new array: in place of np.copyto(y, x, where=c) write y = np.where(c, x, y); in place of np.full(shape, x) write "
            "tnp.full(shape, x) or np.broadcast_to(x, shape)"
        )
    x, place = target(dst, "np.copyto")
    v = cast_by(as_array(settled(src)), x.dtype, casting, "np.copyto")
    if where is not True:
        v = np.where(as_array(settled(where)), held(v, x.dtype, "np.copyto"), present(x))
    try:
        v = broadcast_into(v, x.shape, "np.copyto") if shape_of(v) else v
    except ShapeError:
        raise ShapeError(
            f"could not broadcast input array from shape {shape_of(v)} into shape {x.shape}: np.copyto{at(user_source())}"
        ) from None
    replace(x, place, v)


def _put(x: Tracer, indices: Any, values: Any, mode: str = "raise") -> None:
    put(x, indices, values, mode)


FUNCTIONS["x.put()"] = _put
