"""Arrays in other shapes and sizes."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from tracegrad.core.arguments import Count
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import is_inexact
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.layers.conv import Sizes, channels_of, each, sizes_of
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Scope
from tracegrad.typing import Array, ArrayLike


def flatten(x: ArrayLike) -> Array:
    """Each example of a batch as a vector: [batch, ...] becomes [batch, n].

    >>> flatten(np.ones((5, 4, 4, 2))).shape
    (5, 32)
    """
    x = as_array(x)
    if not np.ndim(x):
        raise ShapeError(f"flatten{at(user_source())}: takes a batch [batch, ...], got a number")
    return np.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


@maker
def reshape(shape: Sizes) -> Layer:
    """Each example of a batch in another shape: [batch, ...] becomes [batch, *shape].

    Args:
        shape: of an example, a tuple or one size; one of them may be -1.

    Raises:
        ShapeError: an example of another number of elements.

    >>> from tracegrad import nn
    >>> nn.reshape((4, 4, 2))({}, np.ones((5, 32))).shape
    (5, 4, 4, 2)
    """
    sizes = sizes_of(shape, square=False, least=-1)
    known = math.prod([n for n in sizes if n >= 0])
    if (free := sizes.count(-1)) > 1:
        raise ValueError(f"nn.reshape{at(user_source())}: one size may be -1, got {sizes}")

    @layer("reshape")
    def reshape(p: Scope, x: Any) -> Any:
        x = as_array(x)
        if not x.ndim:
            raise ShapeError(f"{p.place()}: takes a batch [batch, ...], got a number")
        count = math.prod(x.shape[1:])
        if count % known if free and known else count != known:
            raise ShapeError(
                f"{p.place()}: an example of shape {x.shape[1:]} has {count} numbers, and {sizes} "
                + (f"asks for a multiple of {known}" if free else f"asks for {known}")
            )
        return np.reshape(x, (x.shape[0], *sizes))

    return reshape


@maker
def upsample(factor: Sizes, method: Literal["nearest", "linear"] = "nearest") -> Layer:
    """Images [..., height, width, channels] enlarged.

    Args:
        factor: how much, one number or one for each spatial axis (their number is how many there are; one number is for two).
        method: "nearest" repeats numbers, "linear" goes straight from one to the next; places are those of jax.image.resize, in
            the middle of their areas.

    >>> from tracegrad import nn
    >>> nn.upsample((2,))({}, np.array([[1.0], [2.0]]))[:, 0].tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    factors = sizes_of(factor)
    if method not in ("nearest", "linear"):
        raise ValueError(f"nn.upsample{at(user_source())}: method is 'nearest' or 'linear', got {method!r}")

    @layer("upsample")
    def upsample(p: Scope, x: Any) -> Any:
        channels_of(p, x, factors)
        x = as_array(x)
        if method == "linear" and not is_inexact(x.dtype):
            x = x.astype(np.float32)
        for axis, times in enumerate(factors, x.ndim - len(factors) - 1):
            if method == "nearest":
                x = np.repeat(x, times, axis)
                continue
            n = x.shape[axis]
            places = np.clip((np.arange(n * times) + 0.5) / times - 0.5, 0, n - 1)
            left = np.minimum(places.astype(int), max(n - 2, 0))
            share = np.reshape((places - left).astype(x.dtype), (-1, *(1,) * (x.ndim - axis - 1)))
            a, b = np.take(x, left, axis), np.take(x, np.minimum(left + 1, n - 1), axis)
            x = a * (1 - share) + b * share
        return x

    return upsample


@maker
def pixel_shuffle(r: Count) -> Layer:
    """Channels as pixels: [..., h, w, c r^2] becomes [..., h r, w r, c].

    Args:
        r: how many pixels come of one along each axis.

    Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
    network", CVPR 2016. Channels lie as in tf.nn.depth_to_space.

    >>> from tracegrad import nn
    >>> nn.pixel_shuffle(2)({}, np.ones((1, 3, 3, 8))).shape
    (1, 6, 6, 2)
    """

    @layer("pixel_shuffle")
    def pixel_shuffle(p: Scope, x: Any) -> Any:
        channels = channels_of(p, x, each(r, (1, 1)))
        if channels % (r * r):
            raise ShapeError(f"{p.place()}: {r}^2 must divide {channels} channels")
        *batch, height, width, _ = x.shape
        x = np.reshape(x, (*batch, height, width, r, r, channels // r**2))
        x = np.swapaxes(x, -4, -3)
        return np.reshape(x, (*batch, height * r, width * r, channels // r**2))

    return pixel_shuffle
