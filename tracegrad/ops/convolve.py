"""Convolution along one axis. Two bilinear ops over the last axis, leading axes broadcast, each the other's transpose:

convolve:   out[i] = sum_k a[i - k] v[k], at all n + m - 1 places where the two overlap
slide:      out[i] = sum_k a[i + k] v[k], at the n - m + 1 places where v lies within a
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError
from tracegrad.core.op import Along, Op, Params, Reach, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import ArrayType, in_known_dtype, type_of
from tracegrad.ops.contract.matmul import conjugate_of_complex
from tracegrad.ops.families import elementwise_batch, implements, multilinear, shape_of
from tracegrad.ops.reach import aligned, in_windows
from tracegrad.typing import Array, ArrayLike


def _windows_type(name: str, size: Callable[[int, int], int]) -> Callable[[Sequence[ArrayType], Params], ArrayType]:
    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        a, v = types
        if not (a.shape and v.shape and a.shape[-1] and v.shape[-1]) or size(a.shape[-1], v.shape[-1]) < 1:
            raise ShapeError(
                f"{name} of {a} and {v}: both need a last axis that is not empty, the second not the longer"
            )
        lead = broadcast_shapes(a.shape[:-1], v.shape[:-1])
        return ArrayType((*lead, size(a.shape[-1], v.shape[-1])), np.result_type(a.dtype, v.dtype))

    return infer


def _slide(a: Any, v: Any) -> Any:
    if a.ndim == v.ndim == 1:
        return np.convolve(a, v[::-1], "valid")
    windows = np.lib.stride_tricks.sliding_window_view(in_known_dtype(a), v.shape[-1], axis=-1)
    out = np.einsum("...ik,...k->...i", windows, in_known_dtype(v))
    return out.astype(np.result_type(a, v), copy=False)


def _convolve(a: Any, v: Any) -> Any:
    if a.ndim == v.ndim == 1:
        return np.convolve(a, v)
    if a.shape[-1] < v.shape[-1]:
        a, v = v, a
    # Without zeros beside `a`, which infinities in `v` would make NaN of.
    n, m, dtype = a.shape[-1], v.shape[-1], np.result_type(a, v)
    a, v = in_known_dtype(a), in_known_dtype(v)
    out = np.zeros((*broadcast_shapes(a.shape[:-1], v.shape[:-1]), n + m - 1), np.result_type(a, v))
    quietly(("all",), _add_products, out, a, v)  # np.convolve does not warn
    return out.astype(dtype, copy=False)


def _add_products(out: Any, a: Any, v: Any) -> None:
    for k in range(v.shape[-1]):
        out[..., k : k + a.shape[-1]] += a * v[..., k : k + 1]


def _window_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(2)
    for a, v in [((5,), (3,)), ((4,), (4,)), ((2, 5), (2,)), ((2, 1, 4), (3, 3)), ((1,), (1,))]:
        yield Sample((rng.uniform(-1, 1, a), rng.uniform(-1, 1, v)))


def _windows_reach(behind: bool) -> Reach:
    """Of what slides over the last axis: of the sums of one input's elements j to j + m - 1, or of all sums in which an
    element can stand."""

    def reach(i: int, types: Sequence[ArrayType], out: ArrayType, params: Params, known: Sequence[Any]) -> Along:
        shape, other = types[i].shape, types[1 - i].shape[-1]
        pairs = aligned(shape, out.shape, core=1)
        if i and not behind:
            return Along(pairs)
        n, m = shape[-1], out.shape[-1]
        return Along(
            [*pairs, (len(shape) - 1, len(out.shape) - 1, in_windows(n, m, other, 1, other - 1 if behind else 0, 1, 1))]
        )

    return reach


convolve_op: Op = multilinear(
    "convolve",
    _convolve,
    lambda i: lambda ct, a, v: bind(slide_op, (ct, a if i else v)),
    infer=_windows_type("convolve", lambda n, m: n + m - 1),
    batch=elementwise_batch("convolve"),
    reach=_windows_reach(behind=True),
    kinds="biufc",
    samples=_window_samples,
)


slide_op: Op = multilinear(
    "slide",
    _slide,
    lambda i: (lambda ct, a, v: bind(convolve_op, (ct, v))) if i == 0 else (lambda ct, a, v: bind(slide_op, (a, ct))),
    infer=_windows_type("slide", lambda n, m: n - m + 1),
    batch=elementwise_batch("slide"),
    reach=_windows_reach(behind=False),
    kinds="biufc",
    samples=_window_samples,
)


def _vectors(name: str, a: Any, v: Any) -> tuple[Any, Any]:
    pair = []
    for x in (as_array(a), as_array(v)):
        shape = shape_of(x)
        if len(shape) > 1 or 0 in shape:
            raise ShapeError(f"{name} of {type_of(a)} and {type_of(v)}: both must be vectors that are not empty")
        pair.append(x if shape else np.reshape(x, 1))
    return pair[0], pair[1]


@implements(np.convolve)
def convolve(a: ArrayLike, v: ArrayLike, mode: str = "full") -> Array:
    """The convolution of two vectors: all of it ("full"), as long as the longer ("same"), or where they overlap fully
    ("valid"): of n and m elements n + m - 1, max(n, m), or |n - m| + 1.

    >>> convolve([1, 2, 3], [0, 1]).tolist(), convolve([1, 2, 3], [0, 1], "valid").tolist()
    ([0, 1, 2, 3], [1, 2])

    Raises:
        ShapeError: unless both are vectors that are not empty.
    """
    a, v = _vectors("convolve", a, v)
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    n, m = a.shape[0], v.shape[0]
    if mode == "full":
        return bind(convolve_op, (a, v))
    if mode == "valid":
        return bind(slide_op, (a, v[::-1]))
    if mode == "same":
        return bind(convolve_op, (a, v))[(m - 1) // 2 : (m - 1) // 2 + n]
    raise ValueError(f"convolve: mode must be 'full', 'same' or 'valid', got {mode!r}")


@implements(np.correlate)
def correlate(a: ArrayLike, v: ArrayLike, mode: str = "valid") -> Array:
    """The correlation of two vectors, `sum_n a[n + k] conj(v[n])`, at the shifts that `mode` says, as in `convolve`.

    >>> correlate([1, 2, 3], [0, 1, 0.5]).tolist()
    [3.5]
    """
    a, v = _vectors("correlate", a, v)
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"correlate: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if a.shape[0] >= v.shape[0]:
        return convolve(a, conjugate_of_complex(v[::-1]), mode)
    # NumPy correlates the longer with the shorter, then turns the result round: which differs in where "same" lies.
    return conjugate_of_complex(convolve(v, conjugate_of_complex(a[::-1]), mode)[::-1])
