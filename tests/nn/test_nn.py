"""`tracegrad.nn` against jax.nn: values, first and second derivatives, dtypes, and what happens far out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad import nn, tree
from tracegrad.core.errors import DtypeError, ShapeError, UnsupportedFunctionError
from tracegrad.ops.elementwise import activations, error_function, products

jax.config.update("jax_enable_x64", True)

ELEMENTWISE = [
    "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity", "leaky_relu",
    "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus", "sparse_plus",
    "sparse_sigmoid", "squareplus", "swish", "tanh",
]  # fmt: skip
OVER_AXES = ["log_softmax", "logmeanexp", "logsumexp", "softmax", "standardize"]
# Kinks at -3, -1, 0, 1, 3 and 6 are among the points on purpose: the derivative there is part of the contract.
POINTS = np.array([-40.0, -7.2, -3.0, -1.3, -1.0, -0.4, 0.0, 0.3, 1.0, 2.5, 3.0, 6.0, 8.1, 40.0])
MATRIX = np.array([[0.3, -1.2, 2.0, 0.1], [1.5, 1.4, -0.7, 0.0], [-2.0, 0.6, 0.2, 3.0]])
MASK = np.array([[True, True, False, True], [True, False, True, True], [True, True, True, False]])


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


@pytest.mark.parametrize("name", [n for n in nn.__all__ if hasattr(jax.nn, n)])
def test_arguments_are_those_of_jax(name: str) -> None:
    ours = list(inspect.signature(getattr(nn, name)).parameters)
    theirs = list(inspect.signature(getattr(jax.nn, name)).parameters)
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


# ---------------------------------------------------------------------------------------------------------------------
# Over axes.


@pytest.mark.parametrize("name", OVER_AXES)
@pytest.mark.parametrize("axis", [-1, 0, (0, 1), None])
def test_reductions(name: str, axis: Any) -> None:
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    agree_to_second_order(lambda x: ours(x, axis), lambda x: theirs(x, axis), MATRIX)


@pytest.mark.parametrize("name", OVER_AXES)
@pytest.mark.parametrize("axis", [-1, 0, (0, 1)])
def test_reductions_with_masks(name: str, axis: Any) -> None:
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    # log_softmax is -inf where masked, which only a weight of -inf's own kind would survive: look at exp of it.
    finish, finish_jax = (np.exp, jnp.exp) if name == "log_softmax" else (lambda x: x, lambda x: x)
    near(ours(MATRIX, axis, where=MASK), theirs(MATRIX, axis, where=MASK))
    agree_to_second_order(
        lambda x: finish(ours(x, axis, where=MASK)), lambda x: finish_jax(theirs(x, axis, where=MASK)), MATRIX
    )


@pytest.mark.parametrize("name", OVER_AXES)
def test_reductions_keep_their_dtype(name: str) -> None:
    for dtype in ("float32", "float16"):
        x = MATRIX.astype(dtype)
        for where in (None, MASK):
            assert getattr(nn, name)(x, where=where).dtype == dtype
            masked = lambda y: np.sum(y, where=MASK) if np.ndim(y) else y
            gradient = tg.grad(lambda x: masked(getattr(nn, name)(x, where=where)))(x)
            assert gradient.dtype == dtype and np.isfinite(gradient).all()


def test_softmax_far_out() -> None:
    x = np.array([[1e300, 1e300, -1e300], [np.finfo(float).max, -np.finfo(float).max, 0.0], [-np.inf, 0.0, 0.0]])
    assert nn.softmax(x).tolist() == [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]
    assert np.array_equal(nn.log_softmax(x[2]), [-np.inf, -math.log(2), -math.log(2)])
    for f in (nn.softmax, nn.log_softmax):
        jacobian = tg.jacrev(f)(x[2])
        assert np.isfinite(jacobian).all()
        near(jacobian, jax.jacrev(getattr(jax.nn, f.__name__))(x[2]))
        near(tg.jacfwd(f)(x[2]), jacobian)
        assert np.isfinite(tg.jacfwd(tg.jacrev(f))(x[2])).all()


def test_softmax_of_a_masked_row() -> None:
    """Rows in which everything is masked give zeros, and gradients of zero rather than NaN."""
    where = np.array([[True, True], [False, False]])
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert nn.softmax(x, where=where)[1].tolist() == [0.0, 0.0]
    assert nn.log_softmax(x, where=where)[1].tolist() == [-np.inf, -np.inf]
    gradient = tg.grad(lambda x: np.sum(nn.softmax(x, where=where) ** 2))(x)
    near(gradient, jax.grad(lambda x: jnp.sum(jax.nn.softmax(x, where=where) ** 2))(x))
    assert gradient[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("f", [nn.softmax, nn.log_softmax])
@pytest.mark.parametrize("axis", [0, (0, 1)])
def test_softmax_under_vmap(f: Any, axis: Any) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    near(tg.vmap(lambda x: f(x, axis))(x), np.stack([f(row, axis) for row in x]))
    gradient = lambda x: tg.grad(lambda x: np.sum(f(x, axis) ** 2))(x)
    near(tg.vmap(gradient)(x), np.stack([gradient(row) for row in x]))


def test_softmax_takes_lists_and_refuses_nonsense() -> None:
    near(nn.softmax([1.0, 2.0]), jax.nn.softmax(np.array([1.0, 2.0])))
    near(nn.softmax(np.array([1, 2])), jax.nn.softmax(np.array([1.0, 2.0])))
    with pytest.raises(DtypeError, match=r"softmax takes real numbers, got c128\[2\]"):
        nn.softmax(np.array([1j, 2.0]))
    with pytest.raises(np.exceptions.AxisError):
        nn.softmax(np.array(1.0))


def test_logsumexp() -> None:
    b = np.array([[1.0, -0.5, 2.0, 0.0], [0.3, 1.0, 1.0, 1.0], [-3.0, 0.1, -0.2, 0.4]])
    for axis in (-1, 0, None):
        for keepdims in (False, True):
            ours = lambda x, b, axis=axis, k=keepdims: nn.logsumexp(x, axis, b, k, return_sign=True)
            theirs = lambda x, b, axis=axis, k=keepdims: jax.nn.logsumexp(x, axis, b, k, return_sign=True)
            for got, expected in zip(ours(MATRIX, b), run_with_numpy(theirs, MATRIX, b), strict=True):
                near(got, expected)
            got = tg.grad(lambda x, b: np.sum(np.sin(ours(x, b)[0])), (0, 1))(MATRIX, b)
            expected = run_with_numpy(jax.grad(lambda x, b: jnp.sum(jnp.sin(theirs(x, b)[0])), (0, 1)), MATRIX, b)
            used = b != 0  # jax's derivative by a factor of zero is 0; it is exp(a) over the sum
            near(got[0], expected[0])
            near(np.where(used, got[1], 0), np.where(used, expected[1], 0))
    near(nn.logsumexp(MATRIX, -1, b), jax.nn.logsumexp(MATRIX, -1, b))
    near(nn.logsumexp(MATRIX, 0, where=MASK, b=b), jax.nn.logsumexp(MATRIX, 0, where=MASK, b=b))


def test_logsumexp_far_out() -> None:
    for x in ([1e300, -1e300], [-np.inf, -np.inf], [np.inf, 0.0], [-np.inf, 1.0]):
        near(nn.logsumexp(np.array(x)), jax.nn.logsumexp(np.array(x)))
    assert tg.grad(nn.logsumexp)(np.array([1e300, -1e300])).tolist() == [1.0, 0.0]
    assert tg.grad(nn.logsumexp)(np.array([-np.inf, 1.0])).tolist() == [0.0, 1.0]
    assert np.isnan(nn.logsumexp(np.array([0.0, 1.0]), b=np.array([1.0, -1.0])))


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


# ---------------------------------------------------------------------------------------------------------------------
# Losses. Their definitions, written in jax.


def cross_entropy(logits: Any, labels: Any, axis: Any = -1, where: Any = None) -> Any:
    log_probabilities = jax.nn.log_softmax(logits, axis, where)
    return -jnp.sum(labels * log_probabilities, axis, where=where)


def integer_cross_entropy(logits: Any, labels: Any, axis: int = -1, where: Any = None) -> Any:
    chosen = jnp.take_along_axis(logits, jnp.expand_dims(labels, axis), axis)
    return jax.nn.logsumexp(logits, axis, where=where) - jnp.squeeze(chosen, axis)


def binary_cross_entropy(logits: Any, labels: Any) -> Any:
    return -labels * jax.nn.log_sigmoid(logits) - (1.0 - labels) * jax.nn.log_sigmoid(-logits)


LABELS = np.array([[0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]])


@pytest.mark.parametrize("axis", [-1, 0, (0, 1), None])
def test_softmax_cross_entropy(axis: Any) -> None:
    agree_to_second_order(
        lambda x, y: nn.softmax_cross_entropy(x, y, axis), lambda x, y: cross_entropy(x, y, axis), MATRIX, LABELS
    )


def test_softmax_cross_entropy_with_a_mask() -> None:
    where = np.array([True, False, True])
    got = nn.softmax_cross_entropy(MATRIX, LABELS, where=where)
    expected = cross_entropy(MATRIX, LABELS)
    near(got, [expected[0], 0.0, expected[2]])
    gradient = tg.grad(lambda x: np.sum(nn.softmax_cross_entropy(x, LABELS, where=where)))(MATRIX)
    near(gradient, where[:, None] * (nn.softmax(MATRIX) - LABELS))
    some = np.array([[True, True, True, True], [True, True, False, True], [False, True, True, True]])
    agree_to_second_order(
        lambda x: nn.softmax_cross_entropy(x, LABELS, where=some),
        lambda x: jnp.stack([cross_entropy(x[i][some[i]], LABELS[i][some[i]]) for i in range(3)]),
        MATRIX,
    )


def test_softmax_cross_entropy_of_masked_logits() -> None:
    """A class masked out by a logit of -inf: its label is 0, and nothing is NaN, as if the class did not exist."""
    x = np.array([0.3, -np.inf, 1.2])
    y = np.array([0.25, 0.0, 0.75])
    few = [0, 2]
    near(nn.softmax_cross_entropy(x, y), cross_entropy(x[few], y[few]))
    gradient = tg.grad(nn.softmax_cross_entropy)(x, y)
    assert gradient[1] == 0
    near(gradient[few], jax.grad(cross_entropy)(x[few], y[few]))
    hessian = tg.hessian(nn.softmax_cross_entropy)(x, y)
    assert np.isfinite(hessian).all()
    near(hessian[np.ix_(few, few)], jax.hessian(cross_entropy)(x[few], y[few]))
    by_labels = tg.grad(nn.softmax_cross_entropy, 1)(x, y)
    near(by_labels[few], jax.grad(cross_entropy, 1)(x[few], y[few]))
    assert np.isfinite(by_labels[1])
    assert np.isfinite(tg.grad(nn.softmax_cross_entropy_with_integer_labels)(x, 2)).all()


def test_cross_entropies_of_huge_logits() -> None:
    x = np.array([[1e4, -1e4, 0.0], [1e300, 0.0, -1e300]])
    assert nn.softmax_cross_entropy(x, np.eye(3)[:2]).tolist() == [0.0, 1e300]
    assert nn.softmax_cross_entropy_with_integer_labels(x, np.array([0, 1])).tolist() == [0.0, 1e300]
    assert nn.sigmoid_binary_cross_entropy(x[0], np.array([1.0, 1.0, 1.0])).tolist() == [0.0, 1e4, math.log(2)]
    for loss in (
        lambda x: np.sum(nn.softmax_cross_entropy(x, np.eye(3)[:2])),
        lambda x: np.sum(nn.softmax_cross_entropy_with_integer_labels(x, np.array([0, 1]))),
    ):
        assert tg.grad(loss)(x).tolist() == [[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]]
    x32 = np.array([[3e38, -3e38]], np.float32)
    assert nn.softmax_cross_entropy(x32, np.array([[1.0, 0.0]], np.float32)).tolist() == [0.0]


@pytest.mark.parametrize("axis", [-1, 0])
def test_integer_labels(axis: int) -> None:
    labels = np.array([3, 0, 2]) if axis == -1 else np.array([2, 0, 1, 1])
    agree_to_second_order(
        lambda x: nn.softmax_cross_entropy_with_integer_labels(x, labels, axis),
        lambda x: integer_cross_entropy(x, labels, axis),
        MATRIX,
    )
    near(
        nn.softmax_cross_entropy_with_integer_labels(MATRIX, labels, axis),
        nn.softmax_cross_entropy(MATRIX, nn.one_hot(labels, MATRIX.shape[axis], axis=axis), axis),
    )


def test_integer_labels_over_several_axes() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    labels = np.array([5, 11])
    expected = integer_cross_entropy(x.reshape(2, 12), labels)
    near(nn.softmax_cross_entropy_with_integer_labels(x, labels, (1, 2)), expected)
    swapped = integer_cross_entropy(np.swapaxes(x, 1, 2).reshape(2, 12), labels)
    near(nn.softmax_cross_entropy_with_integer_labels(x, labels, (2, 1)), swapped)
    where = np.ones((2, 3, 4), bool)
    where[0, 0, :] = False
    near(
        nn.softmax_cross_entropy_with_integer_labels(x, labels, (1, 2), where),
        integer_cross_entropy(x.reshape(2, 12), labels, where=where.reshape(2, 12)),
    )


def test_integer_labels_with_a_mask_of_examples() -> None:
    where = np.array([True, False, True])
    labels = np.array([3, 0, 2])
    got = nn.softmax_cross_entropy_with_integer_labels(MATRIX, labels, where=where)
    expected = integer_cross_entropy(MATRIX, labels)
    near(got, [expected[0], 0.0, expected[2]])
    gradient = tg.grad(
        lambda x: np.sum(nn.softmax_cross_entropy_with_integer_labels(x, labels, where=where))
    )(MATRIX)  # fmt: skip
    near(gradient, where[:, None] * (nn.softmax(MATRIX) - np.eye(4)[labels]))


def test_binary_cross_entropy() -> None:
    x = np.array([[-3.0], [0.0], [0.5], [20.0]])
    y = np.array([0.0, 1.0, 0.3])
    agree_to_second_order(nn.sigmoid_binary_cross_entropy, binary_cross_entropy, x, y)
    near(nn.sigmoid_binary_cross_entropy(0.3, 1), binary_cross_entropy(0.3, 1.0))
    # The loss of a prediction that is nearly right, to full relative accuracy.
    assert nn.sigmoid_binary_cross_entropy(np.array(40.0), 1) == pytest.approx(float(mpmath.exp(-40)), rel=1e-15)
    ends = np.array([np.inf, -np.inf, np.inf])
    assert nn.sigmoid_binary_cross_entropy(ends, np.array([1, 0, 0])).tolist() == [0.0, 0.0, np.inf]
    gradient = tg.grad(lambda x: np.sum(nn.sigmoid_binary_cross_entropy(x, np.array([1, 0, 0]))))(ends)
    assert gradient.tolist() == [0.0, 0.0, 1.0]


def test_losses_keep_their_dtype() -> None:
    x = MATRIX.astype(np.float32)
    integers = (LABELS > 0.3).astype(int)
    for loss in (
        lambda x: nn.softmax_cross_entropy(x, integers),
        lambda x: nn.softmax_cross_entropy_with_integer_labels(x, np.array([0, 1, 2])),
        lambda x: nn.sigmoid_binary_cross_entropy(x, integers),
        lambda x: nn.sigmoid_binary_cross_entropy(x, 1.0),
    ):
        assert loss(x).dtype == np.float32
        assert tg.grad(lambda x, loss=loss: np.mean(loss(x)))(x).dtype == np.float32


def test_losses_under_vmap_and_as_tracers() -> None:
    labels = np.array([3, 0, 2])
    got = tg.vmap(tg.grad(nn.softmax_cross_entropy_with_integer_labels))(MATRIX, labels)
    near(got, nn.softmax(MATRIX) - np.eye(4)[labels])
    got = tg.vmap(tg.grad(nn.softmax_cross_entropy))(MATRIX, LABELS)
    near(got, nn.softmax(MATRIX) - LABELS)


def test_losses_say_what_they_take() -> None:
    for loss in (
        nn.softmax_cross_entropy,
        nn.softmax_cross_entropy_with_integer_labels,
        nn.sigmoid_binary_cross_entropy,
    ):
        with pytest.raises(DtypeError, match=rf"{loss.__name__} takes logits of a floating dtype, got int64; write"):
            loss(np.array([1, 2]), np.array(0))
    with pytest.raises(DtypeError, match="takes labels of an integer dtype, got float64"):
        nn.softmax_cross_entropy_with_integer_labels(MATRIX, LABELS)
    with pytest.raises(ShapeError, match=r"logits of shape \(3, 4\) .* need labels of shape \(3,\), got \(4,\)"):
        nn.softmax_cross_entropy_with_integer_labels(MATRIX, np.array([0, 1, 2, 3]))


# ---------------------------------------------------------------------------------------------------------------------
# The functions underneath.


def relative_error(f: Callable[..., Any], exact: Callable[..., Any], xs: Any) -> float:
    worst = 0.0
    with mpmath.workdps(40):
        for x, y in zip(xs, f(xs), strict=True):
            true = exact(mpmath.mpf(float(x)))
            worst = max(worst, abs(float((mpmath.mpf(float(y)) - true) / true)))
    return worst


@pytest.fixture(params=["scipy", "without scipy"])
def with_and_without_scipy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without scipy":
        monkeypatch.setattr(error_function, "_scipy_special", lambda: None)


@pytest.mark.usefixtures("with_and_without_scipy")
def test_erf_to_the_last_digit() -> None:
    xs = np.concatenate([np.linspace(-6.3, 6.3, 1200), 10.0 ** np.linspace(-300, 0, 100), [1.0, -1.0, 0.5, -0.5]])
    assert relative_error(error_function.erf, mpmath.erf, xs) < 4e-16
    assert relative_error(error_function.erfc, mpmath.erfc, xs) < 8e-16
    tail = np.linspace(6.0, 26.5, 300)
    assert relative_error(error_function.erfc, mpmath.erfc, tail) < 8e-16
    assert relative_error(error_function.ndtr, mpmath.ncdf, np.linspace(-3, 8, 1200)) < 2e-15
    # The rounding of x / sqrt(2) is multiplied by x**2.
    assert relative_error(error_function.ndtr, mpmath.ncdf, np.linspace(-37, -3, 300)) < 3e-13


def test_scipy_is_used_where_it_is_installed() -> None:
    x = np.linspace(-3, 3, 50)
    assert error_function.erf(x).tobytes() == scipy.special.erf(x).tobytes()
    # What is below zero comes from SciPy, what is above by symmetry.
    below = scipy.special.ndtr(-np.abs(x))
    assert error_function.ndtr(x).tobytes() == np.where(x > 0, 1 - below, below).tobytes()


@pytest.mark.usefixtures("with_and_without_scipy")
def test_erf_ends_signs_and_dtypes() -> None:
    assert error_function.ndtr(np.array([0.0, np.inf, -np.inf])).tolist() == [0.5, 1.0, 0.0]
    ends = np.array([0.0, -0.0, np.inf, -np.inf, 30.0, -30.0])
    assert error_function.erf(ends).tolist() == [0.0, 0.0, 1.0, -1.0, 1.0, -1.0]
    assert np.signbit(error_function.erf(ends))[1]
    assert error_function.erfc(ends).tolist() == [1.0, 1.0, 0.0, 2.0, 0.0, 2.0]
    for f in (error_function.erf, error_function.erfc, error_function.ndtr):
        assert np.isnan(f(np.array([np.nan, 1.0]))).tolist() == [True, False]
        assert f(np.zeros((0, 3))).shape == (0, 3)
        x = np.linspace(-3, 3, 20_000)  # more than one block
        for dtype in ("float16", "float32"):
            assert f(x.astype(dtype)).dtype == dtype
        np.testing.assert_allclose(f(x), [float(f(v)) for v in x], rtol=4e-15)
        np.testing.assert_allclose(f(x.reshape(2, -1).T), f(x).reshape(2, -1).T, rtol=0)
        assert f(np.array([1, 2])).dtype == np.float64


def test_functions_of_scipy_are_traced() -> None:
    x = np.linspace(-2, 2, 7)
    for name in ("erf", "erfc", "expit", "ndtr"):
        f = getattr(scipy.special, name)
        theirs = getattr(jax.scipy.special, name)
        near(tg.jit(lambda x, f=f: f(x))(x), f(x))
        near(tg.grad(lambda x, f=f: np.sum(f(x) * x))(x), jax.grad(lambda x, g=theirs: (g(x) * x).sum())(x))
    with pytest.raises(UnsupportedFunctionError, match=r"jv is not traced.*test_nn\.py"):
        tg.grad(lambda x: scipy.special.jv(x, 1.0))(2.0)


def test_logistic_of_complex() -> None:
    z = np.array([0.3 + 1j, -800.0 + 2j, 800.0 - 1j])
    near(activations.logistic(z), jax.nn.sigmoid(z))
    near(tg.grad(activations.logistic, holomorphic=True)(z[0]), jax.grad(jax.nn.sigmoid, holomorphic=True)(z[0]))


def test_zero_times_infinity_is_zero() -> None:
    x, y = np.array([0.0, 2.0, 0.0]), np.array([-np.inf, 3.0, 4.0])
    assert products.multiply_keeping_zeros(x, y).tolist() == [0.0, 6.0, 0.0]
    by_x, by_y = tg.grad(lambda x, y: np.sum(products.multiply_keeping_zeros(x, y)), (0, 1))(x, y)
    assert by_x.tolist() == [0.0, 3.0, 4.0]
    assert by_y.tolist() == [0.0, 2.0, 0.0]
