"""What a mask selects whose values are not known: `x[mask]` under jit and vmap, of which everything is known but the size.

Elementwise functions of it, its reductions and what is written back through the same mask need no size: they are the same functions of
all elements, with `where=mask` in the end. So `x[mask]` is not an array there but a `Selected`, which has all rows of x and the
mask, and whatever needs the size (its shape, its first element) raises, and says what to write instead. What becomes of
the rows that are not selected nobody sees. To have them make no NaN and no warning on the way (np.log of what is not positive, say),
they are copies of the first selected row.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tracegrad.core.errors import ConcretizationTypeError, DtypeError, RawSource, at, user_source
from tracegrad.core.functions import APPLIED
from tracegrad.core.op import Op, Params
from tracegrad.core.plain import PLAIN
from tracegrad.core.trace import Equation, as_array, bind
from tracegrad.core.tracer import Tracer, is_written, plain_value, present
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.families import normalize_axes, shape_of
from tracegrad.ops.structural import stop_gradient_op

INSTEAD = (
    "write `np.where(mask, x, 0)`, `np.sum(x, where=mask)` or `tnp.at(x)[mask].set(0)`, whose shapes do not depend on values, or say "
    "how many elements there are at most: `tnp.extract(mask, x, size=n)`, `x[tnp.flatnonzero(mask, size=n)]`"
)


def unknown_mask(index: Any) -> Tracer | None:
    """The mask that is an index, or the first of several of which the others are no arrays, if only its type is known."""
    if type(index) is tuple and index:
        if not all([i is None or i is Ellipsis or isinstance(i, int | np.integer | slice) for i in index[1:]]):
            return None
        index = index[0]
    mask = index
    if is_written(mask):
        mask = present(mask)
    if type(mask) is Tracer and number_kind(mask.dtype) == "b" and plain_value(mask, "a mask") is None:
        return mask
    return None


def beside_mask(index: Any) -> tuple[Any, ...] | None:
    """What stands beside an unknown mask in an index, as an index of all that the mask selects from; None for all others."""
    if type(index) is not tuple or len(index) == 1 or (mask := unknown_mask(index)) is None:
        return None
    return (*(slice(None),) * mask.ndim, *index[1:])


def selected(x: Any, mask: Tracer) -> Any:
    """`x[mask]`. IndexError where the mask is not of the shape of x's first axes."""
    shape = shape_of(x)
    rest = shape[mask.ndim :]
    if require_fit(mask, x):
        return np.zeros((0, *rest), type_of(x).dtype)
    rows = x if mask.ndim == 1 else np.reshape(x, (math.prod(mask.shape), *rest))
    return Selected(rows, mask, user_source())


def require_fit(mask: Tracer, x: Any) -> bool:
    """Whether a mask is of no elements, which NumPy takes for any number of them. IndexError for one that does not fit."""
    shape = shape_of(x)
    is_of_nothing = 0 in mask.shape and len(shape) >= mask.ndim
    if is_of_nothing and all([m in (n, 0) for m, n in zip(mask.shape, shape, strict=False)]):
        return True
    if mask.shape != shape[: mask.ndim]:
        raise IndexError(
            f"boolean index did not match indexed array: a mask {mask.type} for {type_of(x)}{at(user_source())}"
        )
    return False


class Selected(NDArrayOperatorsMixin):
    """`x[mask]`: `rows` of all of x, of which those count where `mask`, of the first axes of x, holds."""

    __slots__ = ("is_filled", "mask", "rows", "source")
    __array_priority__ = 2000.0  # above a tracer's

    def __init__(self, rows: Any, mask: Tracer, source: RawSource, is_filled: bool = False) -> None:
        self.rows = rows
        self.mask = mask
        self.source = source  # where the mask was an index
        self.is_filled = is_filled

    # -- The rows.
    def held(self) -> Any:
        """Where the mask holds, shaped to broadcast against the rows."""
        return np.reshape(self.mask, (self.rows.shape[0], *(1,) * (self.ndim - 1)))

    def filling(self) -> Any:
        """The rows, with copies of the first that is selected in place of those that are not. (They are not kept, since this may be
        recorded in the trace of a branch, which ends before the selection does.)"""
        if self.is_filled or not self.rows.shape[0]:
            return self.rows
        first = np.take(self.rows, np.argmax(self.mask), 0)
        return np.where(self.held(), self.rows, bind(stop_gradient_op, (first,)))

    def lifted(self, x: Any) -> Any:
        """What stands beside it in an elementwise function, as what stands beside its rows."""
        if type(x) is Selected:
            if x.ndim != self.ndim or not _are_equal(self.mask, x.mask):
                self.refuse("meeting what another mask selects")
            return x.filling()
        if x is None:
            return x
        x = as_array(x)
        shape = shape_of(x)
        if len(shape) > self.ndim or (len(shape) == self.ndim and shape[0] != 1):
            self.refuse(f"meeting an array of shape {shape}")
        return x

    def scattered(self, mask: Any, ndim: int) -> Any:
        """The rows where they came from, in an array of so many dimensions, to be written through the same mask."""
        if self.ndim != ndim - mask.ndim + 1 or not _are_equal(self.mask, mask):
            self.refuse("writing it through another mask")
        return np.reshape(self.rows, (*mask.shape, *self.rows.shape[1:]))

    def wrapped(self, out: Any) -> Any:
        if isinstance(out, tuple | list):
            return type(out)([self.wrapped(x) for x in out])
        return Selected(out, self.mask, self.source, True)

    def of_rows(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """An elementwise function of it and of others."""
        return self.wrapped(function(*map(self.lifted, args), **kwargs))

    def applied(self, op: Op, inputs: Sequence[Any], params: Params) -> Any:
        """An op, one of whose inputs it is."""
        if not op.elementwise:
            self.refuse(op.name)
        return self.wrapped(bind(op, tuple(map(self.lifted, inputs)), params))

    # -- What is known of it.
    @property
    def __class__(self) -> Any:
        """An array's, so that `isinstance` takes the branch that it takes for one. (What is of this class, `type(x)` tells.)"""
        return np.ndarray

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = self.rows.dtype
        return found

    @property
    def ndim(self) -> int:
        return len(self.rows.shape)

    @property
    def size(self) -> Any:
        """How many elements are selected: a traced integer."""
        return np.count_nonzero(self.mask) * math.prod(self.rows.shape[1:])

    @property
    def type(self) -> NoReturn:
        """An ArrayType tells a shape. A function that stands before it, as for the tracer on its left, asks for that."""
        self.refuse("use as an array of a known shape")

    # -- NumPy's protocols.
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if ufunc is np.matmul and method == "__call__" and out is None and not kwargs:
            return self._matmul(*inputs)
        if method == "reduce" and ufunc in _OF_UFUNCS and out is None:
            return self._reduced(
                _OF_UFUNCS[ufunc], {"axis": 0, **dict(zip(("a", "axis"), inputs, strict=False)), **kwargs}
            )
        if method != "__call__" or ufunc.signature is not None or kwargs.keys() - {"dtype"}:
            self.refuse(f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else ""))
        found = self.of_rows(ufunc, inputs, kwargs)
        if out is None:
            return found
        (target,) = out
        if type(target) is not Selected:
            self.refuse("writing it into an array")
        if not np.can_cast(found.dtype, target.dtype, "same_kind"):
            raise DtypeError(
                f"Cannot cast ufunc {ufunc.__name__!r} output from {found.dtype!r} to {target.dtype!r} with casting rule "
                f"'same_kind'{at(user_source())}"
            )
        target.rows, target.is_filled = np.astype(found.rows, target.dtype), True
        return target

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in _REDUCTIONS:
            return self._reduced(function, inspect.signature(function).bind(*args, **kwargs).arguments)
        if function in ORDERED:
            given = inspect.signature(function).bind(*args, **kwargs).arguments
            return ORDERED[function](self, function, given.pop("a"), **given)
        if function is np.astype:
            return self.astype(*args[1:], **kwargs)
        if (
            function in _ELEMENTWISE
            and not kwargs.keys() & {"out", "where"}
            and (function is not np.where or len(args) == 3)
        ):
            return self.of_rows(function, args, {k: self.lifted(v) for k, v in kwargs.items()})
        if function in (np.dot, np.inner, np.vdot) and len(args) == 2 and not kwargs and self.ndim == 1:
            x, y = args
            turned = function is np.vdot and type(x) is Selected and number_kind(x.dtype) == "c"
            return self._matmul(np.conj(x) if turned else x, y)
        if function is np.size and len(args) == 1:
            return self.size
        if function is np.ndim:
            return self.ndim
        if function in _OF_DTYPES:
            return function(*[x.dtype if type(x) is Selected else x for x in args], **kwargs)
        self.refuse(f"np.{function.__name__}")

    def _matmul(self, x: Any, y: Any) -> Any:
        if type(x) is type(y) is Selected and x.ndim == y.ndim == 1:
            products = x * y
            return np.sum(products, dtype=products.dtype)  # as products of matrices: small integers stay small
        if type(x) is Selected and type(y) is not Selected and x.ndim == 2 and len(shape_of(as_array(y))) in (1, 2):
            return x.wrapped(np.matmul(x.filling(), y))
        self.refuse("np.matmul")

    def _reduced(self, function: Any, given: dict[str, Any]) -> Any:
        x = given.pop("a")
        if type(x) is not Selected or given.get("out") is not None or not isinstance(given.get("where", True), bool):
            self.refuse(f"np.{function.__name__} with where= or out=")
        given = {k: v for k, v in given.items() if k not in ("out", "where")}
        axes = normalize_axes(given.pop("axis", None), self.ndim, function.__name__)
        if 0 not in axes:
            return self.wrapped(function(self.filling(), axis=axes, **given))
        if function is np.count_nonzero:
            return function(np.where(self.held(), self.rows, 0), axis=axes, **given)
        worst = _WORST.get(function)
        if worst is None or "initial" in given:
            return function(self.rows, axis=axes, where=self.held(), **given)
        if number_kind(self.dtype) != "f":
            raise ValueError(
                f"np.{function.__name__} of what a mask selects{at(user_source())} needs a value where that is nothing, since only the "
                f"type of the mask is known, and {self.dtype} has no NaN: write np.{function.__name__}(x, initial=...)"
            )
        found = function(self.rows, axis=axes, where=self.held(), initial=worst, **given)
        return np.where(np.any(self.mask), found, np.asarray(np.nan, self.dtype))

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.mask.__array_namespace__(api_version=api_version)

    # -- ndarray's methods.
    def conj(self) -> Any:
        return np.conj(self)

    def astype(self, dtype: Any, **_: Any) -> Any:
        return self.wrapped(self.filling().astype(dtype))

    def copy(self, order: Any = "C") -> Any:
        return Selected(self.rows, self.mask, self.source, self.is_filled)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple) and index and isinstance(index[0], slice) and index[0] == slice(None):
            found = self.rows[index]
            if found.ndim:
                return Selected(found, self.mask, self.source, self.is_filled)
        self.refuse("indexing")

    # -- What needs the size.
    def refuse(self, what: str) -> NoReturn:
        raise ConcretizationTypeError(
            self.mask.no_value_text(f"indexing with a mask{at(self.source)}, then {what},", INSTEAD)
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self.refuse("use as an array")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"x[mask] has no attribute {name!r}")
        self.refuse(f".{name}")

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        self.refuse("assignment to a part of it")

    def __len__(self) -> int:
        self.refuse("len()")

    def __iter__(self) -> Any:
        self.refuse("iteration")

    def __bool__(self) -> bool:
        self.refuse("if, and, or, not, while or bool()")

    def __float__(self) -> float:
        self.refuse("float()")

    __hash__ = None

    def __repr__(self) -> str:
        shape = ",".join(["?", *map(str, self.rows.shape[1:])])
        return f"<{self.dtype}[{shape}], selected by {self.mask!r}>"


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: self.__array_function__(function, (), (self, *args), kwargs)


for _function in (
    np.all,
    np.any,
    np.clip,
    np.cumprod,
    np.cumsum,
    np.dot,
    np.max,
    np.mean,
    np.min,
    np.prod,
    np.round,
    np.std,
    np.sum,
    np.var,
):
    setattr(
        Selected,
        _function.__name__.removeprefix("a") if _function in (np.amax, np.amin) else _function.__name__,
        _method(_function),
    )

APPLIED[Selected] = Selected.applied
PLAIN.add(Selected)  # as_array refuses it in its own words

_REDUCTIONS: frozenset[Any] = frozenset([
    np.sum, np.prod, np.mean, np.std, np.var, np.all, np.any, np.max, np.min, np.amax, np.amin, np.count_nonzero, np.nansum,
    np.nanprod, np.nanmean, np.nanstd, np.nanvar,
])  # fmt: skip
_OF_UFUNCS = {
    np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min, np.logical_and: np.all, np.logical_or: np.any,
}  # fmt: skip
# Functions for which the order of what is selected counts (ordered.py).
ORDERED: dict[Any, Callable[..., Any]] = {}
# What the largest and the smallest of nothing would be. There is none: NumPy raises, and here it is NaN.
_WORST: dict[Any, float] = {np.max: -math.inf, np.amax: -math.inf, np.min: math.inf, np.amin: math.inf}
# Functions of arrays' dtypes.
_OF_DTYPES = frozenset([np.result_type, np.can_cast])
# Functions of several ops that are elementwise.
_ELEMENTWISE: frozenset[Any] = frozenset([
    np.where, np.clip, np.round, np.around, np.nan_to_num, np.real, np.angle, np.isclose, np.sinc, np.fix,
])  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Whether two masks are the same, as in `x[x > 0] * y[x > 0]`.


def _are_equal(a: Any, b: Any) -> bool:
    """Whether the same ops have made both from the same values."""
    if a is b:
        return True
    producers = _Producers()
    pairs, seen = [(a, b)], set()
    while pairs:
        x, y = pairs.pop()
        if x is y or (id(x), id(y)) in seen:
            continue
        seen.add((id(x), id(y)))
        if type(x) is not type(y):
            return False
        if type(x) is not Tracer:
            if not np.array_equal(x, y) or np.asarray(x).dtype != np.asarray(y).dtype:
                return False
            continue
        one, other = producers.of(x), producers.of(y)
        if one is None or other is None or one[0] is not other[0] or one[0].multiple_results or one[3] != other[3]:
            return False
        pairs += zip(one[1], other[1], strict=True)
    return True


class _Producers:
    """The equations that have made tracers, of which the latest are read first, and no more than are asked for."""

    def __init__(self) -> None:
        self.found: dict[int, Equation] = {}
        self.rest: dict[int, Iterator[Equation]] = {}

    def of(self, x: Tracer) -> Equation | None:
        if isinstance(x.source, int):  # an input
            return None
        rest = self.rest.setdefault(x.origin.level, reversed(x.origin.eqns))
        while id(x) not in self.found and (eqn := next(rest, None)) is not None:
            self.found.update([(id(out), eqn) for out in (eqn[4] if eqn[0].multiple_results else (eqn[4],))])
        return self.found.get(id(x))
