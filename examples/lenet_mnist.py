"""LeNet-5 on 5,000 images of MNIST, 500 of each digit: trained on 4,000, tested on 1,000.

pip install 'tracegrad[data]'
python examples/lenet_mnist.py                  # under a minute
python examples/lenet_mnist.py --epochs 1 --expect 0.8

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

BATCH_SIZE = 50
STEP_SIZE = 2e-3  # rises to this in the first twentieth of training, and falls to 0 along a cosine

net = nn.models.lenet5(padding="SAME")


def loss(params: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
    """Cross entropy, and the accuracy."""
    images, labels = batch
    logits = net(params, images)
    value = np.mean(nn.softmax_cross_entropy_with_integer_labels(logits, labels))
    return value, {"accuracy": tg.metrics.accuracy(logits, labels)}


def main(argv: Sequence[str]) -> float:
    """Trains, asserts the accuracy on the held-out fifth and returns it."""
    parser = argparse.ArgumentParser(description="Train LeNet-5 on 5,000 images of MNIST.")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training set (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default %(default)s)")
    parser.add_argument(
        "--expect", type=float, default=0.965, help="least accuracy on the held-out fifth (%(default)s)"
    )
    options = parser.parse_args(argv)

    images, labels = tg.data.mnist5k()
    training, held_out = tg.data.split((images[..., None], labels), 0.8, key=options.seed, stratify=labels)
    moved = tg.jit(tg.data.augment.shift(2))
    batches = tg.data.batches(training, BATCH_SIZE, key=options.seed, transform=moved)
    steps = options.epochs * len(batches)
    opt = tg.optim.adam(tg.optim.warmup_cosine_decay_schedule(0.0, STEP_SIZE, steps // 20, steps))
    state = tg.train.start(net, opt, options.seed, (1, 28, 28, 1))
    step = tg.jit(tg.train.make_step(loss, opt), donate_argnums=0)
    evaluate = tg.jit(tg.train.make_evaluate(loss))

    start = time.perf_counter()
    fitted = tg.fit(step, state, batches, epochs=options.epochs, evaluate=evaluate, validation=held_out)
    reached = float(fitted.history["val_accuracy"][-1])
    print(f"{reached:.2%} of {len(held_out[1])} held-out digits right, in {time.perf_counter() - start:.1f} s")
    assert reached >= options.expect, f"expected an accuracy of at least {options.expect}, got {reached:.4f}"
    return reached


if __name__ == "__main__":
    main(sys.argv[1:])
