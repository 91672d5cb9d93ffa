"""Hankel's functions and derivatives of a given order, against SciPy's; derivatives of these."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import special
from tracegrad.testing import check_grads

scipy_special = pytest.importorskip("scipy.special")


def test_derivatives_of_each_order_are_scipys() -> None:
    x = np.array([0.7, 3.0, 20.0])
    for name in ("jvp", "yvp", "ivp", "kvp", "h1vp", "h2vp"):
        ours, scipys = getattr(special, name), getattr(scipy_special, name)
        for order in (0, 1, 3):
            np.testing.assert_allclose(ours(1.5, x, order), scipys(1.5, x, order), rtol=1e-12)
    slope = [tg.grad(lambda x: special.jvp(2, x, 2))(v) for v in x]
    np.testing.assert_allclose(slope, special.jvp(2, x, 3), rtol=1e-13)
    with pytest.raises(ValueError, match="n=-1"):
        special.jvp(1, 2.0, -1)


def test_of_complex_value() -> None:
    for f in (special.hankel1, special.hankel2, special.hankel1e, special.hankel2e):
        check_grads(lambda x, f=f: f(1.5, x), (np.array([0.7, 3.0]),), order=2, rtol=1e-5)
