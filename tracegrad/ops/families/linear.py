"""Ops that are linear in their first input, or in each separately."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tracegrad.core.op import EVERY, BatchRule, Op, Params, Sample, TypeRule, VjpRule, Wanted
from tracegrad.core.trace import bind
from tracegrad.ops.families.broadcasting import add_tangents, cast, conform
from tracegrad.ops.families.rules import no_partial
from tracegrad.ops.masks import sparse


def linear(
    name: str,
    evaluate: Callable[..., Any],
    transpose: Callable[..., Any],
    *,
    infer: TypeRule,
    batch: BatchRule,
    linear: Iterable[Iterable[int]] = (EVERY,),
    kinds: str = "fc",
    samples: Callable[[], Iterable[Sample]] = tuple,
    leaves_zeros: bool = False,
    picks: bool = False,
    nonnegative: bool = False,
    **further: Any,
) -> Op:
    """Declare an op that is linear in its first input. Further inputs are integers (indices), whose values a derivative
    needs: such an op says `linear=[{0}]`.

    `transpose(ct, x, *others, **params)` maps a cotangent of the output to one of `x`, of which it may use the shape
    and dtype only. The op `leaves_zeros` in its output where no element of `x` goes, or it `picks` some of the elements, so that
    its transpose does: these zeros are structural. `further` fields go into the record as they are.
    """

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        return None if tangents[0] is None else bind(op, (tangents[0], *primals[1:]), params)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        if len(primals) == 1:
            return (transpose(ct, *primals, **params),)
        return [transpose(ct, *primals, **params) if i == 0 else None for i in wanted]

    def masking_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        (t, *_) = tangents
        return None if t is None else sparse(lambda t: bind(op, (t, *primals[1:]), params), t)

    def masking_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        return [sparse(lambda d: transpose(d, *primals, **params), ct) if i == 0 else None for i in wanted]

    op = Op(
        name, evaluate=evaluate, infer=infer, jvp=masking_jvp if leaves_zeros else jvp, vjp=masking_vjp if picks else vjp,
        linear=linear, batch=batch, kinds=kinds, samples=samples, nonnegative=nonnegative or leaves_zeros or picks, **further,
    )  # fmt: skip
    return op


def multilinear(
    name: str,
    evaluate: Callable[..., Any],
    transposes: Callable[[int], Callable[..., Any]] = lambda i: no_partial,
    *,
    infer: TypeRule,
    batch: BatchRule,
    vjp: VjpRule | None = None,
    kinds: str = "fc",
    samples: Callable[[], Iterable[Sample]] = tuple,
    inputs: int = 2,
    **further: Any,
) -> Op:
    """Declare an op that is linear in each input separately, such as a contraction.

    `transposes(i)` is a function `(ct, *inputs, **params)` from a cotangent of the output to one of input i; or `vjp`
    is the whole rule.
    """
    transposes = functools.cache(transposes)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        terms = []
        for i, t in enumerate(tangents):
            if t is not None:
                term = bind(op, (*primals[:i], t, *primals[i + 1 :]), params)
                terms.append(term if term.dtype == out.dtype else cast(term, out.dtype))
        return add_tangents(terms)

    def transposed(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        return [conform(transposes(i)(ct, *primals, **params), primals[i]) for i in wanted]

    op = Op(
        name,
        evaluate=evaluate,
        infer=infer,
        jvp=jvp,
        vjp=vjp or transposed,
        linear=[{i} for i in range(inputs)],
        batch=batch,
        kinds=kinds,
        samples=samples,
        **further,
    )
    return op
