"""The chapters of the course: each runs with --quick, holds what it asserts, leaves pictures and nothing else, and is a notebook;
each exercise's check takes the solution and refuses what is wrong. With `-m whole` as a reader runs them."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import ROOT

matplotlib = pytest.importorskip("matplotlib")
COURSE = ROOT / "examples" / "course"
CHAPTERS = sorted(path.stem for path in COURSE.glob("[0-9]*.py"))
PLAIN = {"numpy", "matplotlib", "tracegrad", "course"}  # what chapters 0 to 5 need


def load(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Runs the chapter as a module, which finds `course` beside it as it does when it is run, and leaves its pictures in `folder`."""
    monkeypatch.syspath_prepend(str(COURSE))
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", "--out", str(folder)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for module in ("course", name):
        monkeypatch.delitem(sys.modules, module, raising=False)
    try:
        with matplotlib.rc_context():
            return importlib.import_module(name)
    finally:
        sys.modules.pop("course", None)


def check_pictures(name: str, folder: Path) -> None:
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing else is left behind
    pictures = sorted(folder.iterdir())
    assert pictures, "a chapter draws pictures"
    for picture in pictures:
        assert picture.name.startswith(f"course_{name[:2]}_"), picture.name
        assert picture.suffix in (".png", ".svg", ".html"), picture.name
        assert picture.suffix != ".png" or picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert picture.stat().st_size < 500_000, picture.name


def exercises(name: str) -> list[str]:
    """The names that the chapter has a check for, in order."""
    tree = ast.parse((COURSE / f"{name}.py").read_text(encoding="utf-8"))
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [function.removeprefix("check_") for function in functions if function.startswith("check_")]


@pytest.mark.parametrize("name", CHAPTERS)
def test_quick(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    chapter = load(name, tmp_path / "out", monkeypatch)
    check_pictures(name, tmp_path / "out")
    printed = capsys.readouterr().out

    monkeypatch.setitem(sys.modules, name, chapter)  # solutions may import what the chapter builds
    monkeypatch.syspath_prepend(str(COURSE / "solutions"))
    monkeypatch.delitem(sys.modules, f"s{name}", raising=False)
    solutions = importlib.import_module(f"s{name}")
    assert exercises(name), "a chapter has exercises"
    for exercise in exercises(name):
        assert f"exercise {exercise}: not written yet\n" in printed, (
            "the chapter ends each exercise with attempt(check, it)"
        )
        check, todo = getattr(chapter, f"check_{exercise}"), getattr(chapter, exercise)
        assert todo.__doc__, f"{exercise} says what is asked"
        assert getattr(solutions, exercise).__doc__, f"the solution of {exercise} says why"
        check(getattr(solutions, exercise))
        with pytest.raises(NotImplementedError):
            check(todo)
        for wrong in (getattr(solutions, f"wrong_{exercise}"), lambda *args, **options: None):
            with pytest.raises((AssertionError, TypeError, AttributeError, ValueError)):
                check(wrong)
        with pytest.raises(AssertionError):
            check(getattr(solutions, f"wrong_{exercise}"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_form(name: str) -> None:
    """The title, what one can do afterwards, three questions with folded answers, and few packages; and a valid notebook."""
    source = (COURSE / f"{name}.py").read_text(encoding="utf-8")
    lines = source.splitlines()
    assert lines[0] == "# %% [markdown]"
    assert re.match(rf"# # {int(name[:2])}\. [A-Z]", lines[1]), lines[1]
    assert lines[3].startswith("# **After this chapter you can** "), lines[3]
    assert source.count("<details>") == source.count("</details>") == 3
    tree = ast.parse(source)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    if name < "06":
        assert {module.split(".")[0] for module in imported} <= PLAIN | sys.stdlib_module_names

    jupytext, nbformat = pytest.importorskip("jupytext"), pytest.importorskip("nbformat")
    notebook = jupytext.read(COURSE / f"{name}.py", fmt="py:percent")
    nbformat.validate(notebook)
    cells = [cell.cell_type for cell in notebook.cells]
    assert cells[0] == cells[-1] == "markdown"
    assert cells.count("code") >= 3


def test_solutions_are_of_chapters() -> None:
    assert {f"s{name}.py" for name in CHAPTERS} == {path.name for path in (COURSE / "solutions").glob("*.py")}


@pytest.mark.whole
@pytest.mark.parametrize("name", CHAPTERS)
def test_whole(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(COURSE / f"{name}.py"), "--out", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    check_pictures(name, tmp_path / "out")


@pytest.mark.whole
@pytest.mark.parametrize("name", CHAPTERS)
def test_notebook(name: str, tmp_path: Path) -> None:
    """As a notebook, in a kernel, each picture is shown."""
    jupytext, nbclient = pytest.importorskip("jupytext"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbformat = pytest.importorskip("nbformat")
    notebook = jupytext.read(COURSE / f"{name}.py", fmt="py:percent")
    options = ["chapter.py", "--quick", "--out", str(tmp_path / "out")]
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"import sys; sys.argv = {options}"))
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(COURSE)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = sum("image/png" in output.get("data", {}) for output in outputs)
    assert shown == len(list((tmp_path / "out").glob("*.png"))) > 0
