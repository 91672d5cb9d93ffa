"""Patterns: exact where the program tells, and never too small, over the registry and over random programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.op import OPS, Op, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import is_inexact, number_kind, type_of
from tracegrad.testing import strategies
from tracegrad.transforms.sparsity import Sets

X = np.random.default_rng(0).uniform(0.2, 1.0, 12)


def pattern(f: Callable[..., Any], x: Any = X) -> Any:
    found = tg.jacobian(f, sparse=True)(x)
    found.data[:] = 1
    return found.toarray().astype(bool)


EYE, ALL = np.eye(12, dtype=bool), np.ones((12, 12), bool)
ROWS = np.kron(np.eye(3), np.ones((4, 4))).astype(bool)  # of x as (3, 4)
COLUMNS = np.kron(np.ones((3, 3)), np.eye(4)).astype(bool)
BAND = np.eye(12, k=0, dtype=bool)[:-1] | np.eye(12, k=1, dtype=bool)[:-1]
LOWER = np.tril(ALL)
AS_MATRIX: Callable[[Callable[[Any], Any]], Callable[[Any], Any]] = lambda f: lambda x: f(np.reshape(x, (3, 4)))
ORDER = np.random.default_rng(1).permutation(12)
MATRIX = np.random.default_rng(2).normal(size=(3, 3)) + 4 * np.eye(3)

EXACT: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "elementwise": (lambda x: np.sin(x) * x + 3, EYE),
    "constant": (lambda x: np.floor(x) + np.arange(12.0), 0 * EYE),
    "both branches": (lambda x: np.where(x > 0.5, x, x[::-1]), EYE | EYE[::-1]),
    "neighbours": (lambda x: x[1:] * x[:-1], BAND),
    "zero in value": (lambda x: 0.0 * x[1:] + x[:-1], BAND),
    "indexed": (lambda x: x[ORDER] ** 2, EYE[ORDER]),
    "written": (lambda x: tnp.at(x)[2].set(x[5] * x[6]), np.where(np.arange(12)[:, None] == 2, EYE[5] | EYE[6], EYE)),
    "added up": (lambda x: tnp.at(np.zeros(12))[ORDER // 2].add(x), (np.arange(12)[:, None] == ORDER // 2)),
    "counted": (lambda x: np.bincount(ORDER // 2, x, 12), (np.arange(12)[:, None] == ORDER // 2)),
    "running": (np.cumsum, LOWER),
    "running back": (lambda x: np.cumsum(x[::-1])[::-1], LOWER.T),
    "recurrence": (lambda x: tnp.cumulative_prod(x), LOWER),
    "rows": (AS_MATRIX(lambda x: x * np.sum(x, 1, keepdims=True)), ROWS),
    "columns": (AS_MATRIX(lambda x: x - np.mean(x, 0)), COLUMNS),
    "softmax": (AS_MATRIX(lambda x: tg.nn.softmax(x)), ROWS),
    "largest": (AS_MATRIX(lambda x: np.max(x, 1)), ROWS[::4]),
    "sorted": (AS_MATRIX(lambda x: np.sort(x, 1)), ROWS),
    "sorted by another": (AS_MATRIX(lambda x: np.take_along_axis(x, np.argsort(x, 0), 0)), COLUMNS),
    "product": (AS_MATRIX(lambda x: x @ np.ones((4, 4))), ROWS),
    "product, right": (AS_MATRIX(lambda x: MATRIX @ x), COLUMNS),
    "products with vectors": (AS_MATRIX(lambda x: (x @ np.ones(4))[:, None] * (np.ones(3) @ x)), ROWS | COLUMNS),
    "einsum": (AS_MATRIX(lambda x: np.einsum("ij,jk->ki", x, np.ones((4, 4)))), ROWS.reshape(3, 4, 12).swapaxes(0, 1)),
    "solve": (AS_MATRIX(lambda x: np.linalg.solve(MATRIX, x)), COLUMNS),
    "transform": (AS_MATRIX(lambda x: np.fft.fft(x, axis=1).real), ROWS),
    "windows": (lambda x: np.convolve(x, np.array([1.0, 2.0]), "valid"), BAND),
    "convolve": (lambda x: np.convolve(x, np.ones(3)), np.array([[0 <= k - i < 3 for i in range(12)] for k in range(14)])),
    "kernel": (lambda x: np.convolve(np.ones(2), x, "valid"), BAND),
    "pooled": (lambda x: tg.lax.reduce_window(x, 0.0, tg.lax.add, (3,), (3,), "VALID"), np.kron(np.eye(4), np.ones((1, 3)))),
    "convolution": (
        lambda x: tg.lax.conv_general_dilated(x.reshape(1, 1, 12), np.ones((1, 1, 3)), (2,), [(1, 0)]),
        np.array([[2 * k - 1 <= i < 2 * k + 2 for i in range(12)] for k in range(6)]),
    ),
    "vmap": (AS_MATRIX(tg.vmap(lambda r: r * np.linalg.norm(r))), ROWS),
    "jit": (tg.jit(lambda x: x[1:] * x[:-1]), BAND),
    "checkpoint": (tg.checkpoint(lambda x: x[1:] * x[:-1]), BAND),
    "scan": (lambda x: tg.lax.scan(lambda c, u: (u, np.sin(c) * u), 0.0, x)[1], np.tril(ALL) & ~np.tril(ALL, -2)),
    "scan, back": (lambda x: tg.lax.scan(lambda c, u: (c * u, c + u), 0.0, x, reverse=True)[1], LOWER.T),
    "fori_loop": (lambda x: tg.lax.fori_loop(0, 11, lambda i, c: tnp.at(c)[i].set(c[i + 1] ** 2), x),
                  np.vstack([EYE[1:], EYE[-1:]])),
    "while_loop": (lambda x: tg.lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, np.sin(c[1])), (0, x))[1], EYE),
    "while_loop, all around": (lambda x: tg.lax.while_loop(lambda c: np.sum(c) < 99, lambda c: np.roll(c, 3) + 1, x),
                               np.tile(EYE[:3] | EYE[3:6] | EYE[6:9] | EYE[9:], (4, 1))),
    "cond": (tg.jit(lambda x: tg.lax.cond(x[0] > 0.5, lambda v: v, lambda v: v[::-1], x)), EYE | EYE[::-1]),
    "what cannot be known": (lambda x: x[np.argsort(x)], ALL),
    "linear algebra": (lambda x: tg.jvp(np.linalg.inv, (MATRIX,), (x[:9].reshape(3, 3),))[1], ALL[:9, :9]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str) -> None:
    f, expected = EXACT[name]
    found = pattern(f)
    wanted = np.zeros(found.shape, bool)
    expected = np.reshape(expected, (found.shape[0], -1))
    wanted[:, : expected.shape[1]] = expected
    assert np.array_equal(found, wanted)
    dense = np.reshape(tg.jacfwd(f)(X), found.shape)
    np.testing.assert_allclose(tg.jacobian(f, sparse=True)(X).toarray(), dense, atol=1e-12)


def real_inputs(sample: Sample) -> list[int]:
    return [i for i, x in enumerate(sample.inputs) if number_kind(type_of(np.asarray(x)).dtype) == "f"]


def on_reals(op: Op, sample: Sample) -> tuple[Callable[..., Any], list[Any]]:
    """The op as a function of its real inputs, to its real outputs, and such inputs."""
    chosen = real_inputs(sample)

    def f(*reals: Any) -> Any:
        inputs = list(sample.inputs)
        for i, x in zip(chosen, reals, strict=True):
            inputs[i] = x
        out = bind(op, tuple(inputs), sample.params)
        outs = [o for o in (out if op.multiple_results else (out,)) if is_inexact(type_of(o).dtype)]
        return [part for o in outs for part in ((o.real, o.imag) if number_kind(type_of(o).dtype) == "c" else (o,))]

    return f, [np.asarray(sample.inputs[i]) for i in chosen]


@pytest.mark.parametrize(("most", "least"), [(2, 400), pytest.param(100, 800, marks=pytest.mark.slow)])
def test_never_too_small_over_the_registry(most: int, least: int) -> None:
    tried = 0
    for op in OPS.values():
        # Of collectives there is nothing outside of vmap.
        samples = [] if op.collective is not None else list(op.samples())[:most]
        for sample in samples:
            if not real_inputs(sample) or sum([np.size(x) for x in sample.inputs]) > 100:
                continue
            f, inputs = on_reals(op, sample)
            argnums = tuple(range(len(inputs)))
            with np.errstate(all="ignore"):
                dense, sparse = tg.jacfwd(f, argnums)(*inputs), tg.jacobian(f, argnums, sparse=True)(*inputs)
            for want, got in zip(tg.tree.tree_leaves(dense), tg.tree.tree_leaves(sparse), strict=True):
                want = np.reshape(want, got.shape)
                np.testing.assert_allclose(got.toarray(), want, rtol=1e-6, atol=1e-9, err_msg=op.name)
                stored = np.zeros(got.shape, bool)
                stored[np.repeat(np.arange(got.shape[0]), np.diff(got.indptr)), got.indices] = True
                assert np.all(stored | ~(want != 0)), op.name
            tried += 1
    assert tried > least


@hypothesis.settings(max_examples=10, deadline=None, derandomize=True, database=None,
                     suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
@hypothesis.given(strategies.programs(registry=False), st.integers(0, 1000))
def test_never_too_small_over_random_programs(program: strategies.Program, seed: int) -> None:
    rng = np.random.default_rng(seed)
    args = rng.uniform(-1, 1, 3), rng.uniform(-1, 1, (3, 3))
    dense, sparse = tg.hessian(program, (0, 1))(*args), tg.hessian(program, (0, 1), sparse=True)(*args)
    scale = max([1.0, *[float(np.max(np.abs(d))) for d in tg.tree.tree_leaves(dense)]])
    for want, got in zip(tg.tree.tree_leaves(dense), tg.tree.tree_leaves(sparse), strict=True):
        np.testing.assert_allclose(got.toarray(), np.reshape(want, got.shape), atol=1e-9 * scale)


def test_sets() -> None:
    sets = Sets.of_pairs(np.array([2, 0, 2, 2]), np.array([1, 3, 0, 1]), 3, 4)
    assert [sets.starts.tolist(), sets.columns.tolist()] == [[0, 1, 1, 3], [3, 0, 1]]
    assert sets.take(np.array([2, -1, 0])).columns.tolist() == [0, 1, 3]
    assert sets.grouped(np.array([0, 0, 0]), 1).columns.tolist() == [0, 1, 3]
    assert sets.grouped(np.array([0, 0, -1]), 1).columns.tolist() == [3]
    assert sets.united(sets) is sets
    assert len(sets.below(sets)) == 6


def test_an_op_of_floats_alone_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    op = OPS["roll"]
    seen: list[Any] = []
    monkeypatch.setattr(op, "kinds", "f")
    monkeypatch.setattr(op, "evaluate", lambda x, *args, f=op.evaluate, **params: (seen.append(x.dtype), f(x, *args, **params))[1])  # fmt: skip
    assert np.array_equal(pattern(lambda x: np.roll(x, 1)), np.roll(EYE, 1, 0))
    assert {str(d) for d in seen} == {"float64"}
