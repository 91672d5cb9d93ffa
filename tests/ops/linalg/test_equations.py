"""Sylvester's, Stein's and Riccati's equations hold, and shapes that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import adjoint, general, regular
from tracegrad.ops.linalg.equations import stein, sylvester
from tracegrad.scipy import linalg


@pytest.mark.parametrize("kind", ["f", "c"])
def test_what_they_solve(kind: str) -> None:
    a, q = general(2, 3, 3, kind=kind) / 3, general(3, 3, seed=1, kind=kind)
    x = stein(a, q)
    np.testing.assert_allclose(a @ x @ adjoint(a) - x + q, 0 * x, atol=1e-12)
    a, b = regular(3, 3, kind=kind), regular(2, 2, kind=kind)
    x = sylvester(a, b, q[:, :2])
    np.testing.assert_allclose(a @ x + x @ b, q[:, :2], atol=1e-12)


def test_a_system_near_the_border_of_stability() -> None:
    """Of which the feedback has an eigenvalue of 1 - 1e-4, by doubling."""
    a, b, q, r = np.array([[1.0]]), np.array([[1.0]]), np.array([[1e-8]]), np.array([[1.0]])
    solve = lambda a: linalg.solve_discrete_are(a, b, q, r)
    for backend in ("numpy", "xla"):
        np.testing.assert_allclose(tg.jit(solve, backend=backend)(a), solve(a), rtol=1e-7)


def test_errors() -> None:
    with pytest.raises(LinAlgError, match=r"solve_sylvester at .*test_equations\.py:\d+.* do not fit"):
        tg.jit(linalg.solve_sylvester)(np.eye(2), np.eye(3), np.eye(2))
    with pytest.raises(LinAlgError, match=r"solve_discrete_are at .*test_equations\.py:\d+.* do not fit"):
        tg.jit(linalg.solve_discrete_are)(np.eye(2), np.eye(3), np.eye(2), np.eye(2))
