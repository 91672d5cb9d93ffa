"""Least squares: `least_squares` and `curve_fit`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.boxes import accepting_jax
from tracegrad.core.errors import (
    UnexpectedTracerError,
    at,
    clip,
    described,
    require_callable,
    user_source,
)
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import type_of
from tracegrad.scipy.optimize.problem import (
    OptimizeResults,
    Problem,
    limits_of,
    pair_of,
    plain_settings,
    problem_of,
    scipy_optimize,
    within_limits,
)
from tracegrad.transforms.grad import grad
from tracegrad.transforms.implicit import raveled
from tracegrad.transforms.jacobian import jacobian
from tracegrad.typing import Array, PyTree

# What is minimised of the squares z of residuals.
_LOSSES: dict[str, Callable[[Any], Any]] = {
    "linear": lambda z: z,
    "soft_l1": lambda z: 2 * (np.sqrt(1 + z) - 1),
    "huber": lambda z: np.where(z <= 1, z, 2 * np.sqrt(np.where(z <= 1, 1, z)) - 1),
    "cauchy": np.log1p,
    "arctan": np.arctan,
}

# What `least_squares` takes of how SciPy searches.
_SEARCH = frozenset(("ftol", "xtol", "gtol", "x_scale", "loss", "f_scale", "max_nfev"))


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
            `scipy.optimize.Bounds`. Where x lies at one it does not move but with that, in which it has derivatives too; else it moves
            as without.
        loss: "linear", "soft_l1", "huber", "cauchy" or "arctan".
        method, ftol, xtol, gtol, x_scale, f_scale, max_nfev: SciPy's.

    Returns:
        `fun` of the results are the residuals.

    Raises:
        ValueError: a loss that is none of these.
        UnexpectedTracerError: `fun` closes over what is traced, or how SciPy searches is traced.
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
    return _squares(*problem_of("least_squares", fun, x0, args), bounds, how)


def _squares(
    problem: Problem, theta: Sequence[Any], bounds: Any, how: dict[str, Any], must: bool = False
) -> OptimizeResults:
    """The least squares of a problem; with `must` it is an error of the search's if there are none."""
    plain_settings(how, problem.name)
    limits = limits_of(pair_of(bounds, problem.name), problem.count, problem.name)

    def search(v: Any, *given: Any) -> Any:
        ends, args = given[: len(limits)], given[len(limits) :]
        flat = problem.at(args, flat=True)
        limit = {"bounds": ends} if ends else {}
        found = scipy_optimize().least_squares(flat, v, jac=jacobian(flat), **limit, **how)
        if must and not found.success:
            raise RuntimeError(f"Optimal parameters not found: {found.message}")
        return found

    loss, scale = _LOSSES[how.get("loss", "linear")], how.get("f_scale", 1.0)

    def half(v: Any, *args: Any) -> Any:
        return 0.5 * scale**2 * np.sum(loss((problem.flat(v, *args) / scale) ** 2))

    found = problem.solved([theta[0], *limits, *theta[1:]], search, within_limits(limits, grad(half)))
    return problem.results(theta, found)


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
        xdata: what `f` takes, a pytree; a list of numbers is an array.
        ydata: an array.
        p0: where to begin, one number for each parameter; None for ones, as many as `f` has parameters.
        sigma: standard deviations, or a covariance matrix, of `ydata`.
        absolute_sigma: whether `sigma` is known, and not just up to a factor.
        bounds, method, **kwargs: those of `least_squares`, and `maxfev` for `max_nfev`; None for "lm", or "trf" with bounds.

    Returns:
        The parameters, and their covariance matrix.

    Raises:
        RuntimeError: SciPy has not found a minimum.
        TypeError: without p0, where the signature of `f` does not say how many parameters it has; an argument that is not taken.

    >>> import numpy as np, tracegrad as tg
    >>> t = np.linspace(0.0, 2.0, 20)
    >>> y = 3.0 * np.exp(-0.7 * t)
    >>> fit = lambda y: tg.scipy.optimize.curve_fit(lambda t, a, b: a * np.exp(-b * t), t, y, p0=(1.0, 1.0))[0]
    >>> fit(y).round(6).tolist(), tg.jacrev(fit)(y).shape
    ([3.0, 0.7], (2, 20))
    """
    require_callable(f, "scipy.optimize.curve_fit", "(f, xdata, ydata)")
    if "maxfev" in kwargs:
        kwargs["max_nfev"] = kwargs.pop("maxfev")
    if strange := sorted(kwargs.keys() - _SEARCH):
        raise TypeError(
            f"scipy.optimize.curve_fit{at(user_source())} takes {', '.join(sorted(_SEARCH))} and maxfev besides its own arguments, got "
            f"{', '.join(strange)}; the Jacobian is tracegrad's"
        )
    if isinstance(xdata, list | tuple) and all([np.ndim(x) == 0 for x in tree.tree_leaves(xdata)]):
        xdata = raveled(xdata) if all([np.ndim(x) == 0 for x in xdata]) else np.asarray(xdata)
    pair = pair_of(bounds, "curve_fit")
    start = _beginning(f, pair) if p0 is None else raveled(p0)
    if method is None:
        method = "trf" if limits_of(pair, type_of(start).size, "curve_fit") else "lm"
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
    found = _squares(*problem_of("curve_fit", residuals, start, args), pair, how, must=True)
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
    if any([isinstance(x, Tracer) for x in tree.tree_leaves((pair.lb, pair.ub))]):
        raise UnexpectedTracerError(
            f"scipy.optimize.curve_fit{at(user_source())}: where to begin follows from bounds, and these are traced; write "
            f"p0=np.ones({len(parameters)})"
        )
    low, high = (np.broadcast_to(np.asarray(x, np.float64), (len(parameters),)) for x in (pair.lb, pair.ub))
    # SciPy's own: the middle, one within the one limit, or one.
    below, above = (
        np.where(np.isinf(low), np.where(np.isinf(high), 0.0, high - 2), low),
        np.where(np.isinf(high), 0.0, high),
    )
    return np.where(np.isinf(high), np.where(np.isinf(low), 1.0, below + 1), (below + above) / 2)
