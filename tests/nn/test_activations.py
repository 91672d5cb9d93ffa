"""Activations against jax.nn: values, derivatives, kinks, dtypes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad import nn, tree
from tracegrad.core.errors import DtypeError, ShapeError

jax.config.update("jax_enable_x64", True)

ELEMENTWISE = [
    "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity", "leaky_relu",
    "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus", "sparse_plus",
    "sparse_sigmoid", "squareplus", "swish", "tanh",
]  # fmt: skip
# Kinks at -3, -1, 0, 1, 3 and 6 are among the points on purpose: the derivative there is part of the contract.
POINTS = np.array([-40.0, -7.2, -3.0, -1.3, -1.0, -0.4, 0.0, 0.3, 1.0, 2.5, 3.0, 6.0, 8.1, 40.0])
MATRIX = np.array([[0.3, -1.2, 2.0, 0.1], [1.5, 1.4, -0.7, 0.0], [-2.0, 0.6, 0.2, 3.0]])


def agree_to_second_order(ours: Callable[..., Any], theirs: Callable[..., Any], *xs: Any) -> None:
    """Values, then gradient and Hessian of a nonlinear scalar function of them, with respect to all arguments."""
    argnums = tuple(range(len(xs)))
    tangents = tuple([np.sin(np.arange(np.size(x)) + 1.0).reshape(np.shape(x)) for x in xs])

    def everything(lib: Any, xp: Any, f: Callable[..., Any]) -> Callable[..., Any]:
        def loss(*xs: Any) -> Any:
            out = f(*xs)
            weights = np.cos(np.arange(np.size(out), dtype=float)).reshape(np.shape(out))
            return xp.sum(weights * xp.sin(out))

        return lambda *xs: {
            "value": f(*xs),
            "gradient": lib.grad(loss, argnums)(*xs),
            "jvp": lib.jvp(f, xs, tangents)[1],
            "hessian": lib.hessian(loss, argnums)(*xs),
        }

    expected = run_with_numpy(everything(jax, jnp, theirs), *xs)
    found = everything(tg, np, ours)(*xs)
    for what, out in expected.items():
        for a, b in zip(tree.tree_leaves(found[what]), jax.tree.leaves(out), strict=True):
            near(a, b, 1e-10 if what == "hessian" else 1e-12)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations(name: str) -> None:
    agree_to_second_order(getattr(nn, name), getattr(jax.nn, name), POINTS)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations_of_scalars(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    for x in (-1.7, 0.4, 5.0):
        near(ours(x), theirs(x))
        near(tg.grad(ours)(x), run_with_numpy(jax.grad(theirs), x))
        near(tg.grad(tg.grad(ours))(x), run_with_numpy(jax.grad(jax.grad(theirs)), x))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations_keep_their_dtype(name: str) -> None:
    ours = getattr(nn, name)
    for dtype, tolerance in (("float32", 3e-6), ("float16", 4e-3)):
        x = np.array([-2.0, -0.5, 0.4, 2.5], dtype)
        assert ours(x).dtype == dtype
        expected = getattr(jax.nn, name)(x.astype(float))
        np.testing.assert_allclose(ours(x).astype(float), expected, rtol=tolerance, atol=tolerance)
        gradient = tg.grad(lambda x: np.sum(ours(x)))(x)
        assert gradient.dtype == dtype
        if dtype == "float32":
            expected = run_with_numpy(jax.grad(lambda x: jnp.sum(getattr(jax.nn, name)(x))), x.astype(float))
            np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_propagates(name: str) -> None:
    assert (
        np.isnan(getattr(nn, name)(np.array([np.nan]))).all()
        == np.isnan(getattr(jax.nn, name)(np.array([np.nan]))).all()
    )


@pytest.mark.parametrize(
    "name", [n for n in nn.__all__ if hasattr(jax.nn, n) and n not in ("initializers", "dot_product_attention")]
)
def test_arguments_are_those_of_jax(name: str) -> None:
    ours = list(inspect.signature(getattr(nn, name)).parameters)
    theirs = [p for p in inspect.signature(getattr(jax.nn, name)).parameters if p != "out_sharding"]  # jax's own
    assert ours == theirs or name == "tanh"


@pytest.mark.parametrize(
    "name, arguments",
    [("celu", (0.7,)), ("elu", (0.7,)), ("leaky_relu", (0.2,)), ("squareplus", (3.0,)), ("gelu", (False,))],
)
def test_parameters_of_activations(name: str, arguments: tuple[Any, ...]) -> None:
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    agree_to_second_order(lambda x: ours(x, *arguments), lambda x: theirs(x, *arguments), POINTS)


@pytest.mark.parametrize("name, parameter", [("celu", 0.7), ("elu", 0.7), ("leaky_relu", 0.2), ("squareplus", 3.0)])
def test_parameters_are_differentiated(name: str, parameter: float) -> None:
    x = np.array([-1.2, -0.3, 0.5, 2.0])
    agree_to_second_order(getattr(nn, name), getattr(jax.nn, name), x, np.array(parameter))


def test_derivatives_at_kinks() -> None:
    for f, at, expected in [
        (nn.relu, 0.0, 0.0), (nn.relu6, 0.0, 0.0), (nn.relu6, 6.0, 0.0), (nn.hard_tanh, 1.0, 1.0),
        (nn.leaky_relu, 0.0, 1.0), (nn.elu, 0.0, 1.0),
    ]:  # fmt: skip
        assert tg.grad(f)(at) == expected
    assert tg.grad(nn.relu)(np.nan) == 0


def test_integers() -> None:
    x = np.array([-2, 0, 3])
    for name in ("relu", "relu6", "hard_tanh", "sigmoid", "softplus", "gelu", "silu"):
        ours = getattr(nn, name)(x)
        np.testing.assert_allclose(ours, getattr(jax.nn, name)(x.astype(float)), rtol=1e-12)
        assert ours.dtype == (x.dtype if name in ("relu", "relu6", "hard_tanh") else np.float64)
    assert nn.relu(np.array([-2, 3], np.int8)).dtype == np.int8
    assert nn.sigmoid(np.array([-128, 127], np.int8)).tolist() == [0.0, 1.0]


def test_glu() -> None:
    for axis in (-1, 1):
        agree_to_second_order(lambda x: nn.glu(x, axis), lambda x: jax.nn.glu(x, axis), MATRIX)
    with pytest.raises(ShapeError, match=r"glu halves axis 0, which must be of even size; the shape is \(3, 4\)"):
        nn.glu(MATRIX, 0)


def test_standardize_with_given_moments() -> None:
    ours = lambda x, m, v: nn.standardize(x, 0, m, v, 1e-3)
    theirs = lambda x, m, v: jax.nn.standardize(x, 0, m, v, 1e-3)
    agree_to_second_order(ours, theirs, MATRIX, np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 2.0, 0.5, 0.3]))


def test_standardize_algorithms() -> None:
    for algorithm in ("stable", "fast"):
        f = lambda x, a=algorithm: nn.standardize(x, algorithm=a)
        agree_to_second_order(f, lambda x, a=algorithm: jax.nn.standardize(x, algorithm=a), MATRIX)
    far = 1e8 + np.array([0.0, 1.0, 2.0])
    near(nn.standardize(far), nn.standardize(far - 1e8), 1e-6)
    with pytest.raises(ValueError, match=r'algorithm is "stable" or "fast", not \'slow\''):
        nn.standardize(far, algorithm="slow")


def test_one_hot() -> None:
    x = np.array([[0, 2], [-1, 3]])
    for axis in (-1, 0, 1, -2):
        near(nn.one_hot(x, 3, axis=axis), jax.nn.one_hot(x, 3, axis=axis))
    near(nn.one_hot(2, 4, dtype="float32"), jax.nn.one_hot(2, 4, dtype="float32"))
    near(nn.one_hot([1, 0], 2, dtype=int), jax.nn.one_hot(jnp.array([1, 0]), 2, dtype=int))
    # More classes than the dtype of the indices can count (jax, which casts the classes to it, finds 257 to be 1).
    near(nn.one_hot(np.array([1, 255], np.uint8), 300), jax.nn.one_hot(np.array([1, 255]), 300))
    near(tg.vmap(lambda k: nn.one_hot(k, 3))(np.array([2, 0])), nn.one_hot(np.array([2, 0]), 3))
    assert nn.one_hot(np.zeros((0,), int), 3).shape == (0, 3)
    with pytest.raises(DtypeError, match=r"one_hot takes integers, got float64; write x.astype\(int\)"):
        nn.one_hot(np.array([1.0]), 3)
    with pytest.raises(ShapeError, match="axis 2 is out of range"):
        nn.one_hot(np.array([1]), 3, axis=2)
