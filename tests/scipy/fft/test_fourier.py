"""Fourier transforms by SciPy's names, against SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft

import tracegrad as tg
from tracegrad.scipy import fft
from tracegrad.testing import check_grads

ALONG_ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
ALONG_MANY = [
    "fftn",
    "ifftn",
    "rfftn",
    "irfftn",
    "hfftn",
    "ihfftn",
    "fft2",
    "ifft2",
    "rfft2",
    "irfft2",
    "hfft2",
    "ihfft2",
]


def numbers(name: str, *shape: int) -> Any:
    """Complex ones, where the function takes them."""
    real, imaginary = np.random.default_rng(3).normal(size=(2, *shape))
    return (
        real
        if ("rfft" in name.removeprefix("i") and not name.startswith("ir")) or "ih" in name
        else real + 1j * imaginary
    )


def check(name: str, x: Any, *how: Any) -> None:
    expected = getattr(scipy.fft, name)(x, *how)
    got = tg.vjp(lambda x: getattr(fft, name)(x, *how), x)[0]
    assert got.dtype == expected.dtype and got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(getattr(fft, name)(x, *how), expected)


@pytest.mark.parametrize("norm", [None, "ortho", "forward", "backward"])
@pytest.mark.parametrize("name", ALONG_ONE)
def test_along_one_axis(name: str, norm: Any) -> None:
    for n, axis in [(None, -1), (5, 0), (3, 1)]:
        check(name, numbers(name, 6, 4), n, axis, norm)


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ALONG_MANY)
def test_along_many_axes(name: str, norm: Any) -> None:
    default: Any = (-2, -1) if name.endswith("2") else None
    for s, axes in [(None, default), ((3, 6), (-2, -1)), (None, (0, 1)), ((4, 5), (2, 0))]:
        check(name, numbers(name, 3, 4, 6), s, axes, norm)
    if default is None:
        check(name, numbers(name, 3, 4, 6), (3, 6), None, norm)


@pytest.mark.parametrize("name", ["fft", "irfft", "hfftn", "ihfft2"])
def test_derivatives_and_xla(name: str) -> None:
    x = numbers(name, 3, 4)
    f = getattr(fft, name)
    check_grads(f, (x,), order=2)
    pytest.importorskip("jax")
    np.testing.assert_allclose(tg.jit(f, backend="xla")(x), f(x), rtol=1e-12, atol=1e-13)


def test_shifts_and_frequencies() -> None:
    x = numbers("fft", 4, 5)
    for name in ("fftshift", "ifftshift"):
        check(name, x)
        check(name, x, 1)
    np.testing.assert_array_equal(fft.fftfreq(5, 0.1), scipy.fft.fftfreq(5, 0.1))
    np.testing.assert_array_equal(fft.rfftfreq(5, 0.1), scipy.fft.rfftfreq(5, 0.1))


def test_a_scale_that_is_none_is_named() -> None:
    for f in (fft.fft, fft.hfft, fft.rfft2, fft.hfft2, fft.ihfftn):
        with pytest.raises(ValueError, match="norm must be 'backward', 'ortho' or 'forward', got 'half'"):
            tg.jit(lambda x, f=f: f(x, norm="half"))(np.ones((3, 4)))


def test_scipys_own_names_say_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"tg\.scipy\.fft\.dct\(\.\.\.\)"):
        tg.grad(lambda t: scipy.fft.dct(t)[0])(np.ones(3))


def test_without_scipy_plain_arrays_are_computed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracegrad.scipy.calling.module_or_none", lambda name: None)
    x = np.arange(4.0)
    np.testing.assert_allclose(fft.dct(x), scipy.fft.dct(x), atol=1e-14)
    np.testing.assert_allclose(fft.rfft(x), scipy.fft.rfft(x), rtol=1e-13)
