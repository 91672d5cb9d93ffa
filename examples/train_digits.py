"""Handwritten digits, learnt by a convolutional net.

    python examples/train_digits.py                 # some seconds; leaves digits.png, and checkpoints in digits/
    python examples/train_digits.py --epochs 3 --expect 0.9

Stop it at any moment and start it again: it goes on from its last checkpoint, and ends with the numbers that it would have
ended with. The data are the 1,797 images of 8 × 8 pixels that come with scikit-learn. A fifth of them, of each digit alike,
is held out: the net never sees it in training, and the accuracy that is asserted at the end is measured on it.

`examples/course/06_real_thing.py` is the same task from first principles, with everything written out: layers, loss, optimiser and loop.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad import nn

BATCH_SIZE = 32
LEARNING_RATE = 1e-2  # at its highest; a cosine brings it there and back to 0

net = nn.serial(
    nn.Conv(32, (3, 3)), nn.BatchNorm(momentum=0.9), nn.relu, nn.max_pool((2, 2)),
    nn.Conv(64, (3, 3)), nn.BatchNorm(momentum=0.9), nn.relu, nn.max_pool((2, 2)),
    nn.flatten, nn.Dropout(0.3), nn.Dense(10),
)  # fmt: skip


def loss(params: Any, batch: Any, *, state: Any, key: Any, train: bool) -> Any:
    """The mean cross-entropy of a batch; what else is to be shown; and the running statistics of the norms."""
    images, labels = batch
    scores, state = net.apply(params, images, state=state, key=key, train=train)
    losses = nn.softmax_cross_entropy_with_integer_labels(scores, labels)
    return np.mean(losses), {"accuracy": tg.metrics.accuracy(scores, labels)}, state


def main(argv: Sequence[str]) -> float:
    """Trains, draws, asserts the accuracy on the held-out fifth and returns it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training set (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default %(default)s)")
    parser.add_argument("--expect", type=float, default=0.985, help="least accuracy on what is held out (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("digits.png"), help="where the picture goes (%(default)s)")
    parser.add_argument("--checkpoints", type=Path, default=Path("digits"), help="folder to go on from (%(default)s)")
    options = parser.parse_args(argv)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")

    images, labels = tg.data.digits()
    train, test = tg.data.split((images[..., None], labels), 0.8, key=options.seed, stratify=labels)
    batches = tg.data.batches(train, BATCH_SIZE, key=options.seed, transform=tg.jit(tg.data.augment.shift(1)))
    rate = tg.optim.cosine_onecycle_schedule(options.epochs * len(batches), LEARNING_RATE)
    opt = tg.optim.adamw(rate, mask="*.kernel")

    folder = options.checkpoints / f"seed_{options.seed}"  # of another seed other images were held out
    state, history, reason, _ = tg.fit(
        tg.jit(tg.train.make_step(loss, opt)),
        tg.train.start(net, opt, options.seed, train[0][:1]),
        batches,
        epochs=options.epochs,
        evaluate=tg.jit(tg.train.make_evaluate(loss)),
        validation=test,
        checkpoints=folder,
        summary=net.summary(train[0][:1]),
    )
    if reason == "interrupted":
        raise SystemExit(
            f"interrupted after {int(state.step)} steps; start it again to go on from there, by what is in {folder}"
        )
    history.plot(options.out)

    scores, _ = net.apply(state.params, test[0], state=state.state)
    reached = float(tg.metrics.accuracy(scores, test[1]))
    print(f"{reached:.2%} of {len(test[1])} held-out digits read rightly; the picture is in {options.out}")
    assert reached >= options.expect, f"expected an accuracy of at least {options.expect}, got {reached:.4f}"
    return reached


if __name__ == "__main__":
    main(sys.argv[1:])
