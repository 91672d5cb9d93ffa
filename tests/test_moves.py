"""Ops that say they only move elements: evaluated on the positions of elements they tell where each element of the output
comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracegrad import lax
from tracegrad.core.op import OPS, Op
from tracegrad.ops.families import shape_of

MOVING = [op for op in OPS.values() if op.moves]


def outputs_of(op: Op, inputs: list[Any], params: Any) -> list[Any]:
    out = op.evaluate(*inputs, **params)
    return list(out) if op.multiple_results else [out]


def test_there_are_ops_that_move() -> None:
    assert {"reshape", "transpose", "broadcast_to", "slice", "unslice", "gather", "scatter", "concatenate", "split", "roll"} <= {
        op.name for op in MOVING
    }  # fmt: skip
    assert callable(lax.dynamic_slice)  # whose ops come with it
    assert OPS["dynamic_slice"].moves
    assert all(op.linear for op in MOVING)
    assert not OPS["scatter_add"].moves and not OPS["sin"].moves


@pytest.mark.parametrize("op", MOVING, ids=lambda op: op.name)
def test_positions_tell_where_elements_come_from(op: Op) -> None:
    for number, sample in enumerate(op.samples()):
        moved = [i for i in range(len(sample.inputs)) if any(i in group for group in op.linear)]
        values: list[Any] = [np.zeros(1)]  # what position 0 stands for
        inputs = list(sample.inputs)
        count = 1
        for i in moved:
            x = np.asarray(inputs[i])
            values.append(np.ravel(x))
            inputs[i] = np.arange(count, count + x.size).reshape(shape_of(x))
            count += x.size
        flat = np.concatenate(values)
        sources = outputs_of(op, inputs, sample.params)
        outs = outputs_of(op, list(sample.inputs), sample.params)
        assert len(sources) == len(outs)
        for source, out in zip(sources, outs, strict=True):
            assert np.shape(source) == np.shape(out), f"sample {number}"
            assert np.array_equal(flat[source], out), f"sample {number} with {sample.params}"
