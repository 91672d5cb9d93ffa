"""Code that writes into arrays, traced: which memory a traced array lies in, and what that memory holds by now.

A variable of a trace never changes. What a user holds does: after `v = u[1:-1]; v *= 3` both `u` and `v` are other values
than before. So a `Tracer` is two things at once. To equations it is a variable, for good. To the user it is an array, and
from the first write on, into it or into anything that shares its memory, it is a `Written`: of the same identity, but all
that is done with it is done with another variable, that which holds its value now (`present`).

A `Memory` is what NumPy would have allocated: the variable that holds its value `now`, and a version, which counts writes.
A `Place` in it is a chain of the ops that NumPy makes views by (`Op.view`: slices, transposes, ...). To write into a view is to
write into its memory by the inverse of the chain, and a view is made anew, by the chain, when it is read after a write.

None of this costs anything before the first write: which variables are views of which is then read off the trace's
equations (`Ledger`), which hold it anyway. Whether a reshape is a view or a copy depends on strides, which are NumPy's to
tell: each place has a `layout`, an array of its strides that nobody reads or writes (`np.empty` takes no memory until somebody
does), and NumPy makes the same view of it.

Equations that another trace has recorded with such a tracer, which is a constant to that trace, mean the variable: they
get one in its place (`_hand_over`). A trace that ends gives its tracers their class back: what they were as variables is
all that interpreters want to know.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.context import open_traces, traces_here, writing
from tracegrad.core.errors import CALL_ERRORS, UnexpectedTracerError, at, user_source
from tracegrad.core.functions import FUNCTIONS
from tracegrad.core.memory import copied
from tracegrad.core.op import OPS, Op, Params
from tracegrad.core.plain import PLAIN
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import Equation, Trace, as_array, bind
from tracegrad.core.tracer import Tracer, present, set_class, settled

Step = tuple[Op, Params]


class Written(Tracer):
    """A tracer into which the user has written, or into what shares its memory: an array that is, whatever is done with
    it, another variable than the one that equations know it as."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        # Which of the inputs `at` writes into, and `out` too, it has to know as the user does.
        if method != "at":
            inputs = tuple([settled(x) for x in inputs])
        return FUNCTIONS[np.ufunc](ufunc, method, *inputs, **kwargs)


def _of_the_present(member: Any) -> Any:
    @functools.wraps(member)
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        return member(present(self), *args, **kwargs)

    return method


# What is done with the array as it is now. Its type never changes, and what writes has to know it as the user does.
_OF_THE_PRESENT = """
    __bool__ __int__ __index__ __float__ __complex__ item tolist __iter__ __add__ __radd__ __sub__ __rsub__
    __mul__ __rmul__ __truediv__ __rtruediv__ __floordiv__ __rfloordiv__ __mod__ __rmod__ __pow__ __rpow__
    __and__ __rand__ __or__ __ror__ __xor__ __rxor__ __lshift__ __rlshift__ __rshift__ __rrshift__ __eq__ __ne__
    __lt__ __le__ __gt__ __ge__ __neg__ __pos__ __abs__ __invert__ __matmul__ __rmatmul__ __divmod__ __rdivmod__
    __round__ __getitem__ all any argmax argmin argsort clip copy cumprod cumsum diagonal trace dot max min mean
    nonzero prod ravel repeat round searchsorted squeeze std sum swapaxes take var flatten conj conjugate
    reshape transpose astype compress described _made name leak_text no_value_text inputs_behind __repr__
    __format__ __array__ _number _require_running
"""
for _name in _OF_THE_PRESENT.split():
    _member = getattr(Tracer, _name)
    if isinstance(_member, property):
        setattr(Written, _name, property(_of_the_present(_member.fget)))
    else:
        setattr(Written, _name, _of_the_present(_member))
for _name in ("at", "T", "mT"):
    setattr(Written, _name, property(_of_the_present(getattr(Tracer, _name).fget)))
for _name in ("real", "imag"):
    _member = getattr(Tracer, _name)
    setattr(Written, _name, property(_of_the_present(_member.fget), _member.fset))
# A class that has an equality of its own has no hash unless it says so.
Written.__hash__ = Tracer.__hash__  # type: ignore[method-assign]
PLAIN.add(Written)


class Memory:
    """What NumPy would have allocated for an array. `entries` are the variables that hold values of it, or of a place in
    it, as they are now, and from which others may have been made since; `first` is the one that it began as."""

    __slots__ = ("entries", "first", "layout", "now", "version")

    def __init__(self, first: Tracer) -> None:
        self.first = first
        self.layout = _new_layout(first)
        self.now = first
        self.entries = [first]
        self.version = 0


class Place:
    """Where in its memory a traced array lies: what a view does to all of it. `variable` is what lies there in `version`."""

    __slots__ = ("chain", "layout", "memory", "variable", "version")

    def __init__(self, memory: Memory, chain: tuple[Step, ...], layout: Any, variable: Tracer) -> None:
        self.memory = memory
        self.chain = chain
        self.layout = layout
        self.variable = variable
        self.version = memory.version

    def renew(self) -> Tracer:
        """The variable that lies here now."""
        x = self.memory.now
        for op, params in self.chain:
            x = bind(op, (x,), params)
        self.variable, self.version = x, self.memory.version
        return x


class Doubtful(Place):
    """Where a number lies of which a view with axes was written into. NumPy's arrays without axes are written into by that, its
    scalars are not, and a tracer stands for either: nobody may ask what it is now."""

    __slots__ = ("line",)

    def __init__(self, memory: Memory, variable: Tracer) -> None:
        super().__init__(memory, (), variable, variable)
        self.version = -1
        self.line = at(user_source())

    def renew(self) -> Tracer:
        raise TypeError(
            f"a value without axes, {self.variable.type}, is read{at(user_source())} after a view of it was written "
            f"into{self.line}. An array without axes would have changed, a number would not, and it is not known which of "
            "the two this is: write into it by `x[...] = v`, or read the view"
        )


class Ledger:
    """What is known of the variables of a trace, read off its equations as far as these went when somebody wrote.

    makers    the number of the equation that makes a variable, by the variable's id
    views     the variables that were made as views of one, by its id, and are no `Written` yet
    foreign   the equations that hold a tracer of an enclosing trace, by its id
    places    the place of a variable, by its id; found out when somebody asks
    written   the tracers of the trace that are `Written`
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.count = 0
        self.makers: dict[int, int] = {}
        self.views: dict[int, list[Tracer]] = {}
        self.foreign: dict[int, list[int]] = {}
        self.places: dict[int, Place] = {}
        self.written: list[Tracer] = []
        writing.add(trace.level)

    def read_on(self) -> None:
        trace = self.trace
        eqns = trace.eqns
        for number in range(self.count, len(eqns)):
            op, inputs, _, _, out, _, _ = eqns[number]
            outs = out if op.multiple_results else (out,)
            for o in outs:
                self.makers[id(o)] = number
            if op.view is not None:
                self.views.setdefault(id(inputs[0]), []).extend(outs)
            for x in inputs:
                if isinstance(x, Tracer) and x.origin is not trace:
                    self.foreign.setdefault(id(x), []).append(number)
        self.count = len(eqns)

    def close(self) -> None:
        """Give the tracers of a trace that ends their class back."""
        writing.discard(self.trace.level)
        for x in self.written:
            set_class(x, Tracer)
            del x.state


def ledger_of(trace: Trace) -> Ledger:
    """What is known of a trace's variables, all its equations read."""
    ledger = trace.ledger
    if ledger is None:
        ledger = trace.ledger = Ledger(trace)
    if ledger.count != len(trace.eqns):
        ledger.read_on()
    return ledger


def _maker(x: Tracer) -> Any:
    """The equation that makes a variable, None for an input of its trace."""
    number = ledger_of(x.origin).makers.get(id(x))
    return None if number is None else x.origin.eqns[number]


def place_of(x: Tracer) -> Place:
    """Where an array lies."""
    if type(x) is Written:
        return x.state
    waiting: list[tuple[Tracer, Step]] = []
    while (place := ledger_of(x.origin).places.get(id(x))) is None:
        eqn = _maker(x)
        if eqn is None or eqn[0].view is None or not isinstance(eqn[1][0], Tracer):
            place = _alone(x)
            break
        op, (parent, *_), _, params, out = eqn[:5]
        number = next(i for i, o in enumerate(out) if o is x) if op.multiple_results else 0
        waiting.append((x, op.view.step(op, params, number, parent.shape)))
        if type(parent) is Written:
            place = parent.state
            break
        x = parent
    for v, step in reversed(waiting):
        op, params = step
        assert op.view is not None
        layout = op.view.layout(place.layout, **params)
        if layout is None:
            place = _alone(v)
        else:
            place = Place(place.memory, (*place.chain, step), layout, v)
            ledger_of(v.origin).places[id(v)] = place
    return place


def _alone(x: Tracer) -> Place:
    """The place of an array that has memory of its own."""
    memory = Memory(x)
    place = ledger_of(x.origin).places[id(x)] = Place(memory, (), memory.layout, x)
    return place


def _new_layout(x: Tracer) -> Any:
    """An array of the strides that NumPy's result has, which may go back a long way: an elementwise op keeps the order of
    axes of what it is given."""
    orders: dict[int, Order] = {}  # of variables with more than one axis, by id
    waiting = [x] if x.ndim > 1 else []
    while waiting:
        v = waiting[-1]
        place = v.state if type(v) is Written else ledger_of(v.origin).places.get(id(v))
        eqn = _maker(v)
        if place is not None:
            found = _order(place.layout)
        elif eqn is None or eqn[0].multiple_results:
            found = None
        else:
            inputs = [i for i in eqn[1] if isinstance(i, Tracer) and i.ndim > 1]
            if missing := [i for i in inputs if id(i) not in orders]:
                waiting += missing
                continue
            found = _order_of_result(eqn, {id(i): orders[id(i)] for i in inputs}, v)
        orders[id(waiting.pop())] = found
    return _ordered(x.shape, orders.get(id(x)), x.dtype)


def _order_of_result(eqn: Equation, orders: dict[int, Order], out: Tracer) -> Order:
    """The order of axes in what an op makes of tracers with more than one axis, which have these orders."""
    op, inputs, _, params, _, _, _ = eqn
    layouts = [_ordered(i.shape, orders[id(i)], i.dtype) for i in inputs if id(i) in orders]
    if op.same and not layouts:  # of a plain array, as that lies
        made = inputs[0]
    elif op.same:
        made = layouts[0] if params["order"] == "K" else np.empty(out.shape, out.dtype, params["order"])
    elif op.view is not None:
        made = op.view.layout(*layouts, **params) if layouts else None
    elif not any(orders.values()):
        return None
    elif op.elementwise:
        made = layouts[0] if len(layouts) == 1 and layouts[0].shape == out.shape else _joint(layouts, out.shape)
    else:  # whatever NumPy makes of such an array of zeros
        rest = iter(layouts)
        zeros = [np.zeros_like(next(rest) if id(i) in orders else i) if isinstance(i, Tracer) else i for i in inputs]
        try:
            made = quietly(("all",), op.evaluate, *zeros, **params)
        except CALL_ERRORS:
            made = None
    return _order(made) if isinstance(made, np.ndarray) else None


def _joint(layouts: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """How NumPy lays out the result of a ufunc of such arrays, and perhaps others that are of fewer dimensions."""
    axes = [[-1] * (len(shape) - a.ndim) + list(range(a.ndim)) for a in layouts]
    flags = [["readonly"]] * len(layouts) + [["writeonly", "allocate"]]
    iterator = np.nditer([*layouts, None], ["zerosize_ok"], flags, op_axes=[*axes, None], itershape=shape)  # type: ignore
    return iterator.operands[-1]


Order = tuple[int, ...] | None


def _order(layout: Any) -> Order:
    """The axes from the slowest to the fastest, None if they are in order."""
    order = tuple(sorted(range(layout.ndim), key=lambda i: -abs(layout.strides[i])))
    return None if order == tuple(range(layout.ndim)) else order


def _ordered(shape: tuple[int, ...], order: Order, dtype: Any) -> Any:
    if order is None:
        return np.empty(shape, dtype)
    back = tuple(sorted(range(len(order)), key=order.__getitem__))
    return np.empty([shape[i] for i in order], dtype).transpose(back)


# ---------------------------------------------------------------------------------------------------------------------
# Writing.


def require_writable(x: Tracer, what: str) -> Place:
    """The place of an array that is about to be written into, or an error that says why it cannot be."""
    x._require_running()
    if x.origin.executes:
        raise TypeError(
            f"{what}{at(user_source())} writes into a jax array, {x.type}, and these do not change; write "
            "`x = tnp.at(x)[i].set(v)`, or hand over a NumPy array"
        )
    place = place_of(x)
    if type(place) is Doubtful:
        place.renew()
    for op, _ in place.chain:
        assert op.view is not None
        if op.view.put is None:
            raise ValueError(
                f"assignment destination is read-only: {what}{at(user_source())} writes into {x.described()}, a view that "
                "is read-only; write into the array itself, or into a copy, x.copy()"
            )
    _require_own(place.memory.first, x, what)
    return place


def _require_own(first: Tracer, x: Tracer, what: str) -> None:
    """A function that is traced may run any number of times, or be traced once and run later: what it writes into arrays
    from outside would be done once, or never."""
    for trace in traces_here():
        if trace.ended or trace.level <= first.origin.level or first.origin.level not in (trace.before or ()):
            continue
        if ledger_of(first.origin).makers.get(id(first), -1) < trace.before[first.origin.level]:
            raise UnexpectedTracerError(
                f"{what}{at(user_source())} writes into {x.described()}, which comes from outside of the "
                f"{trace.described()}: that is traced now, and need not run once, so that what it writes there would be "
                "lost.\n  Write into a copy, `u = u.copy()`, and return it, or pass the array as an argument and return "
                "what it has become."
            )


def write(x: Tracer, place: Place, value: Any) -> None:
    """Have an array be `value`, of its own shape and dtype, from now on; and all that shares its memory what that makes
    it. `place` is the array's, from `require_writable`."""
    memory = place.memory
    bases = [memory.now]
    for op, params in place.chain[:-1]:
        bases.append(bind(op, (bases[-1],), params))
    new = value
    for (op, params), base in zip(reversed(place.chain), reversed(bases), strict=False):
        assert op.view is not None and op.view.put is not None
        new = op.view.put(base, new, **params)
    _begin_version(memory, new)
    if place.chain and type(value) is Tracer:
        place.variable, place.version = value, memory.version
        memory.entries.append(value)
        ledger_of(value.origin).places[id(value)] = Place(memory, place.chain, place.layout, value)
    _become_written(x, place)


def write_into(x: Tracer, place: Place, value: Any, index: Any, arrays: Sequence[Any]) -> None:
    """`x[index] = value`, for an index in the form of `ops/index.py`. Through slices it is written where it belongs at
    once: not into a copy of the slice, which then is written into its memory."""
    chain = place.chain
    layouts = [place.memory.layout]
    for op, params in chain[:-1]:
        assert op.view is not None
        layouts.append(op.view.layout(layouts[-1], **params))
    while chain:
        op, params = chain[-1]
        assert op.view is not None
        further = None if op.view.within is None else op.view.within(index, arrays, layouts.pop().shape, params)
        if further is None:
            break
        index, arrays = further
        chain = chain[:-1]
    target: Any = place.memory.now
    bases = []
    for op, params in chain:
        bases.append(target)
        target = bind(op, (target,), params)
    new = bind(OPS["scatter"], (target, value, *arrays), {"index": index})
    for (op, params), base in zip(reversed(chain), reversed(bases), strict=True):
        assert op.view is not None and op.view.put is not None
        new = op.view.put(base, new, **params)
    _begin_version(place.memory, new)
    _become_written(x, place)


def view_at(x: Tracer, place: Place, step: Step, layout: Any) -> Tracer:
    """An array that lies one further step away from the memory of a place, whose value now is `x`."""
    view = Tracer(x.origin, x.value, x.source, x._type)
    _become_written(view, Place(place.memory, (*place.chain, step), layout, x))
    return view


def _begin_version(memory: Memory, new: Any) -> None:
    if memory.version == 0:
        _doubt_number(memory)
    waiting = list(memory.entries)
    level = memory.first.origin.level
    ledgers = [ledger_of(t) for t in traces_here() if t.level >= level and not t.ended]
    while waiting:
        v = waiting.pop()
        place = place_of(v)
        if place.memory is memory:
            for ledger in ledgers:
                waiting += ledger.views.pop(id(v), ())
            _become_written(v, place)
    if not new.shape:
        new.state = None  # an array, which a number is not
    memory.now = new
    memory.version += 1
    memory.entries = [new]
    ledger_of(new.origin).places[id(new)] = Place(memory, (), memory.layout, new)


def _doubt_number(memory: Memory) -> None:
    """Where memory that is about to be written into was made as a view of a value without axes, have nobody read that."""
    eqn = _maker(memory.first)
    if eqn is not None and eqn[0].view is not None and isinstance(number := eqn[1][0], Tracer) and not number.shape:
        _become_written(number, Doubtful(memory, number))


def _become_written(x: Tracer, place: Place) -> None:
    """Have a tracer be what lies at a place, from now on. It stays a variable to the equations."""
    if type(x) is Written:
        return
    _hand_over(x)
    x.state = place
    set_class(x, Written)
    ledger_of(x.origin).written.append(x)


def _hand_over(x: Tracer) -> None:
    """Give the equations of traces above, to which the tracer is a constant, another one in its place, for the variable
    that it has been so far."""
    alias = None
    for trace in traces_here():
        if trace.level <= x.origin.level or trace.ended:
            continue
        ledger = ledger_of(trace)
        for number in ledger.foreign.pop(id(x), ()):
            if alias is None:
                alias = alias_of(x)
            op, inputs, values, *rest = trace.eqns[number]
            inputs, values = [[alias if v is x else v for v in both] for both in (inputs, values)]
            trace.eqns[number] = op, tuple(inputs), values, *rest
            ledger.foreign.setdefault(id(alias), []).append(number)


def alias_of(x: Tracer) -> Tracer:
    """Another tracer for the same value, which nobody else has, and nobody will write into."""
    trace = x.origin
    if trace.executes:
        return x
    alias = Tracer(trace, x.value, user_source(), x._type)
    trace.record((OPS["copy"], (x,), (x,) if trace.abstract else (x.value,), {"order": "K"}, alias, (0,), None))
    return alias


def own(x: Any) -> Any:
    """A value as one that nobody else will write into: what a function is called with, and what derivatives are taken at
    whatever is written later."""
    if type(x) is np.ndarray:
        return copied(x)
    return alias_of(as_array(x)) if isinstance(x, Tracer) else x


def own_traced(x: Any) -> Any:
    """A tree with what is traced in it for a function's own, which it may write into as it does where it is traced itself."""
    return tree.tree_map(lambda leaf: own(leaf) if isinstance(leaf, Tracer) else leaf, x) if open_traces else x
