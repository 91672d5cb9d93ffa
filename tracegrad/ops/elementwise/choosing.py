"""Choosing by a condition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.memory import new_strides
from tracegrad.core.op import Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.families import broadcast_shapes, elementwise, implements
from tracegrad.ops.masks import parted
from tracegrad.typing import Array, ArrayLike


def _where_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    dtype = np.result_type(*[t.weight for t in types[1:]])
    return ArrayType(broadcast_shapes("where", types), dtype)


def _where_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(3)
    for shapes in [((2, 3), (2, 3), (2, 3)), ((3,), (2, 1), ()), ((2, 1), (3,), (2, 3))]:
        condition, x, y = [rng.uniform(-1, 1, s) for s in shapes]
        yield Sample((condition > 0, x, y))


_LARGE = 1 << 13  # numbers from which on bits pay


def _spelled_where(args: Sequence[str], types: Sequence[ArrayType], is_block: Any, params: Params) -> str | None:
    """By bits, if it is large (`lower/numpy/choosing.py`)."""
    arrays = [t for t in types[1:] if t.shape]
    if not arrays or arrays[0].size < _LARGE or any([t.shape != arrays[0].shape for t in (types[0], *arrays)]):
        return None
    zeros = [t.weak and a in ("0", "0.0") for a, t in zip(args[1:], types[1:], strict=True)]
    if not any(zeros) and (len(arrays) < 2 or arrays[0].dtype != arrays[1].dtype):
        return None
    return f"chosen({', '.join(args)}{{out}})"


where_op = elementwise(
    "where", np.where,
    None, lambda d, out, c, x, y: d, lambda d, out, c, x, y: d,
    taken=lambda out, c, x, y: (None, *parted(lambda: c)), infer=_where_type, linear=[{1, 2}], kinds="biufc", samples=_where_samples, never_aliases=True, moves=True,
    code=_spelled_where,
    strides=lambda inputs, types, params: None if None in inputs else new_strides(np.broadcast_shapes(*[t.shape for t in types]), inputs),
)  # fmt: skip


@implements(np.where, further=["size", "fill_value"])
def where(
    condition: ArrayLike,
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    /,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Array:
    """`x` where the condition holds, `y` elsewhere, all three broadcast together, in the dtype that holds both. Of a condition
    alone, the places where it holds, as `nonzero` gives them: as many as there are, or `size`.

    What was not taken adds nothing to a derivative, also where its own would be infinite or NaN.

    >>> where(np.array([True, False]), np.array([1, 2]), 0.5).tolist()
    [1.0, 0.5]
    """
    if x is None and y is None:
        return FUNCTIONS[np.nonzero](condition, size=size, fill_value=fill_value)
    if size is not None or fill_value is not None:
        raise TypeError("where: size= and fill_value= are for a condition alone, whose places are asked for")
    return bind(where_op, (condition, x, y))
