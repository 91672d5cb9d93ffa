"""Special functions: closed forms, higher derivatives, what has none."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad import lax
from tracegrad.core.errors import DifferentiationError, DtypeError
from tracegrad.ops.special_functions import beta_density

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)


def test_special_functions_against_mpmath() -> None:
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
    # P(a, x) and its derivatives in a, where x is less than, about, and more than a.
    pairs = [(0.5, 0.1), (2.0, 2.5), (3.0, 30.0), (40.0, 38.0), (200.0, 190.0), (0.7, 400.0)]
    a, x = np.array(pairs).T
    lower = lambda x: lambda a: mpmath.gammainc(a, 0, x, regularized=True)
    for order in range(4):
        exact = [float(mpmath.diff(lower(xi), ai, order)) if order else float(lower(xi)(ai)) for ai, xi in pairs]
        g = lax.igamma
        for _ in range(order):
            g = (lambda g: lambda a, x: tg.jvp(lambda a: g(a, x), (a,), (np.ones_like(a),))[1])(g)
        np.testing.assert_allclose(g(a, x), exact, rtol=1e-9, atol=1e-13)
        if order == 1:
            np.testing.assert_allclose(lax.igamma_grad_a(a, x), exact, rtol=1e-9, atol=1e-13)
    for order in range(3):
        f = lambda t: mpmath.exp(-abs(t)) * mpmath.besseli(1, t)
        g = lax.bessel_i1e
        for _ in range(order):
            g = (lambda g: lambda x: tg.jvp(g, (x,), (np.ones_like(x),))[1])(g)
        exact = [float(mpmath.diff(f, t, order)) if order else float(f(t)) for t in (0.4, 3.0)]
        np.testing.assert_allclose(g(np.array([0.4, 3.0])), exact, rtol=1e-10)
    assert tg.grad(lax.bessel_i1e)(0.0) == 0.5


def test_random_gamma_grad() -> None:
    a, x = np.array([0.5, 2.0, 9.0]), np.array([0.3, 1.5, 10.0])
    np.testing.assert_allclose(lax.random_gamma_grad(a, x), jax.lax.random_gamma_grad(a, x), rtol=1e-8)


def test_edges_of_special_functions() -> None:
    inf, nan = np.inf, np.nan
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(lax.erf_inv(np.array([-1.0, 1.0, 2.0])), [-inf, inf, nan])
        np.testing.assert_array_equal(lax.lgamma(np.array([0.0, -1.0, inf])), [inf, inf, inf])
        np.testing.assert_array_equal(
            lax.igamma_grad_a(np.array([1.0, 1, -1, 1]), np.array([0.0, inf, 1, nan])), [0, 0, nan, nan]
        )
    # An infinite slope where nothing flows adds nothing.
    assert tg.grad(lambda x: np.sum(np.where(x < 1, lax.erf_inv(x), x)))(np.array([0.0, 1.0])).tolist() == [
        np.sqrt(np.pi) / 2, 1.0,
    ]  # fmt: skip


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


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = tg.ops.special_functions
    functions._scipy_special.cache_clear()

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(functions, "imported", absent)
    with pytest.raises(ImportError, match=r"pip install 'tracegrad\[scipy\]'"):
        lax.digamma(1.0)
    functions._scipy_special.cache_clear()


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


def test_the_derivative_of_igamma_at_the_edges() -> None:
    slope = tg.grad(lambda a, x: lax.igamma(a, x))
    assert [slope(1.5, 0.0), slope(1.5, np.inf)] == [0.0, 0.0]
    with np.errstate(all="ignore"):
        assert np.all(np.isnan([slope(a, x) for a in (0.0, -1.0) for x in (0.0, np.inf)]))


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


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_derivatives_of_densities_in_parameters_where_a_factor_is_zero(backend: Any) -> None:
    mpmath = pytest.importorskip("mpmath")

    def gamma(a: Any, x: Any) -> Any:
        return x ** (a - 1) * mpmath.exp(-x) / mpmath.gamma(a)

    def beta(a: Any, b: Any, x: Any) -> Any:
        return x ** (a - 1) * (1 - x) ** (b - 1) / mpmath.beta(a, b)

    for a in (1.0, 2.0, 1.5):
        of_gamma: Any = tg.grad(lambda a, x: tg.scipy.special.gammainc(a, x), 1)
        twice = tg.jit(tg.grad(tg.grad(of_gamma, 1), 0), backend=backend)
        near(twice(a, 0.5), float(mpmath.diff(gamma, (a, 0.5), (1, 1))), 1e-9)
        of_beta: Any = tg.grad(lambda a, b, x: tg.scipy.special.betainc(a, b, x), 2)
        for number, orders in ((0, (1, 0, 2)), (1, (0, 1, 2))):
            third = tg.jit(tg.grad(tg.grad(tg.grad(of_beta, 2), 2), number), backend=backend)
            near(third(a, 2.0, 0.3), float(mpmath.diff(beta, (a, 2.0, 0.3), orders)), 1e-8)


def test_a_density_near_a_zero_of_its_factors_in_half_floats() -> None:
    mpmath = pytest.importorskip("mpmath")
    a, b, x = map(np.float16, (0.996, 1.624, 0.2483))
    density: Any = lambda a: beta_density(a, b, x, fall=1, fall_b=2)
    curve = tg.grad(tg.grad(density))
    steep = mpmath.diff(
        lambda a: (a - 1) * (b - 1) * (b - 2) * mpmath.mpf(float(x)) ** (a - 2) * (1 - float(x)) ** (float(b) - 3) / mpmath.beta(a, float(b)),
        float(a), 2,
    )  # fmt: skip
    np.testing.assert_allclose(curve(a), float(steep), rtol=5e-3)
