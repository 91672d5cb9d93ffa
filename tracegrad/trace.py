"""Tracing: how a Python function becomes a list of equations.

A transform starts a `Trace`, hands its function `Tracer`s in place of arrays, and whatever NumPy function, operator or
method meets a tracer ends in `bind`. That runs the op once on the values below (arrays, or the tracers of an enclosing
transform, so that transforms nest) and appends one equation to the trace. A trace without values (`eval_shape`, `vmap`)
infers types instead. An equation in a running trace is a bare tuple

    (op, inputs, values, params, out, wanted)

with the inputs as they came, their values one level down, and the positions that hold this trace's own tracers;
`graph.py` turns a finished trace into a `Graph`.
"""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy import ndarray

from tracegrad import tree
from tracegrad.errors import (
    ConcretizationTypeError,
    DtypeError,
    RawSource,
    TracerArrayConversionError,
    UnexpectedTracerError,
    UnsupportedFunctionError,
    at,
    described,
    user_source,
)
from tracegrad.op import OPS, Op, Params
from tracegrad.types import PYTHON_SCALARS, ArrayType, type_of

Equation = tuple[Op, tuple[Any, ...], Sequence[Any], Params, Any, tuple[int, ...]]

# NumPy function or ufunc -> our function of the same signature, filled by `tracegrad.numpy` and `tracegrad.ops`.
FUNCTIONS: dict[Any, Callable[..., Any]] = {}
# ufunc -> op, for the ufuncs that are one op: the short way.
UFUNCS: dict[np.ufunc, Op] = {}

NO_PARAMS: Params = {}
_DIRECT = frozenset([np.ndarray, *PYTHON_SCALARS, *(np.dtype(c).type for c in "?bhilqBHILQefdgFDG")])
_levels = itertools.count()


class Trace:
    """A function being traced. Later traces have higher levels; an op is recorded by the highest among its inputs.

    Levels only grow, so an inner transform is always above what encloses it, in every thread, and a tangent of one can
    never be taken for a tangent of the other (perturbation confusion).
    """

    __slots__ = ("abstract", "eqns", "function", "level", "locked", "names", "record", "transform")

    def __init__(self, transform: str, function: Any, *, abstract: bool = False) -> None:
        self.transform = transform
        self.function = function
        self.abstract = abstract
        self.level = next(_levels)
        self.eqns: list[Equation] = []
        self.record: Callable[[Equation], None] = self.eqns.append
        self.locked: dict[int, tuple[np.ndarray[Any, Any], bool]] = {}
        self.names: Callable[[int], str] | None = None

    def lock(self, array: np.ndarray[Any, Any]) -> None:
        """Make a constant that a derivative will need read-only until the trace is released.

        Writing into it later in the traced function would silently change the derivative; now it raises.
        """
        if id(array) not in self.locked:
            with _holding:
                self._hold(array)

    def _hold(self, array: np.ndarray[Any, Any]) -> None:
        owner = array.base
        if isinstance(owner, np.ndarray) and id(owner) not in self.locked:
            self._hold(owner)
        holding = True
        if id(array) in _held:
            _held[id(array)][1] += 1
        elif array.flags.writeable and _can_be_given_back(array):
            _held[id(array)] = [array, 1]
            array.flags.writeable = False
        else:
            holding = False
        self.locked[id(array)] = array, holding

    def finish(self) -> list[Equation]:
        """Stop recording and hand over the equations; from here on every use of a tracer is a leak.

        The trace lets go of them: a tracer refers to its trace, and the two must not keep each other alive.
        """
        eqns = self.eqns
        self.eqns = []
        self.record = _leaked
        return eqns

    def end(self) -> None:
        """Stop recording, if that has not happened, and give locked constants back."""
        if self.record is not _leaked:
            self.finish()
        if self.locked:
            with _holding:
                _give_back([array for array, holding in self.locked.values() if holding])
            self.locked = {}

    @property
    def ended(self) -> bool:
        return self.record is _leaked

    def __repr__(self) -> str:
        return f"<trace of {described(self.function)} by {self.transform}{', ended' if self.ended else ''}>"


# The arrays that traces hold read-only, each with the number of traces that do: an inner transform that ends must not
# free what an outer one, or another thread, still needs. `_waiting` are views that are free but for their owner.
_held: dict[int, list[Any]] = {}
_waiting: list[np.ndarray[Any, Any]] = []
_holding = threading.Lock()


def _can_be_given_back(array: np.ndarray[Any, Any]) -> bool:
    """Whether NumPy will let us make the array writeable again: not if its memory is a foreign object's."""
    owner = array.base
    if owner is None:
        return True
    if isinstance(owner, np.ndarray):
        return owner.flags.writeable or id(owner) in _held
    try:
        return not memoryview(owner).readonly
    except TypeError:
        return False


def _give_back(arrays: list[np.ndarray[Any, Any]]) -> None:
    """Let go of arrays, owners before their views: NumPy makes no view writeable before its owner is."""
    global _waiting
    for array in arrays:
        _held[id(array)][1] -= 1
    arrays, _waiting = arrays + _waiting, []
    for array in arrays:
        if id(array) in _held and _held[id(array)][1] == 0:
            if isinstance(array.base, np.ndarray) and not array.base.flags.writeable:
                _waiting.append(array)
            else:
                array.flags.writeable = True
                del _held[id(array)]


def _leaked(eqn: Equation) -> NoReturn:
    """What an ended trace does in place of recording."""
    op, inputs = eqn[0], eqn[1]
    leaked = next(x for x in inputs if type(x) is Tracer and x.origin.ended)
    raise UnexpectedTracerError(f"{op.name}: {leaked.leak_text()}")


def bind(op: Op, inputs: tuple[Any, ...], params: Params = NO_PARAMS) -> Any:
    """Apply an op: evaluate it on arrays, or record it in the highest trace among its inputs."""
    trace: Any  # a Trace; not declared as an optional one, which the type checker would have us ask about again
    if len(inputs) == 1 and type(inputs[0]) is Tracer:  # the commonest case, shorter by a fifth
        trace, value = inputs[0].origin, inputs[0].value
        nested = type(value) is Tracer
        values: Sequence[Any] = (value,)
        wanted: tuple[int, ...] = (0,)
    else:
        trace = None
        nested = constants = False
        values = []
        wanted = ()
        for x in inputs:
            kind = type(x)
            if kind is Tracer:
                if trace is None:
                    trace = x.origin
                elif x.origin is not trace:
                    nested = constants = True
                    inputs = tuple([as_array(x) for x in inputs])
                    trace, values, wanted = _highest(inputs)
                    break
                wanted += (len(values),)
                x = x.value
                if type(x) is Tracer:
                    nested = True
            elif kind is ndarray:
                constants = True
            elif kind not in _DIRECT:
                return bind(op, tuple([as_array(x) for x in inputs]), params)
            values.append(x)
        if trace is None:
            out = op.evaluate(*inputs, **params)
            return _weakened(out, inputs) if op.weak else out
        if constants and op.keeps_inputs:
            for x in inputs:
                if type(x) is ndarray:
                    trace.lock(x)

    source = user_source()
    if trace.abstract:
        # There are no values: equations hold the tracers themselves, which have at least their types.
        values = inputs
        types: Any = op.infer([type_of(x) for x in inputs], params)
        out = (
            tuple([Tracer(trace, None, source, t) for t in types]) if op.several else Tracer(trace, None, source, types)
        )
    else:
        try:
            if nested:
                result = bind(op, tuple(values), params)
            else:
                result = op.evaluate(*values, **params)
                if op.weak and type(result) is not ndarray:
                    result = _weakened(result, values)
        except Exception as error:
            raise _explained(error, op, inputs, params, source) from None
        if op.several:
            out = tuple([Tracer(trace, r, source) for r in result])
        else:
            out = Tracer(trace, result, source)
    trace.record((op, inputs, values, params, out, wanted))
    return out


def _highest(inputs: tuple[Any, ...]) -> tuple[Trace, list[Any], tuple[int, ...]]:
    """The trace that records an op on tracers of several: the highest. The values one level below it, and which inputs
    are its own."""
    trace = max([x.origin for x in inputs if type(x) is Tracer], key=lambda t: t.level)
    own = tuple([i for i, x in enumerate(inputs) if type(x) is Tracer and x.origin is trace])
    return trace, [x.value if i in own else x for i, x in enumerate(inputs)], own


def _weakened(result: Any, values: Any) -> Any:
    """Arithmetic of Python scalars alone gives a Python scalar, whose dtype yields to any array's."""
    if isinstance(result, np.generic):
        for v in values:
            if type(v) not in PYTHON_SCALARS:
                return result
        return result.item()
    return result


def _explained(error: Exception, op: Op, inputs: Any, params: Params, source: Any) -> Exception:
    """The type rule's error for inputs that NumPy refused, since it knows the op; else NumPy's, with the place noted."""
    if op.runs_user_code or getattr(error, "_tracegrad_placed", False):
        return error
    listing = ", ".join(map(str, [type_of(x) for x in inputs]))
    try:
        op.infer([type_of(x) for x in inputs], params)
    except (ValueError, TypeError) as better:
        error = better
    place = f"in {op.name} of {listing}{at(source)}"
    if error.args and isinstance(error.args[0], str) and len(error.args) == 1:
        error.args = (f"{error.args[0]}\n  {place}",)
    else:
        error.add_note(place)
    error._tracegrad_placed = True  # type: ignore[attr-defined]
    return error


def as_array(x: Any) -> Any:
    """What `bind` takes: tracers and arrays as they are, sequences as arrays (of tracers: stacked), else TypeError."""
    if type(x) in _DIRECT:
        return x
    if type(x) is Tracer:
        if x.origin.ended:
            raise UnexpectedTracerError(x.leak_text())
        return x
    if isinstance(x, list | tuple) and contains_tracer(x):
        return FUNCTIONS[np.array](x)
    array = np.asarray(x)
    if array.dtype.kind not in "biufcV":
        raise DtypeError(
            f"a {type(x).__name__} is not an array of numbers: {_clip(repr(x))} (dtype {array.dtype}); "
            "pass numbers, NumPy arrays or pytrees of them"
        )
    return array


def contains_tracer(x: Any) -> bool:
    """Whether a value, or a nested list or tuple, holds a tracer."""
    if type(x) is Tracer:
        return True
    return isinstance(x, list | tuple) and any(contains_tracer(item) for item in x)


def concrete(x: Any, what: str, instead: str = "") -> Any:
    """The plain value under a tracer, for what must be known while tracing (a shape, a mask). Drops the derivative."""
    seen = x
    while type(seen) is Tracer:
        if seen.origin.ended:
            raise UnexpectedTracerError(f"{what}: {seen.leak_text()}")
        if seen.value is None:
            raise ConcretizationTypeError(seen.no_value_text(what, instead))
        seen = seen.value
    return seen


def _clip(text: str, width: int = 200) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _operator(name: str, reflected: bool = False) -> Callable[[Any, Any], Any]:
    if reflected:
        return lambda self, other: bind(OPS[name], (other, self))
    return lambda self, other: bind(OPS[name], (self, other))


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """An ndarray method that is the NumPy function of the same name."""
    return lambda self, *args, **kwargs: FUNCTIONS[function](self, *args, **kwargs)


class Tracer:
    """Stands for an array while a function is traced. Everything that NumPy does to arrays is recorded through it.

    `origin` is the trace that it belongs to; `value` is what it stands for one level down: an array, a tracer of the enclosing transform, or None where only the
    type is known. `source` is where it was made: a raw source, or for an input of the trace its number.
    """

    __slots__ = ("_type", "origin", "source", "value")
    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]

    origin: Trace
    value: Any
    source: RawSource | int | None

    def __init__(self, trace: Trace, value: Any, source: Any, type: ArrayType | None = None) -> None:
        self.origin = trace
        self.value = value
        self.source = source
        self._type = type

    # What is known of the array.
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
            op = UFUNCS.get(ufunc)
            if op is not None:
                return bind(op, inputs)
        return FUNCTIONS[np.ufunc](ufunc, method, *inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        function = FUNCTIONS.get(func)
        if function is None:
            raise unsupported(func)
        return function(*args, **kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TracerArrayConversionError(
            f"NumPy wanted a plain array of {self.described()}{at(user_source())}; that would cut it off from the "
            f"{self.origin.transform} of {described(self.origin.function)}.\n"
            "  Assigning into an array: write `y = tnp.stack(parts)` or `y = tnp.asarray(y).at[i].set(v)` in place of "
            "`y[i] = v`\n"
            "  Making an array: write `tnp.array([...])` or `np.stack([...])` in place of `np.array([...])`\n"
            "  (with `import tracegrad.numpy as tnp`)\n"
            "  A function that NumPy cannot hand to us: `tnp` has it, or it needs `tg.custom_vjp`."
        )

    # Python scalars: answered from the value where nothing differentiable is lost.
    def __bool__(self) -> bool:
        return bool(
            concrete(
                self,
                "bool()",
                "write `np.where(condition, a, b)` or `tg.lax.cond`, or pass the deciding argument as a static one",
            )
        )

    def __int__(self) -> int:
        return int(concrete(self, "int()", "pass the number as a static argument"))

    def __index__(self) -> int:
        value = concrete(self, "an index or a size", "pass the number as a static argument")
        if np.asarray(value).dtype.kind not in "iub" or np.ndim(value):
            raise TypeError(f"only integer scalars can be an index, not {self.described()}")
        return int(value)

    def _refuse(self, what: str) -> NoReturn:
        raise ConcretizationTypeError(
            f"{what} of {self.described()}{at(user_source())} would make a plain Python number of it, and the "
            f"{self.origin.transform} of {described(self.origin.function)} would silently lose its derivative.\n"
            "  Write NumPy's function in place of math's: `np.sin(x)`, not `math.sin(x)`.\n"
            "  To drop the derivative knowingly, pass the value in another way: as an argument that is not "
            "differentiated, or computed outside."
        )

    def __float__(self) -> NoReturn:
        self._refuse("float() (or a function of the math module)")

    def __complex__(self) -> NoReturn:
        self._refuse("complex() (or a function of the cmath module)")

    def item(self, *args: Any) -> Any:
        """The element at `args` (or the only one) as a 0-d tracer: a Python number would lose the derivative."""
        if args:
            return self.reshape(-1)[args[0]] if len(args) == 1 and np.ndim(args[0]) == 0 else self[args]
        if self.size != 1:
            raise ValueError(f"item() needs an array of one element, got {self.described()}")
        return self.reshape(())

    def tolist(self) -> Any:
        return self if self.ndim == 0 else [row.tolist() for row in self]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len() of a scalar: {self.described()}")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError(f"iteration over a scalar: {self.described()}")
        return (self[i] for i in range(self.shape[0]))

    # Operators.
    __add__, __radd__ = _operator("add"), _operator("add", True)
    __sub__, __rsub__ = _operator("subtract"), _operator("subtract", True)
    __mul__, __rmul__ = _operator("multiply"), _operator("multiply", True)
    __truediv__, __rtruediv__ = _operator("divide"), _operator("divide", True)
    __floordiv__, __rfloordiv__ = _operator("floor_divide"), _operator("floor_divide", True)
    __mod__, __rmod__ = _operator("remainder"), _operator("remainder", True)
    __pow__, __rpow__ = _operator("power"), _operator("power", True)
    __and__, __rand__ = _operator("bitwise_and"), _operator("bitwise_and", True)
    __or__, __ror__ = _operator("bitwise_or"), _operator("bitwise_or", True)
    __xor__, __rxor__ = _operator("bitwise_xor"), _operator("bitwise_xor", True)
    __lshift__, __rlshift__ = _operator("left_shift"), _operator("left_shift", True)
    __rshift__, __rrshift__ = _operator("right_shift"), _operator("right_shift", True)
    __eq__ = _operator("equal")
    __ne__ = _operator("not_equal")
    __lt__, __le__ = _operator("less"), _operator("less_equal")
    __gt__, __ge__ = _operator("greater"), _operator("greater_equal")

    def __neg__(self) -> Any:
        return bind(OPS["negative"], (self,))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return bind(OPS["absolute"], (self,))

    def __invert__(self) -> Any:
        return bind(OPS["invert"], (self,))

    def __matmul__(self, other: Any) -> Any:
        return FUNCTIONS[np.matmul](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return FUNCTIONS[np.matmul](other, self)

    def __divmod__(self, other: Any) -> Any:
        return FUNCTIONS[np.divmod](self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return FUNCTIONS[np.divmod](other, self)

    def __round__(self, ndigits: int | None = None) -> Any:
        return FUNCTIONS[np.round](self, ndigits or 0)

    def __getitem__(self, index: Any) -> Any:
        return FUNCTIONS[np.ndarray.__getitem__](self, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            f"{self.described()} cannot be written into{at(user_source())}: traced arrays do not change.\n"
            "  In place of `x[i] = v` write `x = x.at[i].set(v)`; of `x[i] += v`, `x = x.at[i].add(v)`."
        )

    @property
    def at(self) -> Any:
        """`x.at[i].set(v)`, `.add(v)`, `.multiply(v)`, `.min(v)`, `.max(v)`, `.get()`: an updated copy (as in jax)."""
        return FUNCTIONS[np.ndarray.__setitem__](self)

    # ndarray's methods and attributes.
    all, any = _method(np.all), _method(np.any)
    argmax, argmin, argsort = _method(np.argmax), _method(np.argmin), _method(np.argsort)
    clip, conj, conjugate, copy = _method(np.clip), _method(np.conjugate), _method(np.conjugate), _method(np.copy)
    compress = lambda self, condition, axis=None: FUNCTIONS[np.compress](condition, self, axis)
    cumprod, cumsum = _method(np.cumprod), _method(np.cumsum)
    diagonal, trace = _method(np.diagonal), _method(np.trace)
    dot, max, min = _method(np.dot), _method(np.max), _method(np.min)
    mean, nonzero, prod = _method(np.mean), _method(np.nonzero), _method(np.prod)
    ravel, flatten, repeat, round = _method(np.ravel), _method(np.ravel), _method(np.repeat), _method(np.round)
    searchsorted, squeeze = _method(np.searchsorted), _method(np.squeeze)
    std, sum, swapaxes, take, var = (
        _method(np.std),
        _method(np.sum),
        _method(np.swapaxes),
        _method(np.take),
        _method(np.var),
    )

    def reshape(self, *shape: Any, order: Any = "C") -> Any:
        return FUNCTIONS[np.reshape](self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:
        return FUNCTIONS[np.transpose](self, (axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any, **_: Any) -> Any:
        return FUNCTIONS[np.astype](self, dtype)

    def sort(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"x.sort() sorts in place, which a traced array cannot{at(user_source())}; write `x = np.sort(x)`"
        )

    @property
    def T(self) -> Any:
        return FUNCTIONS[np.transpose](self)

    @property
    def mT(self) -> Any:
        return FUNCTIONS[np.swapaxes](self, -1, -2)

    @property
    def real(self) -> Any:
        return FUNCTIONS[np.real](self)

    @property
    def imag(self) -> Any:
        return FUNCTIONS[np.imag](self)

    @property
    def flat(self) -> Any:
        return FUNCTIONS[np.ravel](self)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> NoReturn:
        hint = (
            f"; an ndarray has it, but it is not traced: see whether `tnp.{name}` serves"
            if hasattr(np.ndarray, name)
            else ""
        )
        raise AttributeError(f"{self.described()} has no attribute {name!r}{hint}")

    # What a tracer tells of itself.
    def described(self) -> str:
        return f"a traced {self.type}, {self._made()}"

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
            f"a tracer leaked: {self._made()} ({self.type}) escaped from the {self.origin.transform} of "
            f"{described(self.origin.function)}, which has ended, and was used{at(user_source())}.\n"
            "  Return the value from the function (with has_aux=True if it is not the result) rather than storing it "
            "in an outer variable, attribute or cache."
        )

    def no_value_text(self, what: str, instead: str) -> str:
        return (
            f"{what} needs the value of {self.described()}{at(user_source())}, but the {self.origin.transform} of "
            f"{described(self.origin.function)} knows its type only." + (f"\n  Instead, {instead}." if instead else "")
        )

    def __repr__(self) -> str:
        ended = " (ended)" if self.origin.ended else ""
        value = "" if self.value is None else f" = {self.value!r}"
        return f"<traced {self.type} of {self.origin.transform}{ended}{value}>"

    def __format__(self, spec: str) -> str:
        return repr(self) if self.value is None else format(self.value, spec)


def unsupported(function: Any, how: str = "") -> UnsupportedFunctionError:
    """The error for a NumPy function that is not traced, or not when called this way."""
    module = getattr(function, "__module__", None) or "numpy"
    name = getattr(function, "__name__", repr(function))
    kind = "ufunc" if isinstance(function, np.ufunc) else "function"
    return UnsupportedFunctionError(
        f"{module}.{name}{how} is not traced{at(user_source())}.\n"
        f"  `tracegrad.numpy` lists what is. If the {kind} matters to you, give it a derivative with `tg.custom_vjp` or "
        "`tg.custom_jvp`, or call it on values that are not being traced."
    )


def tracer_inputs(trace: Trace, values: Sequence[Any]) -> list[Tracer]:
    """One tracer for each input value, or for each ArrayType in an abstract trace."""
    if trace.abstract:
        return [Tracer(trace, None, i, t) for i, t in enumerate(values)]
    return [Tracer(trace, v, i) for i, v in enumerate(values)]


def leaf_names(
    function: Any, arguments: tree.PyTreeDef, positions: Sequence[int] | None = None
) -> Callable[[int], str]:
    """How to name the leaves of a tuple of arguments: parameter and key path, found out when somebody asks.

    `positions` says which positional arguments of the function the tuple holds, if not all from the first on.
    """

    def name(leaf: int) -> str:
        numbered = tree.tree_unflatten(arguments, list(range(arguments.num_leaves)))
        path, _ = tree.tree_leaves_with_path(numbered)[leaf]
        position = path[0].idx
        return parameter_name(function, position if positions is None else positions[position]) + tree.keystr(path[1:])

    return name


def parameter_name(function: Any, position: int) -> str:
    """What the function calls its positional argument; `args[i]` if that cannot be known."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return f"args[{position}]"
    for i, p in enumerate(parameters):
        if p.kind is p.VAR_POSITIONAL:
            return f"{p.name}[{position - i}]"
        if i == position and p.kind is not p.KEYWORD_ONLY:
            return p.name
    return f"args[{position}]"
