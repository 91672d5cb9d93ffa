"""What there is at probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.debug.probing import probe_op

W = np.random.default_rng(0).normal(size=(3, 2))
X = np.random.default_rng(1).normal(size=(4, 3))
STEPS = np.array([1.0, 2.0, 3.0])


def _loss(w: Any, x: Any) -> Any:
    h = tg.debug.probe(np.tanh(x @ w), "hidden")
    return np.sum(h**3)


def _loop(x: Any) -> Any:
    def step(c: Any, a: Any) -> Any:
        c = tg.debug.probe(np.sin(c * a), "state")
        return c, c * a

    return np.sum(lax.scan(step, x, STEPS)[1])


def _unrolled(x: Any) -> tuple[list[float], list[float]]:
    """The states of the loop, and the derivatives of its result with respect to them, by the chain rule."""
    states = [float(np.sin(x * STEPS[0]))]
    for a in STEPS[1:]:
        states.append(float(np.sin(states[-1] * a)))
    cts = [0.0] * 3
    back = 0.0
    for i in (2, 1, 0):
        cts[i] = STEPS[i] + back
        back = cts[i] * np.cos((states[i - 1] if i else x) * STEPS[i]) * STEPS[i]
    return states, cts


@pytest.mark.parametrize(
    "f",
    [
        _loss,
        tg.jit(_loss),
        tg.grad(_loss),
        tg.jit(tg.grad(_loss)),
        tg.jit(tg.grad(_loss), backend="xla"),
        tg.checkpoint(_loss),
    ],
)
def test_values_and_cotangents(f: Callable[..., Any]) -> None:
    found = tg.debug.probes(f)(W, X)
    h = np.tanh(X @ W)
    assert list(found) == ["hidden"] and np.allclose(found["hidden"].primal, h)
    assert np.allclose(found["hidden"].cotangent, 3 * h**2) and found["hidden"].tangent is None
    source = found["hidden"].source
    assert source is not None and source.line == _loss.__code__.co_firstlineno + 1


@pytest.mark.parametrize("f", [_loop, tg.jit(_loop), tg.grad(_loop), tg.jit(tg.grad(_loop)), tg.checkpoint(_loop)])
def test_steps_of_loops_lie_along_an_axis_in_front(f: Callable[..., Any]) -> None:
    found = tg.debug.probes(f)(0.7)["state"]
    states, cts = _unrolled(0.7)
    assert np.allclose(found.primal, states) and np.allclose(found.cotangent, cts)


def test_rows_of_batches() -> None:
    x = np.array([0.7, 0.2])
    found = tg.debug.probes(tg.jit(tg.vmap(tg.grad(_loop))))(x)["state"]
    assert np.allclose(found.primal, np.transpose([_unrolled(v)[0] for v in x]))
    assert np.allclose(found.cotangent, np.transpose([_unrolled(v)[1] for v in x]))
    found = tg.debug.probes(tg.vmap(_loss, (None, 0)))(W, X[:, None])["hidden"]
    assert found.primal.shape == (4, 1, 2) and found.cotangent is None  # the result is no number


def test_tangents() -> None:
    found = tg.debug.probes(lambda x: tg.jvp(_loop, (x,), (1.0,)))(0.7)["state"]
    assert np.allclose(found.primal, _unrolled(0.7)[0]) and found.cotangent is None
    assert found.tangent[0] == pytest.approx(np.cos(0.7))


def test_loops_and_branches_that_depend_on_values() -> None:
    def loop(x: Any) -> Any:
        return lax.while_loop(lambda c: c < 100, lambda c: tg.debug.probe(c * 3, "c"), x)

    found = tg.debug.probes(tg.jit(loop))(2.0)["c"]
    assert found.primal.tolist() == [6, 18, 54, 162]

    def branch(x: Any) -> Any:
        return lax.cond(x > 0, lambda x: tg.debug.probe(np.sin(x), "s"), lambda x: tg.debug.probe(np.cos(x), "c"), x)

    found = tg.debug.probes(tg.grad(lambda x: branch(x) * 2.0))(2.0)
    assert list(found) == ["s"] and found["s"].cotangent == 2.0


def test_a_point_that_is_used_again_and_one_without_a_derivative() -> None:
    def layer(x: Any) -> Any:
        return tg.debug.probe(x * 2.0, "h")

    found = tg.debug.probes(lambda x: layer(x) * 0.5 + np.round(layer(layer(x))))(1.3)["h"]
    assert found.primal.tolist() == [2.6, 2.6, 5.2] and found.cotangent.tolist() == [0.5, 0.0, 0.0]


def test_linear_functions_whose_cotangents_depend_on_nothing() -> None:
    def f(x: Any) -> Any:
        return np.sum(tg.debug.probe(x * 2.0, "y") * STEPS)

    for g in (f, tg.grad(f), tg.jit(tg.grad(f))):
        assert tg.debug.probes(g)(STEPS)["y"].cotangent.tolist() == [1, 2, 3]


@pytest.mark.parametrize("by", [lambda f: f, tg.grad, lambda f: tg.jit(tg.grad(f))])
def test_values_that_no_derivative_needs_are_there(by: Callable[[Any], Any]) -> None:
    def f(x: Any) -> Any:
        h = x
        for _ in range(3):
            h = tg.debug.probe(h * 3.0, "layer")
        tg.debug.probe(np.sin(x), "beside")
        return lax.scan(lambda c, a: (tg.debug.probe(c * a, "step"), None), np.sum(h), STEPS)[0]

    found = tg.debug.probes(by(f))(np.array([0.5, 1.0]))
    assert found["layer"].primal.tolist() == [[1.5, 3], [4.5, 9], [13.5, 27]]
    assert found["layer"].cotangent.tolist() == [[54, 54], [18, 18], [6, 6]]
    assert found["beside"].primal.tolist() == np.sin([0.5, 1.0]).tolist() and found["beside"].cotangent is None
    assert found["step"].primal.tolist() == [40.5, 81, 243] and found["step"].cotangent.tolist() == [6, 3, 1]


def test_what_is_masked_stays_so() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.where(x > 0, np.log(tg.debug.probe(x, "x")), 0.0))

    x = np.array([0.0, 2.0])
    found = tg.debug.probes(f)(x)["x"]
    assert found.cotangent.tolist() == [0.0, 0.5]


def test_pytrees_and_the_table() -> None:
    found = tg.debug.probes(lambda p: np.sum(tg.debug.probe(p, "p")["a"]) ** 2)({"a": np.ones(2), "b": 3.0})
    assert (
        list(found) == ["p['a']", "p['b']"]
        and found["p['b']"].cotangent is None
        and found["p['a']"].cotangent.tolist() == [4.0, 4.0]
    )
    assert str(found).startswith("p['a'] f64[2] at test_probing.py:") and "cotangent mean 4, from 4 to 4" in str(found)
    assert str(tg.debug.probes(np.sin)(1.0)) == "no probes"


def test_elsewhere_a_probe_is_what_it_was_given() -> None:
    x = np.ones(3)
    assert tg.debug.probe(x, "x") is x
    graph = tg.make_graph(tg.grad(_loss))(W, X)
    assert not any([eqn.op is probe_op for eqn in graph.eqns])


def test_errors() -> None:
    with pytest.raises(TypeError, match=r"debug.probe at .* takes a name, got 3; write tg.debug.probe\(x, 'x'\)"):
        tg.debug.probe(np.ones(2), 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"debug.probes at .* takes a function, got the float 3.0"):
        tg.debug.probes(3.0)  # type: ignore[arg-type]
