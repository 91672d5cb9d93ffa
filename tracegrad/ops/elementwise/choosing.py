"""Choosing by a condition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.memory import new_strides
from tracegrad.core.op import Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.families import broadcast_shapes, elementwise, implements
from tracegrad.ops.masks import parted


def _where_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    dtype = np.result_type(*[t.weight for t in types[1:]])
    return ArrayType(broadcast_shapes("where", types), dtype)


def _where_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(3)
    for shapes in [((2, 3), (2, 3), (2, 3)), ((3,), (2, 1), ()), ((2, 1), (3,), (2, 3))]:
        condition, x, y = [rng.uniform(-1, 1, s) for s in shapes]
        yield Sample((condition > 0, x, y))


where_op = elementwise(
    "where", np.where,
    None, lambda d, out, c, x, y: d, lambda d, out, c, x, y: d,
    taken=lambda out, c, x, y: (None, *parted(lambda: c)), infer=_where_type, linear=[{1, 2}], kinds="biufc", samples=_where_samples, fresh=True,
    strides=lambda inputs, types, params: None if None in inputs else new_strides(np.broadcast_shapes(*[t.shape for t in types]), inputs),
)  # fmt: skip


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """`x` where the condition holds, `y` elsewhere; of a condition alone, the places where it holds."""
    if x is None and y is None:
        return np.nonzero(condition)
    return bind(where_op, (condition, x, y))
