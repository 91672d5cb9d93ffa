"""tg.random: the generator's published test vectors, jax's bits, and the errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DtypeError, ShapeError

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "split": lambda random, key: random.split(key),
    "split into an array": lambda random, key: random.split(key, (2, 3)),
    "fold_in": lambda random, key: random.fold_in(key, np.uint32(2**32 - 5)),
    "bits": lambda random, key: random.bits(key, (2, 5), np.uint64),
    "one": lambda random, key: random.bits(key, (), np.uint32),
    "by an array": lambda random, key: random.bits(key, tuple(np.array([3, 2])), np.uint32),
    "none": lambda random, key: random.bits(key, (0, 3), np.uint8),
    "short": lambda random, key: random.bits(key, (7,), np.uint16),
    "bytes": lambda random, key: random.bits(key, (7,), np.uint8),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_transforms_and_backends(name: str) -> None:
    f = lambda key: FUNCTIONS[name](tg.random, key)
    keys = tg.random.split(tg.random.PRNGKey(3), 4)
    expected = np.stack([f(key) for key in keys])
    for got in (tg.vmap(f)(keys), tg.jit(tg.vmap(f))(keys), np.stack([tg.jit(f)(key) for key in keys])):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    f = lambda key: FUNCTIONS[name](tg.random, key)
    keys = tg.random.split(tg.random.PRNGKey(3), 4)
    expected = np.stack([f(key) for key in keys])
    for got in (
        tg.jit(tg.vmap(f), backend="xla")(keys),
        np.stack([f(jax.numpy.asarray(key)) for key in keys]),
        jax.vmap(f)(jax.numpy.asarray(keys)),
    ):
        if name != "bits":  # jax alone has no uint64 here
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


def test_keys_and_counts_in_batches() -> None:
    keys = tg.random.split(tg.random.PRNGKey(5), (2, 3))
    steps = np.arange(4)
    expected = [[[tg.random.fold_in(key, i) for i in steps] for key in row] for row in keys]
    of_steps = tg.vmap(tg.random.fold_in, in_axes=(None, 0))
    np.testing.assert_array_equal(
        tg.vmap(tg.vmap(of_steps, in_axes=(0, None)), in_axes=(0, None))(keys, steps), expected
    )
    of_keys = tg.vmap(tg.vmap(tg.random.fold_in, in_axes=(0, None)), in_axes=(0, None))
    got = tg.vmap(of_keys, in_axes=(None, 0), out_axes=2)(keys, steps)
    np.testing.assert_array_equal(got, expected)
    of_key = tg.vmap(tg.vmap(tg.random.fold_in), in_axes=(0, None))
    got = of_key(keys, steps[:3])
    np.testing.assert_array_equal(got, [[row[j][j] for j in range(3)] for row in expected])


def test_seeds_that_are_traced() -> None:
    seeds = np.array([0, 1, -1, 2**40])
    np.testing.assert_array_equal(tg.vmap(tg.random.PRNGKey)(seeds), [tg.random.PRNGKey(int(s)) for s in seeds])


def test_bits_in_a_function_that_is_differentiated() -> None:
    def loss(w: Any, key: Any) -> Any:
        kept = tg.random.bits(key, (5,), np.uint8) < 128
        return np.sum(np.where(kept, w * w, 0.0))

    w, key = np.arange(5.0), tg.random.PRNGKey(1)
    kept = tg.random.bits(key, (5,), np.uint8) < 128
    assert 0 < kept.sum() < 5
    np.testing.assert_array_equal(tg.grad(loss)(w, key), np.where(kept, 2 * w, 0.0))
    np.testing.assert_array_equal(tg.jit(tg.grad(loss))(w, key), np.where(kept, 2 * w, 0.0))


def test_each_bit_is_set_half_the_time() -> None:
    found = tg.random.bits(tg.random.PRNGKey(2), (20_000,), np.uint64)
    counts = np.array([np.count_nonzero(found >> np.uint64(i) & np.uint64(1)) for i in range(64)])
    assert np.all(np.abs(counts - 10_000) < 5 * np.sqrt(5_000))  # five standard deviations


def test_errors() -> None:
    key = tg.random.PRNGKey(0)
    here = r".*test_keys\.py:\d+ \(in test_errors\)"
    with pytest.raises(
        DtypeError, match=rf"random\.PRNGKey at {here}: seed must be an integer, got f64\[\]; write int\("
    ):
        tg.random.PRNGKey(np.float64(1.0))
    with pytest.raises(
        ShapeError, match=rf"random\.PRNGKey at {here}: seed must be a scalar, got i64\[2\]; write tg\.vmap"
    ):
        tg.random.PRNGKey(np.arange(2))
    with pytest.raises(OverflowError):
        tg.random.PRNGKey(2**64)
    with pytest.raises(
        DtypeError, match=rf"random\.split at {here}: a key is u32\[2\], got i64~\[\]; write tg\.random\.key"
    ):
        tg.random.split(0)
    with pytest.raises(ShapeError, match=rf"random\.bits at {here}: a key is u32\[2\], got u32\[3,2\]; .* tg\.vmap"):
        tg.random.bits(tg.random.split(key, 3))
    with pytest.raises(
        DtypeError, match=rf"random\.bits at {here}: bits come as unsigned integers, got int32; write np\.uint"
    ):
        tg.random.bits(key, (3,), np.int32)
    for negative in (lambda: tg.random.bits(key, (2, -1)), lambda: tg.random.split(key, -1)):
        with pytest.raises(ShapeError, match=r"random\.\w+ at .*test_keys.*: a shape has no negative sizes, got .*-1"):
            negative()
    with pytest.raises(DtypeError, match=rf"random\.fold_in at {here}: data must be an integer, got f64\[\]"):
        tg.random.fold_in(key, np.float64(0.5))


def test_typed_keys_of_jax_are_refused() -> None:
    jax = pytest.importorskip("jax")
    with pytest.raises(TypeError, match=r"key<fry> is not one of numbers; write jax\.random\.key_data\(key\)"):
        tg.random.split(jax.random.key(0))
    np.testing.assert_array_equal(
        tg.random.split(jax.random.key_data(jax.random.key(0))), tg.random.split(tg.random.PRNGKey(0))
    )


def test_names_for_what_keys_are() -> None:
    here = r".*test_keys\.py:\d+ \(in test_names_for_what_keys_are\)"
    for name, make in (("key", tg.random.key), ("PRNGKey", tg.random.PRNGKey)):
        with pytest.raises(
            ValueError, match=rf"random\.{name} at {here}: the generator is 'threefry2x32', got impl='rbg'"
        ):
            make(3, impl="rbg")
    with pytest.raises(DtypeError, match=rf"random\.key_data at {here}: keys are u32\[\.\.\.,2\], got i64\[2\]"):
        tg.random.key_data(np.array([3, 4]))
