"""Functions that are no part of a Graph: Python, C, Fortran, what prints. One equation calls one of them with arrays.

On NumPy it is called where the equation stands, on XLA by a callback of jax's. It gets copies and what it returns is copied,
since a generated program writes over arrays that nothing reads any more. What it does with tracegrad itself is of no
trace around it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from tracegrad.core.context import capturing, context
from tracegrad.core.errors import DifferentiationError, DtypeError, ShapeError, at, user_source
from tracegrad.core.graph import Graph, graphs_in
from tracegrad.core.op import Held, Op, Params
from tracegrad.core.quiet import isolated, quietly
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType, is_inexact, type_of
from tracegrad.ops.families import all_batched

# (the size of the axis, which arrays have it, arrays) -> results, which of them have it.
RowsRule = Callable[[int, Sequence[bool], Sequence[Any]], tuple[Sequence[Any], Sequence[bool]]]

WAYS = ("sequential", "expand_dims", "broadcast_all")


class External:
    """What is to be known of such a function, told apart by identity: the param of one equation.

    call        plain arrays -> as many plain arrays as there are results
    types       types of arrays -> types of the results
    rows        what vmap does: call it for one row after the other ("sequential"), call it once with an axis in front, of size
                1 where there is one row for all ("expand_dims") or repeated ("broadcast_all"), or apply a rule; or it is None
                and vmap is refused
    pure        whether it does nothing but return results, which depend on its arguments alone
    ordered     whether it is called in the program's order on XLA too
    raises      whether its errors are for who calls the program, on XLA too, which waits for it then
    refusal     what is raised where a derivative is wanted; "" if there are no results that could have one
    """

    __slots__ = ("call", "name", "ordered", "pure", "raises", "refusal", "rows", "types")

    def __init__(
        self,
        name: str,
        call: Callable[..., Sequence[Any]],
        types: Callable[[Sequence[ArrayType]], Sequence[ArrayType]],
        rows: str | RowsRule | None,
        pure: bool = True,
        ordered: bool = False,
        refusal: str = "",
        raises: bool = False,
    ) -> None:
        self.name = name
        self.call = call
        self.types = types
        self.rows = rows
        self.pure = pure
        self.ordered = ordered
        self.refusal = refusal
        self.raises = raises

    def __repr__(self) -> str:
        return self.name


# What functions that may raise for who calls the program have raised on XLA, which goes on then.
RAISED: list[Exception] = []
# What any other function has raised on XLA last: it ends the program, with an error of jax's.
STOPPED: list[Exception] = []


def may_raise(graph: Graph) -> bool:
    """Whether the errors of a function that is called in a Graph are for who calls the program."""
    functions = [
        eqn.params.get("function") for g in (*graphs_in(graph), graph) for eqn in g.eqns if eqn.op is external_op
    ]
    return any([f.raises for f in functions if type(f) is External])


# Of each vmap around the call, the outermost first: its size and which arrays have the axis.
Axes = tuple[tuple[int, tuple[bool, ...]], ...]


def external_call(function: External, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The results of an external function of arrays, as one equation. Where there are none, there is one that says nothing."""
    found: tuple[Any, ...] = bind(external_op, tuple(arrays), {"function": function, "axes": ()})
    return found


def run(function: External, axes: Axes, arrays: Sequence[Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """Call the function itself with NumPy arrays."""
    types = result_types([type_of(x) for x in arrays], function, axes)
    if axes and function.rows == "sequential":
        (size, flags), *inner = axes
        rows = [
            run(function, tuple(inner), [x[i] if flag else x for x, flag in zip(arrays, flags, strict=True)])
            for i in range(size)
        ]
        return tuple([
            np.stack([row[k] for row in rows]) if rows else np.zeros(t.shape, t.dtype) for k, t in enumerate(types)
        ])  # fmt: skip
    results = apart(function.call, *[np.array(x)[()] for x in arrays])
    if not function.types([_without_axes(type_of(x), len(axes)) for x in arrays]):
        return (np.bool_(False),)  # type: ignore[return-value]
    if len(results) != len(types):
        raise ShapeError(
            f"the external function {function.name!r}{at(context.source or user_source())} returned {len(results)} arrays, "
            f"but is declared to return {len(types)}; let it return what out= says"
        )
    return tuple([_checked(x, t, function, k) for k, (x, t) in enumerate(zip(results, types, strict=True))])


def _checked(x: Any, wanted: ArrayType, function: External, number: int) -> Any:
    """A result as it is declared, in memory of its own."""
    where = f"the external function {function.name!r}{at(context.source or user_source())}"
    try:
        found = np.asarray(x)
    except ValueError as error:
        raise ShapeError(f"{where} returned no array for its result {number}: {error}") from None
    if found.dtype == object:
        raise DtypeError(
            f"{where} returned {_told(x)} for its result {number}, which is declared {wanted}; let it return numbers"
            f"{', or declare out=None for a function that returns nothing' if x is None else ''}"
        )
    if found.shape != wanted.shape:
        raise ShapeError(
            f"{where} returned shape {found.shape} for its result {number}, which is declared {wanted}; let it return that, or "
            "declare what it returns (out=)"
        )
    if not np.can_cast(found.dtype, wanted.dtype, "same_kind"):
        raise DtypeError(
            f"{where} returned {found.dtype} for its result {number}, which is declared {wanted}; let it return that, or declare "
            "what it returns (out=)"
        )
    # Without a warning of the cast, for which all would be run again.
    same = found.dtype == wanted.dtype
    copy = np.array(found) if same else quietly(("all",), np.array, found, wanted.dtype)
    return copy if copy.shape else copy[()]


def _told(x: Any) -> str:
    return "None" if x is None else f"{'an' if type(x).__name__[0] in 'aeiou' else 'a'} {type(x).__name__}"


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that knows nothing of what this thread is tracing."""
    thread = threading.get_ident()
    outer = {
        name: getattr(context, name) for name in ("cell", "bound", "batching", "start", "trace", "boxes", "chosen")
    }
    captor = capturing.get(thread)
    try:
        context.cell, context.bound, context.batching, context.start = None, (), None, 0
        context.trace, context.boxes, context.chosen = None, 0, ()
        capturing.pop(thread, None)
        return isolated(function, *args)
    finally:
        vars(context).update(outer)
        if captor is not None:
            capturing[thread] = captor


def result_types(types: Sequence[ArrayType], function: External, axes: Axes) -> tuple[ArrayType, ...]:
    """Those of an equation's outputs."""
    sizes = tuple([size for size, _ in axes])
    if function.rows == "sequential":
        for _, flags in axes:
            types = [_without_axes(t, 1) if flag else t for t, flag in zip(types, flags, strict=True)]
    else:
        types = [_without_axes(t, len(axes)) for t in types]
    found = function.types(types) or [ArrayType((), np.dtype(bool))]
    return tuple([ArrayType((*sizes, *t.shape), t.dtype) for t in found])


def _without_axes(t: ArrayType, count: int) -> ArrayType:
    return ArrayType(t.shape[count:], t.dtype) if count else t


def _batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    function: External = params["function"]
    rows = function.rows
    if rows is None:
        raise NotImplementedError(
            f"vmap of the external function {function.name!r}{at(context.source or user_source())} needs to be told how: give it "
            "vmap_method='sequential', which calls it for one row after the other, or 'expand_dims' or 'broadcast_all', "
            "where it takes arrays with an axis in front"
        )
    if callable(rows):
        found, flags = rows(size, tuple(batched), inputs)
        return tuple(all_batched(size, flags, found))
    if rows == "expand_dims":
        inputs = [x if b else np.expand_dims(x, 0) for x, b in zip(inputs, batched, strict=True)]
    elif rows == "broadcast_all":
        inputs = all_batched(size, batched, inputs)
    return bind(external_op, tuple(inputs), {"function": function, "axes": ((size, tuple(batched)), *params["axes"])})


def _refuse(function: External) -> NoReturn:
    raise DifferentiationError(function.refusal.replace("{at}", at(context.source or user_source())))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Sequence[Any], params: Params) -> Any:
    if any([is_inexact(type_of(o).dtype) for o in out]) and any([
        t is not None and is_inexact(type_of(x).dtype) for x, t in zip(primals, tangents, strict=True)
    ]):  # fmt: skip
        _refuse(params["function"])
    return [None] * len(out)


def _says_nothing(positions: Any, params: Params) -> bool:
    return not params["function"].refusal


external_op = Op(
    "external",
    evaluate=lambda *arrays, function, axes: run(function, axes, arrays),
    infer=lambda types, params: result_types(types, params["function"], params["axes"]),
    jvp=_jvp,
    batch=_batch,
    multiple_results=True,
    never_aliases=True,
    kinds="",
    held=Held(runs_user_code=True),
    effect=lambda params: not params["function"].pure,
    linear_if=_says_nothing,
)
