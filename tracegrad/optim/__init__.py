"""Optimisers as pure functions over trees of parameters: gradient transformations, wrappers of them, schedules, masks. Names,
arguments, states and values are those of optax 0.2.8; what is ours alone stands beside (`step`, `hyperparams`, masks by name).

    state = optimiser.init(params)
    updates, state = optimiser.update(grads, state, params)
    params = apply_updates(params, updates)
"""

from types import ModuleType as _ModuleType

from tracegrad.optim.accumulation import ApplyEvery as ApplyEvery
from tracegrad.optim.accumulation import EmaState as EmaState
from tracegrad.optim.accumulation import MultiSteps as MultiSteps
from tracegrad.optim.accumulation import MultiStepsState as MultiStepsState
from tracegrad.optim.accumulation import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
from tracegrad.optim.accumulation import TraceState as TraceState
from tracegrad.optim.accumulation import apply_every as apply_every
from tracegrad.optim.accumulation import ema as ema
from tracegrad.optim.accumulation import skip_large_updates as skip_large_updates
from tracegrad.optim.accumulation import skip_not_finite as skip_not_finite
from tracegrad.optim.accumulation import trace as trace
from tracegrad.optim.adding import WeightDecaySchedule as WeightDecaySchedule
from tracegrad.optim.adding import add_decayed_weights as add_decayed_weights
from tracegrad.optim.apply import apply_updates as apply_updates
from tracegrad.optim.apply import hyperparams as hyperparams
from tracegrad.optim.apply import incremental_update as incremental_update
from tracegrad.optim.apply import periodic_update as periodic_update
from tracegrad.optim.apply import step as step
from tracegrad.optim.apply import value_and_grad_from_state as value_and_grad_from_state
from tracegrad.optim.averaging import EmaParamsState as EmaParamsState
from tracegrad.optim.averaging import LookaheadParams as LookaheadParams
from tracegrad.optim.averaging import LookaheadState as LookaheadState
from tracegrad.optim.averaging import ema_params as ema_params
from tracegrad.optim.averaging import lookahead as lookahead
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
from tracegrad.optim.clipping import ZeroNansState as ZeroNansState
from tracegrad.optim.clipping import adaptive_grad_clip as adaptive_grad_clip
from tracegrad.optim.clipping import centralize as centralize
from tracegrad.optim.clipping import clip as clip
from tracegrad.optim.clipping import clip_by_block_rms as clip_by_block_rms
from tracegrad.optim.clipping import clip_by_global_norm as clip_by_global_norm
from tracegrad.optim.clipping import keep_params_nonnegative as keep_params_nonnegative
from tracegrad.optim.clipping import normalize_by_update_norm as normalize_by_update_norm
from tracegrad.optim.clipping import per_example_global_norm_clip as per_example_global_norm_clip
from tracegrad.optim.clipping import per_example_layer_norm_clip as per_example_layer_norm_clip
from tracegrad.optim.clipping import unitwise_clip as unitwise_clip
from tracegrad.optim.clipping import unitwise_norm as unitwise_norm
from tracegrad.optim.clipping import zero_nans as zero_nans
from tracegrad.optim.conditional import ApplyIfFiniteState as ApplyIfFiniteState
from tracegrad.optim.conditional import ConditionallyMaskState as ConditionallyMaskState
from tracegrad.optim.conditional import ConditionallyTransformState as ConditionallyTransformState
from tracegrad.optim.conditional import ConditionFn as ConditionFn
from tracegrad.optim.conditional import apply_if_finite as apply_if_finite
from tracegrad.optim.conditional import conditionally_mask as conditionally_mask
from tracegrad.optim.conditional import conditionally_transform as conditionally_transform
from tracegrad.optim.inject import InjectStatefulHyperparamsState as InjectStatefulHyperparamsState
from tracegrad.optim.inject import WrappedSchedule as WrappedSchedule
from tracegrad.optim.inject import inject_hyperparams as inject_hyperparams
from tracegrad.optim.masks import MaskedState as MaskedState
from tracegrad.optim.masks import MaskOrFn as MaskOrFn
from tracegrad.optim.masks import MultiTransformState as MultiTransformState
from tracegrad.optim.masks import PartitionState as PartitionState
from tracegrad.optim.masks import decay_mask as decay_mask
from tracegrad.optim.masks import flatten as flatten
from tracegrad.optim.masks import freeze as freeze
from tracegrad.optim.masks import masked as masked
from tracegrad.optim.masks import multi_transform as multi_transform
from tracegrad.optim.masks import partition as partition
from tracegrad.optim.masks import selective_transform as selective_transform
from tracegrad.optim.monitoring import MonitorState as MonitorState
from tracegrad.optim.monitoring import SnapshotState as SnapshotState
from tracegrad.optim.monitoring import measure_with_ema as measure_with_ema
from tracegrad.optim.monitoring import monitor as monitor
from tracegrad.optim.monitoring import snapshot as snapshot
from tracegrad.optim.numerics import safe_norm as safe_norm
from tracegrad.optim.numerics import safe_root_mean_squares as safe_root_mean_squares
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
