"""What is constant to every derivative."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.trace import bind, captor_of
from tracegrad.core.tracer import Tracer, present
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.typing import R


@accepting_jax
def stop_gradient(x: R) -> R:
    """The argument, unchanged, but constant to every derivative, of whatever order and mode, that is being taken of it.

    It is also the way to a value inside a function that is being differentiated: what it gives there (under `grad`, `vjp`,
    `jvp`, `linearize` and the Jacobians) is no longer traced by any of them but a plain array or number, a copy of what the
    argument stands for, which can be printed, logged, plotted, drawn with or kept in a list. Where there is no value yet,
    in a function that is traced for a Graph (`make_graph`, `jit`, `vmap`, `checkpoint`, the body of a loop), it is recorded as an
    operation of that.

    Args:
        x: an array or a pytree of them. Leaves that are not arrays pass through.

    Returns:
        The same pytree, each traced leaf by a plain value, or by a tracer of the innermost enclosing transform that makes a
        Graph.

    Raises:
        UnexpectedTracerError: a tracer of a transform that has ended.

    >>> import numpy as np, tracegrad as tg
    >>> float(tg.grad(lambda x: x * tg.stop_gradient(x))(3.0))
    3.0
    >>> def loss(w):
    ...     value = np.sum(w**2)
    ...     print("loss %.2f" % tg.stop_gradient(value))
    ...     return value
    >>> tg.grad(loss)(np.array([1.0, 2.0])).tolist()
    loss 5.00
    [2.0, 4.0]
    """
    if type(x) is Tracer:
        return cast(R, _stopped(x))
    return cast(R, tree.tree_map(lambda leaf: _stopped(present(leaf)) if isinstance(leaf, Tracer) else leaf, x))


def _stopped(x: Any) -> Any:
    """What a tracer stands for below all traces that only differentiate: a value of the caller's own, or what a tracer of a
    trace that makes a Graph, or a foreign array, is without its derivative. What a branch that is being traced takes from
    outside is recorded in it."""
    while type(x) is Tracer:
        trace = x.origin
        if trace.for_graph or trace.executes or trace.ended or captor_of(trace) is not None:
            return bind(stop_gradient_op, (x,))
        x = x.value
    return x.copy("K") if type(x) is np.ndarray else x
