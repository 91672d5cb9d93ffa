"""`from_jax`: a function of jax's as a part of our Graph.

jax traces the function by types (`jax.make_jaxpr`, 64-bit types on), once for each signature. The rules of `primitives/` bind our
op for each of its primitives while we trace that by types, which makes a Graph. A call runs the Graph by `bind`, so that whatever
traces the call has the equations: derivatives, batches and programs are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from tracegrad.core.backends import xla
from tracegrad.core.context import context
from tracegrad.core.errors import (
    Imported,
    RawSource,
    TracerArrayConversionError,
    at,
    clip,
    described,
    location_of,
    origin,
    require_callable,
    user_source,
)
from tracegrad.core.graph import Eqn, Graph, interpret
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.names import wraps
from tracegrad.core.quiet import quietly
from tracegrad.core.shared import Recent
from tracegrad.core.trace import bind, strengthened
from tracegrad.core.tracebacks import trimming
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of, trace_graph
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, type_of
from tracegrad.ops.elementwise.casting import item_op
from tracegrad.transforms.batch import own_arrays
from tracegrad.xla.primitives import table
from tracegrad.xla.primitives.random import unpacked

F = TypeVar("F")

# How many signatures of one function are kept.
_SIZE = 256


def from_jax(fun: F) -> F:
    """A function of jax's as one of NumPy arrays, that our transforms take: optax's transformations, the `apply` of flax's and
    equinox's modules, densities written in jax.numpy, and whatever else is made of jax.lax.

    Args:
        fun: a function of arrays and of pytrees as jax knows them, or a NamedTuple of such, as optax's transformations are
            (`opt = tg.from_jax(optax.adam(1e-3))`).

    Returns:
        A function with the same arguments, or a NamedTuple of the same class. It computes by our ops, eagerly, under `tg.jit` on both
        backends, under `tg.grad` and its kin and under `tg.vmap`. Numbers, NumPy arrays and traced ones are arrays, as for
        `jax.jit`. All other leaves (a string, an activation function in an equinox module) are static: jax traces the function
        anew for another value of them. A flag that decides, which jax would trace, goes into a closure:
        `tg.from_jax(lambda v, x: model.apply(v, x, train=True))`. So do arrays that are constants, as `jax.jit` has them.

        jax's 64-bit types are on while it is traced, so float64 stays float64, and float32 float32; numbers yield to an
        array's dtype, as in jax. Typed keys (`jax.random.key`) are taken, and come back as the uint32[..., 2] that `tg.random` has.
        Where there are other arrays of jax's, and none that we trace, `fun` itself is called. NumPy warns of nothing in it.

    Raises:
        UnsupportedFunctionError: a primitive of jax's that we have no op for, with its name and line.
        TracerArrayConversionError: `fun` closes over a traced array; pass it as an argument.
        ImportError: jax is not installed.

    `custom_jvp` and `custom_vjp` of jax's keep their rules; a reverse derivative of `jax.lax.while_loop`, which jax refuses,
    is ours.

    >>> import jax, numpy as np, tracegrad as tg
    >>> f = tg.from_jax(lambda w, x: jax.numpy.sum(jax.nn.gelu(x @ w)))
    >>> w, x = np.ones((3, 2)), np.eye(4, 3)
    >>> tg.grad(f)(w, x).shape, tg.jit(f)(w, x).dtype
    ((3, 2), dtype('float64'))
    """
    if isinstance(fun, tuple) and hasattr(fun, "_fields"):
        return cast(F, type(fun)(*[from_jax(f) if callable(f) else f for f in fun]))
    require_callable(fun, "from_jax", "(f)")
    function = cast(Callable[..., Any], fun)
    xla()
    traced = _Traced(function)

    @trimming
    @wraps(function)
    def imported(*args: Any, **kwargs: Any) -> Any:
        return traced.call(args, kwargs)

    return cast(F, imported)


class _Entry(NamedTuple):
    """What is kept for a signature. `first` is the line of the call that was traced, in whose place others have their own;
    `rebuilt` puts outputs together."""

    graph: Graph
    first: Imported
    rebuilt: Callable[[Sequence[Any]], Any]


class _Static:
    """A leaf that is no array, in a signature."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is _Static and type(self.value) is type(other.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


class _Traced:
    """A function of jax's, and the Graphs that it has been traced to."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun
        self.entries: Recent[_Entry] = Recent()

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        j = xla()
        leaves, structure = j.jax.tree_util.tree_flatten((args, kwargs))
        kinds = tuple(map(_kind_of, leaves))
        if _JAX in kinds and not context.boxes and not any([isinstance(x, Tracer) for x in leaves]):
            with j.x64():
                return j.handed_out(self.fun(*args, **kwargs))
        names = lambda i: j.names((args, kwargs))(i)
        places = [i for i, kind in enumerate(kinds) if kind is not _STATIC]
        given = [table.key_of(leaves[i]) if kinds[i] is _KEY else leaves[i] for i in places]
        arrays = arrays_of(given, lambda k: names(places[k]))
        types = tuple(map(type_of, arrays))
        static = tuple([_Static(x) for x, kind in zip(leaves, kinds, strict=True) if kind is _STATIC])
        here = user_source()
        try:
            entry = self.entries.get(key := (structure, kinds, types, static, context.bound))
        except TypeError as error:
            raise self.unhashable(leaves, kinds, names) or error from None
        if entry is None:
            entry = self.entries.keep(key, quietly(_ALL, self.traced, leaves, structure, kinds, types, here), _SIZE)
        out = quietly(_ALL, _evaluated, entry, arrays, here)
        return entry.rebuilt(own_arrays(out, (), arrays))

    def unhashable(self, leaves: Sequence[Any], kinds: Sequence[int], names: Callable[[int], str]) -> TypeError | None:
        """The error for a leaf that can be no part of a signature, if that is why there is none."""
        for i, x in enumerate(leaves):
            try:
                if kinds[i] is _STATIC:
                    hash(x)
            except TypeError:
                return TypeError(
                    f"from_jax{at(user_source())}: {names(i)} of {described(self.fun)} is neither an array nor hashable, as what "
                    f"is static must be: it is the {type(x).__name__} {clip(repr(x))}; close over it"
                )
        return None

    def traced(
        self, leaves: Sequence[Any], structure: Any, kinds: Sequence[int], types: Sequence[ArrayType], here: RawSource
    ) -> _Entry:
        """The Graph for leaves of these types."""
        j = xla()
        jax = j.jax
        found: Any = None
        static = [x if kind is _STATIC else None for x, kind in zip(leaves, kinds, strict=True)]

        def flat(*arrays: Any) -> list[Any]:
            nonlocal found
            args, kwargs = structure.unflatten(_merged(arrays, static, kinds))
            outputs, out_structure = jax.tree_util.tree_flatten(self.fun(*args, **kwargs))
            found = out_structure, outputs, tuple(map(_kind_of, outputs))
            return [x for x, kind in zip(outputs, found[2], strict=True) if kind is not _STATIC]

        dtypes = [
            x.dtype if kind is _KEY else None for x, kind in zip(leaves, kinds, strict=True) if kind is not _STATIC
        ]
        structs = [
            jax.ShapeDtypeStruct(t.shape, key or t.dtype, weak_type=t.weak and t.dtype != bool)
            for t, key in zip(types, dtypes, strict=True)
        ]
        outer, first = context.cell, table.imported_from(here)
        try:
            with j.x64():
                closed = jax.make_jaxpr(flat, axis_env=[(a.name, a.size) for a in context.bound])(*structs)
            context.cell = [first, False]
            results = lambda *arrays: _results(closed, arrays)
            graph = trace_graph(results, types, transform="from_jax", user_function=self.fun, abstract=True)
        except TypeError as error:
            if "tracegrad.core.tracer.Tracer'>" not in str(error):
                raise
            raise _closes_over(self.fun) from error
        finally:
            context.cell = outer
        out_structure, outputs, out_kinds = found
        given = [x if kind is _STATIC else None for x, kind in zip(outputs, out_kinds, strict=True)]
        return _Entry(graph, first, lambda arrays: out_structure.unflatten(_merged(arrays, given, out_kinds)))


# Kinds of leaves.
_ARRAY, _JAX, _KEY, _STATIC = range(4)  # a key is one of jax's that we have in another form
_ALL = ("all",)


def _kind_of(x: Any) -> int:
    if isinstance(x, Tracer | np.ndarray | np.generic | bool | int | float | complex):
        return _ARRAY
    if is_jax_array(x):
        return _KEY if table.is_key(x.dtype) else _JAX
    return _STATIC


def _merged(arrays: Sequence[Any], leaves: Sequence[Any], kinds: Sequence[int]) -> list[Any]:
    """The leaves with others in place of the arrays among them."""
    rest = iter(arrays)
    return [x if kind is _STATIC else next(rest) for x, kind in zip(leaves, kinds, strict=True)]


def _closes_over(fun: Any) -> TracerArrayConversionError:
    return TracerArrayConversionError(
        f"from_jax{at(user_source())}: {described(fun)} uses an array that tracegrad traces and that is none of its arguments; jax "
        "does not know it. Pass it as an argument."
    )


def _evaluated(entry: _Entry, arrays: Sequence[Any], here: RawSource) -> list[Any]:
    """The results of the Graph, each equation of which is of the user's line, of jax code or of the call, and in the scopes and of
    the phase of the call."""
    call, (scope, phase, of, callers) = table.imported_from(here), origin(here)
    plain = not (scope or phase or callers)

    def apply(eqn: Eqn, values: tuple[Any, ...]) -> Any:
        found: Any = eqn.raw_source
        if found is not None:
            place = call if location_of(found) is entry.first else location_of(found)
            if plain and location_of(found) is found:
                found = place
            else:
                inner, deeper, rule, _ = origin(found)
                found = place, (*scope, *inner), phase + deeper, rule or of, callers
        cast(Any, context.cell)[0] = found
        return bind(eqn.op, values, eqn.params)

    return interpret(entry.graph, arrays, apply)


def _results(closed: Any, arrays: Sequence[Any]) -> list[Any]:
    """What a jaxpr makes of arrays, as the user gets it: numbers that yield to an array's dtype as Python's, keys as pairs."""
    out = table.run_closed(closed, list(map(strengthened, arrays)))
    return [_handed(x, v.aval) for x, v in zip(out, closed.jaxpr.outvars, strict=True)]


def _handed(x: Any, aval: Any) -> Any:
    if table.is_key(aval.dtype):
        return unpacked(x)
    dtype = np.dtype(aval.dtype)
    if aval.weak_type and not aval.shape and dtype in PYTHON_SCALARS.values():
        return bind(item_op, (x,), {"dtype": dtype})
    return x
