"""Functions of jax's as parts of our Graph: optax's optimisers, flax's and equinox's modules, rules, loops, errors."""

from __future__ import annotations

import functools
import gc
import inspect
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

import tracegrad as tg  # noqa: E402
from tracegrad.core.errors import TracerArrayConversionError, UnsupportedFunctionError  # noqa: E402
from tracegrad.core.scopes import named_scope  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what these import in turn
    nn = pytest.importorskip("flax.linen")
    eqx = pytest.importorskip("equinox")

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")

X = np.array([0.5, -2.0, 3.0])


def on_xla(f: Callable[..., Any]) -> Callable[..., Any]:
    return tg.jit(f, backend="xla")


WAYS: list[Callable[..., Any]] = [lambda f: f, tg.jit, on_xla]
ON_NUMPY = WAYS[:2]  # where there is much to compile, which the tests of our rules for XLA hold in parts

QUICK = {"xla_backend_optimization_level": 0}


def truth(f: Callable[..., Any], *args: Any) -> Any:
    """What jax makes of it, in float64 where that is what the arguments are. Quick to compile is what counts."""
    with jax.enable_x64(True):
        return jax.jit(f, compiler_options=QUICK)(*args)


def close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert np.asarray(a).dtype == b.dtype and np.shape(a) == b.shape
        np.testing.assert_allclose(np.asarray(a), b, tolerance, tolerance * max(1.0, np.max(np.abs(b), initial=0.0)))


# ---------------------------------------------------------------------------------------------------------------------
# optax.

# Arguments, where a rate is not all; what the update takes besides.
OPTIMISERS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[str, ...]]] = {
    "adadelta": ((1.0,), {}, ()),
    "lbfgs": ((1e-3,), {"linesearch": None}, ()),
    "noisy_sgd": ((1e-2,), {"key": 3}, ()),
    "polyak_sgd": ((), {}, ("value",)),
    **{
        name: ((1e-2,), {}, ())
        for name in [
            "adabelief",
            "adafactor",
            "adagrad",
            "adam",
            "adamax",
            "adamaxw",
            "adamw",
            "adan",
            "amsgrad",
            "fromage",
            "lamb",
            "lars",
            "lion",
            "nadam",
            "nadamw",
            "novograd",
            "optimistic_adam_v2",
            "optimistic_gradient_descent",
            "radam",
            "rmsprop",
            "rprop",
            "sgd",
            "sign_sgd",
            "signum",
            "sm3",
            "yogi",
        ]
    },
}
SCHEDULE = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 5, 20)
WRAPPED: dict[str, Callable[[], Any]] = {
    "chain": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(SCHEDULE), optax.zero_nans()),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=SCHEDULE, b1=0.8),
    "MultiSteps": lambda: optax.MultiSteps(optax.adam(1e-2), 3).gradient_transformation(),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.sgd(1e-2, momentum=0.9, nesterov=True), 3),
    "lookahead": lambda: optax.chain(optax.trace(0.9), optax.ema(0.9), optax.scale(-1e-2)),
    "multi_transform": lambda: optax.multi_transform(
        {"a": optax.adam(1e-2), "b": optax.sgd(1e-2)}, {"w": "a", "b": "b"}
    ),
    "adaptive_grad_clip": lambda: optax.chain(optax.adaptive_grad_clip(0.1), optax.centralize(), optax.sgd(1e-1)),
    "add_noise": lambda: optax.chain(optax.add_noise(0.1, 0.5, key=3), optax.sgd(1e-1)),
}


def test_all_optimisers_of_optax_are_tried() -> None:
    known = {n for n in dir(optax) if inspect.isfunction(getattr(optax, n)) and n[0] != "_"}
    with_rate = {
        n
        for n in known
        if "learning_rate" in inspect.signature(getattr(optax, n)).parameters
        and "GradientTransformation" in str(inspect.signature(getattr(optax, n)).return_annotation)
    }
    others = {
        "scale_by_learning_rate",
        "scale_by_rprop",
        "normalize_by_update_norm",
        "optimistic_adam",
    }  # the last is of an older form
    assert with_rate - others - OPTIMISERS.keys() == set()


def made(name: str) -> tuple[Any, tuple[str, ...]]:
    if name in WRAPPED:
        return WRAPPED[name](), ()
    args, kwargs, more = OPTIMISERS[name]
    return getattr(optax, name)(*args, **kwargs), more


def loss_in(np: Any) -> Callable[..., Any]:
    return lambda p, x, y: np.mean((np.tanh(x @ p["w"] + p["b"]) - y) ** 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("part", range(4))
def test_optimisers_of_optax_in_jit(dtype: Any, part: int) -> None:
    """20 steps with our gradients, on NumPy in one trace, against all of it in jax. (jax takes them in one program, which
    is quicker to compile.)"""
    rng, names = np.random.default_rng(0), [*OPTIMISERS, *WRAPPED][part::4]
    x, y = rng.normal(size=(8, 5)).astype(dtype), rng.normal(size=(8, 3)).astype(dtype)
    params = {"w": rng.normal(size=(5, 3)).astype(dtype) * dtype(0.5), "b": np.zeros(3, dtype)}
    optimisers = {name: made(name) for name in names}

    def of_jax(params: Any, x: Any, y: Any) -> Any:
        out = {}
        for name, (opt, more) in optimisers.items():

            def step(carry: Any, _: Any, opt: Any = opt, more: Any = more) -> Any:
                p, s = carry
                value, grads = jax.value_and_grad(loss_in(jnp))(p, x, y)
                updates, s = opt.update(grads, s, p, **({"value": value} if more else {}))
                return (optax.apply_updates(p, updates), s), None

            out[name] = lax.scan(step, (params, opt.init(params)), length=20)[0][0]
        return out

    expected = truth(of_jax, params, x, y)
    for name, (opt, more) in optimisers.items():
        imported = tg.from_jax(opt)
        assert type(imported) is type(opt)

        @tg.jit
        def step(p: Any, s: Any, imported: Any = imported, more: Any = more) -> Any:
            value, grads = tg.value_and_grad(loss_in(np))(p, x, y)
            updates, s = imported.update(grads, s, p, **({"value": value} if more else {}))
            return {k: p[k] + updates[k] for k in p}, s

        p, s = params, imported.init(params)
        for _ in range(20):
            p, s = step(p, s)
        assert step.trace_log == ["first call"], name
        least = 1e-8 if dtype is np.float64 else {"lbfgs": 1e-3}.get(name, 1e-5)
        for k in p:
            assert p[k].dtype == dtype
            np.testing.assert_allclose(p[k], expected[name][k], least, least, err_msg=name)


def test_a_linesearch_of_optax() -> None:
    """With the function to search along among the arguments: it is static, and jax traces it."""
    opt = optax.lbfgs()
    imported = tg.from_jax(opt)
    rosenbrock = lambda p: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
    start = np.array([-1.0, 1.0])
    p, s = start, imported.init(start)
    with jax.enable_x64(True):
        q, t = jnp.asarray(start), opt.init(jnp.asarray(start))
        compiled = jax.jit(
            lambda q, t: opt.update(
                jax.grad(rosenbrock)(q), t, q, value=rosenbrock(q), grad=jax.grad(rosenbrock)(q), value_fn=rosenbrock
            ),
            compiler_options=QUICK,
        )
        for _ in range(3):
            updates, s = imported.update(
                tg.grad(rosenbrock)(p), s, p, value=rosenbrock(p), grad=tg.grad(rosenbrock)(p), value_fn=rosenbrock
            )
            p = p + updates
            theirs, t = compiled(q, t)
            q = q + theirs
    close(p, q, 1e-6)


def test_one_program_of_jax_with_our_gradients_and_optax() -> None:
    opt, rng = optax.adam(1e-2), np.random.default_rng(0)
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 3))
    params = {"w": np.ones((5, 3)), "b": np.zeros(3)}

    def step(of: Any, np: Any) -> Any:
        def run(p: Any, s: Any) -> Any:
            value, grads = of.value_and_grad(loss_in(np))(p, x, y)
            updates, s = opt.update(grads, s, p)
            return optax.apply_updates(p, updates), s, value

        return jax.jit(run)

    with jax.enable_x64(True):
        found, expected = [(params, opt.init(params), None)] * 2
        for _ in range(3):
            found, expected = step(tg, np)(*found[:2]), step(jax, jnp)(*expected[:2])
        close(found, expected)


# ---------------------------------------------------------------------------------------------------------------------
# flax and equinox.


class Network(nn.Module):  # type: ignore[misc]
    @nn.compact
    def __call__(self, x: Any, train: bool = True) -> Any:
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.gelu(nn.GroupNorm(2)(nn.Conv(4, (3, 3), strides=(2, 2))(x)))
        x = nn.avg_pool(x, (2, 2), (1, 1))
        x = nn.LayerNorm()(x.reshape(x.shape[0], -1))
        return nn.Dense(3)(nn.Dropout(0.3, deterministic=not train)(x))


class Sequences(nn.Module):  # type: ignore[misc]
    @nn.compact
    def __call__(self, tokens: Any) -> Any:
        x = nn.Embed(11, 8)(tokens)
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        x = nn.LayerNorm()(x + nn.MultiHeadDotProductAttention(2)(x, x, mask=mask))
        return nn.Dense(2)(nn.RNN(nn.GRUCell(6))(x))


def variables_of(network: Any, rngs: Any, x: Any) -> Any:
    """Any numbers in the shapes of its variables: to draw them as it would takes jax long."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, rngs, x)
    return jax.tree.map(lambda t: rng.uniform(0.2, 1.0, t.shape).astype(t.dtype), shapes)


def test_a_convolutional_network_of_flax() -> None:
    rng = np.random.default_rng(0)
    network = Network()
    x = rng.normal(size=(4, 10, 10, 1)).astype(np.float32)
    variables = variables_of(network, {"params": jax.random.key(0), "dropout": jax.random.key(1)}, x)

    def loss(params: Any, stats: Any, x: Any, key: Any) -> Any:
        v, labels = {"params": params, "batch_stats": stats}, jnp.array([0, 1, 2, 1])
        out, changed = network.apply(v, x, rngs={"dropout": key}, mutable=["batch_stats"])
        return -jnp.mean(jax.nn.log_softmax(out)[jnp.arange(4), labels]), changed

    args = variables["params"], variables["batch_stats"], x, np.array([0, 5], np.uint32)
    expected = truth(jax.value_and_grad(loss, has_aux=True), *args)
    at_once = truth(jax.vmap(functools.partial(network.apply, train=False), (None, 0)), variables, x[:, None])
    imported = tg.from_jax(loss)
    for way in ON_NUMPY:
        close(way(tg.value_and_grad(imported, has_aux=True))(*args), expected, 3e-5)
    close(on_xla(imported)(*args), expected[0], 3e-5)
    evaluated = tg.from_jax(lambda v, x: network.apply(v, x, train=False))
    for way in ON_NUMPY:
        close(way(tg.vmap(evaluated, (None, 0)))(variables, x[:, None]), at_once, 1e-5)


def test_attention_and_a_recurrent_network_of_flax() -> None:
    rng = np.random.default_rng(0)
    network = Sequences()
    tokens = rng.integers(0, 11, (2, 6))
    variables = variables_of(network, jax.random.key(0), tokens)
    f = lambda v, tokens: jnp.sum(jnp.sin(network.apply(v, tokens)))
    moved = jax.tree.map(np.ones_like, variables)
    expected = truth(jax.value_and_grad(f), variables, tokens)
    pushed = truth(lambda v, t: jax.jvp(lambda v: f(v, tokens), (v,), (t,)), variables, moved)
    imported = tg.from_jax(f)
    for way in ON_NUMPY:
        close(way(tg.value_and_grad(imported))(variables, tokens), expected, 3e-5)
    close(tg.jvp(lambda v: imported(v, tokens), (variables,), (moved,)), pushed, 1e-4)


def test_modules_of_equinox() -> None:
    """Their activation functions are leaves that are no arrays: they are static, and come back from what returns a module."""
    rng = np.random.default_rng(0)
    mlp = eqx.nn.MLP(3, 2, 4, 2, key=jax.random.key(0))
    x = rng.normal(size=(5, 3)).astype(np.float32)
    f = lambda m, x: jnp.sum(jax.vmap(m)(x) ** 2)
    here = jax.tree.map(lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, mlp)
    imported = tg.from_jax(f)
    expected = f(mlp, x)
    close(imported(here, x), expected, 1e-5)
    arrays, rest = eqx.partition(here, lambda x: isinstance(x, np.ndarray))
    slopes = eqx.filter_grad(f)(mlp, x)
    joined = tg.from_jax(lambda arrays, x: f(eqx.combine(arrays, rest), x))
    for way in WAYS:
        found = way(tg.grad(lambda leaves: joined(jax.tree.structure(arrays).unflatten(leaves), x)))(
            jax.tree.leaves(arrays)
        )
        close(found, jax.tree.leaves(slopes), 1e-5)
    twice = tg.from_jax(lambda m: jax.tree.map(lambda x: 2 * x if eqx.is_array(x) else x, m))(here)
    assert type(twice) is type(mlp) and twice.activation is mlp.activation
    np.testing.assert_array_equal(twice.layers[0].weight, 2 * here.layers[0].weight)


# ---------------------------------------------------------------------------------------------------------------------
# Transforms.


def test_derivatives_of_all_orders_and_batches() -> None:
    f = lambda x: jnp.sum(jax.nn.gelu(x) * jnp.cumsum(x)) + jnp.max(jax.nn.relu(x)) * jax.nn.silu(x[0])
    imported = tg.from_jax(f)
    t = np.array([1.0, 0.5, -1.0])
    expected = truth(
        lambda x: {
            "grad": jax.grad(f)(x),
            "hessian": jax.hessian(f)(x),
            "jvp": jax.jvp(f, (x,), (t,)),
            "third": jax.grad(lambda x: jnp.sum(jax.hessian(f)(x)))(x),
            "vmap": jax.vmap(jax.grad(f))(jnp.stack([x, t])),
        },
        X,
    )
    found: dict[str, Callable[..., Any]] = {
        "grad": tg.grad(imported),
        "hessian": tg.hessian(imported),
        "jvp": lambda x: tg.jvp(imported, (x,), (t,)),
        "third": tg.grad(lambda x: np.sum(tg.hessian(imported)(x))),
        "vmap": lambda x: tg.vmap(tg.grad(imported))(np.stack([x, t])),
    }
    for name, g in found.items():
        for way in ON_NUMPY if name != "grad" else WAYS:
            close(way(g)(X), expected[name], 1e-10)


@jax.custom_jvp
def doubled(x: Any, n: Any) -> Any:
    return x * n


doubled.defjvp(lambda primals, tangents: (doubled(*primals), 10.0 * tangents[0]))


@jax.custom_vjp
def tenth(x: Any, n: Any) -> Any:
    return {"out": x * n, "n": n}


tenth.defvjp(lambda x, n: (tenth(x, n), x), lambda x, ct: (0.1 * ct["out"] * x, None))


def test_rules_of_jax_are_kept() -> None:
    jvp, vjp = tg.from_jax(doubled), tg.from_jax(lambda x, n: tenth(x, n)["out"])
    for way in WAYS:
        for n in (np.int32(3), np.float64(3.0)):
            close(way(tg.grad(lambda x, n: np.sum(jvp(x, n))))(X, n), np.full(3, 10.0))
            close(way(tg.grad(lambda x, n: np.sum(vjp(x, n))))(X, n), 0.1 * X)
            close(way(jvp)(X, n), 3 * X)
            close(way(vjp)(X, n), 3 * X)
        rows = np.stack([X, -X])
        close(way(tg.vmap(tg.grad(lambda x: np.sum(vjp(x, 3.0)))))(rows), 0.1 * rows)
        close(way(tg.vmap(lambda x: vjp(x, 3.0)))(rows), 3 * rows)
    close(tg.jvp(lambda x: jvp(x, 3.0), (X,), (np.ones(3),)), (3 * X, np.full(3, 10.0)))
    close(tg.jvp(lambda x: vjp(x, 3.0), (X,), (np.ones(3),)), (3 * X, 0.1 * X))


def test_they_run_as_compiled_functions() -> None:
    """A function with rules is a Graph, which a program calls, and not jax's equations one by one; a batch of it as well."""
    f = tg.from_jax(jax.nn.relu)
    for graph in (tg.make_graph(f)(X), tg.make_graph(tg.vmap(f))(np.stack([X, X]))):
        (eqn,) = graph.eqns
        assert str(eqn.params["rules"]) == "relu" and len(eqn.params["rules"].graph.eqns) == 1


def test_loops_and_branches() -> None:
    def loop(x: Any) -> Any:
        return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1]) * x), (0, x))[1]

    f = lambda x: lax.cond(x[0] > 0, lambda x: jnp.sum(x**2), lambda x: jnp.prod(x), x)
    with jax.enable_x64(True):
        unrolled = jax.grad(lambda x: jnp.sum(jnp.sin(jnp.sin(jnp.sin(x) * x) * x) * x))(X)
        expected = {sign: jax.grad(f)(sign * X) for sign in (1, -1)}
    for way in WAYS[:2]:  # on XLA neither jax nor we have one of a while_loop
        close(way(tg.grad(lambda x: np.sum(tg.from_jax(loop)(x))))(X), unrolled)
    step = tg.jit(tg.grad(tg.from_jax(f)))
    for sign in (1, -1):
        close(step(sign * X), expected[sign])
    assert len(step.trace_log) == 1
    assert "switch" in str(tg.make_graph(tg.from_jax(f))(tg.ShapeDtypeStruct((3,), "float64")))


# ---------------------------------------------------------------------------------------------------------------------
# Arguments, types and signatures.


def test_numbers_yield_as_in_jax() -> None:
    f = tg.from_jax(lambda x, y: x * y + 1)
    half = np.ones(2, np.float32)
    assert f(half, 2.0).dtype == np.float32 and f(half, np.float64(2.0)).dtype == np.float64
    assert type(f(2.0, 3)) is float and f(2.0, 3) == 7.0
    assert type(f(2, 3)) is int and type(f(np.int32(2), 3)) in (np.int32, np.ndarray)
    assert (half * f(2.0, 3.0)).dtype == np.float32
    graph = tg.make_graph(lambda x, a: x * f(a, 2.0))(half, 3.0)
    assert str(graph.out_types[0]) == "f32[2]"
    assert tg.jit(lambda x, a: x * f(a, 2.0))(half, 3.0).dtype == np.float32
    wide = tg.from_jax(lambda x: x.astype(np.float64).sum() + jnp.zeros(()))
    assert wide(half).dtype == np.float64  # 64-bit types are on


def test_one_trace_for_a_signature() -> None:
    traced = []

    def f(x: Any, scale: Any = 1.0, *, name: str = "") -> Any:
        traced.append(name)
        return {"y": x["a"][0] * scale, name: None}

    g = tg.from_jax(f)
    for x in (X, X + 1):
        np.testing.assert_array_equal(g({"a": [x]}, 2.0)["y"], 2 * x)
        g({"a": [x]}, 2.0, name="b")
        g({"a": [x.astype(np.float32)]}, 3.0)
    assert traced == ["", "b", ""]
    tg.jit(g)({"a": [X]}, 2.0)
    tg.grad(lambda x: np.sum(g({"a": [x]}, 2.0)["y"]))(X)
    assert traced == ["", "b", ""]


class Point(NamedTuple):
    x: Any
    y: Any


@jax.tree_util.register_pytree_node_class
class Pair:
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def tree_flatten(self) -> Any:
        return (self.a, self.b), None

    @classmethod
    def tree_unflatten(cls, _: Any, children: Any) -> Pair:
        return cls(*children)


def test_trees_are_those_of_jax() -> None:
    f = tg.from_jax(lambda p, q: Pair(Point(p.a + q.x, None), [p.b * 2]))
    out = f(Pair(X, 1.0), Point(X, X))
    assert type(out) is Pair and type(out.a) is Point and out.b == [2.0]
    np.testing.assert_array_equal(out.a.x, 2 * X)
    assert tg.from_jax(lambda: jnp.arange(3))().tolist() == [0, 1, 2]
    assert tg.from_jax(lambda x: ())(X) == ()


def test_static_leaves() -> None:
    f = tg.from_jax(lambda x, how: getattr(jnp, how)(x))
    np.testing.assert_allclose(f(X, "sin"), np.sin(X))
    np.testing.assert_allclose(f(X, "cos"), np.cos(X))
    with pytest.raises(
        TypeError, match=r"args\[1\] of .* is the set \{1\}, which is neither|neither an array nor hashable"
    ):
        f(X, {1})
    with pytest.raises(jax.errors.TracerBoolConversionError):  # a flag is an array, as for jax.jit
        tg.from_jax(lambda x, train: x if train else -x)(X, True)


def test_results_are_of_their_own() -> None:
    c = jnp.arange(3.0)
    f = tg.from_jax(lambda x: (x, x, x[None], c, jnp.zeros(3)))
    out = f(X)
    for i, y in enumerate(out):
        assert y.flags.writeable and not any([np.shares_memory(y, z) for z in (X, *out[:i])])


@pytest.mark.filterwarnings("ignore::tracegrad.core.errors.KeyReuseWarning")
def test_keys() -> None:
    """Typed keys may come in; pairs of uint32 come out, which jax takes for keys as well."""
    f = tg.from_jax(lambda key: (jax.random.normal(key, (3,)), jax.random.split(key, 2)))
    with jax.enable_x64(True):
        numbers = np.asarray(jax.random.normal(jax.random.key(7), (3,)))
        keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(7))))
    drawn = tg.jit(lambda key: f(key))
    for key in (jax.random.key(7), np.array([0, 7], np.uint32)):
        for found in [f(key)] + ([drawn(key)] if isinstance(key, np.ndarray) else []):
            np.testing.assert_allclose(found[0], numbers, 1e-12)
            np.testing.assert_array_equal(found[1], keys)
    closed = tg.from_jax(lambda x: x + jax.random.normal(jax.random.key(7), x.shape))
    np.testing.assert_allclose(tg.jit(closed)(np.zeros(3)), numbers, 1e-12)
    with pytest.raises(UnsupportedFunctionError, match="threefry"):
        tg.from_jax(lambda x: x + jax.random.normal(jax.random.key(0, impl="rbg")))(1.0)


def test_arrays_of_jax() -> None:
    """Alone they are for jax; among traced arrays, or inside a transform of ours, they are computed on where they are."""
    f = tg.from_jax(lambda x, y: jnp.sum(jnp.sin(x) * y))
    x = jnp.asarray(X.astype(np.float32))
    assert isinstance(f(x, x), jax.Array) and isinstance(f(x, X), jax.Array)
    assert isinstance(tg.grad(f)(x, x), jax.Array)
    np.testing.assert_allclose(tg.grad(f)(x, x), np.cos(x) * x, 1e-6)
    np.testing.assert_allclose(jax.jit(jax.grad(f))(x, x), np.cos(x) * x, 1e-6)
    found = tg.grad(lambda y: f(y, x))(X)
    np.testing.assert_allclose(found, np.cos(X) * np.asarray(x), 1e-6)


def test_what_is_imported_frees_its_arguments() -> None:
    f = tg.from_jax(lambda x: x + 1)
    x = np.ones(1000)
    alive = weakref.ref(x)
    f(x)
    del x
    gc.collect()
    assert alive() is None


# ---------------------------------------------------------------------------------------------------------------------
# Lines, warnings and errors.


def test_equations_have_the_users_lines() -> None:
    """That of code written in jax, or of the call where a library wrote it."""

    def f(x: Any) -> Any:
        y = jnp.sin(x)
        return jax.nn.softmax(y * 2)

    g = tg.from_jax(f)
    first = f.__code__.co_firstlineno
    listing = str(tg.make_graph(g)(X))
    assert "sin a  " in listing and f"# test_from_jax.py:{first + 1} (jax)" in listing
    assert f"# test_from_jax.py:{first + 2} (jax)" in listing
    opt = tg.from_jax(optax.sgd(1e-2))
    state = opt.init(X)
    for _ in range(2):
        graph = tg.make_graph(lambda g: opt.update(g, state)[0])(X)
        other = tg.make_graph(lambda g: opt.update(g, state)[0])(X)
        sources = [{e.source.line for e in graph.eqns if e.source} for graph in (graph, other)]
        assert len(sources[0]) == len(sources[1]) == 1 and sources[0] != sources[1]


def test_equations_are_in_the_scopes_of_the_call() -> None:
    f = tg.from_jax(lambda x: jnp.sin(x) * 2)

    def g(x: Any) -> Any:
        with named_scope("layer"):
            y = f(x)
        return np.sum(f(y))

    graph = tg.make_graph(tg.grad(g))(X)
    assert [e.scope for e in graph.eqns if e.op.name == "sin"] == [("layer",)]
    assert {(e.scope, e.phase) for e in graph.eqns if e.op.name == "cos"} == {(("layer",), 1), ((), 1)}


def test_numpy_warns_of_nothing_in_it_but_elsewhere() -> None:
    f = tg.from_jax(lambda x: jnp.where(x > 0, jnp.log(x), 0.0) / jnp.sum(jnp.exp(x * 1e4)))
    loop = tg.from_jax(lambda x: lax.scan(lambda c, r: (c + jnp.log(r), r / (c - c)), x[0], x)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for h in (f, loop):
            total = lambda x, h=h: np.sum(h(x))
            for g in (h, total, tg.grad(total)):
                for way in WAYS[:2]:
                    way(g)(X)
                    way(tg.vmap(g))(np.stack([X, X]))
    both = tg.jit(lambda x: f(x) + np.log(x - 9))
    with pytest.warns(RuntimeWarning, match="invalid value encountered in log") as told:
        both(X)
    assert len(told) == 1 and told[0].filename == __file__


def test_unknown_primitives() -> None:
    def f(x: Any) -> Any:
        return jnp.abs(jax.scipy.linalg.hessenberg(jnp.outer(x, x)))

    with pytest.raises(UnsupportedFunctionError) as caught:
        tg.from_jax(f)(X)
    text = str(caught.value)
    line = f.__code__.co_firstlineno + 1
    assert text.startswith("from_jax: tracegrad has nothing for jax's primitive 'hessenberg', used at ")
    assert f"test_from_jax.py:{line} (in f)." in text and "float64[3,3]" in text and "jax.jit(fun)" in text
    for g, advice in (
        (lambda x: jax.pure_callback(np.sin, x, x), "tg.external"),
        (lambda x: (jax.debug.print("{}", x), x)[1], "take jax.debug's call out"),
        (lambda x: lax.reduce_window(x, 0.0, lambda a, b: a + b * 2, (2,), (1,), "VALID"), "stack the windows"),
    ):
        with pytest.raises(UnsupportedFunctionError, match=advice):
            tg.from_jax(g)(X)


def test_closing_over_what_is_traced() -> None:
    for transform in (tg.grad, tg.jit, tg.vmap):
        with pytest.raises(TracerArrayConversionError, match=r"none of its arguments.*Pass it as an argument"):
            transform(lambda y: np.sum(tg.from_jax(lambda x: jnp.sin(x) * y)(X)))(X)


def test_what_is_no_function() -> None:
    with pytest.raises(TypeError, match=r"from_jax .*takes a function.*write tg.from_jax\(f\)"):
        tg.from_jax(3)
    assert tg.from_jax(optax.identity()).update(X, ())[0].tolist() == X.tolist()
    partial = tg.from_jax(functools.partial(jnp.power, 2.0))
    assert partial(3.0) == 8.0


def test_errors_of_jax_are_its_own() -> None:
    with pytest.raises(TypeError, match="contracting dimensions"):
        tg.from_jax(lambda x: x @ jnp.ones((4, 4)))(X)
    with pytest.raises(TypeError, match="is not one of numbers"):
        tg.from_jax(lambda x: x + 1)(np.array(["a"]))
