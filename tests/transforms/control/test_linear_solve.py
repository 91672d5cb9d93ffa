"""custom_linear_solve against what NumPy's own solution gives, under every transform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DifferentiationError, DtypeError, ShapeError

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
B = RNG.normal(size=4)
AS, BS = np.stack([A, A + 1, 2 * A]), RNG.normal(size=(3, 4))


def energy(x: Any) -> Any:
    return np.sum(np.sin(x) * np.arange(4.0))


def ours(A: Any, b: Any) -> Any:
    """What solves and what it closes over has no derivative: only the products have."""
    solve = lambda matvec, b: np.linalg.solve(A, b)
    return energy(tg.lax.custom_linear_solve(lambda x: A @ x, b, solve, lambda vecmat, b: np.linalg.solve(A.T, b)))


def direct(A: Any, b: Any) -> Any:
    return energy(np.linalg.solve(A, b))


def close(found: Any, expected: Any) -> None:
    for x, y in zip(tg.tree.tree_leaves(found), tg.tree.tree_leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-10)


SINGLE: dict[str, Any] = {
    "value": lambda f: f,
    "grad": lambda f: tg.grad(f, (0, 1)),
    "jit of grad": lambda f: tg.jit(tg.grad(f, (0, 1))),
    "grad of jit": lambda f: tg.grad(tg.jit(f), (0, 1)),
    "hessian": lambda f: tg.hessian(f, (0, 1)),
    "forward twice": lambda f: tg.jacfwd(tg.jacfwd(f)),
    "jvp": lambda f: lambda A, b: tg.jvp(f, (A, b), (A * A, b * b)),
    "xla": lambda f: tg.jit(tg.value_and_grad(f, (0, 1)), backend="xla"),
}
MAPPED: dict[str, Any] = {
    "all": (lambda f: tg.jit(tg.vmap(tg.grad(f, (0, 1)))), AS, BS),
    "b": (lambda f: tg.vmap(tg.grad(f, (0, 1)), (None, 0)), A, BS),
    "A": (lambda f: tg.vmap(tg.grad(f, (0, 1)), (0, None)), AS, B),
    "sum": (lambda f: tg.grad(lambda A, b: np.sum(tg.vmap(f, (None, 0))(A, b)), (0, 1)), A, BS),
}


@pytest.mark.parametrize("how", [pytest.param(how, marks=pytest.mark.slow) if how == "xla" else how for how in SINGLE])
def test_derivatives(how: str) -> None:
    close(SINGLE[how](ours)(A, B), SINGLE[how](direct)(A, B))


@pytest.mark.parametrize("how", MAPPED)
def test_batches(how: str) -> None:
    transform, *args = MAPPED[how]
    close(transform(ours)(*args), transform(direct)(*args))


def test_its_transpose() -> None:
    def solution(b: Any) -> Any:
        return tg.lax.custom_linear_solve(
            lambda x: A @ x, b, lambda matvec, b: np.linalg.solve(A, b), lambda vecmat, b: np.linalg.solve(A.T, b)
        )

    close(tg.linear_transpose(solution, B)(B)[0], np.linalg.solve(A.T, B))
    close(tg.linear_transpose(lambda b: tg.linear_transpose(solution, B)(b)[0], B)(B)[0], np.linalg.solve(A, B))
    close(tg.jit(tg.vmap(lambda b: tg.linear_transpose(solution, B)(b)[0]))(BS), np.linalg.solve(A.T, BS.T).T)


def test_trees_of_which_a_part_is_fixed() -> None:
    def of(solver: Any) -> Any:
        def f(c: Any, d: Any) -> Any:
            matvec = lambda x: {"p": x["p"] * c + np.sum(x["q"]), "q": x["q"] * 2 + x["p"][:2]}

            def dense(matvec: Any, b: Any) -> Any:
                flat, tree = lambda t: np.concatenate([t["p"], t["q"]]), lambda v: {"p": v[:3], "q": v[3:]}
                rows = np.stack([flat(matvec(tree(np.eye(5)[i]))) for i in range(5)], 1)
                return tree(np.linalg.solve(rows, flat(b)))

            x = solver(matvec, {"p": d, "q": np.ones(2)}, dense, dense)
            return np.sum(x["p"] ** 2) + np.sum(x["q"] ** 3)

        return f

    args = 3.0, np.array([1.0, 2.0, 3.0])
    for t in (lambda f: tg.grad(f, (0, 1)), lambda f: tg.hessian(f, (0, 1)), lambda f: tg.jit(tg.jacfwd(f, (0, 1)))):
        close(t(of(tg.lax.custom_linear_solve))(*args), t(of(lambda m, b, solve, _: solve(m, b)))(*args))


def test_symmetric_and_aux() -> None:
    S = A @ A.T

    def f(S: Any, b: Any) -> Any:
        solve = lambda matvec, b: (np.linalg.solve(S, b), {"size": np.sum(b)})
        x, aux = tg.lax.custom_linear_solve(lambda x: S @ x, b, solve, symmetric=True, has_aux=True)
        return energy(x) + 0.0 * aux["size"], aux

    (value, aux), (dS, db) = tg.value_and_grad(f, (0, 1), has_aux=True)(S, B)
    close(aux["size"], np.sum(B))
    close((value, dS, db), (direct(S, B), *tg.grad(direct, (0, 1))(S, B)))


def test_what_is_wrong() -> None:
    solve = lambda matvec, b: np.linalg.solve(A, b)
    of = lambda **how: lambda b: energy(tg.lax.custom_linear_solve(lambda x: A @ x, b, **{"solve": solve, **how}))
    with pytest.raises(
        DifferentiationError, match=r"custom_linear_solve at .*test_linear_solve.py.* give it transpose_solve="
    ):
        tg.grad(of())(B)
    close(tg.jvp(of(), (B,), (B,)), tg.jvp(lambda b: direct(A, b), (B,), (B,)))
    with pytest.raises(ShapeError, match=r"must return f64\[4\], got f64\[3\]"):
        tg.grad(of(solve=lambda matvec, b: b[:3]))(B)
    with pytest.raises(DtypeError, match=r"write .astype\('float64'\)"):
        tg.grad(of(solve=lambda matvec, b: b.astype(np.float32)))(B)
    with pytest.raises(ShapeError, match="must return the structure"):
        tg.grad(of(solve=lambda matvec, b: (b, b)))(B)
    with pytest.raises(TypeError, match="must return a pair"):
        tg.grad(of(has_aux=True))(B)
    with pytest.raises(DifferentiationError, match="not linear in what is transposed"):
        tg.grad(lambda b: energy(tg.lax.custom_linear_solve(lambda x: x**2, b, lambda m, b: b, lambda m, b: m(b))))(B)
