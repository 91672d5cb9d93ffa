"""How arrays go on beyond their ends, in scipy.ndimage's words, and of which dtype its results are."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.trace import as_array
from tracegrad.core.types import is_inexact, number_kind
from tracegrad.ops.elementwise import astype
from tracegrad.scipy.calling import refused

# scipy.ndimage's modes in np.pad's words. Those on the grid are their own where it interpolates.
PADDING: dict[str, Any] = {
    "reflect": "symmetric", "grid-mirror": "symmetric", "constant": "constant", "grid-constant": "constant", "nearest": "edge",
    "mirror": "reflect", "wrap": "wrap", "grid-wrap": "wrap",
}  # fmt: skip


def known_mode(mode: Any) -> str:
    if mode not in PADDING:
        raise ValueError(f"the boundary mode must be one of {', '.join(map(repr, PADDING))}, got {mode!r}")
    return str(mode)


def continued(x: Any, pads: Any, mode: str, cval: Any) -> Any:
    """With so many elements more before and after each axis."""
    if all([before == after == 0 for before, after in pads]):
        return x
    how: Any = {"constant_values": cval} if PADDING[mode] == "constant" else {}
    return np.pad(x, pads, PADDING[mode], **how)


def for_each_axis(given: Any, count: int, name: str) -> list[Any]:
    """One for each axis, of one for all or a sequence."""
    if isinstance(given, str) or given is None or len(np.shape(given)) == 0:
        return [given] * count
    found = list(given)
    if len(found) != count:
        raise ValueError(f"{name} must be one for all axes or one for each of {count}, got {len(found)}")
    return found


def checked_axes(axes: Any, ndim: int) -> list[int]:
    if axes is None:
        return list(range(ndim))
    found = [int(a) for a in np.atleast_1d(axes)]
    if any([not -ndim <= a < ndim for a in found]) or len({a % ndim for a in found}) < len(found):
        raise ValueError(f"axes must be different ones of {ndim}, got {axes!r}")
    return [a % ndim for a in found]


def output_dtype(name: str, output: Any, x: Any, *others: Any) -> np.dtype[Any]:
    """That of x if none is given, or complex where one of these is."""
    if output is None:
        given = x.dtype
    elif isinstance(output, str | type | np.dtype):
        given = np.dtype(output)
    else:
        raise refused(
            f"ndimage.{name}",
            "with an array for output",
            "Take its result, and give output= a dtype if it must have another than the input.",
        )
    if any([number_kind(v.dtype) == "c" for v in (x, *others)]):
        return np.dtype(np.result_type(given, np.complex64))
    return np.dtype(given)


def computed(x: Any) -> Any:
    """An array or tracer in the dtype that it is computed in: integers in float64."""
    x = as_array(x)
    return x if is_inexact(x.dtype) else astype(x, np.float64)


def as_output(x: Any, dtype: np.dtype[Any], rounded: bool = False) -> Any:
    """In the dtype of the result: integers cut off, or rounded."""
    if number_kind(dtype) in "iu":
        x = np.trunc(x + np.copysign(0.5, x)) if rounded else np.trunc(x)
    return x if x.dtype == dtype else astype(x, dtype)
