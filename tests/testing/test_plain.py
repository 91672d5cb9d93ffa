"""Random NumPy programs on exotic operands, held against plain NumPy (tracegrad.testing.plain)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.testing import fuzz, plain
from tracegrad.testing.plain import Case, check_case


def test_cases_give_what_numpy_gives() -> None:
    done = [check_case(Case(seed)) for seed in range(250)]
    assert done.count("ran") > 120


def test_cases_give_what_numpy_gives_on_xla() -> None:
    pytest.importorskip("jax")
    done = [check_case(Case(seed), ("numpy", "xla")) for seed in range(250, 275)]
    assert done.count("ran") > 10


def test_a_case_is_the_same_each_time() -> None:
    assert repr(Case(7)) == repr(Case(7)) != repr(Case(8))


def test_a_wrong_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Any, *primals: Any) -> Any:
        out = function(*primals)
        return (out + 1.0 if np.asarray(out).dtype.kind == "f" else out,)

    monkeypatch.setattr(plain, "vjp", wrong)
    with pytest.raises(AssertionError, match="a traced function gives"):
        [check_case(Case(seed)) for seed in range(50)]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--plain", "--minutes", "0"]) == 0
    assert "1 cases" in capsys.readouterr().out


def test_what_it_found() -> None:
    """The dtype of an outer sum with a Python number, and squares of complex numbers to the bit, written over them too."""
    x = np.array([1.9409129619598389 + 2j, 1.501717448234558 - 0.5310875177383423j], np.complex64)

    def squared(x: Any) -> Any:
        y = np.copy(x)
        y **= 2
        return y

    for run in (tg.jit, lambda f: lambda x: tg.vjp(f, x)[0]):
        np.testing.assert_array_equal(run(squared)(x), squared(x))
        found = run(lambda y: np.add.outer(0.5, y))(np.float32([0.25, 1.0]))
        assert found.dtype == np.float64 and found.tolist() == [0.75, 1.5]
    # A power of integers beside one that is differentiated.
    n = np.array([2, 3])
    assert tg.vjp(lambda x, n: x * np.power(n, n - 2), np.ones(2), n)[1](np.ones(2))[0].tolist() == [1.0, 3.0]
    assert tg.vjp(lambda x, n: x * n.astype(float) ** (-n), np.ones(2), n)[1](np.ones(2))[0].tolist() == [0.25, 1 / 27]
