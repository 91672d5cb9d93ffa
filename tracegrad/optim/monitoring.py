"""Transformations that leave updates as they are, and keep something measured of them in the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tracegrad.core.arguments import Share, checked
from tracegrad.optim.accumulation import ema
from tracegrad.optim.base import (
    EmptyState,
    GradientTransformation,
    GradientTransformationExtraArgs,
    OptState,
    Params,
    Updates,
    chain,
    init_empty_state,
    passing,
    users,
    with_extra_args_support,
)
from tracegrad.typing import DType, PyTree

Measure = Callable[[Updates], PyTree]


class SnapshotState(NamedTuple):
    """`measurement`: what was measured of the latest updates, by the name given to it."""

    measurement: dict[str, Any]


@checked
def snapshot(measure_name: str, measure: Measure) -> GradientTransformation:
    """`measure(updates)`, kept in the state under a name; at the beginning that of the parameters.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.chain(tg.optim.snapshot("norm", tg.optim.global_norm), tg.optim.scale(-0.1))
    >>> _, state = opt.update(np.array([3.0, 4.0]), opt.init(np.zeros(2)))
    >>> tg.optim.tree.get(state, "norm")
    np.float64(5.0)
    """
    measured = users(measure)

    def init(params: Params) -> OptState:
        return SnapshotState({measure_name: measured(params)})

    def update(updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any) -> Any:
        return updates, SnapshotState({measure_name: measured(updates)})

    return passing(init, update)


class MonitorState(NamedTuple):
    """`measurements`: what was measured of the latest updates, by name, nothing at the beginning; `measure_states`: the states of what measures."""

    measurements: Mapping[str, Any]
    measure_states: tuple[Any, ...]


@checked
def monitor(measures: Mapping[str, Any]) -> GradientTransformationExtraArgs:
    """Several measurements of the updates, kept in the state under their names.

    Args:
        measures: by name, functions of the updates, or transformations whose "updates" are what they measure (`measure_with_ema`).

    There are no measurements at the beginning, so that a jitted step is traced twice: for the first state, and for those after it.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.monitor({"norm": tg.optim.global_norm, "mean": np.mean})
    >>> opt.update(np.array([3.0, 4.0]), opt.init(np.zeros(2)))[1].measurements
    {'norm': np.float64(5.0), 'mean': np.float64(3.5)}
    """
    parts = {name: with_extra_args_support(_measuring(m) if callable(m) else m) for name, m in measures.items()}

    def init(params: Params) -> OptState:
        return MonitorState({}, tuple([tx.init(params) for tx in parts.values()]))

    def update(updates: Updates, state: MonitorState, params: Params | None = None, **extra_args: Any) -> Any:
        found = {
            name: tx.update(updates, own, params, **extra_args)
            for (name, tx), own in zip(parts.items(), state.measure_states, strict=True)
        }
        measurements = {name: value for name, (value, _) in found.items()}
        return updates, MonitorState(measurements, tuple([own for _, own in found.values()]))

    return passing(init, update)


def _measuring(measure: Measure) -> GradientTransformation:
    measured = users(measure)

    def update(updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any) -> Any:
        return measured(updates), EmptyState()

    return passing(init_empty_state, update)


@checked
def measure_with_ema(
    measure: Measure, decay: Share, debias: bool = True, accumulator_dtype: DType = None
) -> GradientTransformationExtraArgs:
    """The moving average (see `ema`) of what is measured, for `monitor`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.monitor({"norm": tg.optim.measure_with_ema(tg.optim.global_norm, 0.5)})
    >>> state = opt.init(np.zeros(2))
    >>> for g in (np.array([0.0, 3.0]), np.array([0.0, 6.0])):
    ...     _, state = opt.update(g, state)
    >>> state.measurements
    {'norm': np.float64(5.0)}
    """
    average = ema(decay, debias, accumulator_dtype)
    measured = users(measure)

    def init(params: Params) -> OptState:
        return average.init(measured(params))

    return chain(_measuring(measure), average._replace(init=init))
