"""What is added to updates makes optax's steps."""

from __future__ import annotations

import numpy as np
import optax
import pytest

from tests.steps import Make, assert_follows
from tracegrad import optim

CASES: dict[str, Make] = {
    "add_decayed_weights": lambda lib: lib.chain(lib.add_decayed_weights(0.1), lib.scale(-0.1)),
    "nothing": lambda lib: lib.chain(lib.add_decayed_weights(), lib.scale(-0.1)),
    "schedule": lambda lib: lib.chain(lib.add_decayed_weights(lambda n: 0.1 / (1.0 + n)), lib.scale(-0.1)),
    "masked": lambda lib: lib.chain(
        lib.add_decayed_weights(lambda n: 0.1, {"a": True, "b": (True, False), "c": None, "conv": False}),
        lib.scale(-0.1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(CASES[case])


def test_parameters_are_needed() -> None:
    opt = optim.add_decayed_weights(0.1)
    with pytest.raises(
        ValueError, match=r"add_decayed_weights needs the parameters; write update\(grads, state, params\)"
    ):
        opt.update(np.ones(2), opt.init(np.ones(2)))


def test_none_stays() -> None:
    params = {"a": np.ones(1), "b": None}
    ours, theirs = optim.add_decayed_weights(0.5), optax.add_decayed_weights(0.5)
    found, _ = ours.update(params, ours.init(params), params)
    expected, _ = theirs.update(params, theirs.init(params), params)
    assert found["b"] is expected["b"] is None and found["a"] == expected["a"] == 1.5


def test_what_it_will_use() -> None:
    opt = optim.add_decayed_weights(lambda n: 0.5 / (n + 1))
    _, state = opt.update(np.ones(1), opt.init(None), np.ones(1))
    assert optim.hyperparams(opt, state) == {"weight_decay": 0.25}
