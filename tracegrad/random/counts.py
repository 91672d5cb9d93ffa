"""Counts: of events, of successes, of trials, of draws of each kind. They have no derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.numpy import take
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.special.polygamma import lgamma
from tracegrad.ops.threefry import FRACTIONS, random_bits
from tracegrad.random.keys import key_given, split
from tracegrad.random.samplers import Shape, float_dtype, int_dtype, parameters, smallest, uniform
from tracegrad.transforms.control.scan import scan
from tracegrad.transforms.control.while_loop import while_loop
from tracegrad.transforms.stop_gradient import stop_gradient
from tracegrad.typing import Array, ArrayLike, DType


def poisson(key: Array, lam: ArrayLike, shape: Shape | None = None, dtype: DType = np.int64) -> Array:
    """How many events there are, of which there are `lam` on average: k with probability exp(-lam) lam**k / k!.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        lam: not negative. As with jax, it is rounded to float32.
        shape: of the result, to which `lam` broadcasts; None for that of `lam`.
        dtype: of the result.

    Returns:
        An array of this shape and dtype: what `jax.random.poisson` makes of that key, but for ties of rounding. -1 where `lam`
        is no rate: negative, infinite, NaN.

    Raises:
        DtypeError: `dtype` is not of integers.
        ShapeError: `lam` of another shape.

    Source: Knuth, The Art of Computer Programming, volume 2, section 3.4.1, for rates below 10; Hormann, "The transformed
    rejection method for generating Poisson random variables", Insurance: Mathematics and Economics 12 (1993), which takes SciPy.

    >>> import tracegrad as tg
    >>> tg.random.poisson(tg.random.key(0), 3.0, (5,)).tolist()
    [0, 0, 4, 4, 1]
    """
    dtype, single = _integers("poisson", dtype), np.dtype(np.float32)
    shape, (lam,) = parameters("poisson", shape, single, lam=lam)
    key, lam = key_given(key, "poisson"), stop_gradient(np.broadcast_to(lam, shape))
    rare = ~(lam >= 10)
    found = np.where(
        rare,
        _by_products(key, np.where(rare, lam, 0), shape, single),
        _by_rejection(key, np.where(rare | (lam == np.inf), single.type(1e5), lam), shape, single),
    )
    return astype(np.where(lam == np.inf, -1, np.where(lam == 0, 0, found)), dtype)


def _by_products(key: Any, lam: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """How many uniform numbers may be multiplied until their product is below exp(-lam)."""

    def step(state: Any) -> Any:
        key, count, log_product = state
        key, mine = split(key)
        count = count + (log_product > -lam)
        return key, count, log_product + _log(random_bits(mine, shape, dtype))

    start = (key, np.zeros(shape, np.int64), np.zeros(shape, dtype))
    return while_loop(lambda state: np.any(state[2] > -lam), step, start)[1] - 1


def _log(unit: Any) -> Any:
    """The logarithm of a uniform number, of 0 a large negative one."""
    dtype = type_of(unit).dtype
    return np.log(np.maximum(unit, dtype.type(smallest(dtype))))


def _by_rejection(key: Any, lam: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    log_lam = np.log(lam)
    b = 0.931 + 2.53 * np.sqrt(lam)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    at_once = 0.9277 - 3.6224 / (b - 2)

    def step(state: Any) -> Any:
        key, count, pending = state
        key, first, second = split(key, 3)
        u, v = random_bits(first, shape, dtype) - dtype.type(0.5), random_bits(second, shape, dtype)
        below = 0.5 - np.abs(u)
        # At u = -1/2 there is no number; that it is rejected comes of v there, which is above 0.
        safe = np.maximum(below, dtype.type(2.0**-24))
        k = np.floor((2 * a / safe + b) * u + lam + dtype.type(0.43))
        log_ratio = _log(v * inverse_alpha / (a / (safe * safe) + b))
        log_density = k * log_lam - lam - lgamma(np.maximum(k, 0) + 1)
        accepted = (below >= dtype.type(0.07)) & (v <= at_once)
        rejected = (k < 0) | ((below < dtype.type(0.013)) & (v > below))
        accepted = accepted | (~rejected & (log_ratio <= log_density))
        return key, np.where(accepted, k, count), pending & ~accepted

    start = (key, np.full(shape, -1, dtype), np.ones(shape, bool))
    return astype(while_loop(lambda state: np.any(state[2]), step, start)[1], np.int64)


def geometric(key: Array, p: ArrayLike, shape: Shape | None = None, dtype: DType = np.int64) -> Array:
    """How many trials it takes for the first success: k = 1, 2, ... with probability (1 - p)**(k - 1) p.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        p: the probability of a success, above 0. Numbers are drawn in its dtype.
        shape: of the result, to which `p` broadcasts; None for that of `p`.
        dtype: of integers.

    Returns:
        An array of this shape and dtype: what `jax.random.geometric` makes of that key, but for ties of rounding.

    >>> import tracegrad as tg
    >>> tg.random.geometric(tg.random.key(0), 0.3, (5,)).tolist()
    [3, 5, 1, 2, 2]
    """
    dtype, drawn = _integers("geometric", dtype), _float_of("geometric", p)
    shape, (p,) = parameters("geometric", shape, drawn, p=p)
    u = uniform(key_given(key, "geometric"), shape, drawn)
    log_u = np.log(np.where(u == 0, 1, u))
    return astype(np.where(p >= 1, 0, np.floor(log_u / np.log1p(-np.where(p >= 1, drawn.type(0.5), p)))) + 1, dtype)


def binomial(key: Array, n: ArrayLike, p: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """How many of n trials succeed, each with probability p.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        n: how many trials; a number that is no integer is rounded down.
        p: the probability of a success. Numbers are drawn in its dtype.
        shape: of the result, to which `n` and `p` broadcast; None for what they broadcast to.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: what `jax.random.binomial` makes of that key, but for ties of rounding. NaN where n or p
        is negative or NaN, infinite where n is.

    Raises:
        DtypeError: `dtype` is not of floats.
        ShapeError: n or p of another shape.

    Source: Devroye, Non-Uniform Random Variate Generation (1986), section X.4.3, where up to 10 successes are expected; Hormann, "The
    generation of binomial random variates", Journal of Statistical Computation and Simulation 46 (1993).

    >>> import tracegrad as tg
    >>> tg.random.binomial(tg.random.key(0), 10, 0.3, (5,)).tolist()
    [4.0, 1.0, 3.0, 4.0, 3.0]
    """
    dtype, drawn = float_dtype(dtype, "binomial"), _float_of("binomial", p)
    shape, (n, p) = parameters("binomial", shape, drawn, n=n, p=p)
    key = key_given(key, "binomial")
    n, p = [stop_gradient(np.broadcast_to(x, shape)) for x in (n, p)]
    mirrored = p >= 0.5
    q = np.where(mirrored, 1 - p, p)  # of the rarer of the two outcomes
    invalid = ~((n >= 0) & (q >= 0))
    q = np.where(q >= 0, q, drawn.type(0.01))
    few = ~(n >= 0) | (np.where(n == np.inf, 0, n) * q <= 10) & (n != np.inf)
    whole = np.floor(np.where((n >= 0) & (n != np.inf), n, 0))
    usual = few | (n == np.inf)
    found = np.where(
        few,
        _by_waiting(key, np.where(few, whole, 0), q, shape, drawn),
        _by_transformed_rejection(
            key, np.where(usual, drawn.type(1e4), whole), np.where(usual, drawn.type(0.5), q), shape, drawn
        ),
    )
    found = np.where(mirrored, whole - found, found)
    return astype(np.where(invalid, np.nan, np.where(n == np.inf, np.inf, found)), dtype)


def _by_waiting(key: Any, n: Any, q: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """How many waiting times for a success fit into n trials. Without any chance, the first does not."""
    log_failure = np.log1p(-np.where(q == 0, dtype.type(0.5), q))

    def step(state: Any) -> Any:
        key, count, trials = state
        mine, key = split(key)
        count = count + (trials <= n)
        waited = np.ceil(_log(random_bits(mine, shape, dtype)) / log_failure)
        return key, count, trials + np.where(q == 0, np.inf, waited)

    start = (key, np.zeros(shape, np.int64), np.zeros(shape, dtype))
    return while_loop(lambda state: np.any(state[2] <= n), step, start)[1] - 1


_STIRLING = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
)  # fmt: skip


def _stirling_error(k: Any) -> Any:
    """log k! less Stirling's formula in k + 1/2 for it."""
    square = (k + 1) * (k + 1)
    series = (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)
    table = take(np.asarray(_STIRLING, type_of(k).dtype), astype(np.clip(k, 0, 9), np.int64))
    return np.where(k <= 9, table, series)


def _by_transformed_rejection(key: Any, n: Any, q: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    deviation = np.sqrt(n * q * (1 - q))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * q
    centre = n * q + 0.5
    at_once = 0.92 - 4.2 / b
    odds = q / (1 - q)
    alpha = (2.83 + 5.1 / b) * deviation
    mode = np.floor((n + 1) * q)

    def step(state: Any) -> Any:
        key, count, pending = state
        key, first, second = split(key, 3)
        u, v = random_bits(first, shape, dtype), random_bits(second, shape, dtype)
        u = u - dtype.type(0.5)
        below = np.maximum(0.5 - np.abs(u), dtype.type(2.0 ** -FRACTIONS[dtype.name][1] / 4))
        k = np.floor((2 * a / below + b) * u + centre)
        drawn, k = k, np.clip(k, 0, n)  # of others there is nothing to compute
        log_ratio = _log(v * alpha / (a / (below * below) + b))
        log_density = (
            (mode + 0.5) * np.log((mode + 1) / (odds * (n - mode + 1)))
            + (n + 1) * np.log((n - mode + 1) / (n - k + 1))
            + (k + 0.5) * np.log(odds * (n - k + 1) / (k + 1))
            + _stirling_error(mode)
            + _stirling_error(n - mode)
            - _stirling_error(k)
            - _stirling_error(n - k)
        )
        accepted = (below >= dtype.type(0.07)) & (v <= at_once) | (drawn == k) & (log_ratio <= log_density)
        return key, np.where(accepted, drawn, count), pending & ~accepted

    start = (key, np.full(shape, -1, dtype), np.ones(shape, bool))
    return while_loop(lambda state: np.any(state[2]), step, start)[1]


def multinomial(
    key: Array,
    n: ArrayLike,
    p: ArrayLike,
    *,
    shape: Shape | None = None,
    dtype: DType = np.float64,
    unroll: int | bool = 1,
) -> Array:
    """How often each of several outcomes comes in n trials.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        n: how many trials, of a shape that broadcasts to that of the result without its last axis.
        p: the probability of each outcome, along the last axis.
        shape: of the result, with its last axis, to which `p` broadcasts; None for that of `p`.
        dtype: float16, bfloat16, float32 or float64.
        unroll: `lax.scan`'s, of the loop over the outcomes.

    Returns:
        An array of this shape and dtype, whose sums over the last axis are n: what `jax.random.multinomial` makes of that
        key, but for ties of rounding.

    Raises:
        ShapeError: `p` has no axis, or `n` or `p` another shape.

    >>> import tracegrad as tg
    >>> tg.random.multinomial(tg.random.key(0), 10, np.array([0.2, 0.3, 0.5])).tolist()
    [1.0, 4.0, 5.0]
    """
    dtype, key, whole = float_dtype(dtype, "multinomial"), key_given(key, "multinomial"), shape_of(as_array(p))
    if not whole:
        raise ShapeError(f"random.multinomial{at(user_source())}: p must have an axis, got a scalar")
    drawn = _float_of("multinomial", p)
    shape, (p,) = parameters("multinomial", whole if shape is None else shape, drawn, p=p)
    _, (n,) = parameters("multinomial", shape[:-1], drawn, n=n)
    p = stop_gradient(np.moveaxis(np.broadcast_to(p, shape), -1, 0))
    left = np.flip(np.cumsum(np.flip(p, 0), axis=0), 0)
    ratios = np.clip(p / np.where(left == 0, 1, left), 0, 1)

    def step(n: Any, ratio_and_key: Any) -> Any:
        ratio, key = ratio_and_key
        count = binomial(key, n, ratio, dtype=drawn)
        return n - count, count

    start = stop_gradient(np.broadcast_to(n, shape[:-1]))
    counts = scan(step, start, (ratios, split(key, shape[-1])), unroll=unroll)[1]
    return astype(np.moveaxis(counts, 0, -1), dtype)


def _integers(name: str, dtype: Any) -> np.dtype[Any]:
    dtype = int_dtype(dtype)
    if number_kind(dtype) not in "iu":
        raise DtypeError(f"random.{name}{at(user_source())}: integers come in a dtype of integers, got {dtype}")
    return dtype


def _float_of(name: str, p: Any) -> np.dtype[Any]:
    """The dtype in which is drawn for a probability: its own, where that is one of floats."""
    dtype = type_of(as_array(p)).dtype
    return float_dtype(np.float64 if number_kind(dtype) in "biu" else dtype, name, "the probability p must be of")
