"""NumPy's functions in a context of their own: without their warnings, or whatever they do to what NumPy warns of."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.numpy_warnings import watch


def isolated(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)` where np.errstate in it, as in most of np.linalg, changes nothing outside, whatever interrupts it."""
    return contextvars.copy_context().run(function, *args, **kwargs)


def quietly(ignored: tuple[str, ...], function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)` without the warnings of these kinds ("divide", "over", "under", "invalid", or "all").

    It runs in a context of its own, which is gone afterwards whatever happens. `np.errstate` does not make sure of that: where
    a signal is handled at the beginning of its `__exit__`, the warnings stay off.
    """
    return contextvars.copy_context().run(_under, ignored, "ignore", function, args, kwargs)


def strictly(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)` with a FloatingPointError for what NumPy may warn of, in such a context."""
    return contextvars.copy_context().run(_under, ("all",), "raise", function, args, {})


def _under(kinds: tuple[str, ...], what: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    np.seterr(**dict.fromkeys(kinds, what))  # type: ignore[arg-type]
    return function(*args, **kwargs)


watch(globals())
