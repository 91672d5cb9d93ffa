"""log-sum-exp against jax's and SciPy's, and at infinities."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import scipy.special

import tracegrad as tg
from tests.compare import same
from tests.ops.reduce import X, agrees, traced
from tracegrad.core.errors import DtypeError
from tracegrad.ops.reduce.logsumexp import logsumexp


def by(xp: Any, *args: Any, **kwargs: Any) -> Any:
    return (logsumexp if xp is np else jax.nn.logsumexp)(*args, **kwargs)


@pytest.mark.parametrize("axis", [None, 1, (0, -1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(axis: Any, keepdims: bool) -> None:
    mask = X > -0.5
    weights = np.abs(X[::-1]) + 0.1
    agrees(lambda xp, x: by(xp, x, axis, keepdims=keepdims), X * 3)
    agrees(lambda xp, x: by(xp, x, axis, keepdims=keepdims, where=mask), X)
    agrees(lambda xp, x, b: by(xp, x, axis, b, keepdims), X, weights)
    agrees(lambda xp, x, b: by(xp, x, axis, b, keepdims, True)[0], X, X[::-1] + 0.1, rtol=1e-8)
    same(logsumexp(X, axis, keepdims=keepdims), scipy.special.logsumexp(X, axis, keepdims=keepdims), 1e-14)
    ours, theirs = [f(X, axis, X[::-1], keepdims, True) for f in (logsumexp, scipy.special.logsumexp)]
    for a, b in zip(ours, theirs, strict=True):
        same(a, b, 1e-13)


def test_logsumexp_at_infinities() -> None:
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1.0], [1e4, 1e4]])
    np.testing.assert_array_equal(traced(lambda x: logsumexp(x, 1), x)[:2], [-np.inf, 1.0])
    for f in (lambda x: np.sum(logsumexp(x, 1)[1:]), lambda x: logsumexp(x, 1)[0]):
        assert np.all(np.isfinite(tg.grad(f)(x)))
        assert np.all(np.isfinite(tg.hessian(f)(x)))
    gradient = tg.grad(lambda x: np.sum(logsumexp(x, 1)))(x)
    np.testing.assert_allclose(gradient, [[0, 0], [0, 1], [0.5, 0.5]], rtol=1e-12)
    assert logsumexp(np.array([1.0, 2.0]), b=np.zeros(2)) == -np.inf
    # A weight of zero takes its term out however large, and has a derivative of its own.
    b = np.array([1.0, 0.0])
    np.testing.assert_allclose(logsumexp(np.array([1.0, 5000.0]), b=b), 1.0)
    gradient = tg.grad(lambda b: logsumexp(np.array([1.0, 0.5]), b=b))(b)
    np.testing.assert_allclose(gradient, [1.0, np.exp(-0.5)])
    assert logsumexp(np.zeros((2, 0)), 1).tolist() == [-np.inf, -np.inf]
    assert logsumexp(np.array([1, 2])).dtype == np.float64
    with pytest.raises(DtypeError, match="complex"):
        logsumexp(np.ones(2, complex))
