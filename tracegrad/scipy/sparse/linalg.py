"""Systems of equations with a sparse matrix: SciPy's solvers, with derivatives in the right-hand side and in the numbers of the
matrix, of which each costs one more system with the matrix or its transposed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.boxes import accept_jax
from tracegrad.core.operators import is_sparse
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import is_inexact
from tracegrad.ops.elementwise import astype
from tracegrad.ops.sparse import scipy_sparse, sparse_solve_op
from tracegrad.scipy.calling import refused
from tracegrad.scipy.sparse.arrays import SparseArray, is_traced, sparse_array
from tracegrad.typing import Array, ArrayLike

__all__ = ["bicgstab", "cg", "gmres", "spsolve"]


def spsolve(A: Any, b: ArrayLike, permc_spec: str | None = None, use_umfpack: bool = True) -> Array:
    """The x with `A @ x == b` for a sparse matrix (n, n): `scipy.sparse.linalg.spsolve`, with derivatives in `b` and in the numbers of
    `A`, of any order.

    Args:
        A: SciPy's, which is a constant; or `tg.scipy.sparse.csr_array` of traced numbers.
        b: (n,) or (n, k).
        permc_spec, use_umfpack: how SciPy orders columns, and whether it uses umfpack where that is installed.

    Raises:
        ShapeError: a matrix that is not square; a `b` of another length.

    >>> import numpy as np, scipy.sparse, tracegrad as tg
    >>> A = scipy.sparse.csr_array(np.array([[2.0, 0.0], [1.0, 4.0]]))
    >>> tg.grad(lambda b: np.sum(tg.scipy.sparse.linalg.spsolve(A, b)))(np.ones(2)).tolist()
    [0.375, 0.25]
    """
    if not is_traced(A, b):
        return _plain("spsolve")(_matrix(A), b, permc_spec=permc_spec, use_umfpack=use_umfpack)
    return _solved("spsolve", A, b, permc_spec=permc_spec, use_umfpack=use_umfpack)


def cg(
    A: Any, b: ArrayLike, x0: Any = None, *, rtol: float = 1e-05, atol: float = 0.0, maxiter: int | None = None,
    M: Any = None, callback: Any = None,
) -> tuple[Array, int]:  # fmt: skip
    """The x with `A @ x == b` for a symmetric positive definite sparse matrix, by conjugate gradients: `scipy.sparse.linalg.cg`, with the
    derivatives of `spsolve`, which are found to the same `rtol` and `atol`.

    Returns:
        x, and 0: what is traced raises where SciPy returns something else.

    Raises:
        LinAlgError: no convergence, in what is traced.
        UnsupportedFunctionError: a function in place of the matrix (tg.lax.custom_linear_solve takes one), a `callback`.

    >>> import numpy as np, scipy.sparse, tracegrad as tg
    >>> A = scipy.sparse.csr_array(np.array([[2.0, 0.0], [0.0, 4.0]]))
    >>> bool(np.allclose(tg.grad(lambda b: np.sum(tg.scipy.sparse.linalg.cg(A, b)[0]))(np.ones(2)), [0.5, 0.25]))
    True
    """
    return _by_steps("cg", A, b, callback, x0=x0, rtol=rtol, atol=atol, maxiter=maxiter, M=M)


def gmres(
    A: Any, b: ArrayLike, x0: Any = None, *, rtol: float = 1e-05, atol: float = 0.0, restart: int | None = None,
    maxiter: int | None = None, M: Any = None, callback: Any = None, callback_type: str | None = None,
) -> tuple[Array, int]:  # fmt: skip
    """The x with `A @ x == b` by generalised minimal residuals: `scipy.sparse.linalg.gmres`; else as `cg`.

    >>> import numpy as np, scipy.sparse, tracegrad as tg
    >>> A = scipy.sparse.csr_array(np.array([[2.0, 0.0], [1.0, 4.0]]))
    >>> bool(np.allclose(tg.grad(lambda b: np.sum(tg.scipy.sparse.linalg.gmres(A, b)[0]))(np.ones(2)), [0.375, 0.25]))
    True
    """
    how = {} if callback_type is None else {"callback_type": callback_type}
    return _by_steps("gmres", A, b, callback, x0=x0, rtol=rtol, atol=atol, restart=restart, maxiter=maxiter, M=M, **how)


def bicgstab(
    A: Any, b: ArrayLike, x0: Any = None, *, rtol: float = 1e-05, atol: float = 0.0, maxiter: int | None = None,
    M: Any = None, callback: Any = None,
) -> tuple[Array, int]:  # fmt: skip
    """The x with `A @ x == b` by stabilised biconjugate gradients: `scipy.sparse.linalg.bicgstab`; else as `cg`.

    >>> import numpy as np, scipy.sparse, tracegrad as tg
    >>> A = scipy.sparse.csr_array(np.array([[2.0, 0.0], [1.0, 4.0]]))
    >>> bool(np.allclose(tg.grad(lambda b: np.sum(tg.scipy.sparse.linalg.bicgstab(A, b)[0]))(np.ones(2)), [0.375, 0.25]))
    True
    """
    return _by_steps("bicgstab", A, b, callback, x0=x0, rtol=rtol, atol=atol, maxiter=maxiter, M=M)


def _plain(name: str) -> Any:
    return getattr(scipy_sparse("scipy.sparse.linalg"), name)


def _matrix(A: Any) -> Any:
    """For SciPy: its own array of the same numbers."""
    if not isinstance(A, SparseArray):
        return A
    kind = scipy_sparse().csc_array if A.pattern.transposed else scipy_sparse().csr_array
    return kind(A.parts(), shape=A.shape)


def _by_steps(name: str, A: Any, b: Any, callback: Any, x0: Any, **options: Any) -> tuple[Array, int]:
    if not is_traced(A, b, x0):
        found: tuple[Array, int] = _plain(name)(_matrix(A), b, x0, callback=callback, **options)
        return found
    if callback is not None:
        raise refused(f"sparse.linalg.{name}", "with a callback", "Leave it out; tg.debug says what a function does.")
    return _solved(name, A, b, **options), 0  # where it starts from is no matter of derivatives, nor of the solution


def _solved(name: str, A: Any, b: Any, **options: Any) -> Any:
    if not (isinstance(A, SparseArray) or is_sparse(A)):
        raise refused(
            f"sparse.linalg.{name}",
            f"of a {type(A).__name__}",
            "Write np.linalg.solve for an array, and tg.lax.custom_linear_solve for a function that multiplies by the matrix.",
        )
    if isinstance(b, SparseArray) or is_sparse(b):
        raise refused(f"sparse.linalg.{name}", "of a sparse right-hand side", "Write b.toarray().")
    whole, x = sparse_array(A), as_array(b)
    dtype = np.result_type(whole.data, x)
    dtype = dtype if is_inexact(dtype) else np.dtype(np.float64)
    data, indices, indptr = whole.parts()
    how = {"shape": whole.pattern.shape, "transposed": whole.pattern.transposed}
    inputs = astype(data, dtype), indices, indptr, astype(x, dtype)
    return bind(sparse_solve_op, inputs, {**how, "method": name, "options": tuple(options.items())})


accept_jax(globals(), __all__)
