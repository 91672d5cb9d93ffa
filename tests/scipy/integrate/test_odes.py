"""Solutions of differential equations as calls: SciPy's values; what may be asked, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.integrate

import tracegrad as tg
from tracegrad.core.errors import DtypeError, ShapeError, UnsupportedFunctionError
from tracegrad.scipy.integrate import odeint, solve_ivp

TIMES = np.linspace(0.0, 3.0, 5)
START = np.array([1.0, 0.5])


def predator_prey(t: Any, y: Any, a: Any, b: Any) -> Any:
    return [a * y[0] - b * y[0] * y[1], b * y[0] * y[1] - y[1] + 0.1 * np.sin(t)]


@pytest.mark.parametrize("method", ["RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA"])
def test_values_are_scipys(method: str) -> None:
    def solved(a: Any, solve: Any = solve_ivp) -> Any:
        return solve(predator_prey, (0.0, 3.0), START, method, TIMES, args=(a, 0.7)).y

    expected = solved(1.1, scipy.integrate.solve_ivp)
    np.testing.assert_array_equal(solved(1.1), expected)
    np.testing.assert_array_equal(tg.jvp(solved, (1.1,), (0.0,))[0], expected)


def test_odeint_is_scipys() -> None:
    def solved(a: Any, solve: Any = odeint) -> Any:
        return solve(predator_prey, START, TIMES, args=(a, 0.7), tfirst=True)

    np.testing.assert_array_equal(solved(1.1), solved(1.1, scipy.integrate.odeint))
    np.testing.assert_array_equal(tg.jit(solved)(1.1), solved(1.1))


def test_steps_of_the_solver() -> None:
    """Without t_eval they are where the solver has them, between ends that may be traced."""
    times: list[Any] = []

    def solved(end: Any) -> Any:
        found = solve_ivp(predator_prey, (0.0, end), START, args=(1.1, 0.7), rtol=1e-9, atol=1e-9)
        times.append(tg.stop_gradient(found.t))
        return found.y[:, -1]

    slope = tg.jacfwd(solved)(3.0)
    np.testing.assert_allclose(slope, predator_prey(3.0, solved(3.0), 1.1, 0.7), rtol=1e-8)
    expected = scipy.integrate.solve_ivp(predator_prey, (0.0, 3.0), START, args=(1.1, 0.7), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(times[-1], expected.t)
    np.testing.assert_allclose(solved(3.0), expected.y[:, -1], rtol=1e-13)
    text = r"no t_eval, where types alone are known is not traced at .*\n.*t_eval=np.linspace"
    with pytest.raises(UnsupportedFunctionError, match=text):
        tg.jit(solved)(3.0)


def test_plain_calls_have_all_of_scipy() -> None:
    fall = lambda t, y: np.array([y[1], -9.81])
    hit = lambda t, y: y[0]
    found = solve_ivp(fall, (0.0, 2.0), [1.0, 0.0], events=hit, dense_output=True)
    assert found.t_events[0].size == 1 and found.sol(0.0)[0] == 1.0
    # Also where something else is traced, which the function does not use.
    assert tg.grad(lambda x: x * solve_ivp(fall, (0.0, 2.0), [1.0, 0.0], events=hit).t_events[0].size)(2.0) == 1.0


def test_dense_output() -> None:
    def solved(a: Any, times: Any, span: Any = (0.0, 3.0), solve: Any = solve_ivp) -> Any:
        found = solve(
            predator_prey, span, START, t_eval=[span[1]], args=(a, 0.7), dense_output=True, rtol=1e-9, atol=1e-9
        )
        return found.sol(times)

    times = np.array([2.0, 0.5, 1.0])
    for span, when in (((0.0, 3.0), times), ((3.0, 0.0), times), ((0.0, 3.0), 2.0)):
        expected = solved(1.1, when, span, scipy.integrate.solve_ivp)
        np.testing.assert_allclose(tg.jit(lambda a, t, span=span: solved(a, t, span))(1.1, when), expected, rtol=1e-14)
    slope = tg.jacfwd(solved, 1)(1.1, 2.0)
    np.testing.assert_allclose(slope, predator_prey(2.0, solved(1.1, 2.0), 1.1, 0.7), rtol=1e-7)
    np.testing.assert_allclose(tg.jacrev(solved)(1.1, times), tg.jacfwd(solved)(1.1, times), rtol=1e-6)


def test_vectorized() -> None:
    def f(k: Any) -> Any:
        matrix = np.array([[0.0, 1.0], [-1.0, 0.0]])
        return solve_ivp(
            lambda t, y: k * (matrix @ y), (0.0, 1.0), START, t_eval=[1.0], vectorized=True, rtol=1e-9, atol=1e-9
        ).y[0, 0]

    expected = 1.0 * np.cos(2.0) + 0.5 * np.sin(2.0)
    assert np.isclose(f(2.0), expected, rtol=1e-7)
    assert np.isclose(tg.grad(f)(2.0), -np.sin(2.0) + 0.5 * np.cos(2.0), rtol=1e-7)


def test_refused() -> None:
    with pytest.raises(UnsupportedFunctionError, match="full_output=True"):
        tg.grad(lambda k: odeint(lambda y, t: -k * y, np.ones(1), TIMES, full_output=True)[0][0, 0])(1.0)
    with pytest.raises(ShapeError, match=r"y0 must be a vector, got f64\[1,1\]"):
        tg.grad(lambda k: solve_ivp(lambda t, y: -k * y, (0.0, 1.0), np.ones((1, 1))).y[0, 0])(1.0)
    with pytest.raises(ShapeError, match=r"the right-hand side returned f64\[2\] for a state f64\[1\]"):
        tg.grad(lambda k: solve_ivp(lambda t, y: [-k, k], (0.0, 1.0), np.ones(1)).y[0, 0])(1.0)
    with pytest.raises(DtypeError, match="start from a complex y0"):
        tg.grad(lambda k: solve_ivp(lambda t, y: 1j * k * y, (0.0, 1.0), np.ones(1)).y[0, 0])(1.0)
    turning = lambda k: solve_ivp(lambda t, y: -k * y, (0.0, 1.0), np.ones(1) + 0j, t_eval=[1.0], adjoint=False).y.real[
        0, 0
    ]
    with pytest.raises(UnsupportedFunctionError, match="adjoint=False and a complex state"):
        tg.grad(turning)(1.0)
    with pytest.raises(RuntimeError, match=r"solve_ivp of .* failed: Required step size"):
        tg.grad(lambda k: solve_ivp(lambda t, y: k * y**2, (0.0, 2.0), np.ones(1), t_eval=[2.0]).y[0, 0])(1.0)
    with pytest.raises(TypeError, match=r"Write `tg\.scipy\.integrate\.solve_ivp\(...\)`"):
        tg.grad(lambda k: scipy.integrate.solve_ivp(lambda t, y: -k * y, (0.0, 1.0), np.ones(1)).y[0, 0])(1.0)
