"""Histograms, traced by value and by type, against NumPy's; derivatives against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same
from tests.ops.reduce import traced
from tests.ops.test_sort import DISTINCT, TIED, traced_and_typed
from tracegrad.core.errors import ConcretizationTypeError, ShapeError
from tracegrad.testing.differences import five_point

rng = np.random.default_rng(0)


@pytest.mark.parametrize("keywords", [{}, {"bins": 3}, {"bins": 4, "range": (-1, 1.5)}, {"bins": [-2.0, 0.0, 0.3, 2.0]},
                                      {"bins": "auto"}, {"bins": [-1, 0, 1]}])  # fmt: skip
def test_histogram(keywords: Any) -> None:
    x, w = DISTINCT.ravel(), rng.uniform(0.5, 1, 24)
    for density in (False, True):
        f = lambda x, w=None: np.histogram(x, density=density, weights=w, **keywords)
        same(traced_and_typed(f, x), f(x), 1e-13)
        if keywords.get("bins") == "auto":
            with pytest.raises(TypeError, match="weights"):
                traced_and_typed(lambda w: f(x, w), w)
            continue
        same(traced_and_typed(lambda w: f(x, w), w), f(x, w), 1e-13)
        same(traced_and_typed(f, DISTINCT, w.reshape(2, 3, 4)), f(x, w), 1e-13)
        # By the weights, with the edges as they are.
        t = rng.normal(size=24)
        tangent = tg.jvp(lambda w: f(x, w)[0], (w,), (t,))[1]
        np.testing.assert_allclose(tangent, *five_point(lambda w: (f(x, w)[0],), [w], [t]), rtol=1e-8, atol=1e-9)
    same(traced_and_typed(lambda x: np.histogram(x, **keywords), TIED), np.histogram(TIED, **keywords))


def test_edges_of_a_histogram_follow_the_extremes() -> None:
    edges = lambda x: np.histogram(x, 3)[1]
    for x in (np.array([0.3, 2.0, -1.0, 1.1]), np.array([1.0, 1.0, 1.0])):
        t = np.array([0.1, 0.5, -0.3, 0.2])[: x.size] if np.ptp(x) else np.ones(3)
        np.testing.assert_allclose(
            tg.jvp(edges, (x,), (t,))[1], *five_point(lambda x: (edges(x),), [x], [t]), rtol=1e-8
        )


def test_a_density_follows_its_edges() -> None:
    x, t, w = np.array([0.3, 2.0, -1.0, 1.1]), np.array([0.1, 0.5, -0.3, 0.2]), np.array([1.0, 2.0, 0.5, 3.0])
    for density in (lambda x: np.histogram(x, 3, density=True)[0], lambda x: np.histogram(x, 3, None, True, w)[0]):
        tangent = tg.jvp(density, (x,), (t,))[1]
        np.testing.assert_allclose(tangent, *five_point(lambda x: (density(x),), [x], [t]), rtol=1e-8)
    bins = np.array([-1.5, 0.5, 2.5])
    by_edges = lambda b: np.histogram(x, b, density=True)[0]
    tangent = tg.jvp(by_edges, (bins,), (t[:3],))[1]
    np.testing.assert_allclose(tangent, *five_point(lambda b: (by_edges(b),), [bins], [t[:3]]), rtol=1e-8)
    assert type(tg.make_graph(lambda x: np.histogram(x, [0.0, 1.0])[1])(x)(x)[0]) is np.ndarray


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "u1"])
@pytest.mark.parametrize(
    "keywords", [{}, {"range": (0, 3)}, {"bins": [0, 1, 2.5]}, {"bins": 4, "density": True, "range": (1, 2)}]
)
def test_under_jit(dtype: str, keywords: Any) -> None:
    x = (rng.uniform(0, 4, 40) * 2).round().astype(dtype)
    f = lambda x: np.histogram(x, **keywords)
    for found, expected in zip(tg.jit(f)(x), f(x), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    w = rng.uniform(0, 1, 40).astype("f4")
    found, expected = (
        tg.jit(lambda x, w: np.histogram(x, weights=w, **keywords))(x, w)[0],
        np.histogram(x, weights=w, **keywords)[0],
    )
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(tg.jit(lambda x: np.histogram(x[:0], 3)[1])(x), np.histogram(x[:0], 3)[1])
    with pytest.raises(ConcretizationTypeError, match=r"(?s)with bins='auto'.* give the number of bins"):
        tg.jit(lambda x: np.histogram(x, "auto"))(x)


POINTS = rng.normal(size=(30, 3))


@pytest.mark.parametrize(
    "keywords",
    [
        {"bins": 3},
        {"bins": (2, 3, 4)},
        {"bins": [[-1, 0, 2.0], 2, 3]},
        {"bins": 2, "range": [(-1, 1), None, (0, 2)]},
        {"bins": 2, "density": True},
    ],
)
def test_several_dimensions(keywords: Any) -> None:
    f = lambda x: np.histogramdd(x, **keywords)
    for g in (lambda x: tg.vjp(f, x)[0], tg.jit(f)):
        (total, edges), (expected, expected_edges) = g(POINTS), f(POINTS)
        np.testing.assert_allclose(total, expected, rtol=1e-14)
        for e, other in zip(edges, expected_edges, strict=True):
            np.testing.assert_allclose(e, other, rtol=1e-15)
    single = POINTS.astype("f4")
    assert [e.dtype for e in tg.jit(f)(single)[1]] == [e.dtype for e in f(single)[1]]
    w = rng.uniform(0, 1, 30)
    by_weight = lambda w: np.histogramdd(POINTS, weights=w, **keywords)[0]
    np.testing.assert_allclose(tg.jit(by_weight)(w), by_weight(w), rtol=1e-14)
    t = rng.normal(size=30)
    tangent = tg.jvp(by_weight, (w,), (t,))[1]
    np.testing.assert_allclose(tangent, *five_point(lambda w: (by_weight(w),), [w], [t]), rtol=1e-7, atol=1e-9)


def test_two_dimensions() -> None:
    x, y, _ = POINTS.T
    for bins in (4, [3, 4], [[-1.0, 0, 1], [0, 0.5, 1]], [-1.0, 0, 1]):
        f = lambda x, y, bins=bins: np.histogram2d(x, y, bins)
        for found, expected in zip(tg.jit(f)(x, y), f(x, y), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-15)
    as_list = traced(lambda x: np.histogramdd([x, y], 3)[0], x)
    np.testing.assert_array_equal(as_list, np.histogramdd([x, y], 3)[0])


def test_what_does_not_fit() -> None:
    x = np.ones(3)
    for f, kind, text in [
        (lambda x: np.histogram(x, 0), ValueError, "histogram: there must be at least one bin, got 0"),
        (lambda x: np.histogram(x, [2, 1]), ValueError, "histogram: edges of bins must ascend"),
        (
            lambda x: np.histogram(x, weights=[1, 2]),
            ValueError,
            r"weights are of the shape of a, got i64\[2\] for f64\[3\]",
        ),
        (lambda x: np.histogram2d(x, x[:2]), ShapeError, r"vectors of one length, got f64\[3\] and f64\[2\]"),
        (lambda x: np.histogramdd(x[:, None], [1, 2]), ValueError, "one entry for each of 1 dimensions, got 2 and 1"),
    ]:
        with pytest.raises(kind, match=text):
            traced(f, x)
