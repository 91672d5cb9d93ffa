"""Sums over labels against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, values
from tests.scipy.signal.test_convolving import real
from tracegrad.core.errors import ShapeError
from tracegrad.scipy import ndimage

L = np.array([[0, 1, 1], [2, 2, 0]])
CASES: Cases = {
    "sums": (lambda l, x: (l.sum_labels(x), l.sum_labels(x, L), l.sum_labels(x, L, [2, 1, 5]), l.sum_labels(x, L, 1)), [real(2, 3)]),
    "means": (lambda l, x: (l.mean(x), l.mean(x, L), l.mean(x, L, [1, 2])), [real(2, 3)]),
    "centres": (lambda l, x: (l.center_of_mass(x), l.center_of_mass(x, L, [1, 2]), l.center_of_mass(x, L, 2)), [real(2, 3)]),
}  # fmt: skip


def test_values_and_derivatives() -> None:
    values(ndimage, scipy.ndimage, CASES)
    derivatives(ndimage, CASES)


def test_errors() -> None:
    with pytest.raises(
        ShapeError, match=r"sum_labels at .*test_measurements\.py:\d+.* labels must be of input's shape"
    ):
        tg.jit(lambda x: ndimage.sum_labels(x, L[0, :2]))(np.ones((2, 3)))
