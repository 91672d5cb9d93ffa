"""Convolutions of arrays [*batch, *spatial, channels], with any number of batch axes; kernels are [*window, in, out]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.arguments import Count
from tracegrad.core.errors import ShapeError, at, clip, user_source
from tracegrad.lax import conv_general_dilated, conv_transpose
from tracegrad.nn import initializers
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Init, Scope

Sizes = int | Sequence[int]
Padding = str | int | Sequence[int | tuple[int, int]]


@maker
def Conv(
    features: Count,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    *,
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    feature_group_count: Count = 1,
    use_bias: bool = True,
    kernel_init: Init = initializers.lecun_normal(),
    bias_init: Init = initializers.zeros,
) -> Layer:
    """A convolution (a correlation: the kernel is not turned round) over one, two or three axes, and a bias. Conventions are flax's.

    Args:
        features: how many channels come out.
        kernel_size: of the window along each spatial axis; a number n is (n, n), the window of images.
        strides: steps between windows, one number for all axes or one for each.
        padding: "SAME" (as many results as ceil(n / stride), zeros on both sides), "VALID" (none; torch's default), "CIRCULAR" (goes
            round), "CAUSAL" (all in front, of one axis), a number of zeros on each side, or one or a pair of these for each
            axis.
        input_dilation, kernel_dilation: distances between elements, with zeros between.
        feature_group_count: cuts the channels into groups, each with its own part of the kernel.
        use_bias: whether there is a bias.
        kernel_init: of `kernel`, (*kernel_size, in / groups, features).
        bias_init: of `bias`, (features,).

    Raises:
        ShapeError: inputs with too few axes, channels that the groups do not divide, a padding that does not fit.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.Conv(8, 3, strides=2)
    >>> net(net.init(0, (1, 28, 28, 1)), np.ones((5, 28, 28, 1))).shape
    (5, 14, 14, 8)
    """
    window = sizes_of(kernel_size)

    @layer("Conv")
    def conv(p: Scope, x: Any) -> Any:
        channels = channels_of(p, x, window)
        if channels % feature_group_count or features % feature_group_count:
            raise ShapeError(
                f"{p.place()}: {feature_group_count} groups must divide {channels} channels in and {features} out"
            )
        kernel = p.param("kernel", kernel_init, (*window, channels // feature_group_count, features))
        x = p.cast(x, kernel.dtype)
        dilation = each(kernel_dilation, window)
        x, pads = padded(p, x, padding, window, dilation)
        y = conv_general_dilated(
            as_batch(x, window), kernel, each(strides, window), pads, each(input_dilation, window), dilation,
            numbers(window), feature_group_count,
        )  # fmt: skip
        require_windows(p, x, y, window)
        y = np.reshape(y, (*x.shape[: x.ndim - len(window) - 1], *y.shape[1:]))
        return y + p.param("bias", bias_init, (features,)) if use_bias else y

    return conv


@maker
def ConvTranspose(
    features: Count,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    *,
    kernel_dilation: Sizes = 1,
    use_bias: bool = True,
    transpose_kernel: bool = False,
    kernel_init: Init = initializers.lecun_normal(),
    bias_init: Init = initializers.zeros,
) -> Layer:
    """A convolution whose strides make the result larger: n * stride elements along an axis, for "SAME". Conventions are flax's.

    Args:
        features: how many channels come out.
        kernel_size, strides: as of `Conv`.
        padding: "SAME", "VALID", "CIRCULAR", or numbers or pairs for each axis.
        kernel_dilation: distance between the elements of the kernel.
        use_bias: whether there is a bias.
        transpose_kernel: whether it is the gradient of the convolution with this kernel, which then is (*kernel_size, features, in).
        kernel_init: of `kernel`, (*kernel_size, in, features).
        bias_init: of `bias`, (features,).

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.ConvTranspose(4, 2, strides=2)
    >>> net(net.init(0, (1, 7, 7, 8)), np.ones((1, 7, 7, 8))).shape
    (1, 14, 14, 4)
    """
    window = sizes_of(kernel_size)

    @layer("ConvTranspose")
    def transposed(p: Scope, x: Any) -> Any:
        channels = channels_of(p, x, window)
        shape = (features, channels) if transpose_kernel else (channels, features)
        kernel = p.param("kernel", kernel_init, (*window, *shape))
        x = p.cast(x, kernel.dtype)
        steps, dilation = each(strides, window), each(kernel_dilation, window)
        circular = padding == "CIRCULAR"
        pads: Any = "VALID" if circular else padding if isinstance(padding, str) else pairs(p, padding, window)
        y = conv_transpose(
            as_batch(x, window), kernel, steps, pads, dilation, numbers(window), transpose_kernel=transpose_kernel
        )
        if circular:
            y = _wrapped(
                y, [n * s for n, s in zip(x.shape[-len(window) - 1 : -1], steps, strict=True)], transpose_kernel
            )
        y = np.reshape(y, (*x.shape[: x.ndim - len(window) - 1], *y.shape[1:]))
        return y + p.param("bias", bias_init, (features,)) if use_bias else y

    return transposed


def _wrapped(y: Any, periods: Sequence[int], transpose_kernel: bool) -> Any:
    """What lies beyond a period along each axis, added to what lies within, with the middle of it all in the middle."""
    for axis, period in enumerate(periods, 1):
        missing = -(y.shape[axis] - period) % (2 * period)
        less, more = missing // 2, missing - missing // 2
        width = [(0, 0)] * y.ndim
        width[axis] = (less, more) if transpose_kernel else (more, less)
        y = np.pad(y, width)
        y = np.sum(np.reshape(y, (*y.shape[:axis], -1, period, *y.shape[axis + 1 :])), axis)
    return y


@maker
def DepthwiseConv(
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    *,
    multiplier: Count = 1,
    kernel_dilation: Sizes = 1,
    use_bias: bool = True,
    kernel_init: Init = initializers.lecun_normal(),
    bias_init: Init = initializers.zeros,
) -> Layer:
    """A convolution of each channel by itself. Those that come of one channel lie beside each other, as in keras.

    Args:
        kernel_size, strides, padding, kernel_dilation, use_bias: as of `Conv`.
        multiplier: how many channels come of each.
        kernel_init: of `kernel`, (*kernel_size, 1, in * multiplier).
        bias_init: of `bias`, (in * multiplier,).

    >>> from tracegrad import nn
    >>> nn.DepthwiseConv(3).init(0, (1, 8, 8, 6))["kernel"].shape
    (3, 3, 1, 6)
    """
    options: Any = {
        "padding": padding, "kernel_dilation": kernel_dilation, "use_bias": use_bias, "kernel_init": kernel_init,
        "bias_init": bias_init,
    }  # fmt: skip

    @layer("DepthwiseConv")
    def depthwise(p: Scope, x: Any) -> Any:
        channels = channels_of(p, x, sizes_of(kernel_size))
        conv = Conv(channels * multiplier, kernel_size, strides, feature_group_count=channels, **options)
        return conv.function(p, x)

    return depthwise


@maker
def SeparableConv(
    features: Count,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    *,
    multiplier: Count = 1,
    use_bias: bool = True,
    kernel_init: Init = initializers.lecun_normal(),
    bias_init: Init = initializers.zeros,
) -> Layer:
    """`DepthwiseConv` without a bias, then a convolution of single places. Parameters stand under `depthwise` and `pointwise`.

    Args:
        features: how many channels come out.
        kernel_size, strides, padding, multiplier: of the depthwise convolution.
        use_bias: whether there is a bias, in the second.
        kernel_init, bias_init: of both.

    Source: Chollet, "Xception: deep learning with depthwise separable convolutions", CVPR 2017.

    >>> from tracegrad import nn
    >>> sorted(nn.SeparableConv(8, 3).init(0, (1, 8, 8, 6)))
    ['depthwise', 'pointwise']
    """
    ones = (1,) * len(sizes_of(kernel_size))

    @layer("SeparableConv")
    def separable(p: Scope, x: Any) -> Any:
        first = DepthwiseConv(
            kernel_size, strides, padding, multiplier=multiplier, use_bias=False, kernel_init=kernel_init
        )
        second = Conv(features, ones, use_bias=use_bias, kernel_init=kernel_init, bias_init=bias_init)
        return p(second, p(first, x, name="depthwise"), name="pointwise")

    return separable


# ---------------------------------------------------------------------------------------------------------------------
# What convolutions and windows share.


def sizes_of(size: Sizes, square: bool = True, least: int = 1) -> tuple[int, ...]:
    """A size for each axis, of which one number stands for the two of images, each of `least` or more."""
    sizes = (size,) if isinstance(size, int | np.integer) else size
    if not isinstance(sizes, list | tuple) or not all([isinstance(n, int | np.integer) for n in sizes]):
        raise TypeError(
            f"a size is a whole number, or a tuple of such, one for each axis, got {clip(repr(size))}{at(user_source())}; write "
            "3 or (3, 3)"
        )
    if any([n < least for n in sizes]):
        raise ValueError(f"a size is a whole number from {least} on, got {clip(repr(size))}{at(user_source())}")
    return (*sizes, *sizes) if square and sizes is not size else tuple(sizes)


def each(value: Sizes, window: Sequence[int]) -> tuple[int, ...]:
    """One number for each axis of a window."""
    return (value,) * len(window) if isinstance(value, int) else tuple(value)


def channels_of(p: Scope, x: Any, window: Sequence[int]) -> int:
    """The size of the last axis of what has axes for a window."""
    if np.ndim(x) < len(window) + 1:
        axes = ", ".join([*["space"] * len(window), "channels"])
        raise ShapeError(
            f"{p.place()}: a window of {tuple(window)} takes [..., {axes}], got {np.shape(x)}; write "
            "x[..., None] for one channel"
        )
    return int(np.shape(x)[-1])


def require_windows(p: Scope, x: Any, y: Any, window: Sequence[int]) -> None:
    """A window that lies nowhere in what has elements leaves nothing: almost always a net for larger images."""
    space = slice(-len(window) - 1, -1)
    if 0 in y.shape[space] and 0 not in x.shape[space]:
        raise ShapeError(
            f"{p.place()}: a window of {tuple(window)} is larger than the input {x.shape[space]}; write padding='SAME', a "
            "smaller window, or give larger inputs"
        )


def as_batch(x: Any, window: Sequence[int]) -> Any:
    """The same with one axis in place of those before the spatial ones."""
    count = x.ndim - len(window) - 1
    return x if count == 1 else np.reshape(x, (math.prod(x.shape[:count]), *x.shape[count:]))


def numbers(window: Sequence[int]) -> tuple[str, str, str]:
    """Which axes are which, for `lax`."""
    space = "".join([chr(ord("0") + i) for i in range(len(window))])
    return f"N{space}C", f"{space}IO", f"N{space}C"


def pairs(p: Scope, padding: Any, window: Sequence[int]) -> list[tuple[int, int]]:
    """A padding of numbers as a pair for each axis."""
    found = [padding] * len(window) if isinstance(padding, int) else list(padding)
    if len(found) != len(window):
        raise ShapeError(
            f"{p.place()}: padding {padding!r} is for {len(found)} axes, the window {tuple(window)} has {len(window)}"
        )
    return [(n, n) if isinstance(n, int) else (n[0], n[1]) for n in found]


def padded(
    p: Scope, x: Any, padding: Padding, window: Sequence[int], dilation: Sequence[int]
) -> tuple[Any, str | list[tuple[int, int]]]:
    """An array with what goes round, and the padding that is left for `lax`."""
    widths = [(n - 1) * d for n, d in zip(window, dilation, strict=True)]
    if padding == "CIRCULAR":
        around = [(n // 2, n - n // 2) for n in widths]
        return np.pad(x, [(0, 0)] * (x.ndim - len(window) - 1) + around + [(0, 0)], mode="wrap"), "VALID"
    if padding == "CAUSAL":
        if len(window) != 1:
            raise ShapeError(f"{p.place()}: CAUSAL padding is for one axis, got {tuple(window)}")
        return x, [(widths[0], 0)]
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(
                f"{p.place()}: padding is 'SAME', 'VALID', 'CIRCULAR', 'CAUSAL', a number or numbers, got {padding!r}"
            )
        return x, padding
    return x, pairs(p, padding, window)
