"""SciPy's functions with derivatives, on plain arrays and traced ones, under every transform and on both backends: `fft`, `integrate`,
`interpolate`, `linalg`, `ndimage`, `optimize`, `signal`, `sparse`, `special` and `stats`."""

from tracegrad.scipy import fft as fft
from tracegrad.scipy import integrate as integrate
from tracegrad.scipy import interpolate as interpolate
from tracegrad.scipy import linalg as linalg
from tracegrad.scipy import ndimage as ndimage
from tracegrad.scipy import optimize as optimize
from tracegrad.scipy import signal as signal
from tracegrad.scipy import sparse as sparse
from tracegrad.scipy import special as special
from tracegrad.scipy import stats as stats

__all__ = ["fft", "integrate", "interpolate", "linalg", "ndimage", "optimize", "signal", "sparse", "special", "stats"]
