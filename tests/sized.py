"""Functions with jax.numpy's keywords that say how long a result is: against jax's, on plain arrays, by value and by type."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tracegrad as tg
import tracegrad.numpy as tnp


def agrees_with_jax(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    with jax.enable_x64(True):
        expected = jax.tree.leaves(getattr(jnp, name)(*arguments, **keywords))
    arrays = [x for x in arguments if isinstance(x, np.ndarray)]
    others = arguments[len(arrays) :]
    f = lambda *xs: getattr(tnp, name)(*xs, *others, **keywords)
    for found in (f(*arrays), tg.jit(f)(*arrays), tg.jit(f, backend="xla")(*arrays), *batched(f, arrays)):
        found = tg.tree.leaves(found)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def batched(f: Any, arrays: list[Any]) -> Any:
    """Each of two rows, of which the first is another."""
    found = tg.vmap(f)(*[np.stack([x[::-1], x]) for x in arrays])
    return [tg.tree.map(lambda x: x[1], found)]
