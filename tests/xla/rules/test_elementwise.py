"""Ufuncs on XLA where jax.lax and NumPy differ: on the values at the edges of each dtype, and between dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg

xla = pytest.importorskip("tracegrad.xla.emit")
pytest.importorskip("tracegrad.xla.rules")

FLOATS = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 7.25, 1e4, np.inf, -np.inf, np.nan])
EDGES = {
    "float64": FLOATS,
    "float16": FLOATS.astype(np.float16),
    "int64": np.array([0, 1, -1, 2, -3, 7, 64, 100, 2**63 - 1, -(2**63)]),
    "int8": np.array([0, 1, -1, 2, -3, 7, 8, 127, -128], np.int8),
    "uint64": np.array([0, 1, 2, 3, 64, 2**63, 2**64 - 1], np.uint64),
    "uint8": np.array([0, 1, 2, 3, 8, 128, 255], np.uint8),
    "bool": np.array([False, True]),
}
COMPLEX = np.array([complex(x, y) for x in (0, 1, -2, np.nan) for y in (0, -1, 2, np.nan)])
INTEGER = ("int64", "int8", "uint64", "uint8")
REAL = ("float64", "float16", *INTEGER)
UFUNCS = {
    **dict.fromkeys((np.floor_divide, np.remainder, np.fmod, np.sign, np.absolute), REAL),
    **dict.fromkeys((np.gcd, np.lcm, np.left_shift, np.right_shift, np.bitwise_count), INTEGER),
    **dict.fromkeys((np.floor, np.trunc, np.isfinite, np.isinf, np.isnan), (*REAL, "bool")),
    **dict.fromkeys((np.rint, np.signbit, np.modf, np.logaddexp, np.heaviside, np.hypot), ("float64", "float16")),
    **dict.fromkeys((np.add, np.multiply, np.logical_and, np.logical_not, np.maximum, np.fmin), (*REAL, "bool")),
}  # fmt: skip


def same(function: Any, *inputs: Any) -> None:
    """The same from XLA as from NumPy. Zeros of either sign are equal, for NumPy's own maximum picks any."""
    with np.errstate(all="ignore"):
        expected = function(*inputs)
    got = tg.jit(function, backend="xla")(*inputs)
    for g, e in zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]:
        assert g.dtype == e.dtype
        tolerance = {"float64": 1e-14, "float16": 2e-3}.get(e.dtype.name, 0)
        np.testing.assert_allclose(np.asarray(g), e, rtol=tolerance, atol=0)


@pytest.mark.parametrize(("ufunc", "dtype"), [(f, d) for f, dtypes in UFUNCS.items() for d in dtypes])
def test_edges(ufunc: np.ufunc, dtype: str) -> None:
    x = EDGES[dtype]
    same(ufunc, *((x[:, None], x) if ufunc.nin == 2 else (x,)))


COMPARISONS = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)


@pytest.mark.parametrize("ufunc", COMPARISONS)
def test_comparisons_between_dtypes(ufunc: np.ufunc) -> None:
    signed, unsigned = EDGES["int64"], EDGES["uint64"]
    same(ufunc, signed[:, None], unsigned)
    same(ufunc, unsigned[:, None], signed)
    same(ufunc, COMPLEX[:, None], COMPLEX)
    same(lambda x: ufunc(x, 300), EDGES["uint8"])


@pytest.mark.parametrize("ufunc", [np.maximum, np.minimum, np.fmax, np.fmin, np.logical_xor, np.isinf, np.isnan])
def test_complex(ufunc: np.ufunc) -> None:
    same(ufunc, *((COMPLEX[:, None], COMPLEX) if ufunc.nin == 2 else (COMPLEX,)))


@pytest.mark.parametrize("number", [3, -3])
def test_remainders_by_a_number(number: int) -> None:
    same(lambda x, i: (np.remainder(x, number), np.floor_divide(x, number), i % number, i // number, np.fmod(i, number)),
         EDGES["float64"], EDGES["int64"])  # fmt: skip


def test_signs_of_zero() -> None:
    def signs(x: Any) -> Any:
        zeros = np.sign(x), np.trunc(x), np.copysign(1.0, x), np.remainder(x, 3.0), np.remainder(x, -3.0)
        return tuple([np.signbit(z) for z in zeros])

    same(signs, np.array([0.0, -0.0]))


def test_arctan2_of_what_is_found_to_be_zero_as_it_compiles() -> None:
    same(lambda x: np.arctan2(np.zeros(3, x.dtype), np.logical_xor(x, x).astype(x.dtype)), np.ones(3, np.float32))
    zeros = np.array([0.0, -0.0, 0.0, -0.0])
    same(lambda y, x: np.signbit(np.arctan2(y, x)) + np.arctan2(y, x), zeros, zeros[[0, 0, 1, 1]])


@pytest.mark.parametrize("dtype", INTEGER)
def test_powers_wrap_around(dtype: str) -> None:
    exponents = EDGES[dtype]
    same(np.power, EDGES[dtype][:, None], exponents[exponents >= 0])


@pytest.mark.parametrize("power", [0, 1, 2, 3.0, -1, -2, 0.5])
def test_powers_of_floats(power: float) -> None:
    same(lambda x: np.power(x, power), np.array([0.3, 2.0, 7.5]))


def test_a_number_that_the_dtype_does_not_hold() -> None:
    with pytest.raises(OverflowError, match="300 out of bounds for uint8"):
        tg.jit(lambda x: x + 300, backend="xla")(EDGES["uint8"])


@pytest.mark.parametrize("order", [2, 3, 6])
def test_scaled_bessel_functions_of_higher_order(order: int) -> None:
    special = pytest.importorskip("scipy.special")
    from tracegrad.ops.special.bessel_i import scaled_bessel_op

    x = np.array([0.0, 1e-3, -0.7, 5.0, 40.0, -900.0, 1e5])
    found = xla.execute(scaled_bessel_op, (x,), {"order": order, "rise": 0}).value
    np.testing.assert_allclose(np.asarray(found), special.ive(order, x), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_squares_and_absolute_values_wrap_around(dtype: str) -> None:
    """XLA takes them for no less than zero."""
    info = np.iinfo(dtype)
    x = np.array([info.min, info.max, info.max // 2, 3 * (info.max // 4) + 2, -7], dtype)
    squares = [np.square, lambda x: x * x, lambda x: x**2, lambda x: x**4, np.absolute]
    squares += [lambda x: np.prod(np.stack([x, x]), 0, x.dtype), lambda x: np.cumprod(np.stack([x, x]), 0, x.dtype)[1]]

    def asked(x: Any) -> Any:
        found = [square(x) for square in squares]
        return [(y // 2, y % 8, y < 0, np.abs(y), np.fmod(y, 8), y // np.array(4, y.dtype)) for y in found]

    with np.errstate(over="ignore"):
        expected = asked(x)
    for row, wanted in zip(tg.jit(asked, backend="xla")(x), expected, strict=True):
        for found, right in zip(row, wanted, strict=True):
            np.testing.assert_array_equal(np.asarray(found), right)


def test_log1p_has_its_digits_below_zero() -> None:
    """XLA's own has 4e-14 of an error near -0.414, on CPUs."""
    mpmath = pytest.importorskip("mpmath")
    x = np.linspace(-0.6, -0.1, 101)
    truth = np.array([float(mpmath.log1p(mpmath.mpf(v))) for v in x.tolist()])
    np.testing.assert_allclose(tg.jit(np.log1p, backend="xla")(x), truth, rtol=1e-15)
