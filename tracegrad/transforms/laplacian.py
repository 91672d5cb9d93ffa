"""Second derivatives that take no Hessian: its trace, and its diagonal.

The Laplacian goes through a function's Graph once, forward: each variable has with it its derivatives along all directions, as a
batch, and the sum of its second derivatives along these, which is one array: of y = g(u), the sum over directions i of

    y_ii  =  g'(u) u_ii + g''(u)[u_i, u_i]

so that what is summed goes on as a sum, where second derivatives along each direction by itself would be as many arrays.

Sources: Li et al., "A computational framework for neural network-based variational Monte Carlo with Forward Laplacian", Nature
Machine Intelligence 6 (2024); Dangel et al., "Collapsing Taylor Mode Automatic Differentiation" (2025).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.axes import within
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.context import context
from tracegrad.core.errors import DifferentiationError, at, described, require_callable, user_source
from tracegrad.core.graph import Eqn, Graph, evaluate, exact_params, interpret
from tracegrad.core.names import named_after
from tracegrad.core.op import Op, Params, Wanted
from tracegrad.core.programs import lifted
from tracegrad.core.trace import bind
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracer import Tracer, settled_tree
from tracegrad.core.tracing import arrays_of, trace_graph
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.transforms.arguments import Argnums, check_inputs, split_aux, split_leaves
from tracegrad.transforms.batch import batch_graph, own_arrays, with_batch
from tracegrad.transforms.compressed import Point, diagonal
from tracegrad.transforms.linear import strong
from tracegrad.transforms.linearize import jvp_as, vjp_as

# ---------------------------------------------------------------------------------------------------------------------
# The diagonal.


@trimming
def hessian_diag(fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The diagonal of the Hessian of a scalar function, without the Hessian.

    It takes a product with the Hessian for each colour of a colouring of its pattern, which is read off the Graph: one where
    no variables meet, two for a chain of neighbours, as many as there are variables where each meets each.

    Args:
        fun: a function of arrays and pytrees that returns a real scalar, or with `has_aux` a pair of it and other data.
        argnums: which positional arguments; an int, or a tuple of them.

    Returns:
        A function of the arguments of `fun` that returns the second derivative by each element, in the structure, shapes and
        dtypes of the argument (with a tuple of argnums: a tuple of them), or with `has_aux` a pair of it and the other data.

    Raises:
        DtypeError: for arguments that are not real floating arrays.
        DifferentiationError: for a function that does not return one real number.

    >>> import numpy as np, tracegrad as tg
    >>> tg.hessian_diag(lambda x: np.sum(x**3) + x[0] * x[1])(np.array([1.0, 2.0])).tolist()
    [6.0, 12.0]
    """
    require_callable(fun, "hessian_diag")

    def diagonal_of(*args: Any, **kwargs: Any) -> Any:
        split = split_leaves(fun, argnums, args, kwargs, "hessian_diag", fun)
        partial, _, positions, leaves, in_tree, names = split
        check_inputs(leaves, names, "hessian_diag", False)

        def gradient(*chosen: Any) -> Any:
            out, pull, *aux = vjp_as("hessian_diag", partial, chosen, has_aux, fun, positions)
            one = _one_like(out, fun)
            return (pull(one), *aux) if has_aux else pull(one)

        point = Point("hessian_diag", fun, positions, leaves, in_tree, names, has_aux)
        found, aux = diagonal(gradient, point)
        result = tree.tree_unflatten(in_tree, own_arrays(found, leaves))
        result = result[0] if isinstance(argnums, int) else result
        return (result, aux) if has_aux else result

    return named_after(accepting_jax(diagonal_of), fun, "hessian_diag", hessian_diag, argnums, has_aux)


def _one_like(out: Any, fun: Any) -> Any:
    found = [type_of(x) for x in tree.tree_leaves(out)]
    if len(found) != 1 or found[0].size != 1 or number_kind(found[0].dtype) != "f":
        raise DifferentiationError(
            f"hessian_diag{at(user_source())} needs a function that returns a real scalar, but {described(fun)} returned "
            f"{', '.join(map(str, found)) or 'nothing'}; return np.sum(...) of it"
        )
    return tree.tree_map(lambda x: np.ones(found[0].shape, found[0].dtype), out)


# ---------------------------------------------------------------------------------------------------------------------
# The Laplacian.


class Jet:
    """A value, its derivatives along each direction, a batch, and the sum of its second derivatives, None for zero."""

    __slots__ = ("along", "second", "value")

    def __init__(self, value: Any, along: Any, second: Any) -> None:
        self.value = value
        self.along = along
        self.second = second


@trimming
def laplacian(fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The Laplacian of a function, the sum of its second derivatives by each element of the arguments, in one pass forward.

    Args:
        fun: a function of arrays and pytrees that returns arrays, or with `has_aux` a pair of them and other data.
        argnums: by the elements of which positional arguments; an int, or a tuple of them.

    Returns:
        A function of the arguments of `fun` that returns the Laplacian of each element of its output, in that structure and those
        shapes and dtypes, or with `has_aux` a pair of it and the other data.

    Raises:
        DtypeError: for arguments that are not real floating arrays.

    >>> import numpy as np, tracegrad as tg
    >>> x = np.array([1.0, 2.0, 2.0])
    >>> float(tg.laplacian(lambda x: np.sum(x**3))(x))
    30.0
    >>> float(tg.laplacian(lambda x: 1 / np.linalg.norm(x))(x).round(12)) + 0.0
    0.0

    Source: Li et al., "A computational framework for neural network-based variational Monte Carlo with Forward Laplacian",
    Nature Machine Intelligence 6 (2024).
    """
    require_callable(fun, "laplacian")

    def laplacian_of(*args: Any, **kwargs: Any) -> Any:
        partial, _, _, leaves, in_tree, names = split_leaves(fun, argnums, args, kwargs, "laplacian", fun)
        check_inputs(leaves, names, "laplacian", False)
        out_tree: Any = None
        aux_tree: Any = None
        aux: list[Any] = []
        places: list[int] = []

        def flat(*tracers: Any) -> list[Any]:
            nonlocal out_tree, aux_tree, aux, places
            out = settled_tree(partial(*tree.tree_unflatten(in_tree, tracers)))
            if has_aux:
                out, others = split_aux(out, fun, "laplacian")
                aux, aux_tree = tree.tree_flatten(others)
            outputs, out_tree = tree.tree_flatten(out)
            places = [i for i, x in enumerate(aux) if isinstance(x, Tracer)]
            arrays = arrays_of(outputs, lambda i: f"output {i}")
            return [*arrays, *[aux[i] for i in places]]

        graph = trace_graph(flat, leaves, transform="laplacian", user_function=fun, names=names)
        count = len(graph.outputs) - len(places)
        results = _second_sums(graph, leaves)
        found = own_arrays(
            [None if type(r) is not Jet else r.second for r in results[:count]],
            [r.value if type(r) is Jet else r for r in results[:count]],
        )
        result = tree.tree_unflatten(out_tree, found)
        if not has_aux:
            return result
        for i, r in zip(places, results[count:], strict=True):
            aux[i] = r.value if type(r) is Jet else r
        return result, tree.tree_unflatten(aux_tree, aux)

    return named_after(accepting_jax(laplacian_of), fun, "laplacian", laplacian, argnums, has_aux)


def _second_sums(graph: Graph, leaves: Sequence[Any]) -> list[Any]:
    """What flows out of the Graph for each output, a `Jet` where it depends on the leaves."""
    size, start, jets = sum([type_of(x).size for x in leaves]), 0, []
    for x in leaves:
        t = strong(type_of(x))
        unit = np.zeros((size, t.size), t.dtype)
        unit[start + np.arange(t.size), np.arange(t.size)] = 1
        jets.append(Jet(x, lifted(unit.reshape(size, *t.shape), leaves), None))
        start += t.size
    rules: dict[Any, Graph] = {}

    def apply(eqn: Eqn, values: tuple[Any, ...]) -> Any:
        op, params = eqn.op, eqn.params
        if op.held is not None and op.held.inline is not None and (found := op.held.inline(values, params)):
            results = interpret(found[0], found[1], apply)
            return results if op.multiple_results else results[0]
        plain = tuple([x.value if type(x) is Jet else x for x in values])
        out = bind(op, plain, params)
        active = tuple([i for i, x in enumerate(values) if type(x) is Jet and is_inexact(type_of(x.value).dtype)])
        if not active:
            return out
        outs = list(out) if op.multiple_results else [out]
        linear = op.is_linear_in(active, params)
        rule = _rule(rules, op, plain, active, params, second=not linear)
        flags = [False] * len(plain) + [True] * len(active)
        batched = within(
            context.bound, None, 0, batch_graph, rule, size, [*plain, *[values[i].along for i in active]], flags
        )
        floating = [i for i, o in enumerate(outs) if is_inexact(type_of(o).dtype)]
        count = len(floating)
        along = [with_batch(r, size) for r in batched[:count]]
        seconds = [np.sum(with_batch(r, size), 0) for r in batched[count:]] or [None] * count
        bent = tuple([i for i in active if values[i].second is not None])
        if bent:
            rule = _rule(rules, op, plain, bent, params, second=False)
            pushed = evaluate(rule, [*plain, *[values[i].second for i in bent]])
            seconds = [p if s is None else s + p for s, p in zip(seconds, pushed, strict=True)]
        for i, a, s in zip(floating, along, seconds, strict=True):
            outs[i] = Jet(outs[i], a, s)
        return outs if op.multiple_results else outs[0]

    return interpret(graph, jets, apply)


def _rule(
    rules: dict[Any, Graph], op: Op, values: Sequence[Any], active: Wanted, params: Params, second: bool
) -> Graph:
    """Of the inputs of an op and a tangent for each active one, the floating outputs' derivatives along these, and with `second` their
    second derivatives."""
    types = [type_of(x) for x in values]
    key = op.name, exact_params(params), tuple(types), active, second
    found = rules.get(key)
    if found is not None:
        return found
    number = len(values)

    def derivatives(*arrays: Any) -> list[Any]:
        inputs, tangents = list(arrays[:number]), arrays[number:]

        def apply(*chosen: Any) -> Any:
            given = list(inputs)
            for i, x in zip(active, chosen, strict=True):
                given[i] = x
            out = bind(op, tuple(given), params)
            outs = out if op.multiple_results else (out,)
            return tuple([o for o in outs if is_inexact(type_of(o).dtype)])

        def first(*chosen: Any) -> Any:
            return jvp_as("laplacian", apply, chosen, tangents)[1]

        chosen = [inputs[i] for i in active]
        if not second:
            return list(first(*chosen))
        return [*(pair := jvp_as("laplacian", first, chosen, tangents))[0], *pair[1]]

    given = [*types, *[strong(types[i]) for i in active]]
    found = rules[key] = trace_graph(
        derivatives, given, transform="laplacian", user_function=op.evaluate, abstract=True
    )
    return found
