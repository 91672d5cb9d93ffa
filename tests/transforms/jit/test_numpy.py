"""jit on NumPy: the same bits as the function itself, traced once a signature, and memory that is nobody else's."""

from __future__ import annotations

import functools
import io
import itertools
import pdb
import pickle
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.compare import same_bits
from tracegrad.core.check import check
from tracegrad.core.errors import ConcretizationTypeError
from tracegrad.core.op import OPS
from tracegrad.core.trace import bind

X = np.array([0.3, -1.2, 2.0])
BIG = np.random.default_rng(0).normal(size=(64, 128))


# ---------------------------------------------------------------------------------------------------------------------
# Every op, and functions of many.


def op_samples() -> list[Any]:
    return [
        pytest.param(op, sample, id=f"{op.name}-{i}") for op in OPS.values() for i, sample in enumerate(op.samples())
    ]


@pytest.mark.parametrize("op, sample", op_samples())
def test_every_op(op: Any, sample: Any) -> None:
    expected = bind(op, sample.inputs, sample.params)
    jitted = tg.jit(lambda *xs: bind(op, xs, sample.params))
    before = [np.array(x) for x in sample.inputs]
    for _ in range(2):
        same_bits(jitted(*sample.inputs), expected)
    assert len(jitted.trace_log) == 1
    for x, old in zip(sample.inputs, before, strict=True):
        np.testing.assert_array_equal(x, old)


def network(params: Any, x: Any) -> Any:
    for layer in params:
        x = np.tanh(x @ layer["W"] + layer["b"])
    return np.mean(np.log(np.sum(np.exp(x), axis=1)) - x[:, 0])


PARAMS = [{"W": 0.1 * BIG[:3, :4], "b": BIG[0, :4]}, {"W": 0.1 * BIG[:4, :5], "b": BIG[1, :5]}]


def chain(x: Any) -> Any:
    y = x
    for _ in range(5):
        y = np.sin(y) * 1.01 + x
        y = y / (1.0 + y * y) - np.exp(-y)
    return y


FUNCTIONS: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    ("network", network, (PARAMS, BIG[:7, :3])),
    ("gradient of a network", tg.value_and_grad(network), (PARAMS, BIG[:7, :3])),
    ("large elementwise", chain, (BIG,)),
    ("gradient of large elementwise", tg.grad(lambda x: np.sum(chain(x))), (BIG,)),
    ("per-example gradients", tg.vmap(tg.grad(lambda x: np.sum(chain(x)))), (BIG,)),
    ("hessian", tg.hessian(lambda x: np.sum(np.sin(x) * np.prod(x))), (X,)),
    ("jvp", lambda x, t: tg.jvp(chain, (x,), (t,)), (X, X)),
    ("float32", tg.grad(lambda x: np.sum(np.tanh(x) * 2.0 + 1)), (X.astype(np.float32),)),
    ("weak", lambda x, y: (x * 2.0 + 1, x * y, 3.0), (1.5, np.float32(2.0))),
    ("several outputs", lambda x: np.split(x, 2), (np.arange(6.0),)),
    ("solve", tg.grad(lambda a, b: np.sum(np.linalg.solve(a, b))), (BIG[:4, :4] + 4 * np.eye(4), BIG[0, :4])),
    ("nothing to compute", lambda x: {"x": x, "view": x[::-1], "none": None, "const": X}, (X,)),
    ("integers", lambda n: (n * 2, n // 2, n % 3, n > 1), (np.arange(5),)),
    ("complex", lambda z: np.abs(z) ** 2 + np.angle(z), (np.array([1 + 2j, -1j]),)),
]


@pytest.mark.parametrize("name, f, args", FUNCTIONS, ids=[n for n, _, _ in FUNCTIONS])
def test_bits_of_functions(name: str, f: Any, args: Any) -> None:
    jitted = tg.jit(f)
    expected = f(*args)
    for _ in range(3):
        same_bits(jitted(*args), expected)
    assert jitted.trace_log == ["first call"]
    check(jitted.lower(*args).graph)


def test_other_orders_of_jit_and_transforms() -> None:
    f = lambda x: np.sum(chain(x))
    jitted = tg.jit(f)
    same_bits(tg.grad(jitted)(X), tg.grad(f)(X))
    same_bits(tg.jit(tg.grad(jitted))(X), tg.grad(f)(X))
    np.testing.assert_allclose(tg.vmap(jitted)(np.stack([X, 2 * X])), [f(X), f(2 * X)])
    np.testing.assert_allclose(tg.hessian(tg.jit(jitted))(X), tg.hessian(f)(X), rtol=1e-12)
    same_bits(tg.jvp(jitted, (X,), (X,)), tg.jvp(f, (X,), (X,)))
    outer = tg.jit(lambda x: jitted(x) + jitted(2 * x))
    same_bits(outer(X), f(X) + f(2 * X))
    assert len(jitted.trace_log) == 1  # the calls inside found it traced


# ---------------------------------------------------------------------------------------------------------------------
# Signatures.


def test_names_of_arguments_beside_static_ones() -> None:
    f = tg.jit(lambda n, x, m, y: x * n if y is None else float(y), static_argnums=(0, -2), branches="error")
    with pytest.raises(ConcretizationTypeError, match=r"the input y, but the jit of"):
        f(2, X, 3, 1.0)
    with pytest.raises(ConcretizationTypeError, match=r"the input y, but the jit of"):
        f.lower(2, X, 3, 1.0)
    f(2, X, 3, None)
    f(2, X[:2], 3, None)
    assert f.trace_log == ["first call", "x: f64[2], before f64[3]"]


# ---------------------------------------------------------------------------------------------------------------------
# Python.


def test_a_branch_on_a_value_is_refused_where_that_is_asked_for() -> None:
    @tg.jit(branches="error")
    def f(x: Any) -> Any:
        if x[0] > 0:
            return x
        return -x

    with pytest.raises(ConcretizationTypeError, match=r"test_numpy\.py.*jit"):
        f(X)
    assert f.trace_log == []
    same_bits(tg.jit(lambda x: x if x.shape[0] > 2 else -x)(X), X)


def test_an_error_leaves_nothing_behind() -> None:
    fail = True

    @tg.jit
    def f(x: Any) -> Any:
        y = np.sin(x)
        if fail:
            raise RuntimeError("on purpose")
        return y

    with pytest.raises(RuntimeError, match="on purpose"):
        f(X)
    fail = False
    same_bits(f(X), np.sin(X))


def test_errors_of_the_compiled_function_are_numpys() -> None:
    f = tg.jit(lambda a: np.linalg.inv(a))
    same_bits(f(np.eye(2)), np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        f(np.zeros((2, 2)))
    same_bits(f(np.eye(2)), np.eye(2))


def test_a_function_that_closes_over_a_tracer_is_not_kept() -> None:
    f: Any = None

    def loss(x: Any) -> Any:
        nonlocal f
        f = tg.jit(lambda y: np.sum(y * x))
        return f(X) + f(X)

    same_bits(tg.grad(loss)(X), 2 * X)
    assert not len(f._function)


@tg.jit
def module_level(x: Any) -> Any:
    return np.cos(x)


def test_pickle() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level


@pytest.mark.parametrize("cache_size", [256, 2])
def test_threads(cache_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracegrad.transforms.signatures.CACHE_SIZE", cache_size)
    f = tg.jit(chain)
    expected = {n: chain(BIG[:n]) for n in (8, 16, 32, 64)}
    wrong: list[Any] = []

    def work(k: int) -> None:
        for i in range(20):
            n = (8, 16, 32, 64)[(i + k) % 4]
            if not np.array_equal(f(BIG[:n]), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert len(f._function) == min(cache_size, 4)
    assert len(f.trace_log) >= 4  # more where two threads traced for one at the same time


@pytest.mark.parametrize("backend", ["cuda", ""])
def test_unknown_backends(backend: str) -> None:
    with pytest.raises(ValueError, match=r"no backend"):
        tg.jit(np.sin, backend=backend)


# ---------------------------------------------------------------------------------------------------------------------
# Calls.


def test_custom_rules_inside() -> None:
    @tg.custom_jvp
    def f(x: Any) -> Any:
        return np.sin(x)

    f.defjvp(lambda primals, tangents: (f(*primals), 10.0 * np.cos(primals[0]) * tangents[0]))

    @tg.custom_vjp
    def g(x: Any) -> Any:
        return x * 2.0

    g.defvjp(lambda x: (g(x), x), lambda x, ct: (ct * x * 100.0,))
    for rule in (f, g):
        loss = lambda x, rule=rule: np.sum(rule(x) * x)
        expected = tg.grad(loss)(X)
        for jitted in (tg.jit(tg.grad(loss)), tg.grad(tg.jit(loss)), tg.jit(tg.grad(tg.jit(loss)))):
            same_bits(jitted(X), expected)
        same_bits(tg.jit(tg.vmap(rule))(X), tg.vmap(rule)(X))


@pytest.mark.parametrize("name", ["relu", "gelu", "sigmoid", "softplus", "silu", "softmax", "log_softmax", "logsumexp"])
def test_gradients_of_activations(name: str) -> None:
    loss = lambda x: np.sum(getattr(tg.nn, name)(x) ** 2)
    same_bits(tg.jit(tg.value_and_grad(loss))(BIG), tg.value_and_grad(loss)(BIG))


def test_functions_nest_as_deep_as_python_allows() -> None:
    def nested(f: Any) -> Any:
        for _ in range(150):
            f = tg.jit(functools.partial(_scaled, f))
        return f

    f = nested(np.sin)
    assert f(0.5) == np.sin(0.5)
    assert tg.grad(f)(0.5) == np.cos(0.5)
    assert tg.jit(tg.grad(nested(np.sin)))(0.5) == np.cos(0.5)


def test_what_is_nested_deep_keeps_its_arguments_to_itself() -> None:
    def inner(x: Any, twice: bool) -> Any:
        x[0] = 5.0
        return x * 2 if twice else x

    f: Any = lambda x: np.sum(x) + np.sum(tg.jit(inner, static_argnums=1)(x, True)) + np.sum(x)
    for _ in range(40):
        f = tg.jit(functools.partial(_scaled, f))
    x = np.array([1.0, 2.0])
    assert f(x) == 3.0 + 14.0 + 3.0
    assert tg.grad(f)(x).tolist() == [2.0, 4.0]
    assert x.tolist() == [1.0, 2.0]


def _scaled(f: Any, x: Any) -> Any:
    return f(x) * 1.0


def test_an_endless_recursion_of_the_users_is_called_that() -> None:
    def f(x: Any) -> Any:
        return tg.jit(f)({"a": x["a"]})

    with pytest.raises(RecursionError) as error:
        f({"a": X})
    assert "tree" not in str(error.value)


# ---------------------------------------------------------------------------------------------------------------------
# Donation.


def sgd(params: Any, trace: Any, grads: Any) -> Any:
    trace = tg.tree.tree_map(lambda m, g: 0.9 * m + g, trace, grads)
    return tg.tree.tree_map(lambda p, m: p - 0.1 * m, params, trace), trace


def trees(seed: int = 0, dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(seed)
    return [{"a": rng.normal(size=(8, 9)).astype(dtype), "b": [rng.normal(size=70).astype(dtype)]} for _ in range(3)]


@pytest.mark.parametrize("donate", [{"donate_argnums": (0, 1)}, {"donate_argnames": ("params", "trace")}])
def test_results_are_written_over_what_is_donated(donate: Any) -> None:
    step, plain = tg.jit(sgd, **donate), tg.jit(sgd)
    params, trace, grads = trees()
    expected = plain(params, trace, grads)
    mine = {id(x) for x in tg.tree.tree_leaves((params, trace))}
    kept = tg.tree.tree_map(np.copy, grads)
    for _ in range(3):
        params, trace = step(params, trace, grads)
        same_bits((params, trace), expected)
        assert {id(x) for x in tg.tree.tree_leaves((params, trace))} == mine
        expected = plain(*expected, grads)
    same_bits(grads, kept)
    assert step.trace_log == ["first call"]


@pytest.mark.parametrize("how", ["view", "base", "twice", "read-only", "beside", "fortran", "closed over"])
def test_what_others_can_see_is_not_written_over(how: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 16, 16))
    x, y = x.copy(), y.copy()
    hidden = np.ones((16, 16))
    f: Any = lambda x, y, z: (x * 2.0 + hidden, y * 3.0 + x, z + 1.0)
    seen: list[Any] = []
    args: Any = {
        "view": lambda: (x[:], y, y + 1.0), "base": lambda: (x, y, x[:]), "twice": lambda: (x, x, y), "read-only": lambda: (x, y, y + 1.0),
        "beside": lambda: (x, y, x), "fortran": lambda: (np.asfortranarray(x), y, x + 1.0), "closed over": lambda: (hidden, y, x),
    }[how]()  # fmt: skip
    if how == "read-only":
        args[0].flags.writeable = False
        seen = [args[0]]
    if how == "view":
        seen = [x]
    if how in ("base", "beside"):
        seen = [args[2]]
    if how == "closed over":
        seen = [hidden]
    before = [np.copy(s) for s in seen]
    expected = f(*[np.copy(a, "K") for a in args])
    got = tg.jit(f, donate_argnums=(0, 1))(*args)
    same_bits(got, expected)
    same_bits(seen, before)
    assert len({id(g) for g in got}) == 3 and not any(np.shares_memory(a, b) for a, b in itertools.combinations(got, 2))


def test_what_passes_through_is_given_back() -> None:
    x, y = np.ones((16, 16)), np.ones((16, 16))
    a, b, c = tg.jit(lambda x, y: (x, x, y.T), donate_argnums=(0, 1))(x, y)
    assert a is x and b is not x and c is not y
    assert not np.shares_memory(b, x) and c.base is None


def test_donated_arrays_are_written_into() -> None:
    def f(x: Any, i: Any) -> Any:
        x[i] = 7.0
        return x

    x = np.zeros((16, 16))
    got = tg.jit(f, donate_argnums=0)(x, np.array([1, 3]))
    assert got is x and got[1].tolist() == [7.0] * 16 and got[2].any() == 0
    x = np.zeros((16, 16))
    assert tg.jit(f)(x, np.array([1, 3])) is not x and not x.any()


def test_donation_with_static_arguments_and_keywords() -> None:
    f = tg.jit(lambda n, x, *, y: x * n + y, static_argnums=0, donate_argnums=1, donate_argnames="y")
    x, y = np.ones((16, 16)), np.ones((16, 16))
    got = f(3, x, y=y)
    assert got is x or got is y
    assert (got == 4).all()
    assert "donated((" in f.lower(3, x, y=y).as_text()


def test_donation_in_another_trace_writes_over_nothing() -> None:
    x = np.full((16, 16), 2.0)
    inner = tg.jit(lambda x: x * x, donate_argnums=0)
    for transform in (lambda f: tg.grad(lambda x: np.sum(f(x))), tg.vmap, tg.jit):
        transform(inner)(x)
        assert (x == 2).all()


# ---------------------------------------------------------------------------------------------------------------------
# debug=True.


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.filterwarnings("ignore:a float64 result on XLA")
def test_breakpoints_stop_and_see_values(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def hook(*args: Any, **kwargs: Any) -> None:
        frame = sys._getframe(1)
        seen.append((frame.f_code.co_name, frame.f_lineno, np.array(frame.f_locals["y"])))

    monkeypatch.setattr(sys, "breakpointhook", hook)

    def f(x: Any) -> Any:
        y = x * 2.0
        breakpoint()
        return np.sum(y) if y[0] > 0 else np.sum(x)

    g = tg.jit(f, debug=True, backend=backend)
    for _ in range(2):
        assert float(g(X)) == pytest.approx(np.sum(2 * X))
    assert [(name, line) for name, line, _ in seen] == [("f", f.__code__.co_firstlineno + 2)] * 2
    assert all([np.array_equal(y, 2 * X) for _, _, y in seen])
    assert type(g(X)).__module__.startswith("jax") == (backend == "xla")
    with pytest.raises(ConcretizationTypeError):
        tg.jit(lambda x: np.sum(x) if x[0] > 0 else x, branches="error")(X)


def test_pdb_shows_values(monkeypatch: pytest.MonkeyPatch) -> None:
    typed, shown = io.StringIO("p y\np type(y)\ncontinue\n"), io.StringIO()

    def hook() -> None:
        pdb.Pdb(stdin=typed, stdout=shown, nosigint=True, readrc=False).set_trace(sys._getframe(1))

    monkeypatch.setattr(sys, "breakpointhook", hook)

    def f(x: Any) -> Any:
        y = x * 2.0
        breakpoint()
        return np.sum(y)

    tracing = sys.gettrace()
    try:
        assert tg.jit(f, debug=True)(np.array([1.0, 2.0])) == 6.0
    finally:
        sys.settrace(tracing)
    assert "array([2., 4.])" in shown.getvalue() and "return np.sum(y)" in shown.getvalue()


def test_a_debugged_gradient_shows_values_inside() -> None:
    seen: list[str] = []

    def loss(x: Any) -> Any:
        y = np.sin(x)
        seen.append(repr(y))
        return np.sum(y)

    step = tg.jit(tg.grad(loss), debug=True)
    same_bits(step(X), np.cos(X))
    assert "0.29552" in seen[0]
    same_bits(tg.grad(tg.jit(loss, debug=True))(X), np.cos(X))
    same_bits(tg.vmap(tg.jit(np.sin, debug=True))(X), np.sin(X))


def test_debugged_functions_take_arguments_as_jitted_ones_do() -> None:
    def f(x: Any, n: int) -> Any:
        x[0] = 7.0
        return x, x[1:], {"n": x * n}

    kept = X.copy()
    g = tg.jit(f, static_argnums=1, debug=True)
    for got, want in zip(tg.tree.leaves(g(X, 2)), tg.tree.leaves(tg.jit(f, static_argnums=1)(X, 2)), strict=True):
        same_bits(got, want)
        assert got.base is None
    same_bits(X, kept)
    same_bits(pickle.loads(pickle.dumps(tg.jit(np.sin, debug=True)))(X), np.sin(X))
    assert type(pickle.loads(pickle.dumps(tg.jit(np.sin, debug=True)))) is type(g)
    for debug in (False, True):
        with pytest.raises(TypeError, match=r"x: 'a' of type str is not an array of numbers at .*test_numpy.py"):
            tg.jit(lambda x: x, debug=debug)("a")
    assert "sin" in tg.jit(np.sin, debug=True).lower(X).as_text()


def test_residuals_of_an_unrolled_loop_are_let_go_on_the_way_back() -> None:
    """A gradient for each step takes the place of what that step had kept."""
    steps, x = 40, np.full(10_000, 0.5)
    factors = [np.full(10_000, 1.0 + i / 100) for i in range(steps)]

    def chain(factors: Any, x: Any) -> Any:
        for factor in factors:
            x = np.sin(x * factor)
        return np.sum(x)

    gradient = tg.jit(tg.grad(chain))
    gradient(factors, x)
    tracemalloc.start()
    try:
        gradient(factors, x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (
        peak < (2 * steps + 1) * x.nbytes
    )  # of each step its product and its sine; with all gradients it would be 3 * steps
