"""What is told to callbacks, and what those that there are make of it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import train
from tracegrad.train import EarlyStopping, Replace, Stop

X = np.arange(1, 9, dtype=np.float64)


def step(w: Any, batch: Any) -> Any:
    return w + 1, {"loss": np.mean(batch) / (w + 1)}


def fit(callbacks: Any, **options: Any) -> Any:
    options = {"epochs": 3, "progress": False, "check": False, **options}
    state = options.pop("state", np.float64(0))
    return tg.fit(options.pop("step", step), state, tg.data.batches(X, 2), callbacks=callbacks, **options)


def test_what_a_run_is() -> None:
    told: list[Any] = []

    class All:
        def start(self, run: Any) -> None:
            told.append(("start", run.step, run.epoch, float(run.state)))

        def step(self, run: Any) -> None:
            told.append(
                ("step", run.step, run.epoch, run.steps_per_epoch, run.examples, float(run.state), run.metrics["loss"])
            )

        def epoch(self, run: Any) -> None:
            told.append(("epoch", run.step, run.epoch, run.metrics["loss"], run.history["loss"][-1]))

        def end(self, run: Any) -> None:
            told.append(("end", run.step, len(run.history)))

    fit([All()], epochs=1)
    assert told == [
        ("start", 0, 0, 0.0),
        ("step", 1, 0, 4, 2, 1.0, 1.5),
        ("step", 2, 0, 4, 4, 2.0, (1.5 + 3.5 / 2) / 2),
        ("step", 3, 0, 4, 6, 3.0, (1.5 + 3.5 / 2 + 5.5 / 3) / 3),
        ("step", 4, 0, 4, 8, 4.0, (1.5 + 3.5 / 2 + 5.5 / 3 + 7.5 / 4) / 4),
        ("epoch", 4, 0, (1.5 + 3.5 / 2 + 5.5 / 3 + 7.5 / 4) / 4, (1.5 + 3.5 / 2 + 5.5 / 3 + 7.5 / 4) / 4),
        ("end", 4, 1),
    ]  # fmt: skip


def test_what_callbacks_return() -> None:
    assert fit([lambda run: Stop("enough") if run.epoch == 1 else None]).reason == "enough"
    assert fit([lambda run: Replace(np.float64(-100))]).state == -100
    assert fit([lambda run: {"twice": 2 * run.metrics["loss"]}]).history["twice"][0] == 2 * fit([]).history["loss"][0]
    with pytest.raises(TypeError, match=r"returned str; a callback returns None, Stop\(reason\), Replace"):
        fit([lambda run: "stop"])
    with pytest.raises(TypeError, match=r"a callback is a function, or has some of .*; got 3"):
        fit([3])
    with pytest.raises(AttributeError, match=r"a run is read-only; return Stop\(reason\)"):
        fit([lambda run: setattr(run, "epoch", 3)])
    with pytest.raises(AttributeError, match="a run has no 'model'; it has metrics, state, epoch"):
        fit([lambda run: run.model])

    class StopsAtOnce:
        def start(self, run: Any) -> Stop:
            return Stop("no")

    fitted = fit([StopsAtOnce()])
    assert (fitted.reason, len(fitted.history), fitted.state) == ("no", 0, 0)


LOSSES = [5.0, 3.0, 4.0, float("nan"), 3.5, 2.0]


def falling(losses: list[float], **options: Any) -> Any:
    """A run with these validation losses, whose state is the number of the epoch."""
    stopping = EarlyStopping(**options)
    return fit(
        [stopping], step=lambda s, b: (s + (1 if b[0] == 7 else 0), {"loss": 0.0}), state=np.int64(-1), epochs=len(losses),
        evaluate=lambda s, b: {"loss": losses[s]}, validation=(X,),
    )  # fmt: skip


@pytest.mark.parametrize("patience, epochs, best", [(2, 4, 1), (3, 5, 1), (4, 6, 5)])
def test_early_stopping(patience: int, epochs: int, best: int) -> None:
    fitted = falling(LOSSES, patience=patience)
    assert len(fitted.history) == epochs
    assert fitted.best == best  # whether or not it stopped early
    assert fitted.state == epochs - 1
    if epochs < 6:
        assert fitted.reason == f"val_loss has not become better for {patience} epochs: best 3 in epoch 2"


def test_early_stopping_upwards_and_by_how_much() -> None:
    assert falling([1.0, 2.0, 1.5], mode="max").best == 1
    assert falling([3.0, 2.95, 2.0], min_delta=0.1).best == 2
    assert falling([float("inf"), 1.0]).best == 1
    assert falling([float("nan")] * 3, patience=2).best is None
    with pytest.raises(ValueError, match="mode is 'min' or 'max', got 'auto'"):
        EarlyStopping(mode="auto")
    with pytest.raises(
        KeyError, match="there is no 'val_loss' among the numbers of an epoch: epoch, step, loss, seconds"
    ):
        fit([EarlyStopping()])


def test_csv(tmp_path: Path) -> None:
    fit([train.CSV(tmp_path / "h.csv")])
    assert (tmp_path / "h.csv").read_text().splitlines()[0] == "epoch,step,loss,seconds"
    assert len((tmp_path / "h.csv").read_text().splitlines()) == 4


def test_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path)

        def add_scalar(self, *args: Any) -> None:
            written.append(args)

        def flush(self) -> None:
            written.append("flushed")

    monkeypatch.setattr("tracegrad.train.callbacks.imported", lambda name: type("M", (), {"SummaryWriter": Writer}))
    fitted = fit([train.TensorBoard(tmp_path)], epochs=1, evaluate=lambda s, b: {"loss": 1.0}, validation=(X,))
    assert ("loss/training", fitted.history["loss"][0], 4) in written
    assert ("loss/validation", 1.0, 4) in written and written[-1] == "flushed"

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("tracegrad.train.callbacks.imported", missing)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        train.TensorBoard(tmp_path)


def test_timer() -> None:
    assert fit([train.Timer(1e-9)]).reason == "the 1e-09 seconds of the timer are over"
    assert fit([train.Timer(datetime.timedelta(hours=1))]).reason == "finished"


def test_throughput() -> None:
    found = fit([train.Throughput(flops=10.0)]).history
    for a, b in zip(found["examples_per_second"], found["flops_per_second"], strict=True):
        assert a > 0 and b == pytest.approx(a * 4 * 10 / 8)


def quadratic(opt: Any) -> Any:
    loss = lambda params, batch: np.sum((params["w"] - 3) ** 2) * 0.5
    params = {"w": np.zeros(2)}
    return train.make_step(loss, opt), train.TrainState(np.int32(0), params, opt.init(params), {}, tg.random.PRNGKey(0))


def test_learning_rates() -> None:
    opt = tg.optim.scale_by_learning_rate(tg.optim.linear_schedule(1.0, 0.0, 8))
    step, state = quadratic(opt)
    fitted = fit([train.LearningRates(opt)], step=step, state=state, epochs=2)
    assert fitted.history["learning_rate"] == [0.5, 0.0]  # of the next step, after four and eight


def test_lr_finder() -> None:
    opt = tg.optim.inject_hyperparams(tg.optim.scale_by_learning_rate)(learning_rate=1.0)
    step, state = quadratic(opt)
    finder = train.LrFinder(1e-4, 100.0, steps=60)
    fitted = fit([finder], step=step, state=state, epochs=100)
    assert fitted.reason.endswith("learning rates were tried")
    assert finder.rates[0] == pytest.approx(1e-4) and len(finder.losses) == len(finder.rates) < 60
    assert 0.01 < finder.suggestion() < 1.0
    step, state = quadratic(tg.optim.scale(-0.1))
    with pytest.raises(
        TypeError, match=r"no learning rate in the optimiser's state; write tg.optim.inject_hyperparams"
    ):
        fit([finder], step=step, state=state)
