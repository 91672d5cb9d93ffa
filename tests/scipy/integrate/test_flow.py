"""Derivatives of solutions of differential equations, against differences and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.scipy.integrate.test_odes import TIMES, predator_prey
from tracegrad.core.errors import DifferentiationError
from tracegrad.scipy.integrate import odeint, solve_ivp
from tracegrad.testing import check_grads

P = np.array([1.1, 0.7, 1.0, 0.5, 0.0, 3.0])
WEIGHTS = np.sqrt(np.arange(10.0)).reshape(2, 5)


def loss(p: Any, **how: Any) -> Any:
    """Of parameters, initial value and both ends."""
    found = solve_ivp(
        predator_prey,
        (p[4], p[5]),
        p[2:4],
        t_eval=TIMES,
        args=(p[0], p[1]),
        method="DOP853",
        rtol=1e-10,
        atol=1e-10,
        **how,
    )
    return np.sum(np.sin(found.y) * WEIGHTS)


def differences(f: Any, p: Any, which: range, h: float = 1e-5) -> Any:
    return np.stack([(f(p + h * e) - f(p - h * e)) / (2 * h) for e in np.eye(len(p))[which]], axis=-1)


@pytest.fixture(scope="module")
def gradient() -> Any:
    return tg.grad(loss)(P)


def test_first_derivatives(gradient: Any) -> None:
    np.testing.assert_allclose(gradient[:4], differences(loss, P, range(4)), rtol=1e-7)
    np.testing.assert_allclose(tg.jacfwd(loss)(P), gradient, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(tg.grad(lambda p: loss(p, adjoint=False))(P), gradient, rtol=1e-7, atol=1e-8)
    assert gradient[5] == 0  # the solution at given times does not depend on where it ends


def test_second_derivatives() -> None:
    hessian = tg.hessian(loss)(P)
    np.testing.assert_allclose(hessian[:4, :4], differences(tg.grad(loss), P, range(4))[:4], rtol=1e-6)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-7)
    np.testing.assert_allclose(tg.jacrev(tg.grad(loss))(P)[:5, :5], hessian[:5, :5], atol=1e-6)


def test_start_and_times() -> None:
    """A solution from where it is at another time is the same one; and it moves along times by its slope."""
    exact = lambda t, t0: 2.0 * np.exp(np.sin(t) - np.sin(t0))

    def solved(t0: Any, times: Any) -> Any:
        return solve_ivp(
            lambda t, y: np.cos(t) * y, (t0, 2.0), np.array([2.0]), t_eval=times, rtol=1e-10, atol=1e-10
        ).y[0]

    times = np.array([0.5, 1.0, 2.0])
    for mode in (tg.jacfwd, tg.jacrev):
        found = mode(solved, argnums=(0, 1))(0.3, times)
        np.testing.assert_allclose(found[0], -np.cos(0.3) * exact(times, 0.3), rtol=1e-8)
        np.testing.assert_allclose(found[1], np.diag(np.cos(times) * exact(times, 0.3)), rtol=1e-8, atol=1e-12)


def test_backwards_in_time() -> None:
    solved = lambda k: solve_ivp(
        lambda t, y: -k * y, (2.0, 0.0), np.ones(1), t_eval=[1.0, 0.0], rtol=1e-10, atol=1e-10
    ).y[0]
    for mode in (tg.jacfwd, tg.jacrev):
        np.testing.assert_allclose(mode(solved)(0.5), [np.exp(0.5), 2 * np.exp(1.0)], rtol=1e-8)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_jit(backend: str, gradient: Any) -> None:
    np.testing.assert_array_equal(np.asarray(tg.jit(tg.grad(loss), backend=backend)(P)), gradient)


def test_batches(gradient: Any) -> None:
    rows = np.stack([P, P + 0.01 * (np.arange(6) < 4)])
    found = tg.vmap(tg.grad(loss))(rows)
    np.testing.assert_array_equal(found[0], gradient)
    np.testing.assert_array_equal(tg.grad(lambda rows: np.sum(tg.vmap(loss)(rows)))(rows), found)


def test_odeint_and_what_is_closed_over() -> None:
    def f(p: Any) -> Any:
        reactions = lambda y, t: [-p["k"] * y[0], p["k"] * y[0] - p["r"][0] * y[1]]
        return odeint(reactions, np.array([1.0, 0.0]), np.linspace(0.0, 2.0, 3), rtol=1e-11, atol=1e-11)[-1, 1]

    def exact(p: Any) -> Any:
        k, r = p["k"], p["r"][0]
        return k / (r - k) * (np.exp(-2 * k) - np.exp(-2 * r))

    p = {"k": 0.5, "r": np.array([0.3])}
    for transform in (tg.grad, lambda f: tg.jit(tg.grad(f)), tg.jacfwd):
        found, expected = transform(f)(p), tg.grad(exact)(p)
        np.testing.assert_allclose(found["k"], expected["k"], rtol=1e-7)
        np.testing.assert_allclose(found["r"], expected["r"], rtol=1e-7)


def test_complex_states() -> None:
    """Of a right-hand side that is not holomorphic."""

    def f(w: Any, y0: Any) -> Any:
        slope = lambda t, y: 1j * w * y * y + 0.3 * np.conj(y)
        found = solve_ivp(slope, (0.0, 1.0), y0, t_eval=[0.5, 1.0], method="DOP853", rtol=1e-10, atol=1e-10).y[0]
        return np.abs(found[1]) ** 2 + found[0].real

    y0 = np.array([1.0 + 0.5j])
    check_grads(f, (0.7, y0), order=2)
    assert np.isclose(tg.jacfwd(f)(0.7, y0), tg.grad(f)(0.7, y0), rtol=1e-8)


def test_dtypes() -> None:
    """SciPy computes in float64, and derivatives have the dtypes of what they are of; whole numbers are constants."""

    def f(k: Any, y0: Any, n: int) -> Any:
        return solve_ivp(lambda t, y, n: -k * y * n, (0, 1), y0, t_eval=[1], args=(n,)).y[0, 0]

    found = tg.grad(f, argnums=(0, 1))(np.float32(0.5), np.ones(1, np.float32), 2)
    assert found[0].dtype == found[1].dtype == np.float32
    assert np.isclose(found[0], -2 * np.exp(-1.0), rtol=1e-3)
    assert tg.grad(lambda y0: f(0.5, y0, 2))(np.array([1.0])).dtype == np.float64


def test_stiff_systems() -> None:
    """Integrated back they grow without bound, which is seen; sensitivities are integrated onward."""

    def f(k: Any, **how: Any) -> Any:
        slope = lambda t, y: -1000 * k * (y - np.cos(t))
        return solve_ivp(slope, (0.0, 5.0), np.ones(1), "LSODA", [2.0, 5.0], rtol=1e-9, atol=1e-9, jac=True, **how).y[
            0, -1
        ]

    with pytest.raises(DifferentiationError, match=r"which is unstable here: .*\n.*adjoint=False"):
        tg.grad(f)(0.5)
    onward = lambda k: f(k, adjoint=False)
    lag = lambda k: (np.cos(5.0) * (1000 * k) ** 2 + np.sin(5.0) * 1000 * k) / ((1000 * k) ** 2 + 1)
    assert np.isclose(tg.grad(onward)(0.5), tg.grad(lag)(0.5), rtol=1e-4)
    assert np.isclose(tg.grad(tg.grad(onward))(0.5), tg.grad(tg.grad(lag))(0.5), rtol=1e-3)
    assert np.isclose(tg.jvp(f, (0.5,), (1.0,))[1], tg.grad(lag)(0.5), rtol=1e-4)


def test_times_at_the_start() -> None:
    f = lambda y0: solve_ivp(lambda t, y: -y, (0.0, 0.0), y0, t_eval=[0.0]).y[0, 0]
    assert tg.grad(f)(np.ones(1)) == 1.0
