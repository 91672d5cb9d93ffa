"""Initialisers: functions of (key, shape, dtype) that return arrays. Names, arguments and numbers are jax.nn.initializers': the
same key gives the same numbers. The dtype is float32 where none is given, as everywhere in tg.nn.

`zeros` and `ones` are initialisers; all others are functions that make one: `glorot_uniform()`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import random
from tracegrad.core.arguments import Count, NotNegative, Positive
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.types import number_kind
from tracegrad.nn.making import draws
from tracegrad.typing import Array, ArrayLike, DType

Initializer = Callable[..., Array]
Axes = int | Sequence[int]

# The standard deviations of standard normal numbers, real ones cut at -2 and 2, and complex ones cut at an absolute value of 2.
_TRUNCATED_STDDEV = 0.87962566103423978
_TRUNCATED_COMPLEX_STDDEV = 0.95311164380491208


def zeros(key: Any, shape: Sequence[int], dtype: DType = np.float32) -> Array:
    """Zeros. The key is not used.

    >>> zeros(None, (2,)).tolist()
    [0.0, 0.0]
    """
    return np.zeros(shape, dtype)


def ones(key: Any, shape: Sequence[int], dtype: DType = np.float32) -> Array:
    """Ones. The key is not used.

    >>> ones(None, (2,)).tolist()
    [1.0, 1.0]
    """
    return np.ones(shape, dtype)


@draws
def constant(value: ArrayLike, dtype: DType = np.float32) -> Initializer:
    """An initialiser of one value everywhere, or of an array that broadcasts to the shape.

    >>> constant(3.0)(None, (2,)).tolist()
    [3.0, 3.0]
    """

    def init(key: Any, shape: Sequence[int], dtype: DType = dtype) -> Array:
        return np.full(shape, value, dtype)

    return init


@draws
def uniform(scale: NotNegative = 1e-2, dtype: DType = np.float32) -> Initializer:
    """An initialiser of numbers between 0 and `scale`.

    >>> import tracegrad as tg
    >>> bool(np.all(uniform(0.5)(tg.random.key(0), (100,)) < 0.5))
    True
    """

    def init(key: Any, shape: Sequence[int], dtype: DType = dtype) -> Array:
        return random.uniform(key, shape, dtype) * np.dtype(dtype).type(scale)

    return init


@draws
def normal(stddev: NotNegative = 1e-2, dtype: DType = np.float32) -> Initializer:
    """An initialiser of normal numbers of mean 0 and this standard deviation.

    >>> import tracegrad as tg
    >>> normal()(tg.random.key(0), (2, 3)).dtype
    dtype('float32')
    """

    def init(key: Any, shape: Sequence[int], dtype: DType = dtype) -> Array:
        return random.normal(key, shape, dtype) * np.dtype(dtype).type(stddev)

    return init


@draws
def truncated_normal(
    stddev: NotNegative = 1e-2, dtype: DType = np.float32, lower: float = -2.0, upper: float = 2.0
) -> Initializer:
    """An initialiser of normal numbers between `lower` and `upper`, times `stddev`: their standard deviation is less than that.

    >>> import tracegrad as tg
    >>> bool(np.all(np.abs(truncated_normal(1.0)(tg.random.key(0), (100,))) < 2.0))
    True
    """
    if not lower < upper:
        raise ValueError(
            f"truncated_normal{at(user_source())}: lower is below upper, got lower={lower} and upper={upper}"
        )

    def init(key: Any, shape: Sequence[int], dtype: DType = dtype) -> Array:
        return random.truncated_normal(key, lower, upper, shape, dtype) * np.dtype(dtype).type(stddev)

    return init


@draws
def variance_scaling(
    scale: Positive,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DType = np.float32,
) -> Initializer:
    """An initialiser of numbers of variance scale / n, so that what a layer makes of its inputs has their variance.

    Args:
        scale: of the variance; positive.
        mode: what n is: "fan_in" the number of inputs to one output, "fan_out" that of outputs from one input, "fan_avg" their
            mean, "fan_geo_avg" their geometric mean.
        distribution: "truncated_normal" between two standard deviations, "normal" or "uniform" around 0.
        in_axis, out_axis: the axes of inputs and of outputs. All others are a window, which counts for both fans.
        batch_axis: axes that count for neither.
        dtype: floats or complex numbers.

    Raises:
        ValueError: another mode or distribution, or a scale of 0 or below.
        ShapeError: a shape without the axis of inputs.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, with the means of fans as in Glorot and Bengio, AISTATS 2010.

    >>> import tracegrad as tg
    >>> kernel = variance_scaling(2.0, "fan_in", "normal")(tg.random.key(0), (200, 300))
    >>> round(float(kernel.var() * 200), 1)
    2.0
    """
    if mode not in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
        raise ValueError(
            f'variance_scaling{at(user_source())}: mode is "fan_in", "fan_out", "fan_avg" or "fan_geo_avg", got {mode!r}'
        )
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise ValueError(
            f'variance_scaling{at(user_source())}: distribution is "truncated_normal", "normal" or "uniform", got '
            f"{distribution!r}"
        )

    def init(key: Any, shape: Sequence[int], dtype: DType = dtype) -> Array:
        dtype = np.dtype(dtype)
        fan_in, fan_out = _fans(tuple(shape), in_axis, out_axis, batch_axis)
        n = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[mode]
        is_complex = number_kind(dtype) == "c"
        variance = np.asarray(scale / max(n, 1), dtype)
        stddev = np.sqrt(variance)[()]
        if distribution == "normal":
            return random.normal(key, shape, dtype) * stddev
        if distribution == "uniform":
            if is_complex:
                return _complex_disc(key, shape, dtype, None) * stddev
            return random.uniform(key, shape, dtype, -1.0) * np.sqrt(dtype.type(3) * variance)[()]
        if is_complex:
            return _complex_disc(key, shape, dtype, 2.0) * (stddev / dtype.type(_TRUNCATED_COMPLEX_STDDEV))
        return random.truncated_normal(key, -2.0, 2.0, shape, dtype) * (stddev / dtype.type(_TRUNCATED_STDDEV))

    return init


def _fans(shape: tuple[int, ...], in_axis: Axes, out_axis: Axes, batch_axis: Axes) -> tuple[float, float]:
    """How many inputs one output has, and how many outputs one input."""
    given: list[Sequence[int]] = [(a,) if isinstance(a, int) else a for a in (in_axis, out_axis, batch_axis)]
    if any([not -len(shape) <= a < len(shape) for axes in given for a in axes]):
        raise ShapeError(
            f"variance_scaling{at(user_source())}: a shape with in_axis={in_axis} and out_axis={out_axis} is due, got {shape}; "
            "write in_axis= and out_axis=, or take another initializer for vectors, such as zeros"
        )
    inputs, outputs, batches = [math.prod([shape[a] for a in axes]) for axes in given]
    window = math.prod(shape) / max(inputs * outputs * batches, 1)
    return inputs * window, outputs * window


def _complex_disc(key: Any, shape: Sequence[int], dtype: np.dtype[Any], cut: float | None) -> Array:
    """Complex numbers in all directions alike: evenly over a disc of variance 1, or normal ones below an absolute value."""
    of_radius, of_angle = random.split(key)
    part = np.dtype(f"f{dtype.itemsize // 2}")
    radius, angle = random.uniform(of_radius, shape, part), random.uniform(of_angle, shape, part)
    radius = np.sqrt(radius * 2 if cut is None else -np.log1p(radius * -(1 - math.exp(-(cut**2)))))
    return (radius * np.exp(1j * (angle * (2 * np.pi)))).astype(dtype)


@draws
def glorot_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DType = np.float32
) -> Initializer:
    """`variance_scaling(1.0, "fan_avg", "uniform")`. Source: Glorot and Bengio, AISTATS 2010.

    >>> x = glorot_uniform()(random.key(0), (300, 100))
    >>> x.shape, round(float(x.std()), 3)
    ((300, 100), 0.071)
    """
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


@draws
def glorot_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DType = np.float32
) -> Initializer:
    """`variance_scaling(1.0, "fan_avg", "truncated_normal")`. Source: Glorot and Bengio, AISTATS 2010.

    >>> x = glorot_normal()(random.key(0), (300, 100))
    >>> x.shape, round(float(x.std()), 3)
    ((300, 100), 0.071)
    """
    return variance_scaling(1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


@draws
def lecun_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DType = np.float32
) -> Initializer:
    """`variance_scaling(1.0, "fan_in", "uniform")`. Source: LeCun et al., "Efficient BackProp", 1998.

    >>> x = lecun_uniform()(random.key(0), (300, 100))
    >>> x.shape, round(float(x.std()), 3)
    ((300, 100), 0.058)
    """
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


@draws
def lecun_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DType = np.float32
) -> Initializer:
    """`variance_scaling(1.0, "fan_in", "truncated_normal")`, which kernels of tg.nn's layers have unless told otherwise. Source:
    LeCun et al., "Efficient BackProp", 1998.

    >>> x = lecun_normal()(random.key(0), (300, 100))
    >>> x.shape, round(float(x.std()), 3)
    ((300, 100), 0.058)
    """
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


@draws
def he_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DType = np.float32
) -> Initializer:
    """`variance_scaling(2.0, "fan_in", "uniform")`, for relu. Source: He et al., ICCV 2015.

    >>> x = he_uniform()(random.key(0), (300, 100))
    >>> x.shape, round(float(x.std()), 3)
    ((300, 100), 0.082)
    """
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


@draws
def he_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DType = np.float32) -> Initializer:
    """`variance_scaling(2.0, "fan_in", "truncated_normal")`, for relu. Source: He et al., ICCV 2015.

    >>> x = he_normal()(random.key(0), (300, 100))
    >>> x.shape, round(float(x.std()), 3)
    ((300, 100), 0.082)
    """
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal = glorot_uniform, glorot_normal, he_uniform, he_normal


@draws
def torch_uniform(
    fan_in: Count | None = None, in_axis: Axes = -2, out_axis: Axes = -1, dtype: DType = np.float32
) -> Initializer:
    """An initialiser of numbers between -1/sqrt(fan_in) and 1/sqrt(fan_in), as torch's linear layers and convolutions have
    them for kernels and biases.

    Args:
        fan_in: how many inputs one output has; None for what the shape says, which a bias's does not.
        in_axis, out_axis: the axes of inputs and of outputs.
        dtype: floats.

    >>> import tracegrad as tg
    >>> bool(np.all(np.abs(torch_uniform()(tg.random.key(0), (4, 50))) <= 0.5))
    True
    """

    def init(key: Any, shape: Sequence[int], dtype: DType = dtype) -> Array:
        inputs = _fans(tuple(shape), in_axis, out_axis, ())[0] if fan_in is None else fan_in
        return random.uniform(key, shape, dtype, -1.0) * np.dtype(dtype).type(1 / math.sqrt(max(inputs, 1)))

    return init


@draws
def orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: DType = np.float32) -> Initializer:
    """An initialiser of matrices of orthonormal columns (or rows, where these are fewer), times `scale`, drawn evenly among all
    of them. What is not the axis of columns is rows.

    Raises:
        ShapeError: fewer than two axes.

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", ICLR 2014; drawn as in Mezzadri, "How to generate random matrices from the classical compact groups", 2007.

    >>> import tracegrad as tg
    >>> q = orthogonal()(tg.random.key(0), (5, 3))
    >>> bool(np.allclose(q.T @ q, np.eye(3), atol=1e-6))
    True
    """

    def init(key: Any, shape: Sequence[int], dtype: DType = dtype) -> Array:
        dtype, shape = np.dtype(dtype), tuple(shape)
        if len(shape) < 2:
            raise ShapeError(f"orthogonal{at(user_source())}: a shape of two axes or more is due, got {shape}")
        if 0 in shape:
            return np.zeros(shape, dtype)
        columns = shape[column_axis]
        rows = math.prod(shape) // columns
        drawn = random.normal(key, (max(rows, columns), min(rows, columns)), dtype)
        wide = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
        q, r = np.linalg.qr(drawn.astype(wide))
        q = q * np.sign(np.diagonal(r))
        whole = np.delete(np.array(shape), column_axis).tolist()
        q = np.moveaxis(np.reshape(q.T if rows < columns else q, (*whole, columns)), -1, column_axis)
        return q.astype(dtype) * dtype.type(scale)

    return init


@draws
def delta_orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: DType = np.float32) -> Initializer:
    """An initialiser of convolutions' kernels (*window, in, out) that are zero but for an orthogonal matrix at the middle.

    Raises:
        ShapeError: another number of axes than 3, 4 or 5, or fewer outputs than inputs.

    Source: Xiao et al., "Dynamical isometry and a mean field theory of CNNs", ICML 2018.

    >>> import tracegrad as tg
    >>> delta_orthogonal()(tg.random.key(0), (3, 3, 2, 4)).shape
    (3, 3, 2, 4)
    """

    def init(key: Any, shape: Sequence[int], dtype: DType = dtype) -> Array:
        shape = tuple(shape)
        if len(shape) not in (3, 4, 5) or shape[-1] < shape[-2]:
            raise ShapeError(
                f"delta_orthogonal{at(user_source())}: a kernel (*window, in, out) with a window of one to three axes, and no "
                f"fewer outputs than inputs, is due, got {shape}"
            )
        matrix = orthogonal(scale, column_axis)(key, shape[-2:], dtype)
        around = [((n - 1) // 2, n - 1 - (n - 1) // 2) for n in shape[:-2]]
        return np.pad(np.reshape(matrix, (*(1,) * len(around), *shape[-2:])), (*around, (0, 0), (0, 0)))

    return init
