"""Sigmoids, rectifiers, the error function, sums of exponentials, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.xla.rules.elementwise import like
from tracegrad.xla.values import cast, select, together


def _of_one(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """The rule by a function of one input, as the float that comes out."""
    return lambda out, x: function(cast(x, out.dtype))


# ---------------------------------------------------------------------------------------------------------------------
# Sigmoids and rectifiers.


def _softplus(x: Any) -> Any:
    return lax.add(lax.max(x, like(x, 0)), _log1p_exp_minus(lax.abs(x)))


def _log1p_exp_minus(size: Any) -> Any:
    return lax.log1p(lax.exp(lax.neg(size)))


_GELU_A = 2 * math.sqrt(2 / math.pi)
_GELU_B = _GELU_A * 0.044715


def _gelu_angle(x: Any) -> tuple[Any, Any, Any]:
    x = lax.clamp(like(x, -30), x, like(x, 30))
    square = x * x
    return x, x * (like(x, _GELU_A) + like(x, _GELU_B) * square), like(x, _GELU_A) + like(x, 3 * _GELU_B) * square


def _gelu_slope(x: Any) -> Any:
    x, angle, slope = _gelu_angle(x)
    e = lax.exp(-lax.abs(angle))
    share = lax.div(like(x, 1), like(x, 1) + e)
    return select(lax.ge(angle, like(x, 0)), share, e * share) + x * slope * (e * share * share)


_HALF_ROOT = math.sqrt(0.5)

for _name, _function in {
    "logistic": lax.logistic,
    "softplus": _softplus,
    "relu": lambda x: lax.max(x, like(x, 0)),
    "relu6": lambda x: lax.clamp(like(x, 0), x, like(x, 6)),
    "gelu": lambda x: lax.mul(x, lax.logistic(_gelu_angle(x)[1])),
    "gelu_slope": _gelu_slope,
    "soft_sign": lambda x: lax.div(x, lax.add(lax.abs(x), like(x, 1))),
    "erf": lax.erf,
    "erfc": lax.erfc,
    "ndtr": lambda x: lax.mul(lax.erfc(lax.mul(x, like(x, -_HALF_ROOT))), like(x, 0.5)),
}.items():
    lowers(_name)(_of_one(_function))


def _roots(out: ArrayType, x: Any, b: Any) -> tuple[Any, Any]:
    """Twice squareplus, and sqrt(x**2 + b)."""
    x, b = jnp.asarray(x, out.dtype), jnp.asarray(b, out.dtype)
    root = jnp.hypot(x, jnp.sqrt(b))
    total = root + jnp.abs(x)
    right = x >= 0
    return jnp.where(right, total / 2, b / (2 * jnp.where(right, 1, total))), root


@lowers("squareplus")
def _squareplus(out: ArrayType, x: Any, b: Any) -> Any:
    return _roots(out, x, b)[0]


@lowers("squareplus_slope")
def _squareplus_slope(out: ArrayType, x: Any, b: Any) -> Any:
    found, root = _roots(out, x, b)
    return found / root


# ---------------------------------------------------------------------------------------------------------------------
# Sums of exponentials, products that keep zeros.


def _logaddexp(exp: Callable[[Any], Any], unit: float) -> Callable[..., Any]:
    """`unit` is how much of this logarithm there is in the natural one."""

    def rule(out: ArrayType, x: Any, y: Any) -> Any:
        difference = lax.sub(x, y)
        more = lax.log1p(exp(lax.neg(lax.abs(difference))))
        found = lax.add(lax.max(x, y), more if unit == 1 else lax.div(more, like(more, unit)))
        # NaN, or equal infinities, which are their own sum.
        return select(lax.ne(difference, difference), lax.add(x, y), found)

    return rule


lowers("logaddexp")(_logaddexp(lax.exp, 1))
lowers("logaddexp2")(_logaddexp(lax.exp2, math.log(2)))


@lowers("multiply_keeping_zeros")
def _multiply_keeping_zeros(out: ArrayType, x: Any, y: Any) -> Any:
    x, y = together((x, y), out)
    return select(lax.eq(x, like(x, 0)), lax.full(out.shape, 0, out.dtype), lax.mul(x, y))


@lowers("times_exp")
def _times_exp(out: ArrayType, x: Any, y: Any) -> Any:
    x, y = together((x, y), out)
    return lax.mul(x, lax.exp(select(lax.eq(x, like(x, 0)), x, y)))


@lowers("binary_cross_entropy")
def _binary_cross_entropy(out: ArrayType, x: Any, p: Any) -> Any:
    x, p = together((x, p), out)
    size = lax.abs(x)
    missed = select(lax.ge(x, like(x, 0)), lax.sub(like(p, 1), p), p)
    return lax.add(_multiply_keeping_zeros(out, missed, size), _log1p_exp_minus(size))


# ---------------------------------------------------------------------------------------------------------------------
# Over axes.


@lowers("softmax")
def _softmax(out: ArrayType, x: Any, axes: tuple[int, ...]) -> Any:
    e = lax.exp(_shifted(out, x, axes))
    return cast(lax.div(e, _total(e, axes)), out.dtype)


@lowers("log_softmax")
def _log_softmax(out: ArrayType, x: Any, axes: tuple[int, ...]) -> Any:
    shifted = _shifted(out, x, axes)
    return cast(lax.sub(shifted, lax.log(_total(lax.exp(shifted), axes))), out.dtype)


@lowers("shares")
def _shares(out: ArrayType, x: Any, axes: tuple[int, ...]) -> Any:
    found = _softmax(out, x, axes)
    return select(lax.eq(x, like(found, -math.inf)), lax.full_like(found, 0), found)


def _shifted(out: ArrayType, x: Any, axes: tuple[int, ...]) -> Any:
    x = cast(x, out.dtype)
    shifted = lax.sub(x, _beside(lax.reduce_max(x, axes), x.shape, axes))
    return cast(shifted, np.result_type(out.dtype, np.float32))  # float16 is summed in more


def _total(x: Any, axes: tuple[int, ...]) -> Any:
    return _beside(lax.reduce_sum(x, axes), x.shape, axes)


def _beside(x: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """What is left of a reduction, repeated along the axes that it was over."""
    return lax.broadcast_in_dim(x, shape, tuple([i for i in range(len(shape)) if i not in axes]))
