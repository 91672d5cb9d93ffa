"""Sparse arrays whose numbers are traced: numbers, and where they stand, which is plain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tracegrad.core.errors import ShapeError, UnsupportedFunctionError, at, user_source
from tracegrad.core.operators import is_sparse
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.ops.sparse import scipy_sparse, sparse_matmul_op
from tracegrad.scipy.sparse.patterns import Pattern, by_place, product_by_elements, product_of_two, sum_of_two, totals
from tracegrad.tree import register_pytree_node
from tracegrad.typing import Array, ArrayLike


class SparseArray:
    """A sparse matrix whose numbers may be traced; made by `csr_array` and `csc_array`. A node of trees, of which `data` is the one leaf.

    It has `shape`, `dtype`, `nnz`, `data`, `indices`, `indptr`, `T`, `@` with vectors and matrices on either side, sparse or not, `dot`,
    `+`, `-`, `*` and `multiply` (element by element, as SciPy's arrays do) with sparse arrays and arrays, `/` with arrays and numbers,
    `**` and `power` of a positive number, `-a`, `abs(a)`, `conj()`, `astype()`, `copy()`, `tocsr()`, `tocsc()`, `toarray()`, `diagonal()`,
    `trace()`, `sum(axis)`, `mean(axis)`. Numbers that come out as zero stay where they are, and count in `nnz`.

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
        return self.pattern.outer

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
        return SparseArray(self.data, self.pattern.T)

    def transpose(self) -> SparseArray:
        return self.T

    def parts(self) -> tuple[Any, Any, Any]:
        return self.data, self.pattern.indices, self.pattern.indptr

    def __matmul__(self, other: Any) -> Any:
        if _is_sparse(other):
            return self._with(product_of_two, other)
        x = as_array(other)
        dtype = np.result_type(self.data, x)
        how = {"shape": self.pattern.shape, "transposed": self.pattern.transposed}
        return bind(sparse_matmul_op, (astype(self.data, dtype), *self.parts()[1:], astype(x, dtype)), how)

    def __rmatmul__(self, other: Any) -> Any:
        if is_sparse(other):
            return sparse_array(other) @ self
        return np.transpose(self.T @ np.transpose(as_array(other)))

    def dot(self, other: Any) -> Any:
        """`self @ other`."""
        return self @ other

    def __mul__(self, other: Any) -> SparseArray:
        """Element by element, as a sparse array of SciPy's does; `a @ b` is the product."""
        return self.multiply(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SparseArray:
        if _is_sparse(other):
            raise _refused("the quotient with another is NaN where both are zero", "a.toarray() / b.toarray()")
        return SparseArray(self.data / self._beside(other), self.pattern)

    def __neg__(self) -> SparseArray:
        return SparseArray(-self.data, self.pattern)

    def __abs__(self) -> SparseArray:
        data, where = by_place(self.data, *self.pattern.places(), self.shape)
        return SparseArray(np.abs(data), where)

    def __pow__(self, n: Any) -> SparseArray:
        return self.power(n)

    def power(self, n: Any) -> SparseArray:
        """Each number to the power of `n`, which is positive, so that zeros stay where they are."""
        if isinstance(n, Tracer) or np.ndim(n) or not n > 0:
            raise _refused(f"the power of {n!r} would make numbers of zeros", "a.toarray() ** n")
        data, where = by_place(self.data, *self.pattern.places(), self.shape)
        return SparseArray(data**n, where)

    def __add__(self, other: Any) -> Any:
        if _is_sparse(other):
            return self._with(sum_of_two, other)
        if not type_of(as_array(other)).shape:
            raise _refused("the sum with one number has no zeros any more", "a.toarray() + b")
        return self.toarray() + other

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def multiply(self, other: Any) -> SparseArray:
        """The numbers times what stands at their places in `other`: a number, a sparse array, or an array that broadcasts to this shape."""
        if _is_sparse(other):
            return self._with(product_by_elements, other)
        return SparseArray(self.data * self._beside(other), self.pattern)

    def _beside(self, other: Any) -> Any:
        """What stands in an array at the places of the numbers."""
        whole = as_array(other)
        shape = type_of(whole).shape
        if not shape:
            return whole
        m, n = (1, *shape)[-2:]
        if len(shape) > 2 or m not in (1, self.shape[0]) or n not in (1, self.shape[1]):
            raise ShapeError(
                f"a sparse array of shape {self.shape} and {type_of(whole)} do not broadcast to that shape{at(user_source())}"
            )
        rows, columns = self.pattern.places()
        return take(np.reshape(whole, -1), (rows if m > 1 else 0 * rows) * n + (columns if n > 1 else 0))

    def _with(self, both: Any, other: Any) -> SparseArray:
        b = sparse_array(other)
        return SparseArray(*both(self.data, self.pattern, b.data, b.pattern))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"a sparse array whose numbers are traced has no {name}{at(user_source())}. Write a.toarray() for the whole matrix, or "
            "a.data, with a.indices and a.indptr, for its numbers"
        )

    def __getitem__(self, index: Any) -> NoReturn:
        raise UnsupportedFunctionError(
            f"a sparse array whose numbers are traced has no rows and elements by index{at(user_source())}. Write "
            "a.toarray()[...], or e @ a for a row, with a sparse e"
        )

    __iter__ = None

    def toarray(self) -> Array:
        """The whole matrix, with its zeros."""
        return self @ np.eye(self.shape[1], dtype=self.dtype)

    todense = toarray

    def tocsr(self, copy: bool = False) -> SparseArray:
        """The same row by row; what stands at one place twice is summed."""
        if self.format == "csr":
            return self
        return SparseArray(*by_place(self.data, *self.pattern.places(), self.shape))

    def tocsc(self, copy: bool = False) -> SparseArray:
        """The same column by column."""
        return self.T.tocsr().T

    def copy(self) -> SparseArray:
        return SparseArray(np.copy(self.data), self.pattern)

    def conj(self) -> SparseArray:
        return SparseArray(np.conj(self.data), self.pattern)

    def astype(self, dtype: Any) -> SparseArray:
        return SparseArray(astype(self.data, dtype), self.pattern)

    def diagonal(self) -> Array:
        """What stands on the diagonal."""
        rows, columns = self.pattern.places()
        found = np.flatnonzero(rows == columns)
        found = found[np.argsort(rows[found], kind="stable")]
        return totals(self.data, found, np.searchsorted(rows[found], np.arange(min(self.shape) + 1)))

    def trace(self) -> Array:
        """The sum of the diagonal."""
        return np.sum(self.diagonal())

    def mean(self, axis: int | None = None) -> Array:
        """The mean of all elements, zeros too, of columns (0) or of rows (1)."""
        return self.sum(axis) / (math.prod(self.shape) if axis is None else self.shape[axis])

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


def _refused(why: str, instead: str) -> UnsupportedFunctionError:
    return UnsupportedFunctionError(
        f"of a sparse array whose numbers are traced {why}{at(user_source())}. Write {instead}"
    )


def _is_sparse(x: Any) -> bool:
    return isinstance(x, SparseArray) or is_sparse(x)


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
