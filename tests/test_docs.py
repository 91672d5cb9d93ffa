"""The Python in the documents runs as it stands."""

from __future__ import annotations

import ast
import linecache
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests import ROOT
from tracegrad.core.backends import XLA_RULES
from tracegrad.core.op import OPS
from tracegrad.testing import check_rule

DOCS = ROOT / "docs"


@pytest.mark.numpy("2.3.0")
def test_readme(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("```python") == 5
    run(text, capsys, whole=True)


# Which need more than NumPy.
NEEDED = {
    "coming-from-jax": ("jax",),
    "coming-from-keras": ("tensorboardX",),
    "coming-from-autograd": ("autograd",),
    "sharp-edges": ("jax", "scipy"),
    "thinking-in-graphs": ("scipy",),
}
PAGES = (
    "coming-from-autograd",
    "coming-from-jax",
    "coming-from-keras",
    "coming-from-pytorch",
    "drawing",
    "getting-started",
    "index",
)
PAGES += ("sharp-edges", "thinking-in-graphs")


@pytest.mark.numpy("2.3.0")
@pytest.mark.parametrize("page", PAGES)
def test_page(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    for needed in NEEDED.get(page, ()):
        pytest.importorskip(needed)
    if "jax" in NEEDED.get(page, ()):
        request.getfixturevalue("jax_as_it_comes")
    monkeypatch.chdir(tmp_path)
    run((DOCS / f"{page}.md").read_text(), capsys)


BLOCK = re.compile(r"^```python\n(?P<source>.*?)^```\n(?:\n```\n(?P<printed>.*?)^```\n)?", re.DOTALL | re.MULTILINE)
TABLE = re.compile(r"^\|(?P<head>.*)\|\n\|[-|:]+\|\n(?P<rows>(?:\|.*\|\n)+)", re.MULTILINE)
# The heads of columns of code that runs: ours, and those of libraries that are here, which have to give the same.
OURS, THEIRS = ("here",), ("jax", "autograd")


def run(text: str, capsys: pytest.CaptureFixture[str], whole: bool = False) -> None:
    """Runs what stands in a document, from top to bottom, in one namespace.

    Each block is a file, model.py, with the imports if it is to be `whole`. The value of an expression is that in the comment after it, and what is printed is what stands
    in the block after it; so is the error, where the last statement raises one. Code in the column "here" of a table runs, and gives
    what the code beside it gives, where both are expressions of one value and the other library is here.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    parts = sorted([*BLOCK.finditer(text), *TABLE.finditer(text)], key=lambda part: part.start())
    assert sum(part.re is BLOCK for part in parts) == text.count("```python\n")
    for part in parts:
        if part.re is TABLE:
            run_table(part["head"], part["rows"], names)
            capsys.readouterr()
            continue
        if 'backend="xla"' in part["source"]:
            pytest.importorskip("jax")
        source = part["source"]
        if whole and not source.startswith("import"):
            source = f"import numpy as np\nimport tracegrad as tg\n{source}"
        raised = run_block(source, names)
        printed = capsys.readouterr().out
        if raised is None:
            assert_printed(printed, part["printed"] or "")
        else:
            assert f"{printed} {type(raised).__name__}: {raised}".split() == part["printed"].split()


def run_block(source: str, names: dict[str, Any]) -> Exception | None:
    """Runs a block, and returns what its last statement raises."""
    lines = source.splitlines(keepends=True)
    linecache.cache["model.py"] = (len(source), None, lines, "model.py")
    body = ast.parse(source).body
    for statement in body:
        code: Any = ast.Module([statement], [])
        shown = lines[statement.end_lineno].strip() if statement.end_lineno < len(lines) else ""
        try:
            if isinstance(statement, ast.Expr) and shown.startswith("# "):
                value = eval(compile(ast.Expression(statement.value), "model.py", "eval"), names)
                assert f"# {value!r}" == shown
            else:
                exec(compile(code, "model.py", "exec"), names)
        except AssertionError:
            raise
        except Exception as error:
            if statement is not body[-1]:
                raise
            return error
    return None


def run_table(head: str, rows: str, names: dict[str, Any]) -> None:
    heads = [cell.strip() for cell in head.split("|")]
    ours = next((k for k, cell in enumerate(heads) if cell in OURS), None)
    theirs = next((k for k, cell in enumerate(heads) if cell in THEIRS), None)
    if ours is None:
        return
    for row in rows.splitlines():
        cells = [cell.replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row[1:-1])]
        found = [run_cell(code, names) for code in re.findall(r"`+(.+?)`+", cells[ours])]
        if (
            theirs is not None
            and len(codes := re.findall(r"`+(.+?)`+", cells[theirs])) == len(found)
            and "≠" not in row
        ):
            for code, value in zip(codes, found, strict=True):
                same_values(run_cell(code, names), value, row)


def run_cell(code: str, names: dict[str, Any]) -> Any:
    """The value of code in a table, or None where it is no expression. What it assigns is gone afterwards."""
    try:
        parsed = ast.parse(code, mode="eval")
    except SyntaxError:
        exec(code, {**names})
        return None
    return eval(compile(parsed, code, "eval"), names)


def same_values(theirs: Any, ours: Any, row: str) -> None:
    """Arrays and numbers are equal up to rounding in float32; what else there is (functions, modules) is not compared."""
    for a, b in zip(tg.tree.leaves(theirs), tg.tree.leaves(ours), strict=False):
        if hasattr(a, "__array__") and hasattr(b, "__array__"):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-5, err_msg=row)


# How long it took; and how much memory, where NumPy has buffers in sums that later versions do without.
SPEED = re.compile(r"  [\d.]+ s  \S+ examples/s$", re.MULTILINE)
MEMORY = re.compile(r"[\d.]+ [KM]iB" if np.lib.NumpyVersion(np.__version__) < "2.1.0" else r"(?!)")


def assert_printed(out: str, expected: str) -> None:
    """What was printed is what stands in a document, but for how long it took, and the last digits of what was trained."""
    lines, others = (MEMORY.sub("", SPEED.sub("", text)).rstrip().splitlines() for text in (out, expected))
    assert len(lines) == len(others)
    for line, other in zip(lines, others, strict=True):
        if not other.startswith("epoch "):
            assert line == other
            continue
        numbers, wanted = (np.array(re.findall(r"\d+\.\d+", text), float) for text in (line, other))
        assert re.sub(r"\d+\.\d+", "", line) == re.sub(r"\d+\.\d+", "", other)
        np.testing.assert_allclose(numbers, wanted, rtol=0.05, atol=0.01)


def test_the_error_in_the_readme() -> None:
    shown = re.search(r"```\n(grad needs .*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile("\n" * 12 + "def loss(x): return 2 * x", "model.py", "exec"), names)
    with pytest.raises(TypeError) as caught:
        tg.grad(names["loss"])(np.ones(3))
    assert shown is not None and shown[1].split() == str(caught.value).split()


def test_scaling() -> None:
    pytest.importorskip("jax")
    pytest.importorskip("optax")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "scaling.md").read_text(), re.DOTALL)
    run = [b for b in blocks if "distributed" not in b and "cache_dir" not in b]
    assert len(run) == 6
    names: dict[str, Any] = {}
    losses = []
    for block in run:
        exec(block, names)
        if "value" in names:
            losses.append(float(names["value"]))
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)


def test_recipes() -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "recipes.md").read_text(), re.DOTALL):
        exec(block, names)


def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block is a file, training.md; what stands in the block after it is printed."""
    for needed in ("flax", "optax", "ml_dtypes", "safetensors", "sklearn"):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "training.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```\n(.*?)```\n)?", text, re.DOTALL)
    assert len(blocks) == text.count("```python") == 22
    names: dict[str, Any] = {"__name__": "__main__"}
    for block, printed in blocks:
        linecache.cache["training.md"] = (len(block), None, block.splitlines(keepends=True), "training.md")
        exec(compile(block, "training.md", "exec"), names)
        assert_printed(capsys.readouterr().out, printed)


def test_debugging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As the pages on training: one NaN, one zero, one slow line, one derivative that is shipped."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "debugging.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```\n(.*?)```\n)?", text, re.DOTALL)
    assert len(blocks) == text.count("```python") == 12
    names: dict[str, Any] = {"__name__": "__main__"}
    for block, printed in blocks:
        linecache.cache["debugging.md"] = (len(block), None, block.splitlines(keepends=True), "debugging.md")
        exec(compile(block, "debugging.md", "exec"), names)
        assert_printed(capsys.readouterr().out, printed)


def test_testing(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jax")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "testing.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    try:
        for block in blocks:
            exec(block, names)
        OPS["softsign"].infer = lambda types, params: types[0]
        with pytest.raises(AssertionError) as caught:
            check_rule(OPS["softsign"])
        assert f"```\n{caught.value}\n```" in (DOCS / "testing.md").read_text()
    finally:
        OPS.pop("softsign", None)
        XLA_RULES.pop("softsign", None)
    printed = capsys.readouterr().out
    for part in (
        "is wrong in forward mode, of output along a random direction",
        "most wrong for p['w'][0, 0] (forward mode, output): derivative 0.5, quotient 0.25",
        "suspected: the rule of 'softsign' with custom derivatives",
        "suspected: the rule of 'huber' with custom derivatives",
    ):
        assert part in printed
    assert re.search(r"x=array\(-?1\.\d+\)", printed)  # shrunk to an array without axes


def test_architecture() -> None:
    """An op, a pass and a transform that somebody adds."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "architecture.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    try:
        for block in blocks:
            exec(block, names)
    finally:
        OPS.pop("log_cosh", None)


# Of whose files not each has a name in the rooms.
FAMILIES = (
    "lax", "nn/layers", "nn/losses", "nn/models", "numpy", "ops", "optim", "scipy/fft", "scipy/linalg", "scipy/ndimage", "scipy/signal", "scipy/stats",
    "xla/primitives", "xla/rules",
)  # fmt: skip


def test_rooms() -> None:
    """Each file of the package stands in the rooms once, or its folder does, of those in which there is a file for each family."""
    text = (DOCS / "architecture.md").read_text().split("## The rooms, from the bottom up")[1].split("\n## ")[0]
    rooms = [line for line in text.splitlines() if line.startswith("    ")]
    assert len({*rooms}) == len(rooms)
    named = re.findall(r"\b\w+\.py\b", "\n".join(rooms))
    package = ROOT / "tracegrad"
    files = [path for path in sorted(package.rglob("*.py")) if path.name != "__init__.py"]
    for path in files:
        folder = path.parent.relative_to(package).as_posix()
        if path.name not in named:
            assert folder.startswith(FAMILIES), f"{path} has no line in the rooms"
    assert {*named} <= {path.name for path in files}
    folders = {path.parent.name for path in files}
    assert {*re.findall(r"\b(\w+)/", "\n".join(rooms))} == folders - {package.name}
    names = [path.name for path in files]
    assert [name for name in {*named} if named.count(name) > names.count(name)] == []


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
