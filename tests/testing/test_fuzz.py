"""The fuzz command, and a failing program made small."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pytest

from tracegrad.core.op import OPS, Op
from tracegrad.testing import (
    GradientError,
    check_grads,
    fuzz,
)

X = np.array([0.5, 1.0, -0.3])
# Differs from its difference quotients by decree.
OVERRULED = {"stop_gradient"}


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.kinds and o.name not in OVERRULED], ids=lambda op: op.name)
def test_rules_of_the_registry_on_drawn_inputs(op: Op) -> None:
    assert fuzz.fuzz_op(op, 4) > 0


def test_a_failing_program_shrinks_and_prints_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    op = OPS["tanh"]
    rule = op.vjp
    assert rule is not None
    monkeypatch.setattr(op, "vjp", lambda *args: [2 * d for d in rule(*args)])
    with pytest.raises(GradientError) as caught:
        fuzz.fuzz_round(0, 300, ("numpy",))
    (note,) = [n for n in caught.value.__notes__ if "program=" in n]
    source = textwrap.dedent(note.split("program=\n")[1].rsplit(",\n)", 1)[0])
    names: dict[str, Any] = {}
    exec(source, names)
    assert source.count("np.tanh") == 1
    assert len(source.split("def program(x0, x1):")[1].strip().split("\n")) <= 3  # a step or two, and the return
    with pytest.raises(GradientError):
        check_grads(names["program"], (X, np.ones((3, 3))))


def test_the_fuzz_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--minutes", "0", "--examples", "5", "--seed", "7"]) == 0
    assert "5 programs, nothing found" in capsys.readouterr().out
    assert fuzz.main(["--ops", "1"]) == 0
    assert "ops on" in capsys.readouterr().out
