"""Looking at functions without changing them: their Graph, the types of their outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracegrad import tree
from tracegrad.graph import Graph, trace_graph
from tracegrad.trace import as_array, leaf_names
from tracegrad.types import ArrayType, ShapeDtypeStruct, type_of


def make_graph(fun: Callable[..., Any]) -> Callable[..., Graph]:
    """A function that returns the Graph of `fun` for given arguments.

    Called on arrays, values ride along: Python branches are taken as the values decide, and the Graph is that of the
    path taken. Called on `ShapeDtypeStruct`s, only types are known. Arguments may be pytrees; the Graph is flat, its
    inputs named by key path. Keyword arguments are handed to `fun` as they are.

    >>> import numpy as np, tracegrad as tg
    >>> graph = tg.make_graph(lambda x: np.sin(x) + 1.0)(np.ones(2))
    >>> [eqn.op.name for eqn in graph.eqns]
    ['sin', 'add']
    """

    def graph_maker(*args: Any, **kwargs: Any) -> Graph:
        return _graph_and_tree("make_graph", fun, args, kwargs)[0]

    return graph_maker


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
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
    leaves, in_tree = tree.tree_flatten((args, kwargs))
    types = [_type(x) for x in leaves]

    def call(*positional: Any) -> Any:
        call_args, call_kwargs = tree.tree_unflatten(in_tree, positional)
        return fun(*call_args, **call_kwargs)

    call.__name__ = getattr(fun, "__name__", "f")
    structs = [ShapeDtypeStruct(t.shape, t.dtype) for t in types]
    graph, out_tree = _graph_and_tree("eval_shape", fun, tuple(structs), {}, call)
    return tree.tree_unflatten(out_tree, [ShapeDtypeStruct(t.shape, t.dtype) for t in graph.out_types])


def _type(x: Any) -> ArrayType:
    return x.type if isinstance(x, ShapeDtypeStruct) else type_of(as_array(x))


def _graph_and_tree(
    transform: str, fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], call: Any = None
) -> tuple[Graph, Any]:
    leaves, in_tree = tree.tree_flatten(args)
    abstract = any(isinstance(x, ShapeDtypeStruct) for x in leaves)
    inputs = [_type(x) if abstract else as_array(x) for x in leaves]
    out_tree: Any = None

    def flat(*tracers: Any) -> list[Any]:
        nonlocal out_tree
        out = (call or fun)(*tree.tree_unflatten(in_tree, tracers), **kwargs)
        outputs, out_tree = tree.tree_flatten(out)
        return [as_array(o) for o in outputs]

    names = leaf_names(fun, in_tree)
    return trace_graph(flat, inputs, transform=transform, user_function=fun, names=names), out_tree
