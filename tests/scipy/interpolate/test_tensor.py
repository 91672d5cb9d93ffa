"""Splines along the axes of a grid."""

from __future__ import annotations

import numpy as np
import scipy.interpolate

from tracegrad.scipy.interpolate import make_interp_spline
from tracegrad.scipy.interpolate.tensor import DEGREES, basis, of_pchips, of_splines


def test_basis() -> None:
    """Those B-splines that are not zero, against SciPy's design matrix; outside they go on, and their sum is 1."""
    places = np.array([0.0, 0.7, 1.5, 3.0, 3.5, 4.0, 5.0])
    for degree in DEGREES.values():
        spline = make_interp_spline(places, np.sin(places), degree)
        x = np.array([0.0, 0.3, 1.5, 2.2, 5.0])
        whole = scipy.interpolate.BSpline.design_matrix(x, spline.t, degree).toarray()
        first, weights = basis(spline, x)
        near = first[:, None] + np.arange(degree + 1)
        np.testing.assert_allclose(np.take_along_axis(whole, near, 1), weights, rtol=1e-13, atol=1e-16)
        outside = np.array([-1.0, 6.0])
        first, weights = basis(spline, outside)
        np.testing.assert_allclose(np.sum(weights, axis=1), 1.0, rtol=1e-12)
        values = np.sum(spline.c[first[:, None] + np.arange(degree + 1)] * weights, axis=1)
        np.testing.assert_allclose(values, spline(outside), rtol=1e-11)


def test_polynomials_are_met() -> None:
    """A cubic in each coordinate by splines, and what is linear by pchip."""
    x, y = np.array([0.0, 1.0, 2.5, 3.0, 4.0]), np.array([-1.0, 0.0, 0.5, 2.0])
    points = np.array([[0.3, -0.2], [2.7, 1.9], [4.0, 2.0]])
    cubic = lambda a, b: (a**3 - 2.0 * a) * (b**3 + 1.0)
    found = of_splines((x, y), cubic(x[:, None], y), points, 3, (0, 0))
    np.testing.assert_allclose(found, cubic(*points.T), rtol=1e-12, atol=1e-12)
    slope = of_splines((x, y), cubic(x[:, None], y), points, 3, (1, 0))
    np.testing.assert_allclose(slope, (3 * points[:, 0] ** 2 - 2.0) * (points[:, 1] ** 3 + 1.0), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(of_pchips((x, y), x[:, None] * y, points), points[:, 0] * points[:, 1], rtol=1e-12)
