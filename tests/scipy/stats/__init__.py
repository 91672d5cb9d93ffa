"""tg.scipy.stats against SciPy: where parameters and points of each distribution are drawn, and what is compared."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

import tracegrad as tg

OF_NUMBERS = ["cdf", "sf", "logcdf", "logsf"]
OF_PARAMETERS = ["entropy", "mean", "median", "std", "support", "var"]
# Where shape parameters are drawn: the logarithms uniformly.
SHAPES: dict[str, list[tuple[float, float]]] = {
    "t": [(0.3, 20)], "gamma": [(0.3, 20)], "chi2": [(0.6, 40)], "invgamma": [(0.3, 20)], "gennorm": [(0.5, 6)],
    "weibull_min": [(0.5, 6)], "beta": [(0.3, 20), (0.3, 20)], "f": [(0.3, 20), (1, 30)], "lognorm": [(0.2, 2)], "pareto": [(0.5, 6)],
    "vonmises": [(0.1, 20)], "wrapcauchy": [(0.01, 0.99)], "truncnorm": [(0.3, 3), (0.3, 3)], "bernoulli": [(0.02, 1)],
    "binom": [(1, 40), (0.02, 1)], "betabinom": [(1, 20), (0.3, 20), (0.3, 20)], "geom": [(0.05, 1)],
    "nbinom": [(1, 30), (0.1, 1)], "poisson": [(0.1, 50)],
}  # fmt: skip


def ours(name: str) -> Any:
    return getattr(tg.scipy.stats, name)


def is_discrete(name: str) -> bool:
    return hasattr(ours(name), "pmf")


def parameters(name: str, count: int, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """Shape parameters; location and scale."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    shapes = [np.exp(rng.uniform(np.log(low), np.log(high), count)) for low, high in SHAPES.get(name, [])]
    if name in ("binom", "betabinom"):
        shapes[0] = np.floor(shapes[0])
    if name == "truncnorm":
        start = rng.uniform(-4, 4, count)
        shapes = [start, start + shapes[1]]
    if is_discrete(name):
        return shapes, [rng.integers(-3, 4, count)]
    return shapes, [rng.normal(size=count), np.exp(rng.uniform(-1, 1.5, count))]


def probabilities(name: str, count: int) -> Any:
    rng = np.random.default_rng(zlib.crc32(name.encode()) + 1)
    return np.concatenate([rng.uniform(size=count - 4), [0, 1, 1e-6, 1 - 1e-6]])
