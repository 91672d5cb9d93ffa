"""What the lower floors know of XLA, which only the top one imports: the table of its rules.

A rule says how an op is lowered to `jax.lax`. It is found by the op's name, so that whoever writes an op can write its rule
where jax is not installed:

    @lowers("cumsum")
    def _(out, x, *, axis, reverse):
        return jax.lax.cumsum(x, axis, reverse)

`out` is the type of the output, or a tuple of types for an op with several outputs; then come jax's values and the params.
Those for a ufunc come in the dtypes that NumPy computes in and in one shape, or with scalars that are of none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

XLA_RULES: dict[str, Callable[..., Any]] = {}

_Rule = TypeVar("_Rule", bound=Callable[..., Any])


def lowers(*names: str) -> Callable[[_Rule], _Rule]:
    """Have a function be the rule by which the ops of these names are lowered to XLA."""

    def registered(rule: _Rule) -> _Rule:
        for name in names:
            if name in XLA_RULES:
                raise ValueError(f"the op {name!r} has a rule for XLA already")
            XLA_RULES[name] = rule
        return rule

    return registered
