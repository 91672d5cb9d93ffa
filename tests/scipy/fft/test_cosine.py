"""Cosine and sine transforms, against SciPy's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.fft

import tracegrad as tg
from tracegrad.scipy import fft
from tracegrad.testing import check_grads, check_vmap

NAMES = ["dct", "idct", "dst", "idst"]
WAYS = list(itertools.product((1, 2, 3, 4), (None, "ortho", "forward"), (None, True, False)))


def numbers(*shape: int) -> Any:
    return np.random.default_rng(7).normal(size=shape)


def traced(f: Any, x: Any) -> Any:
    return tg.vjp(f, x)[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", [2, 5, 8])
def test_all_types_scales_and_lengths_are_scipys(name: str, points: int) -> None:
    x = numbers(3, points)
    for (type, norm, orthogonalize), n in itertools.product(WAYS, (None, 3, 9)):
        expected = getattr(scipy.fft, name)(x, type, n, 1, norm, orthogonalize=orthogonalize)
        got = traced(lambda x: getattr(fft, name)(x, type, n, 1, norm, orthogonalize=orthogonalize), x)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13, err_msg=f"{type, n, norm, orthogonalize}")


@pytest.mark.parametrize("name", NAMES)
def test_long_ones_keep_their_digits(name: str) -> None:
    x = numbers(1000)
    for type in (1, 2, 3, 4):
        expected = getattr(scipy.fft, name)(x.astype(np.longdouble), type).astype(float)
        got = traced(lambda x: getattr(fft, name)(x, type), x)
        np.testing.assert_allclose(got, expected, rtol=0, atol=4e-15 * np.abs(expected).max())


@pytest.mark.parametrize("name", NAMES)
def test_dtypes_and_axes(name: str) -> None:
    x = numbers(4, 3, 5)
    for given in (x.astype(np.float32), x + 1j * x[::-1], (10 * x).astype(int)):
        expected = getattr(scipy.fft, name)(given, 3, None, 1)
        got = tg.jit(lambda x: getattr(fft, name)(x, 3, None, 1))(given)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=2e-5 if given.dtype == np.float32 else 1e-12, atol=2e-5)


@pytest.mark.parametrize("name", [name + "n" for name in NAMES])
@pytest.mark.parametrize(
    ("s", "axes"), [(None, None), ((3, 6), None), (None, (2, 0)), ((2, 7), (0, 1)), (4, 1), (None, ())]
)
def test_along_several_axes(name: str, s: Any, axes: Any) -> None:
    x = numbers(3, 4, 5)
    expected = getattr(scipy.fft, name)(x, 2, s, axes)
    np.testing.assert_allclose(traced(lambda x: getattr(fft, name)(x, 2, s, axes), x), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_batches_and_xla(name: str) -> None:
    def f(x: Any) -> Any:
        return [getattr(fft, name)(x, type, norm="ortho") for type in (1, 2, 3, 4)]

    x = numbers(6)
    check_grads(f, (x,), order=2)
    check_vmap(f, (numbers(3, 6),))
    pytest.importorskip("jax")
    for got, expected in zip(tg.jit(f, backend="xla")(x), f(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_its_gradient_is_the_transposed_transform() -> None:
    x, y = numbers(2, 9)
    gradient = tg.grad(lambda x: np.sum(fft.dct(x, 2) * y))(x)
    at_zero = np.where(np.arange(9) == 0, 2, 1)
    np.testing.assert_allclose(gradient, scipy.fft.dct(y * at_zero, 3), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: fft.dct(t, 5), r"dct at .*test_cosine.py:\d+.*: type must be 1, 2, 3 or 4, got 5"),
        (lambda t: fft.idst(t, norm="half"), r"idst at .*: norm must be 'backward', 'ortho' or 'forward', got 'half'"),
        (lambda t: fft.dct(t[:1], 1), r"dct at .* of type 1: it needs 2 or more points, got 1"),
        (lambda t: fft.dct(t, n=0), r"dct at .* of type 2: it needs 1 or more points, got 0"),
        (lambda t: fft.dct(t[0]), r"dct at .* of f64.*: it needs an axis to run along"),
        (lambda t: fft.dctn(t, s=(2, 2), axes=(0,)), r"dctn at .*as many sizes as axes are wanted, got s=\(2, 2\)"),
    ],
)
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tg.jit(call)(np.ones(3))
