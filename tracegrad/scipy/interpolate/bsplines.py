"""Sums of B-splines, and those that go through samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.boxes import public
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.scipy.interpolate.piecewise import known, numbered, samples
from tracegrad.tree import register_pytree_node
from tracegrad.typing import Array, ArrayLike


class BSpline:
    """`scipy.interpolate.BSpline`: the sum of the B-splines of degree `k` on knots `t` with coefficients `c`, by de Boor's algorithm, with
    derivatives in all three and in the points. A node of trees, of which `t` and `c` are the leaves.

    Args:
        t: knots (n + k + 1,), ascending.
        c: coefficients, n along `axis`.
        k: the degree.
        extrapolate: whether the first and the last polynomial go on outside; False for NaN there, "periodic" to repeat.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda c, x: tg.scipy.interpolate.BSpline(np.array([0.0, 0.0, 1.0, 2.0, 2.0]), c, 1)(x)
    >>> tg.grad(f)(np.array([1.0, 3.0, 2.0]), 0.25).tolist(), float(tg.grad(f, 1)(np.array([1.0, 3.0, 2.0]), 0.25))
    ([0.75, 0.25, 0.0], 2.0)
    """

    def __init__(self, t: ArrayLike, c: ArrayLike, k: int, extrapolate: bool | str = True, axis: int = 0) -> None:
        self.t, self.c, self.axis = _checked(t, c, k, axis)
        self.k = k
        self.extrapolate = extrapolate

    def __call__(self, x: ArrayLike, nu: int = 0, extrapolate: bool | str | None = None) -> Array:
        """The values at points of any shape, or those of the derivative of order `nu`."""
        found: Array = _values(
            self.derivative(nu) if nu else self, x, self.extrapolate if extrapolate is None else extrapolate
        )
        return found

    def derivative(self, nu: int = 1) -> BSpline:
        """The derivative of order `nu`, a sum of B-splines of a lower degree."""
        found = self
        for _ in range(min(nu, self.k)):
            t, c = _lowered(found)
            found = _made(t, c, found.k - 1, found.extrapolate, found.axis)
        return found if nu <= self.k else _made(found.t, np.zeros_like(found.c), found.k, found.extrapolate, found.axis)

    def antiderivative(self, nu: int = 1) -> BSpline:
        """The antiderivative of order `nu`, a sum of B-splines of a higher degree, which is zero at the first knot."""
        found = self
        for _ in range(nu):
            t, c = _raised(found)
            found = _made(t, c, found.k + 1, found.extrapolate is True, found.axis)
        return found

    def integrate(self, a: ArrayLike, b: ArrayLike, extrapolate: bool | None = None) -> Array:
        """The integral from `a` to `b`; where it does not go on outside, that of what is between the ends."""
        goes_on = self.extrapolate if extrapolate is None else extrapolate
        if goes_on == "periodic":
            raise UnsupportedFunctionError(
                f"BSpline.integrate with extrapolate='periodic' is not traced{at(user_source())}.\n  Write the integrals of the periods there are."
            )
        whole = self.antiderivative()
        n = type_of(self.c).shape[0]
        inside = lambda x: x if goes_on else np.clip(x, self.t[self.k], self.t[n])
        found: Array = _values(whole, inside(b), True) - _values(whole, inside(a), True)
        return found


def _made(t: Any, c: Any, k: int, extrapolate: bool | str, axis: int) -> BSpline:
    found = BSpline.__new__(BSpline)
    found.t, found.c, found.k, found.extrapolate, found.axis = t, c, k, extrapolate, axis
    return found


@public
def _checked(t: Any, c: Any, k: int, axis: int) -> Any:
    t, c = astype(as_array(t), np.float64), as_array(c)
    shape = type_of(c).shape
    c = astype(c, np.result_type(np.float64, type_of(c).dtype))
    if len(type_of(t).shape) != 1 or not shape or shape[axis] < k + 1 or type_of(t).shape[0] < shape[axis] + k + 1:
        raise ShapeError(
            f"BSpline{at(user_source())}: n coefficients of degree {k} need n + {k + 1} knots, and n at least {k + 1}; got {type_of(c)} "
            f"and knots {type_of(t)}"
        )
    axis = axis % len(shape)
    return t, np.moveaxis(c, axis, 0), axis


@public
def _values(s: BSpline, points: Any, extrapolate: bool | str) -> Any:
    x, t, c, k = astype(as_array(points), np.float64), s.t, s.c, s.k
    n = type_of(t).shape[0] - k - 1
    low, high = t[k], t[n]
    if extrapolate == "periodic":
        x = low + np.remainder(x - low, high - low)
    rest = (1,) * (len(type_of(c).shape) - 1)
    column = lambda v: np.reshape(v, (*type_of(x).shape, *rest))
    # Outside, and at the last knot, by the first and the last polynomial: on an interval of some length, if there is a difference.
    first, last = (np.searchsorted(t, low, side="right") - 1, np.searchsorted(t, high) - 1) if k else (0, n - 1)
    i = np.clip(np.searchsorted(t, x, side="right") - 1, first, last)
    d = [take(c, i - k + j, axis=0) for j in range(k + 1)]
    for r in range(1, k + 1):
        left = [take(t, i - k + j) for j in range(r, k + 1)]
        shares = [(x - a) / (take(t, i + 1 + j - r) - a) for j, a in zip(range(r, k + 1), left, strict=True)]
        d = [(1.0 - column(w)) * d[j] + column(w) * d[j + 1] for j, w in enumerate(shares)]
    outside = np.isnan(x) if extrapolate else np.isnan(x) | (x < low) | (x > high)
    found = np.where(column(outside), np.nan, d[0])
    return np.transpose(found, numbered(type_of(found).shape, s.axis, len(type_of(x).shape))) if s.axis else found


@public
def _lowered(s: BSpline) -> Any:
    n = type_of(s.c).shape[0]
    width = s.t[s.k + 1 : s.k + n] - s.t[1:n]
    empty = width == 0  # a knot that is there k + 1 times, between which there is nothing
    scale = np.where(empty, 0.0, s.k / np.where(empty, 1.0, width))
    return s.t[1:-1], np.diff(s.c, axis=0) * np.reshape(scale, (-1, *(1,) * (len(type_of(s.c).shape) - 1)))


@public
def _raised(s: BSpline) -> Any:
    """Knots and coefficients of the antiderivative (C. de Boor, A Practical Guide to Splines, ch. X)."""
    width = (s.t[s.k + 1 :] - s.t[: -s.k - 1]) / (s.k + 1)
    parts = s.c * np.reshape(width, (-1, *(1,) * (len(type_of(s.c).shape) - 1)))
    c = np.concatenate([np.zeros_like(parts[:1]), np.cumsum(parts, axis=0)])
    return np.concatenate([s.t[:1], s.t, s.t[-1:]]), c


def make_interp_spline(
    x: ArrayLike, y: ArrayLike, k: int = 3, t: ArrayLike | None = None, bc_type: Any = None, axis: int = 0, check_finite: bool = True
) -> BSpline:  # fmt: skip
    """The B-spline of degree `k` through the samples `y` at `x`: `scipy.interpolate.make_interp_spline`, with derivatives in both.

    Args:
        x: the places (n,), ascending.
        y: samples along `axis`.
        k: the degree.
        t: knots (n + k + 1,); None for SciPy's, not-a-knot at both ends.
        bc_type: None or "not-a-knot"; "natural", "clamped" or "periodic"; or a pair of conditions at the first and the last place, of which each is
            "natural", "clamped", None or a list of pairs (order of derivative, value), `k - 1` of them together.

    Raises:
        ShapeError: sizes that do not fit; fewer than `k + 1` samples.
        ValueError: more or fewer conditions than `k - 1`; another `bc_type`; samples that are not periodic.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda y: tg.scipy.interpolate.make_interp_spline(np.arange(6.0), y, k=5)(2.5)
    >>> bool(np.isclose(f(np.arange(6.0) ** 4), 2.5**4))
    True
    """
    periodic = isinstance(bc_type, str) and bc_type == "periodic"
    conditions = ((), ()) if periodic else _conditions(bc_type, k)
    periodic = periodic and k > 1  # as SciPy has it
    knots, c, axis = _interpolated(x, y, k, t, axis, conditions, periodic)
    return _made(knots, c, k, "periodic" if periodic else True, axis)


_AT_AN_END = {"natural": [(2, 0.0)], "clamped": [(1, 0.0)]}


def _conditions(bc_type: Any, k: int) -> tuple[Any, Any]:
    """Derivatives that are given at the two ends: pairs of order and value."""
    if bc_type is None or (isinstance(bc_type, str) and bc_type == "not-a-knot"):
        return (), ()
    sides = (bc_type, bc_type) if isinstance(bc_type, str) else tuple(bc_type)
    unknown = [side for side in sides if isinstance(side, str) and side not in _AT_AN_END]
    if unknown or len(sides) != 2:
        raise ValueError(
            f"make_interp_spline{at(user_source())}: bc_type is None, 'not-a-knot', 'natural', 'clamped', 'periodic' or a pair of conditions, got "
            f"{bc_type!r}"
        )
    first, last = [_AT_AN_END[side] if isinstance(side, str) else list(side or ()) for side in sides]
    if len(first) + len(last) not in (0, k - 1):
        raise ValueError(
            f"make_interp_spline{at(user_source())}: a spline of degree {k} needs {k - 1} conditions at its ends, got {len(first)} and {len(last)}"
        )
    return first, last


@public
def _interpolated(x: Any, y: Any, k: int, t: Any, axis: int, conditions: Any, periodic: bool) -> Any:
    x, y, axis = samples(x, y, axis, "make_interp_spline")
    n = type_of(x).shape[0]
    first, last = conditions
    more = k - 1 if periodic else len(first) + len(last)
    if n + more < k + 1:
        raise ShapeError(f"make_interp_spline{at(user_source())}: degree {k} needs {k + 1} or more samples, got {n}")
    if t is not None:
        t = astype(as_array(t), np.float64)
    elif periodic:
        t = _periodic_knots(x, k, n)
    elif more:
        t = np.concatenate([x[0] * np.ones(k), x, x[-1] * np.ones(k)])
    else:
        t = _knots(x, k, n)
    basis = _made(t, np.eye(n + more), k, True, 0)
    rows, wanted = [_values(basis, x, True)], [y]
    derived = lambda order, end: np.reshape(_values(basis.derivative(order), x[end], True), (1, -1))
    given = lambda value: np.broadcast_to(astype(as_array(value), type_of(y).dtype), (1, *type_of(y).shape[1:]))
    if periodic:
        ends = [known(y[0]), known(y[-1])]
        if ends[0] is not None and ends[1] is not None and not np.allclose(ends[0], ends[1], atol=1e-15):
            raise ValueError(
                f"make_interp_spline{at(user_source())}: the first and the last sample of a periodic spline must be equal"
            )
        rows += [derived(order, 0) - derived(order, -1) for order in range(1, k)]
        wanted += [given(0.0)] * (k - 1)
    for side, end in ((first, 0), (last, -1)):
        rows += [derived(order, end) for order, _ in side]
        wanted += [given(value) for _, value in side]
    right = np.concatenate(wanted)
    shape = type_of(right).shape
    return t, np.reshape(np.linalg.solve(np.concatenate(rows), np.reshape(right, (n + more, -1))), shape), axis


def _knots(x: Any, k: int, n: int) -> Any:
    """Those of splines that are not-a-knot at both ends."""
    if k == 0:
        return np.concatenate([x, x[-1:]])
    ends = np.ones(k + 1)
    inner = x[(k + 1) // 2 : n - (k + 1) // 2] if k % 2 else ((x[1:] + x[:-1]) / 2)[k // 2 : n - 1 - k // 2]
    return np.concatenate([x[0] * ends, inner, x[-1] * ends])


def _periodic_knots(x: Any, k: int, n: int) -> Any:
    """The places, for an even degree those halfway before them, and k more on each side, where they repeat."""
    inner = x if k % 2 else np.concatenate([x[:1], x[1:-1] - np.diff(x)[:-1] / 2, x[-1:]])
    steps = np.diff(inner)
    before = np.cumsum(take(steps, -(np.arange(k) % (n - 1)) - 1))
    after = np.cumsum(take(steps, np.arange(k) % (n - 1)))
    return np.concatenate([inner[0] - before[::-1], inner, inner[-1] + after])


register_pytree_node(
    BSpline, lambda s: ((s.t, s.c), (s.k, s.extrapolate, s.axis)), lambda data, leaves: _made(*leaves, *data)
)
