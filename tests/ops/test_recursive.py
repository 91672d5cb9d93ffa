"""Recursive filters."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.signal

import tracegrad as tg
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.ops.recursive import recursive_filter

rng = np.random.default_rng(0)


def test_it_solves_a_triangular_system() -> None:
    a, x = rng.uniform(-0.5, 0.5, 4), rng.normal(size=7)
    matrix = scipy.linalg.toeplitz([1.0, *a[1:], 0, 0, 0], np.zeros(7))
    inverse = np.linalg.inv(matrix)
    np.testing.assert_allclose(recursive_filter(a, x), inverse @ x, rtol=1e-12)
    np.testing.assert_allclose(tg.jacrev(lambda x: recursive_filter(a, x))(x), inverse, atol=1e-13)
    out = inverse @ x
    moved = [-inverse @ np.concatenate([np.zeros(k), out[: 7 - k]]) for k in range(1, 4)]
    expected = np.column_stack([np.zeros(7), *moved])  # the first is not read
    for jacobian in (tg.jacrev, tg.jacfwd):
        np.testing.assert_allclose(jacobian(lambda a: recursive_filter(a, x))(a), expected, atol=1e-13)


def test_a_filter_for_each_row() -> None:
    a, x = rng.uniform(-0.5, 0.5, (2, 1, 3)), rng.normal(size=(4, 6))
    out = recursive_filter(a, x)
    assert out.shape == (2, 4, 6)
    np.testing.assert_allclose(out[1, 2], scipy.signal.lfilter([1.0], [1.0, *a[1, 0, 1:]], x[2]), rtol=1e-12)


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"recursive_filter of f64\[0\] and f64\[3\]"):
        tg.jit(recursive_filter)(np.zeros(0), np.zeros(3))
    with pytest.raises(DtypeError, match=r"i64\[2\] and i64\[3\] at .*it takes floats"):
        tg.jit(recursive_filter)(np.zeros(2, int), np.zeros(3, int))
