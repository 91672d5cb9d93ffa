"""scipy.special's functions: jax's where they hold float64's accuracy, or a formula that does. All others are SciPy's own, which jax
calls on the host (`CALLED_BACK`): as accurate, at the price of taking the numbers there and back."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import special as jax_special

from tracegrad.core.backends import lowers
from tracegrad.core.op import OPS
from tracegrad.core.types import ArrayType
from tracegrad.ops.special import (  # noqa: F401, which fill DECLARED
    bessel,
    distributions,
    elliptic,
    entropy,
    further,
    gamma,
    hypergeometric,
    integrals,
    normal,
    polynomials,
    quantiles,
    simple,
)
from tracegrad.ops.special.declared import DECLARED
from tracegrad.ops.special.incomplete import digamma_rise_of
from tracegrad.xla.host import on_host
from tracegrad.xla.values import broadcast_to, cast, log1p


def _rgamma(x: Any) -> Any:
    pole = (x <= 0) & (x == lax.floor(x))
    return jnp.where(pole, 0, 1 / jax_special.gamma(jnp.where(pole, 1, x)))


def _loggamma(x: Any) -> Any:
    return jnp.where(x < 0, math.nan, lax.lgamma(x))


def _erfcinv(x: Any) -> Any:
    return jax_special.ndtri(0.5 * x) * -math.sqrt(0.5)


def _log_ndtr(x: Any) -> Any:
    below = x < 0
    left = jnp.where(below, x, 0) * -math.sqrt(0.5)
    tail = lax.log(0.5 * jax_special.erfcx(left)) - left * left
    return jnp.where(below, tail, log1p(-0.5 * lax.erfc(x * math.sqrt(0.5))))


def _log_expit(x: Any) -> Any:
    return jnp.where(x < 0, x, -0.0) - lax.log1p(lax.exp(-jnp.abs(x)))


def _boxcox_of_log(log: Any, power: Any) -> Any:
    """expm1(power * log) / power, which is log to the last digit where the product is small, and it may underflow."""
    product = power * log
    small = (power == 0) | (jnp.abs(product) < 1e-17)
    return jnp.where(small, log, lax.expm1(product) / jnp.where(power == 0, 1, power))


def _boxcox(x: Any, power: Any) -> Any:
    return _boxcox_of_log(lax.log(x), power)


def _boxcox1p(x: Any, power: Any) -> Any:
    return _boxcox_of_log(log1p(x), power)


def _inv_boxcox(y: Any, power: Any) -> Any:
    log = power == 0
    safe, product = jnp.where(log, 1, power), power * y
    grown = jnp.where(
        (product == math.inf) & (jnp.abs(y) < math.inf) & (jnp.abs(power) < math.inf),
        lax.log(jnp.abs(safe)) + lax.log(jnp.abs(y)),
        log1p(product),
    )
    return lax.exp(jnp.where(log, y, grown / safe))


def _huber(delta: Any, r: Any) -> Any:
    size = jnp.abs(r)
    found = jnp.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta))
    return jnp.where(delta < 0, math.inf, found)


def _entr(x: Any) -> Any:
    return jnp.where(x == 0, 0, jax_special.entr(x))


def _expi(x: Any) -> Any:
    ends = jnp.where(x == 0, -math.inf, jnp.where(x < 0, -0.0, math.inf))
    known = (x == 0) | jnp.isinf(x)
    return jnp.where(known, ends, jax_special.expi(jnp.where(known, 1, x)))


def _or_ends(found: Any, x: Any, y: Any, nothing: Any) -> Any:
    """What is found of positive numbers, what there is of nothing, infinity of what is negative, and NaN of NaN."""
    found = jnp.where((x > 0) & (y > 0), found, jnp.where((x == 0) & (y >= 0), nothing, math.inf))
    return jnp.where(jnp.isnan(x) | jnp.isnan(y), math.nan, found)


def _log_ratio(x: Any, y: Any) -> Any:
    """log(x / y), of a ratio beyond the dtype too."""
    ratio = x / y
    usual = (ratio > np.finfo(x.dtype).tiny) & (ratio < math.inf)
    return jnp.where(usual, lax.log(ratio), lax.log(x) - lax.log(y))


def _rel_entr(x: Any, y: Any) -> Any:
    """As SciPy does, with the digits of equal numbers."""
    ratio = x / y
    near = (ratio > 0.5) & (ratio < 2)
    return _or_ends(x * jnp.where(near, log1p((x - y) / y), _log_ratio(x, y)), x, y, 0)


def _kl_div(x: Any, y: Any) -> Any:
    return _or_ends(x * _log_ratio(x, y) - x + y, x, y, y)


def _owens_t(h: Any, a: Any) -> Any:
    found = jnp.where(h == 0, lax.atan(a) * (0.5 / math.pi), jax_special.owens_t(h, a))
    return jnp.where((a == 0) & ~jnp.isnan(h), 0, found)


def _part(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, part: function(x)[part]


@lowers("digamma_rise")
def _digamma_rise(out: ArrayType, x: Any, h: Any) -> Any:
    return digamma_rise_of(jnp, lax.digamma, *[broadcast_to(cast(v, out.dtype), out.shape) for v in (x, h)])


# By the names of ops: functions of inputs of the output's dtype and shape.
EMITTED: dict[str, Callable[..., Any]] = {
    "rgamma": _rgamma, "loggamma": _loggamma, "erfcinv": _erfcinv, "log_ndtr": _log_ndtr, "log_expit": _log_expit,
    "boxcox": _boxcox, "boxcox1p": _boxcox1p, "inv_boxcox": _inv_boxcox, "huber": _huber, "entr": _entr, "expi": _expi, "rel_entr": _rel_entr, "kl_div": _kl_div,
    **({"owens_t": _owens_t} if hasattr(jax_special, "owens_t") else {}),
}  # fmt: skip
# (jax.scipy.special.exp1 does not end for 1e-30 and 600 in one array.)
JAX: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(jax_special, name)
        for name in (
            "dawsn", "erfcx", "gamma", "gammasgn", "i0", "i1", "logit", "ndtri", "spence", "xlog1py", "xlogy",
        )
        if hasattr(jax_special, name)  # older versions have fewer; those are called back
    },
    "fresnel": _part(jax_special.fresnel), "sici": _part(jax_special.sici),
}  # fmt: skip
CALLED_BACK = DECLARED.keys() - EMITTED.keys() - JAX.keys()


def _alike(function: Callable[..., Any], out: ArrayType, *inputs: Any, **params: Any) -> Any:
    return function(*[broadcast_to(cast(x, out.dtype), out.shape) for x in inputs], **params)


def _on_host(name: str, params: Mapping[str, Any], *arrays: Any) -> Any:
    return [OPS[name].evaluate(*arrays, **params)]


def _called_back(name: str, out: ArrayType, *inputs: Any, **params: Any) -> Any:
    # In the dtypes that they have: some of SciPy's functions want whole numbers for an order.
    arrays = [broadcast_to(jnp.asarray(x), out.shape) for x in inputs]
    return on_host(functools.partial(_on_host, name, params), [out], arrays, vmap_method="expand_dims")[0]


for _name in DECLARED:
    if _name in CALLED_BACK:
        lowers(_name)(functools.partial(_called_back, _name))
    else:
        lowers(_name)(functools.partial(_alike, EMITTED.get(_name) or JAX[_name]))
for _name in quantiles.SEARCHED:
    lowers(_name)(functools.partial(_called_back, _name))
