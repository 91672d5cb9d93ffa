"""What writes into arrays: `x[i] = v`, `x op= v`, `out=`, `ufunc.at`, and methods that do.

Each computes what the array is afterwards, by ops that make new arrays, and has the array be that (`views.write`). What
is written is cast as NumPy casts it: by `x[i] = v` without a word, by ufuncs and `np.copyto` to the same kind only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.errors import (
    DtypeError,
    ShapeError,
    TracerArrayConversionError,
    annotate,
    at,
    unsupported,
    user_source,
)
from tracegrad.core.functions import FUNCTIONS, TAKE_WRITTEN, UFUNCS
from tracegrad.core.op import Sample, View
from tracegrad.core.symbols import broadcast_shapes
from tracegrad.core.trace import as_array, bind
from tracegrad.core.tracer import Tracer, depends_on, plain_value, present, settled
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.core.views import Place, Written, place_of, require_writable, view_at, write, write_into
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import implements, linear, reject, require_held, shape_of
from tracegrad.ops.index.at import at as at_index
from tracegrad.ops.index.at import is_traced_mask, masked, needs_no_size
from tracegrad.ops.index.expression import locate, region
from tracegrad.ops.index.scatters import scatter_op
from tracegrad.ops.index.selected import Selected, beside_mask
from tracegrad.ops.index.slices import slice_op
from tracegrad.ops.shape import copied

_KINDS = "biufc"


def writes(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as what does to tracers what these of NumPy's do, which write into an argument."""

    def register(traced: Callable[..., Any]) -> Callable[..., Any]:
        TAKE_WRITTEN.add(traced)
        return implements(*functions)(traced)

    return register


def target(x: Any, what: str) -> tuple[Tracer, Place]:
    """The traced array that a call writes into and where it lies; an error for a plain one, which cannot hold what is
    traced."""
    if not isinstance(x, Tracer):
        raise unsupported_target(x, what)
    return x, require_writable(x, what)


def unsupported_target(x: Any, what: str) -> TracerArrayConversionError:
    return TracerArrayConversionError(
        f"{what}{at(user_source())} would write what is traced into a plain {type_of(x)}, which holds numbers only.\n"
        "  Write into a traced array, such as `tnp.zeros(n)`, a copy, `tnp.copy(y)`, or x * 0, or use what makes a new one: "
        "`y = tnp.at(y)[i].set(v)`, `np.where`, `np.stack` (with `import tracegrad.numpy as tnp`; or trace `tg.numpyize(f)`, where np.zeros "
        "is tnp's)."
    )


def _can_cast(found: ArrayType, dtype: np.dtype[Any], casting: str) -> bool:
    if found.weak and casting in ("same_kind", "safe", "equiv"):
        return _KINDS.index(number_kind(found.dtype).replace("u", "i")) <= _KINDS.index(
            number_kind(dtype).replace("u", "i")
        )
    return np.can_cast(found.dtype, dtype, casting)


def cast_by(v: Any, dtype: np.dtype[Any], casting: str, what: str) -> Any:
    """What is written, in the dtype of the array, or NumPy's error for what it does not cast by this rule."""
    found = type_of(v)
    if not _can_cast(found, dtype, casting):
        raise DtypeError(
            f"Cannot cast {what} output from {found.dtype!r} to {dtype!r} with casting rule {casting!r}"
            f"{at(user_source())}; write x = x.astype({found.dtype.name!r}) before, or cast what is written"
        )
    is_checked = found.weak and casting != "unsafe"
    if is_checked:
        require_held(v, dtype, what)
    return v if found.dtype == dtype or is_checked else astype(v, dtype)


def assigned(value: Any, dtype: np.dtype[Any], *, by_item: bool = False) -> Any:
    """What `x[i] = value` writes into an array of a dtype. Of numbers that are known, NumPy says what they are in a dtype of ints, or raises:
    its scalars are ints of Python's where they are put into the array (`by_item`: integers and slices for index, `fill`), and are cast
    where an array is made of what is written first (arrays for index, and functions)."""
    value = settled(value)
    v = as_array(value)
    found = type_of(v)
    if found.dtype == dtype:
        return v
    is_list = isinstance(value, list | tuple)
    is_number = issubclass(type(v), float | np.generic)  # as a tracer is not
    if (is_list or is_number) and number_kind(dtype) in "iu" and number_kind(found.dtype) in "iuf":
        try:
            if is_list:
                return FUNCTIONS[np.array](value, dtype)
            if not by_item:
                return np.array(v, dtype)
            item = np.empty((), dtype)
            item[...] = v
        except (OverflowError, ValueError) as error:
            annotate(error, "x[i] = v")
            raise
        return item
    if number_kind(found.dtype) == "c" and number_kind(dtype) not in "cb":
        if type(v) is complex:
            raise TypeError(
                f"float() argument must be a string or a real number, not 'complex': x[i] = v{at(user_source())} of an array "
                f"of {dtype}; write v.real"
            )
        warnings.warn(
            "Casting complex values to real discards the imaginary part", np.exceptions.ComplexWarning, stacklevel=2
        )
    if not found.weak:
        return astype(v, dtype)
    require_held(v, dtype, "x[i] = v")
    return v


def fitting(v: Any, dtype: np.dtype[Any], what: str) -> Any:
    """A value that is to be cast to this dtype. An int of Python's that the dtype has not is NumPy's error: one that is known at run time
    only is not cast but assigned, so that NumPy raises."""
    require_held(v, dtype, what)
    if (
        type(v) is Tracer
        and v.type.weak
        and dtype != v.dtype
        and number_kind(v.dtype) + number_kind(dtype) in ("ii", "iu")
    ):
        return bind(scatter_op, (np.zeros((), dtype), v), {"index": ()})
    return v


def held(v: Any, dtype: np.dtype[Any], what: str) -> Any:
    """A value in this dtype, which has to have it if it is an int of Python's."""
    return astype(fitting(v, dtype, what), dtype)


def broadcast_into(v: Any, shape: tuple[int, ...], what: str) -> Any:
    """A value as the array of this shape that is written, or NumPy's error."""
    found = shape_of(v)
    if found == shape:
        return v
    try:
        fits = broadcast_shapes(found, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"non-broadcastable output operand with shape {shape} doesn't match the broadcast shape {found} of "
            f"{what}{at(user_source())}"
        )
    return np.broadcast_to(v, shape)


def replace(x: Tracer, place: Place, v: Any) -> None:
    """Have all of an array be a value of its dtype, which broadcasts to it. What does not depend on the array does not in
    the Graph either."""
    if isinstance(v, Tracer) and v.shape == x.shape and not v.type.weak:
        write(x, place, copied(v))
    else:
        write_into(x, place, v, (), ())


def cycled(v: Any, count: int) -> Any:
    """The first elements of a value, again from the beginning where there are too few."""
    v = np.reshape(v, (-1,))
    size = v.shape[0]
    return v if size == count else v[np.arange(count) % size] if size < count else v[:count]


# ---------------------------------------------------------------------------------------------------------------------
# Assignment.


def setitem(x: Tracer, expression: Any, value: Any) -> None:
    """`x[expression] = value`."""
    place = require_writable(x, "x[i] = v")
    if x.type.weak:
        raise TypeError(
            f"a Python number does not support item assignment: x[i] = v{at(user_source())} of {x.described()}"
        )
    expression = settled(expression)
    if (beside := beside_mask(expression)) is not None:
        x[beside][expression[0]] = value
        return
    if is_traced_mask(expression):
        is_selected = type(value) is Selected
        v = assigned(value.scattered(expression, x.ndim) if is_selected else value, x.dtype)
        if is_selected or needs_no_size(expression, x, v):
            before = present(x)
            after = masked(before, expression, None, held(v, x.dtype, "x[i] = v"))
            if after is not before:  # by a mask of nothing
                write(x, place, after)
            return
    found, index, arrays = locate(x, expression)
    if found is not x:  # a mask without dimensions, which is given an axis
        v = assigned(value, x.dtype)
        write(x, place, np.reshape(bind(scatter_op, (found, v, *arrays), {"index": index}), x.shape))
        return
    if type(value) is Written and not arrays and _is_there(place, index, value.state):
        return  # what `x[i] op= v` ends in: x[i] is a view, into which it is written already
    v = assigned(value, x.dtype, by_item=not any([shape_of(a) for a in arrays]))
    shape = shape_of(v)
    if shape:
        fits = region(x.shape, index, tuple([shape_of(a) for a in arrays])).shape
        if len(shape) > len(fits) and set(shape[: len(shape) - len(fits)]) == {1}:
            v = np.reshape(v, shape[len(shape) - len(fits) :])
    write_into(x, place, v, index, arrays)


def _is_there(place: Place, index: Any, value: Place) -> bool:
    """Whether a view lies where the index into another one points."""
    if value.memory is not place.memory:
        return False
    assert slice_op.view is not None
    there = slice_op.view.layout(place.layout, index=index)
    if there is None or there.shape != value.layout.shape or there.strides != value.layout.strides:
        return False
    return bool(there.__array_interface__["data"] == value.layout.__array_interface__["data"])


FUNCTIONS[np.ndarray.__setitem__] = setitem


def _apply_in_place(ufunc: np.ufunc, operation: Callable[[Any, Any], Any], x: Tracer, other: Any) -> Tracer:
    """`x op= other` of an array."""
    place = require_writable(x, "x op= v")
    value = operation(present(x), settled(other))
    value = cast_by(
        broadcast_into(value, x.shape, f"np.{ufunc.__name__}"), x.dtype, "same_kind", f"ufunc {ufunc.__name__!r}"
    )
    write(x, place, value)
    return x


FUNCTIONS["op="] = _apply_in_place


# ---------------------------------------------------------------------------------------------------------------------
# out=.


def write_out(out: Any, value: Any, what: str, casting: str = "same_kind", where: Any = True) -> Any:
    """Write the result of a function into `out`, which is returned."""
    x, place = target(out, f"{what} with out=")
    v = cast_by(as_array(value), x.dtype, casting, what)
    if where is not True:
        v = np.where(as_array(settled(where)), v, present(x))
    replace(x, place, broadcast_into(v, x.shape, what))
    return x


def _with_out(function: Any, traced: Callable[..., Any], args: Any, kwargs: dict[str, Any], out: Any) -> Any:
    """A NumPy function whose result goes into `out`."""
    if isinstance(out, tuple) and len(out) == 1:
        (out,) = out
    if not isinstance(out, Tracer):
        reject(function, out=out)
    value = traced(*settled(args), **settled(kwargs))
    if type_of(value).shape != out.shape:
        raise ShapeError(
            f"np.{function.__name__}{at(user_source())}: out is {out.type}, and the result {type_of(value)}; their shapes "
            "must be equal"
        )
    casting = kwargs.get("casting", "same_kind")
    return write_out(out, value, f"np.{function.__name__}", casting)


FUNCTIONS["out="] = _with_out


def write_at(ufunc: np.ufunc, x: Any, index: Any, *values: Any) -> None:
    """`ufunc.at(x, index, *values)`: elements that are named several times are written to several times."""
    name = f"np.{ufunc.__name__}.at"
    if not isinstance(x, Tracer):
        raise unsupported(ufunc, ".at", next((v for v in (index, *values) if isinstance(v, Tracer)), None))
    place = require_writable(x, name)
    index, values = settled(index), settled(values)
    if len(values) != ufunc.nin - 1:
        raise ValueError(
            f"{name}{at(user_source())} takes {ufunc.nin - 1} operands besides the array, got {len(values)}"
        )
    types = [x.type, *[type_of(as_array(v)) for v in values]]
    op = UFUNCS.get(ufunc)
    if op is None:
        raise unsupported(ufunc, ".at", x)
    found = op.infer([ArrayType((), t.dtype, t.weak) for t in types], {})
    assert isinstance(found, ArrayType)
    if not np.can_cast(found.dtype, x.dtype, "same_kind"):
        cast_by(np.zeros((), found.dtype), x.dtype, "same_kind", f"ufunc {ufunc.__name__!r}")
    there = at_index(present(x))[index]
    if not values:
        write(x, place, copied(there.apply(ufunc)))
        return
    method = getattr(there, _AT.get(ufunc, ""), None)
    if method is not None:
        write(x, place, method(*values))
    elif (places := _places(x, index)) is None:
        write(x, place, there.by(ufunc)(*values))
    else:
        write(x, place, _one_after_the_other(ufunc, present(x), places, *values))


def _places(x: Tracer, index: Any) -> Any:
    """Where the elements are that an index names, in the array as if flat; None where the index has no values."""
    parts = index if isinstance(index, tuple) else (index,)
    known = [plain_value(i, "an index") for i in parts]
    if any([k is None and isinstance(i, Tracer) for k, i in zip(known, parts, strict=True)]):
        return None
    for i in parts:
        depends_on(i)
    return np.arange(x.size).reshape(x.shape)[tuple(known)]


def _one_after_the_other(ufunc: np.ufunc, x: Any, places: Any, v: Any) -> Any:
    """The array with `ufunc(x[place], v)` at places, those that are named again after those that are for the first time."""
    v = np.reshape(np.broadcast_to(as_array(v), places.shape), -1)
    places = places.reshape(-1)
    order = np.argsort(places, kind="stable")
    first = np.searchsorted(places[order], places[order])
    times = np.empty(places.size, int)
    times[order] = np.arange(places.size) - first
    flat = np.reshape(x, -1)
    for time in range(int(times.max(initial=-1)) + 1):
        (now,) = np.nonzero(times == time)
        there = places[now]
        flat = at_index(flat)[there].set(astype(ufunc(flat[there], v[now]), x.dtype), unique_indices=True)
    return np.reshape(flat, x.shape)


_AT = {
    np.add: "add", np.subtract: "subtract", np.multiply: "multiply", np.divide: "divide", np.power: "power",
    np.minimum: "min", np.maximum: "max",
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# ndarray's methods that write.


def _fill(x: Tracer, value: Any) -> None:
    place = require_writable(x, "x.fill(v)")
    v = assigned(value, x.dtype, by_item=True)
    if math.prod(shape_of(v)) != 1:
        raise ValueError(f"x.fill(v){at(user_source())} takes one number, got {type_of(v)}")
    write_into(x, place, np.reshape(v, ()) if shape_of(v) else v, (), ())


def _sort(x: Tracer, axis: int = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> None:
    place = require_writable(x, "x.sort()")
    reject(np.sort, order=order)
    write(x, place, FUNCTIONS[np.sort](present(x), axis))


def _partition(x: Tracer, kth: Any, axis: int = -1, kind: Any = "introselect", order: Any = None) -> None:
    place = require_writable(x, "x.partition()")
    write(x, place, copied(FUNCTIONS[np.partition](present(x), kth, axis, order=order)))


for _name, _method in (("fill", _fill), ("sort", _sort), ("partition", _partition)):
    FUNCTIONS[f"x.{_name}()"] = _method


def _elements(x: Any) -> Any:
    return x.reshape(-1)


# Elements in order, as x.flat has them: what is read of it is a copy, what is written into it is written into x.
flat_op = linear(
    "flat", _elements, lambda ct, x: ct.reshape(shape_of(x)),
    infer=lambda types, params: ArrayType((types[0].size,), types[0].dtype),
    batch=lambda size, batched, inputs, params: np.reshape(inputs[0], (size, math.prod(inputs[0].shape[1:]))),
    kinds="biufc", moves=True, samples=lambda: [Sample((np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -2.0]]),))],
    code=lambda args, types, views, params: f"{args[0]}.reshape(-1)",
    view=View(lambda x, v: v.reshape(x.shape), lambda x: None),
)  # fmt: skip


def _flat_of(x: Tracer, *value: Any) -> Any:
    """`x.flat`, or what `x.flat = value` writes."""
    if value:
        place = require_writable(x, "x.flat = v")
        if x.size:
            replace(x, place, np.reshape(cycled(assigned(value[0], x.dtype), x.size), x.shape))
        return None
    if not x.shape:
        return np.reshape(x, (1,))
    place = place_of(x)
    step = flat_op, {}
    return view_at(bind(flat_op, (x,)), place, step, np.empty(x.size, x.dtype))


FUNCTIONS["flat"] = _flat_of
