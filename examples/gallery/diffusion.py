"""Denoising diffusion: points of a swiss roll, made from noise in 100 small steps.

    python examples/gallery/diffusion.py                    # under a minute
    python examples/gallery/diffusion.py --backend xla

Going forward, a little of each point is replaced by noise, again and again, until nothing of the roll is left. A network learns to
tell the noise in a point from the point and the number of the step. Going backward, what it takes for noise is removed step by step,
and a little fresh noise put in: the picture shows 2,000 points on their way.

What is asserted is the energy distance (Székely and Rizzo 2013) between points made so and held-out points of the roll, which is 0 for
equal distributions. For scale: that between two sets of true points, and that of a normal distribution with the right covariance.

Source: Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020; Nichol and Dhariwal 2021 for the cosine
schedule of noise.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad import nn

QUICK = ["--steps", "300", "--expect", "0.3"]
BATCH_SIZE = 256
LEVELS = 100  # steps of noise
SHOWN = (0, 50, 70, 80, 88, 95, 100)  # steps backward

# How much of the point's variance is left at each level, and how much noise a step puts in.
angles = (np.arange(LEVELS + 1) / LEVELS + 0.008) / 1.008 * np.pi / 2
left = (np.cos(angles) / np.cos(angles[0])) ** 2
beta = np.minimum(1 - left[1:] / left[:-1], 0.999).astype(np.float32)
left = np.cumprod(1 - beta)


def swiss_roll(key: Any, n: int) -> Any:
    """Points [n, 2] on a spiral of one and a half turns, with a little noise; each coordinate is of variance 1 or so."""
    along, across = tg.random.split(key)
    angle = 1.5 * np.pi * (1 + 2 * tg.random.uniform(along, (n,), np.float32))
    points = np.stack([angle * np.cos(angle), angle * np.sin(angle)], 1) + 0.4 * tg.random.normal(
        across, (n, 2), np.float32
    )
    return points / np.float32(7)


@nn.layer
def net(p: Any, x: Any, level: Any) -> Any:
    """The noise in the points x [n, 2], which are of these levels, [n], or all of one."""
    time = tnp.take(nn.sinusoidal(LEVELS, 32), level, axis=0)
    h = np.concatenate([x, np.sin(3 * x), np.cos(3 * x)], -1)
    h = p(nn.Dense(128), h) + p(nn.Dense(128), time)
    for _ in range(3):
        h = h + p(nn.Dense(128), nn.silu(h))
    return p(nn.Dense(2), nn.silu(h))


def loss(params: Any, points: Any, *, key: Any) -> Any:
    """The squared error of the noise that is told, at levels that are drawn."""
    of_level, of_noise = tg.random.split(key)
    level = tg.random.randint(of_level, (len(points),), 0, LEVELS)
    noise = tg.random.normal(of_noise, points.shape, np.float32)
    kept = tnp.take(left, level)[:, None]
    return np.mean((net(params, np.sqrt(kept) * points + np.sqrt(1 - kept) * noise, level) - noise) ** 2)


def sample(params: Any, n: int, key: Any) -> Any:
    """Points [LEVELS + 1, n, 2]: noise, and after each step backward."""

    def step(x: Any, level: Any) -> Any:
        noise = net(params, x, level)
        put_in, kept = tnp.take(beta, level), tnp.take(left, level)
        mean = (x - put_in / np.sqrt(1 - kept) * noise) / np.sqrt(1 - put_in)
        fresh = tg.random.normal(tg.random.fold_in(key, level), x.shape, np.float32)
        x = mean + np.where(level > 0, np.sqrt(put_in), np.float32(0)) * fresh
        return x, x

    noise = tg.random.normal(tg.random.fold_in(key, LEVELS), (n, 2), np.float32)
    _, points = tg.lax.scan(step, noise, np.arange(LEVELS)[::-1].copy())
    return np.concatenate([noise[None], points])


def energy_distance(x: Any, y: Any) -> float:
    """The root of 2 E|x - y| - E|x - x'| - E|y - y'|, each the mean over all pairs."""
    apart = lambda a, b: np.mean(np.hypot(*np.moveaxis(a[:, None] - b, -1, 0)))
    return float(np.sqrt(2 * apart(x, y) - apart(x, x) - apart(y, y)))


def main(argv: list[str]) -> float:
    """Trains, makes points, draws them, asserts their distance to true ones and returns it."""
    args = options(argv, __doc__, file=__file__, steps=6000, expect=0.06)
    keys = tg.random.split(tg.random.key(args.seed), 6)
    known, held_out, others = (swiss_roll(key, n) for key, n in zip(keys, (20_000, 2000, 2000), strict=False))
    opt = tg.optim.adam(tg.optim.cosine_decay_schedule(2e-3, args.steps))
    state, *_ = tg.fit(
        tg.jit(tg.train.make_step(loss, opt, ema=0.99), backend=args.backend, donate_argnums=0),
        tg.train.start(net, opt, args.seed, known[:1], np.zeros(1, int), ema=0.99),
        tg.data.batches(known, BATCH_SIZE, key=args.seed),
        steps=args.steps,
    )
    made = np.asarray(tg.jit(sample, static_argnums=1, backend=args.backend)(tg.train.averaged(state), 2000, keys[3]))

    cloud = tg.random.normal(keys[4], (2000, 2)) @ np.linalg.cholesky(np.cov(known.T)).T + known.mean(0)
    reached = energy_distance(made[-1], held_out)
    scale = (
        f"true points {energy_distance(others, held_out):.3f}, a normal cloud {energy_distance(cloud, held_out):.3f}"
    )
    print(f"energy distance to held-out points: {reached:.3f}; {scale}")

    figure, cells = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
    titles = [f"{i} of {LEVELS} steps" if i else "noise" for i in SHOWN] + ["true points, held out"]
    for cell, points, title in zip(cells.flat, [*made[list(SHOWN)], held_out], titles, strict=True):
        cell.plot(*points.T, ".", ms=2, alpha=0.5, color="C0" if points is not held_out else "C1")
        cell.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[], title=title)
    save(figure, args.picture)
    return hold("energy distance to held-out points", reached, at_most=args.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
