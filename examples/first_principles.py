"""Handwritten digits, learnt by a multi-layer perceptron from first principles.

Everything is in this file: a network is a pure function of its parameters, the parameters are a plain list of dicts of
NumPy arrays, and `tg.value_and_grad` turns the loss into a function that also gives the derivative with respect to each
of them, in the same list of dicts. The functions are written with `import numpy as np` and would run without tracegrad;
they are differentiated as they stand. `examples/train_digits.py` is shorter and reads more digits rightly, by what the library
has for nets, optimisers and the loop.

    python examples/first_principles.py                 # some seconds; leaves first_principles.png
    python examples/first_principles.py --epochs 3 --expect 0.9

The data are the 1,797 images of 8 × 8 pixels that come with scikit-learn. A fifth of them, of each digit alike, is held
out: the network never sees it in training, and the accuracy that is asserted at the end is measured on it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws into files; needs no screen
import matplotlib.pyplot as plt
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tracegrad as tg

Array = np.ndarray
Params = list[dict[str, Array]]

LAYER_SIZES = (64, 128, 64, 10)
BATCH_SIZE = 32
STEP_SIZE = 0.1  # at the first step; falls linearly to 0 at the last
MOMENTUM = 0.9
NOISE = 0.2  # standard deviation of what is added to each pixel in training, where paper is 0 and ink is 1


# --- The model: pure functions of parameters and data ---------------------------------------------------------------


def init_params(rng: np.random.Generator, layer_sizes: Sequence[int]) -> Params:
    """A weight matrix and a bias for each layer. A variance of 2 / fan-in keeps activations at one scale (He 2015)."""
    return [
        {"W": rng.normal(0, np.sqrt(2 / n), (n, m)).astype(np.float32), "b": np.zeros(m, np.float32)}
        for n, m in pairwise(layer_sizes)
    ]


def predict(params: Params, images: Array) -> Array:
    """Scores of the ten digits, (n, 10), for images of shape (n, 64): the larger, the likelier."""
    activations = images
    for layer in params[:-1]:
        activations = tg.nn.relu(activations @ layer["W"] + layer["b"])
    return activations @ params[-1]["W"] + params[-1]["b"]


def loss(params: Params, images: Array, labels: Array) -> Array:
    """Minus the logarithm of the probability that the network gives to the true digit, on average over the images."""
    return np.mean(tg.nn.softmax_cross_entropy_with_integer_labels(predict(params, images), labels))


def accuracy(params: Params, images: Array, labels: Array) -> float:
    """The fraction of images whose highest score is that of the true digit."""
    return float(np.mean(np.argmax(predict(params, images), axis=1) == labels))


# --- Training: gradient descent with momentum -----------------------------------------------------------------------

# The whole of differentiation is this line. The derivative is with respect to the first argument, the parameters, and
# has their structure, so that `tg.tree.map` walks parameters, velocity and derivative side by side.
loss_and_gradient = tg.value_and_grad(loss)


@tg.jit  # traced once for each size of batch, then run as generated NumPy; without this line the same numbers come later
def update(
    params: Params, velocity: Params, images: Array, labels: Array, step_size: float
) -> tuple[Params, Params, Array]:
    """One step downhill. Returns the new parameters, their velocity, and the loss before the step."""
    value, gradient = loss_and_gradient(params, images, labels)
    velocity = tg.tree.map(lambda v, g: MOMENTUM * v - step_size * g, velocity, gradient)
    params = tg.tree.map(lambda p, v: p + v, params, velocity)
    return params, velocity, value


def batches(rng: np.random.Generator, images: Array, labels: Array) -> Iterator[tuple[Array, Array]]:
    """The training set once, in random order, BATCH_SIZE images at a time, with fresh noise on each.

    Noise makes every epoch's images new to the network, which then learns shapes rather than single pixels.
    """
    order = rng.permutation(len(images))
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        noise = rng.normal(0, NOISE, images[chosen].shape).astype(np.float32)
        yield images[chosen] + noise, labels[chosen]


def load_data(seed: int) -> tuple[Array, Array, Array, Array]:
    """Training images, test images, training labels, test labels: (n, 64) from 0 to 1, and (n,) from 0 to 9."""
    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    return tuple(train_test_split(images, digits.target, test_size=0.2, stratify=digits.target, random_state=seed))


# --- The picture ----------------------------------------------------------------------------------------------------


def draw(
    path: Path, params: Params, images: Array, labels: Array, train_losses: list[float], test_losses: list[float]
) -> None:
    """Saves the loss curves and the test images that the network misreads, each with its true and predicted digit."""
    predicted = np.argmax(predict(params, images), axis=1)
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[:20]

    figure = plt.figure(figsize=(11, 4), layout="constrained")
    curves, gallery = figure.subfigures(1, 2, width_ratios=(1, 1.2))
    axes = curves.subplots()
    epochs = np.arange(1, len(test_losses) + 1)
    steps = np.linspace(0, epochs[-1], len(train_losses))
    axes.plot(steps, train_losses, lw=0.5, alpha=0.4, label="training, each batch")
    axes.plot(epochs, np.mean(np.reshape(train_losses, (len(epochs), -1)), axis=1), color="C0", label="its mean")
    axes.plot(epochs, test_losses, label="held out, without noise")
    axes.set(xlabel="epoch", ylabel="cross entropy", yscale="log")
    axes.legend()

    gallery.suptitle(f"{len(wrong)} of {len(labels)} held-out digits misread: true → predicted")
    columns = 5 if len(shown) > 8 else 4
    rows = max(1, -(-len(shown) // columns))
    cells = gallery.subplots(rows, columns, subplot_kw={"frame_on": False, "xticks": [], "yticks": []})
    for axes, index in zip(cells.flat, shown, strict=False):
        axes.imshow(images[index].reshape(8, 8), cmap="gray_r")
        axes.set_title(f"{labels[index]} → {predicted[index]}")

    # Written beside its place and then moved there, so that nobody ever sees half a picture.
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        figure.savefig(Path(folder) / "picture", format="png", dpi=120)
        os.replace(Path(folder) / "picture", path)
    plt.close(figure)


# --- The run --------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> float:
    """Trains, draws, asserts the accuracy on the held-out fifth and returns it."""
    parser = argparse.ArgumentParser(description="Train a multi-layer perceptron on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training set (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default %(default)s)")
    parser.add_argument("--expect", type=float, default=0.97, help="least accuracy on the held-out fifth (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("first_principles.png"), help="where the picture goes (%(default)s)"
    )
    options = parser.parse_args(argv)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")

    train_images, test_images, train_labels, test_labels = load_data(options.seed)
    rng = np.random.default_rng(options.seed)
    params = init_params(rng, LAYER_SIZES)
    velocity = tg.tree.map(np.zeros_like, params)
    train_losses: list[float] = []
    test_losses: list[float] = []
    steps = options.epochs * -(-len(train_images) // BATCH_SIZE)

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeElapsedColumn()
    ) as progress:
        task = progress.add_task("training", total=steps)
        for epoch in range(options.epochs):
            for images, labels in batches(rng, train_images, train_labels):
                step_size = STEP_SIZE * (1 - len(train_losses) / steps)
                params, velocity, value = update(params, velocity, images, labels, step_size)
                train_losses.append(float(value))
                progress.advance(task)
            test_losses.append(float(loss(params, test_images, test_labels)))
            right = accuracy(params, test_images, test_labels)
            progress.update(task, description=f"epoch {epoch + 1}, {right:.1%} of the held-out digits right")

    draw(options.out, params, test_images, test_labels, train_losses, test_losses)
    reached = accuracy(params, test_images, test_labels)
    print(f"{reached:.2%} of {len(test_labels)} held-out digits read rightly; the picture is in {options.out}")
    assert reached >= options.expect, f"expected an accuracy of at least {options.expect}, got {reached:.4f}"
    return reached


if __name__ == "__main__":
    main(sys.argv[1:])
