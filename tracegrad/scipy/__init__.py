"""SciPy's functions with derivatives, on plain arrays and traced ones, under every transform and on both backends: `integrate`,
`linalg`, `optimize` and `special`."""

from tracegrad.scipy import integrate as integrate
from tracegrad.scipy import linalg as linalg
from tracegrad.scipy import optimize as optimize
from tracegrad.scipy import special as special

__all__ = ["integrate", "linalg", "optimize", "special"]
