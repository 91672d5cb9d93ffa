"""The loop: batches through a step, metrics into a history, checkpoints to go on from."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import at, user_source
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.late import imported
from tracegrad.core.types import type_of
from tracegrad.data.batches import Batches, epoch_of
from tracegrad.metrics import Ratio, Running, batch_size
from tracegrad.train.callbacks import Replace, Run, Stop
from tracegrad.train.checks import (
    NanError,
    TrainingWarning,
    batch_types,
    first_step,
    is_finite,
    not_finite,
    where_not_finite,
)
from tracegrad.train.history import History
from tracegrad.train.progress import chosen, numbers, rate

_LOOKS = 0.1  # seconds between looks at what a device computes


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        state: the last state.
        history: a row for each epoch.
        reason: why it ended: "finished", "interrupted", or what a callback said.
        best: with `EarlyStopping` the best state, whether or not training stopped early; else None.
    """

    state: Any
    history: History
    reason: str
    best: Any


class _Now(NamedTuple):
    """Where training is. One assignment moves it, so that an interrupt finds all of it, or nothing, moved."""

    state: Any
    epoch: int
    place: int  # how many batches of the epoch were taken
    step: int
    examples: int
    rows: int  # of the history
    running: Running  # what was measured in this epoch
    kept: list[Any]  # what callbacks keep


def fit(
    step: Callable[[Any, Any], tuple[Any, dict[str, Any]]],
    state: Any,
    batches: Any,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    evaluate: Callable[[Any, Any], dict[str, Any]] | None = None,
    validation: Any = None,
    every: int = 1,
    callbacks: Sequence[Any] = (),
    checkpoints: Any = None,
    progress: Any = True,
    summary: Any = False,
    on_nan: str = "explain",
    check: bool = True,
    seed: int | None = None,
) -> Fitted:
    """Train. By hand, the same is

        for epoch in range(epochs):
            weights, found = [], []
            for batch in batches(epoch):
                state, metrics = step(state, batch)
                found.append(metrics)
                weights.append(len(batch[0]))
            history.append({"epoch": epoch, **tg.metrics.mean(found, weights), **validate(state)})

    and gives the same bits. What this adds is to show it, to save it, to go on with it, and to say what goes wrong.

    Args:
        step: a pure function `(state, batch) -> (state, metrics)`, jitted by you: `tg.jit(tg.train.make_step(loss, opt))`, or any
            other. Metrics are a dict of numbers, or of `tg.metrics`' Ratio, Sum and Last.
        state: any tree of arrays, such as a `tg.train.TrainState`.
        batches: a function of the epoch that returns an iterable of batches, such as `tg.data.batches` makes; or an iterable, which
            is gone through in each epoch (an iterator in one). A batch is any tree of arrays; other leaves go through `np.asarray`.
        epochs: how many there shall be in all, those before a resume included.
        steps: how many steps there shall be in all. Training ends at the first of the two.
        evaluate: `(state, batch) -> metrics`, such as `tg.jit(tg.train.make_evaluate(loss))`.
        validation: what is evaluated after an epoch: as `batches`, or a tuple or dict of arrays, which is one batch. Its metrics
            are those of the history that begin with `val_`.
        every: how many epochs there are from one validation to the next.
        callbacks: see `tg.train.callbacks`.
        checkpoints: a folder, or a `tg.io.Checkpoints`. If there is a checkpoint in it, training goes on from there, in the
            middle of an epoch too, and gives what it would have given without a break, bit for bit.
        progress: True for a bar on a terminal or in a notebook and lines elsewhere; False for nothing; or "lines".
        summary: True prints the parameters at first; anything else is printed as it is, such as `net.summary(x)`.
        on_nan: "explain" ends with a `NanError` when the loss is not finite, with the user's line that made the first NaN of it;
            "raise" ends without looking for that; "ignore" goes on.
        check: warn, after the first step, of parameters that get no gradient or did not change.
        seed: the key of batches of `tg.data.batches` that were made without one.

    Returns:
        Fitted(state, history, reason, best). After a keyboard interrupt too, when the checkpoint is written.

    Raises:
        NanError: see `on_nan`.  What `step`, `batches` or a callback raises, with a note that says where training was; its
        attribute `fitted` has the state and history before that.

    >>> import numpy as np, tracegrad as tg
    >>> def step(w, batch):
    ...     loss, g = tg.value_and_grad(lambda w: np.mean((batch @ w - 1) ** 2))(w)
    ...     return w - 0.5 * g, {"loss": loss}
    >>> state, history, reason, _ = tg.fit(step, np.zeros(1), [np.ones((4, 1))] * 5, epochs=2, progress=False)
    >>> history["loss"], reason
    ([0.2, 0.0], 'finished')
    """
    where = f"fit{at(user_source())}"
    once = not callable(batches) and iter(batches) is batches
    if epochs is None and steps is None and not once:
        raise TypeError(f"{where}: say how long to train: epochs= or steps=")
    if once and (epochs or 1) > 1:
        raise TypeError(
            f"{where}: batches is an iterator, which is used up after one epoch, and epochs={epochs}; pass a list, "
            "tg.data.batches(...), or a function of the epoch"
        )
    if (evaluate is None) != (validation is None):
        raise TypeError(
            f"{where}: evaluate= and validation= go together; write evaluate=tg.jit(tg.train.make_evaluate(loss)), validation=test"
        )
    if on_nan not in ("explain", "raise", "ignore"):
        raise ValueError(f"{where}: on_nan is 'explain', 'raise' or 'ignore', got {on_nan!r}")
    if seed is not None:
        if not isinstance(batches, Batches) or batches.key is not None:
            raise TypeError(f"{where}: seed= is the key of tg.data.batches(...) that has none, and these are not such")
        batches = batches.shuffled(seed)
    loop = _Loop(
        {
            "step": step, "state": state, "batches": batches, "once": once, "epochs": epochs, "steps": steps,
            "evaluate": evaluate, "validation": validation, "every": every, "callbacks": callbacks,
            "checkpoints": checkpoints, "progress": progress, "on_nan": on_nan, "check": check,
        }
    )  # fmt: skip
    loop.resume()
    if summary is not False:
        loop.progress.note(described(state) if summary is True else str(summary))
    return loop.run()


_TIMES = ("start", "step", "epoch", "end")


class _AtEpoch:
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if not callable(function):
            raise TypeError(f"fit: a callback is a function, or has some of {_TIMES}; got {type(function).__name__}")
        self.epoch = function


class _Loop:
    """`fit` at work: its arguments, by their names, and where it is."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.step, self.batches, self.once = options["step"], options["batches"], options["once"]
        self.epochs, self.steps = options["epochs"], options["steps"]
        self.evaluate, self.validation, self.every = options["evaluate"], options["validation"], options["every"]
        self.callbacks: list[Any] = [
            c if any([hasattr(c, t) for t in _TIMES]) else _AtEpoch(c) for c in options["callbacks"]
        ]
        folder = options["checkpoints"]
        is_path = isinstance(folder, str | os.PathLike)
        self.checkpoints = imported("tracegrad.io").Checkpoints(folder) if is_path else folder
        self.progress, self.on_nan, self.check = chosen(options["progress"]), options["on_nan"], options["check"]
        self.history = History()
        self.now = _Now(options["state"], 0, 0, 0, 0, 0, Running(), [])
        self.pending: list[tuple[Running, int, dict[str, Any], int]] = []  # metrics that were not looked at yet
        self.seconds = 0.0  # before this run
        self.began = self.looked = self.showed = time.monotonic()
        self.saved: Any = None  # where training was at the last checkpoint
        # To find a NaN again: the last two states that were looked at, how many steps each is, and the batches since.
        self.trail: list[tuple[Any, int, list[Any]]] = []
        self.donates = bool(getattr(self.step, "donates", False))
        self.stepping = False
        self.batch: Any = None
        self.types = ""  # of the first batch

    # -- Going on from a checkpoint

    def resume(self) -> None:
        found = None if self.checkpoints is None else self.checkpoints.latest()
        if found is None:
            return
        extra, like = found.extra, self.now.state
        state = tree.tree_map(_placed, found.load(like=like), like)
        self.history.rows[:] = extra["rows"]
        self.seconds = extra["seconds"]
        for callback, (name, data) in zip(self.callbacks, extra["callbacks"], strict=False):
            if data is not None and name == type(callback).__name__:
                callback.restore(data, state)
        running = Running.of(extra["running"])
        rows = len(self.history)
        self.now = _Now(
            state, extra["epoch"], extra["place"], found.step, extra["examples"], rows, running, self.keeping()
        )
        self.saved = self.now

    def keeping(self) -> list[Any]:
        return [[type(c).__name__, c.data() if hasattr(c, "data") else None] for c in self.callbacks]

    def save(self) -> None:
        """Write where training is, unless that was written last."""
        if self.checkpoints is None or self.now is self.saved:
            return
        self.look()
        now = self.now
        if self.on_nan != "ignore" and (found := not_finite(now.state)):
            self.not_a_number(f"the state is not finite ({found[0]})", now.step)
        extra = {
            "epoch": now.epoch, "place": now.place, "examples": now.examples, "seconds": self.elapsed(),
            "rows": self.history.rows[: now.rows], "running": now.running.data(), "callbacks": now.kept,
        }  # fmt: skip
        self.checkpoints.save(now.step, now.state, extra, metrics=self.history.rows[now.rows - 1] if now.rows else {})
        self.saved = now

    def save_if_due(self, ended: bool) -> None:
        if self.checkpoints is not None:
            epoch = self.now.epoch - ended
            if self.checkpoints.should_save(self.now.step, epoch, self.elapsed(), ended=ended):
                self.save()

    def elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.began

    # -- Running

    def run(self) -> Fitted:
        self.progress.start(self.epochs)
        try:
            try:
                reason = self.train()
                self.save()
            except KeyboardInterrupt:
                if self.donates and self.stepping:  # its state was given away, and what came of it is not there
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
        return Fitted(self.now.state, self.history, reason, best)

    def train(self) -> str:
        self.now, stop = self.tell("start", self.now, {})
        while stop is None and not self.done():
            stop = self.epoch()
            if self.once:
                break
        return "finished" if stop is None else stop.reason

    def done(self) -> bool:
        now = self.now
        return (self.epochs is not None and now.epoch >= self.epochs) or self.enough()

    def enough(self) -> bool:
        return self.steps is not None and self.now.step >= self.steps

    def epoch(self) -> Stop | None:
        found = epoch_of(self.batches, self.now.epoch, self.now.place)
        total = len(self.batches) if hasattr(self.batches, "__len__") else None
        self.at_start = time.monotonic(), self.now.examples
        stop = None
        ended = True
        # A thread that reads ahead ends with the epoch. An iterator of the user's may be gone on with.
        with (
            contextlib.closing(cast(Any, found))
            if hasattr(found, "close") and not self.once
            else contextlib.nullcontext()
        ):
            for batch in found:
                stop = self.one(batch, total)
                self.save_if_due(False)
                if stop is not None or self.enough():
                    ended = self.now.place == total
                    break
        if not self.now.place:
            raise ValueError(
                f"batches gave no batch in epoch {self.now.epoch}; an iterator is used up after one: pass a list, "
                "tg.data.batches(...), or a function of the epoch"
            )
        if not ended:
            self.save()  # before the rest of this epoch becomes a row, which a resumed run makes of all of it
        return self.close(ended, total) or stop

    def one(self, batch: Any, total: int | None) -> Stop | None:
        """A step."""
        now = self.now
        self.batch = batch = tree.tree_map(_array, batch)
        first = not self.types
        before = tree.tree_map(_copied, now.state) if first and self.donates and self.check else now.state
        self.stepping = True
        out = self.step(now.state, batch)
        if type(out) is not tuple or len(out) != 2 or not isinstance(out[1], dict):
            raise TypeError(f"step must return (state, metrics) with metrics a dict, got {_told(out)}")
        state, metrics = out
        weight = batch_size(batch)
        examples = now.examples + weight
        new = now._replace(state=state, place=now.place + 1, step=now.step + 1, examples=examples)
        if first:
            self.types = batch_types(batch)
            self.donates = self.donates or any([is_gone(x) for x in tree.tree_leaves(now.state)])
            if self.check and not any([is_gone(x) for x in tree.tree_leaves(before)]):
                for text in first_step(self.step, before, state, batch):
                    warnings.warn(f"fit: {text}", TrainingWarning, stacklevel=6)
        if self.donates:
            self.now = new  # there is no way back
        self.stepping = False
        self.pending.append((now.running, new.place, metrics, weight))
        if self.on_nan == "explain" and not self.donates:
            if not self.trail:
                self.trail = [(now.state, now.step, [])]
            self.trail[-1][2].append(batch)
        new, stop = self.tell("step", new, metrics)
        self.now = new
        moment = time.monotonic()
        if moment - self.looked >= _LOOKS or not any([is_jax_array(x) for x in tree.tree_leaves(metrics)]):
            self.look()
            if moment - self.showed >= _LOOKS:
                self.showed = moment
                self.progress.show(now.epoch, new.place, total, new.running.value(), self.speed())
        return stop

    def speed(self) -> str:
        began, examples = self.at_start
        return rate(self.now.examples - examples, time.monotonic() - began)

    def look(self) -> None:
        """Take in the metrics of the steps since the last look, for which a device may have to be waited for."""
        self.looked = time.monotonic()
        now = self.now
        for running, place, metrics, weight in self.pending:
            if place <= running.count or (running is now.running and place > now.place):
                continue
            if self.on_nan != "ignore" and not is_finite(loss := _loss(metrics)):
                self.not_a_number(f"the loss is {np.asarray(loss)}", now.step - now.place + place)
            running.add(metrics, weight)
        self.pending = []
        if self.trail:
            self.trail = [self.trail[-1], (now.state, now.step, [])]

    def close(self, ended: bool, total: int | None) -> Stop | None:
        """What is measured in an epoch becomes a row of the history."""
        self.look()
        now = self.now
        row: dict[str, Any] = {"epoch": now.epoch, "step": now.step, **now.running.value()}
        if self.validation is not None and (
            (now.epoch + 1) % self.every == 0 or not ended or now.epoch + 1 == self.epochs
        ):
            row.update(self.validated(now.state))
        row["seconds"] = self.elapsed()
        self.history.rows[now.rows :] = [row]
        done = now._replace(epoch=now.epoch + 1, place=0, rows=now.rows + 1, running=Running()) if ended else now
        done, stop = self.tell("epoch", done, {}, row)
        head = self.progress.head(now.epoch, now.place, total)
        told = numbers({name: x for name, x in row.items() if name not in ("epoch", "step", "seconds")})
        self.progress.epoch(f"{head}  {told}  {row['seconds']:.1f} s  {self.speed()}")
        if ended:
            self.now = done
            self.save_if_due(True)
        return stop

    def validated(self, state: Any) -> dict[str, Any]:
        given = self.validation
        whole = isinstance(given, tuple | dict | np.ndarray) or is_jax_array(given)
        found = []
        for batch in [given] if whole else epoch_of(given, 0):
            batch = tree.tree_map(_array, batch)
            found.append((self.evaluate(state, batch), batch_size(batch)))
        if not found:
            raise ValueError(
                "validation gave no batch; an iterator is used up after one epoch: pass a list, or a tuple of arrays"
            )
        running = Running()
        for metrics, weight in found:
            running.add(metrics, weight)
        return {f"val_{name}": x for name, x in running.value().items()}

    def tell(
        self, when: str, now: _Now, latest: dict[str, Any], row: dict[str, Any] | None = None
    ) -> tuple[_Now, Stop | None]:
        """What callbacks make of where training is now, and whether one of them ends it."""
        stop = None
        for callback in self.callbacks:
            function = getattr(callback, when, None)
            if function is None:
                continue
            run = Run(
                lambda: row if row is not None else self.measured(),
                lambda state=now.state: tree.tree_map(_copied, state) if self.donates else state,
                epoch=now.epoch if row is None else row["epoch"], step=now.step, latest=latest, history=self.history,
                steps_per_epoch=len(self.batches) if hasattr(self.batches, "__len__") else None,
                seconds=self.elapsed(), examples=now.examples,
            )  # fmt: skip
            out = function(run)
            if isinstance(out, Stop):
                stop = stop or out
            elif isinstance(out, Replace):
                now = now._replace(state=out.state)
                self.trail = []
            elif isinstance(out, dict) and row is not None:
                row.update(out)
            elif out is not None:
                raise TypeError(
                    f"{type(callback).__name__}.{when} returned {type(out).__name__}; a callback returns None, Stop(reason), "
                    "Replace(state), or at the end of an epoch a dict of numbers"
                )
        return (now._replace(kept=self.keeping()) if self.callbacks else now), stop

    def measured(self) -> dict[str, Any]:
        """The metrics of the epoch so far, with those of a step of which callbacks are just being told."""
        running = self.now.running.copy()
        for of, place, metrics, weight in self.pending:
            if of is self.now.running and place > running.count:
                running.add(metrics, weight)
        return running.value()

    # -- When something is wrong

    def not_a_number(self, what: str, number: int) -> None:
        """End: the loss of a step, or the state after it, is not finite."""
        error = NanError()
        error.state, error.batch = None, None
        text = f"fit: {what} at step {number}, in epoch {self.now.epoch}"
        trail, self.trail = self.trail, []
        if found := self.culprit(trail):
            error.state, error.batch, number = found
            text = f"fit: {what} at step {number}, in epoch {self.now.epoch}"
            if data := where_not_finite(error.batch):
                text += f"; {data}"
            explain = getattr(imported("tracegrad.debug"), "explain_nan", None)
            error.explanation = None if explain is None else explain(self.step, error.state, error.batch)
            text += "" if error.explanation is None else f"\n{error.explanation}"
            self.now = self.now._replace(state=error.state)
        elif self.on_nan == "explain" and self.donates:
            text += (
                "; the state before that was donated. Run it again from a checkpoint without donate_argnums, and the line "
                "will be named"
            )
        error.args = (text,)
        raise error

    def culprit(self, trail: list[tuple[Any, int, list[Any]]]) -> tuple[Any, Any, int] | None:
        """The first step after which something is not finite that was so before: its state, batch and number."""
        for _, number, batches in trail[:1]:
            state = trail[0][0]
            for batch in [*batches, *[b for later in trail[1:] for b in later[2]]]:
                number += 1
                after, metrics = self.step(state, batch)
                if not is_finite(_loss(metrics)) or (not_finite(after) and not not_finite(state)):
                    return state, batch, number
                state = after
        return None

    def failed(self, error: BaseException) -> None:
        """Tell with an error where training was, and keep what there is."""
        now = self.now
        note = f"fit: this was in epoch {now.epoch}, after {now.place} batches of it and {now.step} steps in all"
        if self.stepping and self.types and (types := batch_types(self.batch)) != self.types:
            note += f"; the batch is {types}, and the first one was {self.types}"
        if self.checkpoints is not None and not isinstance(error, NanError):
            try:
                if not (self.donates and self.stepping):
                    self.save()
                    self.checkpoints.wait()
            except Exception as second:
                note += f"; the state could not be saved: {second}"
        if self.saved is not None:
            note += f"; the last checkpoint, of step {self.saved.step}, is in {self.checkpoints.folder}"
        error.add_note(note)
        with contextlib.suppress(Exception):
            error.fitted = self.fitted(f"{type(error).__name__}")  # type: ignore[attr-defined]


def _array(x: Any) -> Any:
    """A leaf of a batch as an array, where it is of another library."""
    if (
        type(x) is np.ndarray
        or isinstance(x, np.ndarray | np.generic | bool | int | float | complex)
        or is_jax_array(x)
    ):
        return x
    found = np.asarray(x)
    if found.dtype.kind in "OUSV":
        raise TypeError(f"a batch is a tree of arrays of numbers, and a leaf of it is {type(x).__name__} ({x!r:.60})")
    return found


def _placed(new: Any, old: Any) -> Any:
    """What was loaded, where that is which it takes the place of."""
    return imported("tracegrad.xla.devices").device_put(new, old.sharding) if is_jax_array(old) else new


def _copied(x: Any) -> Any:
    return x.copy() if hasattr(x, "copy") else x


def is_gone(x: Any) -> bool:
    """Whether an array of jax's was donated."""
    return is_jax_array(x) and x.is_deleted()


def _loss(metrics: dict[str, Any]) -> Any:
    loss = metrics.get("loss", 0.0)
    return np.asarray(loss.numerator) / np.asarray(loss.denominator) if isinstance(loss, Ratio) else loss


def _told(out: Any) -> str:
    return f"({', '.join([type(x).__name__ for x in out])})" if type(out) is tuple else type(out).__name__


def described(state: Any) -> str:
    """The parameters of a state, or all that it has, line by line."""
    found = tree.tree_leaves_with_path(getattr(state, "params", state))
    rows = [
        (".".join([str(getattr(k, "key", k)) for k in path]) or "params", type_of(x), np.size(x)) for path, x in found
    ]
    width = max([len(name) for name, _, _ in rows], default=0)
    lines = [f"{name:{width}}  {t!s:20} {size:>12,}" for name, t, size in rows]
    return "\n".join([*lines, f"{'in all':{width}}  {'':20} {sum([size for *_, size in rows]):>12,}"])
