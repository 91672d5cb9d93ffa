"""How well a model does, and how such numbers are brought together over the batches of an epoch.

A step returns a dict of metrics for its batch. A plain number is averaged over batches, weighted by how many examples each
has; where that is not what is wanted, the metric says so itself: `Ratio`, `Sum`, `Last`. All are namedtuples of arrays, so
they pass through jit, vmap and psum.

    metrics = {"loss": loss, "accuracy": metrics.accuracy(logits, labels), "words": metrics.Sum(mask.sum())}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.arguments import whole
from tracegrad.core.boxes import accept_jax
from tracegrad.core.errors import DtypeError, ShapeError, at, clip, user_source
from tracegrad.core.quiet import quietly
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.nn import softmax_cross_entropy_with_integer_labels
from tracegrad.nn.activations import one_hot
from tracegrad.ops.elementwise import astype
from tracegrad.typing import Array, ArrayLike

__all__ = [
    "Last",
    "Ratio",
    "Running",
    "Sum",
    "accuracy",
    "confusion_matrix",
    "f1",
    "mean",
    "perplexity",
    "precision",
    "r2",
    "recall",
    "top_k_accuracy",
]


class Ratio(NamedTuple):
    """Numerators and denominators are added up over batches, and divided at the end: a mean over tokens, say, of which
    batches have different numbers.

    >>> mean([{"loss": Ratio(6.0, 3)}, {"loss": Ratio(1.0, 1)}])
    {'loss': 1.75}
    """

    numerator: Any
    denominator: Any


class Sum(NamedTuple):
    """Added up over batches: counts, confusion matrices.

    >>> mean([{"right": Sum(3)}, {"right": Sum(4)}])
    {'right': 7.0}
    """

    value: Any


class Last(NamedTuple):
    """The value of the last batch stands for all: a learning rate, a running norm.

    >>> mean([{"rate": Last(0.2)}, {"rate": Last(0.1)}])
    {'rate': 0.1}
    """

    value: Any


_KINDS = (Ratio, Sum, Last)


class Running:
    """The metrics of some batches, brought together. What `fit` shows, and what it writes down, is this.

    Sums are in float64 on the host, in the order of the batches, so that they do not depend on when they are looked at.

    >>> running = Running()
    >>> running.add({"loss": 1.0}, 3)
    >>> running.add({"loss": 2.0}, 1)
    >>> running.value()
    {'loss': 1.25}
    """

    def __init__(self) -> None:
        # Of how many batches; and by name the kind, the sum or last value, what that is divided by, and the weight of the first
        # batch, which is the unit of weights: means over batches of one size are of the numbers themselves. One assignment
        # moves all, so that an interrupt leaves a batch taken in or not.
        self._state: tuple[int, dict[str, tuple[str, Any, Any, float]]] = 0, {}

    @property
    def count(self) -> int:
        """How many batches were taken in."""
        return self._state[0]

    def add(self, metrics: Mapping[str, Any], weight: float = 1) -> None:
        """Take in the metrics of a batch. Waits for the device that computes them.

        Args:
            metrics: numbers, arrays, `Ratio`s, `Sum`s or `Last`s by name.
            weight: of the numbers and arrays, the number of examples in the batch.

        Raises:
            TypeError: `metrics` is no dict, or has another kind of metric under a name than the batches before.
        """
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f"metrics are a dict of numbers by name, got {type(metrics).__name__}; write {{'loss': loss}}"
            )
        count, sums = self._state[0], dict(self._state[1])
        for name, x in metrics.items():
            kind = type(x).__name__ if isinstance(x, _KINDS) else "mean"
            if name in sums and kind != (before := sums[name][0]):
                told = {"mean": "a number"}
                raise TypeError(
                    f"metric {name!r} is {told.get(kind, kind)}{at(user_source())}, and was {told.get(before, before)} in a batch before; "
                    "return one kind under one name"
                )
            unit = sums[name][3] if name in sums else float(weight) or 1.0
            if kind == "Ratio":
                new, over = _host(name, x.numerator), _host(name, x.denominator)
            elif kind == "mean":
                over = np.float64(weight / unit)
                new = _host(name, x) * over
            else:
                new, over = _host(name, x.value), np.float64(1)
            if kind != "Last" and name in sums:
                _, sum_before, over_before, _ = sums[name]
                new, over = sum_before + new, over_before + over
            sums[name] = kind, new, over, unit
        self._state = count + 1, sums

    def value(self) -> dict[str, Any]:
        """By name, Python floats, or arrays where the metrics are arrays."""
        found = {}
        for name, (kind, value, over, _) in self._state[1].items():
            is_mean = kind in ("mean", "Ratio")
            out = quietly(("divide", "invalid"), np.true_divide, value, over) if is_mean else np.asarray(value)
            found[name] = out if out.ndim else out.item()
        return found

    def copy(self) -> Running:
        """One that goes on from here by itself."""
        running = Running()
        running._state = self._state
        return running

    def data(self) -> dict[str, Any]:
        """What is in it as plain containers, of which `of` makes it again."""
        return {"count": self.count, "sums": {name: list(x) for name, x in self._state[1].items()}}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Running:
        """What has given these `data`."""
        running = cls()
        running._state = int(data["count"]), {name: tuple(x) for name, x in data["sums"].items()}
        return running


def _host(name: str, x: Any) -> Any:
    given, x = x, np.asarray(x)
    if number_kind(x.dtype) not in "biufc":
        raise TypeError(f"metric {name!r}{at(user_source())} is numbers, got {clip(repr(given))}")
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)[()]


def mean(batches: Iterable[Mapping[str, Any]], weights: Iterable[float] | None = None) -> dict[str, Any]:
    """The metrics of some batches as one dict: numbers averaged, and `Ratio`, `Sum` and `Last` as they say.

    Args:
        batches: the metrics of each batch.
        weights: of each batch, the number of its examples; all alike by default.

    Returns:
        By name, floats or arrays.

    >>> mean([{"loss": 1.0}, {"loss": 4.0}], weights=[2, 1])
    {'loss': 2.0}
    """
    if not isinstance(batches, Iterable) or isinstance(batches, Mapping):
        raise TypeError(
            f"metrics.mean{at(user_source())}: a list of dicts is due, one for each batch, got {clip(repr(batches))}; write "
            "tg.metrics.mean([metrics])"
        )
    if weights is not None:
        batches, weights = list(batches), list(weights)
        if len(batches) != len(weights):
            raise ValueError(
                f"metrics.mean{at(user_source())}: {len(weights)} weights for {len(batches)} batches; give one for each"
            )
    running = Running()
    if weights is None:
        for metrics in batches:
            running.add(metrics)
    else:
        for metrics, weight in zip(batches, weights, strict=True):
            running.add(metrics, weight)
    return running.value()


def batch_size(batch: Any) -> int:
    """How many examples a batch has: the leading size of its first leaf that has one; 1 if none has."""
    for leaf in tree.tree_leaves(batch):
        if shape := np.shape(leaf):
            return int(shape[0])
    return 1


# -- Of classes


def accuracy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """The fraction of examples whose highest score is that of the right class.

    Args:
        logits: scores of the classes, [..., classes]; or predicted classes, integers of the labels' shape.
        labels: the right classes, integers [...].

    Returns:
        float32, a scalar. NaN among the scores is highest, as it is for `np.argmax`.

    Raises:
        ShapeError: shapes that do not fit.  DtypeError: labels that are not integers.

    >>> float(accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])))
    0.5
    """
    logits, labels = as_array(logits), _classes(labels, "accuracy", "labels")
    if np.shape(logits) == np.shape(labels) and number_kind(type_of(logits).dtype) in "biu":
        return np.mean(logits == labels, dtype=np.float32)
    _scores(logits, labels, "accuracy")
    return np.mean(np.argmax(logits, -1) == labels, dtype=np.float32)


def top_k_accuracy(logits: ArrayLike, labels: ArrayLike, k: int) -> Array:
    """The fraction of examples whose right class is among the `k` of the highest scores. Of equal scores that of the earlier
    class is higher, so that k=1 is `accuracy`.

    Args:
        logits: scores of the classes, [..., classes].
        labels: the right classes, integers [...].
        k: how many classes count as predicted.

    Returns:
        float32, a scalar. Where scores are NaN, that example is wrong.

    >>> float(top_k_accuracy(np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), np.array([1, 2]), k=2))
    0.5
    """
    logits, labels = as_array(logits), _classes(labels, "top_k_accuracy", "labels")
    _scores(logits, labels, "top_k_accuracy")
    count = logits.shape[-1]
    if not 1 <= whole(k, "metrics.top_k_accuracy", "k") <= count:
        raise ValueError(f"metrics.top_k_accuracy{at(user_source())}: k must be from 1 to {count} classes, got {k}")
    places = np.expand_dims(labels, -1)
    own = np.take_along_axis(logits, places, -1)
    below = (logits < own) | ((logits == own) & (np.arange(count) >= places))
    return np.mean((np.sum(~below, -1) < k) & (own == own)[..., 0], dtype=np.float32)


def confusion_matrix(predicted: ArrayLike, labels: ArrayLike, n: int) -> Array:
    """How many examples of each class were taken for which.

    Args:
        predicted: the predicted classes, integers [...].
        labels: the right classes, integers [...].
        n: the number of classes. An example with a class outside of 0 … n - 1 is not counted.

    Returns:
        int32[n, n]: rows are right classes, columns predicted ones, as in scikit-learn.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    whole(n, "metrics.confusion_matrix", "n", 1)
    predicted, labels = _pair(predicted, labels, "confusion_matrix")
    rows, columns = (one_hot(np.reshape(x, (-1,)), n, dtype=np.int32) for x in (labels, predicted))
    return rows.T @ columns


def precision(predicted: ArrayLike, labels: ArrayLike, n: int = 2, *, average: str | None = "binary") -> Array:
    """Of what was taken for a class, the fraction that is of it; 0 where nothing was.

    Args:
        predicted: the predicted classes, integers [...].
        labels: the right classes, integers [...].
        n: the number of classes.
        average: "binary" (of class 1, of two), "macro" (the mean over classes), "weighted" (by how often each class is
            right), "micro" (over all examples), or None, each class by itself.

    Returns:
        float32, a scalar, or [n] with `average=None`.

    >>> float(precision(np.array([1, 1, 0]), np.array([1, 0, 0])))
    0.5
    """
    return _score(predicted, labels, n, average, "precision", lambda hit, taken, right: (hit, taken))


def recall(predicted: ArrayLike, labels: ArrayLike, n: int = 2, *, average: str | None = "binary") -> Array:
    """Of what is of a class, the fraction that was taken for it; 0 where nothing is. Arguments as for `precision`.

    >>> round(float(recall(np.array([1, 1, 0]), np.array([1, 1, 1]))), 4)
    0.6667
    """
    return _score(predicted, labels, n, average, "recall", lambda hit, taken, right: (hit, right))


def f1(predicted: ArrayLike, labels: ArrayLike, n: int = 2, *, average: str | None = "binary") -> Array:
    """The harmonic mean of `precision` and `recall`. Arguments as for `precision`.

    >>> round(float(f1(np.array([1, 1, 0]), np.array([1, 0, 0]))), 4)
    0.6667
    """
    return _score(predicted, labels, n, average, "f1", lambda hit, taken, right: (2 * hit, taken + right))


def _score(predicted: Any, labels: Any, n: int, average: str | None, name: str, terms: Any) -> Any:
    if average not in ("binary", "macro", "weighted", "micro", None):
        raise ValueError(
            f"metrics.{name}{at(user_source())}: average is 'binary', 'macro', 'weighted', 'micro' or None, got {average!r}"
        )
    if average == "binary" and n != 2:
        raise ValueError(
            f"metrics.{name}{at(user_source())}: average='binary' is of two classes, got n={n}; write average='macro'"
        )
    matrix = astype(confusion_matrix(predicted, labels, n), np.float32)
    hit, taken, right = np.diagonal(matrix), np.sum(matrix, 0), np.sum(matrix, 1)
    if average == "micro":
        hit, taken, right = np.sum(hit), np.sum(taken), np.sum(right)
    numerator, denominator = terms(hit, taken, right)
    each = numerator / np.maximum(denominator, 1)
    if average == "binary":
        return each[1]
    if average == "macro":
        # Over the classes that there are, right or predicted.
        return np.sum(each) / np.maximum(np.sum(taken + right > 0, dtype=np.float32), 1)
    return np.sum(each * right) / np.maximum(np.sum(right), 1) if average == "weighted" else each


# -- Of numbers


def r2(predictions: ArrayLike, targets: ArrayLike) -> Array:
    """1 - Σ(target - prediction)² / Σ(target - mean of targets)²: 1 where all is explained, 0 for the mean itself.

    Args:
        predictions: floats [examples] or [examples, outputs].
        targets: of the same shape.

    Returns:
        A scalar; of several outputs, the mean. Where targets are all alike, 1 if the predictions are right and 0 if not.

    >>> float(r2(np.array([1.0, 2.0, 3.5]), np.array([1.0, 2.0, 3.0])))
    0.875
    """
    predictions, targets = as_array(predictions), as_array(targets)
    if np.shape(predictions) != np.shape(targets) or not np.ndim(targets):
        raise ShapeError(
            f"metrics.r2{at(user_source())}: predictions and targets have one shape, [examples] or [examples, outputs], got "
            f"{np.shape(predictions)} and {np.shape(targets)}; write predictions.reshape(targets.shape) if they fit"
        )
    predictions, targets = _wide(predictions), _wide(targets)
    left = np.sum(np.square(targets - predictions), 0)
    total = np.sum(np.square(targets - np.mean(targets, 0)), 0)
    flat = total == 0
    explained = np.where(flat, np.where(left == 0, 1, 0), 1 - left / np.where(flat, 1, total))
    return np.mean(explained)


def perplexity(logits: ArrayLike, labels: ArrayLike, where: ArrayLike | None = None) -> Array:
    """exp(mean cross-entropy): among how many equally likely tokens the model was undecided.

    Args:
        logits: scores of the tokens, [..., tokens].
        labels: the right tokens, integers [...].
        where: mask of what counts, of the labels' shape.

    Returns:
        A scalar, of the logits' dtype (float32 for half floats). Of several batches, write
        `Ratio(loss.sum(), loss.size)` and take `exp` of what comes out; the mean of perplexities is another number.

    >>> round(float(perplexity(np.zeros((3, 8)), np.array([1, 2, 3]))), 6)
    8.0
    """
    losses = softmax_cross_entropy_with_integer_labels(_wide(as_array(logits)), labels)
    if where is None:
        return np.exp(np.mean(losses))
    counted = np.sum(astype(as_array(where), losses.dtype))
    return np.exp(np.sum(np.where(where, losses, 0)) / np.maximum(counted, 1))


def _wide(x: Any) -> Any:
    """Half floats as float32, and integers as float64."""
    dtype = type_of(x).dtype
    if number_kind(dtype) != "f":
        return astype(x, np.float64)
    return astype(x, np.float32) if dtype.itemsize < 4 else x


def _classes(x: Any, name: str, what: str) -> Any:
    x = as_array(x)
    if number_kind(type_of(x).dtype) not in "biu":
        raise DtypeError(
            f"metrics.{name}{at(user_source())}: {what} are classes, of an integer dtype, got {type_of(x)}; write "
            f"np.argmax({what}, -1) for scores or one-hot rows"
        )
    return x


def _pair(predicted: Any, labels: Any, name: str) -> tuple[Any, Any]:
    predicted, labels = _classes(predicted, name, "predicted"), _classes(labels, name, "labels")
    if np.shape(predicted) != np.shape(labels):
        raise ShapeError(
            f"metrics.{name}{at(user_source())}: predicted and labels have one shape, got {np.shape(predicted)} and "
            f"{np.shape(labels)}"
        )
    return predicted, labels


def _scores(logits: Any, labels: Any, name: str) -> None:
    if np.shape(logits)[:-1] != np.shape(labels) or not np.ndim(logits):
        raise ShapeError(
            f"metrics.{name}{at(user_source())}: logits of shape {np.shape(logits)}, [..., classes], need labels of shape "
            f"{np.shape(logits)[:-1]}, got {np.shape(labels)}"
        )


accept_jax(
    globals(),
    ["accuracy", "confusion_matrix", "f1", "perplexity", "precision", "r2", "recall", "top_k_accuracy"],
)


def __dir__() -> list[str]:
    return list(__all__)
