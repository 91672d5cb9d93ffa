"""Schedules: functions of the number of the step, which is 0 at the first update, to a hyper-parameter.

They take Python's and NumPy's integers, arrays of these, traced and jax counts, and compute in float64; what uses the value casts it
to the dtype of its leaves. A step before the first one (as `join_schedules` asks of schedules that have not begun) is as the first one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tracegrad.core.arguments import NotNegative, Positive, Share, checked, require_function
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import at, user_source
from tracegrad.optim.base import Schedule
from tracegrad.typing import ArrayLike


@checked
def constant_schedule(value: ArrayLike) -> Schedule:
    """`value` at every step.

    >>> constant_schedule(0.1)(1000)
    0.1
    """
    return lambda count: value


@checked
def linear_schedule(
    init_value: ArrayLike, end_value: ArrayLike, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """From `init_value` to `end_value` along a straight line of `transition_steps` steps, which begins at step `transition_begin`.

    >>> schedule = linear_schedule(1.0, 0.0, 4)
    >>> [float(schedule(step)) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.75, 0.5, 0.0, 0.0]
    """
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


@checked
def polynomial_schedule(
    init_value: ArrayLike,
    end_value: ArrayLike,
    power: NotNegative,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """From `init_value` to `end_value` as `(init_value - end_value) * (1 - t)**power + end_value`, where t goes from 0 to 1.

    Args:
        init_value: the value until step `transition_begin`.
        end_value: the value from `transition_steps` later on.
        power: the exponent; 1 gives a line.
        transition_steps: how many steps t takes. 0 or less stands for `init_value` for ever.
        transition_begin: the step at which it begins to move.

    >>> schedule = polynomial_schedule(1.0, 0.0, 2, 4)
    >>> [float(schedule(step)) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.5625, 0.25, 0.0, 0.0]
    """
    if transition_steps <= 0:
        return constant_schedule(init_value)
    begin = max(transition_begin, 0)

    @accepting_jax
    def schedule(count: ArrayLike) -> Any:
        rest = 1 - np.clip(count - begin, 0, transition_steps) / transition_steps
        return (init_value - end_value) * rest**power + end_value

    return schedule


@checked
def exponential_decay(
    init_value: ArrayLike,
    transition_steps: int,
    decay_rate: NotNegative,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: ArrayLike | None = None,
) -> Schedule:
    """`init_value * decay_rate**(steps / transition_steps)`, of the steps since `transition_begin`.

    Args:
        init_value: the value until then.
        transition_steps: the steps in which it is multiplied by `decay_rate`. 0 or less stands for `init_value` for ever.
        decay_rate: the factor; 0 stands for `init_value` for ever.
        transition_begin: the step at which it begins to move.
        staircase: whether it moves once in `transition_steps` steps only.
        end_value: the value where it stops: the least for a rate below 1, else the largest.

    >>> schedule = exponential_decay(1.0, 2, 0.25, end_value=0.1)
    >>> [float(schedule(step)) for step in (0, 1, 2, 4)]
    [1.0, 0.5, 0.25, 0.1]
    """
    if transition_steps <= 0 or decay_rate == 0:
        return constant_schedule(init_value)
    begin = max(transition_begin, 0)
    bound = np.maximum if decay_rate < 1 else np.minimum

    @accepting_jax
    def schedule(count: ArrayLike) -> Any:
        exponent = np.maximum(count - begin, 0) / transition_steps
        found = init_value * np.power(decay_rate, np.floor(exponent) if staircase else exponent)
        return found if end_value is None else bound(found, end_value)

    return schedule


@checked
def cosine_decay_schedule(
    init_value: ArrayLike, decay_steps: int, alpha: ArrayLike = 0.0, exponent: NotNegative = 1.0
) -> Schedule:
    """From `init_value` to `alpha * init_value` along half a cosine, `init_value * ((1 - alpha) * c**exponent + alpha)` with
    c = (1 + cos(pi * step / decay_steps)) / 2 (Loshchilov and Hutter, "SGDR", 2017).

    Raises:
        ValueError: `decay_steps` that are not positive.

    >>> schedule = cosine_decay_schedule(1.0, 4)
    >>> [round(float(schedule(step)), 4) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.8536, 0.5, 0.0, 0.0]
    """
    if not decay_steps > 0:
        raise ValueError(f"cosine_decay_schedule needs decay_steps > 0, got {decay_steps}")

    @accepting_jax
    def schedule(count: ArrayLike) -> Any:
        cosine = 0.5 * (1 + np.cos(math.pi * np.minimum(count, decay_steps) / decay_steps))
        return init_value * ((1 - alpha) * cosine**exponent + alpha)

    return schedule


@checked
def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Schedules one after the other; each begins to count at its boundary.

    Args:
        schedules: the schedules.
        boundaries: the steps at which the second and those after it begin.

    Raises:
        ValueError: another number of boundaries than one less than of schedules.

    >>> schedule = join_schedules([linear_schedule(0.0, 1.0, 2), linear_schedule(1.0, 0.0, 4)], [2])
    >>> [float(schedule(step)) for step in (0, 1, 2, 3, 6)]
    [0.0, 0.5, 1.0, 0.75, 0.0]
    """
    for name, given in (("schedules", schedules), ("boundaries", boundaries)):
        if not isinstance(given, Iterable):
            raise TypeError(f"join_schedules: {name} is a list, got {given!r}; write join_schedules([a, b], [1000])")
    schedules, boundaries = list(schedules), list(boundaries)
    for i, found in enumerate(schedules):
        require_function(found, "join_schedules", f"schedules[{i}]", "tg.optim.constant_schedule(x) for a number")
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"join_schedules got {len(schedules)} schedules and {len(boundaries)} boundaries, {boundaries}; give the step at"
            " which each but the first one begins"
        )

    @accepting_jax
    def schedule(count: ArrayLike) -> Any:
        found = schedules[0](count)
        for begin, later in zip(boundaries, schedules[1:], strict=True):
            found = np.where(count < begin, found, later(count - begin))
        return found

    return schedule


@checked
def warmup_constant_schedule(init_value: ArrayLike, peak_value: ArrayLike, warmup_steps: NotNegative) -> Schedule:
    """From `init_value` to `peak_value` along a line of `warmup_steps` steps, and `peak_value` from then on.

    >>> schedule = warmup_constant_schedule(0.0, 1.0, 4)
    >>> [float(schedule(step)) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return linear_schedule(init_value, peak_value, warmup_steps)


@checked
def warmup_cosine_decay_schedule(
    init_value: ArrayLike,
    peak_value: ArrayLike,
    warmup_steps: NotNegative,
    decay_steps: int,
    end_value: ArrayLike = 0.0,
    exponent: NotNegative = 1.0,
) -> Schedule:
    """A line from `init_value` to `peak_value`, and half a cosine from there to `end_value`.

    Args:
        init_value: the value at step 0.
        peak_value: the value at step `warmup_steps`.
        warmup_steps: the length of the line.
        decay_steps: the length of the whole, **the warm-up counted too**: the cosine takes `decay_steps - warmup_steps`.
        end_value: the value from step `decay_steps` on.
        exponent: of the cosine (see `cosine_decay_schedule`).

    Raises:
        ValueError: `decay_steps` that do not go beyond the warm-up.

    >>> schedule = warmup_cosine_decay_schedule(0.0, 1.0, 2, 6)
    >>> [round(float(schedule(step)), 4) for step in (0, 1, 2, 4, 6)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if not decay_steps > warmup_steps:
        raise ValueError(
            f"warmup_cosine_decay_schedule needs decay_steps > warmup_steps, since it counts these too; got decay_steps"
            f" {decay_steps} and warmup_steps {warmup_steps}: write decay_steps={warmup_steps} + the steps of the decay"
        )
    alpha = 0.0 if peak_value == 0 else end_value / peak_value
    decay = cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent)
    return join_schedules([linear_schedule(init_value, peak_value, warmup_steps), decay], [warmup_steps])


@checked
def warmup_exponential_decay_schedule(
    init_value: ArrayLike,
    peak_value: ArrayLike,
    warmup_steps: NotNegative,
    transition_steps: int,
    decay_rate: NotNegative,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: ArrayLike | None = None,
) -> Schedule:
    """A line of `warmup_steps` from `init_value` to `peak_value`, and `exponential_decay` from there, which counts its steps from
    the end of the warm-up.

    >>> schedule = warmup_exponential_decay_schedule(0.0, 1.0, 2, 2, 0.25)
    >>> [float(schedule(step)) for step in (0, 1, 2, 3, 4)]
    [0.0, 0.5, 1.0, 0.5, 0.25]
    """
    decay = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return join_schedules([linear_schedule(init_value, peak_value, warmup_steps), decay], [warmup_steps])


@checked
def piecewise_constant_schedule(
    init_value: ArrayLike, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """`init_value`, multiplied by a scale at each boundary.

    Args:
        init_value: the value at step 0.
        boundaries_and_scales: the scales by the steps from which on they count.

    Raises:
        ValueError: a negative scale.

    >>> schedule = piecewise_constant_schedule(1.0, {2: 0.5, 4: 0.1})
    >>> [float(schedule(step)) for step in (0, 1, 2, 3, 4)]
    [1.0, 1.0, 0.5, 0.5, 0.05]
    """
    steps = _sorted_scales("piecewise_constant_schedule", boundaries_and_scales)

    @accepting_jax
    def schedule(count: ArrayLike) -> Any:
        found = init_value
        for boundary, factor in steps:
            found = np.where(count < boundary, found, factor * found)
        return found

    return schedule


def _sorted_scales(who: str, scales: Mapping[int, float] | None) -> list[tuple[int, float]]:
    found = sorted((scales or {}).items())
    if negative := {boundary: factor for boundary, factor in found if not factor >= 0}:
        raise ValueError(f"{who} takes scales that are not negative, got {negative}")
    return found


@checked
def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: ArrayLike, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """The values of `piecewise_constant_schedule` at its boundaries, and a line or half a cosine from each to the next.

    Args:
        interpolate_type: "linear" or "cosine".
        init_value: the value at step 0.
        boundaries_and_scales: by which factor the value at a boundary differs from that at the one before.

    Raises:
        ValueError: another type; a negative scale.

    >>> schedule = piecewise_interpolate_schedule("linear", 1.0, {2: 0.5, 4: 0.0})
    >>> [float(schedule(step)) for step in (0, 1, 2, 3, 4, 9)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    between = _BETWEEN.get(interpolate_type)
    if between is None:
        raise ValueError(f'interpolate_type is "linear" or "cosine", got {interpolate_type!r}')
    steps = _sorted_scales("piecewise_interpolate_schedule", boundaries_and_scales)

    @accepting_jax
    def schedule(count: ArrayLike) -> Any:
        bounds, values = [0], [init_value]
        for boundary, factor in steps:
            bounds.append(boundary)
            values.append(values[-1] * factor)
        found = values[-1]
        for i in reversed(range(len(steps))):
            t = (np.maximum(count, 0) - bounds[i]) / max(bounds[i + 1] - bounds[i], 1)
            found = np.where(count < bounds[i + 1], between(values[i], values[i + 1], t), found)
        return found

    return schedule


_BETWEEN: dict[str, Callable[[Any, Any, Any], Any]] = {
    "linear": lambda start, end, t: (end - start) * t + start,
    "cosine": lambda start, end, t: end + (start - end) / 2 * (np.cos(math.pi * t) + 1),
}


@checked
def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: ArrayLike,
    pct_start: Share = 0.3,
    pct_final: Share = 0.85,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
) -> Schedule:
    """Lines from `peak_value / div_factor` up to the peak, down again, and to `1 / final_div_factor` of that (Smith and Topin,
    "Super-Convergence", 2018).

    Args:
        transition_steps: the length of the whole.
        peak_value: the largest value.
        pct_start, pct_final: the parts of the whole at which it is at its peak, and down again.
        div_factor, final_div_factor: by what the value at the begin is less than the peak, and that at the end less than at the begin.

    Raises:
        ValueError: `transition_steps` that are not positive, or a `pct_start` beyond `pct_final`.

    >>> schedule = linear_onecycle_schedule(100, 1.0)
    >>> [round(float(schedule(step)), 6) for step in (0, 30, 85, 100)]
    [0.04, 1.0, 0.04, 4e-06]
    """
    _require_steps("linear_onecycle_schedule", transition_steps)
    if pct_start > pct_final:
        raise ValueError(f"linear_onecycle_schedule: pct_start is at most pct_final, got {pct_start} and {pct_final}")
    return piecewise_interpolate_schedule(
        "linear",
        peak_value / div_factor,
        {
            int(pct_start * transition_steps): div_factor,
            int(pct_final * transition_steps): 1 / div_factor,
            transition_steps: 1 / final_div_factor,
        },
    )


@checked
def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: ArrayLike,
    pct_start: Share = 0.3,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
) -> Schedule:
    """Half cosines from `peak_value / div_factor` up to the peak, and down to `1 / final_div_factor` of where it began. Arguments as
    for `linear_onecycle_schedule`.

    >>> schedule = cosine_onecycle_schedule(100, 1.0)
    >>> [round(float(schedule(step)), 6) for step in (0, 15, 30, 100)]
    [0.04, 0.52, 1.0, 4e-06]
    """
    _require_steps("cosine_onecycle_schedule", transition_steps)
    return piecewise_interpolate_schedule(
        "cosine",
        peak_value / div_factor,
        {
            int(pct_start * transition_steps): div_factor,
            int(transition_steps): 1 / (div_factor * final_div_factor),
        },
    )


def _require_steps(who: str, steps: int) -> None:
    if steps <= 0:
        raise ValueError(f"{who} needs transition_steps > 0, got {steps}")


@checked
def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, ArrayLike]]) -> Schedule:
    """`warmup_cosine_decay_schedule`s one after the other, of these arguments: warm restarts (Loshchilov and Hutter, "SGDR", 2017).

    >>> part = dict(init_value=0.0, peak_value=1.0, warmup_steps=1, decay_steps=3)
    >>> schedule = sgdr_schedule([part, part])
    >>> [round(float(schedule(step)), 4) for step in (0, 1, 2, 3, 4, 5)]
    [0.0, 1.0, 0.5, 0.0, 1.0, 0.5]
    """
    parts: list[dict[str, Any]] = []
    for kwargs in [cosine_kwargs] if isinstance(cosine_kwargs, Mapping) else cosine_kwargs:
        if kwargs is cosine_kwargs or not isinstance(kwargs, Mapping):
            raise TypeError(
                f"sgdr_schedule{at(user_source())} takes a list of dicts, one for each warm restart, got {kwargs!r}; write "
                "[dict(init_value=0.0, peak_value=1.0, warmup_steps=10, decay_steps=100)]"
            )
        parts.append(dict(kwargs))
    ends = [int(end) for end in np.cumsum([part["decay_steps"] for part in parts])]
    return join_schedules([warmup_cosine_decay_schedule(**part) for part in parts], ends[:-1])
