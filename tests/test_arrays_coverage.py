"""The table of errors of functions of arrays in docs/scipy_coverage.md: all are there, and it tells the truth."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg

coverage = pytest.importorskip("tests.arrays_coverage")


def test_every_function_is_measured() -> None:
    assert [name for name, _ in coverage.stated()] == list(coverage.CASES), "run python -m tests.arrays_coverage"


# Types, what is refused, and a distribution that is a difference.
WITHOUT = {"linalg.LinAlgError", "optimize.OptimizeResults", "optimize.linprog", "stats.uniform"}


def test_every_export_is_measured() -> None:
    from tests.stats_coverage import EXACT

    exported = {
        f"{room}.{name}"
        for room in ("linalg", "fft", "signal", "ndimage", "interpolate", "integrate", "optimize", "sparse", "stats")
        for name in getattr(tg.scipy, room).__all__
    } | {f"sparse.linalg.{name}" for name in tg.scipy.sparse.linalg.__all__}
    measured = {name.partition(",")[0] for name in coverage.CASES} | {f"stats.{name}" for name in EXACT}
    measured |= {name.rpartition(".")[0] for name in measured}  # a method's
    assert exported - measured == WITHOUT


@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")
@pytest.mark.parametrize(
    "room", ["linalg", "fft", "signal", "ndimage", "interpolate", "integrate", "optimize", "sparse", "stats"]
)
def test_the_page_tells_the_truth(room: str) -> None:
    """At one set of arguments and the ends, with something for other processors."""
    for name, worst in coverage.stated():
        if name.startswith(room):
            with np.errstate(all="ignore"):
                run = {"float64": coverage.ways(name)["float64"]}
                found = coverage.errors(name, run, 1)["float64"]
            assert len(found) == len(worst), name
            assert all(e <= 2 * w + 4 for e, w in zip(found, worst, strict=True)), (name, found, worst)
