"""A step of training as a pure function of a state and a batch, and the state that it goes with."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad import random, tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import DtypeError, ShapeError, at, name_of, require_callable, user_source
from tracegrad.core.late import imported
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.lax import scan
from tracegrad.metrics import Last, Ratio, Sum
from tracegrad.nn import Layer, cast
from tracegrad.ops.elementwise import astype
from tracegrad.transforms.grad import value_and_grad

Loss = Callable[..., Any]
Step = Callable[[Any, Any], tuple[Any, dict[str, Any]]]


class TrainState(NamedTuple):
    """All that training carries from step to step: a plain tree of arrays, which jit, `tg.io.save` and `tree.map` take as it is.

    Attributes:
        step: how many steps were done, int32.
        params: the parameters.
        opt_state: the optimiser's.
        state: what layers keep from call to call, such as running statistics; {} of most nets.
        key: a random key, into which each step folds its number.
    """

    step: Any
    params: Any
    opt_state: Any
    state: Any
    key: Any


class LossScale(NamedTuple):
    """What losses are multiplied with, so that their gradients do not vanish in float16, and how many steps it has held."""

    scale: Any
    good: Any


class Dynamic(NamedTuple):
    """How a `LossScale` changes. See `dynamic`."""

    start: float
    factor: float
    period: int
    least: float


class Kept(NamedTuple):
    """The `opt_state` of a step with a moving average of parameters, or a loss scale."""

    inner: Any
    ema: Any
    loss_scale: Any


def dynamic(start: float = 2.0**15, factor: float = 2.0, period: int = 2000, least: float = 1.0) -> Dynamic:
    """A loss scale that is divided by `factor` at each step whose gradients are not finite, which changes nothing else, and
    multiplied by it after `period` steps that were (Micikevicius et al. 2018).

    >>> dynamic().start
    32768.0
    """
    return Dynamic(start, factor, period, least)


def start(
    net: Any,
    opt: Any,
    key: Any,
    *inputs: Any,
    dtype: Any = None,
    ema: float | None = None,
    loss_scale: Any = None,
) -> TrainState:
    """The state of a net and an optimiser before the first step.

    Args:
        net: a `tg.nn.Layer`; or whatever else has a method `init(key, *inputs) -> params`, such as `tg.nn.models.vae` or a
            module of flax, and perhaps `init_state(*inputs)`; or a pair of functions `(init, apply)`.
        opt: a gradient transformation of `tg.optim`.
        key: a random key, or an int for `tg.random.PRNGKey` of it.
        *inputs: what the net will be applied to: arrays, `ShapeDtypeStruct`s, or shapes of float32.
        dtype: of the parameters: float32 of a Layer, and as `init` makes them of others, where none is given.
        ema, loss_scale: as `make_step` is told, if it is.

    Returns:
        TrainState: step 0; parameters drawn from `key`, and with them what the optimiser starts from.

    >>> import tracegrad as tg
    >>> state = tg.train.start(tg.nn.Dense(2), tg.optim.scale(-0.1), 0, (1, 3))
    >>> state.params["kernel"].shape, int(state.step)
    ((3, 2), 0)
    """
    init = net[0] if type(net) is tuple and len(net) == 2 else getattr(net, "init", None)
    if not callable(init) or isinstance(net, type) or hasattr(net, "update"):
        raise TypeError(
            f"start{at(user_source())}: write start(net, opt, key, x), where net is a layer of tg.nn, or has "
            f"init(key, x); got {type(net).__name__}"
        )
    require_optimiser(opt, "start")
    if isinstance(key, int | np.integer):
        key = random.PRNGKey(key)
    elif not hasattr(key, "dtype"):
        raise TypeError(
            f"start{at(user_source())}: the third argument is a random key or an int, got {key!r}; write start(net, opt, 0, x)"
        )
    of_params, of_steps = random.split(key)
    if isinstance(net, Layer):
        dtype = np.dtype(np.float32 if dtype is None else dtype)
        params, state = net.init(of_params, *inputs, dtype=dtype), net.init_state(*inputs, dtype=dtype)
    else:
        params = init(of_params, *inputs) if dtype is None else cast(init(of_params, *inputs), dtype)
        state = net.init_state(*inputs) if hasattr(net, "init_state") else {}
    return TrainState(np.zeros((), np.int32), params, started(opt, params, ema, loss_scale), state, of_steps)


def started(opt: Any, params: Any, ema: float | None = None, loss_scale: Any = None) -> Any:
    """The `opt_state` that a step starts from, with what `make_step(ema=, loss_scale=)` keeps in it."""
    inner = opt.init(params)
    if ema is None and loss_scale is None:
        return inner
    average = None if ema is None else params
    scale = None
    if loss_scale is not None:
        first = loss_scale.start if isinstance(loss_scale, Dynamic) else loss_scale
        scale = LossScale(np.float32(first), np.zeros((), np.int32))
    return Kept(inner, average, scale)


def make_step(
    loss: Loss,
    opt: Any,
    *,
    clip: float | None = None,
    accumulate: int = 1,
    compute: Any = None,
    loss_scale: Any = None,
    ema: float | None = None,
) -> Step:
    """A pure function `(TrainState, batch) -> (TrainState, metrics)` of a loss and an optimiser. For most of what there is, this is:

        def step(state, batch):
            def objective(params):
                return loss(params, batch, state=state.state, key=fold_in(state.key, state.step), train=True)
            (value, (metrics, new_state)), grads = value_and_grad(objective, has_aux=True)(state.params)
            updates, opt_state = opt.update(grads, state.opt_state, state.params)
            params = apply_updates(state.params, updates)
            return TrainState(state.step + 1, params, opt_state, new_state, state.key), {"loss": value, **metrics}

    Jit it yourself, on the backend and with the shardings that you want: `tg.jit(make_step(loss, opt))`.

    Args:
        loss: `(params, batch, *, state, key, train) -> value`, or `(value, metrics)`, or `(value, metrics, new_state)`. It is
            given of the three keywords those that its signature names; one that is given a state returns one. `value` is a scalar; `metrics` a dict of numbers or of
            `tg.metrics`' Ratio, Sum and Last.
        opt: a gradient transformation of `tg.optim`.
        clip: the largest norm of the whole gradient, which is scaled down to it. The norm is among the metrics.
        accumulate: in how many parts the batch is gone through, by `lax.scan`. Their gradients are averaged, and there is one
            update, so that one step stays one tick of a schedule.
        compute: "bfloat16" or "float16": what parameters are cast to for the loss. They and their gradients stay as they are.
        loss_scale: for float16, a number or `dynamic()`. A step with gradients that are not finite then updates nothing; how
            often that was is among the metrics, as `skipped`.
        ema: the decay of a moving average of the parameters, which `averaged(state)` returns.

    Returns:
        The step, with `.loss`, and `.objective(state, batch)`: the function of parameters alone that is differentiated.

    Raises:
        ShapeError: from the step, for a batch that cannot be divided by `accumulate`.
        TypeError: from the step, if `start` was not told of `ema` or `loss_scale`.

    >>> import numpy as np, tracegrad as tg
    >>> net, opt = tg.nn.Dense(1, kernel_init=tg.nn.initializers.zeros), tg.optim.sgd(0.5)
    >>> step = tg.jit(tg.train.make_step(lambda params, x: np.mean((net(params, x) - 1) ** 2), opt))
    >>> state, metrics = step(tg.train.start(net, opt, 0, (1, 1)), np.zeros((4, 1), np.float32))
    >>> float(metrics["loss"]), state.params["bias"].tolist()
    (1.0, [1.0])
    """
    require_optimiser(opt, "make_step")
    require_callable(loss, "make_step", "(loss, opt)")
    run = _asked(loss)
    dtype = None if compute is None else _half(compute)
    extra = _takes_extra(opt)
    if not isinstance(accumulate, int | np.integer) or accumulate < 1:
        raise ValueError(f"make_step{at(user_source())}: accumulate must be at least 1, got {accumulate!r}")
    numbers = int | float | np.number
    if loss_scale is not None and not isinstance(loss_scale, Dynamic | numbers):
        raise TypeError(
            f"make_step{at(user_source())}: loss_scale is a number or tg.train.dynamic(), got {loss_scale!r}"
        )
    if clip is not None and not (isinstance(clip, numbers) and clip > 0):
        raise ValueError(f"make_step{at(user_source())}: clip is the largest norm, above 0, got {clip!r}")
    if ema is not None and not (isinstance(ema, numbers) and 0 <= ema <= 1):
        raise ValueError(f"make_step{at(user_source())}: ema is a decay from 0 to 1, such as 0.999, got {ema!r}")

    def evaluated(params: Any, batch: Any, state: Any, key: Any, scale: Any) -> Any:
        cast_params = params if dtype is None else cast(params, dtype)
        value, metrics, new_state = run(cast_params, batch, state, key, True)
        value = _scalar(value, loss)
        if dtype is not None:
            value = astype(value, np.float32)
            new_state = tree.tree_map(lambda new, old: astype(new, type_of(old).dtype), new_state, state)
        return (value if scale is None else value * scale), (value, metrics, new_state)

    differentiated = value_and_grad(evaluated, has_aux=True)

    def in_parts(params: Any, batch: Any, state: Any, key: Any, scale: Any) -> Any:
        if accumulate == 1:
            (_, (value, metrics, state)), grads = differentiated(params, batch, state, key, scale)
            return value, metrics, state, grads

        def part(carry: Any, given: Any) -> Any:
            total, state = carry
            i, piece = given
            (_, (value, metrics, state)), grads = differentiated(params, piece, state, random.fold_in(key, i), scale)
            return (tree.tree_map(np.add, total, grads), state), (value, metrics)

        parts = tree.tree_map(lambda x: _divided(x, accumulate), batch)
        zeros = tree.tree_map(np.zeros_like, params)
        given = (np.arange(accumulate, dtype=np.int32), parts)
        (total, state), (values, metrics) = scan(part, (zeros, state), given)
        grads = tree.tree_map(lambda g: g * (1 / accumulate), total)
        return np.mean(values), {name: _over_parts(x) for name, x in metrics.items()}, state, grads

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
        if not isinstance(state, TrainState):
            raise TypeError(
                f"step: takes a TrainState, as tg.train.start(net, opt, key, x) makes one, got {type(state).__name__}"
            )
        count, params, kept, model, key = state
        opt_state, average, scaling = _kept(kept, ema, loss_scale)
        mine = random.fold_in(key, count)
        scale = None if scaling is None else scaling.scale
        value, metrics, new_model, grads = in_parts(params, batch, model, mine, scale)
        metrics = {"loss": value, **metrics}
        if scale is not None:
            grads = tree.tree_map(lambda g: g / astype(scale, type_of(g).dtype), grads)
        if clip is not None:
            grads, metrics["gradient_norm"] = _clipped(grads, clip)
        options = {}
        if extra:
            plain = lambda p: evaluated(p, batch, model, mine, None)[0]
            options = {"value": value, "grad": grads, "value_fn": plain}
        updates, new_opt_state = opt.update(grads, opt_state, params, **options)
        new = (tree.tree_map(_applied, params, updates), new_opt_state, new_model)
        if scaling is not None:
            finite = functools.reduce(
                np.logical_and, [np.all(np.isfinite(g)) for g in tree.tree_leaves(grads)], np.True_
            )
            new = tree.tree_map(lambda a, b: np.where(finite, a, b), new, (params, opt_state, model))
            metrics["skipped"] = Sum(astype(~finite, np.float32))
            metrics["loss_scale"] = Last(scale)
            scaling = _next_scale(scaling, finite, loss_scale)
        new_params, new_opt_state, new_model = new
        if isinstance(kept, Kept):
            if ema is not None:
                average = tree.tree_map(lambda a, p: a * ema + p * (1 - ema), average, new_params)
            new_opt_state = Kept(new_opt_state, average, scaling)
        return TrainState(count + np.int32(1), new_params, new_opt_state, new_model, key), metrics

    def objective(state: TrainState, batch: Any) -> Callable[[Any], Any]:
        mine = random.fold_in(state.key, state.step)
        return lambda params: evaluated(params, batch, state.state, mine, None)[0]

    public: Any = accepting_jax(step)
    public.loss = loss
    public.objective = objective
    return public


def make_evaluate(loss: Loss, *, compute: Any = None, average: bool = False) -> Callable[[Any, Any], dict[str, Any]]:
    """`(TrainState, batch) -> metrics` of a loss as `make_step` takes it, which is told `train=False` and given no key.

    Args:
        loss: as for `make_step`.
        compute: as for `make_step`.
        average: evaluate the moving average of the parameters (`make_step(ema=)`) in place of these.

    >>> import numpy as np, tracegrad as tg
    >>> net = tg.nn.Dense(1, kernel_init=tg.nn.initializers.zeros)
    >>> evaluate = tg.jit(tg.train.make_evaluate(lambda params, x: np.mean((net(params, x) - 1) ** 2)))
    >>> float(evaluate(tg.train.start(net, tg.optim.sgd(0.5), 0, (1, 1)), np.zeros((4, 1), np.float32))["loss"])
    1.0
    """
    require_callable(loss, "make_evaluate", "(loss)")
    run = _asked(loss)
    dtype = None if compute is None else _half(compute)

    def evaluate(state: TrainState, batch: Any) -> dict[str, Any]:
        params = averaged(state) if average else state.params
        value, metrics, _ = run(params if dtype is None else cast(params, dtype), batch, state.state, None, False)
        return {"loss": _scalar(value, loss), **metrics}

    return accepting_jax(evaluate)


def averaged(state: TrainState) -> Any:
    """The moving average of the parameters, of a state of `make_step(ema=)`.

    >>> import numpy as np, tracegrad as tg
    >>> net, opt = tg.nn.Dense(1, kernel_init=tg.nn.initializers.zeros), tg.optim.sgd(1.0)
    >>> step = tg.train.make_step(lambda params, x: np.sum(net(params, x)), opt, ema=0.5)
    >>> state, _ = step(tg.train.start(net, opt, 0, (1, 1), ema=0.5), np.ones((1, 1), np.float32))
    >>> state.params["bias"].tolist(), tg.train.averaged(state)["bias"].tolist()
    ([-1.0], [-0.5])
    """
    if not isinstance(state.opt_state, Kept) or state.opt_state.ema is None:
        raise TypeError(
            f"averaged{at(user_source())}: this state keeps no average; write start(..., ema=) and make_step(..., ema=)"
        )
    return state.opt_state.ema


def inner_state(opt_state: Any) -> Any:
    """The optimiser's own state, without what `make_step` may keep beside it."""
    return opt_state.inner if isinstance(opt_state, Kept) else opt_state


_OFFERED = ("state", "key", "train")


def _asked(loss: Loss) -> Callable[..., tuple[Any, dict[str, Any], Any]]:
    """A loss called with those of the keywords that it names, and its outcome as value, metrics and state."""
    parameters = inspect.signature(loss).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = [name for name in _OFFERED if anything or name in parameters]
    unknown = [
        p.name
        for p in parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in _OFFERED
    ]
    if unknown:
        raise TypeError(
            f"{name_of(loss, 'loss')}{at(user_source())} asks for {', '.join(unknown)}; a loss is given params, batch, and of "
            "state, key and train those that it names"
        )

    def run(params: Any, batch: Any, state: Any, key: Any, train: bool) -> tuple[Any, dict[str, Any], Any]:
        offered = {"state": state, "key": key, "train": train}
        out = loss(params, batch, **{name: offered[name] for name in named})
        if train and "state" in named and tree.tree_leaves(state) and (not isinstance(out, tuple) or len(out) < 3):
            raise TypeError(
                f"{name_of(loss, 'loss')} asks for state and returns none, so that what layers keep would stay as it was at first; "
                "write return value, metrics, state (metrics may be {}, and state what was given)"
            )
        if not isinstance(out, tuple):
            if out is None:
                raise TypeError(f"{name_of(loss, 'loss')} returned None; end it with return value")
            return out, {}, state
        if len(out) not in (2, 3) or not isinstance(out[1], dict):
            raise TypeError(
                f"{name_of(loss, 'loss')} must return value, (value, metrics) or (value, metrics, new_state), where metrics is a "
                f"dict; got a tuple of {', '.join([type(x).__name__ for x in out])}"
            )
        return out if len(out) == 3 else (*out, state)

    return run


def _scalar(value: Any, loss: Loss) -> Any:
    value = as_array(value)
    if np.shape(value):
        raise ShapeError(
            f"{name_of(loss, 'loss')} must return a scalar, got {type_of(value)}; losses of tg.nn are one number for each example: "
            "write np.mean(losses)"
        )
    return value


def require_optimiser(opt: Any, name: str) -> None:
    """TypeError for what is no optimiser, such as the function that makes one."""
    if not (hasattr(opt, "init") and hasattr(opt, "update")):
        told = name_of(opt) if callable(opt) else repr(opt)
        raise TypeError(f"{name}{at(user_source())}: an optimiser is made, as by tg.optim.adam(1e-3); got {told}")


def _half(compute: Any) -> Any:
    if compute == "bfloat16":
        try:
            return np.dtype(imported("ml_dtypes").bfloat16)
        except ImportError:
            raise ImportError("compute='bfloat16' needs the package ml_dtypes; pip install ml_dtypes") from None
    try:
        dtype = np.dtype(compute)
    except TypeError:
        dtype = np.dtype(object)
    if number_kind(dtype) != "f":
        raise DtypeError(
            f"make_step{at(user_source())}: compute is a floating dtype such as 'bfloat16', got {compute!r}"
        )
    return dtype


def _takes_extra(opt: Any) -> bool:
    """Whether an optimiser's update takes keywords besides, such as the value of the loss."""
    return any("ExtraArgs" in cls.__name__ for cls in type(opt).__mro__)


def _kept(kept: Any, ema: Any, loss_scale: Any) -> tuple[Any, Any, Any]:
    inner, average, scaling = kept if isinstance(kept, Kept) else (kept, None, None)
    for name, wanted, found in (("ema", ema, average), ("loss_scale", loss_scale, scaling)):
        if (wanted is None) != (found is None):
            told = "start" if found is None else "make_step"
            raise TypeError(f"step: {told} was not told of {name}; write {told}(..., {name}=) as in the other")
    return inner, average, scaling


def _divided(x: Any, parts: int) -> Any:
    x = as_array(x)
    shape = np.shape(x)
    if not shape or shape[0] % parts:
        raise ShapeError(f"step: a batch leaf of {type_of(x)} cannot be divided into accumulate={parts} equal parts")
    return np.reshape(x, (parts, shape[0] // parts, *shape[1:]))


def _over_parts(x: Any) -> Any:
    """Of a metric of each part, that of all."""
    if isinstance(x, Ratio | Sum):
        return type(x)(*[np.sum(part, 0) for part in x])
    return Last(x.value[-1]) if isinstance(x, Last) else np.mean(x, 0)


def _clipped(grads: Any, largest: float) -> tuple[Any, Any]:
    """A gradient scaled to a norm of at most `largest`, and the norm that it had. Half floats are squared as float32."""
    wide = [astype(g, np.float32) if type_of(g).dtype.itemsize < 4 else g for g in tree.tree_leaves(grads)]
    norm = np.sqrt(functools.reduce(np.add, [np.sum(np.square(np.abs(g))) for g in wide], np.float32(0)))
    factor = largest / np.maximum(norm, largest)
    return tree.tree_map(lambda g: g * astype(factor, np.empty(0, type_of(g).dtype).real.dtype), grads), norm


def _applied(p: Any, u: Any) -> Any:
    return astype(p + u, type_of(p).dtype)


def _next_scale(scaling: LossScale, finite: Any, how: Any) -> LossScale:
    if not isinstance(how, Dynamic):
        return scaling
    good = np.where(finite, scaling.good + np.int32(1), np.int32(0))
    grown = good >= how.period
    scale = np.where(grown, scaling.scale * np.float32(how.factor), scaling.scale)
    scale = np.where(finite, scale, np.maximum(scaling.scale / np.float32(how.factor), np.float32(how.least)))
    return LossScale(scale, np.where(grown, np.int32(0), good))
