"""Where a gradient vanishes that is there, but zero: cotangents of all that a run computed, and what makes zeros of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import Source
from tracegrad.core.graph import Atom, Eqn, Graph, Var
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.debug.replay import Level
from tracegrad.transforms.linearize import vjp


class Lost(NamedTuple):
    """What makes zeros of a gradient: the op, the user's line, in words, and of which share of its elements."""

    op: str
    source: Source | None
    why: str
    share: float | None = None


def called(eqn: Eqn) -> str:
    if eqn.op.name == "astype":
        return f"a cast to {np.dtype(eqn.params['dtype']).name}"
    return eqn.op.name


def at_line(eqn: Eqn) -> str:
    return f" at {eqn.source.short}" if eqn.source is not None else ""


def ancestors(graph: Graph, target: Atom) -> set[Any]:
    """The variables on which one depends, and itself."""
    live: set[Any] = {target}
    for eqn in reversed(graph.eqns):
        if not live.isdisjoint(eqn.outputs):
            live.update([a for a in eqn.inputs if type(a) is Var])
    return live


def pulled_through(level: Level, given: Mapping[Any, Any], needed: set[Any]) -> dict[Any, Any]:
    """The cotangents of all variables for those that are given, equation by equation."""
    found = dict(given)
    for eqn in reversed(level.graph.eqns):
        for a, ct in _contributions(level, eqn, found, needed):
            found[a] = found[a] + ct if a in found else ct
    return found


def _contributions(
    level: Level, eqn: Eqn, cotangents: Mapping[Any, Any], needed: set[Any]
) -> Iterable[tuple[Var, Any]]:
    """What an equation adds to the cotangents of its inputs."""
    if not any([v in cotangents for v in eqn.outputs]):
        return ()
    inputs = [(i, a) for i, a in enumerate(eqn.inputs) if type(a) is Var and a in needed and is_inexact(a.type.dtype)]
    outs = [j for j, v in enumerate(eqn.outputs) if is_inexact(v.type.dtype)]
    if not inputs or not outs:
        return ()
    values = [level[a] for a in eqn.inputs]
    cts = [cotangents.get(eqn.outputs[j]) for j in outs]
    return zip([a for _, a in inputs], _pulled(eqn, values, [i for i, _ in inputs], outs, cts), strict=True)


def _pulled(eqn: Eqn, values: Sequence[Any], floats: Sequence[int], outs: Sequence[int], cts: Sequence[Any]) -> Any:
    def apply(*arrays: Any) -> list[Any]:
        full = list(values)
        for i, x in zip(floats, arrays, strict=True):
            full[i] = x
        out = bind(eqn.op, tuple(full), eqn.params)
        return [(out if eqn.op.multiple_results else (out,))[j] for j in outs]

    given = [np.asarray(values[i], eqn.inputs[i].type.dtype) for i in floats]
    results, pull = vjp(apply, *given)
    return pull(
        [
            np.broadcast_to(np.asarray(0 if ct is None else ct, r.dtype), np.shape(r))
            for ct, r in zip(cts, results, strict=True)
        ]
    )


def where_lost(level: Level, v: Any, cotangents: Mapping[Any, Any], needed: set[Any]) -> Lost:
    """What makes zeros of a cotangent that is not zero on its way to a variable."""
    reached, losses, sums = {v}, list[tuple[Eqn, int]](), list[Eqn]()
    for eqn in level.graph.eqns:
        mine = [i for i, a in enumerate(eqn.inputs) if a in reached]
        if not mine or needed.isdisjoint(eqn.outputs):
            continue
        if not any([o in cotangents and np.any(cotangents[o]) for o in eqn.outputs]):
            reached.update([o for o in eqn.outputs if is_inexact(o.type.dtype)])
        elif any([a in reached and np.any(ct) for a, ct in _contributions(level, eqn, cotangents, needed)]):
            sums.append(eqn)
        else:
            losses.append((eqn, mine[0]))
    if sums:
        lines = ", ".join(dict.fromkeys([f"{called(eqn)}{at_line(eqn)}" for eqn in sums]))
        return Lost(called(sums[0]), sums[0].source, f"what comes back from {lines} adds up to 0")
    if not losses:
        return Lost("", None, "")
    eqn, i = losses[0]
    inside = _lost_inside(level, eqn, i)
    if inside is not None:
        return inside
    why, share = _deed(level, eqn, i, cotangents)
    return Lost(called(eqn), eqn.source, f"{why}{at_line(eqn)}", share)


def _lost_inside(level: Level, eqn: Eqn, i: int) -> Lost | None:
    """The same in the first run of a Graph that an equation holds in which what comes back to all of its outputs gets lost."""
    given = id(level[eqn.inputs[i]])
    found: list[Lost] = []

    def look(run: Level) -> bool:
        begin = [v for v in run.graph.inputs if id(run[v]) == given]
        ends = {
            a: np.ones(a.type.shape, a.type.dtype)
            for a in run.graph.outputs
            if type(a) is Var and is_inexact(a.type.dtype)
        }
        needed = set().union(*[ancestors(run.graph, a) for a in ends])
        cotangents = pulled_through(run, ends, needed)
        for v in begin:
            if v in needed and v not in ends and not np.any(cotangents.get(v, 0)):
                found.append(where_lost(run, v, cotangents, needed))
        return bool(found)

    level.runs(eqn, look)
    return next((lost for lost in found if lost.op), None)


_PRODUCTS = {"multiply", "matmul", "einsum", "outer", "divide", "convolve", "conv_general_dilated"}
_SATURATING = {"tanh", "logistic", "softmax", "log_softmax", "erf", "erfc", "arctan", "softplus", "log_sigmoid"}


def _deed(level: Level, eqn: Eqn, i: int, cotangents: Mapping[Any, Any]) -> tuple[str, float | None]:
    name, size = eqn.op.name, eqn.outputs[0].type.size
    others = [a for k, a in enumerate(eqn.inputs) if k != i]
    if name in _PRODUCTS and others and not any([np.any(level[a]) for a in others]):
        return f"multiplied by zeros in {name}" if size > 1 else f"multiplied by 0 in {name}", None
    flat, got = _flat(level, eqn, i), np.asarray(cotangents.get(eqn.outputs[0], 0))
    share = None if flat is None else float(np.mean(flat))
    every = f"all {size} elements" if size > 1 else "its value"
    rest = ""
    if flat is not None and not np.all(flat):
        every = f"{np.sum(flat)} of {size} elements"
        if not np.any(got[~flat]):
            rest = ", and nothing comes back to the others"
    if name in ("relu", "relu6"):
        return f"{name} is flat for {every}{rest}", share
    if name == "where":
        whose = "any element" if not rest else f"{np.sum(flat)} of {size} elements"
        return f"where does not take it for {whose if size > 1 else 'these values'}{rest}", share
    if name in ("maximum", "minimum", "fmax", "fmin", "clamp"):
        return f"{name} takes the other one for {every}{rest}", share
    if name in _SATURATING:
        return f"{name} is saturated for {every}{rest}", share
    if name in ("slice", "gather", "take", "dynamic_slice", "max", "min"):
        return f"{name} takes other elements", None
    return f"the derivative of {name} is 0 there", share


def _flat(level: Level, eqn: Eqn, i: int) -> Any:
    """Where the slope of an elementwise op is 0, None for another one (of a softmax: where it is 0 or 1)."""
    if eqn.op.name == "softmax":
        out = level[eqn.outputs[0]]
        return (out == 0) | (out == 1)
    if not eqn.op.elementwise or eqn.op.multiple_results:
        return None
    shape = eqn.outputs[0].type.shape
    one = eqn._replace(inputs=tuple([Var(ArrayType(shape, a.type.dtype)) for a in eqn.inputs]))
    values = [np.broadcast_to(level[a], shape) for a in eqn.inputs]
    (slope,) = _pulled(one, values, [i], [0], [np.ones(shape)])
    return np.asarray(slope) == 0
