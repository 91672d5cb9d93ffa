"""Numbers that are functions of uniform, normal and exponential ones, with derivatives in their parameters."""

from __future__ import annotations

import numpy as np

from tracegrad.ops.threefry import FRACTIONS
from tracegrad.random.keys import key_given, shape_given, split
from tracegrad.random.samplers import (
    Shape,
    exponential,
    float_dtype,
    normal,
    parameters,
    rademacher,
    uniform,
)
from tracegrad.typing import Array, ArrayLike, DType


def cauchy(key: Array, shape: Shape = (), dtype: DType = np.float64) -> Array:
    """Numbers of density 1 / (pi (1 + x**2)): to rounding what `jax.random.cauchy` makes of that key.

    >>> import tracegrad as tg
    >>> tg.random.cauchy(tg.random.key(0), (2,)).round(4).tolist()
    [-0.2619, -1.2378]
    """
    dtype = float_dtype(dtype, "cauchy")
    above = 2.0 ** -FRACTIONS[dtype.name][1]
    return np.tan(dtype.type(np.pi) * (uniform(key_given(key, "cauchy"), shape, dtype, above, 1.0) - dtype.type(0.5)))


def pareto(key: Array, b: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Numbers of density b / x**(b + 1) for x >= 1.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        b: positive; the result has a derivative with respect to it.
        shape: of the result, to which `b` broadcasts; None for that of `b`.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.pareto` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.pareto(tg.random.key(0), 3.0, (100,)) >= 1.0))
    True
    """
    dtype = float_dtype(dtype, "pareto")
    shape, (b,) = parameters("pareto", shape, dtype, b=b)
    return np.exp(exponential(key_given(key, "pareto"), shape, dtype) / b)


def lognormal(key: Array, sigma: ArrayLike = 1.0, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """exp(sigma * z) for normal numbers z.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        sigma: the standard deviation of the logarithm; the result has a derivative with respect to it.
        shape: of the result, to which `sigma` broadcasts; None for that of `sigma`.
        dtype: float16, bfloat16, float32 or float64, or complex64 or complex128.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.lognormal` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.lognormal(tg.random.key(0), 0.5, (100,)) > 0.0))
    True
    """
    dtype = np.dtype(dtype)
    part = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else float_dtype(dtype, "lognormal")
    shape, (sigma,) = parameters("lognormal", shape, part, sigma=sigma)
    return np.exp(normal(key_given(key, "lognormal"), shape, dtype) * sigma)


def rayleigh(key: Array, scale: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Numbers of density x exp(-x**2 / 2 scale**2) / scale**2 for x >= 0.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        scale: positive; the result has a derivative with respect to it.
        shape: of the result, to which `scale` broadcasts; None for that of `scale`.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.rayleigh` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.rayleigh(tg.random.key(0), 2.0, (100,)) >= 0.0))
    True
    """
    dtype = float_dtype(dtype, "rayleigh")
    shape, (scale,) = parameters("rayleigh", shape, dtype, scale=scale)
    return scale * np.sqrt(-2 * np.log(uniform(key_given(key, "rayleigh"), shape, dtype)))


def maxwell(key: Array, shape: Shape = (), dtype: DType = np.float64) -> Array:
    """Lengths of vectors of three normal numbers, of density sqrt(2 / pi) x**2 exp(-x**2 / 2): to rounding what
    `jax.random.maxwell` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.maxwell(tg.random.key(0), (100,)) >= 0.0))
    True
    """
    shape, dtype = shape_given(shape, "maxwell"), float_dtype(dtype, "maxwell")
    normals = normal(key_given(key, "maxwell"), (*shape, 3), dtype)
    return np.sqrt(np.sum(normals * normals, axis=-1))


def double_sided_maxwell(
    key: Array, loc: ArrayLike, scale: ArrayLike, shape: Shape = (), dtype: DType = np.float64
) -> Array:
    """loc + scale * s * m for numbers m of `maxwell` and random signs s.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        loc, scale: numbers or arrays; the result has derivatives with respect to them.
        shape: of the draws for all of these; that of the result is it and what `loc` and `scale` broadcast to, after each
            other. Of arrays and the shape () there come, as with jax, as many draws as they have elements for each of them.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this dtype: to rounding what `jax.random.double_sided_maxwell` makes of that key.

    >>> import tracegrad as tg
    >>> tg.random.double_sided_maxwell(tg.random.key(0), 1.0, np.ones(2), (3,)).shape
    (3, 2)
    """
    dtype = float_dtype(dtype, "double_sided_maxwell")
    of_parameters, (loc, scale) = parameters("double_sided_maxwell", None, dtype, loc=loc, scale=scale)
    shape = (shape_given(shape, "double_sided_maxwell") or of_parameters) + of_parameters
    first, second = split(key_given(key, "double_sided_maxwell"))
    return rademacher(second, shape, dtype) * maxwell(first, shape, dtype) * scale + loc


def weibull_min(
    key: Array, scale: ArrayLike, concentration: ArrayLike, shape: Shape = (), dtype: DType = np.float64
) -> Array:
    """Numbers whose density is proportional to x**(c - 1) exp(-(x / scale)**c) for x >= 0, c being the concentration.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        scale, concentration: positive; the result has derivatives with respect to them.
        shape: of the draws, which is broadcast with the parameters.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this dtype: to rounding what `jax.random.weibull_min` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.weibull_min(tg.random.key(0), 2.0, 1.5, (100,)) >= 0.0))
    True
    """
    dtype, shape = float_dtype(dtype, "weibull_min"), shape_given(shape, "weibull_min")
    _, (scale, concentration) = parameters("weibull_min", None, dtype, scale=scale, concentration=concentration)
    drawn = -np.log1p(-uniform(key_given(key, "weibull_min"), shape, dtype))
    return drawn ** (1 / concentration) * scale


def triangular(
    key: Array,
    left: ArrayLike,
    mode: ArrayLike,
    right: ArrayLike,
    shape: Shape | None = None,
    dtype: DType = np.float64,
) -> Array:
    """Numbers whose density rises from `left` to `mode`, and falls from there to `right`, along straight lines.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        left, mode, right: in this order of size; the result has derivatives with respect to them.
        shape: of the result, to which they broadcast; None for what they broadcast to.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.triangular` makes of that key.

    >>> import tracegrad as tg
    >>> x = tg.random.triangular(tg.random.key(0), -1.0, 0.0, 2.0, (100,))
    >>> bool(np.all((x >= -1.0) & (x <= 2.0)))
    True
    """
    dtype = float_dtype(dtype, "triangular")
    shape, (left, mode, right) = parameters("triangular", shape, dtype, left=left, mode=mode, right=right)
    u = uniform(key_given(key, "triangular"), shape, dtype)
    rising = left + np.sqrt(u * (right - left) * (mode - left))
    falling = right - np.sqrt((1 - u) * (right - left) * (right - mode))
    return np.where(u < (mode - left) / (right - left), rising, falling)


def wald(key: Array, mean: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64) -> Array:
    """Numbers of Wald's distribution (inverse Gaussian), of density exp(-(x - mean)**2 / (2 x mean**2)) / sqrt(2 pi x**3).

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        mean: positive; the result has a derivative with respect to it.
        shape: of the result, to which `mean` broadcasts; None for that of `mean`.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.wald` makes of that key.

    Source: Michael, Schucany and Haas, "Generating random variates using transformations with multiple roots", The American
    Statistician 30 (1976): the smaller root or the larger one, by a second number.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.wald(tg.random.key(0), 2.0, (100,)) > 0.0))
    True
    """
    dtype = float_dtype(dtype, "wald")
    shape, (mean,) = parameters("wald", shape, dtype, mean=mean)
    first, second = split(key_given(key, "wald"))
    normals = normal(first, shape, dtype)
    square, mean_square = normals * normals, mean * mean
    smaller = mean + mean_square * square / 2 - mean / 2 * np.sqrt(4 * mean * square + mean_square * (square * square))
    return np.where(uniform(second, shape, dtype) <= mean / (mean + smaller), smaller, mean_square / smaller)
