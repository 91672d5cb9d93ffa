"""Networks that make things: trained a few steps each."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracegrad as tg
from tests.compare import near
from tests.nn.models.counts import descends
from tracegrad import nn
from tracegrad.nn import models

rng = np.random.default_rng(0)


def test_vae_learns() -> None:
    net = models.vae(16, latent=2, width=16)
    x = (rng.random((8, 16)) < 0.2).astype(np.float32)
    key = tg.random.key(0)
    params = net.init(0, x)
    descends(lambda p, s: (np.mean(net.negative_elbo(p, x, key)), s), params, rate=1e-2)
    near(net.negative_elbo(params, x, key), tg.jit(net.negative_elbo)(params, x, key), 1e-6)


def test_diffusion_learns() -> None:
    net = models.diffusion(8, depth=1)
    x, noise = rng.normal(size=(2, 2, 8, 8, 1)).astype(np.float32)
    t = np.array([0.2, 0.7], np.float32)
    noisy = np.sqrt(1 - t[:, None, None, None]) * x + np.sqrt(t[:, None, None, None]) * noise
    descends(lambda p, s: (np.mean((net(p, noisy, t) - noise) ** 2), s), net.init(0, noisy, t), rate=1e-2)


def test_ode_is_solved_and_learns() -> None:
    net = models.node(2, width=8, steps=8)
    x = rng.normal(size=(16, 2)).astype(np.float32)
    params = net.init(0, x)
    finer = models.node(2, width=8, steps=64)
    near(net(params, x), finer(params, x), 1e-4)
    turned = np.stack([-x[:, 1], x[:, 0]], -1)
    descends(lambda p, s: (np.mean((net(p, x) - turned) ** 2), s), params, rate=3e-2)


def test_gan_plays() -> None:
    pair = models.dcgan(8, 1, 4)
    z = rng.normal(size=(4, 3)).astype(np.float32)
    params, state = pair.generator.init(0, z), pair.generator.init_state(z)
    images, state = pair.generator.apply(params, z, state=state, train=True)
    assert images.shape == (4, 8, 8, 1) and np.abs(images).max() <= 1
    others = pair.discriminator.init(1, images)
    real = rng.uniform(-1, 1, images.shape).astype(np.float32)

    def loss(params: Any, state: Any) -> Any:
        f = pair.discriminator
        told = nn.sigmoid_binary_cross_entropy(f(params, real), 1.0) + nn.sigmoid_binary_cross_entropy(
            f(params, images), 0.0
        )
        return np.mean(told), state

    descends(loss, others, rate=1e-2)
