"""Statements are laid out as a formatter leaves them, which test_source.py asks one about."""

from __future__ import annotations

import ast
import doctest

import pytest

from tracegrad.lower.numpy import lines
from tracegrad.lower.numpy.lines import WIDTH, assigned, header, laid_out

NAMES = [f"a_long_name_{i}" for i in range(30)]

STATEMENTS = [
    f"x = f({', '.join(NAMES)})",
    f"x = f({', '.join(NAMES[:8])}, key={{{', '.join([f'{n!r}: [{n}]' for n in NAMES])}}})",
    f"return {', '.join(NAMES)}",
    f"return {{'a': ({', '.join(NAMES)}), 'b': f(x)}}, {NAMES[0]}",
    f"{', '.join(NAMES)} = f(x)",
    f"{', '.join(NAMES)} = f({', '.join(NAMES)})",
    f"f({', '.join(NAMES)})",
    f"x = [{', '.join(NAMES)}]",
]


@pytest.mark.parametrize("text", STATEMENTS)
@pytest.mark.parametrize("indent", [0, 4, 8])
def test_a_long_statement_is_broken_and_stays_the_same(text: str, indent: int) -> None:
    found = laid_out(" " * indent + text)
    rows = found.split("\n")
    assert len(rows) > 1 and max(map(len, rows)) <= WIDTH
    assert all(row.startswith(" " * indent) for row in rows)
    inner = "\n".join([row[indent:] for row in rows])
    assert ast.dump(ast.parse(inner)) == ast.dump(ast.parse(text))


def test_what_fits_or_cannot_be_broken_stays() -> None:
    assert laid_out("    x = f(y)") == "    x = f(y)"
    long = "x = " + "y" * WIDTH
    assert laid_out(long) == long
    text = 'x = f("""\n' + "a" * 200 + '\n""")'
    assert laid_out(text) == text


def test_headers() -> None:
    assert header("f", ["x", "y"]) == "def f(x, y):"
    several = [*NAMES[:7], "another_"]
    assert header("f", several).split("\n")[1] == f"    {', '.join(several)}"
    assert header("f", NAMES).split("\n")[1] == f"    {NAMES[0]},"
    assert assigned(["a", "b"], "f", ["x"]) == "a, b = f(x)"


def test_the_example() -> None:
    assert not doctest.testmod(lines).failed
