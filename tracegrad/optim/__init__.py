"""Optimisers as pure functions over trees of parameters: gradient transformations, wrappers of them, schedules, masks. Names,
arguments, states and values are those of optax 0.2.8; what is ours alone stands beside (`step`, `hyperparams`, masks by name).

    state = optimiser.init(params)
    updates, state = optimiser.update(grads, state, params)
    params = apply_updates(params, updates)
"""

from types import ModuleType as _ModuleType

from tracegrad.optim.apply import apply_updates as apply_updates
from tracegrad.optim.base import AdaptiveGradClipState as AdaptiveGradClipState
from tracegrad.optim.base import AddDecayedWeightsState as AddDecayedWeightsState
from tracegrad.optim.base import ClipByGlobalNormState as ClipByGlobalNormState
from tracegrad.optim.base import ClipState as ClipState
from tracegrad.optim.base import EmptyState as EmptyState
from tracegrad.optim.base import GradientTransformation as GradientTransformation
from tracegrad.optim.base import GradientTransformationExtraArgs as GradientTransformationExtraArgs
from tracegrad.optim.base import MaskedNode as MaskedNode
from tracegrad.optim.base import NonNegativeParamsState as NonNegativeParamsState
from tracegrad.optim.base import OptState as OptState
from tracegrad.optim.base import Params as Params
from tracegrad.optim.base import ScalarOrSchedule as ScalarOrSchedule
from tracegrad.optim.base import ScaleByScheduleState as ScaleByScheduleState
from tracegrad.optim.base import ScaleByTrustRatioState as ScaleByTrustRatioState
from tracegrad.optim.base import ScaleState as ScaleState
from tracegrad.optim.base import Schedule as Schedule
from tracegrad.optim.base import TransformInitFn as TransformInitFn
from tracegrad.optim.base import TransformUpdateExtraArgsFn as TransformUpdateExtraArgsFn
from tracegrad.optim.base import TransformUpdateFn as TransformUpdateFn
from tracegrad.optim.base import Updates as Updates
from tracegrad.optim.base import chain as chain
from tracegrad.optim.base import identity as identity
from tracegrad.optim.base import init_empty_state as init_empty_state
from tracegrad.optim.base import named_chain as named_chain
from tracegrad.optim.base import safe_increment as safe_increment
from tracegrad.optim.base import scale as scale
from tracegrad.optim.base import scale_by_learning_rate as scale_by_learning_rate
from tracegrad.optim.base import scale_by_schedule as scale_by_schedule
from tracegrad.optim.base import set_to_zero as set_to_zero
from tracegrad.optim.base import stateless as stateless
from tracegrad.optim.base import stateless_with_tree_map as stateless_with_tree_map
from tracegrad.optim.base import with_extra_args_support as with_extra_args_support
from tracegrad.optim.schedules import constant_schedule as constant_schedule
from tracegrad.optim.schedules import cosine_decay_schedule as cosine_decay_schedule
from tracegrad.optim.schedules import cosine_onecycle_schedule as cosine_onecycle_schedule
from tracegrad.optim.schedules import exponential_decay as exponential_decay
from tracegrad.optim.schedules import join_schedules as join_schedules
from tracegrad.optim.schedules import linear_onecycle_schedule as linear_onecycle_schedule
from tracegrad.optim.schedules import linear_schedule as linear_schedule
from tracegrad.optim.schedules import piecewise_constant_schedule as piecewise_constant_schedule
from tracegrad.optim.schedules import piecewise_interpolate_schedule as piecewise_interpolate_schedule
from tracegrad.optim.schedules import polynomial_schedule as polynomial_schedule
from tracegrad.optim.schedules import sgdr_schedule as sgdr_schedule
from tracegrad.optim.schedules import warmup_constant_schedule as warmup_constant_schedule
from tracegrad.optim.schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from tracegrad.optim.schedules import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule
from tracegrad.optim.tree import map_params as tree_map_params  # noqa: F401
from tracegrad.optim.tree import norm as global_norm  # noqa: F401

__all__ = sorted(
    [name for name, x in globals().items() if not name.startswith("_") and not isinstance(x, _ModuleType)] + ["tree"]
)


def __dir__() -> list[str]:
    return list(__all__)
