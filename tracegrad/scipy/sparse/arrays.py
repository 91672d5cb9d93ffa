"""Sparse arrays whose numbers are traced: numbers, and where they stand, which is plain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.operators import is_sparse
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.ops.sparse import coordinates, scipy_sparse, sparse_matmul_op
from tracegrad.tree import register_pytree_node
from tracegrad.typing import Array, ArrayLike


class Pattern:
    """Where the numbers of a sparse array stand: as those of a csr_array of this shape, or of the transposed of one."""

    __slots__ = ("hash", "indices", "indptr", "shape", "transposed")

    def __init__(self, indices: Any, indptr: Any, shape: tuple[int, int], transposed: bool) -> None:
        self.indices = indices
        self.indptr = indptr
        self.shape = shape
        self.transposed = transposed
        self.hash: int | None = None

    def __eq__(self, other: object) -> bool:
        if self is other or type(other) is not Pattern:
            return self is other
        alike = (self.shape, self.transposed) == (other.shape, other.transposed)
        return alike and np.array_equal(self.indptr, other.indptr) and np.array_equal(self.indices, other.indices)

    def __hash__(self) -> int:
        if self.hash is None:
            self.hash = hash((self.shape, self.transposed, self.indptr.tobytes(), self.indices.tobytes()))
        return self.hash


class SparseArray:
    """A sparse matrix whose numbers may be traced; made by `csr_array` and `csc_array`. A node of trees, of which `data` is the one leaf.

    It has `shape`, `dtype`, `nnz`, `data`, `indices`, `indptr`, `T`, `@` with vectors and matrices on either side, `dot`, `*` and `/` with
    numbers, `-a`, `toarray()`, `diagonal()`, `sum(axis)`.

    >>> import numpy as np, scipy.sparse, tracegrad as tg
    >>> plain = scipy.sparse.csr_array(np.array([[2.0, 0.0], [1.0, 3.0]]))
    >>> f = lambda data, x: np.sum(tg.scipy.sparse.csr_array((data, plain.indices, plain.indptr), plain.shape) @ x)
    >>> tg.grad(f)(plain.data, np.array([5.0, 7.0])).tolist()
    [5.0, 5.0, 7.0]
    """

    __array_ufunc__ = None  # so that NumPy's operators leave those with plain arrays to these
    __array_priority__ = 2000.0
    __slots__ = ("data", "pattern")

    def __init__(self, data: Any, where: Pattern) -> None:
        self.data = data
        self.pattern = where

    @property
    def format(self) -> str:
        return "csc" if self.pattern.transposed else "csr"

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.pattern.shape
        return (n, m) if self.pattern.transposed else (m, n)

    @property
    def dtype(self) -> np.dtype[Any]:
        return type_of(self.data).dtype

    @property
    def nnz(self) -> int:
        return int(self.pattern.indices.shape[0])

    @property
    def ndim(self) -> int:
        return 2

    @property
    def indices(self) -> Any:
        return self.pattern.indices

    @property
    def indptr(self) -> Any:
        return self.pattern.indptr

    @property
    def T(self) -> SparseArray:
        p = self.pattern
        return SparseArray(self.data, Pattern(p.indices, p.indptr, p.shape, not p.transposed))

    def transpose(self) -> SparseArray:
        return self.T

    def parts(self) -> tuple[Any, Any, Any]:
        return self.data, self.pattern.indices, self.pattern.indptr

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, SparseArray) or is_sparse(other):
            return _product_of_two(self, sparse_array(other))
        x = as_array(other)
        dtype = np.result_type(self.data, x)
        how = {"shape": self.pattern.shape, "transposed": self.pattern.transposed}
        return bind(sparse_matmul_op, (astype(self.data, dtype), *self.parts()[1:], astype(x, dtype)), how)

    def __rmatmul__(self, other: Any) -> Any:
        if is_sparse(other):
            return _product_of_two(sparse_array(other), self)
        return np.transpose(self.T @ np.transpose(as_array(other)))

    def dot(self, other: Any) -> Any:
        """`self @ other`."""
        return self @ other

    def _scaled(self, data: Any) -> SparseArray:
        if type_of(data).shape != type_of(self.data).shape:
            raise ShapeError(
                f"a sparse array times {type_of(data)} is not traced{at(user_source())}; write a @ x for the product, or "
                "a.toarray() * x"
            )
        return SparseArray(data, self.pattern)

    def __mul__(self, other: Any) -> SparseArray:
        return self._scaled(self.data * _number(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SparseArray:
        return self._scaled(self.data / _number(other))

    def __neg__(self) -> SparseArray:
        return SparseArray(-self.data, self.pattern)

    def toarray(self) -> Array:
        """The whole matrix, with its zeros."""
        return self @ np.eye(self.shape[1], dtype=self.dtype)

    todense = toarray

    def diagonal(self) -> Array:
        """What stands on the diagonal."""
        rows, columns = coordinates(*self.parts()[1:], self.pattern.transposed)
        found = np.flatnonzero(rows == columns)
        found = found[np.argsort(rows[found], kind="stable")]
        size = min(self.shape)
        begins = np.searchsorted(rows[found], np.arange(size + 1))
        ones = np.ones(len(found), self.dtype), np.arange(len(found)), begins
        how = {"shape": (size, len(found)), "transposed": False}
        return bind(sparse_matmul_op, (*ones, take(self.data, found, axis=0)), how)

    def sum(self, axis: int | None = None) -> Array:
        """The sum of all numbers, of columns (0) or of rows (1)."""
        if axis is None:
            return np.sum(self.data)
        if axis not in (0, 1, -1, -2):
            raise ValueError(f"sum{at(user_source())}: axis must be None, 0 or 1, got {axis}")
        turned = self.T if axis in (0, -2) else self
        return turned @ np.ones(turned.shape[1], self.dtype)

    def __repr__(self) -> str:
        return f"{self.format}_array({type_of(self.data)} of shape {self.shape})"


def _product_of_two(a: SparseArray, b: SparseArray) -> SparseArray:
    """Places are plain, so that those of the product are: which pairs of numbers meet, and the row and the column that each goes to."""
    if a.shape[1] != b.shape[0]:
        raise ShapeError(f"sparse arrays of shapes {a.shape} and {b.shape} have no product{at(user_source())}")
    rows, inner = coordinates(*a.parts()[1:], a.pattern.transposed)
    begins, columns = coordinates(*b.parts()[1:], b.pattern.transposed)
    by_row = np.argsort(begins, kind="stable")
    first = np.searchsorted(begins[by_row], np.arange(b.shape[0] + 1))
    counts = (first[1:] - first[:-1])[inner]
    left = np.repeat(np.arange(len(inner)), counts)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = by_row[first[inner[left]] + within]
    target = rows[left].astype(np.int64) * b.shape[1] + columns[right]
    order = np.argsort(target, kind="stable")
    found, starts = np.unique(target[order], return_index=True)
    data = take(a.data, left[order], axis=0) * take(b.data, right[order], axis=0)
    segments = np.ones(len(order), a.dtype), np.arange(len(order)), np.append(starts, len(order))
    how = {"shape": (len(found), len(order)), "transposed": False}
    summed = bind(sparse_matmul_op, (*[astype(segments[0], type_of(data).dtype), *segments[1:]], data), how)
    indptr = np.searchsorted(found // max(b.shape[1], 1), np.arange(a.shape[0] + 1))
    return SparseArray(summed, Pattern(found % max(b.shape[1], 1), indptr, (a.shape[0], b.shape[1]), False))


def _number(x: Any) -> Any:
    found = as_array(x)
    if type_of(found).shape:
        raise ShapeError(
            f"a sparse array times {type_of(found)} is not traced{at(user_source())}; write a @ x for the product, or "
            "a.toarray() * x"
        )
    return found


register_pytree_node(SparseArray, lambda a: ((a.data,), a.pattern), lambda where, leaves: SparseArray(leaves[0], where))


def sparse_array(a: Any) -> SparseArray:
    """One of SciPy's, as it stands, or one of these."""
    if isinstance(a, SparseArray):
        return a
    if getattr(a, "ndim", 2) != 2:
        raise ShapeError(f"a sparse array of shape {a.shape} is not traced{at(user_source())}; reshape it to two axes")
    found = a if a.format in ("csr", "csc") else a.tocsr()
    turned = found.format == "csc"
    shape = found.shape[::-1] if turned else found.shape
    return SparseArray(found.data, Pattern(found.indices, found.indptr, shape, turned))


def product(a: Any, b: Any) -> Any:
    """`a @ b`, of which one is a sparse array of SciPy's and the other is traced."""
    return sparse_array(a) @ b if is_sparse(a) else sparse_array(b).__rmatmul__(a)


def csr_array(arg: Any, shape: tuple[int, int] | None = None, dtype: Any = None, copy: bool = False) -> Any:
    """`scipy.sparse.csr_array`, of which the numbers may be traced: then it is a `SparseArray`, for products, and for `spsolve` and its kin.

    Args:
        arg: `(data, indices, indptr)` as SciPy has it; `(data, (rows, columns))`; or a sparse array, whose numbers are then a leaf of
            the tree that it is. `data` alone may be traced.
        shape: that of the matrix. Needed where `data` is traced and `arg` is of numbers.
        dtype: for plain numbers.

    Raises:
        ShapeError: numbers and places of different lengths.

    >>> import numpy as np, tracegrad as tg
    >>> where = np.array([0, 1, 1]), np.array([0, 0, 1])
    >>> f = lambda data: tg.scipy.sparse.csr_array((data, where), (2, 2)) @ np.ones(2)
    >>> tg.jacrev(f)(np.array([1.0, 2.0, 3.0])).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    """
    return _made("csr_array", arg, shape, dtype, copy)


def csc_array(arg: Any, shape: tuple[int, int] | None = None, dtype: Any = None, copy: bool = False) -> Any:
    """`scipy.sparse.csc_array`, of which the numbers may be traced; see `csr_array`.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda data: tg.scipy.sparse.csc_array((data, np.array([0, 1, 1]), np.array([0, 2, 3])), (2, 2)) @ np.ones(2)
    >>> tg.jacrev(f)(np.array([1.0, 2.0, 3.0])).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    """
    return _made("csc_array", arg, shape, dtype, copy)


def _made(name: str, arg: Any, shape: tuple[int, int] | None, dtype: Any, copy: bool) -> Any:
    if isinstance(arg, SparseArray):
        return arg
    traced = isinstance(arg, tuple | list) and len(arg) > 1 and isinstance(arg[0], Tracer)
    if not traced:
        return getattr(scipy_sparse(), name)(arg, shape=shape, dtype=dtype, copy=copy)
    if shape is None:
        raise ShapeError(f"{name}{at(user_source())}: say the shape of the matrix, {name}(..., shape=(m, n))")
    data = as_array(arg[0])
    turned = name == "csc_array"
    inner: Sequence[int] = shape[::-1] if turned else shape
    if len(arg) == 3:
        where = [np.asarray(x) for x in arg[1:]]
    else:
        rows, columns = [np.asarray(x) for x in (arg[1][::-1] if turned else arg[1])]
        order = np.lexsort((columns, rows))  # what stands at one place twice is summed by every product
        data = take(data, order, axis=0)
        where = [columns[order], np.searchsorted(rows[order], np.arange(inner[0] + 1))]
    count = type_of(data).shape
    if count != where[0].shape or where[1].shape != (inner[0] + 1,):
        raise ShapeError(
            f"{name}{at(user_source())}: {type_of(data)} for {where[0].size} places and {where[1].size - 1} "
            f"{'columns' if turned else 'rows'} of a matrix of shape {tuple(shape)}"
        )
    return SparseArray(data, Pattern(where[0], where[1], (int(inner[0]), int(inner[1])), turned))


def is_traced(a: Any, *others: ArrayLike) -> bool:
    data = a.data if isinstance(a, SparseArray) else None
    return any([isinstance(x, Tracer) for x in (data, *others)])
