"""Events of differential equations: SciPy's times, and their derivatives by closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.integrate

import tracegrad as tg
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.scipy.integrate import solve_ivp
from tracegrad.testing import check_grads

TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def fall(t: Any, y: Any, g: Any) -> Any:
    return [y[1], -g]


def ground(t: Any, y: Any, g: Any) -> Any:
    return y[0]


ground.terminal = True  # type: ignore[attr-defined]
ground.direction = -1  # type: ignore[attr-defined]


def top(t: Any, y: Any, g: Any) -> Any:
    return y[1]


def thrown(g: Any, h: Any, v: Any, solve: Any = solve_ivp, **more: Any) -> Any:
    y0 = np.stack([h, v]) if solve is solve_ivp else np.array([h, v])
    return solve(fall, (0.0, 10.0), y0, events=[ground, top], args=(g,), **TIGHT, **more)


def test_a_fall_ends_on_the_ground() -> None:
    """At t = (v + sqrt(v**2 + 2 g h)) / g, with the speed sqrt(v**2 + 2 g h), and is at its top at v / g."""
    values = (9.81, 2.0, 3.0)
    expected = thrown(*values, solve=scipy.integrate.solve_ivp)

    def times(g: Any, h: Any, v: Any) -> Any:
        found = thrown(g, h, v)
        assert (found.status, found.success, found.message) == (1, True, expected.message)
        return np.stack(
            [found.t_events[0][0], found.t_events[1][0], found.t[-1], found.y[1, -1], found.y_events[1][0, 0]]
        )

    def exactly(g: Any, h: Any, v: Any) -> Any:
        speed = np.sqrt(v * v + 2 * g * h)
        landed = (v + speed) / g
        return np.stack([landed, v / g, landed, -speed, h + v * v / (2 * g)])

    np.testing.assert_allclose(tg.jvp(times, values, (1.0, 0.0, 0.0))[0], exactly(*values), rtol=1e-9)
    np.testing.assert_allclose(expected.t_events[0], times(*values)[:1], rtol=1e-12)
    for transform in (tg.jacfwd, tg.jacrev):
        found, wanted = [np.stack(transform(f, (0, 1, 2))(*values)) for f in (times, exactly)]
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8)
    found, wanted = [
        tg.hessian(lambda x, f=f: f(x[0], x[1], x[2])[0] + f(x[0], x[1], x[2])[3])(np.array(values))
        for f in (times, exactly)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_steps_and_times_are_scipys() -> None:
    values = (9.81, 2.0, 3.0)
    for more in ({}, {"t_eval": np.linspace(0.0, 10.0, 60)}):
        expected = thrown(*values, solve=scipy.integrate.solve_ivp, **more)
        got = tg.vjp(
            lambda g, more=more: [thrown(g, 2.0, 3.0, **more)[name] for name in ("t", "y", "t_events", "y_events")],
            9.81,
        )[0]
        for name, x in zip(("t", "y"), got[:2], strict=True):
            np.testing.assert_allclose(x, expected[name], rtol=1e-9, atol=1e-9)
        for name, xs in zip(("t_events", "y_events"), got[2:], strict=True):
            for x, y in zip(xs, expected[name], strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)


def test_an_event_that_closes_over_what_is_traced() -> None:
    """Each half turn of sin(t) = level, also backwards in time, and none at all."""

    def crossings(level: Any, end: float = 7.0) -> Any:
        found = solve_ivp(
            lambda t, y: np.stack([y[1], -y[0]]),
            (0.0, end),
            np.array([0.0, 1.0]),
            events=lambda t, y: y[0] - level,
            **TIGHT,
        )
        return found.t_events[0]

    level = 0.5
    up = np.arcsin(level)
    np.testing.assert_allclose(tg.vjp(crossings, level)[0], [up, np.pi - up, up + 2 * np.pi], rtol=1e-8)
    np.testing.assert_allclose(tg.jacrev(crossings)(level), np.array([1, -1, 1]) / np.sqrt(1 - level**2), rtol=1e-6)
    check_grads(lambda level: crossings(level, -7.0), (0.3,), order=1, rtol=1e-5)
    assert tg.vjp(crossings, 1.5)[0].shape == (0,)


def test_a_root_of_the_solution_in_place_of_an_event() -> None:
    """What the error names for where types alone are known: under jit and vmap, with derivatives of both orders and modes."""

    def landed(g: Any) -> Any:
        height = lambda t, g: solve_ivp(fall, (0.0, 10.0), np.array([2.0, 3.0]), t_eval=t, args=(g,), **TIGHT).y[0]
        return tg.scipy.optimize.root(height, np.array([1.2]), args=(g,)).x[0]

    exact = lambda g: (3.0 + np.sqrt(9.0 + 4.0 * g)) / g
    gs = np.array([9.81, 5.0])
    for transform in (lambda f: f, tg.grad, lambda f: tg.grad(tg.grad(f)), tg.jacfwd):
        wanted = np.stack([transform(exact)(g) for g in gs])
        np.testing.assert_allclose(tg.vmap(transform(landed))(gs), wanted, rtol=1e-6)
        np.testing.assert_allclose(tg.jit(transform(landed))(9.81), wanted[0], rtol=1e-6)


def test_where_types_alone_are_known_they_are_refused() -> None:
    with pytest.raises(
        UnsupportedFunctionError, match=r"(?s)with events, where types alone are known is not traced.*t_eval=\[t\]"
    ):
        tg.jit(lambda g: thrown(g, 2.0, 3.0).t)(9.81)
