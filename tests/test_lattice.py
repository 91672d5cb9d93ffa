"""The composition lattice: transforms one, two and three deep over functions of every kind, against jax; and random
programs against complex differences.

A transform maps a function of one pytree to another such function, so that any sequence of them composes. It is written
once, over a library (`tg` or `jax`) and its array functions (`np` or `jnp`), so both compute the same by construction.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxprs import run_with_numpy

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad import tree
from tracegrad.check import check

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


Transform = Callable[[Library, Function], Function]
TRANSFORMS: list[Transform] = [
    identity, grad, value_and_grad, jvp, linearize, vjp, vmap, jacfwd, jacrev, hessian, hvp, make_graph, custom_jvp,
    custom_vjp,
]  # fmt: skip
# What jax computes for ours where the two are the same function: identities of jax's own, so that fewer are traced. (A jax
# custom_vjp has no forward mode at all.)
THEIR_OWN: dict[Transform, Transform] = {linearize: jvp, jacrev: jacfwd, custom_vjp: custom_jvp, make_graph: identity}
CANONICAL = [t for t in TRANSFORMS if t not in THEIR_OWN]


# ---------------------------------------------------------------------------------------------------------------------
# The functions: of one pytree, over either `xp`.


@dataclass(frozen=True)
class Record:
    """A function over `xp` and the shapes of its argument's leaves."""

    f: Callable[[Any, Any], Any]
    shapes: Any

    def argument(self, batches: int) -> Any:
        """The argument, with so many batch axes of two in front. Elements are apart from each other and from zero."""
        rng = np.random.default_rng(3)

        def array(shape: tuple[int, ...]) -> Any:
            x = rng.uniform(0.2, 1.2, shape) * rng.choice([-1.0, 1.0], shape)
            for k in range(batches):
                x = np.stack([x, (0.9 - 0.05 * k) * x])
            return np.asarray(x)

        return tree.tree_map(array, self.shapes, is_leaf=lambda s: type(s) is tuple)


def elementwise(x: Any, xp: Any) -> Any:
    return xp.sin(x) * xp.exp(-x * x) + x / (1.0 + x**2) - xp.log1p(xp.tanh(x) ** 2)


def number(x: Any, xp: Any) -> Any:
    return xp.sqrt(1.0 + x * x) ** 3 + xp.arctan(x) * 2.0


def matmul(p: Any, xp: Any) -> Any:
    hidden = xp.tanh(p["w"] @ p["x"])
    return hidden @ p["w"] + xp.dot(hidden, hidden)


def contractions(p: Any, xp: Any) -> Any:
    a, b = p
    return xp.einsum("ij,kj->ik", a, a) * xp.outer(b, b) + xp.tensordot(a, a, 2), xp.vdot(b, b)


ORDER = np.array([2, 0, 0, 1])


def indexing(x: Any, xp: Any) -> Any:
    return x[::-1] * x[ORDER] + x[1] ** 2 + x[None, :2].T[0, -1] * x[..., -1]


def choice(x: Any, xp: Any) -> Any:
    y = xp.where(x > 0, x * xp.sin(x), xp.exp(x))
    return xp.where(np.array([True, False, True]), y, x**3) + xp.maximum(x, 0.1) * xp.minimum(y, x) + xp.abs(x)


def shapes(x: Any, xp: Any) -> Any:
    """Python branches and loops on what shapes say."""
    total = x * 0.5
    if x.ndim == 1 and x.shape[0] > 2:
        for i in range(len(x) - 1):
            total = total + xp.sin(x[i]) * x[i + 1]
    else:
        total = total * 1000.0
    return total if x.size == 3 else -total


def pytrees(p: Any, xp: Any) -> Any:
    (x, s), v = p["pair"], p["v"]
    return {"out": [x * s, None, (v[0] * s,)], "sum": xp.sum(x) + v[1] ** 2}


def reductions(x: Any, xp: Any) -> Any:
    spread = xp.mean(x, axis=0) + xp.var(x, 0) * xp.prod(x, axis=0)
    return spread + xp.max(x, axis=0) * xp.sum(xp.exp(x), axis=1, keepdims=True) / (2.0 + xp.std(x))


def cumulative(x: Any, xp: Any) -> Any:
    return xp.cumsum(x * x) * xp.cumprod(x) + xp.diff(x, prepend=0.5)


def solve(p: Any, xp: Any) -> Any:
    a = p["a"] @ p["a"].T + 3.0 * np.eye(2)
    return xp.linalg.solve(a, p["b"]) + xp.linalg.det(a) * 0.1, xp.linalg.inv(a)


def factors(x: Any, xp: Any) -> Any:
    a = x @ x.T + np.diag([1.0, 3.0])
    values, vectors = xp.linalg.eigh(a)
    lower = xp.linalg.cholesky(a)
    return lower @ xp.linalg.qr(a)[1] + xp.abs(vectors) * values, xp.linalg.norm(x), xp.linalg.slogdet(a)[1]


def joining(p: Any, xp: Any) -> Any:
    a, b = p
    rows = xp.concatenate([a, b[None, :] * 2.0], axis=0)
    return xp.stack([rows.T.reshape(-1), xp.repeat(b, 3) * xp.tile(b, 3)]) * xp.broadcast_to(b[0], (2, 6))


def sorting(x: Any, xp: Any) -> Any:
    return xp.sort(x) * x[xp.argsort(-x)] + xp.roll(x, 1) * xp.flip(x)


RECORDS: dict[str, Record] = {
    r.f.__name__: r
    for r in [
        Record(elementwise, (3,)),
        Record(number, ()),
        Record(matmul, {"w": (2, 3), "x": (3,)}),
        Record(contractions, [(2, 2), (2,)]),
        Record(indexing, (4,)),
        Record(choice, (3,)),
        Record(shapes, (3,)),
        Record(pytrees, {"pair": [(2,), ()], "v": (2,)}),
        Record(reductions, (2, 2)),
        Record(cumulative, (3,)),
        Record(solve, {"a": (2, 2), "b": (2,)}),
        Record(factors, (2, 2)),
        Record(joining, [(2, 2), (2,)]),
        Record(sorting, (3,)),
    ]
}


# ---------------------------------------------------------------------------------------------------------------------
# The lattice.

Chain = tuple[Transform, ...]


def composed(lib: Library, chain: Chain, f: Function) -> Function:
    """The first transform outermost."""
    for t in reversed(chain):
        f = t(lib, f)
    return f


def their_function(name: str, chain: Chain) -> Function:
    return composed(THEIRS, chain, lambda p: RECORDS[name].f(p, jnp))


@functools.cache
def truth(name: str, chain: Chain) -> Any:
    """What jax says; `chain` has no identities, so that each is computed once."""
    return run_with_numpy(their_function(name, chain), RECORDS[name].argument(chain.count(vmap)))


def agree(name: str, chain: Chain, lib: Library = OURS) -> None:
    record = RECORDS[name]
    p = record.argument(chain.count(vmap))
    before = tree.tree_map(np.copy, p)
    ours = composed(lib, chain, lambda p: record.f(p, lib.numpy))(p)
    theirs = truth(name, tuple([t for t in [THEIR_OWN.get(t, t) for t in chain] if t is not identity]))
    assert repr(tree.tree_structure(ours)) == repr(jax.tree.structure(theirs))
    for a, b in zip(tree.tree_leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert isinstance(a, np.ndarray | np.generic)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert np.all(np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10 * max(1.0, np.max(np.abs(b), initial=0.0)))
    for a, b in zip(tree.tree_leaves(p), tree.tree_leaves(before), strict=True):
        assert np.array_equal(a, b)


def variants(chain: Chain) -> list[Chain]:
    """All chains of ours that compute the same function as a canonical one."""
    return list(itertools.product(*[[t for t in TRANSFORMS if THEIR_OWN.get(t, t) is c] for c in chain]))


def chains(depth: int) -> list[Chain]:
    """The canonical chains whose results stay small: each Jacobian has an axis more than its function."""
    orders = {jacfwd: 1, hessian: 2}
    return [c for c in itertools.product(CANONICAL, repeat=depth) if sum(orders.get(t, 0) for t in c) <= 4]


def spread(depth: int, every: int, functions: int) -> list[Any]:
    """Every so-manieth chain of a depth, each with so many of the functions, taking turns."""
    names = list(RECORDS)
    turn = itertools.cycle(names)
    selection = [(next(turn), c) for c in chains(depth)[::every] for _ in range(functions)]
    return [pytest.param(n, c, id="-".join([t.__name__ for t in c] + [n])) for n, c in selection]


@pytest.mark.parametrize("name", list(RECORDS))
@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: t.__name__)
def test_one_transform(name: str, transform: Transform) -> None:
    agree(name, (transform,))
    agree(name, (transform,), OURS_TNP)


@pytest.mark.parametrize("name, chain", spread(depth=2, every=1, functions=4))
def test_two_transforms(name: str, chain: Chain) -> None:
    for variant in variants(chain):
        agree(name, variant)


@pytest.mark.parametrize("name, chain", spread(depth=3, every=5, functions=1))
def test_three_transforms(name: str, chain: Chain) -> None:
    for variant in variants(chain):
        agree(name, variant)


@pytest.mark.parametrize("name, chain", [("matmul", (grad, vmap)), ("reductions", (jvp,)), ("solve", (vmap, vjp))])
def test_the_truth_is_what_jax_computes(name: str, chain: Chain) -> None:
    """NumPy's evaluation of a jaxpr against XLA's."""
    compiled = jax.jit(their_function(name, chain))(RECORDS[name].argument(chain.count(vmap)))
    for a, b in zip(jax.tree.leaves(truth(name, chain)), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
