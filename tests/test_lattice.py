"""The composition lattice: transforms one, two and three deep over functions of every kind, against jax. (Random programs are
in tests/testing/test_programs.py.)"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import tracegrad as tg
from tests.jaxprs import run_with_numpy
from tests.lattice import (
    CANONICAL,
    OURS,
    OURS_TNP,
    THEIR_OWN,
    THEIRS,
    TRANSFORMS,
    Function,
    Library,
    Transform,
    custom_jvp,
    grad,
    hessian,
    hvp,
    identity,
    jacfwd,
    jvp,
    vjp,
    vmap,
)
from tracegrad import tree
from tracegrad.testing import assert_same

jax.config.update("jax_enable_x64", True)

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


def branching(x: Any, xp: Any) -> Any:
    """A condition that holds for some examples of a batch."""
    lax = jax.lax if xp is jnp else tg.lax
    y = xp.sin(x)
    return lax.cond(xp.sum(x * x) > 1.2, lambda x: x[::-1] * y + xp.sum(x), lambda x: xp.exp(x) * y**2, x)


def switching(p: Any, xp: Any) -> Any:
    """An index that differs between examples, pytrees, and a branch that uses none of it."""
    lax = jax.lax if xp is jnp else tg.lax
    a, b = p
    branches = [
        lambda a, b: {"m": np.eye(2), "v": np.ones(2)},
        lambda a, b: {"m": xp.outer(b, b) * a, "v": b @ a},
        lambda a, b: {"m": a @ a, "v": xp.tanh(b)},
    ]
    out = lax.switch(xp.floor(18.0 * xp.abs(a[0, 0])).astype(int) % 3, branches, a, b)
    return out["m"] * 0.5 + a, out["v"] * b


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
        Record(branching, (3,)),
        Record(switching, [(2, 2), (2,)]),
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
    assert all([isinstance(x, np.ndarray | np.generic) for x in tree.tree_leaves(ours)])
    assert all([np.all(np.isfinite(x)) for x in tree.tree_leaves(theirs)])
    assert_same(ours, theirs, name, rtol=1e-10, atol=1e-10)
    assert_same(p, before, f"the argument of {name}, after the call", 0.0)


def variants(chain: Chain) -> list[Chain]:
    """Chains of ours that compute the same function as a canonical one: all, or where these are many every so-manieth."""
    found = list(itertools.product(*[[t for t in TRANSFORMS if THEIR_OWN.get(t, t) is c] for c in chain]))
    return found[:: -(-len(found) // 7)]


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


# ---------------------------------------------------------------------------------------------------------------------
# Nestings that the lattice does not reach.


def test_a_custom_function_of_a_transformed_custom_function_is_its_own() -> None:
    """Each has its own function and rule, though the outer one is named after the inner one."""
    f = tg.custom_jvp(lambda x: x**2)
    f.defjvp(lambda primals, tangents: (f(*primals), 5.0 * primals[0] * tangents[0]))
    for wrap in (tg.grad, tg.vmap, lambda h: h):
        g = tg.custom_jvp(wrap(f))
        g.defjvp(lambda primals, tangents: (g(*primals), 7.0 * tangents[0]))
        x = np.array([3.0]) if wrap is tg.vmap else 3.0
        out, tangent = tg.jvp(g, (x,), (x,))
        assert (np.sum(out), np.sum(tangent)) == ((15.0 if wrap is tg.grad else 9.0), 21.0)


@pytest.mark.parametrize("chain", [(grad, custom_jvp, hvp), (hessian, custom_jvp, hvp)], ids=["grad", "hessian"])
def test_a_rule_whose_transpose_cuts_an_array(chain: Chain) -> None:
    """The rule is traced by types only, and of what it cuts apart some parts are not used."""
    agree("joining", chain)
    for cut in (lambda x: np.split(x, 2)[0], lambda x: np.unstack(x)[1]):
        pulled = tg.linear_transpose(cut, np.zeros(4))(np.ones(2) if cut(np.zeros(4)).ndim else 1.0)[0]
        np.testing.assert_array_equal(pulled, tg.vjp(cut, np.zeros(4))[1](np.ones_like(cut(np.zeros(4))))[0])


@pytest.mark.parametrize("name, x", [("tanh", 0.3), ("exp", -0.8), ("tanh", 0.0)])
def test_six_derivatives_in_every_mixture_of_modes(name: str, x: float) -> None:
    forward = lambda f: lambda x: tg.jvp(f, (x,), (1.0,))[1]
    with mpmath.workdps(60):
        exact = float(mpmath.diff(getattr(mpmath, name), mpmath.mpf(x), 6))
    for modes in itertools.product([tg.grad, forward], repeat=6):
        f = getattr(np, name)
        for m in modes:
            f = m(f)
        assert float(f(x)) == pytest.approx(exact, rel=1e-11, abs=1e-11)


INNER: dict[str, Callable[[Function], Function]] = {
    "grad": tg.grad,
    "jvp": lambda f: lambda y: tg.jvp(f, (y,), (1.0,))[1],
    "linearize": lambda f: lambda y: tg.linearize(f, y)[1](1.0),
    "jacfwd": tg.jacfwd,
    "jacrev": tg.jacrev,
    "vmap of grad": lambda f: lambda y: tg.vmap(tg.grad(f))(y + np.zeros(2))[1],
    "grad of a graph": lambda f: lambda y: tg.make_graph(tg.grad(f))(y)(y)[0],
    "hvp": lambda f: lambda y: tg.hvp(lambda z: 0.5 * f(z) ** 2 / f(y), (y,), (1.0,)),  # f'^2/f, f being linear
}


@pytest.mark.parametrize("outer", ["grad", "jvp", "linearize", "jacfwd", "jacrev", "vmap of grad", "grad of a graph"])
@pytest.mark.parametrize("inner", list(INNER))
def test_what_is_captured_belongs_to_its_own_derivative(inner: str, outer: str) -> None:
    """A derivative inside a derivative, over what the outer one differentiates: d/dx x (d/dy x y) = 2 x, and so on."""
    a, b = INNER[outer], INNER[inner]
    if inner == "hvp":
        g = a(lambda x: x * b(lambda y: x * y)(2.0))  # x (x^2 / (2 x))
        assert float(g(3.0)) == pytest.approx(3.0)
        return
    assert float(a(lambda x: x * b(lambda y: x * y)(2.0))(3.0)) == pytest.approx(6.0)
    assert float(a(lambda x: x * b(lambda y: x + y)(1.0))(3.0)) == pytest.approx(1.0)
    assert float(a(lambda x: b(lambda y: x * y * y)(x))(3.0)) == pytest.approx(12.0)
    deep = a(lambda x: b(lambda y: a(lambda z: b(lambda w: x * y * z * w**2)(z))(y))(x))
    assert float(deep(3.0)) == pytest.approx(48.0)  # 2 x y z^2, 4 x y^2, 8 x^2, 16 x
