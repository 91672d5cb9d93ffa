"""Integers, permutations, and choices among several."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.numpy import take, take_along_axis
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import is_tracer, normalize_axis, shape_of
from tracegrad.ops.sort import top_k
from tracegrad.ops.threefry import random_bits
from tracegrad.random.keys import key_given, shape_given, split
from tracegrad.random.samplers import Shape, broadcasts, gumbel, int_dtype, uniform
from tracegrad.typing import Array, ArrayLike, DType


def randint(key: Array, shape: Shape, minval: ArrayLike, maxval: ArrayLike, dtype: DType = np.int64) -> Array:
    """Integers from `minval` up to `maxval`, without that.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        shape: of the result.
        minval, maxval: integers, or arrays that broadcast to `shape`. Where there is nothing between them, `minval` comes out.
        dtype: of integers.

    Returns:
        An array of this shape and dtype: what `jax.random.randint` makes of that key. Twice as many bits as the dtype has are
        drawn, and reduced by the remainder: the probabilities differ by less than 1 in 2**32 for an interval of 2**32.

    Raises:
        DtypeError: `dtype` or a bound is not of integers.
        ShapeError: bounds of another shape.

    >>> import tracegrad as tg
    >>> tg.random.randint(tg.random.key(0), (5,), 0, 10).tolist()
    [5, 1, 5, 7, 3]
    """
    dtype, shape, key = int_dtype(dtype), shape_given(shape, "randint"), key_given(key, "randint")
    if number_kind(dtype) not in "iu":
        raise DtypeError(f"random.randint{at(user_source())}: integers come in a dtype of integers, got {dtype}")
    minval, maxval = [_bound(x, shape, what) for x, what in ((minval, "minval"), (maxval, "maxval"))]
    drawn = dtype
    if dtype.itemsize < 4:
        info, drawn = np.iinfo(dtype), np.dtype(np.int32)
        minval = np.clip(astype(minval, drawn), info.min, info.max)
        maxval = np.clip(astype(maxval, drawn), info.min, info.max + 1)
    return astype(_integers(key, minval, maxval, shape, drawn), dtype)


def _bound(x: Any, shape: tuple[int, ...], what: str) -> Any:
    x = as_array(np.uint64(x) if type(x) is int and x > np.iinfo(np.int64).max else x)
    t = type_of(x)
    if number_kind(t.dtype) not in "iu":
        raise DtypeError(f"random.randint{at(user_source())}: {what} must be an integer, got {t}; write int({what})")
    broadcasts(x, shape, "randint", what)
    # With an axis, since NumPy warns of numbers that wrap around, and not of arrays.
    return np.reshape(astype(x, t.dtype), (*(1,) * (max(len(shape), 1) - len(t.shape)), *t.shape))


def _within(x: Any, dtype: np.dtype[Any]) -> Any:
    """Integers in another dtype; those that it has not are its last."""
    old, new = np.iinfo(type_of(x).dtype), np.iinfo(dtype)
    return astype(np.clip(x, old.dtype.type(max(old.min, new.min)), old.dtype.type(min(old.max, new.max))), dtype)


def _integers(key: Any, minval: Any, maxval: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    old, last = np.iinfo(type_of(maxval).dtype), np.iinfo(dtype).max
    beyond = maxval > old.dtype.type(min(last, old.max))  # 256 for uint8, which has no such number
    minval, maxval = _within(minval, dtype), _within(maxval, dtype)
    word = np.dtype(f"u{dtype.itemsize}")
    one = word.type(1)
    span = np.where(maxval <= minval, one, astype(maxval, word) - astype(minval, word))
    span = np.where(beyond & (maxval > minval), span + one, span)
    whole = span == word.type(0)  # all numbers that there are, of which nothing is a remainder
    span = np.where(whole, one, span)
    high, low = [random_bits(k, shape or (1,), word) for k in split(key)]
    half = word.type(1 << 4 * word.itemsize) % span
    offset = ((high % span) * (half * half % span) + low % span) % span
    return np.reshape(minval + astype(np.where(whole, low, offset), dtype), shape)


def permutation(key: Array, x: int | ArrayLike, axis: int = 0, independent: bool = False) -> Array:
    """The numbers 0, 1, ... x - 1 in random order, or the slices of an array along an axis.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        x: an int, or an array. The result has a derivative with respect to it.
        axis: whose slices change places.
        independent: whether each vector along the axis has an order of its own.

    Returns:
        int64[x], or an array of the shape and dtype of `x`: what `jax.random.permutation` makes of that key.

    Raises:
        DtypeError: `x` is a number that is not an integer.
        TypeError: it is traced, so that there is no telling how many.

    >>> import tracegrad as tg
    >>> tg.random.permutation(tg.random.key(0), 5).tolist()
    [0, 1, 4, 3, 2]
    """
    key, x = key_given(key, "permutation"), as_array(x)
    shape = shape_of(x)
    if not shape:
        axis = normalize_axis(axis, 1, "random.permutation")
        return _order(key, (_count(x, "permutation", "x"),), 0)
    axis = normalize_axis(axis, len(shape), "random.permutation")
    if independent and len(shape) > 1:
        return take_along_axis(x, _order(key, shape, axis), axis)
    return take(x, _order(key, (shape[axis],), 0), axis)


def _order(key: Any, shape: tuple[int, ...], axis: int) -> Any:
    """The places of the elements along an axis in random order: sorted by random words, as often as it takes for two of them
    hardly ever to have the same words all along. As jax's sort is stable, a word has the place behind it."""
    ones = tuple([-1 if i == axis else 1 for i in range(len(shape))])
    places = np.reshape(np.arange(shape[axis], dtype=np.uint64), ones)
    order: Any = None
    for _ in range(math.ceil(3 * math.log(max(1, math.prod(shape))) / math.log(2**32 - 1))):
        key, mine = split(key)
        words = astype(random_bits(mine, shape, np.dtype(np.uint32)), np.uint64) << np.uint64(32)
        found = astype(np.sort(words | places, axis) & np.uint64(2**32 - 1), np.int64)
        order = found if order is None else take_along_axis(order, found, axis)
    return astype(np.broadcast_to(places, shape), np.int64) if order is None else order


def _count(x: Any, name: str, what: str) -> int:
    t = type_of(x)
    if number_kind(t.dtype) not in "iu":
        raise DtypeError(f"random.{name}{at(user_source())}: {what} must be an integer or have an axis, got {t}")
    if is_tracer(x):
        raise TypeError(
            f"random.{name}{at(user_source())}: {what} is how many there are, which must be known when the function is traced, "
            "and is traced itself; make it static (static_argnums)"
        )
    return operator.index(x)


def choice(
    key: Array,
    a: int | ArrayLike,
    shape: Shape = (),
    replace: bool = True,
    p: ArrayLike | None = None,
    axis: int = 0,
    mode: str | None = None,
) -> Array:
    """Slices of an array along an axis, drawn at random.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        a: an array, or an int for the numbers below it. The result has a derivative with respect to it.
        shape: of the draws, which takes the place of the axis.
        replace: whether the same may be drawn more than once.
        p: the probability of each, one axis; None for equal ones.
        axis: along which is drawn.
        mode: `gumbel`'s, which is drawn where `p` is given and `replace` is False.

    Returns:
        What `jax.random.choice` makes of that key; with `p` to rounding, so that another may come out where two probabilities
        meet.

    Raises:
        ValueError: more than there are, without replacement, or any of none.
        ShapeError: not one probability for each.

    >>> import tracegrad as tg
    >>> tg.random.choice(tg.random.key(0), np.array([10.0, 20.0, 30.0]), (4,)).tolist()
    [10.0, 30.0, 30.0, 30.0]
    """
    key, shape, a = key_given(key, "choice"), shape_given(shape, "choice"), as_array(a)
    whole = shape_of(a)
    axis = normalize_axis(axis, max(len(whole), 1), "random.choice")
    many = whole[axis] if whole else _count(a, "choice", "a")
    draws = math.prod(shape)
    out = (*whole[:axis], *shape, *whole[axis + 1 :])
    if draws == 0:
        return np.zeros(out, type_of(a).dtype)
    if many <= 0:
        raise ValueError(f"random.choice{at(user_source())}: there is nothing to choose from, a has {many}")
    if not replace and draws > many:
        raise ValueError(
            f"random.choice{at(user_source())}: {draws} cannot be drawn of {many} without replacement; write replace=True"
        )
    if p is None:
        places = randint(key, shape, 0, many) if replace else _order(key, (many,), 0)[:draws]
        if not replace and len(whole) == 1:
            return np.reshape(permutation(key, a)[:draws], out)
    else:
        p = as_array(p)
        t = type_of(p)
        if t.shape != (many,):
            raise ShapeError(f"random.choice{at(user_source())}: p has one probability for each of the {many}, got {t}")
        if number_kind(t.dtype) != "f":
            p = astype(p, np.float64)
        dtype = type_of(p).dtype
        if replace:
            sums = np.cumsum(p)
            places = np.searchsorted(sums, sums[-1] * (1 - uniform(key, shape, dtype)))
        else:
            places = top_k(gumbel(key, (many,), dtype, mode) + np.log(p), draws)[1]
    return np.reshape(take(a, places, axis) if whole else astype(places, np.int64), out)


def categorical(
    key: Array,
    logits: ArrayLike,
    axis: int = -1,
    shape: Shape | None = None,
    replace: bool = True,
    mode: str | None = None,
) -> Array:
    """Indices drawn with the probabilities softmax(logits, axis).

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        logits: floats; they need no norm.
        axis: along which they are of one distribution.
        shape: of the result, which ends as that of `logits` without the axis; what it has before that are independent draws.
            None for one draw each.
        replace: whether the draws of one distribution may be equal.
        mode: `gumbel`'s.

    Returns:
        int64 of this shape: what `jax.random.categorical` makes of that key, but for ties of rounding.

    Raises:
        DtypeError: logits that are not floats.
        ShapeError: a shape that does not end so.
        ValueError: more draws than there are indices, without replacement.

    Source: the largest of logits + Gumbel noise (Gumbel 1954); without replacement the k largest (Kool, van Hoof and Welling,
    "Stochastic beams and where to find them", ICML 2019).

    >>> import tracegrad as tg
    >>> tg.random.categorical(tg.random.key(0), np.log(np.array([[0.0, 1.0], [1.0, 0.0]]) + 1e-300)).tolist()
    [1, 0]
    """
    key, logits = key_given(key, "categorical"), as_array(logits)
    whole, dtype = shape_of(logits), type_of(logits).dtype
    if number_kind(dtype) != "f":
        raise DtypeError(f"random.categorical{at(user_source())}: logits are floats, got {type_of(logits)}")
    axis = normalize_axis(axis, len(whole), "random.categorical")
    batch = (*whole[:axis], *whole[axis + 1 :])
    shape = batch if shape is None else shape_given(shape, "categorical")
    before = shape[: len(shape) - len(batch)]
    if before + batch != shape:
        raise ShapeError(
            f"random.categorical{at(user_source())}: shape ends as that of the logits without their axis, {batch}; got {shape}"
        )
    if replace:
        return np.argmax(gumbel(key, (*before, *whole), dtype, mode) + logits, axis=len(before) + axis)
    draws = math.prod(before)
    if draws > whole[axis]:
        raise ValueError(
            f"random.categorical{at(user_source())}: {draws} cannot be drawn of {whole[axis]} without replacement; write "
            "replace=True"
        )
    noisy = np.moveaxis(gumbel(key, whole, dtype, mode) + logits, axis, -1)
    return np.reshape(np.moveaxis(top_k(noisy, draws)[1], -1, 0), shape)
