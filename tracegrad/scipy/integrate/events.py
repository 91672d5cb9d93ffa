"""Events of a differential equation: times at which a function of time and solution is zero, as SciPy finds them, with derivatives by the
implicit function theorem: with g(t, y(t)) = 0 at the time t, dt is -(dg at a fixed time) / (dg/dt along the solution)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import ShapeError, at, described, user_source
from tracegrad.core.graph import evaluate
from tracegrad.core.op import Wanted
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import plain_value
from tracegrad.core.types import ArrayType, type_of
from tracegrad.lower.numpy.writer import compiled
from tracegrad.ops.elementwise import astype
from tracegrad.scipy.calling import refused
from tracegrad.scipy.integrate.flow import IVP, TIME
from tracegrad.scipy.integrate.solver import Solver, differentiable, inexact_of, scipy_integrate, traced_function
from tracegrad.transforms.linearize import jvp, vjp


def found_by_scipy(
    solver: IVP, events: Sequence[Callable[..., Any]], args: tuple[Any, ...], start: Any, end: Any, times: Any, y0: Any, inputs: Sequence[Any]
) -> Any:  # fmt: skip
    """SciPy's result for the plain values of all that is traced, which tells how many events there are."""
    arguments = tree.tree_map(lambda x: plain_value(x, "solve_ivp"), args)
    given = [plain_value(x, "solve_ivp") for x in (start, end, y0, *inputs, *tree.tree_leaves(arguments))]
    if any([x is None for x in given]) or (times is not None and plain_value(times, "solve_ivp") is None):
        raise refused(
            "integrate.solve_ivp",
            "with events, where types alone are known",
            "How many there are depends on values: under jit and vmap write a root of the solution at t_eval=[t], which has derivatives: "
            "tg.scipy.optimize.root(lambda t, args: event(t[0], solve_ivp(fun, t_span, y0, t_eval=t, args=args).y[:, 0]), t0, args).",
        )
    first, last, initial, *consts = [np.asarray(x) for x in given[: 3 + len(inputs)]]
    f = compiled(solver.graph)

    def plain(event: Callable[..., Any]) -> Callable[..., Any]:
        def at(t: float, y: Any) -> Any:
            return plain_value(event(t, y, *arguments), "solve_ivp")  # which may close over what is traced

        for name in ("terminal", "direction"):
            if hasattr(event, name):
                setattr(at, name, getattr(event, name))
        return at

    options = {**solver.options, "jac": solver.jacobian(consts)} if solver.exact else solver.options
    found = scipy_integrate().solve_ivp(
        lambda t, y: f(np.float64(t), y, *consts)[0], (float(first), float(last)), initial,
        t_eval=None if times is None else plain_value(times, "solve_ivp"), events=[plain(e) for e in events], **options,
    )  # fmt: skip
    if not found.success:
        raise RuntimeError(f"solve_ivp of {solver.graph.name!r} from {first} to {last} failed: {found.message}")
    return found


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EventTime(Solver):
    """The graph is that of the event. Inputs are the time of it that SciPy found, start, end and initial value, and what right-hand side and
    event take besides time and state. The output is the time.

    flow    the equation
    count   how many of the inputs the right-hand side takes
    """

    routine: ClassVar[str] = "event of solve_ivp"
    flow: IVP | None = None
    count: int = 0

    def run(self, *arrays: Any) -> Sequence[Any]:
        return [arrays[0]]

    def types(self, types: Sequence[ArrayType]) -> tuple[ArrayType, ...]:
        return (TIME,)

    def distance(self, time: Any, start: Any, end: Any, initial: Any, *consts: Any) -> Any:
        """What is zero at the time."""
        assert self.flow is not None
        (rows,) = self.flow(start, end, np.reshape(time, (1,)), initial, *consts[: self.count])
        return evaluate(self.graph, [time, rows[0], *consts[self.count :]])[0]

    def _slope(self, time: Any, rest: Sequence[Any]) -> Any:
        return jvp(lambda t: self.distance(t, *rest), (time,), (np.ones(()),))[1]

    def _moved(self, time: Any, rest: Sequence[Any], active: Sequence[int]) -> Any:
        """The distance at this time as a function of some of the other inputs."""

        def distance(*moving: Any) -> Any:
            given = list(rest)
            for i, x in zip(active, moving, strict=True):
                given[i] = x
            return self.distance(time, *given)

        return distance

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Sequence[Any]:
        _, *rest = primals
        active = differentiable(tangents[1:])
        if not active:
            return [None]
        moved = self._moved(out[0], rest, active)
        _, right = jvp(moved, [rest[i] for i in active], [tangents[1 + i] for i in active])
        return [-right / self._slope(out[0], rest)]

    def vjp(self, wanted: Wanted, cts: Sequence[Any], out: Any, primals: Sequence[Any]) -> Sequence[Any]:
        _, *rest = primals
        active = inexact_of(wanted, primals, 1)
        if cts[0] is None or not active:
            return [None] * len(wanted)
        _, pull = vjp(self._moved(out[0], rest, active), *[rest[i] for i in active])
        found = dict(zip([1 + i for i in active], pull(-cts[0] / self._slope(out[0], rest)), strict=True))
        return [found.get(i) for i in wanted]


def event_times(
    flow: IVP, event: Callable[..., Any], args: tuple[Any, ...], plain: Any, start: Any, end: Any, y0: Any, inputs: Sequence[Any]
) -> list[Any]:  # fmt: skip
    """The traced times of an event, of which these are the plain ones."""

    def distance(t: Any, y: Any, *rest: Any) -> Any:
        found = as_array(event(t, y, *rest))
        if type_of(found).size != 1:
            raise ShapeError(
                f"solve_ivp{at(user_source())}: an event is a number, got {type_of(found)} from {described(event)}"
            )
        return astype(np.reshape(found, ()), np.float64)

    state = ArrayType(type_of(y0).shape, type_of(y0).dtype)
    graph, consts = traced_function(event, distance, [TIME, state], ["t", "y"], args, "solve_ivp")
    timed = EventTime(graph, {}, flow, len(inputs))
    return [timed(np.float64(t), start, end, y0, *inputs, *consts)[0] for t in plain]
