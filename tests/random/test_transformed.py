"""Functions of uniform, normal and exponential numbers: jax's, their distributions, and derivatives in their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.random.parity import KEY, Draw, assert_as_jax, assert_drawn_from
from tracegrad.core.errors import DtypeError, ShapeError

jax = pytest.importorskip("jax")
stats = pytest.importorskip("scipy.stats")

DRAWS: dict[str, Callable[[Any], Draw]] = {
    "cauchy": lambda d: lambda r, key: r.cauchy(key, (2, 50), d),
    "pareto": lambda d: lambda r, key: r.pareto(key, np.asarray([3.0, 0.5], d), (50, 2), d),
    "lognormal": lambda d: lambda r, key: r.lognormal(key, np.asarray([3.0, 0.5], d), (50, 2), d),
    "lognormal of 1": lambda d: lambda r, key: r.lognormal(key, shape=(50,), dtype=d),
    "rayleigh": lambda d: lambda r, key: r.rayleigh(key, np.asarray([3.0, 0.5], d), None, d),
    "maxwell": lambda d: lambda r, key: r.maxwell(key, (2, 50), d),
    "double_sided_maxwell": lambda d: lambda r, key: r.double_sided_maxwell(key, 1.0, 2.0, (50,), d),
    "double_sided_maxwell of arrays": lambda d: (
        lambda r, key: r.double_sided_maxwell(key, np.asarray([1.0, -1.0], d), np.asarray([[2.0], [0.5]], d), (), d)
    ),
    "weibull_min": lambda d: lambda r, key: r.weibull_min(key, 2.0, np.asarray([1.5, 0.5], d), (50, 2), d),
    "triangular": lambda d: lambda r, key: r.triangular(key, -1.0, np.asarray([0.5, -0.5], d), 2.0, (50, 2), d),
    "wald": lambda d: lambda r, key: r.wald(key, np.asarray([0.5, 8.0], d), (50, 2), d),
}


ON_XLA = ("cauchy", "double_sided_maxwell of arrays", "weibull_min", "triangular", "wald")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_numbers_of_jax(dtype: str) -> None:
    draws = {name: draw(np.dtype(dtype)) for name, draw in DRAWS.items()}
    if dtype == "float64":
        draws["complex lognormal"] = lambda r, key: r.lognormal(key, 0.5, (50,), np.complex128)
    eps = np.finfo(dtype).eps
    # The roots of Wald's equation cancel where the normal number is large.
    assert_as_jax(
        draws, dict.fromkeys(draws, 200 * eps) | {"wald": 20_000 * eps}, on_xla=ON_XLA if dtype == "float64" else ()
    )


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda key: tg.random.cauchy(key, (4000,)), stats.cauchy()),
        (lambda key: tg.random.pareto(key, 3.0, (4000,)), stats.pareto(3.0)),
        (lambda key: tg.random.lognormal(key, 0.5, (4000,)), stats.lognorm(0.5)),
        (lambda key: tg.random.rayleigh(key, 2.0, (4000,)), stats.rayleigh(scale=2.0)),
        (lambda key: tg.random.maxwell(key, (4000,)), stats.maxwell()),
        (lambda key: np.abs(tg.random.double_sided_maxwell(key, 0.0, 2.0, (4000,))), stats.maxwell(scale=2.0)),
        (lambda key: tg.random.weibull_min(key, 2.0, 1.5, (4000,)), stats.weibull_min(1.5, scale=2.0)),
        (lambda key: tg.random.triangular(key, -1.0, 0.5, 2.0, (4000,)), stats.triang(0.5, -1.0, 3.0)),
        (lambda key: tg.random.wald(key, 2.0, (4000,)), stats.invgauss(2.0)),
    ],
)
def test_distributions(draw: Callable[[Any], Any], distribution: Any) -> None:
    assert_drawn_from(draw, distribution)


@pytest.mark.parametrize(
    ("draw", "parameters"),
    [
        (lambda r, key, b: r.pareto(key, b, (4, 3)), (3.0,)),
        (lambda r, key, sigma: r.lognormal(key, sigma, (4, 3)), (0.7,)),
        (lambda r, key, scale: r.rayleigh(key, scale, (4, 3)), (2.0,)),
        (lambda r, key, loc, scale: r.double_sided_maxwell(key, loc, scale, (4,)), (1.0, 2.0)),
        (lambda r, key, scale, c: r.weibull_min(key, scale, c, (4, 3)), (2.0, 1.5)),
        (lambda r, key, a, c, b: r.triangular(key, a, c, b, (4, 3)), (-1.0, 0.5, 2.0)),
        (lambda r, key, mean: r.wald(key, mean, (4, 3)), (2.0,)),
    ],
)
def test_derivatives_in_the_parameters(draw: Callable[..., Any], parameters: tuple[float, ...]) -> None:
    given = tuple(
        [
            np.array([p, 1.1 * p, 0.9 * p])[: None if draw(tg.random, KEY, *parameters).ndim > 1 else 1]
            for p in parameters
        ]
    )
    places = tuple(range(len(given)))
    with jax.enable_x64(True):
        expected = jax.grad(lambda *p: jax.numpy.sum(draw(jax.random, jax.numpy.asarray(KEY), *p) ** 2), places)(*given)
    ours = tg.grad(lambda *p: np.sum(draw(tg.random, KEY, *p) ** 2), places)
    for got in (ours(*given), tg.jit(ours)(*given)):
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-10)
    tg.testing.check_grads(lambda *p: draw(tg.random, KEY, *p), given, order=2, rtol=1e-4)


def test_errors() -> None:
    key = tg.random.key(0)
    here = r"test_transformed\.py:\d+ \(in test_errors\)"
    for name in ("cauchy", "maxwell"):
        with pytest.raises(DtypeError, match=rf"random\.{name} at .*{here}: numbers come as float16, .* got int32"):
            getattr(tg.random, name)(key, (3,), np.int32)
    with pytest.raises(ShapeError, match=rf"pareto at .*{here}: b of shape \(3,\) does not broadcast to .* \(2,\)"):
        tg.random.pareto(key, np.ones(3), (2,))
    with pytest.raises(ShapeError, match=rf"triangular at .*{here}: shapes .* do not broadcast together"):
        tg.random.triangular(key, np.ones(3), 2.0, np.ones(2))
    with pytest.raises(DtypeError, match=rf"wald at .*{here}: mean must be real, got c128"):
        tg.random.wald(key, 1j)
    with pytest.raises(DtypeError, match=rf"rayleigh at .*{here}: a key is u32\[2\]"):
        tg.random.rayleigh(0, 1.0)
