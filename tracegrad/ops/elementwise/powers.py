"""Powers of absolute values, whose derivatives are what they are at zero too, where those of |x| by the chain rule are not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array, bind
from tracegrad.ops.elementwise.products import multiply_keeping_zeros
from tracegrad.ops.elementwise.samples import binary_samples
from tracegrad.ops.families import elementwise, promoted, ufunc_type
from tracegrad.typing import Array, ArrayLike


def _power(x: Any, p: Any, odd: bool, logs: int) -> Any:
    dtype = promoted(np.logaddexp, x, p)
    return quietly(("all",), _at, np.asarray(x, dtype), np.asarray(p, dtype), odd, logs)


def _at(x: Any, p: Any, odd: bool, logs: int) -> Any:
    size = np.absolute(x)
    found = np.power(size, p)
    if logs:
        found = np.where((size == 0) & (p > 0), found, found * np.log(size) ** logs)[()]
    return np.sign(x) * found if odd else found[()]


def _samples() -> Iterable[Sample]:
    for odd, logs in ((False, 0), (True, 0), (True, 1)):
        for s in binary_samples(0.4, 2, 0.5, 3)():
            yield Sample((-s.inputs[0], s.inputs[1]), {"odd": odd, "logs": logs})


def _in_x(d: Any, out: Any, x: Any, p: Any, odd: bool, logs: int) -> Any:
    """The derivative of an even function is odd, and of an odd one even. What is constant has none, at zero either."""
    found = multiply_keeping_zeros(p, _bound(x, p - 1, not odd, logs))
    return d * (found + logs * _bound(x, p - 1, not odd, logs - 1) if logs else found)


# |x|**p log(|x|)**n, of which derivatives in both are sums of such.
_absolute_power_op: Op = elementwise(
    "absolute_power", _power, _in_x, lambda d, out, x, p, odd, logs: d * _bound(x, p, odd, logs + 1), infer=ufunc_type(np.logaddexp), kinds="f",
    samples=_samples,
)  # fmt: skip


def _bound(x: Any, p: Any, odd: bool, logs: int) -> Any:
    return bind(_absolute_power_op, (x, p), {"odd": odd, "logs": logs})


def absolute_power(x: ArrayLike, p: ArrayLike, odd: bool = False) -> Array:
    """|x|**p, or with `odd` that with the sign of x. Its derivatives are right at zero: of |x|**2 the second is 2, of |x|**1.5 infinite.

    >>> float(absolute_power(-2.0, 3.0)), float(absolute_power(-2.0, 3.0, odd=True))
    (8.0, -8.0)
    """
    return _bound(as_array(x), as_array(p), odd, 0)
