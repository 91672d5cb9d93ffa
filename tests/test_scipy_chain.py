"""SciPy's solvers one after the other: an equation solved by root, a differential equation that starts there, an integral that has its
end for a parameter, and a sparse system; differentiated to second order against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import tracegrad as tg
from tracegrad.scipy import integrate, optimize, sparse

P = np.array([0.8, 1.3, 0.4])
N = np.arange(5)
ROWS, COLUMNS = np.concatenate([N, N[1:], N[:-1]]), np.concatenate([N, N[:-1], N[1:]])
TIMES = np.linspace(0.0, 1.0, 5)


def steady(y: Any, p: Any) -> Any:
    return np.stack([p[0] * y[0] - y[0] * y[1] + 0.1, y[0] * y[1] - p[1] * y[1]])


def chain(p: Any) -> Any:
    rest = optimize.root(steady, np.array([1.2, 0.9]), args=(p,), tol=1e-13).x
    away = lambda t, y, q: steady(y, q) + p[2] * np.cos(t)
    moved = integrate.solve_ivp(away, (0.0, p[1]), rest + 0.1, "DOP853", [p[1]], args=(p,), rtol=1e-11, atol=1e-11).y[
        :, 0
    ]
    weight = integrate.quad(lambda x: np.exp(-moved[0] * x**2), 0.0, moved[1], epsabs=1e-12, epsrel=1e-12)[0]
    ends = integrate.solve_ivp(
        lambda t, y: -weight * y, (0.0, 1.0), moved[:1], "DOP853", TIMES, rtol=1e-11, atol=1e-11
    ).y[0]
    numbers = np.concatenate([3.0 + ends, -ends[1:] * weight, np.full(4, -0.5)])
    matrix = sparse.csr_array((numbers, (ROWS, COLUMNS)), (5, 5))
    solution = sparse.linalg.spsolve(matrix, np.sin(ends))
    scale = scipy.sparse.csr_array(np.diag(np.arange(1.0, 6.0)))
    return solution @ (scale @ solution)


def differences(f: Any, h: float) -> Any:
    return np.stack([(f(P + h * e) - f(P - h * e)) / (2 * h) for e in np.eye(3)])


def test_first_and_second_derivatives() -> None:
    gradient = tg.grad(chain)
    np.testing.assert_allclose(gradient(P), differences(chain, 1e-4), rtol=1e-6)
    hessian = tg.hessian(chain)(P)
    np.testing.assert_allclose(hessian, differences(gradient, 1e-4), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_reverse_over_reverse() -> None:
    np.testing.assert_allclose(tg.jacrev(tg.grad(chain))(P), tg.hessian(chain)(P), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("xla", marks=pytest.mark.slow)])
def test_jit(backend: str) -> None:
    found = tg.jit(tg.grad(chain), backend=backend)(P)
    np.testing.assert_allclose(np.asarray(found), tg.grad(chain)(P), rtol=1e-9)
