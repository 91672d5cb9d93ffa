"""Rows, columns, the best of them, tables and pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tracegrad.train import History

ROWS = [
    {"epoch": 0, "step": 3, "loss": 2.0, "val_loss": 1.5, "accuracy": 0.5, "seconds": 1.0},
    {"epoch": 1, "step": 6, "loss": 1.0, "accuracy": 0.75, "seconds": 2.0},
    {"epoch": 2, "step": 9, "loss": 0.5, "val_loss": float("nan"), "accuracy": 0.75, "seconds": 3.0},
]


def test_columns_and_rows() -> None:
    history = History(ROWS)
    assert history["loss"] == [2.0, 1.0, 0.5] and len(history["val_loss"]) == 2
    assert len(history) == 3 and list(history) == ROWS
    assert repr(history) == "History(3 epochs: epoch, step, loss, val_loss, accuracy, seconds)"
    with pytest.raises(KeyError, match="no 'f1' in the history; it has 'epoch', 'step'"):
        history["f1"]
    with pytest.raises(KeyError, match="it has no rows"):
        History()["loss"]


def test_best() -> None:
    history = History(ROWS)
    assert history.best()["epoch"] == 0 and history.best("loss")["epoch"] == 2
    assert history.best("accuracy", "max")["epoch"] == 1
    with pytest.raises(ValueError, match="mode is 'min' or 'max', got 'auto'"):
        history.best("loss", "auto")
    with pytest.raises(ValueError, match="'val_loss' is nowhere a number"):
        History(ROWS[2:]).best()


def test_save(tmp_path: Path) -> None:
    history = History([*ROWS, {"epoch": 3, "matrix": np.eye(2)}])
    path = tmp_path / "new" / "h.csv"
    history.save(path)
    with path.open() as file:
        found = list(csv.DictReader(file))
    assert [row["loss"] for row in found] == ["2.0", "1.0", "0.5", ""]
    assert found[1]["val_loss"] == "" and found[3]["matrix"] == "[[1.0, 0.0], [0.0, 1.0]]"
    path.write_text("old")
    History().save(path)
    assert path.read_text() == "\n" and [p.name for p in path.parent.iterdir()] == ["h.csv"]


def test_a_file_that_cannot_be_written_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h.csv"
    History(ROWS).save(path)
    before = path.read_text()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        History(ROWS[:1]).save(path)
    assert path.read_text() == before and [p.name for p in tmp_path.iterdir()] == ["h.csv"]


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = History(ROWS).plot(tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    loss, accuracy = figure.axes
    assert (loss.get_title(), loss.get_yscale(), accuracy.get_yscale()) == ("loss", "log", "linear")
    assert [line.get_label() for line in loss.lines][:2] == ["training", "validation"]
    assert len(accuracy.lines) == 1
    with pytest.raises(ValueError, match="the history has no numbers yet"):
        History().plot()
