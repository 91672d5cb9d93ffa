"""Transforms that compose: each from a function of one pytree to another such function, so that any sequence of them does.

They are written once, over a library (`tg` or `jax`) and its array functions (`np` or `jnp`), so both compute the same by
construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad import tree
from tracegrad.core.check import check

jax.config.update("jax_enable_x64", True)

Function = Callable[[Any], Any]


# ---------------------------------------------------------------------------------------------------------------------
# The two libraries.


@dataclass(frozen=True)
class Library:
    """Whose transforms, whose array functions, and whose pytrees."""

    transforms: Any
    numpy: Any
    map: Callable[..., Any]
    leaves: Callable[[Any], list[Any]]


OURS = Library(tg, np, tree.tree_map, tree.tree_leaves)
OURS_TNP = Library(tg, tnp, tree.tree_map, tree.tree_leaves)
THEIRS = Library(jax, jnp, jax.tree.map, jax.tree.leaves)


def direction(lib: Library, p: Any) -> Any:
    """A tangent or cotangent for each leaf. It varies with the leaf, so that what is outside differentiates it too."""
    return lib.map(lambda x: 0.7 - 0.5 * x, p)


def scalar(lib: Library, f: Function) -> Function:
    """A function's outputs brought together in one number, each with a weight of its own."""

    def g(p: Any) -> Any:
        total = 0.0
        for x in lib.leaves(f(p)):
            weights = np.cos(np.arange(np.prod(x.shape, dtype=int))).reshape(x.shape)
            total = total + lib.numpy.sum(weights * x) + 0.05 * lib.numpy.sum(x * x)
        return total

    return g


# ---------------------------------------------------------------------------------------------------------------------
# The transforms: each from a library and a function of one pytree to a function of one pytree.


def identity(lib: Library, f: Function) -> Function:
    return f


def grad(lib: Library, f: Function) -> Function:
    return lib.transforms.grad(scalar(lib, f))


def value_and_grad(lib: Library, f: Function) -> Function:
    return lib.transforms.value_and_grad(scalar(lib, f))


def jvp(lib: Library, f: Function) -> Function:
    return lambda p: lib.transforms.jvp(f, (p,), (direction(lib, p),))


def linearize(lib: Library, f: Function) -> Function:
    def g(p: Any) -> Any:
        out, push = lib.transforms.linearize(f, p)
        return out, push(direction(lib, p))

    return g


def vjp(lib: Library, f: Function) -> Function:
    def g(p: Any) -> Any:
        out, pull = lib.transforms.vjp(f, p)
        return out, pull(direction(lib, out))

    return g


def vmap(lib: Library, f: Function) -> Function:
    return lib.transforms.vmap(f)


def jacfwd(lib: Library, f: Function) -> Function:
    return lib.transforms.jacfwd(f)


def jacrev(lib: Library, f: Function) -> Function:
    return lib.transforms.jacrev(f)


def hessian(lib: Library, f: Function) -> Function:
    return lib.transforms.hessian(scalar(lib, f))


def hvp(lib: Library, f: Function) -> Function:
    if lib is THEIRS:
        return lambda p: jvp(lib, grad(lib, f))(p)[1]
    return lambda p: lib.transforms.hvp(scalar(lib, f), (p,), (direction(lib, p),))


def make_graph(lib: Library, f: Function) -> Function:
    """The function traced, checked, and its Graph evaluated."""

    def g(p: Any) -> Any:
        structure: Any = None

        def flat(p: Any) -> list[Any]:
            nonlocal structure
            leaves, structure = tree.tree_flatten(f(p))
            return leaves

        graph = lib.transforms.make_graph(flat)(p)
        check(graph)
        return tree.tree_unflatten(structure, graph(*lib.leaves(p)))

    return g


def jit(lib: Library, f: Function) -> Function:
    return lib.transforms.jit(f)


def in_scan(lib: Library, f: Function) -> Function:
    """Inside the second step of a scan."""

    def g(p: Any) -> Any:
        _, ys = lib.transforms.lax.scan(lambda c, _: (c, f(c)), p, None, length=2)
        return lib.map(lambda y: y[1], ys)

    return g


def in_while(lib: Library, f: Function) -> Function:
    """Inside the first and last step of a while loop."""

    def g(p: Any) -> Any:
        start = lib.map(lambda y: 0.0 * y, f(p))
        step = lambda c: (c[0] + 1, f(p))
        return lib.transforms.lax.while_loop(lambda c: c[0] < 1, step, (0, start))[1]

    return g


def checkpoint(lib: Library, f: Function) -> Function:
    return lib.transforms.checkpoint(f)


def custom_jvp(lib: Library, f: Function) -> Function:
    """A rule that is wrong by a factor of three, so that one sees that it is used."""
    g = lib.transforms.custom_jvp(f)

    @g.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        tangent = lib.transforms.jvp(f, primals, tangents)[1]
        return g(*primals), lib.map(lambda t: 3.0 * t, tangent)

    return g


def custom_vjp(lib: Library, f: Function) -> Function:
    g = lib.transforms.custom_vjp(f)

    def backward(p: Any, ct: Any) -> Any:
        return lib.map(lambda t: 3.0 * t, lib.transforms.vjp(f, p)[1](ct))

    g.defvjp(lambda p: (g(p), p), backward)
    return g


def cond(lib: Library, f: Function) -> Function:
    """The function where a condition holds that always does. What stands in the other branch gives NaN and warns, if it
    is ever computed."""

    def g(p: Any) -> Any:
        holds = lib.numpy.sum(lib.leaves(p)[0] ** 2) >= 0.0
        other = lambda p: lib.map(lambda x: x * lib.numpy.log(-1.0 - x * x), f(p))
        return lib.transforms.lax.cond(holds, f, other, p)

    return g


Transform = Callable[[Library, Function], Function]
TRANSFORMS: list[Transform] = [
    identity, grad, value_and_grad, jvp, linearize, vjp, vmap, jacfwd, jacrev, hessian, hvp, make_graph, jit,
    checkpoint, in_scan, in_while, cond, custom_jvp, custom_vjp,
]  # fmt: skip
# What jax computes for ours where the two are the same function, so that fewer are traced. (A jax custom_vjp has no
# forward mode at all.)
THEIR_OWN: dict[Transform, Transform] = {
    linearize: jvp,
    jacrev: jacfwd,
    custom_vjp: custom_jvp,
    make_graph: identity,
    jit: identity,
    in_scan: identity,
    in_while: identity,
    checkpoint: identity,
    cond: identity,
}
CANONICAL = [t for t in TRANSFORMS if t not in THEIR_OWN]


def transformed(lib: Library, f: Function, order: Sequence[str]) -> Function:
    """The function under the transforms of these names, the first outermost."""
    named = {t.__name__: t for t in TRANSFORMS}
    for name in reversed(order):
        f = named[name](lib, f)
    return f
