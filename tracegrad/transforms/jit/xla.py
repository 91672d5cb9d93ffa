"""jit on XLA: `jax.jit` of a function that traces ours and emits its Graph.

The cache of signatures is jax's, but for what jax does not tell apart: a function of jax's has one for each value of the
static arguments, and for each structure of the others with the order of its keys.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.backends import xla
from tracegrad.core.context import open_traces
from tracegrad.core.errors import DtypeError, name_of
from tracegrad.core.graph import Graph
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.quiet import quietly
from tracegrad.core.shared import Recent
from tracegrad.core.static import kept, key_of
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import PYTHON_SCALARS, type_of
from tracegrad.core.views import Written
from tracegrad.lower.numpy.calls import Matcher, order_matcher
from tracegrad.lower.numpy.writer import lower
from tracegrad.lower.passes import simplify
from tracegrad.ops.external import RAISED, STOPPED, may_raise
from tracegrad.ops.structural import to_xla_op
from tracegrad.transforms import signatures
from tracegrad.transforms.captured import Captured, OnDevice, captured
from tracegrad.transforms.control.call import call
from tracegrad.transforms.signatures import Backend, Signatures, matches_nothing
from tracegrad.xla.passes import merge_products, merge_rows, name_extremes, solve_by_triangles


class LoweredToXla:
    """A function jitted on XLA, lowered for given arguments: `.graph`, and `.as_text()`, its StableHLO."""

    def __init__(self, graph: Graph, lowered: Any) -> None:
        self.graph = graph
        self._lowered = lowered

    def as_text(self) -> str:
        """The StableHLO that XLA compiles."""
        return self._lowered.as_text()


class OnXla:
    """A function as it is run on XLA. `options` are jax.jit's."""

    def __init__(self, function: Signatures, fast: bool, options: Mapping[str, Any]) -> None:
        self.function = function
        self.backend = Backend("xla", functools.partial(simplified, fast=fast))
        self._inside = self.backend._replace(name="xla, inside of another transform")
        self._options = options
        self._jax = xla()
        self._programs: Recent[_Program] = Recent()
        self._contexts, self._config = self._jax.contexts, self._jax.jax.config
        # What the latest call was like, its program, and whether arrays of NumPy's may be among such arguments.
        self._latest: tuple[Matcher, Any, bool] = matches_nothing, None, True
        self._kinds: set[type] = set()  # the types of leaves that there have been
        self._on_device: weakref.WeakValueDictionary[Any, OnDevice] = weakref.WeakValueDictionary()
        self.is_wide = False  # whether a program has results of float64
        self.may_raise = False  # whether one calls what may raise for the caller

    def __call__(self, args: Any, kwargs: Any) -> Any:
        if open_traces and _holds_tracer(args, kwargs):
            return self._as_equation(args, kwargs)
        if self._config.jax_enable_x64:
            return self._call(args, kwargs)
        with self._contexts.x64:
            out = self._call(args, kwargs)
        return self._jax.handed_out(out) if self.is_wide else out

    def lower(self, args: Any, kwargs: Any) -> LoweredToXla:
        """What is run for such arguments (arrays or `ShapeDtypeStruct`s): its graph and its StableHLO."""
        program, others, named = self._program(args, kwargs)
        others, named = self._packed(*self._jax.structs((others, named)))
        with self._jax.x64():
            lowered = program.lower(*others, **named)
        return LoweredToXla(self.function.entry_for(args, kwargs, self.backend).graph, lowered)

    def _call(self, args: Any, kwargs: Any) -> Any:
        given = args, kwargs
        matches, program, has_ours = self._latest
        if kwargs or matches(args) is None:
            has_ours = True
            program, args, kwargs = self._program(args, kwargs)
        if self.may_raise:
            RAISED.clear()  # of what was run by somebody else, who does not ask
        try:
            out = self._run(program, args, kwargs) if has_ours else program(*args)
            if self.may_raise:
                self._jax.jax.block_until_ready(out)
                self._jax.jax.effects_barrier()
                if RAISED:
                    raise self._raised(*given)
            return out
        except DtypeError:  # ours
            raise
        except RuntimeError as error:  # of jax's, which quotes what a function that was called has raised
            if STOPPED and isinstance(error, self._jax.jax.errors.JaxRuntimeError):
                raised = STOPPED.pop()
                if f"{type(raised).__name__}: {raised}".removesuffix(": ") in str(error):
                    raise raised from None
            raise
        except TypeError:
            if _holds_tracer(args, kwargs):  # one that has leaked, which jax takes for a type
                return self._as_equation(args, kwargs)
            self._require_arrays(*given)
            others, named = self._packed(args, kwargs)
            if all([x is y for x, y in zip((*args, *kwargs.values()), (*others, *named.values()), strict=True)]):
                raise
            return self._run(program, others, named)

    def _raised(self, args: Any, kwargs: Any) -> Exception:
        """What a function has raised that a program called; as it does on NumPy, where more is known of the place, if it does."""
        error = RAISED[-1]
        RAISED.clear()
        try:
            args, kwargs = tree.tree_map(lambda x: np.asarray(x) if is_jax_array(x) else x, (args, kwargs))
            entry, leaves, _ = self.function.entry_of(args, kwargs, Backend("numpy", simplify))
            quietly(("all",), lower(entry.graph, settled=entry.settled).function, *leaves)
        except Exception as found:
            return found if type(found) is type(error) else error
        return error

    def _require_arrays(self, args: Any, kwargs: Any) -> None:
        """Our own error for an argument that is no array, which jax names by its place in what we hand over."""
        _, others, named, static = self.function.without_static(args, kwargs)
        arrays_of(tree.tree_leaves((others, named)), self.function.names(others, named, static))

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
        entry, leaves, _ = self.function.entry_of(args, kwargs, self._inside)
        return tree.tree_unflatten(entry.out_tree, call(entry.graph, [bind(to_xla_op, (x,)) for x in leaves]))

    def _packed(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments, those packed that hold nodes of our trees which jax does not know."""
        return tuple([self._jax.packed(x) for x in args]), {k: self._jax.packed(x) for k, x in kwargs.items()}

    def _program(self, args: Any, kwargs: Any) -> tuple[_Program, Any, Any]:
        """The program for the structure of the arguments and the values of the static ones, and the other arguments."""
        fun, others, named, static = self.function.without_static(args, kwargs)
        self._jax.require_plain_leaves(others, named, lambda: self.function.names(others, named, static))
        leaves, in_tree = tree.tree_flatten((others, named))
        key = (*key_of(in_tree), static)
        program = self._programs.get(key)
        if program is None:
            options = dict(self._options)
            fixed = [] if static is None else [i for i, _ in static[0]]
            donated = options["donate_argnums"]
            if fixed:
                count = len(args)
                donated = {i % count for i in donated if -count <= i < count}.difference(fixed)
            options["donate_argnums"] = tuple([i - sum(j < i for j in fixed) for i in sorted(donated)])
            program = self._programs.keep(key, _Program(self, kept(in_tree), static, options), signatures.CACHE_SIZE)
        if static is not None:
            program.now.fun = fun  # with the static arguments of this call, which others are equal to, but for a time
        elif not kwargs and Tracer not in (kinds := {*map(type, leaves)}):
            self._kinds = kinds = self._kinds | kinds
            has_ours = any([issubclass(kind, np.ndarray) for kind in kinds])
            self._latest = order_matcher(tree.tree_structure(args), kinds) or matches_nothing, program, has_ours
        return program, others, named


class _ClosesOver(Exception):
    """What is raised where jax traces a function and it is seen to close over arrays that may be written into: they have
    to be inputs of what jax runs. `program` is a function of them and of the arguments, while `unchanged` are that; if
    it is for one call alone, `once` says why."""

    def __init__(
        self, program: Callable[..., Any], arrays: Sequence[OnDevice], unchanged: Sequence[Captured], once: str
    ) -> None:
        super().__init__()
        self.program = program
        self.arrays = arrays
        self.unchanged = unchanged
        self.once = once


# What jax runs, the arrays that it takes before the arguments, and what of these must be as it was.
_Closed = tuple[Any, Sequence[OnDevice], Sequence[Captured]]


class _Program:
    """What jax runs for arguments of one structure. Where the function closes over arrays that may be written into, jax has
    a function for each signature, with copies of these for a further argument, the first."""

    def __init__(self, on_xla: OnXla, in_tree: tree.PyTreeDef, static: Any, options: Mapping[str, Any]) -> None:
        self._in_tree = in_tree
        self._static = static
        self._options = options
        self._jax = on_xla._jax
        self.now = threading.local()
        self._run = self._jax.jax.jit(self._staged(on_xla), **options)
        self._closed: Recent[_Closed] = Recent()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = self._found(args, kwargs) if len(self._closed) else None
        if found is None:
            try:
                out = self._run(*args, **kwargs)
            except _ClosesOver as closes_over:
                found = self._keep(closes_over, args, kwargs)
        if found is not None:
            run, arrays, _ = found
            out = run([a.copy() for a in arrays], *args, **kwargs)
        return out.tree if type(out) is self._jax.InOrder else out

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
        if not all([type(x) in PYTHON_SCALARS or hasattr(x, "dtype") for x in leaves]):
            raise TypeError("a node of our trees that jax does not know, which is packed then")
        return tuple(
            [
                type(x) if type(x) in PYTHON_SCALARS else (x.dtype, x.shape, getattr(x, "weak_type", False))
                for x in leaves
            ]
        )

    def _found(self, args: Any, kwargs: Any) -> Any:
        key = self._key(args, kwargs)
        found = self._closed.get(key)
        if found is not None and (why := next(filter(None, [c.change() for c in found[2]]), "")):
            self.now.why = why
            self._closed.drop(key, found)
            return None
        return found

    def _keep(self, found: _ClosesOver, args: Any, kwargs: Any) -> _Closed:
        options = dict(self._options)
        options["donate_argnums"] = tuple([i + (i >= 0) for i in options["donate_argnums"]])
        given = options.get("in_shardings")
        if given is not None:
            options["in_shardings"] = (None, *(given if isinstance(given, tuple) else [given] * len(args)))
        run = self._jax.jax.jit(found.program, **options)
        made = run, found.arrays, found.unchanged
        if found.once:
            return made
        return self._closed.keep(self._key(args, kwargs), made, signatures.CACHE_SIZE)

    def _staged(self, on_xla: OnXla) -> Callable[..., Any]:
        """The function that jax traces. Containers are jax's, or where jax does not know them, ours."""
        static, jax, in_tree, now = self._static, self._jax, self._in_tree, self.now
        # What holds the program, and has called it where jax calls this. It is not held in turn, which would be a cycle.
        weakly = weakref.ref(on_xla)
        function, backend = on_xla.function, on_xla.backend
        name = name_of(function.fun)
        # Shardings may be given as a tree like that of the outputs.
        is_tree = isinstance(self._options.get("out_shardings"), dict | list | tuple)
        take_apart = jax.flatten if is_tree else jax.flatten_in_order

        def staged(*args: Any, **kwargs: Any) -> Any:
            leaves, arguments = jax.flatten((args, kwargs))

            def put_together(tracers: Sequence[Any]) -> Any:
                # jax sorts the keys of dicts; what it alone knows stands in leaves of ours
                return in_tree.unflatten(tree.tree_leaves(arguments(tracers)))

            on_xla = weakly()
            assert on_xla is not None
            types = [type_of(x) for x in leaves]
            names = function.names(args, kwargs, static)
            if tree.tree_structure((args, kwargs)).num_leaves != len(leaves):  # with nodes that jax alone knows
                names = jax.names((args, kwargs))
            # The context in use is entered already; the function may come to enter one itself.
            contexts = jax.contexts
            in_use, contexts.x64 = contexts.x64, jax.x64()
            try:
                fun = getattr(now, "fun", function.fun)
                graph, made, lasting = function.traced(fun, types, names, backend, put_together, take_apart)
            finally:
                contexts.x64 = in_use
            if may_raise(graph):
                on_xla.may_raise = True
                RAISED.clear()
            on_xla.is_wide = on_xla.is_wide or jax.is_wide([t.dtype for t in graph.out_types])
            structure = in_tree if kwargs else in_tree.children()[0]
            key = function.key_of(structure, static, bool(kwargs), backend.name)
            inputs, looked, once = captured(graph.consts, lasting)
            function.note(key, types, names, vars(now).pop("why", ""), once=once)
            if not inputs and not looked and not once:
                return made(jax.emit(graph, leaves))
            rest = {v: x for v, x in graph.consts.items() if v not in inputs}
            opened = Graph((*graph.inputs, *inputs), graph.eqns, graph.outputs, rest, graph.name)

            def program(copies: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
                return made(jax.emit(opened, [*jax.flatten((args, kwargs))[0], *copies]))

            program.__name__ = program.__qualname__ = name
            raise _ClosesOver(program, list(map(on_xla.on_device, inputs.values())), [*inputs.values(), *looked], once)

        staged.__name__ = staged.__qualname__ = name
        return staged


def simplified(graph: Graph, fast: bool) -> Graph:
    return name_extremes(merge_products(merge_rows(solve_by_triangles(simplify(graph, fast, any_layout=False)))))


def _holds_tracer(args: Any, kwargs: Any) -> bool:
    return not _TRACERS.isdisjoint(map(type, tree.tree_leaves((args, kwargs))))


_TRACERS = {Tracer, Written}
