"""The error function and the normal distribution's. Two expansions, both computed with mpmath to 50 digits as Chebyshev
interpolants and written out in powers: near zero erf(x)/x in x**2 on [0, 1]; beyond 1/2 the smooth factor
x*exp(x**2)*erfc(x) in t = (x-3)/(x+3), which maps the half-line to an interval (Shepherd and Laframboise, "Chebyshev
approximation of (1+2x)exp(x**2)erfc(x) in 0 <= x < inf", Math. Comp. 36 (1981)). Both are within about two units in the last
place. Those that `scipy.special` has too are traced under its name as well.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError
from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.core.late import imported
from tracegrad.core.op import Params
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.ops.elementwise.activations import as_float
from tracegrad.ops.elementwise.samples import unary_samples
from tracegrad.ops.families import elementwise, ufunc_type
from tracegrad.typing import Array, ArrayLike

TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
ONE_OVER_SQRT_TWO_PI = 1 / math.sqrt(2 * math.pi)
_HALF_ROOT = math.sqrt(0.5)
_ERF_SERIES = (
    -4.230945824295338e-12, 8.709045129053106e-11, -1.216456005728345e-09, 1.4792401209404813e-08,
    -1.6364642158167616e-07, 1.6462045441468418e-06, -1.4925647567519332e-05, 0.00012055332902888736,
    -0.000854832702193483, 0.0052239776254232985, -0.02686617064512984, 0.1128379167095512,
    -0.37612638903183754, 1.1283791670955126,
)  # fmt: skip
_ERFC_FACTOR = (
    1.913598221263382e-09, -4.84592589702951e-09, -1.0215023958806485e-08, 2.7510841955788583e-08,
    5.534641755847608e-08, -9.801275689361173e-08, -3.259461893698987e-07, 2.9883078151603863e-07,
    1.8846358915689215e-06, -9.934964888053778e-07, -1.1110704011365503e-05, 6.464263883945614e-06,
    6.898000377888295e-05, -8.46082659032283e-05, -0.00041254379538380274, 0.0012428761643295178,
    0.0009108226894199897, -0.014019825626440937, 0.04635026333128135, -0.0954697503066208,
    0.13988054760177007, -0.14658304803289107, 0.09530622695922802, 0.5370034535441699,
)  # fmt: skip
_BLOCK = 8192  # so that the many passes of a polynomial stay in the cache


def polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Horner's rule, the coefficients from the highest power down."""
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y *= x
        y += c
    return y


def _erf_near(x: Any) -> Any:
    return x * polynomial(_ERF_SERIES, x * x)


def _erfc_far(x: Any) -> Any:
    """erfc of x >= 1/2. The square is taken in two parts: an error in it would be multiplied by its size."""
    x = np.minimum(x, 28.0)  # where the function has long been zero
    high = x.astype(np.float32).astype(np.float64)
    gauss = np.exp(-high * high) * np.exp((high - x) * (high + x))
    return gauss * polynomial(_ERFC_FACTOR, (x - 3.0) / (x + 3.0)) / x


@functools.cache
def _scipy_special() -> Any:
    """The module, three times as fast as NumPy's passes over a polynomial; None where it is not installed."""
    try:
        return imported("scipy.special")
    except ImportError:
        return None


def _by_distance(
    by_scipy: Callable[[Any, Any], Any] | None,
    edge: float,
    near: Callable[[Any], Any],
    far: Callable[[Any], Any],
    scalar: Callable[[float], float],
    x: Any,
) -> Any:
    """What `by_scipy` makes of scipy.special and x (None: it is less accurate), or where SciPy is missing an evaluation
    that applies `near` where |x| < edge and `far` elsewhere, in float64 and block by block."""
    x = as_float(x)
    if x.dtype.kind == "c":
        raise _no_complex(f"c{8 * x.dtype.itemsize}[{','.join(map(str, x.shape))}]")
    if (
        x.ndim == 0 and x.dtype.char != "g"
    ):  # in which the last digit of a double, where C's and these differ, is not the last
        return x.dtype.type(scalar(float(x)))
    if by_scipy and x.dtype.char in "fd" and (special := _scipy_special()) is not None:
        return by_scipy(special, x)
    flat = x.astype(np.float64).ravel()
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        is_near = np.abs(block) < edge
        count = np.count_nonzero(is_near)
        if count in (0, block.size):
            block[...] = near(block) if count else far(block)
        else:
            is_far = ~is_near
            block[is_near], block[is_far] = near(block[is_near]), far(block[is_far])
    found = flat.reshape(x.shape).astype(x.dtype, copy=False)
    return found if x.ndim else found[()]


def _no_complex(of: str) -> DtypeError:
    return DtypeError(
        f"erf, erfc and ndtr take real numbers, got {of}; write scipy.special's for complex ones, without derivatives"
    )


_float_type = ufunc_type(np.exp)


def _real_type(types: Sequence[ArrayType], params: Params) -> Any:
    if number_kind(types[0].dtype) == "c":
        raise _no_complex(str(types[0]))
    return _float_type(types, params)


def _erf_by_scipy(special: Any, x: Any) -> Any:
    return special.erf(x)


def _erf_far(x: Any) -> Any:
    return np.copysign(1 - _erfc_far(np.abs(x)), x)


_erf_op = elementwise(
    "erf",
    functools.partial(_by_distance, _erf_by_scipy, 1.0, _erf_near, _erf_far, math.erf),
    lambda d, out, x: d * (TWO_OVER_SQRT_PI * np.exp(-x * x)),
    infer=_real_type, kinds="f", samples=unary_samples(-2, 2),
)  # fmt: skip


def erf(x: ArrayLike) -> Array:
    """The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.

    >>> float(erf(0.0)), float(erf(np.inf))
    (0.0, 1.0)
    """
    return bind(_erf_op, (x,))


def _erfc_near(x: Any) -> Any:
    return 1 - _erf_near(x)


def _erfc_both_far(x: Any) -> Any:
    """On either side."""
    tail = _erfc_far(np.abs(x))
    return np.where(np.signbit(x), 2 - tail, tail)


_erfc = functools.partial(_by_distance, None, 0.5, _erfc_near, _erfc_both_far, math.erfc)
_erfc_op = elementwise(
    "erfc", _erfc, lambda d, out, x: d * (-TWO_OVER_SQRT_PI * np.exp(-x * x)),
    infer=_real_type, kinds="f", samples=unary_samples(-2, 2),
)  # fmt: skip


def erfc(x: ArrayLike) -> Array:
    """1 - erf(x), accurate also where that difference is tiny.

    >>> bool(1e-46 < erfc(10.0) < 1e-44)
    True
    """
    return bind(_erfc_op, (x,))


def _ndtr_by_scipy(special: Any, x: Any) -> Any:
    """By the symmetry about zero: SciPy's code branches on the sign, which a processor cannot foresee in data of both
    signs, and takes a fifth longer than these passes and itself on -|x|."""
    below = np.negative(np.absolute(x))
    tail = special.ndtr(below, below)
    return np.absolute(np.subtract(x > 0, tail, tail), tail)


def _ndtr_near(x: Any) -> Any:
    return 0.5 + 0.5 * _erf_near(_HALF_ROOT * x)


def _ndtr_far(x: Any) -> Any:
    return 0.5 * _erfc(-_HALF_ROOT * x)


def _ndtr_of_number(x: float) -> float:
    return 0.5 * math.erfc(-_HALF_ROOT * x)


_ndtr_op = elementwise(
    "ndtr",
    functools.partial(_by_distance, _ndtr_by_scipy, 0.7, _ndtr_near, _ndtr_far, _ndtr_of_number),
    lambda d, out, x: d * (np.exp(-0.5 * x * x) * ONE_OVER_SQRT_TWO_PI),
    infer=_real_type, kinds="f", samples=unary_samples(-2, 2),
)  # fmt: skip


def ndtr(x: ArrayLike) -> Array:
    """The normal distribution's cumulative distribution function, the integral of its density up to x.

    >>> float(ndtr(0.0)), float(ndtr(np.inf))
    (0.5, 1.0)
    """
    return bind(_ndtr_op, (x,))


SCIPY_FUNCTIONS.update(erf=erf, erfc=erfc, ndtr=ndtr)
