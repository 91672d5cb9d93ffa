"""The solution of dy/dt = f(t, y, theta) as a function of initial value, ends, times and parameters.

Forward derivatives integrate the tangents along with the solution. Reverse ones are those of the adjoint equation (Pontryagin 1962;
Chen et al., "Neural Ordinary Differential Equations", NeurIPS 2018): back from the last time, with solution, adjoint and the
cotangents of parameters in one vector, from each time at which the solution is known to the one before, where it is taken as it is
known again. Both are systems of the same kind, whose right-hand sides are Graphs made of f's.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tracegrad.core.errors import DifferentiationError, DtypeError, ShapeError, at, clip, user_source
from tracegrad.core.graph import Graph, evaluate, remembered
from tracegrad.core.op import Wanted
from tracegrad.core.trace import as_array
from tracegrad.core.types import ArrayType, type_of
from tracegrad.lower.numpy.writer import compiled
from tracegrad.ops.elementwise import astype
from tracegrad.scipy.integrate.solver import (
    Solver,
    derived,
    differentiable,
    inexact_of,
    packed,
    packed_dtype,
    pairing,
    scipy_integrate,
    strong_types,
    unpacked,
)
from tracegrad.transforms.control.held import batch_of, joint_of, tangents_of, with_tangents
from tracegrad.transforms.control.scan import scan
from tracegrad.transforms.jacobian import jacfwd

TIME = ArrayType((), np.dtype(np.float64))
HEADS = 4  # the inputs before the parameters


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Flow(Solver):
    """Inputs are the time at which the solution starts, where it ends, the times at which it is wanted, the initial value (n,), and
    what the right-hand side takes besides time and state. The output is the solution, a row for each time.

    exact       whether its implicit methods are given the Jacobian
    adjoint     whether reverse derivatives are those of the adjoint equation, or of sensitivities integrated onward
    checked     whether the last of the inputs is what the solution begins with where it ends, which was known before
    """

    exact: bool = False
    adjoint: bool = True
    checked: bool = False

    def run(self, *arrays: Any) -> Sequence[Any]:
        start, end, times, initial, *consts = arrays
        if not len(times) or not initial.size:
            return [np.zeros((len(times), initial.size), initial.dtype)]
        if times[-1] == start == end:
            return [np.broadcast_to(initial, (len(times), initial.size))]
        f = compiled(self.graph)
        if not self.checked:
            return [self.solved(lambda t, y: f(np.float64(t), y, *consts)[0], start, end, times, initial, consts)]
        known = consts[-1]
        size = max(np.max(np.abs(x)) for x in (known, initial[: known.size]))
        atol, rtol = np.min(self.options.get("atol") or 1e-6), np.max(self.options.get("rtol") or 1e-3)

        def bounded(t: Any, y: Any) -> Any:
            # What decays fast onward grows as fast backwards, and the solver's steps would come to nothing.
            if not np.max(np.abs(y[: known.size])) < 1e10 * (size + atol):
                raise self._unstable(y[: known.size], known)
            return f(np.float64(t), y, *consts)[0]

        found = self.solved(bounded, start, end, times, initial, consts)
        error = np.abs(found[-1, : known.size] - known)
        if not np.max(error) <= 100 * (atol + rtol * size) + 1e-3 * size:
            raise self._unstable(found[-1, : known.size], known)
        return [found]

    def _unstable(self, got: Any, known: Any) -> DifferentiationError:
        return DifferentiationError(
            f"the reverse derivative of {self.routine} of {self.graph.name!r} integrates the solution backwards, which is "
            f"unstable here: it comes to {clip(str(got))}, where it began at {clip(str(known))}.\n  Write "
            f"{self.routine}(..., adjoint=False), whose derivatives are integrated onward; or give more times, between which it "
            "is integrated back."
        )

    def solved(
        self, f: Callable[[Any, Any], Any], start: Any, end: Any, times: Any, initial: Any, consts: Sequence[Any]
    ) -> Any:
        """The solution at these times, by SciPy."""
        raise NotImplementedError

    def for_derived(self) -> dict[str, Any]:
        """The options for a system that is made of this one, with more components."""
        raise NotImplementedError

    def jacobian(self, consts: Sequence[Any]) -> Callable[[Any, Any], Any]:
        """The exact Jacobian of the right-hand side."""

        def make() -> Graph:
            def by_state(t: Any, y: Any, *rest: Any) -> list[Any]:
                return [jacfwd(lambda y: evaluate(self.graph, [t, y, *rest])[0])(y)]

            return derived(self.graph, by_state, self.graph.in_types, "jacobian")

        found = compiled(remembered(self.graph, "jacobian", make))
        return lambda t, y: found(np.float64(t), y, *consts)[0]

    def types(self, types: Sequence[ArrayType]) -> tuple[ArrayType, ...]:
        return (ArrayType((*types[2].shape, *types[3].shape), types[3].dtype),)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Sequence[Any]:
        start, end, times, initial, *consts = primals
        dstart, _, dtimes, dinitial = tangents[:HEADS]
        active = differentiable(tangents[HEADS:])
        f = lambda t, y: evaluate(self.graph, [t, y, *consts])[0]
        found = None
        if dstart is not None:
            moved = -f(start, initial) * dstart
            dinitial = moved if dinitial is None else dinitial + moved
        if dinitial is not None or active:
            moving = [tangents[HEADS + i] for i in active]
            graph = remembered(self.graph, ("flow's tangent", active), lambda: tangent_system(self.graph, active))
            size = type_of(initial).size
            both = packed([initial, dinitial], strong_types([initial]) * 2)
            system = dataclasses.replace(self, graph=graph, options=self.for_derived(), checked=False)
            found = system(start, end, times, both, *consts, *moving)[0][:, size:]
        if dtimes is not None:
            moved = dtimes[:, None] * slopes(self.graph, times, out[0], consts)
            found = moved if found is None else found + moved
        return [found]

    def vjp(self, wanted: Wanted, cts: Sequence[Any], out: Any, primals: Sequence[Any]) -> Sequence[Any]:
        start, _, times, initial, *consts = primals
        (ct,), (solution,) = cts, out
        active = inexact_of(wanted, primals, HEADS)
        pulled, *parameters = (self._by_adjoint if self.adjoint else self._by_sensitivities)(active, ct, out, primals)
        found: dict[int, Any] = {3: pulled}
        found |= {HEADS + i: x for i, x in zip(active, parameters, strict=True)}
        if 0 in wanted:
            found[0] = -pairing(pulled, evaluate(self.graph, [start, initial, *consts])[0], start)
        if 2 in wanted:
            found[2] = np.real(np.sum(ct * slopes(self.graph, times, solution, consts), axis=-1))
        return [found.get(i) for i in wanted]

    def _by_adjoint(self, active: Wanted, ct: Any, out: Any, primals: Sequence[Any]) -> list[Any]:
        """The cotangents of the initial value and of the active parameters: back from each time to the one before."""
        start, _, times, initial, *consts = primals
        (solution,) = out
        graph = remembered(self.graph, ("flow's adjoint", active), lambda: adjoint_system(self.graph, active))
        types = system_types(self.graph, active)
        system = dataclasses.replace(self, graph=graph, options=self.for_derived(), checked=True)
        befores = np.concatenate([np.reshape(start, (1,)), times[:-1]])
        known = np.concatenate([np.reshape(initial, (1, -1)), solution[:-1]])

        def back(carry: Any, element: Sequence[Any]) -> tuple[Any, None]:
            adjoint, *parameters = carry
            time, before, state, earlier, ct = element
            whole = packed([state, adjoint + ct, *parameters], types)
            ended = system(time, before, np.reshape(before, (1,)), whole, *consts, earlier)[0][0]
            return tuple(unpacked(ended, types)[1:]), None

        zeros = tuple([np.zeros(t.shape, t.dtype) for t in types[1:]])
        elements = (times, befores, solution, known, ct)
        return list(scan(back, zeros, elements, reverse=True)[0])

    def _by_sensitivities(self, active: Wanted, ct: Any, out: Any, primals: Sequence[Any]) -> list[Any]:
        """The same by the derivatives of the solution in each component of these, which are integrated with it."""
        start, end, times, initial, *consts = primals
        graph = remembered(self.graph, ("sensitivities", active), lambda: sensitivity_system(self.graph, active))
        state, *types = system_types(self.graph, active)
        system = dataclasses.replace(self, graph=graph, options=self.for_derived(), checked=False)
        columns = sum(t.size for t in types)
        whole = np.concatenate([initial, np.ravel(np.eye(columns, state.size))])
        rows = system(start, end, times, whole, *consts)[0][:, state.size :]
        found = np.einsum("tn,tcn->c", ct, np.reshape(rows, (-1, columns, state.size)))
        return unpacked(found, types)


def slopes(graph: Graph, times: Any, solution: Any, consts: Sequence[Any]) -> Any:
    """The right-hand side at each row of a solution."""
    rows = batch_of(graph, type_of(times).size, [True, True] + [False] * len(consts))
    return evaluate(rows, [times, solution, *consts])[0]


def tangent_system(graph: Graph, active: tuple[int, ...]) -> Graph:
    """The right-hand side of solution and tangent, of the parameters and the tangents of those that are active."""
    state, count = graph.in_types[1], len(graph.inputs)

    def both(t: Any, z: Any, *rest: Any) -> list[Any]:
        y, dy = unpacked(z, [state, state])
        consts, moving = rest[: count - 2], rest[count - 2 :]
        tangents = {1: dy, **{2 + i: x for i, x in zip(active, moving, strict=True)}}
        values, found = with_tangents(graph, [t, y, *consts], tangents)
        return [packed([*values, *found], [state, state])]

    whole = ArrayType((2 * state.size,), state.dtype)
    moving = [ArrayType(t.shape, t.dtype) for t in [graph.in_types[2 + i] for i in active]]
    return derived(graph, both, [TIME, whole, *graph.in_types[2:], *moving], "tangent")


def system_types(graph: Graph, active: tuple[int, ...]) -> list[ArrayType]:
    """Of solution, adjoint and cotangents of parameters."""
    state = graph.in_types[1]
    return [state, state, *[ArrayType(t.shape, t.dtype) for t in [graph.in_types[2 + i] for i in active]]]


def adjoint_system(graph: Graph, active: tuple[int, ...]) -> Graph:
    """The right-hand side of solution, adjoint and cotangents of the active parameters. The last input, what the solution has
    to come to, is not of it."""
    types = system_types(graph, active)
    count = len(graph.inputs)
    wanted = (1, *[2 + i for i in active])
    joint, found = joint_of(graph, wanted, (0,))

    def whole(t: Any, z: Any, *rest: Any) -> list[Any]:
        y, adjoint, *_ = unpacked(z, types)
        value, *pulled = evaluate(joint, [t, y, *rest[: count - 2], adjoint])
        by_input = dict(zip(found, [-x for x in pulled], strict=True))
        return [packed([value, *[by_input.get(i) for i in wanted]], types)]

    state = ArrayType((sum(t.size for t in types),), packed_dtype(types))
    return derived(graph, whole, [TIME, state, *graph.in_types[2:], graph.in_types[1]], "adjoint")


def sensitivity_system(graph: Graph, active: tuple[int, ...]) -> Graph:
    """The right-hand side of the solution and of its derivatives in each component of initial value and active parameters."""
    state, *types = system_types(graph, active)
    columns, heads = sum(t.size for t in types), len(graph.inputs)
    moved, found = tangents_of(graph, (1, *[2 + i for i in active]))
    rows = batch_of(moved, columns, [False] * heads + [True] * len(types))

    def whole(t: Any, z: Any, *consts: Any) -> list[Any]:
        y, w = z[: state.size], np.reshape(z[state.size :], (columns, state.size))
        _, *directions = unpacked(np.eye(columns), types)
        value = evaluate(graph, [t, y, *consts])[0]
        moving = evaluate(rows, [t, y, *consts, w, *directions])[0] if found else np.zeros(w.shape)
        return [np.concatenate([value, np.ravel(moving)])]

    both = ArrayType((state.size * (1 + columns),), state.dtype)
    return derived(graph, whole, [TIME, both, *graph.in_types[2:]], "sensitivities")


class IVP(Flow):
    """By `scipy.integrate.solve_ivp`."""

    routine: ClassVar[str] = "solve_ivp"

    def solved(
        self, f: Callable[[Any, Any], Any], start: Any, end: Any, times: Any, initial: Any, consts: Sequence[Any]
    ) -> Any:
        return self._found(f, start, end, times, initial, consts).y.T

    def steps(self, start: Any, end: Any, initial: Any, consts: Sequence[Any]) -> Any:
        """The times between the ends that the solver comes to."""
        f = compiled(self.graph)
        return self._found(lambda t, y: f(np.float64(t), y, *consts)[0], start, end, None, initial, consts).t[1:-1]

    def until(
        self, start: Any, end: Any, initial: Any, consts: Sequence[Any], events: Sequence[Any], times: Any = None
    ) -> Any:
        """SciPy's result, with the events that there are up to the end, or to the event that ends it."""
        f = compiled(self.graph)
        right_hand_side = lambda t, y: f(np.float64(t), y, *consts)[0]
        return self._found(right_hand_side, start, end, times, initial, consts, events)

    def _found(
        self, f: Callable[[Any, Any], Any], start: Any, end: Any, times: Any, initial: Any, consts: Sequence[Any], events: Any = None
    ) -> Any:  # fmt: skip
        options = {**self.options, "jac": self.jacobian(consts)} if self.exact else self.options
        span = (float(start), float(end))
        found = scipy_integrate().solve_ivp(f, span, initial, t_eval=times, events=events, **options)
        if not found.success:
            raise RuntimeError(f"solve_ivp of {self.graph.name!r} from {start} to {end} failed: {found.message}")
        return found

    def for_derived(self) -> dict[str, Any]:
        kept = {k: v for k, v in self.options.items() if k not in ("first_step", "jac_sparsity", "lband", "uband")}
        return smallest_tolerances(kept)


class IVPAgain(IVP):
    """The same at times of which some may come again."""

    def solved(
        self, f: Callable[[Any, Any], Any], start: Any, end: Any, times: Any, initial: Any, consts: Sequence[Any]
    ) -> Any:
        new = np.append(True, times[1:] != times[:-1])
        return super().solved(f, start, end, times[new], initial, consts)[np.cumsum(new) - 1]


class ODEInt(Flow):
    """By `scipy.integrate.odeint`."""

    routine: ClassVar[str] = "odeint"

    def solved(
        self, f: Callable[[Any, Any], Any], start: Any, end: Any, times: Any, initial: Any, consts: Sequence[Any]
    ) -> Any:
        options = {**self.options, "Dfun": self.jacobian(consts)} if self.exact else self.options
        begun = times[0] == start  # as a time that is wanted, too
        every = times if begun else [float(start), *times]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is raised here
            found, info = scipy_integrate().odeint(f, initial, every, tfirst=True, full_output=True, **options)
        if info["message"] != "Integration successful.":
            raise RuntimeError(f"odeint of {self.graph.name!r} from {start} to {end} failed: {info['message']}")
        return found if begun else found[1:]

    def for_derived(self) -> dict[str, Any]:
        kept = {k: v for k, v in self.options.items() if k in ("rtol", "atol", "hmax", "mxstep", "mxordn", "mxords")}
        return smallest_tolerances(kept)


def smallest_tolerances(options: dict[str, Any]) -> dict[str, Any]:
    """For more components than those that have tolerances of their own."""
    return {k: float(np.min(v)) if k in ("rtol", "atol") and v is not None else v for k, v in options.items()}


def as_state(out: Any, like: ArrayType, name: str) -> Any:
    """What a right-hand side returned, a list of numbers too, as a vector like the state."""
    found = as_array(out)
    got = type_of(found)
    if got.size != like.size:
        raise ShapeError(
            f"{name}{at(user_source())}: the right-hand side returned {got} for a state {like}; return one number for each of "
            "its components"
        )
    if got.dtype.kind == "c" and like.dtype.kind != "c":
        raise DtypeError(
            f"{name}{at(user_source())}: the right-hand side returned {got} for a state {like}; start from a complex y0, "
            "y0.astype(complex)"
        )
    return astype(np.reshape(found, like.shape), like.dtype)
