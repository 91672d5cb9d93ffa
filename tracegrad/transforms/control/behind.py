"""What the steps of a loop add up, and what nobody in the loop reads, computed behind the loop for all steps at once.

The other end of `ahead.py`, for NumPy alone as that is: a derivative's loop adds up the cotangents of what all steps share, and a loop
that will be walked back gives out what its steps only compute for that. A step then gives out what such equations read, which
a ufunc writes where it belongs, in place of a call of NumPy's or two. No bit changes: what is computed behind is of ops that work element by
element or matrix by matrix, and rows are added one by one in the order of the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.graph import Atom, Eqn, Graph, Var, remembered, replace
from tracegrad.core.memory import in_c_order
from tracegrad.core.op import OPS, Op
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.lower.numpy.memory import size_of
from tracegrad.transforms.control.ahead import SMALL, TOGETHER, ahead_of_scan, is_by_rows, is_view, of_all_steps
from tracegrad.transforms.control.call import call_op

FEW = 32  # steps from which on it pays
# What a step takes for it, a call of NumPy's being 1: to have a ufunc write where a result belongs, and to copy another there.
_WRITTEN, _COPIED = 0.2, 0.5


def _sum_of_steps(start: Any, rows: Any, *, reverse: bool) -> Any:
    block = np.empty((len(rows) + 1, *rows.shape[1:]), rows.dtype)  # one below the other as the steps go
    block[0], block[1:] = start, rows[::-1] if reverse else rows
    if block[0].size > 1:  # (of one number in each row NumPy adds up in pairs)
        try:
            with np.errstate(all="raise"):
                nothing = -0.0 if block.dtype.kind == "f" else 0  # that leaves the sign of a zero as it is
                return np.add.reduce(block, axis=0, dtype=block.dtype, initial=nothing)
        except FloatingPointError:  # of which the steps say more
            pass
    total = block[0]
    for row in block[1:]:
        total = total + row
    return total


def _before_steps(start: Any, rows: Any, *, reverse: bool) -> Any:
    found = np.empty(rows.shape, rows.dtype)
    if reverse:
        found[-1], found[:-1] = start, rows[1:]
    else:
        found[0], found[1:] = start, rows[:-1]
    return found


# An array, and what a loop added to it.
sum_of_steps_op = Op(
    "sum_of_steps",
    evaluate=_sum_of_steps,
    infer=lambda types, params: types[0],
    strides=lambda inputs, types, params: in_c_order(types[0].shape),
    never_aliases=True,
    kinds="",
)

# What a carry was before each step, by what it was before the first and after each.
before_steps_op = Op(
    "before_steps",
    evaluate=_before_steps,
    infer=lambda types, params: types[1],
    strides=lambda inputs, types, params: in_c_order(types[1].shape),
    never_aliases=True,
    kinds="",
)


class _Behind(NamedTuple):
    """A loop in two parts: a body of (carries, elements, constants) that are inputs of the old one with these numbers; and the Graph of
    what is computed behind it, `then`, of variables of the old body (`given`) to such (`made`). What the new body stacks are `stacked`
    variables of the old one. `sums` are carries, with what they add up; of the carries `before` it is asked what they were before the steps."""

    body: Graph
    inputs: Sequence[int]
    carries: Sequence[int]
    stacked: Sequence[Atom]
    then: Graph | None
    given: Sequence[Var]
    made: Sequence[Var]
    sums: Sequence[tuple[int, Var]]
    before: Sequence[int]


def around_scan(eqn: Eqn) -> list[Eqn] | None:
    """The equations in place of a scan; None where all is to be done in its steps."""
    found = ahead_of_scan(eqn)
    *first, scan = found or [eqn]
    params = scan.params
    body, carries, elements, length = [params[name] for name in ("body", "carries", "elements", "length")]
    if length < FEW or body.consts:
        return found
    steady = tuple([
        i for i, v in enumerate(body.inputs[:carries])
        if scan.inputs[i].type == v.type == scan.outputs[i].type == body.outputs[i].type and _is_small(v, length)
    ])  # fmt: skip
    key = "behind", carries, elements, length, steady
    parts: _Behind | None = remembered(body, key, lambda: _Sinking(body, carries, elements, length).parts(steady))
    return found if parts is None else [*first, *_put_apart(scan, parts)]


def _put_apart(scan: Eqn, parts: _Behind) -> list[Eqn]:
    params, inputs, outputs = scan.params, scan.inputs, scan.outputs
    body, carries, length = params["body"], params["carries"], params["length"]
    # What stands outside for the variables of the old body: for those that differ from step to step a stack.
    outside: dict[Atom, Any] = dict(zip(body.inputs, inputs, strict=True))
    outside.update(zip(body.outputs[carries:], outputs[carries:], strict=True))
    for a in (*parts.stacked, *parts.made):
        if a not in body.outputs[carries:]:
            outside[a] = Var(ArrayType((length, *a.type.shape), a.type.dtype))
    left = list(zip(body.outputs[carries:], outputs[carries:], strict=True))
    stacks = []
    for a in parts.stacked:
        stacks.append(next((out for b, out in left if b is a), outside[a]))
        left = [pair for pair in left if pair[1] is not stacks[-1]]
    elements = len([i for i in parts.inputs if carries <= i < carries + params["elements"]])
    loop = replace(
        scan,
        inputs=tuple([inputs[i] for i in parts.inputs]),
        params={**params, "body": parts.body, "carries": len(parts.carries), "elements": elements},
        outputs=(*[outputs[i] for i in parts.carries], *stacks),
    )
    eqns = [loop]
    order = {"reverse": params["reverse"]}
    for i in parts.before:
        v, start = body.inputs[i], inputs[i]
        if v not in body.outputs[carries:]:
            outside[v] = Var(outside[body.outputs[i]].type)
        eqns.append(Eqn(before_steps_op, (start, outside[body.outputs[i]]), order, (outside[v],), scan.raw_source))
    if parts.then is not None:
        given, made = [tuple([outside[v] for v in some]) for some in (parts.given, parts.made)]
        eqns.append(Eqn(call_op, given, {"graph": parts.then}, made, scan.raw_source))
    sources: dict[Any, Any] = {e.outputs[0]: e.raw_source for e in body.eqns if e.outputs}
    for i, x in parts.sums:
        source = sources[body.outputs[i]]
        eqns.append(Eqn(sum_of_steps_op, (inputs[i], outside[x]), order, (outputs[i],), source))
    return eqns


class _Sinking:
    """Finds out which equations of a body sink behind the loop."""

    def __init__(self, body: Graph, carries: int, elements: int, length: int) -> None:
        self.body = body
        self.carries = carries
        self.ends = carries + elements
        self.length = length
        self.makers: dict[Any, Eqn] = {v: e for e in body.eqns for v in e.outputs}
        self.varying = {*body.inputs[: self.ends], *self.makers}
        self.readers: dict[Any, list[int]] = {}  # the equations, by identity
        for e in body.eqns:
            for a in dict.fromkeys(e.inputs):
                self.readers.setdefault(a, []).append(id(e))
        self.sunk: set[int] = set()
        self.stacked: dict[Atom, None] = {}
        # Carries of which it is known what they were before a step from what they are after it.
        self.after: dict[Any, int] = {}

    def parts(self, steady: Sequence[int]) -> _Behind | None:
        body, carries, length = self.body, self.carries, self.length
        own, given_out = body.outputs[:carries], body.outputs[carries:]
        self.sink((), steady)
        sunk, taken = self.sunk, self.stacked.keys()
        sums = []
        for i in steady:
            if (x := self.summand(i)) is not None:
                # Stacks are memory: each has to spare a step two calls.
                found = self.sink([(i, x)], steady)
                calls = 1 + len([e for e in found if id(e) not in sunk and not is_view(e.op)])
                if calls >= 2 * len(self.stacked.keys() - taken):
                    sums.append((i, x))
        sinking = self.sink(sums, steady)
        summed = {i for i, _ in sums}
        # A carry before each step is one after a step, too, but for the first.
        before = [i for v, i in self.after.items() if v in self.stacked and given_out.count(v) <= 1]
        if not sums and not sinking and not before:
            return None
        gone = {e.outputs[0] for e in sinking} | {body.inputs[i] for i in before}
        stacked = [a for a in given_out if a not in gone]
        more = dict.fromkeys([a for a in self.stacked if a not in gone] + [own[i] for i in before])
        stacked += [a for a in more if a not in stacked]
        rest = tuple([e for e in body.eqns if id(e) not in self.sunk])
        left = [i for i in range(carries) if i not in summed]
        outputs = (*[own[i] for i in left], *stacked)
        read = {a for e in rest for a in e.inputs}.union(outputs)
        inputs = [*left, *[i for i in range(carries, len(body.inputs)) if body.inputs[i] in read]]
        inner = Graph(tuple([body.inputs[i] for i in inputs]), rest, outputs, {}, body.name)
        within = {e.outputs[0] for e in sinking}
        made = [v for v in dict.fromkeys([*given_out, *[x for _, x in sums]]) if v in within]
        given = list(dict.fromkeys([a for e in sinking for a in e.inputs if type(a) is Var and a not in within]))
        then = None
        if sinking:
            graph = Graph(tuple(given), tuple(sinking), tuple(made), {}, f"{body.name}_behind")
            then = of_all_steps(graph, self.varying, length)
        return _Behind(inner, inputs, left, stacked, then, given, made, sums, before)

    def sink(self, sums: Sequence[tuple[int, Var]], steady: Sequence[int]) -> list[Eqn]:
        """Let sink what can where these sums do, and return it but for the sums."""
        own = self.body.outputs
        self.sunk = {id(self.makers[own[i]]) for i, _ in sums}
        self.stacked = dict.fromkeys([*own[self.carries :], *[x for _, x in sums]])
        summed = {i for i, _ in sums}
        self.after = {
            v: i for i in steady
            if i not in summed and own[i] is not (v := self.body.inputs[i]) and self.is_written(own[i])
        }  # fmt: skip
        return [e for e in self.body.eqns[::-1] if self.sinks(e)][::-1]

    def summand(self, i: int) -> Any:
        """What the steps add to a carry that nothing else reads, if they do and it can be had behind them."""
        v, a = self.body.inputs[i], self.body.outputs[i]
        eqn = self.makers.get(a)
        if eqn is None or eqn.op is not OPS["add"] or self.body.outputs.count(a) > 1 or v in self.body.outputs:
            return None
        others = [x for x in eqn.inputs if x is not v]
        if a in self.readers or self.readers.get(v) != [id(eqn)] or len(others) != 1:
            return None
        (x,) = others
        is_there = x in self.makers or x in self.body.inputs[self.carries : self.ends]
        return x if is_there and x.type == v.type and v.type.size > 1 else None

    def sinks(self, eqn: Eqn) -> bool:
        """Whether an equation is to be computed behind the loop, where those behind it have been asked already; if so, it is noted."""
        if len(eqn.outputs) != 1 or id(eqn) in self.sunk:
            return False
        (v,) = eqn.outputs
        if v not in self.stacked or v in self.body.outputs[: self.carries] or self.body.outputs.count(v) > 1:
            return False
        if not self.sunk.issuperset(self.readers.get(v, ())) or not is_by_rows(eqn, self.varying, self.length):
            return False
        given = [a for a in dict.fromkeys(eqn.inputs) if a in self.varying]
        # (Of the equations before it some may read the same.)
        price = sum([self.price(a) for a in given])
        gained = (0 if is_view(eqn.op) else 1 if v.type.size > 1 else 0.2) + self.price(v, anyhow=True)
        if not given or price >= gained:
            return False
        self.sunk.add(id(eqn))
        del self.stacked[v]
        self.stacked.update(dict.fromkeys([a for a in given if a not in self.body.inputs[self.carries : self.ends]]))
        return True

    def price(self, a: Any, anyhow: bool = False) -> float:
        """What it takes a step to have a variable stacked."""
        if not anyhow and (a in self.stacked or a in self.body.inputs[self.carries : self.ends]):
            return 0
        if not _is_small(a, self.length):
            return float("inf")
        return _WRITTEN if a in self.after or self.is_written(a) else _COPIED

    def is_written(self, a: Any) -> bool:
        """Whether a ufunc makes it, which can write it where it belongs."""
        eqn = self.makers.get(a)
        return eqn is not None and _is_plain(eqn.op) and a.type.shape != ()


def _is_plain(op: Op) -> bool:
    return isinstance(op.evaluate, np.ufunc) and op.evaluate.signature is None


def _is_small(v: Any, length: int) -> bool:
    of = v.type
    return not of.weak and number_kind(of.dtype) in "iuf" and size_of(of) <= SMALL and size_of(of) * length <= TOGETHER
