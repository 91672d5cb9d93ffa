"""How accurate the distributions of `tg.scipy.stats` are: `python -m tests.stats_coverage` writes the last part of docs/scipy_coverage.md.

Logarithms of densities, and distribution functions, and the derivatives of both in the number and in each shape parameter, against mpmath
at 100 drawn points, in the units that tests/scipy_coverage.py has.
"""

from __future__ import annotations

import sys
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

import tracegrad as tg
from tests import scipy_coverage as coverage
from tests.scipy.stats import is_discrete, ours, parameters

Exact = tuple[Callable[..., Any], Callable[..., Any]]


def gamma_below(a: Any, x: Any) -> Any:
    return mpmath.gammainc(a, 0, x, regularized=True)


def gamma_above(a: Any, x: Any) -> Any:
    return mpmath.gammainc(a, x, mpmath.inf, regularized=True)


def beta_below(a: Any, b: Any, x: Any) -> Any:
    return mpmath.betainc(a, b, 0, x, regularized=True)


def log_beta(a: Any, b: Any) -> Any:
    return mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)


def log_choose(n: Any, k: Any) -> Any:
    return mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)


def student(x: Any, df: Any) -> Any:
    tail = beta_below(df / 2, mpf(1) / 2, df / (df + x * x)) / 2
    return tail if x < 0 else 1 - tail


def gennorm(x: Any, beta: Any) -> Any:
    tail = gamma_above(1 / beta, abs(x) ** beta) / 2
    return tail if x < 0 else 1 - tail


def truncated(x: Any, a: Any, b: Any) -> Any:
    return (mpmath.ncdf(x) - mpmath.ncdf(a)) / (mpmath.ncdf(b) - mpmath.ncdf(a))


def wrapped(x: Any, c: Any) -> Any:
    turned = mpmath.atan((1 + c) / (1 - c) * mpmath.tan(x / 2)) / mpmath.pi
    return turned if x < mpmath.pi else turned + 1


def betabinom(k: Any, n: Any, a: Any, b: Any) -> Any:
    return log_choose(n, k) + log_beta(k + a, n - k + b) - log_beta(a, b)


def summed(log: Callable[..., Any]) -> Callable[..., Any]:
    return lambda k, *shapes: mpmath.fsum([mpmath.exp(log(mpf(i), *shapes)) for i in range(int(k) + 1)])


EXACT: dict[str, Exact] = {
    "norm": (lambda x: -x * x / 2 - mpmath.log(2 * mpmath.pi) / 2, mpmath.ncdf),
    "expon": (lambda x: -x, lambda x: -mpmath.expm1(-x)),
    "laplace": (lambda x: -abs(x) - mpmath.log(2), lambda x: mpmath.exp(x) / 2 if x < 0 else 1 - mpmath.exp(-x) / 2),
    "logistic": (lambda x: -x - 2 * mpmath.log1p(mpmath.exp(-x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "cauchy": (lambda x: -mpmath.log(mpmath.pi * (1 + x * x)), lambda x: mpf(1) / 2 + mpmath.atan(x) / mpmath.pi),
    "gumbel_r": (lambda x: -x - mpmath.exp(-x), lambda x: mpmath.exp(-mpmath.exp(-x))),
    "gumbel_l": (lambda x: x - mpmath.exp(x), lambda x: -mpmath.expm1(-mpmath.exp(x))),
    "rayleigh": (lambda x: mpmath.log(x) - x * x / 2, lambda x: -mpmath.expm1(-x * x / 2)),
    "t": (lambda x, df: -(df + 1) / 2 * mpmath.log1p(x * x / df) - mpmath.log(df) / 2 - log_beta(df / 2, mpf(1) / 2), student),
    "gamma": (lambda x, a: (a - 1) * mpmath.log(x) - x - mpmath.loggamma(a), lambda x, a: gamma_below(a, x)),
    "chi2": (
        lambda x, k: (k / 2 - 1) * mpmath.log(x) - x / 2 - k / 2 * mpmath.log(2) - mpmath.loggamma(k / 2), lambda x, k: gamma_below(k / 2, x / 2)
    ),
    "invgamma": (lambda x, a: -(a + 1) * mpmath.log(x) - 1 / x - mpmath.loggamma(a), lambda x, a: gamma_above(a, 1 / x)),
    "beta": (
        lambda x, a, b: (a - 1) * mpmath.log(x) + (b - 1) * mpmath.log1p(-x) - log_beta(a, b), lambda x, a, b: beta_below(a, b, x)
    ),
    "f": (
        lambda x, n, m: n / 2 * mpmath.log(n) + m / 2 * mpmath.log(m) + (n / 2 - 1) * mpmath.log(x) - (n + m) / 2 * mpmath.log(m + n * x) - log_beta(n / 2, m / 2),
        lambda x, n, m: beta_below(n / 2, m / 2, n * x / (m + n * x)),
    ),
    "gennorm": (lambda x, b: mpmath.log(b / 2) - mpmath.loggamma(1 / b) - abs(x) ** b, gennorm),
    "lognorm": (
        lambda x, s: -((mpmath.log(x) / s) ** 2) / 2 - mpmath.log(s * x) - mpmath.log(2 * mpmath.pi) / 2, lambda x, s: mpmath.ncdf(mpmath.log(x) / s)
    ),
    "pareto": (lambda x, b: mpmath.log(b) - (b + 1) * mpmath.log(x), lambda x, b: 1 - x**-b),
    "weibull_min": (lambda x, c: mpmath.log(c) + (c - 1) * mpmath.log(x) - x**c, lambda x, c: -mpmath.expm1(-(x**c))),
    "truncnorm": (
        lambda x, a, b: -x * x / 2 - mpmath.log(2 * mpmath.pi) / 2 - mpmath.log(mpmath.ncdf(b) - mpmath.ncdf(a)), truncated
    ),
    "vonmises": (
        lambda x, k: k * mpmath.cos(x) - mpmath.log(2 * mpmath.pi * mpmath.besseli(0, k)),
        lambda x, k: mpf(1) / 2 + mpmath.quad(lambda t: mpmath.exp(k * (mpmath.cos(t) - 1)), [0, x / 2, x]) / (2 * mpmath.pi * mpmath.besseli(0, k) * mpmath.exp(-k)),
    ),
    "wrapcauchy": (lambda x, c: mpmath.log((1 - c * c) / (2 * mpmath.pi * (1 + c * c - 2 * c * mpmath.cos(x)))), wrapped),
    "bernoulli": (lambda k, p: mpmath.log(p if k else 1 - p), lambda k, p: mpf(1) if k else 1 - p),
    "binom": (
        lambda k, n, p: log_choose(n, k) + k * mpmath.log(p) + (n - k) * mpmath.log1p(-p),
        lambda k, n, p: mpf(1) if k >= n else beta_below(mpf(n - k), mpf(k + 1), 1 - p),
    ),
    "betabinom": (betabinom, lambda k, n, *shapes: mpf(1) if k >= n else summed(betabinom)(k, n, *shapes)),
    "geom": (lambda k, p: (k - 1) * mpmath.log1p(-p) + mpmath.log(p), lambda k, p: 1 - (1 - p) ** k),
    "nbinom": (
        lambda k, n, p: log_choose(k + n - 1, k) + n * mpmath.log(p) + k * mpmath.log1p(-p), lambda k, n, p: beta_below(n, mpf(k + 1), p)
    ),
    "poisson": (lambda k, m: k * mpmath.log(m) - m - mpmath.loggamma(k + 1), lambda k, m: gamma_above(mpf(k + 1), m)),
}  # fmt: skip


def points(name: str, count: int = coverage.POINTS) -> list[tuple[Any, ...]]:
    """Numbers at drawn probabilities, and shape parameters."""
    shapes = parameters(name, count)[0]
    rng = np.random.default_rng(zlib.crc32(name.encode()) + 2)
    with np.errstate(all="ignore"):
        x = ours(name).ppf(rng.uniform(0.001, 0.999, count), *shapes)
    if is_discrete(name):
        x = np.maximum(x, 1.0 if name == "geom" else 0.0).astype(np.int64)
    if name in ("binom", "betabinom"):
        shapes[0] = shapes[0].astype(np.int64)
    return list(zip(*[c.tolist() for c in (x, *shapes)], strict=True))


def cases(name: str) -> dict[str, coverage.Case]:
    whole = [
        is_discrete(name),
        *[name in ("binom", "betabinom") and i == 0 for i in range(len(parameters(name, 1)[0]))],
    ]
    draws = tuple([coverage.whole(0, 1) if w else coverage.Draw(0, 1) for w in whole])
    methods = ("logpmf" if whole[0] else "logpdf", "cdf")
    digits = 30 if name == "vonmises" else 80
    return {
        f"{name}.{m}": coverage.Case(exact, draws, digits=digits) for m, exact in zip(methods, EXACT[name], strict=True)
    }


def measured(name: str, count: int = coverage.POINTS) -> list[list[float]]:
    """The worst errors of the logarithm of the density and its derivatives, and of the distribution function and its derivatives."""
    found = []
    chosen = points(name)[:count]
    for key, case in cases(name).items():
        f = getattr(ours(name), key.split(".")[1])
        gradients = [lambda *xs, i=i, f=f: tg.grad(lambda *ys: np.sum(f(*ys)), i)(*xs) for i in case.arguments]
        run = lambda *xs, f=f, gradients=gradients: [f(*xs), *[g(*xs) for g in gradients]]
        with np.errstate(all="ignore"):
            found.append(list(coverage.errors(key, np.float64, chosen, run, case)))
    return found


def row(name: str) -> str:
    cells = [", ".join(map(coverage.shown, part)) for errors in measured(name) for part in (errors[:1], errors[1:])]
    return f"| {name} | " + " | ".join(cells) + " |"


HEAD = """
## Errors of distributions

Made by `python -m tests.stats_coverage`: the worst errors at 100 drawn numbers between the quantiles 0.001 and 0.999, with shape parameters that are drawn too, against mpmath, in the
units of the first table: of the logarithm of the density, and of the distribution function, and of their derivatives in the number (not of counts) and in each shape
parameter. Where a logarithm or a derivative is near zero itself, these units are small beside its terms.

| distribution | log density | its derivatives | distribution function | its derivatives |
|---|---|---|---|---|
"""


def stated() -> dict[str, list[list[float]]]:
    found = {}
    for line in coverage.PAGE.read_text().partition(HEAD)[2].splitlines():
        name, *cells = [c.strip() for c in line.strip("| ").split("|")]
        found[name] = [[float(x.replace("∞", "inf")) for x in c.split(",") if x.strip()] for c in cells]
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    page, _, before = coverage.PAGE.read_text().partition(HEAD)
    rows = {line.split("|")[1].strip(): line for line in before.splitlines()}
    for name in EXACT:
        if name in sys.argv[1:] or name not in rows or len(sys.argv) == 1:
            rows[name] = row(name)
            print(rows[name], flush=True)
    coverage.PAGE.write_text(page + HEAD + "\n".join([rows[name] for name in EXACT]) + "\n")
