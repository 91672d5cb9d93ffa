"""A variational autoencoder of handwritten digits: images laid out on a plane, and new ones drawn from it.

    python examples/gallery/digits_vae.py                    # half a minute
    python examples/gallery/digits_vae.py --backend xla

The encoder says of an image where on the plane it might come from, as a normal distribution there; the decoder says of a point of
the plane how likely ink is in each pixel. They are trained together to make the evidence lower bound (ELBO) as large as they can:
how well an image is rebuilt from a point that is drawn for it, less the divergence of that distribution from the standard normal
one. It bounds the logarithm of the image's probability from below.

Pixels are made black or white here, so that an image has a probability. What is asserted is by how much that bound, for held-out images, is above the log-probability that the best model of independent
pixels gives them: nats that come from what the plane knows of shapes. No label is ever shown; the colours of the picture are put on
afterwards.

Source: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "150", "--expect", "0.5"]
BATCH_SIZE = 64
SIDE = 12  # of the sheet of images, and of digits in the picture

net = nn.models.vae(64, latent=2, width=256)


def loss(params: Any, images: Any, *, key: Any) -> Any:
    """The mean of minus the ELBO, in nats an image."""
    return np.mean(net.negative_elbo(params, images, key))


def independent(known: Any, held_out: Any) -> float:
    """Minus the log-probability of an image if each pixel has its own chance of ink and knows of no other, in nats."""
    chance = np.clip(known.mean(0), 1e-3, 1 - 1e-3)
    return -float(np.mean(np.sum(held_out * np.log(chance) + (1 - held_out) * np.log(1 - chance), 1)))


def draw(params: Any, images: Any, labels: Any, history: Any, pixels: float, key: Any) -> Any:
    """The bound in training, where held-out images come to lie, what the decoder makes of a grid of points, and of drawn ones."""
    figure, ((curve, plane), (sheet, drawn)) = plt.subplots(2, 2, figsize=(8, 7.6), layout="constrained")
    curve.plot(history["step"], -np.array(history["loss"]), label="training")
    curve.plot(history["step"], -np.array(history["val_loss"]), label="held out")
    curve.axhline(-pixels, color="grey", ls=":", label="independent pixels")
    curve.set(xlabel="step", title="ELBO, nats per image")
    curve.legend(fontsize=8)

    mean, _ = net.encoder(params["encoder"], images)
    for digit in range(10):
        plane.scatter(*mean[labels == digit].T, s=30, lw=0.4, color=f"C{digit}", marker=f"${digit}$")
    plane.set(title="where held-out images lie on the plane")

    across = np.linspace(-2, 2, SIDE, dtype=np.float32)
    grid = np.stack(np.meshgrid(across, across[::-1]), -1)
    points = tg.random.normal(key, (SIDE, SIDE, 2), np.float32)
    for axes, z, title in (
        (sheet, grid, "a grid of the plane, decoded"),
        (drawn, points, "random points of the plane, decoded"),
    ):
        tiles = nn.sigmoid(net.decoder(params["decoder"], z)).reshape(SIDE, SIDE, 8, 8)
        tiles = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1)))
        axes.imshow(tiles.swapaxes(1, 2).reshape(10 * SIDE, 10 * SIDE), cmap="gray_r")
        axes.set(title=title)
        axes.axis("off")
    return figure


def main(argv: list[str]) -> float:
    """Trains, draws, asserts how far the bound is above independent pixels and returns that."""
    args = options(argv, __doc__, file=__file__, steps=3000, expect=4.0)
    images, labels = tg.data.digits()
    images = (images.reshape(-1, 64) > 0.5).astype(np.float32)
    (known, _), (held_out, held_labels) = tg.data.split((images, labels), 0.8, key=args.seed, stratify=labels)
    opt = tg.optim.adam(tg.optim.cosine_decay_schedule(2e-3, args.steps))
    params = net.init(args.seed, known[:1])
    start = tg.train.TrainState(np.int32(0), params, opt.init(params), {}, tg.random.key(args.seed))
    state, history, *_ = tg.fit(
        tg.jit(tg.train.make_step(loss, opt), backend=args.backend, donate_argnums=0),
        start,
        tg.data.batches(known, BATCH_SIZE, key=args.seed),
        steps=args.steps,
        evaluate=tg.jit(lambda state, images: {"loss": loss(state.params, images, key=tg.random.key(0))}),
        validation=[held_out],
    )
    params = tg.tree.map(np.asarray, state.params)

    pixels = independent(known, held_out)
    bound = tg.jit(loss)
    reached = np.mean([bound(params, held_out, key=key) for key in tg.random.split(tg.random.key(args.seed), 20)])
    print(f"minus the log-probability, nats per image: at most {reached:.2f}; independent pixels {pixels:.2f}")
    save(draw(params, held_out, held_labels, history, pixels, tg.random.key(args.seed)), args.picture)
    return hold("nats per image above independent pixels", pixels - reached, at_least=args.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
