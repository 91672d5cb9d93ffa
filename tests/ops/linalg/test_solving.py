"""Inverses and solutions."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import general
from tracegrad.testing.differences import five_point

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("kind", ["f", "c"])
def test_pinv_of_constant_rank(kind: str) -> None:
    left, right, t = general(4, 2, kind=kind), general(2, 3, seed=1, kind=kind), general(4, 2, seed=2, kind=kind)
    function = lambda left: np.linalg.pinv(left @ right, rcond=1e-10)
    np.testing.assert_allclose(
        tg.jvp(function, (left,), (t,))[1], *five_point(lambda x: (function(x),), [left], [t]), rtol=1e-7, atol=1e-8
    )


@pytest.mark.parametrize(
    "function, args, message",
    [
        (
            np.linalg.solve,
            [np.ones((2, 2)), np.ones(2)],
            r"Singular matrix\n  in solve of f64\[2,2\], f64\[2\] at .*:\d+",
        ),
        (np.linalg.inv, [np.zeros((2, 2))], r"Singular matrix\n  in inv of f64\[2,2\] at .*test_solving\.py:\d+"),
        (np.linalg.cholesky, [-np.eye(2)], r"not positive definite\n  in cholesky of f64\[2,2\] at"),
    ],
)
def test_values_that_lapack_refuses(function: Any, args: Any, message: str) -> None:
    with pytest.raises(LinAlgError, match=message):
        tg.vjp(lambda *xs: function(*xs), *args)


def test_a_derivative_that_does_not_exist_names_the_line() -> None:
    with pytest.raises(
        LinAlgError, match=r"slogdet at .*test_solving\.py:\d+ .* has no derivative here: Singular matrix"
    ):
        tg.grad(lambda a: np.linalg.slogdet(a)[1])(np.zeros((2, 2)))


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_pinv_by_a_tolerance_for_each_matrix(backend: str) -> None:
    """Traced or plain, in any batch; it has no derivative."""
    a = np.random.default_rng(0).normal(size=(2, 3, 2))
    for rtol in (np.array([0.5, 1e-9]), np.array(0.1)):
        wanted = np.linalg.pinv(a, rtol=rtol)
        found = tg.jit(lambda a, rtol: np.linalg.pinv(a, rtol=rtol), backend=backend)(a, rtol)
        np.testing.assert_allclose(found, wanted, 1e-10, 1e-12)
        many = tg.vmap(lambda a, rtol: np.linalg.pinv(a, rtol=rtol), (0, None))(np.stack([a, 2 * a]), rtol)
        np.testing.assert_allclose(many, np.linalg.pinv(np.stack([a, 2 * a]), rtol=rtol), 1e-10, 1e-12)
        found, pull = tg.vjp(lambda a, rtol: np.sum(np.linalg.pinv(a, rcond=rtol) ** 2), a, rtol)
        of_a, of_rtol = pull(1.0)
        assert found == pytest.approx(np.sum(wanted**2)) and not of_rtol.any()
        h = 1e-6 * np.random.default_rng(1).normal(size=a.shape)
        h[0] = 0.0 if rtol.ndim else h[0]  # of which a singular value is left out: no smooth function
        change = [np.sum(np.linalg.pinv(a + s * h, rtol=rtol) ** 2) for s in (1, -1)]
        assert np.sum(of_a * h) == pytest.approx((change[0] - change[1]) / 2, rel=1e-5)
    with pytest.raises(ValueError, match="broadcast"):
        tg.make_graph(lambda a: np.linalg.pinv(a, rtol=np.ones(3)))(a)
