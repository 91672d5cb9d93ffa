"""What SciPy's searches have in common: a function of a tree as one of a vector, and what is found as the solution of an equation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import is_boxed
from tracegrad.core.errors import (
    DtypeError,
    ShapeError,
    UnexpectedTracerError,
    UnsupportedFunctionError,
    at,
    clip,
    described,
    require_callable,
    user_source,
)
from tracegrad.core.late import imported
from tracegrad.core.names import called
from tracegrad.core.trace import bind
from tracegrad.core.tracer import Tracer
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import ArrayType, number_kind, type_of
from tracegrad.ops.external import External, external_call
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.transforms.custom.closures import closed_over
from tracegrad.transforms.implicit import implicit, raveled, unraveled


class OptimizeResults(NamedTuple):
    """What a search has found, a pytree.

    x           the solution, in the structure of x0
    fun         what the function is there
    success     whether SciPy was content
    status      SciPy's reason to stop, a number of the method
    nfev, nit   how often the function was computed, and the iterations (-1 where the method does not say)
    """

    x: Any
    fun: Any
    success: Any
    status: Any
    nfev: Any
    nit: Any


_INT = np.dtype(np.int64)
_OUTCOME = (ArrayType((), np.dtype(bool)), ArrayType((), _INT), ArrayType((), _INT), ArrayType((), _INT))


def scipy_optimize() -> Any:
    try:
        return imported("scipy.optimize")
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] != "scipy":
            raise
        raise ImportError(
            "tg.scipy.optimize's searches are SciPy's, which is not installed; write: pip install 'tracegrad[scipy]'",
            name="scipy",
        ) from error


class Problem:
    """A function of a tree and of arguments, as one of a vector and of flat arguments. It holds no arrays: what is traced is not to be
    closed over."""

    def __init__(
        self, name: str, fun: Callable[..., Any], structure: Any, like: Sequence[ArrayType], args_tree: Any
    ) -> None:
        self.name, self.fun, self.structure, self.like, self.args_tree = name, fun, structure, like, args_tree
        self.count = sum([t.size for t in like])

    def tree(self, v: Any) -> Any:
        """The vector as x."""
        like = [np.broadcast_to(t.dtype.type(0), t.shape) for t in self.like]
        return self.structure.unflatten(unraveled(v, like))

    def call(self, v: Any, *args: Any) -> Any:
        """What the function makes of the vector."""
        found = self.fun(self.tree(v), *self.args_tree.unflatten(args))
        for got in map(type_of, tree.tree_leaves(found)):
            if number_kind(got.dtype) == "c":
                raise DtypeError(
                    f"scipy.optimize.{self.name}{at(user_source())} wants real numbers, and {described(self.fun)} returned {got}; return "
                    "the real and the imaginary part, np.concatenate([np.real(r), np.imag(r)]) of a vector r, or np.abs(r) ** 2"
                )
        return found

    def flat(self, v: Any, *args: Any) -> Any:
        """The same as one vector."""
        return raveled(self.call(v, *args))

    def at(self, args: Sequence[Any], flat: bool = False) -> Callable[[Any], Any]:
        """The same of the vector alone; errors have the name of what was given."""
        return functools.wraps(self.fun)(lambda v: (self.flat if flat else self.call)(v, *args))

    def solved(
        self,
        theta: Sequence[Any],
        search: Callable[..., Any],
        equation: Callable[..., Any] | None,
        refusal: str = "",
    ) -> tuple[Any, tuple[Any, ...]]:
        """The vector that `search(v, *args)` finds, a result of SciPy's, and how it went. It solves `equation(v, *args) = 0`, and without
        one it is not differentiated."""

        def outcome(start: Any, *args: Any) -> list[Any]:
            found = search(np.asarray(start, np.float64), *args)
            numbers = [int(found.get(key, -1)) for key in ("status", "nfev", "nit")]
            return [np.asarray(found.x, start.dtype), bool(found.success), *numbers]

        def types(given: Sequence[ArrayType]) -> Sequence[ArrayType]:
            return given[0], *_OUTCOME

        spec = External(self.name, outcome, types, "sequential", refusal=refusal)
        if equation is None:
            x, *rest = external_call(spec, theta)
            return x, tuple(rest)

        @called(self.name)
        def solver(*theta: Any) -> Any:
            x, *rest = external_call(spec, theta)
            return x, tuple(rest)

        of = functools.wraps(self.fun)(lambda v, start, *args: equation(v, *args))
        x, rest = implicit(of, has_aux=True)(solver)(*theta)
        return x, rest

    def results(self, theta: Sequence[Any], found: tuple[Any, tuple[Any, ...]]) -> OptimizeResults:
        v, outcome = found
        return OptimizeResults(self.tree(v), self.call(v, *theta[1:]), *outcome)


def problem_of(name: str, fun: Callable[..., Any], x0: Any, args: Any) -> tuple[Problem, list[Any]]:
    """The problem, and what it is to be solved for: the vector to begin at, and flat arguments."""
    require_callable(fun, f"scipy.optimize.{name}", "(fun, x0)")
    nothing_closed_over(fun, described(fun), name)
    leaves, structure = tree.tree_flatten(x0)
    start = [_floating(x, name) for x in arrays_of(leaves, lambda i: f"scipy.optimize.{name}: x0, leaf {i}")]
    if not sum([type_of(x).size for x in start]):
        raise ShapeError(
            f"scipy.optimize.{name}{at(user_source())}: there are no numbers in x0, {clip(repr(x0))}, so nothing to search for"
        )
    args = args if isinstance(args, tuple) else (args,)
    found, args_tree = tree.tree_flatten(args)
    paths = [path for path, _ in tree.tree_leaves_with_path(args)]
    given = arrays_of(found, lambda i: f"scipy.optimize.{name}: args{tree.keystr(paths[i])}")
    problem = Problem(name, fun, structure, [type_of(x) for x in start], args_tree)
    return problem, [bind(stop_gradient_op, (raveled(start),)), *given]


def _floating(x: Any, name: str) -> Any:
    kind = number_kind(type_of(x).dtype)
    if kind == "c":
        raise UnsupportedFunctionError(
            f"scipy.optimize.{name}{at(user_source())} wants real numbers in x0, got {type_of(x)}; search for the real and the imaginary "
            "part"
        )
    return x if kind == "f" and not type_of(x).weak else x * np.float64(1)


def nothing_closed_over(holding: Any, what: str, name: str) -> None:
    """An error if there is something traced in a function, or in a tree of such."""
    if closed := closed_over((holding,)):
        raise UnexpectedTracerError(
            f"scipy.optimize.{name}{at(user_source())}: {what} closes over {closed[0].described()}, and SciPy calls it with "
            f"numbers; make an argument of it: `tg.scipy.optimize.{name}(lambda x, a: ..., x0, args=(a,))`"
        )


def plain_settings(how: Mapping[str, Any], name: str) -> None:
    """An error if how SciPy searches is traced: what is found does not depend on that, or has no derivative in it."""
    for key, value in how.items():
        if traced := [x for x in tree.tree_leaves(value) if isinstance(x, Tracer) and not is_boxed(x)]:
            raise UnexpectedTracerError(
                f"scipy.optimize.{name}{at(user_source())}: {key} is how SciPy searches and has to be plain, got {traced[0].described()}; "
                "what is found has derivatives in args alone, and in bounds"
            )


def limits_of(bounds: Any, count: int, name: str) -> tuple[Any, ...]:
    """The lowest and the highest values of a vector, arrays or traced; nothing if nothing limits it."""
    if bounds is None:
        return ()
    if hasattr(bounds, "lb"):
        ends = bounds.lb, bounds.ub
    else:
        try:
            pairs = [(-math.inf if low is None else low, math.inf if high is None else high) for low, high in bounds]
        except (TypeError, ValueError):
            raise TypeError(
                f"scipy.optimize.{name}{at(user_source())}: bounds must be a scipy.optimize.Bounds, or a pair (low, high) for each number in "
                f"x0, got {clip(repr(bounds))}"
            ) from None
        ends = [low for low, _ in pairs], [high for _, high in pairs]
    vectors = [raveled(x) * np.float64(1) for x in ends]
    try:
        low, high = (np.broadcast_to(x, (count,)) for x in vectors)
    except ValueError:
        raise ShapeError(
            f"scipy.optimize.{name}{at(user_source())}: bounds must have one pair for each of the {count} numbers in x0, got "
            f"{np.shape(vectors[0])} and {np.shape(vectors[1])}"
        ) from None
    unlimited = not any([isinstance(x, Tracer) for x in (low, high)]) and np.isinf(low).all() and np.isinf(high).all()
    return () if unlimited else (low, high)


def within_limits(limits: tuple[Any, ...], slope: Callable[..., Any]) -> Callable[..., Any]:
    """The equation of a minimum, with its limits as further arguments: where one holds x, x stays there; all else has no slope."""
    if not limits:
        return slope
    return lambda v, low, high, *args: v - np.clip(v - slope(v, *args), low, high)


def pair_of(bounds: Any, name: str) -> Any:
    """Limits as least squares have them, as a Bounds."""
    if hasattr(bounds, "lb"):
        return bounds
    try:
        low, high = bounds
    except (TypeError, ValueError):
        raise TypeError(
            f"scipy.optimize.{name}{at(user_source())}: bounds must be a pair (low, high), of numbers or arrays, or a scipy.optimize.Bounds, got "
            f"{clip(repr(bounds))}"
        ) from None
    return Pair(low, high)


class Pair(NamedTuple):
    lb: Any
    ub: Any
