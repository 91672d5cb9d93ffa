"""Typed keys: the same keys as their words, in containers, transforms and on devices, and no numbers."""

from __future__ import annotations

import copy
import importlib.util
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.random.test_keys import FUNCTIONS
from tracegrad.core.errors import ShapeError


def test_typed_keys_are_the_same_keys() -> None:
    key, words = tg.random.key(3), tg.random.PRNGKey(3)
    assert repr(key) == "key<threefry2x32>(0, 3)"
    np.testing.assert_array_equal(tg.random.key_data(key), words)
    for name, f in FUNCTIONS.items():
        got, expected = f(tg.random, key), f(tg.random, words)
        assert isinstance(got, tg.random.KeyArray) == (name in ("split", "split into an array", "fold_in"))
        np.testing.assert_array_equal(tg.random.key_data(got) if isinstance(got, tg.random.KeyArray) else got, expected)
    same = (tg.random.clone(key), tg.random.wrap_key_data(words), tg.jit(lambda k: tg.random.wrap_key_data(k))(words))
    for found in (*same, pickle.loads(pickle.dumps(key)), copy.deepcopy(key)):
        assert found == key
    assert isinstance(tg.random.clone(words), np.ndarray)
    np.testing.assert_array_equal(tg.random.key_data(words), words)
    assert tg.random.key_impl(key) == tg.random.key_impl(words) == "threefry2x32"
    assert key.dtype == tg.random.key_dtype() == tg.random.key(0, dtype=tg.random.key_dtype()).dtype


def test_arrays_of_typed_keys() -> None:
    keys = tg.random.split(tg.random.key(3), (2, 3))
    words = tg.random.split(tg.random.PRNGKey(3), (2, 3))
    assert (keys.shape, keys.ndim, keys.size, len(keys), np.shape(keys)) == ((2, 3), 2, 6, 2, (2, 3))
    rearranged: list[tuple[Any, Any]] = [
        (keys[1], words[1]),
        (keys[..., 0], words[..., 0, :]),
        (keys[np.array([True, False])], words[np.array([True, False])]),
        (keys.T, words.swapaxes(0, 1)),
        (keys.reshape(3, 2), words.reshape(3, 2, 2)),
        (keys.ravel(), words.reshape(6, 2)),
        (keys[:1].squeeze(0), words[0]),
        (np.stack([keys, keys], axis=-1), np.stack([words, words], axis=2)),
        (np.concatenate(list(keys)), words.reshape(6, 2)),
        (np.where(np.array([True, False, True]), keys[0], keys[1]), np.stack([words[0, 0], words[1, 1], words[0, 2]])),
        (np.broadcast_to(keys[0, 0], (4,)), np.broadcast_to(words[0, 0], (4, 2))),
        (np.concatenate([keys, keys], axis=-1), np.concatenate([words, words], axis=1)),
        (np.concatenate([keys, keys[:1]], axis=None), np.concatenate([words.reshape(6, 2), words[0]])),
        (np.stack(arrays=[keys, keys]), np.stack([words, words])),
        (np.column_stack([keys[0], keys[1]]), words.swapaxes(0, 1)),
        (np.delete(keys[0], 1), words[0, [0, 2]]),
        (np.insert(keys[0], 0, keys[1, 1]), np.stack([words[1, 1], *words[0]])),
        (np.append(keys[0], keys[1]), words.reshape(6, 2)),
        (np.atleast_2d(keys[0]), words[:1]),
        (np.flipud(keys), words[::-1]),
        (keys[[0, 1], [2, 0]], words[[0, 1], [2, 0]]),
        (keys[None, ..., 1], words[None, :, 1]),
        (list(keys)[1], words[1]),
        (keys.swapaxes(0, 1).copy(), words.swapaxes(0, 1)),
    ]
    for got, expected in rearranged:
        np.testing.assert_array_equal(tg.random.key_data(got), expected)
    np.testing.assert_array_equal(keys[0] == keys[:, :1], [[True, False, False], [False, False, False]])
    np.testing.assert_array_equal(keys[0] != keys[0, 0], [False, True, True])
    assert repr(keys[0, :2]).startswith("key<threefry2x32>[2]([[")


def test_typed_keys_under_transforms() -> None:
    draw = lambda key: (tg.random.normal(key), tg.random.fold_in(key, 1))
    keys, words = tg.random.split(tg.random.key(3), 4), tg.random.split(tg.random.PRNGKey(3), 4)
    expected = tg.vmap(draw)(words)
    walk = lambda key, _: (lambda pair: (pair[0], draw(pair[1])[0]))(tg.random.split(key))
    backends = ["numpy"] if importlib.util.find_spec("jax") is None else ["numpy", "xla"]
    found = [tg.vmap(draw)(keys), *[tg.jit(tg.vmap(draw), backend=b)(keys) for b in backends]]
    for numbers, folded in [*found, tg.lax.scan(lambda c, k: (c, draw(k)), 0, keys)[1]]:
        np.testing.assert_allclose(numbers, expected[0], rtol=1e-14)
        np.testing.assert_array_equal(tg.random.key_data(folded), expected[1])
    last, numbers = tg.lax.scan(walk, keys[0], None, length=3)
    assert isinstance(last, tg.random.KeyArray)
    np.testing.assert_array_equal(numbers, tg.lax.scan(walk, words[0], None, length=3)[1])
    w = tg.grad(lambda w, k: w * tg.random.normal(k))(2.0, keys[0])
    assert w == tg.random.normal(words[0])
    assert str(tg.make_graph(draw)(keys[0])).startswith("graph <lambda>(a:u32[2]=key.words) {")
    assert tg.eval_shape(lambda k: tg.random.split(k, 3), keys[0]).shape == (3,)
    tree = tg.tree.map(lambda x: x, {"k": keys})
    np.testing.assert_array_equal(tree["k"] == keys, np.ones(4, bool))


@pytest.mark.parametrize("how", [lambda f: f, tg.jit])
def test_axes_of_vmap_are_those_of_keys(how: Any) -> None:
    keys, words = tg.random.split(tg.random.key(3), (2, 3)), tg.random.split(tg.random.PRNGKey(3), (2, 3))
    numbers = tg.vmap(tg.vmap(tg.random.normal))(words)
    np.testing.assert_array_equal(how(tg.vmap(tg.vmap(tg.random.normal), in_axes=-1))(keys), numbers.T)
    np.testing.assert_array_equal(
        how(tg.vmap(lambda d: tg.vmap(tg.random.normal)(d["k"]), in_axes=({"k": -2},)))({"k": keys}), numbers
    )
    for axis in (-1, 1):
        found = how(tg.vmap(lambda k: tg.random.split(k, 4), out_axes=axis))(keys[0])
        np.testing.assert_array_equal(
            tg.random.key_data(found), tg.vmap(lambda w: tg.random.split(w, 4), out_axes=1)(words[0])
        )
    for f, said in [
        (lambda: tg.vmap(tg.random.normal)(keys[0, 0]), r"axis 0 of argument key\.words, which has 0 axes as an array of keys; write tg\.random\.split"),
        (lambda: tg.vmap(lambda k: k, in_axes=2)(keys), r"axis 2 of argument k\.words, which has 2 axes as an array of keys"),
        (lambda: tg.vmap(lambda k: k, out_axes=1)(keys[0]), r"out_axes asks for axis 1 of output .* which has 1 axes as an array of keys"),
    ]:  # fmt: skip
        with pytest.raises(ShapeError, match=said):
            f()


def test_choices_among_keys_by_what_is_traced() -> None:
    keys, words = tg.random.split(tg.random.key(3), 4), tg.random.split(tg.random.PRNGKey(3), 4)
    chosen = tg.jit(lambda keys, i: np.where(keys == keys[i], keys, keys[0]))(keys, 2)
    np.testing.assert_array_equal(tg.random.key_data(chosen), words[[0, 0, 2, 0]])


def test_keys_are_no_numbers() -> None:
    key = tg.random.key(3)
    here = r"at .*test_keyarray\.py:\d+ \(in test_keys_are_no_numbers\)"
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: key + 1, r"a key at .* is no number, and has no \+; write tg\.random\.fold_in\(key, i\)"),
        (lambda: 2 * key, r"has no \*"),
        (lambda: -key, "has no -"),
        (lambda: bool(key), "neither true nor false"),
        (lambda: tg.random.split(key).__setitem__(0, key), "cannot be written into at .*; write np.where"),
        (lambda: np.where(True, key, 0), "np.where: int at .* stands among keys"),
        (lambda: np.where(key, key, key), "np.where: a key at .* stands where numbers do"),
        (lambda: np.append(tg.random.split(key), 3), "np.append: int at .* stands among keys"),
        (lambda: np.concatenate([tg.random.split(key), np.ones(2)]), "np.concatenate: ndarray at .* stands among keys"),
        (lambda: tg.random.fold_in(key, key), "a KeyArray at .* is no array of numbers; write tg.random.key_data"),
        (
            lambda: tg.random.uniform(key, minval=key),
            "a KeyArray at .* is no array of numbers; write tg.random.key_data",
        ),
        (lambda: np.ones(2) * key, "np.multiply at .* keys are no numbers"),
        (lambda: np.sum(key), "np.sum at .* keys are no numbers; write tg.random.key_data"),
        (lambda: np.asarray(key), "a key at .* is no array of numbers: write tg.random.key_data"),
        (lambda: len(key), "len.. at .* of one key"),
        (lambda: hash(key), "unhashable"),
        (lambda: list(key), "iteration at .* over one key"),
        (lambda: tg.jit(np.sin)(key), "np.sin at .* keys are no numbers"),
        (lambda: tg.grad(lambda k: 1.0)(key), "k.words is u32"),
    ]
    for f, said in wrong:
        with pytest.raises(TypeError, match=said):
            f()
    with pytest.raises(
        ShapeError, match=rf"random\.bits {here}: a key is u32\[2\], got u32\[3,2\]; .*key\(0\) .* tg\.vmap"
    ):
        tg.random.bits(tg.random.split(key, 3))


def test_keys_on_devices() -> None:
    pytest.importorskip("jax")
    key = tg.device_put(tg.random.key(3))
    assert repr(key) == "key<threefry2x32>(0, 3)"
    assert isinstance(tg.random.split(key), tg.random.KeyArray)
    np.testing.assert_allclose(tg.random.normal(key, (3,)), tg.random.normal(tg.random.key(3), (3,)), rtol=1e-14)
