"""Names that users give to parts of their functions: `tg.named_scope`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

from tracegrad.core.context import context
from tracegrad.core.errors import Calls, at, clip, user_source
from tracegrad.typing import F

# How many entries the cell of a scope has (see `context.py`): no source, the names, the calls that are kept, the cell around, and
# whether the scope is open.
_SCOPE = 5


class named_scope:
    """A name for a part of a function: all that is recorded inside is in the scope, which equations tell (`Eqn.scope`), and the
    profiles of XLA's programs (`jax.named_scope`). Scopes may be inside one another. A derivative is in the scope of the
    operation that it is of, what a jitted function does in that of its call. It changes no value, and costs nothing outside.

    It is a context manager, and a decorator. What a generator yields inside is computed with in its scope.

    Args:
        name: any text.

    Raises:
        TypeError: if the name is no text.

    >>> import numpy as np, tracegrad as tg
    >>> def f(x):
    ...     with tg.named_scope("encoder"):
    ...         return np.sin(x) * 2.0
    >>> [(eqn.op.name, eqn.scope) for eqn in tg.make_graph(f)(1.0).eqns]
    [('sin', ('encoder',)), ('multiply', ('encoder',))]
    """

    __slots__ = ("_cells", "name")

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(
                f'named_scope{at(user_source())} takes a name, got {clip(repr(name))}; write tg.named_scope("conv_1")'
            )
        self.name = str.__str__(name)
        self._cells: list[list[Any]] = []

    def __enter__(self) -> None:
        outer = context.cell
        if outer is None:
            cell: list[Any] = [None, (self.name,), None, None, True]
        elif len(outer) == _SCOPE:
            calls = None if outer[2] is None else outer[2].with_scope()
            cell = [None, (*outer[1], self.name), calls, outer, True]
        else:  # in a rule, whose equations are in the scope of that which it is the rule of
            cell = outer
        self._cells.append(cell)
        context.cell = cell

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        cell = self._cells.pop()
        if len(cell) == _SCOPE:
            cell[4] = False
            # A generator may leave its scope while another one is open inside, which goes on to the one around.
            while (here := context.cell) is not None and len(here) == _SCOPE and not here[4]:
                context.cell = here[3]

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def scoped(*args: Any, **kwargs: Any) -> Any:
            with named_scope(self.name):
                return function(*args, **kwargs)

        return cast(F, scoped)


def keeping_frames(last: Any, function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, with all lines of the user's kept for what is recorded, up to the frame `last`."""
    outer = context.cell
    try:
        if outer is None or outer[0] is None:
            context.cell = [None, context.scope, Calls(last, len(context.scope)), outer, True]
        return function(*args)
    finally:
        context.cell = outer
