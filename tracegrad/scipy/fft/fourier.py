"""Fourier transforms: NumPy's, by SciPy's names and arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.numpy.fft import swapped
from tracegrad.scipy.calling import of_scipy
from tracegrad.typing import Array, ArrayLike

Norm = str | None


def named(name: str, doc: str, public: Callable[..., Any]) -> Any:
    """A function under SciPy's name, which is its own for plain arrays."""
    public.__name__ = public.__qualname__ = name
    public.__doc__ = doc
    return of_scipy("scipy.fft")(public)


def _along_one(name: str, doc: str) -> Any:
    transform = getattr(np.fft, name)

    def public(
        x: ArrayLike,
        n: int | None = None,
        axis: int = -1,
        norm: Norm = None,
        overwrite_x: bool = False,
        workers: int | None = None,
        *,
        plan: Any = None,
    ) -> Array:
        found: Array = transform(x, n, axis, norm)
        return found

    return named(name, doc, public)


def _along_many(name: str, doc: str, transform: Callable[..., Any] | None = None) -> Any:
    """Along `axes`: the last two for a name that ends in 2, else as many as `s` has sizes, the last ones, or all."""
    of_many = transform or getattr(np.fft, name[:-1] + "n")
    default = (-2, -1) if name.endswith("2") else None

    def public(
        x: ArrayLike,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = default,
        norm: Norm = None,
        overwrite_x: bool = False,
        workers: int | None = None,
        *,
        plan: Any = None,
    ) -> Array:
        if s is not None and axes is None:
            axes = tuple(range(-len(s), 0))
        found: Array = of_many(x, s, axes, norm)
        return found

    return named(name, doc, public)


def _hermitian(x: Any, s: Any, axes: Any, norm: Norm) -> Any:
    return np.fft.irfftn(np.conjugate(x), s, axes, swapped("hfftn", norm))


def _of_hermitian(x: Any, s: Any, axes: Any, norm: Norm) -> Any:
    return np.conjugate(np.fft.rfftn(x, s, axes, swapped("ihfftn", norm)))


fft = _along_one(
    "fft",
    """`sum_m x[m] exp(-2πi km / n)` for k = 0 … n - 1 along the axis, which is cropped or filled up with zeros to n elements. `norm` says
    where the factor 1/n stands: "backward" in `ifft`, "forward" here, "ortho" 1/√n in both. Complex, of x's precision.

    >>> fft(np.array([1.0, 0.0, 0.0, 0.0])).real.tolist()
    [1.0, 1.0, 1.0, 1.0]
    """,
)
ifft = _along_one(
    "ifft",
    """The inverse of `fft`.

    >>> ifft(np.ones(4)).real.tolist()
    [1.0, 0.0, 0.0, 0.0]
    """,
)
rfft = _along_one(
    "rfft",
    """The first n // 2 + 1 elements of `fft` of real numbers, of which the others are the conjugates.

    >>> rfft(np.ones(4)).real.tolist()
    [4.0, 0.0, 0.0]
    """,
)
irfft = _along_one(
    "irfft",
    """The inverse of `rfft`: n real numbers, by default 2 (m - 1) for m elements.

    >>> irfft(np.array([4.0, 0.0, 0.0])).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """,
)
hfft = _along_one(
    "hfft",
    """`fft` of n numbers of which the first n // 2 + 1 are given and the others are their conjugates: real.

    >>> hfft(np.array([1.0, 1.0, 0.0])).tolist()
    [3.0, 1.0, -1.0, 1.0]
    """,
)
ihfft = _along_one(
    "ihfft",
    """The inverse of `hfft`.

    >>> ihfft(np.array([3.0, 1.0, -1.0, 1.0])).real.tolist()
    [1.0, 1.0, 0.0]
    """,
)
fftn = _along_many(
    "fftn",
    """`fft` along each of the axes, all of them by default; `s` has the number of points for each.

    >>> fftn(np.eye(2)).real.tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """,
)
ifftn = _along_many(
    "ifftn",
    """The inverse of `fftn`.

    >>> ifftn(np.ones((2, 4))).real.tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """,
)
rfftn = _along_many(
    "rfftn",
    """`rfft` along the last of the axes, then `fft` along the others.

    >>> rfftn(np.ones((4, 6))).shape
    (4, 4)
    """,
)
irfftn = _along_many(
    "irfftn",
    """The inverse of `rfftn`. Say `s` where the last axis had an odd number of points.

    >>> irfftn(rfftn(np.eye(3)), (3, 3)).round(12).tolist() == np.eye(3).tolist()
    True
    """,
)
hfftn = _along_many(
    "hfftn",
    """`fftn` of numbers that are the conjugates of those across the origin, of which the first half along the last axis is given: real.

    >>> hfftn(np.ones((2, 2))).tolist()
    [[4.0, 0.0], [0.0, 0.0]]
    """,
    _hermitian,
)
ihfftn = _along_many(
    "ihfftn",
    """The inverse of `hfftn`.

    >>> ihfftn(np.ones((2, 2))).real.tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """,
    _of_hermitian,
)
fft2 = _along_many(
    "fft2",
    """`fftn` along the last two axes, unless others are named.

    >>> fft2(np.ones((3, 2, 2))).shape
    (3, 2, 2)
    """,
)
ifft2 = _along_many(
    "ifft2",
    """The inverse of `fft2`.

    >>> ifft2(np.ones((2, 2))).real.tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """,
)
rfft2 = _along_many(
    "rfft2",
    """`rfftn` along the last two axes, unless others are named.

    >>> rfft2(np.ones((2, 4))).shape
    (2, 3)
    """,
)
irfft2 = _along_many(
    "irfft2",
    """The inverse of `rfft2`.

    >>> irfft2(np.ones((2, 3))).shape
    (2, 4)
    """,
)
hfft2 = _along_many(
    "hfft2",
    """`hfftn` along the last two axes, unless others are named.

    >>> hfft2(np.ones((2, 2))).shape
    (2, 2)
    """,
    _hermitian,
)
ihfft2 = _along_many(
    "ihfft2",
    """The inverse of `hfft2`.

    >>> ihfft2(np.ones((2, 2))).shape
    (2, 2)
    """,
    _of_hermitian,
)


@of_scipy("scipy.fft")
def fftshift(x: ArrayLike, axes: int | Sequence[int] | None = None) -> Array:
    """The halves of these axes, all by default, exchanged, which brings the frequency 0 to the middle.

    >>> fftshift(np.arange(4.0)).tolist()
    [2.0, 3.0, 0.0, 1.0]
    """
    return np.fft.fftshift(x, axes)


@of_scipy("scipy.fft")
def ifftshift(x: ArrayLike, axes: int | Sequence[int] | None = None) -> Array:
    """The inverse of `fftshift`.

    >>> ifftshift(np.array([2.0, 3.0, 0.0, 1.0])).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    return np.fft.ifftshift(x, axes)


def fftfreq(n: int, d: float = 1.0) -> Array:
    """The frequencies of `fft`'s elements, in cycles by the unit of the spacing `d`: NumPy's.

    >>> fftfreq(4).tolist()
    [0.0, 0.25, -0.5, -0.25]
    """
    return np.fft.fftfreq(n, d)


def rfftfreq(n: int, d: float = 1.0) -> Array:
    """The frequencies of `rfft`'s elements, in cycles by the unit of the spacing `d`: NumPy's.

    >>> rfftfreq(4).tolist()
    [0.0, 0.25, 0.5]
    """
    return np.fft.rfftfreq(n, d)
