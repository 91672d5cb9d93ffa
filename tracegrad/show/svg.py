"""A picture by Graphviz, of a text in its language."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess

from tracegrad.io.files import MissingPackageError


def svg(text: str) -> str:
    """The picture as SVG, by Graphviz's program `dot`, or by that of the package graphviz-pure.

    Raises:
        MissingPackageError: if there is neither.
    """
    program = shutil.which("dot") or of_package()
    if program is None:
        raise MissingPackageError(
            "a picture is drawn by Graphviz, and there is neither its program dot on the PATH nor the package graphviz-pure; "
            "`pip install 'tracegrad[draw]'`, or install Graphviz. A page needs neither: drawing.save('graph.html')"
        )
    return drawn_by(program, text)


def of_package() -> str | None:
    """The program in the package graphviz-pure, wherever that is installed."""
    try:
        files = importlib.metadata.files("graphviz-pure") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.stem == "graphviz-pure" and os.access(found := file.locate(), os.X_OK):
            return os.fspath(found)
    return None


def drawn_by(program: str, text: str) -> str:
    """What a program with the interface of `dot` makes of a text."""
    done = subprocess.run([program, "-Tsvg"], input=text.encode(), capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{program} drew nothing, and says: {said[:500]}")
    return done.stdout.decode()
