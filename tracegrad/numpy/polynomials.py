"""Polynomials as vectors of coefficients, the highest power first: NumPy's functions of them.

NumPy drops leading zeros in some results, so that their sizes depend on values. Where values are not known (under `jit`, `vmap`) such a
function raises, and names the keyword that keeps them: `trim_leading_zeros=False`, as in jax.numpy.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.exceptions import RankWarning

from tracegrad.core.errors import ShapeError
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import concrete, plain_value
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, shape_of
from tracegrad.typing import Array, ArrayLike


def _coefficients(p: Any, name: str) -> Any:
    p = np.atleast_1d(as_array(p))
    if len(shape_of(p)) != 1:
        raise ShapeError(f"{name} of {type_of(p)}: coefficients stand in a vector")
    return p


@implements(np.polyval)
def polyval(p: ArrayLike, x: ArrayLike) -> Array:
    """The polynomial with the coefficients `p` at each element of `x`, by Horner's scheme.

    >>> polyval([1.0, 0.0, 2.0], [0.0, 3.0]).tolist()
    [2.0, 11.0]
    """
    p, x = as_array(p), as_array(x)
    y = np.zeros(shape_of(x), type_of(x).dtype)
    for i in range(p.shape[0]):
        y = y * x + p[i]
    return y


def _lined_up(name: str, a1: Any, a2: Any) -> tuple[Any, Any]:
    """Two polynomials as vectors of one length, with zeros before the shorter."""
    pair = _coefficients(a1, name), _coefficients(a2, name)
    length = max(p.shape[0] for p in pair)
    first, second = [np.concatenate([np.zeros(length - p.shape[0], p.dtype), p]) for p in pair]
    return first, second


@implements(np.polyadd)
def polyadd(a1: ArrayLike, a2: ArrayLike) -> Array:
    """The sum of two polynomials.

    >>> polyadd([1, 2], [9, 5, 4]).tolist()
    [9, 6, 6]
    """
    first, second = _lined_up("polyadd", a1, a2)
    return first + second


@implements(np.polysub)
def polysub(a1: ArrayLike, a2: ArrayLike) -> Array:
    """The difference of two polynomials.

    >>> polysub([2, 10, -2], [3, 10, -4]).tolist()
    [-1, 0, 2]
    """
    first, second = _lined_up("polysub", a1, a2)
    return first - second


def _advice(name: str) -> str:
    return f"drop no zeros: tnp.{name}(..., trim_leading_zeros=False), with `import tracegrad.numpy as tnp`"


def _without_leading_zeros(p: Any) -> Any:
    found = np.flatnonzero(concrete(p, "the leading zeros that np.polymul drops", _advice("polymul")))
    return p[int(found[0]) if len(found) else p.shape[0] - 1 :]


@implements(np.polymul, further=["trim_leading_zeros"])
def polymul(a1: ArrayLike, a2: ArrayLike, *, trim_leading_zeros: bool = True) -> Array:
    """The product of two polynomials. Leading zeros of both are dropped first, for which their values must be known, unless
    `trim_leading_zeros` is False.

    >>> polymul([1, 2], [0, 3, 1]).tolist()
    [3, 7, 2]
    """
    first, second = _coefficients(a1, "polymul"), _coefficients(a2, "polymul")
    if trim_leading_zeros:
        first, second = _without_leading_zeros(first), _without_leading_zeros(second)
    return np.convolve(first, second)


@implements(np.polydiv, further=["trim_leading_zeros"])
def polydiv(u: ArrayLike, v: ArrayLike, *, trim_leading_zeros: bool = True) -> tuple[Array, Array]:
    """Quotient and remainder of two polynomials; `v` must not begin with a zero. The remainder is without leading zeros (what
    is at most 1e-8 counts as such, as in NumPy), for which values must be known, unless `trim_leading_zeros` is False: then
    it is as long as `u`.

    >>> [x.tolist() for x in polydiv([3.0, 5.0, 2.0], [2.0, 1.0])]
    [[1.5, 1.75], [0.25]]
    """
    u, v = _coefficients(u, "polydiv") + 0.0, _coefficients(v, "polydiv") + 0.0
    dtype = np.result_type(u.dtype, v.dtype)
    m, n = u.shape[0] - 1, v.shape[0] - 1
    scale = 1.0 / v[0]
    quotient, left = [], astype(u, dtype)
    for k in range(m - n + 1):
        d = scale * left[k]
        quotient.append(astype(d, dtype))
        left = np.concatenate([left[:k], left[k : k + n + 1] - d * v, left[k + n + 1 :]])
    if trim_leading_zeros:
        values = concrete(left, "the leading zeros that np.polydiv drops from the remainder", _advice("polydiv"))
        start = next((i for i, x in enumerate(values) if not np.allclose(x, 0, rtol=1e-14)), m)
        left = left[start:]
    return np.stack(quotient) if quotient else np.zeros(1, dtype), left


def _order(m: Any, what: str) -> int:
    m = int(m)
    if m < 0:
        raise ValueError(f"{what}: the order must not be negative, got {m}")
    return m


@implements(np.polyder)
def polyder(p: ArrayLike, m: int = 1) -> Array:
    """The m-th derivative of a polynomial.

    >>> polyder([1, 1, 1, 1]).tolist()
    [3, 2, 1]
    """
    p = as_array(p)
    for _ in range(_order(m, "polyder")):
        p = p[:-1] * np.arange(p.shape[0] - 1, 0, -1)
    return p


@implements(np.polyint)
def polyint(p: ArrayLike, m: int = 1, k: ArrayLike | None = None) -> Array:
    """The m-th antiderivative of a polynomial, with the constants `k`, one for each integration or one for all; 0 by default.

    >>> polyint([3.0, 2.0, 1.0]).tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    m, p = _order(m, "polyint"), as_array(p)
    constants = np.atleast_1d(as_array(np.zeros(m) if k is None else k))
    if constants.shape[0] == 1 and m > 1:
        constants = constants[0] * np.ones(m)
    if constants.shape[0] < m:
        raise ValueError(
            f"polyint: k has {constants.shape[0]} constants for m={m} integrations; give one, or one for each"
        )
    for i in range(m):
        p = np.concatenate([p / np.arange(p.shape[0], 0, -1), constants[i : i + 1]])
    return p


@implements(np.poly)
def poly(seq_of_zeros: ArrayLike) -> Array:
    """The polynomial with these zeros and the leading coefficient 1; of a square matrix the characteristic polynomial.

    The coefficients are real where complex zeros come in conjugate pairs; for that the zeros' values must be known, if they are complex.

    >>> poly([1.0, 2.0]).tolist()
    [1.0, -3.0, 2.0]
    """
    zeros = np.atleast_1d(as_array(seq_of_zeros))
    shape = shape_of(zeros)
    if len(shape) == 2 and shape[0] == shape[1] > 0:
        zeros = np.linalg.eigvals(zeros)
    elif len(shape) != 1:
        raise ValueError(f"poly takes a vector of zeros or a square matrix, got {type_of(zeros)}")
    elif not is_inexact(zeros.dtype) or zeros.dtype == np.float16:
        zeros = astype(zeros, np.float64)
    if not zeros.shape[0]:
        return np.float64(1.0)
    p = np.ones(1, zeros.dtype)
    for i in range(zeros.shape[0]):
        p = np.convolve(p, np.stack([np.ones((), zeros.dtype), -zeros[i]]))
    if number_kind(p.dtype) == "c":
        values = concrete(zeros, "whether np.poly's complex zeros come in pairs", "multiply factors by np.convolve")
        if np.all(np.sort(values) == np.sort(values.conj())):
            p = np.real(p)
    return p


@implements(np.roots, further=["strip_zeros"])
def roots(p: ArrayLike, *, strip_zeros: bool = True) -> Array:
    """The zeros of a polynomial, as the eigenvalues of its companion matrix; where several are equal they have no derivative.

    Zeros before and behind `p` are dropped first, for which its values must be known, unless `strip_zeros` is False.

    >>> roots([1.0, -3.0, 2.0]).tolist()
    [2.0, 1.0]
    """
    p = np.atleast_1d(as_array(p))
    if len(shape_of(p)) != 1:
        raise ValueError(f"roots takes a vector of coefficients, got {type_of(p)}")
    behind = 0
    if strip_zeros:
        found = np.flatnonzero(
            concrete(
                p, "the zeros that np.roots drops from its coefficients", "keep them: tnp.roots(p, strip_zeros=False)"
            )
        )
        if not len(found):
            return np.array([])
        behind = p.shape[0] - 1 - int(found[-1])
        p = p[int(found[0]) : int(found[-1]) + 1]
    if not is_inexact(p.dtype):
        p = astype(p, np.float64)
    n = p.shape[0]
    if n < 2:
        return np.zeros(behind)
    below = np.eye(n - 2, n - 1, dtype=p.dtype)
    found = np.linalg.eigvals(np.concatenate([(-p[1:] / p[0])[None], below]))
    return np.concatenate([found, np.zeros(behind, found.dtype)])


@implements(np.polyfit)
def polyfit(
    x: ArrayLike,
    y: ArrayLike,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: ArrayLike | None = None,
    cov: bool | str = False,
) -> Array | tuple[Any, ...]:
    """The polynomial of degree `deg` that comes closest to `y` at `x`, by least squares.

    Args:
        x: n places, (n,).
        y: values there, (n,) or (n, k): k problems.
        deg: the degree.
        rcond: singular values below this times the largest count as zero; n times epsilon by default.
        full: return residuals, rank, singular values and rcond besides.
        w: weights of the distances (not of their squares), (n,).
        cov: return the covariance of the coefficients besides, scaled by the residuals unless "unscaled".

    Returns:
        deg + 1 coefficients, the highest power first, (deg + 1,) or (deg + 1, k); or a tuple with them, as said.

    >>> polyfit([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], 1).round(9).tolist()
    [2.0, 1.0]
    """
    order = int(deg) + 1
    if order < 1:
        raise ValueError(f"polyfit: deg must be at least 0, got {deg}")
    x, y = as_array(x) + 0.0, as_array(y) + 0.0
    if len(shape_of(x)) != 1 or not x.shape[0]:
        raise TypeError(f"polyfit: x is a vector that is not empty, got {type_of(x)}")
    if len(shape_of(y)) not in (1, 2) or y.shape[0] != x.shape[0]:
        raise TypeError(
            f"polyfit: y is a vector or matrix of as many rows as x has elements, got {type_of(y)} for x {type_of(x)}"
        )
    rcond = x.shape[0] * np.finfo(x.dtype).eps if rcond is None else rcond
    left, right = np.vander(x, order), y
    if w is not None:
        w = as_array(w) + 0.0
        if shape_of(w) != x.shape:
            raise TypeError(f"polyfit: w has a weight for each element of x, {type_of(x)}, got {type_of(w)}")
        left, right = left * w[:, None], right * (w if len(y.shape) == 1 else w[:, None])
    scale = np.sqrt(np.sum(left * left, 0))
    left = left / scale
    c, residuals, rank, s = np.linalg.lstsq(left, right, rcond)
    c = c / (scale if len(y.shape) == 1 else scale[:, None])
    if full:
        return c, residuals, rank, s, rcond
    if plain_value(rank, "the rank") is not None and int(concrete(rank, "the rank")) != order:
        warnings.warn("Polyfit may be poorly conditioned", RankWarning, stacklevel=2)
    if not cov:
        return c
    covariance = np.linalg.inv(left.T @ left) / np.outer(scale, scale)
    if cov == "unscaled":
        factor: Any = 1
    elif x.shape[0] <= order:
        raise ValueError(
            f"polyfit: to scale the covariance there must be more points than coefficients, got {x.shape[0]} and {order}"
        )
    else:
        factor = residuals / (x.shape[0] - order)
    return c, (covariance if len(y.shape) == 1 else covariance[:, :, None]) * factor
