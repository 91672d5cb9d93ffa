"""The order of columns by pivots; the rest is in tests/scipy/linalg/."""

from __future__ import annotations

import numpy as np
import scipy.linalg

import tracegrad as tg
from tests.numpy.test_linalg import general
from tracegrad.scipy import linalg


def test_the_order_of_columns() -> None:
    for shape in ((3, 5), (5, 3), (0, 3)):
        a = general(*shape)
        order = tg.jit(lambda a: linalg.qr(a, mode="r", pivoting=True)[1])(a)
        expected = scipy.linalg.qr(a, mode="r", pivoting=True)[1] if a.size else np.arange(3)
        np.testing.assert_array_equal(order, expected)
