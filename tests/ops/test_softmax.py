"""Softmax and its kin, over axes."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tests.nn.test_activations import agree_to_second_order
from tracegrad import nn
from tracegrad.core.errors import DtypeError

jax.config.update("jax_enable_x64", True)

OVER_AXES = ["log_softmax", "logmeanexp", "logsumexp", "softmax", "standardize"]
MATRIX = np.array([[0.3, -1.2, 2.0, 0.1], [1.5, 1.4, -0.7, 0.0], [-2.0, 0.6, 0.2, 3.0]])
MASK = np.array([[True, True, False, True], [True, False, True, True], [True, True, True, False]])


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
