"""Sylvester's, Stein's and Riccati's equations hold, and shapes that do not fit."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize(
    ("name", "a", "b", "q"),
    [
        ("solve_continuous_are", [[0.9540506601333618, -0.3949938118457794], [0.9938875436782837, -0.36093026399612427]],
         [[-0.4699711203575134], [-0.5978670716285706]], [[1.5, 0.5], [0.5, 2.25]]),
        ("solve_discrete_are", [[0.9374595284461975, -0.8425490260124207], [-0.9145250916481018, 0.5525348782539368]],
         [[0.5376617908477783], [0.7580728530883789]], [[2.5, -0.875], [-0.875, 2.0]]),
    ],
)  # fmt: skip
def test_riccati_near_what_cannot_be_stabilised(name: str, a: Any, b: Any, q: Any) -> None:
    """Of which SciPy finds twelve digits, and eleven of the derivative."""
    exact = pytest.importorskip("tests.arrays_exact")
    solve = lambda a: getattr(linalg, name)(a, np.array(b), np.array(q), np.eye(1))
    wide = lambda x: np.vectorize(exact.mpf, otypes=[object])(np.array(x))
    along, step = np.array([[1.0, -1.0], [1.0, 1.0]]), exact.mpf(10) ** -20
    truth = {"solve_continuous_are": exact.care, "solve_discrete_are": exact.dare}[name]
    with exact.mpmath.workdps(60):
        at = lambda h: truth(wide(a) + h * wide(along), wide(b), wide(q))
        value, slope = [np.array(x, float) for x in (at(0), (at(step) - at(-step)) / (2 * step))]
    found = tg.jit(lambda a: tg.jvp(solve, (a,), (along,)))(np.array(a))
    np.testing.assert_allclose(found[0], value, rtol=3e-14 if np.finfo(np.longdouble).nmant > 60 else 1e-11)
    np.testing.assert_allclose(found[1], slope, rtol=1e-12 if np.finfo(np.longdouble).nmant > 60 else 1e-9)
