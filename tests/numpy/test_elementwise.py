"""Elementwise functions without an op."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same, same_as_numpy
from tracegrad.core.errors import (
    DtypeError,
)

jax.config.update("jax_enable_x64", True)

QUADRANTS = np.array(
    [0.6 + 0.4j, -0.6 + 0.5j, -0.7 - 0.4j, 0.5 - 0.6j, 1.7 + 0.3j, -1.8 + 0.2j, -1.6 - 0.3j, 1.5 - 0.2j]
)


def test_fix_divmod_modf_frexp() -> None:
    x, y = np.array([2.7, -2.7, 7.0]), np.array([0.5, 0.8, -2.0])
    same_as_numpy(np.fix, x)
    same_as_numpy(np.divmod, x, y)
    same_as_numpy(lambda x, y: divmod(x, y), x, y)
    same_as_numpy(lambda x: divmod(7.0, x), y)
    same_as_numpy(np.modf, x)
    same_as_numpy(np.frexp, x)
    same_as_numpy(np.modf, np.array([np.inf, -np.inf, -0.0, -3.0]))
    same(tg.grad(lambda x: np.sum(np.divmod(x, y)[1] * y))(x), y)
    same(tg.grad(lambda x: np.sum(np.modf(x)[0] * y + np.modf(x)[1]))(x), y)
    mantissa, exponent = np.frexp(x)
    same(tg.grad(lambda x: np.sum(np.frexp(x)[0] * y))(x), y * 2.0**-exponent)
    # Put together again it is the identity, with its derivative.
    same(tg.grad(lambda x: np.sum(np.ldexp(*np.frexp(x)) * y))(x), y)
    assert mantissa.dtype == x.dtype


ODD = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, -2.5])


def test_select() -> None:
    x = np.linspace(-2, 2, 9)
    f = lambda x: np.select([x < -1, x < 1], [x**2, 3.0 * x], 7.0)
    same_as_numpy(f, x)
    same_as_numpy(lambda x: np.select([x < -1, x < 1], [x, -x]), x)
    same(tg.grad(lambda x: np.sum(f(x)))(x), np.where(x < -1, 2 * x, np.where(x < 1, 3.0, 0.0)))
    with pytest.raises(ValueError, match="1 conditions for 2 choices"):
        tg.grad(lambda x: np.sum(np.select([x < 0], [x, x])))(x)
    with pytest.raises(DtypeError, match="x != 0"):
        tg.grad(lambda x: np.sum(np.select([x], [x])))(x)


def test_choose() -> None:
    index = np.array([[0, 2, 1], [1, 0, 2]])
    x = np.linspace(1, 2, 3)
    f = lambda x: np.choose(index, [x, x**2, np.full((2, 1), 5.0)])
    same_as_numpy(f, x)
    same(tg.grad(lambda x: np.sum(f(x)))(x), [1.0 + 2 * x[0], 1.0, 2 * x[2]])
    for mode in ("wrap", "clip"):
        same_as_numpy(lambda x: np.choose(np.array([-1, 0, 5]), [x, 2 * x], mode=mode), x)
    same_as_numpy(lambda i: np.choose(i, [np.arange(3), np.arange(3) * 2]), np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="out of range"):
        tg.grad(lambda x: np.sum(np.choose(np.array([0, 2]), [x, 2 * x])))(1.0)
    with pytest.raises(DtypeError, match="integers"):
        tg.grad(lambda x: np.choose(x, [x, 2 * x]))(1.0)


@pytest.mark.parametrize("options", [{}, {"nan": 1.5, "posinf": 2.0, "neginf": -3.0}, {"nan": 7}])
def test_nan_to_num(options: dict[str, Any]) -> None:
    pairs = np.array([complex(a, b) for a in ODD for b in ODD])
    for x in (ODD, ODD.astype(np.float32), np.float64(np.nan), np.array([1, 2]), pairs):
        same_as_numpy(lambda x: np.nan_to_num(x, **options), x)
    same(tg.grad(lambda x: np.sum(np.nan_to_num(x, **options)))(ODD), np.isfinite(ODD).astype(float))


def test_unwrap() -> None:
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.uniform(-3, 3, (2, 9)), axis=1) % (2 * np.pi)
    same_as_numpy(np.unwrap, x, exact=False)
    same_as_numpy(lambda x: np.unwrap(x, axis=0), x, exact=False)
    same_as_numpy(lambda x: np.unwrap(x, period=5.0), x, exact=False)
    same_as_numpy(lambda x: np.unwrap(x, discont=4.0), x, exact=False)
    weights = rng.uniform(size=x.shape)
    same(tg.grad(lambda x: np.sum(np.unwrap(x) * weights))(x), weights)


def test_angle() -> None:
    same_as_numpy(np.angle, QUADRANTS)
    same_as_numpy(lambda z: np.angle(z, deg=True), QUADRANTS, exact=False)
    same_as_numpy(np.angle, np.array([1.0, -1.0, 0.0]))
