"""Reductions of a few elements each that lie apart in memory, as pooling of images with their channels last has it.

NumPy enters its inner loop for each run of kept elements, which takes 50 ns where a run of 16 numbers takes 2: the mean over 2 x 2 pixels
of (32, 28, 28, 16) takes 1.4 ms in float32. Here whole views are added up, in NumPy's order and so to its bits, in 0.3 ms.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.types import ArrayType

# Below the first an array is reduced before its strides have been looked at; so many elements may be reduced to one; runs up to that
# length are short; and for each view there must be so many runs, since it takes two microseconds by itself.
_SIZE, _COUNT, _RUN, _RUNS = 1 << 12, 16, 32, 64


def may_be_pooled(t: ArrayType, axes: tuple[int, ...]) -> bool:
    """Whether there are layouts in which such an array is reduced by `pooled` in another way than by NumPy."""
    return t.size >= _SIZE and t.dtype.char in "fdFD" and 1 < math.prod([t.shape[a] for a in axes]) <= _COUNT


def pooled(ufunc: np.ufunc, x: Any, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """`ufunc.reduce(x, axes, keepdims=keepdims)` for `np.add`, `np.maximum` and `np.minimum`."""
    if type(x) is not ndarray or x.size < _SIZE or not (order := _apart(x, axes)):
        return ufunc.reduce(x, axes, keepdims=keepdims)
    index: list[Any] = [slice(None)] * x.ndim
    views = []
    for place in itertools.product(*[range(x.shape[a]) for a in order]):
        for a, i in zip(order, place, strict=True):
            index[a] = slice(i, i + 1) if keepdims else i
        views.append(x[tuple(index)])
    out = ufunc(views[0], views[1])
    for view in views[2:]:
        ufunc(out, view, out=out)
    if ufunc is np.add:
        np.add(out, 0.0, out)  # NumPy starts from zero, so that of -0.0 and -0.0 it makes 0.0
    return out


def add_pooled(x: Any, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """`np.add.reduce(x, axes, keepdims=keepdims)`."""
    return pooled(np.add, x, axes, keepdims)


def _apart(x: Any, axes: tuple[int, ...]) -> list[int]:
    """The axes in the order in which they lie, the outermost first, if they are short and lie around short runs of others."""
    shape, strides = x.shape, x.strides
    count = math.prod([shape[a] for a in axes])
    if not 1 < count <= _COUNT or x.dtype.char not in "fdFD":
        return []
    steps = sorted([(s, i) for i, (n, s) in enumerate(zip(shape, strides, strict=True)) if n > 1])
    inner = steps[0][1]
    is_short = inner not in axes and shape[inner] <= _RUN and x.size >= _RUNS * count * shape[inner]
    if not is_short or steps[0][0] <= 0 or any([a[0] == b[0] for a, b in itertools.pairwise(steps)]):
        return []
    return [i for _, i in reversed(steps) if i in axes] + [a for a in axes if shape[a] == 1]
