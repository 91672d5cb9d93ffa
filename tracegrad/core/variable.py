"""What a tracer is and tells of itself: the trace it belongs to, what it stands for one level down, its type, and the texts of errors
about it. What is done with it stands in `operators.py` and `tracer.py`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy import ndarray

from tracegrad.core.context import sizing
from tracegrad.core.errors import RawSource, UnexpectedTracerError, at, resolve, user_source
from tracegrad.core.names import parameter_name
from tracegrad.core.numpy_warnings import watch
from tracegrad.core.refusals import FOLLOWED
from tracegrad.core.sizes import let_out, sized, told
from tracegrad.core.types import PYTHON_SCALARS, ArrayType, number_kind, type_of

# xarray keeps any array that it can call by NumPy's protocols, but makes plain ones of NumPy's numbers; scipy.sparse hands what is
# an ndarray to C.
_told_the_truth: tuple[str, ...] = ("xarray", "scipy.sparse")


def tell_the_truth_to(package: str) -> None:
    """Have code of this package see a tracer's own class, where others see that of what it stands for."""
    global _told_the_truth
    _told_the_truth = (*_told_the_truth, package)


def _class_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> type:
    """Of which class NumPy has an array of this type, or a number. Scalars of ml_dtypes ask whether what stands beside them in an
    operation is an instance of their class, and read its memory then, so nothing but them says that it is one."""
    return ndarray if shape else dtype.type if dtype.isbuiltin == 1 else np.generic


class Variable:
    """What is known of a tracer without doing anything with it. All that there are of these are `Tracer`s."""

    __slots__ = ("_type", "origin", "source", "state", "value")
    __array_priority__ = 1000.0
    __pandas_priority__ = 5000  # above a DataFrame's: `series * x` is ours to refuse, as `x * series` is

    origin: Any
    value: Any
    source: RawSource | int | None
    state: Any  # of a `Written`: the place in memory that it looks at; else there to tell an array without axes from a number

    def __init__(self, trace: Any, value: Any, source: Any, type: ArrayType | None = None) -> None:
        self.origin = trace
        self.value = value
        self.source = source
        self._type = type

    # What is known of the array.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """That of what it stands for, so that `isinstance` takes the branch that it takes for the value. (What is of one
        class with this library's tracers, `type(x)` tells.)"""
        if sys._getframe(1).f_globals.get("__name__", "").startswith(_told_the_truth):
            return type(self)
        value = self.value
        while isinstance(value, Variable):
            value = value.value
        if isinstance(value, ndarray) or type(value) in PYTHON_SCALARS:
            return type(value)
        if isinstance(value, np.generic):
            return _class_of(value.dtype, ())
        found = self.type
        if found.weak:
            return type(found.promotion()) if number_kind(found.dtype) != "b" else bool
        return _class_of(found.dtype, found.shape)

    @property
    def type(self) -> ArrayType:
        found = self._type
        if found is None:
            found = self._type = type_of(self.value)
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        value = self.value
        found = value.shape if type(value) is ndarray else self.type.shape
        return sized(found) if sizing else found

    @property
    def dtype(self) -> np.dtype[Any]:
        value = self.value
        return value.dtype if type(value) is ndarray else self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> int:
        found = self.type.size
        return told(found) if sizing else found

    @property
    def itemsize(self) -> int:
        return self.type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        found = self.size * self.itemsize
        return told(found) if sizing else found

    def _require_running(self) -> None:
        if self.origin.ended:
            raise UnexpectedTracerError(self.leak_text())

    # What a tracer tells of itself.
    def described(self) -> str:
        name = self.name
        return f"a traced {self.type}" + (f", the input {name}" if name is not None else f" made{at(self.source)}")

    def _made(self) -> str:
        return f"the input {self.name}" if self.name is not None else f"the value made{at(self.source)}"

    @property
    def name(self) -> str | None:
        """The key path of an input, None for what an op made."""
        if not isinstance(self.source, int):
            return None
        names = self.origin.names
        return parameter_name(self.origin.function, self.source) if names is None else names(self.source)

    def leak_text(self) -> str:
        return (
            f"a tracer leaked: {self._made()} ({self.type}) escaped from the "
            f"{self.origin.described()}, which has ended, and was used{at(user_source())}.\n"
            "  Return the value from the function (with has_aux=True if it is not the result) rather than storing it "
            "in an outer variable, attribute or cache."
        )

    def no_value_text(self, what: str, instead: str = "") -> str:
        found = self.inputs_behind()
        inputs = [str(x.name) for x in found]
        outside = alone = "pass plain values in: `lambda x: f(x, n)`"
        if self.origin.transform == "jit" and inputs:
            # Python's numbers may be static; an array, or what a tree holds among others, may not.
            is_static = all([x.type.weak for x in found]) and all(map(str.isidentifier, inputs))
            names = repr(inputs[0] if len(inputs) == 1 else tuple(inputs))
            outside = f"have jit trace anew for each value: `tg.jit(f, static_argnames={names})`" if is_static else ""
            alone = outside or (
                "compute the number outside, and have jit trace anew for each: `tg.jit(f, static_argnames='n')(x, n)`"
            )
        instead = instead.replace("{, or outside}", f", or decide outside and {outside}" if outside else "")
        source = resolve(user_source())
        return (
            f"{what}{at(user_source())} needs the value of {self.described()}"
            + (f", which depends on {', '.join(inputs)}" if inputs and self.name is None else "")
            + f", but the {self.origin.described()} knows only its type."
            + (f"\n    {source.text}" if source is not None and source.text else "")
            + (f"\n  Instead, {instead.replace('{outside}', alone)}." if instead else "")
            + (
                f"\n  {FOLLOWED}"
                if self.origin.transform == "jit" and self.origin.guards is None and self.size == 1
                else ""
            )
        )

    def inputs_behind(self) -> list[Variable]:
        """The inputs of its trace that the value depends on."""
        live = {id(self)}
        found: dict[int, Variable] = {self.source: self} if isinstance(self.source, int) else {}
        for op, inputs, _, _, out, wanted, _ in reversed(self.origin.eqns):
            if any(id(o) in live for o in out) if op.multiple_results else id(out) in live:
                live.update([id(inputs[i]) for i in wanted])
                found.update([(inputs[i].source, inputs[i]) for i in wanted if isinstance(inputs[i].source, int)])
        return [found[number] for number in sorted(found)]

    def __repr__(self) -> str:
        if sizing:
            let_out([self.type.shape])
        ended = " (ended)" if self.origin.ended else ""
        value = "" if self.value is None else f" = {self.value!r}"
        return f"<traced {self.type} of {self.origin.transform}{ended}{value}>"

    def __format__(self, spec: str) -> str:
        return repr(self) if self.value is None else format(self.value, spec)


watch(globals())
