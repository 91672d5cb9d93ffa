"""Keys that are used twice in one Graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import random
from tracegrad.core.errors import KeyReuseWarning

KEY = random.key(3)
noise = tg.jit(lambda key: random.normal(key))
scaled = tg.checkpoint(lambda w, key: w * random.normal(key) * 2.0)


def drawn(key: Any) -> Any:
    return random.normal(key)


def loss(w: Any, key: Any) -> Any:
    return w * w * random.normal(key)


def loop(key: Any) -> Any:
    x = 0.0
    for _ in range(3):
        x = x + random.normal(key)
    return x


def folded(key: Any) -> Any:
    return sum(random.normal(random.fold_in(key, i)) for i in range(3))


def chain(key: Any) -> Any:
    x = 0.0
    for _ in range(3):
        key, mine = random.split(key)
        x = x + random.normal(mine)
    return x


def split_and_used(key: Any) -> Any:
    random.split(key)
    return random.uniform(key)


def indexed(key: Any, i: int) -> Any:
    keys = random.split(key)
    return random.normal(keys[0]) + random.uniform(keys[i])


def draw_and_carry(key: Any, x: Any) -> Any:
    key, mine = random.split(key)
    return (key, x + random.normal(mine)), None


def in_rows(key: Any) -> Any:
    keys = random.split(key, 3)
    return tg.vmap(random.normal)(keys) + tg.vmap(random.uniform)(keys)


def row(x: Any, key: Any) -> Any:
    return x * random.normal(key)


def shared(key: Any) -> Any:
    return tg.vmap(row, in_axes=(0, None))(np.ones(2), key) + random.uniform(key)


def carried(key: Any) -> Any:
    return tg.lax.scan(lambda k, x: (random.split(k)[0], x * random.normal(k)), key, np.ones(3))[1]


def elements_and_rows(key: Any) -> Any:
    keys = random.split(key, 3)
    return tg.lax.scan(lambda c, k: (c + random.normal(k), None), 0.0, keys)[0] + tg.vmap(random.uniform)(keys)


def after_a_loop(key: Any) -> Any:
    last = tg.lax.scan(lambda k, x: (random.split(k)[0], x), key, np.ones(3))[0]
    return random.normal(last) + random.uniform(last)


def one_branch(key: Any) -> Any:
    return tg.lax.cond(np.max(random.key_data(key)) > 9, random.normal, lambda k: 0.0, key)


def overlapping(key: Any, first: Any, second: Any) -> Any:
    keys = random.split(key, 4)
    x = tg.vmap(random.normal)(first(keys)).sum()
    return x + tg.vmap(random.uniform)(second(keys)).sum()


def turned(keys: Any) -> Any:
    return np.swapaxes(keys, 0, 1)


@tg.custom_jvp
def with_jvp(x: Any, key: Any) -> Any:
    return x * random.normal(key)


@with_jvp.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return with_jvp(*primals), tangents[0] * random.normal(primals[1])


@tg.custom_vjp
def with_vjp(x: Any, key: Any) -> Any:
    return x * random.normal(key)


with_vjp.defvjp(lambda x, key: (x * random.normal(key), key), lambda key, ct: (ct * random.normal(key), None))

TWICE: dict[str, Callable[[Any], Any]] = {
    "two samplers": lambda key: random.normal(key) + random.uniform(key),
    "one in a loop": loop,
    "one of the user's functions": lambda key: drawn(key) + drawn(key),
    "after it was split": split_and_used,
    "the same part of a split": lambda key: indexed(key, 0),
    "a jitted function": lambda key: noise(key) + noise(key),
    "a jitted function and a sampler": lambda key: noise(key) + random.normal(key),
    "in the derivative": lambda key: tg.grad(lambda w: w * random.normal(key) * random.uniform(key))(1.0),
    "in a batch": lambda key: tg.vmap(lambda x: x * random.normal(key) + random.uniform(key))(np.ones(2)),
    "the keys of rows": in_rows,
    "within a row": lambda key: tg.vmap(lambda k: random.normal(k) + random.uniform(k))(random.split(key, 3)),
    "a key that rows share": shared,
    "a batch of a jitted function": lambda key: (lambda k: tg.vmap(noise)(k) + tg.vmap(noise)(k))(random.split(key, 3)),
    "a carry that the step splits as well": carried,
    "a carry, and after the loop": lambda key: (
        tg.lax.scan(lambda k, x: (random.split(k)[0], x), key, np.ones(3))[1].sum() + random.normal(key)
    ),
    "the last carry": after_a_loop,
    "elements and rows": elements_and_rows,
    "a branch, and after it": lambda key: one_branch(key) + random.normal(key),
    "branches of two choices": lambda key: one_branch(key) + one_branch(key),
    "within a branch": lambda key: tg.lax.cond(
        random.uniform(random.fold_in(key, 9)) > 0.5, lambda k: random.normal(k) + random.uniform(k), lambda k: 0.0, key
    ),
    "a function with a jvp": lambda key: with_jvp(2.0, key) + random.normal(key),
    "a function with a vjp": lambda key: with_vjp(2.0, key) + with_vjp(3.0, key),
    "all keys and one of them": lambda key: (
        lambda keys: tg.vmap(random.normal)(keys).sum() + random.uniform(keys[0])
    )(random.split(key, 3)),
    "one key and all of them": lambda key: (
        lambda keys: random.uniform(keys[1]) + tg.vmap(random.normal)(keys).sum()
    )(random.split(key, 3)),
    "some of those that are all used": lambda key: (
        lambda keys: tg.lax.map(random.normal, keys).sum() + tg.vmap(random.uniform)(keys[1:]).sum()
    )(random.split(key, 3)),
    "unpacked and indexed": lambda key: (lambda keys: random.normal(keys[0]) + random.uniform(next(iter(keys))))(random.split(key)),
    "counted from both ends": lambda key: (lambda keys: random.normal(keys[-1]) + random.uniform(keys[1]))(random.split(key)),
    "rows of one key": lambda key: tg.vmap(random.normal)(np.stack([key, key])),
    "a row that is used elsewhere": lambda key: (lambda a, b: random.normal(b) + tg.vmap(random.uniform)(np.stack([a, b])))(*random.split(key)),
    "rows of several arrays": lambda key: (
        lambda keys: tg.vmap(random.normal)(keys).sum() + tg.vmap(random.uniform)(np.concatenate([keys[:1], keys])).sum()
    )(random.split(key, 3)[:2]),
    **{f"two parts that overlap, {name}": lambda key, f=f: overlapping(key, *f) for name, f in {
        "slices": (lambda k: k[:3], lambda k: k[2:]),
        "a slice and an element of a reshape": (lambda k: k[1:], lambda k: k.reshape(2, 2, *k.shape[1:])[1]),
        "turned": (lambda k: k[:2], lambda k: turned(k.reshape(2, 2, *k.shape[1:]))[0]),
        "turned twice": (lambda k: k[1:2], lambda k: turned(turned(k.reshape(2, 2, *k.shape[1:])))[0]),
        "steps": (lambda k: k[::2], lambda k: k[::-1][:2]),
        "stacked": (lambda k: np.stack([k[0], k[3]]), lambda k: k[3:]),
        "concatenated": (lambda k: np.concatenate([k[3:], k[:1]]), lambda k: k[:2]),
        "by numbers": (lambda k: k[np.array([0, 3])], lambda k: np.roll(k, 1, axis=0)[:1]),
        "by a mask": (lambda k: k[np.array([True, False, True, False])], lambda k: np.expand_dims(k[2], 0)),
    }.items()},
    "all of them in another shape": lambda key: (
        lambda keys: tg.vmap(random.normal)(keys).sum() + tg.vmap(tg.vmap(random.uniform))(keys.reshape(2, 2, *keys.shape[1:])).sum()
    )(random.split(key, 4)),
    "copies in rows": lambda key: tg.vmap(random.normal)(np.concatenate([key[None], key[None]])),
    "one that is unknown of all": lambda key: (
        lambda keys: tg.vmap(random.normal)(keys).sum() + random.uniform(keys[random.randint(random.fold_in(key, 1), (), 0, 3)])
    )(random.split(key, 3)),
    "all after one that is unknown": lambda key: (
        lambda keys: random.uniform(keys[random.randint(random.fold_in(key, 1), (), 0, 3)]) + tg.vmap(random.normal)(keys).sum()
    )(random.split(key, 3)),
    "one that is unknown, twice": lambda key: (
        lambda keys, i: random.uniform(keys[i]) + random.normal(keys[i])
    )(random.split(key, 3), random.randint(random.fold_in(key, 1), (), 0, 3)),
    "all, one by one, after one that is unknown": lambda key: (
        lambda keys: random.uniform(keys[random.randint(random.fold_in(key, 1), (), 0, 2)])
        + (random.normal(keys[0]) + random.normal(keys[1]))
    )(random.split(key, 2)),
}  # fmt: skip
EACH_STEP: dict[str, Callable[[Any], Any]] = {
    "closed over": lambda key: tg.lax.scan(lambda c, x: (c + random.normal(key), None), 0.0, np.ones(3))[0],
    "a constant": lambda key: tg.lax.scan(lambda c, x: (c + random.normal(KEY), None), 0.0, np.ones(3))[0],
    "carried": lambda key: tg.lax.scan(lambda k, x: (k, x * random.normal(k)), key, np.ones(3))[1],
    "carried among others": lambda key: tg.lax.fori_loop(0, 3, lambda i, c: (c[0], c[1] + random.normal(c[0])), (key, 0.0))[1],
    "changing places": lambda key: tg.lax.scan(
        lambda c, x: ((c[1], c[0]), random.normal(c[0]) + random.normal(c[1])), tuple(random.split(key)), np.ones(3)
    )[1],
    "while": lambda key: tg.lax.while_loop(
        lambda c: c[1] < 3.0, lambda c: (c[0], c[1] + 1.0 + random.uniform(c[0])), (key, 0.0)
    )[1],
    "map": lambda key: tg.lax.map(lambda x: x * random.normal(key), np.ones(3)),
    "a jitted function": lambda key: tg.lax.scan(lambda c, x: (c + noise(key), None), 0.0, np.ones(3))[0],
    "a batch in a step": lambda key: tg.lax.scan(
        lambda c, x: (c + tg.vmap(row, in_axes=(0, None))(np.ones(2), key).sum(), None), 0.0, np.ones(3)
    )[0],
    "a loop in a batch": lambda key: tg.vmap(
        lambda k: tg.lax.scan(lambda c, x: (c + random.normal(k), None), 0.0, np.ones(3))[0]
    )(random.split(key, 2)),
    "differentiated": lambda key: tg.grad(
        lambda w: tg.lax.scan(lambda c, x: (c + w * random.normal(key), None), 0.0, np.ones(3))[0]
    )(1.0),
}  # fmt: skip
ONCE: dict[str, Callable[[Any], Any]] = {
    "one sampler of several parts": lambda key: random.normal(key, (), np.complex128).real,
    "rejection": lambda key: random.gamma(key, 2.0),
    "choice": lambda key: random.choice(key, np.arange(4.0), p=np.full(4, 0.25)),
    "folded": folded,
    "split": chain,
    "other parts of a split": lambda key: indexed(key, 1),
    "a derivative beside the value": lambda key: loss(2.0, key) + tg.grad(loss)(2.0, key),
    "a second derivative": lambda key: tg.hessian(loss)(2.0, key),
    "forward": lambda key: tg.jvp(lambda w: loss(w, key), (1.0,), (1.0,))[1],
    "a checkpoint": lambda key: tg.grad(scaled)(1.0, key),
    "the derivative of a jitted function": lambda key: noise(key) + tg.grad(lambda w: w * noise(key))(1.0),
    "branches": lambda key: tg.lax.cond(
        random.uniform(random.fold_in(key, 1)) > 0.5, lambda: random.normal(key), lambda: random.uniform(key)
    ),
    "steps": lambda key: tg.lax.scan(lambda c, i: (c + random.normal(random.fold_in(key, i)), None), 0.0, np.arange(3))[0],
    "a single step": lambda key: tg.lax.scan(lambda c, x: (c + random.normal(key), None), 0, np.ones(1))[0],
    "a carry that is split": lambda key: tg.lax.scan(lambda c, x: draw_and_carry(*c), (key, 0), np.arange(3))[0][1],
    "while": lambda key: tg.lax.while_loop(lambda c: c[1] < 3.0, lambda c: draw_and_carry(c[0], c[1] + 1.0)[0], (key, 0.0))[1],
    "a carry that takes the step in": lambda key: tg.lax.scan(
        lambda k, i: (random.fold_in(k, i), random.normal(k)), key, np.arange(3)
    )[1],
    "a carry that nobody draws from": lambda key: random.normal(
        tg.lax.scan(lambda c, x: ((c[0], c[1] + x), None), (key, 0.0), np.ones(3))[0][0]
    ),
    "elements": lambda key: tg.lax.scan(lambda c, k: (c + random.normal(k), None), 0.0, random.split(key, 3))[0],
    "rows, each its own": lambda key: tg.vmap(tg.grad(lambda x, k: x * row(x, k)))(np.ones(3), random.split(key, 3)),
    "some rows here, others there": lambda key: (
        lambda keys: tg.vmap(random.normal)(keys[:2]).sum() + random.normal(keys[2])
    )(random.split(key, 3)),
    "branches that are given it": lambda key: tg.lax.switch(
        random.randint(random.fold_in(key, 1), (), 0, 3), [random.normal, random.uniform, random.exponential], key
    ),
    "branches in a branch": lambda key: tg.lax.cond(
        True, lambda k: tg.lax.cond(random.uniform(random.fold_in(k, 1)) > 0.5, random.normal, random.uniform, k), random.uniform, key
    ),
    "the rule of a jvp": lambda key: with_jvp(2.0, key) + tg.grad(with_jvp)(2.0, key),
    "the rules of a vjp": lambda key: with_vjp(2.0, key) + tg.grad(with_vjp)(2.0, key),
    "a derivative of a loop": lambda key: tg.hessian(
        lambda w: tg.lax.scan(lambda c, x: draw_and_carry(c[0], c[1] * w), (key, w), np.ones(3))[0][1]
    )(1.0),
    "in each step on purpose": lambda key: tg.lax.scan(
        lambda c, x: (c + random.normal(random.clone(key)) + random.normal(random.clone(KEY)), None), 0.0, np.ones(3)
    )[0],
    "a part, and the rest": lambda key: (
        lambda keys: tg.vmap(random.normal)(keys[1:]).sum() + random.normal(keys[0])
    )(random.split(key, 3)),
    "none of those that are all used": lambda key: (
        lambda keys: tg.vmap(random.normal)(keys).sum() + tg.vmap(random.uniform)(keys[:0]).sum()
    )(random.split(key, 3)),
    "rows that are put together": lambda key: (lambda a, b: tg.vmap(random.normal)(np.stack([b, a])))(*random.split(key)),
    "rows of clones": lambda key: tg.vmap(random.normal)(np.stack([key, random.clone(key)])),
    "keys folded in rows": lambda key: (
        lambda keys: tg.vmap(lambda k: random.normal(random.fold_in(k, 1)))(keys).sum() + random.normal(keys[0])
    )(random.split(key, 3)),
    "on purpose": lambda key: random.normal(key) + random.uniform(random.clone(key)),
    **{f"two parts apart, {name}": lambda key, f=f: overlapping(key, *f) for name, f in {
        "slices": (lambda k: k[:2], lambda k: k[2:]),
        "rows of a reshape": (lambda k: k.reshape(2, 2, *k.shape[1:])[0], lambda k: k.reshape(2, 2, *k.shape[1:])[1]),
        "turned": (lambda k: turned(k.reshape(2, 2, *k.shape[1:]))[0], lambda k: np.stack([k[1], k[3]])),
        "steps": (lambda k: k[::2], lambda k: k[::-1][::2]),
        "by numbers": (lambda k: k[np.array([0, 3])], lambda k: k[np.array([2, 1])]),
        "concatenated": (lambda k: np.concatenate([k[3:], k[:1]]), lambda k: k[1:3]),
    }.items()},
    "some that are unknown, and others": lambda key: (
        lambda keys: random.uniform(keys[random.randint(random.fold_in(key, 1), (), 0, 3)]) + random.normal(keys[0])
    )(random.split(key, 3)),
}  # fmt: skip


@pytest.mark.parametrize("make", [random.key, random.PRNGKey])
@pytest.mark.parametrize("name", TWICE)
def test_a_key_that_is_used_twice(name: str, make: Any) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tg.jit(TWICE[name])(make(0))
    assert [w.category for w in told] == [KeyReuseWarning]
    said = str(told[0].message)
    assert " is used a second time at " in said
    assert said.count(__file__) == (1 if "on the same line" in said else 2)
    assert "tg.random.split(key)" in said
    assert told[0].filename == __file__


@pytest.mark.parametrize("make", [random.key, random.PRNGKey])
@pytest.mark.parametrize("name", EACH_STEP)
def test_a_key_that_each_step_draws_from(name: str, make: Any) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tg.jit(EACH_STEP[name])(make(0))
    assert [w.category for w in told] == [KeyReuseWarning]
    said = str(told[0].message)
    assert f" is used again in each step of a loop at {__file__}:" in said
    assert "`key, mine = tg.random.split(key)`; or draw from `tg.random.fold_in(key, i)` in step i" in said
    assert told[0].filename == __file__


def test_how_the_key_of_a_loop_is_named() -> None:
    with pytest.warns(
        KeyReuseWarning, match=r"the carry\['key'\] is used again in each step of a loop at .*, by random\.normal, and"
    ):
        tg.lax.scan(lambda c, x: (c, x * random.normal(c["key"])), {"key": KEY}, np.ones(3))
    with pytest.warns(KeyReuseWarning, match="the key noise_key is used again in each step"):
        tg.jit(lambda noise_key: tg.lax.map(lambda x: x * random.normal(noise_key), np.ones(2)))(KEY)


@pytest.mark.parametrize("make", [random.key, random.PRNGKey])
@pytest.mark.parametrize("name", ONCE)
def test_what_is_no_second_use(name: str, make: Any) -> None:
    tg.jit(ONCE[name])(make(0))  # warnings are errors here


def test_both_lines_are_named() -> None:
    def function(x: Any, key: Any) -> Any:
        x = x + random.normal(key)
        return x * random.uniform(key)

    line = function.__code__.co_firstlineno
    with pytest.warns(
        KeyReuseWarning,
        match=rf"the key key is used a second time at .*:{line + 2} \(in function\), by random\.uniform: random\.normal drew from it "
        rf"at .*:{line + 1} \(in function\)",
    ):
        tg.jit(function)(1.0, random.key(0))


def test_a_key_that_is_closed_over() -> None:
    key = random.key(0)
    with pytest.warns(KeyReuseWarning, match="a key is used a second time"):
        tg.jit(lambda x: x * random.normal(key) + random.uniform(key))(1.0)
    # Where there is no Graph nobody looks.
    assert tg.grad(lambda x: x * random.normal(key) + random.uniform(key))(1.0) == random.normal(key)


def drawing(draw: Any, depth: int, twice: list[bool]) -> Callable[[Any], Any]:
    """A drawn function that draws from a key, and from each of those that it makes once; but from one of them twice where `twice` says
    so (and then no more)."""
    if twice[0] and (depth == 0 or draw.random() < 0.3):
        twice[0] = False
        first, second = drawing(draw, depth - 1, twice), drawing(draw, depth - 1, twice)
        return lambda key: first(key) + second(key)
    if depth <= 0:
        sampler = [random.normal, random.uniform, random.exponential][draw.integers(3)]
        return lambda key: sampler(key)
    inner = drawing(draw, depth - 1, twice)
    match draw.integers(9):
        case 0:
            other = drawing(draw, depth - 1, [False])
            return lambda key: (lambda keys: inner(keys[0]) + other(keys[1]))(random.split(key))
        case 1:
            return lambda key: tg.vmap(inner)(random.split(key, 2)).sum()
        case 2:
            return lambda key: tg.lax.scan(lambda c, k: (c + inner(k), None), 0.0, random.split(key, 3))[0]
        case 3:
            return lambda key: tg.lax.scan(
                lambda c, i: (c + inner(random.fold_in(key, i)), None), random.normal(key), np.arange(2)
            )[0]
        case 4:

            def step(c: Any, _: Any) -> Any:
                key, mine = random.split(c[0])
                return (key, c[1] + inner(mine)), None

            return lambda key: tg.lax.scan(step, (key, 0.0), None, 2)[0][1]
        case 5:
            other = drawing(draw, depth - 1, [False])
            return lambda key: tg.lax.cond(np.max(random.key_data(key)) > 9, inner, other, key)
        case 6:
            return tg.jit(inner)
        case 7:
            rule = tg.custom_jvp(lambda x, key: x * inner(key))
            rule.defjvp(lambda primals, tangents: (rule(*primals), tangents[0] * inner(primals[1])))
            return lambda key: rule(2.0, key) + tg.grad(rule)(2.0, key)
        case _:
            return lambda key: tg.grad(lambda w: w * inner(key))(1.0) + inner(key)


@pytest.mark.parametrize("seed", range(40))
def test_drawn_programs(seed: int) -> None:
    """Programs that use each key once are told nothing, and those that use one twice are."""
    tg.eval_shape(drawing(np.random.default_rng(seed), 3, [False]), random.key(0))
    with pytest.warns(KeyReuseWarning):
        tg.eval_shape(drawing(np.random.default_rng(seed), 3, [True]), random.key(0))
