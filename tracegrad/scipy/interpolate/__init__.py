"""`scipy.interpolate`'s classes, with its arguments in its order, in plain NumPy: functions through samples that have derivatives in the
samples, in their places and in the points, under every transform and on both backends. Each is a node of trees, which functions may
take and return.
"""

from tracegrad.scipy.interpolate.bsplines import BSpline, make_interp_spline
from tracegrad.scipy.interpolate.grid import RegularGridInterpolator
from tracegrad.scipy.interpolate.linear import interp1d
from tracegrad.scipy.interpolate.piecewise import (
    Akima1DInterpolator,
    CubicHermiteSpline,
    CubicSpline,
    PchipInterpolator,
    PPoly,
)

__all__ = [
    "Akima1DInterpolator", "BSpline", "CubicHermiteSpline", "CubicSpline", "PPoly", "PchipInterpolator", "RegularGridInterpolator",
    "interp1d", "make_interp_spline",
]  # fmt: skip
