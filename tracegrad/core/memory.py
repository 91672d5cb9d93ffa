"""How arrays lie in memory, on which the bits of a result depend: NumPy adds up elements in the order in which they lie,
lays out a new result like the operands, and hands a matrix to BLAS in one way or another.

A layout is a tuple of strides, counted in elements, with 0 for axes of size 1, along which nothing is ever stepped.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.types import Shape

Strides = tuple[int, ...]

# Elements, from which on a copy of what repeats is laid out as that, where NumPy's is in C order.
LONG = 1 << 12
_RUN = 16  # elements in a row that are copied one by one


def copied(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy that NumPy computes with as it does with the array itself: axes in the same order, forwards or backwards, with
    gaps where there are some, and repeated where a broadcast repeats."""
    if x.flags.forc:
        return x.copy("K")
    shape, size = x.shape, x.itemsize
    strides = [0] * x.ndim
    last, before = 0, 0  # the size of what lies within one step so far, and the stride at which the array would go on
    for i in sorted(range(x.ndim), key=lambda i: abs(x.strides[i])):
        step = abs(x.strides[i])
        if step and shape[i] > 1:
            strides[i] = last + size * (step != before) if last else size + size * (step != size)
            last, before = strides[i] * shape[i], step * shape[i]
    memory = np.empty(last // size + 1, x.dtype)
    backwards = tuple([slice(None, None, -1 if s < 0 else 1) for s in x.strides])
    copy: np.ndarray[Any, Any] = np.ndarray(shape, x.dtype, memory, 0, strides)[backwards]
    copy[...] = x
    return copy


def compact(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy without gaps and repeats that has its axes in the same order, or where that is not said, in C order."""
    return x.copy() if 0 in x.strides else x.copy("K")


@functools.lru_cache(maxsize=4096)
def in_c_order(shape: Shape) -> Strides:
    """The layout of an array in C order without gaps."""
    return _dense(shape, range(len(shape)))


def strides_of(x: np.ndarray[Any, Any]) -> Strides | None:
    """The layout of an array, None where it does not lie in whole elements."""
    size = x.itemsize
    if not size or any([s % size for s in x.strides]):
        return None
    return tuple([s // size if n > 1 else 0 for s, n in zip(x.strides, x.shape, strict=True)])


def is_c_order(shape: Shape, strides: Strides) -> bool:
    """Whether the strides are in C order, with gaps or without, and none is zero."""
    steps = [abs(s) for s, n in zip(strides, shape, strict=True) if n > 1]
    return 0 not in steps and steps == sorted(steps, reverse=True)


def is_dense(shape: Shape, strides: Strides) -> bool:
    """Whether elements lie forwards without gaps, with the axes in some order."""
    return _dense(shape, sorted(range(len(shape)), key=lambda i: -strides[i])) == strides


def axes_of(shape: Shape) -> int:
    """How many axes are longer than 1. Up to one there is but one order to lie in."""
    return sum([n > 1 for n in shape])


def _dense(shape: Shape, order: Iterable[int]) -> Strides:
    """The layout without gaps with the axes in this order, the one with the longest stride first."""
    strides = [0] * len(shape)
    step = 1
    for i in reversed(list(order)):
        if shape[i] > 1:
            strides[i] = step
        step *= shape[i]
    return tuple(strides)


def new_strides(shape: Shape, operands: Sequence[Strides]) -> Strides:
    """The layout of the array that NumPy makes for the result of an elementwise function: axes are in the order that the
    operands, broadcast to the shape, agree on, and in C order where they do not."""
    return _dense(shape, _order(shape, operands))


def common_order(shape: Shape, operands: Sequence[Strides | None]) -> list[int] | None:
    """The one order in which the axes lie of whatever elementwise functions make of such arrays and of each other's
    results; None where there is no such order, or where they go backwards, which takes NumPy to other functions."""
    found: set[tuple[int, ...]] = set()
    for strides in operands:
        if strides is None or min(strides, default=0) < 0:
            return None
        steps = [abs(s) for s, n in zip(strides, shape, strict=True) if n > 1]
        told = [s for s in steps if s]
        if told == sorted(told, reverse=True):
            found.add(tuple(range(len(shape))))
        elif len(set(told)) < len(steps):
            return None  # of some axes the array does not say which comes first
        else:
            found.add(tuple(sorted(range(len(shape)), key=lambda i: -abs(strides[i]))))
    return None if len(found) > 1 else list(found.pop() if found else range(len(shape)))


def reduced_strides(shape: Shape, strides: Strides, axes: Sequence[int], keepdims: bool) -> Strides:
    """The layout of the array that NumPy makes for a reduction of an array over axes."""
    order = [i for i in _order(shape, [strides]) if i not in axes]
    if keepdims:
        return _dense(tuple([1 if i in axes else n for i, n in enumerate(shape)]), order)
    left = [i for i in range(len(shape)) if i not in axes]
    return _dense(tuple([shape[i] for i in left]), [left.index(i) for i in order])


def _order(shape: Shape, operands: Sequence[Strides]) -> list[int]:
    """The axes in the order in which NumPy's iterator goes along them, the outermost first: an insertion sort by what the
    strides of the operands say of two axes, in which C order wins where they disagree."""
    ndim = len(shape)
    lined_up = [(0,) * (ndim - len(s)) + s for s in operands]
    inner_first: list[int] = []
    for axis in range(ndim - 1, -1, -1):
        place = len(inner_first)
        for k in range(len(inner_first) - 1, -1, -1):
            other = inner_first[k]
            steps = [(abs(s[other]), abs(s[axis])) for s in lined_up if s[other] and s[axis]]
            if any([inner <= outer for inner, outer in steps]):
                break
            if steps:
                place = k
        inner_first.insert(place, axis)
    return inner_first[::-1]


@functools.lru_cache(maxsize=4096)
def reshaped_strides(shape: Shape, strides: Strides, new: Shape) -> Strides:
    """The layout of an array in a new shape: that of a view where there can be one, else that of a copy. That is in C order as NumPy
    has it, but of many elements what repeats keeps the order in which it lies: the cotangent of pooled images lies as the images do."""
    if math.prod(shape) == 0:
        return in_c_order(new)
    parts = _parts(shape, new)
    if any([strides[i] != shape[j] * strides[j] for old, _ in parts for i, j in itertools.pairwise(old)]):
        steps = [[strides[i] for i in old] for old, _ in parts]
        if math.prod(shape) < LONG or not any([0 in s for s in steps]) or min(map(min, steps)) < 0:
            return in_c_order(new)
        order = sorted(range(len(parts)), key=lambda k: -max(steps[k]))
        return _dense(new, [*[i for k in order for i in parts[k][1]], *[i for i, n in enumerate(new) if n == 1]])
    found = [0] * len(new)
    for old, made in parts:
        step = strides[old[-1]]
        for k in reversed(made):
            found[k] = step
            step *= new[k]
    return tuple(found)


def _parts(shape: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """The axes longer than 1 of two shapes of as many elements, as few of either at a time as have the same number of elements."""
    old, made = [[i for i, n in enumerate(s) if n > 1] for s in (shape, new)]
    parts: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old):
        first, begin = i, j
        count, wanted = shape[old[i]], new[made[j]]
        i, j = i + 1, j + 1
        while count != wanted:
            if count < wanted:
                count *= shape[old[i]]
                i += 1
            else:
                wanted *= new[made[j]]
                j += 1
        parts.append((old[first:i], made[begin:j]))
    return parts


@functools.lru_cache(maxsize=4096)
def is_merged(shape: Shape, new: Shape) -> bool:
    """Whether a new shape has in one axis, or in several, what lies along several of the old one: whether `reshaped` may lay out
    another array than NumPy."""
    return math.prod(shape) >= LONG and any([len(old) > 1 for old, _ in _parts(shape, new)])


def reshaped(x: np.ndarray[Any, Any], shape: Shape) -> np.ndarray[Any, Any]:
    """`x.reshape(shape)`, with a copy of what repeats laid out as `reshaped_strides` says."""
    if x.size < LONG or 0 not in x.strides or (strides := strides_of(x)) is None or not is_merged(x.shape, shape):
        return x.reshape(shape)
    wanted = reshaped_strides(x.shape, strides, shape)
    if 0 in [s for s, n in zip(wanted, shape, strict=True) if n > 1]:
        return x.reshape(shape)
    order = sorted(range(len(shape)), key=lambda i: -wanted[i])
    back = np.argsort(order)
    parts = {made[0]: old for old, made in _parts(x.shape, shape)}
    axes = [i for k in order for i in parts.get(k, ())]
    if x.shape[axes[-1]] > _RUN or (strides[axes[-1]] and len(axes) > 1 and strides[axes[-2]]):
        out = np.empty([shape[i] for i in order], x.dtype).transpose(back)
        out.reshape(x.shape)[...] = x  # each group of axes lies in C order, so that this is a view
        return out
    # NumPy enters its inner loop for each short run, and repeats in a third of the time.
    out = x[tuple([slice(None) if s or n == 1 else slice(1) for s, n in zip(strides, x.shape, strict=True)])]
    out = out.transpose([*axes, *[i for i in range(x.ndim) if i not in axes]])
    for k in reversed(range(len(axes))):
        if not strides[axes[k]]:
            out = np.repeat(out, x.shape[axes[k]], k)
    return out.reshape([shape[i] for i in order]).transpose(back)
