"""Functions that jax has run on the host, in the middle of a program, with plain arrays.

XLA may call the host on a thread of its own, where jax's 64-bit flag is what the process has, and jax rounds what goes in and out by it.
So numbers of 64 bits go both ways as words of 32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_WIDE = {np.dtype(d) for d in (np.float64, np.int64, np.uint64, np.complex128)}


def _words(x: Any) -> Any:
    if x.dtype not in _WIDE:
        return x
    if x.dtype == np.complex128:
        return jnp.concatenate([_words(lax.real(x)), _words(lax.imag(x))], axis=-1)
    return lax.bitcast_convert_type(x, np.uint32)


def _from_words(x: Any, dtype: Any) -> Any:
    if dtype not in _WIDE:
        return x
    if dtype == np.complex128:
        return lax.complex(_from_words(x[..., :2], np.dtype(float)), _from_words(x[..., 2:], np.dtype(float)))
    return lax.bitcast_convert_type(x, dtype)


def _of_words(function: Callable[..., Any], dtypes: Sequence[Any], out: Sequence[Any], *inputs: Any) -> Any:
    arrays = [
        np.ascontiguousarray(x).view(d)[..., 0] if d in _WIDE else np.asarray(x)
        for x, d in zip(inputs, dtypes, strict=True)
    ]
    found = [np.asarray(x, d) for x, d in zip(function(*arrays), out, strict=True)]
    return [np.ascontiguousarray(x[..., None]).view(np.uint32) if x.dtype in _WIDE else x for x in found]


def on_host(
    function: Callable[..., Any], types: Sequence[Any], inputs: Sequence[Any], call: Any = jax.pure_callback, **how: Any
) -> list[Any]:
    """What a function of arrays returns, which are of these types, by `jax.pure_callback` or `io_callback`, which takes `how`."""
    arrays = [jnp.asarray(x) for x in inputs]
    out = [np.dtype(t.dtype) for t in types]
    shapes = [
        jax.ShapeDtypeStruct((*t.shape, d.itemsize // 4), np.dtype(np.uint32))
        if d in _WIDE
        else jax.ShapeDtypeStruct(t.shape, d)
        for t, d in zip(types, out, strict=True)
    ]
    host = functools.partial(_of_words, function, [np.dtype(x.dtype) for x in arrays], out)
    found = call(host, shapes, *map(_words, arrays), **how)
    return [_from_words(x, d) for x, d in zip(found, out, strict=True)]
