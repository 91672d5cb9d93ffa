"""What `fit` takes, and what it says of what does not fit together."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits

X = np.arange(12.0)


def step(w: Any, batch: Any) -> Any:
    return 0.9 * w + np.sum(batch), {"loss": w}


def fit(step: Any = step, state: Any = 0.0, batches: Any = None, **options: Any) -> Any:
    batches = tg.data.batches(X, 4, key=3) if batches is None else batches
    return tg.fit(step, state, batches, **{"epochs": 2, "progress": False, "check": False, **options})


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match=r"fit at .*test_fitting.py.*: say how long to train: epochs= or steps="):
        fit(epochs=None)
    with pytest.raises(TypeError, match="batches is an iterator, which is used up after one epoch, and epochs=2"):
        fit(batches=iter([X]))
    with pytest.raises(TypeError, match=r"evaluate= and validation= go together; write evaluate=tg.jit"):
        fit(validation=(X,))
    with pytest.raises(ValueError, match="on_nan is 'explain', 'raise' or 'ignore', got 'stop'"):
        fit(on_nan="stop")
    with pytest.raises(ValueError, match="batches gave no batch in epoch 1"):
        fit(batches=lambda epoch: [])
    with pytest.raises(ValueError, match="validation gave no batch"):
        fit(evaluate=lambda state, batch: {}, validation=[])
    with pytest.raises(TypeError, match=r"callbacks is a list of them, got CSV; write callbacks=\[\.\.\.\] around it"):
        fit(callbacks=tg.train.CSV("history.csv"))
    for data in ((X, X), {"x": X}, X):
        with pytest.raises(
            TypeError, match=rf"batches is a {type(data).__name__} of data, and not of batches; write tg\.data"
        ):
            fit(batches=data)
    with pytest.raises(TypeError, match=r"step must return \(state, metrics\) with metrics a dict, got \(int, float\)"):
        fit(lambda state, batch: (1, 2.0))
    with pytest.raises(TypeError, match=r"step must return .*, got ndarray"):
        fit(lambda state, batch: batch)


def test_seed_orders_batches_that_have_no_key() -> None:
    plain = tg.data.batches(X, 4)
    same_bits(fit(batches=plain, seed=3).state, fit().state)
    assert fit(batches=plain).state != fit().state
    with pytest.raises(TypeError, match=r"seed= is the key of tg.data.batches\(...\) that has none"):
        fit(seed=3)
    with pytest.raises(TypeError, match=r"seed= is the key"):
        fit(batches=[X], seed=3)


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    state = tg.train.TrainState(0, {"w": np.ones((2, 3)), "b": [np.ones(2, np.float32)]}, (), {}, 0)
    fit(lambda state, batch: (state, {"loss": 1.0}), state, epochs=1, summary=True, progress="lines")
    out = capsys.readouterr().out.splitlines()
    assert [line.split() for line in out[:3]] == [["b.0", "f32[2]", "2"], ["w", "f64[2,3]", "6"], ["in", "all", "8"]]
    assert out[3].startswith("epoch 1/1  3/3  loss 1.000  ") and "examples/s" in out[3] and "\r" not in out[3]
    fit(epochs=1, summary="my net", progress="lines")
    assert capsys.readouterr().out.startswith("my net\n")
    pytest.importorskip("rich")
    fit(epochs=1, summary="my net", progress="terminal")
    assert "my net\nepoch 1/1  3/3  loss " in capsys.readouterr().out


def test_the_loop_in_its_docstring() -> None:
    """By hand and by `fit`, the same bits. (tests/train/test_loop.py does so with nets, on each backend.)"""
    batches, state, history = tg.data.batches((X, X), 5, key=1, drop_last=False), np.float64(0), []
    step = lambda w, batch: (0.9 * w + np.sum(batch[0]), {"loss": w})
    validate = lambda state: {"val_loss": float(state)}
    for epoch in range(3):
        weights, found = [], []
        for batch in batches(epoch):
            state, metrics = step(state, batch)
            found.append(metrics)
            weights.append(len(batch[0]))
        history.append({"epoch": epoch, **tg.metrics.mean(found, weights), **validate(state)})
    fitted = fit(step, batches=batches, epochs=3, evaluate=lambda s, b: {"loss": s}, validation=(X,))
    same_bits(fitted.state, state)
    assert [{name: row[name] for name in ("epoch", "loss", "val_loss")} for row in fitted.history] == history
    assert tg.fit is tg.train.fit


def test_tracebacks_end_at_the_users_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEGRAD_TRACEBACKS")

    def wrong(state: Any, batch: Any) -> Any:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        fit(wrong)
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)] == [
        "test_tracebacks_end_at_the_users_lines",
        "fit",  # above
        "wrong",
    ]


@pytest.mark.parametrize(
    "call, text",
    [
        (
            lambda step, state: fit(None, state, [1.0]),
            r"the first argument is the step, .* got NoneType; write tg\.fit\(step",
        ),
        (
            lambda step, state: tg.fit(step, state, None, epochs=1),
            r"batches is an iterable, or a function of the epoch, got NoneType",
        ),
        (lambda step, state: fit(step, state, [1.0], epochs="3"), "epochs is a whole number from 0 on, got '3'"),
        (lambda step, state: fit(step, state, [1.0], epochs=1.5), "epochs is a whole number from 0 on, got 1.5"),
        (lambda step, state: fit(step, state, [1.0], every=0), "every is a whole number from 1 on, got 0"),
        (
            lambda step, state: fit(step, state, [1.0], callbacks=[tg.train.CSV]),
            "callbacks are made, .* got the class CSV",
        ),
        (
            lambda step, state: fit(step, state, [1.0], checkpoints=5),
            "checkpoints is a folder or a tg.io.Checkpoints, got int",
        ),
    ],
)
def test_errors_of_arguments_of_the_wrong_kind(call: Any, text: str) -> None:
    with pytest.raises(TypeError, match=r"fit at .*test_fitting.py:\d+ .*: " + text):
        call(lambda state, batch: (state, {"loss": 0.0}), np.zeros(1))


def test_a_batch_without_examples_is_named() -> None:
    with pytest.raises(ValueError, match=r"batch 2 of epoch 1 has no examples, f64\[0,2\]"):
        fit(lambda state, batch: (state, {"loss": np.mean(batch)}), np.zeros(1), [np.ones((2, 2)), np.ones((0, 2))])
