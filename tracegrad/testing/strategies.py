"""Strategies for hypothesis: shapes, dtypes, arrays, indices, pytrees, inputs of ops and random programs. This module imports
hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np

import tracegrad.random as random
from tracegrad.core.op import Op, Sample
from tracegrad.core.types import Shape, type_of
from tracegrad.testing.programs import Program, programs

__all__ = [
    "Program",
    "arrays",
    "broadcastable_shapes",
    "dtypes",
    "indices",
    "keys",
    "op_samples",
    "programs",
    "pytrees",
    "shapes",
]

FLOATS = ("float32", "float64")


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes, small ones first."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def dtypes(*names: str) -> st.SearchStrategy[np.dtype[Any]]:
    """One of these dtypes; float32 and float64, if none is named."""
    return st.sampled_from([np.dtype(n) for n in names or FLOATS])


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Shape | st.SearchStrategy[Shape],
    dtype: Any = "float64",
    *,
    low: float = -2.0,
    high: float = 2.0,
    kinks: Sequence[float] = (0.0,),
    margin: float = 0.05,
) -> Any:
    """Arrays of a shape and dtype, or of drawn ones, with values from `low` to `high`.

    Floats stay at least `margin` away from `kinks` and from each other's values to within rounding, so that a derivative is
    defined and difference quotients do not cross a kink; kinks=() lets them anywhere.
    """
    found = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    kind = np.dtype(draw(dtype) if isinstance(dtype, st.SearchStrategy) else dtype)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if kind.kind == "b":
        return rng.random(found) < 0.5
    if kind.kind in "iu":
        return rng.integers(0 if kind.kind == "u" else int(np.floor(low)), int(np.ceil(high)) + 1, found).astype(kind)
    values = rng.uniform(low, high, found)
    for kink in kinks:
        near = np.abs(values - kink) < margin
        values = np.where(near, kink + np.where(values < kink, -margin, margin) * rng.uniform(1, 2, found), values)
    if kind.kind == "c":
        values = values + 1j * rng.uniform(low, high, found)
    return np.asarray(values).astype(kind)


@st.composite
def broadcastable_shapes(draw: st.DrawFn, count: int = 2, max_dims: int = 3, max_side: int = 4) -> tuple[Shape, ...]:
    """So many shapes that broadcast together."""
    whole = draw(shapes(0, max_dims, 1, max_side))
    found = []
    for _ in range(count):
        start = draw(st.integers(0, len(whole)))
        found.append(tuple([1 if draw(st.integers(0, 3)) == 0 else n for n in whole[start:]]))
    return tuple(found)


@st.composite
def indices(draw: st.DrawFn, shape: Shape) -> tuple[Any, ...]:
    """An index that NumPy takes for an array of this shape: integers, slices, None, an ellipsis, arrays of integers."""
    parts: list[Any] = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        kinds = ["slice", "slice", *(["int", "array"] if n else [])]
        kind = draw(st.sampled_from(kinds))
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "array":
            parts.append(np.array(draw(st.lists(st.integers(-n, n - 1), min_size=2, max_size=2))))
        else:
            bounds = st.none() | st.integers(-n - 1, n + 1)
            parts.append(slice(draw(bounds), draw(bounds), draw(st.sampled_from([None, 1, 2, -1]))))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.booleans()):
        parts.append(...)
    return tuple(parts)


def keys() -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Keys as `tg.random.PRNGKey(seed)` makes them, uint32[2]; seed 0 is the simplest."""
    return st.integers(0, 2**64 - 1).map(random.PRNGKey)


def pytrees(leaves: st.SearchStrategy[Any], max_leaves: int = 6) -> st.SearchStrategy[Any]:
    """Nested lists, tuples and dicts of leaves."""
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=max_leaves,
    )


@st.composite
def op_samples(draw: st.DrawFn, op: Op, dtype: str = "float64", moved: float = 0.1) -> Sample:
    """Inputs for an op: one of its own samples, in another dtype of floats or complex numbers, whose numbers are moved by up
    to a tenth of themselves, so that they stay where the op is defined. An elementwise op has new shapes, too."""
    samples = list(op.samples())
    kind = np.dtype(dtype).kind
    if kind == "c" and any([_is_complex(s) for s in samples]):
        samples = [s for s in samples if _is_complex(s)]  # whose inputs have a structure
    elif kind != "c":
        samples = [s for s in samples if not _is_complex(s)] or samples
    sample = draw(st.sampled_from(samples))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs = list(sample.inputs)
    arrays = [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind in "fc"]
    is_free = op.elementwise and len(arrays) == len(inputs) and all([inputs[i].size for i in arrays])
    for i, shape in enumerate(draw(broadcastable_shapes(len(inputs)))) if is_free else ():
        inputs[i] = rng.choice(inputs[i].reshape(-1), shape)
    for i in arrays:
        x = inputs[i] * (1 + moved * rng.uniform(-1, 1, np.shape(inputs[i])))
        if x.ndim and np.all(inputs[i][..., :-1] <= inputs[i][..., 1:]):
            x = np.sort(x)  # an order is kept
        if kind == "c" and not _is_complex(sample):
            x = x + 0.3j * rng.uniform(-1, 1, np.shape(x))
        inputs[i] = np.asarray(x).astype(dtype if np.iscomplexobj(x) == (kind == "c") else np.asarray(x).dtype)
    return Sample(tuple(inputs), sample.params)


def _is_complex(sample: Sample) -> bool:
    return any([type_of(x).dtype.kind == "c" for x in sample.inputs])
