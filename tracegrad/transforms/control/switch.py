"""cond and switch: functions of which one is run, chosen by a value.

Where the choice is known, the function is called. Where only its type is, all are traced, and the choice is one equation,
`switch`, that holds them as Graphs. Where each example of a batch chooses for itself, that is `switch_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.context import context
from tracegrad.core.errors import DtypeError, ShapeError, at, clip, described, user_source
from tracegrad.core.graph import Graph, Literal, Var, replace
from tracegrad.core.names import leaf_names
from tracegrad.core.op import Held, Op, Params, Wanted, Written
from tracegrad.core.reuse import draws_of, note_draws
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import plain_value
from tracegrad.core.tracing import arrays_of, traced
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.core.views import own_traced
from tracegrad.lower.numpy.lines import assigned
from tracegrad.lower.numpy.writer import compiled, own
from tracegrad.lower.passes import simplify
from tracegrad.transforms.batch import Batched, Shared, batch_graph, rows_or_shared
from tracegrad.transforms.control.bodies import where
from tracegrad.transforms.control.branches import (
    Branches,
    all_rows,
    batched_branches,
    is_linear,
    jvp,
    nearest,
    parts_of,
    prune,
    pull_anew,
    run,
    select,
    shared_operands,
    speak_of,
    with_outputs,
    without_zeros,
)
from tracegrad.transforms.control.call import call
from tracegrad.transforms.control.held import Graphs, axis_indices, keeping
from tracegrad.transforms.control.switch_rows import switch_rows_op
from tracegrad.typing import PyTree

# ---------------------------------------------------------------------------------------------------------------------
# The op.


def _expand(trace: Trace, inputs: tuple[Any, ...], params: Params) -> Any:
    """Where the choice is known, the branch."""
    index = plain_value(inputs[0], "switch")
    return None if index is None else call(nearest(index, params["branches"]), inputs[1:])


def _evaluate(index: Any, *operands: Any, branches: Graphs) -> tuple[Any, ...]:
    # The zeros that a branch gives may be a view of one number. Who reads them may write over them.
    return tuple([own(x, ()) for x in compiled(nearest(index, branches))(*operands)])


def _replay(run: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    found: Sequence[Any] = run("", nearest(inputs[0], params["branches"]), inputs[1:])
    return found


def _vjp(wanted: Wanted, cts: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    found = pull_anew(wanted, cts, primals, params)
    return [found.get(i) for i in wanted]


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    (index, *operands), (apart, *flags), graphs = inputs, batched, params["branches"]
    if apart and speak_of(context.batching, graphs):
        # A collective needs all examples, so each branch is run on all of them.
        return select(index, [all_rows(g, size, operands, flags) for g in graphs])
    if apart:
        shared = shared_operands(graphs, flags)
        count = len(graphs[0].outputs)
        rows: Params = {"branches": graphs, "batched": tuple(flags)}
        found: dict[int, Any] = {j: Shared(operands[i]) for j, i in shared.items()}
        if len(shared) < count:
            given, rows, numbers = prune(tuple(inputs), rows, [j not in shared for j in range(count)])
            found |= zip(numbers, bind(switch_rows_op, given, rows), strict=True)
        return tuple([found[j] for j in range(count)])
    if (known := plain_value(index, "switch")) is not None:
        results = batch_graph(nearest(known, graphs), size, operands, flags)
        return tuple([r.value if type(r) is Batched else Shared(r) for r in results])
    branches, varying = batched_branches(graphs, size, tuple(flags), every=False)
    return rows_or_shared(run(branches, index, operands, None), varying)


def _inlined(inputs: Sequence[Any], params: Params) -> tuple[Graph, Sequence[Any]] | None:
    if not isinstance(inputs[0], Literal):
        return None
    return nearest(inputs[0].value, params["branches"]), inputs[1:]


def _flows(walk: Any, inputs: Sequence[Any], params: Params) -> Sequence[Any]:
    """Through any of the branches."""
    first, *others = [walk(branch, inputs[1:]) for branch in params["branches"]]
    found = [x.merged(x) for x in first]
    for other in others:
        found = [x.merged(y) for x, y in zip(found, other, strict=True)]
    return found


def _series(expanded: Any, inputs: Sequence[Sequence[Any]], params: Params) -> Sequence[Any]:
    (index, *_), *operands = inputs
    branches = tuple([expanded(branch) for branch in params["branches"]])
    outs: Sequence[Any] = bind(switch_op, (index, *[c for x in operands for c in x]), {**params, "branches": branches})
    return outs


def _write(types: Sequence[ArrayType], params: Params) -> Written:
    branches, kind = params["branches"], number_kind(types[0].dtype)

    def lines(
        functions: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], fresh: Callable[[str], str]
    ) -> list[str]:
        index, *operands = inputs
        taken = [f"    {assigned(outputs, function, operands)}" for function in functions]
        if len(taken) == 1:
            return [taken[0].lstrip()]
        before = []
        if kind == "b":
            tests = [f"if not {index}:"]
        else:
            if kind not in "iu":
                before = [f"{(chosen := fresh('chosen'))} = int({index})"]
                index = chosen
            tests = [f"if {index} <= 0:", *[f"elif {index} == {i}:" for i in range(1, len(taken) - 1)]]
        if kind == "b":
            taken = taken[:2]
        pairs = zip([*tests, "else:"], taken, strict=True)
        return [*before, *[line for pair in pairs for line in pair]]

    return Written(branches, lines)


switch_op: Op = Op(
    "switch",
    evaluate=_evaluate,
    infer=lambda types, params: params["branches"][0].out_types,
    jvp=jvp,
    vjp=_vjp,
    batch=_batch,
    held=Held(
        _expand,
        *keeping(lambda: switch_op, parts_of),
        without_zeros,
        _inlined,
        prune,
        _replay,
        write=_write,
        flows=_flows,
        series=_series,
    ),
    multiple_results=True,
    never_aliases=True,
    kinds="",
    linear_if=is_linear,
)


# ---------------------------------------------------------------------------------------------------------------------
# The functions.

_MISSING: Any = type("_Missing", (), {"__repr__": lambda self: "<missing>"})()


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = _MISSING,
) -> PyTree:
    """`true_fun(*operands)` if `pred` holds, else `false_fun(*operands)`.

    Where the predicate's value is known, this is an `if`: only the function that is chosen is called. Under `jit` and
    `vmap`, which know types only, both are traced, once, and one of them is run. `vmap` over the predicate runs each
    function on the examples that choose it.

    Args:
        pred: a boolean or a number (zero is false) of shape ().
        true_fun, false_fun: functions of the operands. What they close over may be traced, too.
        operands: arrays and pytrees of them.
        operand: the one operand, in place of `operands`.

    Returns:
        What the function returns. Where both are traced, they must return one structure and the same shapes; dtypes are
        promoted as NumPy does.

    Raises:
        ShapeError: a predicate that is an array; results of different shapes.
        TypeError: a predicate that is no number; results of different structures.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda x: tg.lax.cond(x > 0, np.sqrt, lambda x: 0.0 * x, x)
    >>> float(f(4.0)), float(tg.jit(f)(4.0)), tg.vmap(tg.grad(f))(np.array([4.0, -1.0])).tolist()
    (2.0, 2.0, [0.25, 0.0])
    """
    operands = _operands("cond", operands, operand)
    for name, fun in (("true_fun", true_fun), ("false_fun", false_fun)):
        _require_function("cond", name, fun)
    found = _choice_type("cond", "the predicate", pred, "np.all(pred) or np.any(pred)")
    if number_kind(found.dtype) not in "biuf":
        raise DtypeError(
            f"cond{at(user_source())}: the predicate must be a boolean or a real number, got {found}; write pred != 0"
        )
    known = plain_value(pred, "cond")
    if known is not None:
        return (true_fun if known else false_fun)(*own_traced(operands))
    index = pred if number_kind(found.dtype) == "b" else pred != 0
    return _traced_switch("cond", index, {"true_fun": true_fun, "false_fun": false_fun}, operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any, operand: Any = _MISSING) -> PyTree:
    """`branches[index](*operands)`, with the nearest branch for an index out of range. Otherwise as `cond`.

    Args:
        index: an integer of shape ().
        branches: functions of the operands.
        operands: arrays and pytrees of them.
        operand: the one operand, in place of `operands`.

    Returns:
        What the branch returns; see `cond`.

    Raises:
        ShapeError: an index that is an array; results of different shapes.
        TypeError: an index that is no integer; results of different structures.
        ValueError: no branches.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda i, x: tg.lax.switch(i, [np.sin, np.cos, np.square], x)
    >>> [float(tg.jit(f)(i, 3.0)) for i in (2, 7)]
    [9.0, 9.0]
    """
    operands = _operands("switch", operands, operand)
    branches = list(branches)
    if not branches:
        raise ValueError(f"switch{at(user_source())} got no branches; give a list of at least one function")
    for i, fun in enumerate(branches):
        _require_function("switch", f"branches[{i}]", fun)
    found = _choice_type("switch", "the index", index, "np.argmax(x)")
    if number_kind(found.dtype) not in "iu":
        instead = "int(index), or tg.lax.cond" if number_kind(found.dtype) == "b" else "index.astype(int)"
        raise DtypeError(f"switch{at(user_source())}: the index must be an integer, got {found}; write {instead}")
    known = plain_value(index, "switch")
    if known is not None or len(branches) == 1:
        return nearest(0 if known is None else known, branches)(*own_traced(operands))
    return _traced_switch("switch", index, {f"branches[{i}]": fun for i, fun in enumerate(branches)}, operands)


def _operands(function: str, operands: tuple[Any, ...], operand: Any) -> tuple[Any, ...]:
    if operand is _MISSING:
        return operands
    if operands:
        raise TypeError(
            f"{function}{at(user_source())} got operands both by position and as operand=; give all by position"
        )
    return (operand,)


def _require_function(function: str, name: str, fun: Any) -> None:
    if not callable(fun):
        call = (
            "cond(pred, true_fun, false_fun, *operands)" if function == "cond" else "switch(index, branches, *operands)"
        )
        raise TypeError(
            f"{function}{at(user_source())}: {name} must be a function, got the {type(fun).__name__} {clip(repr(fun))}; "
            f"write tg.lax.{call}, with functions that return what is to be had"
        )


def _choice_type(function: str, what: str, x: Any, instead: str) -> ArrayType:
    (array,) = arrays_of([x], lambda _: f"{function}: {what}")
    found = type_of(array)
    if found.shape:
        raise ShapeError(
            f"{function}{at(user_source())}: {what} must be one number, of shape (), got {found}; write {instead} for "
            f"one number of it, or tg.vmap of the {function} to choose for each element"
        )
    return found


def _traced_switch(function: str, index: Any, functions: dict[str, Any], operands: tuple[Any, ...]) -> Any:
    """The functions' Graphs, and one equation that chooses among them. A predicate as an index is 0 where it is false."""
    found, in_tree = tree.tree_flatten(operands)
    leaves = arrays_of(found, lambda i: f"{function}: operand{tree.keystr(tree.tree_leaves_with_path(operands)[i][0])}")
    types = [type_of(x) for x in leaves]
    graphs, skeletons = [], []
    draws: dict[int, Any] = {}
    for k, (label, fun) in enumerate(functions.items()):
        chosen = partial(_is_chosen, function, index, k, len(functions) - 1)
        graph, out_tree = _traced(function, label, fun, types, in_tree, chosen, draws)
        graphs.append(graph)
        skeletons.append(tree.tree_unflatten(out_tree, list(graph.out_types)))
    note_draws(draws, leaves)  # one of them is run
    _require_agreement(function, functions, skeletons)
    if not graphs[0].outputs:
        if not any([g.effects for g in graphs]):
            return tree.tree_unflatten(out_tree, [])
        graphs = [replace(g, outputs=(Literal(np.bool_(False)),)) for g in graphs]
    if function == "cond":
        graphs.reverse()
    branches = with_outputs(tuple(graphs), [g.outputs for g in graphs])
    # The index in an axis that the branches speak of ties the equation to the trace that maps over it, whatever the
    # operands depend on. The branches find it themselves.
    ties = axis_indices(frozenset().union(*[g.axes for g in graphs]))
    tied = [replace(g, inputs=(*g.inputs, *[Var(t.type) for t in ties])) for g in branches.graphs]
    results = run(Branches(tuple(tied)), index, [*leaves, *branches.consts, *ties], None)
    return tree.tree_unflatten(out_tree, results[: out_tree.num_leaves])


def _is_chosen(function: str, index: Any, k: int, last: int) -> Any:
    """Whether an index chooses the function of this number, the first of two if it is a predicate that holds."""
    if function == "cond":
        return index if k == 0 else np.logical_not(index)
    return index == k if 0 < k < last else index <= k if k == 0 else index >= k


def _traced(
    function: str,
    label: str,
    fun: Any,
    types: Sequence[ArrayType],
    in_tree: tree.PyTreeDef,
    chosen: Callable[[], Any],
    draws: dict[int, Any],
) -> tuple[Graph, tree.PyTreeDef]:
    def call(*tracers: Any) -> Any:
        return where(chosen, fun, *tree.tree_unflatten(in_tree, tracers))

    names = leaf_names(fun, in_tree)
    graph, out_tree = traced(fun, call, types, transform=function, names=names, abstract=True, captures=True)
    draws.update(draws_of(graph))
    name = graph.name if graph.name.isidentifier() else label.replace("[", "_").replace("]", "")
    return simplify(replace(graph, name=name)), out_tree


def _require_agreement(function: str, functions: dict[str, Any], skeletons: Sequence[Any]) -> None:
    """All functions must return one structure, and each leaf in one shape."""
    (label, fun), *others = functions.items()
    first = skeletons[0]
    for (other_label, other), skeleton in zip(others, skeletons[1:], strict=True):
        one, two = tree.tree_structure(first), tree.tree_structure(skeleton)
        if one != two:
            missing = [n for n, t in ((label, one), (other_label, two)) if not t.num_leaves]
            raise TypeError(
                f"{function}{at(user_source())}: its functions must return the same structure, but {label}, "
                f"{described(fun)}, returns {one} and {other_label}, {described(other)}, returns {two}; "
                + (
                    f"is a return missing in {missing[0]}?"
                    if missing
                    else "return the same containers, keys and lengths"
                )
            )
        for (path, a), (_, b) in zip(
            tree.tree_leaves_with_path(first), tree.tree_leaves_with_path(skeleton), strict=True
        ):
            if a.shape != b.shape:
                raise ShapeError(
                    f"{function}{at(user_source())}: its functions must return equal shapes, but "
                    f"output{tree.keystr(path)} is {a} from {label}, {described(fun)}, and {b} from {other_label}, "
                    f"{described(other)}; {_widened(label, a, other_label, b)}"
                )


def _widened(label: str, a: ArrayType, other_label: str, b: ArrayType) -> str:
    for name, small, large in ((label, a, b), (other_label, b, a)):
        try:
            fits = broadcast_shapes(small.shape, large.shape) == large.shape
        except ValueError:
            break
        if fits:
            return f"write np.broadcast_to(x, {large.shape}) in {name}"
    return "reshape, pad or cut one of them"
