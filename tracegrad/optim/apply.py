"""What is done with updates and parameters: applied, mixed into older ones, asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import at, user_source
from tracegrad.core.types import type_of
from tracegrad.optim.base import OptState, Params, Updates, cast, chosen, differences, number, told
from tracegrad.optim.tree import get
from tracegrad.transforms.grad import value_and_grad
from tracegrad.typing import ArrayLike


def _is_none(x: Any) -> bool:
    return x is None


@accepting_jax
def apply_updates(params: Params, updates: Updates) -> Params:
    """`params + updates`, of which each leaf keeps its parameter's dtype. None for a parameter stays None.

    >>> import numpy as np
    >>> apply_updates({"w": np.ones(2, np.float32), "b": None}, {"w": np.array([1.0, 2.0]), "b": None})
    {'w': array([2., 3.], dtype=float32), 'b': None}
    """

    def applied(p: Any, u: Any) -> Any:
        if p is None:
            return None
        due, found = type_of(p), p + u
        if type_of(found).shape != due.shape:  # which broadcasting would let pass
            raise ValueError(f"updates of shape {type_of(u).shape} for parameters of shape {due.shape}")
        return found if type_of(found).dtype == due.dtype else found.astype(due.dtype)

    try:
        return tree.map(applied, params, updates, is_leaf=_is_none)
    except (TypeError, ValueError):
        if found := differences(updates, params):
            raise ValueError(
                f"apply_updates{at(user_source())}: updates do not fit the parameters: {found}; write updates, opt_state = "
                "opt.update(grads, opt_state, params), and apply_updates(params, updates)"
            ) from None
        raise


@accepting_jax
def incremental_update(new_tensors: Params, old_tensors: Params, step_size: ArrayLike) -> Params:
    """`step_size * new + (1 - step_size) * old`: a moving average of parameters, if it is called at each step.

    >>> incremental_update({"w": np.array([1.0])}, {"w": np.array([0.0])}, 0.1)
    {'w': array([0.1])}
    """

    def mixed(new: Any, old: Any) -> Any:
        if new is None:
            return None
        return cast(size, new) * new + cast(1 - size, old) * old

    size = number(step_size)
    return tree.map(mixed, new_tensors, old_tensors, is_leaf=_is_none)


@accepting_jax
def periodic_update(new_tensors: Params, old_tensors: Params, steps: ArrayLike, update_period: ArrayLike) -> Params:
    """The new ones where `steps` is a multiple of `update_period`, the old ones else: target networks, say.

    >>> [periodic_update(1.0, 0.0, steps, 3).item() for steps in range(4)]
    [1.0, 0.0, 0.0, 1.0]
    """
    return tree.map(lambda new, old: np.where(np.mod(steps, update_period) == 0, new, old), new_tensors, old_tensors)


def step(opt: Any, grads: Updates, opt_state: OptState, params: Params, **extra_args: Any) -> tuple[Params, OptState]:
    """The next parameters and the next state: `opt.update` and `apply_updates` in one.

    Args:
        opt: a transformation, of ours or of optax.
        grads: the gradients.
        opt_state: its state, from `opt.init(params)` or the step before.
        params: the parameters.
        extra_args: what `update` of this transformation takes besides.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_learning_rate(0.5)
    >>> params = {"w": np.array([2.0])}
    >>> tg.optim.step(opt, params, opt.init(params), params)[0]
    {'w': array([1.])}
    """
    updates, opt_state = opt.update(grads, opt_state, params, **extra_args)
    return apply_updates(params, updates), opt_state


def hyperparams(opt: Any, opt_state: OptState) -> dict[str, Any]:
    """The hyper-parameters that the next update will use, by name: learning rates and weight decays, and what `inject_hyperparams` holds. A
    schedule is asked for the step that the state has come to.

    Of two of one name in a chain, the names tell the places, of those in a `partition` the labels: `"muon.learning_rate"`.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.scale_by_learning_rate(tg.optim.linear_schedule(1.0, 0.0, 4))
    >>> state = opt.init(np.zeros(1))
    >>> _, state = opt.update(np.zeros(1), state)
    >>> tg.optim.hyperparams(opt, state)
    {'learning_rate': np.float64(0.75)}
    """
    return told(opt, opt_state)


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[Any, Updates]]:
    """`value_and_grad(value_fn)` that takes both from the state of an optimiser, called with `state=`, where this has them: what a line search has
    computed at its last point is not computed again.

    Args:
        value_fn: a function of the parameters, and of what else is given, to a number.

    Returns:
        A function `(params, *args, state=..., **kwargs) -> (value, gradient)`. The state's value counts where it is finite.

    Raises:
        ValueError: a state without `value` and `grad`.

    >>> import numpy as np, tracegrad as tg
    >>> fun = lambda x: np.sum(x**2)
    >>> opt = tg.optim.lbfgs()
    >>> x = np.array([1.0, 2.0])
    >>> value, gradient = tg.optim.value_and_grad_from_state(fun)(x, state=opt.init(x))
    >>> float(value), gradient.tolist()
    (5.0, [2.0, 4.0])
    """
    computed = value_and_grad(value_fn)

    def known_or_computed(params: Params, *args: Any, state: OptState, **kwargs: Any) -> tuple[Any, Updates]:
        value, gradient = get(state, "value"), get(state, "grad")
        if value is None or gradient is None:
            raise ValueError(
                f"value_and_grad_from_state{at(user_source())} found no value and grad in the state; it is for optimisers with a line search,"
                " such as lbfgs. For others write value_and_grad"
            )
        found = chosen(_is_finite(value), lambda: (value, gradient), lambda: computed(params, *args, **kwargs))
        return found[0], found[1]

    return known_or_computed


@accepting_jax
def _is_finite(x: ArrayLike) -> Any:
    return np.isfinite(x)
