"""Matrices of a form: blocks, and those that are given by one row or column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.index import take
from tracegrad.ops.linalg.matrices import floating, row
from tracegrad.scipy.calling import of_scipy
from tracegrad.typing import Array, ArrayLike

linalg = of_scipy("scipy.linalg")


@linalg
def block_diag(*arrs: ArrayLike) -> Array:
    """A matrix with these, matrices, vectors or numbers, one after another on its diagonal.

    >>> block_diag(np.array([[1.0, 2.0]]), 3.0).tolist()
    [[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]
    """
    blocks = [np.atleast_2d(as_array(x)) for x in arrs or ([],)]
    for x in blocks:
        if len(x.shape) > 2:
            raise ValueError(f"block_diag{at(user_source())} takes matrices, vectors and numbers, got {type_of(x)}")
    width, left, rows = sum([x.shape[1] for x in blocks]), 0, []
    for x in blocks:
        m, n = x.shape
        sides = [np.zeros((m, left), x.dtype), x, np.zeros((m, width - left - n), x.dtype)]
        rows.append(np.concatenate(sides, 1))
        left += n
    return np.concatenate(rows, 0)


def _placed(values: Any, places: Any) -> Any:
    """The values along the last axis, at each of these places."""
    return take(values, places, -1)


@linalg
def toeplitz(c: ArrayLike, r: ArrayLike | None = None) -> Array:
    """Matrices (..., m, n) with the first columns `c`, (..., m), and the first rows `r`, (..., n), of which the first element is not read; by
    default the conjugate of c. Each diagonal is one number.

    >>> toeplitz(np.array([1.0, 2.0]), np.array([1.0, 5.0])).tolist()
    [[1.0, 5.0], [2.0, 1.0]]
    """
    c = np.atleast_1d(as_array(c))
    r = np.conjugate(c) if r is None else np.atleast_1d(as_array(r))
    m, n = c.shape[-1], r.shape[-1]
    values = np.concatenate([np.flip(c, -1), r[..., 1:]], -1)
    return _placed(values, m - 1 - np.arange(m)[:, None] + np.arange(n))


@linalg
def hankel(c: ArrayLike, r: ArrayLike | None = None) -> Array:
    """Matrices (..., m, n) with the first columns `c`, (..., m), and the last rows `r`, (..., n), of which the first element is not read; by
    default zeros. What lies across is one number.

    >>> hankel(np.array([1.0, 2.0])).tolist()
    [[1.0, 2.0], [2.0, 0.0]]
    """
    c = np.atleast_1d(as_array(c))
    r = np.zeros(c.shape, c.dtype) if r is None else np.atleast_1d(as_array(r))
    values = np.concatenate([c, r[..., 1:]], -1)
    return _placed(values, np.arange(c.shape[-1])[:, None] + np.arange(r.shape[-1]))


@linalg
def circulant(c: ArrayLike) -> Array:
    """Matrices (..., m, m) with the first columns `c`, (..., m), each column the one before it moved down by one.

    >>> circulant(np.array([1.0, 2.0, 3.0])).tolist()
    [[1.0, 3.0, 2.0], [2.0, 1.0, 3.0], [3.0, 2.0, 1.0]]
    """
    c = np.atleast_1d(as_array(c))
    n = c.shape[-1]
    return _placed(c, (np.arange(n)[:, None] - np.arange(n)) % max(1, n))


@linalg
def companion(a: ArrayLike) -> Array:
    """Matrices (..., m, m) of which the eigenvalues are the roots of the polynomials with the coefficients `a`, (..., m + 1), the highest first.

    >>> companion(np.array([2.0, -6.0, 4.0])).tolist()
    [[3.0, -2.0], [1.0, 0.0]]
    """
    a = floating(a)
    n = a.shape[-1] - 1
    if n < 1:
        raise ValueError(f"companion{at(user_source())}: there must be two coefficients at least, got {type_of(a)}")
    first = -a[..., 1:] / a[..., :1]
    rest = np.broadcast_to(np.eye(n - 1, n, dtype=a.dtype), (*a.shape[:-1], n - 1, n))
    return np.concatenate([row(first), rest], -2)


@linalg
def fiedler_companion(a: ArrayLike) -> Array:
    """A matrix (m, m) of five diagonals with the eigenvalues of `companion`, of the coefficients `a`, (m + 1,). Source: M. Fiedler, Linear
    Algebra and its Applications 372 (2003) 325.

    >>> fiedler_companion(np.array([1.0, -6.0, 11.0, -6.0])).tolist()
    [[6.0, -11.0, 1.0], [1.0, 0.0, 0.0], [0.0, 6.0, 0.0]]
    """
    a = floating(a)
    if len(a.shape) != 1:
        raise ValueError(
            f"fiedler_companion{at(user_source())} takes the coefficients of one polynomial, got {type_of(a)}"
        )
    n = a.shape[0] - 1
    if n < 1:
        return np.zeros((0, 0), a.dtype)
    # Which coefficient, where not a one or a zero: beside the main diagonal they alternate with zeros, and beyond with ones.
    where = np.full((n, n), n + 1)
    even, odd = np.arange(0, n - 1, 2), np.arange(1, n - 1, 2)
    where[0, 0] = 0
    where[even, even + 1] = even + 1
    where[odd + 1, odd] = odd + 1
    even, odd = even[even < n - 2], odd[odd < n - 2]
    where[1:2, 0] = where[even, even + 2] = where[odd + 2, odd] = n
    return _placed(np.concatenate([-a[1:] / a[0], np.array([1, 0], a.dtype)]), where)


@linalg
def fiedler(a: ArrayLike) -> Array:
    """The matrices (..., m, m) of the distances between the elements of `a`, (..., m): `abs(a[i] - a[j])`.

    >>> fiedler(np.array([1.0, 4.0])).tolist()
    [[0.0, 3.0], [3.0, 0.0]]
    """
    a = as_array(a)
    return np.abs(a[..., :, None] - a[..., None, :])


@linalg
def leslie(f: ArrayLike, s: ArrayLike) -> Array:
    """The matrices (..., m, m) that age a population by one step: fecundities `f`, (..., m), in the first row and the shares that
    survive, `s`, (..., m - 1), below the diagonal.

    >>> leslie(np.array([0.5, 2.0]), np.array([0.25])).tolist()
    [[0.5, 2.0], [0.25, 0.0]]
    """
    f, s = as_array(f), as_array(s)
    if f.shape[-1:] != (s.shape[-1] + 1,):
        raise ValueError(
            f"leslie{at(user_source())}: s must have one element less than f, got {type_of(f)} and {type_of(s)}"
        )
    below = np.eye(s.shape[-1], dtype=s.dtype) * row(s)
    return np.concatenate([row(f), np.concatenate([below, np.zeros((*s.shape, 1), s.dtype)], -1)], -2)


@linalg
def convolution_matrix(a: ArrayLike, n: int, mode: str = "full") -> Array:
    """The matrices with `convolution_matrix(a, n, mode) @ v == np.convolve(a, v, mode)` for `a` of (..., m) and v of n elements; the
    rows of `mode` "full" are m + n - 1, of "same" max(m, n), of "valid" max(m, n) - min(m, n) + 1.

    >>> convolution_matrix(np.array([1.0, 4.0]), 2).tolist()
    [[1.0, 0.0], [4.0, 1.0], [0.0, 4.0]]
    """
    a = as_array(a)
    m = a.shape[-1] if a.shape else 0
    if n < 1 or m < 1 or mode not in ("full", "same", "valid"):
        words = "takes one element or more, n of one or more, and mode 'full', 'same' or 'valid'"
        raise ValueError(f"convolution_matrix{at(user_source())} {words}, got {type_of(a)}, n={n} and mode={mode!r}")
    rows = {"full": m + n - 1, "same": max(m, n), "valid": max(m, n) - min(m, n) + 1}[mode]
    first = {"full": 0, "same": (min(m, n) - 1) // 2, "valid": min(m, n) - 1}[mode]
    zeros = np.zeros((*a.shape[:-1], n - 1), a.dtype)
    return _placed(np.concatenate([zeros, a, zeros], -1), first + n - 1 + np.arange(rows)[:, None] - np.arange(n))


@linalg
def khatri_rao(a: ArrayLike, b: ArrayLike) -> Array:
    """Kronecker's products of each column of (..., m, k) with the same one of (..., n, k): (..., m * n, k).

    >>> khatri_rao(np.eye(2), np.array([[1.0, 2.0]])).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    a, b = as_array(a), as_array(b)
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"khatri_rao{at(user_source())} takes two matrices of as many columns, got {type_of(a)} and {type_of(b)}"
        )
    product = a[..., :, None, :] * b[..., None, :, :]
    return np.reshape(product, (*product.shape[:-3], a.shape[-2] * b.shape[-2], a.shape[-1]))


def kron(a: ArrayLike, b: ArrayLike) -> Array:
    """Kronecker's product of matrices (m, n) and (p, q), (m * p, n * q).

    >>> kron(np.eye(2), np.array([[1.0, 2.0]])).tolist()
    [[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0]]
    """
    return np.kron(a, b)


@linalg
def dft(n: int, scale: str | None = None) -> Array:
    """The matrix (n, n) of the discrete Fourier transform, over sqrt(n) or n for the `scale` "sqrtn" or "n".

    >>> dft(2).real.round(9).tolist()
    [[1.0, 1.0], [1.0, -1.0]]
    """
    if scale not in (None, "sqrtn", "n"):
        raise ValueError(f"dft: scale must be None, 'sqrtn' or 'n', got {scale!r}")
    number = np.arange(n)
    return np.exp(-2j * np.pi / n * (number[:, None] * number % n)) / {None: 1, "sqrtn": math.sqrt(n), "n": n}[scale]


@linalg
def hilbert(n: int) -> Array:
    """Hilbert's matrix (n, n), 1 / (i + j + 1).

    >>> hilbert(2).round(6).tolist()
    [[1.0, 0.5], [0.5, 0.333333]]
    """
    return 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)
