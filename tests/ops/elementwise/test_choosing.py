"""Choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same, same_as_numpy

jax.config.update("jax_enable_x64", True)


def quiet() -> np.errstate:
    return np.errstate(all="ignore")


MASKED: dict[str, tuple[Callable[[Any], Any], float]] = {
    "sqrt": (np.sqrt, 0.0),
    "sqrt below": (np.sqrt, -1.0),
    "cbrt": (np.cbrt, 0.0),
    "log": (np.log, 0.0),
    "log below": (np.log, -1.0),
    "log2": (np.log2, 0.0),
    "log10": (np.log10, 0.0),
    "log1p": (np.log1p, -1.0),
    "reciprocal": (np.reciprocal, 0.0),
    "1/x": (lambda x: 1.0 / x, 0.0),
    "x/x": (lambda x: x / x, 0.0),
    "x/x**2": (lambda x: x / x**2, 0.0),
    "arcsin": (np.arcsin, 1.0),
    "arcsin outside": (np.arcsin, 1e300),
    "arccos": (np.arccos, -1.0),
    "arccos outside": (np.arccos, -2.0),
    "arccosh": (np.arccosh, 1.0),
    "arccosh below": (np.arccosh, 0.5),
    "arctanh": (np.arctanh, 1.0),
    "exp": (np.exp, 1000.0),
    "exp2": (np.exp2, 2000.0),
    "expm1": (np.expm1, 1000.0),
    "sinh": (np.sinh, 1000.0),
    "cosh": (np.cosh, 1000.0),
    "log(exp)": (lambda x: np.log1p(np.exp(x)), 1000.0),
    "x % 0": (lambda x: 1.0 % x, 0.0),
    "fmod": (lambda x: np.fmod(1.0, x), 0.0),
    "power": (lambda x: np.power(x, x), 0.0),
    "power below": (lambda x: np.power(x, x), -0.5),
    "float_power": (lambda x: np.float_power(x, -2.0), 0.0),
    "arctan2": (lambda x: np.arctan2(x, x), 0.0),
    "abs": (lambda x: np.abs(x + 0j), 0.0),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_branches_add_zero(name: str) -> None:
    f, singular = MASKED[name]
    x = np.array([singular, 1.7 if name.startswith("arccosh") else 0.7])
    masked = lambda x: np.sum(np.where(x != singular, f(x), x))
    with quiet():
        once = tg.grad(masked)(x)
        twice = tg.grad(lambda x: np.sum(tg.grad(masked)(x)))(x)
        forward = tg.jvp(masked, (x,), (np.array([1.0, 0.0]),))[1]
    assert once[0] == 1.0
    assert twice[0] == 0.0
    # Forward, the tangent of the branch not taken is dropped by `where` itself.
    assert forward == 1.0


def test_where() -> None:
    c, x = np.array([True, False, True]), np.array([1.0, 2.0, 3.0], np.float32)
    for f in (
        lambda x: np.where(c, x, 0),
        lambda x: np.where(c, x, 0.5),
        lambda x: np.where(c, x, np.float64(0.5)),
        lambda x: np.where(x > 1.5, 1.0, 2.0),
        lambda x: np.where(x, 1, 2),
        lambda x: np.where(c, x, 1j),
        lambda x: np.where(True, x, np.zeros((2, 1), np.float32)),
    ):
        same_as_numpy(f, x)
    same(tg.grad(lambda x: np.sum(np.where(c, x, 2 * x)))(x), [1, 2, 1])


def test_a_choice_between_truth_values_is_traced_by_types() -> None:
    x = np.array([1.0, -1.0])
    for f in (
        lambda x: np.where(x > 0, True, False),
        lambda x: np.where(x > 0, True, x),
        lambda x: np.where(x > 0, 1, x),
    ):
        for got in (tg.jit(f)(x), tg.vmap(f)(x)):
            np.testing.assert_array_equal(got, f(x))
            assert got.dtype == f(x).dtype
        assert tg.eval_shape(f, x).dtype == f(x).dtype
