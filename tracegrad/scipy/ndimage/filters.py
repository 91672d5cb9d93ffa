"""Sums of products with weights of what lies around each element of an array of any number of dimensions.

In all filters `mode` says how the input goes on beyond its ends: "reflect" (d c b a | a b c d | d c b a), "constant" (`cval`), "nearest", "mirror" (d c
b | a b c d | c b a) or "wrap"; `origin` moves the window, and `output` is the dtype of the result, which is the input's if not given.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.contract.matmul import conjugate_of_complex
from tracegrad.ops.convolve import slide_op
from tracegrad.ops.elementwise import astype
from tracegrad.scipy.calling import is_traced, of_scipy
from tracegrad.scipy.ndimage.boundaries import (
    as_output,
    checked_axes,
    computed,
    continued,
    for_each_axis,
    known_mode,
    output_dtype,
)
from tracegrad.scipy.sliding import slid
from tracegrad.typing import Array, ArrayLike

ndimage = of_scipy("scipy.ndimage")


def around(size: int, origin: int) -> tuple[int, int]:
    """How many elements of a window lie before its place, and behind."""
    before = size // 2 + origin
    if size < 1 or not 0 <= before < size:
        raise ValueError(
            f"a window of {size} elements{at(user_source())} has none {before} before its place: origin must be from "
            f"{-(size // 2)} to {(size - 1) // 2}, got {origin}"
        )
    return before, size - 1 - before


def summed(x: Any, weights: Any, axis: int, mode: str, cval: Any, origin: int) -> Any:
    """The sums of products with weights along one axis."""
    x = np.moveaxis(x, axis, -1)
    pads = [(0, 0)] * (len(x.shape) - 1) + [around(weights.shape[0], origin)]
    found = bind(slide_op, (continued(x, pads, known_mode(mode), cval), weights))
    return np.moveaxis(found, -1, axis)


def _like(weights: Any, x: Any) -> Any:
    """Weights in x's precision: plain ones are computed in float64, and integers."""
    w = (
        np.asarray(weights)
        if not is_traced(weights)
        else as_array(np.stack(weights) if type(weights) in (list, tuple) else weights)
    )
    real = np.zeros((), x.dtype).real.dtype
    return astype(w, np.result_type(real, np.complex64) if number_kind(w.dtype) == "c" else real)


@ndimage
def correlate1d(
    input: ArrayLike,
    weights: ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: ArrayLike = 0.0,
    origin: int = 0,
) -> Array:
    """The sums of products with the vector `weights`, conjugated, of what lies around each element along `axis`: of input's shape.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.array([1.0, 2.0, 4.0])
    >>> tg.grad(lambda w: tg.scipy.ndimage.correlate1d(x, w)[0])(np.ones(3)).tolist()
    [1.0, 1.0, 2.0]
    """
    x = computed(input)
    w = conjugate_of_complex(_like(weights, x))
    if len(w.shape) != 1 or w.shape[0] == 0:
        raise ShapeError(
            f"correlate1d{at(user_source())}: weights must be a vector that is not empty, got {type_of(w)}"
        )
    dtype = output_dtype("correlate1d", output, as_array(input), w)
    return as_output(summed(x, w, axis, mode, cval, origin), dtype)


@ndimage
def convolve1d(
    input: ArrayLike,
    weights: ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: ArrayLike = 0.0,
    origin: int = 0,
) -> Array:
    """The convolution with the vector `weights` along `axis`: of input's shape.

    >>> convolve1d(np.array([0.0, 1.0, 0.0]), [1.0, 2.0, 3.0]).tolist()
    [1.0, 2.0, 3.0]
    """
    w = conjugate_of_complex(_like(weights, computed(input)))
    return correlate1d(input, np.flip(w), axis, output, mode, cval, -origin - (w.shape[0] + 1) % 2)


def _correlated(
    name: str, input: Any, weights: Any, output: Any, mode: str, cval: Any, origin: Any, axes: Any, turned: bool
) -> Any:
    x = computed(input)
    axes = checked_axes(axes, len(x.shape))
    w = _like(weights, x)
    if len(w.shape) != len(axes) or 0 in w.shape:
        raise ShapeError(
            f"{name}{at(user_source())}: weights must have an axis for each of {len(axes)}, none of them empty, got {type_of(w)}"
        )
    sizes = dict(zip(sorted(axes), w.shape, strict=True))  # SciPy's: the axes of weights are in the input's order
    origins = for_each_axis(origin, len(axes), "origin")
    if turned:
        w, origins = np.flip(w), [-o - (sizes[a] + 1) % 2 for a, o in zip(axes, origins, strict=True)]
    else:
        w = conjugate_of_complex(w)
    pads = [(0, 0)] * len(x.shape)
    for axis, o in zip(axes, origins, strict=True):
        pads[axis] = around(sizes[axis], o)
    w = np.reshape(w, [sizes.get(i, 1) for i in range(len(x.shape))])
    found = slid(continued(x, pads, known_mode(mode), cval), w, [(0, 0)] * len(x.shape))
    return as_output(found, output_dtype(name, output, as_array(input), w))


@ndimage
def correlate(
    input: ArrayLike,
    weights: ArrayLike,
    output: Any = None,
    mode: str = "reflect",
    cval: ArrayLike = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """The sums of products with `weights`, which have as many axes as the input (or as `axes` names), conjugated, around each element.

    >>> correlate(np.eye(2), np.ones((3, 3)), mode="constant").tolist()
    [[2.0, 2.0], [2.0, 2.0]]
    """
    return _correlated("correlate", input, weights, output, mode, cval, origin, axes, False)


@ndimage
def convolve(
    input: ArrayLike,
    weights: ArrayLike,
    output: Any = None,
    mode: str = "reflect",
    cval: ArrayLike = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """The convolution with `weights`, which have as many axes as the input (or as `axes` names): of input's shape.

    >>> convolve(np.array([0.0, 1.0, 0.0]), [1.0, 2.0, 3.0]).tolist()
    [1.0, 2.0, 3.0]
    """
    return _correlated("convolve", input, weights, output, mode, cval, origin, axes, True)
