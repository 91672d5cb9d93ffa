"""Static values, those that a trace is made for: told apart by all that Python code can tell apart in them. They are the static
arguments, and the aux data of trees."""

from __future__ import annotations

import copy
import dataclasses
import struct
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.types import number_kind
from tracegrad.tree import PyTreeDef

# What `==` tells apart by itself, once the type is known.
_PLAIN = frozenset([str, bytes, int, bool, type(None), type])


def frozen(x: Any, what: str = "a static argument of jit") -> Any:
    """Something hashable that is equal for static values of the same kind and value: of lists, dicts, sets, dataclasses and
    arrays too, which are not hashable themselves. `1`, `1.0` and `True` differ, and so do `0.0` and `-0.0`; a NaN is itself.

    Containers and arrays are looked into at each call, to their last element. What else there is has an `==` and a hash
    of its own: changes that those do not show are not seen. `what` is what an error calls the value.
    """
    kind = type(x)
    if kind in _PLAIN:
        return kind, x
    if isinstance(x, float):
        return kind, struct.pack("d", x)
    if isinstance(x, complex):
        return kind, struct.pack("dd", x.real, x.imag)
    if isinstance(x, ndarray | np.generic):
        return _frozen_array(x, what)
    if isinstance(x, list | tuple):
        return (kind, _attributes(x, what), *[frozen(item, what) for item in x])
    if isinstance(x, dict):
        made = x.default_factory if isinstance(x, defaultdict) else None
        items = [(frozen(k, what), frozen(v, what)) for k, v in x.items()]
        return (kind, made, _attributes(x, what), *items)
    if isinstance(x, set | frozenset):
        return kind, _attributes(x, what), frozenset([frozen(item, what) for item in x])
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return (kind, *[frozen(getattr(x, f.name), what) for f in dataclasses.fields(x)])
    if isinstance(x, slice):
        return kind, frozen((x.start, x.stop, x.step), what)
    if isinstance(x, range):  # equal ranges may end elsewhere
        return kind, x.start, x.stop, x.step
    try:
        hash(x)
    except TypeError:
        raise TypeError(
            f"{what}{at(user_source())} must be hashable, or made of lists, dicts, sets, dataclasses "
            f"and arrays; got {clip(repr(x))} of type {kind.__name__}"
        ) from None
    return kind, x


def _frozen_array(x: Any, what: str) -> Any:
    """Type, layout and bytes; of dtypes whose bytes are addresses, the objects that stand there."""
    dtype = x.dtype
    layout = x.strides if isinstance(x, ndarray) else ()
    content = frozen(x.tolist(), what) if dtype.hasobject or number_kind(dtype) == "T" else x.tobytes()
    return type(x), dtype, x.shape, layout, content, _attributes(x, what)


def _attributes(x: Any, what: str) -> Any:
    """What an instance of a subclass has besides: the mask of a masked array, say."""
    found = getattr(x, "__dict__", None)
    return frozen(dict(found), what) if found else None


# ---------------------------------------------------------------------------------------------------------------------
# Structures of trees.


def key_of(structure: PyTreeDef) -> tuple[PyTreeDef, tuple[Any, ...]]:
    """What is hashable and equal for equal structures only: one that is equal for the same keys and types of nodes, and the
    details in which it may differ (`PyTreeDef.details`), aux data that are not hashable among them."""
    details = structure.details()
    if all([type(d) is tuple and _STRING.issuperset(map(type, d)) for d in details]):
        return structure, tuple(details)
    if not all(map(_is_hashable, details)):
        structure = structure.with_data(lambda data: data if _is_hashable(data) else ...)
    try:
        return structure, tuple([frozen(d, "aux data (meta_fields) of a registered type") for d in details])
    except TypeError as error:
        raise TypeError(f"{error}, in {clip(repr(structure))}") from None


_STRING = frozenset([str])


def kept(structure: PyTreeDef) -> PyTreeDef:
    """A structure for what outlives the call. Its aux data stay as they are, and each tree that it makes has its own, where
    they are lists, dicts and the like, which may be written into."""
    return structure if all(map(_is_hashable, structure.details())) else _Kept.of(structure)


class _Kept(PyTreeDef):
    __slots__ = ()

    @classmethod
    def of(cls, structure: PyTreeDef) -> _Kept:
        own = structure.with_data(_own)
        return cls(own._spec, own._num_leaves)

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        return self.with_data(_own).unflatten(leaves)


class Keyed:
    """A structure as aux data for jax's trees, which hash and compare these."""

    __slots__ = ("_key", "structure")

    def __init__(self, structure: PyTreeDef) -> None:
        self.structure = kept(structure)
        self._key = key_of(structure)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyed) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return repr(self.structure)


def _is_hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


def _own(x: Any) -> Any:
    """A copy of what `frozen` looks into, down to what is hashable, which stays itself."""
    if _is_hashable(x):
        return x
    if isinstance(x, tuple):
        items = [_own(item) for item in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if not isinstance(x, list | dict | set | ndarray) and not dataclasses.is_dataclass(x):
        return x
    made: Any = copy.copy(x)
    if isinstance(x, list):
        made[:] = [_own(item) for item in x]
    elif isinstance(x, dict):
        made.update([(k, _own(item)) for k, item in x.items()])
    elif dataclasses.is_dataclass(x):
        for field in dataclasses.fields(x):
            object.__setattr__(made, field.name, _own(getattr(x, field.name)))
    return made
