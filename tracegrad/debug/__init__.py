"""Looking at what a function costs, and at what goes wrong in it: `tg.debug`."""

from tracegrad.debug.connections import Connection, Connections, why_zero
from tracegrad.debug.nonfinite import Explanation, NonFinite, explain_nan
from tracegrad.debug.residuals import Residual, Residuals, residuals

__all__ = [
    "Connection",
    "Connections",
    "Explanation",
    "NonFinite",
    "Residual",
    "Residuals",
    "explain_nan",
    "residuals",
    "why_zero",
]


def __dir__() -> list[str]:
    return list(__all__)
