"""NumPy's functions that take a function: along an axis, over axes, piece by piece, element by element.

Where the function can be traced by types it is batched (`vmap`), so that it is one set of equations whatever the size; else, say because it
branches on values, it is called for each row or element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.errors import (
    ConcretizationTypeError,
    TracerArrayConversionError,
    UnsupportedFunctionError,
    at,
    user_source,
)
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, contains_tracer
from tracegrad.core.tracer import plain_value
from tracegrad.core.types import number_kind, type_of
from tracegrad.numpy.shaping import moveaxis
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, normalize_axis, shape_of
from tracegrad.ops.index.at import at as at_index
from tracegrad.transforms.inspect import make_graph
from tracegrad.transforms.vmap import vmap
from tracegrad.typing import Array, ArrayLike

# What says that a function needs values, or a plain array.
_NEEDS_VALUES = (ConcretizationTypeError, TracerArrayConversionError, UnsupportedFunctionError)


def _each(function: Callable[..., Any], rows: Sequence[Any]) -> Any:
    """The function of each of the rows, of one length; a tuple of arrays where it returns a tuple."""
    try:
        return vmap(function)(*rows)
    except _NEEDS_VALUES:
        found = [function(*[x[i] for x in rows]) for i in range(rows[0].shape[0])]
    if not isinstance(found[0], tuple):
        return np.stack([as_array(x) for x in found])
    return tuple([np.stack([as_array(x[k]) for x in found]) for k in range(len(found[0]))])


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: ArrayLike, *args: Any, **kwargs: Any) -> Array:
    """`func1d(vector, *args, **kwargs)` of each vector along `axis`; what it returns has its axes in the place of that one.

    >>> apply_along_axis(np.ptp, 1, np.array([[1, 5], [2, 2]])).tolist()
    [4, 0]

    Raises:
        ValueError: where there are no vectors, so that it is not known what the function makes of them.
    """
    arr = as_array(arr)
    axis = normalize_axis(axis, len(shape_of(arr)), "apply_along_axis")
    rows = moveaxis(arr, axis, -1)
    lead = rows.shape[:-1]
    if 0 in lead:
        raise ValueError(
            f"apply_along_axis: there is nothing along axis {axis} of {type_of(arr)} to call the function with"
        )
    found = as_array(_each(lambda row: func1d(row, *args, **kwargs), [np.reshape(rows, (-1, rows.shape[-1]))]))
    made = found.shape[1:]
    found = np.reshape(found, (*lead, *made))
    return moveaxis(found, range(len(lead), len(lead) + len(made)), range(axis, axis + len(made)))


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable[[Any, int], Any], a: ArrayLike, axes: int | Iterable[int]) -> Array:
    """`func(x, axis)` one axis after the other, each time of what came before; an axis that it removes comes back with size 1.

    >>> apply_over_axes(np.sum, np.ones((2, 3, 4)), [0, 2]).tolist()
    [[[8.0], [8.0], [8.0]]]
    """
    x = as_array(a)
    ndim = len(shape_of(x))
    for axis in axes if isinstance(axes, Iterable) else (axes,):
        axis = normalize_axis(axis, ndim, "apply_over_axes")
        found = as_array(func(x, axis))
        if len(shape_of(found)) != ndim:
            found = np.expand_dims(found, axis)
        if len(shape_of(found)) != ndim:
            raise ValueError(
                f"apply_over_axes: func makes {type_of(found)} of {type_of(x)}; it may remove one axis at most"
            )
        x = found
    return x


@implements(np.piecewise)
def piecewise(
    x: ArrayLike, condlist: Any, funclist: Sequence[Callable[..., Any] | ArrayLike], *args: Any, **kw: Any
) -> Array:
    """Of each element what the function (or number) of the last condition that holds makes of it; 0, or the function beyond the last
    condition, where none does. In the dtype of `x`.

    Where the conditions' values are known, each function gets the elements that are its own, as in NumPy. Under `jit` it gets all,
    and must therefore treat each by itself.

    >>> piecewise(np.array([-2.0, 3.0]), [np.array([True, False])], [lambda x: -x, lambda x: x**2]).tolist()
    [2.0, 9.0]

    Raises:
        UnsupportedFunctionError: under `jit`, for a function of all elements together.
    """
    x = as_array(x)
    ndim = len(shape_of(x))
    if not isinstance(condlist, list | tuple) or (ndim and not shape_of(as_array(condlist[0]))):
        condlist = [condlist] if len(shape_of(as_array(condlist))) <= ndim else list(condlist)
    conditions = [as_array(c) for c in condlist]
    conditions = [c if number_kind(type_of(c).dtype) == "b" else np.not_equal(c, 0) for c in conditions]
    if len(funclist) == len(conditions) + 1:
        none = np.logical_not(conditions[0])
        for c in conditions[1:]:
            none = np.logical_and(none, np.logical_not(c))
        conditions.append(none)
    elif len(funclist) != len(conditions):
        raise ValueError(
            f"piecewise: {len(conditions)} conditions go with as many functions, or one more, got {len(funclist)}"
        )
    dtype = type_of(x).dtype
    y = np.zeros(shape_of(x), dtype)
    for condition, function in zip(conditions, funclist, strict=True):
        if not callable(function):
            y = np.where(condition, astype(as_array(function), dtype), y)
        elif (known := plain_value(condition, "np.piecewise")) is not None and ndim:
            places = np.nonzero(known)
            if len(places[0]):
                y = at_index(y)[places].set(astype(as_array(function(x[places], *args, **kw)), dtype))
        else:
            y = np.where(condition, astype(as_array(_of_each(function, x, args, kw)), dtype), y)
    return y


def _of_each(function: Callable[..., Any], x: Any, args: Any, kw: Any) -> Any:
    """A function of all elements, which must be one of each."""
    graph = make_graph(lambda x: function(x, *args, **kw))(x)
    for eqn in graph.eqns:
        if not eqn.op.elementwise:
            raise UnsupportedFunctionError(
                f"np.piecewise{at(user_source())}: a function with '{eqn.op.name}'{at(eqn.source)} is not one of each element by "
                "itself, and which elements are its own is not known here. Write np.where, with the function of all elements."
            )
    return function(x, *args, **kw)


# ---------------------------------------------------------------------------------------------------------------------
# Element by element.


def _core_axes(signature: str) -> list[int]:
    """How many axes of each input the function takes: "(m,n),(n)->()" says 2 and 1."""
    return [core.count(",") + bool(core.strip()) for core in re.findall(r"\(([^)]*)\)", signature.partition("->")[0])]


class vectorize(np.vectorize):
    """A function of numbers as one of arrays, which broadcast against each other; or by `signature`, such as "(n),(n)->()", a function of
    small arrays as one of arrays with any axes before.

    On plain arrays NumPy's own. Traced arguments are batched by `vmap`, or, where the function branches on values, taken one by one.

    Args:
        pyfunc: the function.
        otypes: the dtypes of the results, as in NumPy.
        doc: its docstring.
        excluded: positions and names of arguments that are handed on as they are.
        cache: as in NumPy.
        signature: the axes of what the function takes and returns.

    >>> vectorize(lambda a, b: a if a > b else b)(np.array([1.0, 5.0]), 3.0).tolist()
    [3.0, 5.0]
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not contains_tracer([*args, *kwargs.values()]):
            return super().__call__(*args, **kwargs)
        names: list[Any] = [*range(len(args)), *kwargs]
        values = dict(zip(names, (*args, *kwargs.values()), strict=True))
        mapped = [name for name in names if name not in self.excluded]
        core = _core_axes(self.signature) if self.signature else [0] * len(mapped)
        if len(core) != len(mapped):
            raise TypeError(f"vectorize: the signature {self.signature!r} is of {len(core)} arrays, got {len(mapped)}")
        arrays = [as_array(values[name]) for name in mapped]
        for x, axes in zip(arrays, core, strict=True):
            if len(shape_of(x)) < axes:
                raise ValueError(f"vectorize: {type_of(x)} has fewer axes than {self.signature!r} asks for")
        cut = [len(shape_of(x)) - axes for x, axes in zip(arrays, core, strict=True)]
        lead = broadcast_shapes(*[shape_of(x)[:n] for x, n in zip(arrays, cut, strict=True)])
        rows = [
            np.reshape(np.broadcast_to(x, (*lead, *shape_of(x)[n:])), (-1, *shape_of(x)[n:]))
            for x, n in zip(arrays, cut, strict=True)
        ]

        def one(*xs: Any) -> Any:
            given = {**values, **dict(zip(mapped, xs, strict=True))}
            return self.pyfunc(*[given[i] for i in range(len(args))], **{name: given[name] for name in kwargs})

        found = _each(one, rows)
        several = isinstance(found, tuple)
        outs = [np.reshape(x, (*lead, *x.shape[1:])) for x in (found if several else (found,))]
        if self.otypes:
            outs = [astype(x, np.dtype(t)) for x, t in zip(outs, self.otypes, strict=True)]
        return tuple(outs) if several else outs[0]
