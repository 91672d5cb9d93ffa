"""`tg.fit`: what it takes, and whether that fits together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import require_function
from tracegrad.core.errors import at, clip, user_source
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.late import imported
from tracegrad.core.tracebacks import trim
from tracegrad.core.types import type_of
from tracegrad.data.batches import Batches
from tracegrad.train.callbacks import TIMES
from tracegrad.train.loop import Fitted, Loop
from tracegrad.train.progress import chosen


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
    if (
        isinstance(batches, dict | np.ndarray)
        or is_jax_array(batches)
        or (isinstance(batches, tuple) and any([isinstance(x, np.ndarray) or is_jax_array(x) for x in batches]))
    ):
        raise TypeError(
            f"{where}: batches is a {type(batches).__name__} of data, and not of batches; write "
            "tg.data.batches(data, 32, key=0), or [data] for one batch of all"
        )
    if not callable(step):
        raise TypeError(
            f"{where}: the first argument is the step, a function (state, batch) -> (state, metrics), got {type(step).__name__}; "
            "write tg.fit(step, state, batches)"
        )
    if not callable(batches) and not hasattr(batches, "__iter__"):
        raise TypeError(
            f"{where}: batches is an iterable, or a function of the epoch, got {type(batches).__name__}; write "
            "tg.data.batches((x, y), 32, key=0)"
        )
    for name, number, least in (("epochs", epochs, 0), ("steps", steps, 0), ("every", every, 1)):
        if number is not None and not (isinstance(number, int | np.integer) and number >= least):
            raise TypeError(f"{where}: {name} is a whole number from {least} on, got {number!r}")
    if wrong := [c.__name__ for c in callbacks if isinstance(c, type)] if isinstance(callbacks, Sequence) else []:
        raise TypeError(f"{where}: callbacks are made, such as tg.train.{wrong[0]}(), got the class {wrong[0]}")
    for callback in callbacks if isinstance(callbacks, Sequence) and not isinstance(callbacks, str) else ():
        if not callable(callback) and not any([hasattr(callback, name) for name in TIMES]):
            raise TypeError(
                f"{where}: a callback is a function, or has some of {', '.join(TIMES)}; got {clip(repr(callback))}"
            )
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
    if evaluate is not None:
        require_function(evaluate, "fit", "evaluate", "evaluate=tg.jit(tg.train.make_evaluate(loss))")
    if validation is not None and not callable(validation) and not hasattr(validation, "__iter__"):
        raise TypeError(
            f"{where}: validation is a tuple or dict of arrays, or batches, got {type(validation).__name__}; write validation=(x, y)"
        )
    if on_nan not in ("explain", "raise", "ignore"):
        raise ValueError(f"{where}: on_nan is 'explain', 'raise' or 'ignore', got {on_nan!r}")
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise TypeError(
            f"{where}: callbacks is a list of them, got {type(callbacks).__name__}; write callbacks=[...] around it"
        )
    if seed is not None:
        if not isinstance(batches, Batches) or batches.key is not None:
            raise TypeError(f"{where}: seed= is the key of tg.data.batches(...) that has none, and these are not such")
        batches = batches.shuffled(seed)
    if isinstance(checkpoints, str | os.PathLike):
        checkpoints = imported("tracegrad.io").Checkpoints(checkpoints)
    elif checkpoints is not None and not hasattr(checkpoints, "should_save"):
        raise TypeError(f"{where}: checkpoints is a folder or a tg.io.Checkpoints, got {type(checkpoints).__name__}")
    loop = Loop(
        step, state, batches, once, epochs, steps, evaluate, validation, every, callbacks, checkpoints, chosen(progress), on_nan, check
    )  # fmt: skip
    if summary is not False:
        loop.notes.append(described(state) if summary is True else str(summary))
    try:
        loop.resume()
        return loop.run()
    except BaseException as error:
        trim(error)
        raise


def described(state: Any) -> str:
    """The parameters of a state, or all that it has, line by line."""
    found = tree.tree_leaves_with_path(getattr(state, "params", state))
    rows = [(tree.keystr(path, simple=True, separator="."), str(type_of(x)), np.size(x)) for path, x in found]
    rows.append(("in all", "", sum([size for *_, size in rows])))
    width = max([len(name) for name, *_ in rows])
    return "\n".join([f"{name:{width}}  {t:20} {size:>12,}" for name, t, size in rows])
