"""Lines for logs, bars for terminals and notebooks."""

from __future__ import annotations

import builtins
import importlib
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tracegrad.train import progress


def test_numbers() -> None:
    assert progress.numbers({"loss": 0.08803, "matrix": np.eye(2), "n": 12.0}) == "loss 0.0880  n 12.000"
    assert [progress.shown(x) for x in (0.978, 0.0, float("nan"), -2.5e-7)] == ["0.978", "0.0000", "nan", "-2.5e-07"]
    assert [progress.rate(x, 1) for x in (3, 1_234, 5.67e7)] == ["3 examples/s", "1.23k examples/s", "56.7M examples/s"]


def test_lines_are_plain_and_few(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = progress.chosen("lines")
    shown.start(3)
    for place in range(5):
        shown.show(0, place, 5, {"loss": 1.0}, "1k examples/s")
    assert capsys.readouterr().out == ""
    moment = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: moment + 11)
    for place in range(5):
        shown.show(1, place, 5, {"loss": 1.0}, "1k examples/s")
    shown.epoch("epoch 1/3  done")
    shown.end()
    out = capsys.readouterr().out
    assert out == "epoch 2/3  0/5  loss 1.000  1k examples/s\nepoch 1/3  done\n"


def test_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(progress.chosen(True)) is progress.Lines  # pytest's output is no terminal
    assert type(progress.chosen(False)) is progress.Silent
    with pytest.raises(ValueError, match="progress is True, False, 'lines', 'terminal' or 'notebook', got 'bar'"):
        progress.chosen("bar")
    pytest.importorskip("rich")
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    assert type(progress.chosen(True)) is progress.Terminal
    shell = type("ZMQInteractiveShell", (), {})
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell(), raising=False)
    assert type(progress.chosen(True)) is progress.Notebook


def test_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    shown = progress.chosen("terminal")
    shown.start(2)
    shown.show(0, 3, 9, {"loss": 1.0}, "1k examples/s")
    shown.epoch("epoch 1/2 [done] 0.5")
    shown.end()
    assert "epoch 1/2 [done] 0.5" in capsys.readouterr().out


def test_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    updates: list[Any] = []
    handle = SimpleNamespace(update=updates.append)
    stand_in = SimpleNamespace(HTML=str, display=lambda x, display_id: handle)
    monkeypatch.setattr(
        progress, "imported", lambda name: stand_in if name == "IPython.display" else importlib.import_module(name)
    )
    shown = progress.chosen("notebook")
    shown.start(2)
    shown.show(0, 3, 9, {"a<b": 1.0}, "1k examples/s")
    assert updates[-1].startswith('<progress value="3" max="9"></progress>') and "a&lt;b 1.000" in updates[-1]
    shown.epoch("one")
    shown.note("two")
    shown.end()
    assert updates[-1] == "<pre>one\ntwo</pre>"
