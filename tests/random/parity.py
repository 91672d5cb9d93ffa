"""Draws beside jax's, and beside SciPy's distributions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

Draw = Callable[[Any, Any], Any]  # of a module with jax.random's names, and a key

KEY = tg.random.PRNGKey(11)


def assert_as_jax(
    draws: dict[str, Draw], rtol: float | dict[str, float] = 0.0, *, on_xla: Collection[str] = ()
) -> None:
    """Hold the draws of a key to jax's, each within rtol of itself or of what is drawn in general: as they are, jitted, and those
    of keys in a batch; some of them on XLA. All are compiled together, which takes less time."""
    jax = pytest.importorskip("jax")
    # Each from the same key, which is meant so: a clone of ours is the key, and nobody warns of it.
    copy = lambda r, key: tg.random.clone(key) if r is tg.random else key
    of = lambda r, names=draws: lambda key: {name: draws[name](r, copy(r, key)) for name in names}
    ours = of(tg.random)
    with jax.enable_x64(True):
        expected = {name: np.asarray(x) for name, x in jax.jit(of(jax.random))(jax.numpy.asarray(KEY)).items()}
    batch = tg.vmap(ours)(np.stack([tg.random.PRNGKey(5), KEY]))
    found = [ours(KEY), tg.jit(ours)(KEY), {name: x[1] for name, x in batch.items()}]
    found += [tg.jit(of(tg.random, on_xla), backend="xla")(KEY)] if on_xla else []
    for name, want in expected.items():
        within = rtol.get(name, 0.0) if isinstance(rtol, dict) else rtol
        scale = np.median(np.abs(want)) if within else 0.0
        for got in [each[name] for each in found if name in each]:
            assert (got.dtype, np.shape(got)) == (want.dtype, want.shape), name
            np.testing.assert_allclose(got, want, rtol=within, atol=within * scale, err_msg=name)


def assert_drawn_from(draw: Callable[[Any], Any], distribution: Any) -> None:
    """Hold 4000 draws of a fixed key to a distribution of scipy.stats: by Kolmogorov and Smirnov's test, or for one of integers by
    the chi-square test of how often each comes that is expected ten times."""
    stats = pytest.importorskip("scipy.stats")
    x = draw(tg.random.PRNGKey(1))
    assert x.shape == (4000,)
    if not hasattr(distribution.dist, "pmf"):
        assert stats.kstest(x, distribution.cdf).pvalue > 0.001
        return
    values = np.arange(distribution.ppf(1e-6), distribution.ppf(1 - 1e-6) + 1)
    expected = 4000 * distribution.pmf(values)
    counts = np.array([np.count_nonzero(x == v) for v in values])
    usual = expected >= 10
    others, expected_others = 4000 - counts[usual].sum(), 4000 - expected[usual].sum()
    observed, expected = counts[usual], expected[usual]
    if expected_others > 1e-6:
        observed, expected = np.append(observed, others), np.append(expected, expected_others)
    else:
        assert others == 0
    assert stats.chisquare(observed, expected * 4000 / expected.sum()).pvalue > 0.001


def assert_moves_as(
    draw: Callable[..., Any], quantile: Callable[..., Any], *parameters: float, rtol: float = 1e-6
) -> None:
    """Hold the derivatives of draws in their parameters to how quantiles of fixed probabilities move: `quantile(drawn, step, i)`
    is where the probability that `drawn` has is after parameter i has grown by step."""
    for i, p in enumerate(parameters):
        values = list(parameters)
        column = np.full(20, p)

        def of_one(x: Any, i: int = i) -> Any:
            return draw(KEY, *[x if j == i else np.full(20, v) for j, v in enumerate(values)])

        x, step = of_one(column), 1e-4 * p
        slopes = tg.grad(lambda x: np.sum(of_one(x)))(column)
        quotient = [
            (8 * (quantile(v, step, i) - quantile(v, -step, i)) - quantile(v, 2 * step, i) + quantile(v, -2 * step, i))
            / (12 * step)
            for v in x
        ]
        np.testing.assert_allclose(slopes, quotient, rtol=rtol, atol=1e-8)
