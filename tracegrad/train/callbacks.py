"""What `fit` calls as it goes: any object with some of `start(run) step(run) epoch(run) end(run)`, or a function, which is called at
the end of each epoch.

`run` is read-only: `epoch` and `step` (of batches: the number of the present epoch, and how many steps were done),
`steps_per_epoch`, `metrics` (of the epoch so far, or with validation at its end), `latest` (what the step returned), `history`,
`state`, `seconds` and `examples`. What is returned: None, `Stop`, `Replace`, or a dict of numbers for the history's row.

A callback that is to go on where it was has `data() -> tree` and `restore(data, state)`, which checkpoints keep.
"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import whole
from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.late import imported
from tracegrad.metrics import Ratio
from tracegrad.train.history import History
from tracegrad.train.step import inner_state, require_optimiser


class Stop(NamedTuple):
    """Returned by a callback: training ends, for this reason."""

    reason: str


class Replace(NamedTuple):
    """Returned by a callback: training goes on from this state."""

    state: Any


class Run:
    """What a callback is given. Its metrics wait for the device when they are asked for, and not before."""

    __slots__ = ("_facts", "_metrics", "_state")
    epoch: int
    step: int
    steps_per_epoch: int | None
    latest: dict[str, Any]
    history: History
    seconds: float
    examples: int

    def __init__(self, metrics: Callable[[], dict[str, Any]], state: Callable[[], Any], **facts: Any) -> None:
        for name, value in (("_metrics", metrics), ("_state", state), ("_facts", facts)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._facts[name]
        except KeyError:
            raise AttributeError(f"a run has no {name!r}; it has metrics, state, {', '.join(self._facts)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"a run is read-only; return Stop(reason), Replace(state) or a dict of numbers to change {name!r}"
        )

    @property
    def metrics(self) -> dict[str, Any]:
        return self._metrics()

    @property
    def state(self) -> Any:
        """The state; a copy, where the next step is given its buffers to write into."""
        return self._state()


TIMES = ("start", "step", "epoch", "end")


class AtEpoch:
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.epoch = function


class EarlyStopping:
    """Stops when a number has not become better for some epochs, and keeps the best state, which is `best` of what `fit` returns
    whether it stopped early or not.

    Args:
        monitor: the number's name in the history.
        patience: how many epochs without a better one end training.
        min_delta: by how much it must be better.
        mode: "min" or "max": which way is better.

    >>> import numpy as np, tracegrad as tg
    >>> step = lambda w, batch: (w - 0.1, {"loss": w**2})
    >>> stopping = tg.train.EarlyStopping("loss", patience=2)
    >>> fitted = tg.fit(step, 0.35, [np.ones(1)], epochs=20, callbacks=[stopping], progress=False)
    >>> len(fitted.history["loss"]), round(fitted.best, 2)
    (6, -0.05)
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, mode: str = "min") -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping{at(user_source())}: mode is 'min' or 'max', got {mode!r}")
        whole(patience, "EarlyStopping", "patience", 1)
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, min_delta, mode
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.best: Any = None
        self.best_value = math.inf if self.mode == "min" else -math.inf
        self.best_epoch: int | None = None
        self._since = 0

    def start(self, run: Any) -> None:
        if not run.step:
            self.forget()

    def epoch(self, run: Any) -> Stop | None:
        value = _measured(run, self.monitor, "EarlyStopping")
        gain = self.best_value - value if self.mode == "min" else value - self.best_value
        if gain > self.min_delta or (self.best_epoch is None and not math.isnan(value)):
            self.best, self.best_value, self.best_epoch, self._since = run.state, value, run.epoch, 0
            return None
        self._since += 1
        if self._since < self.patience:
            return None
        best = (
            "was never a number" if self.best_epoch is None else f"{self.best_value:.6g} in epoch {self.best_epoch + 1}"
        )
        return Stop(f"{self.monitor} has not become better for {self._since} epochs: best {best}")

    def data(self) -> dict[str, Any]:
        leaves = None if self.best is None else tree.tree_leaves(self.best)
        return {"leaves": leaves, "value": self.best_value, "epoch": self.best_epoch, "since": self._since}

    def restore(self, data: dict[str, Any], state: Any) -> None:
        leaves = data["leaves"]
        self.best = None if leaves is None else tree.tree_unflatten(tree.tree_structure(state), leaves)
        self.best_value, self.best_epoch, self._since = data["value"], data["epoch"], data["since"]


def _measured(run: Any, name: str, who: str) -> float:
    if name not in run.metrics:
        raise KeyError(f"{who}: there is no {name!r} among the numbers of an epoch: {', '.join(run.metrics)}")
    return float(run.metrics[name])


class CSV:
    """Writes the history into a file of comma-separated values after each epoch.

    >>> import pathlib, tempfile, numpy as np, tracegrad as tg
    >>> step = lambda w, batch: (w - 0.1, {"loss": w**2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = tg.train.CSV(f"{folder}/log.csv")
    ...     fitted = tg.fit(step, 1.0, [np.ones(1)], epochs=2, callbacks=[written], progress=False)
    ...     text = pathlib.Path(folder, "log.csv").read_text()
    >>> text.splitlines()[0]
    'epoch,step,loss,seconds'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f'CSV{at(user_source())}: a path is due, got {clip(repr(path))}; write tg.train.CSV("log.csv")'
            )
        self.path = path

    def epoch(self, run: Any) -> None:
        run.history.save(self.path)


class TensorBoard:
    """Writes the numbers of each epoch for TensorBoard, by the package tensorboardX."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            self._writer = imported("tensorboardX").SummaryWriter(os.fspath(folder))
        except ImportError:
            raise ImportError("TensorBoard writes by the package tensorboardX; pip install tensorboardX") from None

    def epoch(self, run: Any) -> None:
        for name, x in run.metrics.items():
            if np.ndim(x) == 0 and name not in ("epoch", "step"):
                kind, bare = ("validation", name[4:]) if name.startswith("val_") else ("training", name)
                self._writer.add_scalar(f"{bare}/{kind}", float(x), run.step)

    def end(self, run: Any) -> None:
        self._writer.flush()


class Timer:
    """Stops after a time: seconds, or a `datetime.timedelta`. What was trained before a resume counts.

    >>> import numpy as np, tracegrad as tg
    >>> step = lambda w, batch: (w - 0.1, {"loss": w**2})
    >>> tg.fit(step, 1.0, [np.ones(1)], epochs=5, callbacks=[tg.train.Timer(60.0)], progress=False).reason
    'finished'
    """

    def __init__(self, max_time: float | datetime.timedelta) -> None:
        seconds = max_time.total_seconds() if isinstance(max_time, datetime.timedelta) else max_time
        if not isinstance(seconds, int | float | np.number) or not seconds > 0:
            raise TypeError(
                f"Timer{at(user_source())}: the time is a number of seconds above 0, or a datetime.timedelta, got {max_time!r}"
            )
        self.max_time = float(seconds)

    def step(self, run: Any) -> Stop | None:
        return Stop(f"the {self.max_time:g} seconds of the timer are over") if run.seconds >= self.max_time else None


class LearningRates:
    """Puts the hyper-parameters that the next step of an optimiser will use into the history: `learning_rate` and others that are
    scheduled or injected.

    >>> import numpy as np, tracegrad as tg
    >>> net, opt = tg.nn.Dense(1), tg.optim.sgd(0.5)
    >>> step = tg.train.make_step(lambda params, x: np.mean(net(params, x)), opt)
    >>> state = tg.train.start(net, opt, 0, (1, 1))
    >>> batches, rates = [np.ones((4, 1), np.float32)], tg.train.LearningRates(opt)
    >>> fitted = tg.fit(step, state, batches, epochs=1, callbacks=[rates], progress=False)
    >>> fitted.history["learning_rate"]
    [0.5]
    """

    def __init__(self, opt: Any) -> None:
        require_optimiser(opt, "LearningRates")
        self.opt = opt

    def epoch(self, run: Any) -> dict[str, float]:
        told = imported("tracegrad.optim").hyperparams(self.opt, inner_state(run.state.opt_state))
        return {name: float(x) for name, x in told.items() if np.ndim(x) == 0 and not isinstance(x, bool | str)}


class Throughput:
    """Puts `examples_per_second` of each epoch into the history, validation and all else included.

    Args:
        flops: floating-point operations of one step; then there is `flops_per_second` too.

    >>> import numpy as np, tracegrad as tg
    >>> step = lambda w, batch: (w - 0.1, {"loss": w**2})
    >>> fitted = tg.fit(step, 1.0, [np.ones(1)], epochs=2, callbacks=[tg.train.Throughput()], progress=False)
    >>> fitted.history.names()
    ['epoch', 'step', 'loss', 'seconds', 'examples_per_second']
    """

    def __init__(self, flops: float | None = None) -> None:
        if flops is not None and not isinstance(flops, int | float | np.number):
            raise TypeError(f"Throughput{at(user_source())}: flops is a number, got {flops!r}")
        self.flops = flops

    def start(self, run: Any) -> None:
        self._before = run.seconds, run.examples, run.step

    def epoch(self, run: Any) -> dict[str, float]:
        seconds, examples, steps = self._before
        self._before = run.seconds, run.examples, run.step
        took = max(run.seconds - seconds, 1e-9)
        found = {"examples_per_second": (run.examples - examples) / took}
        return found if self.flops is None else {**found, "flops_per_second": self.flops * (run.step - steps) / took}


class LrFinder:
    """Raises the learning rate from step to step, notes the loss with each, and stops (Smith 2017). `suggestion()` is where the
    loss falls fastest; `.rates` and `.losses` are all there is.

    Give `fit` `on_nan="ignore"`, as the last of the rates may be too high for any number. The optimiser must hold its learning rate in its state: `tg.optim.inject_hyperparams(tg.optim.sgd)(learning_rate=1.0)`. The state
    that comes out is of no use.

    Args:
        low, high: the first and the last learning rate.
        steps: how many there are, each the same factor above the one before.
        factor: training ends too when the smoothed loss is so many times the lowest.
    """

    def __init__(self, low: float = 1e-6, high: float = 10.0, steps: int = 100, factor: float = 4.0) -> None:
        self.low, self.high, self.steps, self.factor = low, high, steps, factor
        self.rates: list[float] = []
        self.losses: list[float] = []  # smoothed
        self._sum = self._lowest = 0.0

    def _with_rate(self, state: Any, i: int) -> Replace:
        rate = self.low * (self.high / self.low) ** (i / max(self.steps - 1, 1))
        self.rates.append(rate)
        found = 0

        def replaced(node: Any) -> Any:
            nonlocal found
            if not holds_rate(node):
                return node
            found += 1
            old = np.asarray(node.hyperparams["learning_rate"])
            return node._replace(hyperparams={**node.hyperparams, "learning_rate": np.asarray(rate, old.dtype)[()]})

        holds_rate = lambda node: "learning_rate" in getattr(node, "hyperparams", ())
        opt_state = tree.tree_map(replaced, state.opt_state, is_leaf=holds_rate)
        if not found:
            raise TypeError(
                "LrFinder: no learning rate in the optimiser's state; write "
                "tg.optim.inject_hyperparams(tg.optim.sgd)(learning_rate=1.0) in place of tg.optim.sgd(1.0)"
            )
        return Replace(state._replace(opt_state=opt_state))

    def start(self, run: Any) -> Replace:
        self.rates, self.losses, self._sum, self._lowest = [], [], 0.0, math.inf
        return self._with_rate(run.state, 0)

    def step(self, run: Any) -> Stop | Replace:
        loss = run.latest["loss"]
        loss = loss.numerator / loss.denominator if isinstance(loss, Ratio) else loss
        self._sum = 0.9 * self._sum + 0.1 * float(loss)
        smooth = self._sum / (1 - 0.9 ** (len(self.losses) + 1))
        self.losses.append(smooth)
        self._lowest = min(self._lowest, smooth)
        if not smooth <= self.factor * self._lowest or len(self.losses) == self.steps:
            return Stop(f"{len(self.losses)} learning rates were tried")
        return self._with_rate(run.state, len(self.losses))

    def suggestion(self) -> float:
        """The learning rate at which the loss falls fastest."""
        if len(self.losses) < 4:
            raise ValueError(f"LrFinder: {len(self.losses)} steps are too few to say anything")
        slope = np.gradient(np.array(self.losses[:-1]), np.log(self.rates[: len(self.losses) - 1]))
        return self.rates[int(np.argmin(slope))]
