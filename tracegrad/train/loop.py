"""The loop: batches through a step, metrics into a history, checkpoints to go on from."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import is_number
from tracegrad.core.errors import clip
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.late import imported
from tracegrad.data.batches import arrays_of, epoch_of, length_of
from tracegrad.metrics import Running, batch_size
from tracegrad.train.callbacks import TIMES, AtEpoch, Replace, Run, Stop
from tracegrad.train.checks import (
    NanError,
    Trail,
    TrainingWarning,
    batch_types,
    copied,
    differ,
    explained,
    first_step,
    is_finite,
    is_gone,
    loss_of,
    not_finite,
    refuses,
)
from tracegrad.train.history import History
from tracegrad.train.progress import Silent, numbers, rate

_LOOKS = 0.1  # seconds between looks at what a device computes


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        state: the last state; None, of an error's `fitted`, where a step was stopped that writes over what it is given.
        history: a row for each epoch.
        reason: why it ended: "finished", "interrupted", or what a callback said.
        best: with `EarlyStopping` the best state, whether or not training stopped early; else None.
    """

    state: Any
    history: History
    reason: str
    best: Any


class Now(NamedTuple):
    """Where training is. One assignment moves it, so that an interrupt finds all of it, or nothing, moved."""

    state: Any
    epoch: int
    place: int  # how many batches of the epoch were taken
    step: int
    examples: int
    rows: int  # of the history
    running: Running  # what was measured in this epoch
    kept: list[Any]  # what callbacks keep


@dataclass
class Loop:
    """`fit` at work: its arguments, and where it is."""

    step: Any
    state: Any  # at the beginning
    batches: Any
    once: bool  # whether they are an iterator
    epochs: int | None
    steps: int | None
    evaluate: Any
    validation: Any
    every: int
    callbacks: Sequence[Any]
    checkpoints: Any
    progress: Silent
    on_nan: str
    check: bool

    def __post_init__(self) -> None:
        self.callbacks = [c if any([hasattr(c, name) for name in TIMES]) else AtEpoch(c) for c in self.callbacks]
        self.total = length_of(self.batches)
        self.notes: list[str] = []  # to be read at the beginning
        self.history = History()
        self.now = Now(self.state, 0, 0, 0, 0, 0, Running(), [])
        self.pending: list[tuple[Running, int, dict[str, Any], int]] = []  # metrics that were not looked at yet
        self.seconds = 0.0  # before this run
        self.began = self.looked = self.showed = time.monotonic()
        self.saved: Now | None = None  # where training was at the last checkpoint
        self.trail: Trail = []
        self.donates = bool(getattr(self.step, "donates", False))
        self.stepping = False  # whether a step was begun and is not taken in
        self.lent: Any = None  # the state that it was given
        self.batch: Any = None
        self.types = ""  # of the first batch

    # -- Going on from a checkpoint

    def resume(self) -> None:
        found = None if self.checkpoints is None else self.checkpoints.latest()
        if found is None:
            return
        extra = found.extra
        state = tree.tree_map(_placed, found.load(like=self.state), self.state)
        self.history.rows[:] = rows = extra["rows"]
        self.seconds = extra["seconds"]
        for callback, (name, data) in zip(self.callbacks, extra["callbacks"], strict=False):
            if data is not None and name == type(callback).__name__:
                callback.restore(data, state)
        place = extra["epoch"], extra["place"], found.step, extra["examples"]
        self.now = self.saved = Now(state, *place, len(rows), Running.of(extra["running"]), self.keeping())
        self.notes.append(f"going on from step {found.step}, in epoch {extra['epoch'] + 1}, of {found.path}")

    def keeping(self) -> list[Any]:
        return [[type(c).__name__, c.data() if hasattr(c, "data") else None] for c in self.callbacks]

    def save(self) -> None:
        """Write where training is, unless that was written last."""
        saved, now = self.saved, self.now
        if self.checkpoints is None or (saved is not None and saved.state is now.state and saved[1:6] == now[1:6]):
            return
        self.look()
        if self.on_nan != "ignore" and (found := not_finite(now.state)):
            self.not_a_number(f"the state is not finite ({found[0]})", now.step)
        extra = {
            "epoch": now.epoch, "place": now.place, "examples": now.examples, "seconds": self.elapsed(),
            "rows": self.history.rows[: now.rows], "running": now.running.data(), "callbacks": now.kept,
        }  # fmt: skip
        self.checkpoints.save(now.step, now.state, extra, metrics=self.history.rows[now.rows - 1] if now.rows else {})
        self.saved = now

    def save_if_due(self, ended: bool) -> None:
        now = self.now
        if self.checkpoints is not None and self.checkpoints.should_save(
            now.step, now.epoch - ended, self.elapsed(), ended=ended
        ):
            self.save()

    def elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.began

    # -- Running

    def run(self) -> Fitted:
        self.progress.start(self.epochs)
        try:
            for note in self.notes:
                self.progress.note(note)
            try:
                reason = self.train()
                self.save()
            except KeyboardInterrupt:
                if self.torn():  # and what came of it is not there
                    raise
                reason = "interrupted"
                self.save()
            if self.checkpoints is not None:
                self.checkpoints.wait()
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            self.progress.end()
        self.tell("end", self.now, {})
        return self.fitted(reason)

    def fitted(self, reason: str) -> Fitted:
        best = next((c.best for c in self.callbacks if hasattr(c, "best")), None)
        return Fitted(None if self.torn() else self.now.state, self.history, reason, best)

    def torn(self) -> bool:
        """Whether the state may be written over in part: by a step that was begun, and writes into what it is given."""
        if not (self.stepping and self.donates and self.lent is self.now.state):
            return False
        if is_gone(self.lent):
            return True
        return not (
            all([is_jax_array(x) for x in tree.tree_leaves(self.lent)]) or refuses(self.step, self.lent, self.batch)
        )

    def train(self) -> str:
        self.now, stop = self.tell("start", self.now, {})
        while stop is None and not self.enough() and (self.epochs is None or self.now.epoch < self.epochs):
            stop = self.epoch()
            if self.once:
                break
        return "finished" if stop is None else stop.reason

    def enough(self) -> bool:
        return self.steps is not None and self.now.step >= self.steps

    def epoch(self) -> Stop | None:
        found: Any = epoch_of(self.batches, self.now.epoch, self.now.place)
        self.at_start = time.monotonic(), self.now.examples
        stop, ended = None, True
        # A thread that reads ahead ends with the epoch. An iterator of the user's may be gone on with.
        owned = hasattr(found, "close") and not self.once
        with contextlib.closing(found) if owned else contextlib.nullcontext():
            for batch in found:
                stop = self.one(arrays_of(batch))
                self.save_if_due(False)
                if stop is not None or self.enough():
                    ended = self.now.place == self.total
                    break
        if not self.now.place:
            raise ValueError(
                f"batches gave no batch in epoch {self.now.epoch + 1}; an iterator is used up after one: pass a list, "
                "tg.data.batches(...), or a function of the epoch"
            )
        if not ended:
            self.save()  # before the rest of this epoch becomes a row, which a resumed run makes of all of it
        return self.close(ended) or stop

    def one(self, batch: Any) -> Stop | None:
        """A step."""
        now, self.batch = self.now, batch
        if not batch_size(batch):
            raise ValueError(
                f"fit: batch {now.place + 1} of epoch {now.epoch + 1} has no examples, {batch_types(batch)}, and their mean is no number; "
                "leave such batches out"
            )
        first = not self.types
        # A step may write into what it is given without saying so: the first one gets a copy, which shows it.
        kept = lambda x: x if is_jax_array(x) and not (self.donates and self.check) else copied(x)
        self.lent = tree.tree_map(kept, now.state) if first else now.state
        self.stepping = True
        out = self.step(self.lent, batch)
        if type(out) is not tuple or len(out) != 2 or not isinstance(out[1], dict):
            told = f"({', '.join([type(x).__name__ for x in out])})" if type(out) is tuple else type(out).__name__
            raise TypeError(f"step must return (state, metrics) with metrics a dict, got {told}")
        state, metrics = out
        for name, x in metrics.items() if first else ():
            if any([not is_number(leaf) for leaf in tree.tree_leaves(x)]):
                raise TypeError(f"step must return a dict of numbers for metrics, and {name!r} is {clip(repr(x))}")
        weight = batch_size(batch)
        new = now._replace(state=state, place=now.place + 1, step=now.step + 1, examples=now.examples + weight)
        if first:
            self.types = batch_types(batch)
            self.donates = self.donates or is_gone(now.state) or differ(self.lent, now.state)
        if self.donates:
            self.now = new  # there is no way back
        elif self.on_nan == "explain":
            self.trail = self.trail or [(now.state, now.step, [])]
            self.trail[-1][2].append(batch)
        self.stepping, self.lent = False, None
        if first and self.check and not is_gone(now.state):
            for text in first_step(self.step, now.state, state, batch):
                warnings.warn(f"fit: {text}", TrainingWarning, stacklevel=6)
        self.pending.append((now.running, new.place, metrics, weight))
        self.now, stop = self.tell("step", new, metrics)
        moment = time.monotonic()
        if moment - self.looked >= _LOOKS or not any([is_jax_array(x) for x in tree.tree_leaves(metrics)]):
            self.look()
            if moment - self.showed >= _LOOKS:
                self.showed = moment
                self.progress.show(now.epoch, new.place, self.total, new.running.value(), self.speed())
        return stop

    def speed(self) -> str:
        began, examples = self.at_start
        return rate(self.now.examples - examples, time.monotonic() - began)

    def look(self) -> None:
        """Take in the metrics of the steps since the last look, for which a device may have to be waited for."""
        self.looked = time.monotonic()
        now = self.now
        for running, place, metrics, weight in self.pending:
            # Some were taken in before an interrupt; a step that one has undone is not to be.
            if running.count < place <= now.place and running is now.running:
                if self.on_nan != "ignore" and not is_finite(loss := loss_of(metrics)):
                    self.not_a_number(f"the loss is {np.asarray(loss)}", now.step - now.place + place)
                running.add(metrics, weight)
        self.pending = []
        if self.trail and self.trail[-1][2]:
            self.trail = [self.trail[-1], (now.state, now.step, [])]

    def given(self, state: Any) -> Any:
        """A state that may be kept: a copy, where the next step writes into it."""
        return tree.tree_map(copied, state) if self.donates else state

    def measured(self) -> dict[str, Any]:
        """The metrics of the epoch so far, with those of a step of which callbacks are just being told."""
        running = self.now.running.copy()
        for of, place, metrics, weight in self.pending:
            if of is self.now.running and place > running.count:
                running.add(metrics, weight)
        return running.value()

    def close(self, ended: bool) -> Stop | None:
        """What is measured in an epoch becomes a row of the history."""
        self.look()
        now = self.now
        last = not ended or now.epoch + 1 == self.epochs
        row: dict[str, Any] = {"epoch": now.epoch, "step": now.step, **now.running.value()}
        if self.validation is not None and (last or (now.epoch + 1) % self.every == 0):
            row.update(self.validated(now.state))
        row["seconds"] = self.elapsed()
        self.history.rows[now.rows :] = [row]
        done = now._replace(epoch=now.epoch + 1, place=0, rows=now.rows + 1, running=Running()) if ended else now
        done, stop = self.tell("epoch", done, {}, row)
        told = numbers({name: x for name, x in row.items() if name not in ("epoch", "step", "seconds")})
        head = self.progress.head(now.epoch, now.place, self.total)
        self.progress.epoch(f"{head}  {told}  {row['seconds']:.1f} s  {self.speed()}")
        if ended:
            self.now = done
            self.save_if_due(True)
        return stop

    def validated(self, state: Any) -> dict[str, Any]:
        given = self.validation
        whole = isinstance(given, tuple | dict | np.ndarray) or is_jax_array(given)
        batches = map(arrays_of, [given] if whole else epoch_of(given, 0))
        found = [(self.evaluate(state, batch), batch_size(batch)) for batch in batches]
        if not found:
            raise ValueError(
                "validation gave no batch; an iterator is used up after one epoch: pass a list, or a tuple of arrays"
            )
        running = Running()
        for metrics, weight in found:
            running.add(metrics, weight)
        return {f"val_{name}": x for name, x in running.value().items()}

    def tell(
        self, when: str, now: Now, latest: dict[str, Any], row: dict[str, Any] | None = None
    ) -> tuple[Now, Stop | None]:
        """What callbacks make of where training is now, and whether one of them ends it."""
        stop = None
        for callback in self.callbacks:
            if not hasattr(callback, when):
                continue
            run = Run(
                lambda: self.measured() if row is None else row,
                partial(self.given, now.state),
                epoch=now.epoch if row is None else row["epoch"], step=now.step, steps_per_epoch=self.total, latest=latest,
                history=self.history, seconds=self.elapsed(), examples=now.examples,
            )  # fmt: skip
            out = getattr(callback, when)(run)
            if isinstance(out, Stop):
                stop = stop or out
            elif isinstance(out, Replace):
                now, self.trail = now._replace(state=self.given(out.state)), []
            elif isinstance(out, dict) and row is not None:
                row.update(out)
            elif out is not None:
                raise TypeError(
                    f"{type(callback).__name__}.{when} returned {type(out).__name__}; a callback returns None, Stop(reason), "
                    "Replace(state), or at the end of an epoch a dict of numbers"
                )
        return (now._replace(kept=self.keeping()) if self.callbacks else now), stop

    # -- When something is wrong

    def not_a_number(self, what: str, number: int) -> None:
        """End: the loss of a step, or the state after it, is not finite."""
        error = NanError(f"fit: {what} at step {number}, in epoch {self.now.epoch + 1}")
        trail, self.trail = self.trail, []
        explained(error, self.step, trail, number, self.on_nan == "explain" and self.donates)
        if error.state is not None:
            self.now = self.now._replace(state=error.state)
        raise error

    def failed(self, error: BaseException) -> None:
        """Tell with an error where training was, and keep what there is."""
        now = self.now
        note = f"fit: this was in epoch {now.epoch + 1}, after {now.place} batches of it and {now.step} steps in all"
        if self.stepping and self.types and (types := batch_types(self.batch)) != self.types:
            note += f"; the batch is {types}, and the first one was {self.types}"
        if self.torn():
            note += "; the state was given to the step, which may have written over a part of it, and is not kept"
        elif self.checkpoints is not None and not isinstance(error, NanError):
            try:
                self.save()
                self.checkpoints.wait()
            except Exception as second:
                note += f"; the state could not be saved: {second}"
        if self.saved is not None:
            note += f"; the last checkpoint, of step {self.saved.step}, is in {self.checkpoints.folder}"
        error.add_note(note)
        with contextlib.suppress(Exception):
            cast(Any, error).fitted = self.fitted(type(error).__name__)


def _placed(new: Any, old: Any) -> Any:
    """What was loaded, where that is which it takes the place of."""
    return imported("tracegrad.xla.devices").device_put(new, old.sharding) if is_jax_array(old) else new
