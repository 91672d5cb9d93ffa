"""Counting how often numbers occur, with weights: a sum of weights into the places that the numbers name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.core.op import Op, Pairs, Params, Sample
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import concrete, plain_value
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import all_batched, implements, linear, shape_of
from tracegrad.ops.index import take, wide  # np.take does not see a tracer among the indices
from tracegrad.typing import Array, ArrayLike


def _bincount(weights: Any, x: Any, length: int) -> Any:
    return np.bincount(x, weights, length).astype(np.float64, copy=False)  # of nothing, NumPy counts in integers


def _bincount_type(types: Sequence[ArrayType], params: Params) -> ArrayType:
    weights, x = types
    if len(x.shape) != 1 or weights.shape != x.shape:
        raise ShapeError(f"bincount: numbers {x} and weights {weights} must be vectors of one length; use np.ravel")
    return ArrayType((params["length"],), np.dtype(np.float64))


def _bincount_batch(size: int, batched: Sequence[bool], inputs: Sequence[Any], params: Params) -> Any:
    length = params["length"]
    weights, x = all_batched(size, batched, inputs)
    # Each row counts in places of its own.
    apart = x + length * np.arange(size)[:, None]
    total = bind(bincount_op, (np.reshape(weights, -1), np.reshape(apart, -1)), {"length": size * length})
    return np.reshape(total, (size, length))


def _bincount_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(2)
    yield Sample((rng.uniform(-1, 1, 6), np.array([0, 3, 1, 3, 0, 0])), {"length": 5})
    yield Sample((np.zeros(0), np.zeros(0, int)), {"length": 3})


def _bincount_reach(
    i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]
) -> Pairs | None:
    return None if known[1] is None else Pairs(np.asarray(known[1], np.intp), np.arange(types[0].size))


bincount_op: Op = linear(
    "bincount",
    _bincount,
    lambda ct, weights, x, length: astype(take(ct, x), weights.dtype),
    infer=_bincount_type,
    reach=_bincount_reach,
    batch=_bincount_batch,
    linear=[{0}],
    kinds="biuf",
    samples=_bincount_samples,
    points=lambda types, out, params: [(1, range(params["length"]))],
)


def _holds_all(x: Any, length: int) -> bool:
    """Whether there are so many places for the numbers of a dtype that no value can need more."""
    dtype = getattr(x, "dtype", None)
    return dtype is not None and number_kind(dtype) == "u" and int(np.iinfo(dtype).max) < length


@implements(np.bincount, further=["length"])
def bincount(x: ArrayLike, /, weights: ArrayLike = None, minlength: int = 0, *, length: int | None = None) -> Array:
    """How often each of the numbers 0, 1, … occurs in `x`, or the sum of the weights of its occurrences.

    The length of the result depends on the values of `x`, which must be known, unless `length` is given: other numbers are
    left out then. (With minlength=256 that of uint8 is 256, whatever they are.) The result is int64, or float64 of `weights`, in which it is linear.

    >>> bincount(np.array([0, 2, 2]), np.array([1.0, 0.5, 0.25])).tolist()
    [1.0, 0.0, 0.75]

    Raises:
        DtypeError: for complex weights.
    """
    if length is None and _holds_all(x, minlength) and plain_value(x, "np.bincount") is None:
        length = minlength
    if length is not None:
        x = wide(as_array(x))
        places = np.where((x >= 0) & (x < length), x, length)
        counted = np.ones(shape_of(x)) if weights is None else weights
        found = bind(bincount_op, (as_array(counted), places), {"length": length + 1})[:length]
        return found.astype(np.int64) if weights is None else found
    advice = "say how many numbers there are: tnp.bincount(..., length=n), with `import tracegrad.numpy as tnp`"
    plain = concrete(x, "np.bincount", advice)
    if weights is None:
        return np.bincount(plain, minlength=minlength)
    if number_kind(type_of(as_array(weights)).dtype) == "c":
        raise DtypeError("bincount: complex weights are not taken; count real and imaginary parts apart")
    length = max(int(np.max(plain)) + 1 if np.size(plain) else 0, minlength)
    return bind(bincount_op, (as_array(weights), as_array(x)), {"length": length})
