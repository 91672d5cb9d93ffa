"""Elementwise functions against jax.lax: values and three derivatives."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.lax.test_lax import turned
from tracegrad import lax
from tracegrad.core.errors import DtypeError

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

jnp = jax.numpy
rng = np.random.default_rng(0)
X = rng.permutation(24).reshape(2, 3, 4) / 7 - 1.6
Y = rng.normal(size=(2, 3, 4))
N = rng.integers(-9, 9, (3, 4))
UNARY: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        [
            "abs",
            "atan",
            "asinh",
            "ceil",
            "cos",
            "cosh",
            "erf",
            "erfc",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "logistic",
            "neg",
        ],
        (0.1, 2.9),
    ),
    **dict.fromkeys(["round", "sign", "sin", "sinh", "square", "tanh", "bessel_i0e", "bessel_i1e"], (-2.4, -0.1)),
    **dict.fromkeys(["acos", "asin", "atanh", "erf_inv", "tan"], (-0.9, 0.9)),
    **dict.fromkeys(["cbrt", "log", "log1p", "reciprocal", "rsqrt", "sqrt", "lgamma", "digamma"], (0.3, 4.0)),
    "acosh": (1.2, 4.0),
}
BINARY: dict[str, tuple[float, float]] = {
    **dict.fromkeys(["add", "sub", "mul", "div", "max", "min", "atan2", "rem", "pow", "igamma", "igammac"], (0.4, 3.0)),
}
# What jax has no or a wrong derivative for: igamma in its first argument is differentiated once at most.
ONCE = {"igamma", "igammac"}


def repeatedly(jvp: Any, f: Any, times: int) -> Any:
    if times == 0:
        return f
    inner = repeatedly(jvp, f, times - 1)
    return lambda *xs: jvp(inner, xs, tuple([turned(x, 0.3 * times) for x in xs]))[1]


def elementwise_inputs(name: str) -> tuple[Any, ...]:
    low, high = UNARY.get(name) or BINARY[name]
    generator = np.random.default_rng(len(name))
    return tuple([generator.uniform(low, high, 7) for _ in range(1 if name in UNARY else 2)])


@functools.cache
def elementwise_references() -> Any:
    """All of jax's answers from one program, which is compiled once."""

    def answers() -> Any:
        return {
            (name, times): repeatedly(jax.jvp, getattr(jax.lax, name), times)(*elementwise_inputs(name))
            for name in (*UNARY, *BINARY)
            for times in range(2 if name in ONCE else 4)
        }

    return jax.jit(answers)()


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_elementwise(name: str) -> None:
    f, xs = getattr(lax, name), elementwise_inputs(name)
    for times in range(2 if name in ONCE else 4):
        expected = np.asarray(elementwise_references()[name, times])
        found = repeatedly(tg.jvp, f, times)(*xs)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)
    same(f(*xs), np.asarray(elementwise_references()[name, 0]), 1e-12)
    same(tg.jit(f)(*xs), f(*xs))
    same(tg.vmap(f)(*xs), f(*xs), 1e-15)
    positions = tuple(range(len(xs)))
    forward = repeatedly(tg.jvp, f, 1)(*xs)
    gradients = tg.grad(lambda *xs: np.sum(f(*xs)), positions)(*xs)
    np.testing.assert_allclose(sum(g * turned(x, 0.3) for g, x in zip(gradients, xs, strict=True)), forward, rtol=1e-12)
    for dtype in (np.float32, np.float16):
        same(f(*[x.astype(dtype) for x in xs]), np.asarray(f(*xs), dtype), 2e-2 if dtype == np.float16 else 2e-5)


def test_rem_and_div_of_integers_round_towards_zero() -> None:
    a, b = np.meshgrid(np.arange(-7, 8), [-3, -2, -1, 1, 2, 3])
    for dtype in (np.int8, np.int64):
        x, y = a.astype(dtype), b.astype(dtype)
        same(lax.div(x, y), np.asarray(jax.lax.div(x, y)))
        same(lax.rem(x, y), np.asarray(jax.lax.rem(x, y)))
        same(tg.jit(lax.div)(x, y), lax.div(x, y))
    assert lax.div(np.int8(-128), np.int8(2)) == -64 and lax.div(7, -2) == -3
    assert lax.div(np.uint8(7), np.uint8(2)).dtype == np.uint8


def test_rounding_of_halves() -> None:
    x = np.array([0.5, -0.5, 1.5, -2.5, 0.49999999999999994, -0.2, 3.7, np.inf, -np.inf, np.nan, 2.0**52 + 1])
    for method in lax.RoundingMethod:
        same(lax.round(x, method), np.asarray(jax.lax.round(x, jax.lax.RoundingMethod(method.value))))
    assert tg.grad(lambda x: np.sum(lax.round(x)))(x[:5]).tolist() == [0] * 5
    same(lax.round(N), N)


def test_dtype() -> None:
    for x in (np.ones(2, np.float32), np.int8(3), 1.0, 2, True):
        assert lax.dtype(x) == jax.lax.dtype(x)
    assert tg.jit(lambda x: np.zeros(2, lax.dtype(x)))(np.float32(1)).dtype == np.float32


def test_complex_numbers() -> None:
    x, y = np.array([1.0, -2.0, np.inf]), np.array([0.5, np.inf, 3.0])
    same(lax.complex(x, y), np.asarray(jax.lax.complex(x, y)))
    assert lax.complex(np.float32(1), np.float32(2)).dtype == np.complex64
    same(lax.conj(x), np.asarray(jax.lax.conj(x)))
    same(lax.conj(x[:2] + 1j), x[:2] - 1j)
    f = lambda lax, x, y: lax.real(lax.complex(x, y) * (2 + 3j)) + lax.imag(lax.conj(lax.complex(y, x * x)))
    for k in (0, 1):
        ours = tg.grad(lambda *xs: np.sum(f(lax, *xs)), k)(X[0], Y[0])
        np.testing.assert_allclose(ours, jax.grad(lambda *xs: jnp.sum(f(jax.lax, *xs)), k)(X[0], Y[0]))
    with pytest.raises(DtypeError, match=r"real and imaginary part must be real, got c128\[\]"):
        lax.complex(np.complex128(1), 1.0)


A, B = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))


def test_select_n_takes_the_nearest_case() -> None:
    which = np.array([-1, 0, 1, 2, 9])
    cases = [np.full(5, k) for k in range(3)]
    same(lax.select_n(which, *cases), np.asarray(jax.lax.select_n(which, *cases)))
    assert tg.jit(lax.select_n)(2, *cases).tolist() == [2] * 5


def test_select_n_of_one_case() -> None:
    same(lax.select_n(True, A), A)
    assert tg.grad(lambda x: np.sum(lax.select_n(0, x) * A))(A).tolist() == A.tolist()
