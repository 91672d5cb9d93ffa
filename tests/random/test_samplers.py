"""Samplers: jax's numbers, on both backends, and derivatives with respect to bounds."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.random.parity import assert_drawn_from
from tracegrad.core.errors import DtypeError, ShapeError

jax = pytest.importorskip("jax")
ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in ("float16", "bfloat16", "float32", "float64")}

# Those that are equal bit for bit: no function in them rounds.
EXACT: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "uniform": lambda r, key, shape, dtype: r.uniform(key, shape, dtype),
    "uniform around 0": lambda r, key, shape, dtype: r.uniform(key, shape, dtype, -1.0, 1.0),
    "bernoulli": lambda r, key, shape, dtype: r.bernoulli(key, np.asarray(0.3, dtype), shape),
    "bernoulli by finer steps": lambda r, key, shape, dtype: r.bernoulli(key, np.asarray(0.3, dtype), shape, "high"),
    "rademacher": lambda r, key, shape, dtype: r.rademacher(key, shape, dtype),
}
# XLA fuses products with sums, and has logarithms of its own. Units are of the largest that is drawn.
ROUNDED: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "uniform": lambda r, key, shape, dtype: r.uniform(key, shape, dtype, -2.5, 3.7),
    "normal": lambda r, key, shape, dtype: r.normal(key, shape, dtype),
    "truncated_normal": lambda r, key, shape, dtype: r.truncated_normal(key, -1.5, 2.0, shape, dtype),
    "exponential": lambda r, key, shape, dtype: r.exponential(key, shape, dtype),
    "gumbel": lambda r, key, shape, dtype: r.gumbel(key, shape, dtype),
    "gumbel by finer steps": lambda r, key, shape, dtype: r.gumbel(key, shape, dtype, mode="high"),
    "laplace": lambda r, key, shape, dtype: r.laplace(key, shape, dtype),
    "logistic": lambda r, key, shape, dtype: r.logistic(key, shape, dtype),
}


def _draws(functions: dict[str, Any], name: str, dtype: str, shape: tuple[int, ...]) -> tuple[Any, list[Any]]:
    """jax's numbers, op by op, which compiles each once for all, and ours: as they are, jitted, and in one dtype on XLA."""
    f = lambda r, key: functions[name](r, key, shape, DTYPES[dtype])
    ours, key = lambda key: f(tg.random, key), tg.random.PRNGKey(11)
    with jax.enable_x64(True), jax.disable_jit():
        expected = np.asarray(f(jax.random, jax.numpy.asarray(key)))
    got = [ours(key), tg.jit(ours)(key), *([tg.jit(ours, backend="xla")(key)] if dtype == "float32" else [])]
    for x in got:
        assert (x.dtype, np.shape(x)) == (expected.dtype, shape)
    np.testing.assert_array_equal(got[0], got[1])
    return expected, got


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_the_bits_of_jax(name: str, dtype: str) -> None:
    expected, got = _draws(EXACT, name, dtype, (2, 150))
    for x in got:
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROUNDED)
def test_the_numbers_of_jax(name: str, dtype: str) -> None:
    steps = 2.0 ** -{"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}[dtype]
    expected, got = _draws(ROUNDED, name, dtype, (2, 150))
    expected = expected.astype(np.float64)
    for x in got:
        atol = 8 * steps * np.max(np.abs(expected))
        np.testing.assert_allclose(np.asarray(x, np.float64), expected, rtol=150 * steps, atol=atol)


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_shapes_without_axes_or_elements(shape: tuple[int, ...]) -> None:
    key = tg.random.PRNGKey(11)
    for name, f in (EXACT | ROUNDED).items():
        for dtype in DTYPES.values():
            ours = lambda key, f=f, dtype=dtype: f(tg.random, key, shape, dtype)
            got = ours(key)
            assert np.shape(got) == shape, name
            assert got.dtype == (bool if name.startswith("bernoulli") else dtype), name
            np.testing.assert_array_equal(tg.jit(ours)(key), got)


def test_complex_normal_numbers() -> None:
    key = tg.random.PRNGKey(4)
    with jax.enable_x64(True), jax.disable_jit():
        expected = np.asarray(jax.random.normal(jax.numpy.asarray(key), (50,), np.complex128))
    got = tg.random.normal(key, (50,), np.complex128)
    assert got.dtype == np.complex128
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_defaults_are_float64_and_the_moments_are_right() -> None:
    keys = tg.random.split(tg.random.key(0), 5)
    draws = {
        "uniform": (tg.random.uniform(keys[0], (40_000,)), 0.5, 1 / 12),
        "normal": (tg.random.normal(keys[1], (40_000,)), 0.0, 1.0),
        "exponential": (tg.random.exponential(keys[2], (40_000,)), 1.0, 1.0),
        "laplace": (tg.random.laplace(keys[3], (40_000,)), 0.0, 2.0),
        "gumbel": (tg.random.gumbel(keys[4], (40_000,)), np.euler_gamma, np.pi**2 / 6),
    }
    for name, (x, mean, variance) in draws.items():
        assert x.dtype == np.float64, name
        assert abs(x.mean() - mean) < 5 * np.sqrt(variance / x.size), name
        assert abs(x.var() / variance - 1) < 0.1, name
    assert tg.random.bernoulli(keys[0], 0.25, (40_000,)).mean() == pytest.approx(0.25, abs=0.02)
    assert tg.random.bernoulli(keys[0]).dtype == bool


def test_keys_in_a_batch() -> None:
    keys = tg.random.split(tg.random.key(5), 4)
    for f in (
        lambda key: tg.random.normal(key, (3,), np.float32),
        lambda key: tg.random.uniform(key, (3,), np.float64, -2.0, 1.0),
        lambda key: tg.random.bernoulli(key, np.float32(0.4), (5,)),
        lambda key: tg.random.truncated_normal(key, -1.0, 1.0, (2,)),
    ):
        expected = np.stack([f(key) for key in keys])
        for got in (tg.vmap(f)(keys), tg.jit(tg.vmap(f))(keys)):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


def test_bounds_are_traced_and_differentiated() -> None:
    key = tg.random.PRNGKey(2)
    functions: list[Callable[..., Any]] = [
        lambda r, key, a, b: r.uniform(key, (3, 4), np.float64, a, b),
        lambda r, key, a, b: r.truncated_normal(key, a, b, (3, 4), np.float64),
        lambda r, key, a, b: r.truncated_normal(key, a, b, dtype=np.float64),
    ]
    low, high = np.array([[-1.0], [-0.5], [0.25]]), np.array([0.5, 1.0, 2.0, 0.75])
    for f in functions:
        with jax.enable_x64(True):
            theirs = lambda a, b, f=f: jax.numpy.sum(f(jax.random, jax.numpy.asarray(key), a, b) ** 2)
            expected = jax.value_and_grad(theirs, (0, 1))(low, high)
        ours = lambda a, b, f=f: np.sum(f(tg.random, key, a, b) ** 2)
        for g in (
            tg.value_and_grad(ours, (0, 1)),
            tg.jit(tg.value_and_grad(ours, (0, 1))),
            tg.jit(tg.value_and_grad(ours, (0, 1)), backend="xla"),
        ):
            value, gradients = g(low, high)
            np.testing.assert_allclose(value, expected[0], rtol=1e-12)
            for got, want in zip(gradients, expected[1], strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-11)
    each = tg.vmap(lambda a: tg.random.uniform(key, (2,), np.float64, a, 2.0))(low[:, 0])
    np.testing.assert_array_equal(each, [tg.random.uniform(key, (2,), np.float64, a, 2.0) for a in low[:, 0]])


def test_truncated_numbers_stay_within() -> None:
    x = tg.random.truncated_normal(tg.random.key(0), 3.0, np.float32(3.0001), (1000,), np.float32)
    assert np.all((x > np.float32(3.0)) & (x < np.float32(3.0001)))


def test_on_arrays_of_jax() -> None:
    key = jax.numpy.asarray(tg.random.PRNGKey(3))
    got = tg.random.normal(key, (4,), np.float32)
    assert isinstance(got, jax.Array)
    np.testing.assert_allclose(got, tg.random.normal(tg.random.PRNGKey(3), (4,), np.float32), rtol=1e-5)


def test_normal_numbers_need_numpy_alone() -> None:
    code = (
        "import sys; sys.modules['scipy'] = None; import numpy as np, tracegrad as tg; key = tg.random.key(0); "
        "print(tg.random.normal(key, (2,)).tolist(), tg.random.truncated_normal(key, -2, 2).item())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    key = tg.random.key(0)
    assert done.stdout.startswith(str(tg.random.normal(key, (2,)).tolist()))


def test_errors() -> None:
    key = tg.random.key(0)
    here = r"test_samplers\.py:\d+ \(in test_errors\)"
    for name in ("uniform", "normal", "exponential", "gumbel", "laplace", "logistic"):
        with pytest.raises(
            DtypeError,
            match=rf"random\.{name} at .*{here}: numbers come as float16, bfloat16, float32 or float64, got int32; write np\.f",
        ):
            getattr(tg.random, name)(key, (3,), np.int32)
    with pytest.raises(DtypeError, match=rf"bernoulli at .*{here}: the probability p must be of float16, .* got int64"):
        tg.random.bernoulli(key, 1, (3,))
    with pytest.raises(ValueError, match=rf'bernoulli at .*{here}: mode is "low" or "high", got \'medium\''):
        tg.random.bernoulli(key, 0.5, (3,), mode="medium")
    with pytest.raises(
        ShapeError,
        match=rf"uniform at .*{here}: minval of shape \(3,\) does not broadcast to the shape that is drawn, \(2,\)",
    ):
        tg.random.uniform(key, (2,), minval=np.zeros(3))
    with pytest.raises(ShapeError, match=rf"bernoulli at .*{here}: p of shape \(3,\) does not broadcast"):
        tg.random.bernoulli(key, np.full(3, 0.5), ())
    with pytest.raises(DtypeError, match=rf"random\.normal at .*{here}: a key is u32\[2\], got i64~\[\]"):
        tg.random.normal(0, (2,))
    with pytest.raises(ShapeError, match=rf"truncated_normal at .*{here}: a shape has no negative sizes"):
        tg.random.truncated_normal(key, -1.0, 1.0, (-2,))


DISTRIBUTIONS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda key: tg.random.uniform(key, (4000,), np.float32, -2.0, 3.0), ("uniform", -2.0, 5.0)),
    (lambda key: tg.random.normal(key, (4000,)), ("norm",)),
    (lambda key: tg.random.normal(key, (4000,), np.complex128).imag, ("norm", 0.0, np.sqrt(0.5))),
    (lambda key: tg.random.truncated_normal(key, -0.5, 2.0, (4000,)), ("truncnorm", -0.5, 2.0)),
    (lambda key: tg.random.exponential(key, (4000,)), ("expon",)),
    (lambda key: tg.random.gumbel(key, (4000,)), ("gumbel_r",)),
    (lambda key: tg.random.gumbel(key, (4000,), np.float32, "high"), ("gumbel_r",)),
    (lambda key: tg.random.laplace(key, (4000,)), ("laplace",)),
    (lambda key: tg.random.logistic(key, (4000,)), ("logistic",)),
    (lambda key: tg.random.bernoulli(key, 0.3, (4000,)), ("bernoulli", 0.3)),
    (lambda key: (tg.random.rademacher(key, (4000,)) + 1) // 2, ("bernoulli", 0.5)),
    (lambda key: tg.random.bits(key, (4000,), np.uint32) / 2.0**32, ("uniform",)),
]


@pytest.mark.parametrize("draw, name_and_parameters", DISTRIBUTIONS)
def test_distributions(draw: Callable[[Any], Any], name_and_parameters: Any) -> None:
    name, *parameters = name_and_parameters
    assert_drawn_from(draw, getattr(pytest.importorskip("scipy.stats"), name)(*parameters))


# What is asked of samplers beside a key, a shape and a dtype.
REQUIRED: dict[str, tuple[Any, ...]] = {
    "ball": (3,), "beta": (1.0, 2.0), "binomial": (3.0, 0.5), "categorical": (np.zeros(2),), "chisquare": (2.0,), "choice": (3,),
    "dirichlet": (np.ones(2),), "double_sided_maxwell": (0.0, 1.0), "f": (2.0, 3.0), "fold_in": (1,), "gamma": (2.0,),
    "generalized_normal": (1.5,), "geometric": (0.5,), "loggamma": (2.0,), "multinomial": (3.0, np.full(2, 0.5)),
    "multivariate_normal": (np.zeros(2), np.eye(2)), "orthogonal": (2,), "pareto": (2.0,), "permutation": (3,), "poisson": (2.0,),
    "randint": ((2,), 0, 5), "rayleigh": (1.0,), "t": (3.0,), "triangular": (0.0, 0.5, 1.0), "truncated_normal": (-1.0, 1.0),
    "wald": (1.0,), "weibull_min": (1.0, 2.0),
}  # fmt: skip


def test_names_and_arguments_of_jax() -> None:
    theirs = {name for name in dir(jax.random) if not name.startswith("_")} - {"random_gamma_p"}  # a primitive
    assert theirs | {"KeyArray"} == set(tg.random.__all__)
    for name in sorted(theirs):
        expected = inspect.signature(getattr(jax.random, name)).parameters
        found = inspect.signature(getattr(tg.random, name)).parameters
        assert [p for p in expected if p != "out_sharding"] == list(found), name
        for p, parameter in found.items():
            assert (parameter.default is parameter.empty) == (expected[p].default is parameter.empty), (name, p)
            assert parameter.kind is expected[p].kind or name == "clone", (name, p)


def test_no_dtype_is_the_default() -> None:
    key = tg.random.key(0)
    for name in tg.random.__all__:
        function: Any = getattr(tg.random, name)
        if {"key", "dtype"} <= inspect.signature(function).parameters.keys():
            expected = function(key, *REQUIRED.get(name, ()))
            found = function(key, *REQUIRED.get(name, ()), dtype=None)
            assert found.dtype == expected.dtype, name
            np.testing.assert_array_equal(found, expected)


def test_every_sampler_takes_typed_keys() -> None:
    for name in tg.random.__all__:
        function: Any = getattr(tg.random, name)
        if next(iter(inspect.signature(function).parameters)) == "key" and name not in ("split", "fold_in", "clone"):
            found, expected = [
                function(key, *REQUIRED.get(name, ())) for key in (tg.random.key(4), tg.random.PRNGKey(4))
            ]
            np.testing.assert_array_equal(found, expected, name)
