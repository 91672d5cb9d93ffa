"""Noise in training."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad import random
from tracegrad.core.errors import at, user_source
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Scope


@maker
def Dropout(rate: float, *, broadcast_dims: Sequence[int] = ()) -> Layer:
    """In training, entries are zero with probability `rate`, and the others divided by 1 - rate, which keeps the mean; else nothing
    happens.

    Args:
        rate: the share that is dropped (stax: that is kept).
        broadcast_dims: axes along which all is dropped or kept together: (1, 2) for whole channels of images.

    Raises:
        ValueError: a rate outside [0, 1]; in training, where `key=` is not given.

    The same key gives the same mask, on both backends.

    >>> import numpy as np
    >>> from tracegrad import nn, random
    >>> net, x = nn.Dropout(0.5), np.ones(6)
    >>> net({}, x).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    >>> sorted(set(net({}, x, key=random.PRNGKey(0), train=True).tolist()))
    [0.0, 2.0]

    Source: Srivastava et al., "Dropout", JMLR 15, 2014.
    """
    if not isinstance(rate, numbers.Real) or not 0 <= rate <= 1:
        raise ValueError(
            f"Dropout{at(user_source())}: rate is the share of entries that is dropped, from 0 to 1, got {rate!r}"
        )

    @layer("Dropout")
    def dropout(p: Scope, x: Any) -> Any:
        if not p.train or rate == 0:
            return x
        if rate == 1:
            return np.zeros_like(x)
        keep = 1.0 - rate
        shape = list(np.shape(x))
        for axis in broadcast_dims:
            shape[axis] = 1
        kept = random.bernoulli(p.key(), np.float32(keep), shape)
        return np.where(kept, np.divide(x, keep), 0)

    return dropout
