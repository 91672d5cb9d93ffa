"""Functions as layers, with parameters or without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.arguments import Count
from tracegrad.core.errors import name_of
from tracegrad.core.trace import as_array
from tracegrad.nn import initializers
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Scope


@maker
def PReLU(negative_slope_init: float = 0.01) -> Layer:
    """x where x >= 0, else `negative_slope` * x, of which the slope is a parameter: one for all entries.

    Args:
        negative_slope_init: where it starts. 0.01 as in flax; torch has 0.25.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.PReLU(0.25)
    >>> net(net.init(0, (2,)), np.array([-4.0, 4.0])).tolist()
    [-1.0, 4.0]

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015, arXiv:1502.01852.
    """

    @layer("PReLU")
    def prelu(p: Scope, x: Any) -> Any:
        slope = p.param("negative_slope", initializers.constant(negative_slope_init), ())
        x = p.cast(x, slope.dtype)
        return np.where(np.greater_equal(x, 0), x, slope * x)

    return prelu


@maker
def Lambda(function: Callable[..., Any], name: str | None = None) -> Layer:
    """Any function of arrays as a layer. `nn.serial` and `p(...)` take functions as they are; this gives one a name, and the methods
    of a layer.

    Args:
        function: (*inputs) -> outputs.
        name: the function's own where not given.

    >>> import numpy as np
    >>> from tracegrad import nn
    >>> net = nn.Lambda(lambda x: x / 255, "to_unit")
    >>> net, net({}, np.array([255.0])).tolist()
    (to_unit, [1.0])
    """
    name = name or name_of(function, "function").strip("<>")
    return Layer(name, lambda p, *inputs: function(*inputs), name)


@maker
def lora(inner: Layer, rank: Count, alpha: float | None = None) -> Layer:
    """inner(x) + alpha / rank * x @ a @ b: a layer to be adapted by a change of low rank, while its own weights rest.

    Args:
        inner: a layer of one input [..., in] and an output [..., out], such as Dense. Its parameters are `base`.
        rank: of the change.
        alpha: its weight; `rank` where not given, so that the factor is 1.

    Parameters: `base`, `a` (in, rank) by he_uniform, and `b` (rank, out), zeros: at first nothing changes. To train a and b alone,
    differentiate by them, or use `tg.optim.masked`.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad import nn
    >>> dense, x = nn.Dense(3), np.ones((2, 4))
    >>> net, trained = nn.lora(dense, 2), dense.init(0, x)
    >>> params = {**net.init(1, x), "base": trained}
    >>> bool((net(params, x) == dense(trained, x)).all())
    True

    Source: Hu et al., "LoRA", ICLR 2022, arXiv:2106.09685.
    """
    factor = 1.0 if alpha is None else alpha / rank

    @layer("lora")
    def adapted(p: Scope, x: Any) -> Any:
        x = as_array(x)
        y = p(inner, x, name="base")
        a = p.param("a", initializers.he_uniform(), (x.shape[-1], rank))
        b = p.param("b", initializers.zeros, (rank, y.shape[-1]))
        change = p.cast(x, a.dtype) @ a @ b
        return y + (change if factor == 1 else factor * change)

    return adapted
