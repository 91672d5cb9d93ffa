"""The drawn graphs of the site: docs/pages.py has them made, and shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad import nn


def perceptron() -> Any:
    """Two weights, a bias, a point, and how wrong the probability is that comes out."""

    def loss(w: Any, b: Any, x: Any, y: Any) -> Any:
        p = 1 / (1 + np.exp(-(np.dot(w, x) + b)))
        return -(y * np.log(p) + (1 - y) * np.log(1 - p))

    return tg.draw(loss, np.array([1.0, -2.0]), 0.5, np.array([3.0, 2.0]), 1.0)


def digits_network() -> Any:
    """A convolutional network of the digits, from images to the loss."""
    net = nn.serial(
        *(nn.Conv(8, 3), nn.relu, nn.max_pool(2), nn.Conv(16, 3), nn.relu, nn.max_pool(2)),
        *(nn.flatten, nn.Dense(32), nn.relu, nn.Dense(10)),
    )
    images, labels = (x[:4] for x in tg.data.digits())
    images = images[..., None]

    def loss(params: Any, images: Any, labels: Any) -> Any:
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(net(params, images), labels))

    return tg.draw(loss, net.init(0, images), images, labels)


def transformer_block() -> Any:
    """Attention and a feed-forward part, each with a norm before it and a sum behind it."""

    @nn.layer
    def block(p: Any, x: Any) -> Any:
        x = x + p(nn.SelfAttention(2, causal=True), p(nn.LayerNorm(), x))
        h = nn.gelu(p(nn.Dense(32), p(nn.LayerNorm(), x), name="up"))
        return x + p(nn.Dense(8), h, name="down")

    x = np.random.default_rng(0).normal(size=(1, 5, 8)).astype("float32")
    return tg.draw(lambda params, x: np.sum(block(params, x) ** 2), block.init(0, x), x)


def write(folder: Path) -> list[str]:
    """Saves the drawings as pages, NAME.html, and returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = (perceptron, digits_network, transformer_block)
    for make in makers:
        make().save(folder / f"{make.__name__}.html")
    return [make.__name__ for make in makers]
