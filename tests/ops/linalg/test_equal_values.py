"""Nearly equal values, against 60 digits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import tracegrad as tg
from tests.transforms.test_spectral import symmetric, unitary

W = np.random.default_rng(0).uniform(-1, 1, (4, 4))


def exact_derivative(a: Any, ct: Any, g: Any, slope: Any) -> Any:
    with mpmath.workdps(60):
        w, v = mpmath.eigsy(mpmath.matrix(a.tolist()))
        m = v.T * mpmath.matrix(((ct + ct.T) / 2).tolist()) * v
        for i in range(len(w)):
            for j in range(len(w)):
                gap = w[i] - w[j]
                m[i, j] *= slope(w[i]) if abs(gap) < mpmath.mpf(10) ** -40 else (g(w[i]) - g(w[j])) / gap
        return np.array((v * m * v.T).tolist(), float)


@pytest.mark.parametrize("gap", 10.0 ** -np.arange(1, 16))
def test_nearly_equal_eigenvalues(gap: float) -> None:
    a, ct = symmetric([1.0, 1.0 + gap, 3.0]), W[:3, :3]
    for g, exact, prime in (
        (np.exp, mpmath.exp, mpmath.exp),
        (np.log, mpmath.log, lambda x: 1 / x),
        (lambda w: 1 / w, lambda x: 1 / x, lambda x: -1 / x**2),
    ):
        f = lambda a, g=g: (lambda w, v: np.sum(ct * ((v * g(w)) @ v.T)))(*np.linalg.eigh(a))
        np.testing.assert_allclose(tg.grad(f)(a), exact_derivative(a, ct, exact, prime), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("gap", 10.0 ** -np.arange(1, 16, 2))
def test_second_derivative_at_nearly_equal_eigenvalues(gap: float) -> None:
    a, t = symmetric([1.0, 1.0 + gap, 3.0]), symmetric([0.5, -1.0, 0.2], seed=3)
    inverse = lambda a: (lambda w, v: np.sum(W[:3, :3] * ((v / w) @ v.T)))(*np.linalg.eigh(a))
    b = np.linalg.inv(a)
    expected = 2 * np.sum(W[:3, :3] * (b @ t @ b @ t @ b))
    np.testing.assert_allclose(np.sum(tg.hvp(inverse, (a,), (t,)) * t), expected, rtol=1e-6)


@pytest.mark.parametrize("gap", 10.0 ** -np.arange(1, 16, 2))
def test_nearly_equal_singular_values(gap: float) -> None:
    a, w = (unitary(1, 3, 3) * np.array([2.0 + gap, 2.0, 1.0])) @ unitary(2, 3, 3), W[:3, :3]
    f = lambda a: (lambda u, s, vh: np.sum(w * ((u * s) @ vh)))(*np.linalg.svd(a))
    np.testing.assert_allclose(tg.grad(f)(a), w, atol=1e-8)
