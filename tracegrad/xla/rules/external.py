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
from tracegrad.core.types import ArrayType
from tracegrad.ops.external import Axes, External, run


def _on_host(function: External, axes: Axes, *arrays: Any) -> Sequence[Any]:
    return run(function, axes, [np.asarray(x) for x in arrays])


@lowers("external")
def _external(out: Sequence[ArrayType], *inputs: Any, function: External, axes: Axes) -> Any:
    host = functools.partial(_on_host, function, axes)
    shapes = [jax.ShapeDtypeStruct(t.shape, t.dtype) for t in out]
    arrays = list(map(jnp.asarray, inputs))
    if function.pure:
        return jax.pure_callback(host, shapes, *arrays, vmap_method="sequential")
    return io_callback(host, shapes, *arrays, ordered=function.ordered)
