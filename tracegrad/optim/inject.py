"""Hyper-parameters as a part of the state: read, changed by hand, scheduled."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import require_function
from tracegrad.core.errors import at, described, name_of, user_source
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.optim.base import (
    GradientTransformationExtraArgs,
    OptState,
    Params,
    Schedule,
    Updates,
    first_count,
    passing,
    safe_increment,
    telling,
    users,
    with_extra_args_support,
)
from tracegrad.typing import Array, ArrayLike, DType


class InjectStatefulHyperparamsState(NamedTuple):
    """The state of what `inject_hyperparams` makes.

    count               the number of steps, int32
    hyperparams         by name, numbers as they are (to be changed at will) and schedules as they were at the latest step
    hyperparams_states  by name, the states of schedules
    inner_state         the state of the transformation within
    """

    count: Array
    hyperparams: dict[str, Any]
    hyperparams_states: dict[str, Any]
    inner_state: Any


class WrappedScheduleState(NamedTuple):
    """`count`: the number of steps, int32."""

    count: Array


class WrappedSchedule:
    """A schedule as one that has a state of its own, `init() -> state`, `schedule(state) -> value`, `update(state) -> state`: the number of steps."""

    def __init__(self, schedule_fn: Schedule) -> None:
        self.schedule_fn = users(schedule_fn)

    def init(self) -> WrappedScheduleState:
        """The state at the beginning."""
        return WrappedScheduleState(count=first_count())

    def update(self, state: WrappedScheduleState, **extra_args: Any) -> WrappedScheduleState:
        """The state at the next step."""
        return WrappedScheduleState(count=safe_increment(state.count))

    def __call__(self, state: WrappedScheduleState, **extra_args: Any) -> ArrayLike:
        return self.schedule_fn(state.count)


def _is_stateful(x: Any) -> bool:
    return callable(x) and not isinstance(x, type) and callable(getattr(x, "init", None)) and hasattr(x, "update")


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float | np.ndarray | np.generic) or is_jax_array(x)


def inject_hyperparams(
    inner_factory: Callable[..., Any], static_args: str | Iterable[str] = (), hyperparam_dtype: DType = None
) -> Callable[..., GradientTransformationExtraArgs]:
    """What makes transformations (`adam`, say), with numbers and schedules for arguments kept in the state: `state.hyperparams["learning_rate"]` is
    what the latest update used, and a number there may be exchanged between steps, of which a jitted step takes no notice.

    Args:
        inner_factory: what makes the transformation. It is called at each step, with arrays for numbers.
        static_args: the names of arguments that it is to get as they are: functions that are no schedules, numbers that Python code looks at.
        hyperparam_dtype: the dtype that floats are kept in; None for that of the parameters, the highest where they differ.

    Returns:
        A function of the same arguments, each of which may be a schedule: a function of the number of the step, or an object with a state
        of its own (see `WrappedSchedule`), that sees the extra arguments of `update`.

    Raises:
        ValueError: a static argument that `inner_factory` does not take.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.inject_hyperparams(tg.optim.scale)(step_size=0.5)
    >>> state = opt.init(np.zeros(1))
    >>> state.hyperparams["step_size"] = 0.25
    >>> opt.update(np.array([4.0]), state)[0]
    array([1.])
    """
    require_function(inner_factory, "inject_hyperparams", "inner_factory", "such as tg.optim.adam, not what it returns")
    static = {static_args} if isinstance(static_args, str) else set(static_args)
    signature = inspect.signature(inner_factory)
    if unknown := sorted(static - set(signature.parameters)):
        raise ValueError(
            f"inject_hyperparams{at(user_source())}: static_args names {', '.join(map(repr, unknown))}, which {described(inner_factory)} does not take; its arguments are"
            f" {', '.join(signature.parameters)}"
        )

    @functools.wraps(inner_factory)
    def made(*args: Any, **kwargs: Any) -> GradientTransformationExtraArgs:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{name_of(inner_factory)}{at(user_source())}: {error}; its arguments are {', '.join(signature.parameters)}"
            ) from None
        bound.apply_defaults()
        numbers: dict[str, Any] = {}
        schedules: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if name in static or isinstance(value, bool):
                others[name] = value
            elif _is_stateful(value):
                schedules[name] = value
            elif callable(value):
                schedules[name] = WrappedSchedule(value)
            elif _is_number(value):
                numbers[name] = value
            else:
                others[name] = value

        def inner(hyperparams: dict[str, Any]) -> GradientTransformationExtraArgs:
            return with_extra_args_support(inner_factory(**others, **hyperparams))

        def now(known: dict[str, Any], states: dict[str, Any], like: Params, **extra_args: Any) -> dict[str, Any]:
            dtype = _float_dtype(like) if hyperparam_dtype is None else np.dtype(hyperparam_dtype)
            scheduled = {name: schedule(states[name], **extra_args) for name, schedule in schedules.items()}
            return {name: _in_dtype(value, dtype) for name, value in {**known, **scheduled}.items()}

        def init(params: Params) -> OptState:
            states = {name: schedule.init() for name, schedule in schedules.items()}
            hyperparams = now(numbers, states, params)
            return InjectStatefulHyperparamsState(
                count=first_count(),
                hyperparams=hyperparams,
                hyperparams_states=states,
                inner_state=inner(hyperparams).init(params),
            )

        def update(
            updates: Updates, state: InjectStatefulHyperparamsState, params: Params | None = None, **extra_args: Any
        ) -> Any:
            like = updates if params is None else params
            hyperparams = now(state.hyperparams, state.hyperparams_states, like, **extra_args)
            updates, inner_state = inner(hyperparams).update(updates, state.inner_state, params, **extra_args)
            return updates, InjectStatefulHyperparamsState(
                count=safe_increment(state.count),
                hyperparams=hyperparams,
                hyperparams_states={
                    name: schedule.update(state.hyperparams_states[name], **extra_args)
                    for name, schedule in schedules.items()
                },
                inner_state=inner_state,
            )

        def hyperparams(state: InjectStatefulHyperparamsState) -> dict[str, Any]:
            states = state.hyperparams_states
            return {**state.hyperparams, **{name: f(states[name]) for name, f in schedules.items()}}

        return passing(init, telling(update, hyperparams))

    return made


def _float_dtype(params: Params) -> np.dtype[Any]:
    """The highest dtype of the floats among parameters; float64 if there are none."""
    found = [type_of(x).dtype for x in tree.leaves(params)]
    found = [np.empty(0, d).real.dtype for d in found if number_kind(d) in "fc"]
    return functools.reduce(np.promote_types, found) if found else np.dtype(np.float64)


def _in_dtype(x: Any, dtype: np.dtype[Any]) -> Any:
    """A hyper-parameter as an array: floats of this dtype, Python's integers of int32, as counts are."""
    if isinstance(x, int | float) and not hasattr(x, "dtype"):
        return np.asarray(x, dtype if isinstance(x, float) else np.int32)
    return x.astype(dtype) if number_kind(type_of(x).dtype) == "f" else x
