"""Metrics against scikit-learn's, on both backends, and how those of batches are brought together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near, same
from tracegrad import metrics
from tracegrad.core.errors import DtypeError, ShapeError
from tracegrad.metrics import Last, Ratio, Sum

truth = pytest.importorskip("sklearn.metrics")

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(60, 5)).astype(np.float32)
LABELS = RNG.integers(0, 5, 60)
PREDICTED = RNG.integers(0, 4, 60)  # class 4 is never predicted
BINARY = RNG.integers(0, 2, 60), RNG.integers(0, 2, 60)


def everywhere(f: Any, *args: Any) -> Any:
    """Eagerly; the same from NumPy's jit, and from XLA's if there is jax."""
    found = f(*args)
    same(tg.jit(f, backend="numpy")(*args), found)
    if jax := pytest.importorskip("jax"):
        near(np.asarray(tg.jit(f, backend="xla")(*args)), np.asarray(found), 1e-6)
        near(np.asarray(f(*jax.tree.map(jax.numpy.asarray, args)), float), np.asarray(found, float), 1e-6)
    return found


def test_accuracy() -> None:
    found = everywhere(metrics.accuracy, LOGITS, LABELS)
    near(float(found), truth.accuracy_score(LABELS, LOGITS.argmax(1)), 1e-6)
    assert found.dtype == np.float32
    near(float(metrics.accuracy(PREDICTED, LABELS)), truth.accuracy_score(LABELS, PREDICTED), 1e-6)
    assert tg.vmap(metrics.accuracy)(LOGITS.reshape(6, 10, 5), LABELS.reshape(6, 10)).shape == (6,)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k(k: int) -> None:
    found = everywhere(lambda x, y: metrics.top_k_accuracy(x, y, k), LOGITS, LABELS)
    near(float(found), truth.top_k_accuracy_score(LABELS, LOGITS, k=k), 1e-6)


def test_ties_and_nan_among_scores() -> None:
    x = np.array([[1.0, 1.0, 1.0]] * 3)
    assert metrics.top_k_accuracy(x, np.arange(3), 2) == np.float32(2 / 3)
    assert metrics.top_k_accuracy(x, np.arange(3), 1) == metrics.accuracy(x, np.arange(3))
    assert metrics.top_k_accuracy(x * np.nan, np.arange(3), 3) == 0
    with pytest.raises(ValueError, match="k must be from 1 to 3 classes, got 4"):
        metrics.top_k_accuracy(x, np.arange(3), 4)


def test_confusion_matrix() -> None:
    found = everywhere(lambda p, y: metrics.confusion_matrix(p, y, 5), PREDICTED, LABELS)
    assert found.dtype == np.int32
    assert (found == truth.confusion_matrix(LABELS, PREDICTED, labels=range(5))).all()


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_scores_of_classes(name: str, average: str | None) -> None:
    found = everywhere(lambda p, y: getattr(metrics, name)(p, y, 5, average=average), PREDICTED, LABELS)
    expected = getattr(truth, f"{name}_score")(LABELS, PREDICTED, average=average, zero_division=0)
    near(np.asarray(found, float), np.asarray(expected), 1e-6)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_scores_of_two_classes(name: str) -> None:
    found = everywhere(getattr(metrics, name), *BINARY)
    near(float(found), getattr(truth, f"{name}_score")(BINARY[1], BINARY[0]), 1e-6)
    assert (
        getattr(metrics, name)(np.zeros(4, int), np.zeros(4, int)) == 0
    )  # nothing of class 1, and nothing taken for it
    found = getattr(metrics, name)(np.zeros(4, int), np.zeros(4, int), 3, average="macro")
    assert found == getattr(truth, f"{name}_score")(np.zeros(4), np.zeros(4), average="macro", zero_division=0)


@pytest.mark.parametrize("shape", [(30,), (30, 3)])
def test_r2(shape: tuple[int, ...]) -> None:
    x, y = RNG.normal(size=shape), RNG.normal(size=shape)
    near(float(everywhere(metrics.r2, x, y)), truth.r2_score(y, x), 1e-6)
    flat = np.ones(shape)
    for x in (flat, flat + 1):
        assert metrics.r2(x, flat) == truth.r2_score(flat, x)


def test_r2_of_half_floats_does_not_overflow() -> None:
    y = np.linspace(0, 60000, 50).astype(np.float16)
    near(float(metrics.r2(y[::-1], y)), truth.r2_score(y.astype(float), y[::-1].astype(float)), 1e-5)


def test_perplexity() -> None:
    expected = np.exp(truth.log_loss(LABELS, np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)))
    near(float(everywhere(metrics.perplexity, LOGITS, LABELS)), expected, 1e-5)
    where = np.arange(60) < 20
    near(metrics.perplexity(LOGITS, LABELS, where), metrics.perplexity(LOGITS[:20], LABELS[:20]), 1e-6)


def test_wrong_calls() -> None:
    with pytest.raises(ShapeError, match=r"logits of shape \(60, 5\), .* need labels of shape \(60,\), got \(59,\)"):
        metrics.accuracy(LOGITS, LABELS[1:])
    with pytest.raises(DtypeError, match=r"labels are classes, .* got f32\[60,5\]; write np.argmax\(labels, -1\)"):
        metrics.accuracy(LOGITS, LOGITS)
    with pytest.raises(ShapeError, match=r"predicted and labels have one shape, got \(59,\) and \(60,\)"):
        metrics.f1(PREDICTED[1:], LABELS, 5, average="macro")
    with pytest.raises(ValueError, match="average='binary' is of two classes, got n=5; write average='macro'"):
        metrics.f1(PREDICTED, LABELS, 5)
    with pytest.raises(ValueError, match=r"average is 'binary', .* got 'mean'"):
        metrics.f1(*BINARY, average="mean")
    with pytest.raises(ShapeError, match=r"got \(3, 1\) and \(3,\); write predictions.reshape"):
        metrics.r2(np.ones((3, 1)), np.ones(3))
    with pytest.raises(TypeError, match="metrics are a dict of numbers by name, got float"):
        metrics.mean([1.0])  # type: ignore[list-item]


def test_what_each_kind_becomes_over_batches() -> None:
    batches = [
        {"loss": np.float32(1), "tokens": Ratio(6, 2), "matrix": Sum(np.eye(2, dtype=int)), "rate": Last(0.1)},
        {"loss": np.float32(4), "tokens": Ratio(1, 5), "matrix": Sum(np.ones((2, 2), int)), "rate": Last(0.3)},
    ]
    found = metrics.mean(batches, weights=[2, 1])
    assert (found["loss"], found["tokens"], found["rate"]) == (2.0, 1.0, 0.3)
    assert found["matrix"].tolist() == [[2, 1], [1, 2]]
    assert np.isnan(metrics.mean([{"a": Ratio(0, 0)}])["a"])
    assert metrics.mean([]) == {}


def test_kinds_pass_through_transforms() -> None:
    def step(x: Any) -> Any:
        return {"a": Ratio(np.sum(x), np.float32(x.size)), "b": Sum(x[0]), "c": Last(x[1])}

    x = np.arange(4, dtype=np.float32)
    assert metrics.mean([tg.jit(step)(x)]) == {"a": 1.5, "b": 0.0, "c": 1.0}
    total = tg.vmap(lambda x: tg.lax.psum(step(x)["a"], "i"), axis_name="i")(x.reshape(2, 2))
    assert isinstance(total, Ratio) and total.numerator.tolist() == [6, 6]


def test_batch_size() -> None:
    assert metrics.batch_size({"x": np.ones((7, 2)), "scale": 1.0}) == 7
    assert metrics.batch_size((1.0,)) == 1


def test_kinds_of_metrics_are_not_mixed() -> None:
    with pytest.raises(
        TypeError, match=r"metric 'loss' is Sum at .*test_metrics\.py:\d+ .*, and was a number in a batch before"
    ):
        metrics.mean([{"loss": 1.0}, {"loss": metrics.Sum(2.0)}])
    with pytest.raises(TypeError, match=r"metric 'loss' is a number at .*, and was Ratio in a batch before"):
        metrics.mean([{"loss": metrics.Ratio(1.0, 2.0)}, {"loss": 1.0}])
