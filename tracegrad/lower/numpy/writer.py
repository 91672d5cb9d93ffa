"""A Graph as straight-line Python source that calls NumPy, one line an equation, and the function compiled from it.

What the lines compute is what the ops themselves evaluate, so the results have the same bits. What the source saves is
tracing, dispatch, and memory: a large elementwise result is written over an array that nothing will read again.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import itertools
import linecache
import math
import weakref
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from tracegrad.core.collector import uncollected
from tracegrad.core.errors import Source
from tracegrad.core.generated import functions, line
from tracegrad.core.graph import Atom, Eqn, Graph, Var, replace
from tracegrad.core.memory import Strides, compact, reshaped
from tracegrad.core.numpy_warnings import SOURCES, watch
from tracegrad.core.types import ArrayType
from tracegrad.lower.numpy.blocks import with_chains
from tracegrad.lower.numpy.calls import display, is_plain
from tracegrad.lower.numpy.choosing import chosen
from tracegrad.lower.numpy.lanes import side_by_side
from tracegrad.lower.numpy.layouts import Layouts
from tracegrad.lower.numpy.memory import LENT, MANY, MEDIUM, Memory, is_view, keep_freed_memory, size_of
from tracegrad.lower.numpy.order import near_their_inputs
from tracegrad.lower.numpy.parts import Line, in_parts
from tracegrad.lower.numpy.strips import Strips, beside_op, in_strips, laid_op, window_op
from tracegrad.lower.numpy.words import Words, is_of_python
from tracegrad.lower.passes import ahead_of_loops, simplify_in_order
from tracegrad.ops.reduce.pooled import add_pooled
from tracegrad.tree import PyTreeDef

# In bytes. From the first size on a result goes over an input that dies with it, which saves little; from the second on it
# goes over any array that has died: new memory costs a page fault each 4 KiB.
_SMALL, _LARGE = 256, 1 << 14
_numbers = itertools.count()


class Step(NamedTuple):
    """What a line of a program does: the equation, the names that it makes, that of the array that it writes them over, if any,
    those that it lets go, whether what it makes is a view, and how what it reads lies (in C order, where that is not known)."""

    eqn: Eqn
    made: tuple[str, ...]
    over: str
    gone: tuple[str, ...]
    views: bool = False
    lying: tuple[Strides, ...] = ()


# What is to be called behind each line of the programs that are compiled meanwhile, with the number that it gives an equation; and
# at the beginning of each, with -1. See `debug/profile.py`.
ticking: contextvars.ContextVar[Any] = contextvars.ContextVar("ticking", default=None)


class Lowered(NamedTuple):
    """A compiled Graph: a function of one positional array for each input, and its source. `spares` are the types of the
    arrays that it takes besides, to compute in; behind them it takes the `windows` of these: (which, start, stop)."""

    function: Callable[..., Any]
    source: str
    spares: tuple[ArrayType, ...] = ()
    windows: tuple[tuple[int, int, int], ...] = ()


def lower(
    graph: Graph,
    out_tree: PyTreeDef | None = None,
    fills: int = 0,
    takes_spares: bool = False,
    any_order: bool = False,
    donated: Sequence[int] = (),
    settled: Collection[Var] = (),
    lends: bool = False,
    lying: Sequence[Strides | None] = (),
    turns: Sequence[int] | None = None,
) -> Lowered:
    """Compile a Graph to a function that returns its outputs as a list, or as a tree of the given structure.

    Inputs are never written to, but for those at the places `donated`; results share memory neither with other inputs nor with
    each other. The constants that are `settled` are never written to, by anybody. Into its last `fills` arguments the function
    writes so many of the outputs, the last ones; those that it then still returns may lie in any of its arguments, or in one
    another; so may all of one that `lends` them, to what only reads them.

    The program is written for inputs in C order without gaps; for others there is a second one, compiled when the first
    such inputs come. One that fills arrays is for whatever comes: it is not there without them, so nobody can compare. One that
    takes spares too is for inputs of which the last lie as `lying` says, and the second one has matrices multiplied that lie anyhow; what
    it returns it is given, before it is called again, at the places `turns`.
    """
    parts: list[str] = []
    ordered, assumed = (graph, 0) if any_order and not takes_spares else _in_order(graph, bool(fills) or takes_spares)

    if any([size_of(v.type) >= LENT for e in ordered.eqns for v in e.outputs]):
        keep_freed_memory()

    def compiled(part: Graph, fills: int) -> Callable[..., Any]:
        found = _compiled(part, None, fills)
        parts.append(found.source + "\n\n")
        return found.function

    bare = replace(graph)  # without what has been made of it, which may come to be the function that holds this one

    def in_any_order(*inputs: Any) -> Any:
        if "function" not in second:
            second["function"] = uncollected(
                lower, bare, out_tree, fills, takes_spares, True, donated, settled, lends, lying, turns
            ).function
        return second["function"](*inputs)

    second: dict[str, Callable[..., Any]] = {}
    other = None if any_order else in_any_order
    chains = with_chains(near_their_inputs(ordered), compiled)
    whole = _compiled(chains, out_tree, fills, takes_spares, other, assumed, donated, settled, lends, lying, turns)
    return whole._replace(source="".join([*parts, whole.source]))


def _in_order(graph: Graph, is_part: bool) -> tuple[Graph, int]:
    """The Graph for inputs in C order, and which have to be, as a bit for each. What is a part of a program, run by it, has no many
    lines."""
    graph = ahead_of_loops(graph)
    # First the lanes: what follows has the fewer equations to look at.
    found, assumed = (graph, 0) if is_part else side_by_side(graph)
    ordered, more = simplify_in_order(found)
    return ordered, assumed | more


def compiled(graph: Graph) -> Callable[..., list[Any]]:
    """The function of a Graph, compiled once."""
    found = graph.memo.get("compiled")
    if found is None:
        found = graph.memo["compiled"] = uncollected(lower, graph).function
    return found


class Steps(NamedTuple):
    """What the lines of a program do, what it returns, as expressions, and the names of the inputs that it may write over."""

    steps: list[Step]
    returned: list[str]
    donated: list[str]


def steps_of(graph: Graph | Part, settled: Collection[Var] = (), donated: Sequence[int] = ()) -> Steps:
    """What the lines of the program do that `lower` writes for a Graph with such `settled` constants and `donated` inputs. A chain that
    is run block by block has for its function a `Part`, of which there is the same."""
    if type(graph) is Part and not graph.takes_spares:
        writer = _Writer(graph.graph, None, graph.fills)
    else:
        part = graph if type(graph) is Part else Part(graph, 0)  # type: ignore[arg-type]
        ordered, assumed = _in_order(part.graph, bool(part.fills) or part.takes_spares)
        chains = with_chains(near_their_inputs(ordered), Part)  # type: ignore[arg-type]
        # For inputs in C order.
        writer = _Writer(chains, None, part.fills, part.takes_spares, steps_of, assumed, donated, settled)
    writer.write()
    layouts = Layouts(writer.graph, guesses=True)
    layouts.update((v, e) for e in writer.graph.eqns for v in e.outputs)
    steps = []
    for s in writer.steps:
        lying: Any = tuple([layouts.of(a).strides for a in s.eqn.inputs])
        steps.append(s._replace(views=s.eqn.op.view is not None and is_view(s.eqn, lying[0]), lying=lying))
    return Steps(steps, writer.results(), [writer.words.variables[v] for v in writer.donated])


class Part(NamedTuple):
    """A Graph that is to become a function which writes so many outputs into its last arguments, and maybe computes in others."""

    graph: Graph
    fills: int
    takes_spares: bool = False


def lower_step(
    graph: Graph, fills: int, lying: Sequence[Strides | None] = (), turns: Sequence[int] | None = None
) -> Lowered:
    """The same for what runs again and again: it takes arrays to compute in besides, as its very last arguments. Its last inputs
    are known to lie like that, and those at the places `turns` are what it returned the last time, in whose memory it may write."""
    if ticking.get() is not None:  # whoever looks at each equation is to see each
        turns = None
    return uncollected(lower, graph, None, fills, True, False, (), (), False, lying, turns)


# The files of functions, each with a weak reference to its function, by the id of that; and the references to those that are
# no more. What notes these is a method in C, which a signal does not interrupt.
_FILES: dict[int, tuple[Any, str]] = {}
_GONE: collections.deque[Any] = collections.deque()


def _compiled(
    graph: Graph,
    out_tree: PyTreeDef | None,
    fills: int = 0,
    spares: bool = False,
    in_any_order: Callable[..., Any] | None = None,
    assumed: int = 0,
    donated: Sequence[int] = (),
    settled: Collection[Var] = (),
    lends: bool = False,
    lying: Sequence[Strides | None] = (),
    turns: Sequence[int] | None = None,
) -> Lowered:
    strips = None if turns is None else in_strips(graph, turns, fills)
    graph = graph if strips is None else strips.graph
    writer = _Writer(graph, out_tree, fills, spares, in_any_order, assumed, donated, settled, lends, lying, strips)
    codes = []
    for source in writer.write():
        filename = f"<tracegrad jit {line(graph.name)} {next(_numbers)}>"
        codes.append(compile(source, filename, "exec"))
        writer.sources[filename] = source
    made = functions(codes, writer.names.values)
    for part in made.values():
        watch(part.__globals__)
        part.__globals__[SOURCES] = writer.places
    function = made[writer.function]
    for _ in range(len(_GONE)):
        with contextlib.suppress(IndexError):  # where another thread was quicker
            # (A signal may have come before the file was noted.)
            _, filename = _FILES.pop(id(_GONE.popleft()), (None, ""))
            linecache.cache.pop(filename, None)
    for filename, source in writer.sources.items():
        # A traceback through the function shows its lines, as long as there is the function. The garbage collector may find
        # that it is gone while somebody walks the cache, so the lines go when the next are put there.
        reference = weakref.ref(function, _GONE.append)
        _FILES[id(reference)] = reference, filename
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return Lowered(function, "\n\n".join(writer.sources.values()), tuple(writer.spares), writer.windows)


def own(x: Any, others: Sequence[Any]) -> Any:
    """An array that the caller may have to himself: a copy of a view, or of one of the others."""
    if type(x) is ndarray and (x.base is not None or any([x is o for o in others])):
        return compact(x)
    return x


_OWN = 1 << 2 | 1 << 10  # of an array's flags: that its memory is its own, and may be written into


def donated(given: Sequence[Any], others: Sequence[Any]) -> Sequence[Any]:
    """Arrays that may be written over: those that the caller has given away, or a copy of one that has not its memory to
    itself, or shares it with one of `others`, which are only read."""
    seen = set()
    for x in others:
        while x is not None:
            seen.add(id(x))
            x = getattr(x, "base", None)
    if len(seen.union(map(id, given))) == len(seen) + len(given) and all([x.flags.num & _OWN == _OWN for x in given]):
        return given
    arrays = []
    for x in given:
        if x.flags.num & _OWN != _OWN or id(x) in seen:
            x = compact(x)
        seen.add(id(x))
        arrays.append(x)
    return arrays


# What generated lines call besides the functions of ops, whose spellings may call these too.
HELPERS: dict[str, Any] = {
    "array": np.array, "as_complex": complex, "own": own, "compact": compact, "donated": donated, "inf": math.inf, "nan": math.nan,
    "add": np.add, "add_reduce": np.add.reduce, "add_accumulate": np.add.accumulate, "blas_matmul": np.matmul,
    "chosen": chosen, "add_pooled": add_pooled, "reshaped": reshaped,
    **{f"zero_{c}": np.zeros((), c) for c in "fdFD"},
}  # fmt: skip


class _Writer:
    """Writes one function.

    One that is there for inputs in C order hands others over to `in_any_order`. One that `fills` has so many of its outputs,
    the last ones, as further arguments, into which it writes them. One that `takes_spares` has behind these arrays to
    compute in, where another function would have NumPy make them."""

    def __init__(
        self,
        graph: Graph,
        out_tree: PyTreeDef | None,
        fills: int = 0,
        takes_spares: bool = False,
        in_any_order: Callable[..., Any] | None = None,
        assumed: int = 0,
        donated: Sequence[int] = (),
        settled: Collection[Var] = (),
        lends: bool = False,
        lying: Sequence[Strides | None] = (),
        strips: Strips | None = None,
    ) -> None:
        self.graph = graph
        self.lends = lends or bool(fills)
        self.settled = settled
        self.out_tree = out_tree
        self.fills = fills
        self.takes_spares = takes_spares
        self.in_any_order = in_any_order
        # How variables lie, if that matters, with a bit for each input that has to be in C order; and whose memory they are.
        heeds_layouts = not fills and not takes_spares
        self.layouts = Layouts(graph, any_order=in_any_order is None) if heeds_layouts else None
        if self.layouts is not None:
            self.layouts.assumed = assumed
        # In what takes spares they say which function multiplies matrices, and nothing else: its two programs share the spares, so
        # they write everything over the same arrays.
        self.lying = Layouts(graph, last=lying) if takes_spares else self.layouts
        if takes_spares and self.lying is not None:
            self.lying.update((v, e) for e in graph.eqns for v in e.outputs)
        # The inputs that may be written over.
        self.donated = [v for v in map(graph.inputs.__getitem__, donated) if size_of(v.type) >= _SMALL]
        self.memory = Memory(graph, self.layouts, frozenset(self.donated))
        self.words = Words(graph, HELPERS)
        self.names = self.words.names
        self.function = self.names.fresh(graph.name, "compiled")
        # Arrays to write into.
        self.filled: dict[Var, str] = {}  # variable -> the argument that it is to be written into
        self.spares: list[ArrayType] = []
        self.spare_names: list[str] = []
        # Behind these come parts of the first of them, into which variables are to be written, or in which they lie.
        self.windows = () if strips is None else tuple(strips.windows)
        self.window_names = [self.names.fresh(f"part{i}") for i in range(len(self.windows))]
        self.placed: dict[Var, str] = {}
        if strips is not None:
            self.spares += strips.strips
            self.spare_names += [self.names.fresh(f"strip{i}") for i in range(len(strips.strips))]
            self.placed = {v: self.window_names[k] for v, k in strips.placed.items()}
        self.in_spares: set[str] = set()  # the names of arrays that lie in spare ones, and so must not be returned
        self.renamed: list[str] = []  # what the last equation wrote its result over: the array has a new name now
        # Dead large arrays that may be written over, each with the line that lets go of it if that does not happen.
        self.free: list[tuple[Var, str, list[str]]] = []
        self.steps: list[Step] = []
        self.written = ""  # the argument that the last equation was written into, if it was
        self.places: dict[str, Source] = {}  # by the comments that stand behind lines
        self.sources: dict[str, str] = {}  # by the file names that tracebacks show

    def write(self) -> list[str]:
        """The source: of one function, or of several, the last of which calls the others."""
        graph = self.graph
        arguments = [self.words.name(v) for v in graph.inputs]
        for v, value in graph.consts.items():
            self.names.values[self.words.name(v)] = value
        filling = graph.outputs[len(graph.outputs) - self.fills :]
        outs = [self.names.fresh(f"out{i}") for i in range(self.fills)]
        made = {v for e in graph.eqns for v in e.outputs}
        self.filled = {v: out for v, out in zip(filling[::-1], outs[::-1], strict=True) if type(v) is Var and v in made}
        arguments += outs
        # Where everything is tiny, nothing is written over or let go.
        tiny = all(
            [size_of(v.type) < _SMALL for v in (*self.memory.given, *[v for e in graph.eqns for v in e.outputs])]
        )
        comments: dict[Any, str] = {}
        body: list[tuple[str, list[str], list[str], str]] = []
        for i, eqn in enumerate(graph.eqns):
            self.written = ""
            is_laid = eqn.op in (laid_op, beside_op, window_op)
            code = self.laid(eqn) if is_laid else self.overwriting(eqn, i) or self.assignment(eqn, i)
            for v in eqn.outputs:
                for out in (self.placed.get(v), self.filled.get(v)):
                    if out and out != self.words.variables[v] and out not in self.words.mentioned:
                        code += f"{'; ' if code else ''}{out}[...] = {self.words.name(v)}"
                        self.words.mentioned.append(out)
            if not code:
                continue
            comment = comments.get(eqn.raw_source)
            if comment is None:
                comment = comments[eqn.raw_source] = self.comment(eqn)
            over = self.renamed[0] if self.renamed else self.written
            gone = [] if tiny else self.let_go(eqn, i)
            self.steps.append(Step(eqn, tuple(map(self.words.variables.__getitem__, eqn.outputs)), over, ()))
            body.append((code, self.words.mentions(), gone, comment))
        self.steps = [s._replace(gone=tuple(gone)) for s, (_, _, gone, _) in zip(self.steps, body, strict=True)]
        lines = [
            Line(f"{code}; del {', '.join(gone)}" if gone else code, (*mentioned, *gone), comment)
            for code, mentioned, gone, comment in body
        ]
        if (ticker := ticking.get()) is not None:
            tick = self.names.bind(ticker, "tick")
            ticks = [Line(f"{tick}({ticker.number(s.eqn)})") for s in self.steps]
            lines = [Line(f"{tick}(-1)"), *[x for pair in zip(lines, ticks, strict=True) for x in pair]]
        for a, out in zip(filling, outs, strict=True):
            if type(a) is not Var or self.filled.get(a) != out:
                lines.append(Line(f"{out}[...] = {self.words.name(a)}", (out, *self.words.mentions())))
        if self.fills < len(graph.outputs) or not self.fills:
            lines.append(Line(f"return {self.returned()}", self.words.mentions()))
        arguments += self.spare_names + self.window_names
        sources = in_parts(self.function, arguments, lines, self.names, {self.words.name(v) for v in graph.consts})
        if self.donated:
            given = [self.words.variables[v] for v in self.donated]
            others = [name for v in self.memory.given if size_of(v.type) and (name := self.words.variables.get(v))]
            mine = f"{', '.join(given)}, = donated(({', '.join(given)},), ({''.join([f'{a}, ' for a in others])}))"
            head, rest = sources[-1].split("\n", 1)
            sources[-1] = f"{head}\n    {mine}\n{rest}"
        if self.in_any_order is not None and self.lying is not None and (assumed := self.lying.assumed):
            inputs = [self.words.variables[v] for i, v in enumerate(graph.inputs) if assumed >> i & 1]
            test = " and ".join([f"{a}.flags.c_contiguous" for a in inputs])
            other = f"{self.names.bind(self.in_any_order, 'in_any_order')}({', '.join(arguments)})"
            head, rest = sources[-1].split("\n", 1)
            sources[-1] = f"{head}\n    if not ({test}):\n        return {other}\n{rest}"
        sources[0] = "".join([f"{head}\n" for head in self.words.heads]) + sources[0]
        return sources

    def comment(self, eqn: Eqn) -> str:
        """What stands behind the line of an equation: the user's line, by which a warning finds it again."""
        source = eqn.source
        if source is None:
            return ""
        short = line(source.short)
        if self.places.setdefault(short, source)[:2] != source[:2]:
            short = line(f"{source.file}:{source.line}")  # in another file of the same name
            self.places[short] = source
        return short

    def returned(self) -> str:
        results = self.results()
        if self.out_tree is None:
            return f"[{', '.join(results)}]"
        if is_plain(self.out_tree):
            return display(self.out_tree, results, lambda cls: self.names.bind(cls, cls.__name__))
        unflatten = self.names.bind(self.out_tree.unflatten, "unflatten")
        return f"{unflatten}([{', '.join(results)}])"

    def assignment(self, eqn: Eqn, i: int) -> str:
        targets = ", ".join([self.words.name(v) for v in eqn.outputs])
        comma = "," if eqn.op.multiple_results and len(eqn.outputs) == 1 else ""
        return f"{targets}{comma} = {self.expression(eqn, i)}" if targets else self.expression(eqn, i)

    def laid(self, eqn: Eqn) -> str:
        """What is done to have what an equation makes lie in a strip: a carry is copied, all else does."""
        (v,) = eqn.outputs
        name = self.words.variables[v] = self.placed[v]
        self.in_spares.add(name)
        self.lies_like(v)
        return f"{name}[...] = {self.words.name(eqn.inputs[0])}" if eqn.op is laid_op else ""

    def overwriting(self, eqn: Eqn, i: int) -> str:
        """The equation as a statement that writes a part of its first input anew, which then is the output and has its
        name."""
        if eqn.op.overwrite is None:
            return ""
        x: Any = eqn.inputs[0]
        if not self.memory.may_overwrite(eqn, i, self.words.variables.get(x) in self.in_spares):
            return ""
        self.memory.overwritten(eqn)
        self.lies_like(eqn.outputs[0], x)
        self.words.variables[eqn.outputs[0]] = self.words.variables[x]
        return eqn.op.overwrite(self.words.function(eqn), [self.words.name(a) for a in eqn.inputs], eqn.params)

    def expression(self, eqn: Eqn, i: int) -> str:
        op = eqn.op
        if is_of_python(eqn):
            named = [f"{k}={self.words.text(v)}" for k, v in eqn.params.items()]
            return f"{self.words.function(eqn)}({', '.join([*map(self.words.name, eqn.inputs), *named])})"
        if op.with_constants is not None and (short := self.with_constants(eqn)):
            return short
        if of_scalars := self.words.comparison(eqn) or self.words.arithmetic(eqn):
            return of_scalars
        is_ufunc = isinstance(op.evaluate, np.ufunc)
        args = self.words.arguments(eqn)
        types = [a.type for a in eqn.inputs]
        spelled = None
        if op.code is not None:
            spelled = op.code(args, types, lambda k: self.is_block(eqn.inputs[k]), eqn.params)
            if spelled and "{out}" in spelled:
                target = self.target(eqn, i, over_inputs=False)
                spelled = spelled.replace("{out}", f", {target}" if target else "")
        if spelled is None:
            named = [f"{k}={self.words.text(v)}" for k, v in eqn.params.items()]
            target = self.target(eqn, i) if is_ufunc else ""
            if target:
                # The argument after the inputs of a ufunc is `out`; these two want it by name, since NumPy 2.4.
                args = [*args, f"out={target}" if op.evaluate in (np.maximum, np.minimum) else target]
            spelled = f"{self.words.function(eqn)}({', '.join([*args, *named])})"
        return spelled

    def with_constants(self, eqn: Eqn) -> str:
        """A call of what the op is for the constants among its inputs, if there is such a function."""
        values = [self.graph.consts.get(a) if type(a) is Var and a in self.settled else None for a in eqn.inputs]
        if all([x is None for x in values]):
            return ""
        assert eqn.op.with_constants is not None
        function = eqn.op.with_constants([a.type for a in eqn.inputs], values, eqn.params)
        if function is None:
            return ""
        others = [self.words.name(a) for a, x in zip(eqn.inputs, values, strict=True) if x is None]
        return f"{self.names.bind(function, eqn.op.name)}({', '.join(others)})"

    def target(self, eqn: Eqn, i: int, over_inputs: bool = True) -> str:
        """The array to write the result of a ufunc over, if there is one: a dying input, or one that died before, or a
        spare one."""
        made, memory = eqn.outputs[0], self.memory
        wanted = made.type
        if made in self.placed:
            self.in_spares.add(self.words.name(made))
            self.words.mentioned.append(self.placed[made])
            self.written = self.placed[made]
            self.lies_like(made)
            return self.placed[made]
        if made in self.filled:
            self.words.mentioned.append(self.filled[made])
            self.written = self.filled[made]
            self.lies_like(made)
            return self.filled[made]
        if len(eqn.outputs) > 1 or size_of(wanted) < _SMALL:
            return ""
        is_returned = made in memory.pinned
        for a in eqn.inputs if over_inputs else ():
            if type(a) is Var and a.type == wanted and memory.dies(a, i) and memory.lie_alike(a, made):
                name = self.words.name(a)
                if not (is_returned and name in self.in_spares):
                    memory.lives_on(a)
                    self.lies_like(made, a)
                    return self.over(name, made)
        for k in range(len(self.free) - 1, max(len(self.free) - 8, 0) - 1, -1):  # the latest is in the cache still
            found, name, gone = self.free[k]
            is_like = memory.lie_alike(found, made) and (over_inputs or self.is_in_c_order(found))
            if found.type == wanted and not (is_returned and name in self.in_spares) and is_like:
                self.lies_like(made, found)
                del self.free[k]
                gone.remove(name)
                return self.over(name, made)
        if self.takes_spares and size_of(wanted) >= MEDIUM and not is_returned:
            self.spare_names.append(self.names.fresh(f"spare{len(self.spares)}"))
            self.spares.append(wanted)
            self.in_spares.add(self.words.name(made))
            self.words.mentioned.append(self.spare_names[-1])
            self.written = self.spare_names[-1]
            self.lies_like(made)
            return self.spare_names[-1]
        return ""

    def is_block(self, atom: Atom) -> bool:
        """Whether a matrix or a vector is known to lie in one block: not in the second program of what takes spares."""
        is_known = self.in_any_order is not None or not self.takes_spares
        return is_known and self.lying is not None and self.lying.is_block(atom)

    def is_in_c_order(self, found: Var) -> bool:
        """Whether ndarray.dot may write into the array of a variable, where nothing else has been asked of how it lies."""
        return not self.takes_spares or self.lying is None or self.lying.is_in_c_order(found)

    def lies_like(self, made: Var, found: Atom | None = None) -> None:
        """Note, where it may be another layout than that of a new array, that a result is written over an array that lies like
        that of a variable, or in C order."""
        if self.takes_spares and self.lying is not None:
            self.lying.lies_like(made, found)

    def over(self, name: str, made: Var) -> str:
        """The array of this name, which is written over and has a new name from now on."""
        self.renamed = [name]
        self.words.mentioned.append(name)
        if name in self.in_spares:
            self.in_spares.add(self.words.name(made))
        return name

    def let_go(self, eqn: Eqn, i: int) -> list[str]:
        """The names to delete behind this equation: of arrays that nothing reads any more, and of views that hold such."""
        gone, self.renamed = self.renamed, []
        for v, owns_array in self.memory.dead(eqn, i):
            name = self.words.variables[v]
            if name in self.window_names:
                continue
            gone.append(name)
            if owns_array and size_of(v.type) >= _LARGE:
                self.free.append((v, name, gone))
        return gone

    def results(self) -> list[str]:
        """What is returned: outputs in memory of their own, not that of an argument, a constant or an output before."""
        outputs = self.graph.outputs[: len(self.graph.outputs) - self.fills]
        if self.lends:
            return list(map(self.words.name, outputs))
        texts = []
        for a, others in zip(outputs, self.memory.neighbours(outputs), strict=True):
            text = self.words.name(a)
            if a in others and a.type.shape:
                text = f"compact({text})"
            elif len(others) > MANY:  # a copy in any case
                text = f"own({text}, ({text},))"
            elif others or (type(a) is Var and not a.type.weak and len(self.memory.roots[a]) > 1):
                text = f"own({text}, ({''.join([self.words.name(o) + ', ' for o in others])}))"
            texts.append(text)
        return texts
