"""What rules with `symbolic_zeros=True` get for tangents and cotangents that are zero, and for arguments that are perturbed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tracegrad.core.types import ArrayType, float0, is_inexact, type_of


class SymbolicZero:
    """What stands for a tangent or a cotangent that is zero, in rules with `symbolic_zeros=True`. It has the `shape` and
    `dtype` of what it belongs to (float0 for integers and booleans). Rules may return it, too.

    >>> import numpy as np, tracegrad as tg
    >>> zero = tg.custom_derivatives.zero_from_primal(np.ones((2, 3)))
    >>> zero.shape, zero.dtype.name
    ((2, 3), 'float64')
    """

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @classmethod
    def from_primal_value(cls, x: Any) -> SymbolicZero:
        """The zero that belongs to an array."""
        return symbolic_zero(type_of(x))

    def __repr__(self) -> str:
        return f"SymbolicZero({self.shape}, {self.dtype.name if self.dtype != float0 else 'float0'})"


def symbolic_zero(of: ArrayType) -> SymbolicZero:
    return SymbolicZero(of.shape, of.dtype if is_inexact(of.dtype) else float0)


@dataclasses.dataclass(frozen=True)
class CustomVJPPrimal:
    """A leaf of the arguments of `fwd` in rules with `symbolic_zeros=True`: its `value`, and whether a derivative with
    respect to it is `perturbed`, wanted."""

    value: Any
    perturbed: bool
