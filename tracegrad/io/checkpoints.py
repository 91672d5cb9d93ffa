"""A folder of checkpoints: each a file of its own that is whole or not there, the latest kept, the torn skipped."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import math
import os
import platform
import re
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.arguments import whole
from tracegrad.core.errors import at, clip, resolve, user_source
from tracegrad.core.tracebacks import trimming
from tracegrad.io.files import CorruptFileError, clear_forgotten, path_of
from tracegrad.io.trees import Contents, prepared, read, reading, verify, write_tree
from tracegrad.typing import PyTree

_NAME = re.compile(r"step_(\d+)\.(?:safetensors|npz)")
_EVERY = re.compile(r"(?:(\d+(?:\.\d+)?) )?(epoch|step|second|minute|hour)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


class CheckpointWarning(UserWarning):
    """A checkpoint was found torn, and an earlier one taken in its place."""


class Restored(NamedTuple):
    """What `Checkpoints.restore` returns."""

    step: int
    state: PyTree
    extra: dict[str, Any]


class Checkpoint:
    """One checkpoint of a folder, whose sums were found right: `step`, `path`, `metrics`, `versions` (of what wrote it),
    `extra`, and `load(like=state)`."""

    def __init__(self, path: Path, step: int, found: Contents) -> None:
        self.path = path
        self.step = step
        note = _note(found)
        self.metrics: dict[str, float] = note["metrics"]
        self.versions: dict[str, str] = note["versions"]
        self._contents = found
        self._extra: dict[str, Any] | None = None

    @property
    def extra(self) -> dict[str, Any]:
        """What was saved besides the state, as plain containers of NumPy arrays and Python's numbers and strings."""
        if self._extra is None:
            with reading(self.path, self._contents) as found:
                self._extra = read(found, "extra")
        return self._extra

    @trimming
    def load(self, like: PyTree = None, **options: Any) -> Any:
        """The state. `like` and the options are those of `tg.io.load`."""
        with reading(self.path, self._contents) as found:
            return read(found, "state", like, **options)

    def __repr__(self) -> str:
        return f"Checkpoint(step={self.step}, path={str(self.path)!r})"


class Checkpoints:
    """A folder with a checkpoint of a training run in a file each, `step_00001840.safetensors`.

    A checkpoint is written beside, brought to the disk, and takes its place in one step: whatever stops the process, each
    file there is whole. `latest` reads the sums of a file again, and goes back to an earlier one with a warning if they fail.
    One process at a time writes into a folder; any number may read from it.

    Args:
        folder: where the files are; made if it is not there. Other files in it are left alone.
        keep: how many of the latest to keep; None for all. The latest is never removed before the next one is whole.
        keep_best: `(metric, "min" or "max")`, for one more to be kept: that which is best by a metric, which `save` is given.
        every: when `should_save` says so: `"epoch"`, `"5 epochs"`, a number of steps (500 or `"500 steps"`), or a time
            (`"10 minutes"`, `"600 seconds"`, a `datetime.timedelta`).
        background: whether `save` copies the state and leaves writing it to a thread. What goes wrong there is raised by the
            next `save`, or `wait`.
        suffix: ".safetensors", or ".npz", which NumPy alone writes. None for the first where the package safetensors is
            installed, else the second.

    >>> import numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(folder, keep=2)
    ...     for step in (10, 20, 30):
    ...         _ = checkpoints.save(step, {"w": np.full(2, step)}, extra={"epoch": step // 10})
    ...     found = checkpoints.latest()
    ...     checkpoints.steps(), found.step, found.load(), found.extra
    ([20, 30], 30, {'w': array([30, 30])}, {'epoch': 3})
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        keep: int | None = 3,
        keep_best: tuple[str, str] | None = None,
        every: str | int | datetime.timedelta = "epoch",
        background: bool = False,
        *,
        suffix: str | None = None,
    ) -> None:
        if keep is not None and (not isinstance(keep, int) or keep < 1):
            raise ValueError(
                f"Checkpoints{at(user_source())}: keep={keep!r}: at least the latest is kept; write a number from 1 on, or None for all"
            )
        if keep_best is not None and not (
            isinstance(keep_best, tuple) and len(keep_best) == 2 and keep_best[1] in ("min", "max")
        ):
            raise ValueError(
                f'Checkpoints{at(user_source())}: keep_best={keep_best!r}: write a metric and which way it is better, ("val_loss", "min")'
            )
        if suffix not in (None, ".safetensors", ".npz"):
            raise ValueError(f"Checkpoints{at(user_source())}: suffix={suffix!r}: write '.safetensors' or '.npz'")
        self.folder = path_of(folder, "Checkpoints: the folder", 'Checkpoints("run")')
        self.keep = keep
        self.keep_best = keep_best
        self.every = every
        self.background = background
        self._amount, self._unit = _period(every)
        self._suffix = suffix or (".safetensors" if importlib.util.find_spec("safetensors") else ".npz")
        self._asked: int | None = None  # the step that should_save was last asked about
        self._time = 0.0  # when it last said so
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def should_save(self, step: int, epoch: int = 0, seconds: float = 0.0, *, ended: bool = False) -> bool:
        """Whether a checkpoint is due by `every`, for a loop that asks after each of its steps.

        Args:
            step: how many steps were done.
            epoch: the number of the present epoch, from 0.
            seconds: for how long training has been running.
            ended: whether this step was the last of its epoch.
        """
        before = step - 1 if self._asked is None else self._asked
        self._asked = step
        if self._unit == "epoch":
            return ended and (epoch + 1) % self._amount == 0
        if self._unit == "step":
            return step // self._amount > before // self._amount
        if seconds < self._time:  # of another run
            self._time = 0.0
        if seconds - self._time < self._amount:
            return False
        self._time = seconds
        return True

    @trimming
    def save(
        self,
        step: int,
        state: PyTree,
        extra: Mapping[str, Any] | None = None,
        *,
        metrics: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the checkpoint of a step, and remove those that are no longer kept.

        Args:
            step: how many steps were done; a checkpoint of the same step is replaced.
            state: any pytree of arrays, Python's numbers, strings and None.
            extra: what else there is to be known for going on (epoch, place in it, history, callbacks' data): a dict of such
                trees, which comes back as plain containers.
            metrics: numbers by name, for `keep_best`; those in `extra["metrics"]` if not given.

        Returns:
            The path of the file, which is there when `save` returns, or with `background=True` after `wait`.

        Raises:
            OSError: if the file could not be written; all that was there is as it was.
            TypeError: for a leaf that files have no form for, with its path.
        """
        self.wait()
        step = whole(step, "Checkpoints.save", "step, how many steps were done,")
        if extra is not None and not isinstance(extra, Mapping):
            raise TypeError(
                f"Checkpoints.save{at(user_source())}: extra is a dict, got {clip(repr(extra))}; write save(step, state, {{'epoch': 3}})"
            )
        extra = {} if extra is None else dict(extra)
        numbers = extra.get("metrics", {}) if metrics is None else metrics
        noted = {"checkpoint": {"step": step, "metrics": _numbers(numbers), "versions": _versions()}}
        path = self.folder / f"step_{step:08d}{self._suffix}"
        spec, arrays = prepared(path, {"state": state, "extra": extra}, copy=self.background)

        def write() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tree(path, spec, arrays, None, noted)
            self._remove_others(path)

        if not self.background:
            write()
            return path

        def write_noting_failure() -> None:
            try:
                write()
            except BaseException as error:
                self._failure = error

        self._thread = threading.Thread(target=write_noting_failure, name=f"tracegrad checkpoint {step}")
        self._thread.start()
        return path

    @trimming
    def wait(self) -> None:
        """Wait until what is being written in the background is there, and raise what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def steps(self) -> list[int]:
        """The steps of which there are files, in order."""
        return sorted({step for step, _ in self._files()})

    @trimming
    def latest(self) -> Checkpoint | None:
        """The latest checkpoint that is whole, None if there is none. Files that are torn, or fail their sums, are skipped
        with a `CheckpointWarning` that names them."""
        return self._first_whole(lambda: sorted(self._files(), reverse=True))

    @trimming
    def best(self) -> Checkpoint | None:
        """The best checkpoint by `keep_best` that is whole, None if there is none."""
        if self.keep_best is None:
            raise ValueError(
                'best: nothing was said about what is best; write Checkpoints(..., keep_best=("val_loss", "min"))'
            )
        return self._first_whole(lambda: [(step, path) for _, step, path in self._by_metric(self._files())])

    @trimming
    def restore(self, like: PyTree = None) -> Restored | None:
        """The step, state and extra of the latest checkpoint that is whole; None if there is none."""
        found = self.latest()
        return None if found is None else Restored(found.step, found.load(like), found.extra)

    def _files(self) -> list[tuple[int, Path]]:
        with contextlib.suppress(FileNotFoundError):
            found = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
            return [(int(match[1]), path) for match, path in found if match and not _points_nowhere(path)]
        return []

    def _first_whole(self, listed: Callable[[], list[tuple[int, Path]]]) -> Checkpoint | None:
        """The first that is whole of the files listed, which are listed anew if one has been removed meanwhile: whoever did
        so has written a later one."""
        self.wait()
        torn: set[Path] = set()
        while True:
            try:
                for step, path in listed():
                    if path not in torn:
                        try:
                            with reading(path) as found:
                                verify(found)
                                return Checkpoint(path, step, found)
                        except CorruptFileError as error:
                            torn.add(path)
                            line = resolve(user_source())
                            assert line is not None
                            text = f"a checkpoint was skipped: {error}"
                            warnings.warn_explicit(text, CheckpointWarning, line.file, line.line)
                return None
            except FileNotFoundError:
                continue

    def _by_metric(self, files: list[tuple[int, Path]]) -> list[tuple[float, int, Path]]:
        """Files with a number for the metric of `keep_best`, the best first."""
        assert self.keep_best is not None
        metric, mode = self.keep_best
        found = []
        for step, path in files:
            with contextlib.suppress(CorruptFileError, FileNotFoundError):
                with reading(path) as opened:
                    value = _note(opened)["metrics"].get(metric, math.nan)
                if not math.isnan(value):
                    found.append((-value if mode == "max" else value, -step, path))
        return [(value, -step, path) for value, step, path in sorted(found)]

    def _remove_others(self, written: Path) -> None:
        """Remove what is kept no longer, now that a file was written."""
        clear_forgotten(self.folder)
        if self.keep is None:
            return
        files = sorted(self._files(), reverse=True)
        kept = {written, *[path for _, path in files[: self.keep]]}
        if self.keep_best is not None:
            kept |= {path for _, _, path in self._by_metric(files)[:1]}
        for _, path in files:
            if path not in kept:
                path.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"Checkpoints({str(self.folder)!r}, keep={self.keep}, keep_best={self.keep_best}, every={self.every!r})"


def _points_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _period(every: Any) -> tuple[float, str]:
    """An amount, and of what: "epoch", "step" or "second"."""
    amount, unit = 0.0, ""
    if isinstance(every, datetime.timedelta):
        amount, unit = every.total_seconds(), "second"
    elif isinstance(every, int) and not isinstance(every, bool):
        amount, unit = every, "step"
    elif isinstance(every, str) and (found := _EVERY.fullmatch(every)):
        amount, unit = float(found[1] or 1), found[2]
    if unit in _SECONDS:
        amount, unit = amount * _SECONDS[unit], "second"
    if amount <= 0 or (unit != "second" and amount != int(amount)):
        raise ValueError(
            f'Checkpoints{at(user_source())}: every={every!r}: write "epoch", "5 epochs", a number of steps (500), or a time ("10 minutes", a timedelta)'
        )
    return amount, unit


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as JSON has numbers; what is no number is left out, and so is NaN, which is never best."""
    found = {}
    for name, value in metrics.items():
        with contextlib.suppress(TypeError, ValueError):
            number = float(np.asarray(value))
            found[str(name)] = number if math.isfinite(number) else str(number)
    return found


def _versions() -> dict[str, str]:
    """What was loaded of the libraries that a run depends on."""
    names = ("tracegrad", "numpy", "jax", "scipy")
    loaded = {
        name: module for name in names if (module := sys.modules.get(name)) is not None
    }  # None where it is barred
    return {"python": platform.python_version(), **{name: str(m.__version__) for name, m in loaded.items()}}


def _note(found: Contents) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    note = (found.note or {}).get("checkpoint")
    if note is None:
        raise CorruptFileError(f"{found.file.path} is no checkpoint: another program wrote it, or tg.io.save")
    return {**note, "metrics": {name: float(value) for name, value in note["metrics"].items()}}
