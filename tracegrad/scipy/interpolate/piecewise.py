"""Polynomials between breakpoints, and the cubic ones that go through samples. Coefficients are SciPy's formulas in NumPy calls, so that
they have derivatives in samples and places, and values in the points too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.core.boxes import public
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import Tracer, constant_value, depends_on, plain_value
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.scipy.linalg import solve_banded
from tracegrad.tree import register_pytree_node
from tracegrad.typing import Array, ArrayLike


def known(x: Any) -> Any:
    """The values of an array where there are such, which what is being made then holds for; None elsewhere."""
    found = plain_value(x, "a place")
    if found is None:
        return constant_value(x) if type(x) is Tracer else None
    depends_on(x)
    return found


@public
def _arrays(*parts: Any) -> tuple[Any, ...]:
    return tuple(map(as_array, parts))


class PPoly:
    """`scipy.interpolate.PPoly`: the polynomial `sum(c[j, i] * (t - x[i]) ** (k - j))` for t between `x[i]` and `x[i + 1]`, with
    derivatives in `c`, `x` and `t`. A node of trees, of which `c` and `x` are the leaves.

    Args:
        c: coefficients (k + 1, m, ...), the highest first.
        x: breakpoints (m + 1,), ascending.
        extrapolate: whether the first and the last polynomial go on outside; False for NaN there, "periodic" to repeat.
        axis: where the axis of the breakpoints is in results.

    >>> import numpy as np, tracegrad as tg
    >>> p = tg.scipy.interpolate.PPoly(np.array([[1.0, -1.0], [0.0, 1.0]]), np.array([0.0, 1.0, 2.0]))
    >>> p(np.array([0.5, 1.5])).tolist(), float(tg.grad(p)(1.5)), float(p.integrate(0.0, 2.0))
    ([0.5, 0.5], -1.0, 1.0)
    """

    def __init__(self, c: ArrayLike, x: ArrayLike, extrapolate: bool | str | None = None, axis: int = 0) -> None:
        self.c, self.x = _arrays(c, x)
        self.extrapolate = True if extrapolate is None else extrapolate
        self.axis = axis

    def __call__(self, x: ArrayLike, nu: int = 0, extrapolate: bool | str | None = None) -> Array:
        """The values at points of any shape, or those of the derivative of order `nu`."""
        how = self.extrapolate if extrapolate is None else extrapolate
        found: Array = _values(self.derivative(nu) if nu else self, x, how)
        return found

    def derivative(self, nu: int = 1) -> PPoly:
        """The derivative of order `nu`, piecewise."""
        return self.antiderivative(-nu) if nu < 0 else PPoly(_lowered(self, nu), self.x, self.extrapolate, self.axis)

    def antiderivative(self, nu: int = 1) -> PPoly:
        """The antiderivative of order `nu`, which is zero at the first breakpoint and has `nu - 1` derivatives that go on."""
        if nu <= 0:
            return self.derivative(-nu)
        found = self
        for _ in range(nu):
            how = False if found.extrapolate == "periodic" else found.extrapolate
            found = PPoly(_raised(found), found.x, how, found.axis)
        return found

    def integrate(self, a: ArrayLike, b: ArrayLike, extrapolate: bool | str | None = None) -> Array:
        """The integral from `a` to `b`, with derivatives in both."""
        how = self.extrapolate if extrapolate is None else extrapolate
        found: Array = _integral(self, a, b, how)
        return found

    def roots(self, *_: Any, **__: Any) -> Any:
        raise UnsupportedFunctionError(
            f"roots of a piecewise polynomial are not traced{at(user_source())}: how many there are depends on values.\n  "
            "tg.scipy.optimize.root finds one, with derivatives."
        )

    solve = roots


def numbered(shape: tuple[int, ...], axis: int, points: int) -> list[int]:
    """The order of axes that moves those of the points to where the interpolated axis was."""
    number = list(range(len(shape)))
    return [*number[points : points + axis], *number[:points], *number[points + axis :]]


@public
def _values(p: PPoly, t: Any, extrapolate: bool | str) -> Any:
    t = as_array(t)
    t = astype(t, np.float64)
    x, c = p.x, p.c
    if extrapolate == "periodic":
        t = x[0] + np.remainder(t - x[0], x[-1] - x[0])
    pieces = type_of(x).shape[0] - 1
    i = np.clip(np.searchsorted(x, t, side="right") - 1, 0, pieces - 1)
    rest = type_of(c).shape[2:]
    s = np.reshape(t - take(x, i), (*type_of(t).shape, *(1,) * len(rest)))
    power: Any = 1.0
    found: Any = 0.0
    for j in range(type_of(c).shape[0] - 1, -1, -1):
        found = found + take(c[j], i, axis=0) * power
        power = power * s
    outside = np.isnan(t) if extrapolate else np.isnan(t) | (t < x[0]) | (t > x[-1])
    found = np.where(np.reshape(outside, np.shape(s)), np.nan, found)
    shape = type_of(found).shape
    return np.transpose(found, numbered(shape, p.axis, len(type_of(t).shape))) if p.axis else found


@public
def _lowered(p: PPoly, nu: int) -> Any:
    k = type_of(p.c).shape[0]
    if nu >= k:
        return np.zeros_like(p.c[:1])
    powers = np.arange(k - 1, nu - 1, -1)
    factors = np.array([math.perm(int(j), nu) for j in powers], float)
    return p.c[: k - nu] * np.reshape(factors, (-1, *(1,) * (len(type_of(p.c).shape) - 1)))


@public
def _raised(p: PPoly) -> Any:
    c, widths = p.c, np.diff(p.x)
    shape = type_of(c).shape
    k, rest = shape[0], shape[2:]
    raised = c / np.reshape(np.arange(k, 0, -1.0), (-1, *(1,) * (len(shape) - 1)))
    h = np.reshape(widths, (-1, *(1,) * len(rest)))
    over: Any = 0.0
    for j in range(k):
        over = (over + raised[j]) * h
    begins = np.concatenate([np.zeros_like(over[:1]), np.cumsum(over[:-1], axis=0)])
    return np.concatenate([raised, begins[None]])


@public
def _integral(p: PPoly, a: Any, b: Any, extrapolate: bool | str) -> Any:
    whole = PPoly(_raised(p), p.x, extrapolate is not False)
    if extrapolate != "periodic":
        ends = [astype(as_array(e), np.float64) for e in (a, b)]
        found = _values(whole, ends[1], True) - _values(whole, ends[0], True)
        if extrapolate:
            return found
        outside = [(e < p.x[0]) | (e > p.x[-1]) for e in ends]
        return np.where(outside[0] | outside[1], np.nan, found)

    def since_first(end: Any) -> Any:
        periods, left = np.divmod(as_array(end) - p.x[0], p.x[-1] - p.x[0])
        return periods * _values(whole, p.x[-1], True) + _values(whole, p.x[0] + left, True)

    return since_first(b) - since_first(a)


# ---------------------------------------------------------------------------------------------------------------------
# Through samples.


def samples(x: Any, y: Any, axis: int, name: str) -> tuple[Any, Any, int]:
    """Places, samples with their axis first, and which it was."""
    x, y = astype(as_array(x), np.float64), as_array(y)
    shape = type_of(y).shape
    if not shape:
        raise ShapeError(f"{name}{at(user_source())}: y must have an axis of samples, got {type_of(y)}")
    axis = axis % len(shape)
    y = np.moveaxis(astype(y, np.result_type(np.float64, type_of(y).dtype)), axis, 0)
    if len(type_of(x).shape) != 1 or type_of(x).shape[0] < 2 or type_of(x).shape[0] != shape[axis]:
        raise ShapeError(
            f"{name}{at(user_source())}: x must be a vector of two or more places, as many as y has samples along axis {axis}; got "
            f"{type_of(x)} and {shape}"
        )
    if type(x) is np.ndarray and not np.all(np.diff(x) > 0):
        raise ValueError(f"{name}{at(user_source())}: x must be strictly increasing")
    return x, y, axis


def _widths(x: Any, y: Any) -> tuple[Any, Any]:
    """The distances of places, and the slopes between samples."""
    h = np.reshape(np.diff(x), (-1, *(1,) * (len(type_of(y).shape) - 1)))
    return h, np.diff(y, axis=0) / h


def _hermite(x: Any, y: Any, d: Any) -> Any:
    h, slope = _widths(x, y)
    t = (d[:-1] + d[1:] - 2 * slope) / h
    return np.stack([t / h, (slope - d[:-1]) / h - t, d[:-1], y[:-1]])


class CubicHermiteSpline(PPoly):
    """`scipy.interpolate.CubicHermiteSpline`: cubic between places `x` (n,), with the values `y` and the slopes `dydx` there, along `axis`.

    Raises:
        ShapeError: sizes that do not fit.
        ValueError: places that do not ascend, where their values are known.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda d: tg.scipy.interpolate.CubicHermiteSpline(np.array([0.0, 1.0]), np.array([0.0, 1.0]), d)(0.5)
    >>> tg.grad(f)(np.array([1.0, 1.0])).tolist()
    [0.125, -0.125]
    """

    def __init__(
        self, x: ArrayLike, y: ArrayLike, dydx: ArrayLike, axis: int = 0, extrapolate: bool | str | None = None
    ) -> None:
        c, places, axis = _by_slopes(x, y, dydx, axis)
        super().__init__(c, places, extrapolate, axis)


@public
def _by_slopes(x: Any, y: Any, dydx: Any, axis: int) -> Any:
    x, y, axis = samples(x, y, axis, "CubicHermiteSpline")
    slopes = np.moveaxis(as_array(dydx), axis, 0)
    if type_of(slopes).shape != type_of(y).shape:
        raise ShapeError(f"CubicHermiteSpline{at(user_source())}: y and dydx must have one shape, got {type_of(dydx)}")
    return _hermite(x, y, slopes), x, axis


class PchipInterpolator(PPoly):
    """`scipy.interpolate.PchipInterpolator`: cubic through the samples `y` at `x`, monotone where they are (Fritsch and Butland 1984), with
    derivatives in both. Where a slope is zero since samples turn, so is its derivative.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda y: tg.scipy.interpolate.PchipInterpolator(np.arange(4.0), y)(1.5)
    >>> bool(np.isclose(f(np.arange(4.0)), 1.5))
    True
    """

    def __init__(self, x: ArrayLike, y: ArrayLike, axis: int = 0, extrapolate: bool | None = None) -> None:
        c, places, axis = _pchip(x, y, axis)
        super().__init__(c, places, extrapolate, axis)


@public
def _pchip(x: Any, y: Any, axis: int) -> Any:
    x, y, axis = samples(x, y, axis, "PchipInterpolator")
    if type_of(y).dtype.kind == "c":
        raise TypeError(f"PchipInterpolator{at(user_source())}: y must be real, got {type_of(y)}")
    h, m = _widths(x, y)
    if type_of(y).shape[0] == 2:
        return _hermite(x, y, np.concatenate([m, m])), x, axis
    signs = np.sign(m)
    turns = (signs[1:] != signs[:-1]) | (m[1:] == 0) | (m[:-1] == 0)
    before, after = [np.where(turns, 1.0, part) for part in (m[:-1], m[1:])]
    first, second = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    inner = np.where(turns, 0.0, 1.0 / ((first / before + second / after) / (first + second)))
    begin, end = _edge(h[:1], h[1:2], m[:1], m[1:2]), _edge(h[-1:], h[-2:-1], m[-1:], m[-2:-1])
    return _hermite(x, y, np.concatenate([begin, inner, end])), x, axis


def _edge(h0: Any, h1: Any, m0: Any, m1: Any) -> Any:
    """The slope at an end, of three samples, that keeps their shape."""
    d = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    flat = np.sign(d) != np.sign(m0)
    steep = (np.sign(m0) != np.sign(m1)) & (np.abs(d) > 3.0 * np.abs(m0))
    return np.where(flat, 0.0, np.where(steep, 3.0 * m0, d))


class Akima1DInterpolator(PPoly):
    """`scipy.interpolate.Akima1DInterpolator`: cubic through the samples `y` at `x`, with Akima's slopes (1970), or those of
    `method="makima"`; NaN outside unless `extrapolate`.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda y: tg.scipy.interpolate.Akima1DInterpolator(np.arange(5.0), y)(1.5)
    >>> bool(np.isclose(np.sum(tg.grad(f)(np.array([0.0, 1.0, 4.0, 9.0, 17.0]))), 1.0))
    True
    """

    def __init__(
        self, x: ArrayLike, y: ArrayLike, axis: int = 0, *, method: str = "akima", extrapolate: bool | None = None
    ) -> None:
        if method not in ("akima", "makima"):
            raise ValueError(
                f"Akima1DInterpolator{at(user_source())}: method must be 'akima' or 'makima', got {method!r}"
            )
        c, places, axis = _akima(x, y, axis, method == "makima")
        super().__init__(c, places, bool(extrapolate), axis)


@public
def _akima(x: Any, y: Any, axis: int, modified: bool) -> Any:
    x, y, axis = samples(x, y, axis, "Akima1DInterpolator")
    _, m = _widths(x, y)
    if type_of(y).shape[0] == 2:
        return _hermite(x, y, np.concatenate([m, m])), x, axis
    left = 2.0 * m[:1] - m[1:2]
    right = 2.0 * m[-1:] - m[-2:-1]
    m = np.concatenate([2.0 * left - m[:1], left, m, right, 2.0 * right - m[-1:]])
    changes = np.abs(np.diff(m, axis=0))
    f1, f2 = changes[2:], changes[:-2]
    if modified:
        means = np.abs(m[1:] + m[:-1])
        f1, f2 = f1 + 0.5 * means[2:], f2 + 0.5 * means[:-2]
    both = f1 + f2
    defined = both > 1e-9 * np.max(both)
    between = m[1:-2] + f2 / np.where(defined, both, 1.0) * (m[2:-1] - m[1:-2])
    return _hermite(x, y, np.where(defined, between, 0.5 * (m[3:] + m[:-3]))), x, axis


class CubicSpline(PPoly):
    """`scipy.interpolate.CubicSpline`: cubic through the samples `y` at `x`, with two derivatives that go on, and itself with derivatives in
    `y`, `x`, the values of `bc_type` and the points.

    Args:
        x: the places (n,), ascending.
        y: samples, real or complex, along `axis`.
        bc_type: "not-a-knot", "periodic", "clamped" or "natural"; or two of these or of `(order, value)`, a first or second derivative
            at each end.
        extrapolate: as for `PPoly`; None is "periodic" for periodic samples, and else True.

    Raises:
        ShapeError: sizes that do not fit.
        ValueError: another `bc_type`; places that do not ascend, or ends of periodic samples that differ, where values are known.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.linspace(0.0, np.pi, 12)
    >>> spline = tg.scipy.interpolate.CubicSpline(x, np.sin(x))
    >>> bool(np.isclose(tg.grad(spline)(1.0), np.cos(1.0), atol=1e-3)), float(np.round(spline.integrate(0.0, np.pi), 3))
    (True, 2.0)
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        axis: int = 0,
        bc_type: Any = "not-a-knot",
        extrapolate: bool | str | None = None,
    ) -> None:
        ends = _conditions(bc_type)
        c, places, axis = _spline(x, y, axis, ends)
        if extrapolate is None and ends[0] == "periodic":
            extrapolate = "periodic"
        super().__init__(c, places, extrapolate, axis)


def _conditions(bc_type: Any) -> tuple[Any, Any]:
    """What holds at each end: a name, or an order and a value."""
    named = {"not-a-knot": "not-a-knot", "clamped": (1, 0.0), "natural": (2, 0.0), "periodic": "periodic"}
    both = (bc_type, bc_type) if isinstance(bc_type, str) else tuple(bc_type)
    found = [named.get(end) if isinstance(end, str) else tuple(end) for end in both]
    if (
        len(found) != 2
        or None in [e if e is None else 0 for e in found]
        or ("periodic" in both) != (both[0] == both[-1] == "periodic")
    ):
        raise ValueError(
            f"CubicSpline{at(user_source())}: bc_type must be 'not-a-knot', 'periodic', 'clamped' or 'natural', or two of these or of "
            f"(order, value), got {bc_type!r}"
        )
    for end in found:
        if isinstance(end, tuple) and (len(end) != 2 or end[0] not in (1, 2)):
            raise ValueError(
                f"CubicSpline{at(user_source())}: an end has a first or a second derivative, (1 or 2, value), got {end!r}"
            )
    return found[0], found[1]


@public
def _spline(x: Any, y: Any, axis: int, ends: tuple[Any, Any]) -> Any:
    x, y, axis = samples(x, y, axis, "CubicSpline")
    if ends[0] == "periodic" and type(y) is np.ndarray and not np.allclose(y[0], y[-1], rtol=1e-15, atol=1e-15):
        raise ValueError(
            f"CubicSpline{at(user_source())}: the first and the last sample of periodic ones must be equal"
        )
    h, m = _widths(x, y)
    n = type_of(y).shape[0]
    if n == 2:
        ends = tuple([(1, m[0]) if isinstance(end, str) else end for end in ends])  # type: ignore[assignment]
    if n == 3 and ends == ("not-a-knot", "not-a-knot"):
        bend = (m[1] - m[0]) / (h[0] + h[1])  # one parabola
        slopes = np.stack([m[0] - bend * h[0], m[0] + bend * h[0], m[1] + bend * h[1]])
    elif n == 3 and ends[0] == "periodic":
        mean = np.sum(m / h, axis=0) / np.sum(1.0 / h, axis=0)
        slopes = np.broadcast_to(mean, type_of(y).shape)
    elif ends[0] == "periodic":
        slopes = _periodic(h, m)
    else:
        slopes = _between(h, m, y, ends)
    return _hermite(x, y, slopes), x, axis


def _solved(below: Any, main: Any, above: Any, b: Any) -> Any:
    """Of a system of three diagonals, those beside the main one of one element less."""
    zero = np.zeros(1)
    bands = np.stack([np.concatenate([zero, above]), main, np.concatenate([below, zero])])
    rows = type_of(b).shape
    return np.reshape(solve_banded((1, 1), bands, np.reshape(b, (rows[0], -1))), rows)


def _between(h: Any, m: Any, y: Any, ends: tuple[Any, Any]) -> Any:
    """The slopes at the samples, of which the second derivatives on both sides are equal, and what holds at the ends."""
    d = np.reshape(h, (-1,))
    inner = 3 * (h[1:] * m[:-1] + h[:-1] * m[1:])
    begin, beside, first = _end(ends[0], h, m, y[1] - y[0], 1)
    last, before, final = _end(ends[1], h[::-1], m[::-1], y[-1] - y[-2], -1)
    main = np.concatenate([begin, 2 * (d[:-1] + d[1:]), last])
    b = np.concatenate([first[None], inner, final[None]])
    return _solved(np.concatenate([d[1:], before]), main, np.concatenate([beside, d[:-1]]), b)


def _end(end: Any, h: Any, m: Any, rise: Any, sign: int) -> tuple[Any, Any, Any]:
    """The equation at an end: what stands on the diagonal, and beside it, each (1,), and on the right."""
    width = np.reshape(h[0], (1,))
    if end == "not-a-knot":
        both = h[0] + h[1]
        right = ((h[0] + 2 * both) * h[1] * m[0] + h[0] ** 2 * m[1]) / both
        return np.reshape(h[1], (1,)), np.reshape(both, (1,)), right
    order, value = end
    value = np.broadcast_to(as_array(value), type_of(rise).shape)
    if order == 1:
        return np.ones(1), np.zeros(1), value + np.zeros_like(rise)
    return 2 * width, width, -sign * 0.5 * value * h[0] ** 2 + 3 * rise


def _periodic(h: Any, m: Any) -> Any:
    """The same for samples that repeat: without its last unknown the system is one of three diagonals."""
    d = np.reshape(h, (-1,))
    b = 3 * (h * np.roll(m, 1, axis=0) + np.roll(h, 1, axis=0) * m)
    main = 2 * (np.roll(d, 1) + d)
    n = type_of(d).shape[0] - 1  # unknowns but for the last
    beside = np.concatenate([-d[:1], np.zeros(n - 2), -d[n - 2 : n - 1]])
    above = np.concatenate([d[-1:], d[: n - 2]])[: n - 1]
    right = np.concatenate([np.reshape(b[:-1], (n, -1)), beside[:, None]], axis=1)
    both = _solved(d[1:n], main[:n], above, right)
    first, change = (
        np.reshape(both[:, :-1], type_of(b[:-1]).shape),
        np.reshape(both[:, -1], (n, *(1,) * (len(type_of(b).shape) - 1))),
    )
    last = (b[-1] - h[-2] * first[0] - h[-1] * first[-1]) / (
        2 * (h[-1] + h[-2]) + h[-2] * change[0] + h[-1] * change[-1]
    )
    found = first + last * change
    return np.concatenate([found, last[None], found[:1]])


def _apart(p: PPoly) -> Any:
    return (p.c, p.x), (p.extrapolate, p.axis)


def _together(kind: type[PPoly], data: Any, leaves: Any) -> PPoly:
    found = kind.__new__(kind)
    (found.c, found.x), (found.extrapolate, found.axis) = leaves, data
    return found


def _register(kind: type[PPoly]) -> None:
    register_pytree_node(kind, _apart, lambda data, leaves: _together(kind, data, leaves))


for _kind in (PPoly, CubicHermiteSpline, PchipInterpolator, Akima1DInterpolator, CubicSpline):
    _register(_kind)
