"""Estimators by scikit-learn's own checks, and in what takes estimators."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad import nn

sklearn = pytest.importorskip("sklearn", minversion="1.6")
base = pytest.importorskip("sklearn.base")
checks = pytest.importorskip("sklearn.utils.estimator_checks")
selection = pytest.importorskip("sklearn.model_selection")
pipeline = pytest.importorskip("sklearn.pipeline")
preprocessing = pytest.importorskip("sklearn.preprocessing")


# Batches are drawn of examples, so that one of weight 2 is in other batches than the same one twice; as for scikit-learn's own nets.
STOCHASTIC = {"check_sample_weight_equivalence_on_dense_data": "trained in batches"}


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_checks_of_scikit_learn(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks that are skipped, and of what scikit-learn does in them
        checks.check_estimator(getattr(tg.sklearn, kind)(epochs=40), expected_failed_checks=STOCHASTIC)


def small(outputs: int) -> Any:
    return nn.serial(nn.Dense(16), nn.relu, nn.Dense(outputs))


X, Y = np.random.default_rng(0).normal(size=(90, 3)), np.repeat(["a", "b", "c"], 30)
X[:, 0] += np.repeat([0, 6, 12], 30)


def test_in_pipelines_and_searches() -> None:
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), tg.sklearn.Classifier(small, random_state=0))
    search = selection.GridSearchCV(model, {"classifier__epochs": [1, 30], "classifier__batch_size": [8]}, cv=3).fit(
        X, Y
    )
    assert search.best_params_["classifier__epochs"] == 30 and search.best_score_ > 0.95
    assert search.predict(X[:2]).tolist() == ["a", "a"]
    np.testing.assert_allclose(search.predict_proba(X).sum(1), 1)
    assert (
        selection.cross_val_score(
            tg.sklearn.Regressor(random_state=0, epochs=60), X[:, :2], X[:, 0] * 2, cv=3, scoring="r2"
        ).mean()
        > 0.5
    )


def test_same_random_state_same_bits() -> None:
    one, other, third = (tg.sklearn.Classifier(small, epochs=3, random_state=i).fit(X, Y) for i in (4, 4, 5))
    same_bits(one.params_, other.params_)
    assert (one.params_["Dense_0"]["kernel"] != third.params_["Dense_0"]["kernel"]).any()
    again = pickle.loads(pickle.dumps(one))
    same_bits(again.predict_proba(X), one.predict_proba(X))
    same_bits(base.clone(one).fit(X, Y).params_, one.params_)


def test_nets_of_ones_own_and_callbacks() -> None:
    stopping = tg.train.EarlyStopping(monitor="loss", patience=2, min_delta=0.01)
    model = tg.sklearn.Classifier(small(3), tg.optim.adam(0.05), epochs=500, callbacks=[stopping], random_state=0).fit(
        X, Y
    )
    assert model.n_iter_ == len(model.history_) < 500 and model.score(X, Y) > 0.95
    same_bits(model.params_, stopping.best.params)


def test_several_targets() -> None:
    y = np.stack([X[:, 0], X.sum(1)], 1)
    model = tg.sklearn.Regressor(random_state=0, epochs=60).fit(X, y)
    assert model.predict(X).shape == (90, 2) and model.score(X, y) > 0.9
    with pytest.raises(ValueError, match="X has 2 features, but Regressor is expecting 3"):
        model.predict(X[:, :2])


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_weights_of_examples(kind: str) -> None:
    make: Any = lambda **options: getattr(tg.sklearn, kind)(random_state=0, epochs=8, **options)
    y = Y if kind == "Classifier" else X.sum(1)
    weights = np.random.default_rng(1).integers(0, 4, len(X)).astype(float)
    same_bits(make().fit(X, y, np.full(len(X), 3.0)).params_, make().fit(X, y).params_)
    # Those of 0 are not there, in all that is made of the data.
    there = weights > 0
    same_bits(make().fit(X, y, there).params_, make().fit(X[there], y[there]).params_)
    # With all examples in each batch, whole weights are repetitions.
    weighted = make(batch_size=500).fit(X, y, weights)
    repeated = make(batch_size=500).fit(*[np.repeat(z, weights.astype(int), 0) for z in (X, y)])
    np.testing.assert_allclose(weighted.mean_, repeated.mean_)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_)
    outputs = "predict_proba" if kind == "Classifier" else "predict"
    np.testing.assert_allclose(getattr(weighted, outputs)(X), getattr(repeated, outputs)(X), rtol=2e-3, atol=2e-3)
    assert np.abs(getattr(weighted, outputs)(X) - getattr(make(batch_size=500).fit(X, y), outputs)(X)).max() > 0.01
    for wrong, text in ((np.zeros(len(X)), "not zero for all"), (-weights, "0 or more"), (weights[:2], "each of 90")):
        with pytest.raises(ValueError, match=text):
            make().fit(X, y, wrong)


def test_estimators_with_a_layer_can_be_pickled() -> None:
    one = tg.sklearn.Classifier(small(3), epochs=2, random_state=0).fit(X, Y)
    same_bits(pickle.loads(pickle.dumps(one)).predict_proba(X), one.predict_proba(X))
