"""A photograph made sharp again: deconvolution with total variation, against Wiener's filter.

    python examples/gallery/photo_deblur.py                    # some seconds
    python examples/gallery/photo_deblur.py --backend xla

A camera that moves along an arc while the shutter is open adds up shifted copies of a scene, and its sensor adds noise. How it moved is
known here, what it saw is looked for: the image x for which

    |blur(x) - seen|² / 2 + 0.001 total variation(x)

is least. The second term adds up the lengths of all differences between neighbours. It is small for images of flat parts and sharp
edges, and large for noise. The blur is five lines of NumPy, and nothing is said of its adjoint: the gradient finds it.

Wiener's filter is the best linear answer for a scene whose spectrum is known. Here it takes the power to fall as 1 / frequency², as it does
in most photographs, and of 41 strengths the one that comes nearest to the true photograph, which nobody has who needs a filter; and the
edges of the scene are joined, as those of its Fourier transforms are. What is asserted is how many decibels better total variation
does even so. (Of its weight two values were tried.) The picture shows a part.

Source: Rudin, Osher and Fatemi, "Nonlinear total variation based noise removal algorithms", Physica D 1992; Blomgren and Chan 1998 for
colours; Wiener, "Extrapolation, interpolation, and smoothing of stationary time series", 1949. The photograph comes with scikit-learn.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track

import tracegrad as tg

QUICK = ["--steps", "60", "--expect", "0"]
NOISE = 0.01  # standard deviation, where colours go from 0 to 1
WEIGHT = 1e-3  # of total variation
TIMES = np.linspace(-1, 1, 25)
ARC = [(round(6 * t * t), round(8 * t)) for t in TIMES]  # pixels down and to the right, at these times


def blur(image: Any) -> Any:
    """What a moving camera sees of an image [height, width, 3]."""
    return sum(np.roll(image, by, (0, 1)) for by in ARC) / np.float32(len(ARC))


def total_variation(image: Any) -> Any:
    """The sum of the lengths of the differences to the neighbours below and to the right, of all colours together."""
    down, right = (np.roll(image, -1, axis) - image for axis in (0, 1))
    return np.sum(np.sqrt(np.sum(down**2 + right**2, -1) + np.float32(1e-6)))  # rounded where there is no difference


def objective(image: Any, seen: Any) -> Any:
    return np.sum((blur(image) - seen) ** 2) / 2 + np.float32(WEIGHT) * total_variation(image)


def decibels(image: Any, true: Any) -> float:
    """The peak signal-to-noise ratio: 10 more for a tenth of the mean squared error."""
    return -10 * float(np.log10(np.mean((np.asarray(image) - true) ** 2)))


def wiener(seen: Any, true: Any) -> Any:
    """The linear filter for scenes whose power falls as 1 / frequency², of the strength that comes nearest to `true`."""
    point = np.zeros_like(true)
    point[0, 0] = 1
    transfer, spectrum = (np.fft.fft2(x, axes=(0, 1)) for x in (blur(point), seen))
    down, right = (np.fft.fftfreq(n) for n in true.shape[:2])
    rising = (down[:, None] ** 2 + right**2)[..., None]
    found = []
    for strength in np.logspace(-3, 3, 41):
        kept = np.conj(transfer) / (np.abs(transfer) ** 2 + strength * rising)
        found.append(np.fft.ifft2(kept * spectrum, axes=(0, 1)).real)
    return max(found, key=lambda image: decibels(image, true))


def main(argv: list[str]) -> float:
    """Blurs, makes sharp, draws, asserts by how much that is better than Wiener's filter and returns it."""
    args = options(argv, __doc__, file=__file__, steps=300, expect=1.0)
    true = tg.data.flower()[60:300, 140:500]
    seen = blur(true) + np.float32(NOISE) * tg.random.normal(tg.random.key(args.seed), true.shape, np.float32)
    opt = tg.optim.adam(tg.optim.cosine_decay_schedule(0.03, args.steps))

    @tg.jit(backend=args.backend)
    def step(image: Any, opt_state: Any) -> Any:
        value, gradient = tg.value_and_grad(objective)(image, seen)
        image, opt_state = tg.optim.step(opt, gradient, opt_state, image)
        return image, opt_state, value

    image, opt_state = seen, opt.init(seen)
    for i in track(range(args.steps), "making sharp"):
        image, opt_state, value = step(image, opt_state)
        if i % 50 == 0:
            print(f"step {i}: objective {float(value):.3f}, {decibels(image, true):.2f} dB")

    shown = {"seen": seen, "Wiener's filter": wiener(seen, true), "total variation": image, "true": true}
    figure, cells = plt.subplots(2, 2, figsize=(5.8, 4.3), layout="constrained")
    for cell, (name, pixels) in zip(cells.flat, shown.items(), strict=True):
        cell.imshow(np.clip(pixels[60:204, 100:316], 0, 1), interpolation="bilinear")
        cell.set_title(name if pixels is true else f"{name}: {decibels(pixels, true):.1f} dB")
        cell.axis("off")
    save(figure, args.picture)
    better = decibels(image, true) - decibels(shown["Wiener's filter"], true)
    return hold("decibels above Wiener's filter", better, at_least=args.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
