"""The types that variables of a Graph have: shape, dtype, and whether a Python scalar's weak dtype rules."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.late import LOADERS
from tracegrad.typing import DType

Shape = tuple[int, ...]

# The tangent dtype of integers and booleans, as jax.dtypes.float0: a type with one value, zero, and no bytes.
float0 = np.dtype([("float0", np.void, 0)])

# A Python scalar is weak: next to an array it takes the array's dtype (NumPy 2's promotion, NEP 50).
PYTHON_SCALARS: dict[type, np.dtype[Any]] = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}

# The classes of plain arrays, NumPy's scalars and Python's.
DIRECT = frozenset([np.ndarray, *PYTHON_SCALARS, *(np.dtype(c).type for c in "?bhilqBHILQefdgFDG")])
# Of which of Python's types numbers of a kind are.
ITEMS = {"b": bool, "i": int, "u": int, "f": float, "c": complex}
_SCALAR_OF_KIND = {"b": np.dtype(bool), "i": int, "u": int, "f": float, "c": complex}


def is_added(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one that ml_dtypes adds to NumPy: its ufuncs know it, but neither np.linalg nor np.einsum do."""
    return dtype.type.__module__ == "ml_dtypes"


@functools.cache
def _added_kind(dtype: np.dtype[Any]) -> str:
    """The kind of numbers that ml_dtypes adds to NumPy; "V" for what else NumPy takes for opaque bytes."""
    if not is_added(dtype):
        return "V"
    found = re.match(r"(b?float|int|uint)\d", dtype.name)
    return "V" if found is None else {"int": "i", "uint": "u"}.get(found[1], "f")


def number_kind(dtype: np.dtype[Any]) -> str:
    """What kind of numbers a dtype holds, as `dtype.kind` says of NumPy's own: "b", "i", "u", "f" or "c". Of those that
    ml_dtypes adds (bfloat16, float8_e4m3fn, ...) NumPy knows nothing but their bytes, kind "V", so this is what to ask."""
    kind = dtype.kind
    return kind if kind != "V" else _added_kind(dtype)


def is_inexact(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of a dtype are rounded, and so can have a derivative: floating and complex ones."""
    return number_kind(dtype) in "fc"


def float_limits(dtype: np.dtype[Any]) -> Any:
    """`np.finfo`, of ml_dtypes' floats too. Who has such a dtype has imported ml_dtypes; this does not."""
    return (sys.modules["ml_dtypes"] if is_added(dtype) else np).finfo(dtype)


def float_extreme(dtype: np.dtype[Any], sign: int) -> Any:
    """What no float of a dtype is above (for 1) or below (for -1): infinity, or the largest where there is no infinity."""
    found = dtype.type(sign * np.inf)
    return found if np.isinf(found) else dtype.type(sign * float(float_limits(dtype).max))


def in_known_dtype(x: Any) -> Any:
    """An array or number in a dtype that all of NumPy knows: float32 of what ml_dtypes adds."""
    return x.astype(np.float32) if type(x) not in PYTHON_SCALARS and is_added(x.dtype) else x


def is_numpy_scalar(x: Any) -> bool:
    """Whether something is one of NumPy's scalars itself, and not a tracer that stands for one."""
    return issubclass(type(x), np.generic)


class ArrayType:
    """The type of an array: `shape`, `dtype`, and `weak` where it stands for a Python scalar.

    >>> import numpy as np
    >>> ArrayType((3, 4), np.dtype("float32"))
    f32[3,4]
    """

    __slots__ = ("dtype", "shape", "weak")
    shape: Shape
    dtype: np.dtype[Any]
    weak: bool

    def __init__(self, shape: Shape, dtype: np.dtype[Any], weak: bool = False) -> None:
        self.shape = shape
        self.dtype = dtype
        self.weak = weak

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        total = 1
        for n in self.shape:
            total *= n
        return total

    @property
    def python_kind(self) -> type | None:
        """The Python type of which `item()` makes its elements; None for numbers that Python has not (long double)."""
        kind, bits = number_kind(self.dtype), self.dtype.itemsize * 8
        return None if bits > {"f": 64, "c": 128}.get(kind, 64) or kind == "V" else ITEMS[kind]

    @property
    def promotion(self) -> Any:
        """What NumPy's dtype resolution takes for this type: the dtype, or the Python type of a weak scalar (a bool is
        never weak)."""
        return _SCALAR_OF_KIND[self.dtype.kind] if self.weak else self.dtype

    @property
    def weight(self) -> Any:
        """What stands for this type in np.result_type: the dtype, or a Python scalar, which yields to arrays. (A weak bool
        has nothing to yield.)"""
        found = self.promotion
        return found() if isinstance(found, type) else found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ArrayType):
            return NotImplemented
        return self.shape == other.shape and self.dtype == other.dtype and self.weak == other.weak

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.weak))

    def __repr__(self) -> str:
        return f"{dtype_name(self.dtype)}{'~' if self.weak else ''}[{','.join(map(str, self.shape))}]"


_SHORT = {"b": "bool", "i": "i", "u": "u", "f": "f", "c": "c"}


def dtype_name(dtype: np.dtype[Any]) -> str:
    """`f64`, `c128`, `i32`, `bool`: how dtypes are written in listings and errors."""
    short = None if is_added(dtype) else _SHORT.get(dtype.kind)
    if short is None or dtype.kind == "b":
        return short or ("float0" if dtype == float0 else dtype.name)
    return f"{short}{dtype.itemsize * 8}"


def type_of(value: Any) -> ArrayType:
    """The type of an array, NumPy scalar, Python scalar or tracer; TypeError for anything else."""
    weak_dtype = PYTHON_SCALARS.get(type(value))
    if weak_dtype is not None:
        return ArrayType((), weak_dtype, True)
    if issubclass(type(value), np.ndarray | np.generic):  # isinstance would ask a tracer what it stands for
        return ArrayType(value.shape, value.dtype)
    try:
        found = value.type
    except AttributeError:
        found = None
    if isinstance(found, ArrayType):
        return found
    if is_jax_array(value):
        if not isinstance(value.dtype, np.dtype):
            raise TypeError(
                f"a jax array of {value.dtype} is not one of numbers; write jax.random.key_data(key) for the numbers of a key"
            )
        return ArrayType(value.shape, np.dtype(value.dtype), value.weak_type and not value.shape)
    raise TypeError(f"a value of type {type(value).__name__} is not an array: {value!r}")


def promotions(types: Sequence[ArrayType]) -> list[Any]:
    """What NumPy's dtype resolution takes for inputs of these types: Python scalars have nobody to yield to where they are
    alone."""
    if types[0].weak and all([t.weak for t in types]):
        return [t.dtype for t in types]
    return [t.promotion for t in types]


def scalar_type(function: Callable[..., Any], types: Sequence[ArrayType], params: Mapping[str, Any]) -> ArrayType:
    """The type of what a function makes of Python scalars of these types, which are weak all: bool + bool is an int."""
    return ArrayType((), _dtype_of_scalars(function, tuple([t.dtype for t in types]), tuple(params.items())), True)


@functools.cache
def _dtype_of_scalars(
    function: Callable[..., Any], dtypes: tuple[np.dtype[Any], ...], params: tuple[tuple[str, Any], ...]
) -> np.dtype[Any]:
    ones = [dtype.type(1).item() for dtype in dtypes]
    return PYTHON_SCALARS[type(function(*ones, **dict(params)))]


class ShapeDtypeStruct:
    """A shape and a dtype without values, for `eval_shape`, `make_graph` and `linear_transpose` (as in jax).

    >>> ShapeDtypeStruct((2, 3), "float32").shape
    (2, 3)
    """

    __slots__ = ("dtype", "shape")
    shape: Shape
    dtype: np.dtype[Any]

    def __init__(self, shape: Sequence[int] | int, dtype: DType) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)

    @property
    def type(self) -> ArrayType:
        return ArrayType(self.shape, self.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.type.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and self.type == other.type

    def __hash__(self) -> int:
        return hash(self.type)

    def __repr__(self) -> str:
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name})"

    def __treescope_repr__(self, path: Any, subtree_renderer: Any) -> Any:
        return LOADERS["treescope"]().rendered(repr(self), "ShapeDtypeStruct", path)
