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
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

import tracegrad as tg
from tests import scipy_coverage as coverage
from tests.arrays_cases import CASES, Case

STEP = mpf(10) ** -20
DIGITS = 60
DIRECTIONS = 4  # in which arguments are moved, where an error is more than that
NODES = np.array([0.0, 0.9, 2.1, 3.0, 4.2, 5.0])


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


def signs(x: Any, rng: Any) -> Any:
    return np.where(rng.random(np.shape(x)) < 0.5, -1.0, 1.0)


def moved_by_one(xs: Sequence[Any], vs: Sequence[Any], dtype: Any) -> list[Any]:
    """Arguments, moved by one spacing of their numbers."""
    up = [np.asarray(v, dtype) * dtype(np.inf) for v in vs]
    return [np.nextafter(np.asarray(x, dtype), u).astype(np.float64) for x, u in zip(xs, up, strict=True)]


def errors(
    name: str, runs: dict[str, tuple[Callable[..., Any], Any]], count: int = coverage.POINTS
) -> dict[str, list[float]]:
    """The worst errors of the value and of each derivative, by each way to run."""
    case = CASES[name]
    rng = np.random.default_rng(0)
    worst = {way: [0.0] * (1 + len(case.arguments)) for way in runs}
    for xs in [*arguments(name)[:count], *case.ends]:
        vs = [signs(x, rng) for x in xs]
        truth = exactly(case, xs, vs)
        moved: dict[Any, list[list[Any]]] = {}
        for way, (run, dtype) in runs.items():
            found = run([np.asarray(x, dtype) for x in xs], [np.asarray(v, dtype) for v in vs])
            for which, (got, true) in enumerate(zip(found, truth, strict=True)):
                wide = np.vectorize(lambda v: mpf(float(v)), otypes=[object])(np.asarray(got))
                error = widest(wide - true) if np.isfinite(np.asarray(got)).all() else np.inf
                unit = spacing = float(np.spacing(dtype(max(widest(true), float(np.finfo(dtype).tiny)))))
                for k in range(DIRECTIONS):
                    if error <= (4 * unit if k else unit):
                        break
                    if len(moved.setdefault(dtype, [])) == k:
                        away = moved_by_one(xs, vs if k == 0 else [signs(x, rng) for x in xs], dtype)
                        moved[dtype].append(exactly(case, away, vs))
                    unit = max(unit, spacing + widest(moved[dtype][k][which] - true))
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
    cells = [", ".join(map(coverage.shown, part)) or "–" for e in found.values() for part in (e[:1], e[1:])]
    room, _, rest = name.partition(".")
    return f"| {room} | {rest} | " + " | ".join(cells) + " |"


HEAD = """
## Errors of functions of arrays

Made by `python -m tests.arrays_coverage`: the worst errors at 100 drawn sets of arguments and at ends (zeros, identities, scales from 1e-8 to 1e8, breakpoints), against definitions in
mpmath's numbers: of the value, and of the derivative in each array, by forward mode. An error is the largest in the result; a unit is the spacing of
numbers at the result's largest element, and what moving all arguments by one such spacing changes in it (where an error is more than four, the most of four directions). Factors
of matrices have the signs that make them unique; those of Schur and Hessenberg are held to what they are factors of.

What is high has its reason:

- **Tolerances.** Differential equations and what is searched for are as accurate as their tolerances, in the names of their rows, ask, and their derivatives are those where the
  search has ended. A search that compares values of a function, as `minimize` does, knows its minimum to half of the digits; one of squares that are not zero there (`curve_fit`) likewise.
- **Terms that cancel** in a derivative which does not depend on arguments, or hardly, so that moving these changes nothing: those of `fixed_quad`'s rule in an end are up to 2e5 times their
  sum here. Coefficients of `savgol_filter` at the ends are SciPy's, with errors of up to eleven units.
- **Riccati's equations** near what cannot be stabilised: an argument's last digit moves up to 2e3 last digits of the solution, and 6e3 of its derivatives. Plain calls are SciPy's own, which lose up to 2e3
  times that. What is traced is refined by Newton's steps on NumPy, in long doubles where the platform has such, but its derivative takes the solution as rounded, and so does XLA's with the few units that doubling leaves: by
  the feedback, a difference of what is up to 1e7 times as large, a unit there becomes up to 5e3 in the derivative.
- **Incomplete beta functions** on XLA (the first table: 153 units) are `jax.lax`'s own, of logarithms that cancel; their derivatives are ours.

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
        yield name, [float(x.replace("∞", "inf")) for c in cells for x in c.split(",") if x.strip() != "–"]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    above, rows, below = before()
    for name in CASES:
        if name in sys.argv[1:] or name not in rows or len(sys.argv) == 1:
            rows[name] = row(name)
            print(rows[name], flush=True)
    coverage.PAGE.write_text(above + HEAD + "\n".join([rows[name] for name in CASES]) + "\n" + below)
