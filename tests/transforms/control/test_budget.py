"""Checkpoints by a budget of memory."""

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
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.transforms.control.test_checkpoint import loss
from tracegrad.core.check import check
from tracegrad.core.graph import Graph, closed
from tracegrad.testing import strategies
from tracegrad.transforms.control.checkpoint import parts_of

jax.config.update("jax_enable_x64", True)

P = tg.checkpoint_policies
X = np.array([0.3, -1.2, 2.0])
W = np.random.default_rng(0).normal(size=(3, 3))
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
    file, line = loss.__code__.co_filename, loss.__code__.co_firstlineno + 1
    found = re.search(r"needs at least (\d+) bytes", str(error.value))
    assert found is not None
    least = int(found[1])
    assert str(error.value) == (
        f"checkpoint at {file}:{line} (in <lambda>): 786432 bytes are too few for the derivative of 'chain', which needs "
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
    assert peak(tg.grad(loss(np, f), (0, 1)), START, w) > 96


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
