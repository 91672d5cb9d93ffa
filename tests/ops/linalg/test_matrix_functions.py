"""Functions of matrices at the places where they are hard: defective matrices, eigenvalues that are negative, batches of none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tracegrad.scipy import linalg


def test_a_defective_matrix() -> None:
    """f of a Jordan block has f' above its diagonal, and the derivative along E_12 is f'."""
    a, t = np.array([[2.0, 1.0], [0.0, 2.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    for f, slope in ((linalg.expm, np.exp(2.0)), (linalg.logm, 0.5), (linalg.sqrtm, 0.5 / np.sqrt(2.0))):
        out, along = tg.jvp(f, (a,), (t,))
        np.testing.assert_allclose([out[0, 1], along[0, 1]], [slope, slope], rtol=1e-7)
        np.testing.assert_allclose(tg.jit(f, backend="xla")(a), out, rtol=1e-7, atol=1e-8)


def test_real_matrices_with_complex_values() -> None:
    a = np.diag([-1.0, 2.0])
    for f in (linalg.logm, linalg.sqrtm):
        with pytest.raises(LinAlgError, match=r"of this real matrix is complex"):
            tg.jit(f)(a)
        assert np.isnan(tg.jit(f, backend="xla")(a)).all()
        np.testing.assert_allclose(tg.jit(f)(a + 0j), f(a), atol=1e-12)
    with pytest.raises(LinAlgError, match=r"funm of this real matrix is complex"):
        tg.jit(lambda a: linalg.funm(a, lambda w: np.sqrt(w + 0j)))(a)


def test_no_matrices() -> None:
    for f in (linalg.expm, linalg.logm, linalg.sqrtm):
        for backend in ("numpy", "xla"):
            assert tg.jit(f, backend=backend)(np.zeros((0, 2, 2))).shape == (0, 2, 2)


def test_the_logarithm_on_xla_has_its_digits() -> None:
    """Roots of the whole matrix lost a digit for each that was taken: 4e-14 here."""
    mpmath = pytest.importorskip("mpmath")
    pytest.importorskip("jax")
    m = np.random.default_rng(0).uniform(-1.0, 1.0, (40, 3, 3))
    a = m @ np.swapaxes(m, -1, -2) + np.eye(3)
    truth = [
        np.array([[float(mpmath.re(v)) for v in line] for line in mpmath.logm(mpmath.matrix(x.tolist())).tolist()])
        for x in a
    ]
    found = tg.jit(tg.vmap(tg.scipy.linalg.logm), backend="xla")(a)
    np.testing.assert_allclose(found, np.stack(truth), atol=6e-15)
