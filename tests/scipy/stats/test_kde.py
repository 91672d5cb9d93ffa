"""gaussian_kde: SciPy's values, derivatives, jax's draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ShapeError
from tracegrad.scipy import stats

scipy_stats = pytest.importorskip("scipy.stats")

RNG = np.random.default_rng(0)
SAMPLE, POINTS, WEIGHTS = RNG.normal(size=(2, 30)), RNG.normal(size=(2, 7)), RNG.uniform(size=30)


@pytest.mark.parametrize("how", [
    {}, {"weights": WEIGHTS}, {"bw_method": "silverman"}, {"bw_method": 0.3}, {"bw_method": lambda kde: kde.n**-0.5},
])  # fmt: skip
def test_values_are_scipys(how: dict[str, Any]) -> None:
    ours, theirs = stats.gaussian_kde(SAMPLE, **how), scipy_stats.gaussian_kde(SAMPLE, **how)
    for method, args in [
        ("evaluate", (POINTS,)), ("pdf", (POINTS[:, 0],)), ("logpdf", (POINTS,)), ("integrate_gaussian", ([0.1, 0.2], np.eye(2))),
    ]:  # fmt: skip
        np.testing.assert_allclose(getattr(ours, method)(*args), getattr(theirs, method)(*args), rtol=1e-11)
    for name in ("covariance", "inv_cov", "weights", "neff", "factor"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12)
    others = [module.gaussian_kde(SAMPLE[:, :9]) for module in (stats, scipy_stats)]
    np.testing.assert_allclose(ours.integrate_kde(others[0]), theirs.integrate_kde(others[1]), rtol=1e-12)
    line = [module.gaussian_kde(SAMPLE[0]) for module in (stats, scipy_stats)]
    np.testing.assert_allclose(line[0].integrate_box_1d(-0.3, 1.0), line[1].integrate_box_1d(-0.3, 1.0), rtol=1e-13)
    np.testing.assert_allclose(line[0](0.3), line[1](0.3), rtol=1e-13)


def test_derivatives() -> None:
    """In the sample, through the covariance; in the weights; and in the points."""
    f = lambda sample, weights, points: np.sum(stats.gaussian_kde(sample, weights=weights).logpdf(points))
    args = [SAMPLE, WEIGHTS, POINTS]
    for i, along in enumerate([SAMPLE[:, ::-1], WEIGHTS**2, POINTS**2]):
        at = lambda h, i=i, along=along: f(*args[:i], args[i] + h * along, *args[i + 1 :])
        np.testing.assert_allclose(np.sum(tg.grad(f, i)(*args) * along), (at(1e-5) - at(-1e-5)) / 2e-5, rtol=1e-7)
    np.testing.assert_allclose(tg.jit(f)(*args), f(*args), rtol=1e-12)
    assert np.isfinite(
        tg.grad(lambda x: stats.gaussian_kde(SAMPLE[0]).logpdf(x)[0])(500.0)
    )  # where the density is zero


@pytest.mark.slow
def test_draws_are_jaxs() -> None:
    jax = pytest.importorskip("jax")
    theirs = pytest.importorskip("jax.scipy.stats").gaussian_kde
    found = stats.gaussian_kde(SAMPLE).resample(tg.random.PRNGKey(3), (5,))
    with jax.enable_x64(True):
        wanted = theirs(jax.numpy.asarray(SAMPLE)).resample(jax.random.PRNGKey(3), (5,))
        np.testing.assert_allclose(found, wanted, rtol=1e-10)
    on_jax = stats.gaussian_kde(jax.numpy.asarray(SAMPLE, np.float32)).logpdf(jax.numpy.asarray(POINTS, np.float32))
    assert isinstance(on_jax, jax.Array)


def test_what_does_not_fit() -> None:
    with pytest.raises(
        ShapeError,
        match=r"gaussian_kde.*test_kde\.py.*points of shape \(3, 4\) for 2 dimensions; write points \(2, m\)",
    ):
        stats.gaussian_kde(SAMPLE).evaluate(np.ones((3, 4)))
    with pytest.raises(ShapeError, match=r"weights of shape \(3,\) for 30 points"):
        stats.gaussian_kde(SAMPLE, weights=np.ones(3))
    with pytest.raises(ShapeError, match=r"integrate_box_1d.*one dimension, and this density has 2"):
        stats.gaussian_kde(SAMPLE).integrate_box_1d(0, 1)
    with pytest.raises(ValueError, match=r"no bw_method='wide'; write 'scott', 'silverman'"):
        stats.gaussian_kde(SAMPLE, "wide")
    with pytest.raises(ValueError, match=r"more than one point"):
        stats.gaussian_kde([1.0])
