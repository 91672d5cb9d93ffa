"""Sums, means, the largest and the smallest over all examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracegrad.core.axes import Axis
from tracegrad.core.context import sizing
from tracegrad.core.op import Op, Params, Wanted
from tracegrad.core.sizes import let_out
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.collective.named_axes import (
    AxisName,
    applied,
    bound_axes,
    example_count,
    linear_collective,
    of_all_examples,
    of_leaves,
    out_of_place,
)
from tracegrad.ops.elementwise import astype, is_narrow, widened
from tracegrad.ops.structural import unchanged
from tracegrad.typing import PyTree

# ---------------------------------------------------------------------------------------------------------------------
# Sums.


def total_of_all(size: int, x: Any, batched: bool) -> Any:
    """The sum over all examples, of x's own dtype: as many times x, where all have the same."""
    t = type_of(x)
    if batched:
        total = np.sum(x, axis=0)
        return total if total.dtype == t.dtype else astype(total, t.dtype)
    if number_kind(t.dtype) in "iu" and not t.weak:
        return astype(np.multiply(astype(x, np.int64), size), t.dtype)  # which wraps around, as a sum does
    return x * size


psum_op: Op = linear_collective(
    "psum",
    lambda ct, x, index, **params: bind(psum_op, (ct, index), params),
    lambda size, batched, inputs, params: (total_of_all(size, inputs[0], batched[0]), False),
)


def _sum_over(x: Any, axes: Sequence[Axis]) -> Any:
    t = type_of(x)
    if number_kind(t.dtype) == "b":
        x = int(x) if t.weak else astype(x, np.int64)
    for axis in axes:
        x = applied(psum_op, x, axis) if type(x) is Tracer else total_of_all(axis.size, x, False)
    return x


def psum(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> PyTree:
    """The sum over all examples of a named axis.

    Args:
        x: an array or a pytree of them. What does not depend on the axis is multiplied by its size: psum(1, "i") is
            the size, a Python int. Booleans are counted.
        axis_name: the name that a `vmap` around the call gives with `axis_name=`, or a tuple of such names.
        axis_index_groups: not supported.

    Returns:
        A pytree like `x`, of the same shapes and dtypes, and equal in all examples.

    Raises:
        NameError: no axis of this name is being mapped over.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import psum
    >>> tg.vmap(lambda x: x / psum(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [0.25, 0.75]
    """
    axes = bound_axes(axis_name, "psum", axis_index_groups)
    if sizing:
        let_out([(example_count(axes),)])
    return of_leaves("psum", lambda leaf: _sum_over(leaf, axes), x)


def pmean(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> PyTree:
    """The mean over all examples of a named axis: `psum(x)` by the size. Arguments and errors as for `psum`.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pmean
    >>> tg.vmap(lambda x: x - pmean(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    axes = bound_axes(axis_name, "pmean", axis_index_groups)

    def mean(leaf: Any) -> Any:
        mean = np.true_divide(_sum_over(widened(leaf), axes), example_count(axes))
        return astype(mean, type_of(leaf).dtype) if is_narrow(type_of(leaf).dtype) else mean

    return of_leaves("pmean", mean, x)


# ---------------------------------------------------------------------------------------------------------------------
# Extremes.


def _extreme_of_all(name: str, reduce: Callable[..., Any], loses: np.ufunc) -> Op:
    """The largest or smallest over the examples; equal ones share the derivative equally, as in a reduction."""

    def share(x: Any, index: Any, out: Any, params: Params) -> Any:
        """Each example's part in the extreme."""
        wins = astype(np.logical_not(loses(x, out)), type_of(widened(x)).dtype)
        return astype(wins / bind(psum_op, (wins, index), params), type_of(x).dtype)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: Params) -> Any:
        x, index = primals
        return bind(psum_op, (np.multiply(share(x, index, out, params), tangents[0]), index), params)

    def vjp(wanted: Wanted, ct: Any, out: Any, primals: Sequence[Any], params: Params) -> Sequence[Any]:
        x, index = primals
        return [np.multiply(share(x, index, out, params), bind(psum_op, (ct, index), params))]

    def collective(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> tuple[Any, bool]:
        return reduce(inputs[0], axis=0) if batched[0] else inputs[0], False

    op = Op(
        name, evaluate=partial(out_of_place, op=name), infer=unchanged, jvp=jvp, vjp=vjp,
        batch=lambda size, batched, inputs, params: bind(op, tuple(inputs), params),
        collective=of_all_examples(name, collective), kinds="",
    )  # fmt: skip
    return op


pmax_op = _extreme_of_all("pmax", np.max, np.less)
pmin_op = _extreme_of_all("pmin", np.min, np.greater)


def _extreme_over(op: Op, x: Any, axes: Sequence[Axis]) -> Any:
    for axis in axes:
        x = applied(op, x, axis) if type(x) is Tracer else x
    return x


def pmax(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> PyTree:
    """The largest over all examples of a named axis, elementwise. Arguments and errors as for `psum`. Equal largest
    ones share the derivative equally, as for `np.max` (jax has none for pmax).

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pmax
    >>> tg.vmap(lambda x: x - pmax(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [-2.0, 0.0]
    """
    axes = bound_axes(axis_name, "pmax", axis_index_groups)
    return of_leaves("pmax", lambda leaf: _extreme_over(pmax_op, leaf, axes), x)


def pmin(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> PyTree:
    """The smallest over all examples of a named axis, elementwise. See `pmax`.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.ops.collective import pmin
    >>> tg.vmap(lambda x: x - pmin(x, "i"), axis_name="i")(np.array([1.0, 3.0])).tolist()
    [0.0, 2.0]
    """
    axes = bound_axes(axis_name, "pmin", axis_index_groups)
    return of_leaves("pmin", lambda leaf: _extreme_over(pmin_op, leaf, axes), x)
