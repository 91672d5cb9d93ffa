"""Sparse derivatives by a few products: the pattern off the Graph (`sparsity.py`), a colouring of it (`colouring.py`), and one
product for each colour, which are made together as a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import within
from tracegrad.core.context import context
from tracegrad.core.errors import ShapeError, at, described, user_source
from tracegrad.core.graph import Graph
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.late import imported
from tracegrad.core.names import leaf_names
from tracegrad.core.programs import lifted
from tracegrad.core.trace import Trace
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of, trace_graph, tracer_inputs
from tracegrad.core.types import ArrayType, type_of
from tracegrad.core.views import own
from tracegrad.transforms.arguments import Argnums, check_inputs, check_outputs, split
from tracegrad.transforms.batch import batch_graph, with_batch
from tracegrad.transforms.colouring import column_colouring, star_colouring, vertex_colouring
from tracegrad.transforms.linear import strong
from tracegrad.transforms.linearize import linearize_as, vjp_as
from tracegrad.transforms.sparsity import Sets, pattern_of


class Point(NamedTuple):
    """Where a derivative is taken: under which transform's name, of which function of the user's and with respect to which of its
    arguments; their leaves, the tree of these, and what errors call them; and whether the function returns `(out, aux)`."""

    transform: str
    function: Any
    positions: Sequence[int]
    leaves: Sequence[Any]
    in_tree: tree.PyTreeDef
    names: Callable[[int], str]
    has_aux: bool

    @property
    def primals(self) -> Any:
        return tree.tree_unflatten(self.in_tree, self.leaves)


def sparse_jacobian(
    transform: str,
    fun: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    of: Any,
    gradient_of: Callable[..., Callable[..., Any]] | None = None,
) -> Callable[..., Any]:
    """The sparse Jacobian of `fun`, or of what `gradient_of` makes of it, which is symmetric."""
    latest: list[Plan] = []

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        partial, primals, positions = split(fun, argnums, args, kwargs, transform)
        leaves, in_tree = tree.tree_flatten(primals)
        names = leaf_names(of, in_tree, positions)
        # SciPy's arrays hold NumPy's, wherever the numbers came from.
        leaves = arrays_of([np.asarray(x) if is_jax_array(x) else x for x in leaves], names)
        check_inputs(leaves, names, transform, holomorphic)
        blocks, out_tree, aux = _sparse_derivative(
            partial if gradient_of is None else gradient_of(partial, positions),
            Point(transform, of, positions, leaves, in_tree, names, has_aux),
            lambda out: check_outputs(out, of, transform, holomorphic),
            gradient_of is not None,
            latest,
        )

        def arguments(found: Sequence[Any]) -> Any:
            whole = tree.tree_unflatten(in_tree, found)
            return whole[0] if isinstance(argnums, int) else whole

        rows = [arguments(row) for row in blocks]
        if gradient_of is not None:
            result = arguments(rows)
        else:
            result = tree.tree_unflatten(out_tree, rows)
        return (result, aux) if has_aux else result

    return jacobian


def only_number(out: Any, fun: Any) -> Any:
    """The output of a function of which the Hessian is one matrix."""
    types = [type_of(x) for x in tree.tree_leaves(out)]
    if len(types) != 1 or types[0].size != 1:
        raise ShapeError(
            f"hessian(sparse=True){at(user_source())} needs one output of one element, but {described(fun)} returns "
            f"{', '.join(map(str, types)) or 'nothing'}; return a sum, or call it for one output after the other"
        )
    return out


def _sparse_derivative(
    fun: Callable[..., Any], point: Point, check: Callable[[Any], None], symmetric: bool, latest: list[Plan]
) -> tuple[list[list[Any]], tree.PyTreeDef, Any]:
    """The Jacobian of `fun` at a point as SciPy's sparse matrices: for each output a list with one for each leaf; then the tree of
    the outputs, and what it returns besides. `check` sees the outputs. A `symmetric` one is that of a gradient. The `latest` plan, if
    there is one, is taken for the same pattern, and left there for the next call."""
    matrix = _csr_array(point.transform)
    for i, x in enumerate(point.leaves):
        _require_plain(x, i, point)
    here, sets, out, aux = _linear_and_pattern(fun, point, check)
    types = [v.type for v in here.inputs]
    out_types = [strong(type_of(x)) for x in tree.tree_leaves(out)]
    plan = next((p for p in latest if p.sets == sets), None)
    if plan is None:
        plan = _plan_of_symmetric(sets) if symmetric else _plan_of(sets)
        latest[:] = [plan]
    rows, columns, colours = plan.rows, plan.columns, plan.colours
    if plan.reverse:
        _, pull, *_ = vjp_as(point.transform, fun, point.primals, point.has_aux, point.function, point.positions)
        out_tree = tree.tree_structure(out)
        pulled = trace_graph(
            lambda *cts: tree.tree_leaves(pull(tree.tree_unflatten(out_tree, cts))),
            out_types,
            transform=point.transform,
            user_function=point.function,
        )
        data = _products(pulled, colours, out_types)[colours[plan.grouped], plan.told]
    else:
        data = _products(here, colours, types)[colours[plan.grouped], plan.told]
    products = int(colours.max(initial=-1)) + 1

    def block(i: int, j: int) -> Any:
        chosen = (rows >= tops[i]) & (rows < tops[i + 1]) & (columns >= lefts[j]) & (columns < lefts[j + 1])
        shape = out_types[i].size, types[j].size
        starts = np.searchsorted(rows[chosen] - tops[i], np.arange(shape[0] + 1))
        dtype = np.result_type(out_types[i].dtype, types[j].dtype) if symmetric else out_types[i].dtype
        found = matrix((data[chosen].astype(dtype, copy=False), columns[chosen] - lefts[j], starts), shape=shape)
        found.n_products = products
        return found

    tops, lefts = [np.cumsum([0, *[t.size for t in ts]]) for ts in (out_types, types)]
    blocks = [[block(i, j) for j in range(len(types))] for i in range(len(out_types))]
    return blocks, tree.tree_structure(out), aux


def _linear_and_pattern(
    fun: Callable[..., Any], point: Point, check: Callable[[Any], None] = lambda out: None
) -> tuple[Graph, Sets, Any, Any]:
    """The derivative of `fun` as a linear Graph, and its pattern; then the output, of which only the types may be used, and what
    `fun` returns besides."""
    types = [strong(type_of(x)) for x in point.leaves]
    trace = Trace(point.transform, point.function)
    trace.names = point.names
    # What depends on the arguments is traced, so that the linear function's constants tell what does not.
    inputs = tracer_inputs(trace, [own(x) for x in point.leaves])

    def call() -> Any:
        primals = tree.tree_unflatten(point.in_tree, inputs)
        out, push, *aux = linearize_as(point.transform, fun, primals, point.has_aux, point.function, point.positions)
        check(out)
        graph = trace_graph(
            lambda *ts: tree.tree_leaves(push(*tree.tree_unflatten(point.in_tree, ts))),
            types,
            transform=point.transform,
            user_function=point.function,
        )
        return out, graph, aux

    (out, graph, aux), _ = trace.recorded(call)
    here = {v: _lowered(x, trace) for v, x in graph.consts.items()}
    extra = tree.tree_map(lambda x: _lowered(x, trace), aux[0]) if point.has_aux else None
    return Graph(graph.inputs, graph.eqns, graph.outputs, here, graph.name), pattern_of(graph), out, extra


def diagonal(gradient: Callable[..., Any], point: Point) -> tuple[list[Any], Any]:
    """The diagonal of the derivative of a gradient, an array for each leaf, and what the function returns besides. The leaves may
    be traced: the pattern depends on no value."""
    graph, sets, _, aux = _linear_and_pattern(gradient, point)
    sets = sets.united(_transposed(sets))
    colours = vertex_colouring(sets.starts, sets.columns)
    types, start, found = [v.type for v in graph.inputs], 0, []
    products = _batched(graph, colours, types, point.leaves)
    for t, rows in zip(types, products, strict=True):
        if not len(rows):
            found.append(np.zeros(t.shape, t.dtype)[()])
            continue
        # What has no elements in its row has no colour, and zeros in all products.
        of_leaf = np.maximum(colours[start : start + t.size], 0)
        found.append(np.reshape(np.reshape(rows, (len(rows), t.size))[of_leaf, np.arange(t.size)], t.shape)[()])
        start += t.size
    return found, aux


def _csr_array(transform: str) -> Any:
    try:
        return imported("scipy.sparse").csr_array
    except ImportError:
        raise ImportError(
            f"{transform}(sparse=True){at(user_source())} returns SciPy's sparse arrays, but SciPy is not installed; write: "
            "pip install 'tracegrad[scipy]'"
        ) from None


def _require_plain(x: Any, i: int, point: Point) -> None:
    """Raise for an argument that is a tracer: SciPy's sparse arrays hold numbers."""
    if isinstance(x, Tracer):
        raise TypeError(
            f"{point.transform}(sparse=True){at(user_source())} makes an array of SciPy's, which holds numbers, but {point.names(i)} is "
            f"{x.described()}; call it outside of what is traced, or leave sparse=True out"
        )


def _lowered(x: Any, trace: Trace) -> Any:
    return x.value if type(x) is Tracer and x.origin is trace else x


def _products(graph: Graph, colours: Any, types: Sequence[ArrayType]) -> Any:
    """The linear Graph of inputs of these types, applied to the sum of the unit vectors of each colour: (colours, outputs)."""
    results = _batched(graph, colours, types, ())
    rows = [r.reshape(len(r), math.prod(r.shape[1:])) for r in results]
    return np.concatenate(rows, axis=1) if rows else np.zeros((0, 0))


def _batched(graph: Graph, colours: Any, types: Sequence[ArrayType], beside: Sequence[Any]) -> list[Any]:
    """The same, an array for each output. `beside` are the arrays that it was made at, which may be traced."""
    count, start, seeds = int(colours.max(initial=-1)) + 1, 0, []
    if not count:
        return [np.zeros((0, *t.shape), t.dtype) for t in graph.out_types]
    for t in types:
        of_leaf = colours[start : start + t.size]
        seed = np.zeros((count, t.size), t.dtype)
        (used,) = np.nonzero(of_leaf >= 0)
        seed[of_leaf[used], used] = 1
        seeds.append(lifted(seed.reshape(count, *t.shape), beside))
        start += t.size
    results = within(context.bound, None, 0, batch_graph, graph, count, seeds, [True] * len(seeds))
    return [with_batch(r, count) for r in results]


def _transposed(sets: Sets) -> Sets:
    return Sets.of_pairs(sets.columns, sets.rows(), sets.count, len(sets))


class Plan(NamedTuple):
    """How a matrix of the pattern `sets` is found. The element at `rows[e], columns[e]` is number `told[e]` in the product for the
    colour of `grouped[e]`; products are with columns, or in `reverse` with rows."""

    sets: Sets
    rows: Any
    columns: Any
    colours: Any
    grouped: Any
    told: Any
    reverse: bool


def _plan_of(sets: Sets) -> Plan:
    back = _transposed(sets)
    forward, reverse = [column_colouring(s.starts, s.columns, s.count) for s in (sets, back)]
    rows, columns = sets.rows(), sets.columns
    if reverse.max(initial=-1) < forward.max(initial=-1):
        return Plan(sets, rows, columns, reverse, rows, columns, True)
    return Plan(sets, rows, columns, forward, columns, rows, False)


def _plan_of_symmetric(sets: Sets) -> Plan:
    whole = sets.united(_transposed(sets))
    rows, columns = whole.rows(), whole.columns
    star, plain = star_colouring(whole.starts, columns), column_colouring(whole.starts, columns, whole.count)
    colours = star if star.max(initial=-1) < plain.max(initial=-1) else plain
    # An element is told by its row's product where no other of the row has its column's colour, else by its equal's.
    of_colour = rows * (int(colours.max(initial=-1)) + 1) + colours[columns]
    alone = np.bincount(of_colour)[of_colour] == 1
    return Plan(
        sets, rows, columns, colours, np.where(alone, columns, rows), np.where(alone, rows, columns), reverse=False
    )
