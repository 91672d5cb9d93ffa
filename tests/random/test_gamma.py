"""The gamma distribution and what is made of it: jax's numbers, the distributions, and derivatives at fixed probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.random.parity import KEY, Draw, assert_as_jax, assert_drawn_from, assert_moves_as
from tracegrad.core.errors import DtypeError, ShapeError

jax = pytest.importorskip("jax")
stats = pytest.importorskip("scipy.stats")
mpmath = pytest.importorskip("mpmath")

ALPHAS = [0.01, 0.5, 1.0, 2.5, 100.0]

DRAWS: dict[str, Callable[[Any], Draw]] = {
    "gamma": lambda d: lambda r, key: r.gamma(key, np.asarray(ALPHAS, d), (40, 5), d),
    "loggamma": lambda d: lambda r, key: r.loggamma(key, np.asarray([1e-4, *ALPHAS], d), (40, 6), d),
    "chisquare": lambda d: lambda r, key: r.chisquare(key, np.asarray(ALPHAS[1:], d), (40, 4), d),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_numbers_of_jax(dtype: str) -> None:
    # Of a = 0.01 the smallest are powers of 100 of a uniform number, and in float32 below all normal numbers.
    names = ["gamma"] if dtype == "float32" else list(DRAWS)
    draws = {name: DRAWS[name](np.dtype(dtype)) for name in names}
    assert_as_jax(draws, 500 * np.finfo(dtype).eps, on_xla=["gamma"] if dtype == "float64" else ())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype: str) -> None:
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), dtype, dtype))
    x = tg.random.gamma(KEY, 2.5, (4000,), dtype)
    assert x.dtype == dtype
    assert abs(np.mean(x.astype(np.float64)) - 2.5) < 0.1


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda key: tg.random.gamma(key, 0.3, (4000,)), stats.gamma(0.3)),
        (lambda key: tg.random.gamma(key, 1.0, (4000,)), stats.gamma(1.0)),
        (lambda key: tg.random.gamma(key, 20.0, (4000,), np.float32), stats.gamma(20.0)),
        (lambda key: tg.random.loggamma(key, 0.05, (4000,)), stats.loggamma(0.05)),
        (lambda key: tg.random.chisquare(key, 3, (4000,)), stats.chi2(3)),
        (lambda key: tg.random.f(key, 3, 5, (4000,)), stats.f(3, 5)),
        (lambda key: tg.random.t(key, 2.5, (4000,)), stats.t(2.5)),
        (lambda key: tg.random.beta(key, 0.5, 2.0, (4000,)), stats.beta(0.5, 2.0)),
        (lambda key: tg.random.dirichlet(key, np.array([1.0, 2.0, 0.5]), (4000,))[:, 1], stats.beta(2.0, 1.5)),
        (lambda key: tg.random.generalized_normal(key, 1.5, (4000,)), stats.gennorm(1.5)),
        (lambda key: np.linalg.norm(tg.random.ball(key, 3, shape=(4000,)), axis=-1) ** 3, stats.uniform()),
    ],
)
def test_distributions(draw: Callable[[Any], Any], distribution: Any) -> None:
    assert_drawn_from(draw, distribution)


@pytest.mark.parametrize("a", [1e-4, 0.01, 0.3, 1.0, 2.5, 30.0, 1000.0])
def test_derivatives_of_gamma_against_mpmath(a: float) -> None:
    alphas = np.full(10, a)
    logs, x = tg.random.loggamma(KEY, alphas), tg.random.gamma(KEY, alphas)
    with mpmath.workdps(40):
        a_, h, slopes = mpmath.mpf(a), mpmath.mpf(a) * mpmath.mpf(10) ** -15, []
        for log in logs:
            y = mpmath.exp(mpmath.mpf(float(log)))
            p = [
                mpmath.gammainc(b, 0, y, regularized=True) if y > 1e-30 else y**b / mpmath.gamma(b + 1)
                for b in (a_ - h, a_ + h)
            ]
            slopes.append(float(-(p[1] - p[0]) / (2 * h) * mpmath.gamma(a_) * mpmath.exp(y) / y**a_))
    for backend in ("numpy", "xla")[: 2 if a == 0.3 else 1]:
        of_log = tg.grad(lambda a: np.sum(tg.random.loggamma(KEY, a)))
        np.testing.assert_allclose(tg.jit(of_log, backend=backend)(alphas), slopes, rtol=1e-10)
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(tg.random.gamma(KEY, a)))(alphas), slopes * x, rtol=1e-10)


def test_derivatives_against_quantiles() -> None:
    def moved(distribution: Any, parameters: tuple[float, ...]) -> Callable[..., float]:
        def quantile(x: float, step: float, i: int) -> float:
            after = [p + step * (i == j) for j, p in enumerate(parameters)]
            return distribution(*after).ppf(distribution(*parameters).cdf(x))

        return quantile

    assert_moves_as(tg.random.gamma, moved(stats.gamma, (2.5,)), 2.5)
    assert_moves_as(tg.random.loggamma, moved(stats.loggamma, (0.7,)), 0.7)
    assert_moves_as(tg.random.chisquare, moved(stats.chi2, (3.0,)), 3.0)


@pytest.mark.parametrize(
    ("draw", "parameters"),
    [
        (lambda r, key, m, n: r.f(key, m, n, (3,)), (3.0, 5.0)),
        (lambda r, key, df: r.t(key, df, (4, 3)), (2.5,)),
        (lambda r, key, a, b: r.beta(key, a, b, (4, 3)), (0.5, 2.0)),
        (lambda r, key, a: r.dirichlet(key, a, (4,)), (0.8,)),
        (lambda r, key, p: r.ball(key, 2, p[0], (4,)), (1.5,)),
    ],
)
def test_numbers_and_derivatives_of_jax(draw: Callable[..., Any], parameters: tuple[float, ...]) -> None:
    given = [np.array([p, 1.1 * p, 0.9 * p]) for p in parameters]
    weights = np.cos(np.arange(draw(tg.random, KEY, *given).size)).reshape(draw(tg.random, KEY, *given).shape)
    places = tuple(range(len(given)))

    def loss(random: Any, key: Any) -> Callable[..., Any]:
        def weighted(*p: Any) -> Any:
            x = draw(random, key, *p)
            return (x * weights).sum(), x

        return weighted

    with jax.enable_x64(True):
        theirs = jax.jit(jax.value_and_grad(loss(jax.random, jax.numpy.asarray(KEY)), places, has_aux=True))
        (_, numbers), slopes = theirs(*given)
    ours = tg.value_and_grad(loss(tg.random, KEY), places, has_aux=True)
    for (_, x), got in (ours(*given), tg.jit(ours)(*given)):
        np.testing.assert_allclose(x, numbers, rtol=1e-12)
        for g, e in zip(got, slopes, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(
        tg.vmap(lambda key: draw(tg.random, key, *given))(KEY[None])[0], draw(tg.random, KEY, *given)
    )


def test_second_derivatives() -> None:
    first = tg.grad(lambda a: tg.random.gamma(KEY, a))
    for a in (0.4, 3.0):  # where the number drawn is moved by the derivative, as from one quantile to the next
        x, h = tg.random.gamma(KEY, a), 1e-4
        probability = stats.gamma(a).cdf(x)
        values = [stats.gamma(b).ppf(probability) for b in (a - h, a, a + h)]
        assert tg.grad(first)(a) == pytest.approx((values[0] - 2 * values[1] + values[2]) / h**2, rel=1e-3)


def test_keys_and_parameters_in_batches() -> None:
    keys, a = tg.random.split(KEY, 3), np.array([0.3, 1.0, 4.0])
    of = lambda key, a: tg.random.gamma(key, a, (5,))
    expected = np.stack([of(key, x) for key, x in zip(keys, a, strict=True)])
    for got in (tg.vmap(of)(keys, a), tg.jit(tg.vmap(of))(keys, a)):
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    slopes = tg.vmap(tg.grad(lambda a, key: np.sum(of(key, a))))(a, keys)
    np.testing.assert_allclose(
        slopes, [tg.grad(lambda a, k=k: np.sum(of(k, a)))(x) for k, x in zip(keys, a, strict=True)], rtol=1e-13
    )


def test_shapes() -> None:
    for x, shape in (
        (tg.random.gamma(KEY, 0.5), ()),
        (tg.random.gamma(KEY, 0.5, (0, 3)), (0, 3)),
        (tg.random.beta(KEY, np.ones((2, 1)), np.ones(3)), (2, 3)),
        (tg.random.dirichlet(KEY, np.ones((2, 3)), (4, 2)), (4, 2, 3)),
        (tg.random.f(KEY, np.ones(3), 2.0, (2, 3), np.float32), (2, 3)),
        (tg.random.ball(KEY, 2), (2,)),
    ):
        assert np.shape(x) == shape


def test_ends_of_the_parameters() -> None:
    x = tg.random.gamma(KEY, np.array([np.nan, -1.0, 1e-9, 1e-5]))
    np.testing.assert_array_equal(x, [np.nan, np.nan, 0.0, 0.0])
    assert tg.grad(lambda a: tg.random.gamma(KEY, a))(1e-9) == 0.0
    x = tg.random.beta(KEY, np.full(20, 1e-6), 1e-6)  # all near an end, where the numbers that it is made of are not
    assert np.all((x == 0) | (x == 1))
    assert 0 < x.sum() < 20


def test_errors() -> None:
    here = r"test_gamma\.py:\d+ \(in test_errors\)"
    with pytest.raises(DtypeError, match=rf"random\.gamma at .*{here}: numbers come as float16, .* got int32"):
        tg.random.gamma(KEY, 1.0, (3,), np.int32)
    with pytest.raises(ShapeError, match=rf"loggamma at .*{here}: a of shape \(3,\) does not broadcast"):
        tg.random.loggamma(KEY, np.ones(3), (2,))
    with pytest.raises(ShapeError, match=rf"dirichlet at .*{here}: alpha must have an axis, got a scalar"):
        tg.random.dirichlet(KEY, 1.0)
    with pytest.raises(ShapeError, match=rf"beta at .*{here}: a shape has no negative sizes"):
        tg.random.beta(KEY, 1.0, 1.0, (-1,))
