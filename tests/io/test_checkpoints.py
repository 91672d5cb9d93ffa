"""Checkpoints of a training run: kept, restored, skipped where they are torn, and whole whenever the process is killed."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.io import Checkpoints, CheckpointWarning, CorruptFileError, MismatchError
from tracegrad.io.trees import write_tree


class State(NamedTuple):
    step: Any
    params: Any


def state(step: int) -> State:
    return State(np.int32(step), {"w": np.full(4, float(step)), "b": np.zeros(0)})


def spoil(path: Path) -> None:
    """Change a byte of the last tensor."""
    content = bytearray(path.read_bytes())
    content[-1 if path.suffix == ".safetensors" else content.index(np.full(4, 3.0).tobytes()) + 1] ^= 1
    path.write_bytes(content)


def test_saved_and_restored(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "runs/a")
    assert checkpoints.latest() is None and checkpoints.restore() is None and checkpoints.steps() == []
    history = [{"epoch": 0, "loss": 0.5, "note": None}, {"epoch": 1, "loss": float("nan")}]
    extra = {
        "epoch": 2,
        "place": 7,
        "history": history,
        "callbacks": {"stop": {"best": np.float32(0.25), "params": np.ones(2)}},
    }
    path = checkpoints.save(1840, state(1840), extra)
    assert path == tmp_path / "runs/a/step_00001840.safetensors" and os.listdir(path.parent) == [path.name]
    found = Checkpoints(tmp_path / "runs/a").latest()
    assert found is not None and (found.step, found.path) == (1840, path)
    restored = found.load(like=state(0))
    assert type(restored) is State and type(restored.step) is np.int32 and restored.step == 1840
    np.testing.assert_array_equal(restored.params["w"], np.full(4, 1840.0))
    assert str(found.extra["history"]) == str(history) and found.extra["epoch"] == 2 and found.extra["place"] == 7
    assert found.extra["callbacks"]["stop"]["best"] == np.float32(0.25)
    assert found.versions["tracegrad"] == tg.__version__ and found.versions["numpy"] == np.__version__
    again = checkpoints.restore(like=state(0))
    assert again is not None and again.step == 1840 and again.extra["epoch"] == 2 and type(again.state) is State
    assert found.load()["params"]["w"].shape == (4,)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("background", [False, True])
def test_the_latest_are_kept(tmp_path: Path, suffix: str, background: bool) -> None:
    (tmp_path / "mine.txt").touch()
    checkpoints = Checkpoints(tmp_path, keep=2, background=background, suffix=suffix)
    for step in (1, 2, 10, 100):
        checkpoints.save(step, state(step))
    checkpoints.wait()
    assert sorted(os.listdir(tmp_path)) == ["mine.txt", f"step_00000010{suffix}", f"step_00000100{suffix}"]
    every = Checkpoints(tmp_path, keep=None, suffix=suffix)
    every.save(3, state(3))
    every.save(100, state(101))  # in the place of that which was there
    assert every.steps() == [3, 10, 100]
    found = every.latest()
    assert found is not None and found.load()["step"] == 101


def test_a_checkpoint_before_the_latest_is_not_removed_as_it_is_written(tmp_path: Path) -> None:
    """As after going back from a torn one."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    spoil(checkpoints.save(30, state(30)))
    checkpoints.save(20, state(20))
    with pytest.warns(CheckpointWarning, match="step_00000030"):
        found = checkpoints.latest()
    assert found is not None and found.step == 20


@pytest.mark.parametrize("mode, best", [("min", 20), ("max", 40)])
def test_the_best_is_kept(tmp_path: Path, mode: str, best: int) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1, keep_best=("val_loss", mode))
    assert checkpoints.best() is None
    for step, loss in [(10, 0.5), (20, 0.25), (30, np.nan), (40, np.float32(1.0)), (50, 0.5), (60, None)]:
        checkpoints.save(step, state(step), metrics={"val_loss": loss, "loss": 0.0})
        found = checkpoints.best()
        assert found is not None and (step < best or found.step == best)
    assert checkpoints.steps() == [best, 60]
    assert found.metrics["val_loss"] == (0.25 if mode == "min" else 1.0)
    np.testing.assert_array_equal(found.load(state(0)).params["w"], state(best).params["w"])
    with pytest.raises(ValueError, match="nothing was said about what is best"):
        Checkpoints(tmp_path).best()
    checkpoints.save(70, state(70), extra={"metrics": {"val_loss": -np.inf if mode == "min" else np.inf}})
    best_now = checkpoints.best()
    assert best_now is not None and best_now.step == 70


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_torn_ones_are_skipped(tmp_path: Path, suffix: str) -> None:
    checkpoints = Checkpoints(tmp_path, suffix=suffix)
    paths = {step: checkpoints.save(step, state(step)) for step in (1, 2, 3)}
    spoil(paths[3])
    with pytest.warns(CheckpointWarning, match=r"a checkpoint was skipped: .*step_00000003") as caught:
        found = checkpoints.latest()
    assert found is not None and found.step == 2 and caught[0].filename == __file__
    paths[2].write_bytes(paths[2].read_bytes()[:100])
    with pytest.warns(CheckpointWarning) as caught:
        restored = checkpoints.restore()
    assert restored is not None and restored.step == 1
    assert [f"step_0000000{n}{suffix}" in str(w.message) for n, w in zip((3, 2), caught, strict=True)] == [True, True]
    paths[1].write_bytes(b"")
    with pytest.warns(CheckpointWarning):
        assert checkpoints.latest() is None


def test_files_of_the_name_that_are_no_checkpoints(tmp_path: Path) -> None:
    tg.io.save(tmp_path / "step_00000009.npz", {"w": np.ones(1)})
    np.savez(tmp_path / "step_00000008.npz", w=np.ones(1))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, state(7))
    with pytest.warns(CheckpointWarning, match="is no checkpoint: another program wrote it, or tg.io.save"):
        found = checkpoints.latest()
    assert found is not None and found.step == 7


def test_what_does_not_fit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, state(7))
    with pytest.raises(MismatchError, match=r"shape: state\.params\.w is f64\[4\] in the file, expected f64\[5\]"):
        checkpoints.restore(State(np.int32(0), {"w": np.zeros(5), "b": np.zeros(0)}))
    found = checkpoints.latest()
    assert found is not None
    like = State(np.int32(0), {"v": np.zeros(4), "b": np.zeros(0)})
    loaded = found.load(like, rename={"state.params.w": "state.params.v"})
    np.testing.assert_array_equal(loaded.params["v"], np.full(4, 7.0))


def test_when_one_is_due(tmp_path: Path) -> None:
    def due(every: Any, epochs: int = 3, length: int = 4, start: int = 0, pace: float = 1.0) -> list[int]:
        checkpoints = Checkpoints(tmp_path, every=every)
        return [
            step
            for step in range(start + 1, epochs * length + 1)
            if checkpoints.should_save(step, (step - 1) // length, (step - start) * pace, ended=step % length == 0)
        ]

    assert due("epoch") == [4, 8, 12]
    assert due("epoch", start=5) == [8, 12]
    assert due("2 epochs", epochs=5) == [8, 16]
    assert due(5) == due("5 steps") == [5, 10]
    assert due(5, start=5) == due(5, start=7) == [10]
    assert due("4 seconds") == due(datetime.timedelta(seconds=4)) == [4, 8, 12]
    assert due("1 minute", pace=25.0) == due("minute", pace=25.0) == [3, 6, 9, 12]
    assert due("4 seconds", start=2) == [6, 10]
    checkpoints = Checkpoints(tmp_path, every=10)
    assert [checkpoints.should_save(step) for step in (8, 16, 24, 28, 41)] == [False, True, True, False, True]


@pytest.mark.parametrize(
    "options, says",
    [
        ({"keep": 0}, "keep=0: at least the latest is kept"),
        (
            {"keep_best": "val_loss"},
            r'keep_best=\'val_loss\': write a metric and which way it is better, \("val_loss", "min"\)',
        ),
        ({"keep_best": ("val_loss", "auto")}, "which way it is better"),
        ({"every": 0}, 'every=0: write "epoch"'),
        ({"every": 600.0}, r"every=600\.0: write .*a number of steps \(500\), or a time"),
        ({"every": "1.5 epochs"}, "every='1.5 epochs'"),
        ({"every": "often"}, "every='often'"),
        ({"suffix": ".pt"}, r"suffix='\.pt': write '\.safetensors' or '\.npz'"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Checkpoints(tmp_path, **options)


def test_wrong_calls(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "runs")
    with pytest.raises(ValueError, match="step, how many steps were done, is a whole number from 0 on, got -1"):
        checkpoints.save(-1, state(0))
    with pytest.raises(TypeError, match=r"tree\['extra'\]\['callback'\] cannot be saved: a value of type function"):
        checkpoints.save(0, state(0), {"callback": lambda: 0})
    assert not (tmp_path / "runs").exists()


def test_numpy_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without safetensors they are .npz; files of the other kind are not taken for torn."""
    Checkpoints(tmp_path).save(1, state(1))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.save(2, state(2)).suffix == ".npz"
    found = checkpoints.latest()
    assert found is not None and found.step == 2
    found.path.unlink()
    with pytest.raises(ImportError, match="pip install safetensors"):
        checkpoints.latest()


def test_whoever_reads_while_another_writes(tmp_path: Path) -> None:
    """Finds a checkpoint at any time, though that which was there may be removed as it looks."""
    Checkpoints(tmp_path, keep=1).save(0, state(0))
    writer = threading.Thread(
        target=lambda: [Checkpoints(tmp_path, keep=1).save(step, state(step)) for step in range(1, 80)]
    )
    writer.start()
    reader, last = Checkpoints(tmp_path), 0
    while writer.is_alive():
        found = reader.latest()
        assert found is not None and found.step >= last
        last = found.step
    found = reader.latest()
    assert found is not None and found.step == 79
    checkpoint = Checkpoints(tmp_path, keep=1)
    checkpoint.save(79, state(80))
    with pytest.raises(CorruptFileError, match=r"step_00000079.* was replaced since it was opened; open it again"):
        found.load()


def test_links_that_point_nowhere(tmp_path: Path) -> None:
    (tmp_path / "step_00000005.npz").symlink_to(tmp_path / "none")
    assert Checkpoints(tmp_path).latest() is None


# -- In the background.


def test_the_state_is_that_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its arrays are written into while a thread writes."""
    go_on = threading.Event()

    def slow(*args: Any) -> None:
        assert go_on.wait(10)
        write_tree(*args)

    monkeypatch.setattr("tracegrad.io.checkpoints.write_tree", slow)
    checkpoints = Checkpoints(tmp_path, background=True)
    arrays = state(3)
    checkpoints.save(3, arrays)
    arrays.params["w"][:] = -1.0
    assert checkpoints.steps() == []
    go_on.set()
    found = checkpoints.latest()
    assert found is not None
    np.testing.assert_array_equal(found.load()["params"]["w"], state(3).params["w"])


def test_arrays_of_jax_that_are_donated(tmp_path: Path, jax_as_it_comes: None) -> None:
    jax = pytest.importorskip("jax")
    x = jax.numpy.arange(1000.0)
    checkpoints = Checkpoints(tmp_path, background=True)
    checkpoints.save(1, {"x": x})
    jax.jit(lambda x: x * 0 - 1, donate_argnums=0)(x).block_until_ready()
    found = checkpoints.latest()
    assert found is not None
    np.testing.assert_array_equal(found.load()["x"], np.arange(1000.0))


def test_what_goes_wrong_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(tmp_path, background=True)
    checkpoints.save(1, state(1))
    checkpoints.wait()
    monkeypatch.setattr(os, "fsync", full)
    checkpoints.save(2, state(2))
    with pytest.raises(OSError, match=r"step_00000002.* could not be saved: No space left on device"):
        checkpoints.save(3, state(3))
    monkeypatch.undo()
    checkpoints.wait()  # it was said
    assert checkpoints.steps() == [1] and os.listdir(tmp_path) == ["step_00000001.safetensors"]


# -- Kills.

# Each round forks a process that restores the latest checkpoint and goes on to save, and kills it at a drawn moment.
KILLED = """
import os, signal, sys, time, warnings
import numpy as np
import tracegrad as tg

folder, suffix, rounds, background = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "True"
rng = np.random.default_rng(0)
warnings.simplefilter("error")

def state(step):
    return {"w": np.arange(20_000.0) + step, "n": np.full((), step), "step": step}

def checkpoints():
    return tg.io.Checkpoints(folder, keep=2, background=background, suffix=suffix)

def train(told):
    mine = checkpoints()
    found = mine.latest()
    step = 0 if found is None else found.step
    while True:
        step += 1
        mine.save(step, state(step), extra={"history": [{"loss": 1.0 / step}]})
        if background:
            mine.wait()
        os.write(told, step.to_bytes(8, "little"))

mine = checkpoints()
mine.save(0, state(0), extra={"history": []})  # everything is loaded
mine.latest()
mine.wait()
for _ in range(rounds):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            train(theirs)
        finally:
            os._exit(1)
    os.close(theirs)
    told = os.read(ours, 8)  # it goes on
    time.sleep(rng.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    while part := os.read(ours, 1 << 16):
        told += part
    os.close(ours)
    done = int.from_bytes(told[-8:], "little")
    for step in mine.steps():
        path = os.path.join(folder, f"step_{step:08d}{suffix}")
        found = tg.io.load(path)
        assert found["state"]["step"] == step and (found["state"]["w"] == state(step)["w"]).all(), path
    latest = mine.latest()
    assert latest.step >= done, (latest.step, done)
    found = latest.load(like=state(0))
    assert found["step"] == latest.step == found["n"]
assert latest.step >= rounds, latest.step
print(latest.step, len(os.listdir(folder)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that were forked")
@pytest.mark.parametrize(
    "suffix, rounds, background",
    [
        (".safetensors", 10, False),
        pytest.param(".safetensors", 100, False, marks=pytest.mark.slow),
        pytest.param(".npz", 100, False, marks=pytest.mark.slow),
        pytest.param(".safetensors", 100, True, marks=pytest.mark.slow),
    ],
)
def test_kills(tmp_path: Path, suffix: str, rounds: int, background: bool) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), suffix, str(rounds), str(background)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_interrupts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is removed before the new one is whole."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, state(1))

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.numpy.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(2, state(2))
    assert os.listdir(tmp_path) == ["step_00000001.safetensors"]
    assert issubclass(CorruptFileError, ValueError)
