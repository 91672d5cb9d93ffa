"""The error function's kin in the far tails, to second order."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.scipy import special

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


@pytest.mark.parametrize(
    "name, exact, points",
    [
        ("erfcx", lambda x: mpmath.exp(x * x) * mpmath.erfc(x), [-5.0, 0.0, 3.0, 6.9, 7.1, 40.0]),
        (
            "dawsn",
            lambda x: mpmath.exp(-x * x) * mpmath.erfi(x) * mpmath.sqrt(mpmath.pi) / 2,
            [0.0, 2.0, -6.9, 7.1, -40.0],
        ),
        ("log_ndtr", lambda x: mpmath.log(mpmath.ncdf(x)), [-40.0, -9.0, -1e-9, 0.0, 2.0, 8.0]),
    ],
)
def test_derivatives_in_the_tails(name: str, exact: object, points: list[float]) -> None:
    f = getattr(special, name)
    slopes = [tg.grad(f), tg.grad(tg.grad(f))]
    for x in points:
        for order, slope in enumerate(slopes, 1):
            with mpmath.workdps(60 + 100 * (abs(x) > 9)):
                true = float(mpmath.diff(exact, mpmath.mpf(x), order))
            np.testing.assert_allclose(slope(x), true, rtol=1e-11, atol=1e-24)


def test_the_inverses_where_one_probability_is_tiny() -> None:
    """1 / density, of which erfcx keeps all digits."""
    for p in (1e-300, 1e-20, 0.3, 0.5, 0.9):
        x = special.ndtri(p)
        with mpmath.workdps(40):
            start = mpmath.mpf(float(x))
            exact = mpmath.findroot(lambda t, p=p: mpmath.log(mpmath.ncdf(t)) - mpmath.log(mpmath.mpf(p)), start)
            true = float(1 / mpmath.npdf(exact))
        np.testing.assert_allclose(tg.grad(special.ndtri)(p), true, rtol=1e-13)
        np.testing.assert_allclose(tg.grad(special.erfcinv)(2 * p), -true / np.sqrt(8), rtol=1e-13)


def test_voigts_profile() -> None:
    z = np.array([0.3 + 0.5j, 2.0 + 0.1j])
    slope = tg.grad(lambda z: np.real(special.wofz(z)).sum())
    step = 1e-6
    for direction in (1, 1j):
        quotient = np.real(special.wofz(z + step * direction) - special.wofz(z - step * direction)) / (2 * step)
        np.testing.assert_allclose(np.real(slope(z) * direction), quotient, rtol=1e-8)


def test_the_logistic_functions_at_the_ends() -> None:
    assert [tg.grad(special.log_expit)(x) for x in (-800.0, 0.0, 800.0)] == [1.0, 0.5, 0.0]
    np.testing.assert_allclose(tg.grad(special.logit)(1e-300), 1e300, rtol=1e-15)


def test_the_inverse_of_erf_at_its_ends() -> None:
    inf, nan = np.inf, np.nan
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(lax.erf_inv(np.array([-1.0, 1.0, 2.0])), [-inf, inf, nan])
    # An infinite slope where nothing flows adds nothing.
    assert tg.grad(lambda x: np.sum(np.where(x < 1, lax.erf_inv(x), x)))(np.array([0.0, 1.0])).tolist() == [
        np.sqrt(np.pi) / 2, 1.0,
    ]  # fmt: skip


def test_the_inverse_of_erf_to_the_last_places() -> None:
    """Against mpmath, near zero, in the midst and at all distances from 1."""
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.uniform(-1, 1, 60), 1 - 10.0 ** rng.uniform(-15.9, 0, 60), 10.0 ** rng.uniform(-300, 0, 10)]
    )
    for dtype, units in ((np.float64, 4.0), (np.float32, 0.501)):
        given = x.astype(dtype)
        given = given[np.abs(given) < 1]
        with mpmath.workdps(40):
            expected = [mpmath.erfinv(mpmath.mpf(float(v))) for v in given]
            for got, true in zip(lax.erf_inv(given), expected, strict=True):
                assert got.dtype == dtype
                assert abs(float(got) - true) <= units * float(np.spacing(dtype(abs(float(true)))))


def test_the_inverse_of_erf_needs_numpy_alone() -> None:
    code = (
        "import sys; sys.modules['scipy'] = None; import numpy as np, tracegrad as tg; "
        "print(tg.lax.erf_inv(np.array([0.5, -1.0])).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"[{lax.erf_inv(0.5)},", "-inf]"]


def test_the_middle_of_the_inverses() -> None:
    """The second derivative of an odd function is zero there, and the third of the normal quantile (2 pi)**1.5; by |x| and the lesser of
    p and 1 - p the second was -5."""
    for inverse, middle, third in (
        (special.ndtri, 0.5, (2 * np.pi) ** 1.5),
        (special.erfcinv, 1.0, -0.25 * np.pi**1.5),
    ):
        second = tg.grad(tg.grad(inverse))
        assert abs(second(middle)) < 1e-14
        np.testing.assert_allclose(tg.grad(second)(middle), third, rtol=1e-13)
