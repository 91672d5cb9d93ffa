"""Values and derivatives at points of a function that have a name: `tg.debug.probe` and `tg.debug.probes`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.context import context
from tracegrad.core.errors import Source, at, clip, location_of, require_callable, user_source
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, is_inexact
from tracegrad.debug.replay import Call, Level, graph_of_call
from tracegrad.ops.probes import probe_op
from tracegrad.transforms.linearize import vjp
from tracegrad.typing import R


@accepting_jax
def probe(x: R, name: str) -> R:
    """The arrays as they are; at this point `tg.debug.probes` says what they and their derivatives are, by this name.

    Use what it returns in place of `x`: what nothing depends on has no derivative. Anywhere but in `probes` it costs one call.

    Args:
        x: an array or a pytree of them. Leaves of one that has several are named `name['key']`, by key path.
        name: any text. A point that is come to several times (a loop, a layer that is used again) is one, with an axis in front.

    Raises:
        TypeError: a name that is no text.

    >>> import numpy as np, tracegrad as tg
    >>> def loss(w):
    ...     h = tg.debug.probe(np.tanh(w), "hidden")
    ...     return np.sum(h**2)
    >>> found = tg.debug.probes(loss)(np.array([0.0, 1.0]))
    >>> found["hidden"].primal.round(3).tolist(), found["hidden"].cotangent.round(3).tolist()
    ([0.0, 0.762], [0.0, 1.523])
    """
    if not isinstance(name, str):
        raise TypeError(
            f"debug.probe{at(user_source())} takes a name, got {clip(repr(name))}; write tg.debug.probe(x, 'x')"
        )
    if not context.explains:
        return x
    leaves, structure = tree.tree_flatten_with_path(x)
    found = []
    for path, leaf in leaves:
        if type(leaf) is Tracer:
            leaf = bind(probe_op, (leaf,), {"name": name + tree.keystr(path), "what": "primal"})
            if context.probed is not None:
                context.probed.append(leaf)
        found.append(leaf)
    return tree.tree_unflatten(structure, found)


@dataclass(frozen=True)
class Probed:
    """What there was at a point.

    primal      the value: an array, with an axis in front for each `vmap` around the point, and one before these where it was come to
                several times
    cotangent   the derivative of the result with respect to it, of the same shape; None where there is none
    tangent     what a forward derivative pushes through it; None where there is none
    source      the line of the probe
    """

    primal: Any
    cotangent: Any
    tangent: Any
    source: Source | None


class Probes(Mapping[str, Probed]):
    """A `Probed` by name, in the order in which points are come to. str() of it is a table.

    >>> import numpy as np, tracegrad as tg
    >>> found = tg.debug.probes(lambda x: tg.debug.probe(2.0 * x, "twice") ** 2)(3.0)
    >>> type(found) is tg.debug.Probes, list(found), float(found["twice"].cotangent)
    (True, ['twice'], 12.0)
    """

    def __init__(self, found: Mapping[str, Probed]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> Probed:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __str__(self) -> str:
        rows = []
        for name, x in self._found.items():
            parts = [("value", x.primal), ("cotangent", x.cotangent), ("tangent", x.tangent)]
            told = [f"{what} {_told(array)}" for what, array in parts if array is not None]
            where = "" if x.source is None else f" at {x.source.short}"
            rows.append(f"{name} {ArrayType(np.shape(x.primal), x.primal.dtype)}{where}: {'; '.join(told)}")
        return "\n".join(rows) or "no probes"

    __repr__ = __str__


def _told(x: Any) -> str:
    x = np.asarray(x)
    if x.size == 1:
        return f"{x.item():.6g}"
    if not x.size or x.dtype.kind not in "biuf":
        return str(ArrayType(x.shape, x.dtype))
    text = f"mean {np.mean(x):.4g}, from {np.min(x):.4g} to {np.max(x):.4g}"
    bad = int(np.sum(~np.isfinite(x)))
    return f"{text}, {bad} not finite" if bad else text


def probes(fun: Callable[..., Any]) -> Callable[..., Probes]:
    """A function of the arguments of `fun` that returns what there is at its probes: their values, and their derivatives.

    `fun` is run once more on NumPy, op by op. It may be jitted for any backend, batched, a derivative, with loops and branches. Where
    it is a derivative, cotangents are those that it pulls back. Otherwise, if its result, or the first of its results, is a
    number, that is differentiated.

    Args:
        fun: a function in which `tg.debug.probe` is called.

    Returns:
        A function that returns `Probes`, a `Probed(primal, cotangent, tangent, source)` by name.

    >>> import numpy as np, tracegrad as tg
    >>> def step(c, a):
    ...     c = tg.debug.probe(c * a, "state")
    ...     return c, None
    >>> f = tg.jit(lambda x: tg.lax.scan(step, x, np.array([2.0, 3.0]))[0])
    >>> found = tg.debug.probes(f)(1.0)
    >>> found["state"].primal.tolist(), found["state"].cotangent.tolist()
    ([2.0, 6.0], [3.0, 1.0])
    """
    require_callable(fun, "debug.probes")

    def run(*args: Any, **kwargs: Any) -> Probes:
        call = graph_of_call("probes", _kept(fun), args, kwargs)
        found = _run(call)
        outputs = call.graph.outputs
        is_number = bool(outputs) and not outputs[0].type.shape and is_inexact(outputs[0].type.dtype)
        if is_number and not any([what != "primal" for _, what in found]):
            found = _run(graph_of_call("probes", _kept(_with_cotangents(fun)), args, kwargs))
        names = dict.fromkeys([name for name, _ in found])
        return Probes({name: _probed(name, found) for name in names})

    return run


def _kept(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function that returns besides what its probes see, so that this is kept although no result depends on it."""

    def kept(*args: Any, **kwargs: Any) -> Any:
        outer, found = context.probed, list[Any]()
        trace = next((x.origin for x in tree.tree_leaves((args, kwargs)) if type(x) is Tracer), None)
        try:
            context.probed = found
            out = fun(*args, **kwargs)
        finally:
            context.probed = outer
        seen = []
        for t in found:
            while type(t) is Tracer and type(t.value) is Tracer:  # as the trace around all knows it
                t = t.value
            if t.origin is trace:
                seen.append(t)
        # Of loops and branches all that they make, since probes may be inside.
        return out, seen, [] if trace is None else [eqn[4] for eqn in trace.eqns if eqn[0].held is not None]

    return kept


def _with_cotangents(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns the derivatives of a number that another one returns first."""

    def derived(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree.tree_flatten((args, kwargs))
        floats = [i for i, x in enumerate(leaves) if isinstance(x, Tracer) and is_inexact(x.dtype)]

        def first(*given: Any) -> Any:
            full = list(leaves)
            for i, x in zip(floats, given, strict=True):
                full[i] = x
            own_args, own_kwargs = tree.tree_unflatten(structure, full)
            return tree.tree_leaves(fun(*own_args, **own_kwargs))[0]

        value, pull = vjp(first, *[leaves[i] for i in floats])
        return value, pull(np.ones((), value.dtype))

    return derived


class _Met(NamedTuple):
    """A value at a probe: of which call of it, in which steps of which loops, and the line."""

    call: int
    steps: tuple[tuple[int, ...], ...]
    value: Any
    source: Source | None


# By name and what it is, by call and steps: what is computed again for a derivative is met again.
_Found = dict[tuple[str, str], dict[Any, _Met]]


def _run(call: Call) -> _Found:
    found: _Found = {}
    calls: dict[int, int] = {}  # the calls of `probe`, of each of which all equations have one object for its place

    def look(level: Level) -> bool:
        for eqn in level.graph.eqns:
            if eqn.op is probe_op:
                place = eqn.raw_source if eqn.raw_source is None else location_of(eqn.raw_source)
                number = calls.setdefault(id(place), len(calls))
                steps = tuple([tuple(map(int, re.findall(r"\d+", step))) for step in level.steps()])
                met = _Met(number, steps, np.asarray(level[eqn.outputs[0]])[()], eqn.source)
                found.setdefault((eqn.params["name"], eqn.params["what"]), {}).setdefault((number, steps), met)
            elif eqn.op.held is not None:
                level.runs(eqn, look)
        return False

    quietly(("all",), lambda: look(Level(call.graph, call.inputs)))
    return found


def _probed(name: str, found: _Found) -> Probed:
    # A derivative goes through the program backwards, and is not there where nothing comes back.
    values = found.get((name, "primal")) or next(met for (other, _), met in found.items() if other == name)
    parts: list[Any] = []
    for what in ("primal", "cotangent", "tangent"):
        met = found.get((name, what), {})
        where = values if met.keys() <= values.keys() else met
        order = sorted(where, key=lambda key: (key[1], key[0])) if met else []
        parts.append(_stacked([met[key].value if key in met else np.zeros_like(where[key].value) for key in order]))
    return Probed(parts[0], parts[1], parts[2], next(iter(values.values())).source)


def _stacked(arrays: Sequence[Any]) -> Any:
    """One array, with an axis in front if there are several of a shape; a tuple of those that differ."""
    if len(arrays) < 2:
        return arrays[0] if arrays else None
    return np.stack(arrays) if len({np.shape(x) for x in arrays}) == 1 else tuple(arrays)
