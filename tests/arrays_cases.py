"""The functions of arrays in `tg.scipy`, and what they are by their definitions: the rows of the table that tests/arrays_coverage.py makes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mpf

import tracegrad as tg
from tests import arrays_exact as exact
from tests import arrays_fourier as spectra
from tests import arrays_signals as signals
from tests.arrays_exact import care, dare, equation, integral, mat, of_matrix, sylvester


class Case(NamedTuple):
    """Ours; the same in mpmath's words; shapes of what is drawn, of which "+" in front has positive numbers, and "<" rising ones; further arguments;
    in which of them there are derivatives, if not in all."""

    ours: Callable[..., Any]
    exact: Callable[..., Any]
    shapes: tuple[str, ...]
    ends: tuple[tuple[Any, ...], ...] = ()
    over: tuple[int, ...] | None = None

    @property
    def arguments(self) -> tuple[int, ...]:
        return tuple(range(len(self.shapes))) if self.over is None else self.over


def positive(m: Any) -> Any:
    """A positive definite matrix."""
    return m @ m.T + np.eye(len(m), dtype=int)


def symmetric(m: Any) -> Any:
    return m + m.T


def of_positive(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda m, *xs: f(positive(m), *xs)


def together(*xs: Any) -> Any:
    """All of their elements."""
    return np.concatenate([np.ravel(x) for x in xs])


def parted(z: Any) -> Any:
    return together(np.real(z), np.imag(z))


def signed_qr(q: Any, r: Any) -> Any:
    """With a positive diagonal."""
    signs = np.sign(np.diagonal(r))
    return together(q * signs, r * signs[:, None])


def signed_rq(r: Any, q: Any) -> Any:
    signs = np.sign(np.diagonal(r))
    return together(r * signs, q * signs[:, None])


def signed_svd(u: Any, s: Any, vh: Any) -> Any:
    """With a positive first row of u."""
    signs = np.sign(u[0])
    return together(u * signs, s, vh * signs[:, None])


def signed_eigh(w: Any, v: Any) -> Any:
    return together(w, v * np.sign(v[0]))


def in_order(w: Any, v: Any = None) -> Any:
    """Eigenvalues in an order of their own, and vectors over their first elements."""
    order = np.argsort(np.real(w) + np.imag(w) / 1024)
    rows = np.reshape(w, (1, -1)) if v is None else np.concatenate([np.reshape(w, (1, -1)), v / v[0]])
    return parted(rows[:, order])


def factors(t: Any, z: Any, below: int) -> Any:
    """Of a == z t z^H, with a unitary z: the products, and what is zero in t."""
    back = np.conj(z).T
    found = together(z @ t @ back, z @ back, np.tril(t, below))
    return parted(found) if np.iscomplexobj(t) else found


def unitary(a: Any, parts: int = 1) -> Any:
    """What these are, in one or two parts."""
    n = len(a)
    found = together(a, np.eye(n, dtype=int), np.zeros((n, n), int))
    return found if parts == 1 else together(found, 0 * found)


def bands_of_factor(m: Any) -> Any:
    l = of_matrix(mpmath.cholesky)(m)
    return np.stack([np.diagonal(l, -1), np.diagonal(l)[1:]])


def leading(a: Any) -> Any:
    """Coefficients of a filter that is stable, or nearly so."""
    return np.concatenate([np.ones(1), 0.25 * a])


def in_sections(b: Any, a: Any) -> Any:
    return np.concatenate([b, np.ones((2, 1)), 0.25 * a], 1)


def decay(t: Any, p: Any, q: Any) -> Any:
    return p * np.exp(-q * t)


def well(u: Any, m: Any, b: Any) -> Any:
    """A function that is least where m @ u + u ** 3 == b."""
    return 0.5 * u @ (m @ u) + np.sum(u**4) / 4 - b @ u


def system(d: Any) -> Any:
    return sp.csc_array((d + FAR, *COLUMNS), (3, 3))


def system_exactly(d: Any) -> Any:
    return exact.at_places(d + FAR, (3, 3), [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (2, 2)])


def twofold(d: Any) -> Any:
    a = system(d)
    return a + a.T


la, ff, sig, nd, ip, ig, st, op, sp = (
    tg.scipy.linalg, tg.scipy.fft, tg.scipy.signal, tg.scipy.ndimage, tg.scipy.interpolate, tg.scipy.integrate, tg.scipy.stats, tg.scipy.optimize, tg.scipy.sparse
)  # fmt: skip
HEAVY = np.array([[0.0], [4.0]])
LABELS = np.array([[1, 2, 2, 1, 1], [2, 2, 1, 1, 2], [1, 1, 1, 2, 2], [1, 2, 1, 1, 2]])
ROWS = (np.array([0, 2, 3, 0, 1, 3]), np.array([0, 2, 3, 6]))
PLACED = [(0, 0), (0, 2), (1, 3), (2, 0), (2, 1), (2, 3)]
COLUMNS = (np.array([0, 1, 0, 1, 2, 1, 2]), np.array([0, 2, 5, 7]))
FAR = np.array([4.0, 0.0, 0.0, 4.0, 0.0, 0.0, 4.0])
EYE, ZERO = np.eye(3), np.zeros((3, 3))
SCALES = np.diag([1e-8, 1.0, 1e8])
KNOTS = np.array([0.0, 0, 0, 0, 1.5, 3, 5, 5, 5, 5])
SOS = np.array([[0.2, 0.4, 0.2, 1.0, -0.5, 0.25], [0.3, 0.1, 0.3, 1.0, 0.2, 0.5]])
KERNEL = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0], [2.0, 0.0, 1.5]])
PLACES = np.array([[0.3, 1.7, 2.5, 3.6], [2.2, 0.6, 3.3, 1.9]])
COUNTS = np.array([2, 0, 3, 1])

# Shapes of the real and imaginary parts.
FOURIER: dict[str, tuple[str, ...]] = {
    "fft": ("6", "6"), "ifft": ("6", "6"), "rfft": ("6",), "irfft": ("4", "4"), "hfft": ("4", "4"), "ihfft": ("6",),
    "fft2": ("34", "34"), "ifft2": ("34", "34"), "rfft2": ("34",), "irfft2": ("33", "33"), "hfft2": ("33", "33"), "ihfft2": ("34",),
    "fftn": ("34", "34"), "ifftn": ("34", "34"), "rfftn": ("34",), "irfftn": ("33", "33"), "hfftn": ("33", "33"), "ihfftn": ("34",),
}  # fmt: skip


def _transform(name: str, *parts: Any) -> Any:
    x = parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]
    return parted(getattr(ff, name)(x))


def _exactly(name: str, *parts: Any) -> Any:
    """By the same transform along one axis, or two."""
    x = parts[0] if len(parts) == 1 else parts[0] + mpmath.mpc(0, 1) * parts[1]
    kinds = {
        "fft": spectra.forth, "ifft": spectra.back, "rfft": spectra.to_half, "irfft": spectra.from_half,
        "hfft": spectra.of_hermitian, "ihfft": spectra.half_of_inverse,
    }  # fmt: skip
    return exact.parted(kinds[name.rstrip("2n")](x, range(x.ndim)))


CASES: dict[str, Case] = {
    "linalg.solve": Case(la.solve, lambda a, b: equation(a, b), ("33", "3"), ((EYE, np.ones(3)), (SCALES, np.ones(3)))),
    "linalg.solve_triangular": Case(lambda a, b: la.solve_triangular(a, b), lambda a, b: equation(np.triu(a), b), ("33", "3"), ((EYE, np.ones(3)),)),
    "linalg.solve_toeplitz": Case(
        la.solve_toeplitz, lambda c, b: equation(np.array([[c[abs(i - j)] for j in range(4)] for i in range(4)]), b), ("4", "4")
    ),
    "linalg.solve_circulant": Case(
        la.solve_circulant, lambda c, b: equation(np.array([[c[(i - j) % 4] for j in range(4)] for i in range(4)]), b), ("4", "4")
    ),
    "linalg.inv": Case(la.inv, of_matrix(mpmath.inverse), ("33",), ((EYE,), (SCALES,))),
    "linalg.det": Case(la.det, lambda a: mpmath.det(mat(a)), ("44",), ((np.eye(4),),)),
    "linalg.lstsq": Case(lambda a, b: la.lstsq(a, b)[0], lambda a, b: equation(a.T @ a, a.T @ b), ("52", "5")),
    "linalg.pinv": Case(la.pinv, lambda a: of_matrix(mpmath.inverse)(a.T @ a) @ a.T, ("52",)),
    "linalg.norm": Case(la.norm, lambda a: mpmath.sqrt(np.sum(a * a)), ("33",), ((SCALES,),)),
    "linalg.cholesky": Case(lambda m: la.cholesky(positive(m), lower=True), of_positive(of_matrix(mpmath.cholesky)), ("33",), ((ZERO,),)),
    "linalg.cho_solve": Case(lambda m, b: la.cho_solve(la.cho_factor(positive(m)), b), of_positive(equation), ("33", "3"), ((ZERO, np.ones(3)),)),
    "linalg.eigvalsh": Case(
        lambda m: la.eigvalsh(symmetric(m)), lambda m: np.array(list(mpmath.eigsy(mat(symmetric(m)), eigvals_only=True)), object), ("33",)
    ),
    "linalg.svdvals": Case(la.svdvals, lambda a: np.array(list(mpmath.svd_r(mat(a), compute_uv=False)), object), ("33",)),
    "linalg.polar": Case(lambda a: la.polar(a)[0], lambda a: (lambda u, s, v: np.array((u * v).tolist(), object))(*mpmath.svd_r(mat(a))), ("33",)),
    "linalg.expm": Case(la.expm, of_matrix(mpmath.expm), ("33",), ((ZERO,), (10 * EYE,), (-20 * EYE + 1,))),
    "linalg.expm_frechet": Case(lambda a, e: la.expm_frechet(a, e)[1], exact.frechet, ("33", "33"), ((ZERO, EYE), (10 * EYE, EYE))),
    "linalg.sqrtm": Case(lambda m: la.sqrtm(positive(m)), of_positive(of_matrix(mpmath.sqrtm)), ("33",)),
    "linalg.logm": Case(lambda m: la.logm(positive(m)), of_positive(of_matrix(mpmath.logm)), ("33",)),
    "linalg.cosm": Case(la.cosm, of_matrix(mpmath.cosm), ("33",), ((ZERO,),)),
    "linalg.sinm": Case(la.sinm, of_matrix(mpmath.sinm), ("33",), ((ZERO,),)),
    "linalg.tanm": Case(la.tanm, of_matrix(lambda a: mpmath.inverse(mpmath.cosm(a)) * mpmath.sinm(a)), ("33",), ((ZERO,),)),
    "linalg.coshm": Case(la.coshm, of_matrix(lambda a: (mpmath.expm(a) + mpmath.expm(-a)) / 2), ("33",), ((ZERO,),)),
    "linalg.sinhm": Case(la.sinhm, of_matrix(lambda a: (mpmath.expm(a) - mpmath.expm(-a)) / 2), ("33",)),
    "linalg.solve_sylvester": Case(la.solve_sylvester, sylvester, ("33", "22", "32")),
    "linalg.solve_continuous_lyapunov": Case(la.solve_continuous_lyapunov, lambda a, q: sylvester(a, a.T, q), ("33", "33")),
    "linalg.solve_discrete_lyapunov": Case(
        la.solve_discrete_lyapunov, lambda a, q: equation(np.eye(9, dtype=int) - np.kron(a, a), q.ravel()).reshape(3, 3), ("33", "33")
    ),
    "linalg.solve_continuous_are": Case(
        lambda a, b, q: la.solve_continuous_are(a, b, positive(q), np.eye(1)), lambda a, b, q: care(a, b, positive(q)), ("22", "21", "22")
    ),
    "linalg.solve_discrete_are": Case(
        lambda a, b, q: la.solve_discrete_are(a, b, positive(q), np.eye(1)), lambda a, b, q: dare(a, b, positive(q)), ("22", "21", "22")
    ),
    "linalg.kron": Case(la.kron, np.kron, ("22", "23")),
    "linalg.solve_banded": Case(lambda ab, b: la.solve_banded((1, 1), ab, b), lambda ab, b: equation(exact.banded(ab, 1), b), ("34", "4")),
    "linalg.solveh_banded": Case(
        lambda ab, b: la.solveh_banded(ab + HEAVY, b), lambda ab, b: equation(exact.symmetric_of_bands(ab + HEAVY), b), ("24", "4")
    ),
    "linalg.cholesky_banded": Case(
        lambda ab: la.cholesky_banded(ab + HEAVY)[:, 1:], lambda ab: bands_of_factor(exact.symmetric_of_bands(ab + HEAVY)), ("24",)
    ),
    "linalg.cho_solve_banded": Case(
        lambda ab, b: la.cho_solve_banded((la.cholesky_banded(ab + HEAVY), False), b),
        lambda ab, b: equation(exact.symmetric_of_bands(ab + HEAVY), b), ("24", "4"),
    ),
    "linalg.cho_factor": Case(lambda m: np.triu(la.cho_factor(positive(m))[0]), lambda m: of_positive(of_matrix(mpmath.cholesky))(m).T, ("33",), ((ZERO,),)),
    "linalg.lu": Case(lambda a: together(*la.lu(a)), exact.lu, ("43",), ((np.eye(4, 3),),)),
    "linalg.lu_factor": Case(lambda a: la.lu_factor(a)[0], exact.packed_lu, ("33",), ((EYE,), (SCALES,))),
    "linalg.lu_solve": Case(lambda a, b: la.lu_solve(la.lu_factor(a), b), equation, ("33", "3"), ((EYE, np.ones(3)),)),
    "linalg.qr": Case(lambda a: signed_qr(*la.qr(a, mode="economic")), exact.qr, ("43",), ((np.eye(4, 3),),)),
    "linalg.rq": Case(lambda a: signed_rq(*la.rq(a)), exact.rq, ("33",), ((EYE,),)),
    "linalg.svd": Case(lambda a: signed_svd(*la.svd(a)), exact.svd, ("33",)),
    "linalg.eigh": Case(lambda m: signed_eigh(*la.eigh(symmetric(m))), lambda m: exact.eigh(symmetric(m)), ("33",)),
    "linalg.eigh, with b": Case(
        lambda m, b: signed_eigh(*la.eigh(symmetric(m), positive(b))), lambda m, b: exact.eigh(symmetric(m), positive(b)), ("33", "33")
    ),
    "linalg.eigh_tridiagonal": Case(lambda d, e: signed_eigh(*la.eigh_tridiagonal(d, e)), lambda d, e: exact.eigh(exact.tridiagonal(d, e)), ("4", "3")),
    "linalg.eigvalsh_tridiagonal": Case(la.eigvalsh_tridiagonal, lambda d, e: exact.eigh(exact.tridiagonal(d, e))[:4], ("4", "3")),
    "linalg.eig": Case(lambda a: in_order(*la.eig(a)), exact.eig, ("33",)),
    "linalg.eigvals": Case(lambda a: in_order(la.eigvals(a)), exact.eigvals, ("33",)),
    "linalg.schur": Case(lambda a: factors(*la.schur(a, output="complex"), -1), lambda a: unitary(a, 2), ("33",), ((EYE,),), ()),
    "linalg.hessenberg": Case(lambda a: factors(*la.hessenberg(a, calc_q=True), -2), unitary, ("44",), ((np.eye(4),),), ()),
    "linalg.pinvh": Case(lambda m: la.pinvh(symmetric(m)), lambda m: of_matrix(mpmath.inverse)(symmetric(m)), ("33",)),
    "linalg.orthogonal_procrustes": Case(lambda a, b: together(*la.orthogonal_procrustes(a, b)), exact.procrustes, ("43", "43")),
    "linalg.tanhm": Case(la.tanhm, of_matrix(lambda a: mpmath.inverse(mpmath.expm(a) + mpmath.expm(-a)) * (mpmath.expm(a) - mpmath.expm(-a))), ("33",), ((ZERO,),)),
    "linalg.funm": Case(lambda m: la.funm(positive(m), np.exp), of_positive(of_matrix(mpmath.expm)), ("33",)),
    "linalg.toeplitz": Case(la.toeplitz, exact.toeplitz, ("3", "4")),
    "linalg.matmul_toeplitz": Case(lambda c, r, b: la.matmul_toeplitz((c, r), b), lambda c, r, b: exact.toeplitz(c, r) @ b, ("3", "4", "4")),
    "linalg.circulant": Case(la.circulant, exact.circulant, ("4",)),
    "linalg.hankel": Case(la.hankel, lambda c, r: exact.toeplitz(c[::-1], np.concatenate([c[-1:], r[1:]]))[::-1], ("3", "4")),
    "linalg.companion": Case(la.companion, exact.companion, ("+4",)),
    "linalg.block_diag": Case(la.block_diag, lambda a, b: np.block([[a, np.zeros((2, 3), int)], [np.zeros((2, 2), int), b]]), ("22", "23")),
    "linalg.convolution_matrix": Case(lambda u: la.convolution_matrix(u, 3), lambda u: exact.toeplitz(np.concatenate([u, 0 * u[:2]]), 0 * u[:3]), ("4",)),
    "linalg.fiedler": Case(la.fiedler, lambda u: abs(u[:, None] - u), ("4",)),
    "linalg.fiedler_companion": Case(la.fiedler_companion, exact.fiedler_companion, ("+5",)),
    "linalg.khatri_rao": Case(la.khatri_rao, lambda a, b: np.stack([np.kron(a[:, i], b[:, i]) for i in range(3)], 1), ("23", "43")),
    "linalg.leslie": Case(la.leslie, lambda f, s: np.concatenate([f[None], np.pad(np.diag(s), ((0, 0), (0, 1)))]), ("4", "3")),
    "linalg.qr_multiply": Case(
        lambda a, c: (lambda cq, r: cq * np.sign(np.diagonal(r)))(*la.qr_multiply(a, c)),
        lambda a, c: c @ exact.qr(a)[:12].reshape(4, 3), ("43", "24"), ((np.eye(4, 3), np.ones((2, 4))),),
    ),
    "linalg.fractional_matrix_power": Case(
        lambda m: la.fractional_matrix_power(positive(m), -1.5),
        of_positive(of_matrix(lambda m: mpmath.expm(mpmath.logm(m) * mpf(-1.5)))), ("33",),
    ),
    "linalg.dft": Case(lambda: parted(la.dft(6)), lambda: exact.dft(6), ()),
    "linalg.hilbert": Case(lambda: la.hilbert(4), lambda: np.array([[mpf(1) / (i + j + 1) for j in range(4)] for i in range(4)]), ()),
    **{f"fft.{name}": Case(partial(_transform, name), partial(_exactly, name), shapes) for name, shapes in FOURIER.items()},
    **{
        f"fft.{name}": Case(
            lambda x, name=name: np.concatenate([getattr(ff, name)(x, kind) for kind in (1, 2, 3, 4)]),
            partial(spectra.cosine, name), ("6",), ((np.ones(6),),),
        )
        for name in ("dct", "dst", "idct", "idst")
    },
    **{
        f"fft.{name}n": Case(
            lambda x, name=name: np.concatenate([np.ravel(getattr(ff, f"{name}n")(x, kind)) for kind in (1, 2, 3, 4)]),
            partial(spectra.cosine, name, axes=(0, 1)), ("34",),
        )
        for name in ("dct", "dst", "idct", "idst")
    },
    "fft.fftshift": Case(ff.fftshift, lambda x: np.roll(x, 3), ("6",)),
    "fft.ifftshift": Case(ff.ifftshift, lambda x: np.roll(x, -2), ("5",)),
    "fft.fftfreq": Case(lambda: ff.fftfreq(6), lambda: np.array([mpf(k) / 6 for k in (0, 1, 2, -3, -2, -1)]), ()),
    "fft.rfftfreq": Case(lambda: ff.rfftfreq(6), lambda: np.array([mpf(k) / 6 for k in range(4)]), ()),
    "signal.convolve": Case(sig.convolve, np.convolve, ("7", "3"), ((np.eye(7)[0], np.ones(3)),)),
    "signal.correlate": Case(sig.correlate, lambda x, y: np.convolve(x, y[::-1]), ("7", "3")),
    "signal.fftconvolve": Case(sig.fftconvolve, np.convolve, ("7", "3"), ((np.eye(7)[0], np.ones(3)),)),
    "signal.convolve2d": Case(sig.convolve2d, signals.convolved, ("45", "23")),
    "signal.correlate2d": Case(sig.correlate2d, lambda x, y: signals.convolved(x, y[::-1, ::-1]), ("45", "23")),
    "signal.lfilter": Case(
        lambda b, a, x: sig.lfilter(b, np.concatenate([np.ones(1), 0.25 * a]), x), lambda b, a, x: signals.filtered(b, a / 4, x), ("3", "2", "9")
    ),
    "signal.sosfilt": Case(lambda x: sig.sosfilt(SOS, x), lambda x: signals.sections(SOS, x), ("9",), ((np.eye(9)[0],),)),
    "signal.upfirdn": Case(lambda h, x: sig.upfirdn(h, x, 2, 3), lambda h, x: np.convolve(h, np.ravel([[v, mpf(0)] for v in x])[:-1])[::3], ("4", "7")),
    "signal.hilbert": Case(lambda x: np.imag(sig.hilbert(x)), lambda x: signals.power(signals.fourier(x), "hilbert"), ("8",), ((np.ones(8),),)),
    "signal.detrend": Case(sig.detrend, signals.detrended, ("7",)),
    "signal.savgol_filter": Case(lambda x: sig.savgol_filter(x, 5, 2), signals.savgol, ("8",)),
    "signal.resample": Case(lambda x: sig.resample(x, 12), signals.resampled, ("8",), ((np.ones(8),),)),
    "signal.periodogram": Case(lambda x: sig.periodogram(x)[1], lambda x: signals.power(signals.fourier(x - np.sum(x) / 8), "density"), ("8",)),
    "signal.csd": Case(
        lambda x, y: np.real(sig.csd(x, y, window="boxcar", nperseg=8)[1]), lambda x, y: signals.product(signals.fourier(x - np.sum(x) / 8), signals.fourier(y - np.sum(y) / 8)), ("8", "8")
    ),
    "signal.oaconvolve": Case(sig.oaconvolve, np.convolve, ("7", "3"), ((np.eye(7)[0], np.ones(3)),)),
    "signal.correlation_lags": Case(lambda: sig.correlation_lags(7, 3), lambda: np.arange(-2, 7), ()),
    "signal.lfilter_zi": Case(lambda b, a: sig.lfilter_zi(b, leading(a)), lambda b, a: signals.steady(b, a / 4), ("3", "2")),
    "signal.lfiltic": Case(
        lambda b, a, y, u: sig.lfiltic(b, leading(a), y, u), lambda b, a, y, u: signals.state_after(b, a / 4, y, u), ("3", "2", "2", "2")
    ),
    "signal.filtfilt": Case(
        lambda b, a, u: sig.filtfilt(b, leading(a), u, padlen=4), lambda b, a, u: signals.both_ways([b], [a / 4], u, 4), ("3", "2", "9"),
        ((np.eye(3)[0], np.zeros(2), np.ones(9)),),
    ),
    "signal.sosfilt_zi": Case(lambda b, a: sig.sosfilt_zi(in_sections(b, a)), lambda b, a: signals.steady_sections(b, a / 4), ("23", "22")),
    "signal.sosfiltfilt": Case(
        lambda b, a, u: sig.sosfiltfilt(in_sections(b, a), u, padlen=4), lambda b, a, u: signals.both_ways(b, a / 4, u, 4), ("23", "22", "9")
    ),
    "signal.medfilt": Case(lambda u: sig.medfilt(u, 3), lambda u: signals.median(u, 3), ("9",)),
    "signal.medfilt2d": Case(lambda u: sig.medfilt2d(u, 3), lambda u: signals.median(u, 3), ("45",)),
    "signal.savgol_coeffs": Case(lambda: sig.savgol_coeffs(5, 2), lambda: signals.savgol(np.eye(9, dtype=int)[4] * mpf(1))[2:7], ()),
    "signal.decimate": Case(lambda u: sig.decimate(u, 2, 8, "fir"), signals.decimated, ("9",), ((np.ones(9),),)),
    "signal.resample_poly": Case(lambda u: sig.resample_poly(u, 3, 2), signals.at_three_halves, ("8",), ((np.ones(8),),)),
    "signal.get_window": Case(lambda: together(sig.get_window("hann", 6), sig.get_window("hamming", 9, False)), lambda: together(signals.hann(6), signals.hamming(9)), ()),
    "signal.welch": Case(lambda u: sig.welch(u, nperseg=4)[1], lambda u: signals.welch(u, 4), ("8",)),
    "signal.spectrogram": Case(lambda u: sig.spectrogram(u, window="hann", nperseg=4, noverlap=2)[2], lambda u: signals.densities(u, 4), ("8",)),
    "signal.coherence": Case(lambda u, v: sig.coherence(u, v, nperseg=4)[1], lambda u, v: signals.coherence(u, v, 4), ("8", "8")),
    "signal.stft": Case(lambda u: parted(sig.stft(u, nperseg=4)[2]), lambda u: exact.parted(signals.stft(u, 4)), ("8",), ((np.ones(8),),)),
    "signal.istft": Case(lambda re, im: sig.istft(re + 1j * im, nperseg=4)[1], signals.istft, ("35", "35")),
    "signal.chirp": Case(sig.chirp, signals.chirp, ("5", "+", "+", "+")),
    "signal.gausspulse": Case(sig.gausspulse, signals.gausspulse, ("5", "+", "+")),
    "ndimage.correlate": Case(nd.correlate, signals.correlated, ("45", "33")),
    "ndimage.convolve": Case(nd.convolve, lambda x, w: signals.correlated(x, w[::-1, ::-1]), ("45", "33")),
    "ndimage.gaussian_filter": Case(lambda x: nd.gaussian_filter(x, 0.75), lambda x: signals.gaussian(x, 0.75), ("45",)),
    "ndimage.laplace": Case(nd.laplace, lambda x: signals.correlated(x, np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])), ("45",), ((np.ones((4, 5)),),)),
    "ndimage.sobel": Case(nd.sobel, lambda x: signals.correlated(x, np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])), ("45",)),
    "ndimage.prewitt": Case(nd.prewitt, lambda x: signals.correlated(x, np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])), ("45",)),
    "ndimage.uniform_filter": Case(nd.uniform_filter, lambda x: signals.correlated(x, np.ones((3, 3), int)) / 9, ("45",)),
    "ndimage.map_coordinates, order=1": Case(
        lambda x, t: nd.map_coordinates(x, PLACES + 0.0625 * t, order=1, mode="mirror"), lambda x, t: signals.bilinear(x, PLACES + t / 16), ("55", "24")
    ),
    "ndimage.map_coordinates, order=3": Case(
        lambda x, t: nd.map_coordinates(x, PLACES + 0.0625 * t, order=3, mode="mirror"), lambda x, t: signals.splined(x, PLACES + t / 16), ("55", "24")
    ),
    "ndimage.correlate1d": Case(nd.correlate1d, signals.line, ("6", "3")),
    "ndimage.convolve1d": Case(nd.convolve1d, lambda u, w: signals.line(u, w[::-1]), ("6", "3")),
    "ndimage.gaussian_filter1d": Case(
        lambda u, w: nd.gaussian_filter1d(u, w, radius=3), lambda u, w: signals.line(u, signals.bell(w, 3)), ("7", "+")
    ),
    "ndimage.gaussian_filter1d, order=1": Case(
        lambda u, w: nd.gaussian_filter1d(u, w, order=1, radius=3), lambda u, w: signals.line(u, signals.bell(w, 3, 1)), ("7", "+")
    ),
    "ndimage.gaussian_laplace": Case(
        lambda u: nd.gaussian_laplace(u, 0.75), lambda u: signals.blurred(u, 0.75, (2, 0)) + signals.blurred(u, 0.75, (0, 2)), ("45",)
    ),
    "ndimage.gaussian_gradient_magnitude": Case(lambda u: nd.gaussian_gradient_magnitude(u, 0.75), lambda u: signals.steepness(u, 0.75), ("45",)),
    "ndimage.uniform_filter1d": Case(lambda u: nd.uniform_filter1d(u, 3), lambda u: signals.line(u, np.ones(3, int)) / 3, ("6",)),
    "ndimage.maximum_filter": Case(lambda u: nd.maximum_filter(u, 3), lambda u: signals.extreme(u, max), ("45",)),
    "ndimage.minimum_filter": Case(lambda u: nd.minimum_filter(u, 3), lambda u: signals.extreme(u, min), ("45",)),
    "ndimage.maximum_filter1d": Case(lambda u: nd.maximum_filter1d(u, 3), lambda u: signals.extreme(u, max), ("7",)),
    "ndimage.minimum_filter1d": Case(lambda u: nd.minimum_filter1d(u, 3), lambda u: signals.extreme(u, min), ("7",)),
    "ndimage.affine_transform": Case(
        lambda u, m, o: nd.affine_transform(u, np.eye(2) + 0.125 * m, 0.125 * o, mode="mirror"),
        lambda u, m, o: signals.mapped(u, np.eye(2, dtype=int) + m / 8, o / 8), ("55", "22", "2"),
    ),
    "ndimage.shift": Case(lambda u, o: nd.shift(u, o, mode="mirror"), lambda u, o: signals.mapped(u, np.eye(2, dtype=int), -o), ("55", "2")),
    "ndimage.rotate": Case(lambda u, t: nd.rotate(u, 8 * t, reshape=False, mode="mirror"), lambda u, t: signals.rotated(u, 8 * t), ("55", "")),
    "ndimage.zoom": Case(lambda u: nd.zoom(u, 1.6), lambda u: signals.zoomed(u, 8), ("55",)),
    "ndimage.spline_filter": Case(nd.spline_filter, signals.coefficients, ("55",)),
    "ndimage.spline_filter1d": Case(nd.spline_filter1d, signals.coefficients, ("6",)),
    "ndimage.sum_labels": Case(lambda u: nd.sum_labels(u, LABELS, 2), lambda u: np.sum(u[LABELS == 2]), ("45",)),
    "ndimage.mean": Case(lambda u: nd.mean(u, LABELS, 2), lambda u: np.sum(u[LABELS == 2]) / mpf(int(np.sum(LABELS == 2))), ("45",)),
    "ndimage.center_of_mass": Case(lambda u: np.stack(nd.center_of_mass(u)), signals.centre, ("+45",)),
    "interpolate.interp1d": Case(lambda x, y, t: ip.interp1d(x, y)(t), exact.linear, ("<6", "6", "t")),
    "interpolate.CubicSpline": Case(lambda x, y, t: ip.CubicSpline(x, y, bc_type="natural")(t), exact.cubic, ("<6", "6", "t")),
    "interpolate.PchipInterpolator": Case(lambda x, y, t: ip.PchipInterpolator(x, y)(t), exact.pchip, ("<6", "6", "t")),
    "interpolate.Akima1DInterpolator": Case(lambda x, y, t: ip.Akima1DInterpolator(x, y)(t), exact.akima, ("<6", "6", "t")),
    "interpolate.CubicHermiteSpline": Case(lambda x, y, d, t: ip.CubicHermiteSpline(x, y, d)(t), exact.hermite, ("<6", "6", "6", "t")),
    "interpolate.BSpline": Case(lambda c, t: ip.BSpline(KNOTS, c, 3)(t), lambda c, t: exact.bspline(KNOTS, c, t), ("6", "t")),
    "interpolate.RegularGridInterpolator": Case(
        lambda x, t: ip.RegularGridInterpolator((np.arange(5.0), np.arange(5.0)), x)(np.stack([*(PLACES + 0.0625 * t)], -1)),
        lambda x, t: signals.bilinear(x, PLACES + t / 16), ("55", "24"),
    ),
    "interpolate.make_interp_spline": Case(lambda u, y, t: ip.make_interp_spline(u, y)(t), exact.interpolated, ("<6", "6", "t")),
    "interpolate.PPoly": Case(lambda c, u, t: ip.PPoly(c, u)(t), exact.polynomials, ("45", "<6", "t")),
    "integrate.trapezoid": Case(lambda y, x: ig.trapezoid(y, x), lambda y, x: exact.trapezoids(y, x)[-1], ("6", "<6")),
    "integrate.cumulative_trapezoid": Case(lambda y, x: ig.cumulative_trapezoid(y, x), exact.trapezoids, ("6", "<6")),
    "integrate.simpson": Case(lambda y, x: ig.simpson(y, x=x), exact.simpson, ("5", "<5")),
    "integrate.quad": Case(
        lambda a, b, c: ig.quad(lambda t, a: np.exp(-a * t), b, b + c, args=(a,))[0], lambda a, b, c: integral(a, b, b + c), ("+", "", "+")
    ),
    "integrate.fixed_quad": Case(
        lambda a, b, c: ig.fixed_quad(lambda t: a * t**4, b, b + c, n=3)[0], lambda a, b, c: a * ((b + c) ** 5 - b**5) / 5, ("+", "", "+")
    ),
    "integrate.cumulative_simpson": Case(lambda y, u: ig.cumulative_simpson(y, x=u), exact.parabolas, ("6", "<6")),
    "integrate.dblquad": Case(
        lambda a, b: ig.dblquad(lambda y, u, a: np.exp(-a * u - y), 0.0, b, 0.0, lambda u: u, args=(a,))[0], exact.triangle_integral, ("+", "+")
    ),
    "integrate.tplquad": Case(
        lambda a, b: ig.tplquad(lambda z, y, u, a: np.exp(-a * (u + y + z)), 0.0, b, 0.0, 1.0, 0.0, 1.0, args=(a,))[0], exact.box_integral, ("+", "+")
    ),
    "integrate.quad_vec": Case(
        lambda a, b: ig.quad_vec(lambda u: np.exp(-a * u), 0.0, b, epsrel=1e-5)[0], lambda a, b: np.array([integral(v, mpf(0), b) for v in a]), ("+3", "+")
    ),
    "integrate.solve_ivp, rtol=1e-12": Case(
        lambda a, y: ig.solve_ivp(lambda t, y, a: a @ y, (0.0, 1.0), y, "DOP853", np.ones(1), args=(a,), rtol=1e-12, atol=1e-14).y[:, 0],
        lambda a, y: of_matrix(mpmath.expm)(a) @ y, ("22", "2"),
    ),
    "integrate.odeint, rtol=1e-12": Case(
        lambda a, y: ig.odeint(lambda y, t, a: a @ y, y, np.arange(2.0), (a,), rtol=1e-12, atol=1e-14)[1],
        lambda a, y: of_matrix(mpmath.expm)(a) @ y, ("22", "2"),
    ),
    "optimize.root, tol=1e-13": Case(
        lambda m, b: op.root(lambda u, m, b: m @ u + u**3 - b, 0 * b, (positive(m), b), tol=1e-13).x, of_positive(exact.balanced), ("33", "3")
    ),
    "optimize.minimize, tol=1e-13": Case(
        lambda m, b: op.minimize(well, 0 * b, (positive(m), b), method="trust-exact", tol=1e-13).x, of_positive(exact.balanced), ("33", "3")
    ),
    "optimize.least_squares, gtol=1e-14": Case(
        lambda m, b: op.least_squares(lambda u, m, b: m @ u + u**3 - b, 0 * b, (positive(m), b), xtol=None, ftol=None, gtol=1e-14).x,
        of_positive(exact.balanced), ("33", "3"),
    ),
    "optimize.curve_fit, xtol=1e-14": Case(
        lambda t, e: op.curve_fit(decay, t, decay(t, 2.0, 0.5) + e / 64, (2.0, 0.5), xtol=1e-14, ftol=1e-14, gtol=1e-14)[0],
        lambda t, e: exact.fitted_decay(t, np.array([2 * mpmath.exp(-u / 2) for u in t]) + e / 64), ("<6", "6"),
    ),
    "sparse.csr_array": Case(lambda d, b: sp.csr_array((d, *ROWS), (3, 4)) @ b, lambda d, b: exact.at_places(d, (3, 4), PLACED) @ b, ("6", "4")),
    "sparse.csr_matrix": Case(lambda d, b: sp.csr_matrix((d, *ROWS), (3, 4)) @ b, lambda d, b: exact.at_places(d, (3, 4), PLACED) @ b, ("6", "4")),
    "sparse.csc_array": Case(lambda d, b: sp.csc_array((d, *ROWS), (4, 3)) @ b, lambda d, b: b @ exact.at_places(d, (3, 4), PLACED), ("6", "3")),
    "sparse.csc_matrix": Case(lambda d, b: sp.csc_matrix((d, *ROWS), (4, 3)) @ b, lambda d, b: b @ exact.at_places(d, (3, 4), PLACED), ("6", "3")),
    "sparse.SparseArray, A @ A.T": Case(
        lambda d: (lambda a: (a @ a.T).toarray())(sp.csr_array((d, *ROWS), (3, 4))),
        lambda d: (lambda a: a @ a.T)(exact.at_places(d, (3, 4), PLACED)), ("6",),
    ),
    "sparse.linalg.spsolve": Case(lambda d, b: sp.linalg.spsolve(system(d), b), lambda d, b: equation(system_exactly(d), b), ("7", "3")),
    "sparse.linalg.cg, rtol=1e-14": Case(
        lambda d, b: sp.linalg.cg(twofold(d), b, rtol=1e-14)[0],
        lambda d, b: equation(system_exactly(d) + system_exactly(d).T, b), ("7", "3"),
    ),
    "sparse.linalg.gmres, rtol=1e-14": Case(
        lambda d, b: sp.linalg.gmres(system(d), b, rtol=1e-14)[0], lambda d, b: equation(system_exactly(d), b), ("7", "3")
    ),
    "sparse.linalg.bicgstab, rtol=1e-14": Case(
        lambda d, b: sp.linalg.bicgstab(system(d), b, rtol=1e-14)[0], lambda d, b: equation(system_exactly(d), b), ("7", "3")
    ),
    "stats.multivariate_normal.logpdf": Case(lambda x, m, c: st.multivariate_normal.logpdf(x, m, positive(c)), lambda x, m, c: exact.normal(x, m, positive(c)), ("3", "3", "33")),
    "stats.dirichlet.logpdf": Case(lambda x, a: st.dirichlet.logpdf(x / np.sum(x), a), lambda x, a: exact.dirichlet(x / np.sum(x), a), ("+3", "+3")),
    "stats.multinomial.logpmf": Case(lambda p: st.multinomial.logpmf(COUNTS, 6, p / np.sum(p)), lambda p: exact.multinomial(COUNTS, p / np.sum(p)), ("+4",)),
    "stats.wishart.logpdf": Case(
        lambda x, d, s: st.wishart.logpdf(positive(x), 3 + d, positive(s)), lambda x, d, s: exact.wishart(positive(x), 3 + d, positive(s)), ("22", "+", "22")
    ),
    "stats.gaussian_kde": Case(lambda x, t: st.gaussian_kde(x).evaluate(t), exact.kde, ("6", "3")),
    "stats.sem": Case(lambda x: st.sem(x), lambda x: mpmath.sqrt(np.sum((x - np.sum(x) / 7) ** 2) / 42), ("7",)),
    "stats.rankdata": Case(lambda u: st.rankdata(np.round(3 * u)), lambda u: exact.ranks([mpmath.nint(3 * v) for v in u]), ("9",), (), ()),
    "stats.mode": Case(lambda u: st.mode(np.round(3 * u)).mode, lambda u: exact.mode([mpmath.nint(3 * v) for v in u]), ("9",), (), ()),
}  # fmt: skip
