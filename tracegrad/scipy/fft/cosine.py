"""Cosine and sine transforms of types I to IV, by one complex transform of twice the length.

With N elements, y_k = 2 sum_n x_n cos(π u(n) v(k) / N), where u and v count elements or stand half-way between two: of types
II, III and IV, whose even extensions have 2N points, that is the real part of phases before, an fft of 2N points, and phases behind.
A sine transform is one of cosines, of elements in reverse or with alternating signs. Source: K. R. Rao, P. Yip, Discrete Cosine
Transform (1990), chapters 2 and 4; scaling as SciPy has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.types import number_kind, type_of
from tracegrad.numpy.fft import of_length
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import normalize_axis
from tracegrad.ops.fourier import SWAPPED
from tracegrad.ops.linalg.matrices import floating
from tracegrad.scipy.fft.fourier import Norm, named
from tracegrad.typing import Array, ArrayLike

INVERSE = {1: 1, 2: 3, 3: 2, 4: 4}


def _turned(x: Any, numerators: Any, n: int) -> Any:
    """Times exp(-iπ k / 4n), for each k of the numerators along the last axis, whole numbers: reduced before they are angles."""
    angles = np.asarray(numerators) % (8 * n) * (np.pi / (4 * n))
    return x * astype(np.cos(angles) - 1j * np.sin(angles), np.result_type(x.dtype, np.complex64))


def _cosines(x: Any, kind: int) -> Any:
    """Of type 1 to 4 along the last axis, without scaling."""
    n = x.shape[-1]
    if kind == 1:
        return np.real(np.fft.rfft(np.concatenate([x, np.flip(x[..., 1:-1], -1)], -1)))
    k = np.arange(n)
    if kind == 3:  # its first element counts half
        x = x * astype(np.where(k == 0, 0.5, 1), x.dtype)
    before, behind = {2: (0 * k, 2 * k), 3: (2 * k, 0 * k), 4: (2 * k, 2 * k + 1)}[kind]
    found = np.fft.fft(_turned(x, before, n), 2 * n)[..., :n]
    return 2 * np.real(_turned(found, behind, n))


def _sines(x: Any, kind: int) -> Any:
    n = x.shape[-1]
    if kind == 1:
        zero = np.zeros((*x.shape[:-1], 1), x.dtype)
        return -np.imag(np.fft.rfft(np.concatenate([zero, x, zero, -np.flip(x, -1)], -1)))[..., 1:-1]
    alternating = astype(np.where(np.arange(n) % 2, -1, 1), x.dtype)
    if kind == 2:
        return np.flip(_cosines(x * alternating, 2), -1)
    return _cosines(np.flip(x, -1), kind) * alternating


def _scaled(x: Any, sines: bool, kind: int, norm: str, orthogonalize: bool | None) -> Any:
    """Along the last axis: scaled by `norm`, and made orthogonal but for that if `orthogonalize`, which is what norm="ortho" means."""
    n = x.shape[-1]
    # The elements whose cosine, or sine, has another length than those of the others.
    longer = np.zeros(n, bool)
    if norm == "ortho" if orthogonalize is None else orthogonalize:
        if kind == 1 and not sines:
            longer[[0, -1]] = True
        elif kind in (2, 3):
            longer[-1 if sines else 0] = True
    lengths = astype(np.where(longer, np.sqrt(2), 1), x.dtype)
    found = (_sines if sines else _cosines)(x * lengths if kind in (1, 3) else x, kind)
    if kind in (1, 2):
        found = found / lengths
    period = 2 * (n if kind != 1 else n + 1 if sines else n - 1)
    return found * {"backward": 1.0, "ortho": period**-0.5, "forward": 1 / period}[norm]


def _along(name: str, x: Any, type: int, n: int | None, axis: int, norm: Norm, orthogonalize: bool | None) -> Any:
    """What is called `name`, along one axis."""
    x = floating(x)
    if type not in INVERSE:
        raise ValueError(f"{name}{at(user_source())}: type must be 1, 2, 3 or 4, got {type!r}")
    norm = "backward" if norm is None else norm
    if norm not in SWAPPED:
        raise ValueError(f"{name}{at(user_source())}: norm must be 'backward', 'ortho' or 'forward', got {norm!r}")
    if number_kind(x.dtype) == "c":
        real, imaginary = [_along(name, part, type, n, axis, norm, orthogonalize) for part in (np.real(x), np.imag(x))]
        return real + 1j * imaginary
    if not x.shape:
        raise ShapeError(f"{name}{at(user_source())} of {type_of(x)}: it needs an axis to run along")
    axis = normalize_axis(axis, len(x.shape), name)
    x = np.moveaxis(x, axis, -1)
    size, sines = x.shape[-1] if n is None else int(n), name.endswith("st")
    least = 2 if type == 1 and not sines else 1
    if size < least:
        raise ShapeError(f"{name}{at(user_source())} of type {type}: it needs {least} or more points, got {size}")
    if name.startswith("i"):
        type, norm = INVERSE[type], SWAPPED[norm]
    return np.moveaxis(_scaled(of_length(x, size, len(x.shape) - 1), sines, type, norm, orthogonalize), -1, axis)


def _along_axes(name: str, x: Any, type: int, s: Any, axes: Any, norm: Norm, orthogonalize: bool | None) -> Any:
    """Along each of the axes: as many as there are sizes, the last ones, or all, if None."""
    rank = len(floating(x).shape)
    sizes: Any = None if s is None else [int(n) for n in np.atleast_1d(s)]
    if axes is None:
        axes = range(rank) if sizes is None else range(-len(sizes), 0)
    axes = [int(axis) for axis in np.atleast_1d(axes)]
    sizes = [None] * len(axes) if sizes is None else sizes
    if len(sizes) != len(axes):
        raise ShapeError(f"{name}n{at(user_source())}: as many sizes as axes are wanted, got s={s} and axes={axes}")
    for n, axis in zip(sizes, axes, strict=True):
        x = _along(name, x, type, n, axis, norm, orthogonalize)
    return x


def _of_one_axis(name: str, doc: str) -> Any:
    def public(
        x: ArrayLike,
        type: int = 2,
        n: int | None = None,
        axis: int = -1,
        norm: Norm = None,
        overwrite_x: bool = False,
        workers: int | None = None,
        orthogonalize: bool | None = None,
    ) -> Array:
        found: Array = _along(name, x, type, n, axis, norm, orthogonalize)
        return found

    return named(name, doc, public)


def _of_many_axes(name: str, doc: str) -> Any:
    def public(
        x: ArrayLike,
        type: int = 2,
        s: int | Sequence[int] | None = None,
        axes: int | Sequence[int] | None = None,
        norm: Norm = None,
        overwrite_x: bool = False,
        workers: int | None = None,
        *,
        orthogonalize: bool | None = None,
    ) -> Array:
        found: Array = _along_axes(name[:-1], x, type, s, axes, norm, orthogonalize)
        return found

    return named(name, doc, public)


dct = _of_one_axis(
    "dct",
    """The cosine transform of type 1 to 4 along an axis, which is cropped or filled up with zeros to `n` elements. Of type 2, the usual
    one, `y_k = 2 sum_m x_m cos(πk (2m + 1) / 2n)`.

    `norm` says where the factor 1/2n (of type 1, 1/(2n - 2)) stands: "backward" in `idct`, "forward" here, "ortho" its root in
    both. With `orthogonalize`, by default for "ortho", the matrix of the transform is orthogonal but for that factor.

    Raises:
        ValueError: there is no such type or norm.
        ShapeError: there are no points, or of type 1 less than two.

    >>> dct(np.array([1.0, 1.0])).tolist()
    [4.0, 0.0]
    """,
)
idct = _of_one_axis(
    "idct",
    """The inverse of `dct` of this type.

    >>> idct(np.array([4.0, 0.0])).tolist()
    [1.0, 1.0]
    """,
)
dst = _of_one_axis(
    "dst",
    """The sine transform of type 1 to 4 along an axis, with `dct`'s arguments. Of type 2
    `y_k = 2 sum_m x_m sin(π(k + 1)(2m + 1) / 2n)`; of type 1 the factor is 1/(2n + 2).

    >>> dst(np.array([1.0, -1.0])).round(9).tolist()
    [0.0, 4.0]
    """,
)
idst = _of_one_axis(
    "idst",
    """The inverse of `dst` of this type.

    >>> idst(np.array([0.0, 4.0])).round(9).tolist()
    [1.0, -1.0]
    """,
)
dctn = _of_many_axes(
    "dctn",
    """`dct` along each of the axes; `s` has the number of points for each.

    >>> dctn(np.ones((2, 2))).round(9).tolist()
    [[16.0, 0.0], [0.0, 0.0]]
    """,
)
idctn = _of_many_axes(
    "idctn",
    """The inverse of `dctn` of this type.

    >>> idctn(np.array([[16.0, 0.0], [0.0, 0.0]])).round(9).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """,
)
dstn = _of_many_axes(
    "dstn",
    """`dst` along each of the axes; `s` has the number of points for each.

    >>> dstn(np.array([[1.0, -1.0], [-1.0, 1.0]])).round(9).tolist()
    [[0.0, 0.0], [0.0, 16.0]]
    """,
)
idstn = _of_many_axes(
    "idstn",
    """The inverse of `dstn` of this type.

    >>> idstn(np.array([[0.0, 0.0], [0.0, 16.0]])).round(9).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """,
)
