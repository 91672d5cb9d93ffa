"""Integrals of samples, in plain NumPy: each formula is SciPy's, with its rounding, and has every derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import is_inexact, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.typing import Array, ArrayLike


def trapezoid(y: ArrayLike, x: ArrayLike | None = None, dx: ArrayLike = 1.0, axis: int = -1) -> Array:
    """The integral of samples `y` along an axis by the trapezoidal rule, as `scipy.integrate.trapezoid`.

    Args:
        y: the samples.
        x: where they are: a vector, or an array that broadcasts to `y`. None for equal distances `dx`.

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda y: tg.scipy.integrate.trapezoid(y, dx=0.5))(np.ones(3)).tolist()
    [0.25, 0.5, 0.25]
    """
    y = _floating(y)
    found: Array = np.trapezoid(y, None if x is None else as_array(x), dx, axis)
    return found


def cumulative_trapezoid(
    y: ArrayLike, x: ArrayLike | None = None, dx: ArrayLike = 1.0, axis: int = -1, initial: float | None = None
) -> Array:
    """The integrals from the first sample to each of the others, as `scipy.integrate.cumulative_trapezoid`: along the axis one
    less than `y` has, or as many with `initial=0` before them.

    Raises:
        ValueError: no samples; `x` of another length; an `initial` that is neither None nor 0.

    >>> import numpy as np, tracegrad as tg
    >>> tg.scipy.integrate.cumulative_trapezoid(np.array([1.0, 3.0, 5.0]), initial=0).tolist()
    [0.0, 2.0, 6.0]
    """
    if initial is not None and initial != 0:
        raise ValueError(f"cumulative_trapezoid{at(user_source())}: initial must be None or 0, got {initial}")
    y = np.moveaxis(_floating(y), axis, -1)
    if not y.shape[-1]:
        raise ValueError(f"cumulative_trapezoid{at(user_source())}: at least one sample is needed along axis {axis}")
    d = dx if x is None else np.diff(_places(x, y, axis, "cumulative_trapezoid"))
    found = np.cumsum(d * (y[..., 1:] + y[..., :-1]) / 2.0, axis=-1)
    if initial is not None:
        found = np.concatenate([np.zeros((*y.shape[:-1], 1), found.dtype), found], axis=-1)
    return np.moveaxis(found, -1, axis)


def simpson(y: ArrayLike, x: ArrayLike | None = None, *, dx: ArrayLike = 1.0, axis: int = -1) -> Array:
    """The integral of samples by Simpson's rule, as `scipy.integrate.simpson`. Of an even number of samples the last interval has the
    parabola through the last three (Cartwright 2017).

    Args:
        y: the samples.
        x: where they are: a vector, or an array of the shape of `y`. None for equal distances `dx`.

    Raises:
        ValueError: `x` of another length or shape.

    >>> import numpy as np, tracegrad as tg
    >>> t = np.linspace(0.0, 1.0, 5)
    >>> bool(np.isclose(tg.scipy.integrate.simpson(t**3, x=t), 1 / 4))
    True
    """
    y = np.moveaxis(_floating(y), axis, -1)
    n = y.shape[-1]
    h = None if x is None else np.diff(_places(x, y, axis, "simpson"))
    if n < 2:
        return np.sum(np.zeros_like(y), axis=-1)
    if n == 2:
        return 0.5 * (dx if h is None else h[..., -1]) * (y[..., -1] + y[..., -2])
    if n % 2:
        return _parabolas(y, h, dx)
    first, last = (dx, dx) if h is None else (h[..., -2], h[..., -1])
    alpha = _ratio(2 * last**2 + 3 * first * last, 6 * (last + first))
    beta = _ratio(last**2 + 3.0 * first * last, 6 * first)
    eta = _ratio(1 * last**3, 6 * first * (first + last))
    end = alpha * y[..., -1] + beta * y[..., -2] - eta * y[..., -3]
    return _parabolas(y[..., :-1], None if h is None else h[..., :-1], dx) + end


def _parabolas(y: Any, h: Any, dx: Any) -> Any:
    """The integral of an odd number of samples."""
    left, middle, right = y[..., :-2:2], y[..., 1:-1:2], y[..., 2::2]
    if h is None:
        return np.sum(left + 4.0 * middle + right, axis=-1) * (dx / 3.0)
    h0, h1 = h[..., ::2], h[..., 1::2]
    total, product, quotient = h0 + h1, h0 * h1, _ratio(h0, h1)
    weighted = (
        left * (2.0 - _ratio(1.0, quotient)) + middle * (total * _ratio(total, product)) + right * (2.0 - quotient)
    )
    return np.sum(total / 6.0 * weighted, axis=-1)


def _ratio(a: Any, b: Any) -> Any:
    """The ratio, zero where samples are at the same place."""
    zero = np.equal(b, 0)
    return np.where(zero, 0.0, a / np.where(zero, 1.0, b))


def cumulative_simpson(
    y: ArrayLike, *, x: ArrayLike | None = None, dx: ArrayLike = 1.0, axis: int = -1, initial: ArrayLike | None = None
) -> Array:
    """The integrals from the first sample to each of the others by Simpson's rule, as `scipy.integrate.cumulative_simpson`: along the
    axis one less than `y` has, or as many with `initial`, which is then added to all, before them.

    Args:
        y: the samples.
        x: where they are, ascending: a vector, or an array of the shape of `y`. None for distances `dx`: one, or an array with one
            element along the axis.

    Raises:
        ValueError: `x` of another length or shape.

    >>> import numpy as np, tracegrad as tg
    >>> t = np.linspace(0.0, 1.0, 5)
    >>> bool(np.allclose(tg.scipy.integrate.cumulative_simpson(t**2, x=t, initial=0.0), t**3 / 3))
    True
    """
    y = np.moveaxis(_floating(y), axis, -1)
    at_places = None if x is None else _places(x, y, axis, "cumulative_simpson")
    if y.shape[-1] < 3:
        found = cumulative_trapezoid(y, at_places, dx)
    elif at_places is None:
        step = as_array(dx)
        step = step if type_of(step).shape == () else np.moveaxis(step, axis, -1)
        found = _summed(y, np.broadcast_to(step, (*y.shape[:-1], y.shape[-1] - 1)), _equal)
    else:
        found = _summed(y, np.diff(np.broadcast_to(at_places, y.shape)), _unequal)
    if initial is not None:
        begin = as_array(initial)
        begin = begin if type_of(begin).shape == () else np.moveaxis(begin, axis, -1)
        begin = np.broadcast_to(begin, (*y.shape[:-1], 1))
        found = np.concatenate([begin, found + begin], axis=-1)
    return np.moveaxis(found, -1, axis)


def _summed(y: Any, d: Any, over_first: Callable[[Any, Any], Any]) -> Any:
    """The sums of what parabolas through three samples give: every other interval is the first of three, the others the second."""
    onward = over_first(y, d)
    back = np.flip(over_first(np.flip(y, -1), np.flip(d, -1)), -1)
    first = np.arange(y.shape[-1] - 1) % 2 == 0
    first[-1] = False
    edge = np.zeros((*onward.shape[:-1], 1), onward.dtype)
    parts = np.where(first, np.concatenate([onward, edge], -1), np.concatenate([edge, back], -1))
    return np.cumsum(parts, axis=-1)


def _equal(y: Any, d: Any) -> Any:
    return d[..., :-1] / 3 * (5 * y[..., :-2] / 4 + 2 * y[..., 1:-1] - y[..., 2:] / 4)


def _unequal(y: Any, d: Any) -> Any:
    first, second = d[..., :-1], d[..., 1:]
    of_both = first / (first + second)
    product = of_both * (first / second)
    return first / 6 * ((3 - of_both) * y[..., :-2] + (3 + product + of_both) * y[..., 1:-1] - product * y[..., 2:])


def _floating(x: Any) -> Any:
    x = as_array(x)
    t = type_of(x)
    if not t.shape:
        raise ValueError(f"samples along an axis are needed{at(user_source())}, got {t}")
    return x if is_inexact(t.dtype) else astype(x, np.float64)


def _places(x: Any, y: Any, axis: int, name: str) -> Any:
    """Where samples are, along the last axis."""
    x = as_array(x)
    found = x if type_of(x).shape == (y.shape[-1],) else np.moveaxis(_floating(x), axis, -1)
    if type_of(found).shape not in ((y.shape[-1],), y.shape):
        raise ValueError(
            f"{name}{at(user_source())}: x must be a vector of {y.shape[-1]} places or of the shape of y, got {type_of(x)}"
        )
    return found if is_inexact(type_of(found).dtype) else astype(found, np.float64)
