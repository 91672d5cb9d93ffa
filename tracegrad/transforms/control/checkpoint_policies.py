"""What `tg.checkpoint` may keep: `tg.checkpoint_policies`, under jax's names.

A policy is a function `policy(op, *types, **params)`, asked of each equation by its op, the types of its inputs and its
params, whether what it makes may be kept for the derivative. It must be hashable, as functions are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.op import Op
from tracegrad.core.types import ArrayType
from tracegrad.ops.structural import name_given

Policy = Callable[..., Any]


def everything_saveable(op: Op, *types: ArrayType, **params: Any) -> bool:
    """Everything may be kept, as without `checkpoint`.

    >>> import numpy as np, tracegrad as tg
    >>> f = tg.checkpoint(lambda x, w: np.sum(np.sin(x @ w)), policy=tg.checkpoint_policies.everything_saveable)
    >>> [r.made_by for r in tg.debug.residuals(f, np.ones((2, 3)), np.ones((3, 4)))]
    ['x', 'w', 'matmul']
    """
    return True


def nothing_saveable(op: Op, *types: ArrayType, **params: Any) -> bool:
    """Nothing but the arguments is kept: what `checkpoint` does of itself.

    >>> import numpy as np, tracegrad as tg
    >>> f = tg.checkpoint(lambda x, w: np.sum(np.sin(x @ w)), policy=tg.checkpoint_policies.nothing_saveable)
    >>> [r.made_by for r in tg.debug.residuals(f, np.ones((2, 3)), np.ones((3, 4)))]
    ['x', 'w']
    """
    return False


def dots_saveable(op: Op, *types: ArrayType, **params: Any) -> bool:
    """What matrix products and convolutions make may be kept: it costs much to compute again.

    >>> import numpy as np, tracegrad as tg
    >>> f = tg.checkpoint(lambda x, w: np.sum(np.sin(x @ w)), policy=tg.checkpoint_policies.dots_saveable)
    >>> [r.made_by for r in tg.debug.residuals(f, np.ones((2, 3)), np.ones((3, 4)))]
    ['x', 'w', 'matmul']
    """
    return op.contraction is not None and op.contraction(types, params) is not None


def dots_with_no_batch_dims_saveable(op: Op, *types: ArrayType, **params: Any) -> bool:
    """What matrix products make may be kept, if they are not a product for each example of a batch.

    >>> import numpy as np, tracegrad as tg
    >>> policy = tg.checkpoint_policies.dots_with_no_batch_dims_saveable
    >>> f = tg.checkpoint(lambda x, w: np.sum(np.sin(x @ w)), policy=policy)
    >>> [r.made_by for r in tg.debug.residuals(f, np.ones((2, 3)), np.ones((3, 4)))]
    ['x', 'w', 'matmul']
    """
    found = None if op.contraction is None else op.contraction(types, params)
    return found is not None and not found[1]


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


@dataclass(frozen=True)
class ByName:
    """Keeps values by what `checkpoint_name` called them: those of the names, or those of all others; and values
    without a name if `unnamed` says so."""

    names: frozenset[str]
    these: bool
    unnamed: bool = False

    def __call__(self, op: Op, *types: ArrayType, **params: Any) -> bool:
        name = name_given(op, params)
        return self.unnamed if name is None else (name in self.names) is self.these

    def __repr__(self) -> str:
        function = "save_only_these_names"
        if not self.these:
            function = "save_anything_except_these_names" if self.unnamed else "save_any_names_but_these"
        return f"{function}({', '.join(map(repr, sorted(self.names)))})"


@dataclass(frozen=True)
class Either:
    """Keeps what one of two policies would."""

    first: Policy
    second: Policy

    def __call__(self, op: Op, *types: ArrayType, **params: Any) -> bool:
        return bool(self.first(op, *types, **params) or self.second(op, *types, **params))


def _names(function: str, names: tuple[Any, ...]) -> frozenset[str]:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{function}{at(user_source())} takes names, got {clip(repr(name))}; write "
                f'tg.checkpoint_policies.{function}("hidden", "output")'
            )
    return frozenset(names)


def save_only_these_names(*names_which_can_be_saved: str) -> Policy:
    """Only values with one of these names (`tg.checkpoint_name`) may be kept.

    >>> save_only_these_names("b", "a")
    save_only_these_names('a', 'b')
    """
    return ByName(_names("save_only_these_names", names_which_can_be_saved), these=True)


def save_any_names_but_these(*names_not_to_save: str) -> Policy:
    """Only values with a name may be kept, and of these all but those with one of these names.

    >>> import numpy as np, tracegrad as tg
    >>> named = lambda x: tg.checkpoint_name(np.sin(x), "s") * np.exp(tg.checkpoint_name(np.cos(x), "c"))
    >>> f = tg.checkpoint(named, policy=tg.checkpoint_policies.save_any_names_but_these("c"))
    >>> [r.made_by for r in tg.debug.residuals(f, 1.0)]
    ['x', 'checkpoint_name']
    """
    return ByName(_names("save_any_names_but_these", names_not_to_save), these=False)


def save_anything_except_these_names(*names_not_to_save: str) -> Policy:
    """All values may be kept but those with one of these names. What such a value was named after may be, as may what is
    made of it.

    >>> import numpy as np, tracegrad as tg
    >>> named = lambda x: tg.checkpoint_name(np.sin(x), "s") * np.exp(tg.checkpoint_name(np.cos(x), "c"))
    >>> f = tg.checkpoint(named, policy=tg.checkpoint_policies.save_anything_except_these_names("c"))
    >>> [r.made_by for r in tg.debug.residuals(f, 1.0)]
    ['sin', 'checkpoint_name', 'cos', 'exp']
    """
    return ByName(_names("save_anything_except_these_names", names_not_to_save), these=False, unnamed=True)


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """What one of the two policies lets be kept may be kept.

    >>> import tracegrad as tg
    >>> policies = tg.checkpoint_policies
    >>> both = policies.save_from_both_policies(policies.dots_saveable, policies.save_only_these_names("s"))
    >>> both == policies.save_from_both_policies(policies.dots_saveable, policies.save_only_these_names("s"))
    True
    """
    return Either(policy_1, policy_2)


__all__ = [
    "checkpoint_dots",
    "checkpoint_dots_with_no_batch_dims",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "nothing_saveable",
    "save_any_names_but_these",
    "save_anything_except_these_names",
    "save_from_both_policies",
    "save_only_these_names",
]


def __dir__() -> list[str]:
    return list(__all__)
