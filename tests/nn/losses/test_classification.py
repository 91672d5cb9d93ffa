"""Losses against their definitions, written in jax."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.compare import near
from tests.losses import agree_with_optax, safe_in_half_floats
from tests.nn.test_activations import agree_to_second_order
from tracegrad import nn
from tracegrad.core.errors import DtypeError, ShapeError

jax.config.update("jax_enable_x64", True)

MATRIX = np.array([[0.3, -1.2, 2.0, 0.1], [1.5, 1.4, -0.7, 0.0], [-2.0, 0.6, 0.2, 3.0]])


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
# What builds on these, against optax.


MASK = np.array([[True, True, False, True], [True, True, True, True], [False, True, True, True]])


@pytest.mark.parametrize("options", [{}, {"epsilon": -1.0}, {"axis": 0}, {"where": MASK}], ids=str)
def test_poly_loss_cross_entropy(options: Any) -> None:
    labels = np.where(MASK, LABELS, 0.0)
    if "where" in options:  # optax: 0 * -inf
        expected = np.array(
            [float(nn.poly_loss_cross_entropy(x[m], y[m])) for x, y, m in zip(MATRIX, labels, MASK, strict=True)]
        )
        return near(nn.poly_loss_cross_entropy(MATRIX, labels, where=MASK), expected)
    agree_with_optax(
        lambda x, y: nn.poly_loss_cross_entropy(x, y, **options),
        lambda x, y: optax.losses.poly_loss_cross_entropy(x, y, **options),
        MATRIX,
        labels,
        batched="axis" not in options,
        xla=not options,
    )


def test_safe_softmax_cross_entropy() -> None:
    agree_with_optax(nn.safe_softmax_cross_entropy, optax.losses.safe_softmax_cross_entropy, MATRIX, LABELS)
    assert nn.safe_softmax_cross_entropy(np.array([0.0, -np.inf]), np.array([1.0, 0.0])) == 0


@pytest.mark.parametrize("options", [{}, {"alpha": 0.25, "gamma": 1.5}, {"gamma": 0.0}], ids=str)
def test_sigmoid_focal_loss(options: Any) -> None:
    def ours(x: Any, y: Any) -> Any:
        return nn.sigmoid_focal_loss(x, y, **options)

    def theirs(x: Any, y: Any) -> Any:
        return optax.losses.sigmoid_focal_loss(x, y, **options)

    # optax leaves out a term of the derivative by labels of exactly 0 and 1.
    agree_with_optax(ours, theirs, MATRIX, 0.05 + 0.9 * LABELS, xla=not options)
    agree_with_optax(ours, theirs, np.array([-30.0, -3.0, 0.0, 3.0, 30.0]), np.array([0, 1, 1, 0, 1]), xla=False)
    far = tg.value_and_grad(lambda x: np.sum(ours(x, np.array([1, 0]))))(np.array([1e5, -1e5]))
    assert far[0] == 0 and (far[1] == 0).all()


def test_smooth_labels() -> None:
    agree_with_optax(lambda y: nn.smooth_labels(y, 0.1), lambda y: optax.losses.smooth_labels(y, 0.1), LABELS)
    near(nn.smooth_labels(LABELS, 0.3, where=MASK), np.array(optax.losses.smooth_labels(LABELS, 0.3, where=MASK)), 1e-6)
    with pytest.raises(
        DtypeError, match=r"smooth_labels takes labels of a floating dtype, got int64; write labels.astype"
    ):
        nn.smooth_labels(np.eye(3, dtype=int), 0.1)


def test_half_floats() -> None:
    logits, labels = np.array([[6e4, -6e4, 0.0]]), np.array([[0.6, 0.2, 0.2]])
    for loss in (
        nn.softmax_cross_entropy,
        nn.poly_loss_cross_entropy,
        nn.sigmoid_binary_cross_entropy,
        nn.sigmoid_focal_loss,
    ):
        safe_in_half_floats(loss, logits, labels)
    safe_in_half_floats(nn.softmax_cross_entropy_with_integer_labels, logits, np.array([2]))
    safe_in_half_floats(lambda y: nn.smooth_labels(y, 0.1), labels)
