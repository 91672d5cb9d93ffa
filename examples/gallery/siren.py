"""A photograph from its edges alone: a network of sines learns an image of which it sees nothing but differences.

    python examples/gallery/siren.py                    # a minute
    python examples/gallery/siren.py --backend xla

The network is a function of a place on the image, two numbers, and returns a brightness. It is never shown one. Given are only
the differences between neighbouring pixels, and its own derivatives along x and y (`tg.jvp`, inside the loss that `tg.grad` then
differentiates by the parameters) are held against those. Since activations are sines, derivatives of the network are networks
of the same kind, and carry as much.

The brightness comes out but for a constant, which is set by the mean. What is asserted is how near it is to the photograph, as
peak signal-to-noise ratio.

Source: Sitzmann, Martel, Bergman, Lindell and Wetzstein, "Implicit neural representations with periodic activation functions",
NeurIPS 2020, section 4.1. The photograph comes with scikit-learn.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "40", "--expect", "10"]
FREQUENCY = 12.0  # of the sines; the larger, the finer what is learnt first
WIDTH = 128
POINTS = 1500  # of each kind of difference in a step


def centred(scale: float) -> Any:
    """What draws weights from -scale / √inputs to scale / √inputs."""
    return lambda key, shape, dtype: (
        tg.random.uniform(key, shape, dtype, -1, 1) * np.asarray(scale / shape[0] ** 0.5, dtype)
    )


@nn.layer
def net(p: Any, place: Any) -> Any:
    """The brightness at places [..., 2] between -1 and 1."""
    first, later = centred(0.5**0.5), centred(6**0.5 / FREQUENCY)  # activations are then alike in all layers
    h = place
    for i in range(4):
        h = p(nn.Dense(WIDTH, kernel_init=later if i else first, bias_init=nn.initializers.uniform(0.1)), h)
        h = np.sin(np.float32(FREQUENCY) * h)
    return p(nn.Dense(1, kernel_init=later), h)[..., 0]


def slope(params: Any, place: Any, axis: int) -> Any:
    """The derivative of the network's brightness at places [..., 2], down (axis 0) or to the right (axis 1)."""
    direction = np.zeros_like(place) + np.eye(2, dtype=np.float32)[axis]
    return tg.jvp(lambda place: net(params, place), (place,), (direction,))[1]


def loss(params: Any, down: Any, right: Any) -> Any:
    """The squared error of the derivatives; each of `down` and `right` is places and what the derivatives are there."""
    return sum(np.mean((slope(params, place, axis) - true) ** 2) for axis, (place, true) in enumerate((down, right)))


def differences(image: Any, places: Any, axis: int) -> tuple[Any, Any]:
    """Places halfway between neighbours, and how fast the image changes from one to the other."""
    before, after = ([np.take(x, range(i, x.shape[axis] - 1 + i), axis) for x in (image, places)] for i in (0, 1))
    apart = (after[1] - before[1])[..., axis]
    return (before[1] + after[1]) / 2, (after[0] - before[0]) / apart


def main(argv: list[str]) -> float:
    """Learns from differences, draws what came of it, asserts how near that is to the photograph and returns it."""
    args = options(argv, __doc__, file=__file__, steps=900, expect=33.0)
    image = tg.data.flower()[40:424, 100:580].mean(-1)
    image = image.reshape(96, 4, 120, 4).mean((1, 3))
    rows, columns = (
        (np.arange(n, dtype=np.float32) + 0.5 - n / 2) * np.float32(2 / max(image.shape)) for n in image.shape
    )
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    known = [differences(image, places, axis) for axis in (0, 1)]

    of_net, of_batches = tg.random.split(tg.random.key(args.seed))
    opt = tg.optim.adam(tg.optim.cosine_decay_schedule(1e-3, args.steps))
    params = net.init(of_net, (1, 2))
    opt_state = opt.init(params)

    @tg.jit(backend=args.backend, donate_argnums=(0, 1))
    def step(params: Any, opt_state: Any, down: Any, right: Any) -> Any:
        value, gradient = tg.value_and_grad(loss)(params, down, right)
        return *tg.optim.step(opt, gradient, opt_state, params), value

    for i in track(range(args.steps), "learning"):
        batch = []
        for axis, (where, true) in enumerate(known):
            key = tg.random.fold_in(tg.random.fold_in(of_batches, i), axis)
            drawn = tg.random.randint(key, (POINTS,), 0, true.size)
            batch.append((where.reshape(-1, 2)[drawn], true.reshape(-1)[drawn]))
        params, opt_state, value = step(params, opt_state, *batch)
        if i % 100 == 0:
            print(f"step {i}: squared error of the derivatives {float(value):.3f}")

    found = np.asarray(net(params, places))
    found = found - found.mean() + image.mean()
    down, right = (true for _, true in known)
    shown = {
        "given: differences downwards": down,
        "given: differences to the right": right,
        "the network": found,
        "the photograph": image,
    }
    figure, cells = plt.subplots(2, 2, figsize=(7, 6), layout="constrained")
    for cell, (name, pixels) in zip(cells.flat, shown.items(), strict=True):
        low, high = (-6, 6) if name.startswith("given") else (0, 1)
        cell.imshow(pixels, cmap="gray", vmin=low, vmax=high)
        cell.set_title(name)
        cell.axis("off")
    save(figure, args.picture)
    return hold("peak signal-to-noise ratio, dB", -10 * np.log10(np.mean((found - image) ** 2)), at_least=args.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
