"""docs/numpy_coverage.md says what is measured, and leaves nothing out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tracegrad.numpy as tnp

pytest.importorskip("jax")
with warnings.catch_warnings(action="ignore"):  # with the first NumPy that will do, autograd warns of itself
    pytest.importorskip("autograd")
    from tests import coverage
from tests.coverage import NONE, PLAIN, REFUSED, WITHOUT_ARRAYS, ZERO, Found
from tests.numpy_calls import named

# NumPy and jax of other versions have other names.
pytestmark = pytest.mark.skipif(
    coverage.versions() not in coverage.PAGE.read_text(),
    reason=f"the page is of other versions than {coverage.versions()}",
)


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Found]]:
    return coverage.rows()


def test_the_page_says_what_is_measured(rows: dict[str, dict[str, Found]]) -> None:
    assert coverage.page(rows) == coverage.PAGE.read_text(), "run `python -m tests.coverage`"


def test_nothing_is_refused_without_a_reason(rows: dict[str, dict[str, Found]]) -> None:
    found = {name: f for part in rows.values() for name, f in part.items()}
    assert [name for name, f in found.items() if f.status == REFUSED and len(f.why.partition(": ")[2]) < 20] == []


def test_every_name_is_called(rows: dict[str, dict[str, Found]]) -> None:
    """NumPy takes at least one of the calls of each; of ufuncs, those that have methods."""
    unmeasured = [
        name for title, part in rows.items() for name, f in part.items() if f.status == NONE and title != "ufuncs"
    ]
    assert unmeasured == []
    assert not [name for name, f in rows["ufuncs"].items() if name.endswith(".call") and f.status == NONE]


def test_every_public_function_has_a_row(rows: dict[str, dict[str, Found]]) -> None:
    found = {name for part in rows.values() for name in part}
    for module, prefix in ((np, ""), (np.linalg, "linalg."), (np.fft, "fft.")):
        for name in module.__all__:
            with warnings.catch_warnings(action="ignore"):
                thing: Any = getattr(module, name)
            if isinstance(thing, np.ufunc):
                assert {f"{name}.{m}" for m in coverage.METHODS} <= found or name in found
            elif callable(thing) and not isinstance(thing, type) and name not in coverage.BESIDE:
                assert prefix + name in found
    of_arrays = {name for name in dir(np.ndarray) if name not in dir(object)} - coverage.PROTOCOLS
    assert of_arrays | {*coverage.COMPARISONS} == set(rows["ndarray"])


@pytest.mark.parametrize("name", sorted(WITHOUT_ARRAYS))
def test_what_needs_no_tracing_is_numpys(name: str) -> None:
    """The same object, but for jax arrays that are accepted by a few."""
    ours, numpys = named(tnp, name), named(np, name)
    while name in ("fft.fftfreq", "fft.rfftfreq", "printoptions") and ours is not numpys:
        ours = ours.__wrapped__
    assert ours is numpys


def test_a_measurement_can_fail() -> None:
    """What cuts a derivative off, or refuses what NumPy takes, is found to."""
    x = np.array([1.0, 2.0])
    assert coverage.measure([(lambda xp, t: xp.floor(t), x)]).status == ZERO
    assert coverage.measure([(lambda xp, t: t * 2, x)]).status == coverage.WITH
    assert coverage.measure([(lambda xp, t: xp.nonzero(t), x)]) == Found(ZERO, under_jit=False)
    refused = coverage.measure([(lambda xp, t: t.tobytes(), x)])
    assert refused.status == REFUSED and "bytes carry no derivative" in refused.why
    assert coverage.measure([(lambda xp, t: 1 / 0, x)]).status == NONE
    assert coverage.function("tri").status == PLAIN
