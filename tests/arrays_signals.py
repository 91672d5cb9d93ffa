"""Functions of signals and images by their definitions, in numbers that may be mpmath's: what tests/arrays_coverage.py measures errors against."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

from tests.arrays_exact import equation, of_matrix


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


def folded(k: int, n: int) -> int:
    """An index beyond the ends, mirrored there."""
    return (2 * n - 2 - k) if k >= n else abs(k)


def spline(t: Any) -> Any:
    """The cubic one, around 0."""
    if abs(t) < 1:
        return mpf(2) / 3 - t * t * (2 - abs(t)) / 2
    return (2 - abs(t)) ** 3 / 6 if abs(t) < 2 else mpf(0)


def splined(x: Any, places: Any) -> Any:
    """By cubic splines, mirrored at the ends."""
    n, c = len(x), coefficients(x)
    found = []
    for place in places.T:
        near = [range(math.floor(v) - 1, math.floor(v) + 3) for v in place]
        (rows, columns) = [[(folded(k, n), spline(v - k)) for k in ks] for ks, v in zip(near, place, strict=True)]
        found.append(sum([u * v * c[i, j] for i, u in rows for j, v in columns]))
    return np.array(found, object)


# ---------------------------------------------------------------------------------------------------------------------
# Segments of signals.


def hann(n: int) -> Any:
    """One period."""
    return np.array([(1 - mpmath.cospi(mpf(2 * k) / n)) / 2 for k in range(n)], object)


def _spectra_of_segments(x: Any, size: int, mean: bool = True) -> list[Any]:
    """The one-sided spectra of segments that overlap by half, weighted by a window, with their means taken away or not."""
    parts = [x[i : i + size] for i in range(0, len(x) - size + 1, size // 2)]
    return [fourier(hann(size) * (p - np.sum(p) / size if mean else p))[: size // 2 + 1] for p in parts]


def _size(z: Any) -> Any:
    return mpmath.re(z) ** 2 + mpmath.im(z) ** 2


def densities(x: Any, size: int) -> Any:
    """Power densities of each segment: frequencies, and segments beside each other."""
    twice = np.array([1 if k in (0, size // 2) else 2 for k in range(size // 2 + 1)])
    scale = np.sum(hann(size) ** 2)
    return np.array([[_size(v) for v in s] * twice / scale for s in _spectra_of_segments(x, size)], object).T


def welch(x: Any, size: int) -> Any:
    found = densities(x, size)
    return np.sum(found, 1) / len(found[0])


def coherence(x: Any, y: Any, size: int) -> Any:
    both = list(zip(_spectra_of_segments(x, size), _spectra_of_segments(y, size), strict=True))
    found = []
    for k in range(size // 2 + 1):
        cross = mpmath.fsum([mpmath.conj(a[k]) * b[k] for a, b in both])
        found.append(
            _size(cross) / (mpmath.fsum([_size(a[k]) for a, _ in both]) * mpmath.fsum([_size(b[k]) for _, b in both]))
        )
    return np.array(found, object)


def stft(x: Any, size: int) -> Any:
    """Of a signal between zeros, as amplitudes: frequencies, and segments beside each other."""
    padded = np.pad(x, size // 2)
    return np.array(_spectra_of_segments(padded, size, mean=False), object).T / np.sum(hann(size))


def istft(re: Any, im: Any) -> Any:
    """By overlapping segments, each weighted by the window again, over the sum of its squares."""
    half, count = len(re) - 1, len(re[0])
    size, window = 2 * half, hann(2 * half)
    total, weights = np.zeros((2, half * (count + 1)), int) * mpf(0)
    for j in range(count):
        line = [mpmath.mpc(a, b) for a, b in zip(re[:, j], im[:, j], strict=True)]
        full = [mpmath.re(line[0]), *line[1:-1], mpmath.re(line[-1]), *[mpmath.conj(v) for v in line[-2:0:-1]]]
        segment = np.array([mpmath.re(v) / size for v in fourier(full, 1)], object) * np.sum(window)
        total[half * j : half * j + size] += segment * window
        weights[half * j : half * j + size] += window**2
    return total[half:-half] / weights[half:-half]


# ---------------------------------------------------------------------------------------------------------------------
# Filters with a state, medians, and rates.


def stateful(b: Any, a: Any, x: Any, z: Any) -> Any:
    """A filter with a leading one before a, in the form that keeps sums in its state z."""
    z, found = [*z, mpf(0)], []
    for v in x:
        y = b[0] * v + z[0]
        z = [*[b[i + 1] * v + z[i + 1] - a[i] * y for i in range(len(z) - 1)], mpf(0)]
        found.append(y)
    return np.array(found, object)


def steady(b: Any, a: Any) -> Any:
    """The state in which ones have been filtered for long; with as many coefficients b as a and its leading one."""
    level = np.sum(b) / (1 + np.sum(a))
    z: list[Any] = [mpf(0)]
    for v, w in zip(b[:0:-1], a[::-1], strict=True):
        z.insert(0, v - w * level + z[0])
    return np.array(z[:-1], object)


def steady_sections(b: Any, a: Any) -> Any:
    found, level = [], mpf(1)
    for v, w in zip(b, a, strict=True):
        found.append(level * steady(v, w))
        level = level * np.sum(v) / (1 + np.sum(w))
    return np.array(found, object)


def both_ways(b: Any, a: Any, x: Any, beyond: int) -> Any:
    """Sections one after another, there and back, of a signal that goes on beyond its ends as it came, turned about them."""
    x = np.concatenate([2 * x[0] - x[beyond:0:-1], x, 2 * x[-1] - x[-2 : -beyond - 2 : -1]])
    states = steady_sections(b, a)
    for _ in range(2):
        first = x[0]
        for v, w, z in zip(b, a, states, strict=True):
            x = stateful(v, w, x, z * first)
        x = x[::-1]
    return x[beyond:-beyond]


def state_after(b: Any, a: Any, y: Any, x: Any) -> Any:
    """Of a filter of order 2 that has had these inputs x, and given these outputs y, the last one first."""
    return np.array([b[1] * x[0] + b[2] * x[1] - a[0] * y[0] - a[1] * y[1], b[2] * x[0] - a[1] * y[0]], object)


def median(x: Any, size: int) -> Any:
    """Of windows, with zeros beyond the ends."""
    x = np.atleast_2d(x)
    up = size // 2 if len(x) > 1 else 0
    padded = np.pad(x, ((up, up), (size // 2, size // 2)))
    found = [
        [sorted(np.ravel(padded[i : i + 2 * up + 1, j : j + size]))[(2 * up + 1) * size // 2] for j in range(len(x[0]))]
        for i in range(len(x))
    ]
    return np.squeeze(np.array(found, object))


def _windowed_sinc(count: int, rate: int, window: Any) -> Any:
    """A low pass of 1 / rate, with a sum of 1."""
    places = [mpf(2 * k - count + 1) / 2 / rate for k in range(count)]
    h = np.array([mpmath.sincpi(p) for p in places], object) * window
    return h / np.sum(h)


def hamming(count: int) -> Any:
    return np.array([(27 - 23 * mpmath.cospi(mpf(2 * k) / (count - 1))) / 50 for k in range(count)], object)


def kaiser(count: int, beta: int) -> Any:
    shape = [mpmath.sqrt(1 - (mpf(2 * k) / (count - 1) - 1) ** 2) for k in range(count)]
    return np.array([mpmath.besseli(0, beta * s) / mpmath.besseli(0, beta) for s in shape], object)


def at_rate(x: Any, up: int, down: int, h: Any) -> Any:
    """With zeros between samples, a filter around each, and every down-th of it."""
    reach = len(h) // 2
    found = []
    for m in range(-(-len(x) * up // down)):
        at = [m * down - j * up + reach for j in range(len(x))]
        found.append(sum([x[j] * h[k] * up for j, k in enumerate(at) if 0 <= k < len(h)], mpf(0)))
    return np.array(found, object)


def decimated(x: Any) -> Any:
    """Every second one, by a filter of order 8."""
    return at_rate(x, 1, 2, _windowed_sinc(9, 2, hamming(9)))


@functools.cache
def _low_pass() -> Any:
    return _windowed_sinc(61, 3, kaiser(61, 5))


def at_three_halves(x: Any) -> Any:
    return at_rate(x, 3, 2, _low_pass())


def chirp(t: Any, f0: Any, t1: Any, f1: Any) -> Any:
    return np.array([mpmath.cospi(2 * (f0 * v + (f1 - f0) / t1 * v * v / 2)) for v in t], object)


def gausspulse(t: Any, fc: Any, bw: Any) -> Any:
    """With a bandwidth at -6 dB."""
    a = -((mpmath.pi * fc * bw) ** 2) / (4 * mpmath.log(mpf(10) ** (mpf(-6) / 20)))
    return np.array([mpmath.exp(-a * v * v) * mpmath.cospi(2 * fc * v) for v in t], object)


# ---------------------------------------------------------------------------------------------------------------------
# Images.


def line(x: Any, w: Any) -> Any:
    """A vector, correlated with weights, with what lies beyond the ends reflected at them."""
    reach = len(w) // 2
    padded = np.pad(x, reach, mode="symmetric")
    return np.array([np.sum(padded[i : i + len(w)] * w) for i in range(len(x))], object)


def bell(sigma: Any, reach: int, order: int = 0) -> Any:
    """Weights of a Gaussian function with a sum of 1, or of its derivatives."""
    places = np.array([mpf(k) for k in range(-reach, reach + 1)], object)
    w = np.array([mpmath.exp(-p * p / (2 * sigma * sigma)) for p in places], object)
    w = w / np.sum(w)
    if order == 1:
        return w * places / sigma**2  # turned around, as correlations want it
    return w * (places**2 / sigma**4 - 1 / sigma**2) if order == 2 else w


def blurred(x: Any, sigma: float, orders: Sequence[int]) -> Any:
    reach = int(4 * sigma + 0.5)
    return correlated(x, np.outer(*[bell(mpf(sigma), reach, k) for k in orders]))


def steepness(x: Any, sigma: float) -> Any:
    squares = blurred(x, sigma, (1, 0)) ** 2 + blurred(x, sigma, (0, 1)) ** 2
    return np.array([[mpmath.sqrt(v) for v in row] for row in squares], object)


def extreme(x: Any, which: Any) -> Any:
    """The largest or the least of each window of 3, or 3 x 3."""
    padded = np.pad(x, 1, mode="symmetric")
    if x.ndim == 1:
        return np.array([which(padded[i : i + 3]) for i in range(len(x))], object)
    return np.array(
        [[which(np.ravel(padded[i : i + 3, j : j + 3])) for j in range(len(x[0]))] for i in range(len(x))], object
    )


@functools.cache
def _of_samples(n: int) -> Any:
    """The matrix that makes coefficients of cubic splines, mirrored at the ends, of what they are at 0, 1, ..."""
    sampled = np.zeros((n, n), int) * mpf(0)
    for i in range(n):
        for k in range(i - 1, i + 2):
            sampled[i, folded(k, n)] += spline(mpf(i - k))
    return of_matrix(mpmath.inverse)(sampled)


def coefficients(x: Any) -> Any:
    """Of cubic splines, along each axis."""
    inverse = _of_samples(len(x))
    return inverse @ x if x.ndim == 1 else inverse @ x @ inverse.T


def mapped(x: Any, matrix: Any, offset: Any) -> Any:
    """By cubic splines, at matrix @ place + offset for each place."""
    grid = np.array([[i, j] for i in range(len(x)) for j in range(len(x[0]))]).T
    return splined(x, matrix @ grid + np.reshape(offset, (2, 1))).reshape(x.shape)


def rotated(x: Any, angle: Any) -> Any:
    """By an angle in degrees, around the middle."""
    turn = mpmath.pi * angle / 180
    c, s = mpmath.cos(turn), mpmath.sin(turn)
    matrix = np.array([[c, s], [-s, c]], object)
    middle = np.array([len(x) - 1, len(x[0]) - 1]) / mpf(2)
    return mapped(x, matrix, middle - matrix @ middle)


def zoomed(x: Any, count: int) -> Any:
    places = [mpf(i) * (len(x) - 1) / (count - 1) for i in range(count)]
    return splined(x, np.array([[s, t] for s in places for t in places], object).T).reshape(count, count)


def centre(x: Any) -> Any:
    grid = np.indices(x.shape)
    return np.array([np.sum(g * x) / np.sum(x) for g in grid], object)
