"""What the source of a function calls the variables, constants and functions in it."""

from __future__ import annotations

import keyword
import operator
from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np

from tracegrad.core.errors import name_of
from tracegrad.core.generated import Names, identifier, literal
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var
from tracegrad.core.op import Op
from tracegrad.core.show import all_letters
from tracegrad.core.types import PYTHON_SCALARS, number_kind

_SIGNS: dict[Any, str] = {
    operator.eq: "==", operator.ne: "!=", operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=",
}  # fmt: skip


_OPERATORS: dict[Any, str] = {np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/"}


class Words:
    """All of it has names of one `Names`; `helpers` are there besides the functions of ops, whose spellings may call these
    too. `heads` are lines that define constants, `mentioned` the variables that the line being written has in it so far."""

    def __init__(self, graph: Graph, helpers: Mapping[str, Any]) -> None:
        # An op's function has the op's name, which its spelling may speak of, where that can be; even if Python has it.
        functions = {_wanted(e.op): e.op.evaluate for e in graph.eqns}
        usable = {n: f for n, f in functions.items() if identifier(n) == n and not keyword.iskeyword(n)}
        self.names = Names({**usable, **helpers})
        self.variables: dict[Var, str] = {}
        self.heads: list[str] = []
        self.mentioned: list[str] = []
        self._letters = all_letters()
        self._given = {*graph.inputs, *graph.consts}  # which may be arrays without axes
        self._constants: dict[Any, str] = {}  # the names of constants by what they are

    def function(self, eqn: Eqn) -> str:
        """What the source calls the function of an equation."""
        if is_of_python(eqn):
            return self.names.bind(eqn.op.python, f"python_{eqn.op.name}", "op")
        return self.names.bind(eqn.op.evaluate, _wanted(eqn.op), "op")

    def name(self, atom: Atom) -> str:
        if type(atom) is Literal:
            return self.text(atom.value)
        assert type(atom) is Var
        found = self.variables.get(atom)
        if found is None:
            found = self.variables[atom] = self.names.fresh(next(self._letters))
        self.mentioned.append(found)
        return found

    def text(self, value: Any) -> str:
        """A static value in source, by name where it has no plain spelling."""
        found = literal(value)
        if found is not None:
            return found
        kind = type(value)
        if kind is float:
            return repr(value)  # inf, -inf or nan, which are among the helpers
        if kind is complex:  # whose repr loses the sign of a zero, and is no expression for infinities
            return f"as_complex({value.real!r}, {value.imag!r})"
        if isinstance(value, np.bool | np.number):
            return self.constant(value, value.dtype, as_scalar=True)
        if kind is tuple and all([type(x) in (bool, int, NoneType, Graph) for x in value]):
            return f"({', '.join([self.text(x) for x in value])}{',' if len(value) == 1 else ''})"
        return self.names.bind(value, value.name if kind is Graph else name_of(value, ""))

    def mentions(self) -> list[str]:
        """The variables that were named since the last call."""
        found, self.mentioned = self.mentioned, []
        return found

    def arguments(self, eqn: Eqn) -> list[str]:
        """The inputs of an equation; those of a ufunc with arrays for scalars, of the dtype that NumPy would convert them to,
        which takes a third less time."""
        ufunc: Any = eqn.op.evaluate
        has_literal = any([type(a) is Literal for a in eqn.inputs])
        if not isinstance(ufunc, np.ufunc) or not has_literal or all([a.type.weak for a in eqn.inputs]):
            return [self.name(a) for a in eqn.inputs]
        dtypes = ufunc.resolve_dtypes((*[a.type.promotion for a in eqn.inputs], *[None] * ufunc.nout))
        return [
            self.constant(a.value, dtype if a.type.weak else a.type.dtype)
            if type(a) is Literal and (not a.type.weak or _holds(dtype, a.value))
            else self.name(a)
            for a, dtype in zip(eqn.inputs, dtypes, strict=False)
        ]

    def comparison(self, eqn: Eqn) -> str:
        """How a NumPy scalar that is made on the way is compared with a number of Python's, if an equation does just that: by the
        operator, which takes a tenth of what the ufunc does."""
        sign = _SIGNS.get(eqn.op.python)
        if sign is None:
            return ""
        x, y = eqn.inputs
        number, made = (x, y) if type(x) is Literal else (y, x)
        if type(number) is not Literal or type(made) is not Var or made in self._given:
            return ""
        of, kind = made.type, type(number.value)
        if of.shape or of.weak or of.dtype.char not in "fdl":
            return ""
        is_exact = kind is int and abs(number.value) < 1 << 24
        if not is_exact and (kind is not float or of.dtype.char == "l"):
            return ""
        return f"{self.name(x)} {sign} {self.name(y)}"

    def arithmetic(self, eqn: Eqn) -> str:
        """How NumPy scalars that are made on the way are computed with, each other or numbers: by the operator, to the same bits."""
        sign = _OPERATORS.get(eqn.op.evaluate) if isinstance(eqn.op.evaluate, np.ufunc) else None
        if sign is None:
            return ""
        of = eqn.outputs[0].type
        if of.shape or of.weak or of.dtype.char not in "fd":
            return ""
        made = 0
        for a in eqn.inputs:
            if type(a) is Literal and a.type.weak:
                if type(a.value) is not float and (type(a.value) is not int or abs(a.value) >= 1 << 24):
                    return ""
            elif a.type.weak or a.type.dtype != of.dtype:
                return ""
            made += type(a) is Var and a not in self._given
        return f"{self.name(eqn.inputs[0])} {sign} {self.name(eqn.inputs[1])}" if made else ""

    def constant(self, value: Any, dtype: np.dtype[Any], as_scalar: bool = False) -> str:
        """The name of an array without axes, or of a scalar, that the source defines at its head, or that it is given
        where no text gives it to the last bit."""
        held = np.asarray(value, dtype)
        key = dtype, as_scalar, held.tobytes()
        found = self._constants.get(key)
        if found is not None:
            return found
        number: Any = held.item()
        if dtype.char in "ef" and np.asarray(short := float(str(held)), dtype) == held:
            number = short  # 0.1 in place of 0.10000000149011612
        suffix = "" if number_kind(dtype) in "fi" and dtype.itemsize == 8 else f"_{dtype.name}"
        prefix = "s" if as_scalar else "c"
        if dtype.isbuiltin != 1 or type(number) not in PYTHON_SCALARS:
            found = self.names.bind(held[()] if as_scalar else held, f"{prefix}{suffix}")
        else:
            text = self.text(number)
            plain = "".join([c if c.isalnum() else "m" if c == "-" else "_" for c in repr(number)])
            found = self.names.fresh(f"{prefix}{plain}{suffix}", prefix)
            if as_scalar:
                self.heads.append(f"{found} = {self.names.bind(dtype.type, dtype.name)}({text})")
            else:
                self.heads.append(f"{found} = array({text}, {dtype.name!r})")
        self._constants[key] = found
        return found


def _wanted(op: Op) -> str:
    """What the source is to call the function of an op."""
    return name_of(op.evaluate) if isinstance(op.evaluate, np.ufunc) else op.name


def _holds(dtype: np.dtype[Any], value: Any) -> bool:
    """Whether a Python number is one of the dtype. What NumPy does with another it decides where it runs: it compares it,
    or raises."""
    if number_kind(dtype) not in "iu":
        return number_kind(dtype) != "b" or type(value) is bool
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max)


def is_of_python(eqn: Eqn) -> bool:
    """Whether it is of Python scalars alone, and gives such."""
    return eqn.op.python is not None and all([a.type.weak for a in eqn.inputs])
