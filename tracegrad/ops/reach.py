"""Which elements of an output depend on which elements of an input, for the ops that mix them (`Op.reach`). Derivatives of a
function that touches a few elements each are found by a few products; see transforms/sparsity.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Along, Params, Reach
from tracegrad.core.types import ArrayType, Shape


def aligned(given: Shape, out: Shape, core: int = 0) -> list[tuple[int, int, Any]]:
    """The pairs of axes that broadcasting lines up, but for the last `core` of both: those in which an input of the shape
    `given` was not repeated.

    >>> aligned((3, 1, 4, 4), (2, 3, 5, 4, 4), core=2)
    [(0, 1, None)]
    """
    lead, extra = len(given) - core, len(out) - len(given)
    return [(a, a + extra, None) for a in range(lead) if a + extra >= 0 and given[a] == out[a + extra]]


def batch_of(core: int) -> Reach:
    """Of an op on the last `core` axes of its inputs, which broadcasts those in front: a matrix depends on its own alone.

    >>> from tracegrad.core.types import ArrayType
    >>> t = ArrayType((3, 2, 2), np.dtype(float))
    >>> batch_of(2)(0, [t], t, {}, [None])
    Along(axes=[(0, 0, None)])
    """

    def reach(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
        return Along(aligned(types[i].shape, out.shape, core))

    return reach


def of_other_axes(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    """Of an op along `params["axis"]`, which keeps the axes: the others are its batch.

    >>> from tracegrad.core.types import ArrayType
    >>> of_other_axes(0, [ArrayType((3, 4), np.dtype(float))], ArrayType((3, 5), np.dtype(complex)), {"axis": 1}, [None])
    Along(axes=[(0, 0, None)])
    """
    return Along([(a, a, None) for a in range(len(types[i].shape)) if a != params["axis"]])


def of_kept_axes(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    """Of a reduction over `params["axes"]`.

    >>> from tracegrad.core.types import ArrayType
    >>> t = ArrayType((3, 4), np.dtype(float))
    >>> of_kept_axes(0, [t], ArrayType((4,), np.dtype(float)), {"axes": (0,), "keepdims": False}, [None])
    Along(axes=[(1, 0, None)])
    """
    kept = [a for a in range(len(types[i].shape)) if a not in params["axes"]]
    return Along([(a, a if params["keepdims"] else k, None) for k, a in enumerate(kept)])


def of_running(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    """Of what runs along `params["axis"]`, backwards with `params["reverse"]`: a place depends on those before it.

    >>> from tracegrad.core.types import ArrayType
    >>> t = ArrayType((2,), np.dtype(float))
    >>> ((_, _, places),) = of_running(0, [t], t, {"axis": 0, "reverse": False}, [None]).axes
    >>> [p.tolist() for p in places]
    [[0, 1, 1], [0, 0, 1]]
    """
    axis, n = params["axis"], types[i].shape[params["axis"]]
    later, earlier = np.tril_indices(n)
    places = (earlier, later) if params["reverse"] else (later, earlier)
    return Along([(a, a, places if a == axis else None) for a in range(len(types[i].shape))])


def in_windows(
    n: int, count: int, window: int, stride: int, low: int, base_dilation: int, window_dilation: int
) -> tuple[Any, Any]:
    """The places of windows, and those of n elements that stand in them: element j at `low + j * base_dilation`.

    >>> [p.tolist() for p in in_windows(3, 2, 2, 1, 0, 1, 1)]
    [[0, 0, 1, 1], [0, 1, 1, 2]]
    """
    places, within = np.divmod(np.arange(count * window), max(window, 1))
    elements, remainder = np.divmod(places * stride + within * window_dilation - low, base_dilation)
    real = (remainder == 0) & (elements >= 0) & (elements < n)
    return places[real], elements[real]


def of_columns(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    """Of the solution of linear equations for matrices of right sides: columns, or with `left_side=False` rows, by themselves.

    >>> from tracegrad.core.types import ArrayType
    >>> a, b = [ArrayType(shape, np.dtype(float)) for shape in [(3, 3), (3, 2)]]
    >>> of_columns(1, [a, b], b, {}, [None, None])
    Along(axes=[(1, 1, None)])
    """
    shape, out_shape = types[i].shape, out.shape
    if len(shape) < 2:
        return Along([])
    back = 1 if params.get("left_side", True) else 2
    return Along([*aligned(shape, out_shape, core=2), (len(shape) - back, len(out_shape) - back, None)])
