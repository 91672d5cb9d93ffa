"""The room as a whole: plain arrays, and without SciPy."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.linalg

from tests.numpy.test_linalg import general, hermitian, regular
from tracegrad.scipy import linalg


def test_plain_arrays_are_scipys() -> None:
    a = regular(3, 3)
    np.testing.assert_array_equal(linalg.expm(a), scipy.linalg.expm(a))
    np.testing.assert_array_equal(linalg.cho_factor(a @ a.T)[0], scipy.linalg.cho_factor(a @ a.T)[0])
    with pytest.raises(ValueError, match="infs or NaNs"):
        linalg.solve(a * np.nan, a)
    np.testing.assert_array_equal(linalg.dft(5), scipy.linalg.dft(5))
    np.testing.assert_array_equal(linalg.hilbert(5), scipy.linalg.hilbert(5))
    np.testing.assert_array_equal(linalg.kron(a, a), np.kron(a, a))


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = hermitian(3, 3), general(3)
    expected = [scipy.linalg.lu(a)[2], scipy.linalg.cho_solve(scipy.linalg.cho_factor(a), b), scipy.linalg.dft(3, "n")]
    for name in ("scipy", "scipy.linalg", "scipy.linalg.blas", "scipy.linalg.lapack"):
        monkeypatch.setitem(sys.modules, name, None)
    out = [linalg.lu(a)[2], linalg.cho_solve(linalg.cho_factor(a), b), linalg.dft(3, "n")]
    for x, y in zip(out, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)
    with pytest.raises(ImportError, match=r"pip install 'tracegrad\[scipy\]'"):
        linalg.expm(a)
