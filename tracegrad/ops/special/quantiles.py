"""Inverses of the incomplete gamma and beta functions, Student's distribution and its inverse, quantiles of counts.

An inverse x of F(x, p) = y has the derivatives 1 / F' in y and -dF/dp / F' in p, where F' is the density at x.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.late import imported
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.elementwise.samples import binary_samples
from tracegrad.ops.families import broadcast_shapes, elementwise
from tracegrad.ops.special.bessel_i import bessel_i0e, bessel_i1e
from tracegrad.ops.special.declared import call, special, traces
from tracegrad.ops.special.gamma import betaln
from tracegrad.ops.special.incomplete_beta import beta_density, betainc_slope
from tracegrad.ops.special.incomplete_gamma import gamma_density, igamma_grad_a
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.typing import Array, ArrayLike


def _gamma_in_a(d: Any, out: Any, a: Any, y: Any) -> Any:
    return -d * igamma_grad_a(a, out) / gamma_density(a, out)


_gammaincinv_op = special(
    "gammaincinv", _gamma_in_a, lambda d, out, a, y: d / gamma_density(a, out), samples=binary_samples(0.5, 3, 0.1, 0.9)
)
_gammainccinv_op = special(
    "gammainccinv", _gamma_in_a, lambda d, out, a, y: -d / gamma_density(a, out), samples=binary_samples(0.5, 3, 0.1, 0.9)
)  # fmt: skip


def _beta_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    yield Sample((rng.uniform(0.8, 3, 3), rng.uniform(0.8, 3, 3), rng.uniform(0.2, 0.8, (2, 3))))
    yield Sample((np.array(2.0), np.array(3.0), 0.3))


def _beta_in(m: int, n: int) -> Callable[..., Any]:
    return lambda d, out, a, b, y: -d * betainc_slope(a, b, out, m, n) / beta_density(a, b, out)


_betaincinv_op = special(
    "betaincinv", _beta_in(1, 0), _beta_in(0, 1), lambda d, out, a, b, y: d / beta_density(a, b, out), samples=_beta_samples
)  # fmt: skip
_betainccinv_op = special(
    "betainccinv", _beta_in(1, 0), _beta_in(0, 1), lambda d, out, a, b, y: -d / beta_density(a, b, out), samples=_beta_samples
)  # fmt: skip


@traces
def gammaincinv(a: ArrayLike, y: ArrayLike) -> Array:
    """The x for which P(a, x) is `y`.

    >>> bool(abs(gammaincinv(1.0, 0.5) - np.log(2)) < 1e-15)
    True
    """
    return call(_gammaincinv_op, a, y)


@traces
def gammainccinv(a: ArrayLike, y: ArrayLike) -> Array:
    """The x for which 1 - P(a, x) is `y`.

    >>> bool(abs(gammainccinv(1.0, 0.5) - np.log(2)) < 1e-15)
    True
    """
    return call(_gammainccinv_op, a, y)


@traces
def betaincinv(a: ArrayLike, b: ArrayLike, y: ArrayLike) -> Array:
    """The x for which I_x(a, b) is `y`.

    >>> round(float(betaincinv(1.0, 1.0, 0.25)), 12)
    0.25
    """
    return call(_betaincinv_op, a, b, y)


@traces
def betainccinv(a: ArrayLike, b: ArrayLike, y: ArrayLike) -> Array:
    """The x for which 1 - I_x(a, b) is `y`.

    >>> round(float(betainccinv(1.0, 1.0, 0.25)), 12)
    0.75
    """
    return call(_betainccinv_op, a, b, y)


# ---------------------------------------------------------------------------------------------------------------------
# Student's distribution. With z = df / (df + t**2), the probability below -|t| is I_z(df / 2, 1/2) / 2, in which z stands for
# t / sqrt(df): so it depends on df by the first parameter, and as it does on t.


def like(x: Any, number: float) -> Any:
    """A number in the precision of x."""
    return type_of(as_array(x)).dtype.type(number)


def student_density(df: ArrayLike, t: ArrayLike) -> Array:
    """The logarithm of the density of Student's distribution."""
    half = np.divide(df, 2)
    return -0.5 * (np.add(df, 1) * np.log1p(np.square(t) / df) + np.log(df)) - betaln(half, like(half, 0.5))


def _student_in_df(df: Any, t: Any) -> Any:
    square = np.square(t)
    far = np.greater(square, df)
    half = like(df / 2, 0.5)
    tail = betainc_slope(df / 2, half, np.where(far, df / (df + square), 0.5), 1, 0)
    # Where z is near 1, by 1 - z, of which more digits are known.
    centre = -betainc_slope(half, df / 2, np.where(far, 0.5, square / (df + square)), 0, 1)
    slope = 0.25 * np.where(far, tail, centre)
    return np.where(np.less(t, 0), slope, -slope) - t * np.exp(student_density(df, t)) / (2 * df)


_stdtr_op: Op = special(
    "stdtr", lambda d, out, df, t: d * _student_in_df(df, t), lambda d, out, df, t: d * np.exp(student_density(df, t)),
    samples=binary_samples(0.5, 5, -2, 2),
)  # fmt: skip
_stdtrit_op: Op = special(
    "stdtrit", lambda d, out, df, p: -d * _student_in_df(df, out) * np.exp(-student_density(df, out)),
    lambda d, out, df, p: d * np.exp(-student_density(df, out)), samples=binary_samples(0.8, 5, 0.1, 0.9),
)  # fmt: skip


@traces
def stdtr(df: ArrayLike, t: ArrayLike) -> Array:
    """Student's distribution function.

    >>> float(stdtr(3.0, 0.0))
    0.5
    """
    return call(_stdtr_op, df, t)


@traces
def stdtrit(df: ArrayLike, p: ArrayLike) -> Array:
    """The number up to which Student's distribution has the probability `p`.

    >>> bool(abs(stdtrit(3.0, stdtr(3.0, 1.0)) - 1) < 1e-12)
    True
    """
    return call(_stdtrit_op, df, p)


# ---------------------------------------------------------------------------------------------------------------------
# What is found by search has the values of scipy.stats.


def _float(*dtypes: Any) -> np.dtype[Any]:
    return np.exp.resolve_dtypes((np.result_type(*dtypes), None))[-1]


def _float_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return ArrayType(broadcast_shapes("ppf", types), _float(*[t.weight for t in types]))


@functools.cache
def _stats() -> Any:
    try:
        return imported("scipy.stats")
    except ImportError:
        raise ImportError(
            "these quantiles are computed by SciPy, which is not installed; write: pip install 'tracegrad[scipy]'"
        ) from None


def _by_stats(name: str, q: Any, *shapes: Any, upper: bool = False) -> Any:
    distribution = getattr(_stats(), name)
    found = quietly(("all",), distribution.isf if upper else distribution.ppf, q, *shapes)
    return np.asarray(found).astype(_float(q, *shapes))[()]


# ---------------------------------------------------------------------------------------------------------------------
# The distribution of von Mises, exp(kappa cos(t)) / (2 pi I_0(kappa)): integrals from its centre on, by Gauss' rule.

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def von_mises_density(kappa: ArrayLike, x: ArrayLike) -> Array:
    """The logarithm of the density."""
    return np.square(np.sin(np.multiply(x, 0.5))) * np.multiply(kappa, -2.0) - np.log(2 * math.pi * bessel_i0e(kappa))


def von_mises_integral(kappa: Any, x: Any, factor: Callable[[Any], Any]) -> Any:
    """The integral of the density times a function, from 0 to x, which is between -pi and pi: as far as there is any density."""
    reach = bind(stop_gradient_op, (as_array(2 * np.arcsin(np.sqrt(np.divide(22.5, np.maximum(kappa, 22.5))))),))
    edge = np.expand_dims(np.minimum(np.maximum(x, -reach), reach), -1)
    dtype = type_of(edge).dtype
    t = edge * (0.5 * (_NODES + 1)).astype(dtype)
    terms = factor(t) * np.exp(von_mises_density(np.expand_dims(kappa, -1), t))
    return np.sum(edge * (0.5 * _WEIGHTS).astype(dtype) * terms, axis=-1)


def _von_mises_in_kappa(kappa: Any, x: Any) -> Any:
    mean = np.expand_dims(bessel_i1e(kappa) / bessel_i0e(kappa), -1)
    return von_mises_integral(kappa, x, lambda t: np.cos(t) - mean)


_von_mises_op: Op = elementwise(
    "vonmises_quantile", functools.partial(_by_stats, "vonmises"), lambda d, out, q, kappa: d * np.exp(-von_mises_density(kappa, out)),
    lambda d, out, q, kappa: -d * _von_mises_in_kappa(kappa, out) * np.exp(-von_mises_density(kappa, out)),
    infer=_float_type, kinds="f", samples=lambda: [Sample((np.array([0.2, 0.6]), np.array([[0.7], [30.0]])))],
)  # fmt: skip


def von_mises_quantile(q: ArrayLike, kappa: ArrayLike) -> Array:
    """The angle up to which the distribution of von Mises has the probability `q`.

    >>> float(abs(von_mises_quantile(0.5, 2.0))) < 1e-12
    True
    """
    return call(_von_mises_op, q, kappa)


# ---------------------------------------------------------------------------------------------------------------------
# Quantiles of counts are whole numbers, without a derivative.

COUNTED: dict[str, Op] = {}


def _counted(name: str, *parameters: tuple[float, float]) -> None:
    def samples() -> Iterable[Sample]:
        given = [np.array(p) for p in parameters]
        for upper in (False, True):
            yield Sample((np.array([[0.05, 0.3], [0.6, 0.99]]), *given), {"upper": upper})

    partials = [lambda d, out, *inputs, upper: None] * (1 + len(parameters))
    COUNTED[name] = elementwise(
        f"{name}_quantile", functools.partial(_by_stats, name), *partials, infer=_float_type, kinds="f", samples=samples
    )


_counted("bernoulli", (0.3, 0.6))
_counted("betabinom", (10.0, 4.0), (2.0, 0.7), (0.8, 3.0))
_counted("binom", (10.0, 4.0), (0.3, 0.6))
_counted("geom", (0.3, 0.6))
_counted("nbinom", (10.0, 2.5), (0.3, 0.6))
_counted("poisson", (10.0, 2.5))


def quantile(name: str, q: ArrayLike, *shapes: ArrayLike, upper: bool = False) -> Array:
    """The least count up to which the distribution of this name has the probability `q`; with `upper`, beyond which it has no more.

    >>> float(quantile("poisson", 0.5, 3.0))
    3.0
    """
    return call(COUNTED[name], q, *shapes, upper=upper)


SEARCHED = ["vonmises_quantile", *[op.name for op in COUNTED.values()]]
