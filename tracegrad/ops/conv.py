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
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, Shape, number_kind, type_of
from tracegrad.ops.elementwise import astype, is_narrow
from tracegrad.ops.families import multilinear, shape_of
from tracegrad.ops.shape import inverse_permutation
from tracegrad.ops.window import (
    Pads,
    dilated,
    landing,
    one_per_axis,
    padding_pairs,
    refused,
    spread_out,
    transposed_padding,
    window_count,
    window_view,
)

# ---------------------------------------------------------------------------------------------------------------------
# Evaluation, in three ways. Times are in ms on one core, in float32.

# Elements of windows that are copied out at a time. BLAS needs the windows as rows of a matrix, nine times as large as
# the input for a kernel of 3 x 3, and a matrix that leaves the cache costs more to write than to multiply. For
# (32, 28, 28, 16) by (3, 3, 16, 32): one matrix 4.1, matrices of this size 2.9, nine products that are added
# up 3.8, jax 1.2. Kernels of one element need no copy: 0.3, jax 0.25.
_BLOCK = 1 << 18
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
        x = spread_out(np.moveaxis(x, 0, -1), (*pads, (0, 0)), (*dilation, 1), 0)
        windows = window_view(np.ascontiguousarray(x), 1, kernel, strides, rhs_dilation)
        return _by_channels(windows, np.ascontiguousarray(np.moveaxis(w, 0, -1)), swapped)
    x = spread_out(x, ((0, 0), *pads), (1, *dilation), 0)
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
    cut = windows.shape[: min(3, 2 + n)]
    for block in [(slice(None),)] if whole else _blocks(cut, math.prod(windows.shape[len(cut) :])):
        piece, group = windows[block], block[0]
        rows = math.prod(piece.shape[1 : 2 + n])
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
    return _bind(ct, np.swapaxes(turned, -1, -2), lhs_dilation, pads, strides, rhs_dilation)


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
    d = _bind(np.swapaxes(x, 1, -1), np.moveaxis(ct, 1, -2), rhs_dilation, pads, lhs_dilation, strides)
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


conv_op: Op = multilinear(
    "conv_general_dilated", _conv, _transpose,
    infer=_conv_type, batch=_batch, kinds="biufc", samples=_samples, fresh=True, contraction=_contraction,
)  # fmt: skip


def _bind(x: Any, w: Any, strides: Shape, padding: Pads, lhs_dilation: Shape, rhs_dilation: Shape) -> Any:
    geometry = strides, padding, lhs_dilation, rhs_dilation
    return bind(conv_op, (x, w), dict(zip(_PARAMS, geometry, strict=True)))


# ---------------------------------------------------------------------------------------------------------------------
# Which axis is which.


class ConvDimensionNumbers(NamedTuple):
    """Where the axes of a convolution are: (batch, features, *spatial) of the input, (features out, features in,
    *spatial) of the kernel, (batch, features, *spatial) of the result, each as a tuple of axis numbers."""

    lhs_spec: Shape
    rhs_spec: Shape
    out_spec: Shape


def conv_dimension_numbers(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], dimension_numbers: Any
) -> ConvDimensionNumbers:
    """Dimension numbers in any of their forms as a ConvDimensionNumbers.

    Three strings name the axes of input, kernel and result by position: N the batch, C the features, O and I the features
    out of and into the kernel, any other letters the spatial axes, in the order in which the kernel has them. None is
    NCHW, OIHW, NCHW. Raises ShapeError for shapes of different rank, for words that lack or repeat a letter, and for
    words of different spatial letters.

    >>> conv_dimension_numbers((8, 28, 28, 3), (5, 5, 3, 16), ("NHWC", "HWIO", "NHWC"))
    ConvDimensionNumbers(lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2))
    """
    return _numbers("conv_dimension_numbers", tuple(lhs_shape), tuple(rhs_shape), dimension_numbers)


def _numbers(name: str, lhs: Shape, rhs: Shape, given: Any) -> ConvDimensionNumbers:
    ndim = len(lhs)
    if ndim != len(rhs) or ndim < 2:
        raise refused(
            name,
            f"the input has shape {lhs} and the kernel {rhs}; both need a batch or output axis, a feature axis and the "
            "same number of spatial axes (np.expand_dims adds one)",
        )
    if given is None:
        same = tuple(range(ndim))
        return ConvDimensionNumbers(same, same, same)
    example = "('NHWC', 'HWIO', 'NHWC') for two spatial axes"
    if hasattr(given, "lhs_spec"):
        specs = [tuple(map(int, s)) for s in (given.lhs_spec, given.rhs_spec, given.out_spec)]
        if any([sorted(s) != list(range(ndim)) for s in specs]):
            raise refused(
                name, f"each part of {given} must name each of the {ndim} axes of {lhs} and {rhs} once, from 0 on"
            )
        return ConvDimensionNumbers(*specs)
    if not isinstance(given, list | tuple) or len(given) != 3 or not all([isinstance(s, str) for s in given]):
        raise refused(
            name,
            f"dimension_numbers must be None, a ConvDimensionNumbers, or three strings for input, kernel and result, "
            f"such as {example}, got {given!r}",
        )
    for word, (role, letters) in zip(given, (("input", "NC"), ("kernel", "OI"), ("result", "NC")), strict=True):
        if len(word) != ndim or len(set(word)) != ndim or not set(letters) <= set(word):
            raise refused(
                name,
                f"{word!r}, the axes of the {role} in dimension_numbers {tuple(given)}, must be {ndim} different "
                f"letters, {letters[0]} and {letters[1]} among them, such as {example}",
            )
    spatial = [c for c in given[1] if c not in "OI"]
    if any([set(word) - set("NC") != set(spatial) for word in (given[0], given[2])]):
        raise refused(
            name,
            f"the strings of dimension_numbers {tuple(given)} must have the same letters for spatial axes, such as "
            f"{example}",
        )
    orders = (("N", "C", *spatial), ("O", "I", *spatial), ("N", "C", *spatial))
    return ConvDimensionNumbers(*[tuple(map(word.index, o)) for word, o in zip(given, orders, strict=True)])


# ---------------------------------------------------------------------------------------------------------------------
# The functions.


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """Convolution over any number of spatial axes, in all of the forms of `jax.lax.conv_general_dilated`.

    For inputs (N, C, *n), kernels (O, C / feature_group_count, *k) and no dilation the result is (N, O, *m) with

        out[b, o, t] = sum over c, i of lhs[b, c, t * stride + i - pad in front] * rhs[o, c, i]

    where m = (n + pads - k) // stride + 1; the kernel is not turned round.

    window_strides       steps between the windows, one for each spatial axis
    padding              "VALID" (none), "SAME" (m = ceil(n / stride), an odd number of zeros puts one more behind),
                         "SAME_LOWER" (one more in front), or pairs (in front, behind), negative to cut off
    lhs_dilation         distance at which the elements of the input are placed, with zeros between; wants padding in pairs
    rhs_dilation         distance at which the elements of the kernel are placed
    dimension_numbers    which axes these are, see `conv_dimension_numbers`
    feature_group_count  cuts the features into groups, each with its own part of the kernel's features out; as many as
                         features make a depthwise convolution
    batch_group_count    cuts the batch into groups, each with its own part of the kernel's features out
    precision            has no effect: NumPy computes in the dtype of the result
    preferred_element_type  the dtype to compute in and to return, at least as wide as that of the arguments

    The dtype is what NumPy promotes both arguments to. Raises ShapeError for shapes, strides, padding, dilations or
    groups that do not fit, DtypeError for a preferred_element_type that loses digits or parts.

    >>> x, k = np.arange(5.0).reshape(1, 1, 5), np.array([[[1.0, 0.0, -1.0]]])
    >>> conv_general_dilated(x, k, (1,), "VALID").tolist()
    [[[-2.0, -2.0, -2.0]]]
    >>> conv_general_dilated(x, k, (2,), "SAME").tolist()
    [[[-1.0, -2.0, 3.0]]]

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016), arXiv:1603.07285.
    """
    return _general(
        "conv_general_dilated", lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
        feature_group_count, batch_group_count, preferred_element_type,
    )  # fmt: skip


def _general(
    name: str,
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    preferred_element_type: Any = None,
) -> Any:
    lhs, rhs = as_array(lhs), as_array(rhs)
    numbers = _numbers(name, shape_of(lhs), shape_of(rhs), dimension_numbers)
    if preferred_element_type is not None:
        lhs, rhs = _preferred(name, lhs, rhs, np.dtype(preferred_element_type))
    batch, features, *spatial = [lhs.shape[i] for i in numbers.lhs_spec]
    features_out, features_in, *kernel = [rhs.shape[i] for i in numbers.rhs_spec]
    shapes = f"input {type_of(lhs)} and kernel {type_of(rhs)}"
    groups = _group_count(name, shapes, batch, features, features_out, feature_group_count, batch_group_count)
    if features != features_in * feature_group_count:
        raise refused(
            name,
            f"the input has {features} features, in {feature_group_count} groups, and the kernel takes {features_in}, in "
            f"{shapes}; give a kernel that takes {features // feature_group_count}, or say in dimension_numbers which "
            "axis has the features",
        )
    count = len(spatial)
    if 0 in kernel:
        raise refused(name, f"a kernel needs at least one element along each spatial axis, in {shapes}")
    strides = one_per_axis(name, "window_strides", window_strides, count)
    spread = one_per_axis(name, "lhs_dilation", lhs_dilation, count)
    apart = one_per_axis(name, "rhs_dilation", rhs_dilation, count)
    if isinstance(padding, str) and spread != (1,) * count:
        raise refused(
            name,
            f"padding {padding!r} has no one meaning with lhs_dilation {spread}; give pairs of ints, or use "
            "conv_transpose",
        )
    reach = tuple(map(dilated, kernel, apart))
    pads = padding_pairs(name, padding, tuple(map(dilated, spatial, spread)), reach, strides)
    if any([low + dilated(n, d) + high < 0 for n, d, (low, high) in zip(spatial, spread, pads, strict=True)]):
        raise refused(name, f"padding {pads} cuts off more than there is, in {shapes}")
    x = _permuted(lhs, (numbers.lhs_spec[0], *numbers.lhs_spec[2:], numbers.lhs_spec[1]))
    w = _permuted(rhs, (*numbers.rhs_spec[2:], *numbers.rhs_spec[1::-1]))
    if batch_group_count > 1:
        x = np.reshape(x, (groups, batch // groups, *x.shape[1:]))
    else:
        x = _cut(x, groups)
    out = _bind(x, _cut(w, groups), strides, pads, spread, apart)
    out = np.reshape(np.moveaxis(out, 0, -2) if groups > 1 else out, (*out.shape[1:-1], features_out))
    return _permuted(out, inverse_permutation((numbers.out_spec[0], *numbers.out_spec[2:], numbers.out_spec[1])))


def _cut(x: Any, groups: int) -> Any:
    """The last axis cut into groups, which become the first."""
    if groups == 1:
        return np.reshape(x, (1, *x.shape))
    return np.moveaxis(np.reshape(x, (*x.shape[:-1], groups, x.shape[-1] // groups)), -2, 0)


def _permuted(x: Any, axes: Shape) -> Any:
    return x if axes == tuple(range(len(axes))) else np.transpose(x, axes)


def _group_count(
    name: str, shapes: str, batch: int, features: int, features_out: int, feature_groups: int, batch_groups: int
) -> int:
    """How many groups there are."""
    if feature_groups < 1 or batch_groups < 1 or (feature_groups > 1 and batch_groups > 1):
        raise refused(
            name,
            f"feature_group_count and batch_group_count must be at least 1, and one of them 1, got {feature_groups} and "
            f"{batch_groups}",
        )
    for which, groups, cut, n in (
        ("feature_group_count", feature_groups, "the features of the input", features),
        ("feature_group_count", feature_groups, "the features out of the kernel", features_out),
        ("batch_group_count", batch_groups, "the batch", batch),
        ("batch_group_count", batch_groups, "the features out of the kernel", features_out),
    ):
        if n % groups:
            raise refused(name, f"{which}={groups} does not divide {cut}, {n}, in {shapes}")
    return max(feature_groups, batch_groups)


def _preferred(name: str, lhs: Any, rhs: Any, dtype: np.dtype[Any]) -> list[Any]:
    """Both arguments in the dtype to compute in."""
    for x in (lhs, rhs):
        kinds = "iuf" if number_kind(x.dtype) in "iu" else number_kind(x.dtype)
        if number_kind(dtype) not in kinds or (
            number_kind(x.dtype) == number_kind(dtype) and dtype.itemsize < x.dtype.itemsize
        ):
            raise DtypeError(
                f"{name}{at(user_source())}: preferred_element_type {dtype} is narrower than, or of another kind as, "
                f"{type_of(x)}; cast the result with .astype instead"
            )
    return [astype(x, dtype) for x in (lhs, rhs)]


def conv(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """`conv_general_dilated` of inputs (N, C, *spatial) and kernels (O, C, *spatial), without dilation or groups, as
    `jax.lax.conv`. Shapes, dtypes and errors are those described there.

    >>> conv(np.ones((1, 2, 4, 4)), np.ones((3, 2, 2, 2)), (2, 2), "VALID").shape
    (1, 3, 2, 2)
    """
    return _general(
        "conv", lhs, rhs, window_strides, padding, None, None, None, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """`conv_general_dilated` of inputs (N, C, *spatial) and kernels (O, C, *spatial), without groups, as
    `jax.lax.conv_with_general_padding`. Shapes, dtypes and errors are those described there.

    >>> conv_with_general_padding(np.ones((1, 1, 3)), np.ones((1, 1, 2)), (1,), [(1, 1)], (2,), (2,)).tolist()
    [[[0.0, 2.0, 0.0, 2.0, 0.0]]]
    """
    return _general(
        "conv_with_general_padding", lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, None,
        preferred_element_type=preferred_element_type,
    )  # fmt: skip


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
    use_consistent_padding: bool = False,
) -> Any:
    """Convolution whose strides make the result larger, as `jax.lax.conv_transpose`.

    It has the shapes of the gradient of a convolution of these strides with respect to its input. With
    `transpose_kernel` (the kernel turned round, features in and out swapped) it is that gradient.

    padding                 "SAME" (n elements give n * stride), "VALID" (all places where kernel and input overlap), or
                            pairs (in front, behind): zeros around the spread-out input
    dimension_numbers       as in `conv_general_dilated`; None is NHWC, HWIO, NHWC, for up to three spatial axes
    use_consistent_padding  pairs are the padding of the convolution that this is the gradient of

    Raises what `conv_general_dilated` raises, and ShapeError for more than three axes without dimension_numbers.

    >>> conv_transpose(np.ones((1, 2, 1)), np.ones((3, 1, 1)), (2,), "VALID")[0, :, 0].tolist()
    [1.0, 1.0, 2.0, 1.0, 1.0]

    Source: Dumoulin and Visin (2016), chapter 4, arXiv:1603.07285; the padding by name is that of Keras.
    """
    name = "conv_transpose"
    lhs, rhs = as_array(lhs), as_array(rhs)
    ndim = len(shape_of(lhs))
    if dimension_numbers is None:
        spatial = {2: "", 3: "H", 4: "HW", 5: "HWD"}.get(ndim)
        if spatial is None:
            raise refused(
                name, f"there are no default dimension_numbers for {type_of(lhs)}; write them for all {ndim} axes"
            )
        dimension_numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    numbers = _numbers(name, shape_of(lhs), shape_of(rhs), dimension_numbers)
    count = ndim - 2
    steps = one_per_axis(name, "strides", strides, count)
    apart = one_per_axis(name, "rhs_dilation", rhs_dilation, count)
    reach = [dilated(rhs.shape[i], d) for i, d in zip(numbers.rhs_spec[2:], apart, strict=True)]
    if isinstance(padding, str):
        kind = padding.upper()
        if kind not in ("SAME", "VALID"):
            raise refused(name, f"padding must be 'SAME', 'VALID' or {count} pairs of ints, got {padding!r}")
        pads = []
        for k, s in zip(reach, steps, strict=True):
            # The convolution that this is the gradient of overlaps k - s places; "SAME" shares them out as its padding.
            low = k - 1 - (max(k - s, 0) // 2 if kind == "SAME" else 0)
            pads.append((low, k + s - 2 + (max(k - s, 0) if kind == "VALID" else 0) - low))
    else:
        pads = list(padding_pairs(name, padding, (0,) * count, (0,) * count, steps))
        if use_consistent_padding:
            pads = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(reach, pads, strict=True)]
    if transpose_kernel:
        rhs = np.swapaxes(np.flip(rhs, numbers.rhs_spec[2:]) if count else rhs, *numbers.rhs_spec[:2])
    return _general(
        name, lhs, rhs, (1,) * count, pads, steps, apart, numbers, preferred_element_type=preferred_element_type
    )
