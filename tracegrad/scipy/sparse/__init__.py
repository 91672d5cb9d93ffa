"""Sparse matrices in what is traced. One of SciPy's is a constant in plain code: `A @ t`, `A.T @ t`, `t @ A`, `A.dot(t)`. Where its
numbers are traced, `csr_array` and `csc_array` here make it; `linalg` has systems of equations. Places are plain, and derivatives
are at these places alone. On XLA products are sums over segments, and SciPy solves systems on the host.
"""

from tracegrad.scipy.sparse import linalg as linalg
from tracegrad.scipy.sparse.arrays import SparseArray, csc_array, csr_array
from tracegrad.scipy.sparse.arrays import product as product

csr_matrix, csc_matrix = csr_array, csc_array

__all__ = ["SparseArray", "csc_array", "csc_matrix", "csr_array", "csr_matrix", "linalg"]
