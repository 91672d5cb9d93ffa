"""Distributions of angles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracegrad.ops.special.bessel_i import bessel_i0e, bessel_i1e
from tracegrad.ops.special.quantiles import von_mises_density, von_mises_integral, von_mises_quantile
from tracegrad.scipy.stats.base import Continuous


def _von_mises_cdf(x: Any, kappa: Any) -> Any:
    """It grows by one with each turn."""
    turns = np.rint(x / (2 * math.pi))
    return 0.5 + turns + von_mises_integral(kappa, x - 2 * math.pi * turns, lambda t: 1.0)


vonmises = Continuous(
    "vonmises",
    """The distribution of von Mises: exp(kappa cos(x)) / (2 pi I_0(kappa)), of angles around zero, which are not wrapped:
    its distribution function grows by one with each turn.

    >>> import tracegrad as tg
    >>> float(tg.scipy.stats.vonmises.cdf(0.0, 3.0))
    0.5
    """,
    shapes=("kappa",), valid=lambda kappa: np.greater_equal(kappa, 0),
    logpdf=lambda x, kappa: von_mises_density(kappa, x), cdf=_von_mises_cdf, sf=lambda x, kappa: _von_mises_cdf(-x, kappa),
    ppf=lambda q, kappa: von_mises_quantile(q, kappa), isf=lambda q, kappa: -von_mises_quantile(q, kappa),
    entropy=lambda kappa: np.log(2 * math.pi * bessel_i0e(kappa)) + kappa * (1 - bessel_i1e(kappa) / bessel_i0e(kappa)),
    mean=lambda kappa: 0.0 * kappa, median=lambda kappa: 0.0 * kappa,
    var=lambda kappa: 2 * von_mises_integral(kappa, math.pi, np.square),
)  # fmt: skip


def _dilogarithm(c: Any) -> Any:
    """The sum of c**k / k**2, for 0 <= c <= 1; beyond 1/2 by its reflection (DLMF 25.12.6)."""
    far = np.greater(c, 0.5)
    y = np.where(far, 1 - c, c)
    series = 0.0
    for k in range(55, 0, -1):
        series = y * (1 / k**2 + series)
    inner = np.where(far, c, 0.5)
    return np.where(far, math.pi**2 / 6 - np.log(inner) * np.log1p(-inner) - series, series)


def _wrapped_cdf(x: Any, c: Any) -> Any:
    return np.arctan2((1 + c) * np.sin(0.5 * x), (1 - c) * np.cos(0.5 * x)) / math.pi


def _wrapped_ppf(q: Any, c: Any) -> Any:
    return 2 * np.arctan2((1 - c) * np.sin(math.pi * q), (1 + c) * np.cos(math.pi * q))


# What is beyond x is what is before x from the other side: the angle itself, of -0.0, would be that on the other side.
wrapcauchy = Continuous(
    "wrapcauchy",
    """Cauchy's distribution around a circle, of angles from 0 to 2 pi: (1 - c**2) / (2 pi (1 + c**2 - 2 c cos(x))).

    >>> import numpy as np, tracegrad as tg
    >>> float(tg.scipy.stats.wrapcauchy.cdf(np.pi, 0.3))
    0.5
    """,
    shapes=("c",), valid=lambda c: np.greater(c, 0) & np.less(c, 1), support=(0.0, 2 * math.pi),
    logpdf=lambda x, c: (
        np.log1p(c) + np.log1p(-c) - math.log(2 * math.pi) - np.log(np.square(1 - c) + 4 * c * np.square(np.sin(0.5 * x)))
    ),
    cdf=_wrapped_cdf, sf=lambda x, c: _wrapped_cdf(2 * math.pi - x, c),
    ppf=_wrapped_ppf, isf=lambda q, c: 2 * math.pi - _wrapped_ppf(q, c),
    entropy=lambda c: math.log(2 * math.pi) + np.log1p(-np.square(c)),
    mean=lambda c: 0.0 * c + math.pi, median=lambda c: 0.0 * c + math.pi, var=lambda c: math.pi**2 / 3 + 4 * _dilogarithm(c),
)  # fmt: skip
