"""What there is of SciPy's, and how accurate `tg.scipy.special` is: `python -m tests.scipy_coverage` writes docs/scipy_coverage.md, with
names of functions their rows alone.

Each function at 100 points, drawn from a fixed seed, and at the ends of its domain: its values and its derivatives against
mpmath, in float64 and float32, on NumPy and on XLA. Errors are in units in the last place, of which one is the spacing of numbers
at the truth and what moving an argument by one such spacing changes in it: no code can know the argument any better.
"""

from __future__ import annotations

import math
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mpf

import tracegrad as tg
from tests import ROOT

PAGE = ROOT / "docs" / "scipy_coverage.md"
POINTS = 100


class Draw(NamedTuple):
    """Numbers between two limits; of all sizes between two; whole ones, in which there is no derivative."""

    low: float
    high: float
    kind: str = "uniform"

    def of(self, rng: Any, count: int) -> Any:
        if self.kind == "whole":
            return rng.integers(self.low, self.high, count, endpoint=True)
        if self.kind == "size":
            found = np.exp(rng.uniform(math.log(self.low), math.log(self.high), count))
        else:
            found = rng.uniform(self.low, self.high, count)
        return found.astype(np.float32).astype(np.float64)  # the same points in both dtypes


def whole(low: int, high: int) -> Draw:
    return Draw(low, high, "whole")


def size(low: float, high: float) -> Draw:
    return Draw(low, high, "size")


class Case(NamedTuple):
    """A function in mpmath's words, where its arguments are drawn, in which of them it has derivatives (all real ones, if None),
    further points; `part` of several results, a result whose real part is meant, and in how many digits the truth is found."""

    exact: Callable[..., Any]
    draws: tuple[Draw, ...]
    ends: tuple[tuple[float, ...], ...] = ()
    part: int | None = None
    real: bool = False
    over: tuple[int, ...] | None = None
    digits: int = 45

    @property
    def arguments(self) -> tuple[int, ...]:
        if self.over is not None:
            return self.over
        return tuple([i for i, d in enumerate(self.draws) if d.kind != "whole"])


def expm1_by(power: Any, log: Any) -> Any:
    return mpmath.expm1(power * log) / power if power else log


def expn(n: Any, x: Any) -> Any:
    """By recurrence from E_0 and E_1, with digits for what that loses."""
    with mpmath.extradps(40):
        found = mpmath.exp(-x) / x if n == 0 else mpmath.e1(x)
        for k in range(1, n):
            found = (mpmath.exp(-x) - x * found) / k
        return found


def besselk(v: Any, x: Any) -> Any:
    """By the trapezoidal rule on its integral (DLMF 10.32.9), which converges fast, and for whole orders too."""
    step = mpf(1) / 13
    last = int(mpmath.acosh(1 + 120 / x) / step) + 1
    found = mpmath.exp(-x) / 2
    for k in range(1, last + 1):
        found += mpmath.exp(-x * mpmath.cosh(k * step)) * mpmath.cosh(v * k * step)
    return found * step


def wofz(x: Any) -> Any:
    return mpmath.re(mpmath.exp(-x * x) * mpmath.erfc(-1j * x))


def log_expit(x: Any) -> Any:
    return -mpmath.log1p(mpmath.exp(-x))


def logncdf(x: Any) -> Any:
    return mpmath.log(mpmath.erfc(-x / mpmath.sqrt(2)) / 2)


def quantile(p: Any) -> Any:
    """Of the normal distribution."""
    with mpmath.extradps(10):
        start = tg.scipy.special.ndtri(float(p))
        return mpmath.findroot(lambda x: mpmath.log(mpmath.ncdf(x)) - mpmath.log(p), mpf(float(start)))


def huber(delta: Any, r: Any) -> Any:
    return r * r / 2 if abs(r) <= delta else delta * (abs(r) - delta / 2)


def spherical(bessel: Callable[..., Any], factor: Any) -> Callable[..., Any]:
    return lambda n, z: mpmath.sqrt(factor() / (2 * z)) * bessel(n + mpf(1) / 2, z)


def real_pi() -> Any:
    return mpmath.pi


def multigammaln(a: Any, d: Any) -> Any:
    return d * (d - 1) * mpmath.log(mpmath.pi) / 4 + mpmath.fsum([mpmath.loggamma(a - mpf(j) / 2) for j in range(d)])


def log_gamma(x: Any) -> Any:
    return mpmath.re(mpmath.loggamma(x))


def sph_harm(n: Any, m: Any, theta: Any, phi: Any) -> Any:
    return mpmath.re(mpmath.spherharm(n, m, theta, phi))


def tail_of_beta(a: Any, b: Any, x: Any, upper: bool = False) -> Any:
    return mpmath.betainc(a, b, x, 1, regularized=True) if upper else mpmath.betainc(a, b, 0, x, regularized=True)


def tail_of_gamma(a: Any, x: Any, upper: bool = False) -> Any:
    return mpmath.gammainc(a, x, regularized=True) if upper else mpmath.gammainc(a, 0, x, regularized=True)


def inverse(function: Callable[..., Any], start: Callable[..., Any]) -> Callable[..., Any]:
    """Of what ours finds, by Newton's rule with the slope there, each step of which has some fifteen digits more; the last argument is the value."""

    def found(*xs: Any) -> Any:
        *given, y = xs
        x = mpf(float(start(*[float(v) for v in xs])))
        with mpmath.extradps(15):
            slope = mpmath.diff(lambda t: function(*given, t), x)
            for _ in range(mpmath.mp.dps // 10):
                step = (function(*given, x) - y) / slope
                x = x - step
                if abs(step) < abs(x) * mpf(10) ** (12 - mpmath.mp.dps):
                    break
        return x

    return found


def student(df: Any, t: Any) -> Any:
    tail = tail_of_beta(df / 2, mpf(1) / 2, df / (df + t * t)) / 2
    return tail if t < 0 else 1 - tail


def fisher(n: Any, m: Any, x: Any, upper: bool = False) -> Any:
    return tail_of_beta(n / 2, m / 2, n * x / (m + n * x), upper)


def poisson(k: Any, m: Any, upper: bool = False) -> Any:
    return tail_of_gamma(k + 1, m, not upper)


def binomial(k: Any, n: Any, p: Any, upper: bool = False) -> Any:
    return tail_of_beta(mpf(k + 1), mpf(n - k), p, not upper)


def failures(k: Any, n: Any, p: Any, upper: bool = False) -> Any:
    return tail_of_beta(mpf(n), mpf(k + 1), p, upper)


def jacobi(part: int) -> Callable[..., Any]:
    def function(u: Any, m: Any) -> Any:
        if part < 3:
            return mpmath.ellipfun(["sn", "cn", "dn"][part], u, m=m)
        return mpmath.atan2(*[mpmath.re(mpmath.ellipfun(name, u, m=m)) for name in ("sn", "cn")])

    return function


def owens_t(h: Any, a: Any) -> Any:
    return mpmath.quad(lambda x: mpmath.exp(-h * h * (1 + x * x) / 2) / (1 + x * x), [0, a / 2, a]) / (2 * mpmath.pi)


def voigt(x: Any, sigma: Any, gamma: Any) -> Any:
    z = (x + 1j * gamma) / (sigma * mpmath.sqrt(2))
    return mpmath.re(mpmath.exp(-z * z) * mpmath.erfc(-1j * z)) / (sigma * mpmath.sqrt(2 * mpmath.pi))


def derived(function: Callable[..., Any], sign: int) -> Callable[..., Any]:
    """The first derivative of a Bessel function."""
    return lambda v, x: (function(v - 1, x) + sign * function(v + 1, x)) / 2


def degrees(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: function(x * mpmath.pi / 180)


def wright(z: Any) -> Any:
    w = mpf(float(tg.scipy.special.wrightomega(float(z))))
    with mpmath.extradps(10):
        return mpmath.findroot(lambda w: w + mpmath.log(w) - z, w)


ALL = size(1e-6, 1e3)
PROBABILITY = Draw(0.0, 1.0)

CASES: dict[str, Case] = {
    "gamma": Case(mpmath.gamma, (Draw(-8, 30),), ((1e-30,), (170.0,), (0.5,))),
    "gammaln": Case(log_gamma, (Draw(0.01, 200),), ((1e-30,), (1e10,))),
    "loggamma": Case(mpmath.loggamma, (ALL,), ((1e-30,), (1e10,))),
    "rgamma": Case(mpmath.rgamma, (Draw(-6, 20),), ((0.0,), (-2.0,), (1e-30,))),
    "gammasgn": Case(lambda x: mpmath.sign(mpmath.gamma(x)), (Draw(-8, 8),), over=()),
    "digamma": Case(mpmath.digamma, (ALL,), ((1e-30,),)),
    "psi": Case(mpmath.digamma, (ALL,)),
    "polygamma": Case(lambda n, x: mpmath.psi(int(n), x), (whole(0, 4), size(0.1, 100))),
    "multigammaln": Case(multigammaln, (Draw(2, 60), whole(1, 1)), over=(0,)),
    "zeta": Case(lambda x, q: mpmath.zeta(x, q), (Draw(1.1, 12), size(0.1, 50))),
    "beta": Case(mpmath.beta, (size(1e-3, 30), size(1e-3, 30))),
    "betaln": Case(lambda a, b: log_gamma(a) + log_gamma(b) - log_gamma(a + b), (size(1e-3, 100), size(1e-3, 100))),
    "betainc": Case(
        lambda a, b, x: mpmath.betainc(a, b, 0, x, regularized=True), (size(0.1, 30), size(0.1, 30), Draw(0.02, 0.98)), digits=80
    ),
    # Of what is near 1 the derivative is tiny.
    "gammainc": Case(lambda a, x: mpmath.gammainc(a, 0, x, regularized=True), (size(0.1, 50), size(0.1, 50)), digits=160),
    "gammaincc": Case(lambda a, x: mpmath.gammainc(a, x, regularized=True), (size(0.1, 50), size(0.1, 50)), digits=160),
    "comb": Case(mpmath.binomial, (Draw(10, 40), Draw(0.5, 9))),
    "binom": Case(mpmath.binomial, (Draw(10, 40), Draw(0.5, 9))),
    "factorial": Case(mpmath.factorial, (Draw(0.1, 30),)),
    "poch": Case(mpmath.rf, (Draw(0.5, 20), Draw(0.5, 10))),
    "j0": Case(lambda x: mpmath.besselj(0, x), (Draw(-30, 30),), ((0.0,), (1e-20,), (1e3,))),
    "j1": Case(lambda x: mpmath.besselj(1, x), (Draw(-30, 30),), ((0.0,), (1e-20,), (1e3,))),
    "y0": Case(lambda x: mpmath.bessely(0, x), (Draw(0.05, 30),), ((1e-20,), (1e3,))),
    "y1": Case(lambda x: mpmath.bessely(1, x), (Draw(0.05, 30),), ((1e-20,), (1e3,))),
    "jn": Case(mpmath.besselj, (whole(0, 6), Draw(0.1, 30))),
    "jv": Case(mpmath.besselj, (Draw(0.1, 6), Draw(0.1, 30))),
    "yn": Case(mpmath.bessely, (whole(0, 6), Draw(0.3, 30))),
    "yv": Case(mpmath.bessely, (Draw(0.1, 6), Draw(0.3, 30))),
    "i0": Case(lambda x: mpmath.besseli(0, x), (Draw(-60, 60),), ((0.0,), (1e-20,))),
    "i1": Case(lambda x: mpmath.besseli(1, x), (Draw(-60, 60),), ((0.0,), (1e-20,))),
    "i0e": Case(lambda x: mpmath.exp(-abs(x)) * mpmath.besseli(0, x), (Draw(-60, 60),), ((1e4,),)),
    "i1e": Case(lambda x: mpmath.exp(-abs(x)) * mpmath.besseli(1, x), (Draw(-60, 60),), ((1e4,),)),
    "iv": Case(mpmath.besseli, (Draw(0.1, 6), Draw(0.1, 60))),
    "ive": Case(lambda v, x: mpmath.exp(-x) * mpmath.besseli(v, x), (Draw(0.1, 6), Draw(0.1, 60))),
    "k0": Case(lambda x: besselk(0, x), (Draw(0.01, 60),), ((1e-20,),)),
    "k1": Case(lambda x: besselk(1, x), (Draw(0.01, 60),), ((1e-20,),)),
    "k0e": Case(lambda x: mpmath.exp(x) * besselk(0, x), (Draw(0.01, 60),)),
    "k1e": Case(lambda x: mpmath.exp(x) * besselk(1, x), (Draw(0.01, 60),)),
    "kv": Case(besselk, (Draw(0.1, 6), Draw(0.1, 60))),
    "kve": Case(lambda v, x: mpmath.exp(x) * besselk(v, x), (Draw(0.1, 6), Draw(0.1, 60))),
    "spherical_jn": Case(spherical(mpmath.besselj, real_pi), (whole(0, 5), Draw(0.5, 30))),
    "spherical_yn": Case(spherical(mpmath.bessely, real_pi), (whole(0, 5), Draw(0.5, 30))),
    "spherical_in": Case(spherical(mpmath.besseli, real_pi), (whole(0, 5), Draw(0.5, 30))),
    "spherical_kn": Case(spherical(mpmath.besselk, real_pi), (whole(0, 5), Draw(0.5, 30))),
    "erf": Case(mpmath.erf, (Draw(-5, 5),), ((0.0,), (1e-300,))),
    "erfc": Case(mpmath.erfc, (Draw(-5, 9),), ((0.0,), (25.0,))),
    "erfcx": Case(lambda x: mpmath.exp(x * x) * mpmath.erfc(x), (Draw(-9, 30),), ((0.0,), (100.0,))),
    "erfinv": Case(mpmath.erfinv, (Draw(-0.99, 0.99),), ((1e-30,),)),
    "erfcinv": Case(lambda x: -quantile(x / 2) / mpmath.sqrt(2), (Draw(0.001, 1.9),), ((1e-30,),)),
    "dawsn": Case(lambda x: mpmath.exp(-x * x) * mpmath.erfi(x) * mpmath.sqrt(mpmath.pi) / 2, (Draw(-12, 12),), ((0.0,), (50.0,))),
    "wofz": Case(wofz, (Draw(-4, 4),), real=True),
    "ndtr": Case(mpmath.ncdf, (Draw(-9, 9),), ((-30.0,),)),
    "log_ndtr": Case(logncdf, (Draw(-30, 9),), ((-300.0,), (-1e4,))),
    "ndtri": Case(quantile, (Draw(0.001, 0.999),), ((1e-30,),)),
    "expit": Case(lambda x: 1 / (1 + mpmath.exp(-x)), (Draw(-40, 40),), ((-700.0,),)),
    "logit": Case(lambda x: mpmath.log(x) - mpmath.log1p(-x), (PROBABILITY,), ((1e-30,),)),
    "log_expit": Case(log_expit, (Draw(-40, 40),), ((-700.0,), (700.0,))),
    "fresnel": Case(mpmath.fresnels, (Draw(-5, 5),), ((0.0,), (29.7,)), part=0),
    "fresnel ": Case(mpmath.fresnelc, (Draw(-5, 5),), ((0.0,), (29.7,)), part=1),
    "sici": Case(mpmath.si, (Draw(-30, 30),), ((0.0,), (1e3,)), part=0),
    "sici ": Case(mpmath.ci, (Draw(0.01, 30),), ((1e-30,), (1e3,)), part=1),
    "expi": Case(mpmath.ei, (Draw(-20, 30),), ((1e-30,), (300.0,))),
    "exp1": Case(mpmath.e1, (Draw(0.01, 50),), ((1e-30,), (600.0,))),
    "expn": Case(expn, (whole(0, 6), Draw(0.05, 30))),
    "xlogy": Case(lambda x, y: x * mpmath.log(y), (ALL, ALL)),
    "xlog1py": Case(lambda x, y: x * mpmath.log1p(y), (ALL, ALL)),
    "entr": Case(lambda x: -x * mpmath.log(x), (ALL,)),
    "rel_entr": Case(lambda x, y: x * mpmath.log(x / y), (ALL, ALL)),
    "kl_div": Case(lambda x, y: x * mpmath.log(x / y) - x + y, (ALL, ALL)),
    "boxcox": Case(lambda x, p: expm1_by(p, mpmath.log(x)), (size(0.01, 100), Draw(-2, 2)), ((2.0, 0.0), (2.0, 1e-20))),
    "boxcox1p": Case(lambda x, p: expm1_by(p, mpmath.log1p(x)), (size(0.01, 100), Draw(-2, 2)), ((2.0, 0.0), (2.0, 1e-20))),
    "inv_boxcox": Case(
        lambda y, p: mpmath.exp(mpmath.log1p(p * y) / p) if p else mpmath.exp(y), (Draw(0.1, 5), Draw(0.05, 2)), ((0.5, 0.0), (0.5, 1e-20))
    ),
    "huber": Case(huber, (Draw(0.1, 3), Draw(-6, 6))),
    "sinc": Case(mpmath.sincpi, (Draw(-10, 10),), ((0.0,),)),
    "hyp1f1": Case(mpmath.hyp1f1, (Draw(0.2, 4), Draw(0.5, 6), Draw(-10, 10))),
    "hyp2f1": Case(mpmath.hyp2f1, (Draw(0.2, 3), Draw(0.2, 3), Draw(0.5, 6), Draw(-1, 0.9))),
    "ellipk": Case(mpmath.ellipk, (Draw(-3, 0.99),), ((0.0,), (1e-20,), (-100.0,))),
    "ellipe": Case(mpmath.ellipe, (Draw(-3, 0.99),), ((0.0,), (1e-20,), (-100.0,))),
    "lambertw": Case(lambda z: mpmath.re(mpmath.lambertw(z)), (Draw(-0.36, 20),), ((0.0,), (1e10,)), real=True),
    "eval_legendre": Case(mpmath.legendre, (whole(0, 8), Draw(-1, 1)), ((5, 1.0), (5, -1.0))),
    "eval_chebyt": Case(mpmath.chebyt, (whole(0, 8), Draw(-1, 1)), ((5, 1.0), (5, -1.0))),
    "eval_chebyu": Case(mpmath.chebyu, (whole(0, 8), Draw(-1, 1)), ((5, 1.0), (5, -1.0))),
    "eval_hermite": Case(mpmath.hermite, (whole(0, 8), Draw(-3, 3))),
    "eval_hermitenorm": Case(
        lambda n, x: mpmath.hermite(n, x / mpmath.sqrt(2)) / mpmath.sqrt(2) ** int(n), (whole(0, 8), Draw(-3, 3))
    ),
    "eval_laguerre": Case(lambda n, x: mpmath.laguerre(n, 0, x), (whole(0, 8), Draw(0, 9))),
    "eval_genlaguerre": Case(mpmath.laguerre, (whole(0, 8), Draw(0.1, 3), Draw(0, 9)), over=(2,)),
    "eval_gegenbauer": Case(mpmath.gegenbauer, (whole(0, 8), Draw(0.6, 3), Draw(-1, 1)), over=(2,)),
    "eval_jacobi": Case(mpmath.jacobi, (whole(0, 8), Draw(0.1, 3), Draw(0.1, 3), Draw(-1, 1)), over=(3,)),
    "sph_harm_y": Case(sph_harm, (whole(3, 5), whole(-3, 3), Draw(0.1, 3), Draw(0, 6)), real=True),
    "betaincc": Case(
        lambda a, b, x: tail_of_beta(a, b, x, True), (size(0.1, 30), size(0.1, 30), Draw(0.02, 0.98)), digits=80
    ),
    "stdtr": Case(student, (size(0.5, 60), Draw(-6, 6)), digits=60),
    "chdtr": Case(lambda v, x: tail_of_gamma(v / 2, x / 2), (size(0.2, 60), size(0.2, 60)), digits=120),
    "chdtrc": Case(lambda v, x: tail_of_gamma(v / 2, x / 2, True), (size(0.2, 60), size(0.2, 60)), digits=120),
    "gdtr": Case(lambda a, b, x: tail_of_gamma(b, a * x), (size(0.3, 3), size(0.2, 30), size(0.2, 20)), digits=120),
    "gdtrc": Case(lambda a, b, x: tail_of_gamma(b, a * x, True), (size(0.3, 3), size(0.2, 30), size(0.2, 20)), digits=120),
    "fdtr": Case(fisher, (size(0.5, 40), size(0.5, 40), size(0.05, 20)), digits=80),
    "fdtrc": Case(lambda n, m, x: fisher(n, m, x, True), (size(0.5, 40), size(0.5, 40), size(0.05, 20)), digits=80),
    "pdtr": Case(poisson, (whole(0, 20), size(0.2, 40)), digits=80),
    "pdtrc": Case(lambda k, m: poisson(k, m, True), (whole(0, 20), size(0.2, 40)), digits=80),
    "bdtr": Case(binomial, (whole(0, 9), whole(10, 30), Draw(0.02, 0.98)), digits=80),
    "bdtrc": Case(lambda k, n, p: binomial(k, n, p, True), (whole(0, 9), whole(10, 30), Draw(0.02, 0.98)), digits=80),
    "nbdtr": Case(failures, (whole(0, 20), whole(1, 20), Draw(0.02, 0.98)), digits=80),
    "nbdtrc": Case(lambda k, n, p: failures(k, n, p, True), (whole(0, 20), whole(1, 20), Draw(0.02, 0.98)), digits=80),
    "gammaincinv": Case(inverse(tail_of_gamma, tg.scipy.special.gammaincinv), (size(0.3, 30), Draw(0.02, 0.98))),
    "gammainccinv": Case(
        inverse(lambda a, x: tail_of_gamma(a, x, True), tg.scipy.special.gammainccinv), (size(0.3, 30), Draw(0.02, 0.98))
    ),
    "betaincinv": Case(inverse(tail_of_beta, tg.scipy.special.betaincinv), (size(0.5, 20), size(0.5, 20), Draw(0.02, 0.98))),
    "betainccinv": Case(
        inverse(lambda a, b, x: tail_of_beta(a, b, x, True), tg.scipy.special.betainccinv),
        (size(0.5, 20), size(0.5, 20), Draw(0.02, 0.98)),
    ),
    "stdtrit": Case(inverse(student, tg.scipy.special.stdtrit), (size(0.8, 60), Draw(0.02, 0.98))),
    "chdtri": Case(
        inverse(lambda v, x: tail_of_gamma(v / 2, x / 2, True), tg.scipy.special.chdtri), (size(0.6, 60), Draw(0.02, 0.98))
    ),
    "gdtrix": Case(
        inverse(lambda a, b, x: tail_of_gamma(b, a * x), tg.scipy.special.gdtrix), (size(0.3, 3), size(0.3, 30), Draw(0.02, 0.98))
    ),
    "fdtri": Case(inverse(fisher, tg.scipy.special.fdtri), (size(1, 40), size(1, 40), Draw(0.02, 0.98))),
    "pdtri": Case(inverse(poisson, tg.scipy.special.pdtri), (whole(0, 20), Draw(0.02, 0.98))),
    "bdtri": Case(inverse(binomial, tg.scipy.special.bdtri), (whole(0, 9), whole(10, 30), Draw(0.02, 0.98))),
    "nbdtri": Case(inverse(failures, tg.scipy.special.nbdtri), (whole(0, 20), whole(1, 20), Draw(0.02, 0.98))),
    "nrdtrimn": Case(lambda p, sd, x: x - sd * quantile(p), (Draw(0.02, 0.98), size(0.1, 10), Draw(-5, 5))),
    "nrdtrisd": Case(lambda mn, p, x: (x - mn) / quantile(p), (Draw(-5, 5), Draw(0.52, 0.98), Draw(6, 9))),
    "ndtri_exp": Case(lambda y: quantile(mpmath.exp(y)), (Draw(-20, -0.01),), ((-1e3,),)),
    "airy": Case(mpmath.airyai, (Draw(-15, 6),), ((0.0,),), part=0),
    "airy ": Case(lambda x: mpmath.airyai(x, derivative=1), (Draw(-15, 6),), ((0.0,),), part=1),
    "airy  ": Case(mpmath.airybi, (Draw(-15, 6),), ((0.0,),), part=2),
    "airy   ": Case(lambda x: mpmath.airybi(x, derivative=1), (Draw(-15, 6),), ((0.0,),), part=3),
    "kn": Case(besselk, (whole(0, 6), Draw(0.1, 60))),
    "jve": Case(mpmath.besselj, (Draw(0.1, 6), Draw(0.1, 30))),
    "yve": Case(mpmath.bessely, (Draw(0.1, 6), Draw(0.3, 30))),
    "hankel1": Case(lambda v, x: mpmath.re(mpmath.hankel1(v, x)), (Draw(0.1, 6), Draw(0.3, 30)), real=True),
    "hankel2": Case(lambda v, x: mpmath.re(mpmath.hankel2(v, x)), (Draw(0.1, 6), Draw(0.3, 30)), real=True),
    "hankel1e": Case(
        lambda v, x: mpmath.re(mpmath.exp(-1j * x) * mpmath.hankel1(v, x)), (Draw(0.1, 6), Draw(0.3, 30)), real=True
    ),
    "hankel2e": Case(
        lambda v, x: mpmath.re(mpmath.exp(1j * x) * mpmath.hankel2(v, x)), (Draw(0.1, 6), Draw(0.3, 30)), real=True
    ),
    "jvp": Case(derived(mpmath.besselj, -1), (Draw(0.1, 6), Draw(0.1, 30))),
    "yvp": Case(derived(mpmath.bessely, -1), (Draw(0.1, 6), Draw(0.3, 30))),
    "ivp": Case(derived(mpmath.besseli, 1), (Draw(0.1, 6), Draw(0.1, 60))),
    "kvp": Case(lambda v, x: -derived(besselk, 1)(v, x), (Draw(0.1, 6), Draw(0.1, 60))),
    "h1vp": Case(lambda v, x: mpmath.re(derived(mpmath.hankel1, -1)(v, x)), (Draw(0.1, 6), Draw(0.3, 30)), real=True),
    "h2vp": Case(lambda v, x: mpmath.re(derived(mpmath.hankel2, -1)(v, x)), (Draw(0.1, 6), Draw(0.3, 30)), real=True),
    "struve": Case(mpmath.struveh, (Draw(0.1, 4), Draw(0.1, 30)), over=(1,)),
    "modstruve": Case(mpmath.struvel, (Draw(0.1, 4), Draw(0.1, 30)), over=(1,)),
    "erfi": Case(mpmath.erfi, (Draw(-5, 5),), ((0.0,), (1e-300,))),
    "voigt_profile": Case(voigt, (Draw(-8, 8), size(0.2, 3), size(0.05, 3)), ((1e3, 1.0, 0.5),)),
    "owens_t": Case(owens_t, (Draw(-4, 4), Draw(-3, 3)), ((0.0, 1.0),), digits=60),
    "spence": Case(lambda z: mpmath.re(mpmath.polylog(2, 1 - z)), (size(1e-3, 100),), ((1.0,), (1e-30,), (1 + 2.0**-20,)), digits=120),
    "wrightomega": Case(wright, (Draw(-30, 30),), ((-100.0,), (1e10,))),
    "zetac": Case(lambda x: mpmath.zeta(x) - 1, (Draw(1.1, 40),)),
    "hyp0f1": Case(mpmath.hyp0f1, (Draw(0.5, 6), Draw(-10, 30)), over=(1,)),
    "hyperu": Case(mpmath.hyperu, (Draw(0.2, 3), Draw(0.2, 3), Draw(0.5, 10)), over=(2,)),
    "ellipkinc": Case(mpmath.ellipf, (Draw(-4, 4), Draw(-3, 0.99)), ((1.5, 1 - 2.0**-20), (1.5, -1e6), (1.0, 0.0))),
    "ellipeinc": Case(mpmath.ellipe, (Draw(-4, 4), Draw(-3, 0.99)), ((1.5, 1 - 2.0**-20), (1.5, -1e6), (1.0, 0.0))),
    "ellipkm1": Case(lambda p: mpmath.ellipk(1 - p), (size(1e-6, 3),), ((1.0,), (1e-30,)), digits=120),
    "agm": Case(mpmath.agm, (size(1e-3, 1e3), size(1e-3, 1e3)), ((1.0, 1.0), (1e-10, 1.0))),
    **{
        "ellipj" + " " * i: Case(jacobi(i), (Draw(-1.5, 1.5), Draw(0.01, 0.97)), ((1.0, 0.0),), part=i) for i in range(4)
    },
    "eval_chebyc": Case(lambda n, x: 2 * mpmath.chebyt(n, x / 2), (whole(0, 8), Draw(-2, 2))),
    "eval_chebys": Case(lambda n, x: mpmath.chebyu(n, x / 2), (whole(0, 8), Draw(-2, 2))),
    "eval_sh_chebyt": Case(lambda n, x: mpmath.chebyt(n, 2 * x - 1), (whole(0, 8), PROBABILITY)),
    "eval_sh_chebyu": Case(lambda n, x: mpmath.chebyu(n, 2 * x - 1), (whole(0, 8), PROBABILITY)),
    "eval_sh_legendre": Case(lambda n, x: mpmath.legendre(n, 2 * x - 1), (whole(0, 8), PROBABILITY)),
    "cosm1": Case(lambda x: -2 * mpmath.sin(x / 2) ** 2, (Draw(-10, 10),), ((1e-100,),)),
    "sindg": Case(degrees(mpmath.sin), (Draw(-400, 400),)),
    "cosdg": Case(degrees(mpmath.cos), (Draw(-400, 400),)),
    "tandg": Case(degrees(mpmath.tan), (Draw(-400, 400),)),
    "cotdg": Case(degrees(mpmath.cot), (Draw(-400, 400),)),
    "radian": Case(lambda d, m, s: (d + m / 60 + s / 3600) * mpmath.pi / 180, (Draw(0, 90), Draw(0, 60), Draw(0, 60))),
    "powm1": Case(lambda x, y: mpmath.expm1(y * mpmath.log(x)), (size(0.01, 100), Draw(-3, 3)), ((2.0, 0.0), (2.0, 1e-20))),
    "exp10": Case(lambda x: mpf(10) ** x, (Draw(-30, 30),)),
    "exp2": Case(lambda x: mpf(2) ** x, (Draw(-30, 30),)),
    "expm1": Case(mpmath.expm1, (Draw(-30, 30),), ((0.0,), (1e-20,))),
    "log1p": Case(mpmath.log1p, (Draw(-0.9, 30),), ((0.0,), (1e-20,))),
    "cbrt": Case(mpmath.cbrt, (size(1e-6, 1e6),)),
    "round": Case(lambda x: mpmath.nint(x), (Draw(-30, 30),), over=()),
    "exprel": Case(lambda x: mpmath.expm1(x) / x if x else mpf(1), (Draw(-30, 30),), ((0.0,), (1e-20,), (-1e5,))),
    "inv_boxcox1p": Case(
        lambda y, p: mpmath.expm1(mpmath.log1p(p * y) / p) if p else mpmath.expm1(y), (Draw(0.1, 5), Draw(0.05, 2)), ((0.5, 0.0), (0.5, 1e-20))
    ),
    "pseudo_huber": Case(lambda d, r: d * d * (mpmath.sqrt(1 + (r / d) ** 2) - 1), (Draw(0.1, 3), Draw(-6, 6)), ((1.0, 1e-10),)),
    "softplus": Case(lambda x: mpmath.log1p(mpmath.exp(x)), (Draw(-40, 40),)),
    "perm": Case(lambda n, k: mpmath.rf(n - k + 1, k), (Draw(10, 40), Draw(0.5, 9))),
}  # fmt: skip

# Functions that are ops of other names.
MADE_OF = {
    "jn": "jv", "comb": "binom", "factorial": "gamma", "perm": "poch", "kn": "kv", "jve": "jv", "yve": "yv", "ivp": "iv", "kvp": "kv",
    **dict.fromkeys(("hankel1", "hankel2", "hankel1e", "hankel2e", "jvp", "yvp", "h1vp", "h2vp"), "jv"),
    **dict.fromkeys(("fdtr", "fdtrc", "bdtr", "nbdtrc"), "betaincc"), "agm": "ellipkm1", "voigt_profile": "wofz", "exprel": "hyp1f1",
    **dict.fromkeys(("chdtri", "gdtrix", "pdtri"), "gammaincinv"), **dict.fromkeys(("fdtri", "bdtri", "nbdtri"), "betaincinv"),
    **dict.fromkeys(("nrdtrimn", "nrdtrisd"), "ndtri"), "eval_chebyc": "eval_chebyt", "eval_chebys": "eval_chebyu",
    **{f"eval_sh_{name}": f"eval_{name}" for name in ("chebyt", "chebyu", "legendre")},
}  # fmt: skip

# What is no function of numbers: constants, and what goes over axes (tests/scipy/test_special.py).
ELSEWHERE = {"bernoulli", "legendre", "logsumexp", "softmax", "log_softmax"}


def points(name: str) -> list[tuple[Any, ...]]:
    """The points that are drawn, and the further ones."""
    case = CASES[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    columns = [d.of(rng, POINTS) for d in case.draws]
    return [*zip(*[c.tolist() for c in columns], strict=True), *case.ends]


def ours(name: str) -> Callable[..., Any]:
    case = CASES[name]
    function = getattr(tg.scipy.special, name.strip())

    def applied(*xs: Any) -> Any:
        if name == "multigammaln":
            return function(xs[0], 1)
        found = function(*xs)
        found = found if case.part is None else found[case.part]
        return np.real(found) if case.real else found

    return applied


def derivatives(name: str) -> list[Callable[..., Any]]:
    """The function, and its derivative in each argument that has one."""
    f = ours(name)
    return [f, *[tg.grad(lambda *xs: np.sum(f(*xs)), i) for i in CASES[name].arguments]]


def exactly(case: Case, point: Sequence[Any]) -> list[Any]:
    """The same in mpmath's words; None for what is not finite and real."""
    xs = [mpf(x) if isinstance(x, float) else int(x) for x in point]
    found = []
    for i in (None, *case.arguments):
        try:
            if i is None:
                value = case.exact(*xs)
            else:
                along = lambda x, i=i: case.exact(*xs[:i], x, *xs[i + 1 :])
                # A derivative's difference quotient, by a step far below any scale that there is.
                step = mpf(10) ** -12 * (abs(xs[i]) if abs(xs[i]) > 1e-40 else 1)
                value = (along(xs[i] + step) - along(xs[i] - step)) / (2 * step)
            value = mpmath.mpmathify(value)
            value = value.real if isinstance(value, mpmath.mpc) else value
            if i is not None and xs[i] == 0 and abs(value) < 1e-20:
                value = mpf(0)  # but for the third derivative
            found.append(value if mpmath.isfinite(value) else None)
        except (ValueError, ZeroDivisionError, mpmath.libmp.NoConvergence):
            found.append(None)
    return found


_TRUTH: dict[Any, list[Any]] = {}


def truth(name: str, point: tuple[Any, ...], case: Case) -> list[Any]:
    if (name, point) not in _TRUTH:
        with mpmath.workdps(case.digits):
            _TRUTH[name, point] = exactly(case, point)
    return _TRUTH[name, point]


def errors(
    name: str, dtype: Any, chosen: Sequence[tuple[Any, ...]], run: Callable[..., Any], case: Case | None = None
) -> Iterator[float]:
    """The worst error of the value, and of each derivative, in units as above."""
    case = case or CASES[name]
    limits = np.finfo(dtype)
    xs = [
        np.array(c, dtype if d.kind != "whole" else np.int64)
        for c, d in zip(zip(*chosen, strict=True), case.draws, strict=True)
    ]
    for which, found in enumerate(run(*xs)):
        worst = 0.0
        for point, got in zip(chosen, np.asarray(found), strict=True):
            true = truth(name, point, case)[which]
            if true is None or not float(limits.tiny) <= abs(true) <= float(limits.max):
                continue
            error = abs(mpf(float(got)) - true) if np.isfinite(got) else mpf("inf")
            unit = float(np.spacing(dtype(abs(float(true)))))
            if error > unit:  # only then it matters what the argument is good for
                for i, d in enumerate(case.draws):
                    if d.kind != "whole":
                        beside = float(np.nextafter(dtype(point[i]), dtype(np.inf)))
                        near = truth(name, (*point[:i], beside, *point[i + 1 :]), case)[which]
                        unit += float(abs(near - true)) if near is not None else 0.0
            worst = max(worst, float(error / unit))
        yield worst


def eager(name: str) -> Callable[..., Any]:
    return lambda *xs: [f(*xs) for f in derivatives(name)]


def on_xla(name: str) -> Callable[..., Any]:
    return tg.jit(eager(name), backend="xla")


def measured(name: str, chosen: Sequence[tuple[Any, ...]] | None = None) -> list[list[float]]:
    """In float64, float32, and float64 on XLA."""
    chosen = points(name) if chosen is None else chosen
    in_float32 = [p for p in chosen if all(x == 0 or 1e-30 <= abs(x) <= 1e30 for x in p)]
    with np.errstate(all="ignore"):
        return [
            list(errors(name, np.float64, chosen, eager(name))),
            list(errors(name, np.float32, in_float32, eager(name))),
            list(errors(name, np.float64, chosen, on_xla(name))),
        ]


def shown(error: float) -> str:
    """To two places."""
    if error < 10:
        return f"{error:.1f}"
    return f"{error:.0f}" if error < 1000 else f"{error:.0e}".replace("e+0", "e") if math.isfinite(error) else "∞"


def how_on_xla(name: str) -> str:
    rules = tg.core.backends.xla() and sys.modules["tracegrad.xla.rules.scipy"]
    name = MADE_OF.get(name, name)
    return (
        "SciPy"
        if name in rules.CALLED_BACK
        else "jax"
        if name in rules.JAX
        else "formula"
        if name in rules.EMITTED
        else "jax.lax"
    )


def row(name: str, found: Sequence[Sequence[float]]) -> str:
    plain, single, xla = [[shown(e) for e in errors] for errors in found]
    return (
        f"| `{label(name)}` | {plain[0]} | {', '.join(plain[1:]) or '–'} | {single[0]} | {', '.join(single[1:]) or '–'} "
        f"| {how_on_xla(name.strip())} | {xla[0]} | {', '.join(xla[1:]) or '–'} |"
    )


HEAD = """# SciPy's functions

How accurate `tg.scipy.special` is, made by `python -m tests.scipy_coverage`. Each function stands here with its worst error at 100 drawn points
and at the ends of its domain, against mpmath: of its value, and of its derivative in each argument that has one, by reverse mode. Errors are
in units in the last place; a unit is the spacing of numbers at the truth, and what moving an argument by one such spacing changes in it.

Values on NumPy are SciPy's own, bit for bit, but for `erf`, `erfc`, `erfinv`, `ndtr` and `expit`, which need NumPy alone. On XLA they are those of `jax.scipy.special` ("jax") or `jax.lax`, or of a formula, where these hold
float64's accuracy; otherwise SciPy is called on the host by `jax.pure_callback` ("SciPy"), which takes the numbers there and back.

| function | float64 | its derivatives | float32 | its derivatives | on XLA by | float64 | its derivatives |
|---|---|---|---|---|---|---|---|
"""


TAIL = """
Further: `logsumexp`, `softmax` and `log_softmax` along axes, and `legendre`, a constant; `bernoulli` is a constant too. Half precision stays what it is, where some of SciPy's functions
make float32 or float64 of it. Complex numbers are traced in `expit`,
`lambertw`, `logsumexp`, `sinc` and `wofz` and refused elsewhere; `erf`, `erfc` and `ndtr` refuse plain ones too.

Derivatives in a parameter are NaN where no formula here has their digits: those of `jv` in negative orders where J is tiny, of `jv` at numbers beyond 1500 and beyond the order,
of `yv` in orders and at numbers beyond 1500, of `hyp1f1` and `hyp2f1` where more than four digits cancel and of `hyp2f1` near z = 1 and beyond.

Not there, and refused where they meet what is traced:

- **Constants**, which are SciPy's own and take plain numbers: nodes and weights (`roots_legendre` and its kin), zeros (`jn_zeros`, `ai_zeros`), polynomials as objects (`chebyt`, `hermite`; `legendre` may be called on
  what is traced), `euler`, `factorial2`, `factorialk`, `stirling2`.
- **A parameter that is found**: `bdtrik`, `bdtrin`, `btdtria`, `btdtrib`, `chdtriv`, `fdtridfd`, `gdtria`, `gdtrib`, `nbdtrik`, `nbdtrin`, `pdtrik`, `stdtridf`; write
  `tg.scipy.optimize.root`.
- **No derivative in closed form**, or none that is built: distributions that are not central (`chndtr`, `ncfdtr`, `nctdtr` and their inverses), of Kolmogorov and Smirnov (`kolmogorov`, `smirnov`),
  `tklmbda`; Carlson's integrals (`elliprf` and its kin), ellipsoidal and spheroidal functions (`ellip_harm`, `pro_ang1`, `obl_ang1` and their kin), Mathieu's (`mathieu_a`, `mathieu_cem` and
  their kin), parabolic cylinder functions (`pbdv`, `pbvv`, `pbwa`), Kelvin's (`ber`, `bei`, `ker`, `kei`, `kelvin`), Wright's (`wright_bessel`, `log_wright_bessel`), integrals of
  Bessel, Struve and Airy functions (`itj0y0`, `iti0k0`, `itstruve0`, `itairy`, `besselpoly` and their kin), `airye`, `modfresnelp`, `modfresnelm`, `diric`, `lpmv`, `legendre_p`, `assoc_legendre_p`,
  `sph_legendre_p`, `eval_sh_jacobi`, and those that give all orders at once (`lqn`, `riccati_jn`).

## SciPy's own names

In plain code ufuncs of `scipy.special` are traced as they stand, and so are products with sparse matrices, `A @ t`. SciPy's other functions make plain arrays of their arguments: the error
names the function of `tg.scipy` to write, or `tg.numpyize(f)`, a copy of the code in which all that stands on this page but solvers
of `scipy.optimize` and sparse arrays is in the place of SciPy's. Where SciPy's code in C or Fortran calls a
function or reads a list (`scipy.optimize.root`, `scipy.signal.lfilter`), the error is its own.

## Matrices

`tg.scipy.linalg` has SciPy's own values for plain arrays. What is traced has derivatives in every array, on NumPy and on XLA, where nothing is called on the host.

- **Systems**: `solve`, `solve_triangular`, `solve_banded`, `solveh_banded`, `cho_solve`, `cho_solve_banded`, `lu_solve`, `solve_toeplitz`, `matmul_toeplitz`,
  `solve_circulant`, `inv`, `det`; `LinAlgError` is NumPy's.
- **Least squares**: `lstsq`, `pinv`, `pinvh` (with `rtol`, not `atol`), `orthogonal_procrustes`; `norm`.
- **Factors**: `cholesky`, `cholesky_banded`, `cho_factor`, `lu`, `lu_factor`, `qr` (but for mode="raw"), `qr_multiply`, `rq`, `polar`, `svd`, `svdvals`.
- **Eigenvalues**: `eigh`, `eigvalsh` (generalised ones too; refused: `subset_by_value`, since how many there are depends on values), `eigh_tridiagonal`,
  `eigvalsh_tridiagonal`; `eig`, `eigvals` (with a regular `b`, no left vectors).
- **Values alone**, since derivatives of what depends on these forms have no need of them: `schur` (not sorted), `hessenberg`.
- **Functions of matrices**: `expm`, `expm_frechet`, `logm`, `sqrtm`, `fractional_matrix_power`, `cosm`, `sinm`, `tanm`, `coshm`, `sinhm`, `tanhm`, `funm`.
- **Equations**: `solve_sylvester`, `solve_continuous_lyapunov`, `solve_discrete_lyapunov`, `solve_continuous_are`, `solve_discrete_are`.
- **Made of vectors and blocks**: `block_diag`, `kron`, `khatri_rao`, `toeplitz`, `circulant`, `hankel`, `convolution_matrix`, `companion`, `fiedler_companion`,
  `fiedler`, `leslie`; constants: `dft`, `hilbert`.

Not there: constants (`hadamard`, `pascal` and their kin), which are SciPy's; bases that values do not settle (`null_space`, `orth`); `ldl`, `qz`, `cossin`, `eig_banded`, and what updates a `qr`.

## Fourier, cosine and sine transforms

`tg.scipy.fft` has SciPy's own values for plain arrays. What is traced is computed by NumPy's transforms, with derivatives and in batches, on NumPy and on XLA.

- **Fourier**: `fft`, `ifft`, `rfft`, `irfft`, `hfft`, `ihfft`; along two axes `fft2`, `ifft2`, `rfft2`, `irfft2`, `hfft2`, `ihfft2`; along many `fftn`, `ifftn`, `rfftn`, `irfftn`, `hfftn`, `ihfftn`;
  `fftshift`, `ifftshift`, `fftfreq`, `rfftfreq`.
- **Cosines and sines** of types 1 to 4, with all scales: `dct`, `idct`, `dst`, `idst`; along many axes `dctn`, `idctn`, `dstn`, `idstn`. SciPy's values to 4e-15 of the largest for 1,000 points.

## Signals and images

`tg.scipy.signal` and `tg.scipy.ndimage` have SciPy's own values for plain arrays. What is traced is computed by ops, with SciPy's values but for rounding (the tests ask for
1e-11), in all modes, with derivatives in every array, on NumPy and on XLA alike.

- **Convolution**: `convolve`, `correlate`, `fftconvolve`, `oaconvolve` (computed whole), `convolve2d`, `correlate2d`, `correlation_lags`.
- **Filters**: `lfilter`, `sosfilt`, `filtfilt` (not by Gustafsson's method), `sosfiltfilt`, `lfilter_zi`, `lfiltic`, `sosfilt_zi`, with derivatives in the coefficients and the state. On
  NumPy the recursion is SciPy's, on XLA a scan.
- **Spectra**: `stft`, `istft`, `welch`, `csd`, `periodogram`, `coherence`, `spectrogram`; `get_window` is a constant.
- **Smoothing**: `detrend`, `hilbert`, `savgol_filter`, `medfilt`, `medfilt2d`; `savgol_coeffs` is a constant.
- **Rates**: `resample`, `resample_poly` and `upfirdn` (with zeros beyond the ends, or levels), `decimate`.
- **Waveforms**: `chirp`, `gausspulse`.
- **Images, weights**: `convolve`, `correlate`, `convolve1d`, `correlate1d`, `gaussian_filter`, `gaussian_filter1d` (with a derivative in sigma for a given radius), `laplace`, `sobel`,
  `prewitt`, `gaussian_laplace`, `gaussian_gradient_magnitude`, `uniform_filter`, `uniform_filter1d`.
- **Images, extrema**: `maximum_filter`, `minimum_filter`, `maximum_filter1d`, `minimum_filter1d`; of equal elements each has its share of the derivative.
- **Images, interpolation** by splines of order 0 to 5: `map_coordinates`, `affine_transform`, `shift`, `rotate`, with derivatives in coordinates, matrix, shift and angle; `zoom`,
  `spline_filter`, `spline_filter1d`, by a matrix for each length.
- **Images, labels**: `sum_labels`, `mean`, `center_of_mass`.

## Distributions

`tg.scipy.stats` has the distributions of `jax.scipy.stats` and more, each with every method: `pdf` and `logpdf` (of counts `pmf` and `logpmf`),
`cdf`, `sf`, `logcdf`, `logsf`, `ppf`, `isf`, `interval`, `entropy`, `mean`, `median`, `var`, `std` and `support`, with SciPy's parameters, by broadcasting. Values
agree with SciPy's to 1e-9 and better at 100 drawn points, tails and ends of the support included (tests/scipy/stats/), derivatives
in the number and the shape parameters with mpmath's (the table at the end), and those in location and scale with differences. Quantiles of counts and of `vonmises` are found by SciPy, on
XLA on the host; those of counts have no derivative, being whole numbers.

- **Of numbers**: `norm`, `uniform`, `expon`, `laplace`, `logistic`, `cauchy`, `gumbel_l`, `gumbel_r`, `rayleigh`; with shape parameters `t` (for finite `df`),
  `gamma`, `chi2`, `invgamma`, `beta`, `f`, `gennorm`, `lognorm`, `pareto`, `weibull_min`.
- **Between ends**: `truncnorm`, by logarithms of tails, so that it holds where both ends are far out; its entropy too, of which SciPy has few digits there.
- **Of angles**: `vonmises`, whose distribution function is exact to 1e-13 of the probability around the centre for every `kappa` (SciPy's to 1e-5 beyond 50), and
  `wrapcauchy`.
- **Of counts**: `bernoulli`, `binom`, `betabinom`, `geom`, `nbinom`, `poisson`. Entropies of `binom`, `betabinom` and `nbinom`, and tails of `betabinom`, are sums of
  as many terms as the parameters say, which have to be plain numbers under vmap, and jit on XLA.
- **Of vectors and matrices**: `multivariate_normal` (`logpdf`, `pdf`, `entropy`), `dirichlet`, `multinomial`, `wishart`.
- **Of samples**: `gaussian_kde` (`resample` with a key, as jax has it), `rankdata`, `mode`, `sem`.

## Interpolation

`tg.scipy.interpolate` is plain NumPy, with derivatives in samples, their places and the points, on NumPy and on XLA alike.

- **Cubic**: `CubicSpline`, `PchipInterpolator`, `Akima1DInterpolator`, `CubicHermiteSpline`, and `PPoly`, with `derivative`, `antiderivative` and `integrate`. Refused: `roots`,
  since how many there are depends on values.
- **Others**: `interp1d` (kinds 'linear', 'slinear', 'nearest', 'nearest-up', 'previous', 'next', 'zero', 'quadratic' and 'cubic'; others are refused), `BSpline` (with `derivative`, `antiderivative` and `integrate`),
  `make_interp_spline` with all of SciPy's conditions at the ends, `RegularGridInterpolator`
  with all of SciPy's methods.

## Integrals and differential equations

- **Of samples**, plain NumPy: `trapezoid`, `simpson`, `cumulative_trapezoid`, `cumulative_simpson`.
- **Of functions**: `quad`, `dblquad`, `tplquad`, `quad_vec`, `fixed_quad`. SciPy finds the values, on XLA on the host; derivatives of any order, in what the function depends on, in the ends and in the variables of a `weight`, by Leibniz's rule.
- **Differential equations**: `solve_ivp`, `odeint`. SciPy finds the values, on XLA on the host; derivatives of any order in initial value, ends, times and parameters by the adjoint equation, or
  onward with `adjoint=False`. Times of `events`, and the solution there, by the implicit function theorem; under jit and vmap in the room that
  `max_events=` says, of which NaN is left; more events are an error.

## Minima and roots

`tg.scipy.optimize`: SciPy searches with tracegrad's derivatives, on XLA on the host, and what it finds has derivatives of every order in `args`, by the implicit function theorem.

- **Solvers**: `minimize` (with derivatives in `bounds` too, none with `constraints`), `root`, `least_squares`, `curve_fit`; results are `OptimizeResults`. They take no `jac`, `hess` and `callback`.
- **Refused**: `linprog`, since the solution of a linear program lies in a corner.

## Sparse matrices

- **In plain code**: one of SciPy's is a constant, `A @ t`, `A.T @ t`, `t @ A`, `A.dot(t)`; on XLA by sums over segments.
- **With traced numbers**, `tg.scipy.sparse`: `csr_array`, `csc_array`, `csr_matrix` and `csc_matrix` make a `SparseArray`; sums, products and products
  element by element (`+`, `-`, `@`, `*`, `multiply`) of two, one of SciPy's among them, are another.
- **Systems**, `tg.scipy.sparse.linalg`: `spsolve`, `cg`, `bicgstab`, `gmres`, with derivatives in the right-hand side and the numbers of the matrix, on XLA by SciPy on the host.
"""


def rows_of(text: str) -> dict[str, str]:
    """The rows of a page, by what stands in front."""
    found = [line for line in text.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line for line in found}


def label(name: str) -> str:
    part = CASES[name].part
    return name if part is None else f"{name.strip()}[{part}]"


def unnamed() -> list[str]:
    """The public names of tg.scipy that the page does not have."""
    rooms = [getattr(tg.scipy, name) for name in tg.scipy.__all__ if name != "special"] + [tg.scipy.sparse.linalg]
    named = HEAD + TAIL
    return [f"{m.__name__}.{n}" for m in rooms for n in m.__all__ if n != "linalg" and f"`{n}`" not in named]


def page(names: Sequence[str]) -> str:
    """With the rows of these functions anew, and the others as they are."""
    before = rows_of(PAGE.read_text()) if PAGE.exists() else {}
    rows = [
        row(name, measured(name)) if name in names or label(name) not in before else before[label(name)]
        for name in CASES
    ]
    # Behind stand the errors of functions of arrays and of distributions, by tests/arrays_coverage.py and stats_coverage.py.
    rest = PAGE.read_text().partition("\n## Errors")
    return HEAD + "\n".join(rows) + "\n" + TAIL + "".join(rest[1:])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(page([name for name in CASES if name.strip() in sys.argv[1:]] or list(CASES)))
