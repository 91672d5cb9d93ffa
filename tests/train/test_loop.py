"""The loop against the same by hand, bit for bit: interrupted, killed, resumed, and with something wrong in it."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests import ROOT
from tests.compare import near, same_bits
from tracegrad import nn, train, tree
from tracegrad.core.errors import ShapeError
from tracegrad.metrics import Last, Ratio, Running, Sum

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)
NET = nn.serial(nn.Dense(6), nn.relu, nn.Dense(3))
OPT = tg.optim.chain(tg.optim.trace(0.9), tg.optim.scale(-0.1))
BATCHES = tg.data.batches((X, Y), 8, key=3, drop_last=False)


def loss(params: Any, batch: Any, *, key: Any, train: bool) -> Any:
    x, y = batch
    noise = tg.random.bits(key, x.shape, np.uint32).astype(np.float32) * np.float32(2**-34) if train else 0
    logits = NET(params, x + noise)
    right = tg.metrics.accuracy(logits, y)
    return np.mean(nn.softmax_cross_entropy_with_integer_labels(logits, y)), {
        "accuracy": right,
        "n": Sum(right * 0 + 1),
    }


STEP, EVALUATE = train.make_step(loss, OPT), train.make_evaluate(loss)
JITTED = tg.jit(STEP), tg.jit(EVALUATE)


def begun() -> Any:
    return train.start(NET, OPT, 0, X)


def fit(step: Any = JITTED[0], state: Any = None, batches: Any = BATCHES, **options: Any) -> Any:
    options = {"epochs": 3, "progress": False, "check": False, **options}
    return tg.fit(step, begun() if state is None else state, batches, **options)


def without_time(rows: Any) -> Any:
    return [{name: x for name, x in row.items() if name != "seconds"} for row in rows]


def same_runs(found: Any, expected: Any) -> None:
    same_bits(tree.map(np.asarray, found.state), tree.map(np.asarray, expected.state))
    assert without_time(found.history) == without_time(expected.history)


@pytest.mark.parametrize("wrap", [lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")], ids=["eager", "jit", "xla"])
def test_it_is_the_loop_by_hand(wrap: Any) -> None:
    step, evaluate = wrap(STEP), wrap(EVALUATE)
    state, rows = begun(), []
    for epoch in range(3):
        found, weights = [], []
        for batch in BATCHES(epoch):
            state, metrics = step(state, batch)
            found.append(metrics)
            weights.append(len(batch[0]))
        validated = tg.metrics.mean([evaluate(state, (X, Y))], [50])
        means = tg.metrics.mean(found, weights)
        rows.append({"epoch": epoch, "step": 7 * (epoch + 1), **means, **{f"val_{k}": v for k, v in validated.items()}})
    fitted = fit(step, evaluate=evaluate, validation=(X, Y))
    same_bits(tree.map(np.asarray, fitted.state), tree.map(np.asarray, state))
    assert without_time(fitted.history) == rows
    assert fitted.reason == "finished" and fitted.best is None and rows[0]["n"] == 7


def test_it_learns() -> None:
    history = fit(epochs=30).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]


def test_validation_may_be_batches_and_rarer() -> None:
    whole = fit(evaluate=JITTED[1], validation=(X, Y))
    parts = fit(evaluate=JITTED[1], validation=tg.data.batches((X, Y), 8, drop_last=False), every=2)
    assert ["val_loss" in row for row in parts.history] == [False, True, True]
    near(parts.history["val_loss"][-1], whole.history["val_loss"][-1], 1e-6)
    near(fit(evaluate=JITTED[1], validation=[(X, Y)]).history["val_loss"], whole.history["val_loss"], 1e-6)


def test_kinds_of_metrics() -> None:
    def step(state: Any, batch: Any) -> Any:
        return state, {
            "loss": batch[0],
            "ratio": Ratio(np.sum(batch), batch.size),
            "last": Last(batch[0]),
            "m": Sum(np.eye(2)),
        }

    (row,) = fit(step, np.zeros(()), [np.array([1.0, 1.0, 1.0]), np.array([5.0])], epochs=1).history
    assert (row["loss"], row["ratio"], row["last"], row["m"].tolist()) == (2.0, 2.0, 5.0, [[2, 0], [0, 2]])


def test_what_batches_may_be() -> None:
    step = lambda state, batch: (state + batch, {"loss": batch})
    assert fit(step, 0, [1, 2, 3], epochs=2).state == 12
    assert fit(step, 0, iter([1, 2, 3]), epochs=None).state == 6
    assert fit(step, 0, lambda epoch: [epoch, 1], epochs=3).state == 6
    assert fit(step, 0, [1, 2, 3], epochs=None, steps=5).state == 9
    endless = iter(lambda: 1, None)
    assert fit(step, 0, endless, epochs=None, steps=5).state == 5

    class Foreign:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array([3.0])

    assert fit(lambda s, b: (s + b["x"], {"loss": 0.0}), np.zeros(1), [{"x": Foreign()}], epochs=1).state == 3
    with pytest.raises(TypeError, match="a batch is a tree of arrays of numbers, and a leaf of it is str"):
        fit(step, 0, [{"x": "text"}])


def test_no_global_is_changed() -> None:
    def globals_now() -> Any:
        return (
            np.random.get_state()[1].tolist(), random.getstate(), np.geterr(), np.get_printoptions(), dict(os.environ),
            signal.getsignal(signal.SIGINT), list(logging.getLogger().handlers), threading.active_count(),
        )  # fmt: skip

    fit()
    before = globals_now()
    fit(batches=tg.data.prefetch(BATCHES))
    assert globals_now() == before


def test_a_thread_that_reads_ahead_ends_with_training() -> None:
    fitted = fit(batches=tg.data.prefetch(BATCHES), steps=9)
    same_runs(fitted, fit(steps=9))
    assert not [thread for thread in threading.enumerate() if thread.name == "tracegrad-prefetch"]


def test_it_waits_for_the_device_at_most_ten_times_a_second(monkeypatch: pytest.MonkeyPatch, jax: Any) -> None:
    moment, waits = 0.0, []
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    step = tg.jit(STEP, backend="xla")
    add = Running.add

    def counted(running: Any, metrics: Any, weight: float) -> None:
        waits.append(moment)
        add(running, metrics, weight)

    monkeypatch.setattr(Running, "add", counted)

    class Clock:
        def step(self, run: Any) -> None:
            nonlocal moment
            moment += 0.03

    fit(step, epochs=20, callbacks=[Clock()])
    looks = sorted({*waits})
    # Between the ends of epochs, which come every 0.21 s here, there is one look.
    assert len(waits) == 140 and len(looks) <= 40
    assert moment == pytest.approx(4.2)


# -- Going on


@pytest.mark.parametrize("stop", [1, 6, 7, 8, 14, 20])
def test_resumed_is_as_if_uninterrupted(stop: int, tmp_path: Path) -> None:
    options = {"evaluate": JITTED[1], "validation": (X, Y)}
    stopping = [train.EarlyStopping(patience=9)]
    whole = fit(callbacks=stopping, **options)
    first = fit(callbacks=[train.EarlyStopping(patience=9)], checkpoints=tmp_path, steps=stop, **options)
    assert first.state.step == stop
    again = fit(callbacks=[train.EarlyStopping(patience=9)], checkpoints=str(tmp_path), **options)
    same_runs(again, whole)
    same_bits(again.best, whole.best)
    assert [row["seconds"] for row in again.history] == sorted([row["seconds"] for row in again.history])
    finished = fit(callbacks=[train.EarlyStopping(patience=9)], checkpoints=tmp_path, **options)
    same_runs(finished, whole)
    same_bits(finished.best, whole.best)
    longer = fit(callbacks=[train.EarlyStopping(patience=9)], checkpoints=tmp_path, **{**options, "epochs": 4})
    same_runs(longer, fit(epochs=4, **options))


def test_resumed_on_xla(jax: Any, tmp_path: Path) -> None:
    step = tg.jit(STEP, backend="xla")
    state = jax.tree.map(jax.numpy.asarray, begun())
    whole = fit(step, state)
    fit(step, state, checkpoints=tmp_path, steps=10)
    same_runs(fit(step, state, checkpoints=tmp_path), whole)
    assert all(isinstance(x, jax.Array) for x in tree.leaves(fit(step, state, checkpoints=tmp_path).state))


def test_checkpoints_come_as_often_as_they_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tg.io.Checkpoints(tmp_path, keep=None, every=5)
    fit(checkpoints=kept)
    assert kept.steps() == [5, 10, 15, 20, 21]
    fit(checkpoints=kept, progress="lines")  # has nothing left to do
    assert capsys.readouterr().out == f"going on from step 21, in epoch 4, of {kept.latest().path}\n"
    kept = tg.io.Checkpoints(tmp_path / "b", keep=None, every="2 epochs", background=True)
    fit(checkpoints=kept)
    assert kept.steps() == [14, 21]
    found = kept.latest()
    same_bits(found.load(like=begun()), fit().state)
    assert found.metrics["loss"] == fit().history["loss"][-1]


def test_iterators_are_gone_on_with_too(tmp_path: Path) -> None:
    batches = [b for epoch in range(3) for b in BATCHES(epoch)]
    whole = fit(batches=iter(batches), epochs=1)
    fit(batches=iter(batches), epochs=1, steps=10, checkpoints=tmp_path)
    same_runs(fit(batches=iter(batches), epochs=1, checkpoints=tmp_path), whole)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """That of the keyboard is heard: a process in the background of a shell may have been told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_interrupted_by_the_keyboard(tmp_path: Path) -> None:
    class Interrupt:
        def step(self, run: Any) -> None:
            if run.step == 10:
                signal.raise_signal(signal.SIGINT)

    fitted = fit(callbacks=[Interrupt()], checkpoints=tmp_path)
    assert fitted.reason == "interrupted" and len(fitted.history) == 1
    assert fitted.state.step == 9  # the tenth was not done with
    same_runs(fit(checkpoints=tmp_path), fit())


def test_interrupted_anywhere(tmp_path: Path) -> None:
    """At every so-manieth place where Python may handle a signal: what is resumed gives what it would have given."""
    options = {"evaluate": JITTED[1], "validation": (X, Y), "epochs": 2}
    make = lambda: [train.EarlyStopping(patience=9), lambda run: {"twice": 2 * run.metrics["loss"]}]
    whole = fit(callbacks=make(), **options)
    number, hit, reasons = 1, True, set()
    while hit:
        folder, reached, hit = tmp_path / str(number), 0, False

        def profile(frame: Any, event: str, _: Any, number: int = number) -> None:
            nonlocal reached, hit
            if event in ("call", "c_return"):
                reached += 1
                if reached == number:
                    sys.setprofile(None)
                    hit = True
                    raise KeyboardInterrupt

        try:
            sys.setprofile(profile)
            reasons.add(fit(callbacks=make(), checkpoints=folder, **options).reason)
        except KeyboardInterrupt:
            reasons.add("raised")
        finally:
            sys.setprofile(None)
        again = fit(callbacks=make(), checkpoints=folder, **options)
        same_runs(again, whole)
        same_bits(again.best, whole.best)
        number += 301
    assert number > 20_000 and "interrupted" in reasons


# Runs, each in a process forked off, and kills those for which there is a time.
KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.train.test_loop import *
JITTED[0](begun(), next(iter(BATCHES)))
print("ready", flush=True)
for line in sys.stdin:
    folder, after = line.split()
    if not (child := os.fork()):
        every = "epoch" if after == "never" else 1
        state = fit(checkpoints=tg.io.Checkpoints(folder, every=every), epochs=40).state
        Path(folder, "done").write_text(text_of(state))
        os._exit(0)
    if after != "never":
        time.sleep(float(after))
        os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def text_of(state: Any) -> str:
    return " ".join([np.asarray(x).tobytes().hex() for x in tree.leaves(state)])


class Runs:
    """Runs in processes of their own."""

    def __init__(self) -> None:
        args = [sys.executable, "-W", "error::UserWarning", "-c", KILLED, str(ROOT)]
        self.ready = False
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def run(self, folder: Path, after: Any = "never") -> str | None:
        """The bits of the state in which a run ends; None if it was killed before."""
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        if not self.ready:
            assert process.stdout.readline() == "ready\n"
            self.ready = True
        process.stdin.write(f"{folder} {after}\n")
        process.stdin.flush()
        assert (
            int(process.stdout.readline()) == (0 if after == "never" else signal.SIGKILL) or (folder / "done").exists()
        )
        return (folder / "done").read_text() if (folder / "done").exists() else None

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def killed_often(folder: Path, times: int) -> None:
    """A run that is killed again and again gives in the end what it would have given."""
    expected, draw, attempt, kills, latest = text_of(fit(epochs=40).state), random.Random(0), 0, 0, 0
    with Runs() as runs:
        while kills < times:
            here = folder / str(attempt)
            found = runs.run(here, draw.uniform(0.0, 0.15))
            if found is not None:
                assert found == expected
                attempt, latest = attempt + 1, 0
                continue
            kills += 1
            if kept := tg.io.Checkpoints(here).latest():  # a torn one would warn, and a warning is an error
                assert kept.step >= latest
                latest = kept.step
        assert runs.run(folder / str(attempt)) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_killed(tmp_path: Path) -> None:
    killed_often(tmp_path, 10)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_killed_a_hundred_times(tmp_path: Path) -> None:
    killed_often(tmp_path, 100)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_the_same_bits_in_other_processes(tmp_path: Path) -> None:
    with Runs() as one, Runs() as other:
        assert one.run(tmp_path / "1") == other.run(tmp_path / "2") == text_of(fit(epochs=40).state)


# -- What goes wrong


def test_a_batch_of_the_wrong_shape(tmp_path: Path) -> None:
    bad = [*BATCHES(0)][:3] + [(X[:8, :3], Y[:8])]
    with pytest.raises(ValueError, match=r"kernel") as caught:
        fit(batches=bad, checkpoints=tmp_path)
    (note,) = [note for note in caught.value.__notes__ if note.startswith("fit: ")]
    assert "in epoch 1, after 3 batches of it and 3 steps in all" in note
    assert "the batch is [0]: f32[8,3], [1]: i64[8], and the first one was [0]: f32[8,4], [1]: i64[8]" in note
    assert f"the last checkpoint, of step 3, is in {tmp_path}" in note
    expected = fit(batches=bad[:3], epochs=1)
    same_bits(caught.value.fitted.state, expected.state)  # type: ignore[attr-defined]
    same_bits(tg.io.Checkpoints(tmp_path).latest().load(like=begun()), expected.state)


def test_batches_that_fail(tmp_path: Path) -> None:
    def failing(epoch: int) -> Any:
        yield from [*BATCHES(epoch)][:4]
        raise ConnectionError("the disk is gone")

    with pytest.raises(ConnectionError, match="the disk is gone") as caught:
        fit(batches=failing, checkpoints=tmp_path)
    assert "after 4 batches" in caught.value.__notes__[-1] and "the batch is" not in caught.value.__notes__[-1]
    same_runs(fit(checkpoints=tmp_path), fit())


def test_a_key_that_is_missing_and_a_parameter_too_many() -> None:
    net = nn.serial(nn.Dense(3), nn.layer(lambda p, x: x * p.key()[0] if p.train else x))
    step = train.make_step(lambda params, batch, *, train: np.mean(net(params, batch[0], train=train)), OPT)
    with pytest.raises(ValueError, match="pass key="):
        fit(step, train.start(net, OPT, 0, X))
    surplus = {**begun().params, "Dense_7": {"bias": np.ones(2, np.float32)}}
    with pytest.raises(ValueError, match=r"params has 'Dense_7.bias', which nothing asked for"):
        NET.check(surplus, X)
    with pytest.warns(train.TrainingWarning, match=r"params\['Dense_7'\]\['bias'\] "):
        fit(state=begun()._replace(params=surplus, opt_state=OPT.init(surplus)), check=True, epochs=1)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(checkpoints=tmp_path, epochs=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            fit(checkpoints=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert "the state could not be saved: " in caught.value.__notes__[-1]
    assert caught.value.fitted.state.step == 14  # type: ignore[attr-defined]
    same_runs(fit(checkpoints=tmp_path), fit())


def test_a_save_that_is_interrupted_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, 0

    def interrupted(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        replace(*args)

    monkeypatch.setattr(os, "replace", interrupted)
    fitted = fit(checkpoints=tmp_path)
    assert fitted.reason == "interrupted" and calls == 3
    assert tg.io.Checkpoints(tmp_path).latest().step == fitted.state.step == 14
    same_runs(fit(checkpoints=tmp_path), fit())


def test_a_checkpoint_of_another_net_is_refused(tmp_path: Path) -> None:
    fit(checkpoints=tmp_path, epochs=1)
    other = nn.serial(nn.Dense(7), nn.relu, nn.Dense(3))
    with pytest.raises(ValueError, match=r"Dense_0\.kernel"):
        fit(state=train.start(other, OPT, 0, X), checkpoints=tmp_path)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_nan_in_the_data(backend: str, tmp_path: Path) -> None:
    x = X.copy()
    x[17, 2] = np.nan
    step = tg.jit(STEP, backend=backend)  # type: ignore[call-overload]
    with pytest.raises(
        train.NanError, match=r"the loss is nan at step 3, in epoch 1; the data are: batch\[0\] is nan at \[1, 2\]"
    ) as caught:
        fit(step, batches=tg.data.batches((x, Y), 8), checkpoints=tmp_path)
    error = caught.value
    assert np.isnan(error.batch[0][1, 2])
    assert error.explanation.first.phase == "argument" and error.explanation.first.name == "batch[0]"
    expected = fit(step, batches=tg.data.batches((X, Y), 8), steps=2)
    same_bits(tree.map(np.asarray, error.state), tree.map(np.asarray, expected.state))
    same_bits(tree.map(np.asarray, error.fitted.state), tree.map(np.asarray, expected.state))
    found = tg.io.Checkpoints(tmp_path).latest()
    assert found is None or found.step <= 2
    with pytest.raises(train.NanError, match="the loss is nan at step 3"):
        fit(step, batches=tg.data.batches((x, Y), 8), on_nan="raise")
    assert np.isnan(fit(step, batches=tg.data.batches((x, Y), 8), on_nan="ignore").history["loss"]).all()


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_nan_that_a_derivative_makes(backend: str, tmp_path: Path) -> None:
    """The loss of that step is finite, and the next one's is not: the step of the derivative is named."""

    def loss(w: Any, batch: Any) -> Any:
        return np.sqrt(np.sum((w - batch) ** 2))

    def step(w: Any, batch: Any) -> Any:
        value, g = tg.value_and_grad(loss)(w, batch)
        return w - 0.0 * g, {"loss": value}

    batches = [np.ones(2), np.ones(2) * 2, np.zeros(2), np.ones(2)]
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            train.NanError, match="the loss is nan at step 4, in epoch 1; the state is not finite from step 3 on"
        ) as caught,
    ):
        fit(tg.jit(step, backend=backend), np.zeros(2), batches, epochs=1)  # type: ignore[call-overload]
    assert not caught.value.batch.any() and np.isfinite(np.asarray(caught.value.state)).all()
    first = caught.value.explanation.first
    assert (first.phase, first.of, first.source.line) == ("backward", "sqrt", loss.__code__.co_firstlineno + 1)
    assert "the slope of sqrt at 0 is infinite" in str(caught.value)
    # As a checkpoint, what is not finite is not written.
    kept = tg.io.Checkpoints(tmp_path, every=1)
    with np.errstate(all="ignore"), pytest.raises(train.NanError, match=r"the state is not finite .* at step 3"):
        fit(step, np.zeros(2), batches, epochs=1, checkpoints=kept)
    assert kept.latest().step == 2


def test_steps_that_are_given_their_state_away(jax: Any, tmp_path: Path) -> None:
    step = tg.jit(STEP, backend="xla", donate_argnums=0)
    assert step.donates and not JITTED[0].donates
    start = lambda: jax.tree.map(jax.numpy.array, begun())
    options = {"evaluate": JITTED[1], "validation": (X, Y), "check": True}
    fitted = fit(step, start(), callbacks=[train.EarlyStopping()], checkpoints=tmp_path, **options)
    whole = fit(tg.jit(STEP, backend="xla"), start(), callbacks=[train.EarlyStopping()], **options)
    same_runs(fitted, whole)
    same_bits(tree.map(np.asarray, fitted.best), tree.map(np.asarray, whole.best))
    x = X.copy()
    x[17, 2] = np.nan
    with pytest.raises(train.NanError, match=r"the loss is nan at step .*; the state before that was donated"):
        fit(step, start(), tg.data.batches((x, Y), 8))


# Small arrays are not written over, which would save nothing.
WIDE = nn.serial(nn.Dense(512), nn.relu, nn.Dense(3))


def wide_loss(params: Any, batch: Any) -> Any:
    return np.mean(nn.softmax_cross_entropy_with_integer_labels(WIDE(params, batch[0]), batch[1]))


PLAIN = tg.jit(train.make_step(wide_loss, OPT))
DONATING = tg.jit(train.make_step(wide_loss, OPT), donate_argnums=0)


def begun_wide() -> Any:
    return train.start(WIDE, OPT, 0, X)


@pytest.mark.parametrize("step", [DONATING, lambda state, batch: DONATING(state, batch)], ids=["jitted", "wrapped"])
def test_what_is_kept_of_steps_that_write_over_their_state(step: Any) -> None:
    """NumPy's arrays tell nobody that they were given away, nor does a function around a jitted one."""
    seen: list[Any] = []

    class Keeps:
        def start(self, run: Any) -> None:
            self.first = run.state

        def epoch(self, run: Any) -> Any:
            seen.append(run.state)
            return train.Replace(seen[0]) if run.epoch == 1 else None

    def fitted(step: Any) -> tuple[Any, Any, list[Any], Any]:
        seen.clear()
        state, keeps = begun_wide(), Keeps()
        stopping = train.EarlyStopping("loss", mode="max", patience=9)
        found = fit(step, state, callbacks=[keeps, stopping], check=True)
        return found, state, [keeps.first, *seen], found.best

    with warnings.catch_warnings():
        warnings.simplefilter("error", train.TrainingWarning)
        found, expected = fitted(step), fitted(PLAIN)
    same_runs(found[0], expected[0])
    same_bits(found[1:], expected[1:])


def test_a_state_that_is_written_over_in_part_is_not_handed_back(tmp_path: Path) -> None:
    """Stopped at so-manieth places, in the middle of a step that writes over its state too."""
    by_hand, state = {0: begun_wide()}, begun_wide()
    for batch in BATCHES(0):
        state, _ = PLAIN(state, batch)
        by_hand[int(state.step)] = state
    number, hit, lost = 1, True, 0
    generated = lambda frame: frame.f_code.co_filename.startswith("<tracegrad")
    while hit:
        folder, reached, hit = tmp_path / str(number), 0, False

        def trace(frame: Any, event: str, _: Any, number: int = number) -> Any:
            nonlocal reached, hit
            reached += event == "line"
            if reached == number:
                sys.settrace(None)
                hit = True
                raise KeyboardInterrupt
            return trace if generated(frame) else None

        found, before = None, sys.gettrace()
        try:
            sys.settrace(trace)
            found = fit(DONATING, begun_wide(), checkpoints=tg.io.Checkpoints(folder, every=2), steps=3)
        except KeyboardInterrupt as error:
            found = getattr(error, "fitted", None)
        finally:
            sys.settrace(before)
        if found is not None and found.state is not None:
            same_bits(found.state, by_hand[int(found.state.step)])
        lost += found is not None and found.state is None
        if (saved := tg.io.Checkpoints(folder).latest()) is not None:
            same_bits(saved.load(like=state), by_hand[saved.step])
        number += 3
    assert lost


def test_a_batch_that_a_donating_step_refuses_loses_nothing(tmp_path: Path) -> None:
    batches = [(X[:8], Y[:8])] * 3 + [(X[:8, :2], Y[:8])]
    with pytest.raises(ShapeError) as caught:
        fit(DONATING, begun_wide(), batches=batches, checkpoints=tmp_path)
    assert caught.value.fitted.state.step == tg.io.Checkpoints(tmp_path).latest().step == 3

    def step(state: Any, batch: Any) -> Any:
        state, metrics = DONATING(state, batch)
        if state.step == 3:
            raise RuntimeError("of the user's")
        return state, metrics

    with pytest.raises(RuntimeError) as other:
        fit(step, begun_wide(), batches=batches, checkpoints=tmp_path / "other")
    assert other.value.fitted.state is None and tg.io.Checkpoints(tmp_path / "other").latest() is None
    assert "may have written over a part of it" in other.value.__notes__[0]
