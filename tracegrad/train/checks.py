"""What is wrong with a step, said where it happened: parameters that do not learn, and the first NaN."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.late import imported
from tracegrad.core.types import number_kind, type_of
from tracegrad.metrics import Ratio
from tracegrad.transforms.inspect import eval_shape


class TrainingWarning(UserWarning):
    """A parameter that does not learn."""


# To find a NaN again: the last two states that were looked at, after how many steps each was, and the batches since.
Trail = list[tuple[Any, int, list[Any]]]


class NanError(FloatingPointError):
    """The loss, or the state after a step, is not finite.

    Attributes:
        fitted: what `fit` would have returned, with the state before that step; after it, if the step writes over what it is given (donation).
        state, batch: with which `step(state, batch)` is not finite; None if they are not known.
        explanation: what `tg.debug.explain_nan` says of that, or None.
    """

    fitted: Any = None
    state: Any = None
    batch: Any = None
    explanation: Any = None


def floats(x: Any) -> bool:
    """Whether a leaf is an array of floats or complex numbers."""
    return number_kind(np.asarray(x).dtype) in "fc"


def not_finite(found: Any) -> tuple[str, Any] | None:
    """The key path and value of the first leaf that is not finite."""
    for path, x in tree.tree_leaves_with_path(found):
        if floats(x) and not np.isfinite(np.asarray(x)).all():
            return tree.keystr(path), np.asarray(x)
    return None


def where_not_finite(batch: Any) -> str | None:
    """Where data are not finite, in words."""
    found = not_finite(batch)
    if found is None:
        return None
    path, x = found
    place = tuple([int(i) for i in np.argwhere(~np.isfinite(x))[0]]) if x.ndim else ()
    count = int((~np.isfinite(x)).sum())
    return f"the data are: batch{path} is {x[place]} at {list(place)}" + (f", one of {count}" if count > 1 else "")


def is_finite(x: Any) -> bool:
    return math.isfinite(abs(complex(np.asarray(x).item()))) if np.size(x) == 1 else bool(np.isfinite(x).all())


def loss_of(metrics: dict[str, Any]) -> Any:
    """The loss among the metrics of a step; 0 where there is none."""
    loss = metrics.get("loss", 0.0)
    return np.asarray(loss.numerator) / np.asarray(loss.denominator) if isinstance(loss, Ratio) else loss


def copied(x: Any) -> Any:
    """A leaf of a state in memory of its own."""
    if isinstance(x, np.ndarray):
        return x.copy("K")
    return x.copy() if hasattr(x, "copy") else x


def differ(a: Any, b: Any) -> bool:
    """Whether arrays of NumPy's in one state have other bits than those in another of the same structure."""
    pairs = zip(tree.tree_leaves(a), tree.tree_leaves(b), strict=True)
    return any([isinstance(x, np.ndarray) and x.tobytes() != y.tobytes() for x, y in pairs])


def refuses(step: Any, state: Any, batch: Any) -> bool:
    """Whether a jitted step does not come as far as to be run: a batch of the wrong shape, say, is refused when it is traced."""
    if not hasattr(step, "donates"):
        return False
    try:
        eval_shape(step, state, batch)
    except Exception:
        return True
    return False


def is_gone(state: Any) -> bool:
    """Whether an array of jax's in it was donated."""
    return any([is_jax_array(x) and x.is_deleted() for x in tree.tree_leaves(state)])


def culprit(step: Any, trail: Trail) -> tuple[Any, Any, int] | None:
    """The first step after which something is not finite that was so before: its state, batch and number."""
    if not trail:
        return None
    state, number, _ = trail[0]
    for batch in [batch for _, _, batches in trail for batch in batches]:
        number += 1
        after, metrics = step(state, batch)
        if not is_finite(loss_of(metrics)) or (not_finite(after) and not not_finite(state)):
            return state, batch, number
        state = after
    return None


def explained(error: NanError, step: Any, trail: Trail, number: int, donated: bool) -> None:
    """Put into an error which step it was, with which batch, and the line that made the first NaN."""
    (text,) = error.args
    if found := culprit(step, trail):
        error.state, error.batch, first = found
        if first != number:
            text += f"; the state is not finite from step {first} on"
        if data := where_not_finite(error.batch):
            text += f"; {data}"
        error.explanation = imported("tracegrad.debug").explain_nan(step, error.state, error.batch)
        text += "" if error.explanation is None else f"\n{error.explanation}"
    elif donated:
        text += (
            "; the state before that was donated. Run it again from a checkpoint without donate_argnums, and the line that "
            "made it will be named"
        )
    error.args = (text,)


def _params(state: Any) -> Any:
    return state["params"] if isinstance(state, dict) and "params" in state else getattr(state, "params", None)


def first_step(step: Any, before: Any, after: Any, batch: Any) -> list[str]:
    """A sentence for each parameter that does not learn, as far as one step shows it.

    A parameter without a gradient is one only where that is by the way in which the loss is computed, not by its numbers. One
    that did not change is one only where others did, as a schedule may well begin at 0; and where its gradient is zero after the
    step too: what is multiplied by a parameter that begins at zero (LoRA, branches of residual nets) has one from then on.
    """
    found: dict[str, str] = {}
    old, new = _params(before), _params(after)
    if old is None:
        return []
    if bad := not_finite(new):
        return [f"params{bad[0]} is not finite after the first step"]
    objective = getattr(inspect.unwrap(step, stop=lambda f: hasattr(f, "objective")), "objective", None)
    if objective is not None:
        plain, data = tree.tree_map(_on_host, (before, batch))
        connections = imported("tracegrad.debug").why_zero(objective(plain, data), _params(plain))
        found = {c.path: str(c) for c in connections.values() if c.status in ("cut", "disconnected")}
    pairs = list(zip(tree.tree_leaves_with_path(old), tree.tree_leaves(new), strict=True))
    same = [
        f"params{tree.keystr(path)}"
        for (path, a), b in pairs
        if floats(a) and np.size(a) and np.array_equal(a, np.asarray(b))
    ]
    if len(same) < len([1 for (_, a), _ in pairs if floats(a) and np.size(a)]):
        delayed: set[str] = set()
        if objective is not None and any([connections[path].status == "zero" for path in same]):
            plain = tree.tree_map(_on_host, after)
            later = imported("tracegrad.debug").why_zero(objective(plain, data), _params(plain))
            delayed = {
                path for path in same if connections[path].status == "zero" and later[path].status == "connected"
            }
        for path in [path for path in same if path not in delayed]:
            found.setdefault(path, f"{path} did not change in the first step")
    return list(found.values())


def _on_host(x: Any) -> Any:
    return np.asarray(x) if is_jax_array(x) else x


def batch_types(batch: Any) -> str:
    """A batch by its types: "['x']: f32[32,8], ['y']: i32[32]"."""
    leaves = tree.tree_leaves_with_path(batch)
    return ", ".join([f"{tree.keystr(path)}{': ' if path else ''}{type_of(x)}" for path, x in leaves])
