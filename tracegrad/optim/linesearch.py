"""Line searches: how far to go along an update, by trying. They call the function that is minimised, inside of `update`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import Count, Growth, NotNegative, Positive, Share, checked
from tracegrad.core.errors import described
from tracegrad.lax import while_loop
from tracegrad.optim.base import GradientTransformationExtraArgs, Params, Updates, cast, number, scaled
from tracegrad.optim.formulas import like
from tracegrad.optim.tree import conj, vdot, zeros_like
from tracegrad.transforms.grad import grad as gradient
from tracegrad.transforms.grad import value_and_grad
from tracegrad.typing import Array, PyTree


def _real_dtype(params: Params) -> Any:
    """The dtype of values and steps: that of the real part of the first parameter."""
    return np.zeros(0, tree.leaves(params)[0].dtype).real.dtype


def _moved(params: Params, step: Any, updates: Updates) -> Params:
    """`params + step * updates`."""
    return tree.map(lambda p, u: like(p + cast(step, u) * u, p), params, updates)


def _slope(grads: Any, updates: Updates) -> Any:
    """The derivative of the value along the updates."""
    return np.real(vdot(conj(grads), updates))


def _with_own_arguments(value_fn: Callable[..., Any], given: Mapping[str, Any], name: str) -> Callable[[Any], Any]:
    """The function of the parameters alone, with the extra arguments of `update`, all of which must be its own."""
    parameters = inspect.signature(value_fn).parameters.values()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [] if takes_all else sorted(set(given) - {p.name for p in parameters})
    if unknown:
        raise TypeError(
            f"{name}: `update` was given {', '.join(unknown)}, which {described(value_fn)} does not take; extra "
            "arguments of `update` are handed to value_fn by name"
        )
    return lambda params: value_fn(params, **given)


# -- Backtracking


class BacktrackingLinesearchInfo(NamedTuple):
    """How many steps were tried, and by how much the last one misses the decrease that is asked for."""

    num_linesearch_steps: Array
    decrease_error: Array


class ScaleByBacktrackingLinesearchState(NamedTuple):
    """The latest learning rate, and the value and (where it is stored) the gradient that were found there."""

    learning_rate: Array
    value: Array
    grad: PyTree
    info: BacktrackingLinesearchInfo


@checked
def scale_by_backtracking_linesearch(
    max_backtracking_steps: Count,
    slope_rtol: NotNegative = 1e-4,
    decrease_factor: Share = 0.8,
    increase_factor: Growth = 1.5,
    max_learning_rate: Positive = 1.0,
    atol: NotNegative = 0.0,
    rtol: NotNegative = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
) -> GradientTransformationExtraArgs:
    """Updates times the first of ever shorter learning rates s at which the value has decreased enough (Armijo's condition):

        f(w + s u) ≤ (1 + rtol) f(w) + s slope_rtol <u, ∇f(w)> + atol

    `update(updates, state, params, value=..., grad=..., value_fn=...)` needs the value and the gradient at `params` and the function,
    to which it hands all other keywords. Vaswani et al., "Painless stochastic gradient", 2019.

    Args:
        max_backtracking_steps: how many times the learning rate may be shortened.
        slope_rtol: the part of the decrease that the slope promises which is asked for.
        decrease_factor: by what the learning rate is shortened.
        increase_factor: by what the latest one is lengthened for the first try.
        max_learning_rate: the longest.
        atol, rtol: by how much the condition may be missed.
        store_grad: whether the gradient at the new parameters is kept in the state; see `value_and_grad_from_state`.
        verbose: taken for optax's sake; nothing is printed, since `info` in the state says what was found.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.chain(tg.optim.scale(-1.0), tg.optim.scale_by_backtracking_linesearch(max_backtracking_steps=15))
    >>> f = lambda x: np.sum(x**2)
    >>> x = np.array([3.0])
    >>> updates, state = opt.update(2 * x, opt.init(x), x, value=f(x), grad=2 * x, value_fn=f)
    >>> (x + updates).round(4).tolist()
    [-1.8]
    """

    def init(params: Params) -> ScaleByBacktrackingLinesearchState:
        dtype = _real_dtype(params)
        return ScaleByBacktrackingLinesearchState(
            learning_rate=np.array(1.0, dtype),
            value=np.array(np.inf, dtype),
            grad=zeros_like(params) if store_grad else None,
            info=BacktrackingLinesearchInfo(np.array(0), np.array(np.inf, dtype)),
        )

    def update(
        updates: Updates,
        state: ScaleByBacktrackingLinesearchState,
        params: Params,
        *,
        value: Any,
        grad: Updates,
        value_fn: Callable[..., Any],
        **extra_args: Any,
    ) -> Any:
        f = _with_own_arguments(value_fn, extra_args, "scale_by_backtracking_linesearch")
        of_state = state.value
        shorter, longer, longest, slack, relative, part = [
            cast(x, of_state) for x in (decrease_factor, increase_factor, max_learning_rate, atol, rtol, slope_rtol)
        ]
        slope, start = like(_slope(grad, updates), of_state), cast(value, of_state)

        def goes_on(search: Any) -> Any:
            tried, _, _, missing = search
            return np.logical_not(missing <= slack) & (tried <= max_backtracking_steps)

        def try_next(search: Any) -> Any:
            tried, rate, _, _ = search
            rate = np.where(tried > 0, shorter * rate, rate)
            new = cast(f(_moved(params, rate, updates)), of_state)
            missing = new - (1 + relative) * start - rate * part * slope
            return tried + 1, rate, new, np.maximum(np.where(np.isnan(missing), np.inf, missing), 0)

        first = np.minimum(longer * state.learning_rate, longest)
        tried, rate, new, missing = while_loop(
            goes_on, try_next, (np.array(0), first, start, np.full_like(of_state, np.inf))
        )
        kept = None
        if store_grad:
            kept = tree.map(like, gradient(f)(_moved(params, rate, updates)), state.grad)
        rate = np.where(np.isinf(missing), 0, rate)  # rather no step than one to where there is no value
        info = BacktrackingLinesearchInfo(tried, missing)
        return scaled(rate, updates), ScaleByBacktrackingLinesearchState(rate, new, kept, info)

    return GradientTransformationExtraArgs(init, update)


# -- Zoom


class ZoomLinesearchInfo(NamedTuple):
    """How many steps were tried, and by how much the last one misses the conditions on value and slope."""

    num_linesearch_steps: Array
    decrease_error: Array
    curvature_error: Array


class ScaleByZoomLinesearchState(NamedTuple):
    """The latest learning rate, and the value and the gradient that were found there."""

    learning_rate: Array
    value: Array
    grad: PyTree
    info: ZoomLinesearchInfo


class _Point(NamedTuple):
    """A point on the line: how far along the updates, the value there, the slope."""

    step: Any
    value: Any
    slope: Any


class _Search(NamedTuple):
    """Where a search stands: the latest point with its gradient; the ends of the interval that is known to hold a good one once
    `is_found`, the better one first; the end that was given up last; the best point with enough decrease so far."""

    count: Any
    here: _Point
    grad: Any
    decrease_error: Any
    curvature_error: Any
    is_found: Any
    is_done: Any
    has_failed: Any
    low: _Point
    high: _Point
    before: _Point
    safe: _Point
    safe_grad: Any


def _choose(condition: Any, x: Any, y: Any) -> Any:
    """One of two trees."""
    return tree.map(lambda a, b: np.where(condition, a, b), x, y)


@checked
def scale_by_zoom_linesearch(
    max_linesearch_steps: Count,
    max_learning_rate: Positive | None = None,
    tol: NotNegative = 0.0,
    increase_factor: Growth = 2.0,
    slope_rtol: NotNegative = 1e-4,
    curv_rtol: NotNegative = 0.9,
    approx_dec_rtol: NotNegative | None = 1e-6,
    stepsize_precision: NotNegative = 1e-5,
    initial_guess_strategy: str = "keep",
    verbose: bool = False,
) -> GradientTransformationExtraArgs:
    """Updates times a learning rate s at which the value has decreased enough and the slope is flat enough (Wolfe's conditions):

        f(w + s u) ≤ f(w) + slope_rtol s <u, ∇f(w)>          |<u, ∇f(w + s u)>| ≤ curv_rtol |<u, ∇f(w)>|

    Learning rates grow until an interval is sure to hold such a one; then that shrinks, by the least point of a cubic or a parabola or
    by halves. Nocedal and Wright, "Numerical optimization", 2006, algorithms 3.5 and 3.6. Near the minimum, where rounding
    hides the decrease, that of Hager and Zhang, "Algorithm 851", 2006, is enough.

    `update(updates, state, params, value=..., grad=..., value_fn=...)` needs the value and the gradient at `params` and the function,
    to which it hands all other keywords. The value and the gradient that it has found are in its state; see
    `value_and_grad_from_state`.

    Args:
        max_linesearch_steps: how many learning rates are tried at most; after that the best one with enough decrease is taken.
        max_learning_rate: the longest; None for any.
        tol: by how much the conditions may be missed.
        increase_factor: by what learning rates grow.
        slope_rtol, curv_rtol: the numbers of the conditions.
        approx_dec_rtol: the part of |f(w)| by which the value may grow where the slope says that it decreases; None for not.
        stepsize_precision: the interval at which the search stops, if any learning rate with enough decrease has been found.
        initial_guess_strategy: try first 1, "one", or the learning rate of the step before, "keep".
        verbose: taken for optax's sake; nothing is printed, since `info` in the state says what was found.

    >>> import numpy as np, tracegrad as tg
    >>> opt = tg.optim.chain(tg.optim.scale(-1.0), tg.optim.scale_by_zoom_linesearch(max_linesearch_steps=15))
    >>> f = lambda x: np.sum(x**2)
    >>> x = np.array([3.0])
    >>> updates, state = opt.update(2 * x, opt.init(x), x, value=f(x), grad=2 * x, value_fn=f)
    >>> (x + updates).round(4).tolist()
    [0.0]
    """
    if initial_guess_strategy not in ("one", "keep"):
        raise ValueError(
            f"scale_by_zoom_linesearch: initial_guess_strategy={initial_guess_strategy!r}, but there are 'one' and 'keep'"
        )
    tol, increase_factor, slope_rtol, curv_rtol = map(number, (tol, increase_factor, slope_rtol, curv_rtol))
    approx_dec_rtol, stepsize_precision = number(approx_dec_rtol), number(stepsize_precision)

    def init(params: Params) -> ScaleByZoomLinesearchState:
        dtype = _real_dtype(params)
        return ScaleByZoomLinesearchState(
            learning_rate=np.array(1.0, dtype),
            value=np.array(np.inf, dtype),
            grad=zeros_like(params),
            info=ZoomLinesearchInfo(np.array(0), np.array(np.inf), np.array(np.inf)),
        )

    def update(
        updates: Updates,
        state: ScaleByZoomLinesearchState,
        params: Params,
        *,
        value: Any,
        grad: Updates,
        value_fn: Callable[..., Any],
        **extra_args: Any,
    ) -> Any:
        f = value_and_grad(_with_own_arguments(value_fn, extra_args, "scale_by_zoom_linesearch"))
        kept = state.value
        start = _Point(np.zeros_like(kept), cast(value, kept), like(_slope(grad, updates), kept))
        guess = np.ones_like(kept) if initial_guess_strategy == "one" else state.learning_rate

        def decrease_error(here: _Point) -> Any:
            error = here.value - start.value - slope_rtol * here.step * start.slope
            if approx_dec_rtol is not None:
                by_slope = here.slope - (2 * slope_rtol - 1) * start.slope
                growth = here.value - start.value - approx_dec_rtol * np.abs(start.value)
                error = np.minimum(np.maximum(by_slope, growth), error)
            return _positive(error)

        def try_next(search: _Search) -> _Search:
            growing = np.where(search.count == 0, guess, increase_factor * search.here.step)
            is_longest: Any = np.bool_(False)
            if max_learning_rate is not None:
                is_longest = growing >= max_learning_rate
                growing = np.minimum(growing, cast(max_learning_rate, kept))
            is_zoom = search.is_found
            step = np.where(is_zoom, _inside(search.low, search.high, search.before), growing)
            found, grads = f(_moved(params, step, updates))
            grads = tree.map(like, grads, search.grad)
            here = _Point(step, like(found, kept), like(_slope(grads, updates), kept))
            decrease, curvature = decrease_error(here), _positive(np.abs(here.slope) - curv_rtol * np.abs(start.slope))
            is_good = np.maximum(decrease, curvature) <= tol

            # Which of the three points are the ends of the next interval. Before there is one, its low end is the point before.
            low = _choose(is_zoom, search.low, search.here)
            is_high = (decrease > 0) | ((here.value >= low.value) & (is_zoom | (search.count > 0)))
            turns = np.where(is_zoom, here.slope * (search.high.step - low.step), here.slope) >= 0
            is_turned = turns & np.logical_not(is_high)
            if_growing = _choose(is_turned, (here, low), (low, here))
            other = _choose(is_high, here, _choose(is_turned, low, search.high))
            new_low, new_high = _choose(is_zoom, (_choose(is_high, low, here), other), if_growing)
            given_up = _choose(is_high | is_turned, search.high, low)
            is_found = is_zoom | is_high | is_turned | is_good

            is_safe = (decrease <= tol) & np.where(is_zoom, here.value < search.safe.value, True)
            safe, safe_grad = _choose(is_safe, (here, grads), (search.safe, search.safe_grad))
            is_done = is_good | (is_longest & np.logical_not(is_found))
            is_small = np.abs(search.high.step - search.low.step) <= stepsize_precision
            is_last = search.count + 1 >= max_linesearch_steps
            gives_up = is_last | (is_zoom & is_small & (safe.step > 0))
            has_failed = gives_up & np.logical_not(is_done)
            # Then the best point with enough decrease is taken; where there is none, the last one, unless it has no value.
            falls_back = has_failed & ((safe.step > 0) | np.isinf(decrease))
            here_then, grads_then = _choose(falls_back, (safe, safe_grad), (here, grads))
            return _Search(
                count=search.count + 1,
                here=here_then,
                grad=grads_then,
                decrease_error=decrease,
                curvature_error=curvature,
                is_found=is_found,
                is_done=is_done,
                has_failed=has_failed,
                low=new_low,
                high=new_high,
                before=_choose(is_zoom, given_up, new_low),
                safe=safe,
                safe_grad=safe_grad,
            )

        no = np.bool_(False)
        far = np.full_like(kept, np.inf)
        first = tree.map(like, grad, state.grad)
        search = while_loop(
            lambda search: np.logical_not(search.is_done | search.has_failed),
            try_next,
            _Search(np.array(0), start, first, far, far, no, no, no, start, start, start, start, first),
        )
        info = ZoomLinesearchInfo(
            search.count,
            like(search.decrease_error, state.info.decrease_error),
            like(search.curvature_error, state.info.curvature_error),
        )
        rate = search.here.step
        return scaled(rate, updates), ScaleByZoomLinesearchState(rate, search.here.value, search.grad, info)

    return GradientTransformationExtraArgs(init, update)


def _positive(error: Any) -> Any:
    """What is missing of a condition: nothing if negative, and infinitely much where there is no number."""
    return np.where(np.isnan(error), np.inf, np.maximum(error, 0))


def _inside(low: _Point, high: _Point, before: _Point) -> Any:
    """A step inside an interval: the least point of a cubic, of a parabola, or the middle, the first that is not too near an end."""
    width = np.abs(high.step - low.step)
    left, right = np.minimum(high.step, low.step), np.maximum(high.step, low.step)
    cubic, parabolic = _cubic_minimum(low, high, before), _parabolic_minimum(low, high)
    is_cubic = (cubic > left + 0.2 * width) & (cubic < right - 0.2 * width)
    is_parabolic = (parabolic > left + 0.1 * width) & (parabolic < right - 0.1 * width)
    return np.where(is_cubic, cubic, np.where(is_parabolic, parabolic, (low.step + high.step) / 2))


def _cubic_minimum(a: _Point, b: _Point, c: _Point) -> Any:
    """Where the cubic through three points is least that has the first one's slope; NaN if nowhere."""
    rises, is_finite = zip(*[_finite(p.value - a.value) for p in (b, c)], strict=True)
    db, dc = b.step - a.step, c.step - a.step
    divisor = (db * dc) ** 2 * (db - dc)
    fb, fc = rises[0] - a.slope * db, rises[1] - a.slope * dc
    exists = is_finite[0] & is_finite[1] & (divisor != 0)
    divisor = np.where(exists, divisor, 1)
    third = (dc**2 * fb - db**2 * fc) / divisor
    second = (db**3 * fc - dc**3 * fb) / divisor
    radicand = second * second - 3 * third * a.slope
    exists = exists & (radicand >= 0) & (third != 0)
    root = np.sqrt(np.where(exists, radicand, 0))
    return np.where(exists, a.step + (root - second) / np.where(exists, 3 * third, 1), np.nan)


def _parabolic_minimum(a: _Point, b: _Point) -> Any:
    """Where the parabola through two points is least that has the first one's slope; NaN if nowhere."""
    rise, is_finite = _finite(b.value - a.value)
    db = b.step - a.step
    second = (rise - a.slope * db) / np.where(db == 0, 1, db**2)
    exists = is_finite & (db != 0) & (second != 0)
    return np.where(exists, a.step - a.slope / np.where(exists, 2 * second, 1), np.nan)


def _finite(x: Any) -> tuple[Any, Any]:
    """A number, 0 in the place of one that is not finite, and whether it is."""
    is_finite = np.isfinite(x)
    return np.where(is_finite, x, 0), is_finite
