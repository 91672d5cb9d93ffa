"""The Python in the documents runs as it stands."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests import ROOT
from tracegrad.core.op import OPS

DOCS = ROOT / "docs"


def test_scaling() -> None:
    pytest.importorskip("jax")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "scaling.md").read_text(), re.DOTALL)
    run = [b for b in blocks if "distributed" not in b and "cache_dir" not in b]
    assert len(run) == 4
    names: dict[str, Any] = {}
    losses = []
    for block in run:
        exec(block, names)
        if "value" in names:
            losses.append(float(names["value"]))
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)


def test_testing(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "testing.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    try:
        for block in blocks:
            exec(block, names)
    finally:
        OPS.pop("softsign", None)
    printed = capsys.readouterr().out
    for part in (
        "is wrong in forward mode, of output along a random direction",
        "most wrong for p['w'][0, 0] (forward mode, output): derivative 0.5, quotient 0.25",
        "suspected: the rule of 'softsign' with custom derivatives",
        "suspected: the rule of 'huber' with custom derivatives",
    ):
        assert part in printed
    assert re.search(r"x=array\(-?1\.\d+\)", printed)  # shrunk to an array without axes


def conventions() -> list[tuple[str, str, str]]:
    rows = re.findall(r"^\| (`.*?) \| `(.*?)` \| `(.*?)` \| .*\|$", (DOCS / "conventions.md").read_text(), re.MULTILINE)
    return [(f, at, derivative) for functions, at, derivative in rows for f in re.findall(r"`(.*?)`", functions)]


def test_conventions_are_all_read() -> None:
    assert len(conventions()) == (DOCS / "conventions.md").read_text().count("\n| `") + 8  # rows of several functions


@pytest.mark.parametrize("function, at, derivative", conventions())
def test_conventions(function: str, at: str, derivative: str) -> None:
    scope = {"np": np, "tg": tg}
    f = eval(f"lambda {'z' if '(z)' in function else 'x'}: {function}", scope)
    with np.errstate(all="ignore"):
        for transformed in (tg.grad(f), tg.jit(tg.grad(f))):
            np.testing.assert_array_equal(transformed(eval(at, scope)), eval(derivative, scope))


def test_zero_times_infinity() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "conventions.md").read_text(), re.DOTALL)
    exec(block, {})
