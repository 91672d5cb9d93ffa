"""Products with matrices of parameters."""

from __future__ import annotations

from typing import Any

from tracegrad.core.arguments import Count
from tracegrad.nn import initializers
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Init, Scope


@maker
def Dense(
    features: Count,
    *,
    use_bias: bool = True,
    kernel_init: Init = initializers.lecun_normal(),
    bias_init: Init = initializers.zeros,
) -> Layer:
    """x @ kernel + bias, of inputs [..., in]; the result is [..., features]. Conventions are flax's.

    Args:
        features: how many numbers come out.
        use_bias: whether there is a bias.
        kernel_init: of `kernel`, (in, features).
        bias_init: of `bias`, (features,).

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.Dense(3)
    >>> net(net.init(0, (5, 2)), np.ones((5, 2))).shape
    (5, 3)
    """

    @layer("Dense")
    def dense(p: Scope, x: Any) -> Any:
        kernel = p.param("kernel", kernel_init, (x.shape[-1], features))
        y = p.cast(p.cast(x, kernel.dtype) @ kernel, kernel.dtype)  # NumPy multiplies bfloat16 to float32
        return y + p.param("bias", bias_init, (features,)) if use_bias else y

    return dense
