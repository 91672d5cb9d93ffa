"""`scipy.linalg`'s names, with its arguments in its order. Plain arrays go to SciPy's own function, whatever it is asked; what is
traced is computed by ops that have derivatives, batches over leading axes and run on both backends. There `overwrite_a` and its
like, `check_finite`, `lwork` and drivers have no effect, and only a 1-d right-hand side is a vector.

SciPy itself does not hand these to what is traced: `scipy.linalg.solve(a, t)` is `tg.scipy.linalg.solve(a, t)` here. It is loaded
when it is first needed. Without it the functions of NumPy's LAPACK work, and those that are solved by triangles or bands; the
exponential, logarithm and square root, Schur's form and Sylvester's and Riccati's equations say what to install.
"""

from numpy.linalg import LinAlgError

from tracegrad.core.boxes import accept_jax
from tracegrad.scipy.linalg.decompositions import (
    eigh,
    eigh_tridiagonal,
    eigvalsh,
    hessenberg,
    lu,
    lu_factor,
    lu_solve,
    polar,
    qr,
    qr_multiply,
    rq,
    schur,
    svd,
    svdvals,
)
from tracegrad.scipy.linalg.functions import (
    coshm,
    cosm,
    expm,
    expm_frechet,
    fractional_matrix_power,
    funm,
    logm,
    sinhm,
    sinm,
    sqrtm,
    tanhm,
    tanm,
)
from tracegrad.scipy.linalg.least_squares import (
    eig,
    eigvals,
    eigvalsh_tridiagonal,
    lstsq,
    matmul_toeplitz,
    norm,
    orthogonal_procrustes,
    pinv,
    pinvh,
    solve_circulant,
    solve_toeplitz,
)
from tracegrad.scipy.linalg.structured import (
    block_diag,
    circulant,
    companion,
    convolution_matrix,
    dft,
    fiedler,
    fiedler_companion,
    hankel,
    hilbert,
    khatri_rao,
    kron,
    leslie,
    toeplitz,
)
from tracegrad.scipy.linalg.systems import (
    cho_factor,
    cho_solve,
    cho_solve_banded,
    cholesky,
    cholesky_banded,
    det,
    inv,
    solve,
    solve_banded,
    solve_continuous_are,
    solve_continuous_lyapunov,
    solve_discrete_are,
    solve_discrete_lyapunov,
    solve_sylvester,
    solve_triangular,
    solveh_banded,
)

__all__ = [
    "LinAlgError", "block_diag", "cho_factor", "cho_solve", "cho_solve_banded", "cholesky", "cholesky_banded", "circulant",
    "companion", "convolution_matrix", "coshm", "cosm", "det", "dft", "eig", "eigh", "eigh_tridiagonal", "eigvals",
    "eigvalsh", "eigvalsh_tridiagonal", "expm", "expm_frechet", "fiedler", "fiedler_companion", "fractional_matrix_power",
    "funm", "hankel", "hessenberg", "hilbert", "inv", "khatri_rao", "kron", "leslie", "logm", "lstsq", "lu", "lu_factor",
    "lu_solve", "matmul_toeplitz", "norm", "orthogonal_procrustes", "pinv", "pinvh", "polar", "qr", "qr_multiply", "rq",
    "schur", "sinhm", "sinm", "solve", "solve_banded", "solve_circulant", "solve_continuous_are", "solve_continuous_lyapunov",
    "solve_discrete_are", "solve_discrete_lyapunov", "solve_sylvester", "solve_toeplitz", "solve_triangular", "solveh_banded",
    "sqrtm", "svd", "svdvals", "tanhm", "tanm", "toeplitz",
]  # fmt: skip

accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
