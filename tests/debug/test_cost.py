"""What functions cost, by line, before they are run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests.lower.numpy.test_peak import measured, measured_once
from tracegrad import lax
from tracegrad.core.errors import ConcretizationTypeError

X = np.random.default_rng(0).normal(size=(300, 200))


def _loss(w: Any, x: Any) -> Any:
    h = np.tanh(x @ w)
    return np.mean(h**2)


LINE = _loss.__code__.co_firstlineno
W = X[:200].copy()


def test_lines_of_a_loss() -> None:
    found = tg.debug.cost(_loss, W, X)
    first, second = found.lines
    assert first.source is not None and second.source is not None
    assert [first.source.line, second.source.line] == [LINE + 1, LINE + 2]
    assert first.ops == {"matmul": 1, "tanh": 1} and first.flops == 2 * 300 * 200 * 200 + 300 * 200
    assert first.moved == X.nbytes + W.nbytes + 3 * X.nbytes
    assert found.flops == first.flops + second.flops
    assert found.peak == pytest.approx(measured(tg.jit(_loss), W, X), rel=0.1)
    assert sum([x.at_peak for x in found.lines]) == found.peak


def test_what_is_kept_is_what_residuals_say() -> None:
    kept = sum([r.bytes for r in tg.debug.residuals(_loss, W, X) if r.source is not None])
    assert tg.debug.cost(_loss, W, X).kept == kept > 0
    found = tg.debug.cost(tg.grad(_loss), W, X)
    assert found.kept == X.nbytes * 2 and found.lines[0].kept == found.kept  # tanh, and what it is of
    assert found.peak == pytest.approx(measured(tg.jit(tg.grad(_loss)), W, X), rel=0.1)
    assert tg.debug.cost(lambda n: n + 1, np.arange(3)).kept == 0


def test_loops_count_as_often_as_they_run() -> None:
    def f(x: Any) -> Any:
        return lax.scan(lambda c, _: (np.tanh(c @ x), None), x, np.ones(7))[0]

    assert tg.debug.cost(f, W).flops == 7 * (2 * 200**3 + 200**2)


def test_nothing_is_run_and_types_are_enough() -> None:
    types = [tg.ShapeDtypeStruct((10**6, 10**6), "float32")] * 2
    found = tg.debug.cost(tg.jit(lambda x, y: np.sin(x @ y)), *types)
    assert found.flops == 2 * 10**18 + 10**12 and found.peak == 4 * 10**12


def test_no_function_of_the_users_is_called() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        tg.debug.callback(seen.append, x)
        tg.debug.check(x > 5, "x must be > 5, got {x}", x=x)
        return np.sort(x)

    assert tg.debug.cost(f, X).peak == pytest.approx(X.nbytes, rel=0.1)
    assert tg.debug.cost(tg.vmap(lambda x: lax.cond(x[0] > 0, f, np.sin, x)), X).peak > X.nbytes
    assert tg.debug.cost(lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: f(c) + 1.0, x), X[0]).flops > 0
    assert not seen


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_jitted_functions_with_static_arguments(backend: str) -> None:
    f = tg.jit(lambda x, n: x**n, static_argnums=1, backend=backend)
    assert tg.debug.cost(f, X, 3).peak == tg.debug.cost(lambda x: x**3, X).peak


def test_as_a_table() -> None:
    text = str(tg.debug.cost(_loss, W, X))
    assert text.splitlines()[0].split() == ["flops", "moved", "kept", "at", "peak", "line"]
    assert f"test_cost.py:{LINE + 1}  h = np.tanh(x @ w)" in text
    assert text.splitlines()[-1].endswith("in all") and "24.2 M" in text


def test_lines_without_text_are_told_apart_by_their_functions() -> None:
    names: dict[str, Any] = {"np": np}
    exec("def f(x): return np.sin(x) * 2", names)
    exec("def g(x): return np.sum(f(x) @ f(x))", names)
    found = tg.debug.cost(names["g"], np.ones(50))
    assert [(x.source.function, x.flops) for x in found.lines if x.source is not None] == [("f", 100), ("g", 101)]
    assert "<string>:1  (in f)" in str(found) and "<string>:1  (in g)" in str(tg.debug.profile(names["g"], np.ones(50)))


def test_what_has_a_cost_is_a_function() -> None:
    with pytest.raises(TypeError, match=r"debug.cost at .* takes a function, got the float 3.0"):
        tg.debug.cost(3.0)  # type: ignore[arg-type]


def test_of_branches_the_path_of_the_arguments() -> None:
    f = lambda x: x @ x if x[0, 0] > 0 else x + 1.0
    x = np.ones((10, 10))
    assert [tg.debug.cost(g, a).flops for g in (f, tg.jit(f)) for a in (x, -x)] == [2001, 101] * 2
    with_sum = lambda x: x @ x if np.exp(x).sum() > 0 else x  # what is asked for costs too
    assert tg.debug.cost(with_sum, x).flops == 2000 + 100 + 100 + 1 and tg.debug.cost(with_sum, x).kept == 0
    with pytest.raises(ConcretizationTypeError):
        tg.debug.cost(f, tg.ShapeDtypeStruct((10, 10), "float64"))
    with pytest.raises(ConcretizationTypeError):
        tg.debug.cost(tg.jit(f, branches="error"), x)


# ---------------------------------------------------------------------------------------------------------------------
# The peak, against what is measured.

S = X[:200] @ X[:200].T + 50 * np.eye(200)
IMAGES = np.random.default_rng(1).normal(size=(4, 3, 32, 32))
KERNELS = [np.random.default_rng(2).normal(size=s) for s in ((16, 3, 3, 3), (16, 16, 3, 3))]


def _convolved(ks: Any) -> Any:
    h = np.maximum(lax.conv_general_dilated(IMAGES, ks[0], (1, 1), "SAME"), 0)
    return np.mean(lax.conv_general_dilated(h, ks[1], (2, 2), "SAME") ** 2)


def _halved(x: Any, memory: Any = None) -> Any:
    return lax.while_loop(lambda c: np.max(np.abs(c)) > 0.01, lambda c: c * np.cos(c) / 2, x, memory=memory)


def _chosen(x: Any) -> Any:
    return lax.cond(x[0] > 0, lambda x: np.exp(x) * x + 1.0, lambda x: x * 2.0, x)


def _powers(x: Any) -> Any:
    return lax.fori_loop(0, 6, lambda i, c: np.sin(c) * x, x)


def _attention(x: Any) -> Any:
    return np.sum(tg.nn.softmax(x @ x.T / 20.0) @ x)


def _written(x: Any) -> Any:
    y = np.zeros_like(x)
    y[1:] = np.sin(x[:-1])
    y[0] += 1.0
    return y


def _sum_of(f: Any) -> Any:
    """The gradient of the sum of the squares of what a function makes."""
    return tg.grad(lambda x: np.sum(f(x) ** 2))


PROGRAMS: dict[str, tuple[Any, Any]] = {
    "a convolution": (lambda k: lax.conv_general_dilated(IMAGES, k, (1, 1), "SAME"), KERNELS[0]),
    "the gradient of a convolutional net": (tg.grad(_convolved), KERNELS),
    "a while loop in reverse": (_sum_of(_halved), X),
    "a while loop in reverse with little memory": (_sum_of(lambda x: _halved(x, 7 * X.nbytes)), X),
    "a loop in reverse": (_sum_of(_powers), X),
    "rows that choose": (tg.vmap(_chosen), X),
    "the gradient of rows that choose": (_sum_of(tg.vmap(_chosen)), X),
    "rows that choose what they share": (
        _sum_of(lambda w: tg.vmap(lambda x: lax.cond(x[0] > 0, lambda x: np.tanh(w @ x), lambda x: x, x))(X)), X[:200],
    ),
    "a Fourier transform": (_sum_of(lambda x: np.abs(np.fft.rfft(x))), X),
    "sorted": (_sum_of(lambda x: np.sort(x, axis=1)), X),
    "cholesky": (np.linalg.cholesky, S),
    "the gradient of cholesky": (_sum_of(np.linalg.cholesky), S),
    "the gradient of eigenvalues": (_sum_of(lambda s: np.linalg.eigh(s)[0]), S),
    "the gradient of eigenvectors": (tg.grad(lambda s: np.sum(np.linalg.eigh(s)[1] ** 3)), S),
    "the gradient of singular values": (_sum_of(lambda s: np.linalg.svd(s, compute_uv=False)), S),
    "the gradient of a solution": (_sum_of(lambda s: np.linalg.solve(s, X[:200, :50])), S),
    "scattered": (_sum_of(lambda x: x[np.arange(300) % 70]), X),
    "the gradient of attention": (tg.grad(_attention), X),
    "sums along an axis": (_sum_of(lambda x: np.cumsum(x, 0)), X),
    "written in place": (_written, X),
    "a normal distribution": (_sum_of(lambda x: np.var(x, axis=0) + np.mean(x)), np.tile(X, (4, 3))),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_peak_is_what_is_measured(name: str) -> None:
    f, x = PROGRAMS[name]
    assert 0.9 < tg.debug.cost(f, x).peak / measured(tg.jit(f), x) < 1.1


def _adam(p: Any, state: Any) -> Any:
    update, state = ADAM.update(tg.grad(lambda p: np.mean(np.tanh(X @ p["w"] + p["b"]) ** 2))(p), state, p)
    return tg.optim.apply_updates(p, update), state


ADAM = tg.optim.adam(1e-3)
P = {"w": X[:200].copy(), "b": X[0].copy()}
DONATING: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "a step of Adam": (_adam, (P, ADAM.init(P))),
    "the update of Adam": (lambda g, p, s: ADAM.update(g, s, p), (P, P, ADAM.init(P))),
    "a line": (lambda x, y: (x * 2 + 1, np.sin(y) @ y.T), (X, X)),
    "a place": (lambda x, y: (tnp.at(x)[3].set(1.0), np.linalg.norm(y, axis=1)), (X, X)),
    "a view": (lambda x, y: (x.T + 0, y[::-1]), (X, X)),
    "nothing of that type": (lambda x, y: (np.sum(np.exp(x)), np.cumsum(y, 0)), (X, X)),
}


@pytest.mark.parametrize("name", DONATING)
def test_what_is_written_over_arguments_that_are_given_away_takes_no_memory(name: str) -> None:
    f, args = DONATING[name]

    def own() -> Any:
        return tg.tree.tree_map(lambda x: np.array(x, copy=True), args)

    peaks = []
    for numbers in ((), tuple(range(len(args)))):
        jitted = tg.jit(f, donate_argnums=numbers)
        jitted(*own())
        given = own()
        peaks.append(tg.debug.cost(jitted, *given).peak)
        assert 0.9 < peaks[-1] / measured_once(jitted, *given) < 1.1
    assert peaks[1] <= peaks[0]
    if name in ("the update of Adam", "a line", "a place"):
        assert peaks[1] < peaks[0]


@pytest.mark.parametrize("shares", [(25, 50, 25), (10, 80, 10), (1, 1, 98), (100, 0, 0)])
def test_rows_take_what_they_choose(shares: tuple[int, ...]) -> None:
    def f(x: Any, i: Any) -> Any:
        branches = [lambda x: np.exp(x) * x + 1.0, lambda x: x * 2.0, lambda x: np.cumsum(np.sin(x)) * np.tanh(x)]
        return tg.vmap(lambda x, i: lax.switch(i, branches, x))(x, i)

    x, i = np.tile(X, (1, 2)), np.repeat([0, 1, 2], [3 * n for n in shares])
    for g in (f, tg.grad(lambda x, i: np.sum(f(x, i) ** 2))):
        assert 0.9 < tg.debug.cost(g, x, i).peak / measured(tg.jit(g), x, i) < 1.1
        assert tg.debug.cost(g, x, i).flops == tg.debug.cost(g, x, tg.ShapeDtypeStruct((300,), "int64")).flops


def test_loops_until_a_condition_count_as_often_as_they_go_round_for_arrays() -> None:
    f = lambda x: lax.while_loop(lambda c: c[0] < 8, lambda c: (c[0] + 1, np.tanh(c[1] @ x)), (0, x))[1]
    once = tg.debug.cost(f, tg.ShapeDtypeStruct(W.shape, "float64")).flops
    assert tg.debug.cost(f, W).flops == pytest.approx(8 * once, rel=1e-4)
    assert tg.debug.cost(tg.grad(lambda x: np.sum(f(x))), W).peak > 7 * W.nbytes
