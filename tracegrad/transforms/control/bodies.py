"""Bodies of loops: traced, differentiated, batched, as Graphs of (carry, elements, constants).

A body is traced once, and what it closes over becomes further inputs. What a loop carries besides (tangents, batches) is
found by going round until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import CodeType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from tracegrad import tree
from tracegrad.core.chance import without_drawing
from tracegrad.core.context import context
from tracegrad.core.errors import DtypeError, ShapeError, at, described, user_source
from tracegrad.core.graph import Graph, closed, remembered, replace
from tracegrad.core.op import Wanted
from tracegrad.core.reuse import Draws, draws_of
from tracegrad.core.trace import strengthened
from tracegrad.core.tracing import Finish, trace_graph, traced
from tracegrad.core.types import ArrayType, is_inexact, number_kind, type_of
from tracegrad.lower.passes import simplify
from tracegrad.ops.elementwise import astype
from tracegrad.transforms.batch import Batched, batch_graph, batched_types, with_batch
from tracegrad.transforms.control.held import with_tangents
from tracegrad.transforms.linear import strong, zeros_like_type

# What runs loops on NumPy, by its code: what the loop is called, and what its local variable is, the number of the step. What
# picks rows of a batch apart has no name, since rows have other numbers in it.
LOOPS: dict[CodeType, tuple[str, str]] = {}


class Sections:
    """The sections of a flat list, by their names and lengths.

    >>> sections = Sections(carry=2, element=0, const=1)
    >>> parts = sections.split("abc")
    >>> parts.carry, parts.element, sections.join(carry=[1, 2], element=[], const=[3])
    (['a', 'b'], [], [1, 2, 3])
    """

    def __init__(self, **lengths: int) -> None:
        self.lengths = lengths

    def split(self, flat: Iterable[Any]) -> Any:
        rest = iter(flat)
        parts = SimpleNamespace(**{name: list(islice(rest, length)) for name, length in self.lengths.items()})
        assert next(rest, self) is self, "more than the sections hold"
        return parts

    def join(self, **parts: Sequence[Any]) -> list[Any]:
        assert {name: len(part) for name, part in parts.items()} == self.lengths, "not of the sections' lengths"
        return [x for name in self.lengths for x in parts[name]]


class Body(NamedTuple):
    """A traced body: its Graph, of the flat arguments and then of the constants; the constants; the output's tree; and which of its
    arguments are keys from which it draws."""

    graph: Graph
    consts: tuple[Any, ...]
    out_tree: tree.PyTreeDef
    draws: Draws


def where(chosen: Callable[[], Any], function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, which a row of a batch gets to if `chosen` says so, where it is traced."""
    around = context.chosen
    context.chosen = (*around, chosen)
    try:
        return function(*args)
    finally:
        context.chosen = around


def traced_body(
    function: Callable[..., Any],
    in_tree: tree.PyTreeDef,
    types: Sequence[ArrayType],
    transform: str,
    names: Sequence[str],
    finish: Finish | None = None,
    repeats: bool = True,
) -> Body:
    """Trace `function(*arguments)` for arguments of a tree, its leaves of these types, for a loop that `repeats` it."""

    def call(*tracers: Any) -> Any:
        return function(*tree.tree_unflatten(in_tree, tracers))

    how = {"transform": transform, "names": names.__getitem__, "abstract": True, "repeats": repeats}

    def trace() -> tuple[Graph, tree.PyTreeDef]:
        return traced(function, call, types, finish, **how)

    graph, out_tree = without_drawing(function, transform, trace)
    whole, consts = closed(graph)
    return Body(simplify(whole), consts, out_tree, draws_of(graph))


def traced_until_stable(
    transform: str,
    function: Any,
    step: Callable[..., Any],
    carry_tree: tree.PyTreeDef,
    carry: list[Any],
    element_tree: tree.PyTreeDef | None,
    elements: Sequence[ArrayType],
    element_names: Sequence[str],
    carry_of: Callable[[Any], Any],
    repeats: bool = True,
) -> tuple[Body, list[Any]]:
    """The body, and the initial carry in the dtypes that the body makes of it: a carry that goes in as one dtype and
    comes out as a wider one is widened until nothing changes. That ends, since there is a widest, but a body that makes a
    narrower one of the wider would go back and forth, and is refused. Errors name the leaf by its key path."""
    paths = [tree.keystr(p) for p, _ in tree.tree_leaves_with_path(tree.tree_unflatten(carry_tree, carry))]
    # A loop carries arrays: a flag is one of bools, and no Python bool, of which ~ would make an int.
    carry = [strengthened(c) if type_of(c).weak and number_kind(type_of(c).dtype) == "b" else c for c in carry]
    types = [type_of(c) for c in carry]
    trees = (carry_tree,) if element_tree is None else (carry_tree, element_tree)
    in_tree = tree.tree_structure(tuple([tree.tree_unflatten(t, [0] * t.num_leaves) for t in trees]))
    names = [f"the carry{p}" for p in paths] + list(element_names)
    wider: list[Any] = []
    before: list[tuple[ArrayType, ArrayType]] = []  # what went in the last time, and what came out

    def finish(outputs: list[Any], out_tree: tree.PyTreeDef) -> list[Any]:
        nonlocal wider, before
        skeleton = carry_of(tree.tree_unflatten(out_tree, list(range(out_tree.num_leaves))))
        if tree.tree_structure(skeleton) != carry_tree:
            raise ShapeError(
                f"{transform}{at(user_source())}: the carry goes into {described(function)} as {carry_tree} and comes out "
                f"as {tree.tree_structure(skeleton)}; return a carry of the structure of the initial one"
            )
        numbers = tree.tree_leaves(skeleton)
        wider = []
        made = [type_of(outputs[number]) for number in numbers]
        for path, (old, was), t, found in zip(paths, before, types, made, strict=False):
            if np.result_type(was.weight, found.weight) != found.dtype:
                raise DtypeError(
                    f"{transform}{at(user_source())}: the carry{path} changes its dtype from step to step: {described(function)} "
                    f"makes {was} of {old} and {found} of {t}; return it in one dtype, as by .astype({was.dtype.name!r})"
                )
        before = list(zip(types, made, strict=True))
        for path, number, t, found in zip(paths, numbers, types, made, strict=True):
            if found.shape != t.shape:
                raise ShapeError(
                    f"{transform}{at(user_source())}: the carry{path} goes into {described(function)} as {t} and comes out "
                    f"as {found}; a carry keeps its shape: start from one of shape {found.shape}, or return one of shape "
                    f"{t.shape}"
                )
            joint = np.result_type(*[x.weight for x in (found, t)])
            is_weak = found.weak and t.weak and joint == t.dtype
            wider.append(ArrayType(t.shape, joint, is_weak))
            if found.dtype != joint or found.weak != is_weak:
                outputs[number] = astype(outputs[number], joint)
        return outputs

    while True:
        body = traced_body(step, in_tree, [*types, *elements], transform, names, finish, repeats)
        if wider == types:
            break
        types = wider
    return body, [x if type_of(x) == t else astype(x, t.dtype) for x, t in zip(carry, types, strict=True)]


def depending(graph: Graph, inputs: Sequence[int]) -> set[int]:
    """The numbers of the outputs that depend on these inputs, and can have a derivative."""
    reached: set[Any] = {graph.inputs[i] for i in inputs}
    for eqn in graph.eqns:
        if not reached.isdisjoint(eqn.inputs):
            reached.update([v for v in eqn.outputs if is_inexact(v.type.dtype)])
    return {i for i, a in enumerate(graph.outputs) if a in reached and is_inexact(a.type.dtype)}


def active_carries(body: Graph, carries: int, active: Sequence[int]) -> list[int]:
    """Which carries have a derivative after some steps, if these inputs of the body do."""
    found = set(active)
    while True:
        more = found | {i for i in depending(body, sorted(found)) if i < carries}
        if more == found:
            return sorted([i for i in found if i < carries])
        found = more


def tangent_body(body: Graph, carries: int, elements: int, wanted: Wanted) -> tuple[list[int], Graph, list[int]]:
    """Of (carry, tangents of the active carries), (elements, their tangents), (constants, their tangents); which carries
    are active; and which of the stacked outputs have tangents."""

    def make() -> Any:
        active = active_carries(body, carries, wanted)
        ends = carries + elements
        varying, shared = [i for i in wanted if carries <= i < ends], [i for i in wanted if i >= ends]
        sections = Sections(
            carry=carries, dcarry=len(active), element=elements, delement=len(varying),
            const=len(body.inputs) - ends, dconst=len(shared),
        )  # fmt: skip
        found: list[int] = []

        def step(*arrays: Any) -> list[Any]:
            given = sections.split(arrays)
            moving = dict(zip((*active, *varying, *shared), given.dcarry + given.delement + given.dconst, strict=True))
            outputs, pushed = with_tangents(body, given.carry + given.element + given.const, moving)
            found.extend([i for i, t in enumerate(pushed[carries:]) if t is not None])
            zeros = {i: zeros_like_type(strong(body.out_types[i])) for i in active}
            return [
                *outputs[:carries],
                *[zeros[i] if pushed[i] is None else pushed[i] for i in active],
                *outputs[carries:],
                *[t for t in pushed[carries:] if t is not None],
            ]

        own, moved = (
            Sections(carry=carries, element=elements, const=len(body.inputs) - ends).split(body.in_types),
            body.in_types,
        )
        types = sections.join(
            **vars(own), dcarry=[strong(moved[i]) for i in active], delement=[strong(moved[i]) for i in varying],
            dconst=[strong(moved[i]) for i in shared],
        )  # fmt: skip
        graph = trace_graph(step, types, transform="jvp", user_function=body, abstract=True)
        return active, simplify(replace(graph, name=f"{body.name}_jvp")), found

    return remembered(body, ("scan tangents", carries, elements, wanted), make)


def batched_body(
    body: Graph, carries: int, size: int, batched: tuple[bool, ...]
) -> tuple[Graph, tuple[bool, ...], tuple[bool, ...]]:
    """The body for batches; which of its inputs are batches, those given and the carries that become so; and which of its
    outputs are, such carries and what else depends on them."""

    def make() -> tuple[Graph, tuple[bool, ...], tuple[bool, ...]]:
        flags = list(batched)
        while True:
            grown: list[int] = []
            varying: list[bool] = []

            def step(
                *arrays: Any,
                flags: Sequence[bool] = tuple(flags),
                grown: list[int] = grown,
                varying: list[bool] = varying,
            ) -> list[Any]:
                outs = batch_graph(body, size, arrays, flags)
                grown.extend([i for i, o in enumerate(outs[:carries]) if type(o) is Batched and not flags[i]])
                if grown:
                    return []
                varying.extend([flags[i] if i < carries else type(o) is Batched for i, o in enumerate(outs)])
                return [with_batch(o, size) if v else o for o, v in zip(outs, varying, strict=True)]

            types = batched_types(body, size, flags)
            graph = trace_graph(step, types, transform="vmap", user_function=body, abstract=True)
            if not grown:
                return simplify(replace(graph, name=f"{body.name}_vmap")), tuple(flags), tuple(varying)
            for i in grown:
                flags[i] = True

    axis = (context.batching, context.start) if context.batching in body.axes else None
    return remembered(body, ("loop batch", carries, size, batched, axis), make)


def own_carry(carry: Sequence[Any], given: Sequence[Any]) -> list[Any]:
    """The last carry in memory of its own, which the steps may have left in an argument, in what is stacked, or twice in
    one array."""
    seen = set(map(id, given))
    results = []
    for c in carry:
        if type(c) is ndarray:
            if c.base is not None or id(c) in seen:
                c = c.copy()[()]
            seen.add(id(c))
        results.append(c)
    return results
