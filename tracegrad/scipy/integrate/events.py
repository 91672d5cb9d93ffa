"""Events of a differential equation: times at which a function of time and solution is zero, as SciPy finds them, with derivatives by the
implicit function theorem: with g(t, y(t)) = 0 at the time t, dt is -(dg at a fixed time) / (dg/dt along the solution).

How many there are depends on values. Where these are not known, there is room for a number of them that is said, of which NaN is left; more are an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import ShapeError, at, clip, described, user_source
from tracegrad.core.graph import evaluate
from tracegrad.core.op import Wanted
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import plain_value
from tracegrad.core.types import ArrayType, type_of
from tracegrad.lower.numpy.writer import compiled
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.scipy.calling import refused
from tracegrad.scipy.integrate.flow import IVP, TIME, IVPAgain
from tracegrad.scipy.integrate.solver import Solver, differentiable, inexact_of, traced_function
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
            "How many there are depends on values: say for how many there is to be room, as by max_events=1; or write a root of the solution at "
            "t_eval=[t], which has derivatives: "
            "tg.scipy.optimize.root(lambda t, args: event(t[0], solve_ivp(fun, t_span, y0, t_eval=t, args=args).y[:, 0]), t0, args).",
        )
    first, last, initial, *consts = [np.asarray(x) for x in given[: 3 + len(inputs)]]

    def plain(event: Callable[..., Any]) -> Callable[..., Any]:
        def at(t: float, y: Any) -> Any:
            return plain_value(event(t, y, *arguments), "solve_ivp")  # which may close over what is traced

        for name in ("terminal", "direction"):
            if hasattr(event, name):
                setattr(at, name, getattr(event, name))
        return at

    return solver.until(
        first,
        last,
        initial,
        consts,
        [plain(e) for e in events],
        None if times is None else plain_value(times, "solve_ivp"),
    )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EventTime(Solver):
    """The graph is that of the event. Inputs are the time of it that SciPy found, start, end and initial value, and what right-hand side and
    event take besides time and state. The output is the time. NaN is one that there is not, which has derivatives of zero.

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
        time = np.where(np.isnan(time), end, time)
        (rows,) = self.flow(start, end, np.reshape(time, (1,)), initial, *consts[: self.count])
        return evaluate(self.graph, [time, rows[0], *consts[self.count :]])[0]

    def _slope(self, time: Any, rest: Sequence[Any]) -> Any:
        slope = jvp(lambda t: self.distance(t, *rest), (time,), (np.ones(()),))[1]
        return np.where(np.isnan(time), 1.0, slope)

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
        return [np.where(np.isnan(out[0]), 0.0, -right / self._slope(out[0], rest))]

    def vjp(self, wanted: Wanted, cts: Sequence[Any], out: Any, primals: Sequence[Any]) -> Sequence[Any]:
        _, *rest = primals
        active = inexact_of(wanted, primals, 1)
        if cts[0] is None or not active:
            return [None] * len(wanted)
        _, pull = vjp(self._moved(out[0], rest, active), *[rest[i] for i in active])
        ct = np.where(np.isnan(out[0]), 0.0, -cts[0] / self._slope(out[0], rest))
        found = dict(zip([1 + i for i in active], pull(ct), strict=True))
        return [found.get(i) for i in wanted]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EventSearch(Solver):
    """The graph is that of the right-hand side. Inputs are start, end and initial value, and what right-hand side and events take besides time
    and state. Outputs, which have no derivatives, are the times of each event (room,), NaN where there are no more, the time at which
    the solution ends, and which event has ended it, or -1.

    flow    the equation
    events  those of which the times are wanted
    kinds   `terminal` and `direction` of each
    counts  how many inputs each of them takes
    room    for how many times of an event there is room
    where   the line that says so
    """

    routine: ClassVar[str] = "events of solve_ivp"
    flow: IVP | None = None
    events: tuple[EventTime, ...] = ()
    kinds: tuple[tuple[Any, Any], ...] = ()
    counts: tuple[int, ...] = ()
    room: int = 0
    where: str = ""

    def run(self, *arrays: Any) -> Sequence[Any]:
        assert self.flow is not None
        start, end, initial, *rest = arrays
        consts, rest = rest[: len(rest) - sum(self.counts)], rest[len(rest) - sum(self.counts) :]
        events = []
        for event, (terminal, direction), count in zip(self.events, self.kinds, self.counts, strict=True):
            events.append(_plain_event(compiled(event.graph), rest[:count], terminal, direction))
            rest = rest[count:]
        found = self.flow.until(start, end, initial, consts, events)
        for event, ts in zip(self.events, found.t_events, strict=True):
            if len(ts) > self.room:
                raise RuntimeError(
                    f"solve_ivp{self.where}: {event.graph.name!r} is zero {len(ts)} times from {start} to {found.t[-1]}, at "
                    f"{clip(str(ts.tolist()))}, and max_events={self.room} has no room for them; write max_events={len(ts)} or more, or have "
                    f"the solution end before, as by event.terminal = {self.room}"
                )
        times = [np.append(ts, np.full(self.room - len(ts), np.nan)) for ts in found.t_events]
        ended = found.t[-1]
        by = [i for i, ts in enumerate(found.t_events) if self.kinds[i][0] and len(ts) and ts[-1] == ended]
        return [*times, ended, by[0] if found.status == 1 else -1]

    def types(self, types: Sequence[ArrayType]) -> tuple[ArrayType, ...]:
        return (*[ArrayType((self.room,), TIME.dtype)] * len(self.events), TIME, ArrayType((), np.dtype(np.int64)))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Sequence[Any]:
        return [None] * (len(self.events) + 2)

    def vjp(self, wanted: Wanted, cts: Sequence[Any], out: Any, primals: Sequence[Any]) -> Sequence[Any]:
        return [None] * len(wanted)


def _plain_event(f: Callable[..., Any], consts: Sequence[Any], terminal: Any, direction: Any) -> Callable[..., Any]:
    def event(t: Any, y: Any) -> Any:
        return f(np.float64(t), y, *consts)[0]

    event.terminal, event.direction = terminal, direction  # type: ignore[attr-defined]
    return event


def within_room(
    flow: IVPAgain, events: Sequence[Callable[..., Any]], args: tuple[Any, ...], start: Any, end: Any, y0: Any, inputs: Sequence[Any], room: int
) -> tuple[list[Any], list[Any], Any, Any, Any]:  # fmt: skip
    """The traced times of events and the solution there, NaN where there are no more; the plain time at which the solution ends, the traced
    one, and which event has ended it."""
    traced = [traced_event(flow, event, args, y0, len(inputs)) for event in events]
    kinds = tuple([(getattr(e, "terminal", False), getattr(e, "direction", 0)) for e in events])
    timed, consts = tuple([t for t, _ in traced]), [c for _, c in traced]
    search = EventSearch(flow.graph, {}, flow, timed, kinds, tuple(map(len, consts)), room, at(user_source()))
    *found, ended, by = search(start, end, y0, *inputs, *[x for c in consts for x in c])
    t_events, y_events, last = [], [], end
    for i, (event, own) in enumerate(zip(timed, consts, strict=True)):
        given = (start, ended, y0, *inputs, *own)
        times = np.stack([event(take(found[i], k), *given)[0] for k in range(room)])
        unused = np.isnan(found[i])
        (rows,) = flow(start, ended, np.where(unused, ended, times), y0, *inputs)
        t_events.append(times)
        y_events.append(np.where(unused[:, None], np.nan, rows))
        if kinds[i][0]:
            is_it = np.equal(by, i)
            last = np.where(is_it, event(np.where(is_it, ended, np.nan), *given)[0], last)
    return t_events, y_events, ended, last, by


def traced_event(
    flow: IVP, event: Callable[..., Any], args: tuple[Any, ...], y0: Any, count: int
) -> tuple[EventTime, list[Any]]:
    """An event, and what it takes besides time and state."""

    def distance(t: Any, y: Any, *rest: Any) -> Any:
        found = as_array(event(t, y, *rest))
        if type_of(found).size != 1:
            raise ShapeError(
                f"solve_ivp{at(user_source())}: an event is a number, got {type_of(found)} from {described(event)}"
            )
        return astype(np.reshape(found, ()), np.float64)

    state = ArrayType(type_of(y0).shape, type_of(y0).dtype)
    graph, consts = traced_function(event, distance, [TIME, state], ["t", "y"], args, "solve_ivp")
    return EventTime(graph, {}, flow, count), consts


def event_times(
    flow: IVP, event: Callable[..., Any], args: tuple[Any, ...], plain: Any, start: Any, end: Any, y0: Any, inputs: Sequence[Any]
) -> list[Any]:  # fmt: skip
    """The traced times of an event, of which these are the plain ones."""
    timed, consts = traced_event(flow, event, args, y0, len(inputs))
    return [timed(np.float64(t), start, end, y0, *inputs, *consts)[0] for t in plain]
