"""Spectral functions found in programs as these write them: `(v * g(w)) @ v.T`, `v @ np.diag(g(w)) @ v.T`, `u @ vh`, and their
like, of what a decomposition gave.

A trace in which there is a decomposition has a `_Recogniser` look at each equation that it records from then on. What it
knows of a value is a small record: columns of V, scaled; a function of the eigenvalues; what these move by along a matrix.
Where two of them make a spectral function, the equation is recorded with the derivative that this has (`spectral.py`).
Eigenvalues alone, and columns cut out of V, get equations of their own, so that they do not need the derivative of all
of V, which may not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
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
from tracegrad.ops.linalg.vectors import columns_op, expected_op, recomposed_op
from tracegrad.transforms.spectral import spectral_derivative_op, spectral_op


@dataclass(eq=False)
class _Spectrum:
    """A decomposition in a trace: of which matrix, and what it gave (None until there are vectors)."""

    kind: str
    matrix: Any
    size: int
    decomposition: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class _Vector:
    """Values g(w) of the eigenvalues numbered `low` to `high`, along this axis (-1 or -2)."""

    of: _Spectrum
    low: int
    high: int
    axis: int = -1


@dataclass(frozen=True)
class _Diagonal:
    """A matrix with g(w) on its diagonal, or (`flat`) what becomes that by a reshape."""

    of: _Spectrum
    low: int
    high: int
    scale: _Scale
    flat: bool = False


@dataclass(frozen=True)
class _Scale:
    """What columns are multiplied (or divided) by, and its axis that goes along the columns."""

    by: Any
    axis: int
    divides: bool = False
    row: bool = True  # whether that axis, if the last of several, has one of size 1 before it, for the rows


@dataclass(frozen=True)
class _Factor:
    """Columns `low` to `high` of V (or U), each multiplied by the scales; or, `turned`, the transpose of that."""

    of: _Spectrum
    side: str
    low: int
    high: int
    turned: bool = False
    conjugated: bool = False
    scales: tuple[_Scale, ...] = ()
    bare: bool = True  # whether it is a part of V itself, not scaled


@dataclass(frozen=True)
class _Product:
    """Columns times such a transpose: a spectral function, or its adjoint."""

    left: _Factor
    right: _Factor
    adjoint: bool


@dataclass(frozen=True)
class _Moves:
    """What eigenvalues move by along a matrix, each multiplied by the scales."""

    of: _Spectrum
    low: int
    high: int
    along: Any
    scales: tuple[_Scale, ...] = ()


@dataclass(frozen=True)
class _Applied:
    """A matrix times columns of V; or (`weighted`) the elements of that times those of the columns."""

    factor: _Factor
    along: Any
    weighted: bool = False


@dataclass(frozen=True)
class _Trace:
    """The sum of such moves: a trace of the matrix with a spectral function."""

    moves: _Moves


class _Recogniser:
    """Records the equations of a trace, in which there is a decomposition."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.append = trace.record
        self.known: dict[int, Any] = {}
        self.makers: dict[int, Equation] = {}
        self.spectra: dict[tuple[str, int], _Spectrum] = {}
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
        rule = _elementwise if op.elementwise else _RULES.get(op.name)
        of_arrays = (op, tuple([self.arrays.get(id(x), x) for x in inputs]), *eqn[2:])
        fact = None if rule is None else rule(self, of_arrays, known)
        if type(fact) is _Product:
            self.record_product(eqn, fact)
            return
        if type(fact) is _Trace:
            self.record_trace(eqn, fact)
            return
        if fact is not None:
            self.known[id(out)] = fact
            if type(fact) is _Factor and fact.bare and op.name == "slice":
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

    def spectrum(self, kind: str, matrix: Any) -> _Spectrum:
        shape = shape_of(matrix)
        key = kind, id(matrix)
        if key not in self.spectra:
            self.spectra[key] = _Spectrum(kind, matrix, min(shape[-2:]))
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
        self.known[id(w)] = self.known[id(plain)] = _Vector(of, 0, of.size)
        self.known[id(v)] = _Factor(of, "v", 0, of.size)

    def svd(self, eqn: Equation) -> None:
        op, inputs, values, params, (u, s, vh), *rest = eqn
        of = self.spectrum("svd", inputs[0])
        plain = self.tracer_like(s)
        self.append((op, inputs, values, params, (u, plain, vh), *rest))
        of.decomposition = plain, u, vh
        self.record(singular_values_op, (inputs[0], plain, u, vh), {"line": Line(s.source)}, s)
        self.known[id(s)] = self.known[id(plain)] = _Vector(of, 0, of.size)
        self.known[id(u)] = _Factor(of, "u", 0, u.shape[-1])
        self.known[id(vh)] = _Factor(of, "v", 0, vh.shape[-2], turned=True, conjugated=True)

    def values_only(self, eqn: Equation) -> None:
        of = self.spectrum("eigh" if eqn[0] is eigvalsh_op else "svd", eqn[1][0])
        self.append(eqn)
        self.known[id(eqn[4])] = _Vector(of, 0, of.size)

    def recomposed(self, eqn: Equation) -> None:
        """What a rule writes of the cotangent of eigenvalues. It names the decomposition, which may be from elsewhere: in the
        derivative of a jitted function, what is kept from its forward part."""
        _, *decomposition, x = eqn[1]
        of = self.spectrum(eqn[3]["kind"], eqn[1][0])
        self.know(of, decomposition)
        left = _Factor(of, "v" if of.kind == "eigh" else "u", 0, of.size, scales=(_Scale(x, -1, row=False),))
        self.record_product(eqn, _Product(left, _Factor(of, "v", 0, of.size, turned=True), False))

    def know(self, of: _Spectrum, decomposition: Sequence[Any]) -> None:
        if of.decomposition is None:
            of.decomposition = tuple(decomposition)
        self.known.setdefault(id(decomposition[0]), _Vector(of, 0, of.size))

    def learn(self, eqn: Equation) -> None:
        """From an equation that is recorded already."""
        op, inputs, _, _, out, _, _ = eqn
        if op.multiple_results:
            return
        self.makers[id(out)] = eqn
        known = [self.known.get(id(x)) for x in inputs]
        if op.elementwise and any(type(k) is _Vector for k in known):
            fact = _elementwise(self, eqn, known)
        elif op.name in ("reshape", among_equals_op.name) and any(known):
            fact = _RULES[op.name](self, eqn, known)
        else:
            return
        if type(fact) is _Vector:
            self.known[id(out)] = fact

    def record_columns(self, eqn: Equation, factor: _Factor) -> None:
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

    def record_product(self, eqn: Equation, product: _Product) -> None:
        op, inputs, values, params, out, *rest = eqn
        of = product.left.of
        made = self.graph_of(of, (*product.left.scales, *product.right.scales), product.left.low, product.left.high)
        if made is None or (of.kind == "svd" and number_kind(made[0].out_types[0].dtype) == "c"):
            self.append(eqn)
            return
        plain = self.tracer_like(out)
        self.append((op, inputs, values, params, plain, *rest))
        assert of.decomposition is not None
        graph, others = made
        how = {"graph": graph, "kind": of.kind, "adjoint": product.adjoint, "line": Line(out.source)}
        self.record(spectral_op, (of.matrix, *of.decomposition, plain, *others), how, out)

    def record_trace(self, eqn: Equation, trace: _Trace) -> None:
        moves, out = trace.moves, eqn[4]
        of = moves.of
        made = self.graph_of(of, moves.scales, moves.low, moves.high)
        if made is None or number_kind(made[0].out_types[0].dtype) == "c" or of.decomposition is None:
            self.append(eqn)
            return
        graph, others = made
        how = {"graph": graph, "kind": of.kind, "order": 0, "line": Line(out.source)}
        whole = bind(spectral_derivative_op, (of.matrix, *of.decomposition, *others), how)
        total = np.real(np.sum(conjugate_of_complex(whole) * moves.along, (-2, -1)))
        total = np.reshape(cast(total, out.dtype), shape_of(out))
        self.record(OPS["positive"], (total,), {}, out)

    def graph_of(self, of: _Spectrum, scales: Sequence[_Scale], low: int, high: int) -> tuple[Graph, list[Any]] | None:
        """g as a Graph of the eigenvalues and other arrays, and these; None where it is more than a function of each
        eigenvalue by itself and of what all of them share."""
        assert of.decomposition is not None
        count = high - low
        x = Var(type_of(of.decomposition[0]))
        atoms: dict[int, Atom] = {}
        others: list[Any] = []
        varying: list[
            tuple[int, int]
        ] = []  # which of the others have an entry for each eigenvalue, and along which axis
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
            if type(known) is _Vector and known.of is of and maker is None:
                atoms[id(y)] = x
            elif maker is not None and (type(known) is _Vector or maker[0].name in _PASSING):
                op, inputs, _, params, _, _, _ = maker
                if op is among_equals_op:
                    inputs = inputs[1:]
                before = [self.known.get(id(i)) for i in inputs]
                axes = [k.axis if type(k) is _Vector else axis for k in before]
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
        return trace_graph(
            values, types, transform="spectral", user_function=values, names="arrays[{}]".format, abstract=True
        ), others


# Ops that are gone through on the way back from what all eigenvalues share, or from a constant.
_PASSING = ("broadcast_to", among_equals_op.name)


_Known = Sequence[Any]


def _same(parts: Iterable[Any]) -> bool:
    """Whether all speak of the same eigenvalues of the same matrix."""
    first, *others = parts
    return all([(p.of, p.low, p.high) == (first.of, first.low, first.high) for p in others])


def _elementwise(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    out = eqn[4]
    vectors = [k for k in known if k is not None]
    if all(type(k) is _Vector for k in vectors):
        first = vectors[0]
        shape = out.shape
        fits = _same(vectors) and all(k.axis == first.axis for k in vectors) and len(shape) >= -first.axis
        diagonal = _diagonal(self, eqn, known)
        if diagonal is not None:
            return diagonal
        if fits and shape[first.axis] == first.high - first.low and (first.axis == -1 or shape[-1] == 1):
            return first
        return None
    if any(type(k) is _Applied for k in vectors):
        return _weighted(eqn, known)
    return _moved(self, eqn, known) if any(type(k) is _Moves for k in vectors) else _scaled(eqn, known)


def _diagonal(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    """`np.eye(n) * g(w)`."""
    op, inputs, _, _, out, _, _ = eqn
    if op.name != "multiply":
        return None
    for i in range(2):
        k, other = known[i], inputs[1 - i]
        if type(k) is _Vector and type(other) is np.ndarray and other.ndim == 2 == len(out.shape):
            count = k.high - k.low
            if other.shape == out.shape == (count, count) and np.array_equal(other, np.eye(count)):
                return _Diagonal(k.of, k.low, k.high, _Scale(inputs[i], k.axis))
    return None


def _scaled(eqn: Equation, known: _Known) -> Any:
    """Columns multiplied or divided by g(w), or by the same number all."""
    op, inputs, _, _, out, _, _ = eqn
    if op.name == "conjugate" and type(known[0]) is _Factor:
        if number_kind(out.dtype) != "c":
            return known[0]
        scales = [replace(s, by=_conjugated(s.by)) for s in known[0].scales]
        return replace(known[0], conjugated=not known[0].conjugated, scales=tuple(scales))
    if op.name == "negative" and type(known[0]) is _Factor:
        return replace(known[0], scales=(*known[0].scales, _Scale(-1, -1)), bare=False)
    if op.name not in ("multiply", "divide"):
        return None
    for i in range(2 if op.name == "multiply" else 1):
        factor, other, by = known[i], known[1 - i], inputs[1 - i]
        if type(factor) is not _Factor or len(out.shape) != len(inputs[i].shape):
            continue
        axis = -2 if factor.turned else -1
        shape = shape_of(by)
        if type(other) is _Vector:
            fits = _same((factor, other)) and other.axis == axis
        else:
            fits = other is None and (len(shape) < -axis or shape[axis] in (1, factor.high - factor.low))
        across = -3 - axis  # the other axis of the matrix
        fits = fits and (len(shape) < -across or shape[across] == 1) and out.shape[-2:] == inputs[i].shape[-2:]
        if fits:
            scale = _Scale(by, axis, op.name == "divide")
            return replace(factor, scales=(*factor.scales, scale), bare=False)
    return None


def _conjugated(x: Any) -> Any:
    return np.conjugate(x) if number_kind(type_of(x).dtype) == "c" else x


def _slice(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    _, inputs, _, params, out, _, _ = eqn
    (k,) = known
    shape = shape_of(inputs[0])
    entries = [e for e in params["index"] if e is not None]
    if "..." in entries or type(k) not in (_Vector, _Factor):
        return None
    entries += [":"] * (len(shape) - len(entries))
    axis = k.axis if type(k) is _Vector else -2 if k.turned else -1
    if any(e != ":" for i, e in enumerate(entries) if i != len(shape) + axis):
        return None
    entry = entries[axis]
    if type(entry) is int:
        chosen = range(entry, entry + 1)
    else:
        chosen = range(*slice(*[int(p) if p else None for p in entry.split(":")]).indices(shape[axis]))
    if chosen.step != 1 or not chosen:
        return None
    low, high = k.low + chosen.start, k.low + chosen.stop
    if type(k) is _Vector:
        if type(entry) is int:
            return None
        moved = replace(k, low=low, high=high)
        return moved if None not in params["index"] else _reshaped(moved, shape_of(out), (*shape[:axis], len(chosen)))
    if not k.bare or None in params["index"]:
        return None
    return replace(k, low=low, high=high)


def _reshaped(k: _Vector, new: tuple[int, ...], old: tuple[int, ...]) -> Any:
    """The vector with axes of size 1 put in or taken out."""
    count = k.high - k.low
    if count == 1 or [n for n in new if n != 1] != [n for n in old if n != 1]:
        return None
    axis = next(i for i in range(-1, -len(new) - 1, -1) if new[i] != 1)
    return replace(k, axis=axis) if axis >= -2 else None


def _reshape(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    (k,) = known
    new = shape_of(eqn[4])
    if type(k) is _Vector:
        return _reshaped(k, new, shape_of(eqn[1][0]))
    if type(k) is _Diagonal and k.flat and new == (k.high - k.low,) * 2:
        return replace(k, flat=False)
    return None


def _unslice(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    """`np.diag(g(w))` puts each n + 1-th element of what becomes a matrix."""
    (k,) = known
    count = eqn[4].shape[-1]
    if type(k) is _Vector and k.axis == -1 and len(eqn[1][0].shape) == 1:
        n = k.high - k.low
        if eqn[3]["index"] == (f"::{n + 1}",) and count == n * n:
            return _Diagonal(k.of, k.low, k.high, _Scale(eqn[1][0], -1), flat=True)
    return None


def _transpose(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    (k,) = known
    axes = eqn[3]["axes"]
    ndim = len(axes)
    if type(k) is not _Factor or ndim < 2 or tuple(axes) != (*range(ndim - 2), ndim - 1, ndim - 2):
        return None
    return replace(k, turned=not k.turned)


def _among_equals(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    return known[1] if type(known[1]) in (_Vector, _Moves) else None


def _matmul(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    if eqn[3]:  # of transposes
        return None
    left, right = known
    if type(left) is _Factor and type(right) is _Factor:
        return _product(left, right, eqn)
    for i in range(2):
        moves, other, by = known[i], known[1 - i], eqn[1][1 - i]
        if type(moves) is _Moves and len(shape_of(by)) == len(shape_of(eqn[1][i])) == 1:
            if other is None or (type(other) is _Vector and _same((moves, other))):
                return _Trace(replace(moves, scales=(*moves.scales, _Scale(by, -1, row=False))))
            return None
    if type(right) is _Factor and left is None and right.bare and not right.turned:
        is_real = right.of.kind == "eigh" and number_kind(eqn[4].dtype) == "f"
        return _Applied(right, eqn[1][0]) if is_real and len(set(map(len, map(shape_of, eqn[1])))) == 1 else None
    for factor, diagonal, turned in ((left, right, False), (right, left, True)):
        if type(factor) is _Factor and type(diagonal) is _Diagonal and factor.turned == turned:
            fits = not diagonal.flat and _same((factor, diagonal))
            return replace(factor, scales=(*factor.scales, diagonal.scale), bare=False) if fits else None
    return None


def _product(left: _Factor, right: _Factor, eqn: Equation) -> _Product | None:
    """The product of a factor and a transposed one, where it is a spectral function."""
    if left.turned or not right.turned or not _same((left, right)) or left.high > left.of.size:
        return None
    if number_kind(eqn[4].dtype) == "c" and (left.conjugated or not right.conjugated):
        return None
    if len(eqn[4].shape) < 2 or left.of.decomposition is None:
        return None
    sides = left.side + right.side
    if left.of.kind == "eigh":
        return _Product(left, right, False)
    return _Product(left, right, sides == "vu") if sides in ("uv", "vu") else None


def _einsum(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    """`ij,j,kj->ik` and its like."""
    _, inputs, _, params, _, _, _ = eqn
    subscripts, _, output = params["subscripts"].partition("->")
    terms = subscripts.split(",")
    factors = [(k, t) for k, t in zip(known, terms, strict=True) if type(k) is _Factor]
    if len(factors) != 2 or len(output) < 2:
        return None
    batch, ends = output[:-2], output[-2:]
    own = []
    for k, t in factors:
        if t[:-2] != batch or len(t) < 2:
            return None
        own.append((k, *(t[-2:] if not k.turned else t[:-3:-1])))  # its rows and its columns
    if own[0][2] != own[1][2] or {own[0][1], own[1][1]} != set(ends) or own[0][1] == own[1][1]:
        return None
    if own[0][1] != ends[0]:
        own.reverse()
    if batch and (own[0][0].scales or own[1][0].scales):
        return None
    letter = own[0][2]
    left, right = own[0][0], own[1][0]
    scales: tuple[_Scale, ...] = ()
    for k, t, x in zip(known, terms, inputs, strict=True):
        if type(k) is _Factor:
            continue
        if t not in (letter, batch + letter) or (k is not None and (type(k) is not _Vector or not _same((k, left)))):
            return None
        scales += (_Scale(x, -1, row=False),)
    left, right = replace(left, turned=False, scales=(*left.scales, *scales)), replace(right, turned=True)
    return _product(left, right, eqn)


_STARTS: dict[str, Callable[[_Recogniser, Equation], None]] = {
    eig_op.name: _Recogniser.eigh,
    eigh_op.name: _Recogniser.eigh,
    svd_op.name: _Recogniser.svd,
    eigvalsh_op.name: _Recogniser.values_only,
    svdvals_op.name: _Recogniser.values_only,
    recomposed_op.name: _Recogniser.recomposed,
}


def _expected(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    left, _, right = known
    if (
        type(left) is not _Factor
        or type(right) is not _Factor
        or not _same((left, right))
        or left.turned
        or right.turned
    ):
        return None
    sides = "vv" if left.of.kind == "eigh" else "uv"
    if not (left.bare and right.bare) or left.side + right.side != sides or left.high > left.of.size:
        return None
    return _Moves(left.of, left.low, left.high, eqn[1][1])


def _moved(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    """Moves in an op that is linear in them: multiplied by what it makes of ones."""
    op, inputs, _, params, out, _, _ = eqn
    for i, moves in enumerate(known):
        if type(moves) is not _Moves or not op.is_linear_in((i,), params) or shape_of(out) != shape_of(inputs[i]):
            continue
        others = [k for j, k in enumerate(known) if j != i and k is not None]
        if number_kind(out.dtype) == "c" or not all(type(k) is _Vector and k.axis == -1 for k in others):
            return None
        by = bind(op, (*inputs[:i], out.dtype.type(1), *inputs[i + 1 :]), params)
        return replace(moves, scales=(*moves.scales, _Scale(by, -1, row=False))) if _same((moves, *others)) else None
    return None


def _weighted(eqn: Equation, known: _Known) -> Any:
    """The elements of E V times those of V: their sums along columns are v^T E v, as reverse mode writes it."""
    if eqn[0].name == "multiply" and len(known) == 2:
        for applied, factor in (known, known[::-1]):
            if type(applied) is _Applied and type(factor) is _Factor and factor == applied.factor:
                return replace(applied, weighted=True)
    return None


def _sum(self: _Recogniser, eqn: Equation, known: _Known) -> Any:
    (k,) = known
    if type(k) is _Applied and k.weighted and not eqn[3]["keepdims"]:
        ndim = len(shape_of(eqn[1][0]))
        return _Moves(k.factor.of, k.factor.low, k.factor.high, k.along) if eqn[3]["axes"] == (ndim - 2,) else None
    if type(k) is not _Moves or eqn[3]["axes"] != (len(shape_of(eqn[1][0])) - 1,):
        return None
    return _Trace(k)


_RULES: dict[str, Callable[[_Recogniser, Equation, _Known], Any]] = {
    "slice": _slice,
    "reshape": _reshape,
    "unslice": _unslice,
    "transpose": _transpose,
    "matmul": _matmul,
    "einsum": _einsum,
    "sum": _sum,
    expected_op.name: _expected,
    among_equals_op.name: _among_equals,
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
            recogniser.learn(before)
