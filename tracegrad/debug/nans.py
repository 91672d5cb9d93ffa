"""Stopping at the first NaN: `tg.debug.nans`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import unboxed
from tracegrad.core.context import watching
from tracegrad.core.errors import at, described, user_source
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.quiet import quietly
from tracegrad.core.tracer import Tracer
from tracegrad.debug.nonfinite import Explanation, explain_nan
from tracegrad.debug.replay import is_number


class NanFound(FloatingPointError):
    """A function returned a NaN inside of `tg.debug.nans()`. `explanation` is what `explain_nan` says of it; None where running it
    again on NumPy made no NaN."""

    explanation: Explanation | None = None


@contextmanager
def nans() -> Iterator[None]:
    """A context in which the first NaN raises: as soon as a function of `grad`, `value_and_grad`, `jvp`, `vmap`, `jacobian`,
    `hessian` or `jit` (on any backend) returns one, it is run again by `explain_nan`.

    It holds for calls of this thread; of transforms within one another, the outermost is looked at. Results are waited for, and
    arguments that a jitted function may write over (`donate_argnums`) are copied, so leave it out where nothing is wrong.

    Raises:
        NanFound: a FloatingPointError with the line, the element, the cause, and what to write instead.

    >>> import numpy as np, tracegrad as tg
    >>> step = tg.jit(tg.grad(lambda x: np.sum(np.sqrt(x) * x)))
    >>> with tg.debug.nans():
    ...     step(np.array([4.0, 1.0])).tolist()
    ...     try:
    ...         step(np.array([4.0, 0.0]))
    ...     except FloatingPointError as error:
    ...         error.explanation.first.of
    [3.0, 1.5]
    'sqrt'
    """
    thread = threading.get_ident()
    outer = watching.get(thread)
    try:
        watching[thread] = _watched
        yield
    finally:
        _put_back(thread, outer)


def _put_back(thread: int, outer: Callable[..., Any] | None) -> None:
    if outer is None:
        watching.pop(thread, None)
    else:
        watching[thread] = outer


def _watched(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What it returns, if that holds no NaN."""
    thread = threading.get_ident()
    watch = watching.pop(thread)
    try:
        kept = args, kwargs
        if getattr(function, "donates", False):
            kept = tree.tree_map(lambda x: np.array(x) if type(x) is np.ndarray or is_jax_array(x) else x, kept)
        out = quietly(("invalid", "divide"), function, *args, **kwargs)  # of which NumPy would warn
        found = tree.tree_leaves_with_path(tree.tree_map(unboxed, out))
        for path, x in found:
            if type(x) is not Tracer and is_number(x) and np.any(np.isnan(np.asarray(x))):
                kept_args, kept_kwargs = tree.tree_map(unboxed, kept)
                raise _error(function, tree.keystr(path), explain_nan(function, *kept_args, **kept_kwargs))
        return out
    finally:
        watching[thread] = watch


def _error(function: Callable[..., Any], path: str, explanation: Explanation | None) -> NanFound:
    text = (
        str(explanation) if explanation is not None else f"the result{path} holds NaN; run again on NumPy it does not"
    )
    error = NanFound(f"{described(function)}, called{at(user_source())}: {text}")
    error.explanation = explanation
    return error
