"""A Graph as text. The grammar, in which `{...}` repeats and `[...]` may be missing:

listing = graph {newline graph}                     a graph, then those that its equations name in their params
graph   = "graph" name "(" [input {"," input}] ")" "{" newline
          {const} {eqn} "return" [atom {"," atom}] newline "}"
input   = var ":" type  ["=" path]                  path: the argument's key path, where it is not the name itself
const   = "const" var ":" type ["=" value]          value: printed where it is small
eqn     = var ":" type {"," var ":" type} "=" op [params] {atom} ["#" file ":" line ["in" scope {"/" scope}]]
params  = "[" name "=" value {"," name "=" value} "]"
atom    = var | number
type    = dtype ["~"] "[" [size {"," size}] "]"     "~": weak, a Python scalar
dtype   = "bool" | ("i" | "u" | "f" | "c") bits
var     = letters: a, b, ..., z, aa, ab, ...        in order of definition

What users have named (functions, files, keys) and values of their own classes are written with escapes for characters that
do not print, so that no text of theirs ends a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, product
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import name_of
from tracegrad.core.generated import line
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def all_letters() -> Iterator[str]:
    """a, b, ..., z, aa, ab, ...: the names of variables."""
    for length in count(1):
        for word in product(_LETTERS, repeat=length):
            yield "".join(word)


class Names:
    """Names for variables, in order of first mention. Graphs are noted in `graphs`, with names of their own."""

    def __init__(self, graphs: dict[int, tuple[Graph, str]] | None = None) -> None:
        self.known: dict[Var, str] = {}
        self.letters = all_letters()
        self.graphs = {} if graphs is None else graphs

    def __call__(self, atom: Atom) -> str:
        if isinstance(atom, Literal):
            return repr(atom.value.item() if isinstance(atom.value, np.generic) else atom.value)
        if atom not in self.known:
            self.known[atom] = next(self.letters)
        return self.known[atom]

    def typed(self, var: Var) -> str:
        return f"{self(var)}:{var.type}"

    def graph(self, graph: Graph) -> str:
        if id(graph) not in self.graphs:
            alike = sum([g.name == graph.name for g, _ in self.graphs.values()])
            self.graphs[id(graph)] = graph, f"{graph.name}.{alike + 1}" if alike else graph.name
        return self.graphs[id(graph)][1]

    def param(self, value: Any) -> str:
        if isinstance(value, Graph):
            return self.graph(value)
        if isinstance(value, np.dtype):
            return value.name
        if isinstance(value, tuple) and any([isinstance(item, Graph) for item in value]):
            return f"({', '.join([self.param(item) for item in value])})"
        name = name_of(value, "") if callable(value) else ""
        return name or repr(value)


def eqn_text(eqn: Eqn, name: Names) -> str:
    """One equation, without its source."""
    inputs = " ".join([name(a) for a in eqn.inputs])
    outputs = ", ".join([name.typed(v) for v in eqn.outputs])
    params = ", ".join([f"{k}={name.param(v)}" for k, v in eqn.params.items()])
    return f"{outputs} = {eqn.op.name}{f'[{params}]' if params else ''} {inputs}".rstrip()


class Listed(NamedTuple):
    """A Graph in a listing: what it is called there, the names of its variables, its equations as text."""

    graph: Graph
    called: str
    name: Names
    eqns: list[str]


def listed(graph: Graph) -> Iterator[Listed]:
    """The graph and those that its equations name, in the order of the listing."""
    graphs = {id(graph): (graph, graph.name)}
    count = 0
    while count < len(graphs):
        body, called = list(graphs.values())[count]
        count += 1
        name = Names(graphs)
        for atom in (*body.inputs, *body.consts):
            name(atom)
        eqns = [eqn_text(eqn, name) for eqn in body.eqns]
        yield Listed(body, called, name, eqns)


def listing(graph: Graph, scopes: bool = False) -> str:
    """The whole graph in the grammar of this module, with the scopes of equations if these are asked for."""
    return "\n".join([_text(part, scopes) for part in listed(graph)])


def _text(part: Listed, scopes: bool) -> str:
    graph, called, name, eqns = part
    heads = [name.typed(v) + (f"={v.name}" if v.name and v.name != name(v) else "") for v in graph.inputs]
    lines = [f"graph {called}({', '.join(heads)}) {{"]
    for var, value in graph.consts.items():
        shown = f" = {value.tolist()}" if type(value) is np.ndarray and value.size <= 4 else ""
        lines.append(f"  const {name.typed(var)}{shown}")
    width = min(max(map(len, eqns), default=0), 60)
    for text, eqn in zip(eqns, graph.eqns, strict=True):
        origin = _origin(eqn, scopes)
        lines.append(f"  {text:<{width}}  # {origin}" if origin else f"  {text}")
    lines.append(f"  return {', '.join([name(a) for a in graph.outputs])}".rstrip())
    return "\n".join([*map(line, lines), "}"])


def _origin(eqn: Eqn, scopes: bool) -> str:
    """Where an equation comes from."""
    source = eqn.source
    path = "/".join(eqn.scope) if scopes else ""
    return " ".join([part for part in (source.short if source else "", path and f"in {path}") if part])


def __dir__() -> list[str]:
    return ["Listed", "Names", "all_letters", "eqn_text", "listed", "listing"]
