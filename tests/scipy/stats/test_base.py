"""What all distributions have in common: SciPy's values, derivatives against differences, parameters, transforms, errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.scipy.stats import OF_NUMBERS, OF_PARAMETERS, SHAPES, is_discrete, ours, parameters, probabilities
from tracegrad.core.errors import TracerArrayConversionError
from tracegrad.scipy import stats
from tracegrad.scipy.stats.base import Distribution

scipy_stats = pytest.importorskip("scipy.stats")

NAMES = [name for name in stats.__all__ if isinstance(getattr(stats, name), Distribution)]
# SciPy's values are less exact, or take long: these have tests of their own.
APART = {
    ("truncnorm", "entropy"),
    ("vonmises", "cdf"),
    ("vonmises", "sf"),
    ("vonmises", "logcdf"),
    ("vonmises", "logsf"),
}
SEARCHED = {("vonmises", "ppf"), ("vonmises", "isf"), ("vonmises", "median")}


def values(module: Any, name: str, method: str, *args: Any) -> Any:
    with warnings.catch_warnings():
        if module is scipy_stats:
            warnings.simplefilter("ignore")
        return getattr(getattr(module, name), method)(*args)


def points(name: str, count: int) -> tuple[Any, list[Any]]:
    """Numbers of all probabilities, some outside of the support, at its ends, and NaN; and all parameters."""
    shapes, place = parameters(name, count)
    rng = np.random.default_rng(7)
    q = rng.uniform(0.001, 0.999, count)
    x = values(stats, name, "ppf", q, *shapes, *place) if name != "vonmises" else place[0] + place[1] * (10 * q - 5)
    lower, upper = values(stats, name, "support", *shapes, *place)
    x[0], x[1], x[2] = x[0] - 200, x[1] + 200, np.nan
    upper = upper if name != "wrapcauchy" else upper * np.inf  # where SciPy rounds to it
    x[3], x[4] = (lower[3] if np.isfinite(lower[3]) else x[3]), (upper[4] if np.isfinite(upper[4]) else x[4])
    if is_discrete(name):
        x[5:8] += 0.5
    return x, [*shapes, *place]


# SciPy searches quantiles of `vonmises`, one after the other.
USUAL = [pytest.param(name, marks=pytest.mark.slow if name == "vonmises" else []) for name in NAMES]


@pytest.mark.parametrize("name", USUAL)
def test_values_are_scipys(name: str) -> None:
    x, given = points(name, 100)
    q = probabilities(name, 100)
    density = ["pmf", "logpmf"] if is_discrete(name) else ["pdf", "logpdf"]
    calls = [(method, (x, *given)) for method in density + OF_NUMBERS] + [(m, (q, *given)) for m in ("ppf", "isf")]
    few = 1 if name == "vonmises" else 4
    calls += [(method, tuple([p[:few] for p in given])) for method in OF_PARAMETERS]
    for method, args in calls:
        if (name, method) in APART:
            continue
        if (name, method) in SEARCHED:
            args = tuple([a[:few] for a in args])
        found, wanted = values(stats, name, method, *args), values(scipy_stats, name, method, *args)
        np.testing.assert_allclose(found, wanted, rtol=2e-8 if "log" in method else 1e-9, atol=1e-16, err_msg=method)
        assert np.shape(found) == np.shape(wanted)


def difference(f: Any, args: list[Any], i: int, step: Any) -> Any:
    """By four values."""
    at = lambda h: f(*args[:i], args[i] + h, *args[i + 1 :])
    return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)


@pytest.mark.parametrize("name", USUAL)
def test_derivatives(name: str) -> None:
    """In the number, in the shape parameters, in location and scale, by reverse mode; the first by the density as well."""
    count = 12 if name != "vonmises" else 3
    shapes, place = parameters(name, count, seed=1)
    q = np.random.default_rng(3).uniform(0.1, 0.9, count)
    x = values(stats, name, "ppf", q, *shapes, *place)
    discrete = is_discrete(name)
    for method in [
        *(["pmf", "logpmf"] if discrete else ["pdf", "logpdf"]),
        *OF_NUMBERS,
        "ppf",
        "isf",
        "entropy",
        "mean",
        "var",
    ]:
        first = [q] if method in ("ppf", "isf") else [] if method in OF_PARAMETERS else [x]
        args = [*first, *shapes, *place]
        f = getattr(ours(name), method)
        for i in range(len(args)):
            of_shape = len(first) <= i < len(first + shapes)
            if (name in ("binom", "betabinom") and i == len(first)) or (discrete and not of_shape):
                continue  # whole numbers
            found = tg.grad(lambda v, i=i, f=f, args=args: np.sum(f(*args[:i], v, *args[i + 1 :])))(args[i])
            if discrete and method in ("ppf", "isf"):
                np.testing.assert_array_equal(found, 0)
                continue
            room = np.minimum(args[i], 1 - args[i]) if _is_probability(name, method, i, len(first)) else np.inf
            spread = np.minimum(ours(name).interval(0.2, *shapes, *place)[1] - ours(name).median(*shapes, *place), 1)
            step = 2e-3 * np.minimum(np.maximum(np.abs(args[i]), 0.01), room)
            if not of_shape and method not in ("ppf", "isf"):
                step = np.minimum(step, 1e-2 * spread)
            with np.errstate(all="ignore"):
                wanted = difference(f, args, i, step)
            usual = np.isfinite(wanted)
            scale = np.maximum(np.abs(wanted) + 1e-9, 1e-3 * np.abs(f(*args)) / np.maximum(np.abs(args[i]), 0.1))
            error = np.abs(found - wanted)[usual] / scale[usual]
            assert np.max(error, initial=0) < 1e-3, (method, i, found, wanted)


def _is_probability(name: str, method: str, i: int, first: int) -> bool:
    if i == 0 and method in ("ppf", "isf"):
        return True
    at = {"bernoulli": 0, "binom": 1, "geom": 0, "nbinom": 1, "wrapcauchy": 0}.get(name)
    return at is not None and i == first + at


@pytest.mark.parametrize("name", [name for name in NAMES if not is_discrete(name)])
def test_the_density_is_the_slope_of_the_distribution(name: str) -> None:
    shapes, place = parameters(name, 20, seed=2)
    x = values(stats, name, "ppf", np.linspace(0.02, 0.98, 20), *shapes, *place)
    slope = tg.grad(lambda x: np.sum(ours(name).cdf(x, *shapes, *place)))(x)
    np.testing.assert_allclose(slope, ours(name).pdf(x, *shapes, *place), rtol=1e-9)
    back = tg.grad(lambda q: np.sum(ours(name).ppf(q, *shapes, *place)))(np.linspace(0.02, 0.98, 20))
    np.testing.assert_allclose(back * ours(name).pdf(x, *shapes, *place), 1, rtol=1e-7)


def test_parameters_are_broadcast_and_named() -> None:
    x = np.arange(3.0)
    a = np.array([[1.0], [2.0]])
    for found in (
        stats.gamma.logpdf(x, a, 0.5, 2.0), stats.gamma.logpdf(x, a=a, loc=0.5, scale=2.0), stats.gamma(a, scale=2.0, loc=0.5).logpdf(x),
    ):  # fmt: skip
        np.testing.assert_allclose(found, scipy_stats.gamma.logpdf(x, a, 0.5, 2.0), rtol=1e-14)
    assert stats.norm.entropy(np.zeros(3)).shape == (3,)
    assert stats.norm.mean(1, np.ones((2, 1))).shape == (2, 1)
    np.testing.assert_allclose(stats.norm.interval(0.95, 1.0, 2.0), scipy_stats.norm.interval(0.95, 1.0, 2.0))
    assert stats.norm.logpdf([0, 1]).shape == (2,) and stats.norm.cdf(0) == 0.5
    assert repr(stats.norm) == "<tg.scipy.stats.norm>" and "logpdf" in dir(stats.norm(0, 1))


def test_what_is_not_valid_is_nan() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in (
            stats.norm.logpdf(0.0, 0.0, -1.0), stats.gamma.cdf(1.0, -2.0), stats.gamma.logpdf(-1.0, -2.0), stats.beta.entropy(-1.0, 2.0),
            stats.norm.ppf(1.5), stats.binom.pmf(1, 2.5, 0.5), stats.poisson.logpmf(-1, -1.0), stats.truncnorm.mean(2.0, 1.0),
        ):  # fmt: skip
            assert np.isnan(found)
    found = tg.jit(stats.gamma.logpdf)(np.array([1.0, 1.0]), np.array([2.0, -1.0]))
    np.testing.assert_array_equal(found, [-1.0, np.nan])


def test_errors_name_the_parameters_and_the_line() -> None:
    with pytest.raises(
        TypeError,
        match=r"gamma: missing a required argument: 'a'; its parameters are \(a, loc, scale\)(.|\n)*test_base\.py",
    ):
        stats.gamma.logpdf(1.0)
    with pytest.raises(
        TypeError, match=r"norm: got an unexpected keyword argument 'sigma'; its parameters are \(loc, scale\)"
    ):
        stats.norm(sigma=2.0)
    with pytest.raises(AttributeError, match=r"<tg\.scipy\.stats\.norm> has no rvs"):
        stats.norm(0.0).rvs()


# How many terms the sums of `betabinom` have, jit must be told.
BY_TYPE = [name for name in NAMES if name != "betabinom"]
XLA = [pytest.param(name, "xla", marks=[pytest.mark.slow] if name != "norm" else []) for name in BY_TYPE]


@pytest.mark.parametrize("name, backend", [*[(name, "numpy") for name in BY_TYPE], *XLA])
def test_under_jit_and_vmap(name: str, backend: str) -> None:
    if backend == "xla":
        pytest.importorskip("jax")
    shapes, place = parameters(name, 5, seed=4)
    args = [
        values(stats, name, "ppf", np.linspace(0.1, 0.9, 5), *shapes, *place) * 1.0,
        *shapes,
        *[p * 1.0 for p in place],
    ]
    last = len(shapes) if shapes else 1  # a shape parameter, or the location

    def f(*args: Any) -> Any:
        found = ours(name).cdf(*args)
        return found + (ours(name).logpmf(*args) if is_discrete(name) else ours(name).logpdf(*args))

    both = tg.value_and_grad(f, last)
    wanted = [both(*[a[i] for a in args]) for i in range(5)]
    found = tg.jit(tg.vmap(both), backend=backend)(*args)
    np.testing.assert_allclose(np.stack(found, axis=1), wanted, rtol=1e-9)


def test_jax_arrays_and_float32() -> None:
    jnp = pytest.importorskip("jax.numpy")
    found = stats.norm.logpdf(jnp.asarray([0.5, 1.0], np.float32), 0.0, scale=jnp.float32(2.0))
    assert type(found) is not np.ndarray and found.dtype == np.float32
    x = np.array([0.5, 1.0], np.float32)
    for name in NAMES:
        shapes = [np.float32(low * 2) if low < 1 else 2 for low, _ in SHAPES.get(name, [])]
        shapes = [np.float32(-1), np.float32(2)] if name == "truncnorm" else shapes
        assert ours(name).cdf(x, *shapes).dtype == np.float32, name


FROZEN = scipy_stats.gamma(2.0, scale=3.0)


@pytest.mark.parametrize("f, name, slope", [
    (lambda t: scipy_stats.norm.logpdf(t), "norm.logpdf", -0.5), (lambda t: scipy_stats.norm(t, 1.0).cdf(0.3), "norm.cdf", -0.3910426939754559),
    (lambda t: FROZEN.logpdf(t), "gamma.logpdf", 2 - 1 / 3), (lambda t: scipy_stats.poisson.logpmf(2, t), "poisson.logpmf", 3.0),
    (lambda t: np.sum(scipy_stats.rankdata(t * np.arange(3.0))), "rankdata", 0.0),
    (lambda t: scipy_stats.multivariate_normal.logpdf(np.zeros(2), np.ones(2) * t), "multivariate_normal.logpdf", -1.0),
])  # fmt: skip
def test_scipys_own_objects(f: Any, name: str, slope: float) -> None:
    """They take nothing that is traced, and the error names what does; in copies of plain code they are ours."""
    with pytest.raises(TracerArrayConversionError) as caught:
        tg.grad(f)(0.5)
    assert f"Write `tg.scipy.stats.{name}(...)`" in str(caught.value) and "test_base.py" in str(caught.value)
    np.testing.assert_allclose(tg.grad(tg.numpyize(f))(0.5), slope, rtol=1e-12)


def test_what_only_scipys_objects_have() -> None:
    with pytest.raises(TracerArrayConversionError, match=r"scipy\.stats\.norm\.fit works on plain arrays"):
        tg.grad(lambda t: scipy_stats.norm.fit(t * np.ones(3))[0])(0.5)
    with pytest.raises(AttributeError, match=r"<tg\.scipy\.stats\.norm> has no fit; scipy\.stats\.norm may have it"):
        tg.numpyize(lambda t: scipy_stats.norm.fit(t))(np.ones(3))

    class Mine(scipy_stats.rv_continuous):
        def _pdf(self, x: Any) -> Any:
            return 0.5 * x

    mine = Mine(a=0, b=2, name="norm")
    np.testing.assert_allclose(tg.numpyize(lambda x: mine.cdf(x))(1.0), 0.25, rtol=1e-12)


def test_second_derivatives() -> None:
    """A Hessian of a likelihood against differences of its gradient."""
    x = np.array([0.3, 1.2, -2.0, 0.7])
    f = lambda p: np.sum(
        stats.t.logpdf(x, np.exp(p[0]), p[1], np.exp(p[2])) + stats.t.logcdf(x, np.exp(p[0]), p[1], 1.0)
    )
    p = np.array([0.4, 0.1, -0.2])
    wanted = np.array([(tg.grad(f)(p + 1e-4 * e) - tg.grad(f)(p - 1e-4 * e)) / 2e-4 for e in np.eye(3)])
    np.testing.assert_allclose(tg.hessian(f)(p), wanted, rtol=1e-6, atol=1e-7)


def test_every_name_is_on_the_page() -> None:
    coverage = pytest.importorskip("tests.scipy_coverage")
    assert [name for name in stats.__all__ if f"`{name}`" not in coverage.TAIL] == []


@pytest.mark.slow
def test_the_page_tells_the_truth_of_distributions() -> None:
    """At a few of its points, with something for other processors."""
    from tests import stats_coverage

    stated = stats_coverage.stated()
    assert list(stated) == list(stats_coverage.EXACT), "run python -m tests.stats_coverage"
    for name, cells in stated.items():
        worst = [cells[0] + cells[1], cells[2] + cells[3]]
        for found, most in zip(stats_coverage.measured(name, 8), worst, strict=True):
            assert len(found) == len(most), name
            assert all(e <= 2 * w + 2 for e, w in zip(found, most, strict=True)), (name, found, most)
