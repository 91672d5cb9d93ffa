"""Elementary functions: where they keep their digits, and second derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from tracegrad.scipy import special
from tracegrad.testing import check_grads

scipy_special = pytest.importorskip("scipy.special")


def test_second_derivatives() -> None:
    x, y = np.array([0.6, 1.3, 2.9]), np.array([0.4, -1.2, 2.0])
    for f, args in [
        (special.cosm1, (y,)), (special.powm1, (x, y)), (special.exp10, (y,)), (special.exprel, (y,)), (special.softplus, (y,)),
        (special.pseudo_huber, (x, y)), (special.inv_boxcox1p, (x, x)), (special.radian, (x, y, y)), (special.perm, (x + 8, x)),
    ]:  # fmt: skip
        check_grads(f, args, order=2, rtol=2e-5, atol=1e-6)
    for f in (special.sindg, special.cosdg, special.tandg, special.cotdg):
        check_grads(lambda x, f=f: f(50 * x), (x,), order=1, rtol=1e-5)


def test_ends() -> None:
    for d in (-1.0, 0.0, 1.0):
        assert special.pseudo_huber(d, 2.0) == scipy_special.pseudo_huber(d, 2.0)
    assert special.perm(2.0, 5.0) == scipy_special.perm(2.0, 5.0) == 0
    with pytest.raises(ValueError, match=r"write math\.perm\(N, k\)"):
        special.perm(5, 2, exact=True)
