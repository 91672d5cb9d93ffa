"""Random programs."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from tracegrad.core.op import OPS
from tracegrad.testing import (
    fuzz,
    programs,
    strategies,
)

# Differs from its difference quotients by decree.
OVERRULED = {"stop_gradient"}


def drawn(count: int) -> hypothesis.settings:
    return hypothesis.settings(max_examples=count, deadline=None, derandomize=True, database=None,
                               suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip


@drawn(60)
@hypothesis.given(strategies.programs(registry=False), st.integers(0, 1000))
def test_random_programs(program: strategies.Program, seed: int) -> None:
    assert program.plain() is not None
    fuzz.check_program(program, seed)


@drawn(50)
@hypothesis.given(strategies.programs(), st.integers(0, 1000))
def test_random_programs_over_the_registry(program: strategies.Program, seed: int) -> None:
    fuzz.check_program(program, seed)


@drawn(8)
@hypothesis.given(strategies.programs())
def test_random_programs_on_xla(program: strategies.Program) -> None:
    pytest.importorskip("jax")
    fuzz.check_program(program, backends=("numpy", "xla"))


# What the fuzz command has found, by what was wrong: the seed, and the lines.
FOUND = {
    "a derivative of zero but for rounding errors, which differ in a batch": (
        1011, ["x2 = np.sin(x1)", "x3 = np.sum(x2)", 'x4 = near_sample("divide", 0, x3)'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FOUND)
def test_programs_that_were_found(what: str) -> None:
    seed, lines = FOUND[what]
    fuzz.check_program(strategies.Program.of(lines, ["x0", lines[-1].split()[0]]), seed)


def test_programs_apply_every_op_that_takes_floats() -> None:
    """But for those that give none, of which no derivative is taken."""
    steps = programs.registry_steps()
    applied = {step.split('"')[1] for step in steps}
    for op in OPS.values():
        if op.kinds and op.name not in applied | OVERRULED:
            for sample in op.samples():
                floats = [x for x in sample.inputs if np.asarray(x).dtype.char in "dD" and np.size(x)]
                outs = op.evaluate(*sample.inputs, **sample.params)
                assert not floats or not any(
                    [
                        np.size(o) and np.asarray(o).dtype.kind in "fc"
                        for o in (outs if op.multiple_results else (outs,))
                    ]
                ), op.name
    # Fuzzing found that what is rounded to float32 on the way has difference quotients of few digits.
    assert 'near_sample("astype", 0, {0})' not in steps
    for step in steps[::20]:
        fuzz.check_program(strategies.Program.of([f"x2 = {step.format('x1')}"], ["x0", "x2"]))
