"""Tracers: what stands for arrays while a function is traced, and what is known of the values under them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

import numpy as np
from numpy import ndarray

from tracegrad import tree
from tracegrad.core import advice
from tracegrad.core.context import context, sizing, writing
from tracegrad.core.errors import (
    ConcretizationTypeError,
    TracerArrayConversionError,
    UnexpectedTracerError,
    assigns,
    at,
    user_source,
)
from tracegrad.core.functions import FOREIGN
from tracegrad.core.late import LOADERS
from tracegrad.core.numpy_warnings import watch
from tracegrad.core.operators import Operators
from tracegrad.core.plain import PLAIN
from tracegrad.core.refusals import ASSIGN, PLAIN_NUMBER, choice, no_plain_array
from tracegrad.core.sizes import made_of_a_size
from tracegrad.core.types import DIRECT, PYTHON_SCALARS, number_kind

_API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def _is_operand_of_sparse(x: Any, frame: FrameType | None) -> bool:
    """Whether what a frame does is an operator `a @ x` of a sparse array."""
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("scipy.sparse"):
        if frame.f_code.co_name in ("__matmul__", "__mul__"):
            return any([value is x for value in frame.f_locals.values()])
        frame = frame.f_back
    return False


class Tracer(Operators):
    """Stands for an array while a function is traced. Everything that NumPy does to arrays is recorded through it.

    `origin` is the trace that it belongs to; `value` is what it stands for one level down: an array, a tracer of the enclosing
    transform, or None where only the type is known. `source` is where it was made: a raw source, or for an input of the trace its
    number.
    """

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The plain array of an index or a mask, `img[y, x]` of a plain `img`: whole numbers and truth values carry no
        derivative. Read-only unless it is a copy, since what is written into it is lost on the tracer."""
        self._require_running()
        if _is_operand_of_sparse(self, sys._getframe(1)):
            return np.array(None)  # no array, says scipy.sparse of this, and leaves the operator to us
        exact = number_kind(self.dtype) in "biu"
        value = plain_value(self, "an index") if exact else None
        if value is not None:
            depends_on(self)
        else:
            value = constant_value(self)
        if value is not None:
            found = np.array(value, dtype, copy=copy).view()
            found.flags.writeable = bool(copy)
            return found
        source = user_source()
        written, function = advice.function_called()
        if function is np.arange and exact:
            found = asked(present(self), "array", "np.arange()")
            if found is not None:
                return np.asarray(found, dtype)
            raise ConcretizationTypeError(self.no_value_text("np.arange()", PLAIN_NUMBER))
        raise no_plain_array(self, exact, written, function, source)

    # What the array API standard asks for besides.
    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """`tracegrad.numpy`, for what is written to the array API standard."""
        if api_version is not None and api_version not in _API_VERSIONS:
            raise ValueError(
                f"version {api_version!r} of the array API standard is not one of {', '.join(_API_VERSIONS)}"
                f"{at(user_source())}"
            )
        return LOADERS["numpy"]()

    @property
    def device(self) -> str:
        """As NumPy says of its arrays: what is traced is not on any device yet."""
        return "cpu"

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """Itself, on the only device that NumPy knows; `tg.device_put` is for others."""
        if device != "cpu" or stream is not None:
            raise ValueError(
                f"x.to_device({device!r}){at(user_source())}: traced arrays know the device 'cpu' alone, as NumPy's do; "
                "put arguments where they are to be computed on by `tg.device_put`, before they are traced"
            )
        return self

    def __dlpack__(self, **_: Any) -> NoReturn:
        self._require_running()
        raise TracerArrayConversionError(
            f"DLPack hands memory from one library to another, and there is none of {self.described()}, asked for"
            f"{at(user_source())}; that would cut it off from the {self.origin.described()}. `tnp.from_dlpack(x)` is x itself."
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # the CPU

    # Python scalars: answered from the value where nothing differentiable is lost.
    def __bool__(self) -> bool:
        kind = "bool" if self.size == 1 else "array"
        value = concrete(self, "if, and, or, not, while or bool()", choice, kind)
        if np.size(value) != 1:
            raise ValueError(
                f"if, and, or, not, while or bool(){at(user_source())} needs one truth value, got {self.described()}; "
                "write np.all(x), np.any(x) or np.where(x, a, b)"
            )
        return bool(value)

    def __int__(self) -> int:
        try:
            return self._int()
        except TypeError as error:
            context.refused = str(error).replace("int()", "formatting with %", int(advice.is_formatting()))
            raise

    def _int(self) -> int:
        value = concrete(self, "int()", PLAIN_NUMBER, "array" if self.ndim else "int")
        if np.ndim(value):
            raise TypeError(
                f"int(){at(user_source())} needs a scalar, got {self.described()}; index it first, as in int(x[0])"
            )
        return int(value)

    def __index__(self) -> int:
        try:
            return self._index()
        except TypeError as error:
            context.refused = str(error)
            raise

    def _index(self) -> int:
        exact = not self.ndim and number_kind(self.dtype) in "iu"
        value = concrete(self, "an index or a size", PLAIN_NUMBER, "int" if exact else "array")
        if type(value) is int:
            return value
        # Of a bool of Python's, a list would take the item 0 or 1, an array a new axis: nobody says which of them asks.
        if number_kind(np.asarray(value).dtype) not in "iu" or np.ndim(value):
            raise TypeError(
                f"an index or a size must be an integer scalar, got {self.described()}, used{at(user_source())}; "
                "write int(x)"
            )
        return int(value)

    def _number(self, kind: Callable[[Any], Any]) -> Any:
        """What `float` or `complex` makes of what depends on nothing that is traced, and an error for all else."""
        self._require_running()
        if (value := constant_value(self)) is not None:
            return kind(value)
        source = user_source()
        if assigns(source):
            raise TracerArrayConversionError(
                f"NumPy wanted a plain number{at(source)} in place of {self.described()}; that would cut it off from "
                f"the {self.origin.described()}.\n{ASSIGN}\n  {advice.tnp_or_numpyize(self.origin.function)}"
            )
        what, fix = advice.number_wanted()
        if self.value is None and self.size == 1:
            value = asked(present(self), kind.__name__, what, fix)
            if value is not None:
                return value
        if self.value is None:
            raise ConcretizationTypeError(
                f"{self.no_value_text(what)}\n  {fix}{advice.for_rules(self.origin.transform)}"
            )
        raise ConcretizationTypeError(
            f"{what}{at(source)} would make a plain number of {self.described()}, and the {self.origin.described()} "
            f"would silently lose its derivative.\n  {fix}\n"
            "  To drop the derivative knowingly, write float(tg.stop_gradient(x)), or compute the number outside."
        )

    def __float__(self) -> float:
        if self.origin.executes:
            return float(self.value)
        found: float = self._number(float)
        return found

    def __complex__(self) -> complex:
        if self.origin.executes:
            return complex(self.value)
        found: complex = self._number(complex)
        return found

    def __hash__(self) -> NoReturn:
        raise TypeError(
            f"traced arrays cannot be hashed{at(user_source())}, as a key of a dict or a cache or an element of a set: "
            f"this is {self.described()}. Use plain values as keys, and no functools.cache on a function that is "
            "traced."
        )


PLAIN.add(Tracer)
set_class: Any = object.__dict__["__class__"].__set__


def in_graph(x: Any) -> bool:
    """Whether a value is traced for a Graph, which has to hold for other values too."""
    while type(x) is Tracer:
        if x.origin.for_graph:
            return True
        x = x.value
    return False


def in_program() -> bool:
    """Whether a program is being made that will be run again (`Trace.lasting`)."""
    return context.trace is not None and context.trace.lasting is not None


def depends_on(x: Any) -> None:
    """Note that what is being traced holds for the values alone that a plain array has now, since they were looked at."""
    if in_program():
        from_outside = True
        while type(x) is Tracer:
            from_outside = x.origin.abstract  # `Trace.known`
            x = x.value
        if from_outside and type(x) is ndarray:
            context.trace.lasting.look_into(x)


def is_written(x: Any) -> bool:
    """Whether a value is a tracer into which the user has written, or into what shares its memory: a `views.Written`."""
    return type(x) is not Tracer and issubclass(type(x), Tracer)


def present(x: Tracer) -> Tracer:
    """The variable that an array is now: itself, if nobody has written into it or what shares its memory."""
    if type(x) is Tracer:
        return x
    place = x.state
    found: Tracer = place.variable if place.version == place.memory.version else place.renew()
    return found


def settled(x: Any) -> Any:
    """A value, or a nested list, tuple or dict, with what its tracers are now in place of those that have been written
    into. What knows of variables only is not handed anything else."""
    kind = type(x)
    if is_written(x):
        return present(x)
    if kind is list or kind is tuple:
        return kind([settled(item) for item in x])
    return {k: settled(v) for k, v in x.items()} if kind is dict else x


def settled_tree(x: Any) -> Any:
    """The same for the leaves of any tree."""
    return tree.tree_map(lambda leaf: present(leaf) if is_written(leaf) else leaf, x) if writing else x


def concrete(x: Any, what: str, instead: str | Callable[[], str] = "", kind: str = "array") -> Any:
    """The plain value under a tracer, for what must be known while tracing (a shape, a mask). Drops the derivative. Where jit
    follows branches, it is what somebody is told who asks in this way (`guards.KINDS`)."""
    found = plain_value(x, what)
    depends_on(x)
    if found is None and isinstance(x, Tracer):
        x = present(x)
        found = constant_value(x)
    if found is None and isinstance(x, Tracer):
        while type(x.value) is Tracer:
            x = x.value
        found = asked(x, kind, what)
        if found is None:
            text = x.no_value_text(what, instead() if callable(instead) else instead)
            raise ConcretizationTypeError(text + advice.for_rules(x.origin.transform))
    return found


def asked(x: Tracer, kind: str, what: str, instead: str = "") -> Any:
    """What is told of a number by the trace of a program that it belongs to, which holds for this answer alone. None where only
    types are known, and for what would be a program for each value without need: of arrays, and for what is printed."""
    guards = x.origin.guards
    if guards is None or (kind == "array" and x.shape) or (kind != "bool" and advice.is_formatting()):
        return None
    return guards.ask(x, kind, what, instead)


def plain_value(x: Any, what: str) -> Any:
    """The plain value under a tracer, None where only its type is known."""
    if is_written(x):
        x = present(x)
    while type(x) is Tracer:
        if x.origin.ended:
            raise UnexpectedTracerError(f"{what}: {x.leak_text()}")
        x = x.value
    if type(x) not in DIRECT:
        for is_theirs, _, plain in FOREIGN:
            if is_theirs(x):
                return plain(x)
    return x


def constant_value(x: Tracer) -> Any:
    """The plain value of what depends on nothing that is traced: constants, and what was computed of these alone. None for
    all else. What is asked so is about to be an error, so that it may take its time."""
    trace = x.origin
    if trace.ended or trace.executes:
        return None
    if trace.abstract and x.value is not None:
        depends_on(x)
        return x.value
    missing = {id(x)}
    path: list[Any] = []
    values: dict[int, Any] = {}
    for eqn in reversed(trace.eqns):
        op, inputs, _, _, out, _, _ = eqn
        outs = {id(o) for o in out} if op.multiple_results else {id(out)}
        if missing.isdisjoint(outs):
            continue
        is_of_a_size = sizing and made_of_a_size(inputs)
        if not inputs or op.runs_user_code or is_of_a_size:  # the place in an axis is no constant
            return None
        missing -= outs
        path.append(eqn)
        for v in inputs:
            if not isinstance(v, Tracer) or id(v) in values:
                continue
            if isinstance(v.source, int):
                return None
            if v.origin is trace and not (trace.abstract and v.value is not None):
                missing.add(id(v))
            elif (found := constant_value(v)) is not None:
                values[id(v)] = found
            else:
                return None
        if not missing:
            break
    else:
        return None
    if not trace.abstract:
        return constant_value(x.value) if type(x.value) is Tracer else x.value
    for op, inputs, _, params, out, _, _ in reversed(path):
        for v in inputs:
            if type(v) is ndarray:
                depends_on(v)
        given = [values.get(id(v), v) for v in inputs]
        is_python = op.python is not None and are_python(given)
        found = op.python(*given, **params) if is_python else op.evaluate(*given, **params)
        values.update(zip(map(id, out), found, strict=True) if op.multiple_results else [(id(out), found)])
    value = x.value = values[id(x)]
    return value


def are_python(values: Sequence[Any]) -> bool:
    """Whether they are Python scalars alone, of which an operator is Python's: its result yields to any array's dtype, an
    int does not overflow, and True + True is 2."""
    return PYTHON_SCALARS.keys() >= set(map(type, values))


def like_tracer(x: Any, like: Any) -> Any:
    """An array as a constant of the trace of `like`, if it is plain and that is a tracer."""
    if not isinstance(like, Tracer) or isinstance(x, Tracer):
        return x
    like = present(like)
    like._require_running()
    return like.origin.constant_like(x, like)


watch(globals())
