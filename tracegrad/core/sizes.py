"""Sizes that a program is to hold for all of: numbers that note what the user's code does with them.

A function is traced at some sizes, to find what it does at any (transforms/jit/sizes.py). What Python decides by a size is not in
the Graph. So while such a trace is open in a thread, whoever asks a tracer for its shape, but for this library, is told `Size`s,
and these write down, with the line: each comparison, and how it came out; each quotient and remainder, which are no polynomials; and
where one was made a plain number, of which nothing more is seen. A `Size` is no `int`, although it says so to `isinstance`: C looks
into an `int`, or what inherits from it, without asking.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType, MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import sizing
from tracegrad.core.errors import RawSource, is_of_a_library, ours, user_source


class Comparison(NamedTuple):
    """`left compare right` at a line of the user's, and whether it held."""

    compare: Callable[[Any, Any], bool]
    left: Any
    right: Any
    holds: bool
    source: RawSource


class Quotient(NamedTuple):
    """`left compute right`, where that is `//` or `%`, and what it was."""

    compute: Callable[[int, int], int]
    left: int
    right: int
    value: int
    source: RawSource


class Notes:
    """What happened to the sizes of one trace: comparisons and quotients, in order, and the plain numbers that were made of some."""

    made: Mapping[int, Any] = MappingProxyType({})  # constants made of sizes, by identity

    def recorded(self, op: Any, inputs: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """What an op makes of plain arrays, where its params hold sizes; None where they do not."""
        return None

    in_shapes = False  # whether the shapes of tracers hold sizes themselves, for this library too (`symbols.py`)

    def __init__(self) -> None:
        self.used: list[Comparison | Quotient] = []
        self.plain: list[tuple[int, RawSource]] = []


class Size:
    """A size, or a number that sums, differences, products, quotients and remainders of such and of whole numbers make."""

    __slots__ = ("notes", "value")
    notes: Notes
    value: int

    def __new__(cls, value: Any, notes: Notes | None = None) -> Any:
        """A plain number where the class of a size is called as `int` is, `type(n)(5)`."""
        return object.__new__(cls) if notes is not None else int(value)

    def __init__(self, value: int, notes: Notes) -> None:
        self.value = value
        self.notes = notes

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return int

    def _plain(self) -> int:
        """A plain number, which is noted if the user gets it, or what is made of it: not if this library asks for what it does to
        a tracer, whose shape says what became of it."""
        if _is_for_the_user(sys._getframe(2)):
            self.notes.plain.append((self.value, user_source()))
        return self.value

    def __index__(self) -> int:
        return self._plain()

    def __int__(self) -> int:
        return self._plain()

    def __float__(self) -> float:
        return float(self._plain())

    def __complex__(self) -> complex:
        return complex(self._plain())

    def __hash__(self) -> int:
        return hash(self._plain())

    def __repr__(self) -> str:
        return repr(self._plain())

    def __format__(self, spec: str) -> str:
        return format(self._plain(), spec)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._plain(), name)

    def __reduce__(self) -> Any:
        return int, (self._plain(),)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self._plain(), dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any([not issubclass(type(x), Size) and has_own_ufunc(x) for x in inputs]):
            return NotImplemented
        return getattr(ufunc, method)(*[x._plain() if issubclass(type(x), Size) else x for x in inputs], **kwargs)

    def _compared(self, compare: Callable[[Any, Any], bool], number: Any) -> bool:
        found = compare(self.value, number)
        if not is_ours(sys._getframe(2)):
            self.notes.used.append(Comparison(compare, self.value, number, found, user_source()))
        return found

    def __bool__(self) -> bool:
        return self._compared(operator.ne, 0)

    def __neg__(self) -> Size:
        return Size(-self.value, self.notes)

    def __pos__(self) -> Size:
        return self

    def __invert__(self) -> Size:
        return Size(~self.value, self.notes)

    def __abs__(self) -> Size:
        return self if self._compared(operator.ge, 0) else -self

    def __pow__(self, power: Any, modulus: Any = None) -> Any:
        if type(power) is int and power >= 0 and modulus is None:
            return Size(self.value**power, self.notes)
        other = number_of(power)
        return NotImplemented if other is None else pow(self._plain(), other, modulus)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __trunc__(self) -> Size:
        return self

    __floor__ = __ceil__ = __trunc__

    def __round__(self, digits: int | None = None) -> Any:
        return self if digits is None else round(self._plain(), digits)


def has_own_ufunc(x: Any) -> bool:
    return getattr(type(x), "__array_ufunc__", np.ndarray.__array_ufunc__) is not np.ndarray.__array_ufunc__


def number_of(x: Any) -> Any:
    """The plain number that an operand is, None if it is something else, whose operator it is then."""
    kind = type(x)
    if issubclass(kind, Size):
        return x.value
    if kind is int or kind is float or kind is bool or kind is complex:
        return x
    return x.item() if issubclass(kind, np.number | np.bool_) else None


def _operator(
    name: str, made: Callable[[Size, Any, tuple[int, int], int], Any] | None, reflected: bool
) -> Callable[[Size, Any], Any]:
    """An operator of whole numbers, of which `made` makes what it does of a size, both operands and the result; without it, and of
    other numbers, it is one of plain numbers."""
    compute = getattr(operator, name)

    def method(self: Size, other: Any) -> Any:
        number = number_of(other)
        if number is None:
            return NotImplemented
        is_seen = made is not None and isinstance(number, int)
        value = self.value if is_seen else self._plain()
        left, right = (number, value) if reflected else (value, number)
        found = compute(left, right)
        return made(self, compute, (left, right), found) if is_seen else found  # type: ignore[misc]

    return method


def _polynomial(size: Size, compute: Any, operands: tuple[int, int], found: int) -> Size:
    return Size(found, size.notes)


def _quotient(size: Size, compute: Any, operands: tuple[int, int], found: int) -> Size:
    size.notes.used.append(Quotient(compute, *operands, found, user_source()))
    return Size(found, size.notes)


def _comparison(name: str) -> Callable[[Size, Any], Any]:
    compare = getattr(operator, name)

    def method(self: Size, other: Any) -> Any:
        number = number_of(other)
        return NotImplemented if number is None else self._compared(compare, number)

    return method


for _names, _made in (
    (("add", "sub", "mul"), _polynomial),
    (("floordiv", "mod"), _quotient),
    (("truediv", "lshift", "rshift", "and_", "or_", "xor"), None),
):
    for _name in _names:
        for _prefix in ("", "r"):
            setattr(Size, f"__{_prefix}{_name.rstrip('_')}__", _operator(_name, _made, bool(_prefix)))
Size.__rpow__ = _operator("pow", None, True)  # type: ignore[attr-defined]
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    setattr(Size, f"__{_name}__", _comparison(_name))


# ---------------------------------------------------------------------------------------------------------------------
# Who is told, and who is not.


def is_ours(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return ours(file) or file.startswith("<tracegrad ")


def _is_for_the_user(frame: FrameType | None) -> bool:
    """Whether the call that leads to a frame is of something that knows no tracers. Where a library is called, the outermost frame that
    is its own tells: a function of this one's that was given a tracer makes tracers."""
    called = None
    while frame is not None and is_of_a_library(frame.f_code.co_filename):
        called = frame if is_ours(frame) else called
        frame = frame.f_back
    return called is None or not _has_tracer(list(called.f_locals.values()))


def _has_tracer(x: Any) -> bool:
    if issubclass(type(x), list | tuple):
        return any(map(_has_tracer, x))
    return _has_tracer(list(x.values())) if type(x) is dict else hasattr(type(x), "leak_text")


def _notes(asked_by: FrameType) -> Notes | None:
    """Where to note what the code of a frame does with a size, None if that does not matter, or sizes do so themselves."""
    notes = sizing.get(threading.get_ident())
    return None if notes is None or notes.in_shapes or is_ours(asked_by) else notes


def sized(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tracer for the caller of who calls this, while there is `sizing`."""
    notes = _notes(sys._getframe(2))
    return shape if notes is None else tuple([Size(n, notes) for n in shape])  # type: ignore[misc]


def told(n: int) -> int:
    """The same of one number."""
    notes = _notes(sys._getframe(2))
    return n if notes is None else Size(n, notes)  # type: ignore[return-value]


def counted(n: int) -> int:
    """The same of what must be plain, as `len` and what iteration goes along are."""
    notes = _notes(sys._getframe(2))
    if notes is not None:
        notes.plain.append((n, user_source()))
    return operator.index(n)


def as_sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape for anybody."""
    notes = sizing.get(threading.get_ident())
    return shape if notes is None or notes.in_shapes else tuple([Size(n, notes) for n in shape])  # type: ignore[misc]


def for_caller(found: Any) -> Any:
    """A shape or a size that is for anybody for the caller of who calls this: in plain numbers for this library."""
    if _notes(sys._getframe(2)) is not None or sizing[threading.get_ident()].in_shapes:
        return found
    return tuple(map(number_of, found)) if type(found) is tuple else number_of(found)


def made_of_a_size(arrays: Iterable[Any]) -> bool:
    """Whether a constant is among these that is another one at other sizes."""
    notes = sizing.get(threading.get_ident())
    return notes is not None and any([id(x) in notes.made for x in arrays])


def recorded_for_sizes(op: Any, inputs: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """What an op makes of plain arrays as a part of the program that is to hold for other sizes, None if it does not depend on them."""
    notes = sizing.get(threading.get_ident())
    return None if notes is None else notes.recorded(op, inputs, params)


def let_out(shapes: Iterable[tuple[int, ...]]) -> None:
    """Note that the user is told shapes in plain numbers."""
    notes = sizing.get(threading.get_ident())
    if notes is not None and not notes.in_shapes:
        source = user_source()
        notes.plain.extend([(n, source) for shape in shapes for n in shape])
