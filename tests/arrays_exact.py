"""Functions of arrays by their definitions, in numbers that may be mpmath's: what tests/arrays_coverage.py measures errors against."""

from __future__ import annotations

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
# Factors of matrices, with the signs that make them unique.


def pivoted(a: Any) -> tuple[Any, Any, Any]:
    """By elimination with the largest element of each column: which rows, and both triangles."""
    m, n = a.shape
    u, rows, l = a.copy(), list(range(m)), np.zeros((m, min(m, n)), int) * mpf(0)
    for k in range(min(m, n)):
        best = max(range(k, m), key=lambda i: abs(u[i, k]))
        for x in (u, l):
            x[[k, best]] = x[[best, k]]
        rows[k], rows[best] = rows[best], rows[k]
        l[k, k] = mpf(1)
        for i in range(k + 1, m):
            l[i, k] = u[i, k] / u[k, k]
            u[i] = u[i] - l[i, k] * u[k]
    return np.array(rows), l, np.triu(u[: min(m, n)])


def lu(a: Any) -> Any:
    rows, l, u = pivoted(a)
    return np.concatenate([np.ravel(np.eye(len(a), dtype=int)[:, rows]), np.ravel(l), np.ravel(u)])


def packed_lu(a: Any) -> Any:
    _, l, u = pivoted(a)
    return np.tril(l, -1) + u


def qr(a: Any) -> Any:
    """By Cholesky's factor of a'a: its diagonal is positive."""
    r = of_matrix(mpmath.cholesky)(a.T @ a).T
    return np.concatenate([np.ravel(a @ of_matrix(mpmath.inverse)(r)), np.ravel(r)])


def rq(a: Any) -> Any:
    """By that of aa', turned around."""
    r = of_matrix(mpmath.cholesky)((a @ a.T)[::-1, ::-1])[::-1, ::-1]
    return np.concatenate([np.ravel(r), np.ravel(of_matrix(mpmath.inverse)(r) @ a)])


def _turned(v: Any) -> Any:
    """Columns of which the first element is positive."""
    return v * np.array([mpmath.sign(x) for x in v[0]], object)


def eigh(a: Any, b: Any = None) -> Any:
    """Eigenvalues, and vectors of which the first element is positive; with b those of a v = w b v, with v'bv = 1."""
    back = None if b is None else of_matrix(mpmath.inverse)(of_matrix(mpmath.cholesky)(b))
    w, v = mpmath.eigsy(mat(a if back is None else back @ a @ back.T))
    v = arr(v) if back is None else back.T @ arr(v)
    return np.concatenate([np.array(list(w), object), np.ravel(_turned(v))])


def svd(a: Any) -> Any:
    """With left vectors of which the first element is positive."""
    u, s, vh = mpmath.svd_r(mat(a))
    signs = np.array([mpmath.sign(x) for x in arr(u)[0]], object)
    return np.concatenate([np.ravel(arr(u) * signs), np.array(list(s), object), np.ravel(arr(vh) * signs[:, None])])


def polar(a: Any) -> Any:
    u, _, vh = mpmath.svd_r(mat(a))
    return arr(u * vh)


def procrustes(a: Any, b: Any) -> Any:
    u, s, vh = mpmath.svd_r(mat(a.T @ b))
    return np.concatenate([np.ravel(arr(u * vh)), [mpmath.fsum(list(s))]])


def eig(a: Any, vectors: bool = True) -> Any:
    """In the order of the real parts, of two that are conjugate the negative imaginary one first; vectors over their first element; the real
    parts of all, and the imaginary ones."""
    w, v = mpmath.eig(mat(a))
    order = sorted(range(len(w)), key=lambda i: mpmath.re(w[i]) + mpmath.im(w[i]) / 1024)
    rows = [[w[i] for i in order], *[[v[k, i] / v[0, i] for i in order] for k in range(len(w))]]
    return parted(np.array(rows if vectors else rows[:1], object))


def eigvals(a: Any) -> Any:
    return eig(a, vectors=False)


def parted(z: Any) -> Any:
    """Real and imaginary parts one after another."""
    return np.array([*[mpmath.re(x) for x in np.ravel(z)], *[mpmath.im(x) for x in np.ravel(z)]], object)


def toeplitz(c: Any, r: Any) -> Any:
    return np.array([[c[i - j] if i >= j else r[j - i] for j in range(len(r))] for i in range(len(c))])


def circulant(c: Any) -> Any:
    return np.array([[c[(i - j) % len(c)] for j in range(len(c))] for i in range(len(c))])


def banded(ab: Any, above: int) -> Any:
    """The matrix of which these are the diagonals."""
    n = len(ab[0])
    found = np.zeros((n, n), int) * mpf(0)
    for i in range(n):
        for j in range(n):
            if 0 <= above + i - j < len(ab):
                found[i, j] = ab[above + i - j, j]
    return found


def symmetric_of_bands(ab: Any) -> Any:
    """With its upper diagonals."""
    upper = banded(ab, len(ab) - 1)
    return upper + np.triu(upper, 1).T


def tridiagonal(d: Any, e: Any) -> Any:
    return np.diag(d) + np.diag(e, 1) + np.diag(e, -1)


def fiedler_companion(a: Any) -> Any:
    """Of four degrees."""
    c = -a[1:] / a[0]
    return np.array([[c[0], c[1], 1, 0], [1, 0, 0, 0], [0, c[2], 0, c[3]], [0, 1, 0, 0]], object)


def companion(a: Any) -> Any:
    return np.concatenate([np.array([-a[1:] / a[0]], object), np.eye(len(a) - 2, len(a) - 1, dtype=int)])


def dft(n: int) -> Any:
    return parted([[mpmath.expjpi(mpf(-2 * (i * j % n)) / n) for j in range(n)] for i in range(n)])


def at_places(values: Any, shape: tuple[int, int], places: Any) -> Any:
    """A matrix with these values at these places, and zeros."""
    found = np.zeros(shape, int) * mpf(0)
    for x, (i, j) in zip(values, places, strict=True):
        found[i, j] = x
    return found


def balanced(s: Any, b: Any) -> Any:
    """The x with s @ x + x ** 3 == b, for a positive definite s, by Newton's steps."""
    x = b * mpf(0)
    for _ in range(60):
        step = equation(s + np.diag(3 * x * x), s @ x + x**3 - b)
        x = x - step
        if max([abs(v) for v in step]) < mpf(10) ** -50:
            break
    return x


def fitted_decay(t: Any, y: Any) -> Any:
    """The p and q for which p * exp(-q t) is nearest to y, in the sense of least squares: of the two equations for a minimum one gives p."""

    def p_of(q: Any) -> Any:
        return mpmath.fsum([v * mpmath.exp(-q * s) for s, v in zip(t, y, strict=True)]) / mpmath.fsum(
            [mpmath.exp(-2 * q * s) for s in t]
        )

    def slope(q: Any) -> Any:
        p = p_of(q)
        return mpmath.fsum([s * mpmath.exp(-q * s) * (v - p * mpmath.exp(-q * s)) for s, v in zip(t, y, strict=True)])

    q = mpmath.findroot(slope, (mpf("0.45"), mpf("0.55")), tol=mpf(10) ** -100)
    return np.array([p_of(q), q], object)


def ranks(x: Any) -> Any:
    """With equal ones having the mean of theirs."""
    return np.array([sum([w < v for w in x]) + mpf(sum([w == v for w in x]) + 1) / 2 for v in x], object)


def mode(x: Any) -> Any:
    """The most frequent one, and of several the least."""
    x = list(x)
    return min(x, key=lambda v: (-x.count(v), v))


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


def _base(knots: Any, i: int, k: int, v: Any) -> Any:
    """By Cox and de Boor's recurrence."""
    if k == 0:
        return mpf(1) if knots[i] <= v < knots[i + 1] else mpf(0)
    found = mpf(0)
    if knots[i + k] > knots[i]:
        found += (v - knots[i]) / mpf(knots[i + k] - knots[i]) * _base(knots, i, k - 1, v)
    if knots[i + k + 1] > knots[i + 1]:
        found += (knots[i + k + 1] - v) / mpf(knots[i + k + 1] - knots[i + 1]) * _base(knots, i + 1, k - 1, v)
    return found


def bspline(knots: Any, c: Any, t: Any, degree: int = 3) -> Any:
    return np.array([sum([c[i] * _base(knots, i, degree, v) for i in range(len(c))]) for v in t], object)


def interpolated(x: Any, y: Any, t: Any) -> Any:
    """By cubic splines with no knots at the second place and the last but one."""
    n = len(x)
    knots = [*[x[0]] * 4, *x[2:-2], *[x[-1]] * 4]
    rows = [[_base(knots, i, 3, v) for i in range(n)] for v in x[:-1]]
    return bspline(knots, equation(np.array([*rows, [mpf(i == n - 1) for i in range(n)]], object), y), t)


def polynomials(c: Any, x: Any, t: Any) -> Any:
    """Of each piece, the highest power first."""
    at = [(_piece(x, v), v) for v in t]
    return np.array([sum([w * (v - x[i]) ** (len(c) - 1 - k) for k, w in enumerate(c[:, i])]) for i, v in at], object)


def trapezoids(y: Any, x: Any) -> Any:
    return np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)


def simpson(y: Any, x: Any) -> Any:
    found = mpf(0)
    for i in range(0, len(x) - 2, 2):
        h, k = x[i + 1] - x[i], x[i + 2] - x[i + 1]
        found += (h + k) / 6 * ((2 - k / h) * y[i] + (h + k) ** 2 / (h * k) * y[i + 1] + (2 - h / k) * y[i + 2])
    return found


def parabolas(y: Any, x: Any) -> Any:
    """Running integrals of parabolas through the three numbers at i, i + 1, i + 2 of even i, or at the end the last three."""
    total, found = mpf(0), []
    for i in range(len(x) - 1):
        k = min(i - i % 2, len(x) - 3)
        powers = np.array([[x[k + j] ** d for d in range(3)] for j in range(3)], object)
        c = equation(powers, y[k : k + 3])
        total += sum([c[d] * (x[i + 1] ** (d + 1) - x[i] ** (d + 1)) / (d + 1) for d in range(3)])
        found.append(total)
    return np.array(found, object)


def _number(x: Any) -> Any:
    return x[()] if isinstance(x, np.ndarray) else x


def integral(a: Any, low: Any, high: Any) -> Any:
    a, low, high = map(_number, (a, low, high))
    return (mpmath.exp(-a * low) - mpmath.exp(-a * high)) / a


def triangle_integral(a: Any, b: Any) -> Any:
    """Of exp(-a x - y) over 0 < y < x < b."""
    a, b = map(_number, (a, b))
    return -mpmath.expm1(-a * b) / a + mpmath.expm1(-(a + 1) * b) / (a + 1)


def box_integral(a: Any, b: Any) -> Any:
    """Of exp(-a (x + y + z)) over 0 < x < b and y and z from 0 to 1."""
    a, b = map(_number, (a, b))
    return mpmath.expm1(-a * b) * mpmath.expm1(-a) ** 2 / -(a**3)


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
