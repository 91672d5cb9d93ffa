"""Convolution (strictly, correlation: the kernel is not turned round) over any number of axes, in groups.

One op does all of it, in one layout: inputs (group, batch, *spatial, features), kernels (group, *spatial, features in,
features out), outputs (group, batch, *spatial, features out). Each group is a convolution of its own. `feature_group_count`
and `batch_group_count` are ways to cut arrays into groups, and `vmap` of both arguments is one more. In this layout
both transposes are convolutions too: the input's with the kernel turned round and its features swapped, the kernel's
with batch and features of the input swapped, and the cotangent as the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.op import Along, Op, Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, Shape
from tracegrad.ops.elementwise import is_narrow
from tracegrad.ops.families import multilinear
from tracegrad.ops.reach import in_windows
from tracegrad.ops.window import (
    Pads,
    dilated,
    landing,
    padded_and_dilated,
    transposed_padding,
    window_count,
    window_view,
)
from tracegrad.typing import Array

# ---------------------------------------------------------------------------------------------------------------------
# Evaluation, in three ways. Times are in ms on one core, in float32.

# Elements of windows that are copied out at a time. BLAS needs the windows as rows of a matrix, nine times as large as
# the input for a kernel of 3 x 3, and a matrix that leaves the cache costs more to write than to multiply. For
# (32, 28, 28, 16) by (3, 3, 16, 32): one matrix 4.1, matrices of this size 2.9, nine products that are added
# up 3.8, jax 1.2. Kernels of one element need no copy: 0.3, jax 0.25.
_BLOCK = 1 << 18
# Of up to so many features windows are copied place by place, each in runs of a row of the input: for (32, 28, 28, 1) by 3 x 3 places
# 0.07 in place of 0.44, for 3 features 0.32 in place of 0.45.
_FEW = 3
# With so many groups to one product of features, and at most so many of these, a product for each group is too small for
# BLAS. For (32, 28, 28, 32) by (3, 3, 1, 32) in 32 groups: one pass of einsum over all groups 4.6, a product for each
# group 12.6, jax 17.
_GROUPS, _FEATURES = 8, 4
# Up to so many elements of a kernel, a dilated input is multiplied by each on its own, without the zeros between. For the
# gradient of the first with strides of 2: 1.6, with the zeros 3.7.
_TAPS = 64


def _conv(x: Any, w: Any, *, strides: Shape, padding: Pads, lhs_dilation: Shape, rhs_dilation: Shape) -> Any:
    dtype = np.result_type(x, w)
    if is_narrow(dtype):  # which BLAS does not have: products take 24 times as long
        x, w = x.astype(np.float32), w.astype(np.float32)
        return _conv(
            x, w, strides=strides, padding=padding, lhs_dilation=lhs_dilation, rhs_dilation=rhs_dilation
        ).astype(dtype)
    # BLAS cannot read a broadcast view, which is what the cotangent of a sum is.
    x, w = [np.ascontiguousarray(v, dtype) if 0 in v.strides else v.astype(dtype, copy=False) for v in (x, w)]
    kernel, features_out = w.shape[1:-2], w.shape[-1]
    # Of batch and features, the axis whose elements lie closer in memory goes last: windows are copied in runs of it.
    swapped = (abs(x.strides[1]), x.shape[1]) < (abs(x.strides[-1]), x.shape[-1])
    features = features_out * x.shape[1 if swapped else -1]
    by_channels = features <= _FEATURES and len(x) >= _GROUPS * features
    if math.prod(lhs_dilation) > math.prod(strides) == 1 and math.prod(kernel) <= _TAPS and not by_channels:
        return _by_taps(x, w, padding, lhs_dilation, rhs_dilation)
    if swapped:
        x = x.swapaxes(1, -1)
    pads, dilation = ((0, 0), *padding, (0, 0)), (1, *lhs_dilation, 1)
    if by_channels:
        x = padded_and_dilated(np.moveaxis(x, 0, -1), (*pads, (0, 0)), (*dilation, 1), 0)
        windows = window_view(np.ascontiguousarray(x), 1, kernel, strides, rhs_dilation)
        return _by_channels(windows, np.ascontiguousarray(np.moveaxis(w, 0, -1)), swapped)
    x = padded_and_dilated(x, ((0, 0), *pads), (1, *dilation), 0)
    if x.shape[-1] > 1 and x.strides[-1] != x.itemsize:
        x = np.ascontiguousarray(x)
    windows = window_view(x, 2, kernel, strides, rhs_dilation)
    return _by_blocks(windows, w, swapped, whole=windows.size <= x.size)


def _by_blocks(windows: Any, w: Any, swapped: bool, whole: bool) -> Any:
    """Products of a block of windows, as the rows of a matrix, and the kernel as a matrix; or, where the batch is the last
    axis, of the transposed matrix of a block and the rows of the kernel that go with it, added up:

        out[g, n, t, o] = sum over k, c of windows[g, n, t, k, c] w[g, k, c, o]
        out[g, t, n, o] = sum over c, k of windows[g, c, k, t, n] w[g, c, k, o]
    """
    n, features_out = w.ndim - 3, w.shape[-1]
    if swapped:
        windows = windows.transpose(0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n), 2 + 2 * n)
        w = np.moveaxis(w, -2, 1)
        out = np.zeros((len(w), *windows.shape[2 + n :], features_out), w.dtype)
    else:
        out = np.empty((*windows.shape[: 2 + n], features_out), w.dtype)
    columns = math.prod(windows.shape[2 + n :])
    by_places = not whole and windows.shape[-1] <= _FEW
    cut = windows.shape[: min(3, 2 + n)]
    for block in [(slice(None),)] if whole else _blocks(cut, math.prod(windows.shape[len(cut) :])):
        piece, group = windows[block], block[0]
        rows = math.prod(piece.shape[1 : 2 + n])
        if by_places:
            piece = piece.transpose(0, *range(2 + n, piece.ndim), *range(1, 2 + n))
            matrix = piece.reshape(len(piece), columns, rows).swapaxes(1, 2)
        else:
            matrix = piece.reshape(len(piece), rows, columns)
        if swapped:
            product_of_rows = np.matmul(matrix.swapaxes(1, 2), w[block].reshape(len(piece), rows, features_out))
            out[group] += product_of_rows.reshape(out[group].shape)
        else:
            kernel = w[group].reshape(len(piece), columns, features_out)
            np.matmul(matrix, kernel, out=out[block].reshape(len(piece), rows, features_out))
    return np.moveaxis(out, -2, 1) if swapped else out


def _blocks(sizes: Sequence[int], inner: int) -> Iterator[tuple[slice, ...]]:
    """Cut axes of these sizes into blocks of at most _BLOCK elements, of which there are `inner` for each place along
    these axes. A block has several places along one axis only if it has all along those behind it."""
    steps: list[int] = []
    for n in reversed(sizes):
        steps.insert(0, max(1, min(n, _BLOCK // max(inner, 1))))
        inner *= steps[0]
    return product(*[[slice(i, i + s) for i in range(0, n, s)] for n, s in zip(sizes, steps, strict=True)])


def _by_channels(windows: Any, w: Any, swapped: bool) -> Any:
    """Sums of products with the groups, which are many, as the axis that lies together in memory: the last of windows
    and kernel."""
    n = w.ndim - 3
    first, *places = range(1 + n)
    within, last, features_out, group = [*range(1 + n, 1 + 2 * n)], 1 + 2 * n, 2 + 2 * n, 3 + 2 * n
    batch, features = (last, first) if swapped else (first, last)
    out = np.einsum(
        windows, [first, *places, *within, last, group],
        w, [*within, features, features_out, group],
        [batch, *places, features_out, group],
    )  # fmt: skip
    return np.moveaxis(out, -1, 0)


def _by_taps(x: Any, w: Any, padding: Pads, lhs_dilation: Shape, rhs_dilation: Shape) -> Any:
    """All of the input multiplied by one element of the kernel after the other, each product added in where it belongs:
    the neighbours of an input lie `lhs_dilation` apart in the output, and nothing is multiplied by the zeros between."""
    sizes, kernel, (features, features_out) = x.shape[2:-1], w.shape[1:-2], w.shape[-2:]
    totals = [
        window_count(low + dilated(m, ld) + high, k, 1, rd)
        for m, k, (low, high), ld, rd in zip(sizes, kernel, padding, lhs_dilation, rhs_dilation, strict=True)
    ]
    out = np.zeros((*x.shape[:2], *totals, features_out), x.dtype)
    rows = x.reshape(len(x), math.prod(x.shape[1:-1]), features)
    for tap in np.ndindex(*kernel):
        starts = [low - i * rd for i, (low, _), rd in zip(tap, padding, rhs_dilation, strict=True)]
        taken = [landing(*a) for a in zip(sizes, starts, lhs_dilation, totals, strict=True)]
        part = np.matmul(rows, w[(slice(None), *tap)]).reshape(*x.shape[:-1], features_out)
        whole = (slice(None), slice(None))
        out[(*whole, *[target for _, target in taken])] += part[(*whole, *[source for source, _ in taken])]
    return out


# ---------------------------------------------------------------------------------------------------------------------
# The op.

_PARAMS = ("strides", "padding", "lhs_dilation", "rhs_dilation")


def _conv_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    x, w = types
    geometry = [params[name] for name in _PARAMS]
    count = len(geometry[0])
    if x.ndim != count + 3 or w.ndim != count + 3 or x.shape[0] != w.shape[0] or x.shape[-1] != w.shape[-2]:
        raise ShapeError(
            f"conv_general_dilated: inputs {x} must be (group, batch, *spatial, features) and kernels {w} (group, "
            f"*spatial, features in, features out), of {count} spatial axes"
        )
    sizes = [
        window_count(low + dilated(n, ld) + high, k, s, rd)
        for n, k, s, (low, high), ld, rd in zip(x.shape[2:-1], w.shape[1:-2], *geometry, strict=True)
    ]
    return ArrayType((*x.shape[:2], *sizes, w.shape[-1]), np.result_type(x.dtype, w.dtype))


def _contraction(types: Sequence[ArrayType], params: Params) -> tuple[int, bool]:
    kernel = types[1].shape
    return _conv_type(types, params).size * math.prod(kernel[1:-1]), True


def _transpose(i: int) -> Callable[..., Any]:
    return _kernel_transpose if i else _input_transpose


def _input_transpose(
    ct: Any, x: Any, w: Any, *, strides: Shape, padding: Pads, lhs_dilation: Shape, rhs_dilation: Shape
) -> Any:
    """The cotangent, spread out by the strides, slides under the kernel turned round."""
    sizes = x.shape[2:-1], w.shape[1:-2], ct.shape[2:-1]
    pads = tuple(map(transposed_padding, *sizes, strides, padding, lhs_dilation, rhs_dilation))
    turned = np.flip(w, tuple(range(1, 1 + len(strides)))) if strides else w
    return convolution(ct, np.swapaxes(turned, -1, -2), lhs_dilation, pads, strides, rhs_dilation)


def _kernel_transpose(
    ct: Any, x: Any, w: Any, *, strides: Shape, padding: Pads, lhs_dilation: Shape, rhs_dilation: Shape
) -> Any:
    """The input slides under the cotangent: what is summed over is the batch, so that it takes the features' place."""
    pads = tuple(
        [
            (low, dilated(m, s) + dilated(k, rd) - 1 - dilated(n, ld) - low)
            for n, k, m, s, (low, _), ld, rd in zip(
                x.shape[2:-1], w.shape[1:-2], ct.shape[2:-1], strides, padding, lhs_dilation, rhs_dilation, strict=True
            )
        ]
    )
    d = convolution(np.swapaxes(x, 1, -1), np.moveaxis(ct, 1, -2), rhs_dilation, pads, lhs_dilation, strides)
    return np.moveaxis(d, 1, -2)


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    """A batch of inputs is more batch, a batch of kernels more features out, a batch of both more groups."""
    x, w = inputs
    if batched[0] and batched[1]:
        merged = [np.reshape(v, (size * v.shape[1], *v.shape[2:])) for v in (x, w)]
        out = bind(conv_op, tuple(merged), params)
        return np.reshape(out, (size, x.shape[1], *out.shape[1:]))
    if batched[0]:
        x = np.moveaxis(x, 0, 1)
        out = bind(conv_op, (np.reshape(x, (len(x), size * x.shape[2], *x.shape[3:])), w), params)
        return np.moveaxis(np.reshape(out, (len(x), size, x.shape[2], *out.shape[2:])), 1, 0)
    w = np.moveaxis(w, 0, -2)
    out = bind(conv_op, (x, np.reshape(w, (*w.shape[:-2], size * w.shape[-1]))), params)
    return np.moveaxis(np.reshape(out, (*out.shape[:-1], size, w.shape[-1])), -2, 0)


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    # Input, kernel, strides, padding, dilation of the input and of the kernel.
    table: list[tuple[Shape, Shape, Shape, Pads, Shape, Shape]] = [
        ((1, 2, 3), (1, 3, 2), (), (), (), ()),
        ((1, 2, 5, 1), (1, 2, 1, 2), (1,), ((0, 0),), (1,), (1,)),
        ((1, 2, 5, 2), (1, 3, 2, 1), (2,), ((1, 1),), (1,), (1,)),
        ((2, 1, 6, 2), (2, 2, 2, 2), (2,), ((2, 0),), (1,), (2,)),
        ((2, 2, 3, 1), (2, 2, 1, 2), (1,), ((1, 2),), (2,), (1,)),
        ((1, 1, 4, 2), (1, 2, 2, 1), (2,), ((-1, 1),), (3,), (2,)),
        ((1, 1, 5, 1), (1, 2, 1, 1), (1,), ((-2, -1),), (2,), (1,)),
        ((1, 1, 2, 1), (1, 3, 1, 2), (1,), ((0, 0),), (1,), (1,)),
        ((9, 1, 4, 1), (9, 2, 1, 1), (1,), ((1, 0),), (1,), (1,)),
        ((1, 2, 4, 4, 2), (1, 2, 3, 2, 2), (1, 1), ((0, 1), (1, 1)), (1, 1), (1, 1)),
        ((1, 1, 4, 3, 2), (1, 1, 1, 2, 3), (2, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
        ((2, 1, 3, 4, 1), (2, 2, 2, 1, 1), (2, 1), ((1, 1), (0, 2)), (1, 2), (2, 1)),
        ((1, 1, 3, 2, 3, 1), (1, 2, 2, 2, 1, 1), (1, 1, 2), ((0, 0), (1, 0), (0, 1)), (1, 1, 1), (1, 1, 1)),
        ((1, 0, 3, 2), (1, 2, 2, 1), (1,), ((0, 0),), (1,), (1,)),
        ((1, 1, 3, 0), (1, 2, 0, 2), (1,), ((0, 0),), (1,), (1,)),
    ]
    for x, w, *params in table:
        yield Sample((rng.uniform(-1, 1, x), rng.uniform(-1, 1, w)), dict(zip(_PARAMS, params, strict=True)))


def _reach(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
    x, w = [t.shape for t in types]
    if i:
        return Along([(0, 0, None), (len(w) - 1, len(w) - 1, None)])
    geometry = zip(x[2:-1], out.shape[2:-1], w[1:-2], *[params[name] for name in _PARAMS], strict=True)
    seen = [in_windows(n, m, k, s, low, b, d) for n, m, k, s, (low, _), b, d in geometry]
    return Along([(0, 0, None), (1, 1, None), *[(a, a, places) for a, places in enumerate(seen, 2)]])


conv_op: Op = multilinear(
    "conv_general_dilated", _conv, _transpose, reach=_reach,
    infer=_conv_type, batch=_batch, kinds="biufc", samples=_samples, never_aliases=True, contraction=_contraction,
)  # fmt: skip


def convolution(x: Array, w: Array, strides: Shape, padding: Pads, lhs_dilation: Shape, rhs_dilation: Shape) -> Array:
    """Convolution in groups, in the layout of this module; strides, padding and dilations have an entry for each spatial axis.

    >>> convolution(np.ones((1, 1, 4, 1)), np.ones((1, 2, 1, 1)), (1,), ((0, 0),), (1,), (1,)).shape
    (1, 1, 3, 1)
    """
    geometry = strides, padding, lhs_dilation, rhs_dilation
    return bind(conv_op, (x, w), dict(zip(_PARAMS, geometry, strict=True)))
