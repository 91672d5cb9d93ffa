"""The examples run from start to end with fewer steps, and hold what they assert."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import ROOT

EXAMPLES = ROOT / "examples"


def load(name: str) -> ModuleType:
    """The example as a module of its own; `examples` is a folder of programs, not a package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_train_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for needed in ("matplotlib", "sklearn"):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    example = load("train_digits")

    assert (reached := example.main(["--epochs", "4", "--expect", "0.9"])) >= 0.9

    picture, folder = sorted(tmp_path.iterdir(), reverse=True)  # nothing else is left behind
    assert (picture.name, folder.name) == ("digits.png", "digits")
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    printed = capsys.readouterr().out
    assert "21,578 parameters" in printed
    assert "epoch 4/4  44/44  loss " in printed
    assert f"{reached:.2%} of 359 held-out digits read rightly; the picture is in digits.png" in printed

    # It goes on from its last checkpoint, here at the end.
    with pytest.raises(AssertionError, match=r"expected an accuracy of at least 1\.01, got 0"):
        example.main(["--epochs", "4", "--expect", "1.01", "--out", str(tmp_path / "new" / "curves.png")])
    assert (tmp_path / "new" / "curves.png").exists()
    printed = capsys.readouterr().out
    assert f"{reached:.2%} of 359" in printed
    assert "loss" not in printed


def test_train_digits_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    example = load("train_digits")

    def interrupt(key: Any, batch: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(example.tg.data.augment, "shift", lambda pixels: interrupt)
    with pytest.raises(
        SystemExit, match="interrupted after 0 steps; start it again to go on from there, by what is in digits"
    ):
        example.main([])


@pytest.mark.parametrize(
    "arguments, printed",
    [("--devices 8", "8 devices: loss"), ("--devices 2 --processes 2", "4 devices of 2 processes: loss")],
)
def test_data_parallel(arguments: str, printed: str) -> None:
    pytest.importorskip("jax")
    command = [sys.executable, str(EXAMPLES / "data_parallel.py"), *arguments.split(), "--steps", "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert printed in out
    assert "the same on one device" in out
