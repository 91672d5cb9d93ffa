"""Integrals of functions: SciPy's values; derivatives against closed forms and differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.integrate

import tracegrad as tg
from tracegrad.core.errors import DtypeError, ShapeError, UnsupportedFunctionError
from tracegrad.scipy import integrate
from tracegrad.testing import check_grads

P = np.array([1.0, 0.5, -1.0, 2.0])


def bump(x: Any, s: Any, c: Any) -> Any:
    return np.exp(-s * x**2) * np.cos(c * x)


def of_all(p: Any, quad: Any = integrate.quad) -> Any:
    return quad(bump, p[2], p[3], args=(p[0], p[1]), epsabs=1e-10, epsrel=1e-10)[0]


def test_values_are_scipys() -> None:
    value, error = scipy.integrate.quad(bump, -1.0, 2.0, args=(1.0, 0.5))
    assert integrate.quad(bump, -1.0, 2.0, args=(1.0, 0.5)) == (value, error)
    found = tg.jit(lambda s: integrate.quad(bump, -1.0, 2.0, args=(s, 0.5)))(1.0)
    assert found == (value, error)
    assert integrate.quad(np.cos, 0.0, 1.0, full_output=1)[2]["neval"] == 21


def test_derivatives_in_parameters_and_ends() -> None:
    check_grads(of_all, (P,), order=1)
    hessian = tg.hessian(of_all)(P)
    np.testing.assert_allclose(tg.jacrev(tg.grad(of_all))(P), hessian, rtol=1e-12, atol=1e-14)
    slopes = [(tg.grad(of_all)(P + h) - tg.grad(of_all)(P - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(hessian, slopes, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_jit(backend: str) -> None:
    found = tg.jit(tg.value_and_grad(of_all), backend=backend)(P)
    assert float(found[0]) == of_all(P)
    np.testing.assert_allclose(np.asarray(found[1]), tg.grad(of_all)(P), rtol=1e-15)


def test_batches() -> None:
    rows = np.stack([P, P + 0.1])
    expected = np.stack([tg.grad(of_all)(p) for p in rows])
    np.testing.assert_array_equal(tg.vmap(tg.grad(of_all))(rows), expected)
    np.testing.assert_array_equal(tg.grad(lambda rows: np.sum(tg.vmap(of_all)(rows)))(rows), expected)


def test_infinite_ends() -> None:
    line = lambda p: integrate.quad(bump, -np.inf, np.inf, args=(p[0], p[1]))[0]
    exact = lambda p: np.sqrt(np.pi / p[0]) * np.exp(-(p[1] ** 2) / 4 / p[0])
    np.testing.assert_allclose(tg.hessian(line)(P[:2]), tg.hessian(exact)(P[:2]), rtol=1e-9)
    tail = lambda a: integrate.quad(lambda x: np.exp(-x), a, np.inf)[0]
    assert np.isclose(tg.grad(tail)(0.3), -np.exp(-0.3)) and np.isclose(tg.grad(tg.grad(tail))(0.3), np.exp(-0.3))
    between = lambda ends: integrate.quad(lambda x: 1 / (1 + x * x), ends[0], ends[1])[0]
    np.testing.assert_array_equal(tg.grad(between)(np.array([0.0, np.inf])), [-1.0, 0.0])


def test_singular_at_an_end() -> None:
    power = lambda s: integrate.quad(lambda x: x**-s * np.log(x), 0.0, 1.0)[0]
    assert np.isclose(tg.grad(power)(0.5), -16.0, rtol=1e-9)  # of -1 / (1 - s)^2


def test_what_is_closed_over_and_trees() -> None:
    def f(p: Any) -> Any:
        inner = lambda x: p["a"] * np.sin(p["b"][0] * x)
        return integrate.quad(inner, 0.0, 1.0)[0] + integrate.quad(lambda x, q: q["b"][0] * x, 0.0, 1.0, args=(p,))[0]

    p = {"a": 2.0, "b": np.array([0.7])}
    found = tg.grad(f)(p)
    assert np.isclose(found["a"], (1 - np.cos(0.7)) / 0.7)
    step = lambda h: f({"a": 2.0, "b": np.array([0.7 + h])})
    assert np.isclose(found["b"][0], (step(1e-5) - step(-1e-5)) / 2e-5)


def test_many_parameters_at_once() -> None:
    w = np.linspace(-1.0, 1.0, 20)
    k = np.arange(20.0)
    f = lambda w: integrate.quad(lambda x: np.sum(w * np.cos(k * x)), 0.0, 1.0)[0]
    np.testing.assert_allclose(tg.grad(f)(w), np.sinc(k / np.pi), atol=1e-9)


def test_integrals_of_integrals() -> None:
    inner = lambda y, s: integrate.quad(lambda x: np.exp(-s * x * y), 0.0, 1.0)[0]
    outer = lambda s: integrate.quad(inner, 0.0, 1.0, args=(s,))[0]
    assert np.isclose(tg.grad(outer)(0.5), (outer(0.5001) - outer(0.4999)) / 2e-4, rtol=1e-6)


def test_weights() -> None:
    fourier = lambda s: integrate.quad(lambda x: np.exp(-s * x), 0.0, np.inf, weight="cos", wvar=2.0)[0]
    assert np.isclose(tg.grad(fourier)(1.0), tg.grad(lambda s: s / (s * s + 4))(1.0))
    for weight, at in (("cos", np.cos), ("sin", np.sin)):
        ends = lambda a, b, s, weight=weight: integrate.quad(lambda x: np.exp(s * x), a, b, weight=weight, wvar=2.0)[0]
        slopes = tg.grad(ends, (0, 1))(0.3, 1.0, 1.0)
        np.testing.assert_allclose(slopes, [-np.exp(0.3) * at(0.6), np.exp(1.0) * at(2.0)], rtol=1e-14)
        check_grads(ends, (0.3, 1.0, 0.7), order=2, rtol=1e-5)
    pole = lambda b: integrate.quad(np.exp, 0.0, b, weight="cauchy", wvar=0.5)[0]
    np.testing.assert_allclose(tg.grad(pole)(1.0), np.e / 0.5, rtol=1e-14)


@pytest.mark.parametrize("weight", ["alg", "alg-loga", "alg-logb", "alg-log"])
def test_weights_that_depend_on_the_ends(weight: str) -> None:
    """Values are SciPy's, and derivatives in ends and parameters those of SciPy's values."""
    f = lambda a, b, s: integrate.quad(lambda x: np.exp(s * x), a, b, weight=weight, wvar=(0.5, -0.25))[0]
    for ends in ((0.3, 1.5), (1.5, 0.3)):
        check_grads(f, (*ends, 0.7), order=2, rtol=1e-5)
        np.testing.assert_allclose(tg.jit(f)(*ends, 0.7), f(*ends, 0.7), rtol=1e-12)
    g = lambda alpha, beta, b: integrate.quad(lambda x: np.cos(x), 0.3, b, weight=weight, wvar=(alpha, beta))[0]
    check_grads(g, (0.5, -0.25, 1.5), order=2, rtol=1e-5)
    np.testing.assert_allclose(tg.jit(g)(0.5, -0.25, 1.5), g(0.5, -0.25, 1.5), rtol=1e-8)


def test_exponents_against_a_closed_form() -> None:
    beta = tg.scipy.special.beta
    found = lambda a, b: integrate.quad(lambda x: 1.0 + 0.0 * x, 0.0, 2.0, weight="alg", wvar=(a, b))[0]
    exact = lambda a, b: 2.0 ** (a + b + 1.0) * beta(a + 1.0, b + 1.0)
    for at in ((0.5, -0.3), (2.0, 0.0), (-0.6, 1.5)):
        np.testing.assert_allclose(tg.grad(found, (0, 1))(*at), tg.grad(exact, (0, 1))(*at), rtol=1e-7)
        np.testing.assert_allclose(tg.hessian(found, (0, 1))(*at), tg.hessian(exact, (0, 1))(*at), rtol=1e-6)


def test_frequencies_and_poles() -> None:
    """Of a wvar that is traced."""
    for weight in ("cos", "sin"):
        f = lambda w, b, s, weight=weight: integrate.quad(lambda x: np.exp(-s * x), 0.2, b, weight=weight, wvar=w)[0]
        check_grads(f, (2.0, 1.0, 0.7), order=2, rtol=1e-5)
        assert tg.jit(f)(2.0, 1.0, 0.7) == f(2.0, 1.0, 0.7)
        np.testing.assert_array_equal(
            tg.vmap(f, in_axes=(0, None, None))(np.array([2.0, 3.0]), 1.0, 0.7), [f(2.0, 1.0, 0.7), f(3.0, 1.0, 0.7)]
        )
    endless = lambda w: integrate.quad(lambda x: np.exp(-x), 0.0, np.inf, weight="cos", wvar=w)[0]  # 1 / (1 + w**2)
    np.testing.assert_allclose(tg.grad(endless)(2.0), -4.0 / 25.0, rtol=1e-7)
    np.testing.assert_allclose(tg.grad(tg.grad(endless))(2.0), (6.0 * 4.0 - 2.0) / 125.0, rtol=1e-6)
    pole = lambda c, s: integrate.quad(lambda x: np.exp(s * x), -1.0, 2.0, weight="cauchy", wvar=c)[0]
    check_grads(pole, (0.3, 0.7), order=2, rtol=1e-5)
    np.testing.assert_allclose(tg.jit(pole)(0.3, 0.7), pole(0.3, 0.7), rtol=1e-10)


def test_several_dimensions() -> None:
    half = lambda r: integrate.dblquad(
        lambda y, x, s: s * y, -r, r, 0.0, lambda x: np.sqrt(np.maximum(r * r - x * x, 1e-12)), (r,)
    )
    whole = lambda r: half(r)[0]  # 2 r**4 / 3
    np.testing.assert_allclose(whole(1.5), 2 / 3 * 1.5**4, rtol=1e-8)
    plain = scipy.integrate.dblquad(lambda y, x: x * y, 0.0, 1.0, 0.0, lambda x: 1 - x)
    np.testing.assert_allclose(
        integrate.dblquad(lambda y, x: x * y, 0.0, 1.0, 0.0, lambda x: 1 - x)[0], plain[0], rtol=1e-12
    )
    box = lambda a, s: integrate.dblquad(lambda y, x: np.exp(-s * x * y), 0.0, a, 0.0, lambda x: 1.0 + x)[0]
    check_grads(box, (0.7, 0.5), order=2, rtol=1e-5)
    np.testing.assert_allclose(tg.jit(tg.grad(box))(0.7, 0.5), tg.grad(box)(0.7, 0.5), rtol=1e-12)
    wedge = lambda s: integrate.tplquad(lambda z, y, x: s * z, 0.0, 1.0, 0.0, 1.0, 0.0, lambda x, y: x + s * y)[0]
    check_grads(wedge, (0.7,), order=1, rtol=1e-5)


def test_complex() -> None:
    f = lambda s: np.abs(integrate.quad(lambda x: np.exp(1j * s * x), 0.0, 1.0, complex_func=True)[0]) ** 2
    assert np.isclose(f(1.0), 2 - 2 * np.cos(1.0), rtol=1e-12)
    check_grads(f, (1.0,), order=2)
    with pytest.raises(DtypeError, match="complex_func=True"):
        tg.grad(lambda s: integrate.quad(lambda x: np.exp(1j * s * x), 0.0, 1.0)[0])(1.0)


def test_arrays() -> None:
    powers = lambda s, b: integrate.quad_vec(lambda x: x ** (s * np.arange(1.0, 4.0)), 0.0, b)[0]
    expected = scipy.integrate.quad_vec(lambda x: x ** np.arange(1.0, 4.0), 0.0, 1.0)
    np.testing.assert_array_equal(powers(1.0, 1.0), expected[0])
    value, error = tg.jit(lambda b: integrate.quad_vec(lambda x: x ** np.arange(1.0, 4.0), 0.0, b))(1.0)
    np.testing.assert_array_equal(value, expected[0])
    assert error == expected[1]
    check_grads(powers, (1.0, 0.8), order=1)


def test_gauss_legendre() -> None:
    f = lambda s, b, fixed: fixed(lambda x: np.exp(s * x), 0.0, b, n=6)[0]
    assert np.isclose(f(0.7, 1.0, integrate.fixed_quad), f(0.7, 1.0, scipy.integrate.fixed_quad), rtol=1e-15)
    check_grads(lambda s, b: f(s, b, integrate.fixed_quad), (0.7, 1.0), order=2)
    with pytest.raises(ValueError, match="finite ends"):
        integrate.fixed_quad(np.exp, 0.0, np.inf)


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"the integrand returned f64\[2\]; write quad_vec"):
        tg.grad(lambda s: integrate.quad(lambda x: s * np.ones(2), 0.0, 1.0)[0])(1.0)
    with pytest.raises(ShapeError, match="an end of the integral must be a number"):
        tg.grad(lambda b: integrate.quad(np.cos, 0.0, b)[0])(np.ones(2))
    for transform in (tg.grad, tg.jit):
        with pytest.raises(
            UnsupportedFunctionError, match=r"traced `points`.*\n.*quad\(f, a, p\)\[0\] \+ quad\(f, p, b\)"
        ):
            transform(lambda p: integrate.quad(lambda x: np.abs(x - p), 0.0, 1.0, points=[p])[0])(0.5)
        with pytest.raises(UnsupportedFunctionError, match=r"quad_vec with traced `points`"):
            transform(lambda p: integrate.quad_vec(lambda x: np.abs(x - p), 0.0, 1.0, points=[p])[0])(0.5)
    with pytest.raises(UnsupportedFunctionError, match="full_output"):
        tg.grad(lambda b: integrate.quad(np.cos, 0.0, b, full_output=1)[0])(1.0)
    with pytest.raises(TypeError, match=r"tg\.scipy\.integrate\.quad"):
        tg.grad(lambda b: scipy.integrate.quad(np.cos, 0.0, b)[0])(1.0)
