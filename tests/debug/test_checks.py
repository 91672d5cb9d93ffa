"""Conditions on values, checked wherever a function is run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.debug.checks import CheckError, check

X = np.array([[1.0, 2.0], [3.0, -1.0]])


def _log(x: Any) -> Any:
    check(x > 0, "x must be > 0, got {x}", x=x)
    return np.log(np.abs(x))


LINE = _log.__code__.co_firstlineno + 1
BELOW = "x must be > 0, got -1.0"


def _falling(x: Any) -> Any:
    def step(c: Any, a: Any) -> Any:
        check(c > 0, "{what} fell to {c} by {a}", what="c", c=c, a=a)
        return c - a, None

    return lax.scan(step, x, np.arange(4.0))[0]


def _growing(x: Any) -> Any:
    def body(c: Any) -> Any:
        check(c < 50, "c is {c}", c=c)
        return c * 2

    return lax.while_loop(lambda c: c < 100, body, x)


def _positive(x: Any) -> Any:
    return lax.cond(x > 0, _log, lambda x: x, x)


def _negative(x: Any) -> Any:
    return lax.cond(x < 0, _log, lambda x: x, x)


def _doubled(x: Any) -> Any:
    """Of which rows that are done take no step."""

    def body(c: Any) -> Any:
        check(c < 50, "c is {c}", c=c)
        return c * 2

    return lax.while_loop(lambda c: c < 40, body, x)


def _stepwise(x: Any) -> Any:
    """A loop in a branch in a branch, with a check in its steps."""

    def step(c: Any, a: Any) -> Any:
        check(x > 0, "x must be > 0, got {x}", x=x)
        return c + a, None

    branches = [lambda x: x, lambda x: lax.cond(x > 0, lambda x: lax.scan(step, x, np.arange(3.0))[0], lambda x: -x, x)]
    return lax.switch((x > -2) * 1, branches, x)


def _switched(x: Any) -> Any:
    return lax.switch((x > 0) * 1 + (x > 1) * 1, [lambda x: x, _log, lambda x: -x], x)


# A function, an argument, and what the error says; nothing where there is none.
CASES: dict[str, tuple[Callable[..., Any], Any, str]] = {
    "an array": (_log, X, f"{BELOW} at [1, 1]"),
    "rows": (tg.vmap(_log), X, f"{BELOW} at [1], in row 1"),
    "rows of rows": (tg.vmap(tg.vmap(_log)), X, f"{BELOW}, in row 1, 1"),
    "rows in chunks": (tg.vmap(_log, batch_size=1), X, f"{BELOW} at [1], in row 1"),
    "a loop": (_falling, 2.5, "c fell to -0.5 by 3.0, in step 3 of scan"),
    "rows in a loop": (tg.vmap(_falling), np.array([9.0, 2.5]), "c fell to -0.5 by 3.0, in row 1, in step 3 of scan"),
    "a loop until": (_growing, 3.0, "c is 96.0, in step 5 of while_loop"),
    "a gradient": (tg.grad(lambda x: np.sum(_log(x))), X, f"{BELOW} at [1, 1]"),
    "the gradient of a loop": (tg.grad(_falling), 2.5, "c fell to -0.5 by 3.0, in step 3 of scan"),
    "a branch that is not taken": (tg.vmap(_positive), np.array([1.0, -1.0]), ""),
    "a branch that one row takes": (tg.vmap(_negative), np.array([1.0, -1.0]), BELOW),
    "rows that are done with a loop": (tg.vmap(_doubled), np.array([1.0, 60.0]), ""),
    "rows of rows in a loop": (tg.vmap(tg.vmap(_doubled)), np.array([[1.0, 60.0], [70.0, 30.0]]), ""),
    "a loop in branches": (tg.vmap(_stepwise), np.array([1.0, -1.0, -3.0]), ""),
    "the gradient of branches": (tg.vmap(tg.grad(_stepwise)), np.array([1.0, -1.0, -3.0]), ""),
    "a switch": (tg.vmap(_switched), np.array([0.5, -1.0, 2.0]), ""),
    "what nothing depends on": (lambda x: _log(x) * 0.0, X, f"{BELOW} at [1, 1]"),
    "a checkpoint": (tg.grad(tg.checkpoint(lambda x: np.sum(_log(x)))), X, f"{BELOW} at [1, 1]"),
    "nothing": (_log, np.abs(X), ""),
}


def _said(f: Callable[..., Any], x: Any) -> str:
    """What the error says, without the line."""
    try:
        f(x)
    except CheckError as error:
        return re.sub(rf" \(checked at {re.escape(str(error.source))}\)$", "", str(error))
    return ""


@pytest.mark.parametrize("name", CASES)
def test_the_error_is_the_same_everywhere(name: str) -> None:
    f, x, text = CASES[name]
    g = tg.jit(f)
    assert [_said(h, x) for h in (f, g, g)] == [text] * 3


# Where a branch that rows choose is computed for all of them.
QUICK = ("an array", "rows in a loop", "a branch that is not taken", "a loop in branches")
ON_XLA = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES]


@pytest.mark.parametrize("name", ON_XLA)
@pytest.mark.filterwarnings("ignore:a float64 result on XLA")
def test_it_is_the_same_on_xla(name: str) -> None:
    f, x, text = CASES[name]
    g = tg.jit(f, backend="xla")
    assert [_said(h, x) for h in (g, g)] == [text] * 2


def test_what_the_error_knows() -> None:
    with pytest.raises(CheckError) as caught:
        tg.jit(tg.vmap(_log))(X)
    error = caught.value
    assert (error.rows, error.index, error.steps) == ((1,), (1,), ())
    assert error.source is not None and (error.source.line, error.source.function) == (LINE, "_log")
    with pytest.raises(CheckError) as caught:
        _falling(2.5)
    assert caught.value.steps == ("step 3 of scan",)


def test_values_that_are_no_elements_are_those_of_the_row() -> None:
    def f(x: Any, limit: Any) -> Any:
        check(x < limit[0], "x is {x}, the limits are {limit}", x=x, limit=limit)
        return x

    with pytest.raises(CheckError, match=re.escape("x is 3.0, the limits are [2.5 5.  6. ] at [0], in row 1")):
        tg.vmap(f, (0, None))(X, np.array([2.5, 5.0, 6.0]))


def test_jax_arrays_outside_of_jit() -> None:
    x = jnp.asarray(X, np.float32)
    for f in (_log, tg.vmap(_log), tg.vmap(lambda r: lax.map(_log, r))):
        with pytest.raises(CheckError, match=BELOW):
            f(x)
    assert np.allclose(_log(jnp.abs(x)), np.log(np.abs(X)))  # and nothing is left of it
    assert np.allclose(tg.jit(_log, backend="xla")(jnp.abs(x)), np.log(np.abs(X)))


def test_a_derivative_does_not_depend_on_it() -> None:
    assert np.allclose(tg.grad(lambda x: np.sum(_log(x)))(np.abs(X)), 1 / np.abs(X))
    assert tg.debug.explain_nan(_log, np.abs(X)) is None
