"""GMRES against dense solutions."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.transforms.krylov import gmres

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("size, dtype", [(1, "d"), (5, "d"), (120, "d"), (60, "f")])
def test_solutions(size: int, dtype: str) -> None:
    A = (RNG.normal(size=(size, size)) / np.sqrt(size) + 3 * np.eye(size)).astype(dtype)
    b = RNG.normal(size=size).astype(dtype)
    tolerance = 1e-9 if dtype == "d" else 1e-3
    x = gmres(lambda v: A @ v, b)
    assert x.dtype == A.dtype
    np.testing.assert_allclose(A @ x, b, atol=tolerance)
    np.testing.assert_allclose(A @ tg.jit(lambda b: gmres(lambda v: A @ v, b))(b), b, atol=tolerance)


def test_rows_end_each_for_itself() -> None:
    A = np.diag([1.0, 2.0, 3.0]) + 0.1
    bs = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(tg.vmap(lambda b: gmres(lambda v: A @ v, b))(bs), np.linalg.solve(A, bs.T).T, atol=1e-10)


def test_what_does_not_converge_is_nan() -> None:
    A = np.diag([1.0, 2.0, 0.0])
    assert np.isnan(gmres(lambda v: A @ v, np.ones(3))).all()
