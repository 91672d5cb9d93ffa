"""Triangles and diagonals of matrices, and powers in columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.symbols import as_index, made_of_sizes
from tracegrad.core.trace import as_array
from tracegrad.core.types import Shape, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements
from tracegrad.ops.index import unslice
from tracegrad.ops.rearrange import diagonal, diagonal_index
from tracegrad.typing import Array, ArrayLike, DType


def _triangle(shape: Shape, k: int) -> Any:
    if not shape:
        raise ShapeError(f"a triangle of a number{at(user_source())}: it needs an axis; write np.reshape(x, 1)")
    rows, columns = shape[-2:] * (2 if len(shape) == 1 else 1)  # a vector stands for a square of equal rows
    return made_of_sizes(np.tri, (rows, columns), rows, columns, k, bool)


@implements(np.tril)
def tril(m: ArrayLike, k: int = 0) -> Array:
    """The lower triangle of the last two axes, up to the k-th diagonal; zeros above.

    >>> tril(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 0.0], [3.0, 4.0]]
    """
    m = as_array(m)
    return np.where(_triangle(m.shape, k), m, np.zeros((), m.dtype))


@implements(np.triu)
def triu(m: ArrayLike, k: int = 0) -> Array:
    """The upper triangle of the last two axes, from the k-th diagonal on; zeros below.

    >>> triu(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 2.0], [0.0, 4.0]]
    """
    m = as_array(m)
    return np.where(_triangle(m.shape, k - 1), np.zeros((), m.dtype), m)


@implements(np.diag)
def diag(v: ArrayLike, k: int = 0) -> Array:
    """The k-th diagonal of a matrix; or the matrix that has `v` as its k-th diagonal, and zeros elsewhere. Diagonals are counted
    from the main one, upwards if `k` is positive.

    >>> diag([1, 2], 1).tolist()
    [[0, 1, 0], [0, 0, 2], [0, 0, 0]]
    """
    v, k = as_array(v), as_index(k)
    if len(v.shape) == 2:
        return np.diagonal(v, k)
    if len(v.shape) != 1:
        raise ValueError(f"diag needs one or two dimensions, got {type_of(v)}")
    n = v.shape[0] + abs(k)
    return np.reshape(unslice(v, diagonal_index((n, n), k), (n * n,)), (n, n))


@implements(np.diagflat)
def diagflat(v: ArrayLike, k: int = 0) -> Array:
    """The matrix that has all elements of `v` on its k-th diagonal.

    >>> diagflat([1, 2]).tolist()
    [[1, 0], [0, 2]]
    """
    return np.diag(np.reshape(as_array(v), -1), k)


@implements(np.trace)
def trace(
    a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: DType = None, out: Array | None = None
) -> Array:
    """The sum of the `offset`-th diagonal of the matrices in two axes of `a`.

    >>> trace(np.array([[1.0, 2.0], [3.0, 4.0]])).item()
    5.0
    """
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.vander)
def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Array:
    """The matrix of the powers of a vector `x`: column j holds x**(N-1-j), or x**j if `increasing`. N is its length, if None.

    >>> vander([2.0, 3.0], 3).tolist()
    [[4.0, 2.0, 1.0], [9.0, 3.0, 1.0]]
    """
    x = as_array(x)
    if len(x.shape) != 1:
        raise ValueError(f"vander needs one dimension, got {type_of(x)}")
    x = astype(x, np.promote_types(x.dtype, int))
    powers = np.arange(x.shape[0] if N is None else N).astype(x.dtype)
    return np.power(x[:, None], powers if increasing else powers[::-1])
