"""Elementwise functions: their derivatives at kinks, ties and singular points against jax or closed forms, dtypes, and
the NumPy functions composed of them against NumPy's own values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import (
    ConcretizationTypeError,
    DtypeError,
    ShapeError,
    TracerArrayConversionError,
    UnsupportedFunctionError,
)
from tracegrad.core.op import OPS, Sample
from tracegrad.numpy import creation
from tracegrad.testing import check_rule

jax.config.update("jax_enable_x64", True)


def quiet() -> np.errstate:
    return np.errstate(all="ignore")


def traced(function: Callable[..., Any], *args: Any) -> Any:
    """The result of evaluating the Graph of the function: what its traced version computes."""
    results = tg.make_graph(function)(*args)(*args)
    return results[0] if len(results) == 1 else results


def same(ours: Any, theirs: Any, **tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), **{"rtol": 1e-12, "atol": 1e-300, **tolerance})


def same_as_numpy(function: Callable[..., Any], *args: Any, exact: bool = True) -> None:
    """The traced function computes what NumPy does: shape, dtype and values."""
    ours, plain = traced(function, *args), function(*args)
    for a, b in zip(
        ours if isinstance(plain, tuple) else [ours], plain if isinstance(plain, tuple) else [plain], strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b) if exact else np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# Kinks, ties and singular points, as in jax.

EVERYWHERE = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, np.inf, -np.inf, np.nan]
UNARY = [
    "negative", "positive", "reciprocal", "square", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
    "sqrt", "cbrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "arcsinh",
    "arctanh", "deg2rad", "rad2deg", "radians", "degrees", "absolute", "fabs", "sign", "conjugate", "real",
    "imag", "floor", "ceil", "trunc", "rint", "sinc", "nan_to_num", "round",
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_derivatives_of_one_input_are_those_of_jax_everywhere(name: str) -> None:
    x = np.array(EVERYWHERE)
    with quiet():
        ours = tg.grad(lambda x: np.sum(getattr(np, name)(x)))(x)
    same(ours, jax.grad(lambda x: jnp.sum(getattr(jnp, name)(x)))(x))


# Left out are points where jax gives NaN or worse and mathematics does not: see the tests below.
BINARY = {
    "add": lambda x, y: True,
    "subtract": lambda x, y: True,
    "multiply": lambda x, y: True,
    "divide": lambda x, y: True,
    "floor_divide": lambda x, y: True,
    "remainder": lambda x, y: np.isfinite(x),
    "fmod": lambda x, y: np.isfinite(x),
    "power": lambda x, y: y != 0 and np.isfinite(x),
    "float_power": lambda x, y: y != 0 and np.isfinite(x),
    "logaddexp": lambda x, y: (np.inf not in (x, y) and {x, y} != {-np.inf}) or x == y == np.inf,
    "logaddexp2": lambda x, y: (np.inf not in (x, y) and {x, y} != {-np.inf}) or x == y == np.inf,
    "arctan2": lambda x, y: (x != 0 or y != 0) and not np.isnan(x + y),
    "hypot": lambda x, y: (x != 0 or y != 0) and np.isfinite(x) and np.isfinite(y),
    "copysign": lambda x, y: not np.isnan(x),
    "maximum": lambda x, y: True,
    "minimum": lambda x, y: True,
    "fmax": lambda x, y: True,
    "fmin": lambda x, y: True,
    "heaviside": lambda x, y: not np.isnan(x),
}


@pytest.mark.parametrize("name", BINARY)
def test_derivatives_of_two_inputs_are_those_of_jax_everywhere(name: str) -> None:
    pairs = [(x, y) for x, y in itertools.product(EVERYWHERE, EVERYWHERE) if BINARY[name](x, y)]
    x, y = np.array(pairs).T
    with quiet():
        ours = tg.grad(lambda x, y: np.sum(getattr(np, name)(x, y)), (0, 1))(x, y)
    theirs = jax.grad(lambda x, y: jnp.sum(getattr(jnp, name)(x, y)), (0, 1))(x, y)
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


def test_at_kinks() -> None:
    assert tg.grad(np.abs)(0.0) == 1.0
    assert tg.grad(np.abs)(-0.0) == 1.0
    assert tg.grad(lambda x: np.abs(x))(0j) == 0.0
    assert tg.grad(np.maximum, (0, 1))(3.0, 3.0) == (0.5, 0.5)
    assert tg.grad(np.minimum, (0, 1))(3.0, 3.0) == (0.5, 0.5)
    assert tg.grad(np.hypot, (0, 1))(0.0, 0.0) == (0.0, 0.0)
    with quiet():
        assert np.isnan(tg.grad(np.arctan2, (0, 1))(0.0, 0.0)).all()
    assert tg.grad(np.copysign)(-0.0, 1.0) == 1.0
    assert tg.grad(np.heaviside, (0, 1))(0.0, 0.3) == (0.0, 1.0)
    assert tg.grad(lambda x: np.clip(x, 0.0, 1.0))(0.0) == 0.5


@pytest.mark.parametrize("limits", [(0.0, 1.0), (None, 1.0), (0.0, None), (1.0, 0.0)])
def test_clip_shares_at_its_limits_as_jax(limits: tuple[Any, Any]) -> None:
    x = np.array([0.0, 1.0, 0.5, -1.0, 2.0, np.nan])
    ours = tg.grad(lambda x: np.sum(np.clip(x, *limits)))(x)
    same(ours, jax.grad(lambda x: jnp.sum(jnp.clip(x, *limits)))(x))


@pytest.mark.parametrize("f, shares", [(np.logaddexp, math.e), (np.logaddexp2, 2.0)])
def test_infinite_terms_of_logaddexp_are_all_of_the_sum(f: Any, shares: float) -> None:
    for x in (0.0, 3.0, -1000.0, -np.inf):
        assert tg.grad(f, (0, 1))(x, np.inf) == (0.0, 1.0)
        assert tg.grad(f, (0, 1))(np.inf, x) == (1.0, 0.0)
    assert tg.grad(f, (0, 1))(-np.inf, 2.0) == (0.0, 1.0)
    same(tg.grad(f)(1.0, 2.0), shares / (shares + shares**2))
    same(tg.grad(f)(2000.0, 2001.0), 1 / (1 + shares))


# ---------------------------------------------------------------------------------------------------------------------
# Powers.

EXPONENTS: list[Any] = [0, 1, 2, 3, 0.0, 1.0, 2.0, 3.0, np.int32(2), np.float64(3.0), np.array([2]), np.array([0.0])]


@pytest.mark.parametrize("p", EXPONENTS, ids=repr)
def test_powers_at_zero_have_all_derivatives(p: Any) -> None:
    exponent = float(np.asarray(p).reshape(()))
    for x in (0.0, -0.0, -1.5, 2.0):
        f = lambda x: np.sum(x**p)
        for order in range(1, 5):
            f = tg.grad(f)
            factor = math.prod(exponent - k for k in range(order))
            same(f(x), factor * x ** (exponent - order) if factor else 0.0, atol=1e-13)


@pytest.mark.parametrize("p", [-1, -2, -1.0, 0.5, 1.5, 2.5, -0.5, np.array([-1.0])], ids=repr)
def test_powers_away_from_zero(p: Any) -> None:
    for x in (2.0, 0.5, -1.5 if float(np.sum(p)).is_integer() else 1.5):
        f = lambda x: np.sum(x**p)
        g = lambda x: jnp.sum(jnp.power(x, p))
        for _ in range(3):
            f, g = tg.grad(f), jax.grad(g)
            same(f(x), g(x))


def test_roots_as_powers_at_zero() -> None:
    with quiet():
        assert tg.grad(lambda x: x**0.5)(0.0) == np.inf
    assert tg.grad(lambda x: x**1.5)(0.0) == 0.0
    # Masked, both at zero and outside of the domain.
    x = np.array([0.0, -1.0, 4.0])
    for p in (0.5, 1.5, -1.0, -0.5, np.array(0.5)):
        with quiet():
            f = lambda x: np.sum(np.where(x > 0, x**p, 0.0))
            assert tg.grad(f)(x)[:2].tolist() == [0.0, 0.0]
            assert tg.grad(lambda x: np.sum(tg.grad(f)(x)))(x)[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("base", [2, 2.0, 1.0, 0.5, np.float64(3.0), np.array([2.0])], ids=repr)
def test_exponentials_of_any_base(base: Any) -> None:
    for x in (0.0, 1.5, -2.0):
        same(tg.grad(lambda x: np.sum(base**x))(x), np.sum(np.log(base) * base**x))
        same(tg.grad(tg.grad(lambda x: np.sum(base**x)))(x), np.sum(np.log(base) ** 2 * base**x), atol=1e-16)


def test_exponentials_of_base_zero_and_below() -> None:
    for base in (0, 0.0, np.array(0.0)):
        assert tg.grad(lambda x: base**x)(2.0) == 0.0
    for base in (-2.0, np.array(-2.0)):
        assert np.isnan(tg.grad(lambda x: base**x)(2.0))
    assert tg.grad(np.power, (0, 1))(0.0, 2.0) == (0.0, 0.0)
    assert tg.grad(np.power, (0, 1))(0.0, 0.0) == (0.0, 0.0)
    assert tg.grad(np.power, (0, 1))(np.float64(0.0), np.float64(1.0)) == (1.0, 0.0)


def test_a_power_of_integers_is_not_differentiated() -> None:
    n = np.array([1, 2, 3])
    same(tg.grad(lambda x: np.sum(x**n))(np.array([2.0, 3.0, 4.0])), [1.0, 6.0, 48.0])
    same(tg.grad(lambda x: np.sum(n**x))(2.0), np.sum(n**2.0 * np.log(n)))


# ---------------------------------------------------------------------------------------------------------------------
# What `where` does not take adds nothing.

MASKED: dict[str, tuple[Callable[[Any], Any], float]] = {
    "sqrt": (np.sqrt, 0.0),
    "sqrt below": (np.sqrt, -1.0),
    "cbrt": (np.cbrt, 0.0),
    "log": (np.log, 0.0),
    "log below": (np.log, -1.0),
    "log2": (np.log2, 0.0),
    "log10": (np.log10, 0.0),
    "log1p": (np.log1p, -1.0),
    "reciprocal": (np.reciprocal, 0.0),
    "1/x": (lambda x: 1.0 / x, 0.0),
    "x/x": (lambda x: x / x, 0.0),
    "x/x**2": (lambda x: x / x**2, 0.0),
    "arcsin": (np.arcsin, 1.0),
    "arcsin outside": (np.arcsin, 1e300),
    "arccos": (np.arccos, -1.0),
    "arccos outside": (np.arccos, -2.0),
    "arccosh": (np.arccosh, 1.0),
    "arccosh below": (np.arccosh, 0.5),
    "arctanh": (np.arctanh, 1.0),
    "exp": (np.exp, 1000.0),
    "exp2": (np.exp2, 2000.0),
    "expm1": (np.expm1, 1000.0),
    "sinh": (np.sinh, 1000.0),
    "cosh": (np.cosh, 1000.0),
    "log(exp)": (lambda x: np.log1p(np.exp(x)), 1000.0),
    "x % 0": (lambda x: 1.0 % x, 0.0),
    "fmod": (lambda x: np.fmod(1.0, x), 0.0),
    "power": (lambda x: np.power(x, x), 0.0),
    "power below": (lambda x: np.power(x, x), -0.5),
    "float_power": (lambda x: np.float_power(x, -2.0), 0.0),
    "arctan2": (lambda x: np.arctan2(x, x), 0.0),
    "abs": (lambda x: np.abs(x + 0j), 0.0),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_branches_add_zero(name: str) -> None:
    f, singular = MASKED[name]
    x = np.array([singular, 1.7 if name.startswith("arccosh") else 0.7])
    masked = lambda x: np.sum(np.where(x != singular, f(x), x))
    with quiet():
        once = tg.grad(masked)(x)
        twice = tg.grad(lambda x: np.sum(tg.grad(masked)(x)))(x)
        forward = tg.jvp(masked, (x,), (np.array([1.0, 0.0]),))[1]
    assert once[0] == 1.0
    assert twice[0] == 0.0
    # Forward, the tangent of the branch not taken is dropped by `where` itself.
    assert forward == 1.0


def test_derivatives_do_not_warn_where_they_are_finite() -> None:
    # pytest turns warnings into errors.
    big = np.array([1e200, -1e300, 1e-200])
    for f in (np.arctan, np.arcsinh, np.tanh, np.cbrt, np.abs, np.sin):
        assert np.all(np.isfinite(tg.grad(lambda x: np.sum(f(x)))(big)))
    same(tg.grad(lambda x: np.sum(np.arctan(x)))(np.array([1e100]))[0], 1e-200)
    same(tg.grad(np.arctan2, (0, 1))(1e-200, 1e-200), (5e199, -5e199))
    same(tg.grad(np.arctan2, (0, 1))(1e200, 1e200), (5e-201, -5e-201))
    same(tg.grad(np.hypot, (0, 1))(3e200, 4e200), (0.6, 0.8))
    same(tg.grad(np.hypot, (0, 1))(3e-200, 4e-200), (0.6, 0.8))
    assert tg.grad(lambda x: np.sum(np.arctan(x)))(np.array([300], np.float16))[0] > 0


# ---------------------------------------------------------------------------------------------------------------------
# Complex numbers.

QUADRANTS = np.array(
    [0.6 + 0.4j, -0.6 + 0.5j, -0.7 - 0.4j, 0.5 - 0.6j, 1.7 + 0.3j, -1.8 + 0.2j, -1.6 - 0.3j, 1.5 - 0.2j]
)
COMPLEX = sorted(
    op.name
    for op in OPS.values()
    if op.name in dir(np) and isinstance(getattr(np, op.name), np.ufunc) and getattr(np, op.name).nin == 1
    if "c" in op.kinds and op.name != "rint"
)  # fmt: skip


@pytest.mark.parametrize("name", [*COMPLEX, "real", "imag"])
def test_complex_derivatives_in_every_quadrant(name: str) -> None:
    check_rule(OPS[name], [Sample((QUADRANTS,))])


@pytest.mark.parametrize("name", ["multiply", "divide", "power", "add", "subtract", "float_power"])
def test_complex_derivatives_of_two_inputs(name: str) -> None:
    check_rule(OPS[name], [Sample((QUADRANTS, QUADRANTS[::-1] + 0.1))])


HOLOMORPHIC = [
    "exp", "log", "sqrt", "sin", "tan", "tanh", "arcsin", "arctan", "arcsinh", "arctanh", "reciprocal",
    "square", "log1p", "expm1", "sinc",
]  # fmt: skip


@pytest.mark.parametrize("name", [*HOLOMORPHIC, "abs", "real", "imag", "conj", "angle"])
def test_complex_gradients_are_those_of_jax(name: str) -> None:
    for part in ("real", "imag"):
        ours = tg.grad(lambda z: np.sum(getattr(getattr(np, name)(z), part)))(QUADRANTS)
        theirs = jax.grad(lambda z: jnp.sum(getattr(getattr(jnp, name)(z), part)))(QUADRANTS)
        same(ours, theirs, atol=1e-15)


def test_the_sign_of_a_complex_number_turns_with_it() -> None:
    # d/dt of exp(i t) is what remains: the modulus has no part in it.
    value, tangent = tg.jvp(np.sign, (2.0 + 0j,), (1j,))
    same((value, tangent), (1.0 + 0j, 0.5j))
    assert tg.jvp(np.sign, (2.0 + 0j,), (1.0 + 0j,))[1] == 0
    assert tg.grad(lambda z: np.real(np.sign(z)))(0j) == 0
    assert tg.grad(np.sign)(3.0) == 0.0


def test_mixed_real_and_complex_inputs() -> None:
    x, z = np.array([0.5, 2.0]), np.array([1 + 2j, -1j])
    f = lambda x, z: np.sum(np.real(x * z + z**2 / x))
    ours = tg.grad(f, (0, 1))(x, z)
    theirs = jax.grad(lambda x, z: jnp.sum(jnp.real(x * z + z**2 / x)), (0, 1))(x, z)
    assert [g.dtype for g in ours] == [np.float64, np.complex128]
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


def test_the_real_part_of_a_real_array_is_the_array() -> None:
    graph = tg.make_graph(lambda x: np.real(x).real + x.imag)(np.ones(2))
    assert [e.op.name for e in graph.eqns] == ["imag", "add"]


# ---------------------------------------------------------------------------------------------------------------------
# Dtypes.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64])
def test_python_numbers_leave_low_precision_alone(dtype: Any) -> None:
    x = np.array([0.5, 0.25], dtype)

    def f(x: Any) -> Any:
        y = 2.0 * x + 1 - x / 3.0 + x**2 + x**1.5 + 2.0**x + np.where(x == 0, 1.0, x)
        y = y + np.log1p(x) * math.pi + np.sqrt(x) * 2
        if np.issubdtype(dtype, np.floating):
            y = (
                y
                + np.maximum(x, 0.0)
                + np.hypot(x, 1.0)
                + np.arctan2(1.0, x)
                + np.logaddexp(x, 0.5)
                + np.clip(x, 0, 1.0)
            )
            y = y + np.fmax(x, 0.5) + np.remainder(x, 0.3) + np.copysign(x, -1.0) + np.deg2rad(x) + np.sinc(x)
        assert y.dtype == dtype
        return np.sum(np.real(y))

    assert tg.grad(f)(x).dtype == dtype
    graph = tg.make_graph(tg.grad(f))(x)
    low = {np.dtype(dtype), np.dtype(bool), np.zeros(0, dtype).real.dtype, np.dtype(np.int64)}
    wide = [str(e.op.name) for e in graph.eqns for v in e.outputs if v.type.shape and v.type.dtype not in low]
    assert not wide, f"computed in double precision: {wide}"
    second = tg.jvp(tg.grad(f), (x,), (np.ones_like(x),))[1]
    assert second.dtype == dtype


def test_float64_scalars_promote_as_in_numpy() -> None:
    x = np.ones(2, np.float32)
    assert tg.eval_shape(lambda x: x * np.float64(2.0), x).dtype == np.float64
    assert tg.eval_shape(lambda x: x * 2.0, x).dtype == np.float32
    assert tg.grad(lambda x: np.sum(x * np.float64(2.0)))(x).dtype == np.float32


def test_integers_and_booleans_pass_through() -> None:
    n, b, x = np.array([1, 2, 3]), np.array([True, False, True]), np.array([0.5, 1.5, 2.5])
    same(tg.grad(lambda x: np.sum(x * n + x * b + np.exp(n) * x + n / x))(x), n + b + np.exp(n) - n / x**2)
    for f in (np.add, np.multiply, np.maximum, np.bitwise_and, np.left_shift, np.floor_divide, np.remainder, np.power):
        same_as_numpy(f, n, n)
    for f in (np.add, np.multiply, np.logical_and, np.logical_or, np.maximum, np.equal, np.less):
        same_as_numpy(f, b, b)
    for f in (
        np.exp,
        np.sqrt,
        np.sin,
        np.abs,
        np.sign,
        np.square,
        np.negative,
        np.floor,
        np.isnan,
        np.isfinite,
        np.invert,
    ):
        same_as_numpy(f, n)
    same_as_numpy(np.divide, n, n)
    same_as_numpy(lambda n: n + 1, n)
    same_as_numpy(lambda n: n * 0.5, n)
    same_as_numpy(lambda b: b + 1, b)


# ---------------------------------------------------------------------------------------------------------------------
# sinc, whose derivatives at zero are finite.


@pytest.mark.parametrize("order", range(1, 9))
def test_sinc_has_every_derivative(order: int) -> None:
    f = np.sinc
    for _ in range(order):
        f = tg.grad(f)
    with mpmath.workdps(60):
        for x in (0.0, 1e-9, 0.01, 0.3, 0.32, 0.7, 1.0, 1.27, 1.3, 2.5, 10.0, -0.4, -3.3):
            if x == 0:
                k = order // 2
                truth = 0.0 if order % 2 else (-1) ** k * math.pi**order / (order + 1)
            else:
                truth = float(mpmath.diff(lambda t: mpmath.sin(mpmath.pi * t) / (mpmath.pi * t), mpmath.mpf(x), order))
            same(f(x), truth, rtol=1e-12, atol=1e-13 * math.pi**order)


def test_sinc_of_integers_and_of_low_precision() -> None:
    same_as_numpy(np.sinc, np.array([0, 1, 2]))
    assert tg.grad(lambda x: np.sum(np.sinc(x)))(np.array([0.0, 0.3], np.float32)).dtype == np.float32


# ---------------------------------------------------------------------------------------------------------------------
# Rounding and floats taken apart.


@pytest.mark.parametrize("decimals", [0, 2, -1])
def test_round(decimals: int) -> None:
    for x in (np.array([1.255, -13.5, 2.5, 3.5]), np.array([1.255, 15.5], np.float32), np.array([15, 25, -7])):
        same_as_numpy(lambda x: np.round(x, decimals), x)
        same_as_numpy(lambda x: np.around(x, decimals=decimals), x)
        same_as_numpy(lambda x: x.round(decimals), x)
    assert np.all(tg.grad(lambda x: np.sum(np.round(x, decimals)))(np.ones(3)) == 0)
    same_as_numpy(lambda x: round(x, decimals), np.float64(1.255))


def test_round_of_booleans_is_refused_as_by_numpy_arithmetic() -> None:
    with pytest.raises(DtypeError, match=r"astype\(int\)"):
        tg.eval_shape(np.round, np.array([True]))


def test_fix_divmod_modf_frexp() -> None:
    x, y = np.array([2.7, -2.7, 7.0]), np.array([0.5, 0.8, -2.0])
    same_as_numpy(np.fix, x)
    same_as_numpy(np.divmod, x, y)
    same_as_numpy(lambda x, y: divmod(x, y), x, y)
    same_as_numpy(lambda x: divmod(7.0, x), y)
    same_as_numpy(np.modf, x)
    same_as_numpy(np.frexp, x)
    same_as_numpy(np.modf, np.array([np.inf, -np.inf, -0.0, -3.0]))
    same(tg.grad(lambda x: np.sum(np.divmod(x, y)[1] * y))(x), y)
    same(tg.grad(lambda x: np.sum(np.modf(x)[0] * y + np.modf(x)[1]))(x), y)
    mantissa, exponent = np.frexp(x)
    same(tg.grad(lambda x: np.sum(np.frexp(x)[0] * y))(x), y * 2.0**-exponent)
    # Put together again it is the identity, with its derivative.
    same(tg.grad(lambda x: np.sum(np.ldexp(*np.frexp(x)) * y))(x), y)
    assert mantissa.dtype == x.dtype


# ---------------------------------------------------------------------------------------------------------------------
# Questions.

ODD = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, -2.5])


QUESTIONS = [
    "isposinf", "isneginf", "isnan", "isinf", "isfinite", "signbit", "iscomplex", "isreal", "logical_not",
]  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_about_elements(name: str) -> None:
    same_as_numpy(getattr(np, name), ODD)
    if name not in ("isposinf", "isneginf", "signbit"):
        same_as_numpy(getattr(np, name), ODD + 1j * np.array([0, 1, 0, 0, 0, 0, -1.0]))
    same_as_numpy(getattr(np, name), np.array([0, 1, 2]))


def test_complex_numbers_have_no_signed_infinities() -> None:
    with pytest.raises(DtypeError, match=r"np\.isinf, or of x\.real"):
        tg.eval_shape(np.isposinf, QUADRANTS)


def test_questions_about_dtypes_have_plain_answers() -> None:
    def f(x: Any) -> Any:
        assert np.iscomplexobj(x) is False and np.isrealobj(x) is True
        assert np.iscomplexobj(x + 1j) is True
        return np.sum(x)

    tg.grad(f)(np.ones(2))


@pytest.mark.parametrize("equal_nan", [False, True])
def test_isclose(equal_nan: bool) -> None:
    x, y = np.meshgrid(np.array([*ODD, 1.0 + 1e-9, 1e-9]), np.array([*ODD, 1.0 + 1e-6]))
    same_as_numpy(lambda x, y: np.isclose(x, y, equal_nan=equal_nan), x, y)
    same_as_numpy(lambda x, y: np.isclose(x, y, rtol=0.1, atol=0.5), x, y)
    same_as_numpy(lambda x: np.isclose(x, 1), np.array([1, 2]))
    same_as_numpy(lambda x: np.isclose(x, QUADRANTS[0]), QUADRANTS)


def test_comparisons_of_whole_arrays_are_plain_bools() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(
            (np.allclose(x, x + 1e-12), np.array_equal(x, x * 1.0), np.array_equiv(x, x[0]), np.allclose(x, 2.0))
        )
        return np.sum(x)

    tg.grad(f)(np.ones(3))
    assert seen == [(True, True, True, False)]
    assert all(type(answer) is bool for answer in seen[0])
    for g in (np.allclose, np.array_equal, np.array_equiv):
        with pytest.raises(ConcretizationTypeError, match=r"np\.all\(np\.isclose\(a, b\)\)"):
            tg.vmap(lambda x: g(x, 1.0))(np.ones(3))


# ---------------------------------------------------------------------------------------------------------------------
# Choosing.


def test_clip_takes_limits_as_numpy_does() -> None:
    x = np.linspace(-2, 2, 7)
    low = np.full(7, -0.5)
    for f in (
        lambda x: np.clip(x, -1, 1),
        lambda x: np.clip(x, -1.0, None),
        lambda x: np.clip(x, None, 1),
        lambda x: np.clip(x, a_min=-1, a_max=0.5),
        lambda x: np.clip(x, min=-1, max=0.5),
        lambda x: np.clip(x, min=low),
        lambda x: np.clip(x, low, -low),
        lambda x: np.clip(x),
        lambda x: x.clip(-1, 1),
        lambda x: x.clip(max=1),
        lambda x: np.clip(x, 1.0, -1.0),
    ):
        same_as_numpy(f, x)
        same_as_numpy(f, x.astype(np.float32))
    same_as_numpy(lambda n: np.clip(n, 2, 4), np.arange(7))
    same(tg.grad(lambda low: np.sum(np.clip(x, low, 1.0)))(-1.1), 2.0)
    with pytest.raises(ValueError, match="given twice"):
        tg.grad(lambda x: np.clip(x, 0, 1, min=0))(1.0)
    with pytest.raises(UnsupportedFunctionError, match="out="):
        tg.grad(lambda x: np.clip(x, 0, 1, out=np.zeros(())))(1.0)


def test_select() -> None:
    x = np.linspace(-2, 2, 9)
    f = lambda x: np.select([x < -1, x < 1], [x**2, 3.0 * x], 7.0)
    same_as_numpy(f, x)
    same_as_numpy(lambda x: np.select([x < -1, x < 1], [x, -x]), x)
    same(tg.grad(lambda x: np.sum(f(x)))(x), np.where(x < -1, 2 * x, np.where(x < 1, 3.0, 0.0)))
    with pytest.raises(ValueError, match="1 conditions for 2 choices"):
        tg.grad(lambda x: np.sum(np.select([x < 0], [x, x])))(x)
    with pytest.raises(DtypeError, match="x != 0"):
        tg.grad(lambda x: np.sum(np.select([x], [x])))(x)


def test_choose() -> None:
    index = np.array([[0, 2, 1], [1, 0, 2]])
    x = np.linspace(1, 2, 3)
    f = lambda x: np.choose(index, [x, x**2, np.full((2, 1), 5.0)])
    same_as_numpy(f, x)
    same(tg.grad(lambda x: np.sum(f(x)))(x), [1.0 + 2 * x[0], 1.0, 2 * x[2]])
    for mode in ("wrap", "clip"):
        same_as_numpy(lambda x: np.choose(np.array([-1, 0, 5]), [x, 2 * x], mode=mode), x)
    same_as_numpy(lambda i: np.choose(i, [np.arange(3), np.arange(3) * 2]), np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="out of range"):
        tg.grad(lambda x: np.sum(np.choose(np.array([0, 2]), [x, 2 * x])))(1.0)
    with pytest.raises(DtypeError, match="integers"):
        tg.grad(lambda x: np.choose(x, [x, 2 * x]))(1.0)


@pytest.mark.parametrize("options", [{}, {"nan": 1.5, "posinf": 2.0, "neginf": -3.0}, {"nan": 7}])
def test_nan_to_num(options: dict[str, Any]) -> None:
    pairs = np.array([complex(a, b) for a in ODD for b in ODD])
    for x in (ODD, ODD.astype(np.float32), np.float64(np.nan), np.array([1, 2]), pairs):
        same_as_numpy(lambda x: np.nan_to_num(x, **options), x)
    same(tg.grad(lambda x: np.sum(np.nan_to_num(x, **options)))(ODD), np.isfinite(ODD).astype(float))


def test_where() -> None:
    c, x = np.array([True, False, True]), np.array([1.0, 2.0, 3.0], np.float32)
    for f in (
        lambda x: np.where(c, x, 0),
        lambda x: np.where(c, x, 0.5),
        lambda x: np.where(c, x, np.float64(0.5)),
        lambda x: np.where(x > 1.5, 1.0, 2.0),
        lambda x: np.where(x, 1, 2),
        lambda x: np.where(c, x, 1j),
        lambda x: np.where(True, x, np.zeros((2, 1), np.float32)),
    ):
        same_as_numpy(f, x)
    same(tg.grad(lambda x: np.sum(np.where(c, x, 2 * x)))(x), [1, 2, 1])


def test_copyto_is_refused_with_what_to_write() -> None:
    with pytest.raises(TracerArrayConversionError, match=r"y = np\.where\(c, x, y\)"):
        tg.grad(lambda x: np.copyto(np.zeros(2), x))(np.ones(2))


def test_unwrap() -> None:
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.uniform(-3, 3, (2, 9)), axis=1) % (2 * np.pi)
    same_as_numpy(np.unwrap, x, exact=False)
    same_as_numpy(lambda x: np.unwrap(x, axis=0), x, exact=False)
    same_as_numpy(lambda x: np.unwrap(x, period=5.0), x, exact=False)
    same_as_numpy(lambda x: np.unwrap(x, discont=4.0), x, exact=False)
    weights = rng.uniform(size=x.shape)
    same(tg.grad(lambda x: np.sum(np.unwrap(x) * weights))(x), weights)


def test_angle() -> None:
    same_as_numpy(np.angle, QUADRANTS)
    same_as_numpy(lambda z: np.angle(z, deg=True), QUADRANTS, exact=False)
    same_as_numpy(np.angle, np.array([1.0, -1.0, 0.0]))


def test_several_outputs_batch_over_any_axis() -> None:
    x = np.linspace(1.2, 1.8, 6).reshape(2, 3)
    for f in (np.modf, np.frexp, lambda x: np.divmod(x, 0.7)):
        for ours, plain in zip(tg.vmap(f, in_axes=1, out_axes=1)(x), f(x), strict=True):
            np.testing.assert_array_equal(ours, plain)
    check_rule(OPS["modf"], [Sample((x,))])


# ---------------------------------------------------------------------------------------------------------------------
# Making arrays.


def test_array_of_nested_lists_with_tracers() -> None:
    def f(x: Any) -> Any:
        a = creation.array([[x, 2 * x, 1.0], (np.float64(3.0), x * x, 0)])
        assert a.shape == (2, 3) and a.dtype == np.float64
        return np.sum(a * np.arange(6.0).reshape(2, 3))

    same(tg.grad(f)(2.0), 0 + 2 + 4 * 4)
    x = np.array([1.0, 2.0], np.float32)
    for g in (
        lambda x: creation.array([x, 2 * x]),
        lambda x: creation.array([x, 2 * x], dtype=np.float64),
        lambda x: creation.array(x, ndmin=3),
        lambda x: creation.asarray([x[0], 1.0, 2]),
        lambda x: creation.asarray(x, np.complex128),
        lambda x: creation.array([[x[0]], [x[1]]]),
        lambda x: creation.ascontiguousarray(x[0]),
    ):
        same_as_numpy(g, x)
    assert creation.array([1, 2]).dtype == np.int64
    with pytest.raises(ShapeError, match=r"different shapes, f32\[2\], f32\[\]"):
        tg.grad(lambda x: np.sum(creation.array([x, x[0]])))(x)


@pytest.mark.parametrize("f", [np.zeros_like, np.ones_like, np.empty_like], ids=lambda f: f.__name__)
def test_arrays_like_a_tracer_are_plain(f: Any) -> None:
    def check(x: Any) -> Any:
        for options in ({}, {"dtype": np.float32}, {"shape": (4,)}, {"shape": 2}):
            new, plain = f(x, **options), f(np.zeros((2, 3), np.float16), **options)
            assert type(new) is np.ndarray
            assert (new.shape, new.dtype) == (plain.shape, plain.dtype)
        return np.sum(x)

    tg.grad(check)(np.ones((2, 3), np.float16))
    tg.eval_shape(check, tg.ShapeDtypeStruct((2, 3), np.float16))


def test_full_like_a_tracer_or_of_one() -> None:
    x = np.ones((2, 3), np.float32)
    same_as_numpy(lambda x: np.full_like(x, 7), x)
    same_as_numpy(lambda x: np.full_like(x, 7.5, dtype=int), x)
    same_as_numpy(lambda x: np.full_like(x, np.arange(3)), x)
    same(tg.grad(lambda v: np.sum(creation.full_like(x, v)))(2.0), 6.0)
    same(tg.grad(lambda v: np.sum(creation.full((2, 4), v) ** 2))(3.0), 48.0)
    same(tg.grad(lambda v: np.sum(creation.full(3, [v, 1.0, v * v])))(3.0), 7.0)
    assert creation.full((2,), 1.5).tolist() == [1.5, 1.5]


RANGES: dict[str, Callable[..., Any]] = {
    "linspace": lambda a, b: np.linspace(a, b, 7),
    "linspace without end": lambda a, b: np.linspace(a, b, 7, endpoint=False),
    "linspace of one": lambda a, b: np.linspace(a, b, 1),
    "linspace of none": lambda a, b: np.linspace(a, b, 0),
    "linspace step": lambda a, b: np.linspace(a, b, 5, retstep=True),
    "linspace last axis": lambda a, b: np.linspace(a * np.ones(2), b, 3, axis=-1),
    "linspace dtype": lambda a, b: np.linspace(a, b, 4, dtype=np.float32),
    "linspace integers": lambda a, b: np.linspace(a, 10 * b, 4, dtype=int),
    "logspace": lambda a, b: np.logspace(a, b, 6),
    "logspace base": lambda a, b: np.logspace(a, b, 6, endpoint=False, base=2.0),
    "geomspace": lambda a, b: np.geomspace(a, b, 6),
    "geomspace down": lambda a, b: np.geomspace(-b, -a, 6, endpoint=False),
    "geomspace arrays": lambda a, b: np.geomspace(a, b * np.array([1.0, 2.0]), 4, axis=1),
}


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name: str) -> None:
    f = RANGES[name]
    a, b = 0.3, 2.2
    same_as_numpy(f, a, b, exact=False)
    g = lambda a, b: f(a, b)[0] if isinstance(f(a, b), tuple) else f(a, b)
    if "integers" in name:
        return
    h = 1e-5
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if "dtype" in name else {"rtol": 1e-7, "atol": 1e-8}
    if "dtype" in name:
        h = 1e-2
    for t in [(1.0, 0.0), (0.0, 1.0)]:
        _, tangent = tg.jvp(g, (a, b), t)
        numeric = (g(a + h * t[0], b + h * t[1]) - g(a - h * t[0], b - h * t[1])) / (2 * h)
        same(tangent, numeric, **tolerance)


def test_linspace_ends_exactly() -> None:
    rng = np.random.default_rng(0)
    for a, b in rng.uniform(-1, 1, (20, 2)):
        values = traced(lambda a, b: np.linspace(a, b, 11), a, b)
        np.testing.assert_array_equal(values, np.linspace(a, b, 11))
        assert values[-1] == b
    same_as_numpy(lambda a: np.linspace(a, 1, 5), np.float32(0.25))
    same_as_numpy(lambda a: np.linspace(a, 4, 5), 2)
    same_as_numpy(lambda a: np.linspace(a, 1, 5), 1j)


def test_arange_needs_known_integers() -> None:
    assert creation.arange(3).tolist() == [0, 1, 2]
    seen = []
    tg.make_graph(lambda n: seen.append(creation.arange(n)) or n)(4)
    assert seen[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(DtypeError, match=r"start \+ step \* np\.arange\(n\)"):
        tg.grad(lambda x: np.sum(creation.arange(x)))(3.0)


@pytest.mark.parametrize("options", [{}, {"indexing": "ij"}, {"sparse": True}, {"sparse": True, "indexing": "ij"}])
def test_meshgrid(options: dict[str, Any]) -> None:
    x, y = np.arange(3.0), np.arange(4.0)
    same_as_numpy(lambda x: np.meshgrid(x, y, **options), x)
    same_as_numpy(lambda x: np.meshgrid(x, **options)[0], x)
    same_as_numpy(lambda x: np.meshgrid(x, y, 2.0, **options), x)
    f = lambda x, y: np.sum(np.meshgrid(x, y, **options)[0] * np.meshgrid(x, y, **options)[1])
    same(tg.grad(f)(x, y), np.full(3, 6.0))


def test_types_and_shapes_have_plain_answers() -> None:
    def f(x: Any) -> Any:
        assert np.shape(x) == (2, 3) and creation.shape([x, x]) == (2, 2, 3)
        assert np.ndim(x) == 2 and np.size(x) == 6 and np.size(x, 1) == 3 and np.size(x, -2) == 2
        assert np.result_type(x, 1.0) == np.float32
        assert np.result_type(x, np.float64) == np.float64
        assert np.result_type(2.0 * np.sum(x), np.float16) == np.float32
        assert np.can_cast(x, np.float64) and not np.can_cast(x, np.int64)
        assert np.common_type(x, np.zeros(2)) is np.float64
        assert np.copy(x) is not x and x.copy() is not x
        return np.sum(x)

    tg.grad(f)(np.ones((2, 3), np.float32))
    tg.eval_shape(f, tg.ShapeDtypeStruct((2, 3), np.float32))


def test_a_choice_between_truth_values_is_traced_by_types() -> None:
    x = np.array([1.0, -1.0])
    for f in (
        lambda x: np.where(x > 0, True, False),
        lambda x: np.where(x > 0, True, x),
        lambda x: np.where(x > 0, 1, x),
    ):
        for got in (tg.jit(f)(x), tg.vmap(f)(x)):
            np.testing.assert_array_equal(got, f(x))
            assert got.dtype == f(x).dtype
        assert tg.eval_shape(f, x).dtype == f(x).dtype
