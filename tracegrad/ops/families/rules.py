"""Rules that ops of several kinds have: of no derivative, of what lies along axes, of the same type; simplifications."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import OPS, BatchRule, Definitions, Op, Params, Simplification, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.ops.families.broadcasting import all_batched


def no_partial(*_: Any, **__: Any) -> None:
    return None


def neutral(position: int, value: int) -> Simplification:
    """An op that gives back its other input where the one at `position` is this real number: x * 1, x / 1. Not of
    complex numbers, where infinity times 1 + 0j is not itself."""

    def simpler(inputs: Sequence[Any], params: Params, definitions: Mapping[Any, Any]) -> Any:
        number = getattr(inputs[position], "value", None)
        other = inputs[1 - position]
        if number is None or isinstance(number, complex | np.complexfloating) or number != value:
            return None
        return other if number_kind(other.type.dtype) != "c" else None

    return simpler


def first_of(*rules: Simplification) -> Simplification:
    """The first rule that has an answer."""

    def simpler(inputs: Sequence[Any], params: Params, definitions: Definitions) -> Any:
        for rule in rules:
            if (result := rule(inputs, params, definitions)) is not None:
                return result
        return None

    return simpler


def no_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return None


def no_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    return [None] * len(wanted)


def locally_constant(name: str, evaluate: Callable[..., Any], *, kinds: str = "biufc", **fields: Any) -> Op:
    """Declare an op without a derivative: its outputs are integers or booleans. `fields` go into the record as they are."""
    return Op(name, evaluate=evaluate, jvp=no_jvp, vjp=no_vjp, kinds=kinds, **fields)


def along_axis(name: str) -> BatchRule:
    """The batching rule of an op with `axis`, or a tuple of `axes`, among its params: they lie one further back. An input
    without the batch is repeated over it."""

    def batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
        behind: dict[str, Any] = {}
        if "axis" in params:
            behind["axis"] = params["axis"] + 1
        if "axes" in params:
            behind["axes"] = tuple([a + 1 for a in params["axes"]])
        return bind(OPS[name], tuple(all_batched(size, batched, inputs)), {**params, **behind})

    return batch


def shape_in_params(types: Sequence[ArrayType], params: Params) -> ArrayType:
    """The type rule of an op whose params say what shape its output has; the dtype is its first input's."""
    return ArrayType(params["shape"], types[0].dtype)


def same_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    """The type rule of an op whose output has the shape and dtype of its first input.

    >>> from tracegrad.core.types import ArrayType
    >>> same_type([ArrayType((2,), np.dtype(float)), ArrayType((), np.dtype(int))], {})
    f64[2]
    """
    return ArrayType(types[0].shape, types[0].dtype)
