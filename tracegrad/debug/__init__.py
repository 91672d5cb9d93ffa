"""Looking at what a function costs, and at what goes wrong in it: `tg.debug`."""

from tracegrad.debug.callbacks import callback, print
from tracegrad.debug.checks import CheckError, check
from tracegrad.debug.connections import Connection, Connections, why_zero
from tracegrad.debug.cost import Cost, LineCost, cost
from tracegrad.debug.nans import NanFound, nans
from tracegrad.debug.nonfinite import Explanation, NonFinite, explain_nan
from tracegrad.debug.probing import Probed, Probes, probe, probes
from tracegrad.debug.profiling import LineTime, Profile, profile
from tracegrad.debug.residuals import Residual, Residuals, residuals

__all__ = [
    "CheckError",
    "Connection",
    "Connections",
    "Cost",
    "Explanation",
    "LineCost",
    "LineTime",
    "NanFound",
    "NonFinite",
    "Probed",
    "Probes",
    "Profile",
    "Residual",
    "Residuals",
    "callback",
    "check",
    "cost",
    "explain_nan",
    "nans",
    "print",
    "probe",
    "probes",
    "profile",
    "residuals",
    "why_zero",
]


def __dir__() -> list[str]:
    return list(__all__)
