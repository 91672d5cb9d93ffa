"""Fourier, cosine and sine transforms by their definitions, in numbers that may be mpmath's: what tests/arrays_coverage.py measures errors against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

from tests.arrays_exact import equation
from tests.arrays_signals import fourier


def along(f: Callable[[Any], Any], x: Any, axes: Sequence[int]) -> Any:
    """A function of vectors along each of these axes."""
    for axis in axes:
        rows = np.moveaxis(x, axis, -1)
        found = np.array([f(line) for line in rows.reshape(-1, rows.shape[-1])], object)
        x = np.moveaxis(found.reshape(*rows.shape[:-1], -1), -1, axis)
    return x


def forth(x: Any, axes: Sequence[int] = (-1,)) -> Any:
    return along(fourier, x, axes)


def back(x: Any, axes: Sequence[int] = (-1,)) -> Any:
    return along(lambda line: fourier(line, 1) / len(line), x, axes)


def _mirrored(half: Any) -> Any:
    """All of a spectrum of an even number of real numbers, from the first half of its last axis: the others are the conjugates across
    the origin."""
    conjugate = np.vectorize(mpmath.conj, otypes=[object])(half)
    if half.ndim > 1:
        conjugate = np.roll(np.flip(conjugate, 0), 1, 0)
    return np.concatenate([half, conjugate[..., -2:0:-1]], -1)


def _first_half(x: Any) -> Any:
    return x[..., : x.shape[-1] // 2 + 1]


def to_half(x: Any, axes: Sequence[int] = (-1,)) -> Any:
    return _first_half(forth(x, axes))


def half_of_inverse(x: Any, axes: Sequence[int] = (-1,)) -> Any:
    return _first_half(back(x, axes))


def real(x: Any) -> Any:
    return np.vectorize(mpmath.re, otypes=[object])(x)


def from_half(x: Any, axes: Sequence[int] = (-1,)) -> Any:
    """The real part stands for both: numbers at the frequencies 0 and the highest count without their imaginary part."""
    return real(back(_settled(x), axes))


def of_hermitian(x: Any, axes: Sequence[int] = (-1,)) -> Any:
    return real(forth(_settled(x), axes))


def _settled(half: Any) -> Any:
    """The symmetric part of a spectrum whose half is given."""
    full = _mirrored(half)
    other = np.vectorize(mpmath.conj, otypes=[object])(full)
    for axis in range(full.ndim):
        other = np.roll(np.flip(other, axis), 1, axis)
    return (full + other) / 2


def _matrix(name: str, kind: int, n: int) -> Any:
    """Of `dct` or `dst`, by the sums in SciPy's documentation."""
    cosine = name == "dct"
    of = mpmath.cospi if cosine else mpmath.sinpi
    found = np.empty((n, n), object)
    for k in range(n):
        for m in range(n):
            u, v = (k, m) if cosine else (k + 1, m + 1)
            angle = {
                1: mpf(u * v) / (n - 1 if cosine else n + 1), 2: mpf(u * (2 * m + 1)) / (2 * n),
                3: mpf((2 * k + 1) * v) / (2 * n), 4: mpf((2 * k + 1) * (2 * m + 1)) / (4 * n),
            }[kind]  # fmt: skip
            is_end = (kind == 1 and cosine and m in (0, n - 1)) or (kind == 3 and m == (0 if cosine else n - 1))
            found[k, m] = of(angle) * (1 if is_end else 2)
    return found


def cosine(name: str, x: Any, kinds: Sequence[int] = (1, 2, 3, 4), axes: Sequence[int] = (-1,)) -> Any:
    """`dct`, `dst` or, with an i in front, their inverses, of each kind."""

    def transformed(line: Any, kind: int) -> Any:
        matrix = _matrix(name.removeprefix("i"), kind, len(line))
        return equation(matrix, line) if name.startswith("i") else matrix @ line

    return np.concatenate([along(lambda line: transformed(line, kind), x, axes).ravel() for kind in kinds])
