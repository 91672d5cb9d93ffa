"""A Graph as straight-line Python source that calls NumPy, one line an equation, and the function compiled from it.

What the lines compute is what the ops themselves evaluate, so the results have the same bits. What the source saves is
tracing, dispatch, and memory: a large elementwise result is written over an array that nothing will read again.
"""

from __future__ import annotations

import itertools
import keyword
import linecache
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from tracegrad.collector import collector_paused
from tracegrad.graph import Atom, Eqn, Graph, Literal, Var
from tracegrad.lower.blocks import with_chains
from tracegrad.lower.calls import display, is_plain
from tracegrad.lower.parts import PART, in_parts
from tracegrad.show import all_letters
from tracegrad.tree import PyTreeDef
from tracegrad.types import ArrayType

# In bytes. From the first size on a result goes over an input that dies with it, which saves little; from the second on
# dead arrays are let go, so that their memory is used again while it is in the cache; from the third on a result goes
# over any array that has died: new memory costs a page fault each 4 KiB.
_SMALL, MEDIUM, _LARGE = 256, 1024, 1 << 14
_numbers = itertools.count()

# Beyond so many arrays in whose memory a variable may lie, they are not told apart any more: they may lie ANYWHERE, and
# none of them is written over. Without a bound a chain of views would take time quadratic in its length.
MANY = 8
ANYWHERE = Var(ArrayType((), np.dtype(bool)))


class Lowered(NamedTuple):
    """A compiled Graph: a function of one positional array for each input, and its source. `spares` are the types of the
    arrays that it takes besides, to compute in."""

    function: Callable[..., Any]
    source: str
    spares: tuple[ArrayType, ...] = ()


def lower(graph: Graph, out_tree: PyTreeDef | None = None, fills: int = 0, takes_spares: bool = False) -> Lowered:
    """Compile a Graph to a function that returns its outputs as a list, or as a tree of the given structure.

    Inputs are never written to; results share memory neither with inputs nor with each other. Into its last `fills`
    arguments the function writes so many of the outputs, the last ones; those that it then still returns may lie in any
    of its arguments, or in one another.
    """
    parts: list[str] = []

    def compiled(part: Graph, fills: int) -> Callable[..., Any]:
        found = _compiled(part, None, fills)
        parts.append(found.source + "\n\n")
        return found.function

    whole = _compiled(with_chains(graph, compiled), out_tree, fills, takes_spares)
    return whole._replace(source="".join([*parts, whole.source]))


def compiled(graph: Graph) -> Callable[..., list[Any]]:
    """The function of a Graph, compiled once."""
    found = graph.memo.get("compiled")
    if found is None:
        with collector_paused():
            found = graph.memo["compiled"] = lower(graph).function
    return found


def lower_step(graph: Graph, fills: int) -> Lowered:
    """The same for what runs again and again: it takes arrays to compute in besides, as its very last arguments."""
    with collector_paused():
        return lower(graph, None, fills, takes_spares=True)


def _compiled(graph: Graph, out_tree: PyTreeDef | None, fills: int = 0, spares: bool = False) -> Lowered:
    writer = _Writer(graph, out_tree, fills, spares)
    for source in writer.write():
        filename = f"<tracegrad jit {graph.name} {next(_numbers)}>"
        exec(compile(source, filename, "exec"), writer.namespace)
        writer.sources[filename] = source
    function = writer.namespace[writer.function]
    for filename, source in writer.sources.items():
        # A traceback through the function shows its lines, as long as there is the function.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        weakref.finalize(function, linecache.cache.pop, filename, None).atexit = False
    return Lowered(function, "\n\n".join(writer.sources.values()), tuple(writer.spares))


def item(x: Any) -> Any:
    """A NumPy scalar as the Python scalar that arithmetic of weak scalars gives."""
    return x.item() if isinstance(x, np.generic) else x


def own(x: Any, others: Sequence[Any]) -> Any:
    """An array that the caller may have to himself: a copy of a view, or of one of the others."""
    if type(x) is ndarray and (x.base is not None or any([x is o for o in others])):
        return x.copy()
    return x


class _Writer:
    """Writes one function. `roots` says whose memory a variable may lie in; `last` where each root is read last.

    A function that `fills` has so many of its outputs, the last ones, as further arguments, into which it writes them.
    One that `takes_spares` has behind these arrays to compute in, where another function would have NumPy make them."""

    def __init__(self, graph: Graph, out_tree: PyTreeDef | None, fills: int = 0, takes_spares: bool = False) -> None:
        self.graph = graph
        self.out_tree = out_tree
        self.filled: dict[Var, str] = {}  # variable -> the argument that it is to be written into
        self.fills = fills
        self.takes_spares = takes_spares
        self.spares: list[ArrayType] = []
        self.borrowed: set[str] = set()  # the names of arrays that lie in spare ones, and so must not be returned
        self.sources: dict[str, str] = {}  # by the file names that tracebacks show
        self.function = graph.name if graph.name.isidentifier() and not keyword.iskeyword(graph.name) else "compiled"
        self.namespace: dict[str, Any] = {
            "array": np.array, "item": item, "own": own, "inf": math.inf, "nan": math.nan,
            "add": np.add, "multiply": np.multiply, "divide": np.divide, "add_reduce": np.add.reduce,
            "add_accumulate": np.add.accumulate,
            "blas_matmul": np.matmul, "count_nonzero": np.count_nonzero,
            **{f"zero_{c}": np.zeros((), c) for c in "fdFD"},
        }  # fmt: skip
        self.names: dict[Var, str] = {}
        self.letters = all_letters()
        self.constants: dict[str, str] = {}
        self.roots: dict[Var, frozenset[Var]] = {}
        self.last: dict[Var, int] = {}
        self.given = {*graph.inputs, *graph.consts}
        self.immortal = {*self.given, ANYWHERE}  # what is never written over
        # What may be a broadcast view, of which BLAS cannot read.
        self.stretched = {v for v, x in graph.consts.items() if type(x) is ndarray and 0 in x.strides}
        self.renamed: list[str] = []  # what the last equation wrote its result over: the array has a new name now
        self.reads: dict[Var, int] = {}  # where each variable itself is read last
        # Dead large arrays that may be written over, each with the line that lets go of it if that does not happen.
        self.free: list[tuple[ArrayType, str, list[str]]] = []
        for v in self.given:
            self.roots[v] = frozenset([v])
        for i, eqn in enumerate(graph.eqns):
            # Names of functions are taken before any variable has one: a variable of that name would hide the function.
            self.namespace[_called(eqn)] = eqn.op.evaluate
            shared = frozenset().union(*[self.roots[a] for a in eqn.inputs if type(a) is Var])
            if len(shared) > MANY:
                self.immortal |= shared
                self.stretched.add(ANYWHERE)
                shared = frozenset([ANYWHERE])
            for a in eqn.inputs:
                self._read(a, i)
            if eqn.op.repeats:
                self.stretched.add(eqn.outputs[0])
            for v in eqn.outputs:
                self.roots[v] = frozenset([v]) if eqn.op.fresh else shared | {v}
        for a in graph.outputs:
            self._read(a, len(graph.eqns))
        self.immortal |= {r for a in graph.outputs if type(a) is Var for r in self.roots[a]}

    def _read(self, atom: Atom, i: int) -> None:
        if type(atom) is Var:
            self.reads[atom] = i
            for root in self.roots[atom]:
                self.last[root] = i

    def name(self, atom: Atom) -> str:
        if type(atom) is Literal:
            return self.text(atom.value)
        assert type(atom) is Var
        found = self.names.get(atom)
        if found is None:
            found = next(self.letters)
            if keyword.iskeyword(found) or found in self.namespace:
                found += "_"
            self.names[atom] = found
        return found

    def text(self, value: Any) -> str:
        """A static value in source, by name where it has no plain spelling."""
        if type(value) is complex:  # whose repr loses the sign of a zero, and is no expression for infinities
            return f"complex({value.real!r}, {value.imag!r})"
        if value is None or type(value) in (bool, int, float, str):
            return repr(value)
        if isinstance(value, np.bool | np.number):
            return self.constant(value.item(), value.dtype, value.dtype.name)
        if type(value) is tuple and all([x is None or type(x) in (bool, int) for x in value]):
            return repr(value)
        if type(value) is tuple and value and all([type(x) is Graph for x in value]):
            return f"({', '.join([self.graph_name(x) for x in value])},)"
        name = getattr(value, "__name__", f"k{len(self.namespace)}")
        if not name.isidentifier() or self.namespace.setdefault(name, value) is not value:
            name = f"k{len(self.namespace)}"
            self.namespace[name] = value
        return name

    def graph_name(self, graph: Graph) -> str:
        """The name of a Graph that an equation holds: its own, unless something else is called that."""
        for number in itertools.count(1):
            name = graph.name if number == 1 else f"{graph.name}_{number}"
            if not name.isidentifier() or keyword.iskeyword(name):
                name = f"k{len(self.namespace)}"
            if self.namespace.setdefault(name, graph) is graph:
                break
        return name

    def write(self) -> list[str]:
        """The source: of one function, or of several, the last of which calls the others."""
        graph = self.graph
        arguments = [self.name(v) for v in graph.inputs]
        for v, value in graph.consts.items():
            self.namespace[self.name(v)] = value
        filling = graph.outputs[len(graph.outputs) - self.fills :]
        outs = [f"out{i}" for i in range(self.fills)]
        self.namespace |= dict.fromkeys(outs)  # no variable is called that, nor a spare array: names are letters
        made = {v for e in graph.eqns for v in e.outputs}
        self.filled = {v: out for v, out in zip(filling[::-1], outs[::-1], strict=True) if type(v) is Var and v in made}
        arguments += outs
        # Where everything is tiny, nothing is written over or let go.
        tiny = all([size_of(v.type) < _SMALL for v in (*self.given, *[v for e in graph.eqns for v in e.outputs])])
        comments: dict[Any, str] = {}
        body = []
        for i, eqn in enumerate(graph.eqns):
            targets = ", ".join([self.name(v) for v in eqn.outputs])
            comma = "," if eqn.op.several and len(eqn.outputs) == 1 else ""
            line = f"{targets}{comma} = {self.expression(eqn, i)}"
            for v in eqn.outputs:
                if (out := self.filled.get(v)) and not line.endswith((f" {out})", f"={out})")):
                    line += f"; {out}[...] = {self.name(v)}"
            comment = comments.get(eqn.raw_source)
            if comment is None:
                comment = comments[eqn.raw_source] = eqn.source.short if eqn.source else ""
            body.append((line, [] if tiny else self.let_go(eqn, i), comment))
        lines = [(f"{line}; del {', '.join(gone)}" if gone else line, comment) for line, gone, comment in body]
        lines += [
            (f"{out}[...] = {self.name(a)}", "")
            for a, out in zip(filling, outs, strict=True)
            if type(a) is not Var or self.filled.get(a) != out
        ]
        if self.fills < len(graph.outputs) or not self.fills:
            lines.append((f"return {self.returned()}", ""))
        while self.function in self.namespace:  # the user's function may be called `sin`
            self.function += "_"
        mentioned: list[list[str]] = []
        if len(lines) > PART and tiny:
            names = self.names
            mentioned = [[names[a] for a in (*e.outputs, *e.inputs) if type(a) is Var] for e in graph.eqns]
        arguments += [_spare(k) for k in range(len(self.spares))]
        variables = {self.names[v] for v in self.names.keys() - graph.consts.keys()}
        sources = in_parts(self.function, arguments, lines, variables, mentioned)
        sources[0] = "".join([f"{line}\n" for line in self.constants.values()]) + sources[0]
        return sources

    def returned(self) -> str:
        results = self.results()
        if self.out_tree is None:
            return f"[{', '.join(results)}]"
        if is_plain(self.out_tree):
            return display(self.out_tree, results)
        self.namespace["unflatten"] = self.out_tree.unflatten
        return f"unflatten([{', '.join(results)}])"

    def expression(self, eqn: Eqn, i: int) -> str:
        op = eqn.op
        is_ufunc = isinstance(op.evaluate, np.ufunc)
        args = self.with_constants(op.evaluate, eqn) if is_ufunc else [self.name(a) for a in eqn.inputs]
        types = [a.type for a in eqn.inputs]
        spelled = None
        if op.spell is not None:
            views = [type(a) is Var and not self.roots[a].isdisjoint(self.stretched) for a in eqn.inputs]
            spelled = op.spell(args, types, views, eqn.params)
            if spelled and "{out}" in spelled:
                target = self.target(eqn, i, over_inputs=False)
                spelled = spelled.replace("{out}", f", {target}" if target else "")
        if spelled is None:
            named = [f"{k}={self.text(v)}" for k, v in eqn.params.items()]
            target = self.target(eqn, i) if is_ufunc else ""
            if target:
                # The argument after the inputs of a ufunc is `out`; these two want it by name, since NumPy 2.4.
                args = [*args, f"out={target}" if op.evaluate in (np.maximum, np.minimum) else target]
            spelled = f"{_called(eqn)}({', '.join([*args, *named])})"
        if op.weak and all([t.weak for t in types]):
            return f"item({spelled})"
        return spelled

    def with_constants(self, ufunc: Any, eqn: Eqn) -> list[str]:
        """The arguments with arrays for scalars, of the dtype that NumPy would convert them to: a third faster."""
        if not any([type(a) is Literal for a in eqn.inputs]) or not any([type(a) is Var for a in eqn.inputs]):
            return [self.name(a) for a in eqn.inputs]
        dtypes = ufunc.resolve_dtypes((*[a.type.promotion for a in eqn.inputs], *[None] * ufunc.nout))
        return [
            self.constant(a.value, dtype if a.type.weak else a.type.dtype) if type(a) is Literal else self.name(a)
            for a, dtype in zip(eqn.inputs, dtypes, strict=False)
        ]

    def constant(self, value: Any, dtype: np.dtype[Any], scalar: str = "") -> str:
        """The name of an array without axes, or of a scalar of this NumPy type, which the source defines at its head."""
        text = self.text(float(value) if dtype.kind == "f" else np.asarray(value).item())
        plain = "".join([c if c.isalnum() else "m" if c == "-" else "_" for c in text])
        name = f"{'s' if scalar else 'c'}{plain}"
        if dtype.kind not in "fi" or dtype.itemsize != 8:
            name += f"_{dtype.name}"
        if scalar:
            self.namespace.setdefault(scalar, dtype.type)
        self.constants[name] = f"{name} = {scalar}({text})" if scalar else f"{name} = array({text}, {dtype.name!r})"
        return name

    def target(self, eqn: Eqn, i: int, over_inputs: bool = True) -> str:
        """The array to write the result of a ufunc over, if there is one: a dying input, or one that died before, or a
        spare one."""
        made = eqn.outputs[0]
        wanted = made.type
        if made in self.filled:
            return self.filled[made]
        if len(eqn.outputs) > 1 or size_of(wanted) < _SMALL:
            return ""
        is_returned = made in self.immortal
        for a in eqn.inputs if over_inputs else ():
            if type(a) is Var and a.type == wanted and self.is_dying(a, i):
                name = self.name(a)
                if not (is_returned and name in self.borrowed):
                    self.last[a] = -1  # its memory lives on under the new name
                    return self.over(name, made)
        for k in range(len(self.free) - 1, max(len(self.free) - 8, 0) - 1, -1):  # the latest is in the cache still
            found, name, gone = self.free[k]
            if found == wanted and not (is_returned and name in self.borrowed):
                del self.free[k]
                gone.remove(name)
                return self.over(name, made)
        if self.takes_spares and size_of(wanted) >= MEDIUM and not is_returned:
            self.spares.append(wanted)
            self.borrowed.add(self.name(made))
            return _spare(len(self.spares) - 1)
        return ""

    def over(self, name: str, made: Var) -> str:
        """The array of this name, which is written over and has a new name from now on."""
        self.renamed = [name]
        if name in self.borrowed:
            self.borrowed.add(self.name(made))
        return name

    def is_dying(self, v: Var, i: int) -> bool:
        """Whether the variable owns its array, and this is the last that is read of it."""
        return v not in self.immortal and self.last.get(v) == i and self.roots[v] == {v}

    def let_go(self, eqn: Eqn, i: int) -> list[str]:
        """The names to delete behind this equation: of arrays that nothing reads any more, and of views that hold such."""
        gone, self.renamed = self.renamed, []
        for a in dict.fromkeys([a for a in eqn.inputs if type(a) is Var and a not in self.given]):
            is_shared = self.roots[a] != {a} or a in self.immortal
            if is_shared and self.reads[a] == i and size_of(a.type) >= MEDIUM:
                gone.append(self.name(a))
        for root in dict.fromkeys([r for a in eqn.inputs if type(a) is Var for r in self.roots[a]]):
            if self.is_dying(root, i) and size_of(root.type) >= MEDIUM:
                gone.append(self.name(root))
                if size_of(root.type) >= _LARGE:
                    self.free.append((root.type, self.name(root), gone))
        return gone

    def results(self) -> list[str]:
        """What is returned: outputs in memory of their own, not that of an argument, a constant or an output before."""
        texts = []
        outputs = self.graph.outputs[: len(self.graph.outputs) - self.fills]
        arrays = [a for a in outputs if type(a) is Var]
        anywhere = any([ANYWHERE in self.roots[a] for a in arrays])
        visible: dict[Var, list[Var]] = {v: [v] for v in self.given}  # by the root that it may lie in
        for a in outputs:
            text = self.name(a)
            if type(a) is Var and not a.type.weak and not self.fills:
                roots = visible if anywhere else self.roots[a]
                others = list(dict.fromkeys([o for r in roots for o in visible.get(r, ())]))
                if a in others and a.type.shape:
                    text = f"{text}.copy()"
                elif others or self.roots[a] != {a}:
                    text = f"own({text}, ({''.join([self.name(o) + ', ' for o in others])}))"
                for r in self.roots[a]:
                    visible.setdefault(r, []).append(a)
            texts.append(text)
        return texts


def _called(eqn: Eqn) -> str:
    """What the source calls the function of an equation."""
    return eqn.op.evaluate.__name__ if isinstance(eqn.op.evaluate, np.ufunc) else eqn.op.name


def _spare(number: int) -> str:
    return f"spare{number}"


def size_of(type: ArrayType) -> int:
    """In bytes, and nothing for a scalar."""
    return type.size * type.dtype.itemsize if type.shape else 0
