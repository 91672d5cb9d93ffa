"""vjp, jvp, linearize and linear_transpose: a function's derivative as a linear function. It is traced once, with values, and its equations
are walked by one of the two interpreters of linear.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.constants import LARGE
from tracegrad.core.context import context, watcher, watching
from tracegrad.core.errors import at, require_callable, user_source
from tracegrad.core.graph import Graph, evaluate
from tracegrad.core.names import leaf_names
from tracegrad.core.trace import Equation, Trace
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracer import Tracer, in_program, settled_tree
from tracegrad.core.tracing import arrays_of, declared_types, needed, trace_graph, tracer_inputs
from tracegrad.core.types import is_inexact, type_of
from tracegrad.core.views import own
from tracegrad.ops.masks import filled
from tracegrad.transforms.arguments import as_output, lowered, lowered_aux, matching, split_aux
from tracegrad.transforms.batch import own_arrays
from tracegrad.transforms.forward import Forward
from tracegrad.transforms.linear import (
    at_positions,
    pull_back,
    pushforward,
    require_linear,
    require_no_offset,
    strong,
    with_folded_constants,
    with_own_constants,
)
from tracegrad.transforms.linear_map import Kind, Linear, LinearMap, Space
from tracegrad.transforms.sparing import spare
from tracegrad.typing import Aux, R


@overload
def vjp(
    fun: Callable[..., R], *primals: Any, has_aux: Literal[False] = False
) -> tuple[R, Callable[[Any], tuple[Any, ...]]]: ...
@overload
def vjp(
    fun: Callable[..., tuple[R, Aux]], *primals: Any, has_aux: Literal[True]
) -> tuple[R, Callable[[Any], tuple[Any, ...]], Aux]: ...
@overload
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool) -> tuple[Any, ...]: ...
@overload
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]: ...
@trimming
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` and a function that multiplies cotangents by its transposed Jacobian.

    Args:
        fun: any function of arrays and pytrees of them.
        *primals: its arguments, all differentiated.
        has_aux: `fun` returns `(out, aux)`.

    Returns:
        `(out, vjp_fun)` or `(out, vjp_fun, aux)`. `vjp_fun(cotangent)` takes a pytree like `out` and returns a tuple
        with one cotangent for each of the primals (float0 zeros for integers). It may be called any number of times,
        and does not change if the arrays in `primals` are written to later. It is a tree, whose leaves are the arrays
        that it keeps: jitted functions may take and return it.

    >>> import numpy as np, tracegrad as tg
    >>> out, pull = tg.vjp(np.sin, np.zeros(2))
    >>> pull(np.array([1.0, 3.0]))[0].tolist()
    [1.0, 3.0]
    """
    return _with_map(_vjp(fun, primals, has_aux))


@accepting_jax
def _vjp(fun: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> tuple[Any, ...]:
    return vjp_as("vjp", fun, primals, has_aux)


def _with_map(made: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a transform made, with a tree for the linear function in it."""
    out, linear, *aux = made
    return out, LinearMap(linear), *aux


def vjp_as(
    transform: str,
    fun: Callable[..., Any],
    primals: tuple[Any, ...],
    has_aux: bool = False,
    of: Any = None,
    positions: Sequence[int] | None = None,
) -> tuple[Any, ...]:
    """`vjp` under another transform's name. `of` and `positions` tell which function of the user's, and which of its
    arguments, `fun` and `primals` stand for."""
    trace, eqns, inputs, outputs, in_tree, out_tree, aux = _trace_call(
        transform, fun, primals, has_aux, True, of, positions, reverse=True
    )
    out = tree.tree_unflatten(out_tree, lowered(outputs, trace, keep=True))
    out_types = [type_of(o) for o in outputs]
    beside = [o.value for o in outputs if type(o) is Tracer]

    def pull(cts: Sequence[Any]) -> list[Any]:
        return pull_back(trace, eqns, inputs, outputs, cts)

    kind = Kind(transform, "cotangent", "output", several=False)
    source, target = Space(out_tree, tuple(out_types)), Space(in_tree, tuple([x.type for x in inputs]))
    linear = Linear(kind, source, target, pull, inputs, (), beside)
    return (out, linear, aux) if has_aux else (out, linear)


def _trace_call(
    transform: str,
    fun: Callable[..., Any],
    primals: tuple[Any, ...],
    has_aux: bool,
    keep: bool,
    of: Any = None,
    positions: Sequence[int] | None = None,
    reverse: bool = False,
    begin: Callable[[Trace, list[Tracer], tree.PyTreeDef], None] | None = None,
) -> tuple[Any, ...]:
    """Trace `fun(*primals)` with values. `keep` makes copies of the constants too that the derivative may need, for
    one that is applied later, when the caller may have written into them. `begin` is called with the trace and its inputs before
    the function is."""
    require_callable(fun, transform, "(f, (x,), (t,))" if transform in ("jvp", "hvp") else "(f, x)")
    of = fun if of is None else of
    leaves, in_tree = tree.tree_flatten(primals)
    names = leaf_names(of, in_tree, positions)
    trace = Trace(transform, of, reverse=reverse)
    trace.names = names
    inputs = tracer_inputs(trace, [own(x) for x in arrays_of(leaves, names)])

    def call() -> Any:
        out = settled_tree(fun(*tree.tree_unflatten(in_tree, inputs)))
        aux = None
        if has_aux:
            out, aux = split_aux(out, of, transform)
            aux = lowered_aux(*tree.tree_flatten(aux), trace, keep)
        outputs, out_tree = tree.tree_flatten(out)
        return [as_output(o, of) for o in outputs], out_tree, aux

    if begin is not None:
        begin(trace, inputs, in_tree)
    elif keep and any([x.type.size * x.type.dtype.itemsize >= LARGE for x in inputs]):
        spare(trace, reverse)
    (outputs, out_tree, aux), eqns = trace.recorded(call)
    if keep:
        eqns = with_own_constants(eqns)
    return trace, eqns, inputs, outputs, in_tree, out_tree, aux


@overload
def jvp(
    fun: Callable[..., R], primals: Sequence[Any], tangents: Sequence[Any], has_aux: Literal[False] = False
) -> tuple[R, R]: ...
@overload
def jvp(
    fun: Callable[..., tuple[R, Aux]], primals: Sequence[Any], tangents: Sequence[Any], has_aux: Literal[True]
) -> tuple[R, R, Aux]: ...
@overload
def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool) -> tuple[Any, ...]: ...
@overload
def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]: ...
@accepting_jax
def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of `fun` and its directional derivative, the Jacobian times the tangents.

    Args:
        fun: any function of arrays and pytrees of them.
        primals: tuple or list of its arguments.
        tangents: as `primals`, leaf by leaf of the same shapes and dtypes (float0 for integers). Whole numbers are taken for
            floats where NumPy casts them safely: int8 for float32, int64 for float64.
        has_aux: `fun` returns `(out, aux)`.

    Returns:
        `(out, tangent_out)` or `(out, tangent_out, aux)`.

    >>> import numpy as np, tracegrad as tg
    >>> out, tangent = tg.jvp(np.sin, (0.0,), (2.0,))
    >>> float(out), float(tangent)
    (0.0, 2.0)

    Source: forward accumulation; Griewank and Walther, section 3.1.
    """
    if watching and (watch := watcher()) is not None:
        again = functools.update_wrapper(functools.partial(jvp, fun, has_aux=has_aux), fun)
        return watch(again, (primals, tangents), {})
    return jvp_as("jvp", fun, primals, tangents, has_aux)


def jvp_as(
    transform: str,
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
    of: Any = None,
) -> tuple[Any, ...]:
    """`jvp` under another transform's name; see `vjp_as`."""
    require_callable(fun, transform, "(f, (x,), (t,))")
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise TypeError(
            f"{transform}{at(user_source())} takes primals and tangents as tuples, got {type(primals).__name__} and "
            f"{type(tangents).__name__}; write tg.{transform}(f, (x,), (t,))"
        )
    forward: Forward | None = None

    def given(inputs: Sequence[Tracer], outputs: Sequence[Any], in_tree: tree.PyTreeDef) -> list[Any]:
        beside = [x.value for x in (*inputs, *outputs) if type(x) is Tracer]
        return matching(tuple(tangents), in_tree, [x.type for x in inputs], transform, "tangents", "primals", beside)

    def begin(trace: Trace, inputs: list[Tracer], in_tree: tree.PyTreeDef) -> None:
        nonlocal forward
        forward = Forward(trace, inputs, given(inputs, (), in_tree))

    # Where a Graph is being made, tangents may have to be constants of that, beside what the function returns.
    at_once = context.trace is None and not context.explains
    trace, eqns, inputs, outputs, in_tree, out_tree, aux = _trace_call(
        transform, fun, tuple(primals), has_aux, False, of, begin=begin if at_once else None
    )
    out = tree.tree_unflatten(out_tree, lowered(outputs, trace))
    if forward is not None:
        found, starts = forward.of(outputs), forward.starts
    else:
        starts = given(inputs, outputs, in_tree)
        found = _push(trace, eqns, inputs, outputs, starts)
    tangent = tree.tree_unflatten(out_tree, own_arrays(found, outputs, starts))
    return (out, tangent, aux) if has_aux else (out, tangent)


def _push(
    trace: Trace, eqns: list[Equation], inputs: Sequence[Tracer], outputs: Sequence[Any], tangents: Sequence[Any]
) -> list[Any]:
    """Tangents of the outputs, None for zero. The list of equations is emptied."""
    if trace.prunes:
        eqns = needed(eqns, outputs, derivative=True)
    given = {id(x): t for x, t in zip(inputs, tangents, strict=True) if t is not None}
    found = pushforward(eqns, given, outputs)
    return [filled(found.get(id(out))) if type(out) is Tracer and out.origin is trace else None for out in outputs]


@overload
def linearize(fun: Callable[..., R], *primals: Any, has_aux: Literal[False] = False) -> tuple[R, Callable[..., R]]: ...
@overload
def linearize(
    fun: Callable[..., tuple[R, Aux]], *primals: Any, has_aux: Literal[True]
) -> tuple[R, Callable[..., R], Aux]: ...
@overload
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool) -> tuple[Any, ...]: ...
@overload
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]: ...
@trimming
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` and its derivative at `primals` as a linear function of tangents, computed once.

    Args as for `vjp`. Returns `(out, jvp_fun)` or `(out, jvp_fun, aux)`; `jvp_fun(*tangents)` replays a linear Graph
    in which all that depends on the primals alone has become constants. It is a tree, as what `vjp` returns is.

    >>> import numpy as np, tracegrad as tg
    >>> out, push = tg.linearize(np.sin, 0.0)
    >>> float(push(3.0))
    3.0
    """
    return _with_map(_linearize(fun, primals, has_aux))


@accepting_jax
def _linearize(fun: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> tuple[Any, ...]:
    return linearize_as("linearize", fun, primals, has_aux)


def linearize_as(
    transform: str,
    fun: Callable[..., Any],
    primals: tuple[Any, ...],
    has_aux: bool = False,
    of: Any = None,
    positions: Sequence[int] | None = None,
) -> tuple[Any, ...]:
    """`linearize` under another transform's name; see `vjp_as`."""
    trace, eqns, inputs, outputs, in_tree, out_tree, aux = _trace_call(
        transform, fun, primals, has_aux, True, of, positions
    )
    out = tree.tree_unflatten(out_tree, lowered(outputs, trace, keep=True))
    types = [x.type for x in inputs]
    active = [i for i, t in enumerate(types) if is_inexact(t.dtype)]
    graph = _linear_graph(trace, eqns, inputs, outputs, active, fun)
    beside = [x.value for x in (*inputs, *outputs) if type(x) is Tracer]

    def push(tangents: Sequence[Any]) -> list[Any]:
        return evaluate(graph, [tangents[i] for i in active])

    kind = Kind(transform, "tangents", "primals", several=True)
    source, target = Space(in_tree, tuple(types)), Space(out_tree, tuple([type_of(o) for o in outputs]))
    linear = Linear(kind, source, target, push, outputs, tuple(graph.consts.values()), beside)
    return (out, linear, aux) if has_aux else (out, linear)


def _linear_graph(
    trace: Trace,
    eqns: list[Equation],
    inputs: Sequence[Tracer],
    outputs: Sequence[Any],
    active: Sequence[int],
    fun: Any,
) -> Graph:
    """The pushforward as a Graph of the tangents of the active inputs."""

    def push(*tangents: Any) -> list[Any]:
        full = at_positions(len(inputs), active, tangents)
        return own_arrays(_push(trace, eqns, inputs, outputs, full), outputs)

    types = [strong(inputs[i].type) for i in active]
    return trace_graph(push, types, transform="linearize", user_function=fun)


@trimming
def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], tuple[Any, ...]]:
    """The transpose of a linear function.

    Args:
        fun: a function that is linear in all its arguments.
        *primals: arguments like those it will be applied to: arrays, or `ShapeDtypeStruct`s. Values are not used.

    Returns:
        A function from cotangents shaped like the output to a tuple of cotangents, one for each argument. Nothing is
        conjugated: it is the transpose, not the adjoint. It is a tree, as what `vjp` returns is.

    Raises:
        DifferentiationError: at an operation that is not linear, with its line.

    >>> import numpy as np, tracegrad as tg
    >>> tg.linear_transpose(lambda x: 2.0 * np.sum(x), np.zeros(3))(1.0)[0].tolist()
    [2.0, 2.0, 2.0]
    """
    return LinearMap(_linear_transpose(fun, primals))


@accepting_jax
def _linear_transpose(fun: Callable[..., Any], primals: tuple[Any, ...]) -> Linear:
    require_callable(fun, "linear_transpose", "(f, x)")
    leaves, in_tree = tree.tree_flatten(primals)
    names = leaf_names(fun, in_tree)
    types = [strong(t) for t in declared_types(leaves, names)]
    trace = Trace("linear_transpose", fun, abstract=True)
    trace.linear = trace.folds = True
    trace.names = names
    inputs = tracer_inputs(trace, types)

    def call() -> Any:
        outputs, out_tree = tree.tree_flatten(fun(*tree.tree_unflatten(in_tree, inputs)))
        return with_folded_constants(trace, inputs, [as_output(o, fun) for o in outputs]), out_tree

    (outputs, out_tree), eqns = trace.recorded(call)
    # In a program that is being made, and will be run again, they are constants of that.
    if not in_program():
        eqns = with_own_constants(eqns)
    require_linear(eqns)
    require_no_offset(eqns, [o.value if type(o) is Tracer and o.origin is not trace else o for o in outputs])
    out_types = [type_of(o) for o in outputs]
    beside = [x for eqn in eqns for x in eqn[1] if type(x) is Tracer and x.origin is not trace]

    def pull(cts: Sequence[Any]) -> list[Any]:
        return pull_back(trace, eqns, inputs, outputs, cts)

    kind = Kind("linear_transpose", "cotangent", "output", several=False)
    source, target = Space(out_tree, tuple(out_types)), Space(in_tree, tuple(types))
    return Linear(kind, source, target, pull, inputs, (), beside)
