"""Convolution and correlation of arrays, directly or by Fourier transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.scipy.calling import module_or_none, of_scipy
from tracegrad.scipy.sliding import slid
from tracegrad.typing import Array, ArrayLike

signal = of_scipy("scipy.signal")
_MODES = ("full", "same", "valid")


def _pair(name: str, in1: Any, in2: Any, mode: str) -> tuple[Any, Any]:
    in1, in2 = as_array(in1), as_array(in2)
    in1, in2 = [x if hasattr(x, "shape") else np.asarray(x) for x in (in1, in2)]
    if mode not in _MODES:
        raise ValueError(f"{name}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if len(in1.shape) != len(in2.shape):
        raise ShapeError(
            f"{name}{at(user_source())}: both must have as many dimensions, got {type_of(in1)} and {type_of(in2)}"
        )
    return in1, in2


def _is_second_larger(name: str, in1: Any, in2: Any, mode: str, axes: Sequence[int]) -> bool:
    """Whether they change places: "valid" slides the smaller over the larger."""
    if mode != "valid" or all([in1.shape[i] >= in2.shape[i] for i in axes]):
        return False
    if not all([in2.shape[i] >= in1.shape[i] for i in axes]):
        raise ShapeError(
            f"{name}{at(user_source())}: for mode 'valid' one must be at least as large as the other along each axis, got "
            f"{type_of(in1)} and {type_of(in2)}"
        )
    return True


def turned_round(x: Any) -> Any:
    """Reversed along all axes, and conjugated."""
    x = np.flip(x)
    return np.conjugate(x) if number_kind(x.dtype) == "c" else x


def centred(x: Any, shape: Sequence[int]) -> Any:
    """The part of this shape in the middle."""
    starts = [(n - m) // 2 for n, m in zip(x.shape, shape, strict=True)]
    return x[tuple([slice(a, a + m) for a, m in zip(starts, shape, strict=True)])]


def _directly(in1: Any, in2: Any, mode: str) -> Any:
    if mode == "valid":
        return slid(in1, np.flip(in2), [(0, 0)] * len(in1.shape))
    full = slid(in1, np.flip(in2), [(m - 1, m - 1) for m in in2.shape])
    return full if mode == "full" else centred(full, in1.shape)


def _method(in1: Any, in2: Any, mode: str) -> str:
    """SciPy's choice, by sizes alone: integers are convolved directly."""
    module = module_or_none("scipy.signal")
    if module is None or number_kind(np.result_type(in1.dtype, in2.dtype)) in "biu":
        return "direct"
    sizes = [np.broadcast_to(np.zeros((), np.float64), x.shape) for x in (in1, in2)]
    return str(module.choose_conv_method(*sizes, mode=mode))


@signal
def convolve(in1: ArrayLike, in2: ArrayLike, mode: str = "full", method: str = "auto") -> Array:
    """The convolution of two arrays of as many dimensions.

    Args:
        mode: "full" is all of it, n + m - 1 along each axis; "same" its middle, of in1's shape; "valid" where they overlap fully, in which
            one must be at least as large as the other along each axis.
        method: "direct", "fft", or "auto" for the one that SciPy would choose for these shapes (of integers "direct").

    Raises:
        ShapeError: they have different numbers of dimensions, or neither contains the other where mode is "valid".

    >>> import numpy as np, tracegrad as tg
    >>> tg.grad(lambda x: tg.scipy.signal.convolve(x, np.array([1.0, 2.0, 3.0]))[1])(np.ones(2)).tolist()
    [2.0, 1.0]
    """
    in1, in2 = _pair("convolve", in1, in2, mode)
    if method not in ("auto", "direct", "fft"):
        raise ValueError(f"convolve: method must be 'auto', 'direct' or 'fft', got {method!r}")
    if len(in1.shape) == 0:
        return in1 * in2
    if _is_second_larger("convolve", in1, in2, mode, range(len(in1.shape))):
        in1, in2 = in2, in1
    if method == "auto":
        method = _method(in1, in2, mode)
    if method == "direct":
        return _directly(in1, in2, mode)
    dtype = np.result_type(in1.dtype, in2.dtype)
    out = fftconvolve(in1, in2, mode)
    return astype(np.round(out) if number_kind(dtype) in "iu" else out, dtype)


@signal
def correlate(in1: ArrayLike, in2: ArrayLike, mode: str = "full", method: str = "auto") -> Array:
    """The cross-correlation of two arrays of as many dimensions, out[k] = sum of in1[n + k] conj(in2[n]); `mode` and `method` as in
    `convolve`, and `correlation_lags` has the k's of vectors.

    >>> correlate(np.array([1.0, 2.0]), np.array([0.0, 1.0])).tolist()
    [1.0, 2.0, 0.0]
    """
    in1, in2 = _pair("correlate", in1, in2, mode)
    return convolve(in1, turned_round(in2), mode, method)


@signal
def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> Array:
    """The shifts that `correlate` of vectors of these lengths has been computed for, int64.

    >>> correlation_lags(3, 2).tolist()
    [-1, 0, 1, 2]
    """
    if mode not in _MODES:
        raise ValueError(f"correlation_lags: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if mode == "valid":
        more = in1_len - in2_len
        return np.arange(min(more, 0), max(more, 0) + 1)
    lags = np.arange(1 - in2_len, in1_len)
    if mode == "full":
        return lags
    start = lags.size // 2 - in1_len // 2
    return lags[start : start + in1_len]


@signal
def fftconvolve(in1: ArrayLike, in2: ArrayLike, mode: str = "full", axes: Any = None) -> Array:
    """`convolve` by Fourier transforms, over `axes` (default: all); along the others the two are multiplied, and broadcast.

    >>> fftconvolve(np.array([1.0, 2.0]), np.array([1.0, 3.0])).round(9).tolist()
    [1.0, 5.0, 6.0]
    """
    in1, in2 = _pair("fftconvolve", in1, in2, mode)
    ndim = len(in1.shape)
    if ndim == 0:
        return in1 * in2
    given = range(ndim) if axes is None else np.atleast_1d(axes).tolist()
    if 0 in (*in1.shape, *in2.shape):
        return np.zeros(0)
    along = sorted({i % ndim for i in given if in1.shape[i] != 1 and in2.shape[i] != 1})
    others = [i for i in range(ndim) if i not in along]
    if any([in1.shape[i] != in2.shape[i] and 1 not in (in1.shape[i], in2.shape[i]) for i in others]):
        raise ShapeError(
            f"fftconvolve{at(user_source())}: {type_of(in1)} and {type_of(in2)} do not broadcast along the axes {others}, over which "
            "they are not convolved"
        )
    if _is_second_larger("fftconvolve", in1, in2, mode, along):
        in1, in2 = in2, in1
    if along:
        full = [in1.shape[i] + in2.shape[i] - 1 for i in along]
        is_complex = number_kind(np.result_type(in1.dtype, in2.dtype)) == "c"
        sizes = [_fast_length(n, not is_complex) for n in full]
        forwards, backwards = (np.fft.fftn, np.fft.ifftn) if is_complex else (np.fft.rfftn, np.fft.irfftn)
        product = forwards(in1, sizes, axes=along) * forwards(in2, sizes, axes=along)
        out = backwards(product, sizes, axes=along)
        kept = dict(zip(along, full, strict=True))
        out = out[tuple([slice(kept.get(i)) for i in range(ndim)])]
    else:
        out = in1 * in2
    if mode == "full":
        return out
    if mode == "same":
        return centred(out, in1.shape)
    return centred(out, [in1.shape[i] - in2.shape[i] + 1 if i in along else n for i, n in enumerate(out.shape)])


def _fast_length(n: int, real: bool) -> int:
    """A size that is not smaller, and transformed fast."""
    module = module_or_none("scipy.fft")
    return n if module is None else int(module.next_fast_len(n, real))


@signal
def oaconvolve(in1: ArrayLike, in2: ArrayLike, mode: str = "full", axes: Any = None) -> Array:
    """`fftconvolve`, which SciPy computes in pieces where one is much larger than the other; what is traced is computed whole.

    >>> oaconvolve(np.array([1.0, 2.0]), np.array([1.0, 3.0])).round(9).tolist()
    [1.0, 5.0, 6.0]
    """
    return fftconvolve(in1, in2, mode, axes)


_BOUNDARIES: dict[str, Any] = {"fill": "constant", "wrap": "wrap", "symm": "symmetric"}


def _in_two(name: str, in1: Any, in2: Any, mode: str, boundary: str, fillvalue: Any, same: Any) -> Any:
    """The sums of products of in2 and the windows of in1, continued beyond its ends; `same` is where the windows begin in that mode, before
    the first element."""
    if len(in1.shape) != 2:
        raise ShapeError(f"{name}{at(user_source())}: both must have two axes, got {type_of(in1)} and {type_of(in2)}")
    if boundary not in _BOUNDARIES:
        raise ValueError(f"{name}: boundary must be 'fill', 'wrap' or 'symm', got {boundary!r}")
    pads = {
        "full": [(m - 1, m - 1) for m in in2.shape],
        "same": [(same(m), m - 1 - same(m)) for m in in2.shape],
        "valid": [(0, 0)] * 2,
    }[mode]
    if boundary == "fill" and type(fillvalue) in (int, float) and fillvalue == 0:
        return slid(in1, in2, pads)
    filled: Any = {"constant_values": fillvalue} if boundary == "fill" else {}
    return slid(np.pad(in1, pads, _BOUNDARIES[boundary], **filled), in2, [(0, 0)] * 2)


@signal
def convolve2d(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", boundary: str = "fill", fillvalue: ArrayLike = 0
) -> Array:
    """The convolution of two matrices; modes as in `convolve`. Beyond its ends in1 is `fillvalue` ("fill"), repeated ("wrap") or mirrored
    ("symm").

    >>> convolve2d(np.eye(2), np.ones((2, 2)), mode="same", boundary="wrap").tolist()
    [[2.0, 2.0], [2.0, 2.0]]
    """
    in1, in2 = _pair("convolve2d", in1, in2, mode)
    if _is_second_larger("convolve2d", in1, in2, mode, range(len(in1.shape))):
        in1, in2 = in2, in1
    return _in_two("convolve2d", in1, np.flip(in2), mode, boundary, fillvalue, lambda m: m // 2)


@signal
def correlate2d(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", boundary: str = "fill", fillvalue: ArrayLike = 0
) -> Array:
    """The cross-correlation of two matrices; modes and boundaries as in `convolve2d`.

    >>> correlate2d(np.eye(2), np.array([[1.0, 2.0]]), mode="valid").tolist()
    [[1.0], [2.0]]
    """
    in1, in2 = _pair("correlate2d", in1, in2, mode)
    swapped = _is_second_larger("correlate2d", in1, in2, mode, range(len(in1.shape)))
    if swapped:
        in1, in2 = in2, in1
    kernel = np.conjugate(in2) if number_kind(in2.dtype) == "c" else in2
    out = _in_two("correlate2d", in1, kernel, mode, boundary, fillvalue, lambda m: (m - 1) // 2)
    return np.flip(out) if swapped else out
