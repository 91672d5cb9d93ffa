"""Distribution functions of counts: ends of the domain, and derivatives in probabilities; tails."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special, stats
from tracegrad.testing import check_grads

scipy_special = pytest.importorskip("scipy.special")


def test_the_ends_are_scipys() -> None:
    with np.errstate(all="ignore"):
        for name in ("bdtr", "bdtrc", "bdtri", "nbdtr", "nbdtrc", "nbdtri"):
            for k in (-1, 0, 3, 4):
                for p in (-0.5, 0.0, 0.4, 1.0, 1.5):
                    wanted = getattr(scipy_special, name)(k, 3, p)
                    np.testing.assert_allclose(
                        getattr(special, name)(k, 3, p), wanted, rtol=1e-13, err_msg=f"{name} {k} {p}"
                    )
        for name in ("pdtr", "pdtrc", "pdtri"):
            for k in (-1, 0, 3):
                for m in (-1.0, 0.0, 0.4):
                    wanted = getattr(scipy_special, name)(k, m)
                    np.testing.assert_allclose(
                        getattr(special, name)(k, m), wanted, rtol=1e-13, err_msg=f"{name} {k} {m}"
                    )


def test_derivatives() -> None:
    p = np.array([0.2, 0.7])
    for f in (
        lambda p: special.bdtr(3, 8, p), lambda p: special.bdtrc(3.5, 8, p), lambda p: special.bdtr(8, 8, p), lambda p: special.bdtri(3, 8, p),
        lambda p: special.nbdtr(2, 3, p), lambda p: special.nbdtrc(2, 3, p), lambda p: special.nbdtri(2, 3, p), lambda m: special.pdtr(2, m),
        lambda m: special.pdtrc(2, m), lambda p: special.pdtri(2, p), lambda p: special.fdtri(2.5, p + 3, p), lambda p: special.chdtri(p, p),
    ):  # fmt: skip
        check_grads(f, (p,), order=2, rtol=1e-5)
    assert tg.grad(special.bdtr, 2)(8, 8, 0.4) == 0.0


def test_tails_keep_their_digits() -> None:
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        beta = float(mpmath.betainc(0.1, 60, mpmath.mpf(0.4), 1, regularized=True))
        fisher = float(mpmath.betainc(1, 30, mpmath.mpf(1) / 3, 1, regularized=True))
    np.testing.assert_allclose(stats.beta.sf(0.4, 0.1, 60.0), beta, rtol=1e-13)
    np.testing.assert_allclose(special.betaincc(0.1, 60.0, 0.4), beta, rtol=1e-13)
    np.testing.assert_allclose([special.fdtrc(2.0, 60.0, 15.0), stats.f.sf(15.0, 2.0, 60.0)], fisher, rtol=1e-13)
