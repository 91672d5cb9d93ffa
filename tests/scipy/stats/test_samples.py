"""Ranks, modes and standard errors: SciPy's values, on traced arrays too."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import stats

scipy_stats = pytest.importorskip("scipy.stats")

X = np.random.default_rng(0).integers(0, 4, (5, 6)).astype(float)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_values_are_scipys(axis: int | None) -> None:
    for method in ("average", "min", "max", "dense", "ordinal"):
        found, wanted = stats.rankdata(X, method, axis=axis), scipy_stats.rankdata(X, method, axis=axis)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(tg.jit(lambda x, m=method: stats.rankdata(x, m, axis=axis))(X), wanted)
        assert found.dtype == wanted.dtype
    for keepdims in (False, True):
        for found, wanted in zip(
            stats.mode(X, axis, keepdims=keepdims), scipy_stats.mode(X, axis, keepdims=keepdims), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)
            assert np.shape(found) == np.shape(wanted)
    np.testing.assert_allclose(stats.sem(X, axis), scipy_stats.sem(X, axis), rtol=1e-14)


def test_nan() -> None:
    x = np.array([[2.0, np.nan, 1.0], [3.0, 3.0, 1.0]])
    np.testing.assert_array_equal(stats.rankdata(x, axis=1), scipy_stats.rankdata(x, axis=1))
    assert stats.mode(x, None).mode == 1 and stats.mode(x, None).count == 2


def test_transforms() -> None:
    assert not tg.grad(lambda x: np.sum(stats.rankdata(x) ** 2))(X).any()
    np.testing.assert_array_equal(tg.grad(lambda x: stats.mode(x).mode)(np.array([2.0, 5.0, 5.0])).sum(), 1)
    np.testing.assert_array_equal(tg.vmap(stats.rankdata)(X), stats.rankdata(X, axis=1))
    f = lambda x: stats.sem(x)
    x = np.array([1.0, 4.0, 2.0])
    wanted = [(f(x + 1e-6 * e) - f(x - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
    np.testing.assert_allclose(tg.grad(f)(x), wanted, rtol=1e-8)


def test_what_there_is_not() -> None:
    with pytest.raises(
        ValueError, match=r"rankdata.*test_samples\.py.*no method='first'; write one of 'average', 'min'"
    ):
        stats.rankdata(X, "first")
    with pytest.raises(NotImplementedError, match=r"no nan_policy='omit'; leave it out, and leave out NaNs"):
        stats.mode(X, nan_policy="omit")
