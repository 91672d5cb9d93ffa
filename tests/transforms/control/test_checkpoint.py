"""checkpoint: the same values and derivatives, from less that is kept; policies, budgets, and what tg.debug.residuals
says of them."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tracegrad.core import errors
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.core.op import OPS
from tracegrad.core.types import ArrayType
from tracegrad.lax import conv_general_dilated
from tracegrad.ops.collective import axis_index, psum
from tracegrad.testing import strategies
from tracegrad.transforms.control.checkpoint import parts_of
from tracegrad.transforms.control.held import closed

jax.config.update("jax_enable_x64", True)

P = tg.checkpoint_policies
X = np.array([0.3, -1.2, 2.0])
W = np.random.default_rng(0).normal(size=(3, 3))


def names(graph: Graph) -> list[str]:
    return [e.op.name for e in graph.eqns]


def network(xp: Any, name: Callable[[Any, str], Any]) -> Callable[[Any, Any], Any]:
    """Two layers of a network, its values named, over NumPy or jax.numpy."""

    def f(x: Any, w: Any) -> Any:
        hidden = name(xp.sin(x @ w), "hidden")
        logits = name(hidden @ w, "logits")
        return xp.exp(xp.cos(logits)) + x

    return f


OURS, THEIRS = network(np, tg.checkpoint_name), network(jnp, jax.ad_checkpoint.checkpoint_name)
POLICIES: dict[str, Callable[[Any], Any]] = {
    "None": lambda p: None,
    "everything_saveable": lambda p: p.everything_saveable,
    "nothing_saveable": lambda p: p.nothing_saveable,
    "dots_saveable": lambda p: p.dots_saveable,
    "checkpoint_dots": lambda p: p.checkpoint_dots,
    "dots_with_no_batch_dims_saveable": lambda p: p.dots_with_no_batch_dims_saveable,
    "checkpoint_dots_with_no_batch_dims": lambda p: p.checkpoint_dots_with_no_batch_dims,
    "save_only_these_names": lambda p: p.save_only_these_names("hidden", "unused"),
    "save_any_names_but_these": lambda p: p.save_any_names_but_these("hidden"),
    "save_anything_except_these_names": lambda p: p.save_anything_except_these_names("hidden"),
    "save_from_both_policies": lambda p: p.save_from_both_policies(p.dots_saveable, p.save_only_these_names("hidden")),
}
# What the backward pass of `network` reads: x, w, x @ w (for the cosine), hidden, logits (for the sine and for itself),
# and the exponential. The sine of the logits it makes itself.
KEPT = {
    "None": ["x", "w"],
    "everything_saveable": ["x", "w", "matmul", "checkpoint_name", "checkpoint_name", "exp"],
    "nothing_saveable": ["x", "w"],
    "dots_saveable": ["x", "w", "matmul", "matmul"],
    "checkpoint_dots": ["x", "w", "matmul", "matmul"],
    "dots_with_no_batch_dims_saveable": ["x", "w", "matmul", "matmul"],
    "checkpoint_dots_with_no_batch_dims": ["x", "w", "matmul", "matmul"],
    "save_only_these_names": ["x", "w", "checkpoint_name"],
    "save_any_names_but_these": ["x", "w", "checkpoint_name"],
    "save_anything_except_these_names": ["x", "w", "matmul", "sin", "checkpoint_name", "exp"],
    "save_from_both_policies": ["x", "w", "matmul", "checkpoint_name", "matmul"],
}


def loss(lib: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, w: lib.sum(f(x, w) ** 2)


# Each takes a library, its array functions and a function of (x, w).
TRANSFORMS: dict[str, Callable[[Any, Any, Any], Callable[..., Any]]] = {
    "value": lambda lib, xp, f: f,
    "grad": lambda lib, xp, f: lib.grad(loss(xp, f), (0, 1)),
    "jvp": lambda lib, xp, f: lambda x, w: lib.jvp(f, (x, w), (xp.cos(x), w)),
    "vjp": lambda lib, xp, f: lambda x, w: lib.vjp(f, x, w)[1](x),
    "linearize": lambda lib, xp, f: lambda x, w: lib.linearize(f, x, w)[1](x, w),
    "jacfwd": lambda lib, xp, f: lib.jacfwd(f, (0, 1)),
    "jacrev": lambda lib, xp, f: lib.jacrev(f, (0, 1)),
    "hessian": lambda lib, xp, f: lib.hessian(loss(xp, f), (0, 1)),
    "grad of grad": lambda lib, xp, f: lib.grad(lambda x, w: xp.sum(lib.grad(loss(xp, f))(x, w) ** 2), (0, 1)),
    "third": lambda lib, xp, f: lib.jacrev(lib.jacrev(lib.jacrev(loss(xp, f)))),
    "vmap": lambda lib, xp, f: lambda x, w: lib.vmap(f, (None, 0))(x, xp.stack([w, 2.0 * w])),
    "vmap of grad": lambda lib, xp, f: lambda x, w: lib.vmap(lib.grad(loss(xp, f)), (0, None))(xp.stack([x, w[0]]), w),
    "grad of vmap": lambda lib, xp, f: lib.grad(
        lambda x, w: xp.sum(lib.vmap(f, (0, None))(xp.stack([x, 2.0 * x]), w) ** 2), (0, 1)
    ),
    "jvp of grad": lambda lib, xp, f: lambda x, w: lib.jvp(lib.grad(loss(xp, f)), (x, w), (x, w)),
    "grad of jvp": lambda lib, xp, f: lib.grad(lambda x, w: xp.sum(lib.jvp(f, (x, w), (x, w))[1])),
    "transposed": lambda lib, xp, f: lambda x, w: lib.linear_transpose(lib.linearize(lambda y: f(y, w), x)[1], x)(x),
}  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_same_values_and_derivatives(name: str, policy: str) -> None:
    transform = TRANSFORMS[name]
    expected = transform(tg, np, OURS)(X, W)
    f = tg.checkpoint(OURS, policy=POLICIES[policy](P))
    near(transform(tg, np, f)(X, W), expected)
    near(tg.jit(transform(tg, np, f))(X, W), expected)
    if policy in ("None", "dots_saveable", "save_only_these_names"):
        near(transform(tg, np, tg.jit(f))(X, W), expected)
        near(transform(tg, np, tg.checkpoint(tg.jit(OURS), policy=POLICIES[policy](P)))(X, W), expected)


@pytest.mark.parametrize("name", [n for n in TRANSFORMS if n != "transposed"])
def test_the_same_as_jax(name: str) -> None:
    for policy in ("None", "save_only_these_names"):
        ours = tg.checkpoint(OURS, policy=POLICIES[policy](P))
        theirs = jax.checkpoint(THEIRS, policy=POLICIES[policy](jax.checkpoint_policies))
        near(TRANSFORMS[name](tg, np, ours)(X, W), run_with_numpy(TRANSFORMS[name](jax, jnp, theirs), X, W))


@pytest.mark.parametrize("name", [n for n in TRANSFORMS if n != "transposed"])
@pytest.mark.parametrize(
    "options", [{"memory": "1KB"}, {"prevent_cse": False}, {"memory": "1KB", "prevent_cse": False}]
)
def test_the_same_under_a_budget_and_where_merging_is_allowed(name: str, options: dict[str, Any]) -> None:
    if "memory" in options and name == "third":
        options = {**options, "memory": "8KB"}
    transform = TRANSFORMS[name]
    expected = transform(tg, np, OURS)(X, W)
    f = tg.checkpoint(OURS, **options)
    near(transform(tg, np, f)(X, W), expected)
    near(tg.jit(transform(tg, np, f))(X, W), expected)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_each_policy_keeps(policy: str) -> None:
    f = tg.checkpoint(OURS, policy=POLICIES[policy](P))
    structs = [tg.ShapeDtypeStruct(a.shape, a.dtype) for a in (X, W)]
    for args in ((X, W), structs):
        found = tg.debug.residuals(f, *args)
        assert [r.made_by for r in found] == KEPT[policy]
        assert [r.shape for r in found] == [(3,), (3, 3), *[(3,)] * (len(found) - 2)]
        assert found.total == sum(r.bytes for r in found) == 8 * (3 + 9 + 3 * (len(found) - 2))
        assert all((r.source is None) == (r.made_by in ("x", "w")) for r in found)
    assert [r.made_by for r in tg.debug.residuals(tg.jit(f), X, W)] == KEPT[policy]


def test_residuals_as_a_table() -> None:
    def f(params: Any, x: Any) -> Any:
        return np.exp(x @ params["w"] * np.float32(0.001))

    found = tg.debug.residuals(f, {"w": np.ones((1000, 3), np.float32)}, np.ones((1, 1000), np.float32))
    line = f.__code__.co_firstlineno + 1
    assert str(found) == repr(found) == (
        f"""\
 bytes  type         made by      line
12,000  f32[1000,3]  params['w']
 4,000  f32[1,1000]  x
    12  f32[1,3]     exp          test_checkpoint.py:{line}
16,012  in all"""
    )  # fmt: skip
    assert found[2].source is not None
    assert (found[2].source.line, found[2].source.function) == (line, "f")
    assert found[2][:4] == ((1, 3), np.dtype(np.float32), 12, "exp")


def test_residuals_of_what_is_closed_over_and_of_nothing() -> None:
    assert [r.made_by for r in tg.debug.residuals(lambda x: x * X, X)] == ["an array from outside"]
    assert tg.debug.residuals(lambda x: x + 1.0, X) == ()
    assert [r.made_by for r in tg.debug.residuals(lambda x, n: x * n, X, np.arange(3))] == ["n"]
    with pytest.raises(TypeError, match=re.escape("write tg.debug.residuals(f, x) with the function itself")):
        tg.debug.residuals(3.0, X)  # type: ignore[arg-type]


def test_dots() -> None:
    def f(x: Any) -> Any:
        products = np.einsum("bij,bjk->bik", x, np.sin(x))  # a product for each example
        shared = np.sin(products) @ np.cos(x[0])
        kernels = conv_general_dilated(np.sin(shared), x[:, :, :1], (1,), "SAME")
        return np.sin(kernels) * np.sin(np.sum(np.einsum("bij->bi", np.sin(x))))

    def kept(policy: Any) -> list[str]:
        found = tg.debug.residuals(tg.checkpoint(f, policy=policy), np.ones((2, 3, 3)))
        return [r.made_by for r in found][1:]

    assert kept(P.dots_saveable) == ["einsum", "matmul", "conv_general_dilated"]
    assert kept(P.dots_with_no_batch_dims_saveable) == ["matmul"]


@pytest.mark.parametrize(
    "left, right, expected",
    [((2, 3), (3, 4), (24, False)), ((5, 2, 3), (3, 4), (120, False)), ((5, 2, 3), (5, 3, 4), (120, True)),
     ((1, 2, 3), (1, 3, 4), (24, False)), ((7, 1, 2, 3), (5, 3, 4), (840, False)), ((3,), (3,), (3, False)),
     ((7, 5, 2, 3), (5, 3, 4), (840, True))],
)  # fmt: skip
def test_how_much_a_product_is(left: Any, right: Any, expected: Any) -> None:
    types = [ArrayType(s, np.dtype(float)) for s in (left, right)]
    rule = OPS["matmul"].contraction
    assert rule is not None
    assert rule(types, {}) == expected


def test_a_policy_is_asked_with_op_types_and_params() -> None:
    asked = []

    def policy(op: Any, *types: Any, **params: Any) -> bool:
        asked.append((op.name, types, params))
        return bool(op.name == "sum")

    f = tg.checkpoint(lambda x: np.sin(np.sum(x, axis=0)), policy=policy)
    assert [r.made_by for r in tg.debug.residuals(f, W)] == ["sum"]
    assert asked == [
        ("sum", (ArrayType((3, 3), W.dtype),), {"axes": (0,), "keepdims": False}),
        ("sin", (ArrayType((3,), W.dtype),), {}),
    ]


def test_names_and_printing() -> None:
    assert float(tg.checkpoint_name(3.0, "a")) == 3.0
    near(tg.checkpoint_name({"a": X, "b": [W]}, "a"), {"a": X, "b": [W]})
    f = tg.checkpoint(lambda x: np.sin(tg.checkpoint_name(x * 2.0, "twice")), policy=P.save_only_these_names("b", "a"))
    text = str(tg.make_graph(f)(X))
    assert "b:f64[3] = checkpoint[graph=<lambda>.2, policy=save_only_these_names('a', 'b')] a" in text
    assert "c:f64[3] = checkpoint_name[name='twice'] b" in text
    assert "policy=dots_saveable]" in str(tg.make_graph(tg.checkpoint(np.sin, policy=P.dots_saveable))(X))
    assert "memory=1000]" in str(tg.make_graph(tg.checkpoint(np.sin, memory="1KB"))(X))
    assert repr(P.save_any_names_but_these("a")) == "save_any_names_but_these('a')"
    assert repr(P.save_anything_except_these_names("a")) == "save_anything_except_these_names('a')"
    assert P.save_only_these_names("a", "b") == P.save_only_these_names("b", "a")
    assert tg.remat is tg.checkpoint


# ---------------------------------------------------------------------------------------------------------------------
# Something is really computed again.


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with every matrix that is inverted. (The derivative of an inverse inverts nothing.)"""
    runs: list[int] = []
    evaluate = OPS["inv"].evaluate

    def count(x: Any) -> Any:
        runs.append(1)
        return evaluate(x)

    monkeypatch.setattr(OPS["inv"], "evaluate", count)
    return runs


@pytest.mark.parametrize(
    "options, eager, jitted",
    [({}, 2, 2), ({"policy": P.everything_saveable}, 1, 1), ({"policy": P.nothing_saveable}, 2, 2),
     ({"prevent_cse": False}, 2, 1), ({"memory": 72}, 1, 1), ({"memory": "1KB"}, 1, 1)],
)  # fmt: skip
def test_how_often_a_value_is_computed(
    options: dict[str, Any], eager: int, jitted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = counted(monkeypatch)
    a = W + 3.0 * np.eye(3)
    f = tg.checkpoint(lambda x: np.sum(np.linalg.inv(x)), **options)
    gradient = tg.value_and_grad(f)
    gradient(a)
    assert len(runs) == eager
    compiled = tg.jit(gradient)
    for _ in range(3):
        runs.clear()
        compiled(a)
        assert len(runs) == jitted
    runs.clear()
    f(a)
    tg.jit(f)(a)
    assert len(runs) == 2  # without a derivative, once each


def test_no_pass_merges_what_is_computed_again() -> None:
    f = tg.checkpoint(lambda x: np.sin(np.exp(np.cos(x))))
    graph = tg.jit(tg.value_and_grad(lambda x: np.sum(f(x)))).lower(X).graph
    check(graph)
    assert names(graph).count("checkpoint") == 2
    forward, backward = [e.params["graph"] for e in graph.eqns if e.op.name == "checkpoint"]
    assert names(forward) == ["cos", "exp", "sin"]
    assert names(backward)[:2] == ["cos", "exp"]
    merged = tg.checkpoint(lambda x: np.sin(np.exp(np.cos(x))), prevent_cse=False)
    graph = tg.jit(tg.value_and_grad(lambda x: np.sum(merged(x)))).lower(X).graph
    assert [names(graph).count(n) for n in ("checkpoint", "exp", "cos")] == [
        0,
        1,
        2,
    ]  # cos of x, and of the exponential


def test_nested() -> None:
    inner = tg.checkpoint(lambda x: np.sin(np.exp(x)))
    outer = tg.checkpoint(lambda x: inner(inner(x)) * x)
    plain = lambda x: np.sin(np.exp(np.sin(np.exp(x)))) * x
    assert [r.made_by for r in tg.debug.residuals(outer, X)] == ["x"]
    for transform in (tg.jacfwd, tg.jacrev, lambda f: tg.jacfwd(tg.jacrev(f)), tg.vmap, lambda f: tg.jit(tg.jacrev(f))):
        near(transform(outer)(X), transform(plain)(X))


# ---------------------------------------------------------------------------------------------------------------------
# Arguments of every kind.


def test_pytrees_keywords_and_static_arguments() -> None:
    def f(p: Any, n: int, *, scale: Any) -> Any:
        assert type(n) is int
        out = p["x"]
        for _ in range(n):
            out = np.sin(out * scale)
        return {"out": out, "twice": (out * 2.0, None)}

    g = tg.checkpoint(f, static_argnums=1)
    near(g({"x": X}, 3, scale=2.0), f({"x": X}, 3, scale=2.0))
    total = lambda h, n: lambda p: np.sum(h(p, n, scale=0.5)["out"] * h(p, n, scale=p["x"])["twice"][0])
    for n in (0, 1, 4):
        near(tg.grad(total(g, n))({"x": X}), tg.grad(total(f, n))({"x": X}))
    by_decorator = tg.checkpoint(policy=P.dots_saveable)(np.sin)
    near(tg.vmap(tg.grad(by_decorator))(X), np.cos(X))
    assert float(tg.grad(tg.checkpoint(lambda x: x * x * 2))(3.0)) == 12.0


def test_what_is_closed_over() -> None:
    c = X.copy()
    f = tg.checkpoint(lambda x: np.sum(x * x * c), policy=P.everything_saveable)
    near(tg.grad(f)(X), 2 * X * c)
    c[:] = 5.0
    near(tg.grad(f)(X), 2 * X * c)
    by_tracer = lambda s: tg.checkpoint(lambda x: np.sum(np.sin(x * s * s)))(X)
    plain = lambda s: np.sum(np.sin(X * s * s))
    for transform in (tg.grad, tg.hessian, lambda h: tg.jit(tg.grad(h)), tg.jacfwd, lambda h: tg.grad(tg.jit(h))):
        near(transform(by_tracer)(2.0), transform(plain)(2.0))


def test_integers_and_what_needs_no_derivative() -> None:
    f = tg.checkpoint(lambda x, n: (x * n, n + 1, X), policy=P.everything_saveable)
    near(tg.grad(lambda x: np.sum(f(x, 2)[0] * f(x, np.arange(3))[1] * f(x, 1)[2]))(X), np.arange(1, 4) * 2 * X)
    assert tg.grad(lambda x: np.sum(f(x, 2)[2]) + 0.0 * x)(1.0) == 0.0


@pytest.mark.parametrize("options", [{"policy": P.everything_saveable}, {"memory": 1000}, {}])
def test_cotangents_for_some_of_the_results(options: dict[str, Any]) -> None:
    f = lambda x, y: (np.sin(np.exp(x)) * y, np.exp(np.cos(x)) + y, np.tanh(y))
    g = tg.checkpoint(f, **options)
    for used in ((0,), (1,), (2,), (0, 2)):
        total = lambda h: lambda x, y: sum([np.sum(h(x, y)[i] ** 2) for i in used], 0.0 * np.sum(x * y))
        near(tg.grad(total(g), (0, 1))(X, 2 * X), tg.grad(total(f), (0, 1))(X, 2 * X))
        near(tg.jit(tg.grad(total(g), 1))(X, 2 * X), tg.grad(total(f), 1)(X, 2 * X))


def test_traced_once_for_a_signature() -> None:
    traces = []

    def f(x: Any) -> Any:
        traces.append(1)
        return np.sin(x)

    g = tg.checkpoint(f)
    for _ in range(3):
        tg.grad(lambda x: np.sum(g(x)))(X)
    assert len(traces) == 1
    g(W)
    assert len(traces) == 2


def test_collectives() -> None:
    f = lambda x: np.sin(psum(x**2, "i")) * x + axis_index("i")
    for options in ({}, {"policy": P.everything_saveable}, {"memory": 10_000}):
        g = tg.checkpoint(f, **options)
        mapped = lambda h: tg.vmap(h, axis_name="i")
        near(mapped(g)(X), mapped(f)(X))
        near(mapped(tg.grad(g))(X), mapped(tg.grad(f))(X))
        summed = lambda h: lambda x: np.sum(mapped(h)(x) ** 2)
        near(tg.grad(summed(g))(X), tg.grad(summed(f))(X))
        near(tg.hessian(summed(g))(X), tg.hessian(summed(f))(X))
        near(tg.jit(tg.grad(summed(tg.jit(g))))(X), tg.grad(summed(f))(X))
    of_none = tg.checkpoint(lambda x: axis_index("i") * np.sum(x))
    near(tg.vmap(lambda x: of_none(X), axis_name="i")(X), np.arange(3) * X.sum())


def test_derivatives_share_no_memory() -> None:
    f = tg.checkpoint(lambda x, y: (x, y + x, x), policy=P.everything_saveable)
    x = X.copy()
    results, pull = tg.vjp(f, x, x)
    for r in results:
        r[:] = 9.0
    near(pull((X, X, X)), (3 * X, X))
    first, second = pull((X, X, X))
    assert not np.shares_memory(first, second)


# ---------------------------------------------------------------------------------------------------------------------
# Budgets.

STEPS = 64
WEIGHTS = np.random.default_rng(1).normal(size=(32, 32)) / 60
START = np.random.default_rng(2).normal(size=(1024, 32))
UNIT = START.nbytes  # 256 KiB, of every intermediate value: large beside what tracing and Python take


def chain(x: Any, w: Any, xp: Any = np) -> Any:
    """Of each step the backward part needs one value: exp has its derivative from its result, as no sigmoid has."""
    for _ in range(STEPS):
        x = xp.exp(x @ w)
    return x


def peak(f: Callable[..., Any], *args: Any) -> float:
    """The most memory that a call takes besides its arguments, in units, once all is traced and compiled."""
    f(*args)
    tracemalloc.start()
    f(*args)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / UNIT


# Besides the intermediate values there are the result of the chain, its square and its cotangent, and a few for each step.
CONSTANT = 5.0


@pytest.mark.parametrize("transform", [lambda f: f, tg.jit], ids=["eager", "jitted"])
def test_peak_memory(transform: Any) -> None:
    gradient = lambda f: transform(tg.grad(loss(np, f), (0, 1)))
    expected = tg.grad(loss(np, chain), (0, 1))(START, WEIGHTS)
    assert peak(gradient(chain), START, WEIGHTS) > STEPS
    for budget in (16, 40):
        f = tg.checkpoint(chain, memory=budget * UNIT)
        near(gradient(f)(START, WEIGHTS), expected)
        assert peak(gradient(f), START, WEIGHTS) < budget + CONSTANT
        kept = sum(r.bytes for r in tg.debug.residuals(f, START, WEIGHTS) if r.source)
        assert kept <= budget * UNIT
    assert peak(gradient(tg.checkpoint(chain)), START, WEIGHTS) > STEPS  # all of it is computed again at once


@pytest.mark.parametrize("transform", [lambda f: f, tg.jit], ids=["eager", "jitted"])
def test_peak_memory_of_checkpointed_layers(transform: Any) -> None:
    """Each layer's argument is kept, and what one layer makes on its way to the next is there for one layer at a time."""
    layers, inside = 8, 6

    def layer(x: Any, w: Any) -> Any:
        for _ in range(inside):
            x = np.exp(x @ w)
        return x

    def stack(layer: Any) -> Any:
        def f(x: Any, w: Any) -> Any:
            for _ in range(layers):
                x = layer(x, w)
            return x

        return f

    checkpointed = stack(tg.checkpoint(layer))
    assert [r.made_by for r in tg.debug.residuals(checkpointed, START, WEIGHTS)] == ["x", "w"] + ["exp"] * (layers - 1)
    gradient = lambda f: transform(tg.grad(loss(np, f), (0, 1)))
    near(gradient(checkpointed)(START, WEIGHTS), gradient(stack(layer))(START, WEIGHTS))
    assert peak(gradient(stack(layer)), START, WEIGHTS) > layers * inside
    assert peak(gradient(checkpointed), START, WEIGHTS) < layers + inside + CONSTANT


def test_the_least_budget_is_enough_and_is_about_two_square_roots() -> None:
    f = lambda memory: tg.grad(loss(np, tg.checkpoint(chain, memory=memory)), (0, 1))
    with pytest.raises(ValueError, match="bytes are too few") as error:
        f("768KiB")(START, WEIGHTS)
    line = loss.__code__.co_firstlineno + 1
    found = re.search(r"needs at least (\d+) bytes", str(error.value))
    assert found is not None
    least = int(found[1])
    assert str(error.value) == (
        f"checkpoint at {__file__}:{line} (in <lambda>): 786432 bytes are too few for the derivative of 'chain', which needs "
        f"at least {least} bytes for what it keeps and computes again; write memory={least} or more, or checkpoint parts "
        "of the function by themselves"
    )
    assert least <= 2 * 8 * UNIT  # 7 values kept, a segment of 8, and a product on the way to the next
    near(f(least)(START, WEIGHTS), tg.grad(loss(np, chain), (0, 1))(START, WEIGHTS))
    with pytest.raises(ValueError, match=f"{least - 1} bytes are too few"):
        f(least - 1)(START, WEIGHTS)


def kept_and_again(f: Any, *args: Any, memory: Any) -> tuple[list[str], list[str]]:
    """The ops whose results are kept, and those of the function itself that the backward part has too."""
    wrapped = tg.checkpoint(f, memory=memory)
    graph = tg.make_graph(wrapped)(*args).eqns[0].params["graph"]
    parts = parts_of(graph, tuple(range(len(args))), {"memory": memory})
    computed = set(map(id, parts.forward.eqns))
    kept = [r.made_by for r in tg.debug.residuals(wrapped, *args) if r.source]
    return kept, [e.op.name for e in parts.backward.eqns if id(e) in computed]


def test_the_dearest_values_are_kept() -> None:
    """Of three values that are read independently of each other, with room for one and for another on its way."""
    x, w = np.ones((64, 64)), np.ones((64, 64))
    f = lambda x, w: np.sin(x * 2.0) + np.sin(x @ w) + np.sin(x * 3.0)
    assert kept_and_again(f, x, w, memory=x.nbytes) == ([], ["multiply", "matmul", "multiply"])
    assert kept_and_again(f, x, w, memory=2 * x.nbytes) == (["matmul"], ["multiply", "multiply"])
    for size in (3, 100):
        assert kept_and_again(f, x, w, memory=size * x.nbytes) == (["multiply", "matmul", "multiply"], [])


def test_more_memory_means_less_again() -> None:
    again = []
    for budget in range(16, 65, 4):
        kept, repeated = kept_and_again(chain, START, WEIGHTS, memory=budget * UNIT)
        assert len(kept) <= budget
        again.append(repeated.count("exp"))
    assert again == sorted(again, reverse=True)
    assert again[-1] == 0
    assert again[0] >= STEPS // 2


def held(graph: Graph, memory: int) -> int:
    """The most bytes of values, kept and computed again, that the backward part holds at a time, worked out from the two
    Graphs: those equations are computed again that are in both."""
    whole, _ = closed(graph)
    wanted = tuple(range(len(graph.inputs)))
    parts = parts_of(whole, wanted, {"memory": memory})
    check(parts.forward)
    check(parts.backward)
    size = lambda v: v.type.size * v.type.dtype.itemsize
    kept = sum([size(v) for v in parts.forward.outputs[len(graph.outputs) :]])
    kept += sum(
        [
            size(parts.forward.outputs[i])
            for i in {i for which, i in parts.needs if which == 1 and i < len(graph.outputs)}
        ]
    )
    first = {id(e) for e in parts.forward.eqns}
    backward = parts.backward
    last = {a: i for i, e in enumerate(backward.eqns) for a in e.inputs}
    last.update(dict.fromkeys(backward.outputs, len(backward.eqns)))
    now = most = 0
    again = set()
    for i, eqn in enumerate(backward.eqns):
        if id(eqn) in first:
            again.update(eqn.outputs)
            now += sum(map(size, eqn.outputs))
        most = max(most, now)
        now -= sum([size(v) for v in {*eqn.inputs, *eqn.outputs} & again if last.get(v, i) == i])
    return kept + most


@pytest.mark.parametrize("budget", [16, 17, 20, 33, 64])
def test_the_backward_part_lets_go_of_a_segment_before_the_next(budget: int) -> None:
    graph = tg.make_graph(chain)(START, WEIGHTS)
    assert held(graph, budget * UNIT) <= budget * UNIT
    assert held(graph, budget * UNIT) > (budget - 4) * UNIT


@hypothesis.settings(max_examples=25, derandomize=True, deadline=None, database=None)
@hypothesis.given(f=strategies.programs(), share=st.floats(0.3, 1.2))
def test_random_programs_under_budgets(f: strategies.Program, share: float) -> None:
    """Within the budget, and the same derivatives, of whatever is made of a vector and a matrix."""
    rng = np.random.default_rng(len(f.source))
    args = rng.uniform(-1, 1, 3), rng.uniform(-1, 1, (3, 3))
    graph = tg.make_graph(tg.checkpoint(f))(*args).eqns[0].params["graph"]
    everything = tg.debug.residuals(tg.checkpoint(f, policy=P.everything_saveable), *args).total
    memory = int(share * everything)
    try:
        assert held(graph, memory) <= memory
    except ValueError as error:
        memory = int(re.search(r"at least (\d+) bytes", str(error))[1])  # type: ignore[index]
        assert held(graph, memory) <= memory
    limited = tg.checkpoint(f, memory=memory)
    expected = tg.grad(f, (0, 1))(*args)
    near(tg.grad(limited, (0, 1))(*args), expected)
    near(tg.jit(tg.grad(limited, (0, 1)))(*args), expected)


def test_custom_rules_inside() -> None:
    """A rule is kept to, and the function itself is run again."""
    runs = []

    @tg.custom_jvp
    def g(x: Any) -> Any:
        if type(x) is np.ndarray:
            runs.append(1)
        return np.sin(x)

    g.defjvp(lambda primals, tangents: (g(*primals), 3.0 * tangents[0] * np.cos(primals[0])))
    f = tg.checkpoint(lambda x: np.sum(np.exp(g(x))))
    near(tg.grad(f)(X), 3.0 * np.cos(X) * np.exp(np.sin(X)))
    assert len(runs) == 2
    near(tg.vmap(tg.grad(f))(W), 3.0 * np.cos(W) * np.exp(np.sin(W)))


def test_a_budget_for_a_network_with_skips() -> None:
    """Values that are read far behind are kept once, and those read by every step do not count at every cut."""

    def f(x: Any, w: Any) -> Any:
        mask, first = np.sin(x), np.exp(np.sin(x @ w))
        for _ in range(32):
            x = x + np.tanh((x * mask) @ w)
        return x * first

    w = WEIGHTS / 10
    expected = tg.grad(loss(np, f), (0, 1))(START, w)
    for budget in (40, 64):
        wrapped = tg.checkpoint(f, memory=f"{budget * UNIT >> 10}KiB")
        near(tg.grad(loss(np, wrapped), (0, 1))(START, w), expected)
        near(tg.jit(tg.grad(loss(np, wrapped), (0, 1)))(START, w), expected)
        # Here there are the cotangents of x, of the mask and of the first value as well.
        assert peak(tg.grad(loss(np, wrapped), (0, 1)), START, w) < budget + 2 * CONSTANT
    assert peak(tg.grad(loss(np, f), (0, 1)), START, w) > 128


def test_a_budget_is_the_same_choice_every_time() -> None:
    first, second = [tg.debug.residuals(tg.checkpoint(chain, memory="5MiB"), START, WEIGHTS) for _ in range(2)]
    assert [r[:4] for r in first] == [r[:4] for r in second]


def test_a_long_chain_is_planned_in_time_that_grows_with_its_length() -> None:
    def times(steps: int) -> float:
        def f(x: Any) -> Any:
            for _ in range(steps):
                x = np.tanh(x * 0.99)
            return x

        start = time.perf_counter()
        found = tg.debug.residuals(tg.checkpoint(f, memory=8 * 3 * steps // 5), X)
        assert len(found) > 3
        return time.perf_counter() - start

    short, long = times(250), times(2500)
    assert long < 40 * short  # quadratic would be a hundredfold


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


@pytest.mark.parametrize("memory", ["64", "64MX", "MB", "-1MB", "", -1, True, 1.5, [1]])
def test_a_budget_that_cannot_be_read(memory: Any) -> None:
    with pytest.raises(ValueError, match="memory must be") as error:
        tg.checkpoint(np.sin, memory=memory)
    line = error.tb.tb_lineno
    assert str(error.value) == (
        f"checkpoint at {__file__}:{line} (in test_a_budget_that_cannot_be_read): memory must be a number of bytes, got "
        f'{memory!r}; write an int, or a string such as "64MB", "512KiB" or "1.5GB"'
    )


@pytest.mark.parametrize(
    "memory, size",
    [("64MB", 64_000_000), ("512KB", 512_000), ("1.5GB", 1_500_000_000), ("2 KiB", 2048), ("100B", 100), ("1gib", 1 << 30),
     (0, 0), (12345, 12345)],
)  # fmt: skip
def test_budgets_that_can(memory: Any, size: int) -> None:
    assert tg.make_graph(tg.checkpoint(np.sin, memory=memory))(X).eqns[0].params["memory"] == size


def message(call: Callable[[], Any], kind: type[Exception]) -> str:
    with pytest.raises(kind) as error:
        call()
    return re.sub(r" at \S+test_checkpoint\.py:\d+ \(in [\w<>.]+\)", " HERE", str(error.value))


def test_errors() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, *args: Any) -> bool:
            return True

        def __repr__(self) -> str:
            return "Unhashable()"

    assert message(lambda: tg.checkpoint(3.0), TypeError) == (
        "checkpoint HERE takes a function, got the float 3.0; write tg.checkpoint(f)(x) with the function itself, not with "
        "f(x)"
    )
    assert message(lambda: tg.checkpoint(np.sin, policy="dots"), TypeError) == (
        "checkpoint HERE: policy must be a function such as tg.checkpoint_policies.dots_saveable, got 'dots'"
    )
    assert message(lambda: tg.checkpoint(np.sin, policy=Unhashable()), TypeError) == (
        "checkpoint HERE: policy must be hashable, got Unhashable(); write a function"
    )
    assert message(lambda: tg.checkpoint(np.sin, policy=P.dots_saveable, memory=1), ValueError) == (
        "checkpoint HERE: policy and memory both say what is kept; give one of them"
    )
    assert message(lambda: tg.checkpoint_name(X, 3), TypeError) == (  # type: ignore[arg-type]
        'checkpoint_name HERE: the name must be a string, got 3; write tg.checkpoint_name(x, "hidden")'
    )
    assert message(lambda: P.save_only_these_names(["a", "b"]), TypeError) == (  # type: ignore[arg-type]
        "save_only_these_names HERE takes names, got ['a', 'b']; write "
        'tg.checkpoint_policies.save_only_these_names("hidden", "output")'
    )
    assert message(
        lambda: tg.checkpoint(lambda x, n: x, static_argnums=1)(X, object.__new__(Unhashable)), TypeError
    ) == (
        "a static argument of checkpoint HERE must be hashable, or made of lists, dicts, sets, dataclasses and arrays; got "
        "Unhashable() of type Unhashable"
    )


def test_a_branch_on_a_value_names_the_line() -> None:
    def f(x: Any) -> Any:
        return x if x > 0 else -x

    with pytest.raises(errors.ConcretizationTypeError, match="checkpoint") as error:
        tg.grad(tg.checkpoint(f))(1.0)
    assert f"test_checkpoint.py:{f.__code__.co_firstlineno + 1} (in f)" in str(error.value)
    static = tg.checkpoint(lambda x, sign: x if sign > 0 else -x, static_argnums=(1,))
    assert float(tg.grad(static)(2.0, -1)) == -1.0
