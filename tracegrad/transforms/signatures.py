"""What a function is traced for: a Graph for each signature, which is all that the function can tell apart.

jit, on each of its backends, and checkpoint hold one `Signatures` each, and do with the Graphs what they like.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from numpy import ndarray

from tracegrad import tree
from tracegrad.core.boxes import is_boxed, out_of_boxes, with_boxes_of
from tracegrad.core.chance import without_drawing
from tracegrad.core.collector import uncollected
from tracegrad.core.constants import Lasting
from tracegrad.core.context import context, sizing
from tracegrad.core.errors import clip
from tracegrad.core.graph import Graph, replace
from tracegrad.core.jax_arrays import is_jax_tracer
from tracegrad.core.names import leaf_names, output_name
from tracegrad.core.reached import Name
from tracegrad.core.reuse import note_draws
from tracegrad.core.shared import Recent, cached
from tracegrad.core.static import frozen, kept, key_of
from tracegrad.core.tracer import Tracer, depends_on
from tracegrad.core.tracing import arrays_of, declared_types, trace_graph
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, ShapeDtypeStruct, type_of
from tracegrad.core.views import own, own_traced
from tracegrad.lower.numpy.calls import Matcher
from tracegrad.transforms.captured import captured, look_into_constants
from tracegrad.transforms.guards import AsksForValue, Guards
from tracegrad.transforms.impure import purely, require_unchanged
from tracegrad.transforms.path_tree import UNKNOWN
from tracegrad.transforms.paths import Path, Paths
from tracegrad.transforms.static_arguments import Static, static_positions
from tracegrad.transforms.surroundings import change, functions_around

CACHE_SIZE = 256
LOG_SIZE = 1024

# Inside of so many traces of types a function is not traced by itself any more, but as a part of what calls it. A trace takes a
# dozen of Python's frames, and a user's function may call others as deep as those that are left allow.
DEEP = 16

# What says how a leaf is called, by its number.
NameOf = Callable[[int], str]


class Backend(NamedTuple):
    """What Graphs are made ready for, and by which passes."""

    name: str
    passes: Callable[[Graph], Graph]


class Entry:
    """What is kept for one signature: the Graph; what it closes over; and for whoever runs it, a test for calls like the
    one that it was made for (see `lower/numpy/calls.py`), and what gives the results for the leaves of such. That is a
    program, a lowering of the Graph, or chooses among several, and may be exchanged at any time. Where the function asks for
    values, the Graph is that of the first path, and `paths` are what there are programs for."""

    __slots__ = (
        "__weakref__", "captured", "drawn", "graph", "looked_into", "matches", "names", "once", "out_tree", "paths", "run",
        "settled", "tiers",
    )  # fmt: skip

    def __init__(self, graph: Graph, out_tree: tree.PyTreeDef, lasting: Lasting) -> None:
        self.graph = graph
        self.out_tree = kept(out_tree)
        inputs, self.looked_into, self.once = captured(graph.consts, lasting)
        # The constants that stay as they are while `change` is nothing.
        self.settled = graph.consts.keys() - inputs.keys()
        self.captured = (*inputs.values(), *self.looked_into)
        self.drawn = lasting.drawn
        self.matches: Matcher = matches_nothing
        self.run: Any = None
        self.tiers: Any = None  # what exchanges it, if that is done
        self.paths: Paths | None = None
        self.names: Sequence[Name] = ()  # what it reads from around it

    def note_draws(self, leaves: Sequence[Any]) -> None:
        """Note that a call draws from those of its arguments that are keys."""
        note_draws(self.drawn, leaves)

    def change(self) -> str:
        """What has become of an array that the function closes over, or of a name that it reads, where it has to be traced anew."""
        for name in self.names:
            before = name.value
            if why := change(name):
                return why
            if name.value is not before:  # an equal one
                self.matches = matches_nothing
        return next(filter(None, [c.change() for c in self.captured]), "")


def matches_nothing(args: tuple[Any, ...]) -> None:
    return None


class Signatures:
    """A function, and what it has been traced for. `trace_log` has a line for each of the latest traces, saying what was
    new."""

    def __init__(self, fun: Callable[..., Any], static: Static, transform: str = "jit") -> None:
        self.fun = fun
        self.transform = transform
        self.trace_log: list[str] = []
        self._static = static
        self._has_static = bool(static.numbers or static.names)
        self._entries: Recent[Entry] = Recent()
        self._latest: Any = None

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> Any:
        return Signatures, (self.fun, self._static, self.transform)

    def of_another(self, fun: Callable[..., Any]) -> Signatures:
        """Those of a function with the same arguments."""
        return Signatures(fun, self._static, self.transform)

    def is_part(self) -> bool:
        """Whether a call is traced as a part of what it is called in. (What is kept says nothing of what its trace did with sizes.)"""
        return (
            context.explains
            or (bool(sizing) and threading.get_ident() in sizing)
            or (context.trace is not None and context.trace.depth >= DEEP)
        )

    def part(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], Any, Any]:
        """The function to call then, and arguments of its own."""
        fun, args, kwargs, _ = self.without_static(args, kwargs)
        return fun, *own_traced((args, kwargs))

    def entry_of(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], backend: Backend, follows: int | None = None
    ) -> tuple[Entry, list[Any], bool]:
        """What is kept for the signature of a call, which is traced for if it is new; the call's arrays; and whether
        these alone, all of them positional, say which signature it is. Where the function may ask for values, it `follows`
        so many paths."""
        fun, args, kwargs, static = self.without_static(args, kwargs)
        leaves, in_tree = tree.tree_flatten((args, kwargs) if kwargs else args)
        signature = self.key_of(in_tree, static, bool(kwargs), backend.name)
        heads = len(signature)
        for x in leaves:
            kind = type(x)
            if kind is ndarray:
                signature.append(x.dtype)
                signature.append(x.shape)
            elif kind in PYTHON_SCALARS:
                signature.append(kind)
            else:
                leaves = arrays_of(leaves, self.names(args, kwargs, static))
                types = [type_of(x) for x in leaves]
                # In the form in which they stand above: NumPy makes scalars of what was an array without axes.
                signature[heads:] = [part for t in types for part in _parts_of(t)]
                break
        key = tuple(signature)
        entry = self._entries.get(key)
        if entry is not None and entry.paths is not None and follows is None:
            entry = None  # which says that there are several
        why = "" if entry is None else entry.change()
        if entry is None or why:
            entry = self._traced_anew(key, fun, args, kwargs, leaves, backend, follows, why, entry)
        for x in entry.looked_into:
            depends_on(x.array)  # so does a program of which this one is a part
        return entry, leaves, static is None and not kwargs and not context.bound

    def _traced_anew(
        self,
        key: Any,
        fun: Any,
        args: Any,
        kwargs: Any,
        leaves: Sequence[Any],
        backend: Backend,
        follows: int | None,
        why: str,
        stale: Entry | None,
    ) -> Entry:
        names = self.names(args, kwargs, key[1])
        types = declared_types(leaves, names)
        around = functions_around(self.fun)
        guards = None
        if follows is not None:
            guards = Guards(None if any(map(_is_tracer, leaves)) else leaves)
        try:
            entry = Entry(
                *purely(
                    self.fun,
                    self.transform,
                    around,
                    lambda: self._traced(fun, args, kwargs, types, names, backend, key[1], guards),
                )
            )
            first = None
            if guards is not None and guards.asked:
                _require_own(entry.graph)
                first = Path(entry.graph, entry.out_tree, guards.asked)
        except AsksForValue:
            entry, first = Entry(_NO_GRAPH, tree.tree_structure(None), Lasting()), _NO_PATH
        if first is not None and follows is not None:
            entry.paths = Paths(self.fun, follows, tree.tree_structure((args, kwargs)), backend.passes)
            if first is not _NO_PATH:
                entry.paths.add(first)
        # (What the function itself binds anew while it is traced, it would each time.)
        entry.names = [name for _, found in around for name in found if not change(name)]
        # One with constants of an enclosing trace is for that alone.
        is_kept = not any(map(_is_traced, entry.graph.consts.values())) and not entry.once
        if is_kept:
            if stale is not None:
                self._entries.drop(key, stale)
            kept = self._entries.keep(key, entry, CACHE_SIZE)
            if kept is not entry and not kept.change():
                why, entry = "a signature that another thread was tracing for at the same time", kept
        self.note(key, types, names, why, is_kept, entry.once)
        return entry

    def follow(self, entry: Entry, fun: Callable[..., Any], leaves: Sequence[Any], backend: Backend) -> Any:
        """What a function that asks for values returns for these leaves."""
        paths = entry.paths
        assert paths is not None
        if any(map(_is_tracer, leaves)):
            return self._followed_in(fun, paths, leaves)
        is_there, found = paths.run(leaves)
        return found if is_there else self._followed_anew(entry, fun, leaves, backend, found)

    def runner(self, entry: Entry, backend: Backend) -> Callable[..., Any]:
        """The same as a function of leaves that are not traced, for what has no static arguments. It keeps nothing alive that
        keeps it."""
        function, of, paths = weakref.ref(self), weakref.ref(entry), entry.paths
        assert paths is not None

        def run(*leaves: Any) -> Any:
            found = paths.tree.run(*leaves)
            if found is not UNKNOWN:
                return found
            is_there, found = paths.walk(leaves)
            if is_there:
                return found
            signatures, entry = function(), of()
            assert signatures is not None and entry is not None  # whoever calls has both
            return signatures._followed_anew(entry, signatures.fun, leaves, backend, found)

        return run

    def _followed_in(self, fun: Callable[..., Any], paths: Paths, leaves: Sequence[Any]) -> Any:
        """The same, traced as a part of what it is called in, which is asked for the values then."""
        args, kwargs = paths.arguments([own(x) for x in leaves])
        return out_of_boxes(own_traced(with_boxes_of(leaves, lambda: fun(*args, **kwargs))))

    def _followed_anew(
        self, entry: Entry, fun: Callable[..., Any], leaves: Sequence[Any], backend: Backend, answers: Sequence[Any]
    ) -> Any:
        """The same for values that go a way that there is no program for, from these answers on."""
        paths = entry.paths
        assert paths is not None
        args, kwargs = paths.arguments(leaves)
        names = self.names(args, kwargs, None)
        guards = Guards(leaves, answers)
        try:
            types = declared_types(leaves, names)
            graph, out_tree, lasting = purely(
                self.fun,
                self.transform,
                functions_around(self.fun),
                lambda: self._traced(fun, args, kwargs, types, names, backend, None, guards),
            )
            _require_own(graph)
        except AsksForValue:
            return self._followed_in(fun, paths, leaves)
        inputs, looked_into, once = captured(graph.consts, lasting)
        path = Path(graph, out_tree, guards.asked)
        if not paths.agrees(path):
            self._log("the function does something else than before where it was followed; its paths are dropped")
            return self._followed_anew(entry, fun, leaves, backend, ())
        if once:
            why = f"a path for one call alone, since an array of {once}"
        elif paths.is_full:
            why = paths.warn(path, len(answers))
        else:
            why = paths.add(path)
            entry.looked_into = [*entry.looked_into, *looked_into]
            entry.captured = (*entry.captured, *inputs.values(), *looked_into)
            entry.matches = matches_nothing  # what has been written for the arrays before
        self._log(why)
        return paths.result(path, leaves)

    def entry_for(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        backend: Backend,
        follows: bool = False,
        with_asked: bool = False,
    ) -> Entry:
        """What would be kept for such arguments, arrays or `ShapeDtypeStruct`s. If the function asks for values, and it `follows`
        these, that is for the path which the arrays go, `with_asked` with the values asked for behind the results."""
        fun, args, kwargs, static = self.without_static(args, kwargs)
        names = self.names(args, kwargs, static)
        leaves = tree.tree_leaves((args, kwargs) if kwargs else args)
        types = declared_types(leaves, names)
        known = follows and not any([isinstance(x, ShapeDtypeStruct) or _is_tracer(x) for x in leaves])
        guards = Guards(arrays_of(leaves, names)) if known else None
        graph, out_tree, lasting = self._traced(fun, args, kwargs, types, names, backend, static, guards)
        if guards is not None and guards.asked and not with_asked:
            outputs = graph.outputs[: len(graph.outputs) - len(guards.asked)]
            graph = uncollected(backend.passes, replace(graph, outputs=outputs))
        return Entry(graph, out_tree, lasting)

    def _traced(
        self,
        fun: Any,
        args: Any,
        kwargs: Any,
        types: Sequence[ArrayType],
        names: NameOf,
        backend: Backend,
        static: Any,
        guards: Guards | None = None,
    ) -> tuple[Graph, Any, Lasting]:
        """The Graph for a call, of which `static` stands for the arguments that are not traced."""
        in_tree = tree.tree_structure((args, kwargs))
        return self.traced(fun, types, names, backend, in_tree.unflatten, tree.tree_flatten, guards)

    def traced(
        self,
        fun: Callable[..., Any],
        types: Sequence[ArrayType],
        names: NameOf,
        backend: Backend,
        put_together: Callable[[Sequence[Any]], Any],
        take_apart: Callable[[Any], tuple[list[Any], Any]],
        guards: Guards | None = None,
    ) -> tuple[Graph, Any, Lasting]:
        """The Graph for leaves of these types, what `take_apart` gives besides the leaves of the result, and what is to be
        known of arrays from outside. `put_together` makes (args, kwargs) of leaves. If `guards` were asked for values, the
        Graph is as it was traced, with these for its last outputs."""
        structure: Any = None

        def flat(*tracers: Any) -> list[Any]:
            nonlocal structure
            args, kwargs = put_together(tracers)
            given, in_tree = tree.tree_flatten((args, kwargs))
            out = fun(*args, **kwargs)
            require_unchanged(self.fun, self.transform, (args, kwargs), given, in_tree)
            outputs, structure = take_apart(out)
            return arrays_of(outputs, lambda i: output_name(self.fun, out, i))

        def trace() -> tuple[Graph, Any, Lasting]:
            lasting = Lasting()
            graph = trace_graph(
                flat,
                types,
                transform=self.transform,
                user_function=self.fun,
                names=names,
                abstract=True,
                lasting=lasting,
                guards=guards,
            )
            return graph, structure, lasting

        graph, structure, lasting = without_drawing(fun, self.transform, trace, self.fun)
        if guards is None or not guards.asked:
            graph = uncollected(backend.passes, graph)
            look_into_constants(graph, lasting)
        return graph, structure, lasting

    def key_of(self, in_tree: tree.PyTreeDef, static: Any, has_keywords: bool, backend: str) -> list[Any]:
        """What a signature begins with, before the types of the leaves."""
        structure, details = key_of(in_tree)
        return [structure, static, has_keywords, backend, context.bound, details]

    def note(
        self,
        key: Sequence[Any],
        types: Sequence[ArrayType],
        name: NameOf,
        why: str = "",
        is_kept: bool = True,
        once: str = "",
    ) -> None:
        """Write into the log why the function has been traced: for what was new about a signature, against the one traced
        before, if nothing else is said. `once` is why what was traced is for one call alone."""
        why = why or self._reason(key, types, name)
        self._log(f"{why}; for one call alone, since an array of {once}" if once else why)
        if is_kept:
            self._latest = (key, types)

    def _log(self, why: str) -> None:
        self.trace_log.append(why)
        del self.trace_log[:-LOG_SIZE]

    def _reason(self, key: Sequence[Any], types: Sequence[ArrayType], name: NameOf) -> str:
        latest = self._latest
        if latest is None:
            return "first call"
        before, old_types = latest
        structure, static, has_keywords, backend, bound, details, *_ = key
        if before[0] != structure or before[2] != has_keywords:
            return f"the structure of the arguments: {structure}, before {before[0]}"
        if before[1] != static:
            return f"a static argument: {clip(repr(static))}, before {clip(repr(before[1]))}"
        if before[3] != backend:
            return f"the backend: {backend}, before {before[3]}"
        if before[4] != bound:
            return f"the named axes around the call: {bound}, before {before[4]}"
        if before[5] != details:
            return "the arguments' keys or static fields, which are others, or of other types, or come in another order"
        changed = [
            f"{name(i)}: {new}, before {old}"
            for i, (new, old) in enumerate(zip(types, old_types, strict=True))
            if new != old
        ]
        return "; ".join(changed) or "a signature that had been dropped from the cache"

    def names(self, args: Any, kwargs: Any, static: Any) -> NameOf:
        """What the leaves of the arguments that are not static are called."""
        structure = tree.tree_structure(args)
        fixed = [] if static is None else [i for i, _ in static[0]]
        positions = [i for i in range(len(args) + len(fixed)) if i not in fixed]
        names = leaf_names(self.fun, structure, positions)
        paths = [tree.keystr(path) for path, _ in tree.tree_leaves_with_path(kwargs)]
        return lambda i: names(i) if i < structure.num_leaves else f"kwargs{paths[i - structure.num_leaves]}"

    # -----------------------------------------------------------------------------------------------------------------
    # Static arguments.

    def without_static(self, args: Any, kwargs: Any) -> tuple[Callable[..., Any], Any, Any, Any]:
        """The function of the arguments that are not static, these arguments, and what stands for the values of the static
        ones, None if there are none."""
        if not self._has_static:
            return self.fun, args, kwargs, None
        count, fun = len(args), self.fun
        fixed, named = self._static_part(args, kwargs)
        others, keywords = self._other_part(args, kwargs, fixed, named)

        def of_the_others(*others: Any, **keywords: Any) -> Any:
            rest = iter(others)
            called = [fixed[i] if i in fixed else next(rest) for i in range(count)]
            return fun(*called, **keywords, **named)

        what = f"a static argument of {self.transform}"
        static = (
            tuple([(i, frozen(x, what)) for i, x in sorted(fixed.items())]),
            tuple([(n, frozen(x, what)) for n, x in sorted(named.items())]),
        )
        return of_the_others, others, keywords, static

    def positions_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
        """The positions of the arguments that are not static."""
        fixed = self._static_part(args, kwargs)[0] if self._has_static else {}
        return [i for i in range(len(args)) if i not in fixed]

    def traced_part(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The arguments that are not static."""
        return self._other_part(args, kwargs, *self._static_part(args, kwargs)) if self._has_static else (args, kwargs)

    def _static_part(self, args: Any, kwargs: Any) -> tuple[dict[int, Any], dict[str, Any]]:
        count = len(args)
        numbers, names = self._static_positions
        return {i % count: args[i] for i in numbers if -count <= i < count}, {
            n: kwargs[n] for n in names if n in kwargs
        }

    @staticmethod
    def _other_part(args: Any, kwargs: Any, fixed: Mapping[int, Any], named: Mapping[str, Any]) -> tuple[Any, Any]:
        others = tuple([x for i, x in enumerate(args) if i not in fixed])
        return others, {k: v for k, v in kwargs.items() if k not in named}

    def leaves_of(self, args: Any, kwargs: Any, numbers: Sequence[int], names: Sequence[str]) -> list[int]:
        """Which of the leaves that are traced belong to arguments of these positions and names."""
        numbers = [i % len(args) for i in numbers if -len(args) <= i < len(args)]
        marked = (
            tuple([tree.tree_map(lambda _, i=i: i in numbers, x) for i, x in enumerate(args)]),
            {n: tree.tree_map(lambda _, n=n: n in names, x) for n, x in kwargs.items()},
        )
        return [i for i, is_one in enumerate(tree.tree_leaves(self.traced_part(*marked))) if is_one]

    @cached
    def _static_positions(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        return static_positions(self.fun, *self._static)


def _parts_of(t: ArrayType) -> Sequence[Any]:
    """What a signature has for a leaf of this type, whether that is an array, a number or a tracer."""
    return [t.python_kind] if t.weak else (t.dtype, t.shape)


_NO_GRAPH = Graph((), (), (), {})
_NO_PATH = Path(_NO_GRAPH, tree.tree_structure(None), ())


def _require_own(graph: Graph) -> None:
    """AsksForValue for what asks for values and of which a program would not be the same: it belongs to an enclosing trace, or does
    more than its outputs say, in an order in which segments would not."""
    if graph.effects or any(map(_is_traced, graph.consts.values())):
        raise AsksForValue


def _is_tracer(x: Any) -> bool:
    """Whether a value is a tracer of whatever kind, and not just says that it is what it stands for."""
    return issubclass(type(x), Tracer)


def _is_traced(x: Any) -> bool:
    """Whether it is a tracer of an enclosing trace, of ours or of jax's, and not just a jax array in a box."""
    return type(x) is Tracer and (not is_boxed(x) or is_jax_tracer(x.value))
