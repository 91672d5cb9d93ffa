"""Derivatives of solutions against those of what is traced through, closed forms and differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize

import tracegrad as tg
from tracegrad.core.errors import DifferentiationError, ShapeError


def kepler(x: Any, a: Any, e: Any) -> Any:
    return x - e * np.sin(x) - a


def by_brent(a: Any, e: Any) -> Any:
    return scipy.optimize.brentq(kepler, -10.0, 10.0, args=(a, e), xtol=1e-15)


def traced(a: Any, e: Any) -> Any:
    """Newton's steps, which are differentiated themselves."""
    return tg.lax.fori_loop(0, 30, lambda i, x: x - kepler(x, a, e) / (1 - e * np.cos(x)), a)


plain = tg.implicit(kepler)(by_brent)
external = tg.implicit(kepler)(tg.external(by_brent, out=lambda a, e: a))


def close(found: Any, expected: Any, rtol: float = 1e-9) -> None:
    for x, y in zip(tg.tree.tree_leaves(found), tg.tree.tree_leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-10)


ORDERS: dict[str, Any] = {
    "value": lambda f: f,
    "grad": lambda f: tg.grad(f, (0, 1)),
    "jvp": lambda f: lambda a, e: tg.jvp(f, (a, e), (1.0, 2.0)),
    "hessian": lambda f: tg.hessian(f, (0, 1)),
    "reverse twice": lambda f: tg.grad(tg.grad(f)),
    "third": lambda f: tg.jacfwd(tg.jacrev(tg.jacfwd(f))),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("f", [plain, external], ids=["plain", "external"])
def test_black_boxes(order: str, f: Any) -> None:
    close(ORDERS[order](f)(1.0, 0.5), ORDERS[order](traced)(1.0, 0.5))


@pytest.mark.parametrize(
    "how",
    [
        lambda f: tg.jit(f),
        lambda f: tg.jit(tg.hessian(f, (0, 1))),
        lambda f: tg.jit(tg.grad(f, (0, 1)), backend="xla"),
        lambda f: lambda a, e: tg.vmap(f, (0, None))(a * np.arange(3.0), e),
        lambda f: lambda a, e: tg.jit(tg.vmap(tg.grad(f, (0, 1)), (0, None)))(a * np.arange(3.0), e),
    ],
)
def test_external_solvers_under_jit_and_vmap(how: Any) -> None:
    close(how(external)(1.0, 0.5), how(traced)(1.0, 0.5))


def test_a_solver_that_cannot_be_traced_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"write `tg.implicit\(F\)\(tg.external\(solver, out=...\)\)`"):
        tg.jit(plain)(1.0, 0.5)


SIZE = 1500


def _F(x: Any, t: Any) -> Any:
    return x["a"] * 3 + np.roll(x["a"], 1) * 0.5 + 0.1 * x["a"] ** 3 - t * np.cos(np.arange(len(x["a"])) / 100)


def _solver(size: int) -> Any:
    def solver(t: Any) -> Any:
        x = np.zeros(size)
        for _ in range(60):
            x = x - _F({"a": x}, t) / (3.6 + 0.3 * x**2)
        return {"a": x}, {"steps": 60}

    return solver


@pytest.mark.parametrize("size", [20, SIZE])
def test_trees_of_any_size(size: int) -> None:
    """By a matrix, and by products."""
    f = tg.implicit(_F, has_aux=True)(_solver(size))
    loss = lambda t: np.sum(np.sin(f(t)[0]["a"]))
    step = 1e-5
    slope = (loss(2.0 + step) - loss(2.0 - step)) / (2 * step)
    close((tg.grad(loss)(2.0), tg.jvp(loss, (2.0,), (1.0,))[1]), (slope, slope), rtol=1e-7)
    curve = (tg.grad(loss)(2.0 + step) - tg.grad(loss)(2.0 - step)) / (2 * step)
    close(tg.grad(tg.grad(loss))(2.0), curve, rtol=1e-6)
    assert f(2.0)[1] == {"steps": 60}


def test_a_linear_solver_of_ones_own() -> None:
    calls = []

    def solve(matvec: Any, b: Any) -> Any:
        calls.append(1)
        n = b["x"].shape[0]
        rows = tg.vmap(lambda v: matvec({"x": v})["x"])(np.eye(n))
        return {"x": np.linalg.solve(rows.T, b["x"])}

    F = lambda x, w: {"x": x["x"] ** 3 - w}
    f = tg.implicit(F, solve=solve)(lambda w: {"x": np.cbrt(w)})
    w = np.array([1.0, 8.0])
    close(tg.jacrev(f)(w)["x"], np.diag([1 / 3, 1 / 12]))
    close(tg.hessian(lambda w: np.sum(f(w)["x"]))(w), np.diag([-2 / 9, -2 / 9 / 32]))
    assert calls


def test_what_it_closes_over_has_to_be_an_argument() -> None:
    def loss(a: Any) -> Any:
        return tg.implicit(lambda x: x**2 - a)(lambda: np.sqrt(tg.stop_gradient(a)))()

    with pytest.raises(DifferentiationError, match="pass it as an argument"):
        tg.grad(loss)(4.0)


def test_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match=r"returned 1 numbers for an x of 3; it must return as many"):
        tg.grad(lambda t: np.sum(tg.implicit(lambda x, t: np.sum(x) - t)(lambda t: np.full(3, t / 3))(t)))(1.0)
    with pytest.raises(TypeError, match="takes its arguments by position"):
        plain(1.0, e=0.5)
    with pytest.raises(TypeError, match="takes a function"):
        tg.implicit(3.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must return a pair"):
        tg.grad(tg.implicit(kepler, has_aux=True)(by_brent))(1.0, 0.5)
