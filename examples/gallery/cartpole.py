"""Policy gradients: a network learns to balance a pole on a cart, from nothing but how long the pole stays up.

    python examples/gallery/cartpole.py                    # under a minute
    python examples/gallery/cartpole.py --backend xla

At each step of 0.02 s the network gives the probability of a push to the right, and a push is drawn. An episode ends when the pole leans by
more than 12° or the cart leaves its track, after 500 steps at most. Pushes after which the pole stayed up longer than it does at that step
on average are made likelier (REINFORCE with a baseline). Nothing here differentiates the physics: the gradient is of the logarithms of
the probabilities of what was done.

64 episodes run at once, as one loop (`tg.lax.scan`) that is compiled with the gradient of it. What is asserted is the mean length of 256
episodes with new beginnings, in which the likelier push is always taken: 500 steps is all there is.

Source: Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems", 1983, for the cart;
Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save, track

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "8", "--expect", "20"]
LONGEST = 500
EPISODES = 64
GRAVITY, CART, POLE, HALF_LENGTH, FORCE, STEP = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # m/s², kg, kg, m, N, s

policy = nn.serial(nn.Dense(32), np.tanh, nn.Dense(1), lambda x: x[..., 0])  # the logit of a push to the right


def move(state: Any, push: Any) -> Any:
    """The state [..., 4] after a step: place and speed of the cart, angle and angular speed of the pole; push is −1 or 1."""
    _, speed, angle, turning = np.moveaxis(state, -1, 0)
    sine, cosine = np.sin(angle), np.cos(angle)
    pull = (FORCE * push + POLE * HALF_LENGTH * turning**2 * sine) / (CART + POLE)
    twist = (GRAVITY * sine - cosine * pull) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / (CART + POLE)))
    drive = pull - POLE * HALF_LENGTH * twist * cosine / (CART + POLE)
    return state + STEP * np.stack([speed, drive, turning, twist], -1)


def up(state: Any) -> Any:
    """Whether the episode goes on."""
    return (np.abs(state[..., 0]) < 2.4) & (np.abs(state[..., 2]) < np.deg2rad(12))


def play(params: Any, key: Any, drawn: bool = True) -> Any:
    """Episodes from beginnings near rest: states [steps, episodes, 4], whether there was a push to the right, whether the pole was up."""

    def step(carry: Any, key: Any) -> Any:
        state, alive = carry
        logit = policy(params, state)
        right = tg.random.uniform(key, logit.shape, np.float32) < nn.sigmoid(logit) if drawn else logit > 0
        new = move(state, np.where(right, np.float32(1), np.float32(-1)))
        new = np.where(alive[:, None], new, state)  # what has fallen lies
        return (new, alive & up(new)), (state, right, alive)

    first, *keys = tg.random.split(key, LONGEST + 1)
    start = tg.random.uniform(first, (EPISODES, 4), np.float32, -0.05, 0.05)
    return tg.lax.scan(step, (start, np.ones(EPISODES, bool)), np.stack(keys))[1]


opt = tg.optim.adam(1e-2)


def improve(params: Any, opt_state: Any, key: Any) -> Any:
    """Plays, and makes likelier what went well. Returns the mean length of the episodes, too."""
    states, right, alive = play(params, key)
    after = np.cumsum(alive[::-1], 0)[::-1].astype(np.float32)  # how many steps there are from each one on
    count = np.maximum(np.sum(alive, 1, keepdims=True), 1).astype(np.float32)
    better = np.where(alive, after - np.sum(after, 1, keepdims=True) / count, 0)
    better = better / (np.sqrt(np.sum(better**2) / np.sum(count)) + np.float32(1e-6))

    def surrogate(params: Any) -> Any:
        """Its gradient is that of minus the expected length, as far as these episodes tell."""
        losses = nn.sigmoid_binary_cross_entropy(policy(params, states), right.astype(np.float32))
        return np.sum(better * losses) / np.sum(count)

    gradient = tg.grad(surrogate)(params)
    params, opt_state = tg.optim.step(opt, gradient, opt_state, params)
    return params, opt_state, np.sum(alive, dtype=np.float32) / EPISODES


def main(argv: list[str]) -> float:
    """Learns, draws, asserts how long the pole stays up with new beginnings and returns it."""
    args = options(argv, __doc__, file=__file__, steps=120, expect=495)
    of_net, of_episodes, of_test = tg.random.split(tg.random.key(args.seed), 3)
    params = untrained = policy.init(of_net, (1, 4))
    opt_state = opt.init(params)
    update = tg.jit(improve, backend=args.backend)
    lengths = []
    for i in track(range(args.steps), "balancing"):
        params, opt_state, length = update(params, opt_state, tg.random.fold_in(of_episodes, i))
        lengths.append(float(length))

    test = tg.jit(lambda params, key: play(params, key, drawn=False), backend=args.backend)
    fallen = np.float32(np.nan)  # which matplotlib leaves out
    after, before = (
        np.where(alive[..., None], states, fallen)
        for states, _, alive in (test(params, of_test), test(untrained, of_test))
    )
    reached = np.mean([np.sum(test(params, key)[2], 0) for key in tg.random.split(of_test, 4)])

    figure, (curve, angle, place) = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    curve.plot(np.arange(1, args.steps + 1), lengths)
    curve.axhline(LONGEST, color="grey", ls=":")
    curve.set(xlabel="update", ylabel="mean length of 64 episodes, steps", ylim=(0, None))
    for axes, column, factor in ((angle, 2, 180 / np.pi), (place, 0, 1)):
        for states, colour, name in ((after, "C0", "trained"), (before, "C3", "untrained")):
            lines = axes.plot(
                STEP * np.arange(LONGEST), factor * states[:, :12, column], color=colour, lw=0.8, alpha=0.7
            )
            lines[0].set_label(name)
        axes.set(xlabel="time, s")
        axes.legend(fontsize=8)
    angle.set(ylabel="angle of the pole, degrees", title="12 episodes")
    place.set(ylabel="place of the cart, m", title="12 episodes")
    save(figure, args.picture)
    return hold("mean length of 256 new episodes, steps", reached, at_least=args.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
