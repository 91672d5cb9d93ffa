"""What all of them take and refuse."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import (
    FUNCTIONS,
)
from tracegrad.core.errors import DtypeError
from tracegrad.numpy import linalg

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_stays(name: str) -> None:
    function, arguments = FUNCTIONS[name]
    for kind, dtype in (("f", np.float32), ("c", np.complex64)):
        args = [x.astype(dtype) for x in arguments(kind)]
        out, pull = tg.vjp(lambda *xs: function(np, *xs), *args)
        assert out.dtype in (np.float32, np.complex64)
        assert all(g.dtype == dtype for g in pull(np.ones_like(out)))
        assert tg.eval_shape(lambda *xs: function(np, *xs), *args).dtype == out.dtype


def test_integers_become_floats() -> None:
    counts = np.array([[4, 1], [1, 3]])
    for function in (
        np.linalg.inv,
        np.linalg.det,
        np.linalg.cholesky,
        np.linalg.eigvalsh,
        np.linalg.norm,
        np.linalg.pinv,
    ):
        for x in (counts, counts.astype(np.uint8), counts > 1):
            out = tg.vjp(function, x)[0]
            assert out.dtype == np.float64
            np.testing.assert_allclose(out, function(x), rtol=1e-12)
    np.testing.assert_allclose(tg.grad(lambda b: np.sum(np.linalg.solve(counts, b)))(np.ones(2)), [2 / 11, 3 / 11])


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3)])
def test_empty_matrices(shape: tuple[int, ...]) -> None:
    a = np.zeros(shape)
    for function in (
        np.linalg.inv,
        np.linalg.det,
        np.linalg.pinv,
        np.linalg.cholesky,
        np.linalg.eigvalsh,
        np.linalg.svdvals,
    ):
        out, pull = tg.vjp(function, a)
        np.testing.assert_array_equal(out, function(a))
        assert pull(out)[0].shape == shape


@pytest.mark.parametrize(
    "function, shapes, message",
    [
        (
            np.linalg.inv,
            [(2, 3)],
            r"inv takes a square matrix .* got f64\[2,3\]\n  in inv of f64\[2,3\] at .*test_matrices",
        ),
        (np.linalg.inv, [(3,)], r"inv takes a matrix or a batch of them, \(..., m, n\), got f64\[3\]"),
        (np.linalg.det, [(2, 3)], "det takes a square matrix"),
        (np.linalg.slogdet, [(2, 3)], "slogdet takes a square matrix"),
        (
            np.linalg.cholesky,
            [(2, 3)],
            r"^cholesky takes a square matrix .* got f64\[2,3\]\n  in cholesky of f64\[2,3\] at .*test_matrices",
        ),
        (np.linalg.eigh, [(2, 3)], "^eigh takes a square matrix"),
        (np.linalg.eigvalsh, [(3,)], "^eigvalsh takes a matrix"),
        (lambda a: np.linalg.pinv(a, hermitian=True), [(2, 3)], "^pinv takes a square matrix"),
        (lambda a: linalg.funm(a, np.exp), [(2, 3)], r"^funm at .*test_matrices\.py.* takes a square matrix"),
        (np.linalg.eig, [(2, 3)], "eig takes a square matrix"),
        (np.linalg.qr, [(3,)], "qr takes a matrix"),
        (np.linalg.svd, [(3,)], "svd takes a matrix"),
        (np.linalg.pinv, [(3,)], "pinv takes a matrix"),
        (np.linalg.solve, [(2, 3), (2,)], "solve takes a square matrix"),
        (np.linalg.solve, [(4, 3, 3), (4, 3)], r"f64\[4,3\] does not fit f64\[4,3,3\].* b\[..., None\]"),
        (np.linalg.solve, [(2, 3, 3), (3, 3, 1)], "leading axes"),
        (np.linalg.lstsq, [(2, 3), (3,)], "lstsq takes matrices"),
        (np.linalg.tensorsolve, [(2, 3), (2,)], "should have 9"),
        (np.linalg.cond, [(0, 0)], "not defined on empty"),
        (lambda a: np.linalg.matrix_power(a, 2), [(2, 3)], "matrix_power takes a square matrix"),
    ],
)
def test_shapes_that_do_not_fit(function: Any, shapes: Any, message: str) -> None:
    args = [np.ones(s) for s in shapes]
    with pytest.raises(LinAlgError, match=message):
        tg.vjp(lambda *xs: function(*xs), *args)
    with pytest.raises(LinAlgError):
        tg.eval_shape(function, *args)


def test_dtypes_that_lapack_lacks() -> None:
    with pytest.raises(DtypeError, match=r"det: f16\[2,2\] is unsupported in linalg; write x.astype"):
        tg.eval_shape(np.linalg.det, np.eye(2, dtype=np.float16))
