"""Gaussian filters, and filters that are derivatives: by differences, or of Gaussians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.errors import UnsupportedFunctionError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.scipy.calling import is_traced, of_scipy
from tracegrad.scipy.ndimage.boundaries import (
    as_output,
    checked_axes,
    for_each_axis,
    output_dtype,
)
from tracegrad.scipy.ndimage.filters import correlate1d
from tracegrad.typing import Array, ArrayLike

ndimage = of_scipy("scipy.ndimage")


def _gaussian(sigma: Any, order: int, radius: int) -> Any:
    """The weights of a Gaussian, or of its derivative of this order, at -radius, ..., radius."""
    places = np.arange(-radius, radius + 1)
    precision = 1 / (sigma * sigma)
    bell = np.exp(-0.5 * precision * places**2)
    bell = bell / np.sum(bell)
    # The derivative of p(x) bell(x) is (p'(x) - x p(x) / sigma^2) bell(x).
    factors = [1.0 + 0 * precision] + [0.0] * order
    for _ in range(order):
        factors = [
            (k + 1) * (factors[k + 1] if k < order else 0.0) - (factors[k - 1] * precision if k else 0.0)
            for k in range(order + 1)
        ]
    return sum([c * places**k for k, c in enumerate(factors)]) * bell


def _radius(name: str, sigma: Any, truncate: float, radius: Any) -> int:
    if radius is None and is_traced(sigma):
        raise UnsupportedFunctionError(
            f"tg.scipy.ndimage.{name} by a traced sigma{at(user_source())} does not know how far its window goes.\n  Give it "
            "radius=, a number."
        )
    found = int(truncate * float(sigma) + 0.5) if radius is None else int(radius)
    if found < 0:
        raise ValueError(f"{name}: the radius must not be negative, got {radius!r}")
    return found


@ndimage
def gaussian_filter1d(
    input: ArrayLike,
    sigma: ArrayLike,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: str = "reflect",
    cval: ArrayLike = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> Array:
    """The convolution along `axis` with a Gaussian of standard deviation `sigma`, or with its derivative of this `order`. The window goes `truncate`
    standard deviations to both sides, or `radius` elements, which a traced sigma asks for: there is a derivative in it too.

    >>> gaussian_filter1d(np.ones(4), 1.0).round(9).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if order < 0:
        raise ValueError(f"gaussian_filter1d: order must not be negative, got {order}")
    reach = _radius("gaussian_filter1d", sigma, truncate, radius)
    weights = np.flip(_gaussian(as_array(sigma) if is_traced(sigma) else float(sigma), int(order), reach))
    return correlate1d(input, weights, axis, output, mode, cval, 0)


@ndimage
def gaussian_filter(
    input: ArrayLike,
    sigma: Any,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: ArrayLike = 0.0,
    truncate: float = 4.0,
    *,
    radius: Any = None,
    axes: Any = None,
) -> Array:
    """`gaussian_filter1d` along each axis, or `axes`: `sigma`, `order`, `mode` and `radius` are one for all or one for each.

    >>> gaussian_filter(np.ones((2, 2)), 1.0).round(9).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    x = as_array(input)
    axes = checked_axes(axes, len(x.shape))
    each = [
        for_each_axis(v, len(axes), name)
        for v, name in ((sigma, "sigma"), (order, "order"), (mode, "mode"), (radius, "radius"))
    ]
    dtype = output_dtype("gaussian_filter", output, x)
    for axis, s, o, m, r in zip(axes, *each, strict=True):
        if is_traced(s) or s > 1e-15:
            x = gaussian_filter1d(x, s, axis, o, dtype, m, cval, truncate, radius=r)
    return as_output(x, dtype)


def _added_along(
    x: Any, axes: Any, mode: Any, one: Callable[[int, str], Any], name: str, combine: Callable[[Any], Any]
) -> Any:
    axes = checked_axes(axes, len(x.shape))
    total = None
    for axis, m in zip(axes, for_each_axis(mode, len(axes), "mode"), strict=True):
        term = combine(one(axis, m))
        total = term if total is None else total + term
    return x if total is None else total


@ndimage
def laplace(
    input: ArrayLike, output: Any = None, mode: Any = "reflect", cval: ArrayLike = 0.0, *, axes: Any = None
) -> Array:
    """The sum of second differences, [1, -2, 1], along all axes or `axes`.

    >>> laplace(np.array([0.0, 1.0, 0.0])).tolist()
    [1.0, -2.0, 1.0]
    """
    x = as_array(input)
    dtype = output_dtype("laplace", output, x)
    along = lambda axis, m: correlate1d(x, [1, -2, 1], axis, dtype, m, cval)
    return as_output(_added_along(x, axes, mode, along, "laplace", lambda d: d), dtype)


def _gaussian_derivative(x: Any, sigma: Any, axes: Any, degree: int, dtype: Any, cval: Any, how: Any) -> Any:
    chosen = checked_axes(axes, len(x.shape))
    sigmas = dict(zip(chosen, for_each_axis(sigma, len(chosen), "sigma"), strict=True))
    spread = [sigmas.get(i, 0) for i in range(len(x.shape))]

    def along(axis: int, mode: str) -> Any:
        orders = [degree * (i == axis) for i in range(len(x.shape))]
        return gaussian_filter(x, spread, orders, dtype, mode, cval, **how)

    return along


@ndimage
def gaussian_laplace(
    input: ArrayLike, sigma: Any, output: Any = None, mode: Any = "reflect", cval: ArrayLike = 0.0, *, axes: Any = None,
    **kwargs: Any,
) -> Array:  # fmt: skip
    """The sum of second derivatives of `gaussian_filter` along all axes or `axes`; `kwargs` are its other arguments.

    >>> gaussian_laplace(np.array([0.0, 0.0, 1.0, 0.0, 0.0]), 0.5, mode="constant").round(3).tolist()
    [0.016, 1.277, -3.146, 1.277, 0.016]
    """
    x = as_array(input)
    dtype = output_dtype("gaussian_laplace", output, x)
    along = _gaussian_derivative(x, sigma, axes, 2, dtype, cval, kwargs)
    return as_output(_added_along(x, axes, mode, along, "gaussian_laplace", lambda d: d), dtype)


@ndimage
def gaussian_gradient_magnitude(
    input: ArrayLike, sigma: Any, output: Any = None, mode: Any = "reflect", cval: ArrayLike = 0.0, *, axes: Any = None,
    **kwargs: Any,
) -> Array:  # fmt: skip
    """The square root of the sum of squared first derivatives of `gaussian_filter` along all axes or `axes`.

    >>> gaussian_gradient_magnitude(np.ones(3), 1.0).round(9).tolist()
    [0.0, 0.0, 0.0]
    """
    x = as_array(input)
    dtype = output_dtype("gaussian_gradient_magnitude", output, x)
    along = _gaussian_derivative(x, sigma, axes, 1, dtype, cval, kwargs)
    total = _added_along(x, axes, mode, along, "gaussian_gradient_magnitude", lambda d: d * d)
    return as_output(np.sqrt(total), dtype)


def _edges(name: str, x: Any, axis: int, output: Any, mode: Any, cval: Any, smooth: list[int]) -> Any:
    """The difference of neighbours along one axis, smoothed along the others."""
    x = as_array(x)
    modes = for_each_axis(mode, len(x.shape), "mode")
    dtype = output_dtype(name, output, x)
    axis = axis % len(x.shape)
    x = correlate1d(x, [-1, 0, 1], axis, dtype, modes[axis], cval)
    for other in range(len(x.shape)):
        if other != axis:
            x = correlate1d(x, smooth, other, dtype, modes[other], cval)
    return x


@ndimage
def sobel(input: ArrayLike, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: ArrayLike = 0.0) -> Array:
    """Sobel's filter for edges across `axis`: [-1, 0, 1] along it, and [1, 2, 1] along all others.

    >>> sobel(np.array([[0.0, 1.0, 2.0]])).tolist()
    [[4.0, 8.0, 4.0]]
    """
    return _edges("sobel", input, axis, output, mode, cval, [1, 2, 1])


@ndimage
def prewitt(
    input: ArrayLike, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: ArrayLike = 0.0
) -> Array:
    """Prewitt's filter for edges across `axis`: [-1, 0, 1] along it, and [1, 1, 1] along all others.

    >>> prewitt(np.array([[0.0, 1.0, 2.0]])).tolist()
    [[3.0, 6.0, 3.0]]
    """
    return _edges("prewitt", input, axis, output, mode, cval, [1, 1, 1])
