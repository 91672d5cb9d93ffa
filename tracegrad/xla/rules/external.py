"""External functions: jax calls them back on the host."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.external import RAISED, STOPPED, Axes, External, result_types, run


def _on_host(function: External, axes: Axes, *arrays: Any) -> Sequence[Any]:
    try:
        return run(function, axes, [np.asarray(x) for x in arrays])
    except Exception as error:
        if not function.raises:
            STOPPED[:] = [error]
            raise
        RAISED.append(error)  # jax would make another error of it, and print this one
        return [np.zeros(t.shape, t.dtype) for t in result_types([type_of(x) for x in arrays], function, axes)]


@lowers("external")
def _external(out: Sequence[ArrayType], *inputs: Any, function: External, axes: Axes) -> Any:
    host = functools.partial(_on_host, function, axes)
    shapes = [jax.ShapeDtypeStruct(t.shape, t.dtype) for t in out]
    arrays = list(map(jnp.asarray, inputs))
    if function.pure:
        return jax.pure_callback(host, shapes, *arrays, vmap_method="sequential")
    return io_callback(host, shapes, *arrays, ordered=function.ordered)
