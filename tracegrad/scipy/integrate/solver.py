"""A routine of SciPy's that calls a function of the user's, as one equation.

The user's function is traced by types, once for each call of the routine, and what it closes over of enclosing traces comes to be
further inputs, so that nothing that it reads can lose its derivative. SciPy runs the traced function compiled. The derivatives of
such a `Solver` are the same routine of another function again, made of its Graph: hence every order of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import is_boxed
from tracegrad.core.context import open_traces
from tracegrad.core.errors import at, name_of, user_source
from tracegrad.core.graph import Graph, replace
from tracegrad.core.late import imported
from tracegrad.core.names import wraps
from tracegrad.core.op import Op, Params, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of, trace_graph
from tracegrad.core.types import ArrayType, is_inexact, type_of
from tracegrad.lower.passes import simplify
from tracegrad.transforms.batch import rows_or_shared
from tracegrad.transforms.control.bodies import Body, traced_body
from tracegrad.transforms.control.scan import scan
from tracegrad.transforms.linear import strong


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Solver:
    """A routine and the Graph of the function that it calls, which has no constants: the params of one equation, in which the Graph
    stands by itself too, to be listed.

    options those of SciPy's routine
    run     plain arrays -> plain arrays, by SciPy
    types   the types of these
    jvp     as a rule of an op
    vjp     as a rule of an op
    """

    routine: ClassVar[str]
    graph: Graph
    options: Mapping[str, Any]

    def run(self, *arrays: Any) -> Sequence[Any]:
        raise NotImplementedError

    def types(self, types: Sequence[ArrayType]) -> tuple[ArrayType, ...]:
        raise NotImplementedError

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Sequence[Any]:
        raise NotImplementedError

    def vjp(self, wanted: Wanted, cts: Sequence[Any], out: Any, primals: Sequence[Any]) -> Sequence[Any]:
        raise NotImplementedError

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = bind(solver_op, inputs, {"graph": self.graph, "solver": self})
        return found

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self.options.items() if value is not None]
        return f"{self.routine}({', '.join(given)})"


def _run(*arrays: Any, graph: Graph, solver: Solver) -> tuple[Any, ...]:
    given = [np.asarray(x) for x in arrays]
    types = solver.types([type_of(x) for x in given])
    return tuple([np.asarray(x, t.dtype) for x, t in zip(solver.run(*given), types, strict=True)])


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    """Row after row: SciPy's routines take steps, or halve intervals, by what one function needs."""
    rows = [x for x, b in zip(inputs, batched, strict=True) if b]

    def row(_: None, elements: Sequence[Any]) -> tuple[None, tuple[Any, ...]]:
        rest = iter(elements)
        return None, params["solver"](*[next(rest) if b else x for x, b in zip(inputs, batched, strict=True)])

    found = scan(row, None, rows, length=size)[1]
    return rows_or_shared(found, [True] * len(found))


solver_op = Op(
    "solver",
    evaluate=_run,
    infer=lambda types, params: params["solver"].types(types),
    jvp=lambda primals, tangents, out, params: params["solver"].jvp(primals, tangents, out),
    vjp=lambda wanted, cts, out, primals, params: params["solver"].vjp(wanted, cts, out, primals),
    batch=_batch,
    multiple_results=True,
    never_aliases=True,
    kinds="",
)


# ---------------------------------------------------------------------------------------------------------------------
# The user's functions.


def scipy_integrate() -> Any:
    try:
        return imported("scipy.integrate")
    except ImportError as error:
        raise ImportError(
            f"tg.scipy.integrate{at(user_source())} runs SciPy's solvers; install it: pip install 'tracegrad[scipy]'"
        ) from error


def is_traced(x: Any) -> bool:
    """Whether there is a tracer among the leaves of a tree."""
    return any([isinstance(leaf, Tracer) for leaf in tree.tree_leaves(x)])


def closes_over_tracers(function: Callable[[], Any]) -> bool:
    """Whether what a function makes of plain numbers is traced all the same. It is called where something is being traced only."""
    if not open_traces:
        return False
    return any([type(x) is Tracer and not is_boxed(x) for x in tree.tree_leaves(function())])


def traced_function(
    function: Callable[..., Any],
    called: Callable[..., Any],
    types: Sequence[ArrayType],
    names: Sequence[str],
    args: tuple[Any, ...],
    routine: str,
) -> tuple[Graph, list[Any]]:
    """The Graph of `called(*heads, *args)`, in which the user's function is called, for heads of these types, and its inputs after
    these: the leaves of `args` and what the function closes over."""
    found = tree.tree_leaves_with_path(args)
    leaves = arrays_of([x for _, x in found], lambda i: f"args{tree.keystr(found[i][0])}")
    arguments = tree.tree_structure(((0,) * len(types), args))

    @wraps(function)
    def apart(heads: Sequence[Any], rest: Sequence[Any]) -> Any:
        return called(*heads, *rest)

    body: Body = traced_body(
        apart,
        arguments,
        [*types, *map(type_of, leaves)],
        routine,
        [*names, *[f"args{tree.keystr(path)}" for path, _ in found]],
    )
    return replace(body.graph, name=name_of(function)), [*leaves, *body.consts]


def derived(graph: Graph, function: Callable[..., Sequence[Any]], types: Sequence[ArrayType], name: str) -> Graph:
    """The Graph of a function that evaluates this one, or its derivatives, and is another's integrand or right-hand side."""
    traced = trace_graph(function, types, transform=name, user_function=graph, abstract=True)
    return simplify(replace(traced, name=f"{graph.name}_{name}"))


# ---------------------------------------------------------------------------------------------------------------------
# Several arrays as one vector, which is what SciPy integrates.


def packed_dtype(types: Sequence[ArrayType]) -> np.dtype[Any]:
    """In which all of them fit, and SciPy integrates: float64 or complex128."""
    return np.result_type(np.float64, *[t.dtype for t in types])


def packed(arrays: Sequence[Any], types: Sequence[ArrayType]) -> Any:
    """One vector of arrays of these types (None: zeros)."""
    dtype = packed_dtype(types)
    parts = [
        np.zeros(t.size, dtype) if x is None else np.astype(np.reshape(x, (t.size,)), dtype)
        for x, t in zip(arrays, types, strict=True)
    ]
    return np.concatenate(parts)


def unpacked(vector: Any, types: Sequence[ArrayType]) -> list[Any]:
    """The arrays of these types in a vector, or in each row of a matrix."""
    found, start = [], 0
    for t in types:
        part = np.reshape(vector[..., start : start + t.size], (*np.shape(vector)[:-1], *t.shape))
        start += t.size
        if t.dtype.kind != "c" and type_of(part).dtype.kind == "c":
            part = np.real(part)
        found.append(np.astype(part, t.dtype))
    return found


def differentiable(tangents: Sequence[Any]) -> tuple[int, ...]:
    """The positions of those that are not zero."""
    return tuple([i for i, t in enumerate(tangents) if t is not None])


def inexact_of(wanted: Wanted, primals: Sequence[Any], first: int) -> tuple[int, ...]:
    """Which of the inputs from `first` on have a cotangent that is wanted, counted from there."""
    return tuple([i - first for i in wanted if i >= first and is_inexact(type_of(primals[i]).dtype)])


def strong_types(xs: Sequence[Any]) -> list[ArrayType]:
    return [strong(type_of(x)) for x in xs]


def pairing(ct: Any, x: Any, of: Any) -> Any:
    """The sum of products, for the cotangent of a number of the dtype of `of`."""
    total = np.sum(ct * x)
    return total if type_of(of).dtype.kind == "c" or type_of(total).dtype.kind != "c" else np.real(total)
