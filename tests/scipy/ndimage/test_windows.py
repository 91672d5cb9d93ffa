"""Means and extrema in windows against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tests.scipy.ndimage.test_filters import MODES
from tests.scipy.signal.test_convolving import real
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.scipy import ndimage

FOOT = [[0, 1, 0], [1, 1, 0], [0, 1, 1]]
CASES: Cases = {
    **{
        f"windows {m} {o}": (
            lambda l, x, m=m, o=o: (
                l.uniform_filter(x, (3, 4), mode=m, cval=1.5, origin=o),
                l.maximum_filter(x, (3, 4), mode=m, cval=1.5, origin=o),
                l.minimum_filter(x, footprint=FOOT, mode=m, cval=1.5, origin=o),
            ),
            [real(5, 6)],
        )
        for m in MODES
        for o in (-1, 0, 1)
    },
    "in one": (lambda l, x: (l.uniform_filter1d(x, 4), l.maximum_filter1d(x, 4), l.minimum_filter1d(x, 3, origin=1)), [real(7)]),
    "axes": (lambda l, x: (l.uniform_filter(x, 3, axes=0), l.maximum_filter(x, 3, axes=0), l.minimum_filter(x, footprint=[1, 0, 1], axes=1)), [real(4, 5)]),
    "all": (lambda l, x: l.maximum_filter(x, footprint=np.ones((2, 3))), [real(4, 5)]),
}  # fmt: skip


def test_values() -> None:
    values(ndimage, scipy.ndimage, CASES)


def test_derivatives() -> None:
    derivatives(ndimage, {name: CASES[name] for name in list(CASES) if name.endswith("0") or " " not in name})


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(ndimage, {name: CASES[name] for name in ("windows mirror 1",)})


def test_integers() -> None:
    x = np.random.default_rng(0).integers(-9, 9, (5, 6))
    for f in (lambda l, x: l.maximum_filter(x, 3), lambda l, x: l.uniform_filter1d(x, 3)):
        np.testing.assert_array_equal(tg.jit(lambda x, f=f: f(ndimage, x))(x), f(scipy.ndimage, x))


def test_errors() -> None:
    x = np.ones((4, 4))
    with pytest.raises(ValueError, match="maximum_filter: give it a size or a footprint"):
        tg.jit(lambda x: ndimage.maximum_filter(x))(x)
    with pytest.raises(
        ShapeError, match=r"minimum_filter at .*test_windows\.py:\d+.* footprint must have an axis for each of 2"
    ):
        tg.jit(lambda x: ndimage.minimum_filter(x, footprint=[1, 0]))(x)
    for call in (lambda x: ndimage.maximum_filter(x, 3), lambda x: ndimage.maximum_filter(x, footprint=FOOT)):
        with pytest.raises(
            DtypeError, match=r"maximum_filter at .*test_windows\.py:\d+.* complex numbers have no order"
        ):
            tg.jit(call)(x + 1j)
    with pytest.raises(ValueError, match="size must be one for all axes or one for each of 2, got 3"):
        tg.jit(lambda x: ndimage.uniform_filter(x, (3, 3, 3)))(x)
