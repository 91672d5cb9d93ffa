"""Graphs that differ in numbers alone, and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.transforms.jit.alike import Differs, Merging, Numbers
from tracegrad.transforms.jit.sizes import count_for, samples_for

SAMPLED = samples_for(["N"], count_for(["N"], 2))


def graph_at(f: Callable[[Any], Any], n: int) -> Graph:
    return tg.make_graph(f)(tg.ShapeDtypeStruct((n,), "float64"))


def merged(f: Callable[[Any], Any]) -> Callable[[Any], Graph]:
    return Merging(Numbers(["N"], SAMPLED)).graph([graph_at(f, s["N"]) for s in SAMPLED])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[1:-1] * x[::-1][2:] / x.shape[0],
        lambda x: np.outer(x, x).reshape(-1) * 2.0,
        lambda x: tg.lax.scan(lambda c, u: (c + u * x[-1], c), 0.0, x)[1],
        lambda x: tg.jit(lambda y: y[3:] + y.shape[0])(x),
        lambda x: x + np.arange(2.0, x.shape[0] + 2),
    ],
)
def test_the_graph_for_another_size(f: Callable[[Any], Any]) -> None:
    found, expected = merged(f)({"N": 23}), graph_at(f, 23)
    check(found)
    assert [e.op for e in found.eqns] == [e.op for e in expected.eqns]
    assert [[v.type for v in e.outputs] for e in found.eqns] == [[v.type for v in e.outputs] for e in expected.eqns]
    x = np.random.default_rng(0).normal(size=23)
    near(list(found(x)), list(expected(x)))


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda x: x * 2 if x.shape[0] > 50 else x + 1, "there is add here, or multiply"),
        (lambda x: (x, x) if x.shape[0] > 50 else (x,), "the number of outputs differs"),
        (lambda x: x * (1.0 / x.shape[0]), "a constant is"),
        (lambda x: x.astype(np.float32) if x.shape[0] > 50 else x.astype(np.float16), "dtype of astype is"),
        (lambda x: x[: x.shape[0] % 5], "is no polynomial"),
        (lambda x: x if x.shape[0] > 50 else x + 1, "there is add here, or nothing"),
        (
            lambda x: x * np.ones(x.shape[0]) if x.shape[0] > 50 else x * 2.0,
            "an input is a constant, or none|a constant more or less",
        ),
    ],
)
def test_graphs_that_differ(f: Callable[[Any], Any], text: str) -> None:
    with pytest.raises(Differs, match=text):
        merged(f)


def test_polynomials() -> None:
    for names in (["N"], ["N", "M"]):
        sampled = samples_for(names, count_for(names, 2))
        numbers = Numbers(names, sampled)
        wanted = lambda s: 3 + 2 * s["N"] - s[names[-1]] + 5 * s["N"] * s[names[-1]]
        found = numbers.fitted([wanted(s) for s in sampled])
        assert found is not None
        assert found({"N": 1234, "M": 77}) == wanted({"N": 1234, "M": 77})
        assert numbers.fitted([s["N"] ** 3 for s in sampled]) is None
        assert numbers.fitted([s["N"] // 2 for s in sampled]) is None
        assert numbers.fitted([min(s["N"], 500) for s in sampled]) is None
