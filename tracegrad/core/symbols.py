"""Sizes that know how they are made of the sizes of named axes, so that one trace says what a program is at any.

While such a trace is open, the shapes of its tracers hold `Symbol`s, for this library too: numbers with the value that they have at the
sizes traced at, and what they are as a polynomial of the names, and of quotients and remainders of such. They note each comparison, and
how it came out: where it would come out otherwise, the trace says nothing. And they note where one was made a plain number, by whomever
(`np.zeros(n)`, `len(x)`, `range(n)`): then nothing is known of what became of it, and the trace holds for these sizes alone.
"""

from __future__ import annotations

import itertools
import operator
import re
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import sizing, traces_here
from tracegrad.core.errors import user_source
from tracegrad.core.functions import UFUNCS
from tracegrad.core.op import OPS
from tracegrad.core.plain import PLAIN
from tracegrad.core.sizes import Comparison, Notes, Size, has_own_ufunc, is_ours, number_of
from tracegrad.core.trace import bind, new_level, strengthened
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, type_of

# A product: names of sizes, and quotients and remainders, in order.
Term = tuple[Any, ...]


class Polynomial:
    """A whole number at any sizes: a sum of multiples of products. Equal to one that is the same sum.

    >>> n = Polynomial.named("N")
    >>> double = n.plus(n)
    >>> double.at({"N": 5}), double.divided(operator.floordiv, Polynomial.plain(2)) == n
    (10, True)
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Term, int]) -> None:
        self.terms = {t: c for t, c in terms.items() if c}
        self._hash = hash(frozenset(self.terms.items()))

    @staticmethod
    def plain(number: int) -> Polynomial:
        return Polynomial({(): int(number)})

    @staticmethod
    def named(name: str) -> Polynomial:
        return Polynomial({(name,): 1})

    def plus(self, other: Polynomial, times: int = 1) -> Polynomial:
        found = dict(self.terms)
        for t, c in other.terms.items():
            found[t] = found.get(t, 0) + times * c
        return Polynomial(found)

    def times(self, other: Polynomial) -> Polynomial:
        found: dict[Term, int] = {}
        for t, c in self.terms.items():
            for u, d in other.terms.items():
                product = tuple(sorted((*t, *u), key=str))
                found[product] = found.get(product, 0) + c * d
        return Polynomial(found)

    def divided(self, compute: Callable[[int, int], int], other: Polynomial) -> Polynomial:
        """The quotient or the remainder: without one where it is known, or else as something new."""
        exact = self._quotient(other)
        if exact is not None:
            return exact if compute is operator.floordiv else Polynomial({})
        return Polynomial({(Division(compute, self, other),): 1})

    def _quotient(self, other: Polynomial) -> Polynomial | None:
        """What multiplies a single product to these, if anything does."""
        if len(other.terms) != 1:
            return None
        ((divisor, by),) = other.terms.items()
        if not all([type(factor) is str for factor in divisor]):
            return None  # which may be zero at some sizes
        found: dict[Term, int] = {}
        for t, c in self.terms.items():
            left = list(t)
            for factor in divisor:
                if factor not in left:
                    return None
                left.remove(factor)
            if c % by:
                return None
            found[tuple(left)] = c // by
        return Polynomial(found)

    @property
    def constant(self) -> int | None:
        """The number that it is at all sizes, None if it depends on them."""
        return None if any(self.terms) else self.terms.get((), 0)

    def at(self, sizes: Mapping[str, int]) -> int:
        total = 0
        for t, c in self.terms.items():
            for factor in t:
                c *= sizes[factor] if type(factor) is str else factor.at(sizes)
            total += c
        return total

    def __eq__(self, other: object) -> bool:
        return type(other) is Polynomial and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return " + ".join(["*".join(map(str, [c, *t])) for t, c in self.terms.items()]) or "0"


class Division:
    """A quotient or a remainder of two numbers."""

    __slots__ = ("_key",)

    def __init__(self, compute: Callable[[int, int], int], left: Polynomial, right: Polynomial) -> None:
        self._key = compute, left, right

    def at(self, sizes: Mapping[str, int]) -> int:
        compute, left, right = self._key
        return compute(left.at(sizes), right.at(sizes))

    def __eq__(self, other: object) -> bool:
        return type(other) is Division and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        compute, left, right = self._key
        return f"{compute.__name__}({left}, {right})"


class Made(NamedTuple):
    """An array that was made of sizes, and by what."""

    array: Any
    make: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def at(self, sizes: Mapping[str, int]) -> Any:
        return _immutable(self.make(*[_number_at(x, sizes) for x in self.args], **self.kwargs))


def _number_at(x: Any, sizes: Mapping[str, int]) -> Any:
    if type(x) is tuple:
        return tuple([_number_at(n, sizes) for n in x])
    return x.polynomial.at(sizes) if type(x) is Symbol else x


def _number_here(x: Any) -> Any:
    return tuple(map(_number_here, x)) if type(x) is tuple else x.value if type(x) is Symbol else x


def _immutable(array: Any) -> Any:
    array.flags.writeable = False
    return array


class SymbolNotes(Notes):
    """What happened to the sizes of one such trace. Comparisons of this library's stand by themselves."""

    in_shapes = True

    def __init__(self) -> None:
        super().__init__()
        self.ours: dict[tuple[Any, Polynomial], Comparison] = {}
        self.marks: dict[Symbol, str] = {}  # how texts have them
        self.made: dict[int, Made] = {}
        self.level = new_level()

    def trace(self) -> Any:
        """The trace that these are of."""
        return next(t for t in traces_here() if t.level > self.level)

    def recorded(self, op: Any, inputs: Sequence[Any], params: Mapping[str, Any]) -> Any:
        if op.multiple_results or not has_symbol((*inputs, *params.values())):
            return None
        trace = self.trace()
        inputs = tuple([trace.copy_of(x) if type(x) is np.ndarray else x for x in inputs])
        out = Tracer(trace, None, user_source(), op.infer([type_of(x) for x in inputs], params))
        trace.record((op, inputs, inputs, params, out, (), None))
        return out


class Symbol(Size):
    """A size, or a number made of such."""

    __slots__ = ("__weakref__", "polynomial")
    notes: SymbolNotes
    polynomial: Polynomial

    def __new__(cls, value: Any, notes: Any = None, polynomial: Any = None) -> Any:
        return object.__new__(cls) if notes is not None else int(value)

    def __init__(self, value: int, notes: SymbolNotes, polynomial: Polynomial) -> None:
        super().__init__(value, notes)
        self.polynomial = polynomial

    def _plain(self) -> int:
        self.notes.plain.append((self.value, user_source()))
        return self.value

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        others = [x for x in inputs if type(x) is not Symbol]
        if method != "__call__" or kwargs or any(map(has_own_ufunc, others)) or UFUNCS.get(ufunc) is None:
            return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)
        if all([type(x) in PYTHON_SCALARS for x in others]):
            inputs = (strengthened(inputs[0]), *inputs[1:])
        return bind(UFUNCS[ufunc], inputs)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(int, name):
            raise AttributeError(name)
        return getattr(self._plain(), name)

    def _compared(self, compare: Callable[[Any, Any], bool], number: Any) -> bool:
        value = number.value if type(number) is Symbol else number
        other = polynomial_of(number, self.notes)
        if other is None:
            return compare(self._plain(), value)
        found = compare(self.value, value)
        if self.polynomial.plus(other, -1).constant is None:
            note = Comparison(compare, self.polynomial, other, found, user_source())
            if is_ours(sys._getframe(2)):
                self.notes.ours.setdefault((compare, self.polynomial.plus(other, -1)), note)
            else:
                self.notes.used.append(note)
        return found

    def __hash__(self) -> int:
        """To this library's dicts the sizes of a trace are none but themselves."""
        if is_ours(sys._getframe(1)):
            return hash((id(self.notes), self.polynomial))
        return hash(self._plain())

    def __neg__(self) -> Any:
        return _made(self.notes, -self.value, Polynomial({}).plus(self.polynomial, -1))

    def __invert__(self) -> Any:
        return -self - 1

    def __pow__(self, power: Any, modulus: Any = None) -> Any:
        if type(power) is int and 0 <= power <= 8 and modulus is None:
            found = Polynomial.plain(1)
            for _ in range(power):
                found = found.times(self.polynomial)
            return _made(self.notes, self.value**power, found)
        if modulus is None and number_of(power) is not None:
            return bind(UFUNCS[np.power], (self, power))
        return super().__pow__(power, modulus)

    def __truediv__(self, other: Any) -> Any:
        return NotImplemented if number_of(other) is None else bind(UFUNCS[np.true_divide], (self, other))

    def __rtruediv__(self, other: Any) -> Any:
        return NotImplemented if number_of(other) is None else bind(UFUNCS[np.true_divide], (other, self))


def symbol(name: str, value: int, notes: SymbolNotes) -> Any:
    """The size of a named axis, for a trace at this value."""
    return Symbol(value, notes, Polynomial.named(name))


def _made(notes: SymbolNotes, value: int, polynomial: Polynomial) -> Any:
    """A number, plain where it depends on no size."""
    return value if polynomial.constant is not None else Symbol(value, notes, polynomial)


def polynomial_of(x: Any, notes: Notes) -> Polynomial | None:
    """A whole number as a polynomial, where it is a plain one, or one of the same trace's."""
    if type(x) is Symbol:
        return x.polynomial if x.notes is notes else None
    return Polynomial.plain(x) if isinstance(x, int) else None


# ---------------------------------------------------------------------------------------------------------------------
# What NumPy and Python do with sizes where nobody sees it, for this library.


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's, of shapes with sizes in them too."""
    if not (sizing and has_symbol(shapes)):
        return np.broadcast_shapes(*shapes)
    found: list[int] = []
    for sizes in itertools.zip_longest(*[reversed(shape) for shape in shapes], fillvalue=1):
        wide = [n for n in sizes if n != 1]
        if any([n != wide[0] for n in wide[1:]]):
            raise ValueError("shape mismatch: objects cannot be broadcast to a single shape")
        found.append(wide[0] if wide else 1)
    return tuple(reversed(found))


def slice_indices(start: int | None, stop: int | None, step: int | None, size: int) -> tuple[int, int, int]:
    """`slice(start, stop, step).indices(size)`, of sizes too."""
    if not (sizing and has_symbol((start, stop, step, size))):
        return slice(start, stop, step).indices(size)
    stride = 1 if step is None else step
    if stride == 0:
        raise ValueError("slice step cannot be zero")
    low, high = (0, size) if stride > 0 else (-1, size - 1)

    def clipped(bound: int | None, otherwise: int) -> int:
        if bound is None:
            return otherwise
        if bound < 0:
            bound = bound + size
            return low if bound < low else bound
        return high if bound > high else bound

    return clipped(start, low if stride > 0 else high), clipped(stop, high if stride > 0 else low), stride


def range_length(start: int, stop: int, step: int) -> int:
    """`len(range(start, stop, step))`, of sizes too."""
    if not (sizing and has_symbol((start, stop, step))):
        return len(range(start, stop, step))
    if step > 0:
        return (stop - start + step - 1) // step if start < stop else 0
    return (start - stop - step - 1) // -step if start > stop else 0


def made_of_sizes(make: Callable[..., Any], shape: tuple[int, ...], *args: Any, **kwargs: Any) -> Any:
    """`make(*args, **kwargs)`, an array of this shape. Of sizes it is a constant of the trace, which is made anew for others."""
    if not (sizing and has_symbol(args)):
        return make(*args, **kwargs)
    notes = sizing[threading.get_ident()]
    array = _immutable(make(*map(_number_here, args), **kwargs))
    notes.made[id(array)] = Made(array, make, args, kwargs)
    trace = notes.trace()
    out = Tracer(trace, None, user_source(), ArrayType(shape, array.dtype))
    trace.record((OPS["copy"], (array,), (array,), {"order": "K"}, out, (), None))
    return out


def numbers_up_to(count: int) -> Any:
    """`np.arange(count)`, of a size too."""
    return made_of_sizes(np.arange, (count,), 0, count, 1, np.intp)


def as_index(x: Any) -> int:
    """`operator.index`, which leaves sizes as they are."""
    return x if type(x) is Symbol else operator.index(x)  # type: ignore[return-value]


def text_of(number: Any) -> str:
    """A number as a text, from which `number_in` has it again."""
    if type(number) is not Symbol:
        return str(number)
    marks = number.notes.marks
    mark = marks.setdefault(number, f"\ue000{next(_marks)}\ue001")
    _MARKED[mark] = number
    return mark


def number_in(text: str) -> int:
    """The number that a text is."""
    found: int = _MARKED[text] if text[0] == "\ue000" else int(text)  # type: ignore[assignment]
    return found


def text_at(text: str, sizes: Mapping[str, int]) -> str:
    """A text with numbers in place of sizes."""
    return _MARK.sub(lambda found: str(_MARKED[found[0]].polynomial.at(sizes)), text) if "\ue000" in text else text


_marks = itertools.count()
_MARK = re.compile("\ue000\\d+\ue001")
_MARKED: weakref.WeakValueDictionary[str, Symbol] = weakref.WeakValueDictionary()


def has_symbol(x: Any) -> bool:
    """Whether there is a size in nested tuples."""
    return any(map(has_symbol, x)) if type(x) is tuple else type(x) is Symbol


# ---------------------------------------------------------------------------------------------------------------------
# Operators.

_COMBINED: dict[str, Callable[[Polynomial, Polynomial], Polynomial]] = {
    "add": Polynomial.plus,
    "sub": lambda a, b: a.plus(b, -1),
    "mul": Polynomial.times,
    "floordiv": lambda a, b: a.divided(operator.floordiv, b),
    "mod": lambda a, b: a.divided(operator.mod, b),
}


def _operator(name: str, reflected: bool) -> Callable[[Symbol, Any], Any]:
    compute, combine = getattr(operator, name), _COMBINED[name]

    def method(self: Symbol, other: Any) -> Any:
        number = number_of(other)
        if number is None:
            return NotImplemented
        there = polynomial_of(other if type(other) is Symbol else number, self.notes)
        if there is None:
            return compute(number, self._plain()) if reflected else compute(self._plain(), number)
        if reflected:
            return _made(self.notes, compute(number, self.value), combine(there, self.polynomial))
        return _made(self.notes, compute(self.value, number), combine(self.polynomial, there))

    return method


def _comparison(name: str) -> Callable[[Symbol, Any], Any]:
    compare = getattr(operator, name)

    def method(self: Symbol, other: Any) -> Any:
        number = number_of(other)
        if number is None:
            return NotImplemented
        return self._compared(compare, other if type(other) is Symbol else number)

    return method


for _name in _COMBINED:
    for _prefix in ("", "r"):
        setattr(Symbol, f"__{_prefix}{_name}__", _operator(_name, bool(_prefix)))
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    setattr(Symbol, f"__{_name}__", _comparison(_name))

# To this library it is one of Python's ints.
PLAIN.add(Symbol)
PYTHON_SCALARS[Symbol] = PYTHON_SCALARS[int]
