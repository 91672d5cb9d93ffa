"""The record of an op."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.test_graph import pickled
from tracegrad.core.graph import Eqn, Graph, Var
from tracegrad.core.op import OPS
from tracegrad.core.types import type_of


@pytest.mark.parametrize("name", sorted(OPS))
def test_an_equation_of_every_op_pickles(name: str) -> None:
    op = OPS[name]
    for sample in op.samples():
        inputs = tuple([Var(type_of(x)) for x in sample.inputs])
        found: Any = op.infer([v.type for v in inputs], sample.params)
        outputs = tuple(map(Var, found if op.multiple_results else [found]))
        pickled(Graph(inputs, (Eqn(op, inputs, sample.params, outputs),), outputs, {}))
