"""Values that a function asks for while it is traced by types: `if x.sum() > 0`, `while`, `range(int(n))`, `float(x)`.

Where jit follows branches, its trace of types has the call's arrays at hand. Nothing is computed of them until the function asks
for a value: then the equations that make it are run, each once, and what the function is told, a key, is noted down as a
guard: what is traced holds where each value asked for has that key. `paths.py` keeps a program for each path.
"""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.context import capturing, context
from tracegrad.core.errors import RawSource, resolve, user_source
from tracegrad.core.graph import axes_of
from tracegrad.core.trace import Trace, bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ArrayType


class AsksForValue(BaseException):
    """A function asks for a value, and what it is traced for is itself traced: it has to be traced as a part of that. No code of the
    user's catches it by `except Exception`."""


class Kind(NamedTuple):
    """A way to ask: what of a value the function is told, as something to compare by, and that as a value again."""

    key: Callable[[Any], Hashable]
    value: Callable[[Any, ArrayType], Any]
    shown: Callable[[Any], str] = repr


def _number(bits: bytes, type: ArrayType) -> Any:
    found = np.frombuffer(bits, type.dtype)[0]
    return found.item() if type.weak else found


class Failed(NamedTuple):
    """The answer where a value has none of this kind, such as a NaN an int: the error, which the function may catch."""

    error: type[Exception]
    text: str


def _or_failed(key: Callable[[Any], Hashable]) -> Callable[[Any], Hashable]:
    def tried(x: Any) -> Hashable:
        try:
            return key(x)
        except (ValueError, OverflowError) as error:
            return Failed(type(error), str(error))

    return tried


# Floats by their bits, so that a zero's sign counts, and a NaN is what it was.
KINDS = {
    "bool": Kind(bool, lambda key, _: key),
    "int": Kind(_or_failed(int), lambda key, _: key),
    "float": Kind(
        _or_failed(lambda x: struct.pack("d", float(x))),
        lambda key, _: struct.unpack("d", key)[0],
        lambda key: repr(struct.unpack("d", key)[0]),
    ),
    "complex": Kind(
        _or_failed(lambda x: struct.pack("dd", (z := complex(x)).real, z.imag)),
        lambda key, _: complex(*struct.unpack("dd", key)),
        lambda key: repr(complex(*struct.unpack("dd", key))),
    ),
    "array": Kind(lambda x: np.asarray(x).tobytes(), _number, lambda key: f"a number with the bytes {key.hex()}"),
}


def _told(answer: Any) -> Any:
    if type(answer) is Failed:
        raise answer.error(answer.text)
    return answer


class Asked(NamedTuple):
    """A guard: the value that was asked for, how, what it was, where in the user's code, and what could be written there."""

    tracer: Tracer
    kind: str
    key: Hashable
    what: str
    source: RawSource
    instead: str

    def told(self) -> str:
        """Which question had what answer: "`if` at model.py:7 was False"."""
        source = resolve(self.source)
        where = "" if source is None else f" at {source.short}"
        if type(self.key) is Failed:
            return f"{self.question()}{where} raised {self.key.error.__name__}: {self.key.text}"
        return f"{self.question()}{where} was {KINDS[self.kind].shown(self.key)}"

    def question(self) -> str:
        source = resolve(self.source)
        found = None if source is None else re.match(r"(if|elif|while|assert)\b", source.text)
        if self.kind == "bool":
            return f"`{found[1]}`" if found else "a truth value"
        return self.what


class Guards:
    """What a trace of types for these values is asked, and told. The first answers are `known`. There are no values where they
    are traced themselves."""

    def __init__(self, values: Sequence[Any] | None, known: Sequence[Hashable] = ()) -> None:
        self.asked: list[Asked] = []
        self._given = values
        self._known = known
        self._answers: dict[tuple[int, str], Any] = {}
        self._values: dict[int, Any] = {}  # of the trace's tracers, by their ids
        self._makers: dict[int, int] = {}  # which equation makes a tracer, as far as they have been seen
        self._seen = 0

    def begin(self, trace: Trace, tracers: Sequence[Tracer]) -> None:
        """Answer what is asked of this trace, from the start."""
        trace.guards = self
        self.asked, self._answers, self._makers, self._seen = [], {}, {}, 0
        if self._given is not None:
            self._values = dict(zip(map(id, tracers), self._given, strict=True))

    def ask(self, x: Tracer, kind: str, what: str, instead: str) -> Any:
        """What the function is told of a tracer of the trace; None where nobody knows, since it depends on a named axis."""
        if self._given is None:
            raise AsksForValue
        found = self._answers.get((id(x), kind))
        if found is not None:
            return _told(found)
        number = len(self.asked)
        if number < len(self._known):
            key = self._known[number]
        else:
            value = self._value_of(x)
            if value is None:
                return None
            key = KINDS[kind].key(value)
        self.asked.append(Asked(x, kind, key, what, user_source(), instead))
        found = self._answers[id(x), kind] = key if type(key) is Failed else KINDS[kind].value(key, x.type)
        return _told(found)

    def _value_of(self, x: Tracer) -> Any:
        """Run what makes a tracer, as far as it has not been run."""
        values, makers, eqns = self._values, self._makers, x.origin.eqns
        for number in range(self._seen, len(eqns)):
            op, _, _, _, out, _, _ = eqns[number]
            for o in out if op.multiple_results else (out,):
                makers[id(o)] = number
        self._seen = len(eqns)
        missing: set[int] = set()
        waiting = [x]
        while waiting:
            v = waiting.pop()
            if id(v) in values:
                continue
            if v.origin is not x.origin or v.origin.executes:
                raise AsksForValue
            number = makers[id(v)]
            if number not in missing:
                op, inputs, _, params, *_ = eqns[number]
                if axes_of(params):
                    return None
                if op.acts(params):  # it is to be done once, and will be where the function is called
                    raise AsksForValue
                missing.add(number)
                waiting += [v for v in inputs if issubclass(type(v), Tracer)]
        self._run([eqns[number] for number in sorted(missing)])
        return values[id(x)]

    def _run(self, eqns: Sequence[Any]) -> None:
        values = self._values
        trace, cell, thread = context.trace, context.cell, threading.get_ident()
        captor = capturing.get(thread)
        try:
            # These are values, and nothing that is done to them is traced.
            context.trace = None
            context.cell = now = [None, False]
            capturing.pop(thread, None)
            for op, inputs, _, params, out, _, _ in eqns:
                now[0] = (out[0] if op.multiple_results else out).source
                given = tuple([values[id(v)] if issubclass(type(v), Tracer) else v for v in inputs])
                found = bind(op, given, params)
                values.update(zip(map(id, out), found, strict=True) if op.multiple_results else [(id(out), found)])
        finally:
            context.trace = trace
            context.cell = cell
            if captor is not None:
                capturing[thread] = captor
