"""What a file has compared with the tree that is expected of it, leaf by leaf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.backends import xla
from tracegrad.core.errors import clip
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.types import PYTHON_SCALARS, dtype_name
from tracegrad.io.formats import dtype_text
from tracegrad.io.names import nearest
from tracegrad.io.structure import is_scalar

_ORDER = ("missing", "surplus", "shape", "dtype")
_COMPARED = 100_000  # pairs of names, above which finding the most alike would take seconds
_SHORT = {np.dtype(c).name: dtype_name(np.dtype(c)) for c in "?bhilqBHILQefdgFDG"}


class Difference(NamedTuple):
    """One way in which a file and the tree expected differ: `kind` is "missing" (in the file), "surplus", "shape" or
    "dtype"; `name` is the tensor's; what was expected and what the file has are as text, None where there is nothing;
    `nearest` is the most alike name on the other side, if one is."""

    kind: str
    name: str
    expected: str | None
    found: str | None
    nearest: str | None = None

    def __str__(self) -> str:
        near = f"; the nearest name is {self.nearest}" if self.nearest else ""
        if self.kind == "missing":
            return f"missing: {self.name}, expected {self.expected}{near}"
        if self.kind == "surplus":
            return f"surplus: {self.name}, {self.found} in the file{near}"
        return f"{self.kind}: {self.name} is {self.found} in the file, expected {self.expected}"


class MismatchError(ValueError):
    """A file whose tensors are not those of `like`; `differences` has them all, as `tg.io.Difference`."""

    def __init__(self, text: str, differences: Iterable[Difference] = ()) -> None:
        super().__init__(text)
        self.differences = list(differences)


class LeafType(NamedTuple):
    """What is compared of a leaf: the shape, the dtype as text, and the class of what is none of NumPy's."""

    shape: tuple[int, ...]
    dtype: str
    python: type | None = None

    def __str__(self) -> str:
        if self.python is not None:
            return f"a Python {self.python.__name__}"
        return f"{_SHORT.get(self.dtype, self.dtype)}[{','.join(map(str, self.shape))}]"

    @property
    def kind(self) -> str:
        """The kind of numbers, signed or not; that of text is "U"."""
        if self.python is not None:
            return next((PYTHON_SCALARS[c].kind for c in PYTHON_SCALARS if issubclass(self.python, c)), "U")
        return "f" if "float" in self.dtype else self.dtype.lstrip("<>|u")[0]


def type_of_leaf(x: Any) -> LeafType:
    """The type of a leaf of `like`, which need have no values; TypeError for what is none."""
    if is_scalar(x):
        return LeafType((), "", type(x))
    try:
        return LeafType(tuple(x.shape), dtype_text(np.dtype(x.dtype).newbyteorder("=")))
    except (AttributeError, TypeError):
        raise TypeError(
            f"{clip(repr(x))} of type {type(x).__name__}, where an array is wanted, a ShapeDtypeStruct, a number or a string"
        ) from None


def _difference(name: str, mine: LeafType, theirs: LeafType) -> Difference | None:
    """How a leaf of `like` and what the file has under its name differ. A Python number stands for any single one of its
    kind."""
    if mine == theirs:
        return None
    kind = "shape" if mine.shape != theirs.shape else "dtype"
    one_of_python = mine.python is not None or theirs.python is not None
    if kind == "dtype" and one_of_python and mine.kind == theirs.kind:
        return None
    return Difference(kind, name, str(mine), str(theirs))


def compared(wanted: Mapping[str, LeafType], found: Mapping[str, LeafType]) -> list[Difference]:
    """All that differs between the leaves of `like` and those of a file, by kind and name."""
    missing = [name for name in wanted if name not in found]
    surplus = [name for name in found if name not in wanted]
    few = len(missing) * len(surplus) <= _COMPARED
    differences = [
        *[Difference("missing", n, str(wanted[n]), None, nearest(n, surplus) if few else None) for n in missing],
        *[Difference("surplus", n, None, str(found[n]), nearest(n, missing) if few else None) for n in surplus],
        *[d for n in wanted if n in found and (d := _difference(n, wanted[n], found[n])) is not None],
    ]
    return sorted(differences, key=lambda d: (_ORDER.index(d.kind), d.name))


def mismatch(path: Path, differences: Iterable[Difference]) -> MismatchError:
    """The error that tells them."""
    lines = [f"  {difference}" for difference in differences]
    advice = "Rename what the file has, rename={'old.*': 'new.*'}, or take what fits, strict=False."
    return MismatchError("\n".join([f"{path} does not fit like:", *lines, advice]), differences)


def as_like(value: Any, like: Any) -> Any:
    """What a file has, as the kind of array that `like` is."""
    if is_jax_array(like):
        j = xla()
        with j.x64():
            return j.jax.device_put(j.array_of_our_own(np.asarray(value, like.dtype)), like.sharding)
    if is_scalar(like):
        return value
    array = np.asarray(value, like.dtype)
    return array[()] if isinstance(like, np.generic) else array
