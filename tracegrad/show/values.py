"""The numbers in a drawing: what each variable of a Graph is for given inputs, what the derivative of its output with respect to each
is, and both in a few words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.boxes import is_boxed, unboxed
from tracegrad.core.graph import Eqn, Graph, Var, closed, evaluate, interpret
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import tracer_inputs
from tracegrad.core.types import is_inexact, number_kind
from tracegrad.core.views import own
from tracegrad.ops.masks import filled
from tracegrad.show.boxes import Instance
from tracegrad.show.model import Model
from tracegrad.transforms.linear import backward

# Arrays of so many numbers are written out; of larger ones there are cells, of all together so many.
_WRITTEN = 4
_CELLS = 4_000
_SIDE, _FEWEST = 16, 4


class Values:
    """What the variables of a drawing are, by number: None where that is not known, as in a branch that is not taken. Of what a
    loop holds it is that of the last step, and gradients of that are not known."""

    def __init__(self, drawn: Model, inputs: Sequence[Any], gradients: bool) -> None:
        self.values: list[Any] = [None] * len(drawn.variables)
        self.gradients: list[Any] = [None] * len(drawn.variables)
        self.replayed: set[int] = set()
        self.replaying = False
        self.trace: Any = None  # which is walked backward
        inputs = [np.asarray(x) if is_jax_array(x) else x for x in inputs]
        quietly(("all",), self.differentiate if gradients else self.run, drawn, inputs)
        self.values = [_plain(x) for x in self.values]

    def run(self, drawn: Model, inputs: Sequence[Any]) -> None:
        self.walk(drawn.whole, inputs)

    def walk(self, instance: Instance, inputs: Sequence[Any]) -> list[Any]:
        """Run a Graph, with what its variables are noted."""
        ids = instance.variables

        def apply(eqn: Eqn, values: tuple[Any, ...]) -> Any:
            out = self.apply(eqn, values, instance.held.get(eqn, ()))
            note(zip(eqn.outputs, out if eqn.op.multiple_results else (out,), strict=True))
            return out

        def note(found: Iterable[tuple[Var, Any]]) -> None:
            for v, x in found:
                self.values[ids[v]] = x
                if self.replaying:
                    self.replayed.add(ids[v])

        graph, consts = closed(instance.graph)
        if self.trace is not None and not self.replaying:  # there are derivatives with respect to constants, too
            consts = tuple(
                [self.traced(x) if is_inexact(v.type.dtype) else x for v, x in instance.graph.consts.items()]
            )
        note(zip(graph.inputs, (*inputs, *consts), strict=True))
        return interpret(graph, (*inputs, *consts), apply)

    def traced(self, const: Any) -> Any:
        """A constant as an input of the trace that is walked backward."""
        return tracer_inputs(self.trace, [const])[0]

    def apply(self, eqn: Eqn, values: tuple[Any, ...], inner: Sequence[Instance]) -> Any:
        held = eqn.op.held
        if inner and held is not None:
            if held.inline is not None and (found := held.inline(values, eqn.params)) is not None:
                graph, given = found
                instance = next((i for i in inner if i.graph is graph), None)
                if instance is not None:
                    return tuple(self.walk(instance, given))
            if held.replay is not None:
                outer, self.replaying = self.replaying, True
                held.replay(self.running(inner), [_plain(x) for x in values], eqn.params)
                self.replaying = outer
        return bind(eqn.op, values, eqn.params)

    def running(self, inner: Sequence[Instance]) -> Callable[..., Sequence[Any]]:
        """How a Graph that an equation holds is run: noting what happens in those that are drawn."""

        def run(which: str, graph: Graph, inputs: Sequence[Any]) -> Sequence[Any]:
            instance = next((i for i in inner if i.graph is graph), None)
            return evaluate(graph, inputs) if instance is None else self.walk(instance, inputs)

        return run

    def differentiate(self, drawn: Model, inputs: Sequence[Any]) -> None:
        """Run the Graph and walk it backward from its first output, with the cotangents of all variables noted."""
        graph = drawn.whole.graph
        trace = self.trace = Trace("vjp", graph, reverse=True)
        tracers = tracer_inputs(trace, [own(x) for x in inputs])
        outputs, eqns = trace.recorded(lambda: self.walk(drawn.whole, tracers))
        cotangents = _Noting()
        if type(outputs[0]) is Tracer:
            cotangents[id(outputs[0])] = graph.out_types[0].dtype.type(1)
        backward(eqns, cotangents)
        found = {**cotangents.taken, **cotangents}
        for i, v in enumerate(drawn.variables):
            x = self.values[i]
            if x is not None and i not in self.replayed and is_inexact(v.var.type.dtype):
                gradient = found.get(id(x)) if type(x) is Tracer else None
                zero = np.broadcast_to(np.zeros((), v.var.type.dtype), v.var.type.shape)
                self.gradients[i] = zero if gradient is None else _plain(filled(gradient))


class _Noting(dict[int, Any]):
    """Cotangents as `backward` handles them, with those kept that it has taken."""

    def __init__(self) -> None:
        self.taken: dict[int, Any] = {}

    def pop(self, key: int, default: Any = None) -> Any:
        found = super().pop(key, default)
        if found is not None:
            self.taken[key] = found
        return found


def _plain(x: Any) -> Any:
    """The array behind whatever stands for it; None where only its type is known."""
    while type(x) is Tracer and not is_boxed(x):
        x = x.value
    return np.asarray(unboxed(x)) if type(x) is Tracer else x


# ---------------------------------------------------------------------------------------------------------------------
# In a few words.


def side(arrays: Iterable[Any]) -> int:
    """How many cells along an axis each of these may have, so that all of them together have not too many; none, where that would
    be so few that they show nothing."""
    large = sum([x is not None and np.size(x) > _WRITTEN for x in arrays])
    found = min(_SIDE, math.isqrt(_CELLS // max(large, 1)))
    return found if found >= _FEWEST else 0


def summary(x: Any, cells: int) -> dict[str, Any] | None:
    """A value as the data of a drawing has it: its numbers if these are few, else from where to where they go, and cells, of which
    each shows the number of largest size in its place; and how many are NaN, infinite or zero, if any are."""
    if x is None:
        return None
    array = np.asarray(x)
    if number_kind(array.dtype) == "c":
        numbers = np.abs(array)
        written: list[Any] = [_complex(z) for z in array.ravel()[:_WRITTEN].tolist()]
    else:
        numbers = array.astype(np.float64)
        written = [_number(v) for v in array.ravel()[:_WRITTEN].tolist()]
    numbers = numbers.astype(np.float64, copy=False)
    is_nan, is_inf = np.isnan(numbers), np.isinf(numbers)
    finite = numbers[~(is_nan | is_inf)]
    found: dict[str, Any] = {}
    if array.size <= _WRITTEN:
        found["s"] = written
    else:
        if cells:
            found["cells"] = [[_number(v, 2) for v in row] for row in _cells(numbers, cells).tolist()]
        for name, reduce in (("min", np.min), ("mean", np.mean), ("max", np.max)):
            found[name] = _number(float(reduce(finite)), 4) if finite.size else None
    counts = {"nan": is_nan, "inf": is_inf, "zero": numbers == 0}
    found.update({name: int(count) for name, where in counts.items() if (count := np.count_nonzero(where))})
    return found


def _cells(numbers: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """At most so many rows and columns of a matrix, or of an array with its leading axes as one."""
    matrix = numbers.reshape(-1, numbers.shape[-1])
    for axis in (0, 1):
        size = matrix.shape[axis]
        starts = np.arange(min(size, count)) * size // min(size, count)
        high, low = np.maximum.reduceat(matrix, starts, axis), np.minimum.reduceat(matrix, starts, axis)
        matrix = np.where(high >= -low, high, low)
    return matrix


def _number(x: Any, digits: int = 7) -> Any:
    """A number as JSON has it, which knows no NaN and no infinity."""
    if isinstance(x, bool | int):
        return int(x) if abs(x) < 1 << 53 else float(x)
    if math.isnan(x):
        return None
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    short = float(f"{float(x):.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e6 else short


def _complex(z: Any) -> str:
    z = complex(z)
    return f"{z.real:.7g}{z.imag:+.7g}j"
