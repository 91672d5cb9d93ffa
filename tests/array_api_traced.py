"""`tracegrad.numpy` as an array library whose every function is called, and whose every operator is applied, on traced arrays.

For suites that test a whole namespace on arrays that they make and look at themselves, as array-api-tests do: what is done to an
`Array` is done to a tracer of it, in a trace of its own, and comes back as an `Array`. ARRAY_API_TRACED says what makes the
trace: `values` (as under `tg.grad`, where each value is known) or `jit` (a Graph, which NumPy then runs).
"""

from __future__ import annotations

import functools
import operator
import os
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.trace import Tracer

HOW = os.environ.get("ARRAY_API_TRACED", "values")


def _mapped(x: Any, function: Callable[[Any], Any], kind: type | tuple[type, ...]) -> Any:
    """With `function` of each of a kind among arguments or results."""
    if isinstance(x, kind):
        return function(x)
    if isinstance(x, tuple):
        made = [_mapped(y, function, kind) for y in x]
        return type(x)(*made) if hasattr(x, "_fields") else tuple(made)
    if isinstance(x, list):
        return [_mapped(y, function, kind) for y in x]
    return {k: _mapped(v, function, kind) for k, v in x.items()} if isinstance(x, dict) else x


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)` with each `Array` among them traced. What it hands on untouched stays the same `Array`."""
    given: list[Array] = []
    _mapped([args, kwargs], given.append, Array)
    if not given:
        return _mapped(function(*args, **kwargs), Array, (np.ndarray, np.generic))
    result: Any = None

    def traced(*tracers: Any) -> list[Any]:
        nonlocal result
        rest: Iterator[Any] = iter(tracers)
        found = function(*_mapped(args, lambda _: next(rest), Array), **_mapped(kwargs, lambda _: next(rest), Array))
        mine = {id(t): a for t, a in zip(tracers, given, strict=True)}
        result = _mapped(found, lambda x: mine.get(id(x), x), (Tracer, np.ndarray, np.generic))
        arrays: list[Any] = []
        _mapped(result, arrays.append, (Tracer, np.ndarray, np.generic))
        return arrays

    values = [a.value for a in given]
    made: Iterator[Any] = iter(tg.jit(traced)(*values) if HOW == "jit" else tg.vjp(traced, *values)[0])
    return _mapped(result, lambda _: Array(next(made)), (Tracer, np.ndarray, np.generic))


class Array:
    """An array of NumPy's, to which everything is done under a trace. It is changed in place, as NumPy's are."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value)

    def __repr__(self) -> str:
        return f"traced {self.value!r}"

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "ndim", "size", "dtype", "device", "__dlpack__", "__dlpack_device__"):
            return getattr(self.value, name)
        if name in ("T", "mT"):
            return call(operator.attrgetter(name), self)
        raise AttributeError(name)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return __import__("sys").modules[__name__]

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        return call(lambda x: x.to_device(device, stream=stream), self)

    def __setitem__(self, key: Any, value: Any) -> None:
        def written(x: Any, key: Any, value: Any) -> Any:
            x = tnp.asarray(x, copy=True)
            x[key] = value
            return x

        self.value[...] = call(written, self, key, value).value

    def __getitem__(self, key: Any) -> Any:
        return call(operator.getitem, self, key)

    def __len__(self) -> int:
        return len(self.value)


def _operators() -> None:
    def forward(name: str) -> Any:
        return lambda self, *other: call(getattr(operator, name), self, *other)

    def backward(name: str) -> Any:
        return lambda self, other: call(getattr(operator, name), other, self)

    def in_place(name: str) -> Any:
        def operate(self: Array, other: Any) -> Array:
            result = call(lambda x, y: getattr(operator, name)(tnp.asarray(x, copy=True), y), self, other)
            if self.value.ndim:  # as NumPy's scalars, which are bound anew
                assert result.value.dtype == self.value.dtype
                self.value[...] = result.value
                return self
            return result

        return operate

    for name in (
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "and",
        "or",
        "xor",
        "lshift",
        "rshift",
        "matmul",
    ):
        setattr(Array, f"__{name}__", forward(f"__{name}__"))
        setattr(Array, f"__r{name}__", backward(f"__{name}__"))
        setattr(Array, f"__i{name}__", in_place(f"__i{name}__"))
    for name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"):
        setattr(Array, f"__{name}__", forward(f"__{name}__"))
    for name in ("bool", "int", "float", "complex", "index"):  # what is no longer an array is not traced
        setattr(Array, f"__{name}__", lambda self, name=name: getattr(self.value, f"__{name}__")())


_operators()


def _of(found: Any) -> Any:
    """What stands for a name of `tracegrad.numpy`."""
    if isinstance(found, types.ModuleType):
        return types.SimpleNamespace(**{n: _of(getattr(found, n)) for n in dir(found) if not n.startswith("_")})
    if not callable(found) or isinstance(found, type):
        return found
    wrapped = functools.partial(call, found)
    return functools.update_wrapper(wrapped, found)


def __getattr__(name: str) -> Any:
    found = getattr(tnp, name)
    return found if name.startswith("__") else globals().setdefault(name, _of(found))
