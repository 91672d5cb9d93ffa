"""Named axes: what `vmap(f, axis_name="i")` binds while it runs, and `psum(x, "i")` looks up."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

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


@contextmanager
def entered(bound: tuple[Axis, ...], batching: Axis | None = None, start: int = 0) -> Iterator[None]:
    """With these axes bound, and batching rules being applied for this one, to its examples from `start` on."""
    outer = context.bound, context.batching, context.start
    context.bound, context.batching, context.start = bound, batching, start
    try:
        yield
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
