"""Loops made of scan and while_loop: `fori_loop`, `map`, `associative_scan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import DtypeError, ShapeError, at, require_callable, user_source
from tracegrad.core.names import wraps
from tracegrad.core.symbols import Symbol, as_index, made_of_sizes, range_length
from tracegrad.core.tracing import arrays_of
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops.families import is_tracer, normalize_axis
from tracegrad.transforms.control.scan import scan
from tracegrad.transforms.control.while_loop import while_loop
from tracegrad.transforms.vmap import vmap
from tracegrad.typing import PyTree


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any, *, unroll: Any = None
) -> PyTree:
    """Run `val = body_fun(i, val)` for i from `lower` up to but not including `upper`.

    A scan where both bounds are known while tracing, a while loop otherwise; differentiable either way.

    >>> import tracegrad as tg
    >>> tg.lax.fori_loop(0, 4, lambda i, x: x * 2.0, 1.0)
    16.0
    """
    require_callable(body_fun, "lax.fori_loop", "(0, n, f, init)")
    bounds = arrays_of([lower, upper], lambda i: f"{('lower', 'upper')[i]} of lax.fori_loop")
    for name, x in zip(("lower", "upper"), bounds, strict=True):
        t = type_of(x)
        if t.shape or number_kind(t.dtype) not in "iu":
            raise DtypeError(
                f"lax.fori_loop{at(user_source())}: {name} must be an integer scalar, got {t}; write int(x)"
            )
    if not is_tracer(*bounds):
        known = wraps(body_fun)(lambda val, i: (body_fun(i, val), None))
        first, last = [as_index(x) if type(x) is Symbol else int(x) for x in bounds]
        numbers = made_of_sizes(np.arange, (range_length(first, last, 1),), first, last)
        return scan(known, init_val, numbers)[0]
    start, stop = bounds
    body = wraps(body_fun)(lambda pair: (pair[0] + 1, body_fun(*pair)))
    return while_loop(lambda pair: np.less(pair[0], stop), body, (start, init_val))[1]


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> PyTree:
    """What `f` gives for each element of `xs` along axis 0, stacked: like `vmap`, but one after the other, or `batch_size`
    at a time.

    >>> import numpy as np, tracegrad as tg
    >>> tg.lax.map(lambda x: x * 2.0, np.arange(3.0)).tolist()
    [0.0, 2.0, 4.0]
    """
    require_callable(f, "lax.map", "(f, xs)")
    if batch_size is not None:
        return vmap(f, batch_size=batch_size)(xs)
    return scan(wraps(f)(lambda _, x: (None, f(x))), None, xs)[1]


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> PyTree:
    """All partial results of an associative operation, in a number of whole-array steps that grows as the logarithm of
    the length (Blelloch, "Prefix sums and their applications", 1990).

    Args:
        fn: an associative function of two pytrees like `elems`, that works on slices of any length along `axis`.
        elems: a pytree of arrays with equally many elements along `axis`.
        reverse: from the last element to the first.

    >>> import numpy as np, tracegrad as tg
    >>> tg.lax.associative_scan(np.add, np.arange(5.0)).tolist()
    [0.0, 1.0, 3.0, 6.0, 10.0]
    """
    require_callable(fn, "lax.associative_scan", "(f, elems)")
    leaves, structure = tree.tree_flatten(elems)
    arrays = arrays_of(leaves, lambda i: f"elems{tree.keystr(tree.tree_leaves_with_path(elems)[i][0])}")
    axes = [normalize_axis(axis, len(type_of(x).shape), "lax.associative_scan") for x in arrays]
    sizes = {type_of(x).shape[a] for x, a in zip(arrays, axes, strict=True)}
    if len(sizes) != 1:
        raise ShapeError(
            f"lax.associative_scan{at(user_source())}: elems must have equally many elements along axis {axis}, got "
            f"{', '.join([str(type_of(x)) for x in arrays]) or 'no arrays'}"
        )
    if reverse:
        arrays = [np.flip(x, a) for x, a in zip(arrays, axes, strict=True)]

    def combine(xs: Sequence[Any], ys: Sequence[Any]) -> list[Any]:
        out = fn(tree.tree_unflatten(structure, list(xs)), tree.tree_unflatten(structure, list(ys)))
        return tree.tree_leaves(out)

    found = _scanned(arrays, axes, combine)
    if reverse:
        found = [np.flip(x, a) for x, a in zip(found, axes, strict=True)]
    return tree.tree_unflatten(structure, found)


def _scanned(xs: list[Any], axes: Sequence[int], combine: Callable[..., list[Any]]) -> list[Any]:
    def part(xs: Sequence[Any], *cut: Any) -> list[Any]:
        return [x[(*(slice(None),) * a, slice(*cut))] for x, a in zip(xs, axes, strict=True)]

    count = xs[0].shape[axes[0]]
    if count < 2:
        return xs
    pairs = combine(part(xs, 0, count - 1, 2), part(xs, 1, None, 2))
    odd = _scanned(pairs, axes, combine)  # halves each time
    rest = combine(part(odd, 0, (count - 1) // 2), part(xs, 2, None, 2)) if count > 2 else []
    even = [
        np.concatenate([f, *r], a) for f, a, *r in zip(part(xs, 0, 1), axes, *([rest] if rest else []), strict=True)
    ]
    return [_interleaved(e, o, a) for e, o, a in zip(even, odd, axes, strict=True)]


def _interleaved(even: Any, odd: Any, axis: int) -> Any:
    """even[0], odd[0], even[1], ... along an axis; there may be one more of the first."""
    count = odd.shape[axis]
    head = (slice(None),) * axis
    pairs = np.stack([even[(*head, slice(0, count))], odd], axis + 1)
    shape = (*odd.shape[:axis], 2 * count, *odd.shape[axis + 1 :])
    joined = np.reshape(pairs, shape)
    return joined if even.shape[axis] == count else np.concatenate([joined, even[(*head, slice(count, None))]], axis)
