"""Calling Python from within what is traced: `tg.debug.callback`, and `tg.debug.print`."""

from __future__ import annotations

import builtins
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import at, name_of, require_callable, user_source
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of
from tracegrad.ops.external import External, external_call


@accepting_jax
def callback(
    callback: Callable[..., Any], *args: Any, ordered: bool = False, partitioned: bool = False, **kwargs: Any
) -> None:
    """Call a function with the values that there are when this line is run: also under `jit` and in loops and branches, on both backends.

    It is called as often as the program comes to this line, whatever becomes of its results, and for each row under `vmap`; a
    derivative does not call it again. On XLA calls may come late and in any order: `jax.effects_barrier()` waits for them; and as in jax
    `vmap` of a `cond` runs both branches for all rows there.

    Args:
        callback: a function of arrays and pytrees of them, called with NumPy arrays and scalars. What it returns is dropped.
        *args: its arguments, by keyword too. What is no array is handed on as it is.
        ordered: whether calls on XLA are made in the program's order.
        partitioned: must be False.

    >>> import numpy as np, tracegrad as tg
    >>> seen = []
    >>> def f(x):
    ...     tg.debug.callback(seen.append, x)
    ...     return 2 * x
    >>> _ = tg.jit(f)(3.0), tg.vmap(f)(np.array([1.0, 2.0]))
    >>> [float(x) for x in seen]
    [3.0, 1.0, 2.0]
    """
    require_callable(callback, "debug.callback", "(f, *args)")
    if partitioned:
        raise NotImplementedError(f"debug.callback{at(user_source())} takes no partitioned=True; leave it out")
    leaves, structure = tree.tree_flatten((args, kwargs))
    numbers = [i for i, x in enumerate(leaves) if isinstance(x, Tracer | np.ndarray) or is_jax_array(x)]
    arrays = arrays_of([leaves[i] for i in numbers], lambda i: "an argument of debug.callback")
    fixed = [None if i in numbers else x for i, x in enumerate(leaves)]

    def call(*values: Any) -> Sequence[Any]:
        given = list(fixed)
        for i, x in zip(numbers, values, strict=True):
            given[i] = x
        args, kwargs = tree.tree_unflatten(structure, given)
        callback(*args, **kwargs)
        return ()

    external_call(External(name_of(callback), call, lambda types: (), "sequential", False, ordered), arrays)


class _Placeholders(string.Formatter):
    """Raises where a text and what is to be put into it do not fit together."""

    def check_unused_args(self, used_args: Any, args: Any, kwargs: Any) -> None:
        unused = [i for i in (*range(len(args)), *kwargs) if i not in used_args]
        if unused:
            raise IndexError(f"nothing in it stands for {', '.join(map(str, unused))}")

    def format_field(self, value: Any, format_spec: str) -> str:
        return ""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return value


def print(fmt: str, *args: Any, ordered: bool = False, partitioned: bool = False, **kwargs: Any) -> None:
    """Print values when this line is run, as `tg.debug.callback` calls a function.

    Args:
        fmt: a text with `{}`, as `str.format` has it.
        *args: what stands for these, by keyword too: arrays, pytrees of them, anything.
        ordered: whether lines come in the program's order on XLA.
        partitioned: must be False.

    Raises:
        ValueError: a text in which there is not one place for each argument.

    >>> import numpy as np, tracegrad as tg
    >>> @tg.jit
    ... def f(x):
    ...     tg.debug.print("x is {x:.2f}, {}", x > 1, x=x)
    ...     return np.sin(x)
    >>> _ = f(2.0)
    x is 2.00, True
    """
    try:
        _Placeholders().format(fmt, *args, **kwargs)
    except (IndexError, KeyError) as error:
        raise ValueError(
            f"debug.print{at(user_source())}: the text {fmt!r} and its arguments do not fit together: {error.args[0]}; write "
            "one {} for each, such as tg.debug.print('x is {}', x)"
        ) from None
    callback(_Printing(fmt), *args, ordered=ordered, partitioned=partitioned, **kwargs)


class _Printing:
    """What prints such a text."""

    __name__ = "print"

    def __init__(self, fmt: str) -> None:
        self.fmt = fmt

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        builtins.print(self.fmt.format(*args, **kwargs))
