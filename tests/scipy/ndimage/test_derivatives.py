"""Gaussian filters and differences against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

import tracegrad as tg
from tests.as_scipy import Cases, derivatives, on_xla, values
from tests.scipy.ndimage.test_filters import MODES
from tests.scipy.signal.test_convolving import real
from tracegrad.core.errors import UnsupportedFunctionError
from tracegrad.scipy import ndimage

CASES: Cases = {
    **{
        f"gaussian {m} {o}": (lambda l, x, m=m, o=o: l.gaussian_filter1d(x, 0.8, order=o, mode=m, cval=1.5), [real(2, 6)])
        for m in MODES
        for o in range(4)
    },
    **{f"gaussians {m}": (lambda l, x, m=m: l.gaussian_filter(x, (0.8, 1.2), (0, 1), mode=(m, "wrap")), [real(5, 6)]) for m in MODES},
    **{f"edges {m}": (lambda l, x, m=m: (l.laplace(x, mode=m), l.sobel(x, 0, mode=m), l.prewitt(x, mode=m)), [real(5, 6)]) for m in MODES},
    **{f"laplace {m}": (lambda l, x, m=m: (l.gaussian_laplace(x, 0.7, mode=m), l.gaussian_gradient_magnitude(x, 0.7, mode=m)), [real(5, 6)]) for m in MODES},
    "axes": (lambda l, x: (l.gaussian_filter(x, 0.8, axes=(1,)), l.gaussian_laplace(x, 0.8, axes=1), l.gaussian_filter(x, 0.8, radius=2)), [real(4, 5)]),
}  # fmt: skip


def test_values() -> None:
    values(ndimage, scipy.ndimage, CASES)


def test_derivatives() -> None:
    chosen = [name for name in CASES if "mirror" in name or name == "axes"]
    derivatives(ndimage, {name: CASES[name] for name in chosen})


@pytest.mark.slow
def test_on_xla() -> None:
    pytest.importorskip("jax")
    on_xla(ndimage, {name: CASES[name] for name in ("gaussians mirror", "edges wrap")})


def test_derivative_in_sigma() -> None:
    x = real(9)
    f = lambda x, s: ndimage.gaussian_filter1d(x, s, radius=4)
    np.testing.assert_allclose(tg.vjp(f, x, 0.9)[0], scipy.ndimage.gaussian_filter1d(x, 0.9, radius=4), rtol=1e-12)
    derivatives(
        ndimage, {"sigma": (lambda l, x, s: l.gaussian_filter1d(x, s, order=1, radius=4), [x, np.float64(0.9)])}
    )
    with pytest.raises(
        UnsupportedFunctionError, match=r"by a traced sigma at .*test_derivatives\.py:\d+[\s\S]*radius="
    ):
        tg.jit(lambda s: ndimage.gaussian_filter(x, s))(1.0)


def test_integers_are_cut_off() -> None:
    x = np.arange(20).reshape(4, 5) ** 2
    for f in (lambda l, x: l.gaussian_filter(x, 1.0), lambda l, x: l.sobel(x)):
        np.testing.assert_array_equal(tg.jit(lambda x, f=f: f(ndimage, x))(x), f(scipy.ndimage, x))
