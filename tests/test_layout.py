"""A file tracegrad/x/y.py has its tests in tests/x/test_y.py. What crosses rooms stands in tests/ itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests import ROOT

# What has no tests of its own: the rules for XLA are a table, of which tests/test_xla_registry.py tries each, and so are those for
# jax's primitives, which tests/xla/test_from_jax.py tries; samples, the short
# forms of ops and what they share are tried with every op (tests/test_registry.py, tests/test_extend.py).
HELPERS = {"nn/parity", "random/parity", "nn/models/counts", "show/drawn"}  # by which the tests of a room compare
PROGRAMS = "programs/"  # whole programs of other fields, and the test that runs them
TABLES = {"typing", "ops/everything", "ops/elementwise/samples", "xla/values"}
TABLE_ROOMS = ("xla/rules/", "xla/primitives/", "ops/families/")


def files(folder: Path) -> set[str]:
    """The modules in a folder, by path without suffix, but for `__init__`."""
    found = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.py")}
    return {name for name in found if not name.endswith("__init__")}


def place_of(module: str) -> str:
    room, _, name = module.rpartition("/")
    return f"{room}/test_{name}".lstrip("/")


def test_every_file_has_its_tests() -> None:
    tables = TABLES | {name for name in files(ROOT / "tracegrad") if name.startswith(TABLE_ROOMS)}
    missing = {place_of(name) for name in files(ROOT / "tracegrad") - tables} - files(ROOT / "tests")
    assert not missing, f"add {sorted(missing)} with what tests these files"


def test_tests_in_rooms_are_of_files() -> None:
    """Or of the room itself: tests/nn/test_nn.py."""
    modules = files(ROOT / "tracegrad")
    rooms = {name.rpartition("/")[0] for name in modules}
    places = {place_of(name) for name in modules} | {f"{room}/test_{room.rpartition('/')[2]}" for room in rooms}
    found = {name for name in files(ROOT / "tests") if "/" in name and not name.startswith(PROGRAMS)}
    astray = found - places - HELPERS
    assert not astray, (
        f"{sorted(astray)} stand beside no file of tracegrad/; what crosses rooms goes into tests/ itself"
    )


def lines_of_code(path: Path) -> int:
    """Without blank lines, comments and docstrings."""
    text = path.read_text()
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            prose.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(text.split("\n"), 1)
    return len([i for i, line in lines if line.strip() and not line.lstrip().startswith("#") and i not in prose])


def test_the_heart_is_as_long_as_the_map_says() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    found = re.search(r"\*\*The heart.*?some ([\d,]+) lines of code(.*?)with any file", text, re.DOTALL)
    assert found is not None
    said = int(found[1].replace(",", ""))
    counted = sum([lines_of_code(ROOT / "tracegrad" / name) for name in re.findall(r"`([\w/]+\.py)`", found[2])])
    assert abs(counted - said) < 0.06 * said, f"they are {counted} by now; say so, or make them fewer"


def test_the_gate_runs_tests_that_are_there() -> None:
    """Of a path that is not, pytest runs nothing at all."""
    named = set(re.findall(r"\btests/[\w/]+(?:\.py)?", (ROOT / ".ci" / "run").read_text()))
    assert len(named) > 10
    assert {path for path in named if not (ROOT / path).exists()} == set()
