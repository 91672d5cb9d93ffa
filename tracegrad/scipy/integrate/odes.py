"""`solve_ivp` and `odeint`: plain calls are SciPy's own, and where something is traced, what it makes of them is one equation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.context import open_traces
from tracegrad.core.errors import ShapeError, at, require_callable, user_source
from tracegrad.core.late import imported
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import plain_value
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.index import take
from tracegrad.scipy.calling import refused
from tracegrad.scipy.integrate.events import event_times, found_by_scipy, within_room
from tracegrad.scipy.integrate.flow import IVP, TIME, IVPAgain, ODEInt, as_state
from tracegrad.scipy.integrate.solver import (
    closes_over_tracers,
    is_traced,
    scipy_integrate,
    traced_function,
)
from tracegrad.typing import Array, ArrayLike

_STATE = "Write the state as one vector, as by np.concatenate, and take it apart in the right-hand side."


def _time(x: Any) -> Any:
    return astype(as_array(x), np.float64)


def _state(y0: Any, name: str) -> Any:
    """An initial value as SciPy has it: float64 or complex128."""
    y0 = as_array(y0)
    found = type_of(y0)
    if len(found.shape) != 1:
        raise ShapeError(f"{name}{at(user_source())}: y0 must be a vector, got {found}. {_STATE}")
    return astype(y0, np.result_type(np.float64, found.dtype))


def solve_ivp(
    fun: Callable[..., Any],
    t_span: Sequence[Any],
    y0: ArrayLike,
    method: Any = "RK45",
    t_eval: ArrayLike | None = None,
    dense_output: bool = False,
    events: Any = None,
    vectorized: bool = False,
    args: tuple[Any, ...] | None = None,
    *,
    adjoint: bool = True,
    max_events: int | None = None,
    **options: Any,
) -> Any:
    """The solution of `dy/dt = fun(t, y, *args)` from `y0` at `t_span[0]` to `t_span[1]`: `scipy.integrate.solve_ivp`, with
    derivatives in `args` (pytrees), in what `fun` closes over, in `y0`, in both ends and in the times `t_eval`, of any order.

    Forward derivatives integrate tangents along with the solution; reverse ones integrate the adjoint equation back, with cotangents
    of all parameters at once, and the solution with it, which the system must allow (a stiff one does not: `adjoint=False`). Both
    are as accurate as rtol and atol say, which hold for them too. Where something is traced, `fun` is
    traced by types: write np.where or tg.lax.cond for its branches. A Jacobian that is given (`jac`) is then tracegrad's own, and
    one that is not stays SciPy's. Where only types are known (under jit and vmap), the steps that the solver takes are not, and
    `t_eval` is needed; else they are taken as constants, but for the ends.

    Args:
        fun: of a time and a vector (n,), which returns a vector (n,) or a list of n numbers.
        t_span: the two ends.
        y0: the initial value (n,), real or complex.
        method: "RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA" or one of SciPy's classes of solvers.
        t_eval: the times (k,) at which the solution is wanted; in order, between the ends.
        dense_output: whether the result has a function `sol(t)`; in what is traced each call of it integrates anew.
        events: a function `event(t, y, *args)` of a number, or a list of such; where one is zero, and changes its sign, is an event. With
            `event.terminal` the solution ends there, with `event.direction` only zeros in that direction count. Their times, and the solution
            there, have derivatives by the implicit function theorem; how many there are depends on values, which have to be known, or
            `max_events` be said.
        vectorized: whether `fun` takes the columns of a matrix.
        args: what `fun` gets besides.
        adjoint: False to take reverse derivatives by integrating onward those in each component of `y0` and of the parameters,
            with the solution: for stiff systems with few of them.
        max_events: for how many times of each event there is room, so that shapes do not depend on values, under jit and vmap. `t_events` are
            then (max_events,) and `y_events` the solution there (max_events, n), NaN where there are no more events. After
            an event that ends the solution, `t` and `y` are NaN; without `t_eval` they are those at the start and where it ends, (2,) and (n, 2).
        options: SciPy's (rtol, atol, max_step, first_step, jac, ...).

    Returns:
        SciPy's result: its `t` (k,) and `y` (n, k), and `t_events` and `y_events`, are traced.

    Raises:
        DifferentiationError: in the reverse derivative, where the solution cannot be integrated back (that of a stiff system).
        RuntimeError: SciPy's solver fails in what is traced (a plain call says so in its result); there are more than `max_events` events.
        ShapeError: `y0` is no vector; `fun` returns another number of components.
        UnsupportedFunctionError: types alone are known, and there are `events` without `max_events`, or `t_eval` is missing.
        ValueError: `max_events` is no positive int, or there are no `events`.

    >>> import numpy as np, tracegrad as tg
    >>> def decayed(rate):
    ...     found = tg.scipy.integrate.solve_ivp(lambda t, y: -rate * y, (0.0, 2.0), np.array([1.0]), rtol=1e-8, atol=1e-8)
    ...     return found.y[0, -1]
    >>> bool(np.isclose(tg.grad(decayed)(0.5), -2.0 * np.exp(-1.0)))
    True
    """
    require_callable(fun, "tg.scipy.integrate.solve_ivp", "(fun, t_span, y0)")
    scipy = scipy_integrate()
    given = () if args is None else args if isinstance(args, tuple) else (args,)
    start, end = t_span
    known = not is_traced((start, end, y0, t_eval, given))
    known = known and not (dense_output and events is None and open_traces)  # whose `sol` may be given what is traced
    happening = [events] if callable(events) else list(events or ())
    if max_events is not None and (not happening or type(max_events) is not int or max_events < 1):
        raise ValueError(
            f"solve_ivp{at(user_source())}: max_events is how many times of each of the `events` there is room for, a positive int, got "
            f"{max_events!r} for {len(happening)} events"
        )

    def called() -> Any:
        return [_called(fun, start, y0, given, vectorized), *[_called(e, start, y0, given, False) for e in happening]]

    if known and max_events is None and not closes_over_tracers(called):
        return scipy.solve_ivp(
            fun, t_span, y0, method, t_eval, dense_output, events, vectorized, args, **options
        )  # fmt: skip
    start, end, y0 = _time(start), _time(end), _state(y0, "solve_ivp")
    exact = options.get("jac") is not None
    options = {**{k: v for k, v in options.items() if k != "jac"}, "method": method}
    state = ArrayType(type_of(y0).shape, type_of(y0).dtype)

    def right_hand_side(t: Any, y: Any, *rest: Any) -> Any:
        return as_state(fun(t, y[:, None] if vectorized else y, *rest), state, "solve_ivp")

    graph, inputs = traced_function(fun, right_hand_side, [TIME, state], ["t", "y"], given, "solve_ivp")
    kind = IVP if max_events is None else IVPAgain
    solver = kind(graph, options, exact, _adjoint(adjoint, state, "solve_ivp"))
    if isinstance(solver, IVPAgain):
        assert max_events is not None
        return _within_room(solver, happening, given, start, end, t_eval, y0, inputs, dense_output, max_events)
    if events is not None:
        return _until_events(solver, happening, given, start, end, t_eval, y0, inputs, dense_output)
    if t_eval is None:
        t_eval = _steps(solver, start, end, y0, inputs)
    times = astype(as_array(t_eval), np.float64)
    (rows,) = solver(start, end, times, y0, *inputs)
    return _result(times, np.transpose(rows), _dense(solver, start, end, y0, inputs) if dense_output else None)


_ENDS = ("The solver successfully reached the end of the integration interval.", "A termination event occurred.")


def _result(t: Any, y: Any, sol: Any, t_events: Any = None, y_events: Any = None, status: Any = 0) -> Any:
    is_known = type(status) is int
    message = _ENDS[status] if is_known else "The solver reached the end, or a termination event occurred: see status."
    return imported("scipy.optimize").OptimizeResult(
        t=t, y=y, sol=sol, t_events=t_events, y_events=y_events, status=status, success=True, message=message
    )


def _dense(solver: IVP, start: Any, end: Any, y0: Any, inputs: Sequence[Any]) -> Any:

    def sol(t: ArrayLike) -> Array:
        """The solution (n, ...) at times of any order, for which it is integrated anew."""
        when = astype(as_array(t), np.float64)
        flat = np.reshape(when, (-1,))
        order = np.argsort(np.where(start < end, flat, -flat), kind="stable")
        (found,) = solver(start, end, take(flat, order), y0, *inputs)
        return np.reshape(np.transpose(take(found, np.argsort(order), axis=0)), (-1, *type_of(when).shape))

    return sol


def _until_events(
    solver: IVP, events: Sequence[Any], args: tuple[Any, ...], start: Any, end: Any, t_eval: Any, y0: Any, inputs: Sequence[Any], dense_output: bool
) -> Any:  # fmt: skip
    """The solution up to the end, or to the event that ends it."""
    times = None if t_eval is None else astype(as_array(t_eval), np.float64)
    found = found_by_scipy(solver, events, args, start, end, times, y0, inputs)

    def at(time: Any) -> Any:
        return solver(start, end, np.reshape(time, (1,)), y0, *inputs)[0][0]

    when = [
        event_times(solver, event, args, plain, start, end, y0, inputs)
        for event, plain in zip(events, found.t_events, strict=True)
    ]
    t_events = [np.stack(ts) if ts else np.zeros(0) for ts in when]
    y_events = [np.stack([at(t) for t in ts]) if ts else np.zeros((0, 0)) for ts in when]
    if found.status == 1:
        # The event that has ended it is the one that is farthest from the start.
        began = float(plain_value(start, "solve_ivp"))
        last = [(abs(plain[-1] - began), ts[-1]) for ts, plain in zip(when, found.t_events, strict=True) if len(plain)]
        end = max(last, key=lambda pair: pair[0])[1]
    if times is None:
        times = np.concatenate([np.reshape(start, (1,)), found.t[1:-1], np.reshape(end, (1,))])
    else:
        times = take(times, np.arange(found.t.size))
    (rows,) = solver(start, end, times, y0, *inputs)
    sol = _dense(solver, start, end, y0, inputs) if dense_output else None
    return _result(times, np.transpose(rows), sol, t_events, y_events, found.status)


def _within_room(
    solver: IVPAgain, events: Sequence[Any], args: tuple[Any, ...], start: Any, end: Any, t_eval: Any, y0: Any, inputs: Sequence[Any],
    dense_output: bool, room: int,
) -> Any:  # fmt: skip
    """The same in shapes that do not depend on values."""
    t_events, y_events, ended, last, by = within_room(solver, events, args, start, end, y0, inputs, room)
    if t_eval is None:
        times = np.stack([start, last])
        (rows,) = solver(start, ended, times, y0, *inputs)
    else:
        times = astype(as_array(t_eval), np.float64)
        after = np.where(start < end, times > ended, times < ended)
        (rows,) = solver(start, ended, np.where(after, ended, times), y0, *inputs)
        times, rows = np.where(after, np.nan, times), np.where(after[:, None], np.nan, rows)
    sol = _dense(solver, start, ended, y0, inputs) if dense_output else None
    return _result(times, np.transpose(rows), sol, t_events, y_events, np.where(np.equal(by, -1), 0, 1))


def _adjoint(adjoint: bool, state: ArrayType, name: str) -> bool:
    if not adjoint and state.dtype.kind == "c":
        raise refused(
            f"integrate.{name}",
            "with adjoint=False and a complex state",
            "Write its real and imaginary parts as one real vector.",
        )
    return bool(adjoint)


def _called(fun: Callable[..., Any], t: Any, y0: Any, args: tuple[Any, ...], vectorized: bool) -> Any:
    y = np.atleast_1d(np.asarray(y0))
    return fun(t, y[:, None] if vectorized else y, *args)


def _steps(solver: IVP, start: Any, end: Any, y0: Any, inputs: Sequence[Any]) -> Any:
    """The times of the steps that the solver takes, which are numbers, between ends that may be traced."""
    plain = [plain_value(x, "solve_ivp") for x in (start, end, y0, *inputs)]
    if any([x is None for x in plain]):
        raise refused(
            "integrate.solve_ivp",
            "with no t_eval, where types alone are known",
            "How many steps the solver takes depends on values: say the times, as by t_eval=np.linspace(t0, t1, 100).",
        )
    first, last, initial, *rest = [np.asarray(x) for x in plain]
    return np.concatenate([np.reshape(start, (1,)), solver.steps(first, last, initial, rest), np.reshape(end, (1,))])


def odeint(
    func: Callable[..., Any],
    y0: ArrayLike,
    t: ArrayLike,
    args: tuple[Any, ...] = (),
    Dfun: Any = None,
    col_deriv: bool = False,
    full_output: bool = False,
    ml: int | None = None,
    mu: int | None = None,
    rtol: Any = None,
    atol: Any = None,
    tcrit: Any = None,
    h0: float = 0.0,
    hmax: float = 0.0,
    hmin: float = 0.0,
    ixpr: bool = False,
    mxstep: int = 0,
    mxhnil: int = 0,
    mxordn: int = 12,
    mxords: int = 5,
    printmessg: bool = False,
    tfirst: bool = False,
    *,
    adjoint: bool = True,
) -> Array:
    """The solution of `dy/dt = func(y, t, *args)` at the times `t`, of which the first is that of `y0`: `scipy.integrate.odeint`,
    with derivatives in `args`, in what `func` closes over, in `y0` and in `t`, of any order, as those of `solve_ivp`.

    Args:
        func: of a vector (n,) and a time, or of time and vector (`tfirst`), which returns n numbers.
        y0: the initial value (n,).
        t: the times (k,), in order.
        args: what `func` gets besides: pytrees.
        adjoint: as for `solve_ivp`.
        Dfun: the Jacobian. In what is traced, tracegrad's own is in its place.
        full_output: for plain calls.

    Returns:
        The solution (k, n), of float64.

    Raises:
        RuntimeError: SciPy's solver fails in what is traced.
        UnsupportedFunctionError: `full_output` in what is traced.

    >>> import numpy as np, tracegrad as tg
    >>> decayed = lambda rate: tg.scipy.integrate.odeint(lambda y, t: -rate * y, np.array([1.0]), np.array([0.0, 2.0]))[-1, 0]
    >>> bool(np.isclose(tg.grad(decayed)(0.5), -2.0 * np.exp(-1.0), rtol=1e-5))
    True
    """
    require_callable(func, "tg.scipy.integrate.odeint", "(func, y0, t)")
    scipy = scipy_integrate()
    given = args if isinstance(args, tuple) else (args,)
    by_time = lambda time, y, *rest: func(time, y, *rest) if tfirst else func(y, time, *rest)
    begin = lambda: _called(by_time, np.ravel(t)[0], y0, given, False)
    if not is_traced((y0, t, given)) and not closes_over_tracers(begin):
        return scipy.odeint(
            func, y0, t, args, Dfun, col_deriv, full_output, ml, mu, rtol, atol, tcrit, h0, hmax, hmin, ixpr, mxstep, mxhnil,
            mxordn, mxords, printmessg, tfirst,
        )  # fmt: skip
    if full_output:
        raise refused(
            "integrate.odeint", "with full_output=True", "Leave it out: what it tells is of a run on plain numbers."
        )
    y0 = _state(y0, "odeint")
    times = astype(as_array(t), np.float64)
    state = ArrayType(type_of(y0).shape, type_of(y0).dtype)
    right_hand_side = lambda t, y, *rest: as_state(by_time(t, y, *rest), state, "odeint")
    graph, inputs = traced_function(func, right_hand_side, [TIME, state], ["t", "y"], given, "odeint")
    options = {"rtol": rtol, "atol": atol, "tcrit": tcrit, "h0": h0, "hmax": hmax, "hmin": hmin, "mxstep": mxstep,
               "mxhnil": mxhnil, "mxordn": mxordn, "mxords": mxords}  # fmt: skip
    solver = ODEInt(graph, options, Dfun is not None, _adjoint(adjoint, state, "odeint"))
    (rows,) = solver(take(times, 0), take(times, -1), times, y0, *inputs)
    return rows
