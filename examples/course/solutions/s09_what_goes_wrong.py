"""Solutions of chapter 9, each beside a wrong answer that its check has to refuse."""

from itertools import pairwise

import numpy as np


def cosine(a, b):
    """Roots and quotients see 1 in place of 0, and the outer `where` takes the value 0 there."""
    square = np.sum(a * a, axis=1) * np.sum(b * b, axis=1)
    ok = square > 0
    return np.where(ok, np.sum(a * b, axis=1) / np.sqrt(np.where(ok, square, 1.0)), 0.0)


def wrong_cosine(a, b):
    """A small number under the root keeps everything finite, but the values are not exact, and the gradient is huge at zeros."""
    return np.sum(a * b, axis=1) / np.sqrt(np.sum(a * a, axis=1) * np.sum(b * b, axis=1) + 1e-12)


def deep_init(rng, sizes):
    """Variance 2 / inputs: a relu lets half of the square pass (He et al. 2015). The last layer has no relu; one √2 does no harm."""
    return [{"kernel": rng.normal(size=(n, m)) * np.sqrt(2 / n), "bias": np.zeros(m)} for n, m in pairwise(sizes)]


def wrong_deep_init(rng, sizes):
    """Variance 1 / inputs is right for layers without relus: here each layer loses half of the square."""
    return [{"kernel": rng.normal(size=(n, m)) * np.sqrt(1 / n), "bias": np.zeros(m)} for n, m in pairwise(sizes)]


def mended(params, batch):
    """The one column of the predictions is taken out: [n] against [n]."""
    x, y = batch
    predictions = np.tanh(x @ params["first"]) @ params["second"]
    return np.mean((predictions[:, 0] - y) ** 2)


def wrong_mended(params, batch):
    """The rounding is gone, the broadcast is not."""
    x, y = batch
    predictions = np.tanh(x @ params["first"]) @ params["second"]
    return np.mean((predictions - y) ** 2)
