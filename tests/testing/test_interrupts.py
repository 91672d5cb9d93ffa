"""Nothing is left of a call that a signal interrupts."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from tracegrad.testing import interrupts
from tracegrad.testing.interrupts import Program, interrupt, interrupt_everywhere, programs

PROGRAMS = {p.name: p for p in programs()}
SWEPT = [name for name in PROGRAMS if name.startswith("a small")]


@pytest.mark.parametrize("name", SWEPT)
def test_wherever_a_small_program_is_interrupted(name: str) -> None:
    report = interrupt_everywhere(PROGRAMS[name])
    assert report.interrupted > 50 and not report.faults


@pytest.mark.parametrize("name", [
    "value_and_grad of writes", "vmap with a name", "vmap in chunks", "grad of a custom rule and a checkpoint",
    "grad", "linearize", "jit of a chain in blocks, anew",
])  # fmt: skip
def test_in_many_places_of_others(name: str) -> None:
    assert not interrupt_everywhere(PROGRAMS[name], step=13).faults


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_real_signals(capsys: pytest.CaptureFixture[str]) -> None:
    report = interrupt(200)
    assert report.sent == 200 and report.interrupted > 20 and not report.faults
    assert interrupts.main(["0"]) == 0
    assert capsys.readouterr().out == "0 signals, of which 0 interrupted a call; 0 faults\n"


def test_what_is_left_is_found() -> None:
    def leaves_a_setting() -> float:
        np.seterr(over="raise")
        len("a place where a signal may come")
        np.seterr(over="warn")
        return 1.0

    report = interrupt_everywhere(Program("it", lambda: leaves_a_setting))
    assert report.faults and all(fault.endswith("NumPy's errors") for fault in report.faults)
