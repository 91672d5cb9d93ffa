"""Distributions of counts: sums over counts, ends, and what jit knows of them."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import stats

mpmath = pytest.importorskip("mpmath")
scipy_stats = pytest.importorskip("scipy.stats")


def test_sums_over_counts_need_their_number() -> None:
    f = lambda k, a: stats.betabinom.cdf(k, 10, a, 2.0) + stats.binom.entropy(10, 1 / a)
    np.testing.assert_allclose(tg.jit(f)(3.0, 1.5), f(3.0, 1.5), rtol=1e-12)
    by_number = lambda n: stats.betabinom.cdf(3, n, 1.0, 2.0)
    assert [tg.jit(by_number)(n) for n in (10, 12)] == [by_number(10), by_number(12)]
    with pytest.raises(tg.core.errors.ConcretizationTypeError, match=r"int\(\).*test_discrete\.py"):
        tg.vmap(by_number)(np.array([10.0, 12.0]))


def test_quantiles_of_counts_on_xla() -> None:
    pytest.importorskip("jax")
    found = tg.jit(stats.poisson.ppf, backend="xla")(np.array([0.1, 0.9]), 3.0)
    np.testing.assert_array_equal(found, scipy_stats.poisson.ppf([0.1, 0.9], 3.0))


def test_entropies() -> None:
    """That of `poisson` is an expansion from 200 on."""
    for mu in (0.3, 199.0, 201.0, 1000.0):
        lowest, highest = int(max(0, mu - 14 * mu**0.5)), int(mu + 14 * mu**0.5 + 30)
        with mpmath.workdps(25):
            logs = [k * mpmath.log(mu) - mu - mpmath.loggamma(k + 1) for k in range(lowest, highest)]
            exact = float(-sum(mpmath.exp(p) * p for p in logs))
        np.testing.assert_allclose(stats.poisson.entropy(mu), exact, rtol=1e-12)
    p = np.array([0.2, 0.7])
    np.testing.assert_allclose(stats.nbinom.entropy(3.0, p), scipy_stats.nbinom.entropy(3.0, p), rtol=1e-9)
    slope = tg.grad(lambda p: stats.nbinom.entropy(3.0, p))(0.3)
    np.testing.assert_allclose(
        slope, (stats.nbinom.entropy(3.0, 0.3 + 1e-5) - stats.nbinom.entropy(3.0, 0.3 - 1e-5)) / 2e-5, rtol=1e-7
    )
    np.testing.assert_allclose(tg.jit(tg.grad(stats.poisson.entropy))(300.0), 0.5 / 300 + 1 / (12 * 300**2), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:divide by zero")  # of what is multiplied by zero
def test_at_the_ends() -> None:
    """All of the probability on one count, and no more trials than that."""
    assert [stats.binom.pmf(k, 3, 1.0) for k in (2, 3)] == [0, 1]
    assert [stats.bernoulli.logpmf(k, 0.0) for k in (0, 1, 2)] == [0, -np.inf, -np.inf]
    assert [stats.geom.pmf(k, 1.0) for k in (0, 1, 2)] == [0, 1, 0]
    assert [stats.poisson.pmf(k, 0.0) for k in (0, 1)] == [1, 0]
    assert stats.nbinom.logpmf(0, 2.0, 1.0) == 0 and stats.binom.cdf(3.7, 3, 0.2) == 1
    # Less of what is certain: d (1 - p) / dp.
    assert tg.grad(stats.bernoulli.pmf, 1)(0, 0.0) == -1
    np.testing.assert_allclose(tg.grad(stats.poisson.logpmf, 1)(0, 0.0), -1)


def test_derivatives_of_cumulative_sums() -> None:
    """They are sums of derivatives."""
    counts = np.arange(8)
    for name, shapes, i in [
        ("binom", (20, 0.3), 1),
        ("nbinom", (2.5, 0.3), 0),
        ("nbinom", (2.5, 0.3), 1),
        ("poisson", (4.0,), 0),
    ]:
        f = getattr(stats, name)
        terms = tg.grad(lambda *shapes, f=f: np.sum(f.pmf(counts, *shapes)), i)(*shapes)
        np.testing.assert_allclose(tg.grad(f.cdf, i + 1)(7, *shapes), terms, rtol=1e-11)
        np.testing.assert_allclose(tg.grad(f.sf, i + 1)(7, *shapes), -terms, rtol=1e-11)
