"""Polynomials as NumPy has them: values and sizes are NumPy's own, derivatives those of differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.ops.reduce import traced
from tracegrad.core.errors import ConcretizationTypeError, ShapeError, TracerArrayConversionError
from tracegrad.testing import check_grads

rng = np.random.default_rng(0)
P, Q = rng.normal(size=5), rng.normal(size=3)


def agrees(f: Callable[..., Any], *args: Any, jitted: bool = True) -> None:
    """Its values, dtypes and shapes are NumPy's, traced by value and by type."""
    for g in (f, *([tg.jit(f)] if jitted else [])):
        expected = f(*args)
        found = g(*args) if g is not f else tg.vjp(f, *args)[0]
        assert type(found) is type(expected) or not isinstance(expected, tuple)
        for a, b in zip(*[x if isinstance(x, tuple) else (x,) for x in (found, expected)], strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_sums_products_and_values() -> None:
    for p, q in [(P, Q), (Q, P), (P, P), (P.astype("f4"), Q), (P + 1j, Q)]:
        agrees(np.polyadd, p, q)
        agrees(np.polysub, p, q)
        agrees(np.polymul, p, q, jitted=False)
        agrees(np.polydiv, p, q, jitted=False)
        agrees(np.polyval, p, rng.normal(size=(2, 3)))
        agrees(lambda p, q: tnp.polymul(p, q, trim_leading_zeros=False), p, q)
    for f in (np.polyadd, np.polysub, lambda p, q: np.polydiv(p, q)[0], lambda p, q: np.polydiv(p, q)[1], np.polymul):
        check_grads(f, (P, Q), order=2)
    check_grads(np.polyval, (P, rng.normal(size=4)), order=2)
    np.testing.assert_array_equal(traced(lambda i: np.polyval(i, [2, 3]), np.array([1, 2, 3])), [11, 18])


def test_leading_zeros() -> None:
    p, q = np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 3.0, 1.0])
    agrees(np.polymul, p, q, jitted=False)
    agrees(np.polymul, 0 * p, q, jitted=False)
    agrees(np.polydiv, np.array([1.0, 3.0, 2.0]), np.array([1.0, 1.0]), jitted=False)  # no remainder
    assert tnp.polydiv(np.array([1.0, 3.0, 2.0]), np.array([1.0, 1.0]))[1].tolist() == [0.0]
    kept = tg.jit(lambda p, q: tnp.polydiv(p, q, trim_leading_zeros=False))(P, Q)
    assert [x.shape for x in kept] == [(3,), (5,)]
    np.testing.assert_allclose(kept[0], np.polydiv(P, Q)[0], rtol=1e-12)
    np.testing.assert_allclose(kept[1][3:], np.polydiv(P, Q)[1], rtol=1e-9)
    for name in ("polymul", "polydiv"):
        with pytest.raises(
            ConcretizationTypeError, match=rf"(?s)leading zeros .*tnp\.{name}\(\.\.\., trim_leading_zeros=False\)"
        ):
            tg.jit(getattr(np, name))(P, Q)
    with pytest.raises(ConcretizationTypeError, match=r"keep them: tnp\.roots\(p, strip_zeros=False\)"):
        tg.jit(np.roots)(P)


@given(st.integers(0, 4), st.integers(0, 5), st.sampled_from(["f8", "i8", "c16"]))
def test_derivatives_and_antiderivatives(m: int, degree: int, dtype: str) -> None:
    p = (np.arange(degree + 1) * 3 - 4).astype(dtype)
    agrees(lambda p: np.polyder(p, m), p)
    agrees(lambda p: np.polyint(p, m), p)
    agrees(lambda p: np.polyint(p, m, 2.5), p)
    agrees(lambda p: np.polyint(p, m, list(range(5))), p)


def test_integration_constants_are_traced() -> None:
    np.testing.assert_allclose(
        tg.jacrev(lambda k: tnp.polyint(Q, 2, k))(np.ones(2)), [[0, 0], [0, 0], [0, 0], [1, 0], [0, 1]]
    )
    with pytest.raises(ValueError, match="polyint: k has 2 constants for m=3"):
        traced(lambda p: np.polyint(p, 3, [1, 2]), P)
    with pytest.raises(TracerArrayConversionError, match=r"write `tnp\.polyint`"):  # NumPy asks for k as an array
        traced(lambda k: np.polyint(Q, 2, k), np.ones(2))
    for f in (np.polyder, np.polyint):
        with pytest.raises(ValueError, match="the order must not be negative, got -1"):
            traced(lambda p, f=f: f(p, -1), P)


def test_zeros() -> None:
    for p in (P, Q, np.array([1.0, -6.0, 11.0, -6.0]), np.array([0.0, 1.0, -3.0, 2.0, 0.0, 0.0]), np.array([1, -3, 2])):
        expected = np.roots(p)
        found = traced(np.roots, p)
        assert found.shape == expected.shape
        np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(expected), atol=1e-10)
    for p in (np.zeros(3), np.ones(1), np.array([2.0, 0.0])):
        np.testing.assert_array_equal(traced(np.roots, p), np.roots(p))
    # The derivative of a zero z of p by its coefficients: -z**k / p'(z).
    p = np.array([2.0, -3.0, -11.0, 6.0])
    z = np.roots(p)
    expected = -np.vander(z, 4) / np.polyval(np.polyder(p), z)[:, None]
    np.testing.assert_allclose(tg.jacrev(lambda p: np.real(np.roots(p)))(p), expected, rtol=1e-9)
    by_type = tg.jit(lambda p: tnp.roots(p, strip_zeros=False))(p)
    np.testing.assert_allclose(np.sort_complex(by_type), np.sort_complex(z), rtol=1e-9)


def test_from_zeros() -> None:
    for zeros in (
        P,
        np.array([1, 2, 3]),
        np.array([1 + 2j, 1 - 2j]),
        np.array([1j, 2.0]),
        np.zeros(0),
        rng.normal(size=(3, 3)),
    ):
        expected, found = np.poly(zeros), traced(np.poly, zeros)
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    check_grads(np.poly, (P,), order=2)
    agrees(np.poly, P)
    # Of a matrix: the coefficients next to the first are minus the trace, and the determinant up to its sign.
    a = rng.normal(size=(3, 3))
    np.testing.assert_allclose(tg.grad(lambda a: np.real(np.poly(a)[1]))(a), -np.eye(3), atol=1e-9)
    with pytest.raises(ConcretizationTypeError, match="complex zeros come in pairs"):
        tg.jit(np.poly)(P + 1j)
    with pytest.raises(ValueError, match=r"poly takes a vector of zeros or a square matrix, got f64\[2,3\]"):
        traced(np.poly, np.ones((2, 3)))


@pytest.mark.parametrize(
    "options", [{}, {"w": np.linspace(1, 2, 12)}, {"cov": True}, {"cov": "unscaled"}, {"full": True}]
)
@pytest.mark.parametrize("columns", [(), (2,)])
def test_fits(options: dict[str, Any], columns: tuple[int, ...]) -> None:
    x, y = rng.uniform(-1, 2, 12), rng.normal(size=(12, *columns))
    for f in (np.polyfit, tg.jit(np.polyfit, static_argnames=("deg", "full", "cov"))):
        expected = np.polyfit(x, y, 3, **options)
        found = (
            tg.vjp(lambda x, y: np.polyfit(x, y, 3, **options)[0], x, y)[0]
            if f is np.polyfit
            else f(x, y, 3, **options)
        )
        if f is np.polyfit:
            expected = expected[0]
        for a, b in zip(*[v if isinstance(v, tuple) else (v,) for v in (found, expected)], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    check_grads(lambda x, y: np.polyfit(x, y, 2, w=options.get("w")), (x, y))


def test_fits_that_are_not_determined() -> None:
    x = np.array([1.0, 1.0, 2.0])
    with pytest.warns(np.exceptions.RankWarning, match="poorly conditioned"):
        traced(lambda y: np.polyfit(x, y, 2), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traced(lambda y: np.polyfit(x, y, 2, full=True)[0], x)
    for f, kind, text in [
        (lambda x: np.polyfit(x, x, -1), ValueError, "polyfit: deg must be at least 0, got -1"),
        (lambda x: np.polyfit(x[:, None], x, 1), TypeError, r"x is a vector that is not empty, got f64\[3,1\]"),
        (lambda x: np.polyfit(x, x[:2], 1), TypeError, r"as many rows as x has elements, got f64\[2\] for x f64\[3\]"),
        (lambda x: np.polyfit(x, x, 1, w=x[:2]), TypeError, r"a weight for each element of x, f64\[3\], got f64\[2\]"),
        (lambda x: np.polyfit(x, x, 2, cov=True), ValueError, "more points than coefficients, got 3 and 3"),
        (lambda x: np.polyadd(x[None], x), ShapeError, r"polyadd of f64\[1,3\]: coefficients stand in a vector"),
        (lambda x: np.roots(x[None]), ValueError, r"roots takes a vector of coefficients, got f64\[1,3\]"),
    ]:
        with pytest.raises(kind, match=text):
            traced(f, np.arange(3.0))


def test_poly1d_of_traced_coefficients() -> None:
    """NumPy's class works on what is traced."""
    check_grads(lambda p, x: np.poly1d(p)(x), (P, rng.normal(size=3)))
