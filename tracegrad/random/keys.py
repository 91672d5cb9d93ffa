"""Keys, and random bits from them: what `jax.random` makes of these (its default generator, threefry)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.context import open_traces
from tracegrad.core.errors import DtypeError, ShapeError, at, user_source
from tracegrad.core.reuse import cloned, note
from tracegrad.core.symbols import as_index
from tracegrad.core.trace import as_array
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.elementwise import astype
from tracegrad.ops.threefry import random_bits, threefry2x32
from tracegrad.random.keyarray import IMPL, KeyArray, KeyDtype, require_threefry
from tracegrad.typing import Array, ArrayLike, DType


def PRNGKey(seed: ArrayLike, *, impl: str | None = None) -> Array:
    """The key of a seed.

    Args:
        seed: an integer scalar; 64 bits of it count.
        impl: the generator, by jax's name for it: "threefry2x32", the only one here.

    Returns:
        uint32[2], the high and the low 32 bits: what `jax.random.PRNGKey` makes where 64-bit types are enabled.

    Raises:
        DtypeError: `seed` is not an integer.
        ShapeError: `seed` is not a scalar.
        OverflowError: `seed` is a Python int of more than 64 bits.
        ValueError: another generator.

    >>> PRNGKey(7).tolist()
    [0, 7]
    """
    require_threefry(impl, "PRNGKey")
    seed = _integer(seed, "PRNGKey", "seed")
    return np.stack([astype(seed >> np.uint64(32), np.uint32), astype(seed, np.uint32)])


def key(seed: ArrayLike, *, impl: str | None = None, dtype: KeyDtype | None = None) -> KeyArray:
    """The key of a seed, as an array of keys without axes: what no arithmetic takes for numbers.

    Args:
        seed: an integer scalar; 64 bits of it count.
        impl: the generator, by jax's name for it: "threefry2x32", the only one here.
        dtype: the same as a dtype, `key_dtype(impl)`.

    Returns:
        A `KeyArray` of the words that `PRNGKey` makes. Every function here takes both; what `split` and `fold_in` make of it are such
        again.

    Raises:
        DtypeError, ShapeError, OverflowError: a seed that `PRNGKey` refuses.
        ValueError: another generator.

    >>> key(7)
    key<threefry2x32>(0, 7)
    """
    require_threefry(dtype if impl is None else impl, "key")
    return KeyArray(PRNGKey(seed))


def split(key: Array, num: int | Sequence[int] = 2) -> Array:
    """New keys from one.

    Args:
        key: a key, or the words of one, uint32[2].
        num: how many, or the shape of an array of them.

    Returns:
        Keys of this shape, or their words, uint32[num, 2] or uint32[*num, 2]: what `jax.random.split` makes of that key.

    >>> split(PRNGKey(0)).tolist()
    [[1797259609, 2579123966], [928981903, 3453687069]]
    """
    return _like(key, np.stack(threefry2x32(key_given(key, "split"), 0, shape_given(num, "split")), axis=-1))


def fold_in(key: Array, data: ArrayLike) -> Array:
    """A new key from one and a number: that of a step, of a layer, of a device.

    Args:
        key: a key, or the words of one, uint32[2].
        data: an integer scalar; 32 bits of it count.

    Returns:
        A key, or its words: what `jax.random.fold_in` makes of these.

    >>> fold_in(PRNGKey(0), 3).tolist() == split(PRNGKey(0), 4)[3].tolist()
    True
    """
    data = astype(_integer(data, "fold_in", "data"), np.uint32)
    return _like(key, np.stack(threefry2x32(key_given(key, "fold_in"), data, ())))


def bits(key: Array, shape: int | Sequence[int] = (), dtype: DType = np.uint64) -> Array:
    """Random bits, each 0 or 1 with equal probability and independent of all others.

    Args:
        key: a key of `tg.random.key` or of `PRNGKey`.
        shape: of the result.
        dtype: uint8, uint16, uint32 or uint64.

    Returns:
        An array of this shape and dtype: what `jax.random.bits` makes of that key.

    Raises:
        DtypeError: `dtype` is none of these, or the key is not of uint32.

    Source: Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), of a
    count for each element.

    >>> bits(PRNGKey(0), (3,), np.uint8).tolist()
    [167, 146, 40]
    """
    dtype = np.dtype(np.uint64 if dtype is None else dtype)
    if number_kind(dtype) != "u":
        raise DtypeError(
            f"random.bits{at(user_source())}: bits come as unsigned integers, got {dtype}; write np.uint32"
        )
    return random_bits(key_given(key, "bits"), shape_given(shape, "bits"), dtype)


def clone(key: Array) -> Array:
    """The key itself, as one that may be used once more: by this it is told that numbers are to be the same on purpose.

    >>> clone(PRNGKey(7)).tolist()
    [0, 7]
    """
    return _like(key, cloned(_keys_given(key, "clone")))


def key_data(keys: Array) -> Array:
    """The words of a key or of an array of keys: uint32[..., 2].

    >>> key_data(key(7)).tolist()
    [0, 7]
    """
    return _keys_given(keys, "key_data")


def wrap_key_data(key_bits_array: Array, *, impl: str | None = None, dtype: KeyDtype | None = None) -> KeyArray:
    """The keys of these words, uint32[..., 2]: those that `jax.random.key_data` makes of jax's keys, too.

    Raises:
        DtypeError, ShapeError: other arrays.
        ValueError: `impl` is another generator than "threefry2x32".

    >>> wrap_key_data(np.array([0, 7], np.uint32))
    key<threefry2x32>(0, 7)
    """
    require_threefry(dtype if impl is None else impl, "wrap_key_data")
    return KeyArray(_keys_given(key_bits_array, "wrap_key_data"))


def key_impl(keys: Array) -> str:
    """The name of the generator that a key is for, of which there is one.

    >>> key_impl(key(7))
    'threefry2x32'
    """
    _keys_given(keys, "key_impl")
    return IMPL


def _like(key: Any, words: Any) -> Any:
    """Words as keys of the kind that a key was given in."""
    return KeyArray(words) if isinstance(key, KeyArray) else words


def _keys_given(keys: Any, name: str) -> Any:
    keys = _words_of(keys)
    t = type_of(keys)
    if t.dtype != np.uint32 or t.shape[-1:] != (2,):
        raise (ShapeError if t.dtype == np.uint32 else DtypeError)(
            f"random.{name}{at(user_source())}: keys are u32[...,2], got {t}; write tg.random.key(0) for a key"
        )
    return keys


def note_keys(namespace: dict[str, Any], names: str) -> None:
    """Have the functions of these names in a module note that they draw from their key, which is traced, so that a second use of it
    is warned of (`core/reuse.py`)."""
    for name in names.split():
        namespace[name] = _noting(namespace[name])


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def drawing(key: Any, *args: Any, **kwargs: Any) -> Any:
        if open_traces:
            note(key._words if isinstance(key, KeyArray) else key, f"random.{function.__name__}")
        return function(key, *args, **kwargs)

    return drawing


def _words_of(keys: Any) -> Any:
    return as_array(keys._words if isinstance(keys, KeyArray) else keys)


def shape_given(shape: Any, name: str) -> tuple[int, ...]:
    """The shape that a function of this name was given."""
    sizes = tuple([as_index(n) for n in shape]) if np.iterable(shape) else (as_index(shape),)
    if any([n < 0 for n in sizes]):
        raise ShapeError(f"random.{name}{at(user_source())}: a shape has no negative sizes, got {shape}")
    return sizes


def key_given(key: Any, name: str) -> Any:
    """The key that a function of this name was given."""
    key = _words_of(key)
    t = type_of(key)
    if (t.dtype, t.shape) != (np.uint32, (2,)):
        raise (ShapeError if t.dtype == np.uint32 else DtypeError)(
            f"random.{name}{at(user_source())}: a key is u32[2], got {t}; write tg.random.key(0) for a key, and "
            "tg.vmap for an array of keys"
        )
    return key


def _integer(x: Any, name: str, what: str) -> Any:
    """A scalar as uint64, where negative numbers are what they are in two's complement."""
    if type(x) is int:
        x = np.int64(x) if x < 0 else np.uint64(x)
    x = as_array(x)
    t = type_of(x)
    if number_kind(t.dtype) not in "iu":
        raise DtypeError(f"random.{name}{at(user_source())}: {what} must be an integer, got {t}; write int({what})")
    if t.shape:
        raise ShapeError(f"random.{name}{at(user_source())}: {what} must be a scalar, got {t}; write tg.vmap")
    return astype(x, np.uint64)
