"""A function traced once, at sizes that know how they are made of those of named axes (`core/symbols.py`), and its Graph for others.

The Graph of such a trace has numbers for all sizes in its types and params, so that another size is put into it, and no function of the
user's is called again. `NotSymbolic` says that the trace does not hold for others: a size was made a plain number, or something holds
on to one of which it is not known what becomes of it.
"""

from __future__ import annotations

import functools
import gc
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tracegrad.core.check import check
from tracegrad.core.constants import Lasting
from tracegrad.core.graph import Eqn, Graph, Literal, Var
from tracegrad.core.op import Op
from tracegrad.core.symbols import Made, Symbol, SymbolNotes, has_symbol, text_at
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType, type_of
from tracegrad.transforms.custom.rules import Rules
from tracegrad.transforms.jit.alike import Differs, Sizes

# So many objects are looked through for a size that something holds.
_MOST = 4000
_ATOMS = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    type(Ellipsis),
    np.dtype,
    type,
    types.BuiltinFunctionType,
    np.ufunc,
    Op,
)


class NotSymbolic(Exception):
    """What was traced does not hold for other sizes."""


class MetByChance(NotSymbolic):
    """This library has decided something that it decides otherwise at sizes that are nothing particular."""


class SymbolicTemplate:
    """A function traced once, and what it is at other sizes."""

    def __init__(
        self, notes: SymbolNotes, graph: Graph, structure: Any, lasting: Lasting, samples: Sequence[Sizes]
    ) -> None:
        if notes.plain:
            raise NotSymbolic
        self._graph, self.structure = graph, structure
        self._looked_into = dict(lasting.looked_into)
        self._is_for_one_call = bool(lasting.written) or Tracer in map(type, graph.consts.values())
        self._notes = notes  # which keeps texts of sizes alive
        self._users, self._ours = notes.used, list(notes.ours.values())
        require_none(structure)
        for sizes in samples:
            if not all([_holds(c, sizes) for c in self._ours]):
                raise MetByChance
            self._compare(sizes)
            self._put_in(sizes)

    def for_one_call(self) -> bool:
        """Whether what was traced is for this call alone."""
        return self._is_for_one_call

    def stale(self) -> bool:
        """Whether an array that the function closes over has become another one than it was when it was looked into."""
        return any([x.tobytes() != content for x, content in self._looked_into.values()])

    def at(self, sizes: Sizes) -> tuple[Graph, Lasting]:
        """The Graph at these sizes, and what is known of arrays from outside. Differs where the user's code has decided otherwise,
        NotSymbolic where this library has."""
        self._compare(sizes)
        self._compare({n: 2 * size for n, size in sizes.items()})
        if not all([_holds(c, sizes) for c in self._ours]):
            raise NotSymbolic
        lasting = Lasting()
        lasting.looked_into.update(self._looked_into)
        return self._put_in(sizes), lasting

    def _compare(self, sizes: Sizes) -> None:
        for comparison in self._users:
            if not _holds(comparison, sizes):
                raise Differs("it is compared here, and the outcome differs", comparison.source)

    def _put_in(self, sizes: Sizes) -> Graph:
        found = graph_at(self._graph, sizes, self._notes.made)
        check(found)
        return found


def _holds(comparison: Any, sizes: Sizes) -> bool:
    """Whether a comparison comes out as it did."""
    left, right = comparison.left.at(sizes), comparison.right.at(sizes)
    return bool(comparison.compare(left, right)) == comparison.holds


# ---------------------------------------------------------------------------------------------------------------------
# Sizes put into a Graph.


def graph_at(graph: Graph, sizes: Sizes, made: Mapping[int, Made]) -> Graph:
    """The Graph with numbers in place of sizes."""
    variables: dict[Var, Var] = {}

    def define(v: Var) -> Var:
        found = variables[v] = Var(value_at(v.type, sizes, made), v.name)
        return found

    def atom(a: Any) -> Any:
        return Literal(value_at(a.value, sizes, made)) if type(a) is Literal else variables[a]

    heads = tuple(map(define, graph.inputs))
    consts = {}
    for v, x in graph.consts.items():
        if id(x) in made:
            x = made[id(x)].at(sizes)
            variables[v] = Var(type_of(x), v.name)
        else:
            define(v)
        consts[variables[v]] = x
    eqns = [
        Eqn(
            e.op,
            tuple(map(atom, e.inputs)),
            {k: value_at(v, sizes, made) for k, v in e.params.items()},
            tuple(map(define, e.outputs)),
            e.raw_source,
        )
        for e in graph.eqns
    ]
    return Graph(heads, tuple(eqns), tuple(map(atom, graph.outputs)), consts, graph.name)


def value_at(x: Any, sizes: Sizes, made: Mapping[int, Made]) -> Any:
    """What is in a Graph with numbers in place of sizes."""
    kind = type(x)
    if kind is Symbol:
        return x.polynomial.at(sizes)
    if kind is ArrayType:
        return ArrayType(value_at(x.shape, sizes, made), x.dtype, x.weak)
    if kind is Graph:
        return graph_at(x, sizes, made)
    if issubclass(kind, tuple):
        parts = [value_at(part, sizes, made) for part in x]
        return tuple(parts) if kind is tuple else kind(*parts)
    if kind is str:
        return text_at(x, sizes)
    if kind is slice:
        return slice(*[value_at(part, sizes, made) for part in (x.start, x.stop, x.step)])
    if kind is functools.partial and not x.keywords:
        return functools.partial(x.func, *[value_at(part, sizes, made) for part in x.args])
    if kind is Rules and x.remake:
        make, *given = x.remake
        return make(*[value_at(part, sizes, made) for part in given])
    require_none(x.made_of if kind is Rules and x.made_of is not None else x)
    return x


def require_none(x: Any) -> None:
    """NotSymbolic for what may hold a size."""
    seen: dict[int, Any] = {}
    found = [x]
    while found:
        x = found.pop()
        kind = type(x)
        if kind is Symbol or len(seen) > _MOST or (kind is Tracer and has_symbol(x.type.shape)):
            raise NotSymbolic
        if kind is Tracer:
            continue  # of which only the type is asked
        if issubclass(kind, _ATOMS) or kind is types.ModuleType or id(x) in seen:
            continue
        seen[id(x)] = x
        if kind is types.FunctionType:
            found += [x.__closure__, x.__defaults__, x.__kwdefaults__, x.__dict__]
        else:
            found += gc.get_referents(x)
