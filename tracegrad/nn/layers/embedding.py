"""Vectors looked up by integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.arguments import Count
from tracegrad.core.errors import DtypeError
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind
from tracegrad.nn import initializers
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Init, Scope


@maker
def Embed(
    num_embeddings: Count,
    features: Count,
    *,
    embedding_init: Init = initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0),
) -> Layer:
    """The row of `embedding` at each integer of the input [...]; the result is [..., features].

    Args:
        num_embeddings: how many rows there are.
        features: length of a row.
        embedding_init: of `embedding`, (num_embeddings, features).

    Raises:
        DtypeError: an input that is not of integers.
        IndexError: an integer that is no row's number, where it is known (on NumPy, always).

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.Embed(10, 4)
    >>> tokens = np.array([[1, 2, 3]])
    >>> net(net.init(0, tokens), tokens).shape
    (1, 3, 4)
    """

    @layer("Embed")
    def embed(p: Scope, x: Any) -> Any:
        x = as_array(x)
        if number_kind(x.dtype) not in "iu":
            raise DtypeError(
                f"{p.place()}: takes integers, got {x.dtype.name}; write tokens.astype(np.int32), "
                "and of a shape give its type: tg.ShapeDtypeStruct(shape, np.int32)"
            )
        table = p.param("embedding", embedding_init, (num_embeddings, features))
        try:
            return table[x]
        except IndexError:  # the integers are known
            least, most = int(np.min(x)), int(np.max(x))
            instead = f"; write nn.Embed({most + 1}, {features}), or mend the tokens" if most >= num_embeddings else ""
            raise IndexError(
                f"{p.place()}: of {num_embeddings} embeddings the last is {num_embeddings - 1}, got integers from {least} to "
                f"{most}{instead}"
            ) from None

    return embed
