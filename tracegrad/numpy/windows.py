"""Windows of signals whose shape depends on a number: Kaiser's, by the Bessel function i0."""

from __future__ import annotations

import operator

import numpy as np

from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements
from tracegrad.ops.special.bessel_i import bessel_i
from tracegrad.typing import Array, ArrayLike


@implements(np.i0)
def i0(x: ArrayLike) -> Array:
    """The modified Bessel function of the first kind of order 0, of real numbers. Its derivative is that of order 1.

    >>> i0(np.array([0.0, 1.0])).round(6).tolist()
    [1.0, 1.266066]
    """
    x = as_array(x)
    return bessel_i(x if number_kind(type_of(x).dtype) in "fc" else astype(x, float), 0)


@implements(np.kaiser)
def kaiser(M: int, beta: ArrayLike) -> Array:
    """Kaiser's window of `M` points, differentiable in the number `beta`, which says how fast it falls.

    >>> kaiser(3, 2.0).round(4).tolist()
    [0.4387, 1.0, 0.4387]
    """
    count = operator.index(M)
    if count <= 1:
        return np.ones(max(count, 0))
    half = (count - 1) / 2
    inside = np.sqrt(1 - ((np.arange(count) - half) / half) ** 2)
    return i0(beta * inside) / i0(beta)
