"""Typed keys: arrays of keys that no arithmetic takes for numbers, and that print as what they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from tracegrad import tree_util
from tracegrad.core.errors import UnsupportedFunctionError, at, user_source
from tracegrad.core.tracer import Tracer
from tracegrad.typing import Array

IMPL = "threefry2x32"  # jax's name for the generator


class KeyDtype:
    """The dtype of typed keys, of which there is one for each generator, and one generator.

    >>> key_dtype()
    key<threefry2x32>
    """

    __slots__ = ()
    name = f"key<{IMPL}>"
    itemsize = 8

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyDtype)

    def __hash__(self) -> int:
        return hash(self.name)


def key_dtype(impl_spec: str | None = None) -> KeyDtype:
    """The dtype that keys of a generator have, "threefry2x32".

    Raises:
        ValueError: another generator.

    >>> import tracegrad as tg
    >>> tg.random.key(0).dtype == tg.random.key_dtype()
    True
    """
    require_threefry(impl_spec, "key_dtype")
    return KeyDtype()


def require_threefry(impl: Any, name: str) -> None:
    if impl is not None and impl != IMPL and impl != KeyDtype():
        raise ValueError(f"random.{name}{at(user_source())}: the generator is {IMPL!r}, got impl={impl!r}")


@tree_util.register_pytree_with_keys_class
class KeyArray:
    """A key, or an array of keys: what `tg.random.key` makes, and what `split` makes of such.

    To transforms and trees it is a node with one leaf, the words, uint32[..., 2], which `tg.random.key_data` gives: so it goes into and
    comes out of `jit`, `vmap`, `lax.scan` and containers, and an axis of `vmap` is one of the keys, counted from the front. It has
    `shape`, `ndim`, `size`, `dtype` (`key<threefry2x32>`), indexing, `==` (which is of whole keys), iteration, and the methods and functions
    of NumPy's that put arrays together or rearrange them; there is no arithmetic, and no plain array of it.

    >>> import tracegrad as tg
    >>> tg.random.key(7)
    key<threefry2x32>(0, 7)
    >>> keys = tg.random.split(tg.random.key(7), 3)
    >>> keys.shape, keys[:2].shape, tg.vmap(tg.random.normal)(keys).shape
    ((3,), (2,), (3,))
    """

    __slots__ = ("__weakref__", "_words")
    __array_priority__ = 1000.0

    def __init__(self, words: Array) -> None:
        self._words = words

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], None]:
        return [(tree_util.GetAttrKey("words"), self._words)], None

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        return (self._words,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> KeyArray:
        return cls(*children)

    @property
    def dtype(self) -> KeyDtype:
        return KeyDtype()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._words.shape[:-1])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=int))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(
                f"len(){at(user_source())} of one key, which has no axis to count; write tg.random.split(key, n)"
            )
        return self.shape[0]

    def __iter__(self) -> Iterator[KeyArray]:
        if not self.shape:
            raise TypeError(
                f"iteration{at(user_source())} over one key, which has no axis; write tg.random.split(key, n)"
            )
        return map(KeyArray, self._words)

    def __getitem__(self, index: Any) -> KeyArray:
        return _by_words(lambda words: words[index], self)

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, KeyArray):
            return NotImplemented
        return np.all(np.equal(self._words, other._words), axis=-1)

    def __ne__(self, other: object) -> Any:
        return np.logical_not(self == other) if isinstance(other, KeyArray) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def reshape(self, *shape: Any) -> KeyArray:
        return _by_words(lambda words: np.reshape(words, shape[0] if len(shape) == 1 else shape), self)

    def ravel(self) -> KeyArray:
        return self.reshape(-1)

    flatten = ravel

    def squeeze(self, axis: Any = None) -> KeyArray:
        return _by_words(lambda words: np.squeeze(words, axis), self)

    def transpose(self, *axes: Any) -> KeyArray:
        return _by_words(lambda words: np.transpose(words, (axes[0] if len(axes) == 1 else axes) or None), self)

    @property
    def T(self) -> KeyArray:
        return self.transpose()

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in _OF_SHAPES:
            return _OF_SHAPES[function](*args, **kwargs)
        if function not in _REARRANGES:
            raise UnsupportedFunctionError(
                f"np.{function.__name__}{at(user_source())}: keys are no numbers; write tg.random.key_data(key) for their words"
            )
        return _by_words(functools.partial(function, **kwargs), *args)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"np.{ufunc.__name__}{at(user_source())}: keys are no numbers; write tg.random.key_data(key) for their words, and "
            "key == other to compare keys"
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError(
            f"a key{at(user_source())} is no array of numbers: write tg.random.key_data(key) for its words, uint32[..., 2]"
        )

    def __repr__(self) -> str:
        words = self._words
        if isinstance(words, Tracer) or not hasattr(words, "tolist"):
            return f"{self.dtype}({words!r})"
        if not self.shape:
            return f"{self.dtype}({', '.join(map(str, words.tolist()))})"
        told = np.array2string(np.asarray(words), separator=", ", threshold=20, edgeitems=2)
        return f"{self.dtype}{list(self.shape)}({told})"


def _by_words(function: Callable[..., Any], *args: Any) -> KeyArray:
    """What a function that rearranges makes of keys: of their first words and their second words."""
    halves = [function(*[_half(x, i) for x in args]) for i in (0, 1)]
    return KeyArray(np.stack(halves, axis=-1))


def _half(x: Any, i: int) -> Any:
    if isinstance(x, KeyArray):
        return x._words[..., i]
    return type(x)([_half(part, i) for part in x]) if type(x) in (list, tuple) else x


_REARRANGES: frozenset[Any] = frozenset([
    np.append, np.broadcast_to, np.concatenate, np.copy, np.expand_dims, np.flip, np.moveaxis, np.ravel, np.repeat, np.reshape, np.roll,
    np.rollaxis, np.squeeze, np.stack, np.swapaxes, np.take, np.tile, np.transpose, np.where, np.hstack, np.vstack, np.atleast_1d,
])  # fmt: skip
_OF_SHAPES: dict[Any, Any] = {np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim, np.size: lambda x: x.size}
