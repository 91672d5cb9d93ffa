"""Least squares and fits against SciPy's, and their derivatives against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize

import tracegrad as tg
from tracegrad.core.errors import UnexpectedTracerError

opt = tg.scipy.optimize
T = np.linspace(0.0, 2.0, 15)
Y = 3.0 * np.exp(-0.7 * T) + 0.05 * np.sin(9 * T)


def model(t: Any, a: Any, b: Any) -> Any:
    return a * np.exp(-b * t)


@pytest.mark.parametrize("loss", ["linear", "soft_l1", "huber", "cauchy", "arctan"])
def test_least_squares(loss: str) -> None:
    how: dict[str, Any] = {"loss": loss, "f_scale": 0.04, "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    residuals = lambda x, y: model(T, x[0], x[1]) - y
    solve = lambda y: opt.least_squares(residuals, np.ones(2), args=(y,), **how).x
    expected = scipy.optimize.least_squares(residuals, np.ones(2), args=(Y,), **how)
    np.testing.assert_allclose(solve(Y), expected.x, rtol=1e-7)
    found = tg.jacrev(solve)(Y)
    assert found.shape == (2, 15)
    e = np.zeros(15)
    e[4] = 1e-5
    np.testing.assert_allclose(found @ e, (solve(Y + e) - solve(Y - e)) / 2, rtol=2e-3, atol=1e-10)


def test_least_squares_within_bounds() -> None:
    residuals = lambda x, y: model(T, x[0], x[1]) - y
    solve = lambda y: (
        opt.least_squares(residuals, np.array([1.0, 0.3]), args=(y,), bounds=([0.0, 0.0], [10.0, 0.5]), xtol=1e-14).x
    )
    np.testing.assert_allclose(solve(Y)[1], 0.5, atol=1e-6)
    np.testing.assert_allclose(tg.jacrev(solve)(Y)[1], 0.0, atol=1e-6)
    with pytest.raises(ValueError, match="loss must be one of 'linear'"):
        opt.least_squares(residuals, np.ones(2), args=(Y,), loss="square")


SIGMA = 0.1 + 0.02 * T


@pytest.mark.parametrize(
    "how", [{}, {"sigma": SIGMA}, {"sigma": SIGMA, "absolute_sigma": True}, {"sigma": np.diag(SIGMA**2) + 0.001}]
)
def test_curve_fit(how: dict[str, Any]) -> None:
    for found, expected in zip(
        opt.curve_fit(model, T, Y, **how), scipy.optimize.curve_fit(model, T, Y, **how), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_curve_fit_has_derivatives() -> None:
    how: dict[str, Any] = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    fit = lambda y, s: opt.curve_fit(model, T, y, sigma=s, p0=(1.0, 1.0), **how)
    for part in (0, 1):
        loss = lambda y, part=part: np.sum(fit(y, SIGMA)[part] * np.array([1.0, 2.0]))
        e = np.zeros(15)
        e[6] = 1e-5
        np.testing.assert_allclose(tg.grad(loss)(Y) @ e, (loss(Y + e) - loss(Y - e)) / 2, rtol=1e-4)
    np.testing.assert_allclose(tg.jit(lambda y: fit(y, SIGMA)[0])(Y), fit(Y, SIGMA)[0])
    with pytest.raises(RuntimeError, match="Optimal parameters not found"):
        opt.curve_fit(model, T, Y, max_nfev=2)
    with pytest.raises(TypeError, match="does not say how many parameters"):
        opt.curve_fit(lambda t, *p: p[0] * t, T, Y)
    np.testing.assert_allclose(
        opt.curve_fit(model, T, Y, bounds=(0, [5.0, 2.0]))[0], opt.curve_fit(model, T, Y)[0], rtol=1e-5
    )


def test_curve_fit_has_derivatives_in_places_deviations_and_bounds() -> None:
    how: dict[str, Any] = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    w = np.cos(np.arange(15.0))

    def fit(q: Any, part: int) -> Any:
        return opt.curve_fit(model, T + q[0] * w, Y, sigma=SIGMA * (1 + q[1] * w), p0=(1.0, 1.0), **how)[part]

    q, step = np.array([0.01, 0.02]), 1e-4
    for part in (0, 1):
        f = lambda q, part=part: fit(q, part)
        for g in (f, tg.jacrev(f)):
            wanted = np.stack([(g(q + step * e) - g(q - step * e)) / (2 * step) for e in np.eye(2)], -1)
            np.testing.assert_allclose(tg.jacfwd(g)(q), wanted, rtol=1e-3, atol=1e-5 * np.max(np.abs(wanted)))
    held = lambda b: opt.curve_fit(model, T, Y, p0=(1.0, 0.1), bounds=([0.0, 0.0], [10.0, b]), **how)[0]
    np.testing.assert_allclose(tg.jacfwd(held)(0.5), (held(0.5 + 1e-3) - held(0.5 - 1e-3)) / 2e-3, atol=1e-4)
    with pytest.raises(UnexpectedTracerError, match=r"where to begin follows from bounds.*write p0=np.ones\(2\)"):
        tg.grad(lambda b: np.sum(opt.curve_fit(model, T, Y, bounds=(0.0, b))[0]))(1.0)


def test_what_curve_fit_takes() -> None:
    expected = opt.curve_fit(model, T, Y)[0]
    np.testing.assert_array_equal(opt.curve_fit(model, T.tolist(), Y.tolist(), maxfev=100)[0], expected)
    np.testing.assert_allclose(tg.jit(lambda p: opt.curve_fit(model, T, Y, p0=[p, 1.0])[0])(1.5), expected, rtol=1e-6)
    with pytest.raises(TypeError, match=r"takes f_scale, .*got jac, nan_policy; the Jacobian is tracegrad's"):
        opt.curve_fit(model, T, Y, jac=model, nan_policy="omit")
    with pytest.raises(UnexpectedTracerError, match="f_scale is how SciPy searches"):
        tg.grad(lambda s: np.sum(opt.curve_fit(model, T, Y, method="trf", f_scale=s)[0]))(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_second_derivatives_of_least_squares(method: str) -> None:
    how: dict[str, Any] = {"method": method, "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    w, q = np.cos(np.arange(15.0)), np.array([0.01, 0.02])
    residuals = lambda x, y, t: model(t, x["a"], x["b"]) - y

    def solve(q: Any) -> Any:
        x = opt.least_squares(residuals, {"a": 1.0, "b": 1.0}, args=(Y + q[0] * w, T + q[1] * w), **how).x
        return np.stack([x["a"], x["b"]])

    for f in (solve, tg.jacrev(solve)):
        wanted = np.stack([(f(q + 1e-3 * e) - f(q - 1e-3 * e)) / 2e-3 for e in np.eye(2)], -1)
        np.testing.assert_allclose(tg.jacfwd(f)(q), wanted, rtol=1e-4, atol=1e-5)
    second = tg.jacfwd(tg.jacrev(solve))
    np.testing.assert_allclose(tg.jit(second, backend="xla")(q), second(q), rtol=1e-9)
