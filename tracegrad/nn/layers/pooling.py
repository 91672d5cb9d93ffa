"""Windows of arrays [*batch, *spatial, channels] as one number each."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import is_inexact, number_kind
from tracegrad.lax import reduce_window
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.layers.conv import Padding, Sizes, channels_of, each, pairs, require_windows, sizes_of
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Scope
from tracegrad.ops.elementwise.casting import widened
from tracegrad.typing import Array, ArrayLike


@maker
def max_pool(window: Sizes, strides: Sizes | None = None, padding: Padding = "VALID") -> Layer:
    """The largest number of each window, for each channel.

    Args:
        window: its size along each spatial axis; a number n is (n, n), the window of images.
        strides: steps between windows: the window itself by default, as in keras and torch (and not 1, as in flax).
        padding: "VALID", "SAME", or numbers or pairs for each axis. It is never the largest.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> nn.max_pool(2)({}, np.arange(16.0).reshape(4, 4, 1))[..., 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """

    @layer("max_pool")
    def max_pool(p: Scope, x: Any) -> Any:
        x = as_array(x)
        lowest = -np.inf if number_kind(x.dtype) == "f" else np.iinfo(x.dtype).min
        return _windows(p, x, lowest, np.maximum, window, strides, padding)

    return max_pool


@maker
def avg_pool(
    window: Sizes, strides: Sizes | None = None, padding: Padding = "VALID", *, count_include_pad: bool = True
) -> Layer:
    """The mean of each window, for each channel.

    Args:
        window, strides, padding: as of `max_pool`.
        count_include_pad: whether padding counts as zeros, as in flax and torch; keras leaves it out.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> nn.avg_pool(2)({}, np.arange(16.0).reshape(4, 4, 1))[..., 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """

    @layer("avg_pool")
    def avg_pool(p: Scope, x: Any) -> Any:
        x = as_array(x)
        if not is_inexact(x.dtype):
            x = x.astype(np.float32)
        wide = widened(x)
        sums = _windows(p, wide, 0, np.add, window, strides, padding)
        count: Any = np.asarray(np.prod(sizes_of(window)), wide.dtype)
        if not count_include_pad:
            space = x.shape[-len(sizes_of(window)) - 1 : -1]
            count = _windows(p, np.ones((*space, 1), wide.dtype), 0, np.add, window, strides, padding)
        return (sums / count).astype(x.dtype)

    return avg_pool


@maker
def adaptive_avg_pool(size: Sizes) -> Layer:
    """Means of so many windows as asked for along each spatial axis, each from floor(i n / size) to ceil((i + 1) n / size).

    Args:
        size: of the result along each axis; a number n is (n, n).

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> nn.adaptive_avg_pool((2,))({}, np.arange(5.0)[:, None])[:, 0].tolist()
    [1.0, 3.0]
    """
    wanted = sizes_of(size)

    @layer("adaptive_avg_pool")
    def adaptive_avg_pool(p: Scope, x: Any) -> Any:
        channels_of(p, x, wanted)
        dtype = x.dtype if is_inexact(x.dtype) else np.dtype(np.float32)
        y = x.astype(np.result_type(dtype, np.float32))
        for axis, count in enumerate(wanted, x.ndim - len(wanted) - 1):
            n = x.shape[axis]
            if n % count:
                weights = np.zeros((count, n), y.dtype)
                for i in range(count):
                    start, stop = i * n // count, -(-(i + 1) * n // count)
                    weights[i, start:stop] = 1 / (stop - start)
                y = np.moveaxis(np.tensordot(weights, y, (1, axis)), 0, axis)
            else:
                y = np.mean(np.reshape(y, (*y.shape[:axis], count, n // count, *y.shape[axis + 1 :])), axis + 1)
        return y.astype(dtype)

    return adaptive_avg_pool


def global_avg_pool(x: ArrayLike) -> Array:
    """The mean of each channel of images [..., height, width, channels]: [..., channels].

    >>> global_avg_pool(np.ones((2, 4, 4, 3))).shape
    (2, 3)
    """
    x = _image(x, "global_avg_pool")
    wide = widened(x)
    return np.mean(wide, (-3, -2)).astype(x.dtype if is_inexact(x.dtype) else np.float32)


def global_max_pool(x: ArrayLike) -> Array:
    """The largest number of each channel of images [..., height, width, channels]: [..., channels].

    >>> global_max_pool(np.ones((2, 4, 4, 3))).shape
    (2, 3)
    """
    return np.max(_image(x, "global_max_pool"), (-3, -2))


def _image(x: Any, name: str) -> Any:
    x = as_array(x)
    if x.ndim < 3:
        raise ShapeError(f"{name}{at(user_source())}: takes images [..., height, width, channels], got {x.shape}")
    return x


def _windows(
    p: Scope, x: Any, start: Any, combine: np.ufunc, window: Sizes, strides: Sizes | None, padding: Padding
) -> Any:
    sizes = sizes_of(window)
    channels_of(p, x, sizes)
    before = x.ndim - len(sizes) - 1
    steps = sizes if strides is None else each(strides, sizes)
    pads: Any = padding if isinstance(padding, str) else [(0, 0)] * before + pairs(p, padding, sizes) + [(0, 0)]
    y = reduce_window(x, start, combine, (*(1,) * before, *sizes, 1), (*(1,) * before, *steps, 1), pads)
    require_windows(p, x, y, sizes)
    return y
