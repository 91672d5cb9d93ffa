"""The logarithm of gamma, its derivatives and zeta, against mpmath; what has no derivative."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.core.errors import DifferentiationError, DtypeError
from tracegrad.scipy import special

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)


def test_log_gamma_and_zeta_against_mpmath() -> None:
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 30
    nth = lambda f, n: lambda x: float(mpmath.diff(f, mpmath.mpf(float(x)), n))
    points = np.array([0.3, 1.0, 2.5, 7.0])
    for order in range(4):
        g = lax.lgamma
        for _ in range(order):
            g = (lambda g: lambda x: tg.jvp(g, (x,), (np.ones_like(x),))[1])(g)
        exact = [nth(mpmath.loggamma, order)(x) if order else float(mpmath.loggamma(x)) for x in points]
        np.testing.assert_allclose(g(points), exact, rtol=1e-11, atol=1e-13)
    for m in range(4):
        exact = [float(mpmath.psi(m, x)) for x in points]
        np.testing.assert_allclose(lax.polygamma(float(m), points), exact, rtol=1e-12)
    np.testing.assert_allclose(lax.zeta(3.0, points), [float(mpmath.zeta(3, x)) for x in points], rtol=1e-13)


def test_the_poles_of_log_gamma() -> None:
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(lax.lgamma(np.array([0.0, -1.0, np.inf])), [np.inf] * 3)


def test_parameters_without_a_derivative() -> None:
    for f, name, parameter, args, slope in ((lax.polygamma, "polygamma", "m", (1.0, 2.0), lax.polygamma(2.0, 2.0)),):
        text = rf"{name} has no derivative with respect to {parameter}.*tg\.stop_gradient\({parameter}\)"
        rest = args[1:]
        with pytest.raises(DifferentiationError, match=text):
            tg.jvp(lambda p: f(p, *rest), args[:1], (1.0,))
        # Reverse mode does not know who asks: NaN, unless nothing flows or it is stopped on the way.
        assert np.isnan(tg.grad(f)(*args))
        held = lambda p: f(tg.stop_gradient(p), *rest) * p
        assert tg.grad(held)(args[0]) == tg.jvp(held, args[:1], (1.0,))[1] == f(*args)
        assert tg.grad(lambda p: np.where(p > 0, p, f(p, *rest)))(args[0]) == 1
        np.testing.assert_allclose(tg.grad(f, len(args) - 1)(*args), slope, rtol=1e-12)
    second = lambda lax, grad: grad(grad(lambda x: lax.betainc(2.0, 3.0, x)))(0.3)
    np.testing.assert_allclose(second(lax, tg.grad), second(jax.lax, jax.grad), rtol=1e-10)
    with pytest.raises(DtypeError, match=r"special functions take real numbers, got c128\[\]"):
        lax.lgamma(np.complex128(1))


def test_derivatives_of_zeta_in_its_exponent() -> None:
    """Of each order, and mixed, from next to the pole to where one term is all."""
    mpmath = pytest.importorskip("mpmath")
    slopes = [tg.grad(lax.zeta), tg.grad(tg.grad(lax.zeta)), tg.grad(tg.grad(lax.zeta, 1))]
    for x in (1.01, 2.0, 30.0):
        for q in (1e-3, 0.6, 20.0):
            with mpmath.workdps(90):
                at = mpmath.mpf(x), mpmath.mpf(q)
                step = mpmath.mpf(10) ** -20
                f = lambda dx, dq: mpmath.zeta(at[0] + dx * step, at[1] + dq * step)
                true = [
                    (f(1, 0) - f(-1, 0)) / (2 * step), (f(1, 0) - 2 * f(0, 0) + f(-1, 0)) / step**2,
                    (f(1, 1) - f(1, -1) - f(-1, 1) + f(-1, -1)) / (4 * step**2),
                ]  # fmt: skip
            np.testing.assert_allclose([slope(x, q) for slope in slopes], [float(t) for t in true], rtol=1e-12)


@pytest.mark.parametrize("on", ["numpy", "xla"])
def test_polygamma_of_large_orders_and_arguments_against_mpmath(on: str) -> None:
    """SciPy's factorial is infinite from order 171 on, and its zeta function zero where the product is not."""
    mpmath = pytest.importorskip("mpmath")
    points = [
        (171, 50.0),
        (200, 100.0),
        (300, 200.0),
        (1000, 400.0),
        (100, 1e4),
        (21, 3.0),
        (1, 1e160),
        (1, 1e300),
        (3, 1e9),
    ]
    with mpmath.workdps(450):
        expected = [float((-1) ** (m + 1) * mpmath.factorial(m) * mpmath.zeta(m + 1, mpmath.mpf(x))) for m, x in points]
    m, x = map(np.array, zip(*points, strict=True))
    found = special.polygamma(m, x) if on == "numpy" else tg.jit(special.polygamma, backend="xla")(m, x)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_zeta_far_out_on_xla() -> None:
    found = tg.jit(special.zeta, backend="xla")(np.array([1e160, 2.0, 3.0]), np.array([1e20, 1e300, 3e8]))
    np.testing.assert_allclose(found, [0.0, 1e-300, 1 / 18e16 * (1 + 1 / 3e8)], rtol=1e-14)
