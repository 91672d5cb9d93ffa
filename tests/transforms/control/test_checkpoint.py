"""checkpoint: the same values and derivatives, from less that is kept."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.jaxprs import run_with_numpy
from tests.notes import Notes
from tracegrad.core import errors
from tracegrad.core.check import check
from tracegrad.core.graph import Graph
from tracegrad.core.op import OPS
from tracegrad.ops.collective import axis_index, psum

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
    traces = Notes()

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
# Errors.


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


def test_checkpoints_nest_as_deep_as_python_allows() -> None:
    def scaled(f: Any, x: Any) -> Any:
        return f(x) * 1.0

    f: Any = np.sin
    for _ in range(150):
        f = tg.checkpoint(functools.partial(scaled, f))
    assert f(0.5) == np.sin(0.5)
    assert tg.grad(f)(0.5) == np.cos(0.5)
    assert tg.jit(tg.grad(f))(0.5) == np.cos(0.5)
