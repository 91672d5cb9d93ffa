"""Functions of arrays by their definitions, in numbers that may be mpmath's: what tests/arrays_coverage.py measures errors against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf


def mat(a: Any) -> Any:
    return mpmath.matrix(np.atleast_2d(a).tolist())


def arr(m: Any) -> Any:
    return np.array([[mpmath.re(x) for x in line] for line in m.tolist()], object)


def of_matrix(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda a: arr(f(mat(a)))


def equation(a: Any, b: Any) -> Any:
    return of_matrix(mpmath.inverse)(a) @ b


# ---------------------------------------------------------------------------------------------------------------------
# Matrices.


def frechet(a: Any, e: Any) -> Any:
    """A block of the exponential of a matrix of blocks."""
    n = len(a)
    blocks = np.block([[a, e], [np.zeros((n, n), int), a]])
    return of_matrix(mpmath.expm)(blocks)[:n, n:]


def sylvester(a: Any, b: Any, q: Any) -> Any:
    """A X + X B = Q, as one equation of all elements."""
    n, m = q.shape
    full = np.kron(a, np.eye(m, dtype=int)) + np.kron(np.eye(n, dtype=int), b.T)
    return equation(full, q.ravel()).reshape(n, m)


def _settled(step: Callable[[Any], Any], x: Any) -> Any:
    for _ in range(12):
        x, before = step(x), x
        if max(abs(v) for v in np.ravel(x - before)) < mpf(10) ** -45:
            break
    return x


def care(a: Any, b: Any, q: Any) -> Any:
    """A' X + X A - X B B' X + Q = 0, by Newton's steps, each a Lyapunov equation."""
    from scipy.linalg import solve_continuous_are

    start = solve_continuous_are(*[np.asarray(x, float) for x in (a, b, q)], np.eye(1))

    def step(x: Any) -> Any:
        closed = a - b @ (b.T @ x)
        return sylvester(closed.T, closed, -q - x @ b @ (b.T @ x))

    return _settled(step, np.vectorize(lambda v: mpf(float(v)), otypes=[object])(start))


def dare(a: Any, b: Any, q: Any) -> Any:
    """A' X A - X - A' X B (1 + B' X B)^-1 B' X A + Q = 0, likewise."""
    from scipy.linalg import solve_discrete_are

    start = solve_discrete_are(*[np.asarray(x, float) for x in (a, b, q)], np.eye(1))

    def step(x: Any) -> Any:
        gain = (b.T @ x @ a) / (1 + (b.T @ x @ b)[0, 0])
        closed = a - b @ gain
        n = len(a)
        full = np.eye(n * n, dtype=int) - np.kron(closed.T, closed.T)
        return equation(full, (q + gain.T @ gain).ravel()).reshape(n, n)

    return _settled(step, np.vectorize(lambda v: mpf(float(v)), otypes=[object])(start))


# ---------------------------------------------------------------------------------------------------------------------
# Signals and images.


def convolved(x: Any, y: Any) -> Any:
    found = np.zeros((len(x) + len(y) - 1, len(x[0]) + len(y[0]) - 1), int) * x[0, 0]
    for i in range(len(y)):
        for j in range(len(y[0])):
            found[i : i + len(x), j : j + len(x[0])] += y[i, j] * x
    return found


def filtered(b: Any, a: Any, x: Any) -> Any:
    """By the difference equation, with a leading one in a."""
    y: list[Any] = []
    for n in range(len(x)):
        terms = [b[k] * x[n - k] for k in range(len(b)) if k <= n]
        y.append(sum(terms) - sum([a[k] * y[n - 1 - k] for k in range(len(a)) if k < n]))
    return np.array(y, object)


def sections(sos: Any, x: Any) -> Any:
    for line in sos:
        x = filtered(line[:3], line[4:], x)
    return x


def fourier(x: Any, sign: int = -1) -> Any:
    n = len(x)
    return np.array(
        [mpmath.fsum([x[j] * mpmath.expjpi(mpf(2 * sign * j * k) / n) for j in range(n)]) for k in range(n)], object
    )


def power(spectrum: Any, what: str) -> Any:
    n = len(spectrum)
    if what == "hilbert":
        turned = [s * (-1j if 0 < k < n // 2 else 1j if k > n // 2 else 0) for k, s in enumerate(spectrum)]
        return np.array([mpmath.re(v) / n for v in fourier(turned, 1)], object)
    return product(spectrum, spectrum)


def product(x: Any, y: Any) -> Any:
    """The real part of a one-sided cross spectrum, as a density."""
    n = len(x)
    both = [mpmath.re(mpmath.conj(a) * b) / n for a, b in zip(x[: n // 2 + 1], y, strict=False)]
    return np.array([v * (1 if k in (0, n // 2) else 2) for k, v in enumerate(both)], object)


def resampled(x: Any) -> Any:
    """8 numbers as 12, by a spectrum with zeros in it; half of what is at the highest frequency stands on either side."""
    s = fourier(x)
    full = [*s[:4], s[4] / 2, 0, 0, 0, s[4] / 2, *s[5:]]
    return np.array([mpmath.re(v) / 8 for v in fourier(full, 1)], object)


def _fitted(x: Any, degree: int, places: Any) -> Any:
    """A polynomial through numbers at 0, 1, ..., in the sense of least squares, at these places."""
    powers = np.array([[mpf(i) ** d for d in range(degree + 1)] for i in range(len(x))], object)
    c = equation(powers.T @ powers, powers.T @ x)
    return np.array([sum([c[d] * mpf(p) ** d for d in range(degree + 1)]) for p in places], object)


def detrended(x: Any) -> Any:
    return x - _fitted(x, 1, range(len(x)))


def savgol(x: Any) -> Any:
    """Of windows of 5 numbers, and degree 2."""
    inner = [_fitted(x[i : i + 5], 2, [2])[0] for i in range(len(x) - 4)]
    return np.array([*_fitted(x[:5], 2, [0, 1]), *inner, *_fitted(x[-5:], 2, [3, 4])], object)


def correlated(x: Any, w: Any) -> Any:
    """With what lies beyond the ends reflected at them."""
    reach = len(w) // 2
    padded = np.pad(x, reach, mode="symmetric")
    return np.array(
        [[np.sum(padded[i : i + len(w), j : j + len(w[0])] * w) for j in range(len(x[0]))] for i in range(len(x))],
        object,
    )


def gaussian(x: Any, sigma: float) -> Any:
    reach = int(4 * sigma + 0.5)
    w = np.array([mpmath.exp(-mpf(k * k) / (2 * mpf(sigma) ** 2)) for k in range(-reach, reach + 1)], object)
    w = w / np.sum(w)
    return correlated(x, np.outer(w, w))


def bilinear(x: Any, places: Any) -> Any:
    found = []
    for s, t in places.T:
        i, j = math.floor(s), math.floor(t)
        u, v = s - i, t - j
        found.append(
            (1 - u) * ((1 - v) * x[i, j] + v * x[i, j + 1]) + u * ((1 - v) * x[i + 1, j] + v * x[i + 1, j + 1])
        )
    return np.array(found, object)


def splined(x: Any, places: Any) -> Any:
    """By cubic splines, mirrored at the ends."""
    n = len(x)
    fold = lambda k: (2 * n - 2 - k) if k >= n else abs(k)
    shape = lambda t: (
        (mpf(2) / 3 - t * t * (2 - abs(t)) / 2) if abs(t) < 1 else (2 - abs(t)) ** 3 / 6 if abs(t) < 2 else mpf(0)
    )
    sampled = np.zeros((n, n), int) * mpf(0)
    for i in range(n):
        for k in range(i - 1, i + 2):
            sampled[i, fold(k)] += shape(mpf(i - k))
    inverse = of_matrix(mpmath.inverse)(sampled)
    c = inverse @ x @ inverse.T
    found = []
    for s, t in places.T:
        near = [range(math.floor(v) - 1, math.floor(v) + 3) for v in (s, t)]
        found.append(sum([shape(s - i) * shape(t - j) * c[fold(i), fold(j)] for i in near[0] for j in near[1]]))
    return np.array(found, object)


# ---------------------------------------------------------------------------------------------------------------------
# Interpolation and integrals of samples.


def _piece(x: Any, t: Any) -> int:
    return max(0, min(len(x) - 2, sum([v <= t for v in x]) - 1))


def linear(x: Any, y: Any, t: Any) -> Any:
    at = [(_piece(x, v), v) for v in t]
    return np.array([y[i] + (v - x[i]) * (y[i + 1] - y[i]) / (x[i + 1] - x[i]) for i, v in at], object)


def hermite(x: Any, y: Any, d: Any, t: Any) -> Any:
    found = []
    for v in t:
        i = _piece(x, v)
        h = x[i + 1] - x[i]
        s = (v - x[i]) / h
        found.append(
            (1 + 2 * s) * (1 - s) ** 2 * y[i]
            + s * (1 - s) ** 2 * h * d[i]
            + s * s * (3 - 2 * s) * y[i + 1]
            - s * s * (1 - s) * h * d[i + 1]
        )
    return np.array(found, object)


def cubic(x: Any, y: Any, t: Any) -> Any:
    """Natural: the second derivatives are zero at the ends."""
    n, h = len(x), np.diff(x)
    m = np.diff(y) / h
    system, right = np.zeros((n, n), int) * h[0], np.zeros(n, int) * h[0]
    system[0, :2], right[0] = [2, 1], 3 * m[0]
    system[-1, -2:], right[-1] = [1, 2], 3 * m[-1]
    for i in range(1, n - 1):
        system[i, i - 1 : i + 2] = [h[i], 2 * (h[i - 1] + h[i]), h[i - 1]]
        right[i] = 3 * (h[i] * m[i - 1] + h[i - 1] * m[i])
    return hermite(x, y, equation(system, right), t)


def pchip(x: Any, y: Any, t: Any) -> Any:
    """By Fritsch and Butland's slopes."""
    h = np.diff(x)
    m = np.diff(y) / h

    def end(h0: Any, h1: Any, m0: Any, m1: Any) -> Any:
        d = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
        if mpmath.sign(d) != mpmath.sign(m0):
            return mpf(0)
        return 3 * m0 if mpmath.sign(m0) != mpmath.sign(m1) and abs(d) > 3 * abs(m0) else d

    d = [end(h[0], h[1], m[0], m[1])]
    for i in range(1, len(x) - 1):
        w1, w2 = 2 * h[i] + h[i - 1], h[i] + 2 * h[i - 1]
        d.append(mpf(0) if m[i - 1] * m[i] <= 0 else (w1 + w2) / (w1 / m[i - 1] + w2 / m[i]))
    d.append(end(h[-1], h[-2], m[-1], m[-2]))
    return hermite(x, y, np.array(d, object), t)


def akima(x: Any, y: Any, t: Any) -> Any:
    m = list(np.diff(y) / np.diff(x))
    m = [3 * m[0] - 2 * m[1], 2 * m[0] - m[1], *m, 2 * m[-1] - m[-2], 3 * m[-1] - 2 * m[-2]]
    d = []
    for i in range(len(x)):
        left, right = abs(m[i + 3] - m[i + 2]), abs(m[i + 1] - m[i])
        d.append((left * m[i + 1] + right * m[i + 2]) / (left + right))
    return hermite(x, y, np.array(d, object), t)


def bspline(knots: Any, c: Any, t: Any, degree: int = 3) -> Any:
    """By Cox and de Boor's recurrence."""

    def base(i: int, k: int, v: Any) -> Any:
        if k == 0:
            return mpf(1) if knots[i] <= v < knots[i + 1] else mpf(0)
        found = mpf(0)
        if knots[i + k] > knots[i]:
            found += (v - knots[i]) / mpf(knots[i + k] - knots[i]) * base(i, k - 1, v)
        if knots[i + k + 1] > knots[i + 1]:
            found += (knots[i + k + 1] - v) / mpf(knots[i + k + 1] - knots[i + 1]) * base(i + 1, k - 1, v)
        return found

    return np.array([sum([c[i] * base(i, degree, v) for i in range(len(c))]) for v in t], object)


def trapezoids(y: Any, x: Any) -> Any:
    return np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)


def simpson(y: Any, x: Any) -> Any:
    found = mpf(0)
    for i in range(0, len(x) - 2, 2):
        h, k = x[i + 1] - x[i], x[i + 2] - x[i + 1]
        found += (h + k) / 6 * ((2 - k / h) * y[i] + (h + k) ** 2 / (h * k) * y[i + 1] + (2 - h / k) * y[i + 2])
    return found


def _number(x: Any) -> Any:
    return x[()] if isinstance(x, np.ndarray) else x


def integral(a: Any, low: Any, high: Any) -> Any:
    a, low, high = map(_number, (a, low, high))
    return (mpmath.exp(-a * low) - mpmath.exp(-a * high)) / a


# ---------------------------------------------------------------------------------------------------------------------
# Densities of vectors and matrices.


def normal(x: Any, mean: Any, covariance: Any) -> Any:
    away = x - mean
    return (
        -(
            away @ equation(covariance, away)
            + mpmath.log(mpmath.det(mat(covariance)))
            + len(x) * mpmath.log(2 * mpmath.pi)
        )
        / 2
    )


def dirichlet(x: Any, a: Any) -> Any:
    logs = [(b - 1) * mpmath.log(v) - mpmath.loggamma(b) for v, b in zip(x, a, strict=True)]
    return mpmath.loggamma(np.sum(a)) + mpmath.fsum(logs)


def multinomial(counts: Any, p: Any) -> Any:
    logs = [int(k) * mpmath.log(v) - mpmath.loggamma(int(k) + 1) for k, v in zip(counts, p, strict=True)]
    return mpmath.loggamma(int(np.sum(counts)) + 1) + mpmath.fsum(logs)


def wishart(x: Any, df: Any, scale: Any) -> Any:
    n, df = len(x), _number(df)
    many = mpf(n * (n - 1)) / 4 * mpmath.log(mpmath.pi) + mpmath.fsum([mpmath.loggamma((df - j) / 2) for j in range(n)])
    log = lambda m: mpmath.log(mpmath.det(mat(m)))
    trace = np.trace(of_matrix(mpmath.inverse)(scale) @ x)
    return (df - n - 1) / 2 * log(x) - trace / 2 - df * n / 2 * mpmath.log(2) - df / 2 * log(scale) - many


def kde(x: Any, t: Any) -> Any:
    n = len(x)
    variance = np.sum((x - np.sum(x) / n) ** 2) / (n - 1) * mpf(n) ** (-mpf(2) / 5)
    terms = [mpmath.fsum([mpmath.exp(-((v - w) ** 2) / (2 * variance)) for w in x]) for v in t]
    return np.array(terms, object) / (n * mpmath.sqrt(2 * mpmath.pi * variance))
