"""Modified Bessel functions of the first kind and of whole orders: times exp(-|x|), with SciPy's values, and by NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.core.op import Op, Sample
from tracegrad.ops.elementwise import unary_samples
from tracegrad.ops.special.declared import call_real, in_double, scipy_special
from tracegrad.typing import Array, ArrayLike

# Times exp(-|x|). The op has every order n and, as `rise`, every derivative in |x|. Near zero that is I_n' = (I_{n-1} + I_{n+1}) / 2 (DLMF 10.29.1), which needs no division by x, less I_n. Far out this
# cancels, and the series in 1 / x is differentiated term by term (DLMF 10.40.1).

_TERMS = 30


def bessel_slope(xp: Any, value: Callable[[Any, int], Any], x: Any, order: int, rise: int) -> Any:
    """A derivative of exp(-|x|) I_n(x), by `value` that has these functions themselves."""
    size = xp.abs(x)
    is_far = size >= 30 + 2 * order * order
    near = [value(xp.where(is_far, 1, size), abs(n)) for n in range(order - rise, order + rise + 1)]
    for _ in range(rise):
        near = [0.5 * (below + above) - n for below, n, above in zip(near, near[1:], near[2:], strict=False)]
    y = 1 / xp.where(is_far, size, 1)
    factors = [(-1.0) ** rise * math.prod([0.5 + i for i in range(rise)]) / math.sqrt(2 * math.pi)]
    for i in range(1, _TERMS):
        step = ((2 * i - 1) ** 2 - 4 * order * order) / (8 * i)
        factors.append(factors[-1] * step * (i - 0.5 + rise) / (i - 0.5))
    far = factors[-1]
    for factor in factors[-2::-1]:
        far = far * y + factor
    of_size = xp.where(is_far, far * y**rise * xp.sqrt(y), near[0])
    return of_size if (order + rise) % 2 == 0 else xp.sign(x) * of_size


def _scaled_bessel(x: Any, order: int, rise: int) -> Any:
    if rise:
        return bessel_slope(np, lambda x, n: _scaled_bessel(x, n, 0), x, order, rise)
    s = scipy_special()
    return s.i0e(x) if order == 0 else s.i1e(x) if order == 1 else s.ive(order, x)


def _bessel_samples() -> Iterable[Sample]:
    for order, rise in [(0, 0), (1, 0), (3, 0), (0, 1), (2, 2)]:
        for s in unary_samples(-2, 2)():
            yield Sample(s.inputs, {"order": order, "rise": rise})


scaled_bessel_op: Op = in_double(
    "scaled_bessel_i", _scaled_bessel,
    lambda d, out, x, order, rise: d * call_real(scaled_bessel_op, x, order=order, rise=rise + 1), samples=_bessel_samples,
)  # fmt: skip


def bessel_i0e(x: ArrayLike) -> Array:
    """exp(-|x|) I_0(x).

    >>> float(bessel_i0e(0.0))
    1.0
    """
    return call_real(scaled_bessel_op, x, order=0, rise=0)


def bessel_i1e(x: ArrayLike) -> Array:
    """exp(-|x|) I_1(x).

    >>> float(bessel_i1e(0.0))
    0.0
    """
    return call_real(scaled_bessel_op, x, order=1, rise=0)


# The same without exp(-|x|), by NumPy alone: I_0 is np.i0, and the ratios I_k / I_{k-1} = x / (2 k + x I_{k+1} / I_k) are found
# downwards from one so far out that what it begins with is lost, by a factor of about exp(-k**2 / x).

_LARGEST_BESSEL = 800.0  # where the function has long been infinite


def _bessel_i(x: Any, order: int) -> Any:
    found = np.i0(x)
    if order == 0:
        return found
    x = np.clip(x, -_LARGEST_BESSEL, _LARGEST_BESSEL)
    ratio, product = np.zeros_like(x), np.ones_like(x)
    with_number = x[np.isfinite(x)]
    size = float(np.max(np.abs(with_number), initial=0.0))
    for k in range(order + 20 + int(math.sqrt(40 * size)), 0, -1):
        ratio = x / (2 * k + x * ratio)
        if k <= order:
            product = product * ratio
    return np.where(x == 0, 0.0, found * product)


def _bessel_i_samples() -> Iterable[Sample]:
    for order in (0, 1, 3):
        for s in unary_samples(-2, 2)():
            yield Sample(s.inputs, {"order": order})


bessel_i_op: Op = in_double(
    "bessel_i", _bessel_i,
    lambda d, out, x, order: d * (0.5 * (bessel_i(x, abs(order - 1)) + bessel_i(x, order + 1))), samples=_bessel_i_samples,
)  # fmt: skip


def bessel_i(x: ArrayLike, order: int) -> Array:
    """I_n(x), the modified Bessel function of the first kind of a whole order from 0 on.

    >>> round(float(bessel_i(1.0, 1)), 6)
    0.565159
    """
    return call_real(bessel_i_op, x, order=order)


SCIPY_FUNCTIONS.update(i0e=bessel_i0e, i1e=bessel_i1e)
