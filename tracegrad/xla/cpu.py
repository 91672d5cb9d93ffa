"""A Graph as a program of XLA's on this machine's CPU, of NumPy arrays and for them: what `jit(backend="auto")` may run in place of
NumPy's program.

No array is copied on the way in or out, but scalars and what the program hands through. XLA reads arguments where they lie, and the call
waits for it, so that its caller may write into them afterwards; results are arrays in memory that XLA has reserved for them, which
nobody else has.
"""

from __future__ import annotations

import builtins
import ctypes
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tracegrad.core.graph import Graph
from tracegrad.core.types import ArrayType
from tracegrad.xla.emit import contexts, emit, x64


class Doubtful(Exception):
    """NumPy might have raised here, where XLA has no errors: an index may be out of range, a matrix singular."""


def program(
    graph: Graph,
    suspects: Collection[Any],
    points: Sequence[tuple[Any, range]],
    in_arrays: Sequence[bool],
    is_wanted: Callable[[], bool],
) -> Callable[..., list[Any]] | None:
    """The Graph compiled, as a function of arrays and numbers that returns a list of NumPy arrays, each writable and in memory of its
    own, and of NumPy's scalars; None where it is not wanted any more.

    Args:
        graph: without effects. No output is a Python scalar's.
        suspects: variables of floating numbers that are not finite where NumPy may have raised.
        points: variables of indices, each with what these may be.
        in_arrays: which outputs of no axes are arrays all the same.
        is_wanted: is asked before XLA is set to work.
    Raises (the function):
        Doubtful: one of the suspects is not finite, or a point outside.
    """
    count = len(graph.outputs)
    watched = Graph(
        graph.inputs, graph.eqns, (*graph.outputs, *suspects, *[v for v, _ in points]), graph.consts, graph.name
    )
    ranges = [one for _, one in points]

    def function(*inputs: Any) -> list[Any]:
        values = emit(watched, inputs)
        finite, within = values[count : count + len(suspects)], values[count + len(suspects) :]
        signs = [jnp.all(jnp.isfinite(x)) for x in finite]
        signs += [jnp.all((x >= r.start) & (x < r.stop)) for x, r in zip(within, ranges, strict=True)]
        return [*values[:count], *([jnp.all(jnp.stack(signs))] if signs else [])]

    function.__name__ = function.__qualname__ = graph.name
    with x64():
        cpu = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
        structs = [jax.ShapeDtypeStruct(v.type.shape, v.type.dtype) for v in graph.inputs]
        traced = jax.jit(function, in_shardings=cpu, out_shardings=cpu).trace(*structs)
        lowered = traced.lower()
        if not is_wanted():
            return None
        compiled = lowered.compile()
    # What jax hands through may be an argument itself, in the caller's memory, and one array may come twice.
    outputs = traced.jaxpr.jaxpr.outvars
    made = {id(v) for eqn in traced.jaxpr.jaxpr.eqns for v in eqn.outvars}
    own = [id(v) in made and all([v is not w for w in outputs[:i]]) for i, v in enumerate(outputs)]
    ways = [_way(v.type, *how) for v, *how in zip(graph.outputs, own[:count], in_arrays, strict=True)]
    numbers = [(i, v.type.dtype) for i, v in enumerate(graph.inputs) if v.type.weak]
    config: Any = jax.config
    is_watched = bool(suspects or points)

    def run(*arguments: Any) -> list[Any]:
        if numbers:
            given = [*arguments]
            for i, dtype in numbers:
                given[i] = np.asarray(given[i], dtype)
            arguments = tuple(given)
        if config.jax_enable_x64:
            found = compiled(*arguments)
        else:
            with contexts.x64:
                found = compiled(*arguments)
        if is_watched and not found[count].item():
            raise Doubtful
        return [way(x) for way, x in zip(ways, found, strict=False)]

    return run


def _way(type: ArrayType, own: bool, in_array: bool) -> Callable[[Any], Any]:
    """How an array of jax's of this type becomes NumPy's, of memory that nobody else has, for which it is waited."""
    shape, dtype = type.shape, type.dtype
    scalar = dtype.type
    if not shape and not in_array and dtype.isbuiltin == 1:
        return lambda x: scalar(x.item())
    if not own or not type.size or dtype.isbuiltin != 1:
        return np.array
    # The memory of an array of jax's, as NumPy takes it: it holds that array, and NumPy's holds it. (Half as long as by a dict that
    # describes it, `__array_interface__`.)
    memory: Any = builtins.type("Memory", (ctypes.c_char * (type.size * dtype.itemsize),), {})
    at, array = memory.from_address, np.ndarray

    def lent(x: Any) -> Any:
        x.block_until_ready()
        place = at(x.unsafe_buffer_pointer())
        place.owner = x
        return array(shape, dtype, place)

    return lent
