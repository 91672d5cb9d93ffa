"""What looks at the memory of arrays: another dtype for the same bytes, and whether two arrays share any."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from tracegrad.core.errors import REASONS, UnsupportedFunctionError, at, user_source
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer, present
from tracegrad.core.types import number_kind
from tracegrad.core.views import place_of
from tracegrad.ops.bits import bitcast_convert_type
from tracegrad.ops.elementwise.parts import complex_op
from tracegrad.ops.families import implements
from tracegrad.typing import ArrayLike, DType


@implements(np.shares_memory)
def shares_memory(a: ArrayLike, b: ArrayLike, /, max_work: int | None = None) -> bool:
    """Whether writing into one of the arrays would change the other. A traced array has memory of its own, or that of a traced array
    which it is a view of.

    >>> shares_memory(np.zeros(3), np.zeros(3))
    False
    """
    if not isinstance(a, Tracer) or not isinstance(b, Tracer) or a.origin is not b.origin:
        return False
    one, other = place_of(a), place_of(b)
    return one.memory is other.memory and np.shares_memory(one.layout, other.layout)


@implements(np.may_share_memory)
def may_share_memory(a: ArrayLike, b: ArrayLike, /, max_work: int | None = None) -> bool:
    """What `shares_memory` says, which is exact of traced arrays.

    >>> may_share_memory(np.zeros(3), np.zeros(3))
    False
    """
    return shares_memory(a, b)


def _view(x: Tracer, dtype: DType = None, type: Any = None) -> Any:
    """`x.view(dtype)`: the same bytes as numbers of another dtype, of the same size and without a derivative; without a dtype, the same
    array."""
    if isinstance(dtype, builtins.type) and issubclass(dtype, np.ndarray):
        dtype, type = None, dtype
    if type not in (None, np.ndarray):
        raise UnsupportedFunctionError(
            f"x.view({type.__name__}){at(user_source())} of {x.described()} is not traced.\n"
            f"  {REASONS['asmatrix'] if issubclass(type, np.matrix) else 'What is traced is a plain ndarray: write x.'}"
        )
    new, old = np.dtype(x.dtype if dtype is None else dtype), x.dtype
    if new == old:
        return x[...]
    kinds = number_kind(old) + number_kind(new)
    if new.itemsize == old.itemsize and not set(kinds) - set("iuf"):
        return bitcast_convert_type(present(x), new)
    fix = "tg.lax.bitcast_convert_type(x, dtype) divides and merges integers and floats along a last axis"
    if kinds == "fc":
        fix = "write x[..., 0::2] + 1j * x[..., 1::2], which has a derivative"
    elif kinds == "cf":
        fix = "write np.stack([x.real, x.imag], -1).reshape(*x.shape[:-1], -1), which has a derivative"
    elif "b" in kinds:
        fix = "write x != 0, or x.astype(dtype)"
    raise UnsupportedFunctionError(
        f"x.view({new}){at(user_source())} of {x.described()}: only a dtype of integers or floats of the same size is traced.\n"
        f"  In place of it, {fix}."
    )


def _byteswap(x: Tracer, inplace: bool = False) -> Any:
    """`x.byteswap()`: the bytes of each element the other way round. No derivative."""
    if inplace:
        raise UnsupportedFunctionError(
            f"x.byteswap(inplace=True){at(user_source())} of {x.described()} is not traced; write x = x.byteswap()"
        )
    x = present(x)
    if x.dtype.itemsize == 1:
        return x.copy()
    if number_kind(x.dtype) == "c":
        return bind(complex_op, (_byteswap(np.real(x)), _byteswap(np.imag(x))))
    return bitcast_convert_type(bitcast_convert_type(x, np.uint8)[..., ::-1], x.dtype)


for _name, _method in (("view", _view), ("byteswap", _byteswap)):
    FUNCTIONS[f"x.{_name}()"] = _method
