"""jit: trace once for each signature, simplify the Graph, compile it, and from then on run what was compiled."""

from __future__ import annotations

import functools
import inspect
import operator
import os
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from numpy import ndarray

from tracegrad import tree
from tracegrad.core.backends import xla
from tracegrad.core.boxes import holds_jax_array, is_boxed, out_of_boxes
from tracegrad.core.collector import collector_paused
from tracegrad.core.context import context, open_traces
from tracegrad.core.errors import DtypeError, at, clip, described, name_of, require_callable, user_source
from tracegrad.core.graph import Graph, graphs_in
from tracegrad.core.jax_arrays import is_jax_tracer
from tracegrad.core.names import leaf_names, output_name
from tracegrad.core.static import exact, frozen
from tracegrad.core.trace import Tracer, Written, arrays_of, bind, declared_types, depends_on
from tracegrad.core.tracing import trace_graph
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, type_of
from tracegrad.lower.numpy.calls import Matcher, matcher, order_matcher
from tracegrad.lower.numpy.writer import lower
from tracegrad.lower.passes import simplify, simplify_in_order
from tracegrad.ops.structural import to_xla_op
from tracegrad.transforms.control.call import call
from tracegrad.transforms.jit.captured import Captured, OnDevice, captured
from tracegrad.xla.passes import merge_products, merge_rows

CACHE_SIZE = 256
LOG_SIZE = 1024


class Entry:
    """What is kept for one signature: the Graph, and once it has been called on plain arrays, the compiled function."""

    def __init__(self, graph: Graph, out_tree: tree.PyTreeDef, looked_into: list[Any]) -> None:
        self.graph = graph
        self.out_tree = out_tree
        inputs, self.looked_into = captured(graph.consts, looked_into)
        self.captured = (*inputs.values(), *self.looked_into)
        self.matches: Matcher = _matches_nothing

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        with collector_paused():
            return lower(self.graph, self.out_tree).function


def _matches_nothing(args: tuple[Any, ...]) -> None:
    return None


_NOTHING = Graph((), (), (), {})


class LoweredFunction:
    """A jitted function lowered for given arguments, in C order: `.graph`, and `.as_text()`, the generated source."""

    def __init__(self, graph: Graph, out_tree: tree.PyTreeDef) -> None:
        self.graph, _ = simplify_in_order(graph)
        self._lowered = graph
        self.out_tree = out_tree

    def as_text(self) -> str:
        """The generated Python source, each line with the user's line that it comes from: of the functions of branches
        first, then that of the whole."""
        inner = dict.fromkeys(graphs_in(self.graph))
        return "\n".join([*[f"{lower(graph).source}\n" for graph in inner], lower(self._lowered, self.out_tree).source])


class Jitted:
    """What `jit` returns: call it like the function itself.

    `lower(*args)` shows what is run for such arguments. `trace_log` has a line for each of the latest traces, saying what was new.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: tuple[int, ...],
        static_argnames: tuple[str, ...],
        fast: bool,
        transform: str = "jit",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        functools.update_wrapper(self, fun)
        self._options = options  # for jax.jit, where jax arrays may be handed over to it
        self._fun = fun
        self._transform = transform
        self._fast = fast
        self._static_argnums = static_argnums
        self._static_argnames = static_argnames
        self._entries: OrderedDict[Any, Entry] = OrderedDict()
        self._lock = threading.RLock()
        self._latest: Any = None
        self._recent = Entry(_NOTHING, tree.tree_structure(None), [])  # the entry of the latest call, tried first
        self.trace_log: list[str] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            recent = self._recent
            found = recent.matches(args)
            if found is not None:
                return recent.function(*found)
        if self._options is not None and "jax" in sys.modules and holds_jax_array(self._traced_part(args, kwargs)):
            return self._on_xla(*args, **kwargs)
        entry, leaves, is_plain = self.entry_of(args, kwargs)
        if Tracer in map(type, leaves) or Tracer in map(type, entry.graph.consts.values()) or entry.graph.axes:
            # Recorded in the traces that the tracers belong to, or in that of the vmap whose axis it names.
            return out_of_boxes(tree.tree_unflatten(entry.out_tree, call(entry.graph, leaves)))
        if is_plain:
            if entry.matches is _matches_nothing:
                entry.matches = matcher(tree.tree_structure(args), leaves, entry.captured) or _matches_nothing
            self._recent = entry
        return entry.function(*leaves)

    @functools.cached_property
    def _on_xla(self) -> Callable[..., Any]:
        args = self._fun, self._static_argnums, self._static_argnames, self._fast, self._transform
        return JittedOnXla(*args, options=self._options or {})

    def entry_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Entry, list[Any], bool]:
        """What is kept for the signature of a call, which is traced for if it is new; the call's arrays; and whether
        these alone, all of them positional, say which signature it is."""
        fun = self._fun
        static: Any = None
        if self._static_argnums or self._static_argnames:
            fun, args, kwargs, static = self._without_static(args, kwargs)
        leaves, in_tree = tree.tree_flatten((args, kwargs) if kwargs else args)
        signature: list[Any] = [in_tree, static, bool(kwargs), context.bound, exact(in_tree.details())]
        for x in leaves:
            kind = type(x)
            if kind is ndarray:
                signature.append(x.dtype)
                signature.append(x.shape)
            elif kind in PYTHON_SCALARS:
                signature.append(kind)
            else:
                leaves = arrays_of(leaves, self._names(args, kwargs, static))
                signature[5:] = [type_of(x) for x in leaves]
                break
        key = tuple(signature)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)  # the latest used
        why = "" if entry is None else next(filter(None, [c.change() for c in entry.captured]), "")
        if entry is None or why:
            entry = self._entry(key, fun, args, kwargs, leaves, why)
        for x in entry.looked_into:
            depends_on(x.array)  # so does a program of which this one is a part
        return entry, leaves, static is None and not kwargs and not context.bound

    def _names(self, args: Any, kwargs: Any, static: Any) -> Callable[[int], str]:
        structure = tree.tree_structure(args)
        fixed = [] if static is None else [i for i, _ in static[0]]
        positions = [i for i in range(len(args) + len(fixed)) if i not in fixed]
        names = leaf_names(self._fun, structure, positions)
        paths = [tree.keystr(path) for path, _ in tree.tree_leaves_with_path(kwargs)]
        return lambda i: names(i) if i < structure.num_leaves else f"kwargs{paths[i - structure.num_leaves]}"

    def _traced(
        self, fun: Any, args: Any, kwargs: Any, static: Any, types: Sequence[ArrayType]
    ) -> tuple[Graph, Any, list[Any]]:
        """The Graph, the tree of its outputs, and the arrays that were looked into."""
        in_tree = tree.tree_structure((args, kwargs) if kwargs else args)
        out_tree: Any = None

        def flat(*tracers: Any) -> list[Any]:
            nonlocal out_tree
            called = tree.tree_unflatten(in_tree, tracers)
            out = fun(*called[0], **called[1]) if kwargs else fun(*called)
            outputs, out_tree = tree.tree_flatten(out)
            return arrays_of(outputs, lambda i: output_name(self._fun, out, i))

        looked_into: list[ndarray[Any, Any]] = []
        return self._graph(flat, types, self._names(args, kwargs, static), looked_into), out_tree, looked_into

    def _graph(
        self,
        flat: Callable[..., list[Any]],
        types: Sequence[ArrayType],
        names: Callable[[int], str],
        looked_into: list[Any],
    ) -> Graph:
        graph = trace_graph(
            flat,
            types,
            transform=self._transform,
            user_function=self._fun,
            names=names,
            abstract=True,
            lasting=looked_into,
        )
        with collector_paused():
            return self._simplified(graph)

    def _simplified(self, graph: Graph) -> Graph:
        return simplify(graph, self._fast)

    def _entry(self, key: Any, fun: Any, args: Any, kwargs: Any, leaves: Sequence[Any], why: str) -> Entry:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and not any([c.change() for c in entry.captured]):
                return entry
            types = declared_types(leaves, self._names(args, kwargs, key[1]))
            entry = Entry(*self._traced(fun, args, kwargs, key[1], types))
            self.trace_log.append(why or self._reason(key, types, self._names(args, kwargs, key[1])))
            del self.trace_log[:-LOG_SIZE]
            if not any(map(_is_traced, entry.graph.consts.values())):  # else it is of one enclosing trace only
                self._latest = (key, types)
                self._entries[key] = entry
                while len(self._entries) > CACHE_SIZE:
                    self._entries.popitem(last=False)
            return entry

    def _reason(self, key: Any, types: Sequence[ArrayType], name: Callable[[int], str]) -> str:
        """What was new about a signature, against the one traced before."""
        if self._latest is None:
            return "first call"
        before, old_types = self._latest
        if before[0] != key[0] or before[2] != key[2]:
            return f"the structure of the arguments: {key[0]}, before {before[0]}"
        if before[1] != key[1]:
            return f"a static argument: {clip(repr(key[1]))}, before {clip(repr(before[1]))}"
        if before[3] != key[3]:
            return f"the named axes around the call: {key[3]}, before {before[3]}"
        if before[4] != key[4]:
            return "the arguments' keys or static fields, which come in another order or are of other types"
        changed = [
            f"{name(i)}: {new}, before {old}"
            for i, (new, old) in enumerate(zip(types, old_types, strict=True))
            if new != old
        ]
        return "; ".join(changed) or "a signature that had been dropped from the cache"

    @functools.cached_property
    def _static_places(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The positions and the names of the static arguments, each of them both where a parameter has both."""
        parameters = _parameters(self._fun)
        order = [p.name for p in parameters]
        count = len(_positional(parameters))
        open_ended = not parameters or any([p.kind is p.VAR_POSITIONAL for p in parameters])
        numbers = [i if open_ended else i % count for i in self._static_argnums]
        names = [
            order[i] for i in numbers if 0 <= i < count and parameters[i].kind is not inspect.Parameter.POSITIONAL_ONLY
        ]
        numbers += [order.index(n) for n in self._static_argnames if n in order[:count]]
        return tuple(dict.fromkeys(numbers)), tuple(dict.fromkeys([*self._static_argnames, *names]))

    def _traced_part(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The arguments that are not static."""
        if not (self._static_argnums or self._static_argnames):
            return args, kwargs
        numbers, names = self._static_places
        fixed = {i % len(args) for i in numbers if -len(args) <= i < len(args)}
        return [x for i, x in enumerate(args) if i not in fixed], {k: v for k, v in kwargs.items() if k not in names}

    def _without_static(self, args: Any, kwargs: Any) -> Any:
        """The function of the other arguments, those arguments, and what stands for the values of the static ones."""
        count = len(args)
        numbers, names = self._static_places
        fixed = {i % count: args[i] for i in numbers if -count <= i < count}
        named = {n: kwargs[n] for n in names if n in kwargs}
        fun = self._fun

        def of_the_others(*others: Any, **keywords: Any) -> Any:
            rest = iter(others)
            called = [fixed[i] if i in fixed else next(rest) for i in range(count)]
            return fun(*called, **keywords, **named)

        static = (
            tuple([(i, frozen(x, self._transform)) for i, x in sorted(fixed.items())]),
            tuple([(n, frozen(x, self._transform)) for n, x in sorted(named.items())]),
        )
        others = tuple([x for i, x in enumerate(args) if i not in fixed])
        return of_the_others, others, {k: v for k, v in kwargs.items() if k not in named}, static

    def lower(self, *args: Any, **kwargs: Any) -> LoweredFunction:
        """What is run for such arguments (arrays or `ShapeDtypeStruct`s): its graph and its source."""
        fun = self._fun
        static: Any = None
        if self._static_argnums or self._static_argnames:
            fun, args, kwargs, static = self._without_static(args, kwargs)
        leaves = tree.tree_leaves((args, kwargs) if kwargs else args)
        types = declared_types(leaves, self._names(args, kwargs, static))
        return LoweredFunction(*self._traced(fun, args, kwargs, static, types)[:2])

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        found: Any = sys.modules.get(self._fun.__module__)
        for part in self._fun.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is self:
            return self._fun.__qualname__
        return Jitted, (self._fun, self._static_argnums, self._static_argnames, self._fast)

    def __repr__(self) -> str:
        return f"<jit of {described(self._fun)}>"


class LoweredToXla:
    """A function jitted on XLA, lowered for given arguments: `.graph`, and `.as_text()`, its StableHLO."""

    def __init__(self, graph: Graph, lowered: Any) -> None:
        self.graph = graph
        self._lowered = lowered

    def as_text(self) -> str:
        """The StableHLO that XLA compiles."""
        return self._lowered.as_text()


class JittedOnXla(Jitted):
    """What `jit` with backend="xla" returns: `jax.jit` of a function that traces ours and emits its Graph.

    The cache of signatures is jax's, but for what jax does not tell apart: a function of jax's has one for each value of the
    static arguments, and for each structure of the others with the order of its keys.
    """

    def __init__(self, *args: Any, options: Mapping[str, Any]) -> None:
        super().__init__(*args)
        self._given = options
        self._jax = xla()
        self._programs: OrderedDict[Any, _Program] = OrderedDict()
        self._contexts, self._config = self._jax.contexts, self._jax.jax.config
        self._latest_program: tuple[Matcher, Any] = _matches_nothing, None
        self._kinds: set[type] = set()  # the types of leaves that there have been
        self._on_device: weakref.WeakValueDictionary[Any, OnDevice] = weakref.WeakValueDictionary()
        self._is_wide = False  # whether a program has results of float64

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if open_traces and _holds_tracer(args, kwargs):
            return self._as_equation(args, kwargs)
        if self._config.jax_enable_x64:
            return self._call(args, kwargs)
        with self._contexts.x64:
            out = self._call(args, kwargs)
        return self._jax.handed_out(out) if self._is_wide else out

    def _call(self, args: Any, kwargs: Any) -> Any:
        matches, program = self._latest_program
        if kwargs or matches(args) is None:
            program, args, kwargs = self._program(args, kwargs)
        try:
            return self._run(program, args, kwargs)
        except DtypeError:  # ours
            raise
        except TypeError:
            if _holds_tracer(args, kwargs):  # one that has leaked, which jax takes for a type
                return self._as_equation(args, kwargs)
            others, named = self._packed(args, kwargs)
            if all([x is y for x, y in zip((*args, *kwargs.values()), (*others, *named.values()), strict=True)]):
                raise
            return self._run(program, others, named)

    def _run(self, program: Any, args: Any, kwargs: Any) -> Any:
        """A program's results for arrays of our own in place of these arguments."""
        lent: list[Any] = []
        args = self._jax.arguments_of_our_own(args, lent)
        if kwargs:
            kwargs = self._jax.arguments_of_our_own(kwargs, lent)
        out = program(*args, **kwargs)
        return self._jax.returned(out, lent) if lent else out

    def on_device(self, x: Captured) -> OnDevice:
        """An array from outside on the device, where all signatures have the same copy of it."""
        key = (id(x.array), x.dtype, x.shape)
        found = self._on_device.get(key)
        if found is None:
            found = self._on_device[key] = OnDevice(x, self._jax.copied)
        return found

    def _as_equation(self, args: Any, kwargs: Any) -> Any:
        """Inside another transform: one equation of it."""
        entry, leaves, _ = self.entry_of(args, kwargs)
        return tree.tree_unflatten(entry.out_tree, call(entry.graph, [bind(to_xla_op, (x,)) for x in leaves]))

    def _packed(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments, those packed that hold nodes of our trees which jax does not know."""
        return tuple([self._jax.packed(x) for x in args]), {k: self._jax.packed(x) for k, x in kwargs.items()}

    def _simplified(self, graph: Graph) -> Graph:
        return merge_products(merge_rows(simplify(graph, self._fast, any_layout=False)))

    def _program(self, args: Any, kwargs: Any) -> tuple[_Program, Any, Any]:
        """The program for the structure of the arguments and the values of the static ones, and the other arguments."""
        fun, others, named, static = self._fun, args, kwargs, None
        if self._static_argnums or self._static_argnames:
            fun, others, named, static = self._without_static(args, kwargs)
        self._jax.require_plain_leaves(others, named, lambda: self._names(others, named, static))
        leaves, in_tree = tree.tree_flatten((others, named))
        key = (in_tree, static, exact(in_tree.details()))
        with self._lock:
            program = self._programs.get(key)
            if program is None:
                options = dict(self._given)
                fixed = [] if static is None else [i for i, _ in static[0]]
                donated = [i % len(args) for i in options["donate_argnums"]] if fixed else options["donate_argnums"]
                options["donate_argnums"] = tuple([i - sum(j < i for j in fixed) for i in donated if i not in fixed])
                program = self._programs[key] = _Program(self, in_tree, static, options)
                while len(self._programs) > CACHE_SIZE:
                    self._programs.popitem(last=False)
            else:
                self._programs.move_to_end(key)
        if static is not None:
            program.now.fun = fun  # with the static arguments of this call, which others are equal to, but for a time
        elif not kwargs and Tracer not in (kinds := {*map(type, leaves)}):
            self._kinds |= kinds
            self._latest_program = order_matcher(tree.tree_structure(args), self._kinds) or _matches_nothing, program
        return program, others, named

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """What is run for such arguments (arrays or `ShapeDtypeStruct`s): its graph and its StableHLO."""
        program, others, named = self._program(args, kwargs)
        others, named = self._packed(*self._jax.structs((others, named)))
        with self._jax.x64():
            lowered = program.lower(*others, **named)
        return LoweredToXla(super().lower(*args, **kwargs).graph, lowered)

    def __reduce__(self) -> Any:
        found = super().__reduce__()
        return found if isinstance(found, str) else (_jitted_on_xla, (*found[1], dict(self._given)))


class _ClosesOver(Exception):
    """What is raised where jax traces a function and it is seen to close over arrays that may be written into: they have
    to be inputs of what jax runs. `program` is a function of them and of the arguments, while `unchanged` are that."""

    def __init__(self, program: Callable[..., Any], arrays: Sequence[OnDevice], unchanged: Sequence[Captured]) -> None:
        super().__init__()
        self.program = program
        self.arrays = arrays
        self.unchanged = unchanged


# What jax runs, the arrays that it takes before the arguments, and what of these must be as it was.
_Closed = tuple[Any, Sequence[OnDevice], Sequence[Captured]]


class _Program:
    """What jax runs for arguments of one structure. Where the function closes over arrays that may be written into, jax has
    a function for each signature, with copies of these for a further argument, the first."""

    def __init__(self, jitted: JittedOnXla, in_tree: tree.PyTreeDef, static: Any, options: Mapping[str, Any]) -> None:
        self._jitted = jitted
        self._in_tree = in_tree
        self._static = static
        self._options = options
        self._jax = jitted._jax
        self.now = threading.local()
        self._run = self._jax.jax.jit(self._staged(), **options)
        self._closed: OrderedDict[Any, _Closed] = OrderedDict()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        made = self._made(args, kwargs)
        return made.tree if type(made) is self._jax.InOrder else made

    def _made(self, args: Any, kwargs: Any) -> Any:
        found = self._found(args, kwargs) if self._closed else None
        if found is None:
            try:
                return self._run(*args, **kwargs)
            except _ClosesOver as closes_over:
                found = self._keep(closes_over, args, kwargs)
        run, arrays, _ = found
        return run([a.copy() for a in arrays], *args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        found = self._found(args, kwargs)
        if found is None:
            try:
                return self._run.lower(*args, **kwargs)
            except _ClosesOver as closes_over:
                found = self._keep(closes_over, args, kwargs)
        return found[0].lower([a.copy() for a in found[1]], *args, **kwargs)

    def _key(self, args: Any, kwargs: Any) -> Any:
        leaves = self._jax.jax.tree_util.tree_leaves((args, kwargs))
        return tuple(
            [
                type(x) if type(x) in PYTHON_SCALARS else (x.dtype, x.shape, getattr(x, "weak_type", False))
                for x in leaves
            ]
        )

    def _found(self, args: Any, kwargs: Any) -> Any:
        key = self._key(args, kwargs)
        found = self._closed.get(key)
        why = "" if found is None else next(filter(None, [c.change() for c in found[2]]), "")
        if why:
            self.now.why = why
            self._closed.pop(key, None)
            return None
        return found

    def _keep(self, found: _ClosesOver, args: Any, kwargs: Any) -> _Closed:
        options = dict(self._options)
        options["donate_argnums"] = tuple([i + (i >= 0) for i in options["donate_argnums"]])
        given = options.get("in_shardings")
        if given is not None:
            options["in_shardings"] = (None, *(given if isinstance(given, tuple) else [given] * len(args)))
        run = self._jax.jax.jit(found.program, **options)
        made = self._closed[self._key(args, kwargs)] = run, found.arrays, found.unchanged
        while len(self._closed) > CACHE_SIZE:
            self._closed.popitem(last=False)
        return made

    def _staged(self) -> Callable[..., Any]:
        """The function that jax traces. Containers are jax's, or where jax does not know them, ours."""
        jitted, static, jax = self._jitted, self._static, self._jax
        # Shardings may be given as a tree like that of the outputs.
        is_tree = isinstance(self._options.get("out_shardings"), dict | list | tuple)
        take_apart = jax.flatten if is_tree else jax.flatten_in_order

        def staged(*args: Any, **kwargs: Any) -> Any:
            leaves, arguments = jax.flatten((args, kwargs))
            fun = getattr(self.now, "fun", jitted._fun)
            made: Any = None

            def flat(*tracers: Any) -> list[Any]:
                nonlocal made
                # jax sorts the keys of dicts; what it alone knows stands in leaves of ours
                called, named = self._in_tree.unflatten(self._in_tree.flatten_up_to(arguments(tracers)))
                out = fun(*called, **named)
                outputs, made = take_apart(out)
                return arrays_of(outputs, lambda i: output_name(jitted._fun, out, i))

            looked_into: list[ndarray[Any, Any]] = []
            types = [type_of(x) for x in leaves]
            names = jitted._names(args, kwargs, static)
            if tree.tree_structure((args, kwargs)).num_leaves != len(leaves):  # with nodes that jax alone knows
                names = jax.names((args, kwargs))
            # The context in use is entered already; the function may come to enter one itself.
            in_use, jitted._contexts.x64 = jitted._contexts.x64, jax.x64()
            try:
                graph = jitted._graph(flat, types, names, looked_into)
            finally:
                jitted._contexts.x64 = in_use
            jitted._is_wide = jitted._is_wide or jax.is_wide([t.dtype for t in graph.out_types])
            with jitted._lock:
                key = (self._in_tree, static, bool(kwargs), context.bound, exact(self._in_tree.details()))
                jitted.trace_log.append(vars(self.now).pop("why", "") or jitted._reason(key, types, names))
                del jitted.trace_log[:-LOG_SIZE]
                jitted._latest = (key, types)
            inputs, looked = captured(graph.consts, looked_into)
            if not inputs and not looked:
                return made(jax.emit(graph, leaves))
            rest = {v: x for v, x in graph.consts.items() if v not in inputs}
            opened = Graph((*graph.inputs, *inputs), graph.eqns, graph.outputs, rest, graph.name)

            def program(copies: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
                return made(jax.emit(opened, [*jax.flatten((args, kwargs))[0], *copies]))

            program.__name__ = program.__qualname__ = staged.__name__
            raise _ClosesOver(program, list(map(jitted.on_device, inputs.values())), [*inputs.values(), *looked])

        staged.__name__ = staged.__qualname__ = name_of(jitted._fun)
        return staged


def _is_traced(x: Any) -> bool:
    """Whether it is a tracer of an enclosing trace, of ours or of jax's, and not just a jax array in a box."""
    return type(x) is Tracer and (not is_boxed(x) or is_jax_tracer(x.value))


def _holds_tracer(args: Any, kwargs: Any) -> bool:
    return not _TRACERS.isdisjoint(map(type, tree.tree_leaves((args, kwargs))))


_TRACERS = {Tracer, Written}


def _jitted_on_xla(*args: Any) -> JittedOnXla:
    return JittedOnXla(*args[:-1], options=args[-1])


def _parameters(fun: Any, follow_wrapped: bool = True) -> list[inspect.Parameter]:
    """The parameters of a function, none where nothing is known of them."""
    try:
        return list(inspect.signature(fun, follow_wrapped=follow_wrapped).parameters.values())
    except (TypeError, ValueError):
        return []


def _positional(parameters: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _argument_numbers(given: Any, option: str, transform: str) -> tuple[int, ...]:
    try:
        return tuple([operator.index(i) for i in (given if isinstance(given, Iterable) else (given,))])
    except TypeError:
        raise TypeError(
            f"{transform}{at(user_source())}: {option} must be an int or a sequence of ints, the positions of arguments, got "
            f"{clip(repr(given))}" + ("; names go into static_argnames" if isinstance(given, str) else "")
        ) from None


def static_positions(fun: Any, static_argnums: Any, transform: str = "jit") -> tuple[int, ...]:
    """`static_argnums` as a tuple of positions that the function has."""
    numbers = _argument_numbers(static_argnums, "static_argnums", transform)
    parameters = _parameters(fun)
    found = [p.name for p in _positional(parameters)]
    if parameters and not any([p.kind is p.VAR_POSITIONAL for p in parameters]):
        for i in numbers:
            if not -len(found) <= i < len(found):
                raise ValueError(
                    f"{transform}{at(user_source())}: static_argnums={clip(repr(static_argnums))}, but {described(fun)} has no "
                    f"positional parameter {i}; those that it has are numbered from 0: {', '.join(found) or 'none'}"
                )
    return numbers


def _static_names(fun: Any, static_argnames: Any) -> tuple[str, ...]:
    """`static_argnames` as a tuple of names that the function takes."""
    is_several = isinstance(static_argnames, Iterable) and not isinstance(static_argnames, str)
    names = tuple(static_argnames) if is_several else (static_argnames,)
    if not all([isinstance(n, str) for n in names]):
        raise TypeError(
            f"jit{at(user_source())}: static_argnames must be a string or a sequence of strings, the names of arguments, got "
            f"{clip(repr(static_argnames))}; positions go into static_argnums"
        )
    # A wrapper that shows the signature of what it wraps may take more.
    parameters = _parameters(fun) + _parameters(fun, follow_wrapped=False)
    if parameters and not any([p.kind is p.VAR_KEYWORD for p in parameters]):
        known = list(dict.fromkeys([p.name for p in parameters]))
        for n in names:
            if n not in known:
                raise ValueError(
                    f"jit{at(user_source())}: static_argnames={static_argnames!r}, but {described(fun)} has no parameter "
                    f"{n!r}; its parameters are {', '.join(known)}"
                )
    return names


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    backend: str | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
    in_shardings: Any = None,
    out_shardings: Any = None,
    fast: bool = False,
) -> Any:
    """A function that does what `fun` does, from a program that is generated at the first call with each signature.

    Args:
        fun: a function of arrays and pytrees of them. It is traced by types only: what it does in Python (branches, prints)
            happens once for each signature, and a branch may depend on shapes, dtypes and static arguments, not on
            values. Dicts and keywords come in the caller's order, which is part of the signature.

            Arrays that it closes over are hidden inputs, read anew at each call, in derivatives and batches too. What
            Python computes from them while tracing is fixed: in `x * (2 * c)` the product `2 * c`, in `x * 2 * c`
            nothing. One that has got another shape or dtype in place is traced for, and so is one whose values a function
            looks at: a mask that selects, repeats, indices in `np.take`. On XLA a copy is kept on the device,
            and made anew when the array has been written into; of an array of more than 256 KiB 4096 elements are
            looked at for that, so that a write of a few elements may be missed. Large data belongs in an argument, and
            so does what changes often. A name that is bound to another array is not seen.
        backend: "numpy", or "xla" for CPUs, GPUs and TPUs through jax; None for XLA where an argument is a jax array, and
            else for what the environment says in TRACEGRAD_BACKEND, or "numpy".
        static_argnums: positions of arguments that are handed to `fun` as they are, and traced for anew at each new value.
            They are told apart by value, to the type and the sign of a zero, so lists, dicts, sets, dataclasses and arrays
            will do, which are looked through at each call. What other objects hold is not seen: their `==` and hash count.
        static_argnames: the same by name. A parameter is static by position and by name, whichever is given.
        donate_argnums: positions of arguments that the caller will not use again. NumPy's arrays gain nothing from it.
        in_shardings, out_shardings: how arguments and results are laid out over devices, as for `jax.jit`; for XLA only.
        fast: allow what rounds otherwise than `fun` itself, by an unit in the last place or two: products in place of
            quotients by numbers and of small powers, one factor in place of two.

    On XLA results are jax arrays, and NumPy arguments may be written into as soon as a call has returned. They are copied for
    that; but on CPUs a call with one of more than 256 KiB returns when the program has run. Where calls are to overlap with
    other work there, put large arrays on the device first, with `tg.device_put`. In a process whose jax computes in float32
    (its 64-bit flag is off), the first float64 result comes with a `PrecisionWarning`.

    Returns:
        A function with the same arguments and results, bit for bit unless `fast`, also where arrays lie in memory in
        another way than C order: temporaries lie as NumPy's do, and products make the same calls of BLAS. (Of a NaN only
        that it is one. What is not NumPy's own computation here may be summed in another order than NumPy does without a
        trace: einsum, tensordot, inner, vdot, norms and what is made of them, np.dot of what does not lie in one block,
        means of complex numbers, reductions with `initial=`, and what comes after the copy of an array that is not in C order, since that lies as the array does.
        The derivative of a jitted function, and of a branch that is known without jit, and not with it, may be summed in
        another order than that of the function itself. Python floats have NumPy's infinities and NaN where Python raises;
        on XLA, whose bits are its own, Python ints are of 64 bits and wrap around, in the dtype of an array beside them
        too, and bools are NumPy's.) Called while
        something else is traced, it is one equation there. It has `.lower(*args)`, with `.graph` and `.as_text()`, and
        `.trace_log`, one line for each time that it was traced.

    Raises:
        ConcretizationTypeError: where `fun` needs a value, with the user's line.
        ValueError: a static argument that `fun` has not.

    >>> import numpy as np, tracegrad as tg
    >>> @tg.jit
    ... def f(x):
    ...     return np.sin(x) * 2.0
    >>> f(np.zeros(3)).tolist()
    [0.0, 0.0, 0.0]
    >>> f.trace_log
    ['first call']
    """
    if fun is None:
        return functools.partial(
            jit, backend=backend, static_argnums=static_argnums, static_argnames=static_argnames,
            donate_argnums=donate_argnums, in_shardings=in_shardings, out_shardings=out_shardings, fast=fast,
        )  # fmt: skip
    require_callable(fun, "jit")
    chosen = os.environ.get("TRACEGRAD_BACKEND", "numpy") if backend is None else backend
    if chosen not in ("numpy", "xla"):
        where = f"TRACEGRAD_BACKEND={chosen}" if backend is None else f"backend={chosen!r}"
        raise ValueError(f"jit{at(user_source())}: there is no backend of {where}; write 'numpy' or 'xla'")
    numbers = static_positions(fun, static_argnums)
    names = _static_names(fun, static_argnames)
    donated = _argument_numbers(donate_argnums, "donate_argnums", "jit")
    options: dict[str, Any] = {"donate_argnums": donated}
    if in_shardings is not None:
        options["in_shardings"] = in_shardings
    if out_shardings is not None:
        options["out_shardings"] = out_shardings
    if chosen == "xla":
        return JittedOnXla(fun, numbers, names, fast, options=options)
    return Jitted(fun, numbers, names, fast, options=options if backend is None else None)
