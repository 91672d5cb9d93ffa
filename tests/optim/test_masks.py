"""Transformations of a part of the parameters make optax's steps; masks in all forms, and those that do not fit."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import optax
import pytest

import tracegrad as tg
from tests.steps import Make, assert_follows, assert_same, parameters
from tracegrad import optim
from tracegrad.optim.masks import mask_tree, path_of

MASK = {"a": {"bias": True, "kernel": False}, "b": (True, True), "c": None, "conv": False}
PREFIX = {"a": True, "b": False, "c": None, "conv": False}
LABELS = {"a": "x", "b": ("y", "x"), "c": None, "conv": "y"}


def momentum(lib: Any) -> Any:
    return lib.chain(lib.trace(0.8), lib.scale_by_learning_rate(lambda n: 0.1 / (1.0 + n)))


def by_axes(params: Any) -> Any:
    return tg.tree.map(lambda p: p.ndim > 1, params)


CASES: dict[str, Make] = {
    "masked": lambda lib: lib.masked(momentum(lib), MASK),
    "masked_prefix": lambda lib: lib.masked(momentum(lib), PREFIX),
    "masked_by_function": lambda lib: lib.masked(momentum(lib), by_axes),
    "masked_in_masked": lambda lib: lib.masked(lib.chain(lib.masked(momentum(lib), by_axes), lib.scale(0.5)), MASK),
    "partition": lambda lib: lib.partition({"x": momentum(lib), "y": lib.scale(0.1), "z": lib.trace(0.1)}, LABELS),
    "multi_transform": lambda lib: lib.multi_transform(
        {True: lib.ema(0.5), False: momentum(lib)}, lambda params: by_axes(params)
    ),
    "freeze": lambda lib: lib.chain(momentum(lib), lib.freeze(MASK)),
    "selective_transform": lambda lib: lib.selective_transform(momentum(lib), freeze_mask=MASK),
    "flatten": lambda lib: lib.flatten(lib.chain(lib.clip_by_block_rms(0.5), momentum(lib))),
}


@pytest.mark.parametrize("case", CASES)
def test_follows_optax(case: str) -> None:
    assert_follows(CASES[case])


PARAMS = {
    "encoder": {"dense": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}},
    "head": [{"kernel": np.ones((3, 1)), "bias": np.ones(1)}, np.ones(())],
}


@pytest.mark.parametrize(
    "mask, chosen",
    [
        ("*.kernel", ["encoder.dense.kernel", "head.0.kernel"]),
        ("encoder.*", ["encoder.dense.bias", "encoder.dense.kernel"]),
        (["head.1", "*.dense.b*"], ["encoder.dense.bias", "head.1"]),
        ("*.[0-9].bias", ["head.0.bias"]),
        (lambda path, leaf: leaf.ndim > 1 and path.startswith("head"), ["head.0.kernel"]),
        (lambda params: tg.tree.map(lambda p: p.ndim == 0, params), ["head.1"]),
        (optim.decay_mask, ["encoder.dense.kernel", "head.0.kernel"]),
        ({"encoder": True, "head": False}, ["encoder.dense.bias", "encoder.dense.kernel"]),
        (True, ["encoder.dense.bias", "encoder.dense.kernel", "head.0.bias", "head.0.kernel", "head.1"]),
    ],
)
def test_forms_of_masks(mask: Any, chosen: list[str]) -> None:
    updates, _ = tg.jit(optim.masked(optim.set_to_zero(), mask).update)(
        PARAMS, optim.masked(optim.set_to_zero(), mask).init(PARAMS)
    )
    assert [path_of(keys) for keys, u in tg.tree.leaves_with_path(updates) if not np.any(u)] == chosen
    weights = tg.tree.map(np.zeros_like, PARAMS)
    decayed, _ = optim.add_decayed_weights(0.5, mask).update(weights, optim.MaskedState(optim.EmptyState()), PARAMS)
    assert [path_of(keys) for keys, u in tg.tree.leaves_with_path(decayed) if np.any(u)] == chosen


def test_labels_by_path() -> None:
    opt = optim.partition(
        {"matrices": optim.scale(2.0), "rest": optim.scale(3.0)},
        lambda path, leaf: "matrices" if path.endswith("kernel") else "rest",
    )
    updates, _ = opt.update(PARAMS, opt.init(PARAMS))
    assert updates["head"][0]["kernel"][0, 0] == 2 and updates["head"][1] == 3


def test_a_pattern_within_a_partition() -> None:
    """It speaks of leaves that another transformation has."""
    opt = optim.partition(
        {"matrices": optim.scale(1.0), "rest": optim.add_decayed_weights(0.1, "*.kernel")},
        lambda path, leaf: "matrices" if leaf.ndim > 1 else "rest",
    )
    updates, _ = opt.update(PARAMS, opt.init(PARAMS), PARAMS)
    assert_same(updates, PARAMS, 0)


@pytest.mark.parametrize(
    "mask, message",
    [
        (
            {"encoder": {"dense": {"kernel": True}}, "head": True},
            "the mask does not fit the parameters; missing: encoder.dense.bias",
        ),
        (
            {"encoder": {"dense": {"kernel": True, "biases": True}}, "head": True},
            "missing: encoder.dense.bias; not among the parameters: encoder.dense.biases",
        ),
        ({"encoder": True, "head": [True, True, False]}, "not among the parameters: head.2"),
        ({"encoder": True, "head": (True, True)}, "the structures differ at"),
        ("*.kernels", "the mask '*.kernels' matches no leaf of the parameters; there are encoder.dense.bias, encoder"),
    ],
)
def test_masks_that_do_not_fit(mask: Any, message: str) -> None:
    opt = optim.masked(optim.scale(1.0), mask)
    with pytest.raises(ValueError, match=re.escape(message)):
        opt.init(PARAMS)


def test_labels_that_do_not_fit() -> None:
    opt = optim.partition({"a": optim.scale(1.0)}, {"encoder": "a", "head": ["a", "b"]})
    with pytest.raises(
        ValueError, match=r"no transformation for the label 'b' of head.1; partition has those for \['a'\]"
    ):
        opt.init(PARAMS)
    opt = optim.partition({"a": optim.scale(1.0)}, {"encoder": "a"})
    with pytest.raises(
        ValueError, match=r"the tree of labels does not fit the parameters; missing: head\.0\.bias, head\.0"
    ):
        opt.init(PARAMS)


def test_extra_arguments_are_masked_too() -> None:
    def run(lib: Any) -> Any:
        def update(updates: Any, state: Any, params: Any = None, *, shift: Any, **extra_args: Any) -> Any:
            return tg.tree.map(lambda u, s: u + s, updates, shift), state

        own = lib.GradientTransformationExtraArgs(lambda params: (), update)
        opt = lib.masked(own, {"a": True, "b": False}, mask_compatible_extra_args=True)
        params = {"a": np.ones(2), "b": np.ones(1)}
        return opt.update(params, opt.init(params), shift={"a": 1.0, "b": 2.0})

    assert_same(run(optim), run(optax), 0)


def test_hyper_parameters() -> None:
    opt = optim.partition(
        {"fast": optim.scale_by_learning_rate(0.5), "slow": optim.masked(optim.scale_by_learning_rate(0.1), True)},
        lambda path, leaf: "fast" if leaf.ndim else "slow",
    )
    assert optim.hyperparams(opt, opt.init(PARAMS)) == {"fast.learning_rate": 0.5, "slow.learning_rate": 0.1}


def test_mask_tree_is_asked_of_any_parameters() -> None:
    assert mask_tree("a", {"a": 1.0, "b": 2.0}) == {"a": True, "b": False}
    assert parameters("float32")["c"] is None
