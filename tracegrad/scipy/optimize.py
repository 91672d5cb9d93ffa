"""`scipy.optimize`'s solvers with derivatives: SciPy searches, tracegrad gives it what derivatives it asks for, and what it finds has
derivatives itself, of every order, in `args`.

What is found solves an equation: the gradient is zero, the residual is. So its derivative is that of `tg.implicit`, at the point at
which SciPy has stopped, and as accurate as that point: the default tolerances leave some five digits, `tol=1e-10` more. Whether SciPy
was content is in `success`. x may be a pytree; SciPy has its numbers as one float64 vector. Under `jit` and `vmap` a search is one equation
(`tg.external`), for one row after the other.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import (
    ShapeError,
    UnexpectedTracerError,
    UnsupportedFunctionError,
    at,
    clip,
    described,
    name_of,
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
from tracegrad.transforms.custom import closed_over
from tracegrad.transforms.grad import grad, value_and_grad
from tracegrad.transforms.implicit import implicit, raveled, unraveled
from tracegrad.transforms.jacobian import hessian, hvp, jacobian
from tracegrad.typing import Array, PyTree

__all__ = ["OptimizeResults", "curve_fit", "least_squares", "linprog", "minimize", "root"]


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
_WITH_HESSIAN = ("dogleg", "trust-exact")
_WITH_PRODUCTS = ("newton-cg", "trust-ncg", "trust-krylov", "trust-constr")
_WITHOUT = ("nelder-mead", "powell", "cobyla", "cobyqa")

# What is minimised of the squares z of residuals.
_LOSSES: dict[str, Callable[[Any], Any]] = {
    "linear": lambda z: z,
    "soft_l1": lambda z: 2 * (np.sqrt(1 + z) - 1),
    "huber": lambda z: np.where(z <= 1, z, 2 * np.sqrt(np.where(z <= 1, 1, z)) - 1),
    "cauchy": np.log1p,
    "arctan": np.arctan,
}


def _scipy() -> Any:
    try:
        return imported("scipy.optimize")
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] != "scipy":
            raise
        raise ImportError(
            "tg.scipy.optimize's searches are SciPy's, which is not installed; write: pip install 'tracegrad[scipy]'",
            name="scipy",
        ) from error


class _Problem:
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


def _problem(name: str, fun: Callable[..., Any], x0: Any, args: Any) -> tuple[_Problem, list[Any]]:
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
    problem = _Problem(name, fun, structure, [type_of(x) for x in start], args_tree)
    return problem, [bind(stop_gradient_op, (raveled(start),)), *given]


def _floating(x: Any, name: str) -> Any:
    kind = number_kind(type_of(x).dtype)
    if kind == "c":
        raise UnsupportedFunctionError(
            f"scipy.optimize.{name}{at(user_source())} wants real numbers in x0, got {type_of(x)}; search for the real and the imaginary "
            "part"
        )
    return np.asarray(x) if kind == "f" and not type_of(x).weak else np.asarray(x) * np.float64(1)


def _limits(bounds: Any, count: int, name: str) -> tuple[Any, Any] | None:
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


def _within(limits: tuple[Any, Any] | None, slope: Callable[..., Any]) -> Callable[..., Any]:
    """The equation of a minimum with limits: where one holds x, x stays there; all else has no slope."""
    if limits is None:
        return slope
    low, high = limits
    return lambda v, *args: v - np.clip(v - slope(v, *args), low, high)


@accepting_jax
def minimize(
    fun: Callable[..., Any],
    x0: PyTree,
    args: Any = (),
    *,
    method: str | None = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> OptimizeResults:
    """The minimum of a function of a pytree, by `scipy.optimize.minimize`, with derivatives in `args`.

    Args:
        fun: `fun(x, *args)` returns a real scalar. SciPy gets its gradient, and its Hessian or products with that where the method wants
            them, so that it is traced with values, at each step: a jitted one, `tg.jit(fun)`, is quicker.
        x0: where to begin, a pytree of real arrays.
        args: a tuple of further arguments, pytrees. What is differentiated belongs here, not into a closure.
        method: SciPy's; None for BFGS, or for L-BFGS-B and SLSQP with bounds and constraints.
        bounds: a `scipy.optimize.Bounds`, or a pair (low, high) for each number in x0, in the order of leaves. Where x lies at one it does
            not move; else it moves as without.
        constraints: SciPy's; the functions of dicts get x as `fun` does, and SciPy their Jacobians. With constraints the result has no
            derivative, whether they hold x or not.
        tol, options: SciPy's.

    Raises:
        DifferentiationError: a derivative with `constraints`.
        UnexpectedTracerError: `fun` closes over what is traced.
        LinAlgError: a derivative where the Hessian is singular.

    >>> import numpy as np, tracegrad as tg
    >>> def f(x, a):
    ...     return np.sum((x["u"] - a) ** 2) + (x["v"] - x["u"][0]) ** 4 + x["v"] ** 2
    >>> solve = lambda a: tg.scipy.optimize.minimize(f, {"u": np.zeros(2), "v": 1.0}, args=(a,), tol=1e-10).x["u"][1]
    >>> tg.grad(solve)(np.array([1.0, 3.0])).round(6).tolist()
    [0.0, 1.0]
    """
    problem, theta = _problem("minimize", fun, x0, args)
    limits = _limits(bounds, problem.count, "minimize")
    rules = [constraints] if isinstance(constraints, Mapping) or hasattr(constraints, "lb") else list(constraints)
    way = (method or ("slsqp" if rules else "bfgs" if limits is None else "l-bfgs-b")).lower()

    def search(v: Any, *args: Any) -> Any:
        value = lambda v: problem.call(v, *args)
        how: dict[str, Any] = {"method": way, "tol": tol, "options": None if options is None else dict(options)}
        if limits is not None:
            how["bounds"] = _scipy().Bounds(*limits)
        if rules:
            how["constraints"] = [_of_vector(rule, problem, args) for rule in rules]
        if way in _WITH_HESSIAN:
            how["hess"] = hessian(value)
        elif way in _WITH_PRODUCTS:
            how["hessp"] = lambda v, p: hvp(value, (v,), (p,))
        if way in _WITHOUT:
            return _scipy().minimize(lambda v: float(value(v)), v, **how)
        return _scipy().minimize(value_and_grad(value), v, jac=True, **how)

    if rules:
        refusal = (
            f"scipy.optimize.minimize of {name_of(fun)!r}, called{{at}}, has constraints, with which its result has no derivative: "
            "which of them hold it is not known; write bounds=, put what is constrained into variables, or take "
            "tg.stop_gradient of args"
        )
        return problem.results(theta, problem.solved(theta, search, None, refusal))
    return problem.results(theta, problem.solved(theta, search, _within(limits, grad(problem.call))))


def _of_vector(rule: Any, problem: _Problem, args: Sequence[Any]) -> Any:
    """A constraint as SciPy has it, of the vector."""
    if not isinstance(rule, Mapping):
        return rule
    own = rule.get("args", problem.args_tree.unflatten(args))
    flat = lambda v: raveled(rule["fun"](problem.tree(v), *own))
    return {"type": rule["type"], "fun": flat, "jac": jacobian(flat)}


@accepting_jax
def root(
    fun: Callable[..., Any],
    x0: PyTree,
    args: Any = (),
    *,
    method: str = "hybr",
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> OptimizeResults:
    """A root of as many functions as there are numbers, by `scipy.optimize.root`, with derivatives in `args`.

    Args:
        fun: `fun(x, *args)` returns a pytree of as many numbers as x has. "hybr" and "lm" get its Jacobian.
        x0: where to begin, a pytree of real arrays.
        args: a tuple of further arguments, pytrees. What is differentiated belongs here, not into a closure.
        method, tol, options: SciPy's.

    Raises:
        ShapeError: as many numbers as x has are not returned.
        UnexpectedTracerError: `fun` closes over what is traced.
        LinAlgError: a derivative where the Jacobian is singular.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda x, a: x + 0.5 * np.sin(x) - a
    >>> solve = lambda a: tg.scipy.optimize.root(f, np.zeros(2), args=(a,), tol=1e-12).x
    >>> a = np.array([1.0, 2.0])
    >>> np.allclose(tg.jacrev(solve)(a), np.diag(1 / (1 + 0.5 * np.cos(solve(a)))))
    True
    """
    problem, theta = _problem("root", fun, x0, args)

    def search(v: Any, *args: Any) -> Any:
        flat = lambda v: problem.flat(v, *args)
        if (got := np.shape(flat(v))) != v.shape:
            raise ShapeError(
                f"scipy.optimize.root: {described(fun)} must return {v.size} numbers, as x0 has, got {got}"
            )
        jac = jacobian(flat) if method in ("hybr", "lm") else None
        return _scipy().root(
            flat, v, jac=jac, method=method, tol=tol, options=None if options is None else dict(options)
        )

    return problem.results(theta, problem.solved(theta, search, problem.flat))


@accepting_jax
def least_squares(
    fun: Callable[..., Any],
    x0: PyTree,
    args: Any = (),
    *,
    bounds: Any = (-np.inf, np.inf),
    method: str = "trf",
    ftol: float | None = 1e-8,
    xtol: float | None = 1e-8,
    gtol: float | None = 1e-8,
    x_scale: Any = 1.0,
    loss: str = "linear",
    f_scale: float = 1.0,
    max_nfev: int | None = None,
) -> OptimizeResults:
    """The least sum of squares of residuals, by `scipy.optimize.least_squares`, with derivatives in `args`.

    Args:
        fun: `fun(x, *args)` returns a pytree of residuals. SciPy gets its Jacobian.
        x0: where to begin, a pytree of real arrays.
        args: a tuple of further arguments, pytrees. What is differentiated belongs here, not into a closure.
        bounds: a pair (low, high) of numbers or arrays for the numbers of x0 in the order of leaves, or a
            `scipy.optimize.Bounds`. Where x lies at one it does not move; else it moves as without.
        loss: "linear", "soft_l1", "huber", "cauchy" or "arctan".
        method, ftol, xtol, gtol, x_scale, f_scale, max_nfev: SciPy's.

    Returns:
        `fun` of the results are the residuals.

    Raises:
        ValueError: a loss that is none of these.
        UnexpectedTracerError: `fun` closes over what is traced.
        LinAlgError: a derivative where the Hessian of the sum is singular.

    >>> import numpy as np, tracegrad as tg
    >>> t = np.linspace(0.0, 1.0, 5)
    >>> def residuals(x, y):
    ...     return x[0] * np.exp(-x[1] * t) - y
    >>> fit = lambda y: tg.scipy.optimize.least_squares(residuals, np.ones(2), args=(y,)).x
    >>> tg.jacrev(fit)(2.0 * np.exp(-0.5 * t)).shape
    (2, 5)
    """
    if loss not in _LOSSES:
        raise ValueError(
            f"scipy.optimize.least_squares{at(user_source())}: loss must be one of {', '.join(map(repr, _LOSSES))}, got {clip(repr(loss))}"
        )
    how = {
        "method": method, "ftol": ftol, "xtol": xtol, "gtol": gtol, "x_scale": x_scale, "loss": loss, "f_scale": f_scale,
        "max_nfev": max_nfev,
    }  # fmt: skip
    return _squares(*_problem("least_squares", fun, x0, args), bounds, how)


def _squares(
    problem: _Problem, theta: Sequence[Any], bounds: Any, how: dict[str, Any], must: bool = False
) -> OptimizeResults:
    """The least squares of a problem; with `must` it is an error of the search's if there are none."""
    limits = _limits(bounds if hasattr(bounds, "lb") else _Pair(*bounds), problem.count, problem.name)

    def search(v: Any, *args: Any) -> Any:
        flat = lambda v: problem.flat(v, *args)
        limit = {} if limits is None else {"bounds": limits}
        found = _scipy().least_squares(flat, v, jac=jacobian(flat), **limit, **how)
        if must and not found.success:
            raise RuntimeError(f"Optimal parameters not found: {found.message}")
        return found

    loss, scale = _LOSSES[how.get("loss", "linear")], how.get("f_scale", 1.0)

    def half(v: Any, *args: Any) -> Any:
        return 0.5 * scale**2 * np.sum(loss((problem.flat(v, *args) / scale) ** 2))

    return problem.results(theta, problem.solved(theta, search, _within(limits, grad(half))))


class _Pair(NamedTuple):
    lb: Any
    ub: Any


@accepting_jax
def curve_fit(
    f: Callable[..., Any],
    xdata: Any,
    ydata: Any,
    p0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    *,
    bounds: Any = (-np.inf, np.inf),
    method: str | None = None,
    **kwargs: Any,
) -> tuple[Array, Array]:
    """Fit `f(xdata, *params)` to data, as `scipy.optimize.curve_fit` does, with derivatives in `xdata`, `ydata` and `sigma`.

    Args:
        f: a function of `xdata` and of numbers, the parameters, that returns an array like `ydata`.
        xdata: what `f` takes, a pytree.
        ydata: an array.
        p0: where to begin, one number for each parameter; None for ones, as many as `f` has parameters.
        sigma: standard deviations, or a covariance matrix, of `ydata`.
        absolute_sigma: whether `sigma` is known, and not just up to a factor.
        bounds, method, **kwargs: those of `least_squares`; None for "lm", or "trf" with bounds.

    Returns:
        The parameters, and their covariance matrix.

    Raises:
        RuntimeError: SciPy has not found a minimum.
        TypeError: without p0, where the signature of `f` does not say how many parameters it has.

    >>> import numpy as np, tracegrad as tg
    >>> t = np.linspace(0.0, 2.0, 20)
    >>> y = 3.0 * np.exp(-0.7 * t)
    >>> fit = lambda y: tg.scipy.optimize.curve_fit(lambda t, a, b: a * np.exp(-b * t), t, y, p0=(1.0, 1.0))[0]
    >>> fit(y).round(6).tolist(), tg.jacrev(fit)(y).shape
    ([3.0, 0.7], (2, 20))
    """
    require_callable(f, "scipy.optimize.curve_fit", "(f, xdata, ydata)")
    pair = bounds if hasattr(bounds, "lb") else _Pair(*bounds)
    start = _beginning(f, pair) if p0 is None else np.asarray(p0)
    if method is None:
        unlimited = np.isinf(pair.lb).all() and np.isinf(pair.ub).all()
        method = "lm" if unlimited else "trf"
    weights = () if sigma is None else (sigma,)

    @functools.wraps(f)
    def residuals(p: Any, x: Any, y: Any, *weights: Any) -> Any:
        r = raveled(f(x, *[p[i] for i in range(type_of(p).size)])) - raveled(y)
        if not weights:
            return r
        if np.ndim(weights[0]) == 2:
            return np.linalg.solve(np.linalg.cholesky(weights[0]), r)
        return r / raveled(weights[0])

    args = (xdata, ydata, *weights)
    how = {"method": method, **kwargs}
    found = _squares(*_problem("curve_fit", residuals, start, args), pair, how, must=True)
    upper = np.linalg.inv(np.linalg.qr(jacobian(lambda p: residuals(p, *args))(found.x))[1])
    covariance = upper @ upper.T
    if not absolute_sigma:
        left = type_of(found.fun).size - type_of(found.x).size
        covariance = covariance * (np.sum(found.fun**2) / left if left > 0 else np.inf)
    return found.x, covariance


def _beginning(f: Callable[..., Any], pair: Any) -> Any:
    """Where SciPy begins, too: at one, or within the limits."""
    try:
        parameters = list(inspect.signature(f).parameters.values())[1:]
    except (TypeError, ValueError):
        parameters = []
    if not parameters or any([p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters]):
        raise TypeError(
            f"scipy.optimize.curve_fit{at(user_source())}: the signature of {described(f)} does not say how many parameters it has; "
            "write p0=np.ones(n)"
        )
    low, high = (np.broadcast_to(np.asarray(x, np.float64), (len(parameters),)) for x in (pair.lb, pair.ub))
    # SciPy's own: the middle, one within the one limit, or one.
    below, above = (
        np.where(np.isinf(low), np.where(np.isinf(high), 0.0, high - 2), low),
        np.where(np.isinf(high), 0.0, high),
    )
    return np.where(np.isinf(high), np.where(np.isinf(low), 1.0, below + 1), (below + above) / 2)


def linprog(*args: Any, **kwargs: Any) -> NoReturn:
    """Refused: the solution of a linear program lies in a corner, and jumps to another one. It has no derivative to speak of.

    Raises:
        UnsupportedFunctionError: always.

    >>> import tracegrad as tg
    >>> tg.scipy.optimize.linprog([1.0], A_ub=[[1.0]], b_ub=[1.0])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    tracegrad.core.errors.UnsupportedFunctionError: scipy.optimize.linprog at ...
    """
    raise UnsupportedFunctionError(
        f"scipy.optimize.linprog{at(user_source())} has no derivative to speak of: the solution of a linear program lies in a corner, and "
        "jumps to another one. Write scipy.optimize.linprog on plain values, or minimize with a term that makes it smooth: "
        "tg.scipy.optimize.minimize(lambda x, c: c @ x - mu * np.sum(np.log(b - A @ x)), x0, args=(c,))"
    )
