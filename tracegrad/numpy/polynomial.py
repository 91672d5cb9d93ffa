"""`numpy.polynomial`, with values of series whose coefficients are traced: `polynomial.polyval`, `chebyshev.chebval`, `legendre.legval`,
`hermite.hermval`, `hermite_e.hermeval`, `laguerre.lagval`, and of each `val2d`, `val3d`, `grid2d` and `grid3d`. All other names are
NumPy's own; its functions of `x` are traced as they stand where the coefficients are plain.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev as Chebyshev
from numpy.polynomial import Hermite as Hermite
from numpy.polynomial import HermiteE as HermiteE
from numpy.polynomial import Laguerre as Laguerre
from numpy.polynomial import Legendre as Legendre
from numpy.polynomial import Polynomial as Polynomial
from numpy.polynomial import set_default_printstyle as set_default_printstyle

from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.programs import call_anew
from tracegrad.core.trace import as_array, contains_tracer
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import shape_of

__all__ = [
    "Chebyshev", "Hermite", "HermiteE", "Laguerre", "Legendre", "Polynomial", "chebyshev", "hermite", "hermite_e", "laguerre",
    "legendre", "polynomial", "set_default_printstyle",
]  # fmt: skip

# Of a family p_0 = 1, p_1, ...: p_1 of x, and a function of (n, x) that returns a and b of p_n = a p_{n-1} - b p_{n-2}.
_Recurrence = tuple[Callable[[Any], Any], Callable[[int, Any], tuple[Any, Any]]]

_FAMILIES: dict[str, tuple[str, _Recurrence]] = {
    "polynomial": ("poly", (lambda x: x, lambda n, x: (x, 0))),
    "chebyshev": ("cheb", (lambda x: x, lambda n, x: (2 * x, 1))),
    "legendre": ("leg", (lambda x: x, lambda n, x: ((2 * n - 1) / n * x, (n - 1) / n))),
    "hermite": ("herm", (lambda x: 2 * x, lambda n, x: (2 * x, 2 * (n - 1)))),
    "hermite_e": ("herme", (lambda x: x, lambda n, x: (x, n - 1))),
    "laguerre": ("lag", (lambda x: 1 - x, lambda n, x: ((2 * n - 1 - x) / n, (n - 1) / n))),
}


def _value(recurrence: _Recurrence, x: Any, c: Any, tensor: bool = True) -> Any:
    """The sum of c_n p_n(x), from the highest degree down (Clenshaw, A note on the summation of Chebyshev series, Math. Comp. 9 (1955))."""
    first, step = recurrence
    x, c = as_array(x), as_array(c)
    if not shape_of(c):
        c = np.reshape(c, 1)
    if number_kind(type_of(c).dtype) in "biu":
        c = astype(c, float)
    if not c.shape[0]:
        raise ShapeError(f"a series of no coefficients{at(user_source())}: got {type_of(c)}")
    if tensor:
        c = np.reshape(c, c.shape + (1,) * len(shape_of(x)))
    low, high = (c[-2], c[-1]) if c.shape[0] > 1 else (c[0], 0 * c[0])
    for n in range(c.shape[0] - 1, 1, -1):
        a, b = step(n, x)
        low, high = c[n - 2] - b * high, low + a * high
    return low + first(x) * high


def _on_grid(recurrence: _Recurrence, *args: Any) -> Any:
    """Of points x, y, ... the values at all their pairs."""
    *points, c = args
    for x in points:
        c = _value(recurrence, x, c)
    return c


def _at_points(recurrence: _Recurrence, *args: Any) -> Any:
    """Of arrays x, y, ... of one shape the values at the points that they name together."""
    *points, c = [as_array(a) for a in args]
    if len({shape_of(x) for x in points}) > 1:
        raise ShapeError(
            f"x, y and z must have the same shape{at(user_source())}, got {', '.join([str(type_of(x)) for x in points])}"
        )
    for k, x in enumerate(points):
        c = _value(recurrence, x, c, tensor=not k)
    return c


def _traced(numpys: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's function, and ours for what is traced."""

    @functools.wraps(numpys)
    def function(*args: Any, **kwargs: Any) -> Any:
        if contains_tracer([*args, *kwargs.values()]):
            return call_anew(ours, args, kwargs)
        return numpys(*args, **kwargs)

    return accepting_jax(function)


class _Family(SimpleNamespace):
    """The names of one of NumPy's modules of series."""


def _family(name: str) -> Any:
    numpys: ModuleType = getattr(np.polynomial, name)
    prefix, recurrence = _FAMILIES[name]
    forms = {"val": _value, "val2d": _at_points, "val3d": _at_points, "grid2d": _on_grid, "grid3d": _on_grid}
    ours = {
        prefix + form: _traced(getattr(numpys, prefix + form), functools.partial(function, recurrence))
        for form, function in forms.items()
    }
    return _Family(
        __doc__=f"`numpy.polynomial.{name}`, whose `{prefix}val` and its kin take coefficients that are traced.\n\n"
        f">>> float({name}.{prefix}val(0.5, np.array([3.0])))\n3.0",
        **{n: getattr(numpys, n) for n in numpys.__all__} | ours,
    )


polynomial, chebyshev, legendre = _family("polynomial"), _family("chebyshev"), _family("legendre")
hermite, hermite_e, laguerre = _family("hermite"), _family("hermite_e"), _family("laguerre")
