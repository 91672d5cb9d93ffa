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


def landing(g: Any, h: Any, v: Any) -> Any:
    """Times of landing and top, the last time and speed, the height of the top."""
    found = thrown(g, h, v, max_events=2)
    assert found.t.shape == (2,) and found.y.shape == (2, 2)
    return np.stack([found.t_events[0][0], found.t_events[1][0], found.t[-1], found.y[1, -1], found.y_events[1][0, 0]])


def landing_exactly(g: Any, h: Any, v: Any) -> Any:
    speed = np.sqrt(v * v + 2 * g * h)
    landed = (v + speed) / g
    return np.stack([landed, v / g, landed, -speed, h + v * v / (2 * g)])


def test_room_for_events_where_types_alone_are_known() -> None:
    values = (9.81, 2.0, 3.0)
    gs = np.array([9.81, 5.0])
    for transform in (lambda f, _: f, tg.jacfwd, tg.jacrev):
        found, wanted = transform(landing, (0, 1, 2)), np.stack(transform(landing_exactly, (0, 1, 2))(*values))
        np.testing.assert_allclose(np.stack(found(*values)), wanted, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(np.stack(tg.jit(found)(*values)), wanted, rtol=1e-7, atol=1e-8)
        rows = np.stack(tg.vmap(found, in_axes=(0, None, None))(gs, 2.0, 3.0))
        np.testing.assert_allclose(rows[0] if rows.ndim == 2 else rows[:, 0], wanted, rtol=1e-7, atol=1e-8)
    second, wanted = [
        tg.hessian(lambda x, f=f: np.sum(f(x[0], x[1], x[2])))(np.array(values)) for f in (landing, landing_exactly)
    ]
    np.testing.assert_allclose(second, wanted, rtol=1e-6, atol=1e-7)


def test_room_for_events_on_xla() -> None:
    f = tg.value_and_grad(lambda g: np.sum(landing(g, 2.0, 3.0)))
    wanted = tg.value_and_grad(lambda g: np.sum(landing_exactly(g, 2.0, 3.0)))(9.81)
    np.testing.assert_allclose(np.stack(tg.jit(f, backend="xla")(9.81)), np.stack(wanted), rtol=1e-7)


def test_what_room_is_left_is_nan_and_has_no_derivative() -> None:
    """Where the end comes before the events, too; and the times that are wanted after the event that ends it."""
    times = np.linspace(0.0, 10.0, 21)
    plain = thrown(9.81, 2.0, 3.0, solve=scipy.integrate.solve_ivp, t_eval=times)

    def f(g: Any, room: int = 3) -> Any:
        found = thrown(g, 2.0, 3.0, max_events=room, t_eval=times)
        return found.t, found.y, found.t_events, found.y_events, found.status

    for g, happens in ((9.81, True), (0.2, False)):
        for t, y, t_events, y_events, status in (f(g), tg.jit(f)(g)):
            assert status == happens
            count = plain.t.size if happens else times.size
            np.testing.assert_array_equal(t[:count], times[:count])
            assert np.all(np.isnan(t[count:])) and np.all(np.isnan(y[:, count:])) and np.all(np.isfinite(y[:, :count]))
            for i in range(2):
                assert np.all(np.isnan(t_events[i][int(happens) :])) and np.all(np.isnan(y_events[i][int(happens) :]))
            if happens:
                np.testing.assert_allclose(y[:, :count], plain.y, rtol=1e-9)
                np.testing.assert_allclose([x[0] for x in t_events], np.ravel(plain.t_events), rtol=1e-9)
                np.testing.assert_allclose([x[0] for x in y_events], [x[0] for x in plain.y_events], atol=1e-9)

    def known(g: Any) -> Any:
        t, y, t_events, y_events, _ = f(g)
        return sum([np.sum(np.where(np.isnan(x), 0.0, x)) for x in (t, y, *t_events, *y_events)])

    for g in (9.81, 0.2):
        eps = 1e-5
        difference = (known(g + eps) - known(g - eps)) / (2 * eps)
        np.testing.assert_allclose([tg.grad(known)(g), tg.jit(tg.jacfwd(known))(g)], difference, rtol=1e-5)


def test_room_for_many_backwards_in_time() -> None:
    """Of sin(t) = level from 0 to -7, closed over; the second of them ends the solution, or none does."""

    def crossings(level: Any, terminal: Any, room: int) -> Any:
        def event(t: Any, y: Any) -> Any:
            return y[0] - level

        event.terminal = terminal  # type: ignore[attr-defined]
        turning = lambda t, y: np.stack([y[1], -y[0]])
        found = solve_ivp(turning, (0.0, -7.0), np.array([0.0, 1.0]), events=event, max_events=room, **TIGHT)
        return np.append(found.t_events[0], found.t[-1])

    up = np.arcsin(0.3)
    all_three = [up - 2 * np.pi, -np.pi - up]
    for terminal, room, wanted, slopes in (
        (False, 3, [all_three[1], all_three[0], np.nan, -7.0], [-1, 1, 0, 0]),
        (2, 2, [all_three[1], all_three[0], all_three[0]], [-1, 1, 1]),
    ):
        f = lambda level, terminal=terminal, room=room: crossings(level, terminal, room)
        np.testing.assert_allclose(tg.jit(f)(0.3), wanted, rtol=1e-8)
        np.testing.assert_allclose(tg.jit(tg.jacrev(f))(0.3), np.array(slopes) / np.sqrt(1 - 0.3**2), atol=1e-6)


@pytest.mark.parametrize("how", [{}, {"backend": "numpy"}, {"backend": "xla"}])
def test_more_events_than_there_is_room_for_are_an_error(how: Any) -> None:
    """And never the first of them alone."""

    def middle(t: Any, y: Any) -> Any:
        return y[0]

    def crossings(speed: Any) -> Any:
        turning = lambda t, y: speed * np.stack([y[1], -y[0]])
        return solve_ivp(turning, (0.0, 7.0), np.array([1.0, 0.0]), events=middle, max_events=1).t_events[0]

    f = tg.jit(crossings, **how) if how else crossings
    np.testing.assert_allclose(f(0.5), [np.pi], rtol=1e-3)
    text = r"(?s)solve_ivp at .*test_events.py.*'middle' is zero 2 times from 0.0 to 7.0, at .*max_events=1 has no room.*max_events=2 or more"
    with pytest.raises(
        Exception if how.get("backend") == "xla" else RuntimeError, match=text
    ):  # jax's own, with the text
        np.asarray(f(1.0))


@pytest.mark.parametrize("room", [0, 1.5, True])
def test_room_is_a_positive_int(room: Any) -> None:
    with pytest.raises(ValueError, match=r"(?s)solve_ivp at .*test_events.py.*a positive int, got .* for 2 events"):
        thrown(9.81, 2.0, 3.0, max_events=room)
    with pytest.raises(ValueError, match="for 0 events"):
        solve_ivp(lambda t, y: y, (0.0, 1.0), np.ones(1), max_events=1)
