"""`custom_linear_solve`: the solution of A x = b, where A is a function and so is what solves, as one equation.

Its derivative needs no derivative of what solves: A dx = db - dA x is solved in the same way, and its transpose by the
transposed functions. So what solves may iterate, call a library, or close over a factorisation, and all orders of both modes
follow.

Inputs of the equation are what the functions close over, then the leaves of b; outputs the leaves of x, then those of aux.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, overload

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.context import context, open_traces
from tracegrad.core.errors import (
    DifferentiationError,
    DtypeError,
    ShapeError,
    at,
    described,
    require_callable,
    user_source,
)
from tracegrad.core.graph import Graph, Var, evaluate, remembered, replace
from tracegrad.core.names import wraps
from tracegrad.core.op import Held, Op, Params, Wanted
from tracegrad.core.trace import bind, strengthened
from tracegrad.core.tracing import arrays_of, trace_graph, traced
from tracegrad.core.types import ArrayType, type_of
from tracegrad.lower.numpy.writer import compiled
from tracegrad.lower.passes import simplify
from tracegrad.ops.masks import filled
from tracegrad.transforms.batch import with_batch
from tracegrad.transforms.control.call import call, pull_call
from tracegrad.transforms.control.held import batch_of, tangents_of, written_call
from tracegrad.transforms.linear import strong, transpose, zeros_like_type
from tracegrad.typing import R


@overload
def custom_linear_solve(
    matvec: Callable[[R], R],
    b: R,
    solve: Callable[[Callable[[R], R], R], Any],
    transpose_solve: Callable[[Callable[[R], R], R], Any] | None = None,
    symmetric: bool = False,
    has_aux: Literal[False] = False,
) -> R: ...
@overload
def custom_linear_solve(
    matvec: Callable[[R], R],
    b: R,
    solve: Callable[[Callable[[R], R], R], Any],
    transpose_solve: Callable[[Callable[[R], R], R], Any] | None = None,
    symmetric: bool = False,
    *,
    has_aux: Literal[True],
) -> tuple[R, Any]: ...
@accepting_jax
def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    transpose_solve: Callable[[Callable[[Any], Any], Any], Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The x for which `matvec(x) = b`, as `solve(matvec, b)` finds it, with derivatives by solving again.

    Args:
        matvec: a linear function of a pytree like b. What it closes over may be traced, and has derivatives.
        b: a pytree of arrays of floats.
        solve: `solve(matvec, b)` returns x, in the structure of b. It has no derivative, nor has what it closes over.
        transpose_solve: `transpose_solve(vecmat, b)` solves with the transpose of `matvec`; needed for reverse mode.
        symmetric: whether `matvec` is its own transpose, and `solve` then takes the place of `transpose_solve`.
        has_aux: whether both return a pair (x, aux), of which aux has no derivative.

    Returns:
        x, or (x, aux).

    Raises:
        ShapeError: `matvec(b)` or x is not of the structure and shapes of b.
        DifferentiationError: reverse mode without `transpose_solve`, or a `matvec` that is not linear.

    >>> import numpy as np, tracegrad as tg
    >>> A, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0])
    >>> def f(A, b):
    ...     solve = lambda matvec, b: np.linalg.solve(A, b)
    ...     return np.sum(tg.lax.custom_linear_solve(lambda x: A @ x, b, solve, symmetric=True))
    >>> tg.grad(f, 1)(A, b).round(12).tolist()
    [0.4, 0.2]
    """
    for name, function in (("matvec", matvec), ("solve", solve), ("transpose_solve", transpose_solve)):
        if function is not None or name != "transpose_solve":
            require_callable(function, "lax.custom_linear_solve", f"(matvec, b, solve): {name}")
    if not open_traces:
        return solve(matvec, b)
    leaves, structure = tree.tree_flatten(b)
    arrays = [strengthened(x) for x in arrays_of(leaves, lambda i: f"lax.custom_linear_solve: b, leaf {i}")]
    types = [strong(type_of(x)) for x in arrays]
    space = Space(structure, types)
    product, _ = space.graph(matvec, matvec, False)

    def vecmat(y: Any) -> Any:
        given = arrays_of(tree.tree_leaves(y), lambda i: f"an argument of vecmat, leaf {i}")
        return structure.unflatten(_transposed(lambda *x: evaluate(product, x), types, given))

    solved, out_tree = space.graph(solve, lambda b: solve(matvec, b), has_aux)
    graphs = [product, solved]
    if transpose_solve is not None and not symmetric:
        other = transpose_solve
        graphs.append(space.graph(other, lambda b: other(vecmat, b), has_aux)[0])
    (product, solved, *rest), consts = sharing_consts(graphs)
    params = {
        "matvec": product,
        "solve": solved,
        "transpose_solve": rest[0] if rest else None,
        "symmetric": bool(symmetric),
    }
    return tree.tree_unflatten(out_tree, list(bind(linear_solve_op, (*consts, *arrays), params)))


class Space(NamedTuple):
    """The trees of arrays between which functions map."""

    structure: tree.PyTreeDef
    types: Sequence[ArrayType]

    def graph(
        self, function: Callable[..., Any], call: Callable[[Any], Any], has_aux: bool
    ) -> tuple[Graph, tree.PyTreeDef]:
        """The Graph of `call`, which calls the user's function with such a tree and returns such a tree, or a pair of one and
        aux."""

        @wraps(function)
        def flat(*arrays: Any) -> Any:
            out = call(self.structure.unflatten(arrays))
            if has_aux and not (isinstance(out, tuple | list) and len(out) == 2):
                raise TypeError(
                    f"{described(function)} must return a pair (x, aux), since has_aux=True was given{at(user_source())}"
                )
            found = out[0] if has_aux else out
            self.require(found, function)
            return out

        graph, out_tree = traced(function, flat, self.types, transform="call", abstract=True, captures=True)
        return simplify(graph), out_tree

    def require(self, x: Any, function: Callable[..., Any]) -> None:
        leaves, structure = tree.tree_flatten(x)
        if structure != self.structure:
            raise ShapeError(
                f"{described(function)}, called{at(user_source())}, must return the structure {self.structure}, got {structure}"
            )
        for found, t in zip(map(type_of, leaves), self.types, strict=True):
            if found.shape != t.shape:
                raise ShapeError(f"{described(function)}, called{at(user_source())}, must return {t}, got {found}")
            if found.dtype != t.dtype:
                raise DtypeError(
                    f"{described(function)}, called{at(user_source())}, must return {t}, got {found}; write .astype({t.dtype.name!r})"
                )


def sharing_consts(graphs: Sequence[Graph]) -> tuple[list[Graph], list[Any]]:
    """Graphs whose first inputs are all constants of them all, and these."""
    consts = list({id(x): x for g in graphs for x in g.consts.values()}.values())

    def opened(graph: Graph) -> Graph:
        known = {id(x): v for v, x in graph.consts.items()}
        heads = [known.get(id(x)) or Var(type_of(x)) for x in consts]
        return replace(graph, inputs=(*heads, *graph.inputs), consts={})

    return list(map(opened, graphs)), consts


def _transposed(linear: Callable[..., Sequence[Any]], types: Sequence[ArrayType], cts: Sequence[Any]) -> list[Any]:
    found = transpose(linear, types, cts, "the transpose of matvec")
    return [zeros_like_type(t) if ct is None else ct for ct, t in zip(found, types, strict=True)]


# ---------------------------------------------------------------------------------------------------------------------
# The op.


def _split(params: Params, arrays: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """The constants and the leaves of b."""
    count = len(arrays) - len(params["matvec"].outputs)
    return arrays[:count], arrays[count:]


def _full(parts: Sequence[Any], types: Sequence[ArrayType]) -> list[Any]:
    return [zeros_like_type(strong(t)) if x is None else filled(x) for x, t in zip(parts, types, strict=True)]


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any], params: Params) -> Any:
    matvec: Graph = params["matvec"]
    count = len(matvec.outputs)
    consts, _ = _split(params, primals)
    active = tuple([i for i, t in enumerate(tangents[: len(consts)]) if t is not None])
    right = list(tangents[len(consts) :])
    if active:
        pushed, found = tangents_of(matvec, active)
        moved = call(pushed, [*consts, *out[:count], *[filled(tangents[i]) for i in active]])
        for i, t in zip(found, moved, strict=True):
            right[i] = -t if right[i] is None else filled(right[i]) - t
    if all([t is None for t in right]):
        return [None] * len(out)
    solved = bind(linear_solve_op, (*consts, *_full(right, matvec.out_types)), params)
    return [*solved[:count], *[None] * (len(out) - count)]


def _vjp(
    wanted: Wanted, cts: Sequence[Any], out: Sequence[Any], primals: Sequence[Any], params: Params
) -> Sequence[Any]:
    matvec: Graph = params["matvec"]
    count = len(matvec.outputs)
    consts, _ = _split(params, primals)
    if all([ct is None for ct in cts[:count]]):
        return [None] * len(wanted)
    back = _back(params)
    found = bind(linear_solve_op, (*consts, *_full(cts[:count], matvec.out_types)), back)[:count]
    of_consts = tuple([i for i in wanted if i < len(consts)])
    pulled: dict[int, Any] = {}
    if of_consts:
        pulled = pull_call(matvec, of_consts, [*consts, *out[:count]], [-ct for ct in found])
    return [pulled.get(i) if i < len(consts) else found[i - len(consts)] for i in wanted]


def _back(params: Params) -> Params:
    """The params of the transposed equation."""
    if params["symmetric"]:
        return params
    matvec, solve, other = params["matvec"], params["solve"], params["transpose_solve"]
    if other is None:
        raise DifferentiationError(
            f"lax.custom_linear_solve{at(context.source or user_source())} is differentiated in reverse mode, which solves with the transpose; "
            "give it transpose_solve=, or symmetric=True"
        )
    return {"matvec": transposed_graph(matvec), "solve": other, "transpose_solve": solve, "symmetric": False}


def transposed_graph(matvec: Graph) -> Graph:
    """Of constants and a vector, the transpose of a Graph that is linear in its last inputs, as many as it has outputs."""

    def make() -> Graph:
        count = len(matvec.inputs) - len(matvec.outputs)

        def vecmat(*arrays: Any) -> list[Any]:
            types = [strong(t) for t in matvec.in_types[count:]]
            return _transposed(lambda *x: evaluate(matvec, [*arrays[:count], *x]), types, arrays[count:])

        types = [*matvec.in_types[:count], *map(strong, matvec.out_types)]
        graph = trace_graph(vecmat, types, transform="vjp", user_function=matvec, abstract=True)
        return simplify(replace(graph, name=f"{matvec.name}_transposed"))

    return remembered(matvec, "transposed", make)


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    consts, b = _split(params, inputs)
    flags = (*batched[: len(consts)], *[True] * len(b))
    rows = [x if f else with_batch(x, size) for x, f in zip(b, batched[len(consts) :], strict=True)]
    graphs = {
        name: None if params[name] is None else batch_of(params[name], size, flags)
        for name in ("matvec", "solve", "transpose_solve")
    }
    return tuple(bind(linear_solve_op, (*consts, *rows), {**graphs, "symmetric": params["symmetric"]}))


def _without(params: Params, zeros: tuple[int, ...]) -> tuple[Params, Any, Any, tuple[Any, ...]]:
    """It is zero where all of b is."""
    matvec: Graph = params["matvec"]
    every, count = range(len(matvec.inputs)), len(matvec.outputs)
    if set(every[len(every) - count :]) <= set(zeros):
        return params, (), (), ()
    return params, every, range(len(params["solve"].outputs)), ()


def _is_linear(positions: Any, params: Params) -> bool:
    """In b, if a part of it is zero where it is not what is meant (see `_without`)."""
    matvec: Graph = params["matvec"]
    return min(positions, default=0) >= len(matvec.inputs) - len(matvec.outputs)


def _replay(run: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    found: Sequence[Any] = run("", params["solve"], inputs)
    return found


linear_solve_op: Op = Op(
    "linear_solve",
    evaluate=lambda *arrays, solve, **_: tuple(compiled(solve)(*arrays)),
    infer=lambda types, params: params["solve"].out_types,
    jvp=_jvp,
    vjp=_vjp,
    batch=_batch,
    held=Held(
        without=_without,
        inline=lambda inputs, params: (params["solve"], inputs),
        replay=_replay,
        write=lambda types, params: written_call(params["solve"]),
    ),
    multiple_results=True,
    never_aliases=True,
    kinds="",
    linear_if=_is_linear,
)
