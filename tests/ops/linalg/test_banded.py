"""Bands and the matrices that have them; systems without SciPy; shapes that do not fit."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.linalg import LinAlgError

import tracegrad as tg
from tests.numpy.test_linalg import general
from tracegrad.ops.linalg.banded import bands_of, inside, solve_bands, turned, unbanded


@pytest.mark.parametrize("below, above", [(1, 1), (0, 2), (3, 1), (0, 0)])
def test_bands_there_and_back(below: int, above: int) -> None:
    a = np.triu(np.tril(general(2, 4, 4), above), -below)
    ab = bands_of(a, below, above)
    assert ab.shape == (2, below + above + 1, 4)
    for i, j in np.ndindex(4, 4):
        if -above <= i - j <= below:
            np.testing.assert_array_equal(ab[:, above + i - j, j], a[:, i, j])
    np.testing.assert_array_equal(unbanded(ab, below, above), a)
    outside = np.where(inside(below, above, 4), ab, np.nan)
    np.testing.assert_array_equal(unbanded(outside, below, above), a)
    np.testing.assert_array_equal(unbanded(turned(outside, below, above), above, below), np.swapaxes(a, -1, -2))


def test_what_lies_outside_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    ab, b = general(4, 5), general(5, 2)
    ab[2] += 4
    expected = np.linalg.solve(unbanded(ab, 1, 2), b)
    ab = np.where(inside(1, 2, 5), ab, np.nan)
    np.testing.assert_allclose(solve_bands(ab, b, 1, 2), expected, rtol=1e-12)
    gradient = tg.grad(lambda ab: np.sum(solve_bands(ab, b, 1, 2)))(ab)
    np.testing.assert_array_equal(gradient != 0, inside(1, 2, 5))
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    np.testing.assert_allclose(solve_bands(ab, b, 1, 2), expected, rtol=1e-12)


def test_more_bands_than_rows() -> None:
    ab, b = general(7, 2), general(2, 1)
    ab[3] += 4
    np.testing.assert_allclose(
        tg.jit(lambda ab, b: solve_bands(ab, b, 3, 3), backend="xla")(ab, b), solve_bands(ab, b, 3, 3), rtol=1e-12
    )


def test_errors() -> None:
    with pytest.raises(LinAlgError, match=r"solve_banded at .*test_banded\.py:\d+.*the first must have 3 rows"):
        tg.jit(lambda ab: solve_bands(ab, np.ones((4, 1)), 1, 1))(np.ones((2, 4)))
    with pytest.raises(LinAlgError, match="do not broadcast"):
        tg.jit(lambda ab: solve_bands(ab, np.ones((3, 4, 1)), 0, 0))(np.ones((2, 1, 4)))
