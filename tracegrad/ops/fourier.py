"""The discrete Fourier transform along one axis: three linear ops whose transposes are each other.

fft, ifft:   y[k] = c sum_n x[n] exp(-+2πi kn / N), complex to complex. Its matrix is symmetric, so it is its own transpose
rfft:        the first N // 2 + 1 of these where x is real; the others are their conjugates
irfft:       x[n] = c sum_k y[k] exp(2πi kn / N) over all N, of the first N // 2 + 1, where x is real

The factor c stands in the param `norm`: "backward" has 1/N in the two inverses, "forward" in the two others, "ortho" 1/√N in all.
Derivatives of the latter two count the elements that stand for their conjugates as well, all but the first and, for even N, the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Params, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import ArrayType
from tracegrad.ops.cumulative import along_shape
from tracegrad.ops.families import along_axis, conform, linear, shape_of
from tracegrad.ops.reach import of_other_axes

SWAPPED = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _type_rule(function: Callable[..., Any], size: Callable[[int, Params], int]) -> Any:
    """NumPy says of which dtype the output is; `size` how long it is along the axis."""

    def infer(types: Sequence[ArrayType], params: Params) -> ArrayType:
        (t,) = types
        dtype = function(np.zeros(2, t.dtype)).dtype
        return ArrayType(along_shape(t.shape, params["axis"], size(t.shape[params["axis"]], params)), dtype)

    return infer


def _times(n: int, axis: int, ndim: int, inner: float, dtype: Any) -> Any:
    """Factors for the first n // 2 + 1 of n elements: `inner` for those that stand for their conjugates too, else 1."""
    factors = np.full(n // 2 + 1, inner, dtype)
    factors[0] = 1
    if n % 2 == 0:
        factors[-1] = 1
    return factors.reshape(along_shape((1,) * ndim, axis, n // 2 + 1))


def _real_dtype(x: Any) -> Any:
    return np.zeros(0, x.dtype).real.dtype


def _rfft_transpose(ct: Any, x: Any, axis: int, norm: str) -> Any:
    n = x.shape[axis]
    half = np.conjugate(ct) * _times(n, axis, len(shape_of(ct)), 0.5, _real_dtype(ct))
    return conform(bind(irfft_op, (half,), {"axis": axis, "norm": SWAPPED[norm], "n": n}), x)


def _irfft_transpose(ct: Any, x: Any, axis: int, norm: str, n: int) -> Any:
    half = np.conjugate(bind(rfft_op, (ct,), {"axis": axis, "norm": SWAPPED[norm]}))
    return conform(half * _times(n, axis, len(shape_of(ct)), 2.0, _real_dtype(half)), x)


def _samples(real: bool) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(5)
        for shape, axis, norm in [
            ((5,), 0, "backward"),
            ((2, 4), 1, "ortho"),
            ((3, 2), 0, "forward"),
            ((2, 1, 2), 1, "backward"),
        ]:
            x = rng.uniform(-1, 1, shape)
            yield Sample((x if real else x + 1j * rng.uniform(-1, 1, shape),), {"axis": axis, "norm": norm})
            if not real:
                yield Sample((x,), {"axis": axis, "norm": norm})

    return samples


def _irfft_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(6)
    for shape, axis, norm, n in [
        ((3,), 0, "backward", 4),
        ((2, 3), 1, "ortho", 5),
        ((1, 2), 0, "forward", 1),
        ((2, 2), 1, "backward", 2),
    ]:
        z = rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)
        yield Sample((z,), {"axis": axis, "norm": norm, "n": n})
    yield Sample((rng.uniform(-1, 1, (2, 3)),), {"axis": 1, "norm": "backward", "n": 4})


fft_op: Op = linear(
    "fft",
    np.fft.fft,
    lambda ct, x, axis, norm: conform(bind(fft_op, (ct,), {"axis": axis, "norm": norm}), x),
    infer=_type_rule(np.fft.fft, lambda m, params: m),
    batch=along_axis("fft"),
    reach=of_other_axes,
    kinds="biufc",
    samples=_samples(real=False),
)

ifft_op: Op = linear(
    "ifft",
    np.fft.ifft,
    lambda ct, x, axis, norm: conform(bind(ifft_op, (ct,), {"axis": axis, "norm": norm}), x),
    infer=_type_rule(np.fft.ifft, lambda m, params: m),
    batch=along_axis("ifft"),
    reach=of_other_axes,
    kinds="biufc",
    samples=_samples(real=False),
)

rfft_op: Op = linear(
    "rfft",
    np.fft.rfft,
    _rfft_transpose,
    infer=_type_rule(np.fft.rfft, lambda m, params: m // 2 + 1),
    batch=along_axis("rfft"),
    reach=of_other_axes,
    kinds="biuf",
    samples=_samples(real=True),
)

irfft_op: Op = linear(
    "irfft",
    np.fft.irfft,
    _irfft_transpose,
    infer=_type_rule(np.fft.irfft, lambda m, params: params["n"]),
    batch=along_axis("irfft"),
    reach=of_other_axes,
    kinds="biufc",
    samples=_irfft_samples,
)
