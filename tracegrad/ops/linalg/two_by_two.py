"""One system of two equations, in Python's numbers and to the bits of NumPy's.

What NumPy does before it calls LAPACK takes several microseconds, which is most of the time of a filter of two measurements. With two
equations LAPACK has little choice in what it rounds: the functions here compute what it does, in the same order. Whether they
have its bits depends on the library that NumPy was built with, so they are compared with it once, on systems of all kinds of numbers, and
where any bit differs they are not used. They return None for what they are not for, which includes what LAPACK treats in other ways: numbers
near the ends of double precision, and singular matrices.

Source: Golub and Van Loan, Matrix Computations, section 3.4.
"""

from __future__ import annotations

import functools
import math
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.core.quiet import isolated

_FEW = 8  # numbers on the right-hand side: of more, NumPy is faster
_LEAST = sys.float_info.min
_PACK = [struct.Struct(f"{n}d").pack_into for n in range(_FEW + 1)]


# By the functions that `first` gives back, those that it was given, which source for people has in their place.
NUMPYS: dict[Any, Callable[..., Any]] = {}


def first(quick: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls NumPy, but where `quick`, one of those below, has an answer."""

    @functools.wraps(function)
    def evaluate(*arrays: Any) -> Any:
        found = quick(*arrays)
        return function(*arrays) if found is None else found

    NUMPYS[evaluate] = function
    return evaluate


def solve(a: Any, b: Any) -> Any:
    """np.linalg.solve of 2 x 2 numbers and of 2, or of 2 x k."""
    is_meant = type(b) is np.ndarray and b.ndim <= 2 and 0 < b.size <= _FEW and b.dtype.char == "d" and _is_meant(a)
    return _solved(a, b) if is_meant else None


def inv(a: Any) -> Any:
    """np.linalg.inv of 2 x 2 numbers."""
    return _inverted(a) if _is_meant(a) else None


def slogdet(a: Any) -> tuple[Any, Any] | None:
    """np.linalg.slogdet of 2 x 2 numbers, as a tuple."""
    return _sign_and_logarithm(a) if _is_meant(a) else None


def _is_meant(a: Any) -> bool:
    return type(a) is np.ndarray and a.shape == (2, 2) and a.dtype.char == "d" and has_their_bits()


def _eliminated(a: Any) -> tuple[float, float, float, float, bool]:
    """The upper triangle p, q, u of the factors, the number below that, and whether rows were swapped."""
    (p, q), (r, s) = a.tolist()
    swapped = abs(r) > abs(p)
    if swapped:
        p, q, r, s = r, s, p, q
    if abs(p) < _LEAST:
        return p, q, r, s, swapped
    factor = r * (1 / p)
    return p, q, factor, s - factor * q, swapped


def _solved(a: Any, b: Any) -> Any:
    p, q, factor, u, swapped = _eliminated(a)
    if not (abs(p) >= _LEAST and abs(u) >= _LEAST):
        return None
    top, bottom = b.tolist()
    if swapped:
        top, bottom = bottom, top
    if b.ndim == 1 or len(top) == 1:  # which divides where several columns are multiplied by what is divided once
        if b.ndim == 2:
            (top,), (bottom,) = top, bottom
        y = (bottom - factor * top) / u
        x = (top - q * y) / p
        return _array(b.shape, x, y) if math.isfinite(x + y) else None
    by_p, by_u = 1 / p, 1 / u
    ys = [(w - factor * v) * by_u for v, w in zip(top, bottom)]  # noqa: B905 (being strict takes a third of the time)
    xs = [(v - q * y) * by_p for v, y in zip(top, ys)]  # noqa: B905
    return _array(b.shape, *xs, *ys) if math.isfinite(sum(xs) + sum(ys)) else None


def _array(shape: tuple[int, ...], *numbers: float) -> Any:
    """An array of these numbers, in two thirds of the time that np.array takes."""
    made = np.empty(shape)
    _PACK[len(numbers)](made, 0, *numbers)
    return made


def _inverted(a: Any) -> Any:
    p, q, factor, u, swapped = _eliminated(a)
    if not (abs(p) >= _LEAST and abs(u) >= _LEAST):
        return None
    by_p, by_u = 1 / p, 1 / u
    z, y = (0.0 - factor) * by_u, (1.0 - factor * 0.0) * by_u
    x, w = (1.0 - q * z) * by_p, (0.0 - q * y) * by_p
    if not math.isfinite(x + y + z + w):
        return None
    return _array((2, 2), w, x, y, z) if swapped else _array((2, 2), x, w, z, y)


def _sign_and_logarithm(a: Any) -> tuple[Any, Any] | None:
    p, _, _, u, swapped = _eliminated(a)
    if not (_LEAST <= abs(p) < math.inf and _LEAST <= abs(u) < math.inf):
        return None
    sign = -1.0 if (p < 0) ^ (u < 0) ^ swapped else 1.0
    return np.float64(sign), np.float64(math.log(abs(p)) + math.log(abs(u)))


@functools.cache
def has_their_bits() -> bool:
    """Whether the functions above have the bits of NumPy's on this machine."""
    draw = np.random.default_rng(0)
    for i in range(24):
        a, b = draw.normal(size=(2, 2)), draw.normal(size=(2, _FEW // 2))
        if i % 4 == 0:
            a, b = np.rint(a), np.rint(b)  # zeros of both signs
        elif i % 4 == 1:
            a *= 10.0 ** draw.integers(-9, 9)
        b[0, 0] *= 1e3
        given = [b[:, 0], *[b[:, :k] for k in range(1, _FEW // 2 + 1)]]
        try:
            theirs = [isolated(np.linalg.solve, a, x) for x in given]
            theirs += [isolated(np.linalg.inv, a), *isolated(np.linalg.slogdet, a)]
        except LinAlgError:
            continue
        own = [*[_solved(a, x) for x in given], _inverted(a), *(_sign_and_logarithm(a) or ())]
        if any([x is not None and x.tobytes() != y.tobytes() for x, y in zip(own, theirs, strict=False)]):
            return False
    return True
