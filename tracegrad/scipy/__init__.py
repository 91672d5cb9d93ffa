"""SciPy's functions with derivatives, on plain arrays and traced ones, under every transform and on both backends: `linalg` and
`special`."""

from tracegrad.scipy import linalg as linalg
from tracegrad.scipy import special as special

__all__ = ["linalg", "special"]
