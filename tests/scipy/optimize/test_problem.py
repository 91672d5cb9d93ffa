"""What all searches share: arguments that are closed over, dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DtypeError, UnexpectedTracerError

opt = tg.scipy.optimize
A = np.array([1.0, -0.5])


def test_what_it_closes_over_has_to_be_an_argument() -> None:
    with pytest.raises(UnexpectedTracerError, match=r"closes over a traced f64\[2\].*args=\(a,\)"):
        tg.grad(lambda a: np.sum(opt.minimize(lambda x: np.sum((x - a) ** 2), np.zeros(2)).x))(A)


def test_dtypes() -> None:
    found = opt.minimize(lambda x: np.sum((x - 1) ** 2), np.zeros(2, np.float32))
    assert found.x.dtype == np.float32 and found.fun.dtype == np.float32
    assert opt.minimize(lambda x: (x - 1) ** 2, 0).x.dtype == np.float64


@pytest.mark.parametrize("search", ["least_squares", "root", "minimize"])
def test_what_is_complex_is_to_be_taken_apart(search: str) -> None:
    """There is no holomorphic=True here."""
    with pytest.raises(
        DtypeError, match=rf"scipy.optimize.{search} at .*test_problem.py.*returned c128\[2\]; .*np.imag\(r\)"
    ) as e:
        getattr(opt, search)(lambda x: (1 + 1j) * x - 2, np.ones(2))
    assert "holomorphic" not in str(e.value)
