"""Integrals of samples: SciPy's, bit for bit, and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.integrate

import tracegrad as tg
from tracegrad.scipy import integrate
from tracegrad.testing import check_grads

RULES = ["trapezoid", "simpson", "cumulative_trapezoid", "cumulative_simpson"]


def samples(n: int, axis: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(n)
    shape = (n, 3) if axis == 0 else (2, n)
    return rng.normal(size=shape), np.sort(rng.normal(size=n)), np.sort(rng.normal(size=shape), axis=axis)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 9])
def test_values_are_scipys(name: str, n: int) -> None:
    theirs, ours = getattr(scipy.integrate, name), getattr(integrate, name)
    for axis in (0, -1):
        y, x, places = samples(n, axis)
        ways: list[dict[str, Any]] = [{}, {"dx": 0.3}, {"x": x}, {"x": places}]
        if name.startswith("cumulative"):
            ways.append({"x": x, "initial": 0})
        for how in ways:
            expected = theirs(y, axis=axis, **how)
            np.testing.assert_array_equal(ours(y, axis=axis, **how), expected)
            np.testing.assert_array_equal(tg.jit(lambda y, axis=axis, how=how: ours(y, axis=axis, **how))(y), expected)


@pytest.mark.parametrize("name", RULES)
def test_derivatives(name: str) -> None:
    rule = getattr(integrate, name)
    for n in (2, 5, 6):
        y, x, _ = samples(n, -1)
        check_grads(lambda y, x: rule(np.sin(y), x=x), (y[0], x), order=2)
        check_grads(lambda y, h: rule(y, dx=h), (y, 0.4), order=1)


def test_equal_places_and_whole_numbers() -> None:
    x = np.array([0.0, 1.0, 1.0, 2.0, 3.0])
    y = np.arange(5)
    assert integrate.simpson(y, x=x) == scipy.integrate.simpson(y, x=x)
    assert np.isfinite(tg.grad(lambda y: integrate.simpson(y, x=x))(np.ones(5))).all()
    assert integrate.trapezoid(y) == 8.0
    assert integrate.simpson(np.ones(1)) == scipy.integrate.simpson(np.ones(1))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"initial must be None or 0, got 1"):
        integrate.cumulative_trapezoid(np.ones(3), initial=1)
    with pytest.raises(ValueError, match="x must be a vector of 3 places or of the shape of y, got f64"):
        integrate.simpson(np.ones(3), x=np.ones(4))
    with pytest.raises(ValueError, match="at least one sample"):
        integrate.cumulative_trapezoid(np.ones((2, 0)))
    with pytest.raises(ValueError, match="samples along an axis are needed"):
        integrate.trapezoid(1.0)
