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

import itertools
import operator
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy import ndarray

from tracegrad.core import advice, operators
from tracegrad.core.axes import Axis
from tracegrad.core.constants import LARGE, SMALL, Constants, Lasting
from tracegrad.core.context import capturing, context, open_traces, sizing, traces_here, writing
from tracegrad.core.errors import (
    CALL_ERRORS,
    DtypeError,
    RawSource,
    UnexpectedTracerError,
    annotate,
    at,
    clip,
    described,
    hidden_behind,
    ours,
    user_source,
)
from tracegrad.core.functions import APPLIED, FOREIGN, FUNCTIONS
from tracegrad.core.late import LOADERS
from tracegrad.core.memory import copied
from tracegrad.core.numpy_warnings import again, has_warned, watch
from tracegrad.core.op import NO_PARAMS, OPS, Op, Params
from tracegrad.core.plain import require_plain, require_plain_items
from tracegrad.core.sizes import Size, recorded_for_sizes
from tracegrad.core.tracer import Tracer, are_python, in_graph, in_program, is_written, present
from tracegrad.core.types import DIRECT, PYTHON_SCALARS, float0, number_kind, type_of

Equation = tuple[Op, tuple[Any, ...], Sequence[Any], Params, Any, tuple[int, ...], Any]

_levels = itertools.count()
new_level = _levels.__next__
_level_of = operator.attrgetter("level")
_FIRST, _SECOND, _BOTH = (0,), (1,), (0, 1)
_new: Any = object.__new__
_NUMPYS = DIRECT - PYTHON_SCALARS.keys()  # arrays and NumPy's numbers


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
    repeats = False  # whether it is that of a loop's step, of which there may be several
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
        self.abstract = abstract or self.abstract  # its own, which is quicker to read than its class's
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
        if self.reverse and array.nbytes >= LARGE:
            LOADERS["spare"]()(self)
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


def bind(op: Op, inputs: tuple[Any, ...], params: Params = NO_PARAMS, depth: int = 2) -> Any:
    """Apply an op: evaluate it on arrays, or record it in the highest trace among its inputs. (Who is called by the user's code
    alone, and calls this, says so by a `depth` of 3, which saves looking for the user's line; see `user_source`.)

    >>> import numpy as np
    >>> from tracegrad.extend import OPS, bind
    >>> float(bind(OPS["sin"], (np.array(0.0),)))
    0.0
    """
    # Ops of one and of two inputs are nearly all there are, and get here by the shortest way. No function is made in here, as
    # a comprehension is one: that would have each call make cells for it.
    trace: Any = None
    count = len(inputs)
    if count == 2:
        x, y = inputs
        if type(x) is Tracer:
            value = x.value
            if type(y) is Tracer:
                trace = x.origin
                if y.origin is trace:
                    other = y.value
                    values: Sequence[Any] = (value, other)
                    wanted: tuple[int, ...] = _BOTH
                    nested = type(value) is Tracer or type(other) is Tracer
                else:
                    trace = None
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
    elif count == 1:
        (x,) = inputs
        if type(x) is Tracer:
            trace = x.origin
            value = x.value
            values = (value,)
            wanted = _FIRST
            nested = type(value) is Tracer
    if trace is None:
        return _bind_any(op, inputs, params)
    if nested or type(value) not in _NUMPYS or not op.simple or trace.abstract or capturing:
        return _bind_in(trace, op, inputs, params, values, wanted, nested)
    source = user_source(depth)
    try:
        result = op.evaluate(*values, **params) if params else op.evaluate(*values)
    except Exception as error:
        if not has_warned(error):
            explain(error, op, inputs, params, source)
            raise
        result = again(bind, op, values, params)
    out = _new(Tracer)  # and what its `__init__` does, in half the time
    out.origin, out.value, out.source, out._type = trace, result, source, None
    trace.record((op, inputs, values, params, out, wanted, None))
    return out


def _bind_any(op: Op, inputs: tuple[Any, ...], params: Params) -> Any:
    """`bind` for whatever inputs there are."""
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
        if sizing and (found := recorded_for_sizes(op, inputs, params)) is not None:
            return found
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
    return _bind_in(trace, op, inputs, params, values, wanted, nested)


def _bind_in(
    trace: Any,
    op: Op,
    inputs: tuple[Any, ...],
    params: Params,
    values: Sequence[Any],
    wanted: tuple[int, ...],
    nested: bool,
) -> Any:
    """`bind` where it is known in which trace, for ops and traces of any kind."""
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


def _same_source(result: Any, source: RawSource) -> RawSource:
    """The source of a call as one object in all traces that record it: so what a rule records further down is known to be of what
    this call recorded there (`Eqn.of` says only of which op)."""
    first = result[0] if type(result) is tuple and result else result
    found: Any = first.source if type(first) is Tracer else None
    return found if found == source else source


def strengthened(x: Any) -> Any:
    """`x` as NumPy's functions take it: they make of a Python scalar an array, whose dtype yields to no other."""
    if type(x) in PYTHON_SCALARS and not issubclass(type(x), Size):
        return PYTHON_SCALARS[type(x)].type(x)
    if issubclass(type(x), Size):
        return bind(OPS["astype"], (x,), {"dtype": np.dtype(np.int64)})
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
        annotate(better, what, source)
        raise better from None
    annotate(error, what, source)


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
    if issubclass(type(x), Size):
        return x if type(x) in PYTHON_SCALARS else int(x)  # which the Graph shows
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
        annotate(error, f"an array of {clip(repr(x))}")
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


operators.bind, operators.strengthened = bind, strengthened
watch(globals())
