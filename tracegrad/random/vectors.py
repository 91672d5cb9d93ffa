"""Vectors of correlated numbers, and orthogonal matrices."""

from __future__ import annotations

import operator

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.random.keys import key_given, shape_given
from tracegrad.random.samplers import Shape, broadcasts, float_dtype, normal
from tracegrad.typing import Array, ArrayLike, DType


def multivariate_normal(
    key: Array,
    mean: ArrayLike,
    cov: ArrayLike,
    shape: Shape | None = None,
    dtype: DType | None = None,
    method: str = "cholesky",
) -> Array:
    """Vectors of normal numbers of a mean and a covariance.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        mean: of shape (..., n); the result has a derivative with respect to it.
        cov: symmetric and positive, of shape (..., n, n); the result has a derivative with respect to it.
        shape: of the draws, to which the first axes of both broadcast; None for what they broadcast to.
        dtype: float32 or float64; None for that of `mean` and `cov`.
        method: "cholesky", or "eigh" or "svd", which take singular covariances too.

    Returns:
        An array of shape (*shape, n) and this dtype: to rounding what `jax.random.multivariate_normal` makes of that key, but for
        the signs that eigenvectors come with.

    Raises:
        ShapeError: a mean that is no vector, a covariance that is no matrix of its size, or other shapes.
        ValueError: another method.

    >>> import tracegrad as tg
    >>> tg.random.multivariate_normal(tg.random.key(0), np.zeros(2), np.eye(2), (3,)).shape
    (3, 2)
    """
    name, key = "multivariate_normal", key_given(key, "multivariate_normal")
    mean, cov = as_array(mean), as_array(cov)
    of_mean, of_cov = type_of(mean), type_of(cov)
    if not of_mean.shape or of_cov.shape[-2:] != 2 * of_mean.shape[-1:]:
        raise ShapeError(
            f"random.{name}{at(user_source())}: mean has shape (..., n) and cov (..., n, n), got {of_mean} and {of_cov}"
        )
    if method not in ("cholesky", "eigh", "svd"):
        raise ValueError(f'random.{name}{at(user_source())}: method is "cholesky", "eigh" or "svd", got {method!r}')
    if dtype is None:
        dtype = np.result_type(of_mean.dtype, of_cov.dtype)
        dtype = dtype if number_kind(dtype) == "f" else np.dtype(np.float64)
    dtype = float_dtype(dtype, name)
    mean, cov = astype(mean, dtype), astype(cov, dtype)
    if shape is None:
        shape = np.broadcast_shapes(of_mean.shape[:-1], of_cov.shape[:-2])
    else:
        shape = shape_given(shape, name)
        broadcasts(mean[..., 0], shape, name, "mean without its last axis,")
        broadcasts(cov[..., 0, 0], shape, name, "cov without its last two axes,")
    if method == "cholesky":
        factor = np.linalg.cholesky(cov)
    elif method == "eigh":
        values, vectors = np.linalg.eigh(cov)
        factor = vectors * np.sqrt(values)[..., None, :]
    else:
        vectors, values, _ = np.linalg.svd(cov)
        factor = vectors * np.sqrt(values)[..., None, :]
    normals = normal(key, (*shape, of_mean.shape[-1]), dtype)
    return mean + np.matmul(factor, normals[..., None])[..., 0]


def orthogonal(key: Array, n: int, shape: Shape = (), dtype: DType = np.float64, m: int | None = None) -> Array:
    """Orthogonal matrices, or unitary ones of a complex dtype, of which each is as likely as any other (Haar's measure).

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        n: how many rows.
        shape: of the draws.
        dtype: float32, float64, complex64 or complex128.
        m: how many columns, None for n. Of a matrix that is not square the shorter of rows and columns are orthonormal.

    Returns:
        An array of shape (*shape, n, m) and this dtype: to rounding what `jax.random.orthogonal` makes of that key.

    Source: Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the AMS 54 (2007).

    >>> import tracegrad as tg
    >>> q = tg.random.orthogonal(tg.random.key(0), 3)
    >>> bool(np.all(np.abs(q @ q.T - np.eye(3)) < 1e-14))
    True
    """
    dtype, shape, key = np.dtype(dtype), shape_given(shape, "orthogonal"), key_given(key, "orthogonal")
    if number_kind(dtype) != "c":
        dtype = float_dtype(dtype, "orthogonal")
    n = operator.index(n)
    m = n if m is None else operator.index(m)
    q, r = np.linalg.qr(normal(key, (*shape, max(n, m), min(n, m)), dtype))
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return np.swapaxes(q, -1, -2) if n < m else q
