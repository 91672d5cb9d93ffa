"""Looking at what a function costs: `tg.debug`."""

from tracegrad.debug.residuals import Residual, Residuals, residuals

__all__ = ["Residual", "Residuals", "residuals"]


def __dir__() -> list[str]:
    return list(__all__)
