"""Solutions of chapter 8, each beside a wrong answer that its check has to refuse."""

import importlib
from typing import Any

import numpy as np

chapter: Any = importlib.import_module("08_attention")


def nearby(q, k, v, w):
    """A band: not after the place, and not w or more before it."""
    place = np.arange(q.shape[-2])
    before = place[:, None] - place
    return chapter.attention(q, k, v, (before >= 0) & (before < w))


def wrong_nearby(q, k, v, w):
    """One place too many."""
    place = np.arange(q.shape[-2])
    before = place[:, None] - place
    return chapter.attention(q, k, v, (before >= 0) & (before <= w))


def one_more(cache, q, k, v):
    """Keys and values are kept, queries are not: nobody asks for an old place again."""
    keys, values = (k[None], v[None]) if cache is None else (np.vstack([cache[0], k]), np.vstack([cache[1], v]))
    return chapter.attention(q[None], keys, values)[0], (keys, values)


def wrong_one_more(cache, q, k, v):
    """The new place itself is not looked at, but where there is no other."""
    keys, values = (k[None], v[None]) if cache is None else cache
    out = chapter.attention(q[None], keys, values)[0]
    return out, (keys, values) if cache is None else (np.vstack([keys, k]), np.vstack([values, v]))


def best_of(scores, n):
    """The n-th largest is the bar."""
    bar = np.sort(scores, axis=-1)[..., -n, None]
    return np.where(scores >= bar, scores, -np.inf)


def wrong_best_of(scores, n):
    """The bar itself is left out."""
    bar = np.sort(scores, axis=-1)[..., -n, None]
    return np.where(scores > bar, scores, -np.inf)
