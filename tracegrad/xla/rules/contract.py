"""Products that sum over shared axes: one of two arrays whose axes have names is one dot_general."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tracegrad.core.backends import lowers
from tracegrad.core.types import ArrayType, Shape, is_added, number_kind
from tracegrad.ops.contract import LETTERS, axis_sizes, terms_and_output
from tracegrad.xla.values import cast


@lru_cache(maxsize=4096)
def _plan(terms: tuple[str, str], output: str, shapes: tuple[Shape, Shape]) -> Any:
    """For each operand the shape without axes of size 1 that broadcast, and the axes that it alone has, to sum over; then
    whether to swap the two, the dimension numbers, and how to transpose the result."""
    sizes = axis_sizes(terms, shapes)
    names, without = [], []
    for term, shape in zip(terms, shapes, strict=True):
        left = [(c, n) for c, n in zip(term, shape, strict=True) if n == sizes[c]]
        names.append([c for c, _ in left])
        without.append(tuple([n for _, n in left]))
    alone = [{c for c in names[i] if c not in names[1 - i] and c not in output} for i in range(2)]
    sums = [tuple([p for p, c in enumerate(own) if c in gone]) for own, gone in zip(names, alone, strict=True)]
    x, y = [[c for c in own if c not in gone] for own, gone in zip(names, alone, strict=True)]
    batch = [c for c in output if c in x and c in y]
    x_free, y_free = [[c for c in own if c not in other] for own, other in ((x, y), (y, x))]
    swapped = [*batch, *y_free, *x_free] == list(output) != [*batch, *x_free, *y_free]
    if swapped:
        x, y, x_free, y_free = y, x, y_free, x_free
    summed = [c for c in x if c in y and c not in output]
    numbers = tuple([tuple([tuple(map(own.index, shared)) for own in (x, y)]) for shared in (summed, batch)])
    order = [*batch, *x_free, *y_free]
    turn = None if order == list(output) else tuple(map(order.index, output))
    return tuple(zip(without, sums, strict=True)), swapped, numbers, turn


def _dot(inputs: Sequence[Any], terms: tuple[str, str], output: str, dtype: Any) -> Any:
    """The sum of products over all axes that the output does not name. No axis is named twice in a term."""
    sides, swapped, numbers, turn = _plan(terms, output, (np.shape(inputs[0]), np.shape(inputs[1])))
    # Of two narrow floats (bfloat16) XLA sums the products in a wider dtype by itself, and many times faster.
    first, second = [getattr(x, "dtype", None) for x in inputs]  # Python's numbers have none
    is_narrow = first is not None and first == second and is_added(first)
    operands = []
    for v, (shape, alone) in zip(inputs, sides, strict=True):
        v = v if is_narrow else cast(v, dtype)
        operands.append(_sum(v if np.shape(v) == shape else lax.reshape(v, shape), alone))
    x, y = reversed(operands) if swapped else operands
    out = lax.dot_general(x, y, numbers, preferred_element_type=dtype if is_narrow else None)
    return out if turn is None else lax.transpose(out, turn)


def _sum(x: Any, axes: tuple[int, ...]) -> Any:
    if not axes:
        return x
    return (lax.reduce_or if number_kind(x.dtype) == "b" else lax.reduce_sum)(x, axes)


@lowers("matmul")
def _matmul(out: ArrayType, x: Any, y: Any, *, left: bool = False, right: bool = False) -> Any:
    x_ndim, y_ndim = len(x.shape), len(y.shape)
    x_own = "k" if x_ndim == 1 else "ki" if left else "ik"
    y_own = "k" if y_ndim == 1 else "jk" if right else "kj"
    x_batch, y_batch = [LETTERS[26 - max(n - 2, 0) : 26] for n in (x_ndim, y_ndim)]
    output = max(x_batch, y_batch, key=len) + "i" * (x_ndim > 1) + "j" * (y_ndim > 1)
    return _dot((x, y), (x_batch + x_own, y_batch + y_own), output, out.dtype)


@lowers("outer")
def _outer(out: ArrayType, x: Any, y: Any) -> Any:
    return _dot((x, y), ("i", "j"), "ij", out.dtype)


@lowers("einsum")
def _einsum(out: ArrayType, *inputs: Any, subscripts: str) -> Any:
    terms, output = terms_and_output(subscripts)
    plain = all([len(set(term)) == len(term) for term in terms])
    if len(terms) == 2 and plain:
        return _dot(inputs, (terms[0], terms[1]), output, out.dtype)
    if len(terms) == 1 and plain:
        x = cast(inputs[0], out.dtype)
        kept = [c for c in terms[0] if c in output]
        x = _sum(x, tuple([p for p, c in enumerate(terms[0]) if c not in output]))
        return lax.transpose(x, tuple(map(kept.index, output)))
    # jax sums bools by counting, which a cast back makes of it what it is here.
    dtype = np.dtype(np.int32) if number_kind(out.dtype) == "b" else out.dtype
    return jnp.einsum(subscripts, *[cast(x, dtype) for x in inputs])
