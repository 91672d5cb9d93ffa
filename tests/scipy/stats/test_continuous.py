"""Distributions of numbers against mpmath: far tails, large parameters, ends of the support, and derivatives there."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.scipy import stats
from tracegrad.scipy.stats.base import Distribution

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("scipy")


def log_sf(name: str, x: Any, *shapes: Any) -> Any:
    """In mpmath's words."""
    if name == "norm":
        return mpmath.log(mpmath.ncdf(-x))
    if name in ("gamma", "chi2"):
        half = 1 if name == "gamma" else mpmath.mpf(1) / 2
        return mpmath.log(mpmath.gammainc(shapes[0] * half, x * half, mpmath.inf, regularized=True))
    a, b, y = {
        "t": lambda df: (df / 2, mpmath.mpf(1) / 2, df / (df + x * x)), "beta": lambda a, b: (b, a, 1 - x),
        "f": lambda n, m: (m / 2, n / 2, m / (m + n * x)),
    }[name](*shapes)  # fmt: skip
    return mpmath.log(mpmath.betainc(a, b, 0, y, regularized=True) / (2 if name == "t" else 1))


@pytest.mark.parametrize("name, x, shapes", [
    ("norm", 35.0, ()), ("gamma", 600.0, (2.5,)), ("chi2", 900.0, (3.0,)), ("t", 1e6, (4.0,)), ("t", 7.0, (300.0,)), ("t", 0.25, (0.7,)),
    ("beta", 0.999, (2.0, 40.0)), ("f", 1e5, (3.0, 9.0)), ("gamma", 1.5, (1.7,)),
])  # fmt: skip
def test_tails_and_their_derivatives(name: str, x: float, shapes: tuple[float, ...]) -> None:
    f = lambda *args: getattr(stats, name).logsf(*args)
    with mpmath.workdps(60):
        args = [mpmath.mpf(v) for v in (x, *shapes)]
        wanted = [float(log_sf(name, *args))]
        for i in range(len(args)):
            along = lambda v, i=i: log_sf(name, *args[:i], v, *args[i + 1 :])
            wanted.append(float(mpmath.diff(along, args[i])))
    found = [f(x, *shapes), *[tg.grad(f, i)(x, *shapes) for i in range(1 + len(shapes))]]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_large_parameters() -> None:
    for a in (240.0, 260.0, 1e6):
        with mpmath.workdps(40):
            gamma = a + mpmath.loggamma(a) + (1 - a) * mpmath.psi(0, a)
            invgamma = a + mpmath.loggamma(a) - (1 + a) * mpmath.psi(0, a)
        np.testing.assert_allclose(stats.gamma.entropy(a), float(gamma), rtol=1e-12)
        np.testing.assert_allclose(stats.invgamma.entropy(a), float(invgamma), rtol=1e-12)
    np.testing.assert_allclose(stats.t.entropy(1e7), stats.norm.entropy() + 1e-7, rtol=1e-13)
    np.testing.assert_allclose(stats.t.logpdf(1.3, 1e12), stats.norm.logpdf(1.3), rtol=1e-11)


@pytest.mark.filterwarnings("ignore:divide by zero")  # of what is multiplied by zero
def test_ends_of_the_support() -> None:
    """The slope at an end is that on the side where there is a density; beyond, where nothing changes, it is zero."""
    assert [tg.grad(stats.expon.logpdf)(x) for x in (0.0, -1.0)] == [-1.0, 0.0]
    assert [tg.grad(stats.expon.cdf)(x) for x in (0.0, -1.0)] == [1.0, 0.0]
    assert [tg.grad(stats.uniform.cdf)(x) for x in (-0.5, 0.0, 1.0, 1.5)] == [0.0, 1.0, 1.0, 0.0]
    assert tg.grad(stats.gamma.logpdf)(0.0, 1.0) == -1.0 and stats.gamma.pdf(0.0, 1.0) == 1.0
    assert tg.grad(stats.beta.logpdf)(1.0, 2.0, 1.0) == 1.0
    assert tg.grad(stats.gamma.cdf)(0.0, 1.0) == 1.0
    assert tg.grad(stats.gamma.cdf, 1)(0.0, 2.0) == 0.0
    assert [stats.lognorm.pdf(0.0, 1.0), tg.grad(stats.lognorm.pdf)(0.0, 1.0)] == [0.0, 0.0]
    assert [stats.expon.ppf(0.0), tg.grad(stats.expon.ppf)(0.0), stats.expon.ppf(1.0)] == [0.0, 1.0, np.inf]
    found = tg.grad(lambda loc: np.sum(stats.expon.logpdf(np.array([-1.0, 0.5]), loc)))(0.0)
    assert found == 1.0


def test_centres() -> None:
    """Where formulas have an absolute value or a square root in them, the distribution has none."""
    for name, shapes in [
        ("t", (3.0,)),
        ("gennorm", (1.5,)),
        ("gennorm", (0.8,)),
        ("cauchy", ()),
        ("laplace", ()),
        ("logistic", ()),
    ]:
        f = getattr(stats, name)
        np.testing.assert_allclose(tg.grad(f.cdf)(0.0, *shapes), f.pdf(0.0, *shapes), rtol=1e-14)
        np.testing.assert_allclose(tg.grad(f.ppf)(0.5, *shapes) * f.pdf(0.0, *shapes), 1, rtol=1e-12)
        for i in range(len(shapes)):
            assert tg.grad(f.cdf, 1 + i)(0.0, *shapes) == 0
    assert tg.hessian(stats.logistic.logpdf)(0.0) == -0.5


def test_every_docstring_runs() -> None:
    """They are of objects, where doctest does not look."""
    for name in stats.__all__:
        if isinstance(getattr(stats, name), Distribution):
            runner = doctest.DocTestRunner()
            for test in doctest.DocTestFinder(recurse=False).find(getattr(stats, name), name, globs={}):
                runner.run(test)
            assert runner.summarize(verbose=False).attempted and not runner.failures, name


def test_rayleigh_at_infinity() -> None:
    x = np.array([1e31, np.inf])
    for f in (stats.rayleigh, pytest.importorskip("scipy.stats").rayleigh):
        assert f.pdf(x).tolist() == [0.0, 0.0] and f.logpdf(x)[1] == -np.inf
    assert np.isclose(stats.rayleigh.logpdf(1e31), -5e61)
