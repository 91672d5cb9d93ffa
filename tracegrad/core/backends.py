"""What the lower floors know of XLA, which only the top one imports: how it is reached, and the table of its rules.

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

from tracegrad.core.late import LOADERS


def xla() -> Any:
    """The module `tracegrad.xla.emit`, or an ImportError that says how to install jax."""
    try:
        return LOADERS["xla"]()
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] not in ("jax", "jaxlib"):
            raise
        raise ImportError(
            "XLA is reached through jax, which is not installed here: run `pip install 'tracegrad[xla]'` (for other devices "
            "than CPUs see jax's instructions), or write backend='numpy'",
            name="jax",
        ) from error


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
