"""Arrays at other places: interpolation by splines of order 0 to 5, and what is made of it.

`mode` says what there is beyond the ends: "constant" (`cval` wherever a coordinate is outside), "grid-constant" (the array among numbers `cval`),
"nearest", "mirror" (d c b | a b c d | c b a), "reflect" or "grid-mirror" (d c b a | a b c d | d c b a), "wrap" (the last element falls on the first) or
"grid-wrap". There are derivatives in the array and in the coordinates, which at the knots of orders 0 and 1, where there is none, are those from the right.

Source: P. Thevenaz, T. Blu, M. Unser, "Interpolation revisited", IEEE Trans. Med. Imaging 19 (2000).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, UnsupportedFunctionError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.ops.linalg.matrices import floating
from tracegrad.scipy.calling import is_traced, module_or_none, needed, of_scipy
from tracegrad.scipy.ndimage.boundaries import as_output, computed, continued, for_each_axis, known_mode, output_dtype
from tracegrad.typing import Array, ArrayLike

ndimage = of_scipy("scipy.ndimage")


def _known_order(order: int) -> int:
    if order not in range(6):
        raise ValueError(f"the order of splines must be from 0 to 5, got {order!r}")
    return int(order)


# ---------------------------------------------------------------------------------------------------------------------
# Coordinates.


def _folded(c: Any, n: int, mode: str) -> Any:
    """Coordinates beyond the ends, where the spline has the same value."""
    if mode in ("constant", "grid-constant"):
        return c
    if mode == "nearest" or n == 1:
        return np.clip(c, 0, n - 1)
    if mode == "mirror":
        below, c = c < 0, np.where(c < 0, -c, c)
        c = np.mod(c, 2 * (n - 1))
        return np.where(c >= np.where(below, n - 1, n), 2 * (n - 1) - c, c)  # as SciPy rounds halves, by order 0
    if mode in ("reflect", "grid-mirror"):
        c = np.mod(c + 0.5, 2 * n) - 0.5
        return np.where(c > n - 0.5, 2 * n - 1 - c, c)
    if mode == "grid-wrap":
        return np.mod(c, n)
    period = n - 1  # and both ends stand for themselves
    below = c + period * (np.floor(-c / period) + 1)
    return np.where(c < 0, below, np.where(c > period, c - period * np.floor(c / period), c))


def _folded_index(i: Any, n: int, mode: str) -> Any:
    """Which element stands at a place on the grid, for whatever the spline was fitted."""
    if mode == "nearest" or n == 1:
        return np.clip(i, 0, n - 1)
    if mode == "grid-wrap":
        return np.mod(i, n)
    if mode in ("reflect", "grid-mirror"):
        i = np.mod(i, 2 * n)
        return np.where(i >= n, 2 * n - 1 - i, i)
    i = np.mod(i, 2 * (n - 1))
    return np.where(i >= n, 2 * (n - 1) - i, i)


def _weights(t: Any, order: int) -> list[Any]:
    """The B-splines of this order that are not zero at t between two knots, from 0 to 1, by Cox and de Boor's recursion."""
    found: list[Any] = [1.0]
    for d in range(1, order + 1):
        found = [
            ((t + (d - j)) * found[j - 1] if j else 0.0) / d + ((1 - t + j) * found[j] if j < d else 0.0) / d
            for j in range(d + 1)
        ]
    return found


def _interpolated(x: Any, coordinates: Sequence[Any], order: int, mode: str, cval: Any, prefilter: bool) -> Any:
    """x, (..., n_1, ..., n_d), at places given by d arrays of coordinates that broadcast together: (..., *places)."""
    d, dtype = len(coordinates), x.dtype
    is_spline = order > 1 and prefilter
    margin = 12 if is_spline and mode in ("nearest", "grid-constant") else 0
    if margin:  # for which there is no exact spline
        x = continued(x, [(0, 0)] * (len(x.shape) - d) + [(margin, margin)] * d, mode, cval)
        coordinates = [c + margin for c in coordinates]
    if is_spline:
        for axis in range(len(x.shape) - d, len(x.shape)):
            x = _coefficients(x, order, axis, mode)
    sizes = x.shape[len(x.shape) - d :]
    flat = np.reshape(x, (*x.shape[: len(x.shape) - d], math.prod(sizes)))
    outside: Any = False
    taps: list[
        list[tuple[Any, Any, Any]]
    ] = []  # along each axis: which elements, their weights, and whether there are none
    for c, n in zip(coordinates, sizes, strict=True):
        if mode == "constant":
            beyond = (c < 0) | (c > n - 1)
            outside, c = outside | beyond, np.where(beyond, 0.0, c)
        c = _folded(c, n, mode)
        below = np.floor(c if order % 2 else c + 0.5)
        start = astype(below, np.int64) - order // 2
        along = []
        for j, weight in enumerate(_weights(c - below + (0 if order % 2 else 0.5), order)):
            index = start + j
            missing = (index < 0) | (index >= n) if mode == "grid-constant" else False
            along.append((_folded_index(index, n, mode), weight, missing))
        taps.append(along)
    total: Any = 0.0
    for chosen in product(*taps):
        place, factor, nowhere = 0, 1.0, False
        for (index, weight, missing), n in zip(chosen, sizes, strict=True):
            place, factor, nowhere = place * n + index, factor * weight, nowhere | missing
        value = take(flat, place, -1)
        total = total + factor * (value if nowhere is False else np.where(nowhere, cval, value))
    if mode == "constant":
        total = np.where(outside, cval, total)
    return total if number_kind(dtype) != "c" or number_kind(total.dtype) == "c" else astype(total, dtype)


@functools.lru_cache(maxsize=32)
def _spline_matrix(n: int, order: int, mode: str) -> Any:
    """The matrix (n, n) that makes coefficients of B-splines of values on the grid: SciPy's filter of each unit vector."""
    return needed("scipy.ndimage").spline_filter1d(np.eye(n), order, axis=0, mode=mode)


def _coefficients(x: Any, order: int, axis: int, mode: str) -> Any:
    real = np.zeros((), x.dtype).real.dtype
    matrix = np.asarray(_spline_matrix(x.shape[axis], order, mode), real)
    return np.moveaxis(np.matmul(np.moveaxis(x, axis, -1), matrix.T), -1, axis)


@ndimage
def spline_filter1d(
    input: ArrayLike, order: int = 3, axis: int = -1, output: Any = np.float64, mode: str = "mirror"
) -> Array:
    """The coefficients of B-splines of this order that go through the input along `axis`: of its shape, float64.

    >>> spline_filter1d(np.ones(3), 2).round(9).tolist()
    [1.0, 1.0, 1.0]
    """
    x, dtype = computed(input), output_dtype("spline_filter1d", output, as_array(input))
    return as_output(_coefficients(x, order, axis, known_mode(mode)) if _known_order(order) > 1 else x, dtype)


@ndimage
def spline_filter(input: ArrayLike, order: int = 3, output: Any = np.float64, mode: str = "mirror") -> Array:
    """`spline_filter1d` along all axes.

    >>> spline_filter(np.ones((2, 2))).round(9).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    x, dtype = computed(input), output_dtype("spline_filter", output, as_array(input))
    for axis in range(len(x.shape)):
        x = spline_filter1d(x, order, axis, x.dtype, mode)
    return as_output(x, dtype)


# ---------------------------------------------------------------------------------------------------------------------
# What is interpolated.


@ndimage
def map_coordinates(
    input: ArrayLike,
    coordinates: Any,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: ArrayLike = 0.0,
    prefilter: bool = True,
) -> Array:
    """`input` of d axes at places that `coordinates`, (d, ...), names: (...).

    Args:
        output: the dtype of the result, by default input's; integers are rounded.
        prefilter: False where input has the coefficients of splines already, from `spline_filter`.

    >>> import numpy as np, tracegrad as tg
    >>> image = np.array([[1.0, 2.0], [3.0, 5.0]])
    >>> tg.grad(lambda c: tg.scipy.ndimage.map_coordinates(image, c[:, None], order=1)[0])(np.array([0.5, 0.5])).tolist()
    [2.5, 1.5]
    """
    x = computed(input)
    places = [floating(c) for c in coordinates]
    if len(places) != len(x.shape) or not places or len(places[0].shape) < 1:
        raise ShapeError(
            f"map_coordinates{at(user_source())}: coordinates must be (d, ...) for an input of d axes, and of two axes at least, got "
            f"{len(places)} of {', '.join([str(type_of(p)) for p in places[:1]])} for {type_of(x)}"
        )
    found = _interpolated(x, places, _known_order(order), known_mode(mode), cval, prefilter)
    return as_output(found, output_dtype("map_coordinates", output, as_array(input)), rounded=True)


def grid(shape: Sequence[int]) -> list[Any]:
    """The coordinates of places on a grid, that broadcast together."""
    d = len(shape)
    return [np.reshape(np.arange(float(n)), [-1 if i == j else 1 for j in range(d)]) for i, n in enumerate(shape)]


def _at(x: Any, places: Any, shape: Sequence[int], how: Any, dtype: Any) -> Any:
    found = _interpolated(x, places, *how)
    return as_output(np.broadcast_to(found, (*x.shape[: len(x.shape) - len(shape)], *shape)), dtype, rounded=True)


@ndimage
def affine_transform(
    input: ArrayLike,
    matrix: ArrayLike,
    offset: Any = 0.0,
    output_shape: Any = None,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: ArrayLike = 0.0,
    prefilter: bool = True,
) -> Array:
    """At each place o of the output the input at `matrix @ o + offset`: `matrix` is (d, d), a diagonal (d,), or homogeneous (d, d + 1) or (d + 1,
    d + 1). Derivatives in input, matrix and offset.

    >>> affine_transform(np.arange(4.0), [0.5], order=1).tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    x, matrix = computed(input), floating(matrix)
    d = len(x.shape)
    if len(matrix.shape) == 2 and matrix.shape[1] == d + 1 and matrix.shape[0] in (d, d + 1):
        offset, matrix = matrix[:d, d], matrix[:d, :d]
    if matrix.shape not in ((d,), (d, d)):
        raise ShapeError(
            f"affine_transform{at(user_source())}: for an input of {d} axes the matrix must be ({d},), ({d}, {d}), ({d}, {d + 1}) or "
            f"({d + 1}, {d + 1}), got {type_of(matrix)}"
        )
    shape = tuple(x.shape) if output_shape is None else tuple([int(n) for n in output_shape])
    o, moved = grid(shape), for_each_axis(offset, d, "offset")
    if len(matrix.shape) == 1:
        places = [matrix[i] * (o[i] + moved[i] / matrix[i]) for i in range(d)]
    else:
        places = [sum([matrix[i, j] * o[j] for j in range(d)]) + moved[i] for i in range(d)]
    how = _known_order(order), known_mode(mode), cval, prefilter
    return _at(x, places, shape, how, output_dtype("affine_transform", output, as_array(input)))


@ndimage
def shift(
    input: ArrayLike,
    shift: Any,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: ArrayLike = 0.0,
    prefilter: bool = True,
) -> Array:
    """The input moved by `shift`, one for all axes or one for each, in elements and fractions of them. Derivatives in both.

    >>> shift(np.array([1.0, 2.0, 4.0]), 0.5, order=1).tolist()
    [0.0, 1.5, 3.0]
    """
    x = computed(input)
    by = for_each_axis(shift, len(x.shape), "shift")
    places = [g - s for g, s in zip(grid(x.shape), by, strict=True)]
    how = _known_order(order), known_mode(mode), cval, prefilter
    return _at(x, places, x.shape, how, output_dtype("shift", output, as_array(input)))


@ndimage
def zoom(
    input: ArrayLike,
    zoom: Any,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: ArrayLike = 0.0,
    prefilter: bool = True,
    *,
    grid_mode: bool = False,
) -> Array:
    """The input at `zoom` times as many places, one factor for all axes or one for each, plain numbers: of n elements round(n * zoom). The first and
    the last stay where they are, or with `grid_mode` their outer edges.

    >>> zoom(np.array([1.0, 3.0]), 1.5, order=1).tolist()
    [1.0, 2.0, 3.0]
    """
    if is_traced(zoom):
        raise UnsupportedFunctionError(
            f"tg.scipy.ndimage.zoom by traced factors{at(user_source())} would have a shape that depends on them.\n  Write "
            "tg.scipy.ndimage.affine_transform(input, 1 / zoom, output_shape=...)."
        )
    x = computed(input)
    factors = for_each_axis(zoom, len(x.shape), "zoom")
    shape = [round(n * z) for n, z in zip(x.shape, factors, strict=True)]
    dtype = output_dtype("zoom", output, as_array(input))
    if all([z == 1 for z in factors]) and prefilter:
        return as_output(x, dtype, rounded=True)
    less = 0 if grid_mode else 1
    ratios = [(n - less) / (m - less) if m != less else 1.0 for n, m in zip(x.shape, shape, strict=True)]
    half = 0.5 if grid_mode else 0.0
    places = [(g + half) * r - half for g, r in zip(grid(shape), ratios, strict=True)]
    return _at(x, places, shape, (_known_order(order), known_mode(mode), cval, prefilter), dtype)


def _cosine_and_sine(degrees: Any) -> tuple[Any, Any]:
    """Exact at right angles, of a plain number."""
    special = None if is_traced(degrees) else module_or_none("scipy.special")
    if special is not None:
        return special.cosdg(degrees), special.sindg(degrees)
    return np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))


@ndimage
def rotate(
    input: ArrayLike,
    angle: ArrayLike,
    axes: tuple[int, int] = (1, 0),
    reshape: bool = True,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: ArrayLike = 0.0,
    prefilter: bool = True,
) -> Array:
    """The input turned by `angle`, in degrees, in the plane of two `axes`. With `reshape` the result is as large as it needs to be, which depends on the angle:
    a traced one asks for False, and has a derivative.

    >>> rotate(np.array([[1.0, 2.0], [3.0, 4.0]]), 90, order=1).tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    x = computed(input)
    d = len(x.shape)
    plane = sorted({int(a) % d for a in axes}) if d else []
    if len(plane) != 2 or len(axes) != 2:
        raise ShapeError(f"rotate{at(user_source())}: axes must be two of the input's, got {axes!r} for {type_of(x)}")
    if reshape and is_traced(angle):
        raise UnsupportedFunctionError(
            f"tg.scipy.ndimage.rotate by a traced angle{at(user_source())} would have a shape that depends on it.\n  Write reshape=False."
        )
    c, s = _cosine_and_sine(angle)
    x = np.moveaxis(x, plane, (-2, -1))
    height, width = x.shape[-2:]
    shape: tuple[int, ...] = (height, width)
    if reshape:
        corners = np.array([[c, s], [-s, c]]) @ np.array([[0, 0, height, height], [0, width, 0, width]])
        shape = tuple([int(n) for n in np.ptp(corners, axis=1) + 0.5])
    (y, z), middle = grid(shape), [(n - 1) / 2 for n in shape]
    places = [
        c * y + s * z + ((height - 1) / 2 - (c * middle[0] + s * middle[1])),
        c * z - s * y + ((width - 1) / 2 - (c * middle[1] - s * middle[0])),
    ]
    how = _known_order(order), known_mode(mode), cval, prefilter
    found = _at(x, places, shape, how, output_dtype("rotate", output, as_array(input)))
    return np.moveaxis(found, (-2, -1), plane)
