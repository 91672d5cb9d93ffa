"""At kinks, ties and singular points, as in jax."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.numpy.test_creation import same
from tests.ops.elementwise.test_choosing import quiet

jax.config.update("jax_enable_x64", True)

EVERYWHERE = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, np.inf, -np.inf, np.nan]
UNARY = [
    "negative", "positive", "reciprocal", "square", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
    "sqrt", "cbrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "arcsinh",
    "arctanh", "deg2rad", "rad2deg", "radians", "degrees", "absolute", "fabs", "sign", "conjugate", "real",
    "imag", "floor", "ceil", "trunc", "rint", "sinc", "nan_to_num", "round",
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_derivatives_of_one_input_are_those_of_jax_everywhere(name: str) -> None:
    x = np.array(EVERYWHERE)
    with quiet():
        ours = tg.grad(lambda x: np.sum(getattr(np, name)(x)))(x)
    same(ours, jax.grad(lambda x: jnp.sum(getattr(jnp, name)(x)))(x))


# Left out are points where jax gives NaN or worse and mathematics does not: see the tests below.
BINARY = {
    "add": lambda x, y: True,
    "subtract": lambda x, y: True,
    "multiply": lambda x, y: True,
    "divide": lambda x, y: True,
    "floor_divide": lambda x, y: True,
    "remainder": lambda x, y: np.isfinite(x),
    "fmod": lambda x, y: np.isfinite(x),
    "power": lambda x, y: y != 0 and np.isfinite(x),
    "float_power": lambda x, y: y != 0 and np.isfinite(x),
    "logaddexp": lambda x, y: (np.inf not in (x, y) and {x, y} != {-np.inf}) or x == y == np.inf,
    "logaddexp2": lambda x, y: (np.inf not in (x, y) and {x, y} != {-np.inf}) or x == y == np.inf,
    "arctan2": lambda x, y: (x != 0 or y != 0) and not np.isnan(x + y),
    "hypot": lambda x, y: (x != 0 or y != 0) and np.isfinite(x) and np.isfinite(y),
    "copysign": lambda x, y: not np.isnan(x),
    "maximum": lambda x, y: True,
    "minimum": lambda x, y: True,
    "fmax": lambda x, y: True,
    "fmin": lambda x, y: True,
    "heaviside": lambda x, y: not np.isnan(x),
}


@pytest.mark.parametrize("name", BINARY)
def test_derivatives_of_two_inputs_are_those_of_jax_everywhere(name: str) -> None:
    pairs = [(x, y) for x, y in itertools.product(EVERYWHERE, EVERYWHERE) if BINARY[name](x, y)]
    x, y = np.array(pairs).T
    with quiet():
        ours = tg.grad(lambda x, y: np.sum(getattr(np, name)(x, y)), (0, 1))(x, y)
    theirs = jax.grad(lambda x, y: jnp.sum(getattr(jnp, name)(x, y)), (0, 1))(x, y)
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


def test_at_kinks() -> None:
    assert tg.grad(np.abs)(0.0) == 1.0
    assert tg.grad(np.abs)(-0.0) == 1.0
    assert tg.grad(lambda x: np.abs(x))(0j) == 0.0
    assert tg.grad(np.maximum, (0, 1))(3.0, 3.0) == (0.5, 0.5)
    assert tg.grad(np.minimum, (0, 1))(3.0, 3.0) == (0.5, 0.5)
    assert tg.grad(np.hypot, (0, 1))(0.0, 0.0) == (0.0, 0.0)
    with quiet():
        assert np.isnan(tg.grad(np.arctan2, (0, 1))(0.0, 0.0)).all()
    assert tg.grad(np.copysign)(-0.0, 1.0) == 1.0
    assert tg.grad(np.heaviside, (0, 1))(0.0, 0.3) == (0.0, 1.0)
    assert tg.grad(lambda x: np.clip(x, 0.0, 1.0))(0.0) == 0.5


def test_derivatives_do_not_warn_where_they_are_finite() -> None:
    # pytest turns warnings into errors.
    big = np.array([1e200, -1e300, 1e-200])
    for f in (np.arctan, np.arcsinh, np.tanh, np.cbrt, np.abs, np.sin):
        assert np.all(np.isfinite(tg.grad(lambda x: np.sum(f(x)))(big)))
    same(tg.grad(lambda x: np.sum(np.arctan(x)))(np.array([1e100]))[0], 1e-200)
    same(tg.grad(np.arctan2, (0, 1))(1e-200, 1e-200), (5e199, -5e199))
    same(tg.grad(np.arctan2, (0, 1))(1e200, 1e200), (5e-201, -5e-201))
    same(tg.grad(np.hypot, (0, 1))(3e200, 4e200), (0.6, 0.8))
    same(tg.grad(np.hypot, (0, 1))(3e-200, 4e-200), (0.6, 0.8))
    assert tg.grad(lambda x: np.sum(np.arctan(x)))(np.array([300], np.float16))[0] > 0
