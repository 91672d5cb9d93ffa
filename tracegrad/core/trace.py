"""Tracing: how a Python function becomes a list of equations.

A transform starts a `Trace`, hands its function `Tracer`s in place of arrays, and whatever NumPy function, operator or
method meets a tracer ends in `bind`. That runs the op once on the values below (arrays, or the tracers of an enclosing
transform, so that transforms nest) and appends one equation to the trace. A trace without values (`eval_shape`, `vmap`)
infers types instead. An equation in a running trace is a bare tuple

    (op, inputs, values, params, out, wanted, residuals)

with the inputs as they came, their values one level down, the positions that hold this trace's own tracers, and what an
op that holds Graphs keeps for its reverse derivative (`op.Held`);
`graph.py` turns a finished trace into a `Graph`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import numpy as np
from numpy import ndarray

from tracegrad import tree
from tracegrad.core import advice
from tracegrad.core.axes import Axis
from tracegrad.core.constants import SMALL, Constants, Lasting
from tracegrad.core.context import capturing, context, open_traces, traces_here, writing
from tracegrad.core.errors import (
    CALL_ERRORS,
    REASONS,
    ConcretizationTypeError,
    DtypeError,
    RawSource,
    TracerArrayConversionError,
    UnexpectedTracerError,
    assigns,
    at,
    clip,
    described,
    frames_here,
    hidden_behind,
    instead_of_jax,
    ours,
    place,
    place_public,
    resolve,
    unsupported,
    user_source,
)
from tracegrad.core.late import LOADERS, Table
from tracegrad.core.memory import copied
from tracegrad.core.names import parameter_name
from tracegrad.core.numpy_warnings import again, has_warned, watch
from tracegrad.core.op import OPS, Op, Params
from tracegrad.core.plain import PLAIN, require_plain, require_plain_items
from tracegrad.core.sizes import Size
from tracegrad.core.types import DIRECT, PYTHON_SCALARS, ArrayType, float0, number_kind, type_of

Equation = tuple[Op, tuple[Any, ...], Sequence[Any], Params, Any, tuple[int, ...], Any]

# NumPy function or ufunc -> our function of the same signature, filled by `tracegrad.numpy` and `tracegrad.ops`.
FUNCTIONS: Table[Any, Callable[..., Any]] = Table()
# ufunc -> op, for the ufuncs that are one op: the short way.
UFUNCS: Table[np.ufunc, Op] = Table()
# The name of a ufunc of scipy.special, which is not imported for it -> our function.
SCIPY_FUNCTIONS: Table[str, Callable[..., Any]] = Table()

# Arrays of others, which are computed on in boxes: whether a value is one, its box, and its plain value, if it has one.
FOREIGN: list[tuple[Callable[[Any], bool], Callable[[Any], Any], Callable[[Any], Any]]] = []

# Classes of values that are no arrays, but know what ops make of them: what these are applied by.
APPLIED: dict[type, Callable[[Any, Op, Sequence[Any], Params], Any]] = {}

# xarray keeps any array that it can call by NumPy's protocols, but makes plain ones of NumPy's numbers; scipy.sparse hands what is
# an ndarray to C.
_told_the_truth: tuple[str, ...] = ("xarray", "scipy.sparse")


def tell_the_truth_to(package: str) -> None:
    """Have code of this package see a tracer's own class, where others see that of what it stands for."""
    global _told_the_truth
    _told_the_truth = (*_told_the_truth, package)


NO_PARAMS: Params = {}
_levels = itertools.count()
new_level = _levels.__next__
_level_of = operator.attrgetter("level")
_FIRST, _SECOND, _BOTH = (0,), (1,), (0, 1)


class Trace:
    """A function being traced. Later traces have higher levels; an op is recorded by the highest among its inputs.

    Levels only grow, so an inner transform is always above what encloses it, in every thread, and a tangent of one can
    never be taken for a tangent of the other (perturbation confusion).
    """

    abstract = False
    for_graph = False  # whether the equations will be evaluated anew, not just differentiated
    lasting: Lasting | None = None  # where that Graph will be run again, when arrays from outside may have changed
    linear = False  # whether they must be linear in the inputs, so that all of them depend on these
    folds = False  # whether what depends on its constants alone is one of these before the equations are walked
    reverse = False  # whether `backward` will walk them
    names: Callable[[int], str] | None = None
    prunes = False  # whether `pushforward` is to leave out what the outputs do not need
    executes = False  # whether its tracers are foreign arrays in a box, to which ops are applied at once (`boxes.py`)
    depth = 0  # how many traces of types there are around one of these
    axes: tuple[Axis, ...] = ()  # the named axes that were bound when it began, in a trace that may record their index
    constants: Constants | None = None  # the copies that it has of arrays from outside
    ledger: Any = None  # what has been written into its arrays; see `views.py`
    drawn: list[Any] | None = None  # what has been drawn from its keys, if its equations make a Graph; see `reuse.py`
    lent: frozenset[int] = frozenset()  # the ids of tracers of ended traces that it may have for constants (`is_lent`)
    before: dict[int, int] | None = None  # how many equations each open trace had when it began, by level
    guards: Any = None  # what answers where a value is asked for, in a trace of types that follows these

    def __init__(
        self, transform: str, function: Any, *, abstract: bool = False, for_graph: bool = False, reverse: bool = False
    ) -> None:
        self.transform = transform
        self.function = function
        if reverse:
            self.reverse = True
        if abstract:
            self.abstract = True
        if for_graph or abstract:
            self.for_graph = True
        self.level = new_level()
        self.thread = threading.get_ident()
        if open_traces:
            self.before = {t.level: len(t.eqns) for t in traces_here()}
        self.eqns: list[Equation] = []
        self.record: Callable[[Equation], None] = self.eqns.append

    def kept(self, array: np.ndarray[Any, Any], op: Op, beside: Any = None) -> np.ndarray[Any, Any]:
        """A constant that a derivative or a Graph will need: a copy, since the array may be written into later on, which
        would silently change the result. (One array is one constant, for as long as nobody does.) What is done to it and to
        `beside`, if that is a tracer, is recorded further down: where a Graph is being made, it is a constant of that."""
        trace = self
        while type(beside) is Tracer:
            if beside.origin.for_graph:
                trace = beside.origin
            beside = beside.value
        if not trace.for_graph:
            if not op.keeps_inputs:
                return array
            if array.dtype.kind in NO_NUMBERS:
                require_numbers(array)
            if array.nbytes <= SMALL:
                return copied(array)
        return trace.copy_of(array)

    def copy_of(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """An array from outside as it is now, for good: in a program that will be run again, until that is made."""
        if self.constants is None:
            self.constants = context.trace.lasting if in_program() else Constants()
        return self.constants.copy_of(array)

    def apply(
        self, op: Op, inputs: tuple[Any, ...], params: Params, wanted: tuple[int, ...], source: RawSource | None
    ) -> Any:
        """Record an op in a trace of types. There are no values: equations hold the tracers themselves, which have at least
        their types."""
        for x in inputs:
            if type(x) is ndarray and x.dtype.kind in NO_NUMBERS:
                require_numbers(x)
        try:
            types: Any = op.infer([type_of(x) for x in inputs], params)
        except CALL_ERRORS as error:
            explain(error, op, inputs, params, source)
            raise
        out = (
            tuple([Tracer(self, None, source, t) for t in types])
            if op.multiple_results
            else Tracer(self, None, source, types)
        )
        self.record((op, inputs, inputs, params, out, wanted, None))
        return out

    def apply_outside(self, op: Op, inputs: tuple[Any, ...], params: Params) -> Any:
        """Apply an op to foreign arrays that the user has, in a trace that executes."""
        raise NotImplementedError

    def apply_to_constant(self, op: Op, x: Any, params: Params) -> Tracer:
        """Record, in a trace of types, an op on a plain value, which is then run whenever the Graph is."""
        if type(x) is ndarray:
            require_numbers(x)
        found: Any = op.infer([type_of(x)], params)
        if type(x) is ndarray:
            x = self.copy_of(x)
        out = Tracer(self, None, user_source(), found)
        self.record((op, (x,), (x,), params, out, (), None))
        return out

    def constant(self, x: Any) -> Tracer:
        """A plain value as one of this trace of types."""
        return self.apply_to_constant(OPS["broadcast_to"], x, {"shape": np.shape(x)})

    def constant_like(self, x: Any, like: Tracer) -> Tracer:
        """A plain array as a tracer of this trace, to which `like` belongs, with its value where tracers have values: traced
        indices pick elements of it, and traced values can be written into it."""
        nested = type(like.value) is Tracer and not self.abstract
        return self._constant(like.value.origin.constant_like(x, like.value) if nested else self.copy_of(np.asarray(x)))

    def made(self, array: np.ndarray[Any, Any]) -> Tracer:
        """An array that the traced function makes as one of this trace, into which traced values can be written."""
        outer = context.trace  # where a Graph is being made, it is a constant of that
        nested = not self.abstract and outer is not None and outer.level < self.level and not outer.linear
        return self._constant(outer.made(array) if nested else array)

    def _constant(self, value: Any) -> Tracer:
        """A plain array, or one of an enclosing trace, as one of this trace, of which its value is known. To a Graph it is no
        equation, since a copy is none."""
        out = Tracer(self, value, user_source())
        self.record((OPS["copy"], (value,), (value,), {"order": "K"}, out, (), None))
        if not out.shape:
            out.state = None  # an array, which a number is not
        return out

    def known(self, array: np.ndarray[Any, Any]) -> Tracer:
        """An array from outside as one of this trace of types, which has the value too: where that is looked at, the
        Graph holds for it alone."""
        out = self.constant(array)
        out.value = array
        return out

    def finish(self) -> list[Equation]:
        """Stop recording and hand over the equations; from here on every use of a tracer is a leak.

        The trace lets go of them: a tracer refers to its trace, and the two must not keep each other alive.
        """
        eqns = self.eqns
        self.eqns = []
        self.record = _leaked
        if self.ledger is not None:
            self.ledger.close()
            self.ledger = None
        return eqns

    def recorded(self, function: Callable[..., Any], *args: Any) -> tuple[Any, list[Equation]]:
        """What `function(*args)` returns, and the equations that it makes. The trace is open for that long.

        A signal may be handled before any line of Python's, at the beginning of any function: hence no `with` here, and a
        dict's method first after `finally`, before which none is."""
        try:
            open_traces[self.level] = self
            return function(*args), self.finish()
        except (ValueError, TypeError, AttributeError) as error:
            if (hidden := hidden_behind(error)) is not None:
                raise hidden.with_traceback(error.__traceback__) from None
            raise
        finally:
            try:
                open_traces.pop(self.level, None)
            finally:
                self.end()

    def end(self) -> None:
        """Stop recording, if that has not happened."""
        writing.discard(self.level)
        if self.record is not _leaked:
            self.finish()
        self.constants = None

    @property
    def ended(self) -> bool:
        return self.record is _leaked

    def described(self) -> str:
        code = getattr(self.function, "__code__", None)
        if code is not None and ours(code.co_filename) and not hasattr(self.function, "__wrapped__"):
            return self.transform.removeprefix("the ")  # of a function that users know nothing of
        return f"{self.transform} of {described(self.function)}"

    def __repr__(self) -> str:
        return f"<trace of {described(self.function)} by {self.transform}{', ended' if self.ended else ''}>"


def _leaked(eqn: Equation) -> NoReturn:
    """What an ended trace does in place of recording."""
    op, inputs = eqn[0], eqn[1]
    leaked = next(x for x in inputs if type(x) is Tracer and x.origin.ended)
    raise UnexpectedTracerError(f"{op.name}: {leaked.leak_text()}")


def bind(op: Op, inputs: tuple[Any, ...], params: Params = NO_PARAMS) -> Any:
    """Apply an op: evaluate it on arrays, or record it in the highest trace among its inputs.

    >>> import numpy as np
    >>> from tracegrad.extend import OPS, bind
    >>> float(bind(OPS["sin"], (np.array(0.0),)))
    0.0
    """
    # Ops of one and of two inputs are nearly all there are, and get here by the shortest way.
    trace: Any = None
    count = len(inputs)
    if count == 1:
        if type(inputs[0]) is Tracer:
            trace = inputs[0].origin
            value = inputs[0].value
            values: Sequence[Any] = (value,)
            wanted: tuple[int, ...] = _FIRST
            nested = type(value) is Tracer
    elif count == 2:
        x, y = inputs
        if type(x) is Tracer:
            value = x.value
            if type(y) is Tracer:
                if x.origin is y.origin:
                    trace = x.origin
                    values = (value, y.value)
                    wanted = _BOTH
                    nested = type(value) is Tracer or type(y.value) is Tracer
            elif type(y) in DIRECT:
                trace = x.origin
                if type(y) is ndarray:
                    y = trace.kept(y, op, value)
                    inputs = x, y
                values = (value, y)
                wanted = _FIRST
                nested = type(value) is Tracer
        elif type(y) is Tracer and type(x) in DIRECT:
            trace = y.origin
            value = y.value
            if type(x) is ndarray:
                x = trace.kept(x, op, value)
                inputs = x, y
            values = (x, value)
            wanted = _SECOND
            nested = type(value) is Tracer
    if trace is None:
        for x in inputs:
            if type(x) in APPLIED:
                return APPLIED[type(x)](x, op, inputs, params)
        is_plain = not any([isinstance(x, Tracer) for x in inputs])
        inputs = tuple([as_array(x) for x in inputs])
        tracers = [x.origin for x in inputs if type(x) is Tracer]
        if not tracers:
            if context.trace is not None and op.multiple_results and op.acts(params):
                # It is for each run of the program that is being made.
                inputs = tuple([context.trace.kept(x, op) if type(x) is ndarray else x for x in inputs])
                return context.trace.apply(op, inputs, params, (), user_source())
            try:
                if op.python is not None and are_python(inputs):
                    return op.python(*inputs, **params)
                return op.evaluate(*inputs, **params)
            except Exception as error:
                if has_warned(error):
                    return again(bind, op, inputs, params)
                explain(error, op, inputs, params, user_source())
                raise
        # The highest trace records; tracers of those below are constants to it.
        trace = tracers[0] if len(tracers) == 1 else max(tracers, key=_level_of)
        if is_plain and trace.executes:  # foreign arrays as the user has them
            return trace.apply_outside(op, inputs, params)
        wanted = tuple([i for i, x in enumerate(inputs) if type(x) is Tracer and x.origin is trace])
        values = [x.value if type(x) is Tracer and x.origin is trace else x for x in inputs]
        nested = contains_tracer(values)
        beside = next((v for v in values if type(v) is Tracer and in_graph(v)), None) if nested else None
        inputs = tuple([trace.kept(x, op, beside) if type(x) is ndarray else x for x in inputs])
        values = [v if i in wanted else x for i, (x, v) in enumerate(zip(inputs, values, strict=True))]

    if capturing and (captor := captor_of(trace)) is not None:
        for x in inputs:
            if type(x) is Tracer and x.origin.ended and not is_lent(x):
                raise UnexpectedTracerError(f"{op.name}: {x.leak_text()}")
        inputs = tuple([captor.kept(x, op) if type(x) is ndarray else x for x in inputs])
        trace, values, wanted = captor, inputs, ()
    held = op.held
    if held is not None and held.expand is not None:
        expanded = held.expand(trace, inputs, params)
        if expanded is not None:
            return expanded
    residuals = None
    source = user_source()
    if trace.abstract:
        return trace.apply(op, inputs, params, wanted, source)
    try:
        if held is not None and trace.reverse and held.forward is not None:
            result, residuals = held.forward(wanted, values, params)
            if nested:
                source = _same_source(result, source)
        elif nested:
            result = bind(op, tuple(values), params)
            source = _same_source(result, source)
        elif (
            type(values[0]) in PYTHON_SCALARS
            and type(values[-1]) in PYTHON_SCALARS
            and op.python
            and are_python(values)
        ):
            result = op.python(*values, **params)
        else:
            result = op.evaluate(*values, **params) if params else op.evaluate(*values)
    except Exception as error:
        if not has_warned(error):
            explain(error, op, inputs, params, source)
            raise
        if held is not None and trace.reverse and held.forward is not None:
            result, residuals = again(held.forward, wanted, values, params)
        else:
            result = again(bind, op, tuple(values), params)
    out: Any = (
        tuple([Tracer(trace, r, source) for r in result]) if op.multiple_results else Tracer(trace, result, source)
    )
    trace.record((op, inputs, values, params, out, wanted, residuals))
    return out


def captor_of(trace: Trace) -> Trace | None:
    """The trace that records in place of this one, if there is such."""
    captor = capturing.get(threading.get_ident())
    return captor if captor is not None and captor.level > trace.level else None


def is_lent(x: Tracer) -> bool:
    """Whether a tracer of a trace that has ended is a constant of the one that records all that is done in this thread: of a
    derivative rule that closes over it, where others stand for it by now."""
    captor = capturing.get(threading.get_ident())
    return captor is not None and id(x) in captor.lent


def bind_constant(op: Op, x: Any, params: Params, beside: Any) -> Any:
    """Apply an op to a plain value in the trace of types that is at work on the tracer `beside`, if there is one: its
    Graph has then the op, and not an array that is the result."""
    trace = _trace_of_types(beside)
    return bind(op, (x,), params) if trace is None else trace.apply_to_constant(op, x, params)


def _trace_of_types(x: Any) -> Trace | None:
    """The trace of types that is at work on a tracer, if there is one that makes a Graph."""
    while type(x) is Tracer:
        trace = x.origin
        if trace.abstract and not (trace.linear or trace.executes or trace.ended):
            return trace
        x = x.value
    return None


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


def call_anew(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call one of our functions, which may be made of many ops, in a program that will be run again: what it makes of plain
    arrays alone is recorded too. Where it needs their values, and of arrays of integers, which are mostly indices, the
    program depends on these."""
    if not in_program():
        return function(*args, **kwargs)
    every = [y for x in (*args, *kwargs.values()) for y in (x if type(x) in (list, tuple) else (x,))]
    plain = [x for x in every if type(x) is ndarray]
    trace = next((found for x in every if (found := _trace_of_types(x)) is not None), None)
    if not plain or trace is None or any(map(callable, args)):
        return function(*args, **kwargs)

    constants: list[Tracer] = []
    constant = functools.partial(_constant, trace=trace, constants=constants)
    if any([x.dtype.kind not in "iu" for x in plain]):
        try:
            out = function(*map(constant, args), **{k: constant(x) for k, x in kwargs.items()})
            # Else it is the plain array that was to be written into, which says so below.
            if not any(map(is_written, constants)):
                return out
        except (TypeError, IndexError):  # values are needed, or the call is wrong, which the one below will say
            pass
    for x in plain:
        depends_on(x)
    return function(*args, **kwargs)


def _constant(x: Any, trace: Trace, constants: list[Tracer]) -> Any:
    """An argument with the arrays in it as constants of the trace, which are noted down; integers stay as they are."""
    if type(x) in (list, tuple):
        return type(x)([_constant(y, trace, constants) for y in x])
    if type(x) is not ndarray:
        return x
    if x.dtype.kind not in "iu":
        constants.append(trace.constant(x))
        return constants[-1]
    depends_on(x)
    return x


def lifted(x: Any, beside: Sequence[Any]) -> Any:
    """A plain value (a cotangent to start from) as a constant of the Graph that is being made of what it stands beside,
    if that will be run again: what a rule makes of it and of an array from outside is then recorded, and not computed
    once and for all. So is it where a function is run for an explanation. Else the value as it is."""
    if type(x) is not Tracer and context.explains and type(x) in DIRECT:
        beside = [y for y in beside if type(y) is Tracer]
        return beside[0].origin.constant_like(np.asarray(x), beside[0]) if beside else x
    if context.trace is None or type(x) is Tracer or not in_program():
        return x
    trace = next((found for y in beside if (found := _trace_of_types(y)) is not None), None)
    return x if trace is None else trace.constant(x)


def _same_source(result: Any, source: RawSource) -> RawSource:
    """The source of a call as one object in all traces that record it: so what a rule records further down is known to be of what
    this call recorded there (`Eqn.of` says only of which op)."""
    first = result[0] if type(result) is tuple and result else result
    found: Any = first.source if type(first) is Tracer else None
    return found if found == source else source


def are_python(values: Sequence[Any]) -> bool:
    """Whether they are Python scalars alone, of which an operator is Python's: its result yields to any array's dtype, an
    int does not overflow, and True + True is 2."""
    return PYTHON_SCALARS.keys() >= set(map(type, values))


def strengthened(x: Any) -> Any:
    """`x` as NumPy's functions take it: they make of a Python scalar an array, whose dtype yields to no other."""
    if type(x) in PYTHON_SCALARS:
        return PYTHON_SCALARS[type(x)].type(x)
    return bind(OPS["astype"], (x,), {"dtype": x.type.dtype}) if type(x) is Tracer and x.type.weak else x


def explain(error: Exception, op: Op, inputs: Any, params: Params, source: Any) -> None:
    """Raise the type rule's error for inputs that NumPy refused, since it knows the op; else add the place to NumPy's."""
    if op.runs_user_code or op.acts(params) or at(source) in str(error):
        return
    for x in inputs:
        if type(x) is ndarray:
            require_numbers(x)
    types = [type_of(x) for x in inputs]
    what = f"{advice.name_of_op(op.name)} of {', '.join(map(str, types))}"
    try:
        op.infer(types, params)
    except CALL_ERRORS as better:
        place(better, what, source)
        raise better from None
    place(error, what, source)


def place_call(error: Exception, function: Any, args: Sequence[Any]) -> None:
    """Add to an error of a NumPy function the types that it was called with, and where."""
    arrays = [x for arg in args for x in (arg if isinstance(arg, list | tuple) else (arg,))]
    types = [str(type_of(x)) for x in arrays if isinstance(x, Tracer | np.ndarray)]
    place(error, f"{function.__name__} of {', '.join(types)}" if types else function.__name__)


def as_array(x: Any) -> Any:
    """What `bind` takes: tracers and arrays as they are, sequences as arrays (of tracers: stacked), else TypeError."""
    if type(x) in DIRECT:
        return x
    if type(x) is Tracer:
        if x.origin.ended and not is_lent(x):
            raise UnexpectedTracerError(x.leak_text())
        return x
    if is_written(x):
        return as_array(present(x))
    if type(x) is Size:
        return int(x)
    if isinstance(x, list | tuple):
        if contains_tracer(x):
            return FUNCTIONS[np.array](x)
        require_plain_items(x)
    else:
        for is_theirs, box, _ in FOREIGN:
            if is_theirs(x):
                return box(x)
        require_plain(x)
        kinds: tuple[Any, ...] = (int, float, complex)
        for kind in kinds:
            if isinstance(x, kind) and not isinstance(x, np.generic):
                return kind(x)
    try:
        array = np.asarray(x)
    except ValueError as error:  # rows of different lengths
        place(error, f"an array of {clip(repr(x))}")
        raise
    if number_kind(array.dtype) not in "biufc" and array.dtype != float0:
        raise DtypeError(
            f"{clip(repr(x))} of type {type(x).__name__} is not an array of numbers{at(user_source())}; "
            f"{advice.for_no_array(x)}"
        )
    return array


# The kinds of dtypes that are not of numbers, but for those that ml_dtypes adds.
NO_NUMBERS = "OSUMmTV"


def require_numbers(array: ndarray[Any, Any]) -> None:
    """DtypeError for an array of what are no numbers: text, dates, records, objects."""
    if array.dtype.kind in NO_NUMBERS and number_kind(array.dtype) not in "biufc" and array.dtype != float0:
        raise DtypeError(
            f"an array of dtype {array.dtype} is not one of numbers{at(user_source())}: {clip(repr(array))}; "
            f"{advice.for_no_array(array)}"
        )


def contains_tracer(x: Any) -> bool:
    """Whether a value, or a nested list or tuple, holds a tracer."""
    if isinstance(x, Tracer):
        return True
    return isinstance(x, list | tuple) and any(contains_tracer(item) for item in x)


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


_BRANCH = (
    "write `np.where(condition, a, b)`, which computes both, or `tg.lax.cond(condition, f, g, x)`, which runs one of the "
    "functions{, or outside}"
)
_LOOP = (
    "write `tg.lax.while_loop(condition, body, x)`, where both are functions of x, or for a number of steps that is known "
    "`tg.lax.fori_loop(0, n, body, x)`, which has a reverse derivative too{, or outside}"
)
_PLAIN_NUMBER = "{outside}"
_FOLLOWED = "Or have jit make a program for each path, on NumPy: `tg.jit(f, backend='numpy', branches='guard')`."
_ASSIGN = (
    "  Assigning into an array: make it by `y = tnp.zeros(n)`, or by `tnp.copy(y)` of one that there is; or in place of "
    "`y[i] = v` write `y = tnp.at(y)[i].set(v)`, or `np.stack` the parts."
)
_MAKE = "  Making an array: in place of `np.array([...])` write `tnp.array([...])` or `np.stack([...])`."
_INDEX = (
    "  Indexing a plain array: in place of `table[i]` write `tnp.take(table, i, axis=0)`, or `np.asarray(table, like=i)[i]`; "
    "of `img[y, x]`, `np.asarray(img, like=y)[y, x]`."
)
_API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
_WRITERS = ("copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask")
# Of NumPy's functions that do not look at their arguments' classes, those that tnp has.
_MAKERS = ("arange", "asarray", "ascontiguousarray", "full", "vectorize")


def _choice() -> str:
    if instead := advice.for_builtin():
        return f"{instead}{{, or outside}}"
    if instead := advice.ours_for(advice.library_called()):
        return f"write `{instead}(...)`, which takes traced arrays{{, or outside}}"
    return _LOOP if advice.is_loop() else _BRANCH


def _are_weak(inputs: Sequence[Any]) -> bool:
    """Whether they are Python scalars, or traced ones."""
    return all([x.type.weak if type(x) is Tracer else type(x) in PYTHON_SCALARS for x in inputs])


# Where ndarray's operator gives other bits than np.power, or another dtype: the dtype kind, the power -> the ufunc.
_POWERS = {
    ("b", 2): "square", ("f", 0.5): "sqrt", ("c", 2): "square", ("c", 0.5): "sqrt", ("c", -1): "reciprocal",
}  # fmt: skip


def _operator(name: str, reflected: bool = False) -> Callable[[Any, Any], Any]:
    op: Op | None = None  # asked for at the first call, since there may be none by now

    def method(self: Tracer, other: Any) -> Any:
        nonlocal op
        if op is None:
            op = OPS[name]
        return bind(op, (other, self) if reflected else (self, other))

    return method


def _equality(name: str, of_none: bool) -> Callable[[Any, Any], Any]:
    """`==` or `!=`; `x == None` holds nowhere, which of a number is a bool of Python's."""

    def method(self: Tracer, other: Any) -> Any:
        if other is not None:
            return bind(OPS[name], (self, other))
        return np.full(self.shape, of_none)[()] if self.shape or hasattr(self, "state") else of_none

    return method


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """An ndarray method that is the NumPy function of the same name."""

    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        if writing or "out" in kwargs or len(args) > 1:
            return called(function, FUNCTIONS[function], (self, *args), kwargs)
        try:
            if context.trace is None:  # the short way outside of programs
                return FUNCTIONS[function](self, *args, **kwargs)
            return call_anew(FUNCTIONS[function], (self, *args), kwargs)
        except CALL_ERRORS as error:
            if has_warned(error):
                return again(FUNCTIONS[function], self, *args, **kwargs)
            place_call(error, function, (self, *args))
            raise

    return method


def called(function: Any, traced: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What our function does in place of NumPy's, with arguments as the user has them, `out` among them."""
    try:
        if (out := taken_out(function, args, kwargs)) is not None:
            return FUNCTIONS["out="](function, traced, *out)
        if writing and traced not in TAKE_WRITTEN:
            args, kwargs = settled(args), settled(kwargs)
        return call_anew(traced, args, kwargs)
    except CALL_ERRORS as error:
        if has_warned(error):
            return again(called, function, traced, args, kwargs)
        place_call(error, function, args)
        raise


def taken_out(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Any] | None:
    """The arguments without `out`, and what that is, if it is given; if not, None."""
    if (out := kwargs.get("out")) is not None:
        return args, {k: v for k, v in kwargs.items() if k != "out"}, out
    position = _position_of_out(function)
    if position is not None and len(args) > position and (out := args[position]) is not None:
        return (*args[:position], None, *args[position + 1 :]), kwargs, out
    return None


@functools.lru_cache(maxsize=1024)
def _position_of_out(function: Any) -> int | None:
    """Which positional argument of a NumPy function is `out`."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    found = parameters.get("out")
    return None if found is None or found.kind is found.KEYWORD_ONLY else list(parameters).index("out")


# NumPy's functions that are handed to a tracer for the sake of `like=` alone.
_MAKE_LIKE: frozenset[Any] = frozenset([
    np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.require, np.arange, np.zeros, np.ones,
    np.empty, np.full, np.eye, np.identity, np.tri, np.fromfunction, np.fromiter, np.frombuffer, np.fromstring,
])  # fmt: skip


def _made_like(like: Tracer, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What one of them makes with `like=tracer`."""
    try:
        if writing:
            like, args, kwargs = present(like), settled(args), settled(kwargs)
        return like_tracer((FUNCTIONS.get(function) or function)(*args, **kwargs), like)
    except CALL_ERRORS as error:
        place_call(error, function, args)
        raise


def made_here(x: Any, kinds: str = "biufc", is_new: bool = True) -> Any:
    """A plain array of these kinds of numbers that a traced function makes, as a constant of the innermost trace of this thread:
    so that traced values can be written into it. Anything else as it is. One that is not new belongs to somebody, who may
    write into it."""
    if type(x) is not ndarray or number_kind(x.dtype) not in kinds:
        return x
    trace = next((t for t in reversed(traces_here()) if t.folds or not (t.linear or t.ended)), None)
    if trace is None:
        return x
    if is_new and x.base is None:
        x.flags.writeable = False
    else:
        x = trace.copy_of(x)
    return trace.made(x)


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
    path: list[Equation] = []
    values: dict[int, Any] = {}
    for eqn in reversed(trace.eqns):
        op, inputs, _, _, out, _, _ = eqn
        outs = {id(o) for o in out} if op.multiple_results else {id(out)}
        if missing.isdisjoint(outs):
            continue
        if not inputs or op.runs_user_code:  # the place in an axis is no constant
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
        found = op.python(*given, **params) if is_python else op.evaluate(*given, **params)  # type: ignore[misc]
        values.update(zip(map(id, out), found, strict=True) if op.multiple_results else [(id(out), found)])
    value = x.value = values[id(x)]
    return value


def like_tracer(x: Any, like: Any) -> Any:
    """An array as a constant of the trace of `like`, if it is plain and that is a tracer."""
    if not isinstance(like, Tracer) or isinstance(x, Tracer):
        return x
    like = present(like)
    like._require_running()
    return like.origin.constant_like(x, like)


# Our functions that write into arguments, or hand them on to such, and so take tracers for what the user knows them as.
TAKE_WRITTEN: set[Any] = set()


def _method_alone(name: str) -> Callable[..., Any]:
    """An ndarray method that NumPy has no function for: one that writes into the array, or reads its memory anew."""

    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        return FUNCTIONS[f"x.{name}()"](self, *args, **kwargs)

    return method


_NO_MEMORY = "what is traced is no memory yet, and a Graph has none"
_NO_BYTES = "what is traced need not have values, and bytes carry no derivative; return the array, and write it outside"
# Why a tracer lacks what an ndarray has.
_WITHOUT = {
    "base": f"{_NO_MEMORY}; np.shares_memory(x, y) says whether writing into x changes y",
    "ctypes": _NO_MEMORY,
    "data": _NO_MEMORY,
    "flags": f"{_NO_MEMORY}; np.ascontiguousarray(x) and x.copy(order) lay it out as they say",
    "setflags": f"{_NO_MEMORY}; np.broadcast_to(x, shape) makes what cannot be written into",
    "strides": f"{_NO_MEMORY}; np.lib.stride_tricks.sliding_window_view(x, n) makes overlapping windows",
    "resize": "a traced array keeps its shape; write x = np.concatenate([x, zeros]) for more elements, x = x[:n] for less",
    "getfield": f"{_NO_MEMORY}; write x.view(dtype), and index that",
    "setfield": f"{_NO_MEMORY}; write x = tnp.at(x)[i].set(v)",
    **dict.fromkeys(("dump", "dumps", "tobytes", "tofile"), _NO_BYTES),
}


def _in_place(ufunc: np.ufunc, operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`x op= y`: writes into arrays, and makes another number of a number."""

    def method(self: Tracer, other: Any) -> Any:
        if self.ndim == 0 and not hasattr(self, "state"):
            return operation(self, other)
        return FUNCTIONS["op="](ufunc, operation, self, other)

    return method


def _class_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> type:
    """Of which class NumPy has an array of this type, or a number. Scalars of ml_dtypes ask whether what stands beside them in an
    operation is an instance of their class, and read its memory then, so nothing but them says that it is one."""
    return ndarray if shape else dtype.type if dtype.isbuiltin == 1 else np.generic


def is_sparse(x: Any) -> bool:
    """Whether it is one of SciPy's sparse arrays or matrices."""
    scipy = sys.modules.get("scipy.sparse")
    return scipy is not None and bool(scipy.issparse(x))


def _is_operand_of_sparse(x: Any, frame: FrameType | None) -> bool:
    """Whether what a frame does is an operator `a @ x` of a sparse array."""
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("scipy.sparse"):
        if frame.f_code.co_name in ("__matmul__", "__mul__"):
            return any([value is x for value in frame.f_locals.values()])
        frame = frame.f_back
    return False


class Tracer:
    """Stands for an array while a function is traced. Everything that NumPy does to arrays is recorded through it.

    `origin` is the trace that it belongs to; `value` is what it stands for one level down: an array, a tracer of the enclosing transform, or None where only the
    type is known. `source` is where it was made: a raw source, or for an input of the trace its number.
    """

    __slots__ = ("_type", "origin", "source", "state", "value")
    __array_priority__ = 1000.0
    __pandas_priority__ = 5000  # above a DataFrame's: `series * x` is ours to refuse, as `x * series` is

    origin: Trace
    value: Any
    source: RawSource | int | None
    state: Any  # of a `Written`: the place in memory that it looks at; else there to tell an array without axes from a number

    def __init__(self, trace: Trace, value: Any, source: Any, type: ArrayType | None = None) -> None:
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
            return Tracer
        value = self.value
        while isinstance(value, Tracer):
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
        return value.shape if type(value) is ndarray else self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        value = self.value
        return value.dtype if type(value) is ndarray else self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> int:
        return self.type.size

    @property
    def itemsize(self) -> int:
        return self.type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    # NumPy's protocols.
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs:
            op = UFUNCS.known(ufunc)  # one that has not been loaded goes the longer way
            if op is not None:
                if op.python is not None and type(self.value) is not ndarray and _are_weak(inputs):
                    inputs = (strengthened(inputs[0]), *inputs[1:])
                return bind(op, inputs)
        longer = functools.partial(FUNCTIONS[np.ufunc], ufunc, method)
        try:
            return call_anew(longer, inputs, kwargs)
        except TypeError as error:
            if has_warned(error):
                return again(call_anew, longer, inputs, kwargs)
            raise

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in _MAKE_LIKE:
            return _made_like(self, func, args, kwargs)
        function = FUNCTIONS.known(func) or FUNCTIONS.get(func)
        if function is None:
            raise unsupported(func, of=self)
        if writing or "out" in kwargs or len(args) > 2:
            return called(func, function, args, kwargs)
        try:
            return function(*args, **kwargs) if context.trace is None else call_anew(function, args, kwargs)
        except CALL_ERRORS as error:
            if has_warned(error):
                return again(function, *args, **kwargs)
            place_call(error, func, args)
            raise

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
            raise ConcretizationTypeError(self.no_value_text("np.arange()", _PLAIN_NUMBER))
        library = advice.library_called()
        if advice.is_asked_by_jax():
            where, fix = instead_of_jax(frames_here())
            raise TracerArrayConversionError(
                f"{library} wanted a plain array{where} in place of {self.described()}; that would cut it off from the "
                f"{self.origin.described()}.\n  {fix} (with `import tracegrad.numpy as tnp`)."
            )
        name = getattr(function, "__name__", "")
        array, method = advice.method_called() if function is None else ("", "")
        if assigns(source):
            fixes = [_ASSIGN]
        elif drawing := advice.for_drawing():
            fixes = [f"  {drawing}"]
        elif library and (instead := advice.ours_for(library)):
            fixes = [f"  Write `{instead}(...)`, which takes traced arrays too, in place of `{written}(...)`."]
        elif library and advice.is_asked_by_sparse():
            fixes = [
                "  Of a sparse array write `a @ x` for products, and `tg.scipy.sparse.csr_array((data, indices, indptr), shape)` "
                "for one whose numbers are traced."
            ]
        elif library:
            fixes = [
                f"  {library} works on plain arrays: write NumPy's function or tnp's, or make one of it that is not traced and has a "
                "derivative, `tg.external(f, out=..., vjp=...)`; where it is written in Python, `tg.numpyize` makes a copy that is "
                "traced."
            ]
        elif function is np.array or function is np.asarray:
            fixes = [_MAKE if function is np.array else "  In place of `np.asarray(x)` write `tnp.asarray(x)`."]
        elif callable(function) and name in REASONS:
            fixes = [f"  {REASONS[name]}"]
        elif isinstance(function, np.ufunc):
            fixes = [f"  In place of `{written}([...])` of a list write `{written}(np.stack([...]))`."]
        elif isinstance(function, type) and issubclass(function, np.generic):
            fixes = [f"  In place of `{written}(x)` write `x.astype({written})`, or x as it is."]
        elif callable(function) and name not in _WRITERS:
            has = name in _MAKERS or function in FUNCTIONS
            theirs = written.replace("np.", "tnp.", 1) if written.startswith("np.") else f"tnp.{name}"
            fixes = [
                f"  NumPy cannot hand `{written}` to us: "
                + (f"write `{theirs}`; else it needs" if has else "it needs")
                + " `tg.external`, or values that are not traced."
            ]
        elif method:
            fixes = [f"  {advice.of_a_method(array, method)}"]
        else:
            fixes = [
                _ASSIGN,
                _MAKE,
                "  A function that NumPy cannot hand to us: `tnp` has it, or it needs `tg.external`.",
            ]
        fixes = [_INDEX, *fixes] if exact else fixes
        why = (
            f", but the {self.origin.described()} knows only its type"
            if exact
            else f"; that would cut it off from the {self.origin.described()}"
        )
        raise TracerArrayConversionError(
            f"{library or 'NumPy'} wanted a plain array{at(source)} in place of {self.described()}{why}.\n"
            + "\n".join([*fixes, "  " + advice.tnp_or_numpyize(self.origin.function, library)])
            + advice.for_rules(self.origin.transform)
        )

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
        value = concrete(self, "if, and, or, not, while or bool()", _choice, kind)
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
        value = concrete(self, "int()", _PLAIN_NUMBER, "array" if self.ndim else "int")
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
        value = concrete(self, "an index or a size", _PLAIN_NUMBER, "int" if exact else "array")
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
                f"the {self.origin.described()}.\n{_ASSIGN}\n  {advice.tnp_or_numpyize(self.origin.function)}"
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

    def _require_running(self) -> None:
        if self.origin.ended:
            raise UnexpectedTracerError(self.leak_text())

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

    def item(self, *args: Any) -> Any:
        """The element at `args` (or the only one) as a 0-d tracer: a Python number would lose the derivative."""
        if args:
            return (self.reshape(-1)[args[0]] if len(args) == 1 and np.ndim(args[0]) == 0 else self[args]).item()
        if self.size != 1:
            raise ValueError(
                f"item(){at(user_source())} needs one element, got {self.described()}; write item(i) or x[i]"
            )
        kind, element = self.type.python_kind, bind(OPS["reshape"], (self,), {"shape": ()})
        return element if kind is None else bind(OPS["item"], (element,), {"dtype": PYTHON_SCALARS[kind]})

    def tolist(self) -> Any:
        return self.item() if self.ndim == 0 else [row.tolist() for row in self]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len(){at(user_source())} of a scalar, {self.described()}; it has no axis to count")
        n = self.shape[0]
        return n.counted() if type(n) is Size else n

    def __contains__(self, value: Any) -> bool:
        return bool(np.any(self == value))

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError(
                f"iteration{at(user_source())} over a scalar, {self.described()}; it has no axis to go along"
            )
        return (self[i] for i in range(self.shape[0]))

    # Operators.
    __add__, __radd__ = _operator("add"), _operator("add", True)
    __sub__, __rsub__ = _operator("subtract"), _operator("subtract", True)
    __mul__, __rmul__ = _operator("multiply"), _operator("multiply", True)
    __truediv__, __rtruediv__ = _operator("divide"), _operator("divide", True)
    __floordiv__, __rfloordiv__ = _operator("floor_divide"), _operator("floor_divide", True)
    __mod__, __rmod__ = _operator("remainder"), _operator("remainder", True)
    __rpow__ = _operator("power", True)
    __and__, __rand__ = _operator("bitwise_and"), _operator("bitwise_and", True)
    __or__, __ror__ = _operator("bitwise_or"), _operator("bitwise_or", True)
    __xor__, __rxor__ = _operator("bitwise_xor"), _operator("bitwise_xor", True)
    __lshift__, __rlshift__ = _operator("left_shift"), _operator("left_shift", True)
    __rshift__, __rrshift__ = _operator("right_shift"), _operator("right_shift", True)
    __eq__, __ne__ = _equality("equal", False), _equality("not_equal", True)
    __lt__, __le__ = _operator("less"), _operator("less_equal")
    __gt__, __ge__ = _operator("greater"), _operator("greater_equal")

    def __neg__(self) -> Any:
        return bind(OPS["negative"], (self,))

    def __pos__(self) -> Any:
        return bind(OPS["positive"], (self,))

    def __abs__(self) -> Any:
        return bind(OPS["absolute"], (self,))

    def __invert__(self) -> Any:
        return bind(OPS["invert"], (self,))

    def __matmul__(self, other: Any) -> Any:
        if type(other) not in DIRECT and type(other) is not Tracer:
            if is_sparse(other):
                return LOADERS["scipy"]().sparse.product(self, other)
            if getattr(type(other), "__array_ufunc__", self) is None:
                return NotImplemented
        if context.trace is None:
            return FUNCTIONS[np.matmul](self, other)
        return call_anew(FUNCTIONS[np.matmul], (self, other), {})

    def __rmatmul__(self, other: Any) -> Any:
        if type(other) not in DIRECT and is_sparse(other):
            return LOADERS["scipy"]().sparse.product(other, self)
        return call_anew(FUNCTIONS[np.matmul], (other, self), {})

    def __pow__(self, other: Any) -> Any:
        if type(other) is int or type(other) is float:
            name = _POWERS.get((number_kind(self.dtype), other))
            if name is not None and (self.ndim or hasattr(self, "state")):
                return bind(OPS[name], (self,))
            if other < 0 and not self.ndim and number_kind(self.dtype) in "bi" and self.type.weak:
                other = float(other)  # as Python's ints do
        return bind(OPS["power"], (self, other))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __round__(self, ndigits: int | None = None) -> Any:
        if self.ndim or number_kind(self.dtype) == "c" or (number_kind(self.dtype) == "b" and not self.type.weak):
            raise TypeError(f"round(){at(user_source())} of {self.described()}; write np.round(x)")
        found = bind(OPS["round"], (self,), {"decimals": ndigits or 0})
        return found if ndigits is not None else bind(OPS["item"], (found,), {"dtype": PYTHON_SCALARS[int]})

    def __getitem__(self, index: Any) -> Any:
        try:
            return FUNCTIONS[np.ndarray.__getitem__](self, index)
        except (IndexError, ValueError) as error:
            place_public(error, "indexing")
            raise

    def __setitem__(self, index: Any, value: Any) -> None:
        FUNCTIONS[np.ndarray.__setitem__](self, index, value)

    __iadd__, __isub__ = _in_place(np.add, operator.add), _in_place(np.subtract, operator.sub)
    __imul__, __itruediv__ = _in_place(np.multiply, operator.mul), _in_place(np.divide, operator.truediv)
    __ifloordiv__, __imod__ = _in_place(np.floor_divide, operator.floordiv), _in_place(np.remainder, operator.mod)
    __ipow__, __imatmul__ = _in_place(np.power, operator.pow), _in_place(np.matmul, operator.matmul)
    __iand__, __ior__ = _in_place(np.bitwise_and, operator.and_), _in_place(np.bitwise_or, operator.or_)
    __ixor__, __ilshift__ = _in_place(np.bitwise_xor, operator.xor), _in_place(np.left_shift, operator.lshift)
    __irshift__ = _in_place(np.right_shift, operator.rshift)

    @property
    def at(self) -> Any:
        """`x.at[i].set(v)`, `.add(v)`, `.apply(f)`, ...: an updated copy, by the methods and with the keywords of jax's arrays, which
        `tnp.at` lists. An ndarray has no `.at`: `tnp.at(x)[i].set(v)` is for plain and traced arrays alike."""
        return FUNCTIONS["at"](self)

    # ndarray's methods and attributes.
    all, any = _method(np.all), _method(np.any)
    argmax, argmin = _method(np.argmax), _method(np.argmin)
    argsort, argpartition = _method(np.argsort), _method(np.argpartition)
    choose, clip = _method(np.choose), _method(np.clip)
    cumprod, cumsum = _method(np.cumprod), _method(np.cumsum)
    diagonal, trace = _method(np.diagonal), _method(np.trace)
    dot, max, min = _method(np.dot), _method(np.max), _method(np.min)
    mean, nonzero, prod = _method(np.mean), _method(np.nonzero), _method(np.prod)
    ravel, repeat, round = _method(np.ravel), _method(np.repeat), _method(np.round)
    searchsorted, squeeze = _method(np.searchsorted), _method(np.squeeze)
    std, sum, swapaxes, take, var = (
        _method(np.std),
        _method(np.sum),
        _method(np.swapaxes),
        _method(np.take),
        _method(np.var),
    )

    _reshape, _transpose, _astype = _method(np.reshape), _method(np.transpose), _method(np.astype)

    def conj(self) -> Any:
        return bind(OPS["conjugate"], (self,)) if number_kind(self.dtype) == "c" or self.type.weak else self

    conjugate = conj

    def reshape(self, *shape: Any, order: Any = "C") -> Any:
        return self._reshape(shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:
        return self._transpose((axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any, *_: Any, copy: bool = True, **__: Any) -> Any:
        return self._astype(dtype, copy=copy)

    def compress(self, condition: Any, axis: Any = None) -> Any:
        return np.compress(condition, self, axis)

    def copy(self, order: Any = "C") -> Any:
        return (
            np.copy(self, order)
            if self.shape or hasattr(self, "state")
            else bind(OPS["copy"], (self,), {"order": order})
        )

    def flatten(self, order: Any = "C") -> Any:
        return np.copy(np.ravel(self, order))

    # What writes into the array.
    fill, sort = _method_alone("fill"), _method_alone("sort")
    partition, put = _method_alone("partition"), _method_alone("put")

    # What reads its memory as something else.
    view, byteswap = _method_alone("view"), _method_alone("byteswap")

    @property
    def T(self) -> Any:
        return FUNCTIONS[np.transpose](self)

    @property
    def mT(self) -> Any:
        return FUNCTIONS[np.swapaxes](self, -1, -2)

    @property
    def real(self) -> Any:
        return FUNCTIONS[np.real](self)

    @real.setter
    def real(self, value: Any) -> None:
        self.real[...] = value

    @property
    def imag(self) -> Any:
        return FUNCTIONS[np.imag](self)

    @imag.setter
    def imag(self, value: Any) -> None:
        self.imag[...] = value

    @property
    def flat(self) -> Any:
        return FUNCTIONS["flat"](self)

    @flat.setter
    def flat(self, value: Any) -> None:
        FUNCTIONS["flat"](self, value)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") or name == "state":  # NumPy and copy ask for many of these, and expect a quick answer
            raise AttributeError(name)
        hint = ""
        if instead := advice.ours_for(advice.library_called()):
            hint = f"; write `{instead}(...)`, which takes traced arrays"
        elif name in _WITHOUT:
            hint = f": {_WITHOUT[name]}"
        elif hasattr(np.ndarray, name) and getattr(np, name, None) in FUNCTIONS:
            hint = f"; write np.{name}(x, ...)"
        elif hasattr(np.ndarray, name):
            hint = "; an ndarray has it, but it is not traced"
        raise AttributeError(f"{self.described()}, has no attribute {name!r}, asked for{at(user_source())}{hint}")

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
                f"\n  {_FOLLOWED}"
                if self.origin.transform == "jit" and self.origin.guards is None and self.size == 1
                else ""
            )
        )

    def inputs_behind(self) -> list[Tracer]:
        """The inputs of its trace that the value depends on."""
        live = {id(self)}
        found: dict[int, Tracer] = {self.source: self} if isinstance(self.source, int) else {}
        for op, inputs, _, _, out, wanted, _ in reversed(self.origin.eqns):
            if any(id(o) in live for o in out) if op.multiple_results else id(out) in live:
                live.update([id(inputs[i]) for i in wanted])
                found.update([(inputs[i].source, inputs[i]) for i in wanted if isinstance(inputs[i].source, int)])
        return [found[number] for number in sorted(found)]

    def __repr__(self) -> str:
        ended = " (ended)" if self.origin.ended else ""
        value = "" if self.value is None else f" = {self.value!r}"
        return f"<traced {self.type} of {self.origin.transform}{ended}{value}>"

    def __format__(self, spec: str) -> str:
        return repr(self) if self.value is None else format(self.value, spec)


PLAIN.add(Tracer)
watch(globals())
set_class: Any = object.__dict__["__class__"].__set__
