"""Generators of NumPy's and Python's that a traced function draws from."""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from random import gauss
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.random import standard_normal

import tracegrad as tg
from tracegrad.core.chance import _reached
from tracegrad.core.errors import FrozenRandomError

rng = np.random.default_rng(0)
legacy = np.random.RandomState(0)
pythons = random.Random(0)
tools = ModuleType("tools")
tools.__file__ = __file__
vars(tools)["rng"] = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _states_kept() -> Iterator[None]:
    numpys, python = np.random.get_state(), random.getstate()
    yield
    np.random.set_state(numpys)
    random.setstate(python)


class Noisy:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def noise(self) -> Any:
        return self.rng.normal()

    def __call__(self, x: Any) -> Any:
        return x + self.noise()


def helper(x: Any) -> Any:
    return x * np.random.rand()


def made_here(x: Any) -> Any:
    own = np.random.default_rng()
    return x * own.normal()


def by_default(x: Any, generator: Any = rng) -> Any:
    return x + generator.normal()


def imported_here(x: Any) -> Any:
    import random as chance

    return x * chance.random()


# What draws, what its error calls the generator, and the line.
FROZEN: dict[str, tuple[Callable[..., Any], str, str]] = {
    "np.random": (lambda x: x + np.random.normal(), "np.random", "np.random.normal()"),
    "np.random, every other number of which is kept": (
        lambda x: x + np.random.randn(1), "np.random", "np.random.randn(1)"
    ),
    "random": (lambda x: x + random.random(), "random", "random.random()"),
    "imported in the function": (imported_here, "random", "x * chance.random()"),
    "a method of the global generator": (
        lambda x: x * standard_normal(), "the generator of standard_normal()", "standard_normal()"
    ),
    "a method of Python's": (lambda x: x * gauss(0.0, 1.0), "the generator of gauss()", "gauss(0.0, 1.0)"),
    "a global name": (lambda x: x + rng.normal(), "the generator rng", "rng.normal()"),
    "a RandomState": (lambda x: x + legacy.normal(), "the generator legacy", "legacy.normal()"),
    "a Random": (lambda x: x + pythons.random(), "the generator pythons", "pythons.random()"),
    "a name of a module": (lambda x: x + tools.rng.normal(), "the generator tools.rng", "tools.rng.normal()"),
    "a default": (by_default, "the generator generator", "generator.normal()"),
    "a closure": ((lambda own: lambda x: x + own.normal())(np.random.default_rng(5)), "the generator own", "own.normal()"),
    "an object": (Noisy(), "the generator self.rng", "self.rng.normal()"),
    "a method": (Noisy().__call__, "the generator self.rng", "self.rng.normal()"),
    "a partial": (functools.partial(lambda own, x: x + own.normal(), rng), "a generator", "own.normal()"),
    "another function": (lambda x: helper(x) + 1.0, "np.random", "np.random.rand()"),
    "a derivative": (tg.grad(helper), "np.random", "np.random.rand()"),
    "a jitted one": (tg.jit(helper), "np.random", "np.random.rand()"),
    "one without a seed": (made_here, "a generator that nobody has seeded", "np.random.default_rng()"),
    "one without a seed or a name": (
        lambda x: x * np.random.default_rng().normal(), "a generator that nobody has seeded", "default_rng().normal()"
    ),
    "a batch": (lambda x: tg.vmap(helper)(np.ones(2) * x), "np.random", "np.random.rand()"),
}  # fmt: skip


@pytest.mark.parametrize("name", FROZEN)
def test_what_would_be_frozen(name: str) -> None:
    function, generator, text = FROZEN[name]
    with pytest.raises(FrozenRandomError) as info:
        tg.jit(function)(1.0)
    said = str(info.value)
    assert said.startswith(f"{generator} drew random numbers at {__file__}:")
    assert text in said.splitlines()[1]
    assert "`tg.random.normal(key, shape)`" in said
    assert "pass the numbers in as an argument" in said


def test_the_same_on_xla_and_in_loops() -> None:
    pytest.importorskip("jax")
    with pytest.raises(FrozenRandomError, match=r"np\.random drew random numbers at .* while jit traced 'helper'"):
        tg.jit(helper, backend="xla")(np.float32(1.0))
    with pytest.raises(FrozenRandomError, match=r"the generator rng drew .* while lax\.scan traced"):
        tg.lax.scan(lambda c, _: (c + rng.normal(), None), 0.0, np.arange(3))


def test_a_graph_of_numbers() -> None:
    with pytest.raises(
        FrozenRandomError, match=r"np\.random drew random numbers at .* while make_graph traced 'helper'"
    ):
        tg.make_graph(helper)(1.0)
    assert tg.eval_shape(helper, 1.0).shape == ()  # the shape is the same whatever is drawn


def test_rows_that_would_have_the_same_numbers() -> None:
    for function, generator in ((helper, r"np\.random"), (lambda x: x + rng.normal(), "the generator rng")):
        with pytest.raises(
            FrozenRandomError, match=f"{generator} drew .* while vmap traced .*: all rows would have the same"
        ) as info:
            tg.vmap(function)(np.ones(2))
        assert "`tg.vmap(f)(x, tg.random.split(key, len(x)))`" in str(info.value)
        with pytest.raises(FrozenRandomError, match="while vmap traced"):
            tg.vmap(tg.grad(function))(np.ones(2))
    made = np.random.default_rng(0).normal()
    found = tg.vmap(lambda x: x + np.random.default_rng(0).normal())(
        np.ones(2)
    )  # what a loop over the rows has as well
    assert found.tolist() == [1.0 + made] * 2


def test_a_static_generator() -> None:
    with pytest.raises(FrozenRandomError, match="a generator drew"):
        tg.jit(lambda x, g: x + g.normal(), static_argnums=1)(1.0, rng)


def seeded(x: Any) -> Any:
    np.random.seed(3)
    random.seed(3)
    return x + np.random.normal() + random.random() + np.random.default_rng(0).normal()


def restored(x: Any) -> Any:
    state = np.random.get_state()
    drawn = np.random.RandomState(1).normal() + np.random.normal()
    np.random.set_state(state)
    return x + drawn * 0.0


def not_drawn(x: Any, generator: Any = None) -> Any:
    generator = rng if generator is None else np.random.default_rng()
    return x


@pytest.mark.parametrize("function", [seeded, restored, not_drawn, lambda x: tg.random.normal(tg.random.key(0)) + x])
def test_what_is_the_same_at_every_call_is_right(function: Callable[[Any], Any]) -> None:
    assert tg.jit(function)(1.0) == function(1.0)


def test_outside_of_programs_numbers_are_drawn_anew() -> None:
    assert tg.grad(lambda x: x * rng.normal())(1.0) != tg.grad(lambda x: x * rng.normal())(1.0)


def test_a_function_that_draws_once_for_good() -> None:
    """Parameters that are made at the first call: the second time nothing is drawn."""
    made: list[float] = []

    def lazy(x: Any) -> Any:
        if not made:
            made.append(np.random.normal())
        return x * made[0]

    assert tg.jit(lazy)(2.0) == lazy(2.0)


def test_what_another_thread_draws_is_its_own() -> None:
    """It draws while another line is run each time that the function is traced, as threads do that nobody waits for."""
    asked, drawn, is_over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        while asked.wait() and not is_over.is_set():
            asked.clear()
            np.random.normal()
            drawn.set()

    traces = itertools.count()

    def function(x: Any) -> Any:
        if x.shape == (0,):
            return np.random.normal()
        at_first = next(traces) % 2 == 0
        y = (drawn.clear(), asked.set(), drawn.wait(), np.sin(x))[-1] if at_first else np.sin(x)
        return np.cos(y) if at_first else (drawn.clear(), asked.set(), drawn.wait(), np.cos(y))[-1]

    thread = threading.Thread(target=work)
    thread.start()
    try:
        x = np.array([0.5, 2.0])
        np.testing.assert_array_equal(tg.jit(function)(x), np.cos(np.sin(x)))
    finally:
        is_over.set()
        asked.set()
        thread.join()
    assert next(traces) == 3  # by lines it was traced twice, and drawn from at two places


def test_where_nobody_has_a_generator_nothing_is_compared() -> None:
    assert _reached(lambda x: np.sin(x).sum()) == ([], set())
