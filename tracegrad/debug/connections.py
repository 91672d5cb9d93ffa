"""Why a parameter gets no gradient: `tg.debug.why_zero`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import Source, require_callable
from tracegrad.core.graph import Atom, Eqn, Graph, Var
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import bind
from tracegrad.core.types import is_inexact
from tracegrad.debug.replay import Level, graph_of_call
from tracegrad.transforms.control.held import reverse
from tracegrad.transforms.grad import vjp


@dataclass(frozen=True)
class Connection:
    """What becomes of the gradient of one parameter.

    path        its key path
    status      "connected"; "cut", where an operation without a derivative is between it and the loss; "zero", where there is
                none, but all of the gradient is zero; "unused", where the loss does not depend on it
    op, source  what cuts it off, or makes it zero, and the user's line
    """

    path: str
    status: str
    op: str
    source: Source | None
    why: str

    def __str__(self) -> str:
        what = {"connected": "gets a gradient", "zero": "gets a gradient of zeros"}.get(self.status, "gets no gradient")
        return f"{self.path} {what}{f': {self.why}' if self.why else ''}"


class Connections(Mapping[str, Connection]):
    """A `Connection` for each parameter, by key path. str() of it has a line for each that gets no gradient."""

    def __init__(self, found: Sequence[Connection]) -> None:
        self._found = {c.path: c for c in found}

    def __getitem__(self, path: str) -> Connection:
        return self._found[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def zero(self) -> tuple[Connection, ...]:
        """Those that get none, or one of zeros."""
        return tuple([c for c in self._found.values() if c.status != "connected"])

    def __str__(self) -> str:
        return "\n".join(map(str, self.zero)) or f"all {len(self)} parameters get a gradient"

    __repr__ = __str__


def why_zero(loss: Callable[..., Any], params: Any, *args: Any, **kwargs: Any) -> Connections:
    """For each parameter, whether it gets a gradient, and if not, why: it is cut off by an operation that has no derivative
    (argmax, round, stop_gradient, a comparison, an integer), its gradient is zero at these values, or it is not used.

    The loss is run once more on NumPy, op by op, and so is its derivative.

    Args:
        loss: a function whose result, or the first of whose results, is a number.
        params: a pytree of arrays, the first argument.
        *args: the other ones. Keyword arguments may be arrays or anything else.

    Raises:
        ValueError: if the loss returns no number.

    >>> import numpy as np, tracegrad as tg
    >>> def loss(params, x):
    ...     return np.sum(params["w"] * np.round(params["b"] * x))
    >>> tg.debug.why_zero(loss, {"w": np.ones(2), "b": np.ones(2)}, 3.0)["params['b']"].op
    'round'
    """
    require_callable(loss, "debug.why_zero", "(loss, params)")
    call = graph_of_call("why_zero", loss, (params, *args), kwargs)
    graph, count = call.graph, len(tree.tree_leaves(params))
    if not graph.outputs or graph.outputs[0].type.shape or not is_inexact(graph.outputs[0].type.dtype):
        got = str(graph.outputs[0].type) if graph.outputs else "nothing"
        raise ValueError(
            f"debug.why_zero needs a loss that returns a number, or a tuple that begins with one, got {got}"
        )
    return quietly(("all",), lambda: Connections(_connections(Level(graph, call.inputs), count)))


def _connections(level: Level, count: int) -> list[Connection]:
    graph = level.graph
    loss = graph.outputs[0]
    whole = Graph(graph.inputs, graph.eqns, (loss,), graph.consts, graph.name)
    floats = [i for i in range(count) if is_inexact(graph.inputs[i].type.dtype)]
    connected = set(reverse(whole, tuple(floats)).found) if floats and type(loss) is Var else set()
    needed = _ancestors(graph, loss)
    cotangents = _cotangents(level, loss, needed) if connected else {}
    found = []
    for i in range(count):
        v = graph.inputs[i]
        path = v.name or f"params[{i}]"
        if i not in floats:
            found.append(Connection(path, "cut", "", None, f"it is {v.type}, and only floats have derivatives"))
        elif i in connected:
            ct = cotangents.get(v)
            if v.type.size and (ct is None or not np.any(ct)):
                found.append(Connection(path, "zero", *_killer(level, v, cotangents, needed)))
            else:
                found.append(Connection(path, "connected", "", None, ""))
        elif v not in needed:
            read = any([v in eqn.inputs for eqn in graph.eqns]) or v in graph.outputs
            found.append(
                Connection(path, "unused", "", None, f"it is {'used, but not for the loss' if read else 'not used'}")
            )
        else:
            cuts = _cuts(level, {v}, needed)
            lines = dict.fromkeys([f"{_called(eqn)}{_at(eqn)}" for eqn in cuts])
            op, source = (_called(cuts[0]), cuts[0].source) if cuts else ("", None)
            found.append(
                Connection(path, "cut", op, source, f"cut by {', '.join(lines)}" if lines else "it is cut off")
            )
    return found


def _called(eqn: Eqn) -> str:
    if eqn.op.name == "astype":
        return f"a cast to {np.dtype(eqn.params['dtype']).name}"
    return eqn.op.name


def _at(eqn: Eqn) -> str:
    return f" at {eqn.source.short}" if eqn.source is not None else ""


def _ancestors(graph: Graph, target: Atom) -> set[Any]:
    """The variables on which one depends, and itself."""
    live: set[Any] = {target}
    for eqn in reversed(graph.eqns):
        if not live.isdisjoint(eqn.outputs):
            live.update([a for a in eqn.inputs if type(a) is Var])
    return live


def _passes(eqn: Eqn, i: int) -> bool:
    """Whether an equation hands a cotangent on to one of its inputs."""
    if not is_inexact(eqn.inputs[i].type.dtype) or not any([is_inexact(v.type.dtype) for v in eqn.outputs]):
        return False
    inputs = tuple([Var(a.type) for a in eqn.inputs])
    outputs = tuple([Var(v.type) for v in eqn.outputs])
    one = Graph(inputs, (Eqn(eqn.op, inputs, eqn.params, outputs, eqn.raw_source),), outputs, {})
    return i in reverse(one, (i,)).found


def _cuts(level: Level, begin: set[Any], needed: set[Any]) -> list[Eqn]:
    """The equations that have a variable, or what depends on it with a derivative, for an input, and hand on none."""
    reached, cuts = set(begin), list[Eqn]()
    for eqn in level.graph.eqns:
        mine = [i for i, a in enumerate(eqn.inputs) if a in reached]
        if not mine or needed.isdisjoint(eqn.outputs):
            continue
        if any([_passes(eqn, i) for i in mine]):
            reached.update(eqn.outputs)
        else:
            cuts += _cuts_inside(level, eqn, mine) or [eqn]
    return cuts


def _cuts_inside(level: Level, eqn: Eqn, mine: Sequence[int]) -> list[Eqn]:
    """The same in a Graph that the equation holds, as it is run first."""
    given = [id(level[eqn.inputs[i]]) for i in mine]
    found: list[Eqn] = []

    def look(run: Level) -> bool:
        begin = {v for v in run.graph.inputs if id(run[v]) in given} or set(run.graph.inputs)
        needed = set().union(*[_ancestors(run.graph, a) for a in run.graph.outputs])
        found.extend(_cuts(run, begin, needed))
        return bool(found)

    level.runs(eqn, look)
    return found


def _cotangents(level: Level, loss: Any, needed: set[Any]) -> dict[Any, Any]:
    """The cotangents of all variables, equation by equation."""
    found: dict[Any, Any] = {loss: np.ones((), loss.type.dtype)}
    for eqn in reversed(level.graph.eqns):
        if not any([v in found for v in eqn.outputs]):
            continue
        values = [level[a] for a in eqn.inputs]
        floats = [i for i, a in enumerate(eqn.inputs) if type(a) is Var and a in needed and is_inexact(a.type.dtype)]
        outs = [j for j, v in enumerate(eqn.outputs) if is_inexact(v.type.dtype)]
        if not floats or not outs:
            continue
        for i, ct in zip(floats, _pulled(eqn, values, floats, outs, found), strict=True):
            a = eqn.inputs[i]
            found[a] = found[a] + ct if a in found else ct
    return found


def _pulled(
    eqn: Eqn, values: Sequence[Any], floats: Sequence[int], outs: Sequence[int], cotangents: Mapping[Any, Any]
) -> Sequence[Any]:
    def apply(*arrays: Any) -> list[Any]:
        full = list(values)
        for i, x in zip(floats, arrays, strict=True):
            full[i] = x
        out = bind(eqn.op, tuple(full), eqn.params)
        return [(out if eqn.op.multiple_results else (out,))[j] for j in outs]

    given = [np.asarray(values[i], eqn.inputs[i].type.dtype) for i in floats]
    results, pull = vjp(apply, *given)
    cts = [
        np.asarray(cotangents[eqn.outputs[j]] if eqn.outputs[j] in cotangents else np.zeros(np.shape(r)), r.dtype)
        for j, r in zip(outs, results, strict=True)
    ]
    found: Sequence[Any] = pull([np.broadcast_to(ct, np.shape(r)) for ct, r in zip(cts, results, strict=True)])
    return found


def _killer(level: Level, v: Any, cotangents: Mapping[Any, Any], needed: set[Any]) -> tuple[str, Source | None, str]:
    """The op, its line and what it does, that makes zeros of a cotangent that is not zero on its way to a variable."""
    reached, zeros = {v}, []
    for eqn in level.graph.eqns:
        mine = [i for i, a in enumerate(eqn.inputs) if a in reached]
        if not mine or needed.isdisjoint(eqn.outputs):
            continue
        if any([o in cotangents and np.any(cotangents[o]) for o in eqn.outputs]):
            zeros.append((eqn, mine[0]))
        else:
            reached.update(eqn.outputs)
    if not zeros:
        return "", None, ""
    eqn, i = zeros[0]
    return _called(eqn), eqn.source, f"{_deed(level, eqn, i)}{_at(eqn)}"


_PRODUCTS = {"multiply", "matmul", "einsum", "outer", "divide", "convolve", "conv_general_dilated"}
_SATURATING = {"tanh", "logistic", "softmax", "log_softmax", "erf", "arctan"}


def _deed(level: Level, eqn: Eqn, i: int) -> str:
    name = eqn.op.name
    size = eqn.outputs[0].type.size
    every = f"all {size} elements" if size > 1 else "its value"
    others = [a for k, a in enumerate(eqn.inputs) if k != i]
    if name in _PRODUCTS and others and not any([np.any(level[a]) for a in others]):
        return f"multiplied by zeros in {name}" if size > 1 else f"multiplied by 0 in {name}"
    if name in ("relu", "relu6"):
        return f"{name} is flat for {every}"
    if name == "where":
        return f"where does not take it for {'any element' if size > 1 else 'these values'}"
    if name in ("maximum", "minimum", "fmax", "fmin", "clamp"):
        return f"{name} takes the other one for {every}"
    if name in _SATURATING:
        return f"{name} is saturated for {every}"
    if name in ("slice", "gather", "take", "dynamic_slice", "max", "min"):
        return f"{name} takes other elements"
    return f"the derivative of {name} is 0 there"
