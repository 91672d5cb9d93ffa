"""Piecewise polynomials: SciPy's values, and derivatives in all that they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.interpolate

import tracegrad as tg
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
from tracegrad.scipy import interpolate
from tracegrad.testing import check_grads

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "not-a-knot": ("CubicSpline", {}),
    "natural": ("CubicSpline", {"bc_type": "natural"}),
    "clamped": ("CubicSpline", {"bc_type": "clamped"}),
    "mixed": ("CubicSpline", {"bc_type": ("not-a-knot", "natural")}),
    "periodic": ("CubicSpline", {"bc_type": "periodic"}),
    "inside": ("CubicSpline", {"extrapolate": False}),
    "repeated": ("CubicSpline", {"extrapolate": "periodic"}),
    "pchip": ("PchipInterpolator", {}),
    "akima": ("Akima1DInterpolator", {"extrapolate": True}),
    "akima inside": ("Akima1DInterpolator", {}),
    "makima": ("Akima1DInterpolator", {"method": "makima"}),
}


def drawn(n: int, shape: tuple[int, ...] | None = None, axis: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(n)
    x, y = np.sort(rng.normal(size=n)), rng.normal(size=(n,) if shape is None else shape)
    points = rng.uniform(x[0] - 1, x[-1] + 1, (4, 2))
    points[0] = x[0], x[-1]
    return x, y, points


def closed(y: Any, axis: int = 0) -> Any:
    """With the last sample equal to the first."""
    rows = np.moveaxis(y.copy(), axis, 0)
    rows[-1] = rows[0]
    return np.moveaxis(rows, 0, axis)


@pytest.mark.parametrize("name", CASES)
def test_values_are_scipys(name: str) -> None:
    kind, how = CASES[name]
    for n, shape, axis in ((2, None, 0), (3, (3, 2), 0), (4, (2, 4), 1), (5, None, 0), (8, (2, 8, 3), 1)):
        x, y, points = drawn(n, shape)
        y = closed(y, axis) if name == "periodic" else y
        theirs = getattr(scipy.interpolate, kind)(x, y, axis=axis, **how)
        ours = getattr(interpolate, kind)(x, y, axis=axis, **how)
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
        close(ours(points), theirs(points))
        close(ours(points, 1), theirs(points, 1))
        close(ours(x[0]), theirs(x[0]))
        for order in (1, 2, 4):
            close(ours.derivative(order)(points), theirs.derivative(order)(points))
        close(ours.antiderivative(2)(points), theirs.antiderivative(2)(points))
        ends = [(x[0] + 0.1, x[-1] - 0.2), (x[-1], x[0]), (x[0] - 0.3, x[-1] + 0.1)]
        for a, b in ends[: 2 if theirs.extrapolate is False else 3]:
            close(ours.integrate(a, b), theirs.integrate(a, b))


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    kind, how = CASES[name]
    x = np.array([0.0, 0.7, 1.5, 2.1, 3.0, 3.4])
    y = np.array([0.1, 1.2, 1.6, 0.4, 0.3, -1.0])
    points = np.array([0.2, 1.6, 2.9])
    turned = closed if name == "periodic" else lambda y: y

    def value(x: Any, y: Any, t: Any) -> Any:
        y = np.concatenate([y[:-1], y[:1]]) if name == "periodic" else y
        spline = getattr(interpolate, kind)(x, y, **how)
        return spline(t) + spline.integrate(t[0], t[1])

    check_grads(value, (x, turned(y), points), order=1)
    spline = getattr(interpolate, kind)(x, turned(y), **how)
    np.testing.assert_allclose(tg.vmap(tg.grad(spline))(points), spline(points, 1), rtol=1e-12)
    np.testing.assert_allclose(tg.vmap(tg.grad(tg.grad(spline)))(points), spline(points, 2), rtol=1e-10, atol=1e-12)
    assert np.isclose(tg.grad(lambda b: spline.integrate(0.5, b))(1.0), spline(1.0), rtol=1e-12)


def test_conditions_with_traced_values() -> None:
    x, y, _ = drawn(6)
    ends = lambda a, b: interpolate.CubicSpline(x, y, bc_type=((1, a), (2, b)))(0.1 * x[0] + 0.9 * x[-1])
    expected = scipy.interpolate.CubicSpline(x, y, bc_type=((1, 0.3), (2, -0.7)))(0.1 * x[0] + 0.9 * x[-1])
    assert np.isclose(ends(0.3, -0.7), expected)
    check_grads(ends, (0.3, -0.7), order=1)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_jit(backend: str) -> None:
    x, y, points = drawn(6)
    f = lambda x, y, t: interpolate.CubicSpline(x, y)(t)
    found = tg.jit(f, backend=backend)(x, y, points)
    np.testing.assert_allclose(np.asarray(found), scipy.interpolate.CubicSpline(x, y)(points), rtol=1e-10)


def test_trees_complex_numbers_and_hermite() -> None:
    x, y, points = drawn(6)
    spline = interpolate.CubicSpline(x, y + 1j * y**2)
    np.testing.assert_allclose(spline(points), scipy.interpolate.CubicSpline(x, y + 1j * y**2)(points), rtol=1e-12)
    found = tg.jit(lambda s, t: s.derivative()(t))(spline, points)
    np.testing.assert_allclose(found, spline(points, 1), rtol=1e-14)
    assert isinstance(tg.grad(lambda s: np.sum(s(points).real))(spline), interpolate.CubicSpline)
    slopes = np.cos(x)
    theirs = scipy.interpolate.CubicHermiteSpline(x, y, slopes)
    np.testing.assert_allclose(interpolate.CubicHermiteSpline(x, y, slopes)(points), theirs(points), rtol=1e-12)
    check_grads(lambda y, d: interpolate.CubicHermiteSpline(x, y, d)(points), (y, slopes), order=1)


def test_turning_samples() -> None:
    """Where Pchip's slope is zero, its derivative is, too, and nothing is divided by zero."""
    f = lambda y: np.sum(interpolate.PchipInterpolator(np.arange(5.0), y)(np.array([0.5, 1.5, 3.5])))
    assert np.isfinite(tg.grad(f)(np.array([0.0, 1.0, 1.0, 0.0, 2.0]))).all()
    g = lambda y: np.sum(interpolate.Akima1DInterpolator(np.arange(5.0), y)(np.array([0.5, 1.5, 3.5])))
    assert np.isfinite(tg.grad(g)(np.zeros(5))).all()


def test_errors() -> None:
    x, y, _ = drawn(5)
    with pytest.raises(ValueError, match=r"CubicSpline at .*test_piecewise.*: x must be strictly increasing"):
        interpolate.CubicSpline(x[::-1], y)
    with pytest.raises(ShapeError, match=r"as many as y has samples along axis 0; got f64\[4\] and \(5,\)"):
        interpolate.CubicSpline(x[1:], y)
    with pytest.raises(ValueError, match="bc_type must be 'not-a-knot', 'periodic'"):
        interpolate.CubicSpline(x, y, bc_type="smooth")
    with pytest.raises(ValueError, match="bc_type must be"):
        interpolate.CubicSpline(x, y, bc_type=("periodic", "natural"))
    with pytest.raises(ValueError, match="a first or a second derivative"):
        interpolate.CubicSpline(x, y, bc_type=((3, 0.0), "natural"))
    with pytest.raises(ValueError, match="first and the last sample of periodic ones must be equal"):
        interpolate.CubicSpline(x, y, bc_type="periodic")
    with pytest.raises(ValueError, match="method must be 'akima' or 'makima', got 'cubic'"):
        interpolate.Akima1DInterpolator(x, y, method="cubic")
    with pytest.raises(TypeError, match="y must be real"):
        interpolate.PchipInterpolator(x, y * 1j)
    with pytest.raises(ShapeError, match="y and dydx must have one shape"):
        interpolate.CubicHermiteSpline(x, y, y[1:])
    with pytest.raises(UnsupportedFunctionError, match=r"tg\.scipy\.optimize\.root"):
        interpolate.CubicSpline(x, y).roots()


def test_jax_arrays() -> None:
    jax = pytest.importorskip("jax")
    x, y, points = [jax.numpy.asarray(a, "float32") for a in drawn(6)]
    spline = interpolate.CubicSpline(x, y)
    assert isinstance(spline.c, jax.Array) and isinstance(spline(points), jax.Array)
    expected = scipy.interpolate.CubicSpline(np.asarray(x), np.asarray(y))(np.asarray(points))
    np.testing.assert_allclose(np.asarray(spline(points)), expected, rtol=2e-3, atol=1e-4)
