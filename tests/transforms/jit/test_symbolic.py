"""One call of a function for all sizes: the Graphs that it has at others, and what keeps it from that."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.compare import same_bits
from tracegrad.core.symbols import Symbol, SymbolNotes, symbol
from tracegrad.transforms.jit.symbolic import NotSymbolic, require_none

V, M = {"x": ("N",)}, {"x": ("N", None)}
W = np.random.default_rng(0).normal(size=(3, 4))
KEY = tg.random.key(0)


def vector(n: int) -> Any:
    return np.random.default_rng(n).normal(size=n)


def matrix(n: int) -> Any:
    return np.random.default_rng(n).normal(size=(n, 3))


def gradient(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: tg.grad(f)(x)


@tg.custom_jvp
def ruled(x: Any) -> Any:
    return x * np.sin(x)


ruled.defjvps(lambda t, out, x: 3 * t * np.cos(x))
closing = tg.custom_jvp(lambda x: x @ W[:, 0])
closing.defjvps(lambda t, out, x: 2 * t @ W[:, 0])


def made_anew(x: Any) -> Any:
    own = tg.custom_jvp(lambda y: y**2)
    own.defjvps(lambda t, out, y: 5 * t * y)
    return own(x)


VECTORS: dict[str, Callable[[Any], Any]] = {
    "slices": lambda x: np.sum(x[1:] * x[:-1]) / x.shape[0],
    "gradient of slices": gradient(lambda x: np.sum(x[1:] * x[:-1])),
    "backwards": lambda x: x[::-2] + x[-3::-2][: x[::-2].shape[0]].sum(),
    "half": lambda x: x[: x.shape[0] // 2],
    "last": lambda x: x[-1] * x[x.shape[0] - 1],
    "padded": lambda x: np.pad(x, (0, 1 + -x.shape[0] % 8)),
    "arrays": lambda x: x + tnp.zeros(x.shape[0]) + tnp.arange(x.shape[0]) + tnp.ones(x.shape) + np.zeros_like(x),
    "linspace": lambda x: x + tnp.linspace(0, 1, x.shape[0]),
    "outer": lambda x: np.outer(x, x),
    "statistics": lambda x: (x - x.mean()) / x.std(),
    "a narrow mean": lambda x: x.astype(np.float32).var() + x.mean(dtype=np.float32),
    "gradient of a sort": gradient(lambda x: np.sum(np.sort(x) * tnp.arange(x.shape[0]))),
    "gradient of a maximum": gradient(lambda x: np.max(x) + np.median(x)),
    "gradient of a scan": gradient(lambda x: tg.lax.scan(lambda c, u: (0.9 * c + np.sin(u), None), 0.0, x)[0]),
    "counted loop": lambda x: tg.lax.fori_loop(0, x.shape[0], lambda i, c: c + x[i] * i, 0.0),
    "while": lambda x: tg.lax.while_loop(lambda c: np.sum(c) < 100, lambda c: c * 2, np.abs(x)),
    "cond": lambda x: tg.lax.cond(np.sum(x) > 0, lambda y: y * 2, lambda y: -y, x),
    "checkpoint": gradient(lambda x: np.sum(tg.checkpoint(lambda z: np.sin(np.sin(z)))(x))),
    "cumulative": gradient(lambda x: np.sum(np.cumsum(x) ** 2)),
    "joined": lambda x: np.concatenate([x, np.repeat(x, 2), np.tile(x, 3), np.diff(x)]),
    "logarithm": lambda x: x * np.log(x.shape[0]) / np.sqrt(x.shape[0]),
    "least": lambda x: x * np.minimum(x.shape[0], 40),
    "a quotient": lambda x: x * (x.shape[0] / 2) + x * (1 / x.shape[0]),
    "a root in single precision": lambda x: x.astype(np.float32) * x.shape[0] ** -0.5,
    "a table and a size": lambda x: x[:3] * (np.arange(3.0) * x.shape[0]),
    "fourier": lambda x: np.fft.fft(x),
    "quantile": lambda x: np.quantile(x, 0.3),
    "rules": gradient(lambda x: np.sum(ruled(x)) * x.shape[0]),
    "rules that are made anew": gradient(lambda x: np.sum(made_anew(x))),
    "a size among the results": lambda x: (x, {"n": 3 * x.shape[0]}),
}
MATRICES: dict[str, Callable[[Any], Any]] = {
    "gradient": gradient(lambda x: np.sum(np.tanh(x @ W)) / x.shape[0]),
    "gram": lambda x: (x.T @ x) / x.shape[0] + np.cov(x.T),
    "products": gradient(lambda x: np.einsum("ij,kj->ik", x, x).sum() + np.sum(x @ x.T)),
    "norm": gradient(lambda x: np.linalg.norm(x) + np.sum(np.linalg.norm(x, axis=1))),
    "process": gradient(lambda x: np.linalg.slogdet(x @ x.T + tnp.eye(x.shape[0]))[1]),
    "cholesky": lambda x: np.linalg.cholesky(x @ x.T + 3 * tnp.eye(x.shape[0])),
    "triangles": lambda x: np.triu(x @ x.T, 1) - np.tril(x @ x.T),
    "attention": gradient(lambda x: np.sum(tg.nn.dot_product_attention(*[x[:, None]] * 3, is_causal=True) ** 2)),
    "rows": lambda x: tg.vmap(tg.grad(lambda r: np.sum(np.sin(r) * r)))(x),
    "taken": gradient(lambda x: np.sum(np.take_along_axis(x, np.argsort(x, 0), 0)[:2])),
    "random": lambda x: x + tg.random.normal(KEY, x.shape) * x.shape[0],
    "rules over rows": gradient(lambda x: np.sum(tg.vmap(ruled)(x))),
    "rules over what they close over": gradient(lambda x: np.sum(closing(x))),
    "rules that close over arrays": lambda x: closing(x),
    "jitted": lambda x: tg.jit(lambda y: y * y.shape[0])(x),
}


@pytest.mark.parametrize("name", [*VECTORS, *MATRICES])
def test_a_function_is_called_once(name: str) -> None:
    f, dims, make = (VECTORS[name], V, vector) if name in VECTORS else (MATRICES[name], M, matrix)
    calls = 0

    def counted(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return f(x)

    sized, plain = tg.jit(counted, dims=dims), tg.jit(f)
    for n in (9, 30, 10, 128, 7, 2100 if dims is V else 200):
        x = make(n)
        found, expected = sized(x), plain(x)
        same_bits(found, expected)
        assert [type(a) for a in tg.tree.tree_leaves(found)] == [type(b) for b in tg.tree.tree_leaves(expected)]
    assert calls == 1
    assert sized.trace_log == ["first call"]


def test_where_this_library_decides_otherwise_it_is_traced_for_that_size() -> None:
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return x[: 5 * (x.shape[0] // 5)].reshape(-1, 5)

    # All of x, or a part. The first call is asked again at a size at which nothing meets by chance.
    for counts in ({32: 1, 201: 1, 9: 1, 30: 2, 33: 2}, {30: 3, 32: 3, 201: 3}):
        calls = 0
        sized = tg.jit(f, dims=V)
        for n, count in counts.items():
            x = vector(n)
            assert np.array_equal(sized(x), x[: n // 5 * 5].reshape(-1, 5))
            assert calls == count


def test_derivatives_from_outside_are_by_the_rules_at_each_size() -> None:
    for f, derivative in (
        (closing, lambda x: 2 * np.tile(W[:, 0], (len(x), 1))),
        (tg.vmap(ruled), lambda x: 3 * np.cos(x)),
    ):
        sized = tg.jit(lambda x, f=f: np.sum(f(x)), dims=M)
        for n in (9, 30, 8):
            x = matrix(n)
            assert np.allclose(tg.grad(sized)(x), derivative(x), rtol=1e-14)
            assert np.allclose(tg.jvp(sized, (x,), (x,))[1], np.sum(derivative(x) * x), rtol=1e-12)
        assert sized.trace_log == ["first call"]


def test_names_with_equal_sizes_are_two() -> None:
    calls = 0

    def f(x: Any, y: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.sum(x) * y / x.shape[0]

    sized = tg.jit(f, dims={"x": ("N",), "y": ("M",)})
    for n, m in ((9, 9), (9, 30), (40, 8)):
        assert np.array_equal(sized(np.ones(n), np.ones(m)), np.ones(m))
    assert calls == 1


def test_what_is_made_at_a_size_is_not_taken_for_a_constant() -> None:
    sized = tg.jit(lambda x: x[tnp.arange(x.shape[0])[::-1]], dims=V)
    for n in (9, 30, 12):
        x = vector(n)
        assert np.array_equal(sized(x), x[::-1])


def test_what_may_hold_a_size_is_looked_through() -> None:
    n = symbol("N", 9, SymbolNotes())

    def closes() -> Any:
        return n

    class Holder:
        def __init__(self) -> None:
            self.held = {"sizes": [n]}

    for holds in (n, (1, [n]), {"a": n}, closes, Holder(), types.SimpleNamespace(f=closes), lambda x=n: x):
        with pytest.raises(NotSymbolic):
            require_none(holds)
    for is_free in (9, "9", [np.ones(9)], np.sin, vector, {"a": (1, None)}):
        require_none(is_free)
    assert type(n) is Symbol
