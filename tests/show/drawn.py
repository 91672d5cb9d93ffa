"""Functions whose Graphs the tests of this room draw."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad.show.model import Model

RNG = np.random.default_rng(0)


def dense(p: Any, x: Any) -> Any:
    return x @ p["w"] + p["b"]


def mlp(params: Any, x: Any, y: Any) -> Any:
    for p in params[:-1]:
        x = np.tanh(dense(p, x))
    return np.mean((dense(params[-1], x) - y) ** 2)


def mlp_args(sizes: tuple[int, ...] = (3, 4, 4, 2)) -> tuple[Any, ...]:
    params = [{"w": RNG.normal(size=s), "b": RNG.normal(size=s[1])} for s in itertools.pairwise(sizes)]
    return params, RNG.normal(size=(5, sizes[0])), RNG.normal(size=(5, sizes[-1]))


def normalised(x: Any) -> Any:
    centred = x - np.mean(x, -1, keepdims=True)
    return centred / np.sqrt(np.var(x, -1, keepdims=True) + 1e-5)


def attention(p: Any, x: Any) -> Any:
    scores = (x @ p["q"]) @ (x @ p["k"]).T / np.sqrt(x.shape[-1])
    weights = np.exp(scores - np.max(scores, -1, keepdims=True))
    return weights / np.sum(weights, -1, keepdims=True) @ (x @ p["v"])


def blocks(params: Any, x: Any) -> Any:
    for i, p in enumerate(params):
        with tg.named_scope(f"block_{i}"):
            with tg.named_scope("attention"):
                x = x + attention(p, normalised(x))
            with tg.named_scope("mlp"):
                x = x + np.tanh(normalised(x) @ p["w"])
    return np.mean(x**2)


def blocks_args(count: int, size: int = 4) -> tuple[Any, ...]:
    return [{k: RNG.normal(size=(size, size)) for k in "qkvw"} for _ in range(count)], RNG.normal(size=(3, size))


def scanned(x: Any, ws: Any) -> Any:
    def step(carry: Any, w: Any) -> Any:
        carry = np.tanh(carry * w)
        return carry, np.sum(carry)

    last, sums = tg.lax.scan(step, x, ws)
    return np.sum(last) + np.sum(sums)


def chain(x: Any, length: int) -> Any:
    for _ in range(length):
        x = np.sin(x)
    return x


def graph_of(f: Any, *args: Any) -> Any:
    return tg.make_graph(f, frames=True)(*args)


def names_of(drawn: Model, kinds: str) -> list[str]:
    """The groups of these kinds, each with those around it."""
    paths = [""]
    for group in drawn.groups[1:]:
        paths.append(f"{paths[group.parent]}/{group.name}".lstrip("/"))
    return [path for path, group in zip(paths, drawn.groups, strict=True) if group.kind in kinds.split()]
