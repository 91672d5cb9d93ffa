"""All reductions: values against NumPy, first and second derivatives against jax, keywords, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import same
from tests.jaxprs import run_with_numpy
from tests.ops.reduce import DISTINCT, X, agrees, traced
from tracegrad.core.errors import ShapeError, UnsupportedFunctionError
from tracegrad.ops.reduce.logsumexp import logsumexp

SMOOTH = ["sum", "prod", "mean", "var", "std", "nansum", "nanprod", "nanmean", "nanvar", "nanstd"]
EXTREMES = ["max", "min", "amax", "amin", "ptp", "nanmax", "nanmin"]


@pytest.mark.parametrize("axis, keepdims", [(None, False), (-2, True), ((0, -1), False)])
@pytest.mark.parametrize("name", SMOOTH + EXTREMES)
def test_against_jax(name: str, axis: Any, keepdims: bool) -> None:
    x = X if name in SMOOTH else DISTINCT
    agrees(lambda xp, x: getattr(xp, name)(x, axis=axis, keepdims=keepdims), x, rtol=1e-9)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8", "uint8", "int64", "bool"]
)
@pytest.mark.parametrize(
    "name", [*SMOOTH, *EXTREMES, "any", "all", "argmax", "argmin", "count_nonzero", "cumsum", "cumprod"]
)
def test_values_and_dtypes_are_numpys(name: str, dtype: str) -> None:
    function = getattr(np, name)
    if (name, dtype) in {("ptp", "bool")}:
        pytest.skip("NumPy does not subtract booleans")
    x = (
        (X * (1 if dtype == "float16" else 2)).astype(dtype)
        if np.dtype(dtype).kind != "c"
        else (X + 1j * X[::-1]).astype(dtype)
    )
    for axis in (None, 1, -1):
        got, expected = traced(lambda x: function(x, axis=axis), x), function(x, axis=axis)
        same(got, expected, {"float16": 1e-3, "float32": 1e-6, "complex64": 1e-6}.get(dtype, 1e-14))


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "mean"])
def test_no_axes_and_scalars(name: str) -> None:
    function = getattr(np, name)
    same(traced(lambda x: function(x, axis=()), X), function(X, axis=()))
    same(traced(function, 1.5), function(1.5))
    same(traced(lambda x: function(x, keepdims=True), np.float64(1.5)), function(np.float64(1.5), keepdims=True))
    if name not in ("any", "all"):
        assert tg.grad(function)(2.0) == 1.0


def test_dtype_initial_where() -> None:
    mask = X > -0.5
    column = np.array([[True], [False], [True]])
    small = np.array([[100, 100], [3, 4]], np.int8)
    for f in (
        lambda x: np.sum(x, dtype=np.float32),
        lambda x: np.sum(x, 0, initial=2.5),
        lambda x: np.sum(x, -1, where=mask, keepdims=True),
        lambda x: np.sum(x, where=column),
        lambda x: np.prod(x, 1, initial=3, where=mask),
        lambda x: np.max(x, initial=0.25),
        lambda x: np.max(x, 0, where=mask, initial=-9.0),
        lambda x: np.min(x, (0, 1), None, True, 0.25, mask),
        lambda x: np.max(x[:0], 0, initial=1.0),
        lambda x: np.mean(x, 1, where=mask),
        lambda x: np.mean(x, dtype=np.float32),
        lambda x: np.var(x, 1, where=column, ddof=1),
        lambda x: np.std(x, 0, keepdims=True, correction=1),
        lambda x: np.var(x, mean=np.mean(x, keepdims=True)),
        lambda x: np.var(x, dtype=np.float32),
        lambda x: np.any(x > 1, 0, where=mask),
        lambda x: np.all(x > -1, 0, where=mask),
        lambda x: np.nansum(x, 0, where=mask),
        lambda x: np.nanmax(x, 0, where=mask, initial=-9.0),
        lambda x: np.nanmean(x, 1, where=mask),
        lambda x: np.nanvar(x, 1, where=column, ddof=1),
        lambda x: np.argmax(x, keepdims=True),
        lambda x: np.argmin(x, 1, keepdims=True),
        lambda x: np.count_nonzero(x > 0, axis=(0, 2), keepdims=True),
    ):
        same(traced(f, X), f(X), 1e-6 if np.asarray(f(X)).dtype == np.float32 else 1e-13)
    for f in (
        lambda x: np.sum(x, dtype=np.int8),
        lambda x: np.prod(x, dtype=np.float32),
        lambda x: np.sum(x, 0, initial=1.5),
        lambda x: np.max(x, initial=127),
    ):
        same(traced(f, small), f(small))


def test_gradients_of_keywords() -> None:
    mask = X > -0.5
    agrees(lambda xp, x: xp.sum(x, 1, where=mask, initial=2.0), X)
    agrees(lambda xp, x: xp.prod(x, (0, 2), where=mask), X)
    agrees(lambda xp, x: xp.max(x, 0, where=mask, initial=-5.0), DISTINCT)
    agrees(lambda xp, x: xp.mean(x, 2, where=mask), X)
    agrees(lambda xp, x: xp.var(x, 2, where=mask, ddof=0.5), X)
    agrees(lambda xp, x, m: xp.var(x, 2, mean=m), X, np.mean(X, 2, keepdims=True) + 0.1)
    gradient = tg.grad(lambda v: tnp.sum(X, initial=v) * 3)(1.5)
    assert gradient == 3.0
    assert tg.grad(lambda v: tnp.max(X, initial=v))(9.0) == 1.0


def test_refused() -> None:
    x = np.ones((2, 3))
    for f in (
        np.sum,
        np.prod,
        np.max,
        np.mean,
        np.var,
        np.std,
        np.argmax,
        np.any,
        np.cumsum,
        np.nanmax,
        np.nanmean,
        np.ptp,
    ):
        with pytest.raises(UnsupportedFunctionError, match="out="):
            tg.grad(lambda x, f=f: f(x, out=np.zeros(())))(x)
    with pytest.raises(np.exceptions.AxisError):
        tg.grad(lambda x: np.sum(x, 2))(x)
    with pytest.raises(ValueError, match="axis is named twice"):
        tg.grad(lambda x: np.max(x, (0, -2)))(x)
    with pytest.raises(ShapeError, match=r"max of f64\[2,0\].*initial="):
        tg.grad(lambda x: np.max(x, 1))(np.ones((2, 0)))
    with pytest.raises(ValueError, match="initial="):
        tg.grad(lambda x: np.max(x, where=x > 0))(x)
    with pytest.raises(ShapeError, match="where"):
        tg.grad(lambda x: np.sum(x, where=np.ones((4, 2, 3), bool)))(x)
    with pytest.raises(ShapeError, match="argmax"):
        tg.grad(lambda x: np.argmax(x, 1))(np.ones((2, 0)))
    with pytest.raises(ValueError, match="All-NaN"):
        tg.grad(lambda x: np.nanargmax(x))(x * np.nan)


def test_lists_of_tracers_and_weak_scalars() -> None:
    gradient = tg.grad(lambda a, b: np.sum(tnp.array([a, b, 3.0])) * np.max(np.stack([a, b])), (0, 1))(1.0, 2.0)
    assert gradient == (2.0, 8.0)
    assert tnp.sum([np.float64(1.0), 2.0]) == 3.0
    assert tg.grad(lambda a: tnp.sum([a, 2.0]))(1.0) == 1.0


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "max", "var", "std", "cumsum", "cumprod", "logsumexp"])
def test_float32_stays(name: str) -> None:
    f = logsumexp if name == "logsumexp" else getattr(np, name)
    x = X.astype(np.float32)
    gradient = tg.grad(lambda x: np.sum(f(x, 1)))(x)
    assert gradient.dtype == np.float32
    assert tg.jvp(lambda x: f(x, 1), (x,), (x,))[1].dtype == np.float32


def test_complex() -> None:
    z = X[0] + 1j * X[1]

    def real(xp: Any, f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda z: xp.real(xp.sum(f(xp, z) * (0.3 + 0.7j)))

    for f in (
        lambda xp, z: xp.sum(z, 1),
        lambda xp, z: xp.prod(z, 1),
        lambda xp, z: xp.mean(z),
        lambda xp, z: xp.var(z, 0),
        lambda xp, z: xp.std(z, 1),
        lambda xp, z: xp.cumprod(z, 1),
        lambda xp, z: xp.cumsum(z, 0),
        lambda xp, z: xp.cov(z),
        lambda xp, z: xp.convolve(z[0], z[1]),
        lambda xp, z: xp.correlate(z[0], z[1], "same"),
    ):
        np.testing.assert_allclose(tg.grad(real(np, f))(z), run_with_numpy(jax.grad(real(jnp, f)), z), rtol=1e-12)
        same(traced(lambda z, f=f: f(np, z), z), f(np, z), 1e-13)


def test_a_numpy_integer_is_an_axis_of_a_scalar_too() -> None:
    for name in ("sum", "max", "any", "cumsum"):
        same(traced(lambda x, name=name: getattr(np, name)(x, axis=np.int64(0)), 1.5), getattr(np, name)(1.5, axis=0))


def test_what_would_lose_a_part_of_numbers_is_refused() -> None:
    DtypeError = tg.core.errors.DtypeError
    with pytest.raises(DtypeError, match=r"interp: x is c128\[2\]"):
        traced(lambda x: np.interp(x, [0.0, 1.0], [0.0, 1.0]), np.ones(2, complex))
    with pytest.raises(DtypeError, match="complex numbers are in no bin"):
        traced(lambda b: np.digitize([0.5], b), np.ones(2, complex))
    with pytest.raises(DtypeError, match=r"ediff1d: to_end, f64\[1\], does not become int64"):
        traced(lambda x: np.ediff1d(x, to_end=1.5), np.arange(3))


def test_vmap_of_composites() -> None:
    for f in (np.std, np.mean, lambda x: np.prod(x), lambda x: np.cumprod(x, 1), np.ptp, lambda x: np.argmax(x, 0), np.nanvar,
              lambda x: np.gradient(x)[1], lambda x: np.trapezoid(x), logsumexp, np.cov, lambda x: np.average(x, 1)):  # fmt: skip
        np.testing.assert_allclose(tg.vmap(f)(X), np.stack([f(x) for x in X]), rtol=1e-13)
        gradients = tg.vmap(tg.grad(lambda x, f=f: np.sum(f(x) * 1.0)))(X)
        np.testing.assert_allclose(
            gradients, np.stack([tg.grad(lambda x, f=f: np.sum(f(x) * 1.0))(x) for x in X]), rtol=1e-10, atol=1e-14
        )


def test_scalars_along_the_axis_that_numpy_lets_them_have() -> None:
    for name in [
        "sum",
        "prod",
        "max",
        "min",
        "any",
        "all",
        "argmax",
        "argmin",
        "nansum",
        "nanmax",
        "nanprod",
        "ptp",
        "cumsum",
        "cumprod",
    ]:
        f = getattr(np, name)
        for axis in (0, -1):
            for x in (2.0, np.array(-0.5)):
                (got,) = tg.make_graph(lambda x, f=f, axis=axis: f(x, axis=axis))(x)(x)
                expected = f(x, axis=axis)
                assert (np.shape(got), got) == (np.shape(expected), expected), name
    for f in (np.mean, np.var):
        with pytest.raises(np.exceptions.AxisError):
            tg.grad(lambda x, f=f: f(x, axis=0))(2.0)
    assert tg.grad(lambda x: np.cumsum(x, 0)[0] * np.max(x, axis=-1))(3.0) == 6.0
