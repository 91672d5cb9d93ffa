"""LeNet-5 on 5,000 images of MNIST, 500 of each digit: trained on 4,000, tested on 1,000.

    pip install 'tracegrad[data]'
    python examples/gallery/mnist_lenet.py                    # under a minute
    python examples/gallery/mnist_lenet.py --backend xla

The picture shows one digit on its way through the network, what the filters of both convolutions make of it, beside the table of
which digits are taken for which.

Where other programs keep the processors busy, OPENBLAS_NUM_THREADS=1 in the environment makes it several times faster: the threads
of BLAS wait for each other after each product, and these are small.

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proceedings of the IEEE 1998.
Here the units are rectified, the largest of four is kept where they took a mean, and Adam takes the steps.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "120", "--expect", "0.8"]
BATCH_SIZE = 50
STEP_SIZE = 2e-3  # rises to this in the first twentieth of training, and falls to 0 along a cosine

net = nn.models.lenet5(padding="SAME")


def loss(params: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
    """Cross entropy, and the accuracy."""
    images, labels = batch
    logits = net(params, images)
    value = np.mean(nn.softmax_cross_entropy_with_integer_labels(logits, labels))
    return value, {"accuracy": tg.metrics.accuracy(logits, labels)}


def maps(params: Any, image: Any) -> list[Any]:
    """What both convolutions make of an image, [filters, height, width] each: the network's first layers, called by themselves."""
    first = nn.relu(nn.Conv(6, 5)(params["Conv_0"], image[None]))
    pooled = nn.max_pool(2)({}, first)
    second = nn.relu(nn.Conv(16, 5, padding="VALID")(params["Conv_1"], pooled))
    return [np.moveaxis(np.asarray(x)[0], -1, 0) for x in (first, second)]


def draw(params: Any, images: Any, confusion: Any) -> Any:
    """An image, what the filters make of it, and how often each digit is taken for each."""
    figure = plt.figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    cells = left.subplots(3, 8, subplot_kw={"xticks": [], "yticks": [], "frame_on": False})
    first, second = maps(params, images[0])
    for cell, pixels in zip(cells.flat, [images[0], *first, None, *second], strict=True):
        if pixels is not None:
            cell.imshow(pixels, cmap="gray_r")
    for cell, title in ((cells[0, 0], "an image"), (cells[0, 1], "after 6 filters"), (cells[1, 0], "after 16 more")):
        cell.set_title(title, loc="left", fontsize=10)
    axes = right.subplots()
    axes.imshow(np.log1p(confusion), cmap="Blues")
    for (true, taken), count in np.ndenumerate(confusion):
        if count:
            axes.text(
                taken, true, count, ha="center", va="center", fontsize=7, color="white" if true == taken else "black"
            )
    axes.set(xlabel="taken for", ylabel="digit", xticks=range(10), yticks=range(10), title="held-out images")
    return figure


def main(argv: list[str]) -> float:
    """Trains, asserts the accuracy on the held-out fifth and returns it."""
    args = options(argv, __doc__, file=__file__, steps=960, expect=0.965)
    images, labels = tg.data.mnist5k()
    training, held_out = tg.data.split((images[..., None], labels), 0.8, key=args.seed, stratify=labels)
    moved = tg.jit(tg.data.augment.shift(2))
    batches = tg.data.batches(training, BATCH_SIZE, key=args.seed, transform=moved)
    opt = tg.optim.adam(tg.optim.warmup_cosine_decay_schedule(0.0, STEP_SIZE, args.steps // 20, args.steps))
    state, *_ = tg.fit(
        tg.jit(tg.train.make_step(loss, opt), backend=args.backend, donate_argnums=0),
        tg.train.start(net, opt, args.seed, (1, 28, 28, 1)),
        batches,
        steps=args.steps,
        evaluate=tg.jit(tg.train.make_evaluate(loss), backend=args.backend),
        validation=held_out,
    )
    read = np.argmax(np.asarray(net(state.params, held_out[0])), -1)
    save(draw(state.params, held_out[0], tg.metrics.confusion_matrix(read, held_out[1], 10)), args.picture)
    return hold("accuracy on the held-out fifth", np.mean(read == held_out[1]), at_least=args.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
