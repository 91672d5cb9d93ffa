"""Functions of NumPy in as many digits as one likes: the truth that has no rounding errors of float64's size.

NumPy applies a function to an array of objects by calling the method of that name on each (`np.sin` calls `x.sin()`), and
arithmetic by their operators. `Precise` is such an object around mpmath's numbers. So a function written in NumPy's calls is
evaluated as it stands, on arrays of `Precise`, and difference quotients of that, at a step of 1e-20 in 60 digits, are derivatives
to 1e-40: they owe nothing to any derivative rule. This module imports mpmath.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np

from tracegrad import tree

DIGITS = 60
STEP = mpmath.mpf(10) ** -20

# Names of NumPy's functions beside mpmath's for what they do to one number.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(mpmath, name) for name in
       ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "expm1", "log", "log1p", "log10", "sqrt", "floor", "ceil")},
    **{"arc" + name: getattr(mpmath, "a" + name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "conjugate": mpmath.conj,
    "degrees": mpmath.degrees,
    "exp2": lambda x: mpmath.power(2, x),
    "log2": lambda x: mpmath.log(x, 2),
    "rad2deg": mpmath.degrees,
    "deg2rad": mpmath.radians,
    "radians": mpmath.radians,
    "rint": mpmath.nint,
    "trunc": lambda x: mpmath.floor(x) if x >= 0 else mpmath.ceil(x),
    "arctan2": mpmath.atan2,
    "hypot": mpmath.hypot,
}  # fmt: skip


def _number(x: Any) -> Any:
    """mpmath's number for a `Precise` or for any of Python's and NumPy's; a float64 is taken for exactly what it is."""
    x = x.item() if isinstance(x, np.generic | np.ndarray) else x
    return x.number if isinstance(x, Precise) else mpmath.mpmathify(x)


class Precise:
    """A real or complex number of mpmath's that NumPy computes with."""

    __slots__ = ("number",)

    def __init__(self, number: Any) -> None:
        self.number = _number(number)

    def __repr__(self) -> str:
        return f"Precise({mpmath.nstr(self.number, 20)})"

    def __float__(self) -> float:
        return float(self.number)

    def __complex__(self) -> complex:
        return complex(self.number)

    def __bool__(self) -> bool:
        return bool(self.number)

    def __hash__(self) -> int:
        return hash(self.number)

    # What a float64 of NumPy's can do that stands where an array may.

    @property
    def T(self) -> Precise:
        return self

    def __getitem__(self, index: Any) -> Any:
        return as_array(self)[index]

    @property
    def real(self) -> Precise:
        return Precise(mpmath.re(self.number))

    @property
    def imag(self) -> Precise:
        return Precise(mpmath.im(self.number))


def _operator(name: str) -> Callable[..., Any]:
    def applied(self: Precise, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        result = getattr(self.number, name)(_number(other))
        return result if result is NotImplemented or isinstance(result, bool) else Precise(result)

    return applied


for _name in ("add", "sub", "mul", "truediv", "pow", "mod"):
    setattr(Precise, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Precise, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Precise, f"__{_name}__", _operator(f"__{_name}__"))
for _name, _sign in (("neg", lambda x: -x), ("pos", lambda x: x), ("abs", abs)):
    setattr(Precise, f"__{_name}__", lambda self, f=_sign: Precise(f(self.number)))
for _name, _function in _FUNCTIONS.items():
    setattr(Precise, _name, lambda self, *others, f=_function: Precise(f(self.number, *map(_number, others))))


def as_array(x: Any) -> Any:
    """An array of `Precise` of what an array of floats holds, exactly; any other array as it is.

    >>> as_array([[1, 2]]).shape
    (1, 2)
    """
    x = np.asarray(x)
    if x.dtype.kind not in "fcO":
        return x
    found = np.empty(x.shape, object)
    for index in np.ndindex(x.shape):
        found[index] = Precise(x[index])
    return found


def rounded(x: Any) -> Any:
    """A float64 array (complex128) of an array of `Precise`.

    >>> rounded(mpmath.mpf("0.1"))
    array(0.1)
    """
    x = np.asarray(x)
    if x.dtype != object:
        return x
    is_complex = any([isinstance(_number(e), mpmath.mpc) for e in x.flat])
    return x.astype(np.complex128 if is_complex else np.float64)


def evaluate(f: Callable[..., Any], *args: Any, digits: int = DIGITS) -> Any:
    """The value of a function of NumPy's calls, in so many digits, rounded to float64.

    Args:
        f: a function of arrays, or of pytrees of them, in NumPy's functions and operators; not in `np.linalg`, `np.fft` or
            `tg`, which know no numbers but floats.
        *args: its arguments, which are taken for exactly the floats that they are.
        digits: how many.

    >>> import numpy as np
    >>> from tracegrad.testing import precise
    >>> float(precise.evaluate(lambda x: (1 - np.cos(x)) / x**2, 1e-9))  # in float64 it is 0.0
    0.5
    """
    with mpmath.workdps(digits):
        return tree.tree_map(rounded, f(*[tree.tree_map(as_array, x) for x in args]))


def derivative(
    f: Callable[..., Any], args: Sequence[Any], direction: Sequence[Any], order: int = 1, *, digits: int = DIGITS
) -> Any:
    """The derivative of a function of NumPy's calls along a direction, of first or second order, by central differences
    at a step of 1e-20; rounded to float64.

    Args:
        f: as for `evaluate`.
        args: its arguments; integers among them are held fixed.
        direction: as many trees as `args`, of the same structure and shapes.
        order: 1 or 2.
        digits: in how many to compute.

    >>> import numpy as np
    >>> from tracegrad.testing import precise
    >>> float(precise.derivative(np.exp, (0.0,), (1.0,), order=2))
    1.0
    """
    if order not in (1, 2):
        raise ValueError(f"derivative: order must be 1 or 2, got {order}")
    with mpmath.workdps(digits):
        x, v = [[tree.tree_map(as_array, t) for t in trees] for trees in (args, direction)]
        step: Any = Precise(STEP)
        moved = lambda k: lambda a, d: np.asarray(a + k * step * d, object) if a.dtype == object else a
        at = [f(*tree.tree_map(moved(k), x, v)) for k in (-1, 0, 1)]
        if order == 1:
            return tree.tree_map(lambda a, b: rounded((b - a) / (2 * step)), at[0], at[2])
        return tree.tree_map(lambda a, middle, b: rounded((b - 2 * middle + a) / step**2), *at)
