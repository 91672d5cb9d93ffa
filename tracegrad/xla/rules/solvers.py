"""SciPy's routines that call functions of the user's: jax has them run on the host, where these are NumPy's programs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from tracegrad.core.backends import lowers
from tracegrad.core.op import OPS
from tracegrad.core.types import ArrayType


def _on_host(name: str, params: dict[str, Any], types: Sequence[ArrayType], *inputs: Any) -> Any:
    found = OPS[name].evaluate(*[np.asarray(x) for x in inputs], **params)
    outputs = found if OPS[name].multiple_results else (found,)
    return [np.asarray(x, t.dtype) for x, t in zip(outputs, types, strict=True)]


def called_back(name: str, out: Any, *inputs: Any, **params: Any) -> Any:
    """What the op of this name evaluates to on the host."""
    types = out if OPS[name].multiple_results else (out,)
    shapes = [jax.ShapeDtypeStruct(t.shape, t.dtype) for t in types]
    found = jax.pure_callback(functools.partial(_on_host, name, params, types), shapes, *inputs)
    return found if OPS[name].multiple_results else found[0]


lowers("solver")(functools.partial(called_back, "solver"))
