"""A training step of a GPT-like network: written once, for NumPy's functions and for jax.numpy's, so that the two can be
held against each other. Parameters and Adam's state are float32; what the layers compute is of `dtype`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

from benchmarks.workloads import Library


@dataclass(frozen=True)
class Config:
    """Sizes of a network and of a batch of texts."""

    layers: int
    width: int
    heads: int
    words: int
    length: int
    batch: int

    @property
    def parameters(self) -> int:
        """The number of parameters, without those of the places, which do no arithmetic to speak of."""
        return self.words * self.width + self.layers * (12 * self.width**2 + 2 * self.width) + self.width

    @property
    def flops(self) -> float:
        """Of a step, forward and backward: 6 for each parameter and word, and attention's 12 for each layer, word, place
        and unit of width (Chowdhery et al., PaLM, arXiv:2204.02311, appendix B); nothing for what is computed twice."""
        words = self.batch * self.length
        return words * (6.0 * self.parameters + 12.0 * self.layers * self.width * self.length)


SMALL = Config(layers=2, width=32, heads=2, words=64, length=16, batch=2)
LARGE = Config(layers=12, width=1024, heads=16, words=32_768, length=1024, batch=16)


def data(config: Config) -> tuple[Any, Any]:
    """Parameters with Adam's two means, and a batch of texts, each a word longer than what the network sees."""
    rng = numpy.random.default_rng(0)

    def drawn(n: int, m: int, scale: float = 1.0) -> Any:
        return (rng.normal(size=(n, m)) * scale * n**-0.5).astype("float32")

    wide = config.width
    layers = [
        {
            "scale1": numpy.ones(wide, "float32"), "qkv": drawn(wide, 3 * wide),
            "out": drawn(wide, wide, (2 * config.layers) ** -0.5), "scale2": numpy.ones(wide, "float32"),
            "up": drawn(wide, 4 * wide), "down": drawn(4 * wide, wide, (2 * config.layers) ** -0.5),
        }
        for _ in range(config.layers)
    ]  # fmt: skip
    embed = (0.02 * rng.normal(size=(config.words, wide))).astype("float32")
    places = (0.02 * rng.normal(size=(config.length, wide))).astype("float32")
    params = {"embed": embed, "places": places, "layers": layers, "scale": numpy.ones(wide, "float32")}
    return params, rng.integers(config.words, size=(config.batch, config.length + 1)).astype("int32")


def training_step(library: Library, tree_map: Callable[..., Any], config: Config, dtype: Any) -> Callable[..., Any]:
    """(params, first mean, second mean, texts) -> the same after a step of Adam, and the loss before it."""
    np = library.np
    half = numpy.dtype(dtype)

    def normalized(x: Any, scale: Any) -> Any:
        x = x.astype("float32")
        x = x * (np.mean(x * x, axis=-1, keepdims=True) + 1e-6) ** -0.5
        return (x * scale).astype(half)

    def product(x: Any, weight: Any) -> Any:
        return (x @ weight.astype(half)).astype(half)

    def attention(x: Any, layer: Any) -> Any:
        batch, length, wide = x.shape
        parts = np.reshape(product(x, layer["qkv"]), (batch, length, 3, config.heads, wide // config.heads))
        q, k, v = [np.moveaxis(parts[:, :, i], 2, 1) for i in range(3)]
        scores = (q @ np.swapaxes(k, -1, -2)).astype("float32") * (wide // config.heads) ** -0.5
        scores = np.where(numpy.tril(numpy.ones((length, length), bool)), scores, -1e9)
        weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        weights = (weights / np.sum(weights, axis=-1, keepdims=True)).astype(half)
        mixed = np.moveaxis((weights @ v).astype(half), 1, 2)
        return product(np.reshape(mixed, x.shape), layer["out"])

    def loss(params: Any, texts: Any) -> Any:
        x = (params["embed"][texts[:, :-1]] + params["places"]).astype(half)
        for layer in params["layers"]:
            x = x + attention(normalized(x, layer["scale1"]), layer)
            hidden = product(normalized(x, layer["scale2"]), layer["up"]).astype("float32")
            hidden = hidden * (0.5 + 0.5 * np.tanh(0.7978845608 * (hidden + 0.044715 * hidden * hidden * hidden)))
            x = x + product(hidden.astype(half), layer["down"])
        logits = (normalized(x, params["scale"]) @ params["embed"].astype(half).T).astype("float32")
        top = np.max(logits, axis=-1, keepdims=True)
        sums = np.log(np.sum(np.exp(logits - top), axis=-1)) + top[..., 0]
        return np.mean(sums - np.take_along_axis(logits, texts[:, 1:, None], axis=-1)[..., 0])

    def step(params: Any, first: Any, second: Any, texts: Any) -> Any:
        value, gradient = library.value_and_grad(loss)(params, texts)
        first = tree_map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = tree_map(lambda v, g: 0.99 * v + 0.01 * (g * g), second, gradient)
        params = tree_map(lambda p, m, v: p - 3e-4 * m / (np.sqrt(v) + 1e-8), params, first, second)
        return params, first, second, value

    return step
