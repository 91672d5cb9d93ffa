"""The table of errors of functions of arrays in docs/scipy_coverage.md: all are there, and it tells the truth."""

from __future__ import annotations

import numpy as np
import pytest

coverage = pytest.importorskip("tests.arrays_coverage")


def test_every_function_is_measured() -> None:
    assert [name for name, _ in coverage.stated()] == list(coverage.CASES), "run python -m tests.arrays_coverage"


@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")
@pytest.mark.parametrize("room", ["linalg", "signal", "ndimage", "interpolate", "integrate", "stats"])
def test_the_page_tells_the_truth(room: str) -> None:
    """At one set of arguments and the ends, with something for other processors."""
    for name, worst in coverage.stated():
        if name.startswith(room):
            with np.errstate(all="ignore"):
                run = {"float64": coverage.ways(name)["float64"]}
                found = coverage.errors(name, run, 1)["float64"]
            assert len(found) == len(worst), name
            assert all(e <= 2 * w + 4 for e, w in zip(found, worst, strict=True)), (name, found, worst)
