"""Kernels slid over arrays, along all axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.trace import bind
from tracegrad.ops.conv import convolution
from tracegrad.ops.convolve import convolve_op, slide_op


def slid(x: Any, kernel: Any, pads: Sequence[tuple[int, int]]) -> Any:
    """The sums of products with a kernel at each place of x, with so many zeros around it, where the kernel lies within."""
    if len(x.shape) == 1 and all([p == (0, 0) for p in pads]):
        return bind(slide_op, (x, kernel))
    if len(x.shape) == 1 and all([p == (kernel.shape[0] - 1,) * 2 for p in pads]):
        return bind(convolve_op, (x, np.flip(kernel)))
    ones = (1,) * len(x.shape)
    out = convolution(x[None, None, ..., None], kernel[None, ..., None, None], ones, tuple(pads), ones, ones)
    return out[0, 0, ..., 0]
