"""What the losses do with what they are given: dtypes, shapes, masks. A loss of float16 or bfloat16 is computed in float32 and
cast back, so that nothing overflows on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.arguments import is_number, shown
from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.elementwise.casting import astype, widened
from tracegrad.typing import Axis


def as_floats(loss: str, **arrays: Any) -> tuple[list[Any], np.dtype[Any]]:
    """The arguments of a loss, by name, in the dtype to compute in, and the dtype of its result. The first must be floats; the
    others may also be integers and booleans, which take its dtype."""
    found: list[Any] = []
    lead: ArrayType | None = None
    for name, x in arrays.items():
        x = as_array(x)
        t = type_of(x)
        kind = number_kind(t.dtype)
        if kind == "c" or (lead is None and kind != "f"):
            hint = f"{name}.real or np.abs({name})" if kind == "c" else f"{name}.astype(np.float32)"
            raise DtypeError(f"{loss} takes {name} of a floating dtype, got {t.dtype.name}; write {hint}")
        if lead is None:
            lead = t
        elif kind != "f" and not t.weak:
            x = astype(x, lead.dtype)
        found.append(x)
    kinds = [type_of(x) for x in found]
    dtype = np.result_type(*[0.0 if t.weak else t.dtype for t in kinds])
    return [widened(x) for x in found], dtype


def require_numbers(loss: str, **options: Any) -> None:
    """TypeError for an option or a mask that is neither a number, nor an array or list of them, nor None."""
    for name, x in options.items():
        if not is_number(x) and x is not None and not isinstance(x, list | tuple):
            raise TypeError(f"{loss}{at(user_source())}: {name} is a number or an array, got {shown(x)}")


def require_same_shape(loss: str, **arrays: Any) -> None:
    """Of two arguments by name."""
    (a, x), (b, y) = [(name, np.shape(x)) for name, x in arrays.items()]
    if x != y:
        hint = f"{b}.reshape({a}.shape)" if np.prod(x, dtype=int) == np.prod(y, dtype=int) else f"{b} of shape {x}"
        raise ShapeError(f"{loss}: {a} and {b} need one shape, got {x} and {y}; write {hint}")


def require_fitting(loss: str, **arrays: Any) -> None:
    """The second argument must broadcast to the shape of the first. (8, 1) and (8,) would make 64 losses of 8 examples."""
    (a, x), (b, y) = [(name, np.shape(x)) for name, x in arrays.items()]
    tail = x[len(x) - len(y) :]
    if len(y) > len(x) or any(n not in (1, m) for n, m in zip(y, tail, strict=True)):
        hint = f"{b}.reshape({a}.shape)" if np.prod(x, dtype=int) == np.prod(y, dtype=int) else f"{b} of shape {x}"
        raise ShapeError(f"{loss}: {b} of shape {y} do not broadcast to {a} of shape {x}; write {hint}")


def class_labels(loss: str, labels: Any, shape: tuple[int, ...], what: str) -> Any:
    """Integer labels, one for each example."""
    labels = as_array(labels)
    t = type_of(labels)
    if number_kind(t.dtype) not in "iu":
        raise DtypeError(f"{loss} takes labels of an integer dtype, got {t.dtype.name}; write labels.astype(int)")
    if t.shape != shape:
        raise ShapeError(f"{loss}: {what} need labels of shape {shape}, got {t.shape}")
    return labels


def total(x: Any, axis: Axis, where: Any = None, keepdims: bool = False) -> Any:
    """The sum over axes of the entries that a mask includes, in the same order with jit and without: NumPy's own `where=` adds up
    in another."""
    axis = axis if axis is None or isinstance(axis, int) else tuple(axis)
    return np.sum(x if where is None else np.where(where, x, 0), axis, keepdims=keepdims)


def with_axes(where: Any, shape: Sequence[int], axis: Axis) -> Any:
    """A mask of examples as one that broadcasts against arrays of this shape."""
    if where is None or np.ndim(where) == len(shape) or axis is None:
        return where
    return np.expand_dims(where, axis if isinstance(axis, int) else tuple(axis))
