"""Heat in a rod: a net that has learned a partial differential equation, and nothing else.

    python examples/gallery/heat_pinn.py                  # some seconds
    python examples/gallery/heat_pinn.py --steps 500 --expect 0.1 --backend xla

The rod is 1 long, its ends are held at 0, and at first its temperature is sin(πx) + sin(3πx) / 2. The net sees no temperature but that
one. It is trained to have u_t = κ u_xx at random places and times: its own second derivatives, `tg.grad` of `tg.grad`, are part of the
loss, and training goes down the gradient of that. Boundary and first moment hold by the way in which u is made of the net's output.

Asserted is the relative error of the net on a grid against the closed form, a sum of two decaying sines.

Methods: I. Lagaris, A. Likas and D. Fotiadis, "Artificial neural networks for solving ordinary and partial differential equations", IEEE
Transactions on Neural Networks 9 (1998); M. Raissi, P. Perdikaris and G. Karniadakis, "Physics-informed neural networks", Journal of
Computational Physics 378 (2019).
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "150", "--expect", "0.5"]
KAPPA = 0.1
POINTS = 256  # a step

net = nn.serial(nn.Dense(32), np.tanh, nn.Dense(32), np.tanh, nn.Dense(32), np.tanh, nn.Dense(1))


def first(x):
    """The temperature of the first moment."""
    return np.sin(np.pi * x) + np.sin(3 * np.pi * x) / 2


def closed_form(x, t):
    """What the temperature is, known without any net."""
    return (
        np.exp(-KAPPA * np.pi**2 * t) * np.sin(np.pi * x)
        + np.exp(-9 * KAPPA * np.pi**2 * t) * np.sin(3 * np.pi * x) / 2
    )


def temperature(params, x, t):
    """Of one place and time, both scalars. What the net adds vanishes at the ends and at first."""
    return first(x) + t * x * (1 - x) * net(params, np.stack([2 * x - 1, 2 * t - 1]))[0]


def residual(params, x, t):
    """How far from the heat equation: u_t - κ u_xx."""
    u_t = tg.grad(temperature, argnums=2)(params, x, t)
    u_xx = tg.grad(tg.grad(temperature, argnums=1), argnums=1)(params, x, t)
    return u_t - KAPPA * u_xx


def loss(params, points):
    """The mean square of that over the points, (n, 2)."""
    return np.mean(tg.vmap(residual, in_axes=(None, 0, 0))(params, points[:, 0], points[:, 1]) ** 2)


def main(argv: list[str]) -> float:
    """Trains; returns the relative error on a grid."""
    chosen = options(argv, __doc__, file=__file__, steps=6000, expect=0.01)
    opt = tg.optim.adam(tg.optim.cosine_decay_schedule(5e-3, chosen.steps))

    def step(params, opt_state, key):
        points = tg.random.uniform(key, (POINTS, 2), np.float32)
        value, gradient = tg.value_and_grad(loss)(params, points)
        return *tg.optim.step(opt, gradient, opt_state, params), value

    step = tg.jit(step, backend=chosen.backend)
    params = net.init(chosen.seed, np.zeros(2, np.float32))
    opt_state, losses = opt.init(params), []
    keys = tg.random.split(tg.random.key(chosen.seed), chosen.steps)
    for key in track(keys, "training"):
        params, opt_state, value = step(params, opt_state, key)
        losses.append(float(value))

    x, t = np.meshgrid(np.linspace(0, 1, 101, dtype=np.float32), np.linspace(0, 1, 101, dtype=np.float32))
    whole = tg.jit(tg.vmap(temperature, in_axes=(None, 0, 0)), backend=chosen.backend)
    learned, true = np.asarray(whole(params, x.ravel(), t.ravel())).reshape(x.shape), closed_form(x, t)

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    image = axes[0].pcolormesh(t, x, learned, cmap="inferno", rasterized=True)
    axes[0].set(xlabel="time", ylabel="place", title="temperature by the net")
    figure.colorbar(image, ax=axes[0])
    for row in (0, 10, 30, 100):
        axes[1].plot(x[row], learned[row], label=f"t = {t[row, 0]:.1f}")
        axes[1].plot(x[row, ::5], true[row, ::5], "k.", ms=3, label="closed form" if row == 100 else None)
    axes[1].set(xlabel="place", ylabel="temperature", title="along the rod", ylim=(0, 1.5))
    axes[1].legend(fontsize=8, loc="upper center", ncols=3)
    axes[2].semilogy(losses, lw=0.5)
    axes[2].set(xlabel="step", ylabel="mean square of the residual", title="training")
    save(figure, chosen.picture)
    error = np.linalg.norm(learned - true) / np.linalg.norm(true)
    return hold("relative error", error, at_most=chosen.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
