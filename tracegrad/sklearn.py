"""Nets as scikit-learn's estimators: for `Pipeline`, `GridSearchCV`, `cross_val_score` and all else that takes these.

from sklearn.model_selection import GridSearchCV
search = GridSearchCV(tg.sklearn.Classifier(), {"epochs": [20, 100]}).fit(x, y)
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from tracegrad import data, nn, optim, random, train
from tracegrad.core.arguments import require_function
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.core.types import type_of
from tracegrad.transforms.jit.numpy import jit

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_array, check_is_fitted, check_random_state, validate_data
except ImportError as error:
    raise ImportError("tg.sklearn needs scikit-learn of at least 1.6; pip install 'tracegrad[data]'") from error

__all__ = ["Classifier", "Regressor"]


def default_net(outputs: int) -> nn.Layer:
    """What is trained where no net is given: one layer of 64 units."""
    return nn.serial(nn.Dense(64), nn.relu, nn.Dense(outputs))


class _Net(BaseEstimator):
    """What both have. Estimators keep their arguments as they came, and compute at `fit`."""

    def __init__(
        self,
        net: nn.Layer | Callable[[int], nn.Layer] | None = None,
        opt: optim.GradientTransformation | None = None,
        *,
        epochs: int = 100,
        batch_size: int = 32,
        callbacks: Any = (),
        progress: Any = False,
        random_state: Any = None,
    ) -> None:
        self.net = net
        self.opt = opt
        self.epochs = epochs
        self.batch_size = batch_size
        self.callbacks = callbacks
        self.progress = progress
        self.random_state = random_state

    def _layer(self) -> nn.Layer:
        if isinstance(self.net, nn.Layer):
            return self.net
        if self.net is not None:
            require_function(
                self.net,
                type(self).__name__,
                "net",
                "nn.serial(...), or lambda outputs: nn.serial(..., nn.Dense(outputs))",
            )
        return (default_net if self.net is None else self.net)(self.outputs_)

    def _train(self, x: Any, y: Any, weights: Any, losses: Callable[[Any, Any], Any]) -> None:
        # Inputs of one scale, which is that for which nets are drawn.
        self.mean_, self.scale_ = _mean_and_scale(x, weights)
        net = self._layer()
        seed = self.random_state
        if not isinstance(seed, numbers.Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        of_net, of_batches = random.split(random.PRNGKey(int(seed)))

        def loss(params: Any, batch: Any, *, state: Any, key: Any, train: bool) -> Any:
            out, state = net.apply(params, batch[0], state=state, key=key, train=train)
            if np.shape(out)[1:] != (self.outputs_,):
                raise ShapeError(
                    f"{type(self).__name__}{at(user_source())}: the net makes {type_of(out)} of {type_of(batch[0])}, and {self.outputs_} outputs for each "
                    f"example are due; end it with nn.Dense({self.outputs_}), or give a function of the number of outputs"
                )
            found = losses(out, batch[1])
            return np.mean(found if weights is None else found * batch[2]), {}, state

        inputs = self._scaled(x).astype(np.float32)
        opt = optim.adam(1e-2) if self.opt is None else self.opt
        given = (inputs, y) if weights is None else (inputs, y, (weights / weights.mean()).astype(np.float32))
        batches = data.batches(given, min(self.batch_size, len(x)), key=of_batches)
        fitted = train.fit(
            jit(train.make_step(loss, opt)), train.start(net, opt, of_net, inputs[:1]), batches, epochs=self.epochs,
            callbacks=self.callbacks, progress=self.progress, check=False,
        )  # fmt: skip
        chosen = fitted.state if fitted.best is None else fitted.best
        self.params_, self.state_ = chosen.params, chosen.state
        self.history_ = fitted.history.rows
        self.n_iter_ = len(self.history_)

    def _scaled(self, x: Any) -> Any:
        return (x - self.mean_) / self.scale_

    def _outputs(self, x: Any) -> Any:
        """What the net makes of inputs, in float64: for each example the same, whichever others come with it."""
        check_is_fitted(self)
        x = validate_data(self, x, dtype=np.float64, reset=False)
        out, _ = self._layer().apply(nn.cast(self.params_, np.float64), self._scaled(x), state=self.state_)
        return out


def _weighted(x: Any, y: Any, weights: Any) -> tuple[Any, Any, Any]:
    """The examples that count, and their weights, None where all are alike."""
    if weights is None:
        return x, y, None
    weights = check_array(weights, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (len(x),):
        raise ValueError(f"sample_weight has the shape {weights.shape}; write one number for each of {len(x)} examples")
    if (weights < 0).any() or not weights.any():
        raise ValueError("sample_weight must be 0 or more, and not zero for all examples")
    counts = weights > 0
    weights = weights[counts]
    return x[counts], y[counts], None if (weights == weights[0]).all() else weights


def _mean_and_scale(x: Any, weights: Any) -> tuple[Any, Any]:
    """By which columns come to mean 0 and variance 1; constant ones to 0."""
    mean = np.average(x, 0, weights)
    scale = np.sqrt(np.average(np.square(x - mean), 0, weights))
    return mean, np.where(scale > 0, scale, 1.0)


class Classifier(ClassifierMixin, _Net):
    """A net that classifies, trained by the cross-entropy of its outputs.

    Args:
        net: a `tg.nn.Layer` with as many outputs as there are classes; or a function that makes one of that number, by default a
            layer of 64 units. (An estimator can be pickled if that can: see `nn.maker`.)
        opt: a gradient transformation of `tg.optim`, by default `adam(1e-2)`.
        epochs, batch_size: how often the data are gone through, and in what parts.
        callbacks, progress: as for `tg.fit`.
        random_state: an int for the same parameters and the same order of batches each time, as everywhere in scikit-learn.

    Inputs [examples, features] are scaled to mean 0 and variance 1. After `fit` there are `params_`, `state_`, `history_` (a row for
    each epoch), `n_iter_` and `classes_`.

    >>> from tracegrad.data import two_clusters
    >>> model = Classifier(epochs=20, random_state=0).fit(*two_clusters(0))
    >>> model.score(*two_clusters(1)) > 0.95
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on inputs [examples, features] and their classes [examples], numbers or texts. Losses are multiplied by
        `sample_weight` [examples], of which those of 0 count as not there."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, y = np.unique(y, return_inverse=True)
        self.outputs_ = len(self.classes_)
        X, y, weights = _weighted(X, y.astype(np.int32), sample_weight)
        self._train(X, y, weights, nn.softmax_cross_entropy_with_integer_labels)
        return self

    def predict_proba(self, X: Any) -> np.ndarray[Any, Any]:
        """The probability of each class, [examples, classes]."""
        return nn.softmax(self._outputs(X))

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """The most probable class of each example."""
        best = np.argmax(self._outputs(X), 1)
        return self.classes_[best]


class Regressor(RegressorMixin, _Net):
    """A net that predicts numbers, trained by the square of its error. Arguments and attributes are those of `Classifier`; a `net` has
    as many outputs as there are targets.

    Inputs and targets are scaled to mean 0 and variance 1.

    >>> x = np.linspace(-1, 1, 100)[:, None]
    >>> model = Regressor(random_state=0).fit(x, np.sin(3 * x[:, 0]))
    >>> model.score(x, np.sin(3 * x[:, 0])) > 0.95
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on inputs [examples, features] and targets [examples] or [examples, targets]. Losses are multiplied by
        `sample_weight` [examples], of which those of 0 count as not there."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        X, y, weights = _weighted(X, y, sample_weight)
        self.y_mean_, self.y_scale_ = _mean_and_scale(y, weights)
        scaled = ((y - self.y_mean_) / self.y_scale_).astype(np.float32).reshape(len(y), -1)
        self.outputs_ = scaled.shape[1]
        self._train(X, scaled, weights, lambda out, y: np.mean(np.square(out - y), -1))
        return self

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """The targets of each example, of the shape that they had in training."""
        out = self._outputs(X)
        return (out[:, 0] if np.ndim(self.y_mean_) == 0 else out) * self.y_scale_ + self.y_mean_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def __dir__() -> list[str]:
    return list(__all__)
