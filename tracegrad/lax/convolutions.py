"""Convolutions, as jax.lax says them: `conv_general_dilated`, `conv`, `conv_transpose`.

Nothing here is an op: dimension numbers, paddings by name and groups of features or of the batch come down to the one layout of
`ops/conv.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import DtypeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import Shape, number_kind, type_of
from tracegrad.ops.conv import convolution
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.shape import inverse_permutation
from tracegrad.ops.window import dilated, one_per_axis, padding_pairs, refused
from tracegrad.typing import Array, ArrayLike, DType


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


def conv_general_dilated(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: DType = None,
) -> Array:
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
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    preferred_element_type: DType = None,
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
    input_dilation = one_per_axis(name, "lhs_dilation", lhs_dilation, count)
    kernel_dilation = one_per_axis(name, "rhs_dilation", rhs_dilation, count)
    if isinstance(padding, str) and input_dilation != (1,) * count:
        raise refused(
            name,
            f"padding {padding!r} has no one meaning with lhs_dilation {input_dilation}; give pairs of ints, or use "
            "conv_transpose",
        )
    reach = tuple(map(dilated, kernel, kernel_dilation))
    pads = padding_pairs(name, padding, tuple(map(dilated, spatial, input_dilation)), reach, strides)
    if any([low + dilated(n, d) + high < 0 for n, d, (low, high) in zip(spatial, input_dilation, pads, strict=True)]):
        raise refused(name, f"padding {pads} cuts off more than there is, in {shapes}")
    x = _permuted(lhs, (numbers.lhs_spec[0], *numbers.lhs_spec[2:], numbers.lhs_spec[1]))
    w = _permuted(rhs, (*numbers.rhs_spec[2:], *numbers.rhs_spec[1::-1]))
    if batch_group_count > 1:
        x = np.reshape(x, (groups, batch // groups, *x.shape[1:]))
    else:
        x = _in_groups(x, groups)
    out = convolution(x, _in_groups(w, groups), strides, pads, input_dilation, kernel_dilation)
    out = np.reshape(np.moveaxis(out, 0, -2) if groups > 1 else out, (*out.shape[1:-1], features_out))
    return _permuted(out, inverse_permutation((numbers.out_spec[0], *numbers.out_spec[2:], numbers.out_spec[1])))


def _in_groups(x: Any, groups: int) -> Any:
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
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str,
    precision: Any = None,
    preferred_element_type: DType = None,
) -> Array:
    """`conv_general_dilated` of inputs (N, C, *spatial) and kernels (O, C, *spatial), without dilation or groups, as
    `jax.lax.conv`. Shapes, dtypes and errors are those described there.

    >>> conv(np.ones((1, 2, 4, 4)), np.ones((3, 2, 2, 2)), (2, 2), "VALID").shape
    (1, 3, 2, 2)
    """
    return _general(
        "conv", lhs, rhs, window_strides, padding, None, None, None, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: Any = None,
    preferred_element_type: DType = None,
) -> Array:
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
    lhs: ArrayLike,
    rhs: ArrayLike,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: DType = None,
    use_consistent_padding: bool = False,
) -> Array:
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
