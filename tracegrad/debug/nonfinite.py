"""Where a NaN or an infinity comes from: `tg.debug.explain_nan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import Source, clip, require_callable
from tracegrad.core.graph import Eqn, Literal, Var
from tracegrad.core.quiet import quietly
from tracegrad.debug.causes import applied, forward_advice, largest, overflows, shown, slope
from tracegrad.debug.replay import Level, graph_of_call, is_number
from tracegrad.transforms.rows import rows_of, without_rows

Test = Callable[[Any], Any]
Index = tuple[int, ...]


@dataclass(frozen=True)
class NonFinite:
    """A NaN or an infinity where it is made.

    kind        "nan" or "inf"
    phase       "forward", "backward", "argument" or "constant" (an array that the function closes over)
    op          the op that made it, "" for an argument
    of          the op in whose derivative, None in the forward pass
    source      the user's line, None for an argument
    scope       the open scopes (`tg.named_scope`)
    steps       which step of which loop
    name        an argument's key path
    rows        in which row of the batch, of each `vmap` from the outermost on
    index       of the first element (in its row), None where there is no telling
    count       how many elements are not finite, of `size`
    operands    of the op (in the backward pass of that whose derivative it is) at that element
    cause       in words
    advice      what to write instead, "" where there is nothing to say
    """

    kind: str
    phase: str
    op: str
    of: str | None
    source: Source | None
    scope: tuple[str, ...]
    steps: tuple[str, ...]
    name: str
    rows: Index
    index: Index | None
    count: int
    size: int
    operands: tuple[Any, ...]
    cause: str
    advice: str

    def __str__(self) -> str:
        if self.phase in ("argument", "constant"):
            return f"{self.cause}{self._count()}{f', used at {self.source}' if self.source else ''}"
        where = "" if self.source is None else f" at {self.source}"
        parts = [f"in the derivative of {self.of}" if self.of else "", ", ".join(self.steps), "/".join(self.scope)]
        if self.rows:
            parts.insert(1, f"row {', '.join(map(str, self.rows))}")
        lines = [
            f"{self.phase}{where}" + "".join([f", {'in ' if i else ''}{part}" for i, part in enumerate(parts) if part])
        ]
        if self.source is not None and self.source.text:
            lines.append(f"    {clip(self.source.text)}")
        lines.append(f"  {self.cause}{self._count()}")
        if self.advice:
            lines.append(f"  Instead: {self.advice}.")
        return "\n".join(lines)

    def _count(self) -> str:
        return f" ({self.count} of {self.size} elements)" if self.size > 1 else ""


@dataclass(frozen=True)
class Explanation:
    """What `explain_nan` found. `first` is the first NaN or infinity that was made; `then` is where the infinity became NaN, None
    if it did not; `output` is which output of the function is not finite. str() of it is a report."""

    first: NonFinite
    then: NonFinite | None
    output: str

    def __str__(self) -> str:
        kind = "NaN" if self.first.kind == "nan" else "infinity"
        text = f"{self.output} is not finite. The first {kind} is made {self.first}"
        if self.first.phase in ("argument", "constant"):
            text = f"{self.output} is not finite: {self.first}"
        return text if self.then is None else f"{text}\nIt becomes NaN {self.then}"

    __repr__ = __str__


def explain_nan(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation | None:
    """Where the first NaN or infinity is made that reaches what `fun` returns, and why; None if all of that is finite.

    The function is run once more on NumPy, op by op, with all that it computes kept; so call it when something is
    wrong. It may be a gradient, a whole training step, jitted for any backend, with loops, branches, checkpoints and
    rules of its own: what is inside is looked at too. Infinities that harm nothing, such as those of a mask, are passed over.

    Args:
        fun: a function of arrays and pytrees of them.
        *args: its arguments. Keyword arguments may be arrays or anything else.

    >>> import numpy as np, tracegrad as tg
    >>> found = tg.debug.explain_nan(tg.grad(lambda x: np.sum(np.sqrt(x))), np.array([4.0, 0.0]))
    >>> found.first.phase, found.first.of, found.first.index, found.first.operands
    ('backward', 'sqrt', (1,), (np.float64(0.0),))
    """
    require_callable(fun, "debug.explain_nan", "(f, x)")
    call = graph_of_call("explain_nan", fun, args, kwargs)
    return quietly(("all",), lambda: _explain(Level(call.graph, call.inputs), call.out_tree))


def _explain(level: Level, out_tree: tree.PyTreeDef) -> Explanation | None:
    outputs = level.outputs
    paths = [path for path, _ in tree.tree_leaves_with_path(tree.tree_unflatten(out_tree, outputs))]
    for test in (np.isnan, np.isinf):
        bad = [i for i, x in enumerate(outputs) if is_number(x) and np.any(test(x))]
        if bad:
            break
    else:
        return None
    output = f"the result{tree.keystr(paths[bad[0]])}"
    found = _located(level, [level.graph.outputs[i] for i in bad], test)
    last = _event(*found, test)
    if test is np.isnan and found[1] is not None:
        index = None if last.index is None else (*last.rows, *last.index)
        earlier = _infinity_behind(found[0], found[1], index)
        if earlier is not None:
            return Explanation(earlier, last, output)
    return Explanation(last, None, output)


# A level, an equation in it that makes what is not finite, or None and an input of the level's Graph that is not finite.
Place = tuple[Level, Eqn | None, Any]


def _located(level: Level, targets: Sequence[Any], test: Test) -> Place:
    """Where what is not finite in these variables is made."""
    while True:
        births, given = _behind(level, targets, test)
        if not given or level.outer is None:
            break
        outer, holder = level.outer, level.eqn
        assert holder is not None
        inside = outer.runs(holder, lambda run: _makes(run, test))
        if inside is not None:
            return _located(inside, _failing(inside, inside.graph.outputs, test), test)
        level, targets = outer, _failing(outer, holder.inputs, test)
        if not targets:
            break
    if given:
        return level, None, given[0]
    if not births:
        return level, None, targets[0] if targets else level.graph.outputs[0]
    eqn = births[-1]
    inside = level.runs(eqn, lambda run: _makes(run, test))
    if inside is not None:
        return _located(inside, _failing(inside, inside.graph.outputs, test), test)
    return level, eqn, None


def _makes(run: Level, test: Test) -> bool:
    heads = [*run.graph.inputs, *run.graph.consts]
    return bool(_failing(run, run.graph.outputs, test)) and not _failing(run, heads, test)


def _failing(level: Level, atoms: Sequence[Any], test: Test) -> list[Any]:
    return [a for a in atoms if is_number(level[a]) and bool(np.any(test(level[a])))]


def _behind(level: Level, targets: Sequence[Any], test: Test) -> tuple[list[Eqn], list[Var]]:
    """The equations that make it, last to first, and the inputs and constants that have it already."""
    tainted = {a for a in targets if type(a) is Var}
    births = []
    for eqn in reversed(level.graph.eqns):
        if tainted.isdisjoint(eqn.outputs):
            continue
        causes = [a for a in _failing(level, eqn.inputs, test) if type(a) is Var]
        if eqn.op.elementwise and not eqn.op.multiple_results:
            out = level[eqn.outputs[0]]
            causes = [a for a in causes if np.any(test(out) & test(level[a]))]
        tainted.update(causes)
        if not causes:
            births.append(eqn)
    heads = [*level.graph.inputs, *level.graph.consts]
    return births, [v for v in heads if v in tainted]


def _infinity_behind(level: Level, eqn: Eqn, index: Index | None) -> NonFinite | None:
    """Where the infinity is made that an equation makes NaN of."""
    infinite = [a for a in _failing(level, eqn.inputs, np.isinf) if type(a) is Var]
    if eqn.op.elementwise and index is not None:
        infinite = [a for a in infinite if np.isinf(_at(level[a], index))]
    return _event(*_located(level, infinite[:1], np.isinf), np.isinf) if infinite else None


def _at(x: Any, index: Index) -> Any:
    """The element of an array that is broadcast to what has this index."""
    x = np.asarray(x)
    place = index[len(index) - x.ndim :] if x.ndim else ()
    return x[tuple([0 if n == 1 else i for i, n in zip(place, x.shape, strict=True)])]


_OTHER_NAMES = {"custom_call": "a function with rules of its own", "by_convention": "a derivative at a kink"}


def _event(level: Level, eqn: Eqn | None, given: Any, test: Test) -> NonFinite:
    kind = "nan" if test is np.isnan else "inf"
    called = "NaN" if kind == "nan" else "infinite"
    if eqn is None:
        x = np.asarray(level[given])
        index = _first(test(x))
        where = f"[{', '.join(map(str, index))}]" if index else ""
        name = given.name if type(given) is Var and given in level.graph.inputs and level.outer is None else None
        phase = "argument" if name else "constant"
        cause = f"{name or 'an array that it closes over, '}{where} is {called} already"
        reader = None if name else next((e for e in level.graph.eqns if given in e.inputs), None)
        source, scope = (None, ()) if reader is None else (reader.source, without_rows(reader.scope))
        if not name:
            cause = f"an array that it closes over, {given.type}, is {called} already{f' at {where}' if where else ''}"
        return NonFinite(
            kind,
            phase,
            "",
            None,
            source,
            scope,
            level.steps(),
            name or "",
            (),
            index,
            int(np.sum(test(x))),
            x.size,
            (),
            cause,
            "",
        )
    out = next(level[v] for v in eqn.outputs if is_number(level[v]) and np.any(test(level[v])))
    flags = np.asarray(test(out))
    index = _first(flags)
    of = eqn.of.name if eqn.of is not None else None
    of = _OTHER_NAMES.get(of, of) if of is not None else None
    operands = _operands(level, eqn, index, np.shape(out))
    result = np.asarray(out)[index] if index is not None else out
    rows = rows_of(eqn, index, np.shape(out)) if index else ()
    inside = index[len(rows) :] if index else index
    at = f" at [{', '.join(map(str, inside))}]" if inside else ""
    literal = next((a.value for a in eqn.inputs if type(a) is Literal and is_number(a.value) and test(a.value)), None)
    advice = ""
    if of is not None and literal is not None:
        cause, advice = f"there is no such derivative{at}: the first one is what convention says at a kink", ""
    elif of is not None:
        forward = _forward_of(level, eqn)
        own = _operands(level, forward, index, np.shape(out)) if forward is not None else None
        wrong, advice = ("", "") if own is None and _is_from_outside(level, eqn) else slope(of, own)
        cause = f"{_cause(level, eqn, operands, result, at)}"
        if own and wrong:
            cause = f"{applied(of, own)}{at}: {wrong}, {_cause(level, eqn, operands, result)}"
            operands = own
        elif wrong:
            cause += f": {wrong}"
        zero = _zero_behind(level, eqn, index) if kind == "nan" else None
        if zero is not None:
            cause += f"; the 0 is of the derivative of {zero.of.name}{f' at {zero.source}' if zero.source else ''}"  # type: ignore[union-attr]
    elif literal is not None:
        cause = f"{shown(literal)} is written there"
    else:
        cause = f"{_cause(level, eqn, operands, result, at)}"
        if operands:
            advice = forward_advice(eqn.op.name, operands, result)
        elif np.isinf(result) and np.asarray(out).dtype.itemsize < 4:
            advice = "compute it in float32: `x.astype(np.float32)`"
    return NonFinite(
        kind, "backward" if eqn.phase else "forward", eqn.op.name, of, eqn.source, without_rows(eqn.scope), level.steps(),
        "", rows, inside, int(np.sum(flags)), flags.size, tuple(operands or ()), cause, advice,
    )  # fmt: skip


def _first(flags: Any) -> Index | None:
    found = np.argwhere(flags)
    return tuple(map(int, found[0])) if len(found) else None


def _is_from_outside(level: Level, eqn: Eqn) -> bool:
    """Whether an equation of a derivative rule has got what is not finite from another rule: then it is no slope of its own op's."""
    makers = {v: e for e in level.graph.eqns for v in e.outputs}
    todo = [eqn]
    while todo:
        wrong = [a for a in todo.pop().inputs if is_number(level[a]) and not np.all(np.isfinite(level[a]))]
        if not wrong:
            return False
        before = [makers[a] for a in wrong if type(a) is Var and a in makers]
        todo += [e for e in before if (e.of, e.phase, e.source) == (eqn.of, eqn.phase, eqn.source)]
    return True


def _operands(level: Level, eqn: Eqn, index: Index | None, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """What an elementwise op has at an element of the result; else its operands if they are numbers."""
    values = [level[a] for a in eqn.inputs]
    if index is not None and eqn.op.elementwise:
        try:
            if np.broadcast_shapes(*[np.shape(x) for x in values], shape) == shape:
                return tuple([_at(x, index) for x in values])
        except ValueError:
            return ()
    return tuple(values) if values and all([np.ndim(x) == 0 for x in values]) else ()


def _cause(level: Level, eqn: Eqn, operands: Sequence[Any], result: Any, at: str = "") -> str:
    name = eqn.op.name
    if operands:
        text = f"{applied(name, operands)}{at} is {shown(result)}"
        if overflows(operands, result):
            dtype = np.asarray(result).dtype
            text = f"{applied(name, operands)}{at} is larger than {largest(dtype)}, the largest {dtype}"
        return text
    types = ", ".join([str(a.type) for a in eqn.inputs])
    held = [
        kind
        for kind, test in (("NaN", np.isnan), ("inf", np.isposinf), ("-inf", np.isneginf))
        if _holds(level, eqn, test)
    ]
    with_ = f", which hold {' and '.join(held)}," if held else ", all finite,"
    if not held and np.isinf(result):
        dtype = np.asarray(result).dtype
        return f"{name} of {types}{with_}{at} is larger than {largest(dtype)}, the largest {dtype}"
    return f"{name} of {types}{with_}{at} is {shown(result)}"


def _holds(level: Level, eqn: Eqn, test: Test) -> bool:
    return any([np.asarray(level[a]).dtype.kind == "f" for a in _failing_real(level, eqn, test)])


def _failing_real(level: Level, eqn: Eqn, test: Test) -> list[Any]:
    return [
        a
        for a in eqn.inputs
        if np.asarray(level[a]).dtype.kind == "f" and np.any(test(np.asarray(level[a], np.float64)))
    ]


def _zero_behind(level: Level, eqn: Eqn, index: Index | None) -> Eqn | None:
    """The derivative's equation that made a zero which an elementwise one has for an operand."""
    makers = {v: e for e in level.graph.eqns for v in e.outputs}
    found: Eqn | None = None
    here: Eqn | None = eqn
    while here is not None and here.op.elementwise and index is not None:
        zeros = [a for a in here.inputs if type(a) is Var and is_number(level[a]) and _at(level[a], index) == 0]
        here = next((makers[a] for a in zeros if a in makers and makers[a].of is not None), None)
        found = here or found
    return found if found is not None and (found.of, found.source) != (eqn.of, eqn.source) else None


def _forward_of(level: Level, eqn: Eqn) -> Eqn | None:
    """The equation in whose derivative rule another one was recorded: of that op, on that line, and an input or output of which
    the rule reads."""
    candidates = [e for e in level.graph.eqns if e.op is eqn.of and e.phase == eqn.phase - 1 and e.source == eqn.source]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    makers = {v: e for e in level.graph.eqns for v in e.outputs}
    read: set[Any] = set()
    todo = [eqn]
    while todo:
        for a in todo.pop().inputs:
            if type(a) is Var and a not in read:
                read.add(a)
                maker = makers.get(a)
                if maker is not None and (maker.of, maker.phase, maker.source) == (eqn.of, eqn.phase, eqn.source):
                    todo.append(maker)
    return max(candidates, key=lambda e: len(read.intersection((*e.inputs, *e.outputs))))
