"""Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType
from tracegrad.xla.values import cast


def _rule(function: Callable[..., Any], real: bool, inverse: bool) -> Callable[..., Any]:
    """By a function of jax.numpy.fft without a factor. These take float32 and float64 and their complex numbers alone, and NumPy
    rounds the factor to the precision of the input."""

    def rule(out: ArrayType, x: Any, *, axis: int, norm: str, **length: int) -> Any:
        given = np.result_type(np.zeros(0, x.dtype).real.dtype, 1.0)
        n = length.get("n", x.shape[axis])
        computed = np.result_type(out.dtype, np.complex64)
        x = cast(x, np.zeros(0, computed).real.dtype if real else computed)
        y = function(x, axis=axis, norm="forward" if inverse else "backward", **length)
        if norm == "ortho":
            y = y * np.reciprocal(np.sqrt(n, dtype=given)).astype(y.real.dtype)
        elif (norm == "backward") == inverse:
            y = y * np.reciprocal(n, dtype=given).astype(y.real.dtype)
        return cast(y, out.dtype)

    return rule


for _name in ("fft", "ifft", "rfft", "irfft"):
    lowers(_name)(_rule(getattr(jnp.fft, _name), real=_name == "rfft", inverse="i" in _name))
