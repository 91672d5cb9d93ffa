"""Spectral functions found in programs as these write them: `(v * g(w)) @ v.T`, `v @ np.diag(g(w)) @ v.T`, `u @ vh`, and their
like, of what a decomposition gave.

A trace in which there is a decomposition has a recogniser look at each equation that it records from then on. What it
knows of a value is a small record (spectral_facts.py).
Where two of them make a spectral function, the equation is recorded with the derivative that this has (`spectral.py`).
Eigenvalues alone, and columns cut out of V, get equations of their own, so that they do not need the derivative of all
of V, which may not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, evaluate
from tracegrad.core.op import OPS, Op, Params
from tracegrad.core.trace import Equation, Trace, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.ops.contract import conjugate_of_complex
from tracegrad.ops.families import cast, shape_of
from tracegrad.ops.linalg.eigen import eig_op, eigenvalues_op, eigh_op, eigvalsh_op
from tracegrad.ops.linalg.equal_values import Line, among_equals_op
from tracegrad.ops.linalg.singular import singular_values_op, svd_op, svdvals_op
from tracegrad.ops.linalg.vectors import columns_op, recomposed_op
from tracegrad.transforms.spectral import spectral_derivative_op, spectral_op
from tracegrad.transforms.spectral_facts import (
    RULES,
    Factor,
    Product,
    Scale,
    Spectrum,
    TraceOfProduct,
    Vector,
    of_elementwise,
)
from tracegrad.transforms.values import has_gone


class _Recogniser:
    """Records the equations of a trace, in which there is a decomposition."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.append = trace.record
        self.known: dict[int, Any] = {}
        self.makers: dict[int, Equation] = {}
        self.spectra: dict[tuple[str, int], Spectrum] = {}
        # Values that were computed without vectors: by another routine, so that they differ by rounding from those with them.
        self.alone: set[int] = set()
        # The arrays that the traced function has made (`Trace.made`), by the tracers that stand for them.
        self.arrays: dict[int, Any] = {}
        for eqn in trace.eqns:
            self.note(eqn)

    def note(self, eqn: Equation) -> None:
        op, inputs, _, _, out, _, _ = eqn
        if op.name == "copy" and type(inputs[0]) is np.ndarray:
            self.arrays[id(out)] = inputs[0]

    def __call__(self, eqn: Equation) -> None:
        op, inputs, _, _, out, _, _ = eqn
        start = _STARTS.get(op.name)
        if start is not None:
            start(self, eqn)
            return
        if op.multiple_results:
            self.append(eqn)
            return
        self.makers[id(out)] = eqn
        self.note(eqn)
        known = [self.known.get(id(x)) for x in inputs]
        if all(k is None for k in known):
            self.append(eqn)
            return
        rule = of_elementwise if op.elementwise else RULES.get(op.name)
        of_arrays = (op, tuple([self.arrays.get(id(x), x) for x in inputs]), *eqn[2:])
        fact = None if rule is None else rule(of_arrays, known)
        if type(fact) is Product:
            self.record_product(eqn, fact)
            return
        if type(fact) is TraceOfProduct:
            self.record_trace(eqn, fact)
            return
        if fact is not None:
            self.known[id(out)] = fact
            if type(fact) is Factor and fact.bare and op.name == "slice":
                self.record_columns(eqn, fact)
                return
        self.append(eqn)

    # What is recorded in place of an equation.
    def tracer_like(self, x: Tracer) -> Tracer:
        return Tracer(self.trace, x.value, x.source, x._type)

    def record(self, op: Op, inputs: Sequence[Any], params: Params, out: Any) -> None:
        own = tuple([i for i, x in enumerate(inputs) if type(x) is Tracer and x.origin is self.trace])
        inputs = tuple([self.trace.kept(x, op) if type(x) is np.ndarray else x for x in inputs])
        values = inputs if self.trace.abstract else [x.value if i in own else x for i, x in enumerate(inputs)]
        self.append((op, inputs, values, params, out, own, None))

    def spectrum(self, kind: str, matrix: Any) -> Spectrum:
        shape = shape_of(matrix)
        key = kind, id(matrix)
        if key not in self.spectra:
            self.spectra[key] = Spectrum(kind, matrix, min(shape[-2:]))
        return self.spectra[key]

    def eigh(self, eqn: Equation) -> None:
        op, inputs, values, params, (w, v), *rest = eqn
        of = self.spectrum(op.name, inputs[0])
        plain = self.tracer_like(w)
        self.append((op, inputs, values, params, (plain, v), *rest))
        of.decomposition = plain, v
        self.record(eigenvalues_op, (inputs[0], plain, v), {"kind": op.name, "line": Line(w.source)}, w)
        if op.name == "eig":
            return
        self.known[id(w)] = self.known[id(plain)] = Vector(of, 0, of.size)
        self.known[id(v)] = Factor(of, "v", 0, of.size)

    def svd(self, eqn: Equation) -> None:
        op, inputs, values, params, (u, s, vh), *rest = eqn
        of = self.spectrum("svd", inputs[0])
        plain = self.tracer_like(s)
        self.append((op, inputs, values, params, (u, plain, vh), *rest))
        of.decomposition = plain, u, vh
        self.record(singular_values_op, (inputs[0], plain, u, vh), {"line": Line(s.source)}, s)
        self.known[id(s)] = self.known[id(plain)] = Vector(of, 0, of.size)
        self.known[id(u)] = Factor(of, "u", 0, u.shape[-1])
        self.known[id(vh)] = Factor(of, "v", 0, vh.shape[-2], turned=True, conjugated=True)

    def values_only(self, eqn: Equation) -> None:
        of = self.spectrum("eigh" if eqn[0] is eigvalsh_op else "svd", eqn[1][0])
        self.append(eqn)
        self.known[id(eqn[4])] = Vector(of, 0, of.size)
        self.alone.add(id(eqn[4]))

    def recomposed(self, eqn: Equation) -> None:
        """What a rule writes of the cotangent of eigenvalues. It names the decomposition, which may be from elsewhere: in the
        derivative of a jitted function, what is kept from its forward part."""
        _, *decomposition, x = eqn[1]
        of = self.spectrum(eqn[3]["kind"], eqn[1][0])
        self.know(of, decomposition)
        left = Factor(of, "v" if of.kind == "eigh" else "u", 0, of.size, scales=(Scale(x, -1, row=False),))
        self.record_product(eqn, Product(left, Factor(of, "v", 0, of.size, turned=True), False))

    def know(self, of: Spectrum, decomposition: Sequence[Any]) -> None:
        if of.decomposition is None:
            of.decomposition = tuple(decomposition)
        self.known.setdefault(id(decomposition[0]), Vector(of, 0, of.size))

    def learn(self, eqn: Equation) -> None:
        """From an equation that is recorded already."""
        op, inputs, _, _, out, _, _ = eqn
        if op.multiple_results:
            return
        self.makers[id(out)] = eqn
        known = [self.known.get(id(x)) for x in inputs]
        if op.elementwise and any(type(k) is Vector for k in known):
            fact = of_elementwise(eqn, known)
        elif op.name in ("reshape", among_equals_op.name) and any(known):
            fact = RULES[op.name](eqn, known)
        else:
            return
        if type(fact) is Vector:
            self.known[id(out)] = fact

    def record_columns(self, eqn: Equation, factor: Factor) -> None:
        op, inputs, values, params, out, *rest = eqn
        plain = self.tracer_like(out)
        self.append((op, inputs, values, params, plain, *rest))
        of = factor.of
        assert of.decomposition is not None
        how = {
            "kind": of.kind, "side": factor.side, "low": factor.low, "high": factor.high, "turned": factor.turned,
            "conjugated": factor.conjugated, "squeezed": len(out.shape) < len(inputs[0].shape), "line": Line(out.source),
        }  # fmt: skip
        self.record(columns_op, (of.matrix, *of.decomposition, plain), how, out)

    def record_product(self, eqn: Equation, product: Product) -> None:
        op, inputs, values, params, out, *rest = eqn
        of = product.left.of
        made = self.graph_of(of, (*product.left.scales, *product.right.scales), product.left.low, product.left.high)
        if made is None or (of.kind == "svd" and number_kind(made[0].out_types[0].dtype) == "c"):
            self.append(eqn)
            return
        plain = self.tracer_like(out)
        self.append((op, inputs, values, params, plain, *rest))
        graph, decomposition, others = made
        how = {"graph": graph, "kind": of.kind, "adjoint": product.adjoint, "line": Line(out.source)}
        self.record(spectral_op, (of.matrix, *decomposition, plain, *others), how, out)

    def record_trace(self, eqn: Equation, trace: TraceOfProduct) -> None:
        moves, out = trace.moves, eqn[4]
        of = moves.of
        made = self.graph_of(of, moves.scales, moves.low, moves.high)
        if made is None or number_kind(made[0].out_types[0].dtype) == "c":
            self.append(eqn)
            return
        graph, decomposition, others = made
        how = {"graph": graph, "kind": of.kind, "order": 0, "line": Line(out.source)}
        whole = bind(spectral_derivative_op, (of.matrix, *decomposition, *others), how)
        total = np.real(np.sum(conjugate_of_complex(whole) * moves.along, (-2, -1)))
        total = np.reshape(cast(total, out.dtype), shape_of(out))
        self.record(OPS["positive"], (total,), {}, out)

    def graph_of(
        self, of: Spectrum, scales: Sequence[Scale], low: int, high: int
    ) -> tuple[Graph, Sequence[Any], list[Any]] | None:
        """g as a Graph of the eigenvalues and other arrays, the decomposition with the eigenvalues that it is of, and these arrays;
        None where it is more than a function of each eigenvalue by itself and of what all of them share.

        The eigenvalues are those that the program has used. g may compare them with their own minimum, and those of another
        routine are beside it by rounding: it would be nobody's."""
        assert of.decomposition is not None
        w, *vectors = of.decomposition
        count = high - low
        x = Var(type_of(of.decomposition[0]))
        atoms: dict[int, Atom] = {}
        others: list[Any] = []
        varying: list[tuple[int, int]] = []  # which others have an entry for each eigenvalue, and along which axis
        eqns: list[Eqn] = []
        own_scales = [(s.by, s.axis) for s in scales]
        in_rows = all([s.row for s in scales])

        def leaf(y: Any, axis: int) -> Atom | None:
            if type(y) is not Tracer and type(y) is not np.ndarray:
                return Literal(y)
            if id(y) not in atoms:
                shape = shape_of(y)
                if len(shape) >= -axis and shape[axis] != 1:
                    if shape[axis] != count or (type(y) is Tracer and y.origin is self.trace):
                        return None
                    varying.append((len(others), axis))
                atoms[id(y)] = Var(type_of(y))
                others.append(y)
            return atoms[id(y)]

        waiting: list[tuple[Any, int, bool]] = [(y, axis, False) for y, axis in reversed(own_scales)]
        while waiting:  # from what scales the columns back to the eigenvalues, in the order of a depth-first search
            y, axis, is_ready = waiting.pop()
            if id(y) in atoms and not is_ready:
                continue
            known = self.known.get(id(y)) if type(y) is Tracer else None
            maker = self.makers.get(id(y)) if type(y) is Tracer else None
            if type(known) is Vector and known.of is of and maker is None:
                atoms[id(y)] = x
                w = y if id(y) in self.alone else w
            elif maker is not None and (type(known) is Vector or maker[0].name in _PASSING):
                op, inputs, _, params, _, _, _ = maker
                if op is among_equals_op:
                    inputs = inputs[1:]
                before = [self.known.get(id(i)) for i in inputs]
                axes = [k.axis if type(k) is Vector else axis for k in before]
                if not is_ready:
                    waiting.append((y, axis, True))
                    waiting += [(i, a, False) for i, a in zip(inputs, axes, strict=True)]
                    continue
                operands = [atoms.get(id(i)) or leaf(i, a) for i, a in zip(inputs, axes, strict=True)]
                if any(a is None for a in operands):
                    return None
                if op is among_equals_op:
                    atoms[id(y)] = operands[0]  # type: ignore[assignment]
                else:
                    made = atoms[id(y)] = Var(type_of(y))
                    eqns.append(Eqn(op, tuple(operands), params, (made,)))  # type: ignore[arg-type]
            elif leaf(y, axis) is None:
                return None
        outputs = [atoms.get(id(y)) or leaf(y, axis) for y, axis in own_scales]
        heads = (x, *[atoms[id(y)] for y in others])
        inner = Graph(heads, tuple(eqns), tuple(outputs), {}, "spectrum")  # type: ignore[arg-type]

        def vector(y: Any, axis: int) -> Any:
            """With the eigenvalues along the last axis, and an entry for each of all."""
            shape = shape_of(y)
            if axis == -2 or (in_rows and len(shape) > 1):
                y = np.reshape(y, (*shape[:-2], shape[axis] if len(shape) >= -axis else 1))
            shape = shape_of(y)
            y = np.broadcast_to(y, (*shape[:-1], count))
            if count == of.size:
                return y
            ends = [np.zeros((*shape[:-1], n), type_of(y).dtype) for n in (low, of.size - high)]
            return np.concatenate([ends[0], y, ends[1]], -1)

        def values(*arrays: Any) -> list[Any]:
            total: Any = None
            for y, s in zip(evaluate(inner, arrays), scales, strict=True):
                y = vector(y, s.axis)
                if total is None:
                    total = 1 / y if s.divides else y
                else:
                    total = total / y if s.divides else total * y
            inside = np.zeros(of.size, x.type.dtype)
            inside[low:high] = 1
            if total is None:
                total = np.broadcast_to(inside, x.type.shape)
            elif count != of.size:
                total = np.where(inside > 0, total, 0)
            if not is_inexact(type_of(total).dtype):
                total = total.astype(x.type.dtype)
            signs = [vector(arrays[1 + i], axis) for i, axis in varying]
            signs = [c if is_inexact(type_of(c).dtype) else c.astype(x.type.dtype) for c in signs]
            return [total, *signs, *([inside] if count != of.size else [])]

        types = [a.type for a in heads]
        return (
            trace_graph(
                values, types, transform="spectral", user_function=values, names="arrays[{}]".format, abstract=True
            ),
            (w, *vectors),
            others,
        )


# Ops that are gone through on the way back from what all eigenvalues share, or from a constant.
_PASSING = ("broadcast_to", among_equals_op.name)


_STARTS: dict[str, Callable[[_Recogniser, Equation], None]] = {
    eig_op.name: _Recogniser.eigh,
    eigh_op.name: _Recogniser.eigh,
    svd_op.name: _Recogniser.svd,
    eigvalsh_op.name: _Recogniser.values_only,
    svdvals_op.name: _Recogniser.values_only,
    recomposed_op.name: _Recogniser.recomposed,
}


def recognise(trace: Trace, elsewhere: tuple[str, Sequence[Any]] | None) -> None:
    """Have a trace recognise what is made of a decomposition that it is about to record; or of one from elsewhere, of which
    it has computed something before."""
    if type(trace.record) is _Recogniser:
        return
    trace.record = recogniser = _Recogniser(trace)
    trace.prunes = True
    if elsewhere is not None:
        kind, (matrix, *decomposition, _) = elsewhere
        recogniser.know(recogniser.spectrum(kind, matrix), decomposition)
        for before in trace.eqns:
            own = [x for x in before[1] if type(x) is Tracer and x.origin is trace]
            if not any([has_gone(x.value) for x in own]):
                recogniser.learn(before)  # not of what has gone (`values.py`)
