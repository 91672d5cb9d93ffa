"""What is known of a value that a decomposition's results went into, and what an equation makes of what is known of its inputs: columns
of V, scaled; a function of the eigenvalues; what these move by along a matrix; and where two of them make a spectral function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tracegrad.core.trace import Equation, bind
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.families import shape_of
from tracegrad.ops.linalg.equal_values import among_equals_op
from tracegrad.ops.linalg.vectors import expected_op


@dataclass(eq=False)
class Spectrum:
    """A decomposition in a trace: of which matrix, and what it gave (None until there are vectors)."""

    kind: str
    matrix: Any
    size: int
    decomposition: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Vector:
    """Values g(w) of the eigenvalues numbered `low` to `high`, along this axis (-1 or -2)."""

    of: Spectrum
    low: int
    high: int
    axis: int = -1


@dataclass(frozen=True)
class Diagonal:
    """A matrix with g(w) on its diagonal, or (`flat`) what becomes that by a reshape."""

    of: Spectrum
    low: int
    high: int
    scale: Scale
    flat: bool = False


@dataclass(frozen=True)
class Scale:
    """What columns are multiplied (or divided) by, and its axis that goes along the columns."""

    by: Any
    axis: int
    divides: bool = False
    row: bool = True  # whether that axis, if the last of several, has one of size 1 before it, for the rows


@dataclass(frozen=True)
class Factor:
    """Columns `low` to `high` of V (or U), each multiplied by the scales; or, `turned`, the transpose of that."""

    of: Spectrum
    side: str
    low: int
    high: int
    turned: bool = False
    conjugated: bool = False
    scales: tuple[Scale, ...] = ()
    bare: bool = True  # whether it is a part of V itself, not scaled


@dataclass(frozen=True)
class Product:
    """Columns times such a transpose: a spectral function, or its adjoint."""

    left: Factor
    right: Factor
    adjoint: bool


@dataclass(frozen=True)
class Moves:
    """What eigenvalues move by along a matrix, each multiplied by the scales."""

    of: Spectrum
    low: int
    high: int
    along: Any
    scales: tuple[Scale, ...] = ()


@dataclass(frozen=True)
class Applied:
    """A matrix times columns of V; or (`weighted`) the elements of that times those of the columns."""

    factor: Factor
    along: Any
    weighted: bool = False


@dataclass(frozen=True)
class TraceOfProduct:
    """The sum of such moves: a trace of the matrix with a spectral function."""

    moves: Moves


Known = Sequence[Any]


def _same(parts: Iterable[Any]) -> bool:
    """Whether all speak of the same eigenvalues of the same matrix."""
    first, *others = parts
    return all([(p.of, p.low, p.high) == (first.of, first.low, first.high) for p in others])


def of_elementwise(eqn: Equation, known: Known) -> Any:
    out = eqn[4]
    vectors = [k for k in known if k is not None]
    if all(type(k) is Vector for k in vectors):
        first = vectors[0]
        shape = out.shape
        fits = _same(vectors) and all(k.axis == first.axis for k in vectors) and len(shape) >= -first.axis
        diagonal = _diagonal(eqn, known)
        if diagonal is not None:
            return diagonal
        if fits and shape[first.axis] == first.high - first.low and (first.axis == -1 or shape[-1] == 1):
            return first
        return None
    if any(type(k) is Applied for k in vectors):
        return _weighted(eqn, known)
    return _moved(eqn, known) if any(type(k) is Moves for k in vectors) else _scaled(eqn, known)


def _diagonal(eqn: Equation, known: Known) -> Any:
    """`np.eye(n) * g(w)`."""
    op, inputs, _, _, out, _, _ = eqn
    if op.name != "multiply":
        return None
    for i in range(2):
        k, other = known[i], inputs[1 - i]
        if type(k) is Vector and type(other) is np.ndarray and other.ndim == 2 == len(out.shape):
            count = k.high - k.low
            if other.shape == out.shape == (count, count) and np.array_equal(other, np.eye(count)):
                return Diagonal(k.of, k.low, k.high, Scale(inputs[i], k.axis))
    return None


def _scaled(eqn: Equation, known: Known) -> Any:
    """Columns multiplied or divided by g(w), or by the same number all."""
    op, inputs, _, _, out, _, _ = eqn
    if op.name == "conjugate" and type(known[0]) is Factor:
        if number_kind(out.dtype) != "c":
            return known[0]
        scales = [replace(s, by=_conjugated(s.by)) for s in known[0].scales]
        return replace(known[0], conjugated=not known[0].conjugated, scales=tuple(scales))
    if op.name == "negative" and type(known[0]) is Factor:
        return replace(known[0], scales=(*known[0].scales, Scale(-1, -1)), bare=False)
    if op.name not in ("multiply", "divide"):
        return None
    for i in range(2 if op.name == "multiply" else 1):
        factor, other, by = known[i], known[1 - i], inputs[1 - i]
        if type(factor) is not Factor or len(out.shape) != len(inputs[i].shape):
            continue
        axis = -2 if factor.turned else -1
        shape = shape_of(by)
        if type(other) is Vector:
            fits = _same((factor, other)) and other.axis == axis
        else:
            fits = other is None and (len(shape) < -axis or shape[axis] in (1, factor.high - factor.low))
        across = -3 - axis  # the other axis of the matrix
        fits = fits and (len(shape) < -across or shape[across] == 1) and out.shape[-2:] == inputs[i].shape[-2:]
        if fits:
            scale = Scale(by, axis, op.name == "divide")
            return replace(factor, scales=(*factor.scales, scale), bare=False)
    return None


def _conjugated(x: Any) -> Any:
    return np.conjugate(x) if number_kind(type_of(x).dtype) == "c" else x


def _slice(eqn: Equation, known: Known) -> Any:
    _, inputs, _, params, out, _, _ = eqn
    (k,) = known
    shape = shape_of(inputs[0])
    entries = [e for e in params["index"] if e is not None]
    if "..." in entries or type(k) not in (Vector, Factor):
        return None
    entries += [":"] * (len(shape) - len(entries))
    axis = k.axis if type(k) is Vector else -2 if k.turned else -1
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
    if type(k) is Vector:
        if type(entry) is int:
            return None
        moved = replace(k, low=low, high=high)
        return moved if None not in params["index"] else _reshaped(moved, shape_of(out), (*shape[:axis], len(chosen)))
    if not k.bare or None in params["index"]:
        return None
    return replace(k, low=low, high=high)


def _reshaped(k: Vector, new: tuple[int, ...], old: tuple[int, ...]) -> Any:
    """The vector with axes of size 1 put in or taken out."""
    count = k.high - k.low
    if count == 1 or [n for n in new if n != 1] != [n for n in old if n != 1]:
        return None
    axis = next(i for i in range(-1, -len(new) - 1, -1) if new[i] != 1)
    return replace(k, axis=axis) if axis >= -2 else None


def _reshape(eqn: Equation, known: Known) -> Any:
    (k,) = known
    new = shape_of(eqn[4])
    if type(k) is Vector:
        return _reshaped(k, new, shape_of(eqn[1][0]))
    if type(k) is Diagonal and k.flat and new == (k.high - k.low,) * 2:
        return replace(k, flat=False)
    return None


def _unslice(eqn: Equation, known: Known) -> Any:
    """`np.diag(g(w))` puts each n + 1-th element of what becomes a matrix."""
    (k,) = known
    count = eqn[4].shape[-1]
    if type(k) is Vector and k.axis == -1 and len(eqn[1][0].shape) == 1:
        n = k.high - k.low
        if eqn[3]["index"] == (f"::{n + 1}",) and count == n * n:
            return Diagonal(k.of, k.low, k.high, Scale(eqn[1][0], -1), flat=True)
    return None


def _transpose(eqn: Equation, known: Known) -> Any:
    (k,) = known
    axes = eqn[3]["axes"]
    ndim = len(axes)
    if type(k) is not Factor or ndim < 2 or tuple(axes) != (*range(ndim - 2), ndim - 1, ndim - 2):
        return None
    return replace(k, turned=not k.turned)


def _among_equals(eqn: Equation, known: Known) -> Any:
    return known[1] if type(known[1]) in (Vector, Moves) else None


def _matmul(eqn: Equation, known: Known) -> Any:
    if eqn[3]:  # of transposes
        return None
    left, right = known
    if type(left) is Factor and type(right) is Factor:
        return _product(left, right, eqn)
    for i in range(2):
        moves, other, by = known[i], known[1 - i], eqn[1][1 - i]
        if type(moves) is Moves and len(shape_of(by)) == len(shape_of(eqn[1][i])) == 1:
            if other is None or (type(other) is Vector and _same((moves, other))):
                return TraceOfProduct(replace(moves, scales=(*moves.scales, Scale(by, -1, row=False))))
            return None
    if type(right) is Factor and left is None and right.bare and not right.turned:
        is_real = right.of.kind == "eigh" and number_kind(eqn[4].dtype) == "f"
        return Applied(right, eqn[1][0]) if is_real and len(set(map(len, map(shape_of, eqn[1])))) == 1 else None
    for factor, diagonal, turned in ((left, right, False), (right, left, True)):
        if type(factor) is Factor and type(diagonal) is Diagonal and factor.turned == turned:
            fits = not diagonal.flat and _same((factor, diagonal))
            return replace(factor, scales=(*factor.scales, diagonal.scale), bare=False) if fits else None
    return None


def _product(left: Factor, right: Factor, eqn: Equation) -> Product | None:
    """The product of a factor and a transposed one, where it is a spectral function."""
    if left.turned or not right.turned or not _same((left, right)) or left.high > left.of.size:
        return None
    if number_kind(eqn[4].dtype) == "c" and (left.conjugated or not right.conjugated):
        return None
    if len(eqn[4].shape) < 2 or left.of.decomposition is None:
        return None
    sides = left.side + right.side
    if left.of.kind == "eigh":
        return Product(left, right, False)
    return Product(left, right, sides == "vu") if sides in ("uv", "vu") else None


def _einsum(eqn: Equation, known: Known) -> Any:
    """`ij,j,kj->ik` and its like."""
    _, inputs, _, params, _, _, _ = eqn
    subscripts, _, output = params["subscripts"].partition("->")
    terms = subscripts.split(",")
    factors = [(k, t) for k, t in zip(known, terms, strict=True) if type(k) is Factor]
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
    scales: tuple[Scale, ...] = ()
    for k, t, x in zip(known, terms, inputs, strict=True):
        if type(k) is Factor:
            continue
        if t not in (letter, batch + letter) or (k is not None and (type(k) is not Vector or not _same((k, left)))):
            return None
        scales += (Scale(x, -1, row=False),)
    left, right = replace(left, turned=False, scales=(*left.scales, *scales)), replace(right, turned=True)
    return _product(left, right, eqn)


def _expected(eqn: Equation, known: Known) -> Any:
    left, _, right = known
    if type(left) is not Factor or type(right) is not Factor or not _same((left, right)) or left.turned or right.turned:
        return None
    sides = "vv" if left.of.kind == "eigh" else "uv"
    if not (left.bare and right.bare) or left.side + right.side != sides or left.high > left.of.size:
        return None
    return Moves(left.of, left.low, left.high, eqn[1][1])


def _moved(eqn: Equation, known: Known) -> Any:
    """Moves in an op that is linear in them: multiplied by what it makes of ones."""
    op, inputs, _, params, out, _, _ = eqn
    for i, moves in enumerate(known):
        if type(moves) is not Moves or not op.is_linear_in((i,), params) or shape_of(out) != shape_of(inputs[i]):
            continue
        others = [k for j, k in enumerate(known) if j != i and k is not None]
        if number_kind(out.dtype) == "c" or not all(type(k) is Vector and k.axis == -1 for k in others):
            return None
        by = bind(op, (*inputs[:i], out.dtype.type(1), *inputs[i + 1 :]), params)
        return replace(moves, scales=(*moves.scales, Scale(by, -1, row=False))) if _same((moves, *others)) else None
    return None


def _weighted(eqn: Equation, known: Known) -> Any:
    """The elements of E V times those of V: their sums along columns are v^T E v, as reverse mode writes it."""
    if eqn[0].name == "multiply" and len(known) == 2:
        for applied, factor in (known, known[::-1]):
            if type(applied) is Applied and type(factor) is Factor and factor == applied.factor:
                return replace(applied, weighted=True)
    return None


def _sum(eqn: Equation, known: Known) -> Any:
    (k,) = known
    if type(k) is Applied and k.weighted and not eqn[3]["keepdims"]:
        ndim = len(shape_of(eqn[1][0]))
        return Moves(k.factor.of, k.factor.low, k.factor.high, k.along) if eqn[3]["axes"] == (ndim - 2,) else None
    if type(k) is not Moves or eqn[3]["axes"] != (len(shape_of(eqn[1][0])) - 1,):
        return None
    return TraceOfProduct(k)


RULES: dict[str, Callable[[Equation, Known], Any]] = {
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
