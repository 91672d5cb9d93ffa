"""Sizes that know what they are made of."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracegrad.core.context import sizing
from tracegrad.core.sizes import Comparison
from tracegrad.core.symbols import (
    Polynomial,
    Symbol,
    SymbolNotes,
    broadcast_shapes,
    number_in,
    range_length,
    slice_indices,
    symbol,
    text_at,
    text_of,
)

VALUES = [{"N": n, "M": m} for n, m in ((7, 7), (8, 12), (9, 31), (1009, 973), (40, 8))]


@pytest.fixture
def notes() -> Any:
    found, thread = SymbolNotes(), threading.get_ident()
    sizing[thread] = found
    yield found
    del sizing[thread]


def at(x: Any, sizes: Any) -> Any:
    if isinstance(x, tuple):
        return tuple([at(part, sizes) for part in x])
    return x.polynomial.at(sizes) if type(x) is Symbol else x


EXPRESSIONS: list[Callable[[Any, Any], Any]] = [
    lambda n, m: 2 * n + m - 3,
    lambda n, m: (n - m) * (n + m),
    lambda n, m: n * m // m,
    lambda n, m: 6 * n * m // (2 * n),
    lambda n, m: n // 3 + m % 5,
    lambda n, m: -n % 8,
    lambda n, m: (n + 7) // 8 * 8 - n,
    lambda n, m: 3 - n,
    lambda n, m: 100 // n + 1000 % m,
    lambda n, m: n**2 - ~m,
    lambda n, m: divmod(n, 4),
    lambda n, m: divmod(1000, n),
    lambda n, m: n - n,
    lambda n, m: abs(n) + round(m) + (+n),
]


@pytest.mark.parametrize("number", range(len(EXPRESSIONS)))
def test_numbers_at_other_sizes(number: int, notes: SymbolNotes) -> None:
    f = EXPRESSIONS[number]
    for here in VALUES:
        found = f(*[symbol(name, value, notes) for name, value in here.items()])
        for sizes in VALUES:
            assert at(found, sizes) == f(sizes["N"], sizes["M"])
    assert not notes.plain


def test_one_number_has_one_form(notes: SymbolNotes) -> None:
    n, m = symbol("N", 9, notes), symbol("M", 31, notes)
    for one, other in (((n + m) * 2, 2 * m + 2 * n), (n * m, m * n), ((n + 1) // 2, (1 + n) // 2), (3 * n // 3, n)):
        assert one.polynomial == other.polynomial
        assert hash(one.polynomial) == hash(other.polynomial)
    assert n - n == 0
    assert n + m - n == m
    assert not notes.used  # none depends on a size
    assert (3 * n).polynomial.divided(operator.floordiv, (n - 9).polynomial).at({"N": 12}) == 12
    with pytest.raises(ZeroDivisionError):
        (3 * n).polynomial.divided(operator.floordiv, (n - 9).polynomial).at({"N": 9})


def test_comparisons_are_noted(notes: SymbolNotes) -> None:
    n = symbol("N", 9, notes)
    assert n > 5
    assert n != 10
    assert 2 * n >= n
    found = [(use.compare, use.left.at({"N": 3}), use.right.at({"N": 3}), use.holds) for use in notes.used]
    assert found == [(operator.gt, 3, 5, True), (operator.ne, 3, 10, True), (operator.ge, 6, 3, True)]
    assert all([type(use) is Comparison and use.source is not None for use in notes.used])


PLAIN: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "index": operator.index,
    "range": range,
    "zeros": np.zeros,
    "array": lambda n: np.array([n, 1]),
    "hash": hash,
    "text": str,
    "format": lambda n: f"{n}",
    "bits": lambda n: n & 1,
    "shift": lambda n: n << 1,
    "method": lambda n: n.bit_length(),
    "fraction": lambda n: n * 0.5,
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_numbers_are_noted(name: str, notes: SymbolNotes) -> None:
    found, expected = PLAIN[name](symbol("N", 9, notes)), PLAIN[name](9)
    assert np.array_equal(found, expected)
    assert {n for n, _ in notes.plain} == {9}


@pytest.mark.parametrize("start", [None, 0, 2, -3, 50])
@pytest.mark.parametrize("stop", [None, 0, 5, -1, -60, "N", "half"])
@pytest.mark.parametrize("step", [None, 1, 3, -1, -2])
def test_slices(start: int | None, stop: Any, step: int | None, notes: SymbolNotes) -> None:
    n = symbol("N", 9, notes)
    end = {"N": n, "half": n // 2}.get(stop, stop)
    found = slice_indices(start, end, step, n)
    length = range_length(*found)
    compared = [use for use in notes.used if type(use) is Comparison] + list(notes.ours.values())
    for size in (7, 9, 10, 12, 80):
        sizes = {"N": size}
        if all([use.compare(use.left.at(sizes), use.right.at(sizes)) == use.holds for use in compared]):
            expected = slice(start, {"N": size, "half": size // 2}.get(stop, stop), step).indices(size)
            assert at(found, sizes) == expected
            assert at(length, sizes) == len(range(*expected))
        else:
            assert size != 9
    assert not notes.plain


def test_broadcasting(notes: SymbolNotes) -> None:
    n, m = symbol("N", 9, notes), symbol("M", 31, notes)
    assert at(broadcast_shapes((n, 1), (m,), ()), {"N": 5, "M": 6}) == (5, 6)
    assert broadcast_shapes((3, 1), (4,)) == (3, 4)
    with pytest.raises(ValueError, match="shape mismatch"):
        broadcast_shapes((n,), (m,))


def test_texts(notes: SymbolNotes) -> None:
    n = symbol("N", 9, notes)
    text = f"{text_of(n // 2)}:{text_of(n - 1)}:{text_of(2)}"
    assert text_at(text, {"N": 30}) == "15:29:2"
    assert text_at("1:2", {"N": 30}) == "1:2"
    half, last, step = map(number_in, text.split(":"))
    assert (at(half, {"N": 50}), at(last, {"N": 50}), step) == (25, 49, 2)
    assert text_of(n - 1) == text_of(n - 1)


def test_shows_itself() -> None:
    n = Polynomial.named("N")
    shown = n.plus(n).plus(Polynomial.plain(-3)).divided(operator.floordiv, Polynomial.plain(2))
    assert repr(shown) == "1*floordiv(2*N + -3, 2)"
    assert repr(Polynomial({})) == "0"
