"""Structural zeros: what was not taken adds nothing, whatever it is multiplied by, in both modes and to second order; a
true 0 * inf is NaN; and no rule looks at the numbers in a derivative."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.op import OPS, Op
from tracegrad.core.trace import bind
from tracegrad.ops.masks import Mask, Masked, parted
from tracegrad.scipy import special

X = np.array([0.0, 4.0, -1.0])


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


# ---------------------------------------------------------------------------------------------------------------------
# Rules that looked at numbers.


def test_the_hessian_of_a_residual_that_is_zero() -> None:
    assert tg.hessian(lambda x: 0.5 * (x**1.5 - 8) ** 2)(4.0) == 9.0
    t = np.array([1.0, 2.0, 3.0])
    fit = lambda p: 0.5 * np.sum((p[0] * t ** p[1] - 2 * t**1.5) ** 2)
    a, b = t**1.5, 2 * t**1.5 * np.log(t)  # the residuals' derivatives, where these are zero
    expected = [[a @ a, a @ b], [a @ b, b @ b]]
    for hessian in (tg.hessian(fit), tg.jacfwd(tg.jacfwd(fit)), tg.jacrev(tg.jacrev(fit)), tg.jit(tg.hessian(fit))):
        np.testing.assert_allclose(hessian(np.array([2.0, 1.5])), expected, rtol=1e-12)


def test_mixed_derivatives_where_a_cotangent_is_zero() -> None:
    np.testing.assert_allclose(tg.grad(tg.grad(np.power, 0), 1)(23.0, 0.0), 1 / 23)
    np.testing.assert_allclose(tg.grad(tg.grad(np.power, 0), 1)(23.0, np.zeros(())), 1 / 23)
    assert tg.grad(lambda g: tg.grad(lambda x: g * np.remainder(7.5, x))(2.0))(0.0) == -3.0
    assert tg.grad(lambda g: tg.grad(lambda x: g * np.fmod(7.5, x))(2.0))(0.0) == -3.0
    assert tg.grad(lambda g: tg.grad(lambda x: g / x)(2.0))(0.0) == -0.25


@pytest.mark.parametrize(
    "f", [lambda x: np.sqrt(x) ** 2, lambda x: np.exp(np.log(x)), lambda x: (x**0.5) ** 2, lambda x: 1 / (1 / x)]
)
def test_a_true_product_of_zero_and_infinity_is_nan(f: Callable[[Any], Any]) -> None:
    for g in (tg.grad(f), tg.jit(tg.grad(f)), lambda x: tg.jvp(f, (x,), (1.0,))[1], tg.jit(tg.grad(f), backend="xla")):
        assert np.isnan(g(0.0))


def test_zero_times_a_root_stays_nan() -> None:
    assert np.isnan(tg.grad(lambda x: 0.0 * np.sqrt(x))(0.0))
    assert np.isnan(tg.jvp(lambda x: 0.0 * np.sqrt(x), (0.0,), (1.0,))[1])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.linalg.norm(x) ** 2,
        lambda x: np.std(x) ** 2,
        lambda x: np.hypot(x[0], x[1]) ** 2,
        lambda x: np.abs(x[0] + 1j * x[1]) ** 2,
        lambda x: np.linalg.norm(x, 3) ** 2,
    ],
    ids=["norm", "std", "hypot", "abs", "norm 3"],
)
def test_a_zero_by_convention_has_no_derivative(f: Callable[[Any], Any]) -> None:
    """The gradient of a length at zero is said to be zero, which is not constant around that."""
    x = np.zeros(2)
    assert np.all(tg.grad(f)(x) == 0)
    for hessian in (
        tg.hessian(f),
        tg.jacrev(tg.jacrev(f)),
        tg.jit(tg.hessian(f)),
        tg.jit(tg.hessian(f), backend="xla"),
    ):
        found = np.asarray(hessian(x))
        assert np.all(np.isnan(np.diag(found)))


def test_powers_at_zero() -> None:
    t = np.array([0.0, 1.0, 2.0])
    second = tg.grad(tg.grad(lambda p: np.sum(t**p)))(2.5)
    np.testing.assert_allclose(second, 2**2.5 * np.log(2) ** 2)  # a base of zero has no part in it
    mixed = tg.grad(tg.grad(np.power, 1), 0)
    assert mixed(0.0, 3.0) == 0.0
    for p in (1.0, 0.5):
        assert not np.isfinite(mixed(0.0, p))
    assert np.isnan(tg.grad(tg.grad(np.power, 0), 1)(0.0, np.zeros(())))


# ---------------------------------------------------------------------------------------------------------------------
# What was not taken.


def rows(x: Any) -> Any:
    r = np.sum(x**2, axis=1)
    return np.where(r > 0.25, np.sqrt(r), 1.0)


PROGRAMS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "where": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), X),
    "where, other branch": (lambda x: np.where(x < 1, x, np.sqrt(x)), X),
    "where, infinite factor": (lambda x: np.where(x > 0, 0.0, x * np.inf), np.array([1.0])),
    "where of rows": (rows, np.array([[1.0, 2.0], [0.0, 0.0], [0.1, 0.1]])),
    "where, broadcast": (lambda x: np.where(x > 0, x / np.sqrt(x[0]), 0.0), np.array([0.0, 0.0])),
    "where in where": (lambda x: np.where(x > 0, np.where(x < 3, np.log(x), np.sqrt(x)), -x), X),
    "both branches": (lambda x: np.where(x > 0, np.sqrt(x), np.sqrt(1 - x) * 0), X),
    "a root of what where chose": (lambda x: np.sqrt(np.where(x > 0, x, 0.0)), X),
    "maximum": (lambda x: np.sqrt(np.maximum(x, 0.0)), np.array([-1.0, 4.0])),
    "minimum of roots": (lambda x: np.minimum(np.sqrt(x), np.sqrt(x + 5) - 3), np.array([0.0, 1.0])),
    "clip": (lambda x: np.clip(np.log(x), -1.0, 1.0), np.array([0.0, 1.5, 1e9])),
    "clamp": (lambda x: tg.lax.clamp(-1.0, np.log(x), 1.0), np.array([0.0, 1.5, 1e9])),
    "relu": (lambda x: tg.nn.relu(np.sqrt(x) - 1), np.array([0.0, 4.0])),
    "select": (lambda x: np.select([x > 0, x < -0.5], [np.sqrt(x), x], 0.0), X),
    "cond under vmap": (
        lambda x: tg.vmap(lambda x: tg.lax.cond(x > 0, np.sqrt, lambda x: 0.0 * x, x))(x),
        X,
    ),
    "slice": (lambda x: np.sqrt(x)[1:2], X),
    "gather": (lambda x: np.sqrt(x)[np.array([1, 1])], X),
    "take_along_axis": (lambda x: np.take_along_axis(np.sqrt(x), np.array([1]), 0), X),
    "dynamic slice": (lambda x: tg.lax.dynamic_slice(np.sqrt(x), (np.sum(x > 0),), (1,)), X),
    "concatenate": (lambda x: np.sqrt(np.concatenate([np.zeros(2), x])), np.array([4.0, 1.0])),
    "stack": (lambda x: np.sqrt(np.stack([np.zeros(2), x])), np.array([4.0, 1.0])),
    "at": (lambda x: np.sqrt(tnp.at(np.zeros(3))[1].set(x[1])), X),
    "overwritten": (lambda x: tnp.at(np.sqrt(x))[np.array([0, 2])].set(1.0), X),
    "split": (lambda x: np.split(np.sqrt(x), 3)[1], X),
    "pad": (lambda x: np.sqrt(np.pad(x, 1)), np.array([4.0, 1.0])),
    "diag": (lambda x: np.sqrt(np.diag(x)), np.array([4.0, 1.0])),
    "reshape and transpose": (lambda x: np.sqrt(x).reshape(2, 2).T[1:, 1:], np.array([0.0, 0.0, 0.0, 4.0])),
    "roll": (lambda x: np.roll(np.sqrt(x), 1)[2:], X),
    "sort": (lambda x: np.sort(np.sqrt(x))[1:], np.array([0.0, 4.0, 1.0])),
    "largest": (lambda x: np.max(np.sqrt(x)), np.array([0.0, 4.0])),
    "median": (lambda x: np.median(np.sqrt(x)), np.array([0.0, 4.0, 5.0])),
    "windows": (
        lambda x: tg.lax.reduce_window(np.sqrt(x), -np.inf, np.maximum, (2,), (2,), "VALID"),
        np.array([0.0, 4.0]),
    ),
    "jit inside": (lambda x: np.where(x > 0, tg.jit(np.sqrt)(x), 0.0), X),
    "checkpoint inside": (lambda x: np.where(x > 0, tg.checkpoint(np.sqrt)(x), 0.0), X),
    "cumsum of roots": (
        lambda x: np.where(x > 0, np.cumsum(np.sqrt(x)[::-1])[::-1], 0.0),
        np.array([-1.0, 0.0, 4.0, 1.0]),
    ),
    "the unit vector": (lambda x: np.where(np.sum(x**2) > 0, x / np.sqrt(np.sum(x**2)), 0.0), np.zeros(2)),
}


def derivatives(f: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    total = lambda x: np.sum(f(x))
    second = lambda one, two: lambda x: one(lambda x: np.sum(two(total)(x)))(x)
    return {
        "grad": tg.grad(total),
        "jit": tg.jit(tg.grad(total)),
        "grad of jit": tg.grad(tg.jit(total)),
        "vmap": lambda x: tg.vmap(tg.grad(total))(x[None])[0],
        "forward": tg.jacfwd(total),
        "XLA": tg.jit(tg.grad(total), backend="xla"),
        "twice, reverse over reverse": second(tg.grad, tg.grad),
        "twice, forward over reverse": second(tg.jacfwd, tg.grad),
        "twice, forward over forward": second(tg.jacfwd, tg.jacfwd),
        "twice, jit": tg.jit(second(tg.grad, tg.grad)),
    }


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_not_taken_adds_nothing(name: str) -> None:
    f, x = PROGRAMS[name]
    found = {how: np.asarray(derivative(x)) for how, derivative in derivatives(f).items()}
    is_true_nan = name in ("where, other branch", "cumsum of roots")  # the root of a negative number is NaN
    for how, got in found.items():
        assert is_true_nan or np.all(np.isfinite(got)), (how, got)
        base = found["twice, forward over forward" if how.startswith("twice") else "forward"]
        np.testing.assert_allclose(got, base, rtol=1e-12, atol=1e-12, err_msg=how)


def test_their_values() -> None:
    assert tg.grad(lambda x: np.where(x < 1, x, np.sqrt(x)))(0.0) == 1.0
    assert tg.grad(lambda x: np.where(x > 0, 0.0, x * np.inf))(1.0) == 0.0
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(rows(x)))(x), [[0.6, 0.8], [0.0, 0.0]])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.sqrt(x)[1:2]))(X), [0.0, 0.25, 0.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.max(np.sqrt(x)))(np.array([0.0, 4.0])), [0.0, 0.25])


def test_no_warning_comes_from_what_was_not_taken() -> None:
    x = np.array([0.0, 4.0])
    with np.errstate(all="warn"):  # which pytest makes errors
        for f in (
            lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)),
            lambda x: np.sum(np.where(x > 0, x**0.5, 0.0)),
            lambda x: np.sum(np.sqrt(x)[1:]),
            lambda x: np.max(np.sqrt(x)),
            lambda x: np.sum(np.where(x > 0, x / np.where(x > 0, x, 1.0), 0.0)),
        ):
            assert np.all(np.isfinite(tg.grad(f)(x)))
            assert np.all(np.isfinite(tg.jit(tg.grad(f))(x)))


def test_masks_do_not_recurse() -> None:
    def f(x: Any) -> Any:
        y = np.sqrt(x)
        for i in range(3000):
            y = tnp.at(y)[0].set(0.0) if i % 2 else y[::-1]
        return np.sum(np.where(x > 0, y, 0.0))

    assert np.all(np.isfinite(tg.grad(f)(np.array([4.0, 1.0]))))


def test_a_program_without_choices_has_no_masks() -> None:
    graph = tg.make_graph(tg.grad(lambda x, y: np.sum(np.sqrt(x) / y + x**y)))(np.ones(3), np.ones(3))
    assert "where" not in {e.op.name for e in graph.eqns} or all(
        e.op.name != "where" or "power" in {g.op.name for g in graph.eqns} for e in graph.eqns
    )
    graph = tg.make_graph(tg.grad(lambda x, y: np.sum(np.sqrt(x) / y)))(np.ones(3), np.ones(3))
    assert {e.op.name for e in graph.eqns} == {"sqrt", "divide", "multiply"}


def test_branches_that_meet_are_chosen_from_once() -> None:
    graph = tg.make_graph(tg.grad(lambda x: np.sum(np.where(x > 0, np.sin(x), np.cos(x)))))(X)
    assert [e.op.name for e in graph.eqns].count("where") == 1


# ---------------------------------------------------------------------------------------------------------------------
# Masks themselves.


def test_sums_of_masked() -> None:
    made = []
    holds, fails = parted(lambda: made.append(1) or np.array([True, False, True]))
    x, y = np.array([1.0, np.nan, 2.0]), np.array([np.nan, 5.0, np.inf])
    assert not made
    np.testing.assert_array_equal(Masked(x, holds, False) + Masked(y, fails, False), [1.0, 5.0, 2.0])
    assert made == [1]
    same = Masked(x, holds, False) + Masked(x, holds, False)
    assert same.mask is holds
    np.testing.assert_array_equal(same.filled(), [2.0, 0.0, 4.0])
    other = Masked(x, Mask(lambda: np.array([True, False, False])), False) + Masked(y, fails, False)
    np.testing.assert_array_equal(other.mask.array, [True, True, False])
    np.testing.assert_array_equal(other.filled(), [1.0, 5.0, 0.0])
    np.testing.assert_array_equal(Masked(x, holds, False) + np.ones(3), [2.0, 1.0, 3.0])


def test_windows_of_nothing_take_nothing() -> None:
    largest = lambda x: tg.lax.reduce_window(np.sqrt(x), -np.inf, np.maximum, (1,), (1,), "VALID")
    for transformed in (tg.grad, lambda f: tg.jit(tg.grad(f))):
        assert transformed(lambda x: np.sum(largest(x)))(np.zeros(0)).shape == (0,)


def test_a_python_number_outside_of_a_function_s_domain_may_be_left_out() -> None:
    """What a mask left out of a logarithm of a negative number is zero in both modes."""
    for value in (-0.25, np.float64(-0.25), np.array([-0.25])):
        for function in (np.log, special.entr, special.logit):
            picked = lambda x, f=function: np.sum((y := f(x))[y > 0])
            with np.errstate(all="ignore"):
                assert tg.grad(picked)(value) == 0.0 == tg.jvp(picked, (value,), (np.ones_like(value),))[1]


# ---------------------------------------------------------------------------------------------------------------------
# Python's numbers beside an array: they are as they are where a mask leaves elements out, and the partial may be infinite by them alone.

NUMBERS = (-2.0, -0.25, 0.0, 0.25, 1.0, 2.0, np.inf)
POINTS = np.array([-2.0, -0.5, 0.0, 0.3, 1.0, 2.5, np.inf, np.nan])


def test_the_logarithm_of_a_negative_base() -> None:
    picked = lambda t: np.sum((c := np.power(-0.25, t))[c > 0])
    for gradient in (tg.grad(picked), tg.jit(tg.grad(picked)), tg.jit(tg.grad(picked), backend="xla")):
        np.testing.assert_array_equal(gradient(np.array([0.5, 2.0])), [0.0, np.nan])


def test_infinite_exponents() -> None:
    for power in (np.power, np.float_power):
        assert tg.grad(lambda x, power=power: power(x, np.inf))(2.0) == np.inf


def test_a_number_that_its_dtype_cannot_hold() -> None:
    taken = np.array([True, False])
    gradient = tg.grad(lambda x: np.sum((x * 1e300)[taken]))(np.ones(2, np.float32))
    np.testing.assert_array_equal(gradient, [np.inf, 0])


def several_inputs() -> list[Op]:
    """Elementwise ops of two real inputs that may leave a zero as it is; others apply the mask to whatever they make."""
    ops = [op for op in OPS.values() if op.elementwise and "f" in op.kinds and op.name != "complex"]
    ops = [op for op in ops if op.masked is not None and (op.masked.singular or op.linear)]
    return [op for op in ops if len(next(iter(op.samples())).inputs) == 2]


def beside_numbers(op: Op) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """The op as a function of each of its inputs, with each of the numbers in the place of each of the others."""
    inputs, params = next(iter(op.samples()))
    given = [np.ravel(x)[0].item() for x in inputs]
    for i, j in itertools.permutations(range(len(given)), 2):
        for number in NUMBERS:
            whole = type(given[j]) is not float
            if type(given[i]) is float and not (whole and number not in (-2, 0, 1, 2)):
                args = [*given]
                args[j] = type(given[j])(number) if whole else number
                yield f"{args}, {i}", lambda x, i=i, args=args: bind(op, (*args[:i], x, *args[i + 1 :]), params)


@pytest.mark.parametrize("op", several_inputs(), ids=lambda op: op.name)
def test_what_is_left_out_beside_a_number_has_no_derivative(op: Op) -> None:
    for what, f in beside_numbers(op):
        whole = tg.grad(lambda x, f=f: np.sum(f(x)))(POINTS)
        finite = np.isfinite(whole)
        masks = np.stack([finite, ~finite, POINTS > 0])
        found = tg.grad(lambda x, f=f, masks=masks: np.sum(f(x)[masks]))(np.tile(POINTS, (3, 1)))
        np.testing.assert_array_equal(found, np.where(masks, whole, 0), what)
