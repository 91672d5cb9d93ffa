"""Linear algebra: the ops behind `numpy.linalg`, with derivatives. What needs no op of its own is in `tracegrad/numpy/linalg.py`.

Values come from NumPy's LAPACK; leading axes are batches throughout, which is how vmap runs them. Derivatives are
written in matrix products and these same functions, so they can be differentiated again. Where a decomposition is not
unique in signs or phases, its derivative is that of the choice which moves least, and a function that depends on the
choice has no derivative to be had. Vectors of equal eigenvalues or singular values have no derivative at all, and what
depends on them raises, but for spectral functions: see `equal_values.py`.

Sources, named by the functions:
    Giles: M. Giles, "Collected Matrix Derivative Results for Forward and Reverse Mode Algorithmic Differentiation",
        2008
    Walter: S. Walter, L. Lehmann, "Algorithmic Differentiation of Linear Algebra Functions with Application in Optimum
        Experimental Design", 2010, arXiv:1001.1654
    Townsend: J. Townsend, "Differentiating the Singular Value Decomposition", 2016
    Murray: I. Murray, "Differentiation of the Cholesky decomposition", 2016, arXiv:1602.07527
    Golub: G. Golub, V. Pereyra, "The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems Whose
        Variables Separate", SIAM J. Numer. Anal. 10 (1973)
"""

from tracegrad.ops.linalg import (
    banded,
    determinants,
    eigen,
    equal_values,
    equations,
    hermitian,
    lu,
    matrix_functions,
    norms,
    qr,
    schur,
    singular,
    solving,
    triangular,
    vectors,
)

__all__ = [
    "banded",
    "determinants",
    "eigen",
    "equal_values",
    "equations",
    "hermitian",
    "lu",
    "matrix_functions",
    "norms",
    "qr",
    "schur",
    "singular",
    "solving",
    "triangular",
    "vectors",
]
