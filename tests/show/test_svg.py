"""Pictures by Graphviz, whichever is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tracegrad as tg
from tests.show.drawn import mlp, mlp_args
from tracegrad.io.files import MissingPackageError
from tracegrad.show import svg as module
from tracegrad.show.svg import drawn_by, of_package, svg

SVG = "{http://www.w3.org/2000/svg}"
PROGRAMS = [program for program in (shutil.which("dot"), of_package()) if program is not None]


@pytest.mark.skipif(not PROGRAMS, reason="Graphviz is not installed")
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_picture_is_xml_with_text(program: str) -> None:
    text = tg.draw(mlp, *mlp_args()).dot()
    root = ElementTree.fromstring(drawn_by(program, text))
    assert root.tag == f"{SVG}svg"
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert (
        words.count("matmul") == 3
        and words.count("tanh") == 2
        and "params[0]['w']" in words
        and words.count("dense") == 3
    )
    titles = {element.text for element in root.iter(f"{SVG}title")}
    assert {name for name in re.findall(r"^ *([ng]\d+) \[", text, re.MULTILINE)} <= titles


@pytest.mark.skipif(len(PROGRAMS) < 2, reason="one Graphviz is not installed")
def test_the_package_is_taken_where_there_is_no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    by_program = svg("digraph { a -> b }")
    monkeypatch.setenv("PATH", str(tmp_path))
    by_package = svg("digraph { a -> b }")
    for text in (by_program, by_package):
        assert {e.text for e in ElementTree.fromstring(text).iter(f"{SVG}text")} == {"a", "b"}


def test_neither(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "of_package", lambda: None)
    drawing = tg.draw(np.sin, 1.0)
    with pytest.raises(MissingPackageError) as caught:
        drawing.save(tmp_path / "sin.svg")
    assert str(caught.value) == (
        "a picture is drawn by Graphviz, and there is neither its program dot on the PATH nor the package graphviz-pure; "
        "`pip install 'tracegrad[draw]'`, or install Graphviz. A page needs neither: drawing.save('graph.html')"
    )
    assert not list(tmp_path.iterdir())
    drawing.save(tmp_path / "sin.dot")


@pytest.mark.skipif(not PROGRAMS, reason="Graphviz is not installed")
def test_what_is_no_graph() -> None:
    with pytest.raises(RuntimeError, match=r"drew nothing, and says: .*syntax error"):
        drawn_by(PROGRAMS[0], "digraph {{{")


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise module.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.importlib.metadata, "files", missing)
    assert of_package() is None
