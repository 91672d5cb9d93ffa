"""Sums of rows in rounds have the bits of np.add.at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import same_bits
from tracegrad.ops.index import gathers
from tracegrad.ops.index import rounds as in_rounds
from tracegrad.ops.index.rounds import rounds

RNG = np.random.default_rng(0)
PLACES = RNG.integers(-40, 40, 600)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_rounds, "_kept", ())


def added(x: Any, places: Any, total: int) -> Any:
    out = np.zeros((total, *x.shape[1:]), x.dtype)
    np.add.at(out, places, x)
    return out


def scatter_add(x: Any, places: Any, total: int) -> Any:
    return gathers._scatter_add(x, places, index=("array",), shape=(total, *x.shape[1:]))


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int32"])
@pytest.mark.parametrize("shape", [(), (16,), (2, 3, 1)])
def test_sums_have_the_bits_of_one_addition_after_the_other(shape: Any, dtype: str) -> None:
    x = (RNG.normal(size=(600, *shape)) * 10.0 ** RNG.integers(0, 9, (600, *shape))).astype(dtype)
    x[::7] *= -0
    for places in (PLACES % 40, np.zeros(600, int), RNG.permutation(600), np.repeat([3, 1], 300)):
        same_bits(rounds(places, 601).sums(x), added(x, places, 601))
    nothing = rounds(np.zeros(0, int), 3)
    same_bits(nothing.sums(x[:0]), np.zeros((3, *shape), dtype))


def test_what_is_not_finite_is_where_it_belongs() -> None:
    x = RNG.choice([np.inf, -np.inf, np.nan, 1.0, -0.0], (600, 4))
    with np.errstate(invalid="ignore"):
        same_bits(rounds(PLACES % 40, 50).sums(x), added(x, PLACES % 40, 50))


def test_places_that_come_again_are_summed_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_rounds, "EACH", 64)
    asked = []
    monkeypatch.setattr(gathers, "rounds", lambda *args: (asked.append(args), rounds(*args))[1])
    x = RNG.normal(size=(600, 16))
    for time in range(4):
        same_bits(scatter_add(x[::-1], PLACES.copy(), 40), added(x[::-1], PLACES, 40))
        assert len(asked) == (time > 0)
    same_bits(scatter_add(x, PLACES, 50), added(x, PLACES, 50))  # of another number of places, or other places
    others = [RNG.integers(0, 40, 600) for _ in range(in_rounds.KEPT)]
    for places in others:
        same_bits(scatter_add(x, places, 40), added(x, places, 40))
    assert len(asked) == 1 and len(in_rounds._kept) == in_rounds.KEPT


def test_places_out_of_range_are_refused_each_time() -> None:
    x = RNG.normal(size=(600, 16))
    for wrong in (PLACES + 2, PLACES - 2):
        for _ in range(3):
            with pytest.raises(IndexError, match="out of bounds for axis 0 with size 40"):
                scatter_add(x, wrong, 40)


@pytest.mark.parametrize("width", [(), (3,), (16,)])
@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("kept", [0, 1 << 16])
def test_places_may_be_written_into_after_they_have_come(
    width: Any, distinct: bool, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathers, "FEW", kept)
    x = RNG.normal(size=(600, *width))
    places = RNG.permutation(700)[:600] if distinct else PLACES % 700
    for _ in range(3):
        same_bits(scatter_add(x, places, 700), added(x, places, 700))
    places[:] = places[::-1].copy()
    for _ in range(3):
        same_bits(scatter_add(x, places, 700), added(x, places, 700))


def test_programs_sum_in_rounds_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of places that are constants, too."""
    monkeypatch.setattr(in_rounds, "EACH", 64)
    x, places = RNG.normal(size=(600, 16)), np.sort(PLACES % 300)

    def total(x: Any, places: Any) -> Any:
        return tg.numpy.at(np.zeros_like(x[:300]))[places].add(np.sin(x))

    expected = added(np.sin(x), places, 300)
    for f in (tg.jit(total), tg.jit(lambda x, _: total(x, places)), lambda *args: tg.vjp(total, *args)[0]):
        for _ in range(3):
            same_bits(f(x, places), expected)
    gradient = tg.jit(tg.grad(lambda x: np.sum(np.sin(x[places]) ** 2)))
    table = x[:300]
    back = added(np.sin(2 * table[places]), places, 300)
    for _ in range(3):
        np.testing.assert_allclose(gradient(table), back, rtol=1e-13, atol=1e-14)


def test_few_numbers_and_many_rounds_are_left_to_numpy() -> None:
    assert not rounds(np.zeros(600, int), 3).pay(600 * 16) and rounds(np.arange(600) % 300, 300).pay(600 * 16)
    assert not rounds(np.arange(600) % 300, 300).pay(600)
