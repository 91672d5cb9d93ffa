"""`numpy.fft` traced: NumPy's bits, dtypes and errors; derivatives against the matrix of the transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.ops.reduce import traced
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.testing import check_grads

rng = np.random.default_rng(0)
ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
MANY = ["fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"]
NORMS = [None, "backward", "ortho", "forward"]
OF_REAL = ("rfft", "ihfft", "rfft2", "rfftn")


def numbers(shape: Any, dtype: Any) -> Any:
    x = rng.normal(size=shape) * 3
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def agrees(f: Callable[..., Any], x: Any, xla: bool = True) -> None:
    """Traced, jitted and batched it is NumPy's own, bit for bit; on XLA to rounding."""
    expected = f(x)
    for found in (traced(f, x), tg.jit(f)(x), tg.vmap(f)(np.stack([x, x]))[1]):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    if not xla:
        return
    found = tg.jit(f, backend="xla")(x)
    assert found.dtype == expected.dtype
    single = np.finfo(expected.dtype).eps > 1e-10
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=(1e-4 if single else 1e-12) * max(1, np.abs(expected).max(initial=0))
    )


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("norm", NORMS)
def test_one_axis(name: str, norm: str | None) -> None:
    function = getattr(np.fft, name)
    for dtype in ("i2", "f4", "f8", "c8", "c16"):
        if name in OF_REAL and dtype[0] == "c":
            continue
        for shape, axis, n in [((5,), -1, None), ((2, 6), 0, None), ((3, 4), 1, 7), ((3, 5), -1, 2), ((2, 3, 2), 1, 1)]:
            xla = (dtype[1] != "8" or shape == (5,)) and norm in (None, "ortho")
            agrees(lambda x, axis=axis, n=n: function(x, n, axis, norm), numbers(shape, dtype), xla)


def test_small_floats() -> None:
    """float16 is transformed in float32, and comes back where the result is real."""
    for name in ONE:
        x = numbers(6, "f2")
        found = traced(getattr(np.fft, name), x)
        assert found.dtype == getattr(np.fft, name)(x).dtype
        np.testing.assert_array_equal(found, getattr(np.fft, name)(x))


@pytest.mark.parametrize("name", MANY)
def test_several_axes(name: str) -> None:
    function = getattr(np.fft, name)
    for dtype in ("f8", "f4") if name in OF_REAL else ("f8", "c8", "c16"):
        agrees(function, numbers((3, 4), dtype))
        agrees(lambda x: function(x, s=(5, 3), axes=(0, 1), norm="ortho"), numbers((4, 4), dtype))
        agrees(lambda x: function(x, s=(-1, 2), axes=(2, 0)), numbers((3, 2, 5), dtype))
        agrees(lambda x: function(x, axes=(-1,), norm="forward"), numbers((2, 4), dtype))


@pytest.mark.numpy("2.1.0")  # the first one goes through the axes of rfftn in another order
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("name", [name for name in MANY if name.endswith("n")])
def test_three_axes(name: str, axes: tuple[int, ...]) -> None:
    agrees(lambda x: getattr(np.fft, name)(x, axes=axes), numbers((2, 3, 4), "f8"))


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(ONE), st.sampled_from(NORMS))
def test_derivatives_are_the_matrix(m: int, n: int, name: str, norm: str | None) -> None:
    """The columns of the transform's matrix are what it makes of unit vectors."""
    f = lambda x: getattr(np.fft, name)(x, n, norm=norm)
    parts = lambda x: np.concatenate([np.real(f(x)), np.imag(f(x))])
    matrix = np.stack([parts(e) for e in np.eye(m)], -1)
    for jacobian in (tg.jacrev, tg.jacfwd):
        np.testing.assert_allclose(jacobian(parts)(np.ones(m)), matrix, atol=1e-12)
    if name not in OF_REAL:
        of_imaginary = np.stack([parts(1j * e) for e in np.eye(m)], -1)
        found = tg.jacrev(lambda y: parts(1j * y))(np.ones(m))
        np.testing.assert_allclose(found, of_imaginary, atol=1e-12)


def test_derivatives_of_second_order() -> None:
    def f(x: Any, z: Any) -> Any:
        spectrum = np.fft.rfft2(x) * np.fft.fft2(z)[:, :3]
        return np.sum(np.fft.irfft2(spectrum, s=(3, 4), axes=(0, 1)) ** 3) + np.sum(np.abs(np.fft.hfft(z)) ** 2)

    check_grads(f, (numbers((3, 4), "f8"), numbers((3, 4), "c16")), order=2)


def test_gradients_agree_with_jax(jax: Any) -> None:
    def f(fft: Any, x: Any) -> Any:
        return abs(fft.irfft(fft.rfft(x, norm="ortho") ** 2, 7)).sum() + abs(fft.hfft(fft.ihfft(x)) ** 3).sum()

    x = numbers(8, "f8")
    np.testing.assert_allclose(
        tg.grad(lambda x: f(np.fft, x))(x), jax.grad(lambda x: f(jax.numpy.fft, x))(x), rtol=1e-12
    )


def test_convolution_by_products_of_spectra() -> None:
    a, b = numbers(20, "f8"), numbers(7, "f8")
    by_fft = lambda a, b: np.fft.irfft(np.fft.rfft(a, 26) * np.fft.rfft(b, 26), 26)
    np.testing.assert_allclose(by_fft(a, b), np.convolve(a, b), atol=1e-12)
    for i in (0, 1):
        expected = tg.grad(lambda *ab: np.sum(np.convolve(*ab) ** 2), i)(a, b)
        np.testing.assert_allclose(tg.grad(lambda *ab: np.sum(by_fft(*ab) ** 2), i)(a, b), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
def test_shifts(name: str) -> None:
    function = getattr(np.fft, name)
    for axes in (None, 0, -1, (0, 1), (1, 1)):
        agrees(lambda x, axes=axes: function(x, axes), numbers((4, 5), "f8"))
    x = numbers((4, 5), "f8")
    weights = numbers((4, 5), "f8")
    back = getattr(np.fft, {"fftshift": "ifftshift", "ifftshift": "fftshift"}[name])
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(weights * function(x)))(x), back(weights))


def test_frequencies_of_traced_spacing() -> None:
    for function in (tnp.fft.fftfreq, tnp.fft.rfftfreq):
        assert tg.grad(lambda d: np.sum(function(5, d)[1:] ** 2))(0.5) == pytest.approx(
            -2 * np.sum(function(5, 0.5)[1:] ** 2) / 0.5
        )


def test_out() -> None:
    def f(x: Any) -> Any:
        out = tnp.zeros_like(x, dtype=complex) + 0 * x
        np.fft.fft(x, out=out)
        return out

    x = numbers(4, "f8")
    np.testing.assert_array_equal(traced(f, x), np.fft.fft(x))


def test_names() -> None:
    assert set(tnp.fft.__all__) == {name for name in dir(np.fft) if name[0] != "_"} - {"test", "helper"}


def test_errors() -> None:
    x = np.ones((2, 3))
    for f, kind, text in [
        (lambda x: np.fft.fft(x, n=0), ShapeError, r"fft of f64\[2,3\] along axis 1: it needs at least one point, got n=0"),
        (lambda x: np.fft.irfft(x[:, :1]), ShapeError, r"irfft of f64\[2,1\] along axis 1: .* at least one point, got n=0"),
        (lambda x: np.fft.rfft(x + 0j), DtypeError, r"rfft of c128\[2,3\]: "),
        (lambda x: np.fft.fft(x, norm="both"), ValueError, "fft: norm must be 'backward', 'ortho' or 'forward', got 'both'"),
        (lambda x: np.fft.hfft(x, norm="both"), ValueError, "hfft: norm must be 'backward', 'ortho' or 'forward', got"),
        (lambda x: np.fft.fft(x[0, 0]), ShapeError, r"fft of f64\[\]: it needs an axis to run along"),
        (lambda x: np.fft.fft(x, axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: np.fft.fftn(x, (2,), (0, 1)), ShapeError, r"s=\(2,\) has 1 sizes for 2 axes \(0, 1\)"),
        (lambda x: np.fft.rfftn(x, axes=()), ShapeError, "rfftn of .*: it needs at least one axis"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=text) as raised:
            traced(f, x)
        assert "test_fft.py" in str(raised.value)
