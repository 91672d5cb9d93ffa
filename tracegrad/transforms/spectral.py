"""Spectral functions: V g(w) V^H of a Hermitian matrix, U g(s) V^H of any, and their derivatives to every order.

The derivative of eigenvectors divides by the gaps between eigenvalues, and at equal ones there is none. What a program
makes of them often has one all the same: of V g(w) V^H it is V (G * (V^H dA V)) V^H, where G holds the divided
differences of g, g'(w) where eigenvalues are equal. So a product of that form is one equation more, `spectral`, that
leaves the value as it is and has this derivative. It is found while the equations are recorded (`_Recogniser`): a trace
in which there is a decomposition has each equation looked at that is recorded after it. Gradients of functions of the
eigenvalues alone are products of that form as well, written so by the rules of ops/linalg/.

The derivative is an op of its own, `spectral_derivative`, and closed under further derivatives: that of order k is

    sum over orders of E1 ... Ek, over i0 ... ik, of g[w_i0, ..., w_ik] (V^H E1 V)_i0i1 ... (V^H Ek V)_ik-1ik v_i0 v_ik^H

with the divided differences of g. It is symmetric in the matrices, and in the one that it is multiplied by as well, so
that its transpose is itself. U g(s) V^H is a corner of the same for [[0, A], [A^H, 0]], which has the eigenvalues s and
-s (and zeros), and the odd function that g makes.

Sources: R. Mathias, "A chain rule for matrix functions and applications", SIAM J. Matrix Anal. Appl. 17 (1996);
N. Higham, "Functions of Matrices", 2008, theorem 3.11 (Daleckii and Krein); A. Lewis and H. Sendov, "Twice
differentiable spectral functions", SIAM J. Matrix Anal. Appl. 23 (2001).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.context import context
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.graph import Graph, closed, evaluate, remembered, replace
from tracegrad.core.op import OPS, Held, Op, Params, Wanted, Written
from tracegrad.core.quiet import quietly
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import ArrayType, is_inexact, number_kind, type_of
from tracegrad.lower.passes import simplify
from tracegrad.ops.contract import conjugate_of_complex, transposed
from tracegrad.ops.families import add_tangents, cast, conform, shape_of
from tracegrad.ops.linalg.eigen import eigh_op
from tracegrad.ops.linalg.equal_values import Line, equal_error, tolerance
from tracegrad.ops.linalg.hermitian import from_triangle
from tracegrad.ops.linalg.matrices import adjoint, hermitian_part, row
from tracegrad.transforms.control.call import pull_call
from tracegrad.transforms.control.held import batch_of, with_tangents, written_call
from tracegrad.typing import Array, ArrayLike

# ---------------------------------------------------------------------------------------------------------------------
# Divided differences.


def divided_differences(nodes: Sequence[Any], jets: Sequence[Sequence[Any]], near: Any) -> Any:
    """g[x0, ..., xk], of arrays that broadcast together: `nodes[i]` holds x_i and `jets[i]` the values there of g, g', ...
    up to the k-th derivative.

    Nodes that differ by no more than `near` are equal: the value is then the mean of g's derivatives, over k!. Between
    nodes further apart it is the quotient, or that mean where it is more accurate: of the quotient rounding is divided
    by the gap, and by the mean value theorem the mean errs by no more than g's derivatives differ.
    """
    epsilon = float(np.finfo(type_of(nodes[0]).dtype).eps)
    # The divided difference at these nodes, and how far rounding may have moved it.
    known: dict[tuple[int, ...], tuple[Any, Any]] = {
        (i,): (jet[0], epsilon * np.abs(jet[0])) for i, jet in enumerate(jets)
    }

    def quotient(chosen: tuple[int, ...]) -> tuple[Any, Any]:
        order = len(chosen) - 1
        gap: Any = None
        above: Any = None
        error: Any = None
        for p, q in itertools.combinations(chosen, 2):
            (x, x_error), (y, y_error) = [known[tuple([i for i in chosen if i != left])] for left in (q, p)]
            width, difference, both = nodes[q] - nodes[p], y - x, x_error + y_error
            if gap is None:
                gap, above, error = width, difference, both
            else:  # the two that are furthest apart
                wider = np.abs(width) > np.abs(gap)
                gap, above, error = [
                    np.where(wider, new, old) for new, old in ((width, gap), (difference, above), (both, error))
                ]
        none = np.equal(gap, 0)
        size = np.where(none, 1, gap)
        value = above / size
        error = error / np.abs(size) + epsilon * np.abs(value)
        derivatives = [jets[i][order] * (1 / math.factorial(order)) for i in chosen]
        mean = sum(derivatives[1:], derivatives[0]) * (1 / len(chosen))
        spread = sum([np.abs(d - mean) for d in derivatives])
        # Not between nodes far apart that g takes from different sides of a pole: there the quotient has all digits.
        inaccurate = error > _INACCURATE * math.sqrt(epsilon) * np.maximum(np.abs(value), np.abs(mean))
        by_mean = (np.abs(gap) <= near) | (inaccurate & (spread <= error))
        return np.where(by_mean, mean, value), np.where(by_mean, spread, error)

    every = range(len(nodes))
    for count in every[1:]:
        for chosen in itertools.combinations(every, count + 1):
            known[chosen] = quotient(chosen)
    return known[tuple(every)][0]


def _along(x: Any, axis: int, count: int) -> Any:
    """Vectors (..., n) with axes of size 1 around theirs, which is the given one of `count`."""
    return np.reshape(x, (*x.shape[:-1], *(1,) * axis, x.shape[-1], *(1,) * (count - axis - 1)))


_INACCURATE = 0.1  # of the square root of epsilon
_CHUNK = 1 << 20  # elements of the tensor of divided differences that are made at a time


def _summed_paths(nodes: Any, jets: Sequence[Any], matrices: Sequence[Any], wrong: Any, near: Any, starts: int) -> Any:
    """The sum over paths of the module's docstring, in the basis of the eigenvectors, over those that start at one of the
    first nodes. `wrong` marks the pairs of equal nodes at which there is no derivative: NaN wherever they are on a path
    together."""
    order, count = len(matrices), nodes.shape[-1]
    letters = "abcdefghijklmnopqrstuvwxy"[: order + 1]
    near = np.reshape(near, (*near.shape, *(1,) * order))

    def rows(first: slice) -> Any:
        axes = [nodes[..., first] if i == 0 else nodes for i in range(order + 1)]
        values = [[j[..., first] if i == 0 else j for j in jets] for i in range(order + 1)]
        gamma = divided_differences(
            [_along(x, i, order + 1) for i, x in enumerate(axes)],
            [[_along(x, i, order + 1) for x in js] for i, js in enumerate(values)],
            near,
        )
        for p, q in itertools.combinations(range(order + 1), 2):
            marked = wrong[..., first, :] if p == 0 else wrong
            shape = [1] * (order + 1)
            shape[p], shape[q] = marked.shape[-2:]
            gamma = np.where(np.reshape(marked, (*marked.shape[:-2], *shape)), np.nan, gamma)
        total = None
        for chosen in itertools.permutations(range(order)):
            parts = [matrices[c][..., first, :] if i == 0 else matrices[c] for i, c in enumerate(chosen)]
            terms = [f"...{letters[i : i + 2]}" for i in range(order)]
            subscripts = f"...{letters},{','.join(terms)}->...{letters[0]}{letters[-1]}"
            term = np.einsum(subscripts, gamma, *parts)
            total = term if total is None else total + term
        return total

    step = max(1, _CHUNK // max(1, math.prod(nodes.shape[:-1]) * count**order))
    if order == 1 or step >= starts or type(nodes) is Tracer:
        return rows(slice(starts))
    return np.concatenate([rows(slice(i, min(i + step, starts))) for i in range(0, starts, step)], -2)


def _equal(values: Any, near: Any) -> Any:
    """Which pairs are equal, (..., n, n)."""
    return np.abs(values[..., :, None] - values[..., None, :]) <= near[..., None]


def _differing(signs: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Between which nodes any of the arrays that g differs by, from one to the next, are not alike."""
    differ = np.zeros((), bool)
    for c in signs:
        close = math.sqrt(np.finfo(c.dtype).eps) if is_inexact(c.dtype) else 0
        size = np.max(np.abs(c), -1, keepdims=True, initial=0)
        differ = differ | (np.abs(c[..., :, None] - c[..., None, :]) > close * size[..., None])
    return np.broadcast_to(differ, broadcast_shapes(np.shape(differ), shape))


def _hermitian_paths(
    w: Any, v: Any, matrices: Sequence[Any], jets: Sequence[Any], signs: Sequence[Any]
) -> tuple[Any, Any]:
    """The derivative of V g(w) V^H, and the pairs of equal eigenvalues at which there is none."""
    near = tolerance(w)
    wrong = _equal(w, near) & _differing(signs, (w.shape[-1],) * 2)
    turned = [np.matmul(np.matmul(adjoint(v), m), v) for m in matrices]
    return np.matmul(np.matmul(v, _summed_paths(w, jets, turned, wrong, near, w.shape[-1])), adjoint(v)), wrong


def _dilated_paths(
    s: Any, u: Any, vh: Any, matrices: Sequence[Any], jets: Sequence[Any], signs: Sequence[Any]
) -> tuple[Any, Any]:
    """The same for U g(s) V^H, by way of [[0, A], [A^H, 0]]."""
    if u.shape[-2] < vh.shape[-1]:
        derivative, wrong = _dilated_paths(s, adjoint(vh), adjoint(u), [adjoint(m) for m in matrices], jets, signs)
        return adjoint(derivative), wrong
    n = s.shape[-1]
    v, u = adjoint(vh), u[..., :n]
    extra = min(u.shape[-2] - n, n * len(matrices))
    if extra:  # of the space outside U only what the matrices reach
        shape = broadcast_shapes(u.shape[:-2], *[m.shape[:-2] for m in matrices])
        sides = [np.broadcast_to(x, (*shape, *x.shape[-2:])) for x in (u, *matrices)]
        basis = np.linalg.qr(np.concatenate(sides, -1))[0][..., n : n + extra]
        u = np.concatenate([sides[0], basis], -1)
    near = tolerance(s)
    zero = s[..., -1:] * 0
    nodes = np.concatenate([s, *[zero] * extra, -s], -1)
    odd = [
        np.concatenate([j, *[j[..., -1:] if k % 2 else j[..., -1:] * 0] * extra, j if k % 2 else -j], -1)
        for k, j in enumerate(jets)
    ]
    # What is equal to its own opposite has a derivative where g is odd, as far as the derivative goes.
    kinked = np.zeros((), bool)
    for k in range(0, len(matrices) + 1, 2):
        size = np.max(np.abs(jets[k]), -1, keepdims=True, initial=0)
        kinked = kinked | (np.abs(jets[k]) > math.sqrt(np.finfo(s.dtype).eps) * size)
    vanish = s <= near
    kinked = kinked & vanish
    differ = _differing(signs, (n, n))
    unlike = _equal(s, near) & differ
    across = vanish[..., :, None] & vanish[..., None, :] & (kinked[..., :, None] | kinked[..., None, :] | differ)
    wrong = unlike | across
    twice = _in_blocks(unlike, across, np.concatenate([kinked[..., None]] * extra, -1) if extra else None)
    dilated = []
    for m in matrices:
        e = np.matmul(np.matmul(adjoint(u), m), v)
        square, below = e[..., :n, :], e[..., n:, :]
        even, uneven = (square + adjoint(square)) * 0.5, (square - adjoint(square)) * 0.5
        dilated.append(_in_blocks(even, -uneven, adjoint(below) * math.sqrt(0.5) if extra else None, odd=True))
    x = _summed_paths(nodes, odd, dilated, twice, near, n)
    # What becomes of -s is that of s with the other sign, and all of it is Hermitian.
    rows = x[..., :n] - x[..., n + extra :]
    if extra:
        rows = np.concatenate([rows, adjoint(x[..., n : n + extra]) * math.sqrt(2)], -2)
    return np.matmul(np.matmul(u, rows), vh[..., :n, :]), wrong


def _in_blocks(same: Any, across: Any, beside: Any, odd: bool = False) -> Any:
    """A Hermitian matrix over s, zeros and -s, of its blocks over s and s, s and -s, s and zeros (None, if there are none).
    With -s in place of s it is the same, or, if it is `odd`, has the other sign."""
    if beside is None:
        below = np.concatenate([adjoint(across), -same if odd else same], -1)
        return np.concatenate([np.concatenate([same, across], -1), below], -2)
    low = adjoint(beside)
    corner = np.zeros((*low.shape[:-1], low.shape[-2]), low.dtype)
    return np.concatenate(
        [
            np.concatenate([same, beside, across], -1),
            np.concatenate([low, corner, -low if odd else low], -1),
            np.concatenate([adjoint(across), -beside if odd else beside, -same if odd else same], -1),
        ],
        -2,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The ops. Both take the matrix, its decomposition (which is data: all of the derivative is the matrix's own) and further
# arrays, on which g may depend besides the eigenvalues. g is a Graph of the eigenvalues and these; its outputs are g's
# values (..., n), and vectors that are alike for eigenvalues to which it does the same.


def _jets(graph: Graph, order: int, arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The values of g and its derivatives up to this order, and what else its Graph has for outputs."""
    if order == 1:  # by a tangent, which costs less than to trace the derivative of a Graph that is run once
        one = np.ones(shape_of(arrays[0]), arrays[0].dtype)
        (value, *signs), (slope, *_) = with_tangents(graph, arrays, {0: one})
        slope = np.zeros(value.shape, value.dtype) if slope is None else np.broadcast_to(slope, value.shape)
        return [value, slope], signs
    value, *signs = evaluate(graph, arrays)
    return [value, *(_jets(_derivative(graph), order - 1, arrays)[0] if order else ())], signs


def _derivative(graph: Graph) -> Graph:
    """The Graph of g' for that of g."""

    def make() -> Graph:
        def slope(*arrays: Any) -> list[Any]:
            plain = replace(graph, outputs=graph.outputs[:1])
            _, (t,) = with_tangents(plain, arrays, {0: np.ones(shape_of(arrays[0]), arrays[0].dtype)})
            value = graph.out_types[0]
            return [np.zeros(value.shape, value.dtype) if t is None else np.broadcast_to(t, value.shape)]

        traced = trace_graph(slope, graph.in_types, transform="jvp", user_function=graph)
        return simplify(replace(traced, name=f"{graph.name}_slope"))

    return remembered(graph, "slope", make)


def _moved_by(graph: Graph, i: int) -> Graph:
    """The Graph of what g's values move by, of its inputs and a tangent of input i."""

    def make() -> Graph:
        def moved(*arrays: Any) -> list[Any]:
            values, tangents = with_tangents(graph, arrays[:-1], {i: arrays[-1]})
            first = np.zeros(shape_of(values[0]), values[0].dtype) if tangents[0] is None else tangents[0]
            return [first, *values[1:], *[t for t in tangents[1:] if t is not None]]

        t = graph.in_types[i]
        traced = trace_graph(
            moved, [*graph.in_types, ArrayType(t.shape, t.dtype)], transform="jvp", user_function=graph
        )
        return simplify(replace(traced, name=f"{graph.name}_moved"))

    return remembered(graph, ("moved", i), make)


def _varies(graph: Graph, i: int) -> bool:
    """Whether input i has an entry for each eigenvalue, so that g is another function for each."""
    return len(_moved_by(graph, i).outputs) > len(graph.outputs)


def leading_inputs(params: Params) -> int:
    """How many arrays the matrix and its decomposition are."""
    return 3 if params["kind"] == "eigh" else 4


def _split(inputs: Sequence[Any], params: Params) -> tuple[Any, Sequence[Any], list[Any], list[Any]]:
    """The matrix, its decomposition, the matrices along which the derivative is, and what g depends on besides."""
    first = leading_inputs(params)
    second = first + params["order"]
    return inputs[0], inputs[1:first], list(inputs[first:second]), list(inputs[second:])


def value_and_ties(inputs: Sequence[Any], params: Params) -> tuple[Any, Any]:
    """The value, and the pairs of equal eigenvalues (singular values) at which there is none."""
    _, decomposition, matrices, others = _split(inputs, params)
    jets, signs = _jets(params["graph"], len(matrices), [decomposition[0], *others])
    if not matrices:
        (values,) = jets
        if params["kind"] == "eigh":
            return np.matmul(decomposition[1] * row(values), adjoint(decomposition[1])), None
        n = decomposition[0].shape[-1]
        return np.matmul(decomposition[1][..., :n] * row(values), decomposition[2][..., :n, :]), None
    paths: Any = _hermitian_paths if params["kind"] == "eigh" else _dilated_paths
    return paths(*decomposition, matrices, jets, signs)


def _evaluate(*inputs: Any, **params: Any) -> Any:
    # The tangents of g are nobody's else: they are no part of a program that is being made around this.
    outer, context.trace = context.trace, None
    try:
        value, wrong = quietly(("all",), value_and_ties, inputs, params)
    finally:
        context.trace = outer
    if wrong is not None and wrong.any():
        raise equal_error(inputs[1], wrong, params["kind"], params["line"])
    return value.astype(_type([type_of(x) for x in inputs], params).dtype, copy=False)


def _type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    a, decomposition, matrices, _ = _split(types, params)
    value = params["graph"].out_types[0]
    batch = broadcast_shapes(value.shape[:-1], *[t.shape[:-2] for t in (a, *matrices)])
    dtype = np.result_type(value.dtype, decomposition[1].dtype, *[t.dtype for t in matrices])
    return ArrayType((*batch, *a.shape[-2:]), dtype)


def _along_matrix(t: Any, params: Params) -> Any:
    return hermitian_part(t) if params["kind"] == "eigh" else t


def _transposed(ct: Any, params: Params) -> Any:
    """What the op applied to this, and the same done to the result, makes its transpose."""
    return transposed(ct) if params["kind"] == "eigh" else conjugate_of_complex(ct)


def _bound(inputs: Sequence[Any], params: Params) -> Any:
    return bind(spectral_derivative_op, tuple(inputs), params)


def _of_order(
    a: Any, decomposition: Sequence[Any], matrices: Sequence[Any], others: Sequence[Any], params: Params
) -> Any:
    return _bound([a, *decomposition, *matrices, *others], {**params, "order": len(matrices)})


def _spectral_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    a, decomposition, matrices, others = _split(primals, params)
    da, _, dmatrices, dothers = _split(tangents, params)
    terms = []
    if da is not None:
        terms.append(_of_order(a, decomposition, [*matrices, _along_matrix(da, params)], others, params))
    for i, t in enumerate(dmatrices):
        if t is not None:
            terms.append(_of_order(a, decomposition, [*matrices[:i], t, *matrices[i + 1 :]], others, params))
    for i, t in enumerate(dothers):
        if t is not None:
            moved = {**params, "graph": _moved_by(params["graph"], i + 1)}
            terms.append(_of_order(a, decomposition, matrices, [*others, t], moved))
    return add_tangents([cast(t, out.dtype) for t in terms])


def _spectral_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    a, decomposition, matrices, others = _split(primals, params)
    first = leading_inputs(params)
    second = first + len(matrices)
    turned = _transposed(ct, params)
    cotangents: list[Any] = []
    for i in wanted:
        d = None
        if i == 0:
            d = _transposed(_of_order(a, decomposition, [*matrices, turned], others, params), params)
            d = _along_matrix(d, params)
        elif first <= i < second:
            rest = [m for k, m in enumerate(matrices, first) if k != i]
            d = _transposed(_of_order(a, decomposition, [*rest, turned], others, params), params)
        elif i >= second and is_inexact(type_of(primals[i]).dtype):
            d = _of_other(i - second, ct, primals, params)
        cotangents.append(conform(d, primals[i]))
    return cotangents


def _of_other(number: int, ct: Any, primals: Sequence[Any], params: Params) -> Any:
    """The cotangent of what g depends on besides. What all eigenvalues share is written as a spectral function again."""
    graph = params["graph"]
    a, decomposition, matrices, others = _split(primals, params)
    z = others[number]
    t = type_of(z)
    batch = graph.out_types[0].shape[:-1]
    is_shared = t.size == 1 or (t.shape[: len(batch)] == batch and t.size == math.prod(batch))
    if number_kind(t.dtype) == "c" or not is_shared or _varies(graph, number + 1):
        count = len(primals)
        types = [type_of(x) for x in primals]

        def value(*inputs: Any) -> list[Any]:
            return [value_and_ties(inputs, params)[0]]

        key = "value", tuple(types), params["kind"], params["order"]
        whole = remembered(
            graph, key, lambda: simplify(trace_graph(value, types, transform="vjp", user_function=graph))
        )
        position = count - len(others) + number
        return pull_call(whole, (position,), primals, [ct]).get(position)
    moved = {**params, "graph": _moved_by(graph, number + 1)}
    by_one = _of_order(a, decomposition, matrices, [*others, np.ones(t.shape, t.dtype)], moved)
    d = np.sum(ct * by_one) if t.size == 1 else np.sum(ct * by_one, (-2, -1))
    return np.reshape(d, t.shape)


def _spectral_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    """Leading axes broadcast, lined up behind the batch. What g takes is batched altogether."""
    start = leading_inputs(params) + params.get("order", 1)
    op, inputs = OPS["spectral_derivative" if "order" in params else "spectral"], list(inputs)
    own = [2, 1, *[2] * (start - 2)]
    ranks = [len(shape_of(x)) - b - n for x, b, n in zip(inputs, batched, own, strict=False)]
    count = max([*ranks, len(params["graph"].out_types[0].shape) - 1])
    for i in (1, *range(start, len(inputs))):
        if not batched[i]:
            inputs[i] = np.broadcast_to(inputs[i], (size, *shape_of(inputs[i])))
    for i in range(start):
        x = inputs[i]
        if (batched[i] or i == 1) and ranks[i] < count:
            inputs[i] = np.reshape(x, (size, *(1,) * (count - ranks[i]), *x.shape[1:]))
    return bind(op, tuple(inputs), {**params, "graph": _batched_values(params["graph"], size, count)})


def _batched_values(graph: Graph, size: int, count: int) -> Graph:
    """The Graph of g for batches; eigenvalues, and its values, then have `count` axes between the batch and theirs."""

    def make() -> Graph:
        whole = batch_of(graph, size, [True] * len(graph.inputs))
        x, *others = whole.in_types

        def values(*arrays: Any) -> list[Any]:
            outputs = evaluate(whole, [np.reshape(arrays[0], x.shape), *arrays[1:]])
            return [np.reshape(y, (size, *(1,) * (count + 2 - len(y.shape)), *y.shape[1:])) for y in outputs]

        first = ArrayType((size, *(1,) * (count + 2 - x.ndim), *x.shape[1:]), x.dtype)
        traced = trace_graph(values, [first, *others], transform="vmap", user_function=graph, abstract=True)
        return simplify(replace(traced, name=f"{graph.name}_vmap"))

    return remembered(graph, ("values", size, count), make)


def _write(types: Sequence[ArrayType], params: Params) -> Written:
    """As the ops that it consists of, with NaN where it raises."""

    def value(*inputs: Any) -> list[Any]:
        found, _ = value_and_ties(inputs, params)
        return [cast(found, _type(types, params).dtype)]

    traced = trace_graph(value, types, transform="vjp", user_function=params["graph"], abstract=True)
    return written_call(simplify(replace(traced, name="spectral_derivative")))


spectral_derivative_op = Op(
    "spectral_derivative",
    evaluate=_evaluate,
    held=Held(write=_write),
    infer=_type,
    jvp=_spectral_jvp,
    vjp=_spectral_vjp,
    batch=_spectral_batch,
    data=lambda params: range(1, leading_inputs(params)),
    linear_if=lambda positions, params: (
        len(tuple(positions)) == 1
        and leading_inputs(params) <= next(iter(positions)) < leading_inputs(params) + params["order"]
    ),
    kinds="",
)


def _annotated(inputs: Sequence[Any], params: Params) -> tuple[list[Any], Any, Params]:
    """What `spectral_derivative` takes in place of the inputs of `spectral`, and what it calls the value."""
    first = leading_inputs(params)
    plain = {**params, "order": 0}
    del plain["adjoint"]
    return [*inputs[:first], *inputs[first + 1 :]], inputs[first], plain


def _product_jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    inputs, _, plain = _annotated(primals, params)
    moved, _, _ = _annotated(tangents, params)
    like = adjoint(out) if params["adjoint"] else out
    t = _spectral_jvp(inputs, moved, like, plain)
    return adjoint(t) if params["adjoint"] and t is not None else t


def _product_vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    inputs, _, plain = _annotated(primals, params)
    first = leading_inputs(params)
    asked = tuple([i if i < first else i - 1 for i in wanted if i == 0 or i > first])
    cotangents = iter(_spectral_vjp(asked, adjoint(ct) if params["adjoint"] else ct, out, inputs, plain))
    return [next(cotangents) if i == 0 or i > first else None for i in wanted]


def _as_computed(*inputs: Any, **params: Any) -> Any:
    return inputs[leading_inputs(params)]


# A product V g(w) V^H as it was computed, which is the input after the decomposition, with the derivative that it has.
spectral_op = Op(
    "spectral",
    evaluate=_as_computed,
    infer=lambda types, params: types[leading_inputs(params)],
    data=lambda params: range(1, leading_inputs(params) + 1),
    jvp=_product_jvp,
    vjp=_product_vjp,
    batch=_spectral_batch,
    kinds="",
)


def funm(a: ArrayLike, f: Callable[[Array], Array]) -> Array:
    """f of a Hermitian matrix: V f(w) V^H, with its eigenvalues w and eigenvectors V. The derivative is that of the matrix
    function, to every order, at equal eigenvalues too.

    Args:
        a: Hermitian matrices, (..., m, m). As in `eigh`, of one that is not Hermitian the lower triangle is read.
        f: a function of each eigenvalue by itself: of arrays, elementwise, such as `np.exp`, or `lambda w: np.log(w + c)`
            where c may be traced. Its derivatives are taken as those of any function; to a derivative of order k go k + 1
            of them.

    Returns:
        An array like `a`, complex if f's values are.

    Raises:
        ShapeError: f does not return one value for each eigenvalue.
        LinAlgError: `a` is not a square matrix; or, in a derivative, f is not the same function of equal eigenvalues.

    >>> import numpy as np, tracegrad as tg, tracegrad.numpy as tnp
    >>> tg.grad(lambda a: np.trace(tnp.linalg.funm(a, np.exp)))(np.zeros((2, 2))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Source: Higham, Functions of Matrices, theorem 3.11 (Daleckii and Krein).
    """
    a = from_triangle(f"funm{at(user_source())}", as_array(a), True)
    w, v = bind(eigh_op, (a,))
    t = type_of(w)

    def values(w: Any) -> list[Any]:
        y = as_array(f(w))
        got = type_of(y)
        if got.shape != t.shape:
            raise ShapeError(
                f"funm{at(user_source())}: the function must return one value for each eigenvalue, {t}, but returned {got}; "
                "write it for arrays, element by element, as in lambda w: np.exp(-w)"
            )
        return [y if is_inexact(got.dtype) else y.astype(t.dtype)]

    graph, others = closed(trace_graph(values, [t], transform="funm", user_function=f, abstract=True))
    varying = [i for i, x in enumerate(graph.inputs[1:], 1) if x.type.shape[-1:] == t.shape[-1:] != (1,)]
    if varying:
        ends = [graph.inputs[i] for i in varying]
        graph = replace(graph, outputs=(*graph.outputs, *ends))
    how = {"graph": graph, "kind": "eigh", "order": 0, "line": Line(user_source())}
    return bind(spectral_derivative_op, (a, w, v, *others), how)
