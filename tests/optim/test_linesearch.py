"""Line searches make optax's steps, and say what was wrong with what they were given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.optim.test_lbfgs import assert_follows
from tracegrad import optim

ZOOMS: dict[str, tuple[float, dict[str, Any]]] = {
    "keeping": (1.0, {"max_linesearch_steps": 15}),
    "bounded": (1.0, {"max_linesearch_steps": 15, "max_learning_rate": 1e-3}),
    "few steps": (1e-2, {"max_linesearch_steps": 3}),
    "too far": (1e6, {"max_linesearch_steps": 30, "initial_guess_strategy": "one", "approx_dec_rtol": None}),
    "fine": (1e-3, {"max_linesearch_steps": 20, "curv_rtol": 0.05, "tol": 1e-6, "increase_factor": 4.0}),
    "uphill": (-1e-3, {"max_linesearch_steps": 5}),
}


@pytest.mark.parametrize("case", ZOOMS)
def test_zoom_follows_optax(case: str) -> None:
    rate, options = ZOOMS[case]
    assert_follows(lambda lib: lib.chain(lib.sgd(rate), lib.scale_by_zoom_linesearch(**options)), steps=6)


BACKTRACKINGS: dict[str, tuple[float, dict[str, Any]]] = {
    "found": (1.0, {"max_backtracking_steps": 40, "increase_factor": 10.0}),
    "not found": (1e-2, {"max_backtracking_steps": 3}),
    "slack": (1e-3, {"max_backtracking_steps": 20, "atol": 1e-2, "rtol": 1e-3, "decrease_factor": 0.5}),
    "stored": (1.0, {"max_backtracking_steps": 30, "store_grad": True}),
}


@pytest.mark.parametrize("case", BACKTRACKINGS)
def test_backtracking_follows_optax(case: str) -> None:
    rate, options = BACKTRACKINGS[case]
    assert_follows(lambda lib: lib.chain(lib.sgd(rate), lib.scale_by_backtracking_linesearch(**options)), steps=6)


def test_function_with_data() -> None:
    def f(x: Any, target: Any) -> Any:
        return np.sum((x - target) ** 2)

    opt = optim.lbfgs()
    x, target = np.zeros(3), np.arange(3.0)
    value, g = tg.value_and_grad(f)(x, target)
    updates, state = opt.update(g, opt.init(x), x, value=value, grad=g, value_fn=f, target=target)
    assert np.sum((x + updates - target) ** 2) < value
    assert float(state[2].value) == f(x + updates, target)
    np.testing.assert_allclose(state[2].grad, 2 * (x + updates - target))
    with pytest.raises(TypeError, match=r"was given weights, which 'test_function_with_data.<locals>.f'"):
        opt.update(g, opt.init(x), x, value=value, grad=g, value_fn=f, target=target, weights=1.0)


def test_no_step_to_where_there_is_no_value() -> None:
    def f(x: Any) -> Any:
        return np.where(np.abs(x) <= 1, x, np.nan).sum()

    for search in optim.scale_by_zoom_linesearch(3), optim.scale_by_backtracking_linesearch(3):
        opt = optim.chain(optim.sgd(1e6), search)
        x = np.array([0.5])
        updates, state = opt.update(np.ones(1), opt.init(x), x, value=0.5, grad=np.ones(1), value_fn=f)
        assert updates.tolist() == [0.0]
        assert float(optim.tree.get(state, "decrease_error")) == np.inf


def test_unknown_strategy() -> None:
    with pytest.raises(ValueError, match="initial_guess_strategy='two', but there are 'one' and 'keep'"):
        optim.scale_by_zoom_linesearch(3, initial_guess_strategy="two")
