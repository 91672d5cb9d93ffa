"""Typed keys: arrays of keys that no arithmetic takes for numbers, and that print as what they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from tracegrad import tree_util
from tracegrad.core.errors import UnsupportedFunctionError, at, user_source
from tracegrad.core.plain import NO_NUMBERS
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
    inner_axes = 1  # of the words: the last, which is no axis of an array of keys
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
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"bool(){at(user_source())} of a key, which is neither true nor false; write key == other, or len(keys)"
        )

    def __getitem__(self, index: Any) -> KeyArray:
        # All of the words at once, by which what finds keys that are used twice sees whose part this is.
        items = index if type(index) is tuple else (index,)
        if any([item is Ellipsis for item in items]):
            return KeyArray(self._words[(*items, slice(None))])
        return KeyArray(self._words[(*items, Ellipsis, slice(None))])

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            f"keys cannot be written into{at(user_source())}; write np.where(mask, new, keys), or np.concatenate of parts"
        )

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

    def swapaxes(self, axis1: int, axis2: int) -> KeyArray:
        return _by_words(lambda words: np.swapaxes(words, axis1, axis2), self)

    def copy(self) -> KeyArray:
        return KeyArray(np.copy(self._words))

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
        named = kwargs.keys() & _KEYS_BY_NAME
        for i, x in (*enumerate(args), *[(0, kwargs[name]) for name in named]):
            _require_keys(function, x, i in _REARRANGES[function])
        options = {name: x for name, x in kwargs.items() if name not in named}
        if function in (np.stack, np.concatenate):
            return _joined(function, *args, *[kwargs[name] for name in named], **options)
        return _by_words(functools.partial(function, **options), *args, *[kwargs[name] for name in named])

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


def _joined(function: Callable[..., Any], keys: Any, axis: int | None = 0) -> KeyArray:
    """Arrays of keys put together, all of their words at once: that shows which keys are in the result."""
    if axis is None:
        keys, axis = [k.ravel() for k in keys], 0
    return KeyArray(function([k._words for k in keys], axis - 1 if axis < 0 else axis))


def _require_keys(function: Any, x: Any, are_keys: bool) -> None:
    """Raise unless an argument of a function that rearranges keys is made of keys where it has to be, and there alone."""
    if type(x) in (list, tuple):
        if are_keys or any([isinstance(part, KeyArray) for part in x]):
            for part in x:
                _require_keys(function, part, are_keys)
    elif isinstance(x, KeyArray) != are_keys:
        found = (
            f"a key{at(user_source())} stands where numbers do"
            if not are_keys
            else f"{type(x).__name__}{at(user_source())} stands among keys"
        )
        raise TypeError(
            f"np.{function.__name__}: {found}, and keys are no numbers; write tg.random.wrap_key_data(words) for a key of "
            "words, tg.random.key_data(key) for the words of a key"
        )


# Functions that rearrange arrays, and which of their arguments these are.
_REARRANGES: dict[Any, tuple[int, ...]] = {
    **dict.fromkeys([
        np.atleast_1d, np.atleast_2d, np.atleast_3d, np.broadcast_to, np.column_stack, np.concatenate, np.copy, np.delete, np.dstack,
        np.expand_dims, np.flip, np.fliplr, np.flipud, np.hstack, np.moveaxis, np.ravel, np.repeat, np.reshape, np.resize, np.roll,
        np.rollaxis, np.rot90, np.squeeze, np.stack, np.swapaxes, np.take, np.take_along_axis, np.tile, np.transpose, np.vstack,
    ], (0,)),
    np.append: (0, 1),
    np.insert: (0, 2),
    np.where: (1, 2),
}  # fmt: skip
_KEYS_BY_NAME = {"a", "arr", "array", "arrays", "ary", "m", "tup"}  # what they call these
_OF_SHAPES: dict[Any, Any] = {np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim, np.size: lambda x: x.size}
NO_NUMBERS[KeyArray] = "write tg.random.key_data(key) for its words, uint32[..., 2]"


def _refusing(symbol: str) -> Callable[..., NoReturn]:
    def refuse(self: KeyArray, *_: Any) -> NoReturn:
        raise TypeError(
            f"unsupported operand: a key{at(user_source())} is no number, and has no {symbol}; write tg.random.fold_in(key, i) for the "
            "key of a number, tg.random.key_data(key) for its words"
        )

    return refuse


for _symbol, _names in {
    "+": "add radd", "-": "sub rsub neg", "*": "mul rmul", "/": "truediv rtruediv", "//": "floordiv rfloordiv", "%": "mod rmod",
    "**": "pow rpow", "@": "matmul rmatmul", "&": "and rand", "|": "or ror", "^": "xor rxor", "<<": "lshift rlshift",
    ">>": "rshift rrshift", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "abs()": "abs", "~": "invert",
}.items():  # fmt: skip
    for _name in _names.split():
        setattr(KeyArray, f"__{_name}__", _refusing(_symbol))
