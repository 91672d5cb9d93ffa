"""Derivatives by difference quotients, with an estimate of their error: the independent truth of `check_grads`.

Central differences at steps that shrink by a constant factor are extrapolated to step zero (Ridders, "Accurate computation of
F'(x) and F'(x)F''(x)", Advances in Engineering Software 4, 1982); for each element the extrapolation is taken whose
neighbours differ least from it. Where the function takes complex numbers and is analytic, the imaginary part of one
evaluation at a tiny imaginary step has no cancellation at all (Squire and Trapp, "Using complex variables to estimate
derivatives of real functions", SIAM Review 40, 1998); it is believed where it agrees with the differences.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Arrays = Sequence[Any]
Function = Callable[[Arrays], list[Any]]

LEVELS, SHRINK = 10, 2.0
TINY = 1e-30  # an imaginary step


class Quotient(NamedTuple):
    """Of one output: the derivative along a direction, what it may be off by, and its values from either side."""

    value: Any
    error: Any
    left: Any
    right: Any

    @property
    def has_kink(self) -> Any:
        """Where the two sides differ by more than a smooth function's would."""
        jump = np.abs(self.right - self.left)
        return jump > 1e-3 * (np.abs(self.right) + np.abs(self.left)) + 10 * self.error + 1e-7


def moved(x: Arrays, direction: Arrays, step: float | complex) -> list[Any]:
    return [a + step * d for a, d in zip(x, direction, strict=True)]


def five_point(function: Callable[..., Sequence[Any]], x: Arrays, direction: Arrays, step: float = 1e-3) -> list[Any]:
    """The derivatives of the outputs along a direction by central differences of the fourth order: ten digits, where the function
    is smooth and has numbers of about one."""
    at = [function(*[a + k * step * d for a, d in zip(x, direction, strict=True)]) for k in (-2, -1, 1, 2)]
    return [(a - 8 * b + 8 * c - d) / (12 * step) for a, b, c, d in zip(*at, strict=True)]


def quotients(function: Function, x: Arrays, direction: Arrays, step: float) -> list[Quotient]:
    """The derivatives of the outputs along a direction, from steps of `step` down."""
    with np.errstate(all="ignore"):
        middle = function(x)
        steps = [step / SHRINK**k for k in range(LEVELS)]
        ahead = [function(moved(x, direction, h)) for h in steps]
        behind = [function(moved(x, direction, -h)) for h in steps]
        found = []
        for i, here in enumerate(middle):
            central = [(a[i] - b[i]) / (2 * h) for a, b, h in zip(ahead, behind, steps, strict=True)]
            value, error = _extrapolated(central, np.finfo(np.asarray(here).dtype).eps * _size(here), steps)
            k = LEVELS // 2
            sides = [
                _one_sided([(row[k + j][i] - here) / (s * steps[k + j]) for j in range(2)])
                for row, s in ((behind, -1), (ahead, 1))
            ]
            found.append(Quotient(value, error, *sides))
        return _with_complex_step(function, x, direction, found)


def _size(x: Any) -> Any:
    return np.max(np.abs(x), initial=1e-300, where=np.isfinite(x))


def _one_sided(pair: Sequence[Any]) -> Any:
    """One step of extrapolation of a one-sided quotient at a step and at half of it."""
    return 2 * pair[1] - pair[0]


def _extrapolated(rows: Sequence[Any], noise: Any, steps: Sequence[float]) -> tuple[Any, Any]:
    """Neville's scheme in even powers of the step, elementwise; what is not finite (a step out of the domain) is passed
    over."""
    best = np.asarray(rows[-1])
    least = np.full(np.shape(best), np.inf)
    before: list[Any] = []
    for k, row in enumerate(rows):
        now = [np.asarray(row)]
        for j in range(1, k + 1):
            factor = SHRINK ** (2 * j)
            now.append((factor * now[j - 1] - before[j - 1]) / (factor - 1))
            error = np.maximum(np.abs(now[j] - now[j - 1]), np.abs(now[j] - before[j - 1])) + noise / steps[k]
            better = error < least  # false for NaN
            best, least = np.where(better, now[j], best), np.where(better, error, least)
        before = now
    # Steps that cross a jump may agree among themselves; the smallest then tell otherwise.
    last, rough = np.asarray(rows[-1]), 10 * noise / steps[-1]
    crosses = np.abs(best - last) > 1e-3 * (np.abs(best) + np.abs(last)) + rough
    value, error = np.where(crosses, last, best), np.where(crosses, rough + 1e-6 * np.abs(last), least)
    # A quotient that doubles with each half of the step is that of a jump right here, which has no derivative.
    sizes = [np.abs(row) for row in rows[-4:]]
    doubles = [np.abs(b - SHRINK * a) <= 0.05 * b for a, b in itertools.pairwise(sizes)]
    return np.where(np.all(doubles, axis=0) & (sizes[-1] > rough), np.nan, value), error


def _with_complex_step(function: Function, x: Arrays, direction: Arrays, found: list[Quotient]) -> list[Quotient]:
    if any([np.iscomplexobj(a) for a in x]) or any([np.iscomplexobj(q.value) for q in found]):
        return found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            outs = function(moved(x, direction, 1j * TINY))
    except Exception:
        # It takes real numbers only. Which error says so is chance where C code calls Python on with one pending, as SciPy's brentq
        # does: a TypeError, a ComplexWarning, a SystemError, or, as what Python has cached of a class has gone, an AttributeError.
        return found
    if [np.shape(out) for out in outs] != [np.shape(q.value) for q in found]:
        return found  # a spectrum is two-sided of complex numbers
    better = []
    for quotient, out in zip(found, outs, strict=True):
        value = np.imag(out) / TINY
        agrees = np.abs(value - quotient.value) <= quotient.error
        error = np.where(agrees, np.minimum(quotient.error, 1e-12 * np.abs(value)), quotient.error)
        better.append(quotient._replace(value=np.where(agrees, value, quotient.value), error=error))
    return better
