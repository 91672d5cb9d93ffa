"""Parameters that do not learn, and data that are not numbers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import train
from tracegrad.train import checks

X = np.arange(6.0).reshape(3, 2)
OPT = tg.optim.scale(-0.1)


def begun(params: Any) -> Any:
    return train.TrainState(np.int32(0), params, OPT.init(params), {}, tg.random.PRNGKey(0))


def warned(loss: Any, params: Any, wrap: Any = lambda f: f, opt: Any = OPT) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        tg.fit(wrap(train.make_step(loss, opt)), begun(params), [X], epochs=1, progress=False)
    assert {x.category for x in found} <= {train.TrainingWarning}
    assert all(x.filename == __file__ for x in found)
    return [str(x.message) for x in found]


def test_all_is_well() -> None:
    assert warned(lambda p, b: np.sum(b @ p["w"]), {"w": np.ones(2)}) == []
    assert warned(lambda p, b: np.sum(b @ p["w"]), {"w": np.ones(2)}, opt=tg.optim.scale(0.0)) == []  # a warm-up


@pytest.mark.parametrize("wrap", [lambda f: f, tg.jit])
def test_a_parameter_that_does_not_learn(wrap: Any) -> None:
    def loss(params: Any, batch: Any) -> Any:
        return np.sum(batch @ params["w"]) + np.argmax(params["v"])

    line = loss.__code__.co_firstlineno + 1
    assert warned(loss, {"w": np.ones(2), "v": np.ones(2), "u": np.ones(2)}, wrap) == [
        "fit: params['u'] gets no gradient: it is not used",
        f"fit: params['v'] gets no gradient: cut by argmax at test_checks.py:{line}",
    ]


def test_a_parameter_whose_gradient_is_zero_by_its_numbers() -> None:
    """Is told of where others have changed: a dead unit looks like that."""
    assert warned(lambda p, b: np.sum(b @ p["w"]) + 0 * np.sum(p["v"]), {"w": np.ones(2), "v": np.ones(2)}) == [
        "fit: params['v'] did not change in the first step"
    ]


@pytest.mark.parametrize("wrap", [lambda f: f, tg.jit])
def test_what_a_parameter_that_begins_at_zero_multiplies(wrap: Any) -> None:
    """Learns from the second step on, as the first factor of LoRA does."""
    assert warned(lambda p, b: np.sum(b @ p["w"] * p["scale"]), {"w": np.ones(2), "scale": np.zeros(())}, wrap) == []
    dead = lambda p, b: np.sum(b @ p["w"] * p["scale"] + tg.nn.relu(b @ p["v"] - 9))
    assert warned(dead, {"w": np.ones(2), "scale": np.zeros(()), "v": np.zeros(2)}, wrap) == [
        "fit: params['v'] did not change in the first step"
    ]


def test_not_finite_after_the_first_step() -> None:
    step = train.make_step(lambda p, b: np.sum(np.log(p["w"] - 1)), OPT)
    run = lambda: tg.fit(step, begun({"w": np.ones(2)}), [X], epochs=1, progress=False, on_nan="ignore")
    with np.errstate(all="ignore"), pytest.warns(train.TrainingWarning, match=r"params\['w'\] is not finite after"):
        run()


def test_steps_of_ones_own() -> None:
    def step(state: Any, batch: Any) -> Any:
        return {"params": {"a": state["params"]["a"] + 1, "b": state["params"]["b"]}}, {"loss": 0.0}

    with pytest.warns(train.TrainingWarning, match=r"params\['b'\] did not change in the first step"):
        tg.fit(step, {"params": {"a": np.ones(2), "b": np.ones(2)}}, [X], epochs=1, progress=False)


def test_not_finite() -> None:
    assert checks.not_finite({"a": np.ones(2), "n": np.array(3), "b": [np.array([1.0, -np.inf])]})[0] == "['b'][0]"  # type: ignore[index]
    assert checks.not_finite({"a": np.ones(2)}) is None
    assert checks.where_not_finite({"x": np.array([[1.0, np.inf], [np.nan, 0]])}) == (
        "the data are: batch['x'] is inf at [0, 1], one of 2"
    )
    assert checks.where_not_finite(np.float32("nan")) == "the data are: batch is nan at []"
    assert checks.where_not_finite(np.ones(2)) is None
    assert checks.batch_types((X, {"y": np.int32(1)})) == "[0]: f64[3,2], [1]['y']: i32[]"
