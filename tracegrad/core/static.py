"""Static values, those that a trace is made for: told apart by all that Python code can tell apart in them."""

from __future__ import annotations

import dataclasses
import struct
from collections import defaultdict
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.types import number_kind

# What `==` tells apart by itself, once the type is known.
_PLAIN = frozenset([str, bytes, int, bool, type(None), type])


def frozen(x: Any, transform: str = "jit") -> Any:
    """Something hashable that is equal for static arguments of the same value: of lists, dicts, sets, dataclasses and
    arrays too, which are not hashable themselves. `1`, `1.0` and `True` differ, and so do `0.0` and `-0.0`; a NaN is itself.

    Containers and arrays are looked into at each call, to their last element. What else there is has an `==` and a hash
    of its own: changes that those do not show are not seen.
    """
    kind = type(x)
    if kind in _PLAIN:
        return kind, x
    if isinstance(x, float):
        return kind, struct.pack("d", x)
    if isinstance(x, complex):
        return kind, struct.pack("dd", x.real, x.imag)
    if isinstance(x, ndarray | np.generic):
        return _frozen_array(x, transform)
    if isinstance(x, list | tuple):
        return (kind, _attributes(x, transform), *[frozen(item, transform) for item in x])
    if isinstance(x, dict):
        made = x.default_factory if isinstance(x, defaultdict) else None
        items = [(frozen(k, transform), frozen(v, transform)) for k, v in x.items()]
        return (kind, made, _attributes(x, transform), *items)
    if isinstance(x, set | frozenset):
        return kind, _attributes(x, transform), frozenset([frozen(item, transform) for item in x])
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return (kind, *[frozen(getattr(x, f.name), transform) for f in dataclasses.fields(x)])
    if isinstance(x, slice):
        return kind, frozen((x.start, x.stop, x.step), transform)
    if isinstance(x, range):  # equal ranges may end elsewhere
        return kind, x.start, x.stop, x.step
    try:
        hash(x)
    except TypeError:
        raise TypeError(
            f"a static argument of {transform}{at(user_source())} must be hashable, or made of lists, dicts, sets, dataclasses "
            f"and arrays; got {clip(repr(x))} of type {kind.__name__}"
        ) from None
    return kind, x


def _frozen_array(x: Any, transform: str) -> Any:
    """Type, layout and bytes; of dtypes whose bytes are addresses, the objects that stand there."""
    dtype = x.dtype
    layout = x.strides if isinstance(x, ndarray) else ()
    content = frozen(x.tolist(), transform) if dtype.hasobject or number_kind(dtype) == "T" else x.tobytes()
    return type(x), dtype, x.shape, layout, content, _attributes(x, transform)


def _attributes(x: Any, transform: str) -> Any:
    """What an instance of a subclass has besides: the mask of a masked array, say."""
    found = getattr(x, "__dict__", None)
    return frozen(dict(found), transform) if found else None


def exact(details: list[Any]) -> tuple[Any, ...]:
    """The details of a structure (`PyTreeDef.details`) as something that is equal for equal ones only."""
    return tuple([d if type(d) is tuple and _STRING.issuperset(map(type, d)) else frozen(d) for d in details])


_STRING = frozenset([str])
