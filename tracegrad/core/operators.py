"""What NumPy's functions, operators, methods and attributes do with tracers: all that ndarrays have.

It ends in `bind` or in one of the functions of `FUNCTIONS`, which stand above this file, since they know tracers."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy import ndarray

from tracegrad.core import advice
from tracegrad.core.context import context, sizing, writing
from tracegrad.core.errors import CALL_ERRORS, DtypeError, annotate, annotate_public, at, unsupported, user_source
from tracegrad.core.functions import FUNCTIONS, UFUNCS
from tracegrad.core.late import LOADERS
from tracegrad.core.numpy_warnings import again, has_warned, watch
from tracegrad.core.op import NO_PARAMS, OPS, Op
from tracegrad.core.plain import NO_NUMBERS
from tracegrad.core.sizes import counted, for_caller
from tracegrad.core.types import DIRECT, PYTHON_SCALARS, number_kind, type_of
from tracegrad.core.variable import Variable


def _not_loaded(*_: Any) -> Any:
    raise RuntimeError("tracegrad.core has not been loaded as a whole: write `import tracegrad`")


# What records ops and calls stands above, and puts itself here: `trace.py` the first two, `calls.py` the others.
bind: Callable[..., Any] = _not_loaded
strengthened: Callable[[Any], Any] = _not_loaded
call_anew: Callable[..., Any] = _not_loaded
called: Callable[..., Any] = _not_loaded
made_like: Callable[..., Any] = _not_loaded

# Python calls a method of what is imported the longer way.
_op_of, _function_of = UFUNCS.known, FUNCTIONS.known

# NumPy's functions that are handed to a tracer for the sake of `like=` alone.
MAKE_LIKE: frozenset[Any] = frozenset([
    np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.require, np.arange, np.zeros, np.ones,
    np.empty, np.full, np.eye, np.identity, np.tri, np.fromfunction, np.fromiter, np.frombuffer, np.fromstring,
])  # fmt: skip


def place_call(error: Exception, function: Any, args: Sequence[Any]) -> None:
    """Add to an error of a NumPy function the types that it was called with, and where."""
    arrays = [x for arg in args for x in (arg if isinstance(arg, list | tuple) else (arg,))]
    types = [str(type_of(x)) for x in arrays if isinstance(x, Variable | np.ndarray)]
    annotate(error, f"{function.__name__} of {', '.join(types)}" if types else function.__name__)


def _are_weak(inputs: Sequence[Any]) -> bool:
    """Whether they are Python scalars, or traced ones."""
    return all([x.type.weak if isinstance(x, Variable) else type(x) in PYTHON_SCALARS for x in inputs])


# Where ndarray's operator gives other bits than np.power, or another dtype: the dtype kind, the power -> the ufunc.
_POWERS = {
    ("b", 2): "square", ("f", 0.5): "sqrt", ("c", 2): "square", ("c", 0.5): "sqrt", ("c", -1): "reciprocal",
}  # fmt: skip


_TURNED = {"axes": (1, 0)}


def _operator(name: str, reflected: bool = False) -> Callable[[Any, Any], Any]:
    op: Op | None = None  # asked for at the first call, since there may be none by now

    def method(self: Any, other: Any) -> Any:
        nonlocal op
        if op is None:
            op = OPS[name]
        try:
            return bind(op, (other, self) if reflected else (self, other), NO_PARAMS, 3)
        except DtypeError:
            if getattr(type(other), "__array_ufunc__", self) is None:
                return NotImplemented  # it does operators itself, as one of our sparse arrays
            raise

    return method


def _equality(name: str, of_none: bool) -> Callable[[Any, Any], Any]:
    """`==` or `!=`; `x == None` holds nowhere, which of a number is a bool of Python's."""

    def method(self: Any, other: Any) -> Any:
        if other is not None:
            return bind(OPS[name], (self, other))
        return np.full(self.shape, of_none)[()] if self.shape or hasattr(self, "state") else of_none

    return method


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """An ndarray method that is the NumPy function of the same name."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
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


def _method_alone(name: str) -> Callable[..., Any]:
    """An ndarray method that NumPy has no function for: one that writes into the array, or reads its memory anew."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
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

    def method(self: Any, other: Any) -> Any:
        if self.ndim == 0 and not hasattr(self, "state"):
            return operation(self, other)
        return FUNCTIONS["op="](ufunc, operation, self, other)

    return method


def is_sparse(x: Any) -> bool:
    """Whether it is one of SciPy's sparse arrays or matrices."""
    scipy = sys.modules.get("scipy.sparse")
    return scipy is not None and bool(scipy.issparse(x))


class Operators(Variable):
    """All that NumPy does to arrays, recorded."""

    __slots__ = ()

    # NumPy's protocols.
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs:
            op = _op_of(ufunc)  # one that has not been loaded goes the longer way
            if op is not None:
                if op.python is not None and type(self.value) is not ndarray and _are_weak(inputs):
                    inputs = (strengthened(inputs[0]), *inputs[1:])
                return bind(op, inputs, NO_PARAMS, 3)
        longer = functools.partial(FUNCTIONS[np.ufunc], ufunc, method)
        try:
            return call_anew(longer, inputs, kwargs)
        except TypeError as error:
            if has_warned(error):
                return again(call_anew, longer, inputs, kwargs)
            raise

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if len(types) > 1 and not NO_NUMBERS.keys().isdisjoint(types):
            return NotImplemented
        if func in MAKE_LIKE:
            return made_like(self, func, args, kwargs)
        function = _function_of(func) or FUNCTIONS.get(func)
        if function is None:
            raise unsupported(func, of=self)
        if sizing and (func is np.shape or func is np.size):
            return for_caller(function(*args, **kwargs))
        if writing or "out" in kwargs or len(args) > 2:
            return called(func, function, args, kwargs)
        try:
            return function(*args, **kwargs) if context.trace is None else call_anew(function, args, kwargs)
        except CALL_ERRORS as error:
            if has_warned(error):
                return again(function, *args, **kwargs)
            place_call(error, func, args)
            raise

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
        if sizing and self.ndim:
            counted(self.shape[0])
        return self.item() if self.ndim == 0 else [row.tolist() for row in self]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len(){at(user_source())} of a scalar, {self.described()}; it has no axis to count")
        n = self.shape[0]
        return counted(n) if sizing else n

    def __contains__(self, value: Any) -> bool:
        return bool(np.any(self == value))

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError(
                f"iteration{at(user_source())} over a scalar, {self.described()}; it has no axis to go along"
            )
        n = self.shape[0]
        return (self[i] for i in range(counted(n) if sizing else n))

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
        return bind(OPS["negative"], (self,), NO_PARAMS, 3)

    def __pos__(self) -> Any:
        return bind(OPS["positive"], (self,))

    def __abs__(self) -> Any:
        return bind(OPS["absolute"], (self,))

    def __invert__(self) -> Any:
        return bind(OPS["invert"], (self,))

    def __matmul__(self, other: Any) -> Any:
        if type(other) not in DIRECT and not isinstance(other, Variable):
            if is_sparse(other):
                return LOADERS["scipy"]().sparse.product(self, other)
            if getattr(type(other), "__array_ufunc__", self) is None:
                return NotImplemented
        if context.trace is None:
            return bind(OPS["matmul"], (self, other), NO_PARAMS, 3)
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
            annotate_public(error, "indexing")
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
        if type(self.value) is ndarray and self.value.ndim == 2:  # the usual case
            return bind(OPS["transpose"], (self,), _TURNED, 3)
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


watch(globals())
