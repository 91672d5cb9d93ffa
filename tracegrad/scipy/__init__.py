"""SciPy's functions with derivatives, on plain arrays and traced ones, under every transform and on both backends: `special`."""

from tracegrad.scipy import special as special

__all__ = ["special"]
