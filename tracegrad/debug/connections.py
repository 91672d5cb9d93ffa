"""Why a parameter gets no gradient: `tg.debug.why_zero`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import Source, require_callable
from tracegrad.core.graph import Eqn, Graph, Var
from tracegrad.core.quiet import quietly
from tracegrad.core.types import is_inexact
from tracegrad.debug.replay import Level, graph_of_call
from tracegrad.debug.vanishing import ancestors, at_line, called, pulled_through, where_lost
from tracegrad.transforms.control.held import reverse


@dataclass(frozen=True)
class Connection:
    """What becomes of the gradient of one parameter.

    path        its key path
    status      "connected"; "cut", where an operation without a derivative is between it and the loss; "zero", where there is
                none, but all of the gradient is zero; "disconnected", where the loss does not depend on it
    op, source  what cuts it off, or makes it zero, and the user's line
    share       of the elements of that operation, where it lets nothing through: 1.0 for a saturated activation; None where
                there is no telling
    """

    path: str
    status: str
    op: str
    source: Source | None
    why: str
    share: float | None = None

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


def why_zero(loss: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """For each parameter, whether it gets a gradient, and if not, why: it is cut off by an operation that has no derivative
    (argmax, round, stop_gradient, a comparison, an integer), its gradient is zero at these values (an activation is saturated,
    `where` takes the other side, two parts cancel), or the loss does not depend on it.

    The loss is run once more on NumPy, op by op, and so is its derivative. It may be jitted for any backend, with loops, branches
    and batches.

    Args:
        loss: a function whose result, or the first of whose results, is a number.
        *args: its arguments, of which the first is a pytree of parameters. Keyword arguments may be arrays or anything else. Without
            any, as in `why_zero(loss)(*args)`, there is a function of the arguments, which looks at all of them.

    Returns:
        `Connections`, a `Connection` by key path; str() of it has a line for each parameter that gets no gradient.

    Raises:
        ValueError: if the loss returns no number.

    >>> import numpy as np, tracegrad as tg
    >>> def loss(params, x):
    ...     return np.sum(params["w"] * np.round(params["b"] * x))
    >>> tg.debug.why_zero(loss, {"w": np.ones(2), "b": np.ones(2)}, 3.0)["params['b']"].op
    'round'
    >>> found = tg.debug.why_zero(loss)({"w": np.ones(2), "b": np.ones(2)}, 3.0)
    >>> {path: c.status for path, c in found.items()}
    {"params['b']": 'cut', "params['w']": 'connected', 'x': 'cut'}
    """
    require_callable(loss, "debug.why_zero", "(loss)(params)")
    if not args and not kwargs:
        return lambda *args, **kwargs: _explained(loss, args, kwargs, (args, kwargs))
    return _explained(loss, args, kwargs, args[:1])


def _explained(loss: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], looked_at: Any) -> Connections:
    call = graph_of_call("why_zero", loss, args, kwargs)
    graph = call.graph
    count = min(len(tree.tree_leaves(looked_at)), len(graph.inputs))
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
    needed = ancestors(graph, loss)
    cotangents = pulled_through(level, {loss: np.ones((), loss.type.dtype)}, needed) if connected else {}
    found = []
    for i in range(count):
        v = graph.inputs[i]
        path = v.name or f"params[{i}]"
        if i not in floats:
            found.append(Connection(path, "cut", "", None, f"it is {v.type}, and only floats have derivatives"))
        elif i in connected:
            ct = cotangents.get(v)
            if v.type.size and (ct is None or not np.any(ct)):
                found.append(Connection(path, "zero", *where_lost(level, v, cotangents, needed)))
            else:
                found.append(Connection(path, "connected", "", None, ""))
        elif v not in needed:
            read = any([v in eqn.inputs for eqn in graph.eqns]) or v in graph.outputs
            found.append(
                Connection(
                    path, "disconnected", "", None, f"it is {'used, but not for the loss' if read else 'not used'}"
                )
            )
        else:
            cuts = _cuts(level, {v}, needed)
            lines = dict.fromkeys([f"{called(eqn)}{at_line(eqn)}" for eqn in cuts])
            op, source = (called(cuts[0]), cuts[0].source) if cuts else ("", None)
            found.append(
                Connection(path, "cut", op, source, f"cut by {', '.join(lines)}" if lines else "it is cut off")
            )
    return found


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
        needed = set().union(*[ancestors(run.graph, a) for a in run.graph.outputs])
        found.extend(_cuts(run, begin, needed))
        return bool(found)

    level.runs(eqn, look)
    return found
