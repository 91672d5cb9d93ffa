"""What a distribution is: formulas for a number without location and scale, and what follows from them.

A distribution is a table of formulas of a number x and of shape parameters: of its density (`logpdf`, or `logpmf` of counts), its distribution
function `cdf` and the inverse of that, `ppf`, and of whatever else there are better formulas for than the general ones: `pdf` is the
exponential of `logpdf`, `sf` is 1 - `cdf`, `logcdf` and `logsf` are logarithms, and `isf(q)` is `ppf(1 - q)`. Formulas are plain NumPy code
and functions of tg.scipy.special's; they hold within the support of the distribution and for valid parameters. All else is done here, once for
all: location and scale, what there is outside of the support, NaN for parameters that are not valid.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.core.boxes import public
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.special.entropy import xlog1py, xlogy
from tracegrad.ops.special.quantiles import like
from tracegrad.typing import Array, ArrayLike

Formula = Callable[..., Any]


def log(x: ArrayLike) -> Array:
    """The logarithm without NumPy's warning at zero, which is where densities and tails end."""
    return xlogy(like(x, 1), x)


def log1m(x: ArrayLike) -> Array:
    """log(1 - x), likewise at one."""
    return xlog1py(like(x, 1), np.negative(x))


def log1mexp(x: ArrayLike) -> Array:
    """log(1 - exp(-x)) for x >= 0, as exact near zero as far out."""
    near = np.less(x, math.log(2))
    return np.where(near, log(-np.expm1(-np.where(near, x, 1.0))), np.log1p(-np.exp(-np.where(near, 1.0, x))))


def where_above(limit: float, x: Any, formula: Formula) -> Any:
    """A formula of what is above the limit, and infinity elsewhere: means and variances that there are not always."""
    above = np.greater(x, limit)
    return np.where(above, formula(np.where(above, x, limit + 1.0)), math.inf)


def _is_known(condition: Any) -> bool:
    """Whether it is known to hold everywhere, so that nothing needs to be chosen by it."""
    return type(condition) in (bool, np.bool_, np.ndarray) and bool(np.all(condition))


def _quiet(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method without NumPy's warnings, as SciPy's: of the ends of the support, and of formulas that do not hold for an element."""

    @functools.wraps(method)
    def quiet(*args: Any, **kwds: Any) -> Any:
        return quietly(("all",), method, *args, **kwds)

    return quiet


def _where(condition: Any, x: Any, other: Any) -> Any:
    return x if _is_known(condition) else np.where(condition, x, other)


def _log_of(part: Formula, rest: Formula) -> Formula:
    """The logarithm of a probability; where that is more than a half, by what is left."""

    def formula(x: Any, *shapes: Any) -> Any:
        p = part(x, *shapes)
        more = np.greater(p, 0.5)
        return np.where(more, np.log1p(-np.where(more, rest(x, *shapes), 0.0)), log(np.where(more, 1.0, p)))

    return formula


_GENERAL: dict[str, Callable[[dict[str, Formula]], Formula]] = {
    "sf": lambda has: lambda x, *shapes: 1 - has["cdf"](x, *shapes),
    "logcdf": lambda has: _log_of(has["cdf"], has["sf"]),
    "logsf": lambda has: _log_of(has["sf"], has["cdf"]),
    "isf": lambda has: lambda q, *shapes: has["ppf"](1 - q, *shapes),
    "median": lambda has: lambda *shapes: has["ppf"](like(shapes[0], 0.5) if shapes else 0.5, *shapes),
}


def _is_one(scale: Any) -> bool:
    return type(scale) is int and scale == 1


class Distribution:
    """What distributions of numbers and of counts have in common.

    Args:
        name: SciPy's name of it.
        doc: what it is, for its docstring.
        shapes: the names of its shape parameters, in order.
        valid: for which of these it is a distribution.
        support: the least and the greatest x that there may be, numbers or a function of the shape parameters.
        formulas: by the names of methods; those of `cdf`, `logpdf` and their kin take x and the shape parameters, those of
            `ppf` and `isf` a probability and these, and the others the shape parameters alone.
    """

    density = "pdf"
    has_scale = True

    def __init__(
        self, name: str, doc: str, *, shapes: tuple[str, ...] = (), valid: Formula = lambda *shapes: True,
        support: Any = (-math.inf, math.inf), **formulas: Formula,
    ) -> None:  # fmt: skip
        self.name = name
        self.__doc__ = doc
        self.shapes = shapes
        self._valid = valid
        self._ends = support if callable(support) else lambda *shapes: support
        density = self.density
        formulas.setdefault(density, lambda x, *shapes: np.exp(formulas[f"log{density}"](x, *shapes)))
        for method, formula in _GENERAL.items():
            formulas.setdefault(method, formula(formulas))
        self._formulas = formulas
        rest = [inspect.Parameter("loc", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=0)]
        if self.has_scale:
            rest.append(inspect.Parameter("scale", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=1))
        named = [inspect.Parameter(shape, inspect.Parameter.POSITIONAL_OR_KEYWORD) for shape in shapes]
        self._signature = inspect.Signature([*named, *rest])
        make_public(self)

    def __call__(self, *args: ArrayLike, **kwds: ArrayLike) -> Frozen:
        """The distribution with these parameters, whose methods take the number alone."""
        self._parameters(args, kwds)
        return Frozen(self, args, kwds)

    def __repr__(self) -> str:
        return f"<tg.scipy.stats.{self.name}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"{self!r} has no {name}; scipy.stats.{self.name} may have it, for plain arrays")

    # -----------------------------------------------------------------------------------------------------------------
    # Parameters.

    def _parameters(self, args: Any, kwds: Any, *first: Any) -> tuple[list[Any], Any, Any]:
        """Shape parameters, location and scale; NaN where they are not valid. Python's numbers among them, whose logarithms would be
        float64, get the dtype of the rest and of what comes first."""
        try:
            bound = self._signature.bind(*args, **kwds)
        except TypeError as error:
            raise TypeError(
                f"{self.name}: {error}; its parameters are ({', '.join(self._signature.parameters)})"
            ) from None
        bound.apply_defaults()
        given = [x if type(x) in (int, float) else as_array(x) for x in bound.arguments.values()]
        joint = np.result_type(*[type_of(x).weight for x in (*first, *given)])
        dtype = joint if number_kind(joint) == "f" else np.dtype(np.float64)
        scale = given.pop() if self.has_scale else 1
        *shapes, loc = given
        shapes = [dtype.type(x) if type(x) in (int, float) else x for x in shapes]
        scale = dtype.type(scale) if type(scale) in (int, float) and not _is_one(scale) else scale
        valid = self._valid(*shapes) & np.greater(scale, 0)
        # What is plain stays so, if it is not known to be wrong: what is traced makes it NaN then.
        kept = [
            x if type(valid) is Tracer and type(x) is not Tracer else _where(valid, x, math.nan)
            for x in (*shapes, scale)
        ]
        return kept[:-1], loc, kept[-1]

    def _standard(self, x: Any, loc: Any, scale: Any) -> Any:
        """A number in units of the scale, from the location on, in floating point."""
        y: Any = x
        if number_kind(type_of(y).dtype) != "f":
            y = y * 1.0
        if not (type(loc) is int and loc == 0):
            y = y - loc
        return y if _is_one(scale) else y / scale

    def _scaled(self, y: Any, loc: Any, scale: Any, *beside: Any) -> Any:
        """The way back; with the shape that all parameters have together."""
        out = loc + scale * np.asarray(y) if type(y) in (int, float) else loc + scale * y
        shape = np.broadcast_shapes(*[np.shape(x) for x in (loc, scale, *beside)], np.shape(out))
        return out if np.shape(out) == shape else np.broadcast_to(out, shape)

    def _within(self, name: str, y: Any, shapes: list[Any], below: float, above: float) -> Any:
        """A formula within the support, and what there is below and above of it."""
        lower, upper = self._ends(*shapes)
        left, right = self._beyond(y, lower, upper, name)
        y = _where(np.logical_not(left | right), y, self._inner(lower, upper))
        return _where(
            np.logical_not(left), _where(np.logical_not(right), self._formulas[name](y, *shapes), above), below
        )

    def _beyond(self, y: Any, lower: Any, upper: Any, name: str) -> tuple[Any, Any]:
        """Where a number is below and above the support. A NaN is neither."""
        return (
            False if _is_known(np.isneginf(lower)) else np.less(y, lower),
            False if _is_known(np.isposinf(upper)) else np.greater(y, upper),
        )

    def _inner(self, lower: Any, upper: Any) -> Any:
        raise NotImplementedError

    def _at(self, name: str, x: ArrayLike, args: Any, kwds: Any, below: float, above: float) -> tuple[Any, Any]:
        """A method of a number, and the scale."""
        x = as_array(x)
        shapes, loc, scale = self._parameters(args, kwds, x)
        return self._within(name, self._standard(x, loc, scale), shapes, below, above), scale

    # -----------------------------------------------------------------------------------------------------------------
    # Methods.

    def cdf(self, x: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The probability of no more than `x`."""
        return self._at("cdf", x, args, kwds, 0.0, 1.0)[0]

    def sf(self, x: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The probability of more than `x`, accurate where that is tiny."""
        return self._at("sf", x, args, kwds, 1.0, 0.0)[0]

    def logcdf(self, x: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The logarithm of `cdf`."""
        return self._at("logcdf", x, args, kwds, -math.inf, 0.0)[0]

    def logsf(self, x: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The logarithm of `sf`."""
        return self._at("logsf", x, args, kwds, 0.0, -math.inf)[0]

    def _quantile(self, name: str, q: ArrayLike, args: Any, kwds: Any) -> Any:
        q = as_array(q)
        shapes, loc, scale = self._parameters(args, kwds, q)
        y = self._standard(q, 0, 1)
        y = _where(np.greater_equal(y, 0) & np.less_equal(y, 1), y, math.nan)
        return self._scaled(self._formulas[name](y, *shapes), loc, scale)

    def ppf(self, q: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The number of which `cdf` is `q`; of counts the least of which it is no less."""
        return self._quantile("ppf", q, args, kwds)

    def isf(self, q: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The number of which `sf` is `q`; of counts the least of which it is no more."""
        return self._quantile("isf", q, args, kwds)

    def interval(self, confidence: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> tuple[Array, Array]:
        """What is between equal probabilities on either side, with this one of it."""
        half = np.multiply(0.5, np.subtract(1.0, confidence))
        return self._quantile("ppf", half, args, kwds), self._quantile("ppf", 1 - half, args, kwds)

    def _moment(self, name: str, args: Any, kwds: Any) -> tuple[Any, Any, Any]:
        shapes, loc, scale = self._parameters(args, kwds)
        return self._scaled(self._formulas[name](*shapes), 0, 1, loc, scale, *shapes), loc, scale

    def entropy(self, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The mean of minus the logarithm of the density, in nats."""
        found, _, scale = self._moment("entropy", args, kwds)
        return found if _is_one(scale) else found + np.log(scale)

    def mean(self, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The mean, infinite or NaN where there is none."""
        found, loc, scale = self._moment("mean", args, kwds)
        return self._scaled(found, loc, scale)

    def median(self, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """What `ppf` is of 0.5."""
        found, loc, scale = self._moment("median", args, kwds)
        return self._scaled(found, loc, scale)

    def var(self, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The variance, infinite or NaN where there is none."""
        found, _, scale = self._moment("var", args, kwds)
        return found * scale * scale

    def std(self, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The square root of the variance."""
        found, _, scale = self._moment("var", args, kwds)
        return np.sqrt(found) * scale

    def support(self, *args: ArrayLike, **kwds: ArrayLike) -> tuple[Array, Array]:
        """The least and the greatest number that there may be."""
        shapes, loc, scale = self._parameters(args, kwds)
        lower, upper = self._ends(*shapes)
        return self._scaled(lower, loc, scale, *shapes), self._scaled(upper, loc, scale, *shapes)


class Continuous(Distribution):
    """A distribution of real numbers, which location and scale move and stretch. `open_below` says that the formulas do not hold
    at the lower end of the support itself, where there is no density."""

    def __init__(self, name: str, doc: str, *, open_below: bool = False, **rest: Any) -> None:
        self._less: Callable[..., Any] = np.less_equal if open_below else np.less
        super().__init__(name, doc, **rest)

    def _beyond(self, y: Any, lower: Any, upper: Any, name: str) -> tuple[Any, Any]:
        left, right = super()._beyond(y, lower, upper, name)
        return (left if left is False else self._less(y, lower)), right

    def _inner(self, lower: Any, upper: Any) -> Any:
        """Something within the support, which stands for what is not."""
        if type(lower) is float and type(upper) is float:
            return min(max(0.5, lower), upper)
        return np.minimum(np.maximum(0.5, lower), upper)

    def pdf(self, x: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The density."""
        found, scale = self._at("pdf", x, args, kwds, 0.0, 0.0)
        return found if _is_one(scale) else found / scale

    def logpdf(self, x: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The logarithm of the density."""
        found, scale = self._at("logpdf", x, args, kwds, -math.inf, -math.inf)
        return found if _is_one(scale) else found - np.log(scale)


class Discrete(Distribution):
    """A distribution of whole numbers, counts, which the location moves. A count may be given in floating point; the derivative in it is
    that of the formula between whole numbers."""

    density = "pmf"
    has_scale = False

    def _beyond(self, y: Any, lower: Any, upper: Any, name: str) -> tuple[Any, Any]:
        left, right = super()._beyond(y, lower, upper, name)
        if name in ("pmf", "logpmf"):
            return left | np.not_equal(np.floor(y), y) & np.equal(y, y), right
        return left, np.greater_equal(y, upper)

    def _inner(self, lower: Any, upper: Any) -> Any:
        return lower

    def pmf(self, k: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The probability of the count `k`; zero of what is no count."""
        return self._at("pmf", k, args, kwds, 0.0, 0.0)[0]

    def logpmf(self, k: ArrayLike, *args: ArrayLike, **kwds: ArrayLike) -> Array:
        """The logarithm of `pmf`."""
        return self._at("logpmf", k, args, kwds, -math.inf, -math.inf)[0]


def make_public(dist: Any) -> None:
    """Have the methods of an object take jax arrays, keep NumPy's warnings to themselves, and name the user's line in errors."""
    for method in methods_of(type(dist)):
        setattr(dist, method, public(_quiet(getattr(dist, method))))


def methods_of(kind: type) -> list[str]:
    """The names of the public methods of a class of distributions."""
    return sorted(name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name)))


class Frozen:
    """A distribution with its parameters: its methods take what is left of the arguments."""

    def __init__(self, dist: Any, args: Any, kwds: Any) -> None:
        self.dist, self.args, self.kwds = dist, args, kwds

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or name not in methods_of(type(self.dist)):
            raise AttributeError(f"{self.dist!r} has no {name}; SciPy's may have it, for plain arrays")
        method = getattr(self.dist, name)
        return lambda *first: method(*first, *self.args, **self.kwds)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *methods_of(type(self.dist))]
