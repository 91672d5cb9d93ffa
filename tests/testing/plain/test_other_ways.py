"""NumPy's other ways: the same but for what they are there for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compare import near
from tracegrad.testing.plain.other_ways import OnXla, OtherWays

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("xp", [OtherWays(), OnXla()])
def test_products_and_convolutions_are_numpys(xp: OtherWays) -> None:
    for a, b in [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 2)),
        ((4, 2, 3), (3, 2)),
        ((2, 3), (4, 3, 2)),
    ]:
        x, y = RNG.normal(size=a), RNG.normal(size=b)
        near(xp.matmul(x, y), np.matmul(x, y), 1e-14)
        near(xp.dot(x, y), np.dot(x, y), 1e-14)
    x, y = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 3))
    near(xp.inner(x, y), np.inner(x, y), 1e-14)
    near(xp.vdot(x, 1j * x), np.vdot(x, 1j * x), 1e-14)
    near(xp.outer(x, y), np.outer(x, y), 0.0)
    near(xp.convolve(x[0], y[0]), np.convolve(x[0], y[0]), 1e-14)
    near(xp.clip(x, -0.5, 0.5), np.clip(x, -0.5, 0.5), 0.0)
    near(xp.sin(x), np.sin(x), 0.0)


def test_signs_of_nan_and_integers_of_what_is_too_large_are_the_other_way() -> None:
    xp = OtherWays()
    assert xp.signbit(np.nan) != np.signbit(np.nan)
    with np.errstate(invalid="ignore"):
        assert xp.as_i8(np.array([1e300, 2.0])).tolist() == [~int(np.array(1e300).astype("i8")), 2]


def test_powers_and_logarithms_on_xla() -> None:
    xp = OnXla()
    z = np.array([0.5 - 2j, 1e-20 + 1e-20j])
    near(xp.power(z, 2 + 0j)[0], z[0] ** 2, 1e-14)
    assert np.real(xp.log1p(z))[1] == 1e-20
