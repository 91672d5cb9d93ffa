"""What SciPy's searches have in common: a function of a tree as one of a vector, and what is found as the solution of an equation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import (
    ShapeError,
    UnexpectedTracerError,
    UnsupportedFunctionError,
    at,
    described,
    require_callable,
    user_source,
)
from tracegrad.core.late import imported
from tracegrad.core.names import called
from tracegrad.core.trace import bind
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
        return self.fun(self.tree(v), *self.args_tree.unflatten(args))

    def flat(self, v: Any, *args: Any) -> Any:
        """The same as one vector."""
        return raveled(self.call(v, *args))

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
    if closed := closed_over((fun,)):
        raise UnexpectedTracerError(
            f"scipy.optimize.{name}{at(user_source())}: {described(fun)} closes over {closed[0].described()}, and SciPy calls it with "
            f"numbers; make an argument of it: `tg.scipy.optimize.{name}(lambda x, a: ..., x0, args=(a,))`"
        )
    leaves, structure = tree.tree_flatten(x0)
    start = [_floating(x, name) for x in arrays_of(leaves, lambda i: f"scipy.optimize.{name}: x0, leaf {i}")]
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
    return np.asarray(x) if kind == "f" and not type_of(x).weak else np.asarray(x) * np.float64(1)


def limits_of(bounds: Any, count: int, name: str) -> tuple[Any, Any] | None:
    """The lowest and highest values of a vector, None if nothing limits it."""
    if bounds is None:
        return None
    if hasattr(bounds, "lb"):
        low, high = bounds.lb, bounds.ub
    else:
        pairs = [tuple(pair) for pair in bounds]
        low = [-math.inf if a is None else a for a, _ in pairs]
        high = [math.inf if b is None else b for _, b in pairs]
    try:
        low, high = (np.broadcast_to(np.asarray(x, np.float64), (count,)) for x in (low, high))
    except ValueError:
        raise ShapeError(
            f"scipy.optimize.{name}{at(user_source())}: bounds must have one pair for each of the {count} numbers in x0, got "
            f"{np.shape(low)} and {np.shape(high)}"
        ) from None
    return None if np.isinf(low).all() and np.isinf(high).all() else (low, high)


def within_limits(limits: tuple[Any, Any] | None, slope: Callable[..., Any]) -> Callable[..., Any]:
    """The equation of a minimum with limits: where one holds x, x stays there; all else has no slope."""
    if limits is None:
        return slope
    low, high = limits
    return lambda v, *args: v - np.clip(v - slope(v, *args), low, high)


class Pair(NamedTuple):
    lb: Any
    ub: Any
