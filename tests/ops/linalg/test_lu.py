"""LU factors with and without SciPy, of singular matrices, and their permutations."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest

from tests.numpy.test_linalg import general
from tracegrad.core.trace import bind
from tracegrad.ops.linalg.lu import factored, permutation_op

jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 2), (2, 4), (0, 3), (2, 0, 0)])
def test_as_jax_has_them(kind: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    a = general(*shape, kind=kind)
    expected = [np.asarray(x) for x in jax.lax.linalg.lu(a)]
    for missing in (False, True):
        if missing:
            monkeypatch.setitem(sys.modules, "scipy.linalg.lapack", None)
        for got, wanted in zip(factored(a), expected, strict=True):
            assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)


def test_a_singular_matrix_has_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 1.0], [0.0, 1.0, 1.0]])
    whole = factored(a)
    monkeypatch.setitem(sys.modules, "scipy.linalg.lapack", None)
    for got, wanted in zip(factored(a), whole, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-14)


def test_permutations() -> None:
    pivots = np.array([[3, 2, 2], [0, 3, 3]], np.int32)
    expected = jax.lax.linalg.lu_pivots_to_permutation(pivots, 5)
    np.testing.assert_array_equal(bind(permutation_op, (pivots,), {"size": 5}), expected)
