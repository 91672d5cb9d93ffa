"""Looking at functions without changing them: their Graph, the types of their outputs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from tracegrad import tree
from tracegrad.core.axes import Axis, within
from tracegrad.core.chance import without_drawing
from tracegrad.core.context import context, sizing
from tracegrad.core.errors import require_callable
from tracegrad.core.graph import Graph
from tracegrad.core.names import leaf_names, parameter_name, transformed
from tracegrad.core.scopes import keeping_frames
from tracegrad.core.sizes import let_out
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracing import arrays_of, declared_types, traced
from tracegrad.core.types import ShapeDtypeStruct
from tracegrad.core.views import own
from tracegrad.typing import PyTree


@trimming
def make_graph(
    fun: Callable[..., Any], *, axis_env: Sequence[tuple[Hashable, int]] | None = None, frames: bool = False
) -> Callable[..., Graph]:
    """A function that returns the Graph of `fun` for given arguments.

    Called on arrays, values ride along: Python branches are taken as the values decide, and the Graph is that of the
    path taken. Called on `ShapeDtypeStruct`s, only types are known. Arguments may be pytrees; the Graph is flat, its
    inputs named by key path. Keyword arguments are handed to `fun` as they are.

    Args:
        fun: a function of arrays and pytrees of them.
        axis_env: names and sizes of axes, outermost first, to be taken as mapped over, so that the collectives of a
            function that is meant for `vmap(fun, axis_name=...)` can be seen. Only types are known then.
        frames: whether each equation keeps all lines of the user's that were running, not just the innermost: `Eqn.frames`.
            Of what a jitted function does, the innermost only.

    >>> import numpy as np, tracegrad as tg
    >>> graph = tg.make_graph(lambda x: np.sin(x) + 1.0)(np.ones(2))
    >>> [eqn.op.name for eqn in graph.eqns]
    ['sin', 'add']
    >>> from tracegrad.ops.collective import psum
    >>> graph = tg.make_graph(lambda x: psum(x, "i"), axis_env=[("i", 4)])(np.ones(2))
    >>> [eqn.op.name for eqn in graph.eqns]
    ['axis_index', 'psum']
    """

    require_callable(fun, "make_graph")

    @trimming
    def graph_maker(*args: Any, **kwargs: Any) -> Graph:
        axes = [Axis(name, size, len(context.bound) + i) for i, (name, size) in enumerate(axis_env or ())]
        bound = *context.bound, *axes
        last = sys._getframe().f_back if frames else None
        how = functools.partial(_graph_and_tree, "make_graph", fun, args, kwargs, abstract=bool(axes))
        graph, _ = within(bound, None, 0, how if last is None else functools.partial(keeping_frames, last, how))
        if sizing:
            let_out([t.shape for t in (*graph.in_types, *graph.out_types)])
        # The arrays outside may be written into tomorrow.
        consts = {v: own(x) for v, x in graph.consts.items()}
        return Graph(graph.inputs, graph.eqns, graph.outputs, consts, graph.name)

    return transformed(graph_maker, make_graph, fun, axis_env=axis_env, frames=frames)


@trimming
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> PyTree:
    """The shapes and dtypes that `fun` returns, without computing anything.

    Args:
        fun: a function of arrays and pytrees of them.
        *args: arrays or `ShapeDtypeStruct`s. Keyword arguments too are taken as arrays.

    Returns:
        A pytree like the output with a `ShapeDtypeStruct` at each leaf.

    >>> import numpy as np, tracegrad as tg
    >>> tg.eval_shape(np.matmul, tg.ShapeDtypeStruct((3, 4), "float32"), np.ones((4, 5), "float32"))
    ShapeDtypeStruct(shape=(3, 5), dtype=float32)
    """
    require_callable(fun, "eval_shape", "(f, x)")
    leaves, in_tree = tree.tree_flatten((args, kwargs))
    found, _ = tree.tree_flatten_with_path((args, kwargs))

    def name(leaf: int) -> str:
        kind, first, *rest = found[leaf][0]
        return (first.key if kind.idx else parameter_name(fun, first.idx)) + tree.keystr(tuple(rest))

    types = declared_types(leaves, name)

    def flat_call(*args: Any) -> Any:
        call_args, call_kwargs = tree.tree_unflatten(in_tree, args)
        return fun(*call_args, **call_kwargs)

    graph, out_tree = traced(fun, flat_call, types, transform="eval_shape", names=name, abstract=True)
    if sizing:
        let_out([t.shape for t in graph.out_types])
    return tree.tree_unflatten(out_tree, [ShapeDtypeStruct(t.shape, t.dtype) for t in graph.out_types])


def _graph_and_tree(
    transform: str, fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], abstract: bool
) -> tuple[Graph, Any]:
    leaves, in_tree = tree.tree_flatten(args)
    abstract = abstract or any(isinstance(x, ShapeDtypeStruct) for x in leaves)
    names = leaf_names(fun, in_tree)
    inputs = declared_types(leaves, names) if abstract else arrays_of(leaves, names)

    def call(*tracers: Any) -> Any:
        return fun(*tree.tree_unflatten(in_tree, tracers), **kwargs)

    how: dict[str, Any] = {"transform": transform, "names": names, "abstract": abstract}
    return without_drawing(fun, transform, lambda: traced(fun, call, inputs, **how))
