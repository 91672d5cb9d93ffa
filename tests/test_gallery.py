"""The programs of the gallery: each runs with few steps, holds what it asserts, and leaves one picture. With `-m whole` as
a user runs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import ROOT

GALLERY = ROOT / "examples" / "gallery"
PROGRAMS = sorted(path.stem for path in GALLERY.glob("*.py") if path.stem != "common")
for needed in ("matplotlib", "rich", "sklearn"):
    pytest.importorskip(needed)


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module of its own, which finds `common` beside it as it does when it is run."""
    monkeypatch.syspath_prepend(str(GALLERY))
    spec = importlib.util.spec_from_file_location(f"gallery_{name}", GALLERY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    spec.loader.exec_module(module)
    return module


def run(name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.chdir(tmp_path)
    value: float = load(name, monkeypatch).main([*arguments, "--out", str(tmp_path / "out")])
    (picture,) = (tmp_path / "out").iterdir()
    assert picture.name == f"{name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.stat().st_size < 500_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]  # nothing else is left behind
    return value


@pytest.mark.parametrize("name", PROGRAMS)
def test_quick(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(name, load(name, monkeypatch).QUICK, tmp_path, monkeypatch)


@pytest.mark.whole
@pytest.mark.parametrize("name", PROGRAMS)
def test_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(name, [], tmp_path, monkeypatch)


def test_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What every program ends with can fail."""
    common = load("common", monkeypatch)
    assert common.hold("accuracy", 0.9, at_least=0.9) == 0.9
    assert common.hold("error", 0.01, at_most=0.02) == 0.01
    assert capsys.readouterr().out == "accuracy: 0.9 (at least 0.9)\nerror: 0.01 (at most 0.02)\n"
    with pytest.raises(AssertionError, match=r"^expected accuracy of at least 0\.9, got 0\.89$"):
        common.hold("accuracy", 0.89, at_least=0.9)
    with pytest.raises(AssertionError, match=r"^expected error of at most 0\.02, got nan$"):
        common.hold("error", float("nan"), at_most=0.02)
