"""How accurate the functions of arrays in `tg.scipy` are: `python -m tests.arrays_coverage` writes their part of docs/scipy_coverage.md, with names
of functions their rows alone.

Each against its definition in mpmath's numbers, which NumPy's arrays of objects hold, at 100 drawn sets of arguments and at further ones. An error is the
largest in the result, in units of which one is the spacing of numbers at its largest element, and what moving all arguments by one such
spacing changes in it.
"""

from __future__ import annotations

import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mpf

import tracegrad as tg
from tests import scipy_coverage as coverage
from tests.arrays_exact import (
    akima,
    bilinear,
    bspline,
    care,
    convolved,
    correlated,
    cubic,
    dare,
    detrended,
    dirichlet,
    equation,
    filtered,
    fourier,
    frechet,
    gaussian,
    hermite,
    integral,
    kde,
    linear,
    mat,
    multinomial,
    normal,
    of_matrix,
    pchip,
    power,
    product,
    resampled,
    savgol,
    sections,
    simpson,
    splined,
    sylvester,
    trapezoids,
    wishart,
)

STEP = mpf(10) ** -20
DIGITS = 60


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


la, sig, nd, ip, ig, st = (
    tg.scipy.linalg, tg.scipy.signal, tg.scipy.ndimage, tg.scipy.interpolate, tg.scipy.integrate, tg.scipy.stats
)  # fmt: skip
EYE, ZERO = np.eye(3), np.zeros((3, 3))
SCALES = np.diag([1e-8, 1.0, 1e8])
NODES = np.array([0.0, 0.9, 2.1, 3.0, 4.2, 5.0])
KNOTS = np.array([0.0, 0, 0, 0, 1.5, 3, 5, 5, 5, 5])
SOS = np.array([[0.2, 0.4, 0.2, 1.0, -0.5, 0.25], [0.3, 0.1, 0.3, 1.0, 0.2, 0.5]])
KERNEL = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0], [2.0, 0.0, 1.5]])
PLACES = np.array([[0.3, 1.7, 2.5, 3.6], [2.2, 0.6, 3.3, 1.9]])
COUNTS = np.array([2, 0, 3, 1])

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
    "linalg.expm_frechet": Case(lambda a, e: la.expm_frechet(a, e)[1], frechet, ("33", "33"), ((ZERO, EYE), (10 * EYE, EYE))),
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
    "signal.convolve": Case(sig.convolve, np.convolve, ("7", "3"), ((np.eye(7)[0], np.ones(3)),)),
    "signal.correlate": Case(sig.correlate, lambda x, y: np.convolve(x, y[::-1]), ("7", "3")),
    "signal.fftconvolve": Case(sig.fftconvolve, np.convolve, ("7", "3"), ((np.eye(7)[0], np.ones(3)),)),
    "signal.convolve2d": Case(sig.convolve2d, convolved, ("45", "23")),
    "signal.correlate2d": Case(sig.correlate2d, lambda x, y: convolved(x, y[::-1, ::-1]), ("45", "23")),
    "signal.lfilter": Case(
        lambda b, a, x: sig.lfilter(b, np.concatenate([np.ones(1), 0.25 * a]), x), lambda b, a, x: filtered(b, a / 4, x), ("3", "2", "9")
    ),
    "signal.sosfilt": Case(lambda x: sig.sosfilt(SOS, x), lambda x: sections(SOS, x), ("9",), ((np.eye(9)[0],),)),
    "signal.upfirdn": Case(lambda h, x: sig.upfirdn(h, x, 2, 3), lambda h, x: np.convolve(h, np.ravel([[v, mpf(0)] for v in x])[:-1])[::3], ("4", "7")),
    "signal.hilbert": Case(lambda x: np.imag(sig.hilbert(x)), lambda x: power(fourier(x), "hilbert"), ("8",), ((np.ones(8),),)),
    "signal.detrend": Case(sig.detrend, detrended, ("7",)),
    "signal.savgol_filter": Case(lambda x: sig.savgol_filter(x, 5, 2), savgol, ("8",)),
    "signal.resample": Case(lambda x: sig.resample(x, 12), resampled, ("8",), ((np.ones(8),),)),
    "signal.periodogram": Case(lambda x: sig.periodogram(x)[1], lambda x: power(fourier(x - np.sum(x) / 8), "density"), ("8",)),
    "signal.csd": Case(
        lambda x, y: np.real(sig.csd(x, y, window="boxcar", nperseg=8)[1]), lambda x, y: product(fourier(x - np.sum(x) / 8), fourier(y - np.sum(y) / 8)), ("8", "8")
    ),
    "ndimage.correlate": Case(nd.correlate, correlated, ("45", "33")),
    "ndimage.convolve": Case(nd.convolve, lambda x, w: correlated(x, w[::-1, ::-1]), ("45", "33")),
    "ndimage.gaussian_filter": Case(lambda x: nd.gaussian_filter(x, 0.75), lambda x: gaussian(x, 0.75), ("45",)),
    "ndimage.laplace": Case(nd.laplace, lambda x: correlated(x, np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])), ("45",), ((np.ones((4, 5)),),)),
    "ndimage.sobel": Case(nd.sobel, lambda x: correlated(x, np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])), ("45",)),
    "ndimage.prewitt": Case(nd.prewitt, lambda x: correlated(x, np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])), ("45",)),
    "ndimage.uniform_filter": Case(nd.uniform_filter, lambda x: correlated(x, np.ones((3, 3), int)) / 9, ("45",)),
    "ndimage.map_coordinates, order=1": Case(
        lambda x, t: nd.map_coordinates(x, PLACES + 0.0625 * t, order=1, mode="mirror"), lambda x, t: bilinear(x, PLACES + t / 16), ("55", "24")
    ),
    "ndimage.map_coordinates, order=3": Case(
        lambda x, t: nd.map_coordinates(x, PLACES + 0.0625 * t, order=3, mode="mirror"), lambda x, t: splined(x, PLACES + t / 16), ("55", "24")
    ),
    "interpolate.interp1d": Case(lambda x, y, t: ip.interp1d(x, y)(t), linear, ("<6", "6", "t")),
    "interpolate.CubicSpline": Case(lambda x, y, t: ip.CubicSpline(x, y, bc_type="natural")(t), cubic, ("<6", "6", "t")),
    "interpolate.PchipInterpolator": Case(lambda x, y, t: ip.PchipInterpolator(x, y)(t), pchip, ("<6", "6", "t")),
    "interpolate.Akima1DInterpolator": Case(lambda x, y, t: ip.Akima1DInterpolator(x, y)(t), akima, ("<6", "6", "t")),
    "interpolate.CubicHermiteSpline": Case(lambda x, y, d, t: ip.CubicHermiteSpline(x, y, d)(t), hermite, ("<6", "6", "6", "t")),
    "interpolate.BSpline": Case(lambda c, t: ip.BSpline(KNOTS, c, 3)(t), lambda c, t: bspline(KNOTS, c, t), ("6", "t")),
    "interpolate.RegularGridInterpolator": Case(
        lambda x, t: ip.RegularGridInterpolator((np.arange(5.0), np.arange(5.0)), x)(np.stack([*(PLACES + 0.0625 * t)], -1)),
        lambda x, t: bilinear(x, PLACES + t / 16), ("55", "24"),
    ),
    "integrate.trapezoid": Case(lambda y, x: ig.trapezoid(y, x), lambda y, x: trapezoids(y, x)[-1], ("6", "<6")),
    "integrate.cumulative_trapezoid": Case(lambda y, x: ig.cumulative_trapezoid(y, x), trapezoids, ("6", "<6")),
    "integrate.simpson": Case(lambda y, x: ig.simpson(y, x=x), simpson, ("5", "<5")),
    "integrate.quad": Case(
        lambda a, b, c: ig.quad(lambda t, a: np.exp(-a * t), b, b + c, args=(a,))[0], lambda a, b, c: integral(a, b, b + c), ("+", "", "+")
    ),
    "integrate.fixed_quad": Case(
        lambda a, b, c: ig.fixed_quad(lambda t: a * t**4, b, b + c, n=3)[0], lambda a, b, c: a * ((b + c) ** 5 - b**5) / 5, ("+", "", "+")
    ),
    "stats.multivariate_normal.logpdf": Case(lambda x, m, c: st.multivariate_normal.logpdf(x, m, positive(c)), lambda x, m, c: normal(x, m, positive(c)), ("3", "3", "33")),
    "stats.dirichlet.logpdf": Case(lambda x, a: st.dirichlet.logpdf(x / np.sum(x), a), lambda x, a: dirichlet(x / np.sum(x), a), ("+3", "+3")),
    "stats.multinomial.logpmf": Case(lambda p: st.multinomial.logpmf(COUNTS, 6, p / np.sum(p)), lambda p: multinomial(COUNTS, p / np.sum(p)), ("+4",)),
    "stats.wishart.logpdf": Case(
        lambda x, d, s: st.wishart.logpdf(positive(x), 3 + d, positive(s)), lambda x, d, s: wishart(positive(x), 3 + d, positive(s)), ("22", "+", "22")
    ),
    "stats.gaussian_kde": Case(lambda x, t: st.gaussian_kde(x).evaluate(t), kde, ("6", "3")),
    "stats.sem": Case(lambda x: st.sem(x), lambda x: mpmath.sqrt(np.sum((x - np.sum(x) / 7) ** 2) / 42), ("7",)),
}  # fmt: skip


def drawn(kind: str, rng: Any) -> Any:
    """Numbers in this shape, that float32 has too."""
    if kind == "t":
        found = rng.uniform(0.05, 4.95, 3)
    elif kind.startswith("<"):
        found = NODES[: int(kind[1])] + rng.uniform(-0.2, 0.2, int(kind[1])) * (np.arange(int(kind[1])) % 5 > 0)
    elif kind.startswith("+"):
        found = rng.uniform(0.2, 3.0, tuple(map(int, kind[1:])))
    else:
        found = rng.uniform(-1.0, 1.0, tuple(map(int, kind)))
    return np.asarray(found, np.float32).astype(np.float64)


def arguments(name: str, count: int = coverage.POINTS) -> list[tuple[Any, ...]]:
    case = CASES[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [*[tuple([drawn(s, rng) for s in case.shapes]) for _ in range(count)], *case.ends]


def exactly(case: Case, xs: Sequence[Any], directions: Sequence[Any]) -> list[Any]:
    """The value, and its derivative in each argument along a direction."""
    with mpmath.workdps(DIGITS):
        wide = [np.vectorize(lambda v: mpf(float(v)), otypes=[object])(x) for x in xs]
        found = [np.asarray(case.exact(*wide), object)]
        for i in case.arguments:
            ends = [
                np.asarray(case.exact(*wide[:i], wide[i] + s * STEP * directions[i], *wide[i + 1 :]), object)
                for s in (1, -1)
            ]
            found.append((ends[0] - ends[1]) / (2 * STEP))
        return found


def computed(case: Case, wrap: Callable[..., Any] = lambda f: f) -> Callable[..., list[Any]]:
    """Ours of arguments and directions."""
    value = wrap(case.ours)
    slopes = [
        wrap(
            lambda *given, i=i: tg.jvp(
                lambda x: case.ours(*given[:i], x, *given[i + 1 : -1]), (given[i],), (given[-1],)
            )[1]
        )
        for i in case.arguments
    ]
    return lambda xs, vs: [value(*xs), *[f(*xs, vs[i]) for f, i in zip(slopes, case.arguments, strict=True)]]


def widest(x: Any) -> float:
    return float(max([abs(v) for v in np.ravel(x)]))


def errors(
    name: str, runs: dict[str, tuple[Callable[..., Any], Any]], count: int = coverage.POINTS
) -> dict[str, list[float]]:
    """The worst errors of the value and of each derivative, by each way to run."""
    case = CASES[name]
    rng = np.random.default_rng(0)
    worst = {way: [0.0] * (1 + len(case.arguments)) for way in runs}
    for xs in [*arguments(name)[:count], *case.ends]:
        vs = [np.where(rng.random(np.shape(x)) < 0.5, -1.0, 1.0) for x in xs]
        truth = exactly(case, xs, vs)
        moved: dict[Any, list[Any]] = {}
        for way, (run, dtype) in runs.items():
            found = run([np.asarray(x, dtype) for x in xs], [np.asarray(v, dtype) for v in vs])
            for which, (got, true) in enumerate(zip(found, truth, strict=True)):
                wide = np.vectorize(lambda v: mpf(float(v)), otypes=[object])(np.asarray(got))
                error = widest(wide - true) if np.isfinite(np.asarray(got)).all() else np.inf
                unit = float(np.spacing(dtype(max(widest(true), float(np.finfo(dtype).tiny)))))
                if error > unit:
                    if dtype not in moved:
                        away = [
                            np.nextafter(np.asarray(x, dtype), dtype(np.inf) * v.astype(dtype)).astype(np.float64)
                            for x, v in zip(xs, vs, strict=True)
                        ]
                        moved[dtype] = exactly(case, away, vs)
                    unit += widest(moved[dtype][which] - true)
                worst[way][which] = max(worst[way][which], error / unit)
    return worst


def ways(name: str) -> dict[str, tuple[Callable[..., Any], Any]]:
    return {
        "float64": (computed(CASES[name]), np.float64), "float32": (computed(CASES[name]), np.float32),
        "xla": (computed(CASES[name], lambda f: tg.jit(f, backend="xla")), np.float64),
    }  # fmt: skip


def row(name: str) -> str:
    with np.errstate(all="ignore"):
        found = errors(name, ways(name))
    cells = [", ".join(map(coverage.shown, part)) for e in found.values() for part in (e[:1], e[1:])]
    room, _, rest = name.partition(".")
    return f"| {room} | {rest} | " + " | ".join(cells) + " |"


HEAD = """
## Errors of functions of arrays

Made by `python -m tests.arrays_coverage`: the worst errors at 100 drawn sets of arguments and at ends (zeros, identities, scales from 1e-8 to 1e8, breakpoints), against definitions in
mpmath's numbers: of the value, and of the derivative in each array, by forward mode. An error is the largest in the result; a unit is the spacing of
numbers at the result's largest element, and what moving all arguments by one such spacing changes in it. Solutions of differential equations and what is searched
for are as accurate as their tolerances ask.

| room | function | float64 | its derivatives | float32 | its derivatives | on XLA: float64 | its derivatives |
|---|---|---|---|---|---|---|---|
"""
NEXT = "\n## Errors of distributions"


def before() -> tuple[str, dict[str, str], str]:
    """The page above, its rows by name, and the page below."""
    text = coverage.PAGE.read_text()
    above, _, rest = (
        text.partition(HEAD) if HEAD in text else (text.partition(NEXT)[0], "", NEXT + text.partition(NEXT)[2])
    )
    rows, _, below = rest.partition(NEXT)
    found = {}
    for line in rows.splitlines():
        room, name = [c.strip() for c in line.split("|")[1:3]]
        found[f"{room}.{name}"] = line
    return above, found, NEXT + below


def stated() -> Iterator[tuple[str, list[float]]]:
    """The errors in float64 that the page has."""
    for name, line in before()[1].items():
        cells = line.split("|")[3:5]
        yield name, [float(x.replace("∞", "inf")) for c in cells for x in c.split(",")]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    above, rows, below = before()
    for name in CASES:
        if name in sys.argv[1:] or name not in rows or len(sys.argv) == 1:
            rows[name] = row(name)
            print(rows[name], flush=True)
    coverage.PAGE.write_text(above + HEAD + "\n".join([rows[name] for name in CASES]) + "\n" + below)
