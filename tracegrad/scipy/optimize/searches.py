"""Minima and roots: `minimize` and `root`, and `linprog`, which is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import (
    ShapeError,
    UnsupportedFunctionError,
    at,
    clip,
    described,
    name_of,
    user_source,
)
from tracegrad.scipy.optimize.problem import (
    OptimizeResults,
    Problem,
    limits_of,
    nothing_closed_over,
    plain_settings,
    problem_of,
    scipy_optimize,
    within_limits,
)
from tracegrad.transforms.grad import grad, value_and_grad
from tracegrad.transforms.implicit import raveled
from tracegrad.transforms.jacobian import hessian, hvp, jacobian
from tracegrad.typing import PyTree

_WITH_HESSIAN = ("dogleg", "trust-exact")
_WITH_PRODUCTS = ("newton-cg", "trust-ncg", "trust-krylov", "trust-constr")
_WITHOUT = ("nelder-mead", "powell", "cobyla", "cobyqa")


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
            not move but with that, in which it has derivatives too; else it moves as without.
        constraints: SciPy's; their functions get x as `fun` does, those of dicts also `args`, and SciPy their derivatives. With constraints
            the result has no derivative, whether they hold x or not.
        tol, options: SciPy's.

    Raises:
        DifferentiationError: a derivative with `constraints`.
        UnexpectedTracerError: `fun` or a constraint closes over what is traced, or `tol` or `options` are traced.
        ShapeError: x0 has no numbers, or another number of bounds.
        LinAlgError: a derivative where the Hessian is singular.

    >>> import numpy as np, tracegrad as tg
    >>> def f(x, a):
    ...     return np.sum((x["u"] - a) ** 2) + (x["v"] - x["u"][0]) ** 4 + x["v"] ** 2
    >>> solve = lambda a: tg.scipy.optimize.minimize(f, {"u": np.zeros(2), "v": 1.0}, args=(a,), tol=1e-10).x["u"][1]
    >>> tg.grad(solve)(np.array([1.0, 3.0])).round(6).tolist()
    [0.0, 1.0]
    """
    if method is not None and not isinstance(method, str):
        raise TypeError(
            f"scipy.optimize.minimize{at(user_source())}: method must be the name of one of SciPy's, as in method='BFGS', got "
            f"{clip(repr(method))}"
        )
    plain_settings({"tol": tol, "options": options}, "minimize")
    problem, theta = problem_of("minimize", fun, x0, args)
    limits = limits_of(bounds, problem.count, "minimize")
    rules = [constraints] if isinstance(constraints, Mapping) or hasattr(constraints, "lb") else list(constraints)
    nothing_closed_over([r if isinstance(r, Mapping) else vars(r) for r in rules], "a constraint", "minimize")
    way = (method or ("slsqp" if rules else "l-bfgs-b" if limits else "bfgs")).lower()

    def search(v: Any, *given: Any) -> Any:
        ends, args = given[: len(limits)], given[len(limits) :]
        value = problem.at(args)
        how: dict[str, Any] = {"method": way, "tol": tol, "options": None if options is None else dict(options)}
        if ends:
            how["bounds"] = scipy_optimize().Bounds(*ends)
        if rules:
            how["constraints"] = [_of_vector(rule, problem, args) for rule in rules]
        if way in _WITH_HESSIAN:
            how["hess"] = hessian(value)
        elif way in _WITH_PRODUCTS:
            how["hessp"] = lambda v, p: hvp(value, (v,), (p,))
        if way in _WITHOUT:
            return scipy_optimize().minimize(lambda v: float(value(v)), v, **how)
        return scipy_optimize().minimize(value_and_grad(value), v, jac=True, **how)

    refusal = (
        f"scipy.optimize.minimize of {name_of(fun)!r}, called{{at}}, has constraints, with which its result has no derivative: "
        "which of them hold it is not known; write bounds=, put what is constrained into variables, or take "
        "tg.stop_gradient of args"
    )
    equation = None if rules else within_limits(limits, grad(problem.call))
    return problem.results(
        theta, problem.solved([theta[0], *limits, *theta[1:]], search, equation, refusal if rules else "")
    )


def _of_vector(rule: Any, problem: Problem, args: Sequence[Any]) -> Any:
    """A constraint as SciPy has it, of the vector."""
    if isinstance(rule, Mapping):
        own = rule.get("args", problem.args_tree.unflatten(args))
        flat = lambda v: raveled(rule["fun"](problem.tree(v), *own))
        return {"type": rule["type"], "fun": flat, "jac": jacobian(flat)}
    if not hasattr(rule, "fun"):
        return rule  # linear ones have a matrix for the vector
    flat = lambda v: raveled(rule.fun(problem.tree(v)))
    bent = lambda v, weights: hessian(lambda v: np.dot(flat(v), weights))(v)
    return scipy_optimize().NonlinearConstraint(
        flat, rule.lb, rule.ub, jac=jacobian(flat), hess=bent, keep_feasible=rule.keep_feasible
    )


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
        UnexpectedTracerError: `fun` closes over what is traced, or `tol` or `options` are traced.
        LinAlgError: a derivative where the Jacobian is singular.

    >>> import numpy as np, tracegrad as tg
    >>> f = lambda x, a: x + 0.5 * np.sin(x) - a
    >>> solve = lambda a: tg.scipy.optimize.root(f, np.zeros(2), args=(a,), tol=1e-12).x
    >>> a = np.array([1.0, 2.0])
    >>> np.allclose(tg.jacrev(solve)(a), np.diag(1 / (1 + 0.5 * np.cos(solve(a)))))
    True
    """
    plain_settings({"tol": tol, "options": options}, "root")
    problem, theta = problem_of("root", fun, x0, args)

    def search(v: Any, *args: Any) -> Any:
        flat = problem.at(args, flat=True)
        if (got := np.shape(flat(v))) != v.shape:
            raise ShapeError(
                f"scipy.optimize.root: {described(fun)} must return {v.size} numbers, as x0 has, got {got}"
            )
        jac = jacobian(flat) if method in ("hybr", "lm") else None
        return scipy_optimize().root(
            flat, v, jac=jac, method=method, tol=tol, options=None if options is None else dict(options)
        )

    return problem.results(theta, problem.solved(theta, search, problem.flat))


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
