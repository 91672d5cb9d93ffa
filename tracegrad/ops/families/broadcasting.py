"""Broadcasting and dtypes, which elementwise rules undo."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core import symbols
from tracegrad.core.errors import ShapeError
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, Shape, is_added, is_inexact, number_kind
from tracegrad.ops.masks import Mask, Masked, reduced


def shape_of(x: Any) -> Shape:
    """The shape of an array, tracer or Python scalar."""
    return () if type(x) in PYTHON_SCALARS else x.shape


def broadcast_shapes(name: str, types: Sequence[ArrayType]) -> Shape:
    """NumPy's broadcasting of the input shapes, with an error that shows the types."""
    shape = types[0].shape
    for t in types:
        if t.shape != shape:
            break
    else:
        return shape
    try:
        return symbols.broadcast_shapes(*[t.shape for t in types])
    except ValueError:
        raise ShapeError(
            f"{name}: shapes {', '.join([str(t) for t in types])} do not broadcast together; trailing dimensions must be "
            "equal or 1 (write x[:, None] or np.expand_dims to line them up)"
        ) from None


def total(d: Any, axes: Any) -> Any:
    """The sum of a tangent or cotangent over axes. What NumPy does for float16 it does not know to do for bfloat16 and its
    like, to add up in float32: ones in bfloat16 never come to more than 256."""
    if is_added(d.dtype):
        return np.add.reduce(d.astype(np.float32), axes).astype(d.dtype)
    return np.add.reduce(d, axes)


def unbroadcast(d: Any, shape: Shape) -> Any:
    """Sum `d` over the axes along which an array of this shape was broadcast."""
    axes = broadcast_axes(d.shape, shape)
    if axes:
        d = total(d, axes)
    return d if d.shape == shape else d.reshape(shape)


@functools.lru_cache(maxsize=4096)
def broadcast_axes(big: Shape, small: Shape) -> tuple[int, ...]:
    """The axes of the big shape that broadcasting has made of the small one."""
    extra = len(big) - len(small)
    return tuple([i for i, n in enumerate(big) if i < extra or (small[i - extra] == 1 and n != 1)])


def conform(d: Any, x: Any) -> Any:
    """A cotangent of `x`: of its shape, where x was broadcast, and its dtype, where x was promoted. None stays None, a
    structural zero, and is what an integer gets."""
    if d is None:
        return None
    if type(x) in PYTHON_SCALARS:
        shape: Shape = ()
        dtype = PYTHON_SCALARS[type(x)]
    else:
        shape = x.shape
        dtype = x.dtype
    if d.shape != shape:
        d = unbroadcast(d, shape)
    if d.dtype is not dtype and d.dtype != dtype:
        return cast(d, dtype) if is_inexact(dtype) else None
    return d


def conform_masked(d: Any, x: Any, mask: Mask, clean: bool) -> Any:
    """The same for one that counts where a mask holds."""
    if d is None:
        return None
    shape = shape_of(x)
    if d.shape != shape:
        whole = d.shape
        d = unbroadcast(Masked(d, mask, clean).filled(), shape)
        mask, clean = reduced(mask, whole, shape, broadcast_axes(whole, shape)), True
    d = conform(d, x)
    return None if d is None else Masked(d, mask, clean)


def cast(d: Any, dtype: np.dtype[Any]) -> Any:
    """To another float dtype; a complex value loses its imaginary part on the way to a real one."""
    if d.dtype == dtype:
        return d
    if number_kind(d.dtype) == "c" and number_kind(dtype) != "c":
        d = np.real(d)
    return d if d.dtype == dtype else d.astype(dtype)


def lined_up(batched: Sequence[bool], inputs: Sequence[Any]) -> list[Any]:
    """Inputs of which some carry a batch in front: those of fewer dimensions get axes behind it, to broadcast as without it."""
    ndims = [len(shape_of(x)) - b for x, b in zip(inputs, batched, strict=True)]
    ndim = max(ndims)
    return [
        np.reshape(x, (x.shape[0], *(1,) * (ndim - n), *x.shape[1:])) if b and n < ndim else x
        for x, b, n in zip(inputs, batched, ndims, strict=True)
    ]


def all_batched(size: int, batched: Sequence[bool], inputs: Sequence[Any]) -> list[Any]:
    """Inputs of which some carry a batch in front, with the others repeated over it."""
    return [x if b else np.broadcast_to(x, (size, *shape_of(x))) for x, b in zip(inputs, batched, strict=True)]


def tangent_of(out: Any, t: Any) -> Any:
    """A tangent of `out`: broadcast to its shape and promoted to its dtype."""
    shape = shape_of(out)
    if shape_of(t) != shape:
        t = np.broadcast_to(t, shape)
    return cast(t, PYTHON_SCALARS.get(type(out)) or out.dtype)


def add_tangents(terms: Iterable[Any]) -> Any:
    """The sum of the terms that are not structural zeros."""
    total = None
    for t in terms:
        if t is not None:
            total = t if total is None else total + t
    return total
