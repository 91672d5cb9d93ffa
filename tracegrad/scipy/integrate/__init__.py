"""`scipy.integrate`'s names, with its arguments in its order: integrals of samples, of functions, and solutions of ordinary
differential equations. Those of samples are plain NumPy. For plain numbers `quad`, `solve_ivp` and their kin are SciPy's own,
and where something is traced SciPy finds the values all the same, with derivatives of any order by Leibniz's rule and by the
adjoint equation; under jit on both backends (on XLA the host computes them), and under vmap row after row.
"""

from tracegrad.core.boxes import accept_jax
from tracegrad.scipy.integrate.odes import odeint, solve_ivp
from tracegrad.scipy.integrate.quadrature import dblquad, fixed_quad, quad, quad_vec, tplquad
from tracegrad.scipy.integrate.sampled import cumulative_simpson, cumulative_trapezoid, simpson, trapezoid

__all__ = [
    "cumulative_simpson", "cumulative_trapezoid", "dblquad", "fixed_quad", "odeint", "quad", "quad_vec", "simpson", "solve_ivp", "tplquad", "trapezoid",
]  # fmt: skip

accept_jax(globals(), __all__)
