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
