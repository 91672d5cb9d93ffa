"""Ops that do nothing to values: they say something to the transforms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.op import EVERY, Op, Params, Sample
from tracegrad.trace import bind
from tracegrad.types import ArrayType


def same_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    return types[0]


def _no_tangent(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return None


def _samples() -> Iterable[Sample]:
    yield Sample((np.array([[1.0, -2.0, 0.5]]),))


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    return bind(stop_gradient_op, tuple(inputs))


stop_gradient_op = Op(
    "stop_gradient",
    evaluate=lambda x: x,
    infer=same_type,
    jvp=_no_tangent,
    vjp=lambda wanted, ct, out, primals, params: [None] * len(wanted),
    linear=(EVERY,),
    batch=_batch,
    weak=True,
    samples=_samples,
)
