"""Special functions: the gamma function's kin, incomplete gamma and beta, Bessel's I, zeta, the inverse of erf.

Values come from scipy.special, which is imported at first use, but for I itself and the inverse of erf. Derivatives are closed: each is a formula in these same
functions, so that they have derivatives of every order. Where there is no formula for a parameter, forward mode raises; reverse mode, which
cannot know whether anybody asks (`tg.stop_gradient` may stand before it), has NaN for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DifferentiationError, DtypeError, at, user_source
from tracegrad.core.late import imported
from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import SCIPY_FUNCTIONS, as_array, bind
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.elementwise import unary_samples
from tracegrad.ops.elementwise.error_function import polynomial
from tracegrad.ops.elementwise.products import multiply_keeping_zeros
from tracegrad.ops.families import broadcast_shapes, elementwise
from tracegrad.ops.special.incomplete import (
    beta_slope_of,
    beta_slopes,
    digamma_rise_of,
    gamma_slope_of,
    gamma_slopes,
    mixed,
)
from tracegrad.typing import Array, ArrayLike


@functools.cache
def _scipy_special() -> Any:
    try:
        return imported("scipy.special")
    except ImportError:
        raise ImportError(
            "special functions (lgamma, digamma, igamma, betainc, bessel_i0e, zeta and others) are computed by "
            "SciPy, which is not installed; write: pip install 'tracegrad[scipy]'"
        ) from None


def _dtype(types: Sequence[ArrayType]) -> np.dtype[Any]:
    """The float dtype that NumPy's own functions, such as np.exp, give inputs promoted to one dtype."""
    joint = np.result_type(*[t.weight for t in types])
    if number_kind(joint) == "c":
        raise DtypeError(f"special functions take real numbers, got {', '.join(map(str, types))}")
    return np.exp.resolve_dtypes((joint, None))[-1]


def _in_double(function: Any, *inputs: Any, **params: Any) -> Any:
    """What scipy.special's function of this name, or another, makes of doubles, in the dtype of np.exp of the inputs."""
    dtype = np.exp.resolve_dtypes((np.result_type(*inputs), None))[-1]
    wide = [np.asarray(x, np.float64) for x in inputs]
    if type(function) is str:
        function = getattr(_scipy_special(), function)
    return quietly(("all",), _in_dtype, dtype, function, wide, params)  # poles and overflow have values, inf and NaN


def _in_dtype(dtype: Any, function: Any, inputs: Any, params: Any) -> Any:
    return np.asarray(function(*inputs, **params)).astype(dtype)[()]


def _special(
    name: str,
    function: str | Callable[..., Any],
    *partials: Callable[..., Any],
    samples: Callable[[], Iterable[Sample]],
    without: Sequence[str] = (),
) -> Op:
    """Declare the elementwise op of a function of doubles, or of the one that scipy.special has under this name. `without`
    names the parameters, which come first, that have no partial."""

    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        return ArrayType(broadcast_shapes(name, types), _dtype(types))

    op = elementwise(
        name, functools.partial(_in_double, function), *[unknown] * len(without), *partials, infer=infer, kinds="f",
        samples=samples,
    )  # fmt: skip
    return refusing(op, without)


def refusing(op: Op, parameters: Sequence[str]) -> Op:
    """The op with an error where forward mode asks for the derivative in one of its first inputs, which are called so."""
    rule = op.jvp
    assert rule is not None

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        for parameter, t in zip(parameters, tangents, strict=False):
            if t is not None:
                raise DifferentiationError(
                    f"{op.name} has no derivative with respect to {parameter}{at(user_source())}; hold it constant: "
                    f"tg.stop_gradient({parameter})"
                )
        return rule(primals, tangents, out, params)

    op.jvp = jvp
    return op


def unknown(d: Any, out: Any, *inputs: Any, **params: Any) -> Any:
    """The partial in such an input: reverse mode does not know whether anybody asks."""
    return d * math.nan


def _apply(op: Op, *inputs: Any, **params: Any) -> Any:
    arrays = tuple([as_array(x) for x in inputs])
    _dtype([type_of(x) for x in arrays])
    return bind(op, arrays, params)


# ---------------------------------------------------------------------------------------------------------------------
# The gamma function's logarithm and its derivatives.

lgamma_op = _special("lgamma", "gammaln", lambda d, out, x: d * digamma(x), samples=unary_samples(0.3, 4))
digamma_op = _special("digamma", "psi", lambda d, out, x: d * polygamma(1, x), samples=unary_samples(0.4, 4))


def _polygamma(m: Any, x: Any) -> Any:
    s = _scipy_special()
    return np.where(m == 0, s.psi(x), (-1.0) ** (m + 1) * s.gamma(m + 1) * s.zeta(m + 1, x))


def _order_samples(first: Sequence[int], low: float, high: float) -> Callable[[], Iterable[Sample]]:
    """Samples of an integer, which has no derivative, and a number between the limits."""

    def samples() -> Iterable[Sample]:
        yield Sample((np.array(first), np.random.default_rng(0).uniform(low, high, (2, len(first)))))
        yield Sample((np.array(first[0]), (low + high) / 2))

    return samples


polygamma_op: Op = _special(
    "polygamma", _polygamma, lambda d, out, m, x: d * polygamma(m + 1, x), samples=_order_samples([0, 1, 2], 0.6, 3),
    without=["m"],
)  # fmt: skip
zeta_op: Op = _special(
    "zeta", "zeta", lambda d, out, x, q: d * zeta_slope(x, q, 1), lambda d, out, x, q: d * (-x * zeta(x + 1, q)),
    samples=_order_samples([2, 3, 5], 0.6, 3),
)  # fmt: skip

# Its derivatives in x are those of Euler and Maclaurin's formula (DLMF 25.11.5 and 25.2.9), term by term: each is a product of
# powers of k + q, 1 / (x - 1) and factors x + i, of which the first coefficients of Taylor's series are multiplied.

_ZETA_TERMS = 20
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)


def _times(u: Sequence[Any], v: Sequence[Any]) -> list[Any]:
    """The product of two Taylor series, to as many terms as the first has."""
    return [sum([u[j] * v[i - j] for j in range(i + 1) if i - j < len(v)]) for i in range(len(u))]


def zeta_slope_of(xp: Any, x: Any, q: Any, order: int) -> Any:
    """In NumPy's words or jax's."""
    usual = (q > 0) & (x != 1)
    x, q = xp.where(usual, x, 2.0), xp.where(usual, q, 1.0)

    def power(base: Any, x: Any) -> list[Any]:
        log = xp.log(base)
        value = xp.exp(-x * log)
        return [value * (-log) ** i / math.factorial(i) for i in range(order + 1)]

    found = sum([power(q + k, x)[order] for k in range(_ZETA_TERMS - 1, -1, -1)])
    far = q + _ZETA_TERMS
    rest = power(far, x)
    found = (
        found
        + _times(rest, [(-1) ** i * (x - 1) ** (-i - 1) for i in range(order + 1)])[order] * far
        + 0.5 * rest[order]
    )
    for j, b in enumerate(_BERNOULLI, 1):
        for i in range(max(2 * j - 3, 0), 2 * j - 1):
            rest = _times(rest, [x + i, 1.0])
        found = found + b / math.factorial(2 * j) * rest[order] * far ** (1 - 2 * j)
    return xp.where(usual, math.factorial(order) * found, math.nan)


def _zeta_slope(x: Any, q: Any, order: int) -> Any:
    return zeta_slope_of(np, x, q, order)


_zeta_slope_op: Op = _special(
    "zeta_slope", _zeta_slope, lambda d, out, x, q, order: d * zeta_slope(x, q, order + 1),
    lambda d, out, x, q, order: (
        -d * (x * zeta_slope(x + 1, q, order) + order * (zeta_slope(x + 1, q, order - 1) if order > 1 else zeta(x + 1, q)))
    ),
    samples=lambda: [Sample(s.inputs, {"order": n}) for n in (1, 2) for s in _order_samples([2, 3, 5], 0.6, 3)()],
)  # fmt: skip


def zeta_slope(x: ArrayLike, q: ArrayLike, order: int) -> Array:
    """The derivative of this order of zeta(x, q) in x."""
    return _apply(_zeta_slope_op, x, q, order=order)


def lgamma(x: ArrayLike) -> Array:
    """log |Gamma(x)|.

    >>> bool(abs(lgamma(5.0) - np.log(24.0)) < 1e-14)
    True
    """
    return _apply(lgamma_op, x)


def digamma(x: ArrayLike) -> Array:
    """The derivative of log Gamma(x).

    >>> bool(abs(digamma(1.0) + np.euler_gamma) < 1e-14)
    True
    """
    return _apply(digamma_op, x)


def polygamma(m: ArrayLike, x: ArrayLike) -> Array:
    """The derivative of order m + 1 of log Gamma(x), for m = 0, 1, ...; it has a derivative in `x` only.

    >>> bool(abs(polygamma(1.0, 1.0) - np.pi**2 / 6) < 1e-14)
    True
    """
    return _apply(polygamma_op, m, x)


def polygamma_of(order: int, x: Any) -> Any:
    """`polygamma` of a plain order, zero included, of what is traced."""
    return polygamma(order, x) if order else digamma(x)


def zeta(x: ArrayLike, q: ArrayLike) -> Array:
    """Hurwitz' zeta function, the sum of (k + q)**-x over k = 0, 1, ...

    >>> bool(abs(zeta(2.0, 1.0) - np.pi**2 / 6) < 1e-14)
    True
    """
    return _apply(zeta_op, x, q)


# ---------------------------------------------------------------------------------------------------------------------
# Incomplete gamma functions. One op has all derivatives of P(a, x) in a (ops/special/incomplete.py).

_BLOCK = 4096  # how many numbers are integrated at once: there are some arrays of 130 times as many


def _psi(order: int, x: Any) -> Any:
    s = _scipy_special()
    return s.psi(x) if order == 0 else s.polygamma(order, x)


def in_blocks(function: Callable[..., Any], *inputs: Any, size: int = _BLOCK) -> Any:
    """What a function of equally many numbers makes of arrays that broadcast, so many at once."""
    inputs = np.broadcast_arrays(*inputs)
    flat = [x.reshape(-1) for x in inputs]
    out = np.empty(inputs[0].size)
    for start in range(0, out.size, size):
        block = slice(start, start + size)
        out[block] = function(*[x[block] for x in flat])
    return out.reshape(inputs[0].shape)


def _igamma(a: Any, x: Any, order: int) -> Any:
    s = _scipy_special()
    if order == 0:
        return s.gammainc(a, x)
    return in_blocks(lambda a, x: gamma_slope_of(np, _psi, s.gammaln, a, x, order), a, x)


def _falling(x: Any, count: int, without: Sequence[int] = ()) -> Any:
    """x (x - 1) (x - 2) ..., of so many factors, but for those of these numbers."""
    return math.prod([x - i for i in range(count) if i not in without])


def _one_less(count: int, without: tuple[int, ...]) -> list[tuple[int, ...]]:
    """`without`, and one more of so many factors: of each of the products that are the derivative of all of them."""
    return [tuple(sorted((*without, i))) for i in range(count) if i not in without]


def _vanishing(xp: Any, factor: Any, exponent: Any) -> Any:
    """factor * exp(exponent), and zero where the factor is, also where the exponent is infinite or NaN."""
    return xp.where(factor == 0, 0, factor * xp.exp(exponent))


def gamma_density_of(
    xp: Any,
    xlogy: Callable[..., Any],
    lgamma: Callable[..., Any],
    a: Any,
    x: Any,
    fall: int,
    without: tuple[int, ...] = (),
) -> Any:
    density = _vanishing(xp, _falling(a - 1, fall, without), xlogy(a - 1 - fall, x) - x - lgamma(a))
    return xp.where((a > 0) & (x >= 0), density, xp.nan)


def _gamma_density(a: Any, x: Any, **falls: Any) -> Any:
    s = _scipy_special()
    return gamma_density_of(np, s.xlogy, s.gammaln, a, x, **falls)


def _gamma_density_in_a(d: Any, out: Any, a: Any, x: Any, fall: int, without: tuple[int, ...] = ()) -> Any:
    rest = [gamma_density(a, x, fall, less) for less in _one_less(fall, without)]
    return d * sum(rest, multiply_keeping_zeros(out, np.log(x) - digamma(a)))


# x**(a-1-n) exp(-x) (a-1) ... (a-n) / Gamma(a), which for n = 0 is dP/dx. As the derivative of one in x is the next less itself, all
# derivatives have their values at x = 0 too, where quotients by x would have none. So it is where a factor is zero, at whole a:
# the derivative in a of the factors are products `without` one of them.
gamma_density_op: Op = _special(
    "gamma_density", _gamma_density,
    _gamma_density_in_a,
    lambda d, out, a, x, fall, without=(): d * (gamma_density(a, x, fall + 1, without) - out),
    samples=lambda: [*_two_samples(fall=0)(), *_two_samples(fall=2)(), *_two_samples(fall=2, without=(1,))()],
)  # fmt: skip


def gamma_density(a: ArrayLike, x: ArrayLike, fall: int = 0, without: tuple[int, ...] = ()) -> Array:
    """The density of the gamma distribution at x, or the n-th step of its derivatives in x, `without` some factors."""
    return _apply(gamma_density_op, a, x, fall=fall, without=without)


def _igamma_density(a: Any, x: Any, order: int) -> Any:
    """The derivative of order `order` in a of x**(a-1) exp(-x) / Gamma(a), which is dP/dx."""
    if order == 0:
        return gamma_density(a, x)
    slopes = gamma_slopes(polygamma_of, a, np.log(x), order)
    return multiply_keeping_zeros(gamma_density(a, x), mixed(slopes, order, 0))


def _two_samples(**params: int) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        yield Sample((rng.uniform(0.5, 3, (2, 3)), rng.uniform(0.5, 4, (2, 3))), params)
        yield Sample((rng.uniform(0.5, 3, 2), 1.5), params)

    return samples


igamma_op: Op = _special(
    "igamma", _igamma, lambda d, out, a, x, order: d * _apply(igamma_op, a, x, order=order + 1),
    lambda d, out, a, x, order: d * _igamma_density(a, x, order),
    samples=lambda: [*_two_samples(order=0)(), *_two_samples(order=2)()],
)  # fmt: skip
igammac_op = _special(
    "igammac", "gammaincc", lambda d, out, a, x: -d * igamma_grad_a(a, x),
    lambda d, out, a, x: -d * _igamma_density(a, x, 0), samples=_two_samples(),
)  # fmt: skip


def igamma(a: ArrayLike, x: ArrayLike) -> Array:
    """The regularised lower incomplete gamma function P(a, x), with derivatives in both.

    >>> bool(abs(igamma(1.0, 2.0) - (1 - np.exp(-2.0))) < 1e-15)
    True
    """
    return _apply(igamma_op, a, x, order=0)


def igammac(a: ArrayLike, x: ArrayLike) -> Array:
    """The regularised upper incomplete gamma function, 1 - P(a, x), accurate where that is tiny.

    >>> bool(abs(igammac(1.0, 50.0) / np.exp(-50.0) - 1) < 1e-13)
    True
    """
    return _apply(igammac_op, a, x)


def igamma_grad_a(a: ArrayLike, x: ArrayLike) -> Array:
    """The derivative of P(a, x) in `a`.

    >>> igamma_grad_a(2.0, 1.0).round(4).item()
    -0.2762
    """
    return _apply(igamma_op, a, x, order=1)


def random_gamma_grad(a: ArrayLike, sample: ArrayLike) -> Array:
    """How a sample of the gamma distribution moves with its parameter `a` at a fixed probability P(a, sample).

    >>> random_gamma_grad(2.0, 1.0).round(4).item()
    0.7508
    """
    return -igamma_grad_a(a, sample) / _igamma_density(a, sample, 0)


# ---------------------------------------------------------------------------------------------------------------------
# The incomplete beta function.


def beta_density_of(
    xp: Any, xlogy: Any, xlog1py: Any, lgamma: Any, a: Any, b: Any, x: Any, fall: int, fall_b: int,
    without: tuple[int, ...] = (), without_b: tuple[int, ...] = (),
) -> Any:  # fmt: skip
    factor = _falling(a - 1, fall, without) * _falling(b - 1, fall_b, without_b)
    norm = lgamma(a) + lgamma(b) - lgamma(a + b)
    density = _vanishing(xp, factor, xlogy(a - 1 - fall, x) + xlog1py(b - 1 - fall_b, -x) - norm)
    return xp.where((a > 0) & (b > 0) & (x >= 0) & (x <= 1), density, xp.nan)


def _beta_density(a: Any, b: Any, x: Any, **falls: Any) -> Any:
    s = _scipy_special()
    return beta_density_of(np, s.xlogy, s.xlog1py, s.gammaln, a, b, x, **falls)


def _beta_density_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)
    for fall, fall_b, without_b in [(0, 0, ()), (1, 2, ()), (1, 2, (0,))]:
        inputs = (rng.uniform(0.5, 3, (2, 3)), rng.uniform(0.5, 3, 3), rng.uniform(0.2, 0.8, (2, 1)))
        yield Sample(inputs, {"fall": fall, "fall_b": fall_b, "without": (), "without_b": without_b})


def _beta_density_in_a(
    d: Any, out: Any, a: Any, b: Any, x: Any, fall: int, fall_b: int, without: Any = (), without_b: Any = ()
) -> Any:
    rest = [beta_density(a, b, x, fall, fall_b, less, without_b) for less in _one_less(fall, without)]
    return d * sum(rest, multiply_keeping_zeros(out, np.log(x) - digamma(a) + digamma(a + b)))


def _beta_density_in_b(
    d: Any, out: Any, a: Any, b: Any, x: Any, fall: int, fall_b: int, without: Any = (), without_b: Any = ()
) -> Any:
    rest = [beta_density(a, b, x, fall, fall_b, without, less) for less in _one_less(fall_b, without_b)]
    return d * sum(rest, multiply_keeping_zeros(out, np.log1p(-x) - digamma(b) + digamma(a + b)))


# x**(a-1-n) (1-x)**(b-1-m) (a-1) ... (a-n) (b-1) ... (b-m) / B(a, b): as for the gamma distribution, at both ends.
beta_density_op: Op = _special(
    "beta_density",
    _beta_density,
    _beta_density_in_a,
    _beta_density_in_b,
    lambda d, out, a, b, x, fall, fall_b, without=(), without_b=(): (
        d
        * (
            beta_density(a, b, x, fall + 1, fall_b, without, without_b)
            - beta_density(a, b, x, fall, fall_b + 1, without, without_b)
        )
    ),
    samples=_beta_density_samples,
)


def beta_density(
    a: ArrayLike, b: ArrayLike, x: ArrayLike, fall: int = 0, fall_b: int = 0, without: Any = (), without_b: Any = ()
) -> Array:
    """The density of the beta distribution at x, or a step of its derivatives in x, `without` some factors of each kind."""
    return _apply(beta_density_op, a, b, x, fall=fall, fall_b=fall_b, without=without, without_b=without_b)


def _beta_samples() -> Iterable[Sample]:
    yield Sample((np.array([1, 2, 4]), np.array([2, 3, 2]), np.array([[0.2, 0.5, 0.7], [0.4, 0.3, 0.6]])))
    yield Sample((np.array(2), np.array(3), 0.3))


betainc_op = _special(
    "betainc", "betainc", lambda d, out, a, b, x: d * betainc_slope(a, b, x, 1, 0),
    lambda d, out, a, b, x: d * betainc_slope(a, b, x, 0, 1), lambda d, out, a, b, x: d * beta_density(a, b, x),
    samples=_beta_samples,
)  # fmt: skip


def _slope_in_parameters(a: Any, b: Any, x: Any, m: int, n: int) -> Any:
    s = _scipy_special()
    rise = functools.partial(digamma_rise_of, np, s.psi)
    return in_blocks(lambda a, b, x: beta_slope_of(np, _psi, rise, s.betaln, a, b, x, m, n), a, b, x)


def _slope_of_density(a: Any, b: Any, x: Any, m: int, n: int) -> Any:
    """The derivative of beta_density(a, b, x) of these orders in a and b."""
    joint = digamma(a + b)
    slopes = beta_slopes(polygamma_of, a, b, (np.log(x), np.log1p(-x)), (joint - digamma(a), joint - digamma(b)), m, n)
    return multiply_keeping_zeros(beta_density(a, b, x), mixed(slopes, m, n))


betainc_slope_op: Op = _special(
    "betainc_slope", _slope_in_parameters, lambda d, out, a, b, x, m, n: d * betainc_slope(a, b, x, m + 1, n),
    lambda d, out, a, b, x, m, n: d * betainc_slope(a, b, x, m, n + 1),
    lambda d, out, a, b, x, m, n: d * _slope_of_density(a, b, x, m, n),
    samples=lambda: [Sample(s.inputs, {"m": m, "n": n}) for m, n in ((1, 0), (1, 1)) for s in _beta_samples()],
)  # fmt: skip


def betainc_slope(a: ArrayLike, b: ArrayLike, x: ArrayLike, m: int, n: int) -> Array:
    """The derivative of I_x(a, b) of order `m` in a and `n` in b."""
    return _apply(betainc_slope_op, a, b, x, m=m, n=n)


def betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """The regularised incomplete beta function I_x(a, b), with derivatives in all three.

    >>> float(betainc(1.0, 1.0, 0.25))
    0.25
    """
    return _apply(betainc_op, a, b, x)


# ---------------------------------------------------------------------------------------------------------------------
# Modified Bessel functions of the first kind, times exp(-|x|). The op has every order n and, as `rise`, every derivative in
# |x|. Near zero that is I_n' = (I_{n-1} + I_{n+1}) / 2 (DLMF 10.29.1), which needs no division by x, less I_n. Far out this
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
    s = _scipy_special()
    return s.i0e(x) if order == 0 else s.i1e(x) if order == 1 else s.ive(order, x)


def _bessel_samples() -> Iterable[Sample]:
    for order, rise in [(0, 0), (1, 0), (3, 0), (0, 1), (2, 2)]:
        for s in unary_samples(-2, 2)():
            yield Sample(s.inputs, {"order": order, "rise": rise})


scaled_bessel_op: Op = _special(
    "scaled_bessel_i", _scaled_bessel,
    lambda d, out, x, order, rise: d * _apply(scaled_bessel_op, x, order=order, rise=rise + 1), samples=_bessel_samples,
)  # fmt: skip


def bessel_i0e(x: ArrayLike) -> Array:
    """exp(-|x|) I_0(x).

    >>> float(bessel_i0e(0.0))
    1.0
    """
    return _apply(scaled_bessel_op, x, order=0, rise=0)


def bessel_i1e(x: ArrayLike) -> Array:
    """exp(-|x|) I_1(x).

    >>> float(bessel_i1e(0.0))
    0.0
    """
    return _apply(scaled_bessel_op, x, order=1, rise=0)


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


bessel_i_op: Op = _special(
    "bessel_i", _bessel_i,
    lambda d, out, x, order: d * (0.5 * (bessel_i(x, abs(order - 1)) + bessel_i(x, order + 1))), samples=_bessel_i_samples,
)  # fmt: skip


def bessel_i(x: ArrayLike, order: int) -> Array:
    """I_n(x), the modified Bessel function of the first kind of a whole order from 0 on.

    >>> round(float(bessel_i(1.0, 1)), 6)
    0.565159
    """
    return _apply(bessel_i_op, x, order=order)


# ---------------------------------------------------------------------------------------------------------------------
# The inverse of the error function.

# By M. Giles, "Approximating the erfinv function", GPU Computing Gems Jade Edition (2011): with w = -log(1 - x**2) the function
# is x times a polynomial of w - 3.125 where w < 6.25, and beyond that of sqrt(w) - 3.25 up to w = 16, of sqrt(w) - 5 from there.

_ERF_INV_CENTRE = (
    -3.64441206401782e-21, -1.6850591381820166e-19, 1.28584807152564e-18, 1.1157877678025181e-17,
    -1.333171662854621e-16, 2.0972767875968562e-17, 6.637638134358324e-15, -4.054566272975207e-14,
    -8.151934197605472e-14, 2.6335093153082323e-12, -1.2975133253453532e-11, -5.415412054294628e-11,
    1.0512122733215323e-09, -4.112633980346984e-09, -2.9070369957882005e-08, 4.2347877827932404e-07,
    -1.3654692000834679e-06, -1.3882523362786469e-05, 0.00018673420803405714, -0.000740702534166267,
    -0.006033670871430149, 0.24015818242558962, 1.6536545626831027,
)  # fmt: skip
_ERF_INV_TAIL = (
    2.2137376921775787e-09, 9.075656193888539e-08, -2.7517406297064545e-07, 1.8239629214389228e-08,
    1.5027403968909828e-06, -4.013867526981546e-06, 2.9234449089955446e-06, 1.2475304481671779e-05,
    -4.7318229009055734e-05, 6.828485145957318e-05, 2.4031110387097894e-05, -0.0003550375203628475,
    0.0009532893797373805, -0.0016882755560235047, 0.002491442096107851, -0.003751208507569241,
    0.005370914553590064, 1.0052589676941592, 3.0838856104922208,
)  # fmt: skip
_ERF_INV_FAR_TAIL = (
    -2.7109920616438573e-11, -2.555641816996525e-10, 1.5076572693500548e-09, -3.789465440126737e-09,
    7.61570120807834e-09, -1.496002662714924e-08, 2.914795345090108e-08, -6.771199775845234e-08,
    2.2900482228026655e-07, -9.9298272942317e-07, 4.526062597223154e-06, -1.968177810553167e-05,
    7.599527703001776e-05, -0.00021503011930044477, -0.00013871931833623122, 1.0103004648645344, 4.849906401408584,
)  # fmt: skip
_ERF_INV_BLOCK = 8192  # so that the many passes of a polynomial stay in the cache


def _erf_inv(x: Any) -> Any:
    """Within four units in the last place. (1 - x) (1 + x) is as accurate as x, which 1 - x * x is not near 1."""
    flat = np.ravel(x)
    out = np.empty_like(flat)
    for start in range(0, flat.size, _ERF_INV_BLOCK):
        block = flat[start : start + _ERF_INV_BLOCK]
        w = -np.log((1 - block) * (1 + block))
        factor = polynomial(_ERF_INV_CENTRE, w - 3.125)
        for edge, coefficients, middle in ((6.25, _ERF_INV_TAIL, 3.25), (16.0, _ERF_INV_FAR_TAIL, 5.0)):
            beyond = np.flatnonzero(w >= edge)
            if beyond.size:
                factor[beyond] = polynomial(coefficients, np.sqrt(w[beyond]) - middle)
        factor[w == np.inf] = np.inf
        np.multiply(factor, block, out=out[start : start + _ERF_INV_BLOCK])
    return out.reshape(np.shape(x))


erf_inv_op = _special(
    "erf_inv", _erf_inv, lambda d, out, x: d * ((math.sqrt(math.pi) / 2) * np.exp(out * out)),
    samples=unary_samples(-0.9, 0.9),
)  # fmt: skip


def erf_inv(x: ArrayLike) -> Array:
    """The number whose error function is `x`, for -1 < x < 1.

    >>> float(erf_inv(0.0))
    0.0
    """
    return _apply(erf_inv_op, x)


SCIPY_FUNCTIONS.update(
    betainc=betainc, erfinv=erf_inv, gammainc=igamma, gammaincc=igammac, gammaln=lgamma, i0e=bessel_i0e, i1e=bessel_i1e,
    psi=digamma, zeta=zeta,
)  # fmt: skip
