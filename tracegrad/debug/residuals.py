"""What the backward pass of a function keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import Source, require_callable
from tracegrad.core.graph import Eqn, Graph, Literal, Var, closed
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.transforms.control.held import reverse
from tracegrad.transforms.inspect import make_graph


class Residual(NamedTuple):
    """An array that is kept from the forward pass for the backward pass.

    made_by     the op, or for an argument its key path
    source      the user's line that made it, None for an argument
    scope       the names of the scopes that this is in (`tg.named_scope`, layers)
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int
    made_by: str
    source: Source | None
    scope: tuple[str, ...] = ()


class Residuals(tuple[Residual, ...]):
    """All of them, the arguments first, the others in the order in which they are made. str() of it is a table."""

    __slots__ = ()

    @property
    def total(self) -> int:
        """Their bytes together."""
        return sum([r.bytes for r in self])

    def __str__(self) -> str:
        rows = [
            (f"{r.bytes:,}", str(ArrayType(r.shape, r.dtype)), r.made_by, r.source.short if r.source else "")
            for r in self
        ]
        rows = [("bytes", "type", "made by", "line"), *rows, (f"{self.total:,}", "in all", "", "")]
        widths = [max([len(row[i]) for row in rows]) for i in range(4)]
        return "\n".join(
            [
                f"{size:>{widths[0]}}  {kind:<{widths[1]}}  {maker:<{widths[2]}}  {line}".rstrip()
                for size, kind, maker, line in rows
            ]
        )

    __repr__ = __str__


def residuals(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Residuals:
    """What the backward pass of `fun` keeps, when all floating arguments and all results are differentiated.

    It is what a compiled derivative keeps, `tg.jit(tg.grad(fun))`, and what `tg.checkpoint` does to that: the arrays that
    the equations of the backward part read. (Outside `jit`, `tg.grad` holds on to all that `fun` computed until it
    is done, but for what is computed inside `jit` and `checkpoint`.)

    Args:
        fun: a function of arrays and pytrees of them.
        *args: its arguments, arrays or `ShapeDtypeStruct`s. Keyword arguments are handed to it as they are.

    Returns:
        A tuple of `Residual(shape, dtype, bytes, made_by, source)` with the property `total`, in bytes.

    >>> import numpy as np, tracegrad as tg
    >>> found = tg.debug.residuals(lambda x: np.sin(np.exp(x)), tg.ShapeDtypeStruct((1000,), "float64"))
    >>> [(r.made_by, r.bytes) for r in found], found.total
    ([('exp', 8000)], 8000)
    """
    require_callable(fun, "debug.residuals", "(f, x)")
    return residuals_of(make_graph(fun)(*args, **kwargs))


def residuals_of(graph: Graph) -> Residuals:
    """The same of a Graph."""
    whole, _ = closed(graph)
    wanted = tuple([i for i, t in enumerate(graph.in_types) if is_inexact(t.dtype)])
    parts = reverse(whole, wanted)
    makers = {v: eqn for eqn in parts.forward.eqns for v in eqn.outputs}
    order = {v: i for i, v in enumerate(makers)}
    kept = {parts.forward.outputs[i] for which, i in parts.needs if which == 1}
    found = [
        _residual(whole.inputs[i].type, _named(whole, i), None) for i in sorted({i for w, i in parts.needs if w == 0})
    ]
    for v in sorted([v for v in kept if type(v) is Var], key=order.__getitem__):
        maker = _innermost(makers[v], makers[v].outputs.index(v))
        found.append(_residual(v.type, maker.op.name, maker.source, maker.scope))
    return Residuals(found)


def _residual(type: ArrayType, made_by: str, source: Source | None, scope: tuple[str, ...] = ()) -> Residual:
    return Residual(type.shape, type.dtype, type.size * type.dtype.itemsize, made_by, source, scope)


def _named(graph: Graph, i: int) -> str:
    return graph.inputs[i].name or "an array from outside"


def _innermost(eqn: Eqn, output: int) -> Eqn:
    """The equation that makes an output of an equation, inside the Graph that this one holds, if it holds one."""
    while type(inner := eqn.params.get("graph")) is Graph:
        atom = inner.outputs[output]
        found = [e for e in inner.eqns if atom in e.outputs]
        if type(atom) is Literal or not found:
            break
        eqn, output = found[0], found[0].outputs.index(atom)
    return eqn
