"""Results are arrays of the caller's own: writeable, and in memory that is neither an argument's, nor a constant's, nor
another result's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

CONSTANT = np.ones(4)
CONSTANT.flags.writeable = False
SPREAD = np.broadcast_to(np.float64(3.0), (4,))
OFTEN = np.arange(8.0)[::2]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "the argument": lambda x: x,
    "a sum": np.sum,
    "a constant": lambda x: (CONSTANT, CONSTANT, SPREAD, x * 1.0),
    "a view of one": lambda x: {"a": x, "b": OFTEN},
    "views": lambda x: (x[1:], x[::-1], x.reshape(2, -1).T, x[None]),
    "spread": lambda x: (np.broadcast_to(x, (2, *x.shape)), np.broadcast_to(np.sum(x), (4,))),
    "twice": lambda x: (x, x, np.sin(x)),
    "overlapping": lambda x: (x[:2], x[1:], np.split(x, 2)),
    "like": lambda x: (np.ones_like(x), x * 0),
    "a number": lambda x: x * 0.0 + 2.0,
    "parts": lambda x: (np.real(x), np.imag(x * 1j), np.diagonal(np.outer(x, x)), np.meshgrid(x, x)),
    "called": lambda x: (tg.jit(lambda y: (y, y))(x), tg.checkpoint(lambda y: y)(x), tg.stop_gradient(x)),
    "loops": lambda x: (tg.lax.scan(lambda c, e: (c, e), x, x), tg.vmap(lambda y: 1.0)(x)),
}


def total(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: sum([np.sum(y) for y in tg.tree.tree_leaves(f(x))])


def cotangents(f: Callable[[Any], Any], x: Any) -> Any:
    return tg.tree.tree_map(lambda y: np.ones(np.shape(y)), f(x))


def both(applied: tuple[Any, Callable[..., Any]], *given: Any) -> Any:
    out, linear = applied
    return out, linear(*given), linear(*given)


TRANSFORMS: dict[str, Callable[[Any, Any], Any]] = {
    "jit": lambda f, x: tg.jit(f)(x),
    "grad": lambda f, x: tg.grad(total(f))(x),
    "jit of grad": lambda f, x: tg.jit(tg.value_and_grad(total(f)))(x),
    "grad of jit": lambda f, x: tg.grad(tg.jit(total(f)))(x),
    "vmap": lambda f, x: tg.vmap(f)(np.stack([x, x])),
    "vmap of nothing": lambda f, x: tg.vmap(f, in_axes=None, axis_size=3)(x),
    "jit of vmap of grad": lambda f, x: tg.jit(tg.vmap(tg.grad(total(f))))(np.stack([x, x])),
    "jvp": lambda f, x: tg.jvp(f, (x,), (np.broadcast_to(1.0, x.shape),)),
    "jit of jvp": lambda f, x: tg.jit(lambda x: tg.jvp(f, (x,), (np.ones_like(x),)))(x),
    "vjp": lambda f, x: both(tg.vjp(f, x), cotangents(f, x)),
    "linearize": lambda f, x: both(tg.linearize(f, x), np.ones_like(x)),
    "jacrev": lambda f, x: tg.jacrev(f)(x[:4]),
    "jacfwd": lambda f, x: tg.jacfwd(f)(x[:4]),
    "hessian": lambda f, x: tg.hessian(total(f))(x[:4]),
    "scan": lambda f, x: tg.lax.scan(lambda c, _: (c, f(c)), x, None, length=2),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("size", [4, 3000])
def test_results_are_own(transform: str, size: int) -> None:
    for name, f in FUNCTIONS.items():
        if size > 4 and name in ("parts", "a constant") + ("views",) * ("jac" in transform):
            continue
        x = np.arange(1.0, size + 1)
        result = TRANSFORMS[transform](f, x)
        leaves = [y for y in tg.tree.tree_leaves(result) if isinstance(y, np.ndarray) and y.size]
        for y in leaves:
            assert y.flags.writeable, name
            assert not any([np.shares_memory(y, z) for z in (x, CONSTANT, SPREAD, OFTEN)]), name
            y *= 0.1  # nothing of it is there twice
            assert not [n for n, stride in zip(y.shape, y.strides, strict=True) if n > 1 and stride == 0], name
        for y, z in itertools.combinations(leaves, 2):
            assert not np.shares_memory(y, z), name


def test_a_gradient_that_is_a_constant_may_be_written_into() -> None:
    step = tg.jit(tg.grad(np.sum))
    for size in (3, 5000):
        for _ in range(2):
            gradient = step(np.ones(size))
            gradient *= 0.5
            assert gradient.tolist() == [0.5] * size


def test_what_is_returned_besides_is_own() -> None:
    x = np.ones(3)
    for transform in (tg.grad, lambda f, has_aux: lambda x: tg.vjp(f, x, has_aux=has_aux)[1:][::-1]):
        aux = transform(lambda x: (np.sum(x), (x, x, x[1:], CONSTANT)), has_aux=True)(x)
        a, b, c, constant = aux[1] if transform is tg.grad else aux[0]
        assert not any([np.shares_memory(y, z) for y, z in itertools.combinations((a, b, c, x), 2)])
        assert constant is CONSTANT
