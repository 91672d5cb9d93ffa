"""adafactor and sm3 make optax's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest

from tests.trajectories import assert_follows
from tracegrad import optim, tree
from tracegrad.core.errors import DtypeError

CASES: dict[str, dict[str, Any]] = {
    "factored": {"learning_rate": 0.05, "min_dim_size_to_factor": 2},
    "plain": {
        "factored": False,
        "multiply_by_parameter_scale": False,
        "clipping_threshold": None,
        "learning_rate": 0.01,
    },
    "momentum": {"learning_rate": 0.05, "min_dim_size_to_factor": 3, "momentum": 0.9, "weight_decay_rate": 1e-3},
}


@pytest.mark.parametrize("case", CASES)
def test_adafactor_follows_optax(case: str) -> None:
    # optax computes the decay of the second moment in float32, also where all else is float64.
    assert_follows(optim.adafactor(**CASES[case]), optax.adafactor(**CASES[case]), exact=1e-6, brief=case == "plain")


@pytest.mark.parametrize("options", [{}, {"b2": 0.9}])
def test_sm3_follows_optax(options: dict[str, Any]) -> None:
    # optax has no accumulator for a number, which stands in an array of one entry here.
    def in_arrays(opt: Any) -> Any:
        def axes(p: Any) -> Any:
            return tree.map(lambda x: x.reshape(-1) if x.ndim == 0 else x, p)

        def back(u: Any, like: Any) -> Any:
            return tree.map(lambda x, p: x.reshape(p.shape), u, like)

        def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
            found, state = opt.update(axes(updates), state, params)
            return back(found, updates), state

        return type(opt)(lambda params: opt.init(axes(params)), update)

    def sm3(lib: Any) -> Any:
        return lib.chain(lib.scale_by_sm3(**options), lib.scale(-0.05))

    assert_follows(in_arrays(sm3(optim)), in_arrays(sm3(optax)), brief=bool(options))


def test_sm3_of_a_number_is_that_of_an_array_of_one() -> None:
    opt = optim.sm3(0.1)
    state, state_of_one = opt.init(np.array(1.0)), opt.init(np.array([1.0]))
    for g in 3.0, -1.0, 0.5:
        update, state = opt.update(np.array(g), state)
        update_of_one, state_of_one = opt.update(np.array([g]), state_of_one)
        assert update == update_of_one[0]


def test_sm3_errors() -> None:
    with pytest.raises(
        TypeError, match=r"learning_rate is a number, got .*; for a schedule of it write tg\.optim\.inject_hyperparams"
    ):
        optim.sm3(lambda count: 0.1)
    with pytest.raises(DtypeError, match=r"sm3 is for real parameters, got one of c128\[2\]"):
        optim.sm3(0.1).init(np.ones(2, complex))
