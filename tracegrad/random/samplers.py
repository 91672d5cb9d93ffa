"""Numbers of the elementary distributions: each is a function of floats in [0, 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.elementwise.error_function import erf
from tracegrad.ops.families import broadcast_shapes, shape_of
from tracegrad.ops.special.normal import erf_inv
from tracegrad.ops.threefry import FRACTIONS, random_bits
from tracegrad.random.keys import key_given, shape_given, split
from tracegrad.transforms.stop_gradient import stop_gradient
from tracegrad.typing import Array, ArrayLike, DType

Shape = int | Sequence[int]

_SQRT_TWO = np.sqrt(2.0)
_SMALLEST = {"float16": -14, "bfloat16": -126, "float32": -126, "float64": -1022}  # exponents of normal numbers


def uniform(
    key: Array, shape: Shape = (), dtype: DType = np.float64, minval: ArrayLike = 0.0, maxval: ArrayLike = 1.0
) -> Array:
    """Numbers between `minval`, which may be among them, and `maxval`, which by rounding alone is.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        shape: of the result.
        dtype: float16, bfloat16, float32 or float64.
        minval, maxval: numbers, or arrays that broadcast to `shape`. The result has derivatives with respect to them.

    Returns:
        An array of this shape and dtype: what `jax.random.uniform` makes of that key.

    Raises:
        DtypeError: another dtype.
        ShapeError: bounds of another shape.

    >>> import tracegrad as tg
    >>> tg.random.uniform(tg.random.key(0), (3,), np.float32).tolist()
    [0.9476670026779175, 0.9785798788070679, 0.33229148387908936]
    """
    return _between("uniform", key, shape, float_dtype(dtype, "uniform"), minval, maxval)


def _between(name: str, key: Any, shape: Any, dtype: np.dtype[Any], minval: Any, maxval: Any) -> Any:
    key, shape = key_given(key, name), shape_given(shape, name)
    unit = random_bits(key, shape, dtype)
    if type(minval) is float and type(maxval) is float and (minval, maxval) == (0.0, 1.0):
        return unit
    low, high = [parameter(x, shape, dtype, name, what) for x, what in ((minval, "minval"), (maxval, "maxval"))]
    return np.maximum(low, unit * (high - low) + low)


def normal(key: Array, shape: Shape = (), dtype: DType = np.float64) -> Array:
    """Numbers of the standard normal distribution, of density exp(-x**2 / 2) / sqrt(2 pi).

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        shape: of the result.
        dtype: float16, bfloat16, float32 or float64; or complex64 or complex128, whose parts have variance 1/2 each.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.normal` makes of that key.

    Raises:
        DtypeError: another dtype.

    >>> import tracegrad as tg
    >>> tg.random.normal(tg.random.key(0), (3,)).round(4).tolist()
    [-0.2058, -0.7848, 1.8161]
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        real, imaginary = [_standard_normal(k, shape, part) for k in split(key_given(key, "normal"))]
        return (real + 1j * imaginary) / dtype.type(_SQRT_TWO)
    return _standard_normal(key, shape, float_dtype(dtype, "normal"))


def _standard_normal(key: Any, shape: Any, dtype: np.dtype[Any]) -> Any:
    return normals_of(random_bits(key_given(key, "normal"), shape_given(shape, "normal"), dtype), dtype)


def normals_of(unit: Any, dtype: np.dtype[Any]) -> Any:
    """The normal numbers that uniform ones in [0, 1) stand for."""
    low = dtype.type(-1 + 2.0 ** -(FRACTIONS[dtype.name][1] + 1))  # the next number above -1, where erf_inv is finite
    return erf_inv(np.maximum(low, unit * (dtype.type(1) - low) + low)) * dtype.type(_SQRT_TWO)


def truncated_normal(
    key: Array, lower: ArrayLike, upper: ArrayLike, shape: Shape | None = None, dtype: DType = np.float64
) -> Array:
    """Numbers of the standard normal distribution between `lower` and `upper`, without these.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        lower, upper: numbers, or arrays that broadcast to `shape`. The result has derivatives with respect to them.
        shape: of the result; None for what they broadcast to.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.truncated_normal` makes of that key.

    Raises:
        DtypeError: another dtype.
        ShapeError: bounds of another shape.

    >>> import tracegrad as tg
    >>> bool(np.all(np.abs(tg.random.truncated_normal(tg.random.key(0), -2.0, 2.0, (1000,))) < 2.0))
    True
    """
    dtype = float_dtype(dtype, "truncated_normal")
    if shape is None:
        shape = np.broadcast_shapes(shape_of(as_array(lower)), shape_of(as_array(upper)))
    else:
        shape = shape_given(shape, "truncated_normal")
    lower, upper = [
        parameter(x, shape, dtype, "truncated_normal", what) for x, what in ((lower, "lower"), (upper, "upper"))
    ]
    root = dtype.type(_SQRT_TWO)
    u = _between("truncated_normal", key, shape, dtype, erf(lower / root), erf(upper / root))
    # Rounding takes none of them out of the interval.
    first = np.nextafter(stop_gradient(lower), dtype.type(np.inf))
    last = np.nextafter(stop_gradient(upper), dtype.type(-np.inf))
    return np.minimum(np.maximum(erf_inv(u) * root, first), last)


def bernoulli(key: Array, p: ArrayLike = 0.5, shape: Shape | None = None, mode: str = "low") -> Array:
    """True with probability `p`.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        p: floats. Numbers are drawn in their dtype: float32 is the faster one for a mask.
        shape: of the result; None for that of `p`, which else broadcasts to it.
        mode: "high" draws twice as many bits, for probabilities that the dtype's steps (2**-23 in float32) are too large for.

    Returns:
        Booleans of this shape: what `jax.random.bernoulli` makes of that key.

    Raises:
        DtypeError: `p` is not of floats.
        ShapeError: `p` is of another shape.

    >>> import tracegrad as tg
    >>> tg.random.bernoulli(tg.random.key(0), np.float32(0.9), (3,)).tolist()
    [False, False, True]
    """
    p = as_array(p)
    dtype = float_dtype(type_of(p).dtype, "bernoulli", "the probability p must be of")
    if mode not in ("low", "high"):
        raise ValueError(f'random.bernoulli{at(user_source())}: mode is "low" or "high", got {mode!r}')
    shape = shape_of(p) if shape is None else shape_given(shape, "bernoulli")
    p = parameter(p, shape, dtype, "bernoulli", "p")
    if mode == "low":
        return _between("bernoulli", key, shape, dtype, 0.0, 1.0) < p
    first, second = _between("bernoulli", key, (2, *shape), dtype, 0.0, 1.0)
    return second * dtype.type(2.0 ** -FRACTIONS[dtype.name][1]) < p - first


def rademacher(key: Array, shape: Shape = (), dtype: DType = np.int64) -> Array:
    """-1 or 1, with equal probability, in any dtype: what `jax.random.rademacher` makes of that key.

    >>> import tracegrad as tg
    >>> tg.random.rademacher(tg.random.key(0), (3,)).tolist()
    [1, 1, -1]
    """
    drawn = _between("rademacher", key, shape, np.dtype(np.float64), 0.0, 1.0)
    return astype(2 * astype(drawn < 0.5, np.int64) - 1, int_dtype(dtype))


def exponential(key: Array, shape: Shape = (), dtype: DType = np.float64) -> Array:
    """Numbers of density exp(-x) for x >= 0: to rounding what `jax.random.exponential` makes of that key.

    >>> import tracegrad as tg
    >>> bool(np.all(tg.random.exponential(tg.random.key(0), (100,)) >= 0.0))
    True
    """
    return -np.log1p(-_between("exponential", key, shape, float_dtype(dtype, "exponential"), 0.0, 1.0))


def gumbel(key: Array, shape: Shape = (), dtype: DType = np.float64, mode: str | None = None) -> Array:
    """Numbers of density exp(-x - exp(-x)), of which the largest of several, after logits are added to them, is at each place
    with the probability that softmax gives it.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        shape: of the result.
        dtype: float16, bfloat16, float32 or float64.
        mode: "high" draws twice as many bits, for larger numbers than 16 in float32; None is "low".

    Returns:
        An array of this shape and dtype: to rounding what `jax.random.gumbel` makes of that key.

    Source: Gumbel, "Statistical theory of extreme values and some practical applications", 1954.

    >>> import tracegrad as tg
    >>> tg.random.gumbel(tg.random.key(0), (2,)).shape
    (2,)
    """
    dtype = float_dtype(dtype, "gumbel")
    if mode not in (None, "low", "high"):
        raise ValueError(f'random.gumbel{at(user_source())}: mode is "low" or "high", got {mode!r}')
    tiny = smallest(dtype)
    if mode != "high":
        return -np.log(-np.log(_between("gumbel", key, shape, dtype, tiny, 1.0)))
    high, low = _between("gumbel", key, (2, *shape_given(shape, "gumbel")), dtype, 0.0, 1.0)
    finer = high + low * dtype.type(2.0 ** -FRACTIONS[dtype.name][1]) + dtype.type(tiny)
    return -np.log(-np.log1p(-np.where(high >= 0.5, high, finer)))


def laplace(key: Array, shape: Shape = (), dtype: DType = np.float64) -> Array:
    """Numbers of density exp(-|x|) / 2: to rounding what `jax.random.laplace` makes of that key.

    >>> import tracegrad as tg
    >>> tg.random.laplace(tg.random.key(0), (2,)).shape
    (2,)
    """
    dtype = float_dtype(dtype, "laplace")
    above = -1 + 2.0 ** -(FRACTIONS[dtype.name][1] + 1)
    u = _between("laplace", key, shape, dtype, above, 1.0)
    return np.sign(u) * np.log1p(-np.abs(u))


def logistic(key: Array, shape: Shape = (), dtype: DType = np.float64) -> Array:
    """Numbers of density exp(-x) / (1 + exp(-x))**2: to rounding what `jax.random.logistic` makes of that key.

    >>> import tracegrad as tg
    >>> tg.random.logistic(tg.random.key(0), (2,)).shape
    (2,)
    """
    dtype = float_dtype(dtype, "logistic")
    u = _between("logistic", key, shape, dtype, smallest(dtype), 1.0)
    return np.log(u) - np.log1p(-u)


def smallest(dtype: np.dtype[Any]) -> float:
    """The smallest normal number, which stands for 0 where there is a logarithm to be."""
    return 2.0 ** _SMALLEST[dtype.name]


def int_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of integers that were asked for, NumPy's default for None."""
    return np.dtype(np.int64 if dtype is None else dtype)


def float_dtype(dtype: Any, name: str, what: str = "numbers come as") -> np.dtype[Any]:
    dtype = np.dtype(dtype)
    if number_kind(dtype) != "f" or dtype.name not in FRACTIONS:
        raise DtypeError(
            f"random.{name}{at(user_source())}: {what} float16, bfloat16, float32 or float64, got {dtype}; write np.float32"
        )
    return dtype


def parameters(name: str, shape: Any, dtype: np.dtype[Any], **given: ArrayLike) -> tuple[tuple[int, ...], list[Any]]:
    """The shape that is drawn, that of the parameters where none is given, and these in the dtype that is drawn in."""
    arrays = {what: as_array(x) for what, x in given.items()}
    if shape is None:
        shape = broadcast_shapes(f"random.{name}{at(user_source())}", [type_of(x) for x in arrays.values()])
    else:
        shape = shape_given(shape, name)
    return shape, [parameter(x, shape, dtype, name, what) for what, x in arrays.items()]


def parameter(x: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str, what: str) -> Any:
    """A bound or a probability, in the dtype that is drawn in."""
    x = as_array(x)
    if number_kind(type_of(x).dtype) not in "biuf":
        raise DtypeError(f"random.{name}{at(user_source())}: {what} must be real, got {type_of(x)}")
    broadcasts(x, shape, name, what)
    return astype(x, dtype)


def broadcasts(x: Any, shape: tuple[int, ...], name: str, what: str) -> None:
    """Raise unless a parameter of a function of this name broadcasts to the shape that is drawn."""
    found = shape_of(x)
    if len(found) > len(shape) or any([n not in (1, m) for n, m in zip(found[::-1], shape[::-1], strict=False)]):
        raise ShapeError(
            f"random.{name}{at(user_source())}: {what} of shape {found} does not broadcast to the shape that is drawn, {shape}"
        )
