"""What gradient transformations are: pairs of functions `(init, update)`, whose state is data; and the smallest of them.

Names, arguments, states (their classes, fields and the order of these) and values are those of optax 0.2.8.

What a transformation computes with, beside the leaves of its trees, are hyper-parameters. A Python number takes the dtype of the
leaf that it meets; everything else (NumPy's numbers, arrays, traced values) is cast to it, so that no float64 learning rate
makes float64 parameters of float32 ones. `number` and `cast` do that. One that is known and out of bounds, such as a decay of 1.5, is
a ValueError where it is given, of which annotations tell the bounds (`core/arguments.py`).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self, TypeAlias
from typing import cast as typed

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import checked, is_number, shown
from tracegrad.core.boxes import accepting_jax, boxed
from tracegrad.core.errors import DtypeError, ShapeError, at, clip, described, user_source
from tracegrad.core.jax_arrays import is_jax_array, is_jax_tracer
from tracegrad.core.late import imported
from tracegrad.core.tracebacks import trimming
from tracegrad.core.types import PYTHON_SCALARS, float_limits, is_added, is_numpy_scalar, number_kind, type_of
from tracegrad.lax import cond
from tracegrad.typing import Array, ArrayLike, PyTree

Params: TypeAlias = PyTree
"""The parameters of a model: arrays, in containers."""

Updates: TypeAlias = Params
"""What is added to parameters, and the gradients that it is made of: a tree of the same structure."""

OptState: TypeAlias = PyTree
"""What a transformation keeps from one step to the next."""

Schedule: TypeAlias = Callable[[ArrayLike], ArrayLike]
"""A hyper-parameter as a function of the number of the step, from 0 on."""

ScalarOrSchedule: TypeAlias = ArrayLike | Schedule
"""A hyper-parameter: a number, or its schedule."""

TransformInitFn: TypeAlias = Callable[[Params], OptState]
TransformUpdateFn: TypeAlias = Callable[..., tuple[Updates, OptState]]
TransformUpdateExtraArgsFn: TypeAlias = Callable[..., tuple[Updates, OptState]]


class _Pair(NamedTuple):
    init: Callable[[Params], OptState]
    update: Callable[..., tuple[Updates, OptState]]


class GradientTransformation(_Pair):
    """A pair of functions: `init(params) -> state` and `update(updates, state, params=None) -> (updates, state)`.

    Both may be written in NumPy's functions; that they take jax arrays too, and the tracers of `jax.jit`, is seen to here.

    >>> import numpy as np, tracegrad as tg
    >>> halve = tg.optim.GradientTransformation(lambda params: (), lambda u, state, params=None: (u / 2, state))
    >>> halve.update(np.array([2.0, 4.0]), halve.init(np.zeros(2)))
    (array([1., 2.]), ())
    """

    __slots__ = ()

    def __new__(cls, init: Callable[[Params], OptState], update: Callable[..., tuple[Updates, OptState]]) -> Self:
        init, update = accepting_jax(init), accepting_jax(update)
        return cls._make((_beside(init), in_words(init, update)))


def _beside(init: Callable[[Params], OptState]) -> Callable[[Params], OptState]:
    """An `init` whose state is where the parameters are: of jax arrays, what it starts from without computing with them is put beside
    the parameter of its name, on the devices that hold this, and not left with NumPy."""

    @trimming
    @functools.wraps(init)
    def placing(params: Params) -> OptState:
        state = init(params)
        if "jax" not in sys.modules or not any(map(is_jax_array, tree.tree_leaves(params))):
            return state
        known = {tree.keystr(path): x for path, x in tree.tree_leaves_with_path(params)}
        put = imported("tracegrad.xla.devices").device_put

        def placed(path: Any, x: Any) -> Any:
            if not isinstance(x, np.ndarray | np.generic):
                return x
            like = next((p for i in range(len(path) + 1) if (p := known.get(tree.keystr(path[i:]))) is not None), None)
            if like is None or not is_jax_array(like) or np.shape(like) != np.shape(x):
                return sys.modules["jax"].numpy.asarray(x)
            return put(x, like.sharding) if not is_jax_tracer(like) and like.committed else put(x)

        return tree.tree_map_with_path(placed, state)

    return placing


class GradientTransformationExtraArgs(GradientTransformation):
    """One whose `update` takes keywords besides, `update(updates, state, params=None, **extra_args)`, and leaves alone those that it does not
    know: the value of the loss, say."""

    __slots__ = ()


class EmptyState(NamedTuple):
    """The state of what needs none."""


AdaptiveGradClipState = AddDecayedWeightsState = ClipByGlobalNormState = ClipState = EmptyState
NonNegativeParamsState = ScaleByTrustRatioState = ScaleState = EmptyState


class MaskedNode(NamedTuple):
    """What stands in the place of a leaf that a mask leaves out: a node without leaves."""


class ScaleByScheduleState(NamedTuple):
    """`count`: the number of steps taken, int32."""

    count: Array


# -- Hyper-parameters


def number(x: Any) -> Any:
    """A hyper-parameter as a transformation keeps it: a number of NumPy's as Python's, which yields to the dtype of leaves."""
    if x is not None and not is_number(x):
        raise TypeError(f"tg.optim{at(user_source())} takes a number or a schedule, a function of the step, got {x!r}")
    return x.item() if is_numpy_scalar(x) else x


def cast(x: Any, leaf: Any) -> Any:
    """A hyper-parameter as it meets a leaf: a Python number as it is, anything else in the leaf's dtype (of a complex one the
    dtype of its parts). Integer leaves are left to NumPy's promotion. A jax array that a transformation closes over (a schedule of
    optax gives some) is taken for its numbers.

    What is derived of a hyper-parameter is so before the cast: `cast(1 - b1, g)`."""
    if type(x) in PYTHON_SCALARS:
        # Next to what ml_dtypes adds, NumPy makes a float64 of a Python float, and float32 of both.
        return type_of(leaf).dtype.type(x) if type(x) is float and is_added(type_of(leaf).dtype) else x
    if is_jax_array(x):
        x = boxed(x) if is_jax_tracer(x) else np.asarray(x)
    dtype = type_of(leaf).dtype
    if number_kind(dtype) == "c":
        dtype = np.empty(0, dtype).real.dtype if number_kind(type_of(x).dtype) != "c" else dtype
    return x.astype(dtype) if number_kind(dtype) in "fc" and x.dtype != dtype else x


def scaled(factor: Any, updates: Updates) -> Updates:
    """Every leaf times a hyper-parameter."""
    return tree.map(lambda g: cast(factor, g) * g, updates)


def first_count() -> Any:
    """The number of steps before the first."""
    return np.zeros((), np.int32)


@accepting_jax
def safe_increment(count: ArrayLike) -> Array:
    """`count + 1`, of the same dtype; the largest number of it stays as it is, where adding would wrap around.

    Raises:
        TypeError: a count that is neither an integer nor a float.

    >>> safe_increment(np.int32(2**31 - 2)), safe_increment(np.int32(2**31 - 1))
    (np.int32(2147483647), np.int32(2147483647))
    """
    dtype = type_of(count).dtype
    kind = number_kind(dtype)
    if kind not in "iuf":
        raise TypeError(f"a count of steps is an integer or a float, got one of {dtype}; write np.zeros((), np.int32)")
    largest = (np.iinfo if kind in "iu" else float_limits)(dtype).max
    return count + (count < largest)


# -- What transformations are put together with


def passing(
    init: Callable[[Params], OptState], update: Callable[..., tuple[Updates, OptState]]
) -> GradientTransformationExtraArgs:
    """A transformation that hands its arguments on to others and computes nothing itself: jax arrays reach those as they came,
    which may be optax's."""
    return GradientTransformationExtraArgs._make((_beside(init), in_words(init, update)))


def telling(
    update: Callable[..., tuple[Updates, OptState]], hyperparams: Callable[[Any], dict[str, Any]]
) -> Callable[..., tuple[Updates, OptState]]:
    """`update`, with what `optim.hyperparams` asks: the hyper-parameters that it will use next, by its state."""
    update.hyperparams = hyperparams  # type: ignore[attr-defined]
    return update


def told(tx: Any, state: OptState) -> dict[str, Any]:
    """The hyper-parameters that a transformation will use next, {} of one that tells none."""
    require_transformation(tx, "tg.optim.hyperparams")
    if hasattr(tx, "gradient_transformation"):  # MultiSteps, whose methods are a transformation too
        tx = tx.gradient_transformation()
    tell = getattr(tx.update, "hyperparams", None)
    return {} if tell is None else tell(state)


def joined(parts: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The hyper-parameters of several transformations; those of one name are told apart by where they stand."""
    parts = list(parts)
    counts = Counter(name for _, found in parts for name in found)
    return {
        name if counts[name] == 1 else f"{place}.{name}": value
        for place, found in parts
        for name, value in found.items()
    }


def chosen(condition: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """What one of two functions returns. Only that one is called where the condition is known; of jax arrays it is jax that chooses,
    so that the functions may be jax's."""
    if is_jax_array(condition):
        return sys.modules["jax"].lax.cond(condition, yes, no)
    return cond(condition, yes, no)


def required(params: Params | None, who: str) -> Params:
    """The parameters, or an error that says who needs them."""
    if params is None:
        raise ValueError(f"{who} needs the parameters; write update(grads, state, params)")
    return params


def users(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the user's, written in NumPy's functions, as one that takes jax arrays too. One of jax or optax takes nothing else."""
    home = getattr(getattr(f, "func", f), "__module__", None) or ""
    return f if home.partition(".")[0] in ("jax", "optax") else accepting_jax(f)


def init_empty_state(params: Params) -> EmptyState:
    """The `init` of a transformation without a state.

    >>> init_empty_state(None)
    EmptyState()
    """
    return EmptyState()


def require_transformation(tx: Any, who: str) -> None:
    """An error for what is no transformation, such as the function that makes one."""
    if not hasattr(tx, "init") or not hasattr(tx, "update"):
        raise TypeError(
            f"{who}{at(user_source())} takes a transformation such as tg.optim.adam(1e-3), got {described(tx)}"
            + ("; call it first" if callable(tx) else "; several are given one by one, to tg.optim.chain(a, b)")
        )


def with_extra_args_support(tx: Any) -> GradientTransformationExtraArgs:
    """A transformation, of ours or of optax, as one whose `update` leaves extra arguments alone if it does not know them.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.with_extra_args_support(tg.optim.scale(-1.0))
    >>> opt.update(np.array([1.0]), opt.init(np.array([2.0])), None, value=3.0)[0].tolist()
    [-1.0]
    """
    require_transformation(tx, "tg.optim")
    if any(kind.__name__ == "GradientTransformationExtraArgs" for kind in type(tx).__mro__):
        return typed(GradientTransformationExtraArgs, tx)

    def update(updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any) -> Any:
        return tx.update(updates, state, params)

    return passing(tx.init, telling(update, lambda state: told(tx, state)))


def in_words(
    init: Callable[[Params], OptState], update: Callable[..., tuple[Updates, OptState]]
) -> Callable[..., tuple[Updates, OptState]]:
    """An `update` that says what does not fit together, where it was given another's state, gradients of other parameters, or too
    little: of which NumPy and Python say that shapes or names differ."""

    @trimming
    @functools.wraps(update)
    def called(*args: Any, **kwargs: Any) -> tuple[Updates, OptState]:
        try:
            return update(*args, **kwargs)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            said = isinstance(error, ShapeError | DtypeError) or error.__suppress_context__
            if not said and (clearer := _misused(init, update, args, kwargs)):
                raise clearer from None
            raise

    return called


def _misused(init: Any, update: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception | None:
    """What is wrong with a call of `update`, if it is one of the usual things."""
    where = f"update{at(user_source())}"
    parameters = inspect.signature(update).parameters.values()
    lacking = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in kwargs]
    if lacking:
        told = ", ".join([f"{name}=..." for name in lacking])
        return TypeError(f"{where}: this optimiser needs more; write opt.update(grads, state, params, {told})")
    given = dict(zip(("updates", "state", "params"), args, strict=False)) | kwargs
    if not {"updates", "state"} <= given.keys():
        return TypeError(f"{where}: it takes gradients and a state; write opt.update(grads, state, params)")
    updates, state, params = given["updates"], given["state"], given.get("params")
    for path, x in tree.tree_leaves_with_path(updates):
        if not is_number(x):
            return TypeError(f"{where}: gradients{tree.keystr(path)} is no array of numbers, got {clip(repr(x))}")
    if params is not None and (found := differences(updates, params)):
        return ValueError(
            f"{where}: the gradients do not fit the parameters: {found}; give it gradients with respect to these parameters"
        )
    try:
        due = init(updates if params is None else params)
    except Exception:
        return None
    if type(state) is not type(due):
        return TypeError(
            f"{where}: the state is of {type(state).__name__}, where that of this transformation is of {type(due).__name__}; "
            "pass what init(params) of this optimiser returned, opt.update(grads, state, params)"
        )
    if found := differences(state, due):
        return ValueError(
            f"{where}: the state is not one of these parameters: {found}; pass what init(params) returned for them, and gradients "
            "with respect to them"
        )
    return None


def differences(found: PyTree, due: PyTree) -> str:
    """In which leaves a tree is not like another, in structure or shapes; "" where it is."""
    sides = []
    for x in (found, due):
        leaves = tree.tree_leaves_with_path(x)
        sides.append({tree.keystr(path): np.shape(leaf) if is_number(leaf) else None for path, leaf in leaves})
    ours, theirs = sides
    told = [f"{path or 'a leaf'} is missing" for path in theirs if path not in ours]
    told += [f"{path or 'a leaf'} is too many" for path in ours if path not in theirs]
    told += [
        f"{path or 'it'} has shape {shape}, not {theirs[path]}"
        for path, shape in ours.items()
        if path in theirs and shape != theirs[path]
    ]
    return clip(", ".join(told))


def chain(*args: Any) -> GradientTransformationExtraArgs:
    """Transformations one after the other: each gets the updates that the one before returned. The state is the tuple of theirs.

    Raises:
        ValueError: a state of another number of transformations.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.chain(tg.optim.clip(1.0), tg.optim.scale(-0.1))
    >>> updates, state = opt.update(np.array([0.5, 30.0]), opt.init(np.zeros(2)))
    >>> updates
    array([-0.05, -0.1 ])
    """
    parts = [with_extra_args_support(tx) for tx in args]

    def init(params: Params) -> OptState:
        return tuple([tx.init(params) for tx in parts])

    def update(updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any) -> Any:
        if not isinstance(state, tuple):
            raise TypeError(
                f"update{at(user_source())}: the second argument is the state, as opt.init(params) returned it, got "
                f"{type(state).__name__}; write opt.update(grads, state, params)"
            ) from None
        if len(state) != len(parts):
            raise ValueError(
                f"update{at(user_source())}: a chain of {len(parts)} transformations got a state of {len(state)}; pass what its own "
                "init(params) returned"
            ) from None
        states = []
        for tx, old in zip(parts, state, strict=True):
            updates, new = tx.update(updates, old, params, **extra_args)
            states.append(new)
        return updates, tuple(states)

    def hyperparams(state: OptState) -> dict[str, Any]:
        pairs = enumerate(zip(parts, state, strict=True))
        return joined([(str(i), told(tx, own)) for i, (tx, own) in pairs])

    return passing(init, telling(update, hyperparams))


def named_chain(*args: tuple[str, Any]) -> GradientTransformationExtraArgs:
    """`chain` of pairs `(name, transformation)`. The state is an OrderedDict of theirs by name.

    Raises:
        ValueError: a name that is given twice.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.named_chain(("clip", tg.optim.clip(1.0)), ("lr", tg.optim.scale(-0.1)))
    >>> list(opt.init(np.zeros(2)))
    ['clip', 'lr']
    """
    if wrong := [x for x in args if not (type(x) is tuple and len(x) == 2 and isinstance(x[0], str))]:
        raise TypeError(
            f"named_chain{at(user_source())} takes pairs of a name and a transformation, got {shown(wrong[0])}; write "
            'tg.optim.named_chain(("clip", tg.optim.clip(1.0)), ("adam", tg.optim.adam(1e-3)))'
        )
    names = [name for name, _ in args]
    if len(set(names)) < len(names):
        twice = [name for name, n in Counter(names).items() if n > 1]
        raise ValueError(
            f"named_chain{at(user_source())} got {twice} more than once among {names}; the states are found by their names"
        )
    parts = OrderedDict((name, with_extra_args_support(tx)) for name, tx in args)

    def init(params: Params) -> OptState:
        return OrderedDict((name, tx.init(params)) for name, tx in parts.items())

    def update(updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any) -> Any:
        states: OrderedDict[str, Any] = OrderedDict()
        for name, tx in parts.items():
            updates, states[name] = tx.update(updates, state[name], params, **extra_args)
        return updates, states

    def hyperparams(state: Mapping[str, OptState]) -> dict[str, Any]:
        return joined([(name, told(tx, state[name])) for name, tx in parts.items()])

    return passing(init, telling(update, hyperparams))


# -- The smallest transformations


def identity() -> GradientTransformation:
    """Updates as they are.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.identity()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [3.0, 4.0]
    """
    return stateless_as_given(lambda updates, params: updates)


def set_to_zero() -> GradientTransformation:
    """Updates of nothing but zeros, which leave the parameters as they are.

    >>> import numpy as np, tracegrad as tg
    >>> params = np.array([1.0, 2.0])
    >>> opt = tg.optim.set_to_zero()
    >>> updates, _ = opt.update(np.array([3.0, 4.0]), opt.init(params), params)
    >>> updates.round(4).tolist()
    [0.0, 0.0]
    """
    return stateless_as_given(lambda updates, params: tree.map(np.zeros_like, updates))


@checked
def stateless(f: Callable[[Updates, Params | None], Updates]) -> GradientTransformation:
    """`f(updates, params)` as a transformation.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.stateless(lambda updates, params: tg.tree.map(np.sign, updates))
    >>> opt.update({"w": np.array([-3.0, 2.0])}, opt.init(None))
    ({'w': array([-1.,  1.])}, EmptyState())
    """

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        return f(updates, params), EmptyState()

    return GradientTransformation(init_empty_state, update)


def stateless_as_given(f: Callable[[Updates, Params | None], Updates]) -> GradientTransformation:
    """`stateless`, which hands the state on as it came."""

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        return f(updates, params), state

    return GradientTransformation(init_empty_state, update)


@checked
def stateless_with_tree_map(f: Callable[[Any, Any], Any]) -> GradientTransformation:
    """`f(update, parameter)` of each leaf as a transformation; the parameter is None where `update` is called without.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.stateless_with_tree_map(lambda g, p: g + 0.1 * p)
    >>> opt.update(np.array([1.0]), opt.init(np.array([2.0])), np.array([2.0]))[0].tolist()
    [1.2]
    """

    def leafwise(updates: Updates, params: Params | None) -> Updates:
        return tree.map(lambda u: f(u, None), updates) if params is None else tree.map(f, updates, params)

    return stateless(leafwise)


@checked
def scale(step_size: ArrayLike) -> GradientTransformation:
    """Updates times a number.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale(np.float64(-0.5))
    >>> opt.update(np.array([2.0, 4.0], np.float32), opt.init(None))[0]
    array([-1., -2.], dtype=float32)
    """
    factor = number(step_size)
    return stateless_as_given(lambda updates, params: scaled(factor, updates))


@checked
def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Updates times `step_size_fn(count)`, where `count` is 0 at the first update.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_schedule(lambda count: 1 / (1 + count))
    >>> state = opt.init(None)
    >>> for _ in range(3):
    ...     updates, state = opt.update(np.array([6.0]), state)
    >>> updates, state
    (array([2.]), ScaleByScheduleState(count=np.int32(3)))
    """
    rate = users(step_size_fn)
    return _scale_by_schedule(rate, lambda state: {"step_size": rate(state.count)})


def _scale_by_schedule(
    step_size_fn: Schedule, hyperparams: Callable[[Any], dict[str, Any]], sign: int = 1
) -> GradientTransformation:
    def init(params: Params) -> OptState:
        return ScaleByScheduleState(count=first_count())

    def update(updates: Updates, state: OptState, params: Params | None = None) -> Any:
        factor = step_size_fn(state.count)
        if not is_number(factor) or np.shape(factor):
            raise TypeError(
                f"update{at(user_source())}: a schedule returns one number for a step, this one returned {shown(factor)}"
            ) from None
        if is_jax_array(factor) and not is_jax_tracer(factor):  # of a schedule of optax's; updates say what they become
            factor = np.asarray(factor)
        return times(factor, updates), ScaleByScheduleState(count=safe_increment(state.count))

    # A schedule of optax's takes the count as it came, which `GradientTransformation` would put in a box.
    times = accepting_jax(lambda factor, updates: scaled(sign * factor, updates))
    return GradientTransformation._make((_beside(init), in_words(init, telling(update, hyperparams))))


@checked
def scale_by_learning_rate(
    learning_rate: ScalarOrSchedule | None = None, *, flip_sign: bool = True
) -> GradientTransformation:
    """Updates times -`learning_rate`, a number or a schedule: what makes of a direction of ascent a step of descent. None leaves them as they
    are; with `flip_sign=False`, times `learning_rate`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_learning_rate(0.5)
    >>> opt.update(np.array([2.0]), opt.init(None))[0]
    array([-1.])
    """
    if learning_rate is None:
        return identity()
    sign = -1 if flip_sign else 1
    if callable(learning_rate):
        rate = users(learning_rate)
        return _scale_by_schedule(rate, lambda state: {"learning_rate": rate(state.count)}, sign)
    fixed = number(learning_rate)
    plain = scale(sign * fixed)
    plain.update.hyperparams = lambda state: {"learning_rate": fixed}  # type: ignore[attr-defined]
    return plain
