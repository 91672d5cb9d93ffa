"""Collectives over named axes: against jax, against sums written out, under every transform, inside and outside vmap."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.ops.collective as lax
from tests.compare import near
from tests.notes import Notes
from tracegrad.core.check import check
from tracegrad.core.errors import ShapeError

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

jnp = jax.numpy
Case = Callable[[Any, Any, Any], Any]  # (numpy module, lax module, x) -> array
N = 4
RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 2.0, (N, N))
WIDE = RNG.uniform(0.5, 2.0, (N, 2 * N, 3))
W = RNG.uniform(-1, 1, (N, N))


# ---------------------------------------------------------------------------------------------------------------------
# One axis, forward.

VALUES: dict[str, tuple[Case, Any]] = {
    "psum": (lambda np, lax, x: lax.psum(x, "i"), X),
    "psum of a pytree": (lambda np, lax, x: lax.psum({"a": x, "b": [2.0 * x, 1]}, "i"), X),
    "psum of a constant": (lambda np, lax, x: x * lax.psum(2.5, "i"), X),
    "psum of a constant array": (lambda np, lax, x: x + lax.psum(np.array(W[0]), "i"), X),
    "psum of booleans": (lambda np, lax, x: lax.psum(x > 1, "i"), X),
    "psum of integers": (lambda np, lax, x: lax.psum(x.astype(int), "i"), X),
    "psum over no axis": (lambda np, lax, x: lax.psum(x, ()), X),
    "pmean": (lambda np, lax, x: lax.pmean(x, "i"), X),
    "pmean of integers": (lambda np, lax, x: lax.pmean(x.astype(int), "i"), X),
    "pmax": (lambda np, lax, x: lax.pmax(x, "i"), X),
    "pmin": (lambda np, lax, x: lax.pmin(x, "i"), X),
    "all_gather": (lambda np, lax, x: lax.all_gather(x, "i"), X),
    "all_gather axis=-1": (lambda np, lax, x: lax.all_gather(x, "i", axis=-1), WIDE),
    "all_gather tiled": (lambda np, lax, x: lax.all_gather(x, "i", tiled=True), WIDE),
    "all_gather tiled axis=1": (lambda np, lax, x: lax.all_gather(x, "i", axis=1, tiled=True), WIDE),
    "all_gather of a constant": (lambda np, lax, x: lax.all_gather(np.array(W[0]), "i") * x, X),
    "psum_scatter": (lambda np, lax, x: lax.psum_scatter(x, "i"), X),
    "psum_scatter dimension 1": (lambda np, lax, x: lax.psum_scatter(x[:4].T, "i", scatter_dimension=1), WIDE),
    "psum_scatter tiled": (lambda np, lax, x: lax.psum_scatter(x, "i", tiled=True), WIDE),
    "psum_scatter tiled dimension 1": (
        lambda np, lax, x: lax.psum_scatter(x.T, "i", scatter_dimension=1, tiled=True), WIDE
    ),
    "psum_scatter of a constant": (lambda np, lax, x: lax.psum_scatter(np.array(W[0]), "i") * x, X),
    "all_to_all": (lambda np, lax, x: lax.all_to_all(x, "i", 0, 0), X),
    "all_to_all 0 to 1": (lambda np, lax, x: lax.all_to_all(x[:4], "i", 0, 1), WIDE),
    "all_to_all tiled": (lambda np, lax, x: lax.all_to_all(x, "i", 0, 0, tiled=True), WIDE),
    "all_to_all tiled 0 to 1": (lambda np, lax, x: lax.all_to_all(x, "i", 0, 1, tiled=True), WIDE),
    "all_to_all tiled 1 to 0": (lambda np, lax, x: lax.all_to_all(x.T, "i", 1, 0, tiled=True), WIDE),
    "pswapaxes": (lambda np, lax, x: lax.pswapaxes(x, "i", 0), X),
    "ppermute": (lambda np, lax, x: lax.ppermute(x, "i", [(0, 1), (1, 2), (2, 3), (3, 0)]), X),
    "pshuffle": (lambda np, lax, x: lax.pshuffle(x, "i", [2, 0, 1, 3]), X),
    "axis_index": (lambda np, lax, x: lax.axis_index("i") * x, X),
    "axis_size": (lambda np, lax, x: lax.axis_size("i") * x, X),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_are_those_of_jax(name: str) -> None:
    f, x = VALUES[name]
    theirs = jax.vmap(lambda x: f(jnp, jax.lax, x), axis_name="i")(x)
    if name == "psum of booleans":  # which jax counts in int32
        theirs = theirs.astype(int)
    for transform in (lambda f: f, tg.jit):
        near(transform(tg.vmap(lambda x: f(np, lax, x), axis_name="i"))(x), theirs)
    near(tg.vmap(tg.jit(lambda x: f(np, lax, x)), axis_name="i")(x), theirs)
    near(tg.vmap(lambda x: f(np, lax, x), -1, axis_name="i")(np.moveaxis(x, 0, -1)), theirs)


@pytest.mark.parametrize("name", VALUES)
def test_graphs_are_well_typed_and_show_the_collective(name: str) -> None:
    f, x = VALUES[name]
    graph = tg.make_graph(lambda x: f(np, lax, x), axis_env=[("i", N)])(x[0])
    check(graph)
    assert all(a.name == "i" for a in graph.axes)
    check(tg.make_graph(tg.vmap(lambda x: f(np, lax, x), axis_name="i"))(x))


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives. Every scalar function of one example mixes the collective's result with the example's own.

SCALARS: dict[str, tuple[Case, Any]] = {
    "psum": (lambda np, lax, x: np.sum(x * lax.psum(x**2, "i")), X),
    "psum of a constant": (lambda np, lax, x: np.sum(x**2 * lax.psum(2.5, "i")), X),
    "pmean": (lambda np, lax, x: np.sum(np.sin(x) * lax.pmean(np.sin(x), "i")), X),
    "all_gather": (lambda np, lax, x: np.sum(np.array(W) * x * lax.all_gather(x**2, "i")), X),
    "all_gather tiled": (lambda np, lax, x: np.sum(x) * np.sum(np.sin(lax.all_gather(x, "i", axis=1, tiled=True))), WIDE),
    "psum_scatter": (lambda np, lax, x: np.sum(x) * lax.psum_scatter(x**2, "i"), X),
    "psum_scatter tiled": (lambda np, lax, x: np.sum(np.sin(lax.psum_scatter(x, "i", tiled=True)) * x[:2]), WIDE),
    "all_to_all": (lambda np, lax, x: np.sum(x * lax.all_to_all(x**2, "i", 0, 0)), X),
    "all_to_all tiled": (lambda np, lax, x: np.sum(lax.all_to_all(x**3, "i", 0, 1, tiled=True) ** 2), WIDE),
    "pswapaxes": (lambda np, lax, x: np.sum(np.sin(x) * lax.pswapaxes(x**2, "i", 0)), X),
    "ppermute": (lambda np, lax, x: np.sum(x * lax.ppermute(x**2, "i", [(0, 1), (1, 2), (2, 3), (3, 0)])), X),
    "pshuffle": (lambda np, lax, x: np.sum(x * lax.pshuffle(x**2, "i", [2, 0, 1, 3])), X),
    "axis_index": (lambda np, lax, x: np.sum(x**3) * lax.axis_index("i"), X),
    "normalized": (lambda np, lax, x: np.sum((x - lax.pmean(x, "i")) ** 3 / lax.psum(x**2, "i")), X),
}  # fmt: skip
# jax has no derivative of pmax and pmin, and no permutation that is not complete.
OURS: dict[str, tuple[Case, Any]] = {
    "pmax": (lambda np, lax, x: np.sum(x * lax.pmax(x**2, "i")), X),
    "pmin": (lambda np, lax, x: np.sum(np.sin(x) * lax.pmin(x**3, "i")), X),
    "ppermute of some": (lambda np, lax, x: np.sum(x * lax.ppermute(x**2, "i", [(0, 1), (3, 2)])), X),
}


def over_i(library: Any, f: Any) -> Any:
    return library.vmap(f, axis_name="i")


TRANSFORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "vmap of grad": lambda lib, f, x: over_i(lib, lib.grad(f))(x),
    "grad of vmap": lambda lib, f, x: lib.grad(lambda x: over_i(lib, f)(x).sum())(x),
    "weighted grad of vmap": lambda lib, f, x: lib.grad(lambda x: (over_i(lib, f)(x) * W[0]).sum())(x),
    "vmap of value_and_grad": lambda lib, f, x: over_i(lib, lib.value_and_grad(f))(x),
    "vmap of jvp": lambda lib, f, x: over_i(lib, lambda x, t: lib.jvp(f, (x,), (t,)))(x, x[::-1].copy()),
    "jvp of vmap": lambda lib, f, x: lib.jvp(over_i(lib, f), (x,), (x[::-1].copy(),)),
    "vmap of vjp": lambda lib, f, x: over_i(lib, lambda x, c: lib.vjp(f, x)[1](c))(x, W[0]),
    "vjp of vmap": lambda lib, f, x: lib.vjp(over_i(lib, f), x)[1](W[0]),
    "vmap of linearize": lambda lib, f, x: over_i(lib, lambda x, t: lib.linearize(f, x)[1](t))(x, x[::-1].copy()),
    "vmap of jacfwd": lambda lib, f, x: over_i(lib, lib.jacfwd(f))(x),
    "vmap of jacrev": lambda lib, f, x: over_i(lib, lib.jacrev(f))(x),
    "vmap of hessian": lambda lib, f, x: over_i(lib, lib.hessian(f))(x),
    "vmap of grad of grad": lambda lib, f, x: over_i(
        lib, lib.grad(lambda x: (lib.grad(f)(x) * np.cos(np.arange(x.size)).reshape(x.shape)).sum())
    )(x),
    "hessian of vmap": lambda lib, f, x: lib.hessian(lambda x: (over_i(lib, f)(x) * W[0]).sum())(x),
    "jit of vmap of grad": lambda lib, f, x: lib.jit(over_i(lib, lib.grad(f)))(x),
    "vmap of jit of grad": lambda lib, f, x: over_i(lib, lib.jit(lib.grad(f)))(x),
    "vmap of grad of jit": lambda lib, f, x: over_i(lib, lib.grad(lib.jit(f)))(x),
    "grad of jit of vmap of jit": lambda lib, f, x: lib.grad(lambda x: lib.jit(over_i(lib, lib.jit(f)))(x).sum())(x),
    "vmap of vmap of grad": lambda lib, f, x: lib.vmap(over_i(lib, lib.grad(f)))(
        x + np.arange(2.0).reshape(2, *[1] * x.ndim)
    ),
    "vmap inside of vmap": lambda lib, f, x: over_i(lib, lib.vmap(lib.grad(f)))(
        x[:, None] + np.arange(2.0).reshape(2, *[1] * (x.ndim - 1))
    ),
}  # fmt: skip
# jax fails with a TypeError of its own; these second derivatives are checked in the test below.
NOT_IN_JAX = {("all_to_all", "vmap of hessian"), ("all_to_all", "vmap of grad of grad")}


@pytest.mark.parametrize("name", SCALARS)
def test_derivatives_are_those_of_jax(name: str) -> None:
    """Under every transform. jax's are one program, since it takes ten times as long over each operation by itself."""
    f, x = SCALARS[name]
    chosen = {k: apply for k, apply in TRANSFORMS.items() if (name, k) not in NOT_IN_JAX}
    theirs = jax.jit(lambda x: {k: apply(jax, lambda x: f(jnp, jax.lax, x), x) for k, apply in chosen.items()})(x)
    for transform, apply in chosen.items():
        near(apply(tg, lambda x: f(np, lax, x), x), theirs[transform], 1e-10, transform)


@pytest.mark.parametrize("name", [*SCALARS, *OURS])
def test_a_derivative_inside_vmap_is_that_of_all_results_together(name: str) -> None:
    f, x = {**SCALARS, **OURS}[name]

    def ours(x: Any) -> Any:
        return f(np, lax, x)

    def total(x: Any) -> Any:
        return np.sum(tg.vmap(ours, axis_name="i")(x))

    inside = tg.vmap(tg.grad(ours), axis_name="i")(x)
    near(inside, tg.grad(total)(x), 1e-10)
    rng = np.random.default_rng(1)
    t = rng.uniform(-1, 1, x.shape)
    slope = (total(x + 1e-5 * t) - total(x - 1e-5 * t)) / 2e-5
    np.testing.assert_allclose(np.sum(inside * t), slope, rtol=1e-7)
    _, pushed = tg.vmap(lambda x, t: tg.jvp(ours, (x,), (t,)), axis_name="i")(x, t)
    np.testing.assert_allclose(np.sum(pushed), slope, rtol=1e-7)

    # Second order: the derivative of the derivative, forward over reverse and reverse over reverse.
    def reverse(x: Any) -> Any:
        return tg.vmap(tg.grad(ours), axis_name="i")(x)

    change = (reverse(x + 1e-5 * t) - reverse(x - 1e-5 * t)) / 2e-5
    _, forward = tg.vmap(lambda x, t: tg.jvp(tg.grad(ours), (x,), (t,)), axis_name="i")(x, t)
    np.testing.assert_allclose(forward, change, rtol=1e-5, atol=1e-6)
    again = tg.vmap(tg.grad(lambda x, t: np.sum(tg.grad(ours)(x) * t)), axis_name="i")(x, t)
    np.testing.assert_allclose(again, change, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*SCALARS, *OURS])
def test_derivatives_where_the_examples_share_the_argument(name: str) -> None:
    """In jax a shared argument inside vmap is one that each example has for its own."""
    f, x = {**SCALARS, **OURS}[name]
    shared, ys = x[0], W[0]

    def inside(lib: Any, g: Any) -> Any:
        return over_i(lib, lambda y: lib.grad(lambda v: y * g(v))(shared))(ys)

    def outside(lib: Any, g: Any) -> Any:
        return lib.grad(lambda v: over_i(lib, lambda y: y * g(v))(ys).sum())(shared)

    got = inside(tg, lambda v: f(np, lax, v)), outside(tg, lambda v: f(np, lax, v))
    near(got[0].sum(axis=0), got[1], 1e-10)
    if name in SCALARS and "all_to_all" not in name and "pswapaxes" not in name:  # those raise an AssertionError in jax
        theirs = jax.jit(lambda: tuple([way(jax, lambda v: f(jnp, jax.lax, v)) for way in (inside, outside)]))()
        near(got, theirs, 1e-10)


# ---------------------------------------------------------------------------------------------------------------------
# Several axes.

Y = RNG.uniform(0.5, 2.0, (2, 3, 4, 3))  # axes i, j, k, then the example's own


def nested(lib: Any, f: Any) -> Any:
    return lib.vmap(lib.vmap(lib.vmap(f, axis_name="k"), axis_name="j"), axis_name="i")


NESTED: dict[str, Case] = {
    "inner": lambda np, lax, x: lax.psum(x, "k") * x,
    "middle": lambda np, lax, x: lax.psum(x, "j") * x,
    "outer": lambda np, lax, x: lax.psum(x, "i") * x,
    "all": lambda np, lax, x: lax.psum(x**2, ("i", "j", "k")) * x,
    "two": lambda np, lax, x: lax.pmean(x**2, ["i", "k"]) * x,
    "in turn": lambda np, lax, x: x * lax.psum(x * lax.psum(x * lax.psum(x, "j"), "i"), "k"),
    "maximum": lambda np, lax, x: x * lax.pmax(x, ("k", "i")),
    "gathered inner": lambda np, lax, x: np.sum(lax.all_gather(np.sin(x), "k") * x, 0),
    "gathered outer": lambda np, lax, x: np.sum(lax.all_gather(np.sin(x), "i", axis=1) * x[:, None], 1),
    "gathered middle, outer": lambda np, lax, x: lax.all_gather(lax.all_gather(x, "j"), "i", axis=1)[2, 1] * x,
    "scattered": lambda np, lax, x: lax.psum_scatter(x**2, "j") * x,
    "exchanged": lambda np, lax, x: lax.all_to_all(x**2, "j", 0, 0) * x,
    "permuted outer": lambda np, lax, x: lax.ppermute(x**2, "i", [(0, 1), (1, 0)]) * x,
    "permuted inner": lambda np, lax, x: lax.pshuffle(x**2, "k", [3, 2, 0, 1]) * x,
    "indices": lambda np, lax, x: x * (lax.axis_index("k") + 10 * lax.axis_index("j") + 100 * lax.axis_index("i")),
    "index of several": lambda np, lax, x: x * lax.axis_index(("j", "k", "i")),
    "size of several": lambda np, lax, x: x * lax.axis_size(("j", "k")),
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_to_depth_three(name: str) -> None:
    f = NESTED[name]
    ours, theirs = (lambda x: f(np, lax, x)), (lambda x: f(jnp, jax.lax, x))
    expected = jax.jit(nested(jax, theirs))(Y)
    near(nested(tg, ours)(Y), expected)
    near(tg.jit(nested(tg, tg.jit(ours)))(Y), expected)
    if name == "maximum":
        near(
            nested(tg, tg.grad(lambda x: np.sum(ours(x))))(Y),
            tg.grad(lambda y: np.sum(nested(tg, ours)(y)))(Y),
        )
        return
    expected = jax.jit(nested(jax, jax.grad(lambda x: jnp.sum(theirs(x)))))(Y)
    near(nested(tg, tg.grad(lambda x: np.sum(ours(x))))(Y), expected)
    near(tg.grad(lambda y: np.sum(nested(tg, ours)(y)))(Y), expected)
    # A derivative between two of the axes.
    between = tg.vmap(tg.vmap(tg.grad(lambda x: np.sum(tg.vmap(ours, axis_name="k")(x))), axis_name="j"), axis_name="i")
    near(between(Y), expected)


def test_several_names_where_jax_has_none() -> None:
    """jax's vmap takes no tuple here: against what the axes as one would give."""
    y = Y[:, :, 0]

    def over_both(f: Any) -> Any:
        return tg.vmap(tg.vmap(f, axis_name="j"), axis_name="i")

    def flat(f: Any) -> Any:
        return lambda y: tg.vmap(f, axis_name="n")(y.reshape(6, *y.shape[2:])).reshape(2, 3, *f_shape)

    both = ("i", "j")
    for f in (
        lambda x, names: lax.all_gather(x, names),
        lambda x, names: lax.all_gather(x, names, axis=1),
        lambda x, names: lax.all_gather(x, names, tiled=True),
        lambda x, names: lax.psum_scatter(np.concatenate([x, 2 * x]), names),
        lambda x, names: lax.psum_scatter(np.concatenate([x, 2 * x, 3 * x, 4 * x]), names, tiled=True),
        lambda x, names: lax.all_to_all(np.concatenate([x, 2 * x]), names, 0, 0),
        lambda x, names: lax.all_to_all(np.outer(np.concatenate([x, 2 * x]), x), names, 0, 1, tiled=True),
    ):
        got = over_both(lambda x: f(x, both))(y)
        f_shape = got.shape[2:]
        near(got, flat(lambda x: f(x, "n"))(y))


# ---------------------------------------------------------------------------------------------------------------------
# jit, custom rules, threads, Graphs.


def test_a_second_call_traces_nothing() -> None:
    traces = Notes()

    def f(x: Any) -> Any:
        traces.append(1)
        return x - lax.pmean(x, "i")

    jitted = tg.jit(tg.vmap(tg.grad(lambda x: np.sum(f(x) ** 2)), axis_name="i"))
    for _ in range(3):
        jitted(X)
    assert len(traces) == 1 and jitted.trace_log == ["first call"]


def custom_sine(kind: str, index: bool) -> Any:
    """x * psum(sin(x)) over "i" (plus the index), its derivative written out."""

    def value(x: Any) -> Any:
        out = x * lax.psum(np.sin(x), "i")
        return out + lax.axis_index("i") if index else out

    def tangent(x: Any, t: Any) -> Any:
        return t * lax.psum(np.sin(x), "i") + x * lax.psum(np.cos(x) * t, "i")

    if kind == "jvp":
        f: Any = tg.custom_jvp(value)
        f.defjvp(lambda primals, tangents: (value(*primals), tangent(*primals, *tangents)))
    else:
        f = tg.custom_vjp(value)
        f.defvjp(
            lambda x: (value(x), x),
            lambda x, ct: (ct * lax.psum(np.sin(x), "i") + np.cos(x) * lax.psum(x * ct, "i"),),
        )
    return f


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_custom_rules_may_hold_collectives(kind: str, index: bool) -> None:
    x = X[0]

    def plain(x: Any) -> Any:
        out = x * lax.psum(np.sin(x), "i")
        return out + lax.axis_index("i") if index else out

    f = custom_sine(kind, index)
    over = lambda g: tg.vmap(g, axis_name="i")
    for transform in (
        lambda f: over(f)(x),
        lambda f: over(tg.grad(f))(x),
        lambda f: tg.grad(lambda x: np.sum(over(f)(x) * W[0]))(x),
        lambda f: over(lambda x: tg.jvp(f, (x,), (2.0,)))(x),
        lambda f: tg.vmap(over(f))(X),
        lambda f: tg.vmap(tg.vmap(f), axis_name="i")(X),
        lambda f: tg.vmap(over(tg.grad(f)))(X),
        lambda f: tg.vmap(over(f), axis_name="j")(X),
        lambda f: tg.vmap(over(tg.grad(lambda x: f(x) * lax.psum(f(x), "j"))), axis_name="j")(X),
        lambda f: tg.grad(lambda x: np.sum(tg.vmap(over(f))(x) ** 2))(X),
        lambda f: tg.jit(over(tg.grad(f)))(x),
        lambda f: over(tg.jit(tg.grad(f)))(x),
        lambda f: tg.jit(tg.vmap(over(tg.grad(f))))(X),
    ):
        near(transform(f), transform(plain))


def test_a_custom_function_of_what_is_not_mapped() -> None:
    shared = tg.custom_jvp(lambda w: w * lax.axis_index("i"))
    shared.defjvp(lambda primals, tangents: (shared(*primals), tangents[0] * lax.axis_index("i")))
    w = np.array([1.0, 2.0])
    got = tg.vmap(lambda w: tg.vmap(lambda x: shared(w) * x, axis_name="i")(X[0]))(w)
    near(got, np.outer(w, np.arange(N) * X[0]))
    got = tg.vmap(lambda w: tg.vmap(lambda x: shared(w) * x, axis_name="i")(X[0]), axis_name="i")(w)  # the inner one
    near(got, np.outer(w, np.arange(N) * X[0]))
    got = tg.vmap(lambda x, w: shared(w) + 0 * x, (0, None), axis_name="i")(X[0], np.float64(2.0))
    near(got, 2.0 * np.arange(N))
    got = tg.vmap(lambda x: tg.grad(shared)(2.0) + 0 * x, axis_name="i")(X[0])
    near(got, np.arange(float(N)))
    total = tg.custom_vjp(lambda w: lax.psum(w, "i"))
    total.defvjp(lambda w: (total(w), None), lambda _, ct: (lax.psum(ct, "i"),))
    for f in (total, lambda w: lax.psum(w, "i")):
        near(tg.vmap(lambda x: x * tg.grad(f)(2.0), axis_name="i")(X[0]), N * X[0])
        near(tg.vmap(lambda x: tg.grad(lambda w: x * f(w))(2.0), axis_name="i")(X[0]), np.full(N, np.sum(X[0])))


def test_listing() -> None:
    graph = tg.make_graph(lambda x: lax.psum(x, "i") + lax.ppermute(x, "i", [(0, 1)]), axis_env=[("i", 2)])(1.0)
    lines = [line.split("#")[0].rstrip() for line in str(graph).splitlines()]
    assert lines == [
        "graph <lambda>(a:f64~[]=x) {",
        "  b:i64[] = axis_index[axis_name='i':2]",
        "  c:f64~[] = psum[axis_name='i':2] a b",
        "  d:i64[] = axis_index[axis_name='i':2]",
        "  e:f64~[] = ppermute[axis_name='i':2, perm=((0, 1),)] a d",
        "  f:f64~[] = add c e",
        "  return f",
        "}",
    ]
    with pytest.raises(NameError, match="no axis named 'i'"):
        graph(1.0)  # it has no meaning where the axis is not bound
    near(tg.vmap(lambda x: graph(x)[0], axis_name="i")(np.array([1.0, 3.0])), [4.0, 5.0])
    seen = []
    tg.vmap(lambda x: (seen.append(tg.make_graph(tg.grad(lambda x: x * lax.psum(x**2, "i")))(x)), x)[1], axis_name="i")(
        X[0]
    )
    assert [e.op.name for e in seen[0].eqns].count("psum") == 2


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


def mapped(f: Any) -> Callable[[], Any]:
    return lambda: tg.vmap(f, axis_name="i")(X)


@pytest.mark.parametrize(
    ("case", "error", "text"),
    [
        (
            lambda: tg.vmap(lambda x: tg.vmap(lambda y: lax.psum(y, "k"), axis_name="j")(x), axis_name="i")(X),
            NameError,
            "psum at {here}: no axis named 'k' is being mapped over, only 'i' (size 4), 'j' (size 4); name it in the "
            "vmap around the call: tg.vmap(f, axis_name='k')",
        ),
        (
            lambda: lax.axis_index("i"),
            NameError,
            "axis_index at {here}: no axis named 'i' is being mapped over, nor is any other named axis; name it in the "
            "vmap around the call: tg.vmap(f, axis_name='i')",
        ),
        (
            mapped(lambda x: lax.psum(x, ("i", "i"))),
            ValueError,
            "psum at {here}: an axis is named twice in ('i', 'i'); name each once",
        ),
        (
            mapped(lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1], [2, 3]])),
            NotImplementedError,
            "psum at {here} with axis_index_groups= is not supported, got [[0, 1], [2, 3]]; map over two named axes, of "
            "the groups and within a group, and name the inner one",
        ),
        (
            mapped(lambda x: lax.psum_scatter(x[:3], "i")),
            ShapeError,
            "psum_scatter at {here}: axis 0 of f64[3] must have size 4, the number of examples of 'i'; it has 3. "
            "Reshape the array",
        ),
        (
            mapped(lambda x: lax.all_to_all(np.concatenate([x, x]), "i", 0, 0)),
            ShapeError,
            "all_to_all at {here}: axis 0 of f64[8] must have size 4, the number of examples of 'i'; it has 8. Reshape "
            "the array, or pass tiled=True",
        ),
        (
            mapped(lambda x: lax.all_to_all(x[:3], "i", 0, 0, tiled=True)),
            ShapeError,
            "all_to_all at {here}: axis 0 of f64[3] must have size a multiple of 4, the number of examples of 'i'; it "
            "has 3. Reshape the array",
        ),
        (
            mapped(lambda x: lax.ppermute(x, "i", [(0, 4)])),
            ValueError,
            "ppermute at {here}: perm names the example 4, but the axis 'i' has 4, counted from 0",
        ),
        (
            mapped(lambda x: lax.ppermute(x, "i", [(0, 1), (2, 1)])),
            ValueError,
            "ppermute at {here}: the example 1 receives twice in perm=[(0, 1), (2, 1)]; name each at most once on either "
            "side",
        ),
        (
            mapped(lambda x: lax.ppermute(x, "i", [(0, 1), (0, 2)])),
            ValueError,
            "ppermute at {here}: the example 0 sends twice in perm=[(0, 1), (0, 2)]; name each at most once on either "
            "side",
        ),
        (
            mapped(lambda x: lax.ppermute(x, "i", [0, 1])),
            ValueError,
            "ppermute at {here}: perm must hold pairs of ints (sender, receiver), got [0, 1]",
        ),
        (
            mapped(lambda x: lax.pshuffle(x, "i", [0, 1, 2, 2])),
            ValueError,
            "pshuffle at {here}: perm must name each of the 4 examples of 'i' once, got [0, 1, 2, 2]",
        ),
        (
            lambda: tg.vmap(tg.vmap(lambda x: lax.ppermute(x, ("i", "j"), []), axis_name="j"), axis_name="i")(X),
            ValueError,
            "ppermute at {here} permutes the examples of one axis, got the names ('i', 'j'); name one",
        ),
        (
            lambda: tg.vmap(lambda x: lax.psum(x, "i"), axis_name="i", batch_size=3)(X),
            ShapeError,
            "psum at {here} over 'i' needs all 4 examples at once, but vmap with batch_size runs 3 at a time; leave "
            "batch_size out",
        ),
        (
            lambda: tg.vmap(lambda x: lax.pmax(x, "i"), axis_name="i", batch_size=3)(X),
            ShapeError,
            "pmax at {here} over 'i' needs all 4 examples at once, but vmap with batch_size runs 3 at a time; leave "
            "batch_size out",
        ),
        (
            lambda: tg.vmap(lambda x: x, axis_name=["i"])(X),
            TypeError,
            "vmap at {here}: axis_name must be one hashable name, such as 'batch', got ['i']",
        ),
        (
            lambda: tg.vmap(lambda x: x, axis_name=("i", "j"))(X),
            TypeError,
            "vmap at {here}: axis_name must be one hashable name, such as 'batch', got ('i', 'j')",
        ),
        (
            lambda: tg.vmap(lambda x: lax.axis_index("i"), out_axes=None, axis_name="i")(X),
            ShapeError,
            "vmap at {here}: out_axes is None for the output of {f}, which depends on a mapped argument or the index in "
            "'i'; give the axis that the examples go to",
        ),
    ],
)  # fmt: skip
def test_errors(case: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        case()
    message = str(caught.value)
    head, _, tail = text.partition(" at {here}")
    assert message.startswith(f"{head} at {__file__}:"), message
    rest = message[len(f"{head} at {__file__}:") :]
    line, _, rest = rest.partition(" (in <lambda>)")
    source = linecache.getline(__file__, int(line))
    assert "tg.vmap" in source or "lax." in source, source
    if "{f}" in tail:
        before, after = tail.split("{f}")
        assert rest.startswith(before) and rest.endswith(after), message
    else:
        assert rest == tail


def test_leaves_that_are_no_arrays_are_named() -> None:
    with pytest.raises(TypeError, match=r"psum: x\['a'\]: 'text' of type str is not an array"):
        tg.vmap(lambda x: lax.psum({"a": "text"}, "i"), axis_name="i")(X)
