"""Powers, roots, exponentials and logarithms."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same
from tests.ops.elementwise.test_choosing import quiet

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("f, shares", [(np.logaddexp, math.e), (np.logaddexp2, 2.0)])
def test_infinite_terms_of_logaddexp_are_all_of_the_sum(f: Any, shares: float) -> None:
    for x in (0.0, 3.0, -1000.0, -np.inf):
        assert tg.grad(f, (0, 1))(x, np.inf) == (0.0, 1.0)
        assert tg.grad(f, (0, 1))(np.inf, x) == (1.0, 0.0)
    assert tg.grad(f, (0, 1))(-np.inf, 2.0) == (0.0, 1.0)
    same(tg.grad(f)(1.0, 2.0), shares / (shares + shares**2))
    same(tg.grad(f)(2000.0, 2001.0), 1 / (1 + shares))


EXPONENTS: list[Any] = [0, 1, 2, 3, 0.0, 1.0, 2.0, 3.0, np.int32(2), np.float64(3.0), np.array([2]), np.array([0.0])]


@pytest.mark.parametrize("p", EXPONENTS, ids=repr)
def test_powers_at_zero_have_all_derivatives(p: Any) -> None:
    exponent = float(np.asarray(p).reshape(()))
    for x in (0.0, -0.0, -1.5, 2.0):
        f = lambda x: np.sum(x**p)
        for order in range(1, 5):
            f = tg.grad(f)
            factor = math.prod(exponent - k for k in range(order))
            same(f(x), factor * x ** (exponent - order) if factor else 0.0, atol=1e-13)


@pytest.mark.parametrize("p", [-1, -2, -1.0, 0.5, 1.5, 2.5, -0.5, np.array([-1.0])], ids=repr)
def test_powers_away_from_zero(p: Any) -> None:
    for x in (2.0, 0.5, -1.5 if float(np.sum(p)).is_integer() else 1.5):
        f = lambda x: np.sum(x**p)
        g = lambda x: jnp.sum(jnp.power(x, p))
        for _ in range(3):
            f, g = tg.grad(f), jax.grad(g)
            same(f(x), g(x))


def test_roots_as_powers_at_zero() -> None:
    with quiet():
        assert tg.grad(lambda x: x**0.5)(0.0) == np.inf
    assert tg.grad(lambda x: x**1.5)(0.0) == 0.0
    # Masked, both at zero and outside of the domain.
    x = np.array([0.0, -1.0, 4.0])
    for p in (0.5, 1.5, -1.0, -0.5, np.array(0.5)):
        with quiet():
            f = lambda x: np.sum(np.where(x > 0, x**p, 0.0))
            assert tg.grad(f)(x)[:2].tolist() == [0.0, 0.0]
            assert tg.grad(lambda x: np.sum(tg.grad(f)(x)))(x)[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("base", [2, 2.0, 1.0, 0.5, np.float64(3.0), np.array([2.0])], ids=repr)
def test_exponentials_of_any_base(base: Any) -> None:
    for x in (0.0, 1.5, -2.0):
        same(tg.grad(lambda x: np.sum(base**x))(x), np.sum(np.log(base) * base**x))
        same(tg.grad(tg.grad(lambda x: np.sum(base**x)))(x), np.sum(np.log(base) ** 2 * base**x), atol=1e-16)


def test_exponentials_of_base_zero_and_below() -> None:
    for base in (0, 0.0, np.array(0.0)):
        assert tg.grad(lambda x: base**x)(2.0) == 0.0
    for base in (-2.0, np.array(-2.0)):
        assert np.isnan(tg.grad(lambda x: base**x)(2.0))
    assert tg.grad(np.power, (0, 1))(0.0, 2.0) == (0.0, 0.0)
    assert tg.grad(np.power, (0, 1))(0.0, 0.0) == (0.0, 0.0)
    assert tg.grad(np.power, (0, 1))(np.float64(0.0), np.float64(1.0)) == (1.0, 0.0)


def test_a_power_of_integers_is_not_differentiated() -> None:
    n = np.array([1, 2, 3])
    same(tg.grad(lambda x: np.sum(x**n))(np.array([2.0, 3.0, 4.0])), [1.0, 6.0, 48.0])
    same(tg.grad(lambda x: np.sum(n**x))(2.0), np.sum(n**2.0 * np.log(n)))
