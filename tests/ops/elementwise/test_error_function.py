"""erf and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import mpmath
import numpy as np
import pytest
import scipy.special

import tracegrad as tg
from tracegrad.core.errors import DtypeError
from tracegrad.ops.elementwise import error_function

jax.config.update("jax_enable_x64", True)


def relative_error(f: Callable[..., Any], exact: Callable[..., Any], xs: Any) -> float:
    worst = 0.0
    with mpmath.workdps(40):
        for x, y in zip(xs, f(xs), strict=True):
            true = exact(mpmath.mpf(float(x)))
            worst = max(worst, abs(float((mpmath.mpf(float(y)) - true) / true)))
    return worst


@pytest.fixture(params=["scipy", "without scipy"])
def with_and_without_scipy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without scipy":
        monkeypatch.setattr(error_function, "_scipy_special", lambda: None)


@pytest.mark.usefixtures("with_and_without_scipy")
def test_erf_to_the_last_digit() -> None:
    xs = np.concatenate([np.linspace(-6.3, 6.3, 1200), 10.0 ** np.linspace(-300, 0, 100), [1.0, -1.0, 0.5, -0.5]])
    assert relative_error(error_function.erf, mpmath.erf, xs) < 4e-16
    assert relative_error(error_function.erfc, mpmath.erfc, xs) < 8e-16
    tail = np.linspace(6.0, 26.5, 300)
    assert relative_error(error_function.erfc, mpmath.erfc, tail) < 8e-16
    assert relative_error(error_function.ndtr, mpmath.ncdf, np.linspace(-3, 8, 1200)) < 2e-15
    # The rounding of x / sqrt(2) is multiplied by x**2.
    assert relative_error(error_function.ndtr, mpmath.ncdf, np.linspace(-37, -3, 300)) < 3e-13


def test_scipy_is_used_where_it_is_installed() -> None:
    x = np.linspace(-3, 3, 50)
    assert error_function.erf(x).tobytes() == scipy.special.erf(x).tobytes()
    # What is below zero comes from SciPy, what is above by symmetry.
    below = scipy.special.ndtr(-np.abs(x))
    assert error_function.ndtr(x).tobytes() == np.where(x > 0, 1 - below, below).tobytes()


@pytest.mark.usefixtures("with_and_without_scipy")
def test_erf_ends_signs_and_dtypes() -> None:
    assert error_function.ndtr(np.array([0.0, np.inf, -np.inf])).tolist() == [0.5, 1.0, 0.0]
    ends = np.array([0.0, -0.0, np.inf, -np.inf, 30.0, -30.0])
    assert error_function.erf(ends).tolist() == [0.0, 0.0, 1.0, -1.0, 1.0, -1.0]
    assert np.signbit(error_function.erf(ends))[1]
    assert error_function.erfc(ends).tolist() == [1.0, 1.0, 0.0, 2.0, 0.0, 2.0]
    for f in (error_function.erf, error_function.erfc, error_function.ndtr):
        assert np.isnan(f(np.array([np.nan, 1.0]))).tolist() == [True, False]
        assert f(np.zeros((0, 3))).shape == (0, 3)
        x = np.linspace(-3, 3, 20_000)  # more than one block
        for dtype in ("float16", "float32"):
            assert f(x.astype(dtype)).dtype == dtype
        np.testing.assert_allclose(f(x), [float(f(v)) for v in x], rtol=4e-15)
        np.testing.assert_allclose(f(x.reshape(2, -1).T), f(x).reshape(2, -1).T, rtol=0)
        assert f(np.array([1, 2])).dtype == np.float64


@pytest.mark.usefixtures("with_and_without_scipy")
@pytest.mark.parametrize("name", ["erf", "erfc", "ndtr"])
def test_complex_numbers_are_refused_and_not_made_real(name: str) -> None:
    f = getattr(error_function, name)
    z = np.array([0.1 + 1j], np.complex64)
    for call in (f, tg.jit(f), tg.jit(f, backend="xla"), lambda z: tg.vjp(f, z), lambda z: f(z[0])):
        with pytest.raises(
            DtypeError, match=r"(?s)erf, erfc and ndtr take real numbers, got c64\[.*test_error_function\.py"
        ):
            call(z)


@pytest.mark.parametrize("name", ["erf", "erfc", "ndtr"])
def test_a_long_double_is_the_same_alone_and_in_an_array(name: str) -> None:
    """Of which a double's last digit is not the last."""
    function = getattr(error_function, name)
    x = np.random.default_rng(0).uniform(-4, 4, 300).astype(np.longdouble)
    each = [function(v) for v in x]
    assert {type(v) for v in each} == {np.longdouble}
    np.testing.assert_array_equal(function(x), each)
    np.testing.assert_array_equal(tg.vmap(function)(x), each)
