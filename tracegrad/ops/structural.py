"""Ops that do nothing to values: they say something to the transforms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.backends import xla
from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.op import EVERY, Op, Params, Sample, Wanted
from tracegrad.core.trace import bind
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import ArrayType
from tracegrad.ops.families import elementwise_batch, locally_constant
from tracegrad.typing import PyTree


def unchanged(types: Sequence[ArrayType], params: Params) -> ArrayType:
    """The type rule of an op that does nothing to its first input: weak, if that is."""
    return types[0]


def _itself(x: Any, **params: Any) -> Any:
    return x


def _tangent(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
    return tangents[0]


def _cotangent(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
    return [ct]


def _samples() -> Iterable[Sample]:
    yield Sample((np.array([[1.0, -2.0, 0.5]]),))


stop_gradient_op = locally_constant(
    "stop_gradient",
    _itself,
    infer=unchanged,
    linear=(EVERY,),
    batch=elementwise_batch("stop_gradient"),
    python=_itself,
    kinds="fc",
    samples=_samples,
    strides=lambda inputs, types, params: inputs[0],
)


def _on_device(x: Any) -> Any:
    return xla().on_device(x)


# What a function jitted for XLA does to its arguments while something else is traced: from there on values are jax's. A
# jitted function around it has chosen where it runs, and drops this.
to_xla_op = Op(
    "to_xla",
    evaluate=_on_device,
    infer=unchanged,
    jvp=_tangent,
    vjp=_cotangent,
    linear=(EVERY,),
    batch=elementwise_batch("to_xla"),
    moves=True,
    simplify=lambda inputs, params, definitions: inputs[0],
    kinds="",
)


def _named_samples() -> Iterable[Sample]:
    yield Sample((np.array([[1.0, -2.0, 0.5]]),), {"name": "hidden"})


# Derivatives have no name: it is the value that a policy may keep.
checkpoint_name_op = Op(
    "checkpoint_name",
    evaluate=_itself,
    infer=unchanged,
    jvp=_tangent,
    vjp=_cotangent,
    linear=(EVERY,),
    batch=elementwise_batch("checkpoint_name"),
    moves=True,
    python=_itself,
    samples=_named_samples,
    kinds="biufc",
    code=lambda args, types, is_block, params: args[0],
    strides=lambda inputs, types, params: inputs[0],
)


def name_given(op: Op, params: Params) -> str | None:
    """What `checkpoint_name` calls the value that such an equation makes; None for an equation of another op."""
    return params["name"] if op is checkpoint_name_op else None


def checkpoint_name(x: Any, name: str) -> PyTree:
    """The argument, unchanged, under a name by which a policy of `tg.checkpoint` can say whether it is kept.

    Args:
        x: an array or a pytree of them, all of which get the name.
        name: what `tg.checkpoint_policies.save_only_these_names` and its like call it.

    Raises:
        TypeError: a name that is no string.

    What is kept is the value that this returns: it is that, and not `x`, that has to be computed on with.

    >>> import numpy as np, tracegrad as tg
    >>> keep = tg.checkpoint_policies.save_only_these_names("hidden")
    >>> @tg.checkpoint(policy=keep)
    ... def f(x):
    ...     return np.sum(np.sin(tg.checkpoint_name(np.exp(x), "hidden")))
    >>> float(tg.grad(f)(0.0)) == float(np.cos(1.0))
    True
    """
    if not isinstance(name, str):
        raise TypeError(
            f"checkpoint_name{at(user_source())}: the name must be a string, got {clip(repr(name))}; write "
            'tg.checkpoint_name(x, "hidden")'
        )
    leaves, structure = tree.tree_flatten(x)
    arrays = arrays_of(leaves, lambda i: f"checkpoint_name: x{tree.keystr(tree.tree_leaves_with_path(x)[i][0])}")
    return tree.tree_unflatten(structure, [bind(checkpoint_name_op, (leaf,), {"name": name}) for leaf in arrays])
