"""Trigonometric and hyperbolic functions and their inverses, lengths, sinc."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, is_added, is_inexact, number_kind, type_of
from tracegrad.ops.elementwise.casting import astype
from tracegrad.ops.elementwise.conventions import domain, is_real
from tracegrad.ops.elementwise.samples import binary_samples, unary_samples
from tracegrad.ops.families import elementwise, implements, ufunc_type
from tracegrad.typing import Array, ArrayLike

sin = elementwise("sin", np.sin, lambda d, out, x: d * np.cos(x), samples=unary_samples(-2, 2))
cos = elementwise("cos", np.cos, lambda d, out, x: -d * np.sin(x), samples=unary_samples(-2, 2))
tan = elementwise("tan", np.tan, lambda d, out, x: d * (1 + out * out), samples=unary_samples(-1.2, 1.2))
sinh = elementwise("sinh", np.sinh, lambda d, out, x: d * np.cosh(x), neutral=1, samples=unary_samples(-2, 2))
cosh = elementwise("cosh", np.cosh, lambda d, out, x: d * np.sinh(x), neutral=1, samples=unary_samples(-2, 2))


def _sech_squared(x: Any, out: Any = None) -> Any:
    if number_kind(x.dtype if type(x) is np.ndarray else np.asarray(x).dtype) == "c":
        e = np.exp(2 * np.where(np.real(x) >= 0, -x, x))
        return 4 * e / np.square(1 + e)
    root = quietly(("over",), np.cosh, x, out)  # which overflows where the result is zero
    if type(root) is not np.ndarray:
        root = np.reciprocal(root)
        return root * root
    np.reciprocal(root, root)
    return np.multiply(root, root, root)


def _spelled_sech_squared(args: Sequence[str], types: Sequence[ArrayType], views: Any, params: Params) -> str | None:
    t = types[0]
    return f"sech_squared({args[0]}{{out}})" if t.shape and number_kind(t.dtype) == "f" else None


_sech_squared_op = elementwise(
    "sech_squared", _sech_squared, lambda d, out, x: d * out * (-2 * np.tanh(x)),
    infer=ufunc_type(np.tanh), never_aliases=True, samples=unary_samples(-2, 2), code=_spelled_sech_squared,
)  # fmt: skip


def sech_squared(x: ArrayLike) -> Array:
    """1 / cosh(x)**2, the derivative of tanh. From x: what tanh itself tells of it, 1 - tanh(x)**2, is 0 from x = 19 on."""
    return _sech_squared(x) if type(x) is np.ndarray else bind(_sech_squared_op, (x,))


tanh = elementwise("tanh", np.tanh, lambda d, out, x: d * sech_squared(x), samples=unary_samples(-2, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Their inverses, and lengths.


def _difference_of_squares(x: Any) -> Any:
    """1 - x**2, as a product near its zeros, with a derivative that does not cancel near that of its own."""
    return np.subtract(1, x) * np.add(1, x)


_one_minus_square_op = elementwise(
    "one_minus_square", _difference_of_squares, lambda d, out, x: -2 * d * x,
    infer=ufunc_type(np.sqrt), never_aliases=True, samples=unary_samples(-2, 2),
)  # fmt: skip


def _one_minus_square(x: Any) -> Any:
    return bind(_one_minus_square_op, (x,))


def _root_of_one_minus_square(x: Any) -> Any:
    """sqrt(1 - x**2), the derivative of the inverse sine's denominator."""
    if is_real(x):
        x = domain(x, np.greater(np.abs(x), 1))
    return np.sqrt(_one_minus_square(x))


def _root_of_square_minus_one(x: Any) -> Any:
    """sqrt(x**2 - 1) on the branch where x = cosh(y) gives sinh(y)."""
    if is_real(x):
        x = domain(x, np.less(x, 1))
    return np.sqrt(x - 1) * np.sqrt(x + 1)


def _arctan_partial(d: Any, out: Any, x: Any) -> Any:
    """d / (1 + x**2), for real x without the overflow of its square."""
    if not is_real(x):
        return d / (1 + x * x)
    length = np.hypot(x, 1)
    return d / length / length


def _arctan2_partial(d: Any, x: Any, y: Any) -> Any:
    """d * x / (x**2 + y**2), without overflow or underflow of the squares; NaN at the origin, as in JAX."""
    length = np.hypot(x, y)
    return d * (x / length) / length


arcsin = elementwise(
    "arcsin", np.arcsin, lambda d, out, x: d / _root_of_one_minus_square(x), neutral=0.5,
    samples=unary_samples(-0.9, 0.9),
)  # fmt: skip
arccos = elementwise(
    "arccos", np.arccos, lambda d, out, x: -d / _root_of_one_minus_square(x), neutral=0.5,
    samples=unary_samples(-0.9, 0.9),
)  # fmt: skip
arctan = elementwise("arctan", np.arctan, _arctan_partial, samples=unary_samples(-2, 2))
arcsinh = elementwise(
    "arcsinh", np.arcsinh,
    lambda d, out, x: d / np.hypot(x, 1) if is_real(x) else d / np.sqrt(x * x + 1),
    samples=unary_samples(-2, 2),
)  # fmt: skip
arccosh = elementwise(
    "arccosh", np.arccosh, lambda d, out, x: d / _root_of_square_minus_one(x), samples=unary_samples(1.2, 3), neutral=2
)
arctanh = elementwise(
    "arctanh", np.arctanh, lambda d, out, x: d / _one_minus_square(x), samples=unary_samples(-0.9, 0.9), neutral=0.5
)
arctan2 = elementwise(
    "arctan2", np.arctan2,
    lambda d, out, y, x: _arctan2_partial(d, x, y), lambda d, out, y, x: -_arctan2_partial(d, y, x),
    kinds="f", neutral=1, samples=binary_samples(0.3, 2, -2, -0.3),
)  # fmt: skip


def _hypot_slope(x: Any, y: Any) -> Any:
    """x / hypot(x, y), and 0 at the origin."""
    length = np.hypot(x, y)
    return x / np.where(length == 0, 1, length)


def _hypot_slope_partials() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(y / length)**2 / length and -x y / length**3: of terms that do not cancel where x or y is all of the length. (Of two
    divisions by a length XLA makes one by its square, which overflows.)"""

    def other(x: Any, y: Any) -> tuple[Any, Any]:
        length = np.hypot(x, y)  # NaN at the origin: the slope is 0 there by convention alone
        return bind(_hypot_slope_op, (y, x)), 1 / np.where(np.equal(length, 0), math.nan, length)

    def along_x(d: Any, out: Any, x: Any, y: Any) -> Any:
        slope, over_length = other(x, y)
        return d * slope * (slope * over_length)

    def along_y(d: Any, out: Any, x: Any, y: Any) -> Any:
        slope, over_length = other(x, y)
        return -d * out * (slope * over_length)

    return along_x, along_y


_hypot_slope_op: Op = elementwise(
    "hypot_slope", _hypot_slope, *_hypot_slope_partials(),
    infer=ufunc_type(np.hypot), never_aliases=True, kinds="f", neutral=1, samples=binary_samples(0.3, 2, -2, -0.3),
)  # fmt: skip
hypot = elementwise(
    "hypot", np.hypot,
    lambda d, out, x, y: d * bind(_hypot_slope_op, (x, y)), lambda d, out, x, y: d * bind(_hypot_slope_op, (y, x)),
    kinds="f", neutral=1, samples=binary_samples(0.3, 2, -2, -0.3),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Degrees, and sinc, which is smooth at zero.


def _scaling(ufunc: np.ufunc, factor: float) -> Op:
    return elementwise(
        ufunc.__name__, ufunc, lambda d, out, x: d * factor, linear=[{0}], kinds="f", samples=unary_samples(-2, 2),
    )  # fmt: skip


deg2rad, radians = [_scaling(f, math.pi / 180) for f in (np.deg2rad, np.radians)]
rad2deg, degrees = [_scaling(f, 180 / math.pi) for f in (np.rad2deg, np.degrees)]


def sinc_of(xp: Any, x: Any, order: int) -> Any:
    """The order-th derivative of sin(y) / y at y = pi x, with respect to x.

    From sin(y) = y s(y) follows s_n = (sin(y + n pi/2) - n s_{n-1}) / y, whose errors grow like n! / y**n: good for
    y > n/2. Below, the power series, whose terms there are no larger than exp(n/2). Whole half turns are taken from x, not
    from y, so that the sine is as good for large x, and exactly zero at its zeros.
    """
    if order == 0:
        return xp.sinc(x)
    x = xp.asarray(x)
    x_wide = x.astype(np.result_type(x.dtype, np.float32))  # the powers are too much for float16
    y = np.pi * x_wide
    near = xp.abs(y) <= max(1.0, order / 2)
    far = xp.where(near, 1, y)
    halves = xp.rint(2 * xp.real(x_wide))
    angle = np.pi * (x_wide - 0.5 * halves)
    turns = halves % 4
    sine, cosine = xp.sin(angle), xp.cos(angle)
    quarters = [xp.where(turns == 0, a, xp.where(turns == 1, b, xp.where(turns == 2, -a, -b)))
                for a, b in ((sine, cosine), (cosine, -sine))]  # fmt: skip
    quarters += [-q for q in quarters]
    result = quarters[0] / far
    for n in range(1, order + 1):
        result = (quarters[n % 4] - n * result) / far
    small = xp.where(near, y, 0)
    # The derivative of y**(2k) (-1)**k / (2k+1)!, summed from the smallest term on.
    series = xp.zeros_like(small)
    for k in reversed(range(-(-order // 2), -(-order // 2) + 12 + order)):
        series = series + (-1) ** k * small ** (2 * k - order) * (math.perm(2 * k, order) / math.factorial(2 * k + 1))
    return (xp.where(near, series, result) * math.pi**order).astype(x.dtype)[()]


def _sinc_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    (t,) = types
    # np.sinc multiplies by pi, and so makes float32 of bfloat16.
    return ArrayType(
        t.shape, np.sinc(np.ones(1, t.dtype)).dtype if is_added(t.dtype) and not params["order"] else t.dtype
    )


def _sinc_samples() -> Iterable[Sample]:
    x = np.array([[0.0, 0.02, -0.3, 0.49], [0.6, -1.3, 2.7, 7.9]])
    yield Sample((x,), {"order": 0})
    yield Sample((x,), {"order": 3})
    yield Sample((0.1,), {"order": 1})


sinc_op: Op = elementwise(
    "sinc", functools.partial(sinc_of, np),
    lambda d, out, x, order: d * bind(sinc_op, (x,), {"order": order + 1}),
    infer=_sinc_type, samples=_sinc_samples,
)  # fmt: skip


@implements(np.sinc)
def sinc(x: ArrayLike) -> Array:
    """sin(pi x) / (pi x), and 1 at 0, with derivatives of every order, at 0 too. Integers count as float64.

    >>> sinc(np.array([0.0, 0.5, 1.0])).round(4).tolist()
    [1.0, 0.6366, 0.0]
    """
    x = as_array(x)
    return bind(sinc_op, (x if is_inexact(type_of(x).dtype) else astype(x, float),), {"order": 0})
