"""`numpy.fft`'s names, for arrays and for what is being traced alike: NumPy's arguments, dtypes and bits. Each is made of the ops
along one axis of `ops/fourier.py`, as NumPy's are; real and complex arrays of either precision keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.fft import fftfreq as fftfreq
from numpy.fft import rfftfreq as rfftfreq

from tracegrad.core.boxes import accept_jax
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.op import Op
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.cumulative import along, along_shape
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.ops.fourier import SWAPPED, fft_op, ifft_op, irfft_op, rfft_op
from tracegrad.typing import Array, ArrayLike, Axis

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2",
    "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

Norm = str | None
Ints = Sequence[int]
Out = Array | None


# ---------------------------------------------------------------------------------------------------------------------
# Along one axis.


def of_length(x: Any, n: int, axis: int) -> Any:
    """Cropped, or with zeros behind."""
    m = x.shape[axis]
    if m > n:
        return x[along(axis, len(x.shape), slice(n))]
    if m < n:
        return np.concatenate([x, np.zeros(along_shape(x.shape, axis, n - m), x.dtype)], axis)
    return x


def _checked(name: str, norm: Norm) -> str:
    if norm is not None and norm not in SWAPPED:
        raise ValueError(f"{name}: norm must be 'backward', 'ortho' or 'forward', got {norm!r}")
    return norm or "backward"


def _transform(op: Op, a: Any, n: int | None, axis: int, norm: Norm) -> Any:
    x = as_array(a)
    if not shape_of(x):
        raise ShapeError(f"{op.name} of {type_of(x)}: it needs an axis to run along; write np.reshape(x, 1)")
    axis = normalize_axis(axis, len(x.shape), op.name)
    norm = _checked(op.name, norm)
    if op is rfft_op and number_kind(x.dtype) == "c":
        raise DtypeError(f"{op.name} of {type_of(x)}: it takes real numbers; for complex ones there is np.fft.fft")
    params: dict[str, Any] = {"axis": axis, "norm": norm}
    if op is irfft_op:
        n = params["n"] = 2 * (x.shape[axis] - 1) if n is None else int(n)
    else:
        n = x.shape[axis] if n is None else int(n)
    if n < 1:
        raise ShapeError(f"{op.name} of {type_of(x)} along axis {axis}: it needs at least one point, got n={n}")
    return bind(op, (of_length(x, n // 2 + 1 if op is irfft_op else n, axis),), params)


@implements(np.fft.fft)
def fft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None, out: Out = None) -> Array:
    """`sum_m a[m] exp(-2πi km / n)` for k = 0 … n - 1 along the axis, which is cropped or filled up with zeros to n elements.

    `norm` says where the factor 1/n stands: "backward" (the default) in `ifft`, "forward" here, "ortho" 1/√n in both. The
    result is complex, of the precision of `a`; integers give complex128.

    >>> fft([1.0, 0.0, 0.0, 0.0]).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]

    Raises:
        ShapeError: of a scalar, or if n < 1.
    """
    return _transform(fft_op, a, n, axis, norm)


@implements(np.fft.ifft)
def ifft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None, out: Out = None) -> Array:
    """The inverse of `fft`: `sum_k a[k] exp(2πi km / n) / n`.

    >>> ifft(fft([1.0, 2.0])).real.tolist()
    [1.0, 2.0]
    """
    return _transform(ifft_op, a, n, axis, norm)


@implements(np.fft.rfft)
def rfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None, out: Out = None) -> Array:
    """The first n // 2 + 1 elements of `fft` of a real array; the others are their conjugates.

    >>> rfft([1.0, 2.0, 3.0]).shape
    (2,)

    Raises:
        DtypeError: of complex numbers, for which there is `fft`.
    """
    return _transform(rfft_op, a, n, axis, norm)


@implements(np.fft.irfft)
def irfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None, out: Out = None) -> Array:
    """The inverse of `rfft`: n real numbers, 2 (m - 1) where n is not given and `a` has m elements along the axis. Say `n` for an odd
    number. Imaginary parts of the first element and, for even n, of the one that stands at n / 2 count for nothing.

    >>> irfft(rfft([1.0, 2.0, 3.0]), 3).round(12).tolist()
    [1.0, 2.0, 3.0]
    """
    return _transform(irfft_op, a, n, axis, norm)


def _conjugate(a: Any) -> Any:
    x = as_array(a)
    return np.conjugate(x) if number_kind(x.dtype) == "c" else x


def swapped(name: str, norm: Norm) -> Any:
    return SWAPPED[_checked(name, norm)]


@implements(np.fft.hfft)
def hfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None, out: Out = None) -> Array:
    """`fft` of n numbers of which the first n // 2 + 1 are given and the others are their conjugates (Hermitian symmetry): real.

    >>> hfft([1.0, 1.0, 0.0]).tolist()
    [3.0, 1.0, -1.0, 1.0]
    """
    return _transform(irfft_op, _conjugate(a), n, axis, swapped("hfft", norm))


@implements(np.fft.ihfft)
def ihfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None, out: Out = None) -> Array:
    """The inverse of `hfft`: the first n // 2 + 1 elements of `ifft` of a real array.

    >>> ihfft([3.0, 1.0, -1.0, 1.0]).real.tolist()
    [1.0, 1.0, 0.0]
    """
    return np.conjugate(_transform(rfft_op, a, n, axis, swapped("ihfft", norm)))


# ---------------------------------------------------------------------------------------------------------------------
# Along several axes, one after the other.


def _sizes(name: str, a: Any, s: Any, axes: Any, to_real: bool = False) -> tuple[list[int], list[int]]:
    """How many points there are along which axes: the last ones, as many as `s` has, where axes are not given."""
    shape = shape_of(a)
    if axes is None:
        axes = range(-len(shape if s is None else s), 0)
    axes = [normalize_axis(axis, len(shape), name) for axis in axes]
    if s is not None and len(s) != len(axes):
        raise ShapeError(f"{name} of {type_of(a)}: s={tuple(s)} has {len(s)} sizes for {len(axes)} axes {tuple(axes)}")
    sizes = [-1] * len(axes) if s is None else list(s)
    sizes = [shape[axis] if n is None or n == -1 else int(n) for n, axis in zip(sizes, axes, strict=True)]
    if to_real and s is None and axes:
        sizes[-1] = 2 * (shape[axes[-1]] - 1)
    return sizes, axes


def _along_each(op: Op, a: Any, sizes: Sequence[int], axes: Sequence[int], norm: Norm) -> Any:
    for n, axis in zip(sizes, axes, strict=True):
        a = _transform(op, a, n, axis, norm)
    return a


def _many(op: Op, name: str, a: Any, s: Any, axes: Any, norm: Norm) -> Any:
    a = as_array(a)
    sizes, axes = _sizes(name, a, s, axes)
    return _along_each(op, a, sizes[::-1], axes[::-1], norm)


@implements(np.fft.fftn)
def fftn(a: ArrayLike, s: Ints | None = None, axes: Ints | None = None, norm: Norm = None, out: Out = None) -> Array:
    """`fft` along each of the axes, all of them by default; `s` has the number of points for each, -1 for what there is.

    >>> fftn(np.eye(2)).real.tolist()
    [[2.0, 0.0], [0.0, 2.0]]

    Raises:
        ShapeError: unless there are as many sizes as axes.
    """
    return _many(fft_op, "fftn", a, s, axes, norm)


@implements(np.fft.ifftn)
def ifftn(a: ArrayLike, s: Ints | None = None, axes: Ints | None = None, norm: Norm = None, out: Out = None) -> Array:
    """The inverse of `fftn`.

    >>> ifftn(np.ones((2, 4))).real.tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    return _many(ifft_op, "ifftn", a, s, axes, norm)


@implements(np.fft.fft2)
def fft2(a: ArrayLike, s: Ints | None = None, axes: Ints = (-2, -1), norm: Norm = None, out: Out = None) -> Array:
    """`fftn` along the last two axes, unless others are named.

    >>> fft2(np.ones((3, 2, 2))).shape
    (3, 2, 2)
    """
    return _many(fft_op, "fft2", a, s, axes, norm)


@implements(np.fft.ifft2)
def ifft2(a: ArrayLike, s: Ints | None = None, axes: Ints = (-2, -1), norm: Norm = None, out: Out = None) -> Array:
    """The inverse of `fft2`.

    >>> ifft2(np.ones((2, 4))).real.tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    return _many(ifft_op, "ifft2", a, s, axes, norm)


def _many_of_real(name: str, a: Any, s: Any, axes: Any, norm: Norm) -> Any:
    a = as_array(a)
    sizes, axes = _sizes(name, a, s, axes)
    if not axes:
        raise ShapeError(f"{name} of {type_of(a)}: it needs at least one axis")
    a = _transform(rfft_op, a, sizes[-1], axes[-1], norm)
    return _along_each(fft_op, a, sizes[-2::-1], axes[-2::-1], norm)


def _many_to_real(name: str, a: Any, s: Any, axes: Any, norm: Norm) -> Any:
    a = as_array(a)
    sizes, axes = _sizes(name, a, s, axes, to_real=True)
    if not axes:
        raise ShapeError(f"{name} of {type_of(a)}: it needs at least one axis")
    a = _along_each(ifft_op, a, sizes[:-1], axes[:-1], norm)
    return _transform(irfft_op, a, sizes[-1], axes[-1], norm)


@implements(np.fft.rfftn)
def rfftn(a: ArrayLike, s: Ints | None = None, axes: Ints | None = None, norm: Norm = None, out: Out = None) -> Array:
    """`rfft` along the last of the axes, then `fft` along the others.

    >>> rfftn(np.ones((4, 6))).shape
    (4, 4)
    """
    return _many_of_real("rfftn", a, s, axes, norm)


@implements(np.fft.irfftn)
def irfftn(a: ArrayLike, s: Ints | None = None, axes: Ints | None = None, norm: Norm = None, out: Out = None) -> Array:
    """The inverse of `rfftn`. Say `s` where the last axis had an odd number of points.

    >>> irfftn(rfftn(np.eye(3)), s=(3, 3), axes=(0, 1)).round(12).tolist() == np.eye(3).tolist()
    True
    """
    return _many_to_real("irfftn", a, s, axes, norm)


@implements(np.fft.rfft2)
def rfft2(a: ArrayLike, s: Ints | None = None, axes: Ints = (-2, -1), norm: Norm = None, out: Out = None) -> Array:
    """`rfftn` along the last two axes, unless others are named.

    >>> rfft2(np.ones((2, 4))).shape
    (2, 3)
    """
    return _many_of_real("rfft2", a, s, axes, norm)


@implements(np.fft.irfft2)
def irfft2(a: ArrayLike, s: Ints | None = None, axes: Ints = (-2, -1), norm: Norm = None, out: Out = None) -> Array:
    """The inverse of `rfft2`.

    >>> irfft2(np.ones((2, 3))).shape
    (2, 4)
    """
    return _many_to_real("irfft2", a, s, axes, norm)


# ---------------------------------------------------------------------------------------------------------------------
# Where the frequency 0 stands.


def _moved(name: str, x: Any, axes: Axis, sign: int) -> Any:
    x = as_array(x)
    ndim = len(shape_of(x))
    axes = range(ndim) if axes is None else [normalize_axis(a, ndim, name) for a in np.atleast_1d(axes)]
    return np.roll(x, [sign * (x.shape[axis] // 2) for axis in axes], axes) if axes else x


@implements(np.fft.fftshift)
def fftshift(x: ArrayLike, axes: Axis = None) -> Array:
    """The frequency 0 from the front to the middle of each axis.

    >>> fftshift(fftfreq(5, 0.2)).tolist()
    [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    return _moved("fftshift", x, axes, 1)


@implements(np.fft.ifftshift)
def ifftshift(x: ArrayLike, axes: Axis = None) -> Array:
    """The inverse of `fftshift`, which differs from it where the number of points is odd.

    >>> ifftshift(np.array([-1, 0, 1])).tolist()
    [0, 1, -1]
    """
    return _moved("ifftshift", x, axes, -1)


accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
