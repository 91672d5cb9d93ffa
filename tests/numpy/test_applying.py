"""NumPy's functions that take a function, traced: NumPy's values, and the derivatives of the function applied by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.ops.reduce import traced
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.testing import check_grads

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 3, 4))


def agrees(f: Any, *args: Any) -> None:
    expected = f(*args)
    for found in (tg.vjp(f, *args)[0], tg.jit(f)(*args)):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_along_an_axis(axis: int) -> None:
    for function, *more in (
        (np.sum,),
        (np.cumsum,),
        (lambda v: np.outer(v, v),),
        (lambda v: v[:2] * 2,),
        (lambda v, k: np.sort(v)[k], 1),
    ):
        agrees(lambda x, function=function, more=more: np.apply_along_axis(function, axis, x, *more), X)
    check_grads(lambda x: np.apply_along_axis(lambda v: np.prod(v) * v, axis, x), (X,))


def test_along_an_axis_with_branches() -> None:
    """Called for each vector where it needs values."""
    f = lambda x: np.apply_along_axis(lambda v: v * 2 if v[0] > 0 else -v, 1, x)
    np.testing.assert_array_equal(traced(f, X), f(X))
    check_grads(f, (X,))
    assert len(tg.make_graph(lambda x: np.apply_along_axis(np.sum, 1, x))(np.ones((500, 3))).eqns) < 10
    with pytest.raises(ValueError, match=r"nothing along axis 0 of f64\[2,0\]"):
        traced(lambda x: np.apply_along_axis(np.sum, 0, x), np.ones((2, 0)))


def test_over_axes() -> None:
    for axes in (0, [0, 2], (-1,)):
        agrees(lambda x, axes=axes: np.apply_over_axes(np.sum, x, axes), X)
        agrees(lambda x, axes=axes: np.apply_over_axes(np.cumsum, x, axes), X)
    with pytest.raises(ValueError, match=r"func makes f64\[1\] of f64\[2,3,4\]; it may remove one axis at most"):
        traced(lambda x: np.apply_over_axes(lambda x, axis: np.sum(x), x, 0), X)


def test_piecewise() -> None:
    x = np.linspace(-2, 2, 7)
    for f in (
        lambda x: np.piecewise(x, [x < 0, x >= 1], [lambda v: v**2, lambda v: np.exp(v)]),
        lambda x: np.piecewise(x, [x < 0, x >= 1], [-1, 1, lambda v: v * 3]),
        lambda x: np.piecewise(x, x < 0, [lambda v, k, m=1: v * k * m, 5], 2, m=3),
        lambda x: np.piecewise(x, [x < 1, x < 0], [lambda v: v, 9]),  # the last that holds
    ):
        agrees(f, x)
        check_grads(f, (x + 0.1,))
    agrees(lambda x: np.piecewise(x, [x < 2], [lambda v: v / 2]), np.arange(4))
    agrees(lambda x: np.piecewise(x, [x < 2], [lambda v: v / 2]), np.float64(1.5))
    np.testing.assert_array_equal(traced(lambda x: np.piecewise(x, [x > 99], [lambda v: v[0]]), x), 0 * x)  # not called
    # Each function has its own elements.
    own = lambda x: np.piecewise(x, [x < 0], [lambda v: v - v.mean(), 0])
    np.testing.assert_array_equal(traced(own, x), own(x))
    with pytest.raises(
        UnsupportedFunctionError, match=r"np.piecewise at .*'mean' at .*test_applying.py.* Write np.where"
    ):
        tg.jit(own)(x)
    with pytest.raises(ValueError, match="piecewise: 1 conditions go with as many functions, or one more, got 3"):
        traced(lambda x: np.piecewise(x, [x < 0], [1, 2, 3]), x)
    # The function that was not chosen adds nothing to a derivative.
    g = tg.jit(tg.grad(lambda x: np.sum(np.piecewise(x, [x > 0], [np.sqrt, 0]))))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(g(np.array([-1.0, 0.0, 4.0])), [0, 0, 0.25])


def test_vectorize() -> None:
    larger = tnp.vectorize(lambda a, b: a if a > b else b)
    np.testing.assert_array_equal(larger(X, 0.0), np.maximum(X, 0))
    np.testing.assert_array_equal(traced(lambda x: larger(x, 0.0), X), np.maximum(X, 0))
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(larger(x, 0.0)))(X), (X > 0) * 1.0)
    smooth = tnp.vectorize(lambda a, b: np.sin(a) * b)
    agrees(lambda x: smooth(x, np.arange(4.0)), X)
    assert len(tg.make_graph(lambda x: smooth(x, 2.0))(X).eqns) < 8
    both = tnp.vectorize(lambda a: (a, a**2), otypes=[np.float32, np.float64])
    for a, b in zip(tg.jit(both)(X), both(X), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-14)
    power = tnp.vectorize(lambda a, n=2: a**n, excluded=["n"])
    agrees(lambda x: power(x, n=3), X)
    assert tnp.vectorize(lambda a: a, doc="It.").__doc__ == "It."


def test_vectorize_by_signature() -> None:
    dot = tnp.vectorize(lambda m, v: m @ v, signature="(m,n),(n)->(m)")
    m, v = rng.normal(size=(5, 1, 2, 3)), rng.normal(size=(4, 3))
    agrees(dot, m, v)
    with pytest.raises(ValueError, match=r"vectorize: f64\[3\] has fewer axes than '\(m,n\),\(n\)->\(m\)' asks for"):
        traced(lambda x: dot(x, x), np.ones(3))
    with pytest.raises(TypeError, match="is of 2 arrays, got 1"):
        traced(dot, np.ones(3))
