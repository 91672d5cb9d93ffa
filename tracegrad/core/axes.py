"""Named axes: what `vmap(f, axis_name="i")` binds while it runs, and `psum(x, "i")` looks up."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from tracegrad.core.context import context
from tracegrad.core.errors import at, user_source
from tracegrad.core.jax_arrays import jax_axis_size


class Axis(NamedTuple):
    """An axis that is being mapped over. `depth`, the number of named axes around it, tells two of one name apart; an axis
    that jax maps over, outside of all ours, has the depth OF_JAX."""

    name: Hashable
    size: int
    depth: int

    def __repr__(self) -> str:
        return f"{self.name!r}:{self.size}"


OF_JAX = -1


def within(
    bound: tuple[Axis, ...],
    batching: Axis | None,
    start: int,
    function: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)` with these axes bound, and batching rules being applied for the one that is `batching`, to
    its examples from `start` on."""
    outer = context.bound, context.batching, context.start
    try:
        context.bound, context.batching, context.start = bound, batching, start
        return function(*args, **kwargs)
    finally:
        context.bound, context.batching, context.start = outer


def lookup(name: Hashable, function: str) -> Axis:
    """The innermost bound axis of this name, ours or one of jax's, or NameError."""
    for axis in reversed(context.bound):
        if axis.name == name:
            return axis
    size = jax_axis_size(name)
    if size is not None:
        return Axis(name, size, OF_JAX)
    raise unbound(name, function)


def unbound(name: Hashable, function: str) -> NameError:
    """The error for an axis that is not being mapped over, with those that are."""
    found = ", ".join([f"{a.name!r} (size {a.size})" for a in context.bound])
    return NameError(
        f"{function}{at(user_source())}: no axis named {name!r} is being mapped over"
        f"{f', only {found}' if found else ', nor is any other named axis'}; name it in the vmap around the call: "
        f"tg.vmap(f, axis_name={name!r})"
    )
