"""Triangular systems against SciPy and jax; what cannot be solved, and what is solved without SciPy."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import jax
import numpy as np
import pytest
import scipy.linalg
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import general, hermitian, regular
from tracegrad.ops.linalg.triangular import solve_by_cholesky, solve_triangle, triangle

jax.config.update("jax_enable_x64", True)

EVERY = [
    dict(zip(("lower", "transpose_a", "conjugate_a", "unit_diagonal"), chosen, strict=True))
    for chosen in itertools.product([False, True], repeat=4)
]


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_every_way_with_and_without_scipy(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "c" if dtype[0] == "c" else "f"
    a, b = regular(3, 3, kind=kind).astype(dtype), general(3, 2, kind=kind).astype(dtype)
    rtol = 2e-5 if dtype in ("f4", "c8") else 1e-12

    def hold() -> None:
        for how, order in itertools.product(EVERY, "CF"):
            for left, right in ((True, b), (False, b.T)):
                out = solve_triangle(np.asarray(a, order=order), np.asarray(right, order=order), left_side=left, **how)
                expected = jax.lax.linalg.triangular_solve(a, right, left_side=left, **how)
                assert out.dtype == a.dtype
                np.testing.assert_allclose(out, expected, rtol=rtol, atol=rtol)

    hold()
    for name in ("scipy", "scipy.linalg", "scipy.linalg.blas"):
        monkeypatch.setitem(sys.modules, name, None)
    hold()


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("n, columns", [(128, 32), (150, 40)])
def test_many_equations_by_blocks_of_rows(n: int, columns: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    numbers = lambda *shape: rng.normal(size=shape) + (1j * rng.normal(size=shape) if dtype[0] == "c" else 0)
    a, b = (numbers(n, n) / n + np.eye(n)).astype(dtype), numbers(n, columns).astype(dtype)
    rtol = 2e-5 if dtype in ("f4", "c8") else 1e-13
    for how, order in itertools.product(EVERY, "CF"):
        part = np.tril(a) if how["lower"] else np.triu(a)
        if how["unit_diagonal"]:
            np.fill_diagonal(part, 1)
        part = part.conj() if how["conjugate_a"] else part
        part = part.T if how["transpose_a"] else part
        for left, right in ((True, b), (False, b.T)):
            given = np.array(right, order=order)
            out = solve_triangle(np.asarray(a, order=order), given, left_side=left, **how)
            product = part.astype("c16") @ out if left else out @ part.astype("c16")
            np.testing.assert_allclose(product, right, rtol=rtol, atol=rtol)
            assert out.dtype == a.dtype and np.array_equal(given, right)


def test_blocks_of_rows_warn_of_nothing() -> None:
    a, b = np.eye(200) + np.tri(200), np.ones((200, 40))
    b[3, 1], b[7, 2], b[9, 3] = np.inf, np.nan, 1e308
    out = solve_triangle(a, b, lower=True)
    assert np.isfinite(out[:, 4:]).all() and not np.isfinite(out[3:, 1]).any() and np.isfinite(out[:7, 2]).all()


def test_the_other_triangle_is_not_read() -> None:
    a, b = regular(3, 3), general(3, 2)
    wrong = np.where(np.tri(3, dtype=bool), a, np.nan)
    np.testing.assert_array_equal(solve_triangle(wrong, b), scipy.linalg.solve_triangular(np.tril(a), b, lower=True))
    grad = tg.grad(lambda a: np.sum(solve_triangle(a, b)))(a)
    assert np.all(np.triu(grad, 1) == 0) and np.all(grad[np.tri(3, dtype=bool)] != 0)
    unit = tg.grad(lambda a: np.sum(solve_triangle(a, b, unit_diagonal=True)))(a)
    assert np.all(np.triu(unit) == 0)


def test_one_factorisation_serves_a_batch_of_right_hand_sides() -> None:
    a, bs = regular(3, 3), general(5, 3, 2)
    for left, right in ((True, bs), (False, np.swapaxes(bs, -1, -2))):
        graph = tg.make_graph(tg.vmap(lambda b: solve_triangle(a, b, left_side=left)))(right)
        (solving,) = [eqn for eqn in graph.eqns if eqn.op.name == "triangular_solve"]
        assert solving.inputs[1].type.shape == ((3, 10) if left else (10, 3))
        out = tg.vmap(lambda b: solve_triangle(a, b, left_side=left))(right)
        np.testing.assert_allclose(out, solve_triangle(a, right, left_side=left), rtol=1e-12)


def test_solve_by_cholesky() -> None:
    a, b = hermitian(3, 3, kind="c"), general(3, 2, kind="c")
    factor = np.linalg.cholesky(a)
    for c, lower in ((factor, True), (factor.conj().T, False)):
        np.testing.assert_allclose(solve_by_cholesky(c, b, lower), np.linalg.solve(a, b), rtol=1e-12)


def test_triangle() -> None:
    x: Any = general(2, 3, 4)
    for k in (-1, 0, 2):
        np.testing.assert_array_equal(triangle(x, True, k), np.tril(x, k))
        np.testing.assert_array_equal(triangle(x, False, k), np.triu(x, k))


def test_errors() -> None:
    a, b = regular(3, 3), general(3, 2)
    with pytest.raises(LinAlgError, match=r"resolution failed at diagonal 1\n  in solve_triangle of .*_triangular\.py"):
        tg.grad(lambda b: np.sum(solve_triangle(np.diag([1.0, 0.0, 2.0]), b)))(b)
    with pytest.raises(LinAlgError, match=r"it must have 3 rows, as left_side=True"):
        tg.grad(lambda b: np.sum(solve_triangle(a, b.T)))(b)
    with pytest.raises(LinAlgError, match=r"leading axes of .* do not broadcast"):
        solve_triangle(np.stack([a, a]), np.stack([b, b, b]))
