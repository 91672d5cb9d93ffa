"""External functions: jax calls them back on the host."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.experimental import io_callback

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.external import RAISED, STOPPED, Axes, External, result_types, run
from tracegrad.xla.host import on_host


def _on_host(function: External, axes: Axes, *arrays: Any) -> Sequence[Any]:
    try:
        return run(function, axes, arrays)
    except Exception as error:
        if not function.raises:
            STOPPED[:] = [error]
            raise
        RAISED.append(error)  # jax would make another error of it, and print this one
        return [np.zeros(t.shape, t.dtype) for t in result_types([type_of(x) for x in arrays], function, axes)]


@lowers("external")
def _external(out: Sequence[ArrayType], *inputs: Any, function: External, axes: Axes) -> Any:
    host = functools.partial(_on_host, function, axes)
    if function.pure:
        return on_host(host, out, inputs, vmap_method="sequential")
    return on_host(host, out, inputs, io_callback, ordered=function.ordered)
