"""Digital filters along one axis, finite and recursive."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.trace import as_array, bind
from tracegrad.core.types import type_of
from tracegrad.ops.convolve import convolve_op
from tracegrad.ops.linalg.matrices import floating
from tracegrad.ops.recursive import recursive_filter
from tracegrad.scipy.calling import of_scipy, refused
from tracegrad.scipy.linalg import companion
from tracegrad.scipy.signal.extending import extended, moved_last
from tracegrad.typing import Array, ArrayLike

signal = of_scipy("scipy.signal")


def _coefficients(name: str, b: Any, a: Any) -> tuple[Any, Any]:
    """As vectors, divided by what comes first in the denominator."""
    b, a = [np.atleast_1d(floating(x)) for x in (b, a)]
    if len(b.shape) > 1 or len(a.shape) > 1 or 0 in (*b.shape, *a.shape):
        raise ShapeError(
            f"{name}{at(user_source())}: the coefficients must be two vectors that are not empty, got {type_of(b)} and "
            f"{type_of(a)}; tg.vmap maps over several filters"
        )
    return b / a[:1], a / a[:1]


def _padded(x: Any, size: int) -> Any:
    return np.concatenate([x, np.zeros((*x.shape[:-1], size - x.shape[-1]), x.dtype)], -1)


def _filtered(b: Any, a: Any, x: Any, zi: Any) -> tuple[Any, Any]:
    """`lfilter` over the last axis, with what the delays hold afterwards: with the delays written as what they will bring,
    convolve(a, y) is convolve(b, x) + zi, at all places within, and what is left behind them is the state."""
    n = x.shape[-1]
    order = max(b.shape[0], a.shape[0]) - 1
    if n == 0:
        zi = np.zeros((*x.shape[:-1], order), x.dtype) if zi is None else zi
        return x + np.zeros((), np.result_type(b.dtype, a.dtype, zi.dtype)), zi
    driven = _padded(bind(convolve_op, (x, b)), n + order)
    if zi is not None:
        driven = driven + _padded(zi, n + order)
    if a.shape[0] == 1:
        return driven[..., :n], driven[..., n:]
    y = recursive_filter(a, driven[..., :n])
    return y, driven[..., n:] - _padded(bind(convolve_op, (y, a)), n + order)[..., n:]


@signal
def lfilter(b: ArrayLike, a: ArrayLike, x: ArrayLike, axis: int = -1, zi: ArrayLike | None = None) -> Any:
    """`x`, filtered along `axis`: a[0] y[n] = b[0] x[n] + ... + b[k] x[n - k] - a[1] y[n - 1] - ... - a[k] y[n - k].

    Args:
        b, a: vectors of floats, the coefficients of numerator and denominator.
        x: an array of floats.
        zi: what the delays hold before, of x's shape but for max(len(a), len(b)) - 1 along `axis`; zeros if not given.

    Returns:
        y, of x's shape; with `zi` also what the delays hold afterwards.

    Raises:
        ShapeError: b or a is no vector; zi has another shape.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda a: np.sum(tg.scipy.signal.lfilter([1.0], a, np.array([1.0, 0.0, 0.0])))
    >>> tg.grad(f)(np.array([1.0, -0.5])).tolist()
    [-2.75, -2.0]

    Source: of the derivative, the filter run backwards: lfilter is a system of equations with a triangular Toeplitz matrix.
    """
    b, a = _coefficients("lfilter", b, a)
    x = moved_last(floating(x), axis)
    if zi is None:
        return np.moveaxis(_filtered(b, a, x, None)[0], -1, axis)
    zi = moved_last(floating(zi), axis)
    shape = (*x.shape[:-1], max(b.shape[0], a.shape[0]) - 1)
    fits = len(zi.shape) == len(shape) and all([m in (1, n) for m, n in zip(zi.shape[:-1], shape[:-1], strict=True)])
    if not fits or zi.shape[-1] != shape[-1]:
        raise ShapeError(
            f"lfilter{at(user_source())}: with filters of {b.shape[0]} and {a.shape[0]} coefficients zi must be as x is but for "
            f"{shape[-1]} along the axis, got x of {type_of(x)} and zi of {type_of(zi)}, with the axis put last"
        )
    y, zf = _filtered(b, a, x, np.broadcast_to(zi, shape))
    return np.moveaxis(y, -1, axis), np.moveaxis(zf, -1, axis)


@signal
def lfilter_zi(b: ArrayLike, a: ArrayLike) -> Array:
    """What the delays of `lfilter` hold after a step of height 1 that has been there for ever, (max(len(a), len(b)) - 1,).

    >>> lfilter_zi([1.0], [1.0, -0.5]).tolist()
    [1.0]
    """
    b, a = _coefficients("lfilter_zi", b, a)
    size = max(b.shape[0], a.shape[0])
    b, a = _padded(b, size), _padded(a, size)
    if size == 1:
        return b[1:]
    return np.linalg.solve(np.eye(size - 1, dtype=a.dtype) - companion(a).T, b[1:] - a[1:] * b[0])


@signal
def lfiltic(b: ArrayLike, a: ArrayLike, y: ArrayLike, x: ArrayLike | None = None) -> Array:
    """What the delays of `lfilter` hold after these outputs and inputs, the latest first: (max(len(a), len(b)) - 1,).

    >>> lfiltic([1.0], [1.0, -0.5], [2.0]).tolist()
    [1.0]
    """
    b, a = _coefficients("lfiltic", b, a)
    behind_y, behind_x = a.shape[0] - 1, b.shape[0] - 1
    y = np.atleast_1d(floating(y))
    x = np.zeros(behind_x, y.dtype) if x is None else np.atleast_1d(floating(x))
    size = max(behind_x, behind_y)
    total = np.zeros(size, np.result_type(b.dtype, a.dtype, x.dtype, y.dtype))
    for sign, taps, past, count in ((1, b, x, behind_x), (-1, a, y, behind_y)):
        past = _padded(past[:count], count)
        held = [np.sum(taps[m + 1 :] * past[: count - m]) for m in range(count)]
        if held:
            total = total + sign * _padded(np.stack(held), size)
    return total


def _both_ways(run: Any, zi: Any, x: Any, edge: int) -> Any:
    """Filtered forwards and backwards, over the last axis, from the state of a step as high as where it begins."""
    y = run(x, zi * x[..., :1])
    y = np.flip(run(np.flip(y, -1), zi * y[..., -1:]), -1)
    return y[..., edge : y.shape[-1] - edge]


def _edge(name: str, x: Any, padtype: str | None, padlen: int | None, taps: int) -> tuple[int, Any]:
    edge = 0 if padtype is None else 3 * taps if padlen is None else int(padlen)
    if x.shape[-1] <= edge:
        raise ValueError(
            f"{name}{at(user_source())}: the length of the input along the axis must be greater than padlen, which is {edge}, "
            f"got {x.shape[-1]}"
        )
    if padtype not in ("odd", "even", "constant", None):
        raise ValueError(f"{name}: padtype must be 'odd', 'even', 'constant' or None, got {padtype!r}")
    return edge, x if padtype is None else extended(x, edge, padtype)


@signal
def filtfilt(
    b: ArrayLike,
    a: ArrayLike,
    x: ArrayLike,
    axis: int = -1,
    padtype: str | None = "odd",
    padlen: int | None = None,
    method: str = "pad",
    irlen: int | None = None,
) -> Array:
    """`x`, filtered forwards and backwards along `axis`, so that no phase is shifted: of x's shape.

    `padlen` elements (by default three for each coefficient) are put at both ends before, by `padtype` "odd", "even", "constant" or
    None. Gustafsson's `method` is not traced.

    >>> filtfilt([0.5], [1.0, -0.5], np.ones(9)).round(9).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if method not in ("pad", "gust"):
        raise ValueError(f"filtfilt: method must be 'pad' or 'gust', got {method!r}")
    if method == "gust":
        raise refused("signal.filtfilt", "with method='gust'", "Leave it out: 'pad' is.")
    b, a = _coefficients("filtfilt", b, a)
    x = moved_last(floating(x), axis)
    edge, x = _edge("filtfilt", x, padtype, padlen, max(b.shape[0], a.shape[0]))
    return np.moveaxis(_both_ways(lambda x, zi: _filtered(b, a, x, zi)[0], lfilter_zi(b, a), x, edge), -1, axis)


def _sections(name: str, sos: Any) -> Any:
    sos = floating(sos)
    if len(sos.shape) != 2 or sos.shape[1] != 6:
        raise ShapeError(f"{name}{at(user_source())}: sos must be of shape (n_sections, 6), got {type_of(sos)}")
    return sos


def _in_sections(sos: Any, x: Any, zi: Any) -> tuple[Any, Any]:
    """The sections one after another, over the last axis; states are (n_sections, ..., 2)."""
    states = []
    for i in range(sos.shape[0]):
        b, a = sos[i, :3] / sos[i, 3:4], sos[i, 3:] / sos[i, 3:4]
        x, state = _filtered(b, a, x, None if zi is None else zi[i])
        states.append(state)
    return x, states


@signal
def sosfilt(sos: ArrayLike, x: ArrayLike, axis: int = -1, zi: ArrayLike | None = None) -> Any:
    """`x`, filtered along `axis` by sections of second order: `sos` is (n_sections, 6), of each b's and a's three coefficients.

    With `zi`, of shape (n_sections, ..., 2, ...) with 2 in place of x's `axis`, also what the delays hold afterwards.

    >>> sosfilt([[0.5, 0.0, 0.0, 1.0, -0.5, 0.0]], np.array([1.0, 0.0, 0.0])).tolist()
    [0.5, 0.25, 0.125]
    """
    sos = _sections("sosfilt", sos)
    x = floating(x)
    axis = axis % len(x.shape)
    x = moved_last(x, axis)
    if zi is None:
        return np.moveaxis(_in_sections(sos, x, None)[0], -1, axis)
    zi = floating(zi)
    zi = np.moveaxis(zi, axis + 1, -1) if len(zi.shape) == len(x.shape) + 1 else zi
    if zi.shape != (sos.shape[0], *x.shape[:-1], 2):
        raise ShapeError(
            f"sosfilt{at(user_source())}: for {sos.shape[0]} sections zi must be (n_sections, ..., 2) with the axis put last, got "
            f"{type_of(zi)} for x of {type_of(x)}"
        )
    y, states = _in_sections(sos, x, zi)
    return np.moveaxis(y, -1, axis), np.moveaxis(np.stack(states), -1, axis + 1)


@signal
def sosfilt_zi(sos: ArrayLike) -> Array:
    """What the delays of `sosfilt` hold after a step of height 1 that has been there for ever, (n_sections, 2).

    >>> sosfilt_zi([[0.5, 0.0, 0.0, 1.0, -0.5, 0.0]]).tolist()
    [[0.5, 0.0]]
    """
    sos = _sections("sosfilt_zi", sos)
    states, scale = [], np.ones((), sos.dtype)
    for i in range(sos.shape[0]):
        b, a = sos[i, :3], sos[i, 3:]
        states.append(scale * lfilter_zi(b, a))
        scale = scale * (np.sum(b) / np.sum(a))
    return np.stack(states)


@signal
def sosfiltfilt(
    sos: ArrayLike, x: ArrayLike, axis: int = -1, padtype: str | None = "odd", padlen: int | None = None
) -> Array:
    """`filtfilt` by sections of second order. `padlen` is by default three for each of the 2 * n_sections + 1 coefficients, less those
    at the end that are zero in all numerators or denominators, which of a traced `sos` cannot be known.

    >>> sosfiltfilt([[0.5, 0.0, 0.0, 1.0, -0.5, 0.0]], np.ones(8)).round(9).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    given = as_array(sos)
    sos = _sections("sosfiltfilt", sos)
    x = moved_last(floating(x), axis)
    taps = 2 * sos.shape[0] + 1
    if isinstance(given, np.ndarray) and type(given) is np.ndarray:
        taps -= int(min(np.sum(given[:, 2] == 0), np.sum(given[:, 5] == 0)))
    edge, x = _edge("sosfiltfilt", x, padtype, padlen, taps)
    zi = np.reshape(sosfilt_zi(sos), (sos.shape[0], *(1,) * (len(x.shape) - 1), 2))
    return np.moveaxis(_both_ways(lambda x, zi: _in_sections(sos, x, zi)[0], zi, x, edge), -1, axis)
