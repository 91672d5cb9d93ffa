"""Handwritten digits of 8 × 8 pixels, learnt by a small convolutional network: 99 of 100 right.

    python examples/digits_convnet.py                  # under half a minute; three splits, one after the other
    python examples/digits_convnet.py --epochs 2 --splits 1 --expect 0.8

The data are the 1,797 images that come with scikit-learn. Three times a fifth of them, drawn anew and of each digit alike, is
held out, and the mean accuracy on these fifths is asserted at the end.

Where other programs keep the processors busy, OPENBLAS_NUM_THREADS=1 in the environment makes it several times faster: the threads
of BLAS wait for each other after each product, and these are small.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad import nn

BATCH_SIZE = 32
STEP_SIZE = 3e-3  # rises to this in the first twentieth of training, and falls to 0 along a cosine

net = nn.serial(
    nn.Conv(32, 3), nn.relu, nn.max_pool(2),
    nn.Conv(64, 3), nn.relu, nn.max_pool(2),
    nn.flatten, nn.Dropout(0.3), nn.Dense(128), nn.relu, nn.Dropout(0.3), nn.Dense(10),
)  # fmt: skip


def loss(params: Any, batch: Any, *, key: Any, train: bool) -> tuple[Any, dict[str, Any]]:
    """Cross entropy with labels of which a twentieth is shared among all digits; and the accuracy."""
    images, labels = batch
    logits = net.apply(params, images, key=key, train=train)
    targets = nn.smooth_labels(nn.one_hot(labels, 10), 0.05)
    value = np.mean(nn.softmax_cross_entropy(logits, targets))
    return value, {"accuracy": tg.metrics.accuracy(logits, labels)}


def train(seed: int, epochs: int) -> float:
    """Trains on four fifths; the accuracy on the other one."""
    images, labels = tg.data.digits()
    training, held_out = tg.data.split((images[..., None], labels), 0.8, key=seed, stratify=labels)
    moved = tg.jit(tg.data.augment.shift(1))
    batches = tg.data.batches(training, BATCH_SIZE, key=seed, transform=moved)
    steps = epochs * len(batches)
    opt = tg.optim.adamw(tg.optim.warmup_cosine_decay_schedule(0.0, STEP_SIZE, steps // 20, steps))
    state = tg.train.start(net, opt, seed, (1, 8, 8, 1))
    step = tg.jit(tg.train.make_step(loss, opt), donate_argnums=0)
    state, *_ = tg.fit(step, state, batches, epochs=epochs, progress=False)
    return float(np.mean(np.argmax(net(state.params, held_out[0]), -1) == held_out[1]))


def main(argv: Sequence[str]) -> float:
    """Trains on each split, asserts the mean accuracy and returns it."""
    parser = argparse.ArgumentParser(description="Train a convolutional network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=25, help="passes over the training set (default %(default)s)")
    parser.add_argument("--splits", type=int, default=3, help="how often a fifth is held out (default %(default)s)")
    parser.add_argument("--expect", type=float, default=0.99, help="least mean accuracy (default %(default)s)")
    options = parser.parse_args(argv)

    found = []
    for seed in range(options.splits):
        start = time.perf_counter()
        found.append(train(seed, options.epochs))
        print(f"split {seed}: {found[-1]:.2%} of the held-out digits right, in {time.perf_counter() - start:.1f} s")
    mean = float(np.mean(found))
    print(f"mean of {options.splits}: {mean:.2%}")
    assert mean >= options.expect, f"expected a mean accuracy of at least {options.expect}, got {mean:.4f}"
    return mean


if __name__ == "__main__":
    main(sys.argv[1:])
