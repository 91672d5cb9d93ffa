"""`scipy.ndimage`'s names, with its arguments in its order. Plain arrays go to SciPy's own function; what is traced is computed by ops that have
derivatives in the array, in weights and in coordinates, batches, and run on both backends. There `output` may be a dtype, not an array.

SciPy itself does not hand these to what is traced: `scipy.ndimage.gaussian_filter(t, 1)` is `tg.scipy.ndimage.gaussian_filter(t, 1)`
here.
"""

from __future__ import annotations

from tracegrad.core.boxes import accept_jax
from tracegrad.scipy.ndimage.derivatives import (
    gaussian_filter,
    gaussian_filter1d,
    gaussian_gradient_magnitude,
    gaussian_laplace,
    laplace,
    prewitt,
    sobel,
)
from tracegrad.scipy.ndimage.filters import convolve, convolve1d, correlate, correlate1d
from tracegrad.scipy.ndimage.interpolation import (
    affine_transform,
    map_coordinates,
    rotate,
    shift,
    spline_filter,
    spline_filter1d,
    zoom,
)
from tracegrad.scipy.ndimage.measurements import center_of_mass, mean, sum_labels
from tracegrad.scipy.ndimage.windows import (
    maximum_filter,
    maximum_filter1d,
    minimum_filter,
    minimum_filter1d,
    uniform_filter,
    uniform_filter1d,
)

__all__ = [
    "affine_transform", "center_of_mass", "convolve", "convolve1d", "correlate", "correlate1d", "gaussian_filter", "gaussian_filter1d",
    "gaussian_gradient_magnitude", "gaussian_laplace", "laplace", "map_coordinates", "maximum_filter", "maximum_filter1d", "mean",
    "minimum_filter", "minimum_filter1d", "prewitt", "rotate", "shift", "sobel", "spline_filter", "spline_filter1d", "sum_labels",
    "uniform_filter", "uniform_filter1d", "zoom",
]  # fmt: skip

accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
