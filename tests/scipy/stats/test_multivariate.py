"""Distributions of vectors and matrices: SciPy's values, derivatives against differences, shapes that do not fit."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import ShapeError
from tracegrad.scipy import stats

scipy_stats = pytest.importorskip("scipy.stats")

RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(3, 3))
COV = ROOT @ ROOT.T + np.eye(3)
MEAN = RNG.normal(size=3)
ALPHA, P = np.array([0.7, 2.0, 3.0]), np.array([0.2, 0.3, 0.5])
FRACTIONS = RNG.dirichlet(ALPHA, 6).T
COUNTS = RNG.multinomial(7, P, 5)
MATRICES = np.moveaxis(scipy_stats.wishart.rvs(5, COV, size=4, random_state=0), 0, -1)
X = RNG.normal(size=(4, 5, 3))
VARIANCES = np.array([1.0, 2.0, 3.0])

CALLS: list[tuple[str, str, tuple[Any, ...]]] = [
    *[("multivariate_normal", "logpdf", (X, *args)) for args in ((MEAN, COV), (None, COV), (MEAN, 2.0), (MEAN, VARIANCES), (MEAN,))],
    ("multivariate_normal", "pdf", (X[0, 0], MEAN, COV)), ("multivariate_normal", "entropy", (MEAN, COV)),
    ("multivariate_normal", "logpdf", (0.3,)), ("multivariate_normal", "logpdf", (np.array([0.3, 1.0]), 0.0, 2.0)),
    *[("dirichlet", "logpdf", (x, ALPHA)) for x in (FRACTIONS, FRACTIONS[:, 0], FRACTIONS[:-1], FRACTIONS[:-1, 0])],
    *[("dirichlet", method, (ALPHA,)) for method in ("mean", "var", "cov", "entropy")], ("dirichlet", "pdf", (FRACTIONS[:, 0], ALPHA)),
    ("multinomial", "logpmf", (COUNTS, 7, P)), ("multinomial", "pmf", (np.array([1, 2, 3]), 7, P)), ("multinomial", "cov", (7, P)),
    ("multinomial", "entropy", (7, P)), ("wishart", "logpdf", (MATRICES, 5.0, COV)), ("wishart", "pdf", (MATRICES[..., 0], 5.0, COV)),
    *[("wishart", method, (5.0, COV)) for method in ("mean", "var", "mode", "entropy")], ("wishart", "logpdf", (2.0, 5.0, 3.0)),
]  # fmt: skip


@pytest.mark.parametrize("name, method, args", CALLS)
def test_values_are_scipys(name: str, method: str, args: tuple[Any, ...]) -> None:
    wanted = getattr(getattr(scipy_stats, name), method)(*args)
    found = getattr(getattr(stats, name), method)(*args)
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-14)
    assert np.shape(found) == np.shape(wanted)
    if name != "multivariate_normal" or len(args) > 2:
        first = 1 if "p" in method[:4] or "log" in method else 0
        np.testing.assert_array_equal(getattr(getattr(stats, name)(*args[first:]), method)(*args[:first]), found)


def test_derivatives() -> None:
    symmetric = np.array([[0.2, 0.5, -0.3], [0.5, -0.1, 0.4], [-0.3, 0.4, 0.7]])
    for f, at, along in (
        (lambda c: np.sum(stats.multivariate_normal.logpdf(X, MEAN, c)), COV, symmetric),
        (lambda m: np.sum(stats.multivariate_normal.logpdf(X, m, COV)), MEAN, VARIANCES),
        (lambda x: np.sum(stats.multivariate_normal.logpdf(x, MEAN, COV)), X, X**2),
        (lambda c: np.sum(stats.wishart.logpdf(MATRICES, 5.0, c)), COV, symmetric),
        (lambda df: np.sum(stats.wishart.logpdf(MATRICES, df, COV)), 5.0, 1.0),
        (lambda m: stats.wishart.logpdf(m, 5.0, COV), MATRICES[..., 0], symmetric),
        (lambda a: np.sum(stats.dirichlet.logpdf(FRACTIONS, a)), ALPHA, VARIANCES),
        (lambda p: np.sum(stats.multinomial.logpmf(COUNTS, 7, p / np.sum(p))), P, VARIANCES),
        (lambda a: stats.dirichlet.entropy(a), ALPHA, VARIANCES), (lambda p: stats.multinomial.entropy(7, p), P, np.array([1.0, -2.0, 1.0])),
    ):  # fmt: skip
        found = np.sum(tg.grad(f)(at) * along)
        step = 1e-5
        np.testing.assert_allclose(found, (f(at + step * along) - f(at - step * along)) / (2 * step), rtol=1e-7)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("xla", marks=pytest.mark.slow)])
def test_under_jit_and_vmap(backend: str) -> None:
    if backend == "xla":
        pytest.importorskip("jax")
    f = lambda x, m: stats.multivariate_normal.logpdf(x, m, COV)
    found = tg.jit(tg.vmap(tg.grad(f, 1), in_axes=(0, None)), backend=backend)(X[0], MEAN)
    np.testing.assert_allclose(found, np.linalg.solve(COV, (X[0] - MEAN).T).T, rtol=1e-12)


def test_what_is_outside() -> None:
    assert (
        stats.dirichlet.pdf(np.array([0.5, 0.6]), np.ones(2)) == 0
        and stats.dirichlet.logpdf(np.array([1.5, -0.5]), np.ones(2)) == -np.inf
    )
    assert np.isnan(stats.dirichlet.logpdf(np.array([0.5, 0.5]), np.array([-1.0, 1.0])))
    assert np.isnan(stats.multinomial.logpmf(np.array([1, 1]), 2, np.array([0.5, 0.7])))
    assert stats.multinomial.pmf(np.array([1, 0.5, 0.5]), 2, P) == 0
    with pytest.raises(np.linalg.LinAlgError):
        stats.multivariate_normal.logpdf(np.zeros(2), cov=np.ones((2, 2)))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(
        ShapeError,
        match=r"multivariate_normal.*test_multivariate\.py.* covariance of shape \(2, 2\) for a mean of shape \(3,\)",
    ):
        stats.multivariate_normal.logpdf(np.zeros(3), np.zeros(3), np.eye(2))
    with pytest.raises(ShapeError, match=r"got x of shape \(2,\) for 3 dimensions; write x \(\.\.\., 3\)"):
        stats.multivariate_normal.logpdf(np.zeros(2), np.zeros(3))
    with pytest.raises(ShapeError, match=r"dirichlet.*got x of shape \(4,\) for alpha of shape \(2,\)"):
        stats.dirichlet.logpdf(np.zeros(4), np.ones(2))
    with pytest.raises(ShapeError, match=r"wishart.*got a scale of shape \(2, 3\)"):
        stats.wishart.entropy(3.0, np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"wishart\.logpdf.*got x of shape \(2, 2\) for 3 dimensions"):
        stats.wishart.logpdf(np.eye(2), 3.0, np.eye(3))


def test_every_docstring_runs() -> None:
    for name in ("multivariate_normal", "dirichlet", "multinomial", "wishart"):
        runner = doctest.DocTestRunner()
        for test in doctest.DocTestFinder(recurse=False).find(getattr(stats, name), name, globs={}):
            runner.run(test)
        assert runner.summarize(verbose=False).attempted and not runner.failures, name
