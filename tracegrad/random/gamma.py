"""Numbers of the gamma distribution, and of those that are made of it.

A number is drawn by rejection, so that it is no smooth function of its parameter for fixed bits. What its derivatives are is what
they are where the probability of a smaller number stays as it is: dx / da = - (dP(a, x) / da) / (dP(a, x) / dx), by the
rule for implicit functions (Figurnov, Mohamed and Mnih, "Implicit reparameterization gradients", NeurIPS 2018). They take SciPy.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of
from tracegrad.ops.softmax import softmax
from tracegrad.ops.special.incomplete_gamma import random_gamma_grad
from tracegrad.ops.special.polygamma import digamma
from tracegrad.ops.threefry import random_bits, threefry2x32
from tracegrad.random.keys import key_given, shape_given, split
from tracegrad.random.samplers import (
    Shape,
    exponential,
    float_dtype,
    normal,
    normals_of,
    parameters,
    rademacher,
    smallest,
)
from tracegrad.transforms.control.while_loop import while_loop
from tracegrad.transforms.custom.functions import custom_jvp
from tracegrad.transforms.stop_gradient import stop_gradient
from tracegrad.typing import Array, ArrayLike, DType


def gamma(key: Array, a: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Numbers of density x**(a - 1) exp(-x) / Gamma(a) for x > 0.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        a: positive. The result has derivatives of every order with respect to it, at fixed probabilities of smaller numbers.
        shape: of the result, to which `a` broadcasts; None for that of `a`.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.gamma` makes of that key. For `a` near 0 the numbers are
        smaller than any that the dtype has: take `loggamma`.

    Raises:
        DtypeError: another dtype.
        ShapeError: `a` of another shape.

    Source: Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000).

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.gamma(tg.random.key(0), 2.5, (100,)) > 0.0))
    True
    """
    dtype = float_dtype(dtype, "gamma")
    shape, (a,) = parameters("gamma", shape, dtype, a=a)
    key, a = key_given(key, "gamma"), np.broadcast_to(a, shape)
    return _moving(a, _drawn(key, stop_gradient(a), dtype, log=False))


def loggamma(key: Array, a: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Logarithms of the numbers that `gamma` draws, also where these are too small for the dtype.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        a: positive. The result has derivatives of every order with respect to it.
        shape: of the result, to which `a` broadcasts; None for that of `a`.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.loggamma` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.loggamma(tg.random.key(0), 1e-3, (100,)) < 3.0))
    True
    """
    dtype = float_dtype(dtype, "loggamma")
    shape, (a,) = parameters("loggamma", shape, dtype, a=a)
    key, a = key_given(key, "loggamma"), np.broadcast_to(a, shape)
    return _log_moving(a, _drawn(key, stop_gradient(a), dtype, log=True))


def _drawn(key: Any, a: Any, dtype: np.dtype[Any], log: bool) -> Any:
    shape = shape_of(a)
    a = np.reshape(a, -1)
    boosted = a < 1  # of a + 1 the number is drawn, and made one of a by a power of a uniform one
    d = np.where(boosted, np.where(a < 0, dtype.type(np.nan), a + 1), a) - dtype.type(1 / 3)
    c = dtype.type(1 / 3) / np.sqrt(d)
    keys = _split_each(np.stack(threefry2x32(key, 0, (math.prod(shape),)), axis=-1), 2)
    start = (keys[:, 0], np.ones_like(a), np.ones(a.shape, bool))
    cube = while_loop(lambda state: np.any(state[2]), lambda state: _try(state, c, d), start)[1]
    unit = random_bits(keys[:, 1], (), dtype)
    if log:
        log_unit = np.log1p(-unit)
        out = np.log(d) + np.log(cube) + np.where(boosted & (log_unit != 0), log_unit * (1 / a), 0)
    else:
        out = d * cube * np.where(boosted, (1 - unit) ** (1 / a), 1)
    return np.reshape(out, shape)


def _split_each(keys: Any, many: int) -> Any:
    return np.stack(threefry2x32(keys, 0, (many,)), axis=-1)


def _try(state: Any, c: Any, d: Any) -> Any:
    """Draw once for each of those that have none yet: keys, cubes, and which these are."""
    keys, cube, pending = state
    dtype = type_of(c).dtype
    tiny = smallest(dtype)
    keys, normal_keys, unit_keys = [_split_each(keys, 3)[:, i] for i in range(3)]

    def positive(state: Any) -> Any:
        keys, x, v = state
        more = _split_each(keys, 2)
        x = np.where(v <= 0, normals_of(random_bits(more[:, 1], (), dtype), dtype), x)
        return more[:, 0], x, np.where(v <= 0, 1 + x * c, v)

    start = (normal_keys, np.zeros_like(c), astype(np.where(pending, -1, 1), dtype))
    _, x, v = while_loop(lambda state: np.any(state[2] <= 0), positive, start)
    square, v = x * x, v * v * v
    unit = random_bits(unit_keys, (), dtype)
    log_unit, log_v = [np.log(np.maximum(z, dtype.type(tiny))) for z in (unit, v)]
    refused = unit >= 1 - dtype.type(0.0331) * (square * square)  # NaN is not
    refused = refused & (log_unit >= square * dtype.type(0.5) + d * (1 - v + log_v))
    return keys, np.where(pending, v, cube), pending & refused


@custom_jvp
def _moving(a: Any, drawn: Any) -> Any:
    """What was drawn, as a function of a."""
    return drawn


def _tangent(t: Any, out: Any, a: Any, drawn: Any) -> Any:
    """What is too small for the dtype stays so."""
    return t * np.where(out == 0, 0, random_gamma_grad(a, np.where(out == 0, 1, out)))


_moving.defjvps(_tangent, None)


@custom_jvp
def _log_moving(a: Any, drawn: Any) -> Any:
    return drawn


def _log_tangent(t: Any, out: Any, a: Any, drawn: Any) -> Any:
    """With x = exp(out): where that is below rounding beside 1, P(a, x) is x**a / Gamma(a + 1)."""
    small = out < -45
    x = np.exp(np.where(small, 0, out))
    return t * np.where(small, (digamma(a + 1) - out) / a, random_gamma_grad(a, x) / x)


_log_moving.defjvps(_log_tangent, None)


def chisquare(key: Array, df: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Numbers of the chi-square distribution: sums of the squares of `df` normal numbers, where that is an integer.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        df: positive; the result has derivatives with respect to it.
        shape: of the result, to which `df` broadcasts; None for that of `df`.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.chisquare` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.chisquare(tg.random.key(0), 3, (100,)) > 0.0))
    True
    """
    dtype = float_dtype(dtype, "chisquare")
    shape, (df,) = parameters("chisquare", shape, dtype, df=df)
    return 2 * np.exp(loggamma(key_given(key, "chisquare"), df / 2, shape, dtype))


def f(key: Array, dfnum: ArrayLike, dfden: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Numbers of the F distribution: (x / dfnum) / (y / dfden) for x and y of the chi-square distribution.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        dfnum, dfden: positive; the result has derivatives with respect to them.
        shape: of the result, to which they broadcast; None for what they broadcast to.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.f` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.f(tg.random.key(0), 3, 5, (100,)) > 0.0))
    True
    """
    dtype = float_dtype(dtype, "f")
    shape, (dfnum, dfden) = parameters("f", shape, dtype, dfnum=dfnum, dfden=dfden)
    below, above = split(key_given(key, "f"))
    return chisquare(above, dfnum, shape, dtype) / dfnum / (chisquare(below, dfden, shape, dtype) / dfden)


def t(key: Array, df: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Numbers of Student's t distribution.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        df: positive; the result has derivatives with respect to it.
        shape: of the result, to which `df` broadcasts; None for that of `df`.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.t` makes of that key.

    >>> import tracegrad as tg
    >>> tg.random.t(tg.random.key(0), 4.0, (2,)).shape
    (2,)
    """
    dtype = float_dtype(dtype, "t")
    shape, (df,) = parameters("t", shape, dtype, df=df)
    first, second = split(key_given(key, "t"))
    return normal(first, shape, dtype) * np.sqrt(df / 2 / gamma(second, df / 2, shape, dtype))


def beta(key: Array, a: ArrayLike, b: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Numbers whose density is proportional to x**(a - 1) (1 - x)**(b - 1) for 0 < x < 1.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        a, b: positive; the result has derivatives with respect to them.
        shape: of the result, to which they broadcast; None for what they broadcast to.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.beta` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.beta(tg.random.key(0), 2.0, 0.5, (100,)) < 1.0))
    True
    """
    dtype = float_dtype(dtype, "beta")
    shape, (a, b) = parameters("beta", shape, dtype, a=a, b=b)
    of_a, of_b = split(key_given(key, "beta"))
    x, y = loggamma(of_a, a, shape, dtype), loggamma(of_b, b, shape, dtype)
    largest = stop_gradient(np.maximum(x, y))  # which the quotient does not depend on
    x, y = np.exp(x - largest), np.exp(y - largest)
    return x / (x + y)


def dirichlet(key: Array, alpha: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Vectors of positive numbers whose sum is 1, whose density is proportional to the product of x_i**(alpha_i - 1).

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        alpha: positive, of shape (..., n); the result has derivatives with respect to it.
        shape: of the draws, to which that of `alpha` without its last axis broadcasts; None for that.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of shape (*shape, n) and this dtype: to rounding what `jax.random.dirichlet` makes of that key.

    Raises:
        ShapeError: `alpha` has no axis, or another shape.

    >>> import tracegrad as tg
    >>> x = tg.random.dirichlet(tg.random.key(0), np.array([1.0, 2.0, 3.0]), (5,))
    >>> x.shape, bool(np.all(np.abs(np.sum(x, -1) - 1.0) < 1e-15))
    ((5, 3), True)
    """
    dtype, whole = float_dtype(dtype, "dirichlet"), shape_of(as_array(alpha))
    if not whole:
        raise ShapeError(
            f"random.dirichlet{at(user_source())}: alpha must have an axis, got a scalar; write alpha[None]"
        )
    shape = whole if shape is None else (*shape_given(shape, "dirichlet"), whole[-1])
    shape, (alpha,) = parameters("dirichlet", shape, dtype, alpha=alpha)
    return softmax(loggamma(key_given(key, "dirichlet"), alpha, shape, dtype), axis=-1)


def generalized_normal(key: Array, p: ArrayLike, shape: Shape = (), dtype: DType = np.float64) -> Array:
    """Numbers whose density is proportional to exp(-|x|**p).

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        p: positive, and broadcasts to `shape`; the result has derivatives with respect to it.
        shape: of the result.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.generalized_normal` makes of that key.

    >>> import tracegrad as tg
    >>> tg.random.generalized_normal(tg.random.key(0), 3.0, (2,)).shape
    (2,)
    """
    dtype = float_dtype(dtype, "generalized_normal")
    shape, (p,) = parameters("generalized_normal", shape, dtype, p=p)
    first, second = split(key_given(key, "generalized_normal"))
    return rademacher(second, shape, dtype) * gamma(first, 1 / p, shape, dtype) ** (1 / p)


def ball(key: Array, d: int, p: ArrayLike = 2.0, shape: Shape = (), dtype: DType = np.float64) -> Array:
    """Points that are equally likely everywhere in the unit ball of the p-norm, in `d` dimensions.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        d: how many dimensions.
        p: a positive number; the result has derivatives with respect to it.
        shape: of the draws.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of shape (*shape, d) and this dtype: to rounding what `jax.random.ball` makes of that key.

    Source: Barthe, Guedon, Mendelson and Naor, "A probabilistic approach to the geometry of the l_p^n-ball", Annals of Probability
    33 (2005).

    >>> import tracegrad as tg
    >>> x = tg.random.ball(tg.random.key(0), 3, shape=(100,))
    >>> x.shape, bool(np.all(np.linalg.norm(x, axis=-1) < 1.0))
    ((100, 3), True)
    """
    dtype, shape, key = float_dtype(dtype, "ball"), shape_given(shape, "ball"), key_given(key, "ball")
    _, (p,) = parameters("ball", (), dtype, p=p)
    first, second = split(key)
    x = generalized_normal(first, p, (*shape, operator.index(d)), dtype)
    size = np.sum(np.abs(x) ** p, axis=-1) + exponential(second, shape, dtype)
    return x / (size ** (1 / p))[..., None]
