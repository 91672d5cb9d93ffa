"""`scipy.optimize`'s solvers with derivatives: SciPy searches, tracegrad gives it what derivatives it asks for, and what it finds has
derivatives itself, of every order, in `args` and bounds.

What is found solves an equation: the gradient is zero, the residual is. So its derivative is that of `tg.implicit`, at the point at
which SciPy has stopped, and as accurate as that point: the default tolerances leave some five digits, `tol=1e-10` more. Whether SciPy
was content is in `success`. x may be a pytree; SciPy has its numbers as one float64 vector. Under `jit` and `vmap` a search is one equation
(`tg.external`), for one row after the other.
"""

from tracegrad.scipy.optimize.fitting import curve_fit, least_squares
from tracegrad.scipy.optimize.problem import OptimizeResults
from tracegrad.scipy.optimize.searches import linprog, minimize, root

__all__ = ["OptimizeResults", "curve_fit", "least_squares", "linprog", "minimize", "root"]


def __dir__() -> list[str]:
    return list(__all__)
