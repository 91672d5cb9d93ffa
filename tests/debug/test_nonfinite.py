"""Where NaNs and infinities come from."""

from __future__ import annotations

import linecache
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.debug.nonfinite import explain_nan

X = np.array([4.0, 0.0, 1.0])
TABLE = np.array([1.0, np.nan])


class Case(NamedTuple):
    function: Callable[..., Any]
    args: tuple[Any, ...]
    text: str


CASES: dict[str, Case] = {}


def explained(text: str, *args: Any, by: Callable[[Any], Any] = lambda f: f) -> Callable[[Any], Any]:
    """The function, transformed, with these arguments gives this report, in which lines are not numbered."""

    def add(function: Any) -> Any:
        CASES[function.__name__] = Case(by(function), args, text)
        return function

    return add


def without_lines(text: str) -> str:
    return re.sub(r" at \S+:\d+ \(in", " at <line> (in", text)


@tg.custom_vjp
def _root(x: Any) -> Any:
    return np.sqrt(x)


_root.defvjp(lambda x: (np.sqrt(x), x), lambda x, ct: (ct / x,))


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in log_of_negative)\n"
        "    return np.sum(np.log(x - 0.3))\n"
        "  log of -0.3 at [1, 1] is nan (1 of 4 elements)\n"
        "  Instead: keep its argument in x > 0: `np.log(np.where(ok, x, 1.0))` with `ok = x > 0`, inside an outer `np.where(ok, ..., otherwise)`."
    ),
    np.array([[1.0, 2.0], [3.0, 0.0]]),
)
def log_of_negative(x: Any) -> Any:
    return np.sum(np.log(x - 0.3))


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in zero_by_zero)\n"
        "    return np.sum(np.where(r > 0.25, np.log(r), 1.0) + 0.0 * x[:, 0] / r)\n"
        "  0 / 0 at [1] is nan (1 of 2 elements)\n"
        "  Instead: keep the divisor from zero: `np.where(y != 0, x / np.where(y != 0, y, 1.0), 0.0)`, or add a small number to it."
    ),
    np.array([[1.0, 2.0], [0.0, 0.0]]),
)
def zero_by_zero(x: Any) -> Any:
    r = np.sum(x**2, axis=1)
    return np.sum(np.where(r > 0.25, np.log(r), 1.0) + 0.0 * x[:, 0] / r)


@explained(
    (
        "the result is not finite. The first infinity is made forward at <line> (in overflow)\n"
        "    e = np.exp(x)\n"
        "  exp of 89.2 at [1] is larger than 3.40282e+38, the largest float32 (1 of 2 elements)\n"
        "  Instead: subtract the maximum before it, or bound the argument by np.clip; for softmax and logsumexp there are tg.nn.softmax and tg.nn.logsumexp, which do so.\n"
        "It becomes NaN forward at <line> (in overflow)\n"
        "    return e / np.sum(e)\n"
        "  inf / inf at [1] is nan (1 of 2 elements)\n"
        "  Instead: keep infinities out of it: bound what makes them, or use a large finite number in place of np.inf."
    ),
    np.array([1.0, 89.2], np.float32),
)
def overflow(x: Any) -> Any:
    e = np.exp(x)
    return e / np.sum(e)


@explained(
    (
        "the result is not finite. The first infinity is made forward at <line> (in difference_of_infinities)\n"
        "    return np.sum(np.where(x > 0, x, -np.inf) - np.max(np.where(x > 0, x, -np.inf)))\n"
        "  -inf is written there (3 of 3 elements)\n"
        "It becomes NaN forward at <line> (in difference_of_infinities)\n"
        "    return np.sum(np.where(x > 0, x, -np.inf) - np.max(np.where(x > 0, x, -np.inf)))\n"
        "  -inf - (-inf) at [0] is nan (3 of 3 elements)\n"
        "  Instead: keep infinities out of it: bound what makes them, or use a large finite number in place of np.inf."
    ),
    -np.ones(3),
)
def difference_of_infinities(x: Any) -> Any:
    return np.sum(np.where(x > 0, x, -np.inf) - np.max(np.where(x > 0, x, -np.inf)))


@explained(
    (
        "the result is not finite. The first infinity is made forward at <line> (in one_by_zero)\n"
        "    return np.sum(1.0 / x)\n"
        "  1 / 0 at [1] is inf (1 of 3 elements)\n"
        "  Instead: keep the divisor from zero: `np.where(y != 0, x / np.where(y != 0, y, 1.0), 0.0)`, or add a small number to it."
    ),
    X,
)
def one_by_zero(x: Any) -> Any:
    return np.sum(1.0 / x)


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in root_of_negative)\n"
        "    return np.sqrt(x[0] - 5.0)\n"
        "  sqrt of -1 is nan\n"
        "  Instead: keep its argument in x >= 0: `np.sqrt(np.where(ok, x, 1.0))` with `ok = x > 0`, inside an outer `np.where(ok, ..., otherwise)`."
    ),
    X,
)
def root_of_negative(x: Any) -> Any:
    return np.sqrt(x[0] - 5.0)


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in out_of_domain)\n"
        "    return np.sum(np.arccos(x))\n"
        "  arccos of 4 at [0] is nan (1 of 3 elements)\n"
        "  Instead: keep its argument in -1 <= x <= 1: `np.arccos(np.where(ok, x, 0.0))` with `ok = np.abs(x) < 1`, inside an outer `np.where(ok, ..., otherwise)`."
    ),
    X,
)
def out_of_domain(x: Any) -> Any:
    return np.sum(np.arccos(x))


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in power_of_negative)\n"
        "    return np.sum((x - 3.0) ** x)\n"
        "  (-0.5) ** 2.5 at [0] is nan (1 of 2 elements)\n"
        "  Instead: a negative number has no real power that is no whole number: write np.abs(x) ** y, or np.sign(x) * np.abs(x) ** y."
    ),
    np.array([2.5, 4.0]),
)
def power_of_negative(x: Any) -> Any:
    return np.sum((x - 3.0) ** x)


@explained(
    (
        "the result is not finite. The first infinity is made forward at <line> (in zero_times_infinity)\n"
        "    return np.sum(np.log(x) * x)\n"
        "  log of 0 at [1] is -inf (1 of 3 elements)\n"
        "  Instead: add a small number, np.log(x + 1e-12), or compute the logarithm at once: tg.nn.log_softmax, tg.nn.log_sigmoid, np.logaddexp.\n"
        "It becomes NaN forward at <line> (in zero_times_infinity)\n"
        "    return np.sum(np.log(x) * x)\n"
        "  -inf * 0 at [1] is nan (1 of 3 elements)\n"
        "  Instead: keep infinities out of it: bound what makes them, or use a large finite number in place of np.inf."
    ),
    X,
)
def zero_times_infinity(x: Any) -> Any:
    return np.sum(np.log(x) * x)


@explained(
    (
        "the result is not finite. The first infinity is made forward at <line> (in overflow_of_a_sum)\n"
        "    return np.sum(x)\n"
        "  sum of f16[3], all finite, is larger than 65504, the largest float16\n"
        "  Instead: compute it in float32: `x.astype(np.float32)`."
    ),
    np.full(3, 60000.0, np.float16),
)
def overflow_of_a_sum(x: Any) -> Any:
    return np.sum(x)


@explained(
    (
        "the result is not finite. The first infinity is made forward at <line> (in overflow_of_a_product)\n"
        "    return x @ x\n"
        "  matmul of f64[2], f64[2], all finite, is larger than 1.79769e+308, the largest float64"
    ),
    np.array([1e200, 1.0]),
)
def overflow_of_a_product(x: Any) -> Any:
    return x @ x


@explained(
    ("the result is not finite: batch['x'][1, 1] is NaN already (1 of 4 elements)"),
    {"x": np.array([[1.0, 2.0], [3.0, np.nan]]), "y": np.ones(3)},
)
def in_an_argument(batch: Any) -> Any:
    return np.sum(batch["x"] ** 2)


@explained(
    (
        "the result is not finite: x[1] is infinite already (1 of 2 elements)\n"
        "It becomes NaN forward at <line> (in infinite_argument)\n"
        "    return np.sum(x - y)\n"
        "  inf - inf at [1] is nan (1 of 2 elements)\n"
        "  Instead: keep infinities out of it: bound what makes them, or use a large finite number in place of np.inf."
    ),
    np.array([1.0, np.inf]),
    np.array([1.0, np.inf]),
)
def infinite_argument(x: Any, y: Any) -> Any:
    return np.sum(x - y)


@explained(
    (
        "the result is not finite: an array that it closes over, f64[2], is NaN already at [1] (1 of 2 elements), used at <line> (in in_an_array_from_outside)"
    ),
    np.ones(2),
)
def in_an_array_from_outside(x: Any) -> Any:
    return np.sum(x * TABLE)


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in written_nan)\n"
        "    return np.sum(np.where(x > 0, x, np.nan))\n"
        "  nan is written there (1 of 3 elements)"
    ),
    X,
)
def written_nan(x: Any) -> Any:
    return np.sum(np.where(x > 0, x, np.nan))


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in root_at_zero), in the derivative of sqrt\n"
        "    return np.sum(np.sqrt(x) * 2.0)\n"
        "  sqrt of 0 at [1]: the slope of sqrt at 0 is infinite, 2 / 0 is inf (1 of 3 elements)\n"
        "  Instead: write `np.sqrt(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.sqrt(x + 1e-12)`."
    ),
    X,
    by=tg.grad,
)
def root_at_zero(x: Any) -> Any:
    return np.sum(np.sqrt(x) * 2.0)


@explained(
    (
        "the result is not finite. The first NaN is made backward at <line> (in root_at_zero_in_a_product), in the derivative of sqrt\n"
        "    return np.sum(np.sqrt(x) * x)\n"
        "  sqrt of 0 at [1]: the slope of sqrt at 0 is infinite, 0 / 0 is nan; the 0 is of the derivative of multiply at <line> (in root_at_zero_in_a_product) (1 of 3 elements)\n"
        "  Instead: write `np.sqrt(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.sqrt(x + 1e-12)`."
    ),
    X,
    by=tg.grad,
)
def root_at_zero_in_a_product(x: Any) -> Any:
    return np.sum(np.sqrt(x) * x)


@explained(
    (
        "the result is not finite. The first NaN is made backward at <line> (in angle_at_the_origin), in the derivative of arctan2\n"
        "    return np.arctan2(x[0], x[1])\n"
        "  0 / 0 is nan: the slopes of arctan2 at (0, 0) are 0/0\n"
        "  Instead: write `np.arctan2(np.where(ok, y, 0.0), np.where(ok, x, 1.0))` with `ok = (x != 0) | (y != 0)`."
    ),
    np.zeros(2),
    by=tg.grad,
)
def angle_at_the_origin(x: Any) -> Any:
    return np.arctan2(x[0], x[1])


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in power_at_zero), in the derivative of power\n"
        "    return np.sum(x**0.3)\n"
        "  0 ** (-0.7) at [1] is inf: the slope of this power at 0 is infinite, or that of its exponent (1 of 3 elements)\n"
        "  Instead: write `np.where(x > 0, x, 1.0) ** y` inside `np.where(x > 0, ..., 0.0)`."
    ),
    X,
    by=tg.grad,
)
def power_at_zero(x: Any) -> Any:
    return np.sum(x**0.3)


@explained(
    (
        "the result is not finite. The first infinity is made forward at <line> (in exponent_at_zero)\n"
        "    return np.sum(X**y)\n"
        "  0 ** (-1) at [1] is inf (1 of 3 elements)\n"
        "  Instead: keep the base from zero: `np.where(x != 0, np.where(x != 0, x, 1.0) ** y, 0.0)`.\n"
        "It becomes NaN backward at <line> (in exponent_at_zero), in the derivative of power\n"
        "    return np.sum(X**y)\n"
        "  0 ** (-1) at [1]: the slope of this power at 0 is infinite, or that of its exponent, inf * 0 is nan (1 of 3 elements)\n"
        "  Instead: write `np.where(x > 0, x, 1.0) ** y` inside `np.where(x > 0, ..., 0.0)`."
    ),
    np.array([0.5, -1.0, 2.0]),
    by=tg.grad,
)
def exponent_at_zero(y: Any) -> Any:
    return np.sum(X**y)


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in distance_to_itself), in the derivative of sqrt\n"
        "    return np.sum(np.sqrt(np.sum((x - X) ** 2)))\n"
        "  sqrt of 0: the slope of sqrt at 0 is infinite, 1 / 0 is inf\n"
        "  Instead: write `np.sqrt(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.sqrt(x + 1e-12)`.\n"
        "It becomes NaN backward at <line> (in distance_to_itself), in the derivative of power\n"
        "    return np.sum(np.sqrt(np.sum((x - X) ** 2)))\n"
        "  inf * 0 at [0] is nan (3 of 3 elements)"
    ),
    X,
    by=tg.grad,
)
def distance_to_itself(x: Any) -> Any:  # the slope of a square at 0 is 0, and not to blame
    return np.sum(np.sqrt(np.sum((x - X) ** 2)))


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in slope_of_arccos), in the derivative of arccos\n"
        "    return np.sum(np.arccos(x))\n"
        "  -1 / 0 at [1] is -inf: the slope of arccos at 1 and -1 is infinite (1 of 2 elements)\n"
        "  Instead: write `np.clip(x, -1 + 1e-7, 1 - 1e-7)` in place of x."
    ),
    np.array([0.5, 1.0]),
    by=tg.grad,
)
def slope_of_arccos(x: Any) -> Any:
    return np.sum(np.arccos(x))


@explained(
    (
        "the result is not finite. The first NaN is made backward at <line> (in log_at_zero), in the derivative of log\n"
        "    return np.sum(0.0 * np.log(x))\n"
        "  0 / 0 at [1] is nan: the slope of log at 0 is infinite; the 0 is of the derivative of multiply at <line> (in log_at_zero) (1 of 3 elements)\n"
        "  Instead: write `np.log(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.log(x + 1e-12)`."
    ),
    X,
    by=tg.grad,
)
def log_at_zero(x: Any) -> Any:
    return np.sum(0.0 * np.log(x))


@explained(
    (
        "the result is not finite. The first NaN is made backward at <line> (in branch_not_taken), in the derivative of sqrt\n"
        "    a = np.stack([np.sqrt(x), x], axis=1)\n"
        "  sqrt of 0 at [1]: the slope of sqrt at 0 is infinite, 0 / 0 is nan; the 0 is of the derivative of stack at <line> (in branch_not_taken) (1 of 3 elements)\n"
        "  Instead: write `np.sqrt(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.sqrt(x + 1e-12)`."
    ),
    X,
    by=tg.grad,
)
def branch_not_taken(x: Any) -> Any:
    a = np.stack([np.sqrt(x), x], axis=1)
    return np.sum(a @ np.array([0.0, 1.0]))


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in second_derivative), in the derivative of power\n"
        "    return np.sum(x**1.5)\n"
        "  0 ** (-0.5) at [1] is inf: the slope of this power at 0 is infinite, or that of its exponent (1 of 3 elements)\n"
        "  Instead: write `np.where(x > 0, x, 1.0) ** y` inside `np.where(x > 0, ..., 0.0)`."
    ),
    X,
    by=lambda f: tg.grad(lambda x: np.sum(tg.grad(f)(x))),
)
def second_derivative(x: Any) -> Any:
    return np.sum(x**1.5)


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in <lambda>), in step 2 of scan\n"
        "    return lax.scan(lambda c, a: (np.log(c - a), c), x, np.array([1.0, 0.5, 3.0]))[0]\n"
        "  log of -4.6443 is nan\n"
        "  Instead: keep its argument in x > 0: `np.log(np.where(ok, x, 1.0))` with `ok = x > 0`, inside an outer `np.where(ok, ..., otherwise)`."
    ),
    3.0,
)
def in_a_scan(x: Any) -> Any:
    return lax.scan(lambda c, a: (np.log(c - a), c), x, np.array([1.0, 0.5, 3.0]))[0]


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in <lambda>), in the derivative of sqrt, in step 2 of scan\n"
        "    return lax.scan(lambda c, a: (np.sqrt(c * a), c), x, np.array([1.0, 4.0, 0.0]))[0]\n"
        "  1 / 0 is inf: the slope of sqrt at 0 is infinite\n"
        "  Instead: write `np.sqrt(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.sqrt(x + 1e-12)`.\n"
        "It becomes NaN backward at <line> (in <lambda>), in the derivative of multiply, in step 2 of scan\n"
        "    return lax.scan(lambda c, a: (np.sqrt(c * a), c), x, np.array([1.0, 4.0, 0.0]))[0]\n"
        "  inf * 0 is nan"
    ),
    3.0,
    by=tg.grad,
)
def in_the_derivative_of_a_scan(x: Any) -> Any:
    return lax.scan(lambda c, a: (np.sqrt(c * a), c), x, np.array([1.0, 4.0, 0.0]))[0]


@explained(
    (
        "the result is not finite. The first infinity is made forward at <line> (in <lambda>), in step 1 of while_loop\n"
        "    return lax.while_loop(lambda c: np.less(c[0], 5), lambda c: (c[0] + 1, c[1] * c[1]), (0, x))[1]\n"
        "  1e+200 * 1e+200 is larger than 1.79769e+308, the largest float64\n"
        "  Instead: keep infinities out of it: bound what makes them, or use a large finite number in place of np.inf."
    ),
    1e100,
)
def in_a_while_loop(x: Any) -> Any:
    return lax.while_loop(lambda c: np.less(c[0], 5), lambda c: (c[0] + 1, c[1] * c[1]), (0, x))[1]


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in in_a_branch)\n"
        "    return lax.cond(np.greater(x, 0.0), np.sqrt, np.log, x)\n"
        "  log of -1 is nan\n"
        "  Instead: keep its argument in x > 0: `np.log(np.where(ok, x, 1.0))` with `ok = x > 0`, inside an outer `np.where(ok, ..., otherwise)`."
    ),
    -1.0,
)
def in_a_branch(x: Any) -> Any:
    return lax.cond(np.greater(x, 0.0), np.sqrt, np.log, x)


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in in_a_branch_of_a_row), in row 1\n"
        "    return lax.cond(np.greater(x, 0.0), np.sqrt, np.log, x)\n"
        "  log of -1 is nan\n"
        "  Instead: keep its argument in x > 0: `np.log(np.where(ok, x, 1.0))` with `ok = x > 0`, inside an outer `np.where(ok, ..., otherwise)`."
    ),
    np.array([1.0, -1.0]),
    by=tg.vmap,
)
def in_a_branch_of_a_row(x: Any) -> Any:
    return lax.cond(np.greater(x, 0.0), np.sqrt, np.log, x)


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in in_a_checkpoint), in the derivative of log\n"
        "    return np.sum(np.log(x - 1.0))\n"
        "  1 / 0 at [2] is inf: the slope of log at 0 is infinite (1 of 3 elements)\n"
        "  Instead: write `np.log(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.log(x + 1e-12)`."
    ),
    X,
    by=lambda f: tg.grad(tg.checkpoint(f)),
)
def in_a_checkpoint(x: Any) -> Any:
    return np.sum(np.log(x - 1.0))


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in in_a_scope), in encoder/norm\n"
        "    return x / np.max(np.abs(x))\n"
        "  0 / 0 at [0] is nan (2 of 2 elements)\n"
        "  Instead: keep the divisor from zero: `np.where(y != 0, x / np.where(y != 0, y, 1.0), 0.0)`, or add a small number to it."
    ),
    np.zeros(2),
)
def in_a_scope(x: Any) -> Any:
    with tg.named_scope("encoder"), tg.named_scope("norm"):
        return x / np.max(np.abs(x))


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in in_a_rule_of_its_own), in the derivative of a function with rules of its own\n"
        "    return _root(x)\n"
        "  1 / 0 is inf"
    ),
    0.0,
    by=tg.grad,
)
def in_a_rule_of_its_own(x: Any) -> Any:
    return _root(x)


@explained(
    (
        "the result is not finite. The first NaN is made forward at <line> (in _root)\n"
        "    return np.sqrt(x)\n"
        "  sqrt of -1 is nan\n"
        "  Instead: keep its argument in x >= 0: `np.sqrt(np.where(ok, x, 1.0))` with `ok = x > 0`, inside an outer `np.where(ok, ..., otherwise)`."
    ),
    -1.0,
)
def in_a_function_with_rules(x: Any) -> Any:
    return _root(x)


@explained(
    (
        "the result is not finite. The first infinity is made backward at <line> (in <lambda>), in the derivative of sqrt, in step 2 of while_loop\n"
        "    return lax.while_loop(lambda c: np.less(c[0], 3), lambda c: (c[0] + 1, np.sqrt(c[1])), (0, x))[1]\n"
        "  sqrt of 0: the slope of sqrt at 0 is infinite, 1 / 0 is inf\n"
        "  Instead: write `np.sqrt(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.sqrt(x + 1e-12)`."
    ),
    0.0,
    by=tg.grad,
)
def in_the_derivative_of_a_while_loop(x: Any) -> Any:
    return lax.while_loop(lambda c: np.less(c[0], 3), lambda c: (c[0] + 1, np.sqrt(c[1])), (0, x))[1]


@explained(
    (
        "the result is not finite. The first NaN is made backward at <line> (in second_derivative_at_a_kink), in the derivative of a derivative at a kink\n"
        "    return np.linalg.norm(x - 1.0)\n"
        "  there is no such derivative: the first one is what convention says at a kink"
    ),
    np.ones(2),
    by=tg.hessian,
)
def second_derivative_at_a_kink(x: Any) -> Any:
    return np.linalg.norm(x - 1.0)


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_finite_is_explained(name: str) -> None:
    case = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the function is run without NumPy's warnings
        assert without_lines(str(explain_nan(case.function, *case.args))) == case.text


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_jitted_functions_are_looked_into(name: str, backend: str) -> None:
    case = CASES[name]
    plain, found = (
        explain_nan(case.function, *case.args),
        explain_nan(tg.jit(case.function, backend=backend), *case.args),
    )
    assert plain is not None and found is not None
    for one, other in ((plain.first, found.first), (plain.then, found.then)):
        if one is not None and other is not None and one.phase != "constant":
            assert (one.kind, one.phase, one.source, one.index, one.scope) == (
                other.kind, other.phase, other.source, other.index, other.scope,
            )  # fmt: skip


@pytest.mark.parametrize(
    "f",
    [
        np.sin,
        lambda x: np.where(x > 0, np.log(x), 0.0),
        tg.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0))),
        lambda x: np.exp(np.where(x > 0, x, -np.inf)),
        lambda x: (x, {"n": 3}),
    ],
)
def test_there_is_nothing_to_explain_where_all_is_finite(f: Callable[[Any], Any]) -> None:
    assert explain_nan(f, X) is None and explain_nan(tg.jit(f), X) is None


def test_a_training_step_is_looked_into() -> None:
    def loss(params: Any, batch: Any) -> Any:
        with tg.named_scope("head"):
            p = batch["x"] @ params["w"]
        return -np.mean(batch["y"] * np.log(p))

    @tg.jit
    def step(params: Any, batch: Any, rate: Any) -> Any:
        value, grads = tg.value_and_grad(loss)(params, batch)
        return tg.tree.map(lambda p, g: p - rate * g, params, grads), {"loss": value}

    batch = {"x": np.array([[1.0, 0.0], [0.0, 1.0]]), "y": np.ones(2)}
    good = explain_nan(step, {"w": np.array([0.5, 0.5])}, batch, rate=0.1)
    bad = explain_nan(step, {"w": np.array([0.5, -0.5])}, batch, rate=0.1)
    assert good is None and bad is not None
    assert bad.first.op == "log" and bad.first.operands == (-0.5,) and bad.first.index == (1,)
    assert bad.first.source is not None and bad.first.source.function == "loss"
    assert bad.output == "the result[1]['loss']"
    batch["x"][1, 0] = np.nan
    found = explain_nan(step, {"w": np.array([0.5, 0.5])}, batch, rate=0.1)
    assert str(found).splitlines()[0].endswith("is not finite: batch['x'][1, 0] is NaN already (1 of 4 elements)")
    found = explain_nan(step, {"w": np.array([0.5, 0.5])}, {**batch, "x": np.eye(2)}, rate=np.array(np.nan))
    assert found is not None and found.first.name == "rate" and found.first.phase == "argument"


def test_arrays_of_jax_are_looked_at() -> None:
    found = explain_nan(tg.jit(np.log), jnp.asarray([1.0, -1.0]))
    assert found is not None and (found.first.op, found.first.index) == ("log", (1,))


def test_sums_of_cotangents_are_of_what_they_are_added_up_for() -> None:
    found = explain_nan(tg.grad(lambda x: np.sum(np.sqrt(x - x))), X)
    assert found is not None and found.then is not None
    assert (found.first.op, found.first.of) == ("divide", "sqrt") and found.then.of == "subtract"
    assert found.then.cause == "inf + (-inf) at [0] is nan"


def test_what_is_explained_must_be_a_function() -> None:
    with pytest.raises(TypeError, match=r"debug.explain_nan at .* takes a function, got the float 3.0"):
        explain_nan(3.0)  # type: ignore[arg-type]


def _row(a: Any) -> Any:
    return np.log(a) * a


ROWS = np.array([[1.0, 2.0, 3.0], [1.0, 0.0, 3.0]])


@pytest.mark.parametrize(
    ("f", "x", "rows", "index"),
    [
        (tg.vmap(lambda a: np.log(a[0]) + a[1]), -ROWS[:, 1:], (0,), ()),
        (tg.vmap(_row), ROWS, (1,), (1,)),
        (tg.vmap(tg.vmap(_row)), ROWS, (1, 1), ()),
        (tg.jit(tg.vmap(tg.grad(lambda a: np.sum(_row(a))))), ROWS, (1,), (1,)),
        (tg.grad(lambda x: np.sum(tg.vmap(_row)(x))), ROWS, (1,), (1,)),
        (tg.vmap(lambda a: lax.scan(lambda c, b: (c - b, np.sqrt(c)), a[0], a)[1]), -ROWS, (0,), ()),
        (lambda x: tg.vmap(lambda a, b: np.log(b) + a, (0, None))(x, x[0]), -ROWS, (), (0,)),  # which all rows share
        (tg.grad(lambda w: np.sum(tg.vmap(lambda a: np.sqrt(w) @ a)(np.eye(2)))), np.array([1.0, 0.0]), (), (1,)),
    ],
)
def test_rows_of_batches_are_told(
    f: Callable[[Any], Any], x: Any, rows: tuple[int, ...], index: tuple[int, ...]
) -> None:
    found = explain_nan(f, x)
    assert found is not None and (found.first.rows, found.first.index) == (rows, index)
    assert (f", in row {', '.join(map(str, rows))}" in str(found)) == bool(rows)
    assert found.first.scope == ()


def test_code_without_a_file_is_explained() -> None:
    names: dict[str, Any] = {}
    exec("import numpy as np\n\ndef f(x):\n    return np.sum(np.sqrt(x) * 0.0)", names)
    text = str(explain_nan(tg.jit(tg.grad(names["f"])), np.zeros(2)))
    assert (
        "made backward at <string>:4 (in f), in the derivative of sqrt\n  sqrt of 0 at [0]: the slope of sqrt" in text
    )


@pytest.mark.parametrize("file", ["<stdin>", "<ipython-input-3-0123456789ab>", "/tmp/ipykernel_7/123456.py"])
def test_code_typed_in_and_code_of_notebooks_is_explained(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import numpy as np\n\ndef f(x):\n    return np.sum(np.log(x) * x)\n"
    if file != "<stdin>":  # of which Python 3.11 keeps no text
        monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(keepends=True), file))
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    for f in (names["f"], tg.jit(tg.grad(names["f"])), tg.vmap(names["f"])):
        lines = str(explain_nan(f, np.array([[1.0, 0.0]]))).splitlines()
        assert f"ward at {file}:4 (in f)" in lines[0]
        assert ("    return np.sum(np.log(x) * x)" in lines) == (file != "<stdin>")
        assert any(["log of 0" in line for line in lines])


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_jitted_gradient_names_the_line_the_row_and_the_cause(backend: str) -> None:
    def loss(x: Any) -> Any:
        r = np.sum(x**2, axis=1)
        return np.sum(np.where(r > 0.25, np.log(r), 1.0) + 0.0 * x[:, 0] / r)

    found = explain_nan(tg.jit(tg.grad(loss), backend=backend), np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 1.0]]))
    assert found is not None and found.first.source is not None
    assert (found.first.op, found.first.index, found.first.operands) == ("divide", (1,), (0.0, 0.0))
    assert found.first.source.line == loss.__code__.co_firstlineno + 2 and "0 / 0 at [1] is nan" in str(found)


def test_an_infinity_from_elsewhere_is_no_slope_of_an_operation_inside_a_loop() -> None:
    def f(x: Any) -> Any:
        return np.sum(lax.scan(lambda c, u: (c, np.sqrt(np.sum(u**2))), 0.0, x)[1])

    found = tg.debug.explain_nan(tg.grad(f), np.array([[1.0, 1.0], [0.0, 0.0]]))
    assert found is not None and "the slope of sqrt at 0 is infinite" in str(found)
    assert "inf * 0 at [0] is nan (2 of 2 elements)" in str(found) and "slope of this power" not in str(found)
    roots = tg.debug.explain_nan(tg.grad(lambda x: lax.scan(lambda c, u: (c + u**0.5, None), 0.0, x)[0]), np.zeros(2))
    assert "the slope of this power at 0 is infinite" in str(roots)
