"""Functions of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.trace import bind
from tracegrad.core.types import number_kind
from tracegrad.ops.contract import transposed
from tracegrad.ops.linalg import matrix_functions as functions
from tracegrad.ops.linalg.matrices import floating, row
from tracegrad.scipy.calling import of_scipy
from tracegrad.typing import Array, ArrayLike

linalg = of_scipy("scipy.linalg")


@linalg
def expm(A: ArrayLike) -> Array:
    """The exponential of each matrix (..., m, m).

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda t: tg.scipy.linalg.expm(np.array([[0.0, 1.0], [0.0, 0.0]]) * t)[0, 1])(2.0).round(9).item()
    1.0

    Source: Higham, Functions of Matrices, chapter 10; the derivative is Frechet's, exact to rounding.
    """
    return bind(functions.expm_op, (floating(A),))


@linalg
def expm_frechet(
    A: ArrayLike, E: ArrayLike, method: str | None = None, compute_expm: bool = True, check_finite: bool = True
) -> Any:
    """`(expm(A), L)` with the derivative L of the exponential at A along E; L alone without `compute_expm`. All are (..., m, m).

    >>> expm_frechet(np.zeros((2, 2)), np.eye(2), compute_expm=False).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    A = floating(A)
    along = bind(functions.expm_frechet_op, (A, floating(E)))
    return (expm(A), along) if compute_expm else along


@linalg
def logm(A: ArrayLike) -> Array:
    """The principal logarithm of each matrix (..., m, m). Of a real matrix it is real, and one that has negative eigenvalues raises (is NaN
    on XLA): its logarithm is that of `A.astype(complex)`.

    >>> logm(np.eye(2)).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return bind(functions.logm_op, (floating(A),))


@linalg
def sqrtm(A: ArrayLike) -> Array:
    """The principal square root of each matrix (..., m, m). Of a real matrix it is real, and one that has negative eigenvalues raises (is
    NaN on XLA): its root is that of `A.astype(complex)`.

    >>> sqrtm(np.diag([4.0, 9.0])).tolist()
    [[2.0, 0.0], [0.0, 3.0]]

    Source: of the derivative, a Sylvester equation: Higham, Functions of Matrices, section 6.1.
    """
    return bind(functions.sqrtm_op, (floating(A),))


@linalg
def cosm(A: ArrayLike) -> Array:
    """The cosine of each matrix (..., m, m), by the exponential.

    >>> cosm(np.zeros((2, 2))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    A = floating(A)
    if number_kind(A.dtype) != "c":
        return np.real(expm(1j * A))
    return (expm(1j * A) + expm(-1j * A)) / 2


@linalg
def sinm(A: ArrayLike) -> Array:
    """The sine of each matrix (..., m, m), by the exponential.

    >>> sinm(np.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    A = floating(A)
    if number_kind(A.dtype) != "c":
        return np.imag(expm(1j * A))
    return (expm(1j * A) - expm(-1j * A)) / 2j


@linalg
def tanm(A: ArrayLike) -> Array:
    """The tangent of each matrix (..., m, m): of `sinm` and `cosm`.

    >>> tanm(np.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return np.linalg.solve(cosm(A), sinm(A))


@linalg
def coshm(A: ArrayLike) -> Array:
    """The hyperbolic cosine of each matrix (..., m, m).

    >>> coshm(np.zeros((2, 2))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    A = floating(A)
    return (expm(A) + expm(-A)) / 2


@linalg
def sinhm(A: ArrayLike) -> Array:
    """The hyperbolic sine of each matrix (..., m, m).

    >>> sinhm(np.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    A = floating(A)
    return (expm(A) - expm(-A)) / 2


@linalg
def tanhm(A: ArrayLike) -> Array:
    """The hyperbolic tangent of each matrix (..., m, m).

    >>> tanhm(np.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return np.linalg.solve(coshm(A), sinhm(A))


@linalg
def funm(A: ArrayLike, func: Callable[[Array], Array], disp: bool = True) -> Array:
    """`func` of each matrix (..., m, m), a function of numbers given for arrays of them: what is traced is computed by eigenvalues and
    vectors, which must be independent, and different for a derivative. Of a real matrix it is real, or raises. Hermitian matrices
    have `tg.numpy.linalg.funm`, which asks for neither.

    >>> funm(np.array([[4.0, 1.0], [0.0, 9.0]]), np.sqrt).round(6).tolist()
    [[2.0, 0.2], [0.0, 3.0]]
    """
    A = floating(A)
    w, v = np.linalg.eig(A)
    value = transposed(np.linalg.solve(transposed(v), transposed(v * row(func(w)))))
    if number_kind(A.dtype) == "c" or number_kind(value.dtype) != "c":
        return value
    return bind(functions.only_real_op, (value,))


@linalg
def fractional_matrix_power(A: ArrayLike, t: float) -> Array:
    """The power `t`, a number, of each matrix (..., m, m): of a whole number by products, of others as `funm` computes it.

    >>> fractional_matrix_power(np.array([[4.0, 0.0], [0.0, 9.0]]), 0.5).round(9).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    if isinstance(t, int) or (isinstance(t, float) and t.is_integer()):
        return np.linalg.matrix_power(floating(A), int(t))
    return funm(A, lambda w: w**t)
