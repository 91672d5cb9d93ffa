"""Networks that make things: of images, of paths in time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import nn, random
from tracegrad.lax import scan
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.scope import Scope


class VAE(NamedTuple):
    """What a variational autoencoder is made of, two layers: `encoder`, of x (mean, log variance); `decoder`, of z logits of x.
    Parameters are a dict of both: `{"encoder": encoder.init(k, x), "decoder": decoder.init(k, z)}`."""

    encoder: Layer
    decoder: Layer

    def init(self, key: Any, x: Any) -> dict[str, Any]:
        """Parameters for inputs like x."""
        first, second = random.split(random.PRNGKey(key) if isinstance(key, int) else key)
        params = self.encoder.init(first, x)
        return {"encoder": params, "decoder": self.decoder.init(second, params["Dense_1"]["bias"].shape)}

    def negative_elbo(self, params: Any, x: Any, key: Any) -> Any:
        """A bound from above on -log p(x) for each example, with one drawn z: x [..., features] between 0 and 1.

        Source: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, equation 10.
        """
        mean, log_variance = self.encoder(params["encoder"], x)
        z = mean + np.exp(log_variance / 2) * random.normal(key, mean.shape, mean.dtype)
        rebuilt = np.sum(nn.sigmoid_binary_cross_entropy(self.decoder(params["decoder"], z), x), -1)
        divergence = 0.5 * np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance, -1)
        return rebuilt + divergence


def vae(features: int, latent: int = 8, width: int = 256) -> VAE:
    """A variational autoencoder of vectors, with one hidden layer on each side.

    Args:
        features: the size of x.
        latent: the size of z.
        width: of the hidden layers.

    Source: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.nn import models
    >>> net = models.vae(64)
    >>> x = np.full((5, 64), 0.5, np.float32)
    >>> net.negative_elbo(net.init(0, x), x, tg.random.PRNGKey(1)).shape
    (5,)
    """

    return VAE(_encoder(latent, width), nn.serial(nn.Dense(width), nn.relu, nn.Dense(features)))


@maker
def _encoder(latent: int, width: int) -> Layer:
    @layer("encoder")
    def encoder(p: Scope, x: Any) -> Any:
        h = nn.relu(p(nn.Dense(width), x))
        return p(nn.Dense(latent), h), p(nn.Dense(latent), h)

    return encoder


@maker
def diffusion(width: int = 32, depth: int = 2) -> Layer:
    """A small U-Net that tells the noise in images: called `(x, t)` with x [batch, height, width, channels] and times [batch]
    between 0 and 1, it returns noise like x. 2^depth divides the size of the images.

    Args:
        width: channels of the first step; they double with each.
        depth: how many steps down.

    Source: Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020.

    >>> import numpy as np
    >>> from tracegrad.nn import models
    >>> net, x, t = models.diffusion(8, 1), np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.float32)
    >>> net(net.init(0, x, t), x, t).shape
    (2, 8, 8, 1)
    """

    @layer("block")
    def block(p: Scope, x: Any, time: Any, features: int) -> Any:
        h = p(nn.Conv(features, 3), nn.silu(p(nn.GroupNorm(min(8, x.shape[-1])), x)))
        h = h + p(nn.Dense(features), time)[:, None, None, :]
        h = p(nn.Conv(features, 3), nn.silu(p(nn.GroupNorm(min(8, features)), h)))
        return h + (x if x.shape[-1] == features else p(nn.Conv(features, 1), x))

    @layer("diffusion")
    def diffusion(p: Scope, x: Any, t: Any) -> Any:
        channels = x.shape[-1]
        kind = p.param("bias", nn.initializers.zeros, (channels,))
        angles = (
            1000 * p.cast(t, kind.dtype)[:, None] * np.asarray(10000.0 ** -np.linspace(0, 1, width // 2), kind.dtype)
        )
        time = np.concatenate([np.sin(angles), np.cos(angles)], -1)
        time = nn.silu(p(nn.Dense(4 * width), nn.silu(p(nn.Dense(4 * width), time))))
        x = p(nn.Conv(width, 3), x)
        passed = []
        for step in range(depth):
            x = p(block, x, time, width << step)
            passed.append(x)
            x = p(nn.Conv(width << step, 3, 2), x)
        x = p(block, x, time, width << depth)
        for step in reversed(range(depth)):
            x = p(nn.Conv(width << step, 3), p(nn.upsample(2), x))
            x = p(block, np.concatenate([passed[step], x], -1), time, width << step)
        return p(nn.Conv(channels, 3, use_bias=False), nn.silu(p(nn.GroupNorm(min(8, width)), x))) + kind

    return diffusion


@maker
def node(features: int, width: int = 32, steps: int = 16) -> Layer:
    """A neural ordinary differential equation: dx/dt = f(x, t), from t = 0 to 1 by Runge and Kutta's method of fourth order, for x
    [..., features].

    Args:
        features: the size of x.
        width: of the hidden layer of f.
        steps: of the method.

    Source: Chen et al., "Neural ordinary differential equations", NeurIPS 2018.

    >>> import numpy as np
    >>> from tracegrad.nn import models
    >>> net, x = models.node(2), np.zeros((5, 2), np.float32)
    >>> net(net.init(0, x), x).shape
    (5, 2)
    """
    field = nn.serial(nn.Dense(width), np.tanh, nn.Dense(features))

    @layer("node")
    def node(p: Scope, x: Any) -> Any:
        at_time = lambda x, t: np.concatenate([x, np.broadcast_to(t, (*x.shape[:-1], 1)).astype(x.dtype)], -1)
        f = p.bind(field, at_time(x, 0.0), name="field")
        x = p.cast(x, f.params["Dense_0"]["kernel"].dtype)
        size = np.asarray(1 / steps, x.dtype)

        def step(x: Any, t: Any) -> Any:
            k1 = f(at_time(x, t))
            k2 = f(at_time(x + size / 2 * k1, t + size / 2))
            k3 = f(at_time(x + size / 2 * k2, t + size / 2))
            k4 = f(at_time(x + size * k3, t + size))
            return x + size / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        return scan(step, x, np.arange(steps, dtype=x.dtype) * size)[0]

    return node


class DCGAN(NamedTuple):
    """`generator`, of noise [batch, latent] images between -1 and 1; `discriminator`, of images one logit each, that they are
    real."""

    generator: Layer
    discriminator: Layer


def dcgan(size: int = 28, channels: int = 1, width: int = 32) -> DCGAN:
    """A pair of convolutional networks, one of which makes images and the other tells them from real ones.

    Args:
        size: of the images, which 4 divides.
        channels: of the images.
        width: channels of the finest step.

    Source: Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
    networks", ICLR 2016.

    >>> import numpy as np
    >>> from tracegrad.nn import models
    >>> net, z = models.dcgan(28, width=4), np.zeros((2, 16), np.float32)
    >>> params, state = net.generator.init(0, z), net.generator.init_state(z)
    >>> net.generator.apply(params, z, state=state)[0].shape
    (2, 28, 28, 1)
    """
    coarse = size // 4
    generator = nn.serial(
        nn.Dense(coarse * coarse * 2 * width), nn.reshape((coarse, coarse, 2 * width)), nn.BatchNorm(0.9), nn.relu,
        nn.ConvTranspose(width, 4, 2), nn.BatchNorm(0.9), nn.relu, nn.ConvTranspose(channels, 4, 2), np.tanh,
    )  # fmt: skip
    discriminator = nn.serial(
        nn.Conv(width, 4, 2), nn.leaky_relu, nn.Conv(2 * width, 4, 2), nn.leaky_relu, nn.flatten, nn.Dense(1), _first
    )
    return DCGAN(generator, discriminator)


def _first(x: Any) -> Any:
    return x[..., 0]
