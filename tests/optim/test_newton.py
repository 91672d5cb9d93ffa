"""Steps of the second order, against the steps of formed matrices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tracegrad import optim

A = np.random.default_rng(0).normal(size=(6, 6))
A = A @ A.T + np.eye(6)
B = np.random.default_rng(1).normal(size=6)


def quadratic(x: Any) -> Any:
    flat = np.concatenate([x["a"].ravel(), x["b"]])
    return flat @ A @ flat / 2 - B @ flat


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize(
    "jit", [lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla"), jax.jit], ids=["eager", "numpy", "xla", "jax"]
)
def test_newton_cg_solves_a_quadratic_at_once(jit: Any) -> None:
    opt = optim.newton_cg(tolerance=1e-12)

    def step(x: Any) -> Any:
        return optim.step(opt, tg.grad(quadratic)(x), opt.init(x), x, value_fn=quadratic)[0]

    with jax.enable_x64(True):
        x = {"a": np.ones((2, 2)), "b": np.zeros(2)}
        found = jit(step)(jax.tree.map(jnp.asarray, x) if jit is jax.jit else x)
    flat = np.concatenate([np.ravel(found["a"]), found["b"]])
    np.testing.assert_allclose(flat, np.linalg.solve(A, B), rtol=1e-9)


def test_newton_cg_finds_the_least_value() -> None:
    """Rosenbrock's of five numbers, with a curvature that is negative in places."""
    opt = optim.newton_cg()

    @tg.jit
    def step(x: Any, state: Any) -> Any:
        return optim.step(opt, tg.grad(rosenbrock)(x), state, x, value_fn=rosenbrock)

    x = np.array([1.3, 0.7, 0.8, 1.9, 1.2])
    state = opt.init(x)
    for _ in range(40):
        x, state = step(x, state)
    np.testing.assert_allclose(x, 1, rtol=1e-10)
    assert step.trace_log == ["first call"]


def test_a_direction_along_negative_curvature_goes_down() -> None:
    def f(x: Any) -> Any:
        return x[0] ** 2 - x[1] ** 2

    x = np.array([0.1, 1.0])
    updates, _ = optim.newton_cg(0.1).update(tg.grad(f)(x), optim.newton_cg().init(x), x, value_fn=f)
    assert updates @ tg.grad(f)(x) < 0 and np.isfinite(updates).all()


@pytest.mark.parametrize("damping", [0.0, 0.5, np.float64(2.0)])
def test_gauss_newton(damping: Any) -> None:
    t = np.linspace(0, 2, 9)

    def residuals(p: Any, data: Any) -> Any:
        return {"r": p["scale"] * np.exp(p["rate"] * t) - data, "prior": 0.1 * p["rate"]}

    def loss(p: Any, data: Any) -> Any:
        return sum(np.sum(r**2) for r in tg.tree.leaves(residuals(p, data))) / 2

    data = 2 * np.exp(-t)
    p = {"scale": np.asarray(1.5), "rate": np.asarray(-0.5)}
    opt = optim.gauss_newton(residuals, damping=damping, tolerance=1e-12)
    gradient = tg.grad(loss)(p, data)
    jacobian = tg.jacrev(residuals)(p, data)
    j = np.concatenate(
        [np.column_stack([jacobian[k]["rate"], jacobian[k]["scale"]]).reshape(-1, 2) for k in ("prior", "r")]
    )
    expected = np.linalg.solve(j.T @ j + damping * np.eye(2), [gradient["rate"], gradient["scale"]])
    for jit in (lambda f: f, tg.jit):
        update = jit(lambda g, p, data: opt.update(g, opt.init(p), p, residual_args=(data,))[0])
        found = update(gradient, p, data)
        np.testing.assert_allclose([found["rate"], found["scale"]], -expected, rtol=1e-8)


def test_what_is_needed() -> None:
    x = np.ones(2)
    opt = optim.newton_cg()
    with pytest.raises(ValueError, match=r"newton_cg needs the function that is minimised; .*value_fn=f\)"):
        opt.update(x, opt.init(x), x)
    with pytest.raises(ValueError, match="newton_cg needs the parameters"):
        opt.update(x, opt.init(x), value_fn=rosenbrock)
    opt = optim.gauss_newton(lambda x: x)
    with pytest.raises(ValueError, match="gauss_newton needs the parameters"):
        opt.update(x, opt.init(x))
