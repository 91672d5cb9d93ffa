"""The site: it builds without a warning, its links lead somewhere, it asks for nothing from outside, and nothing public is left out."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest

from tests import ROOT

for needed in ("sphinx", "myst_parser", "furo", "sphinx_copybutton", "latex2mathml", "jupytext"):
    pytest.importorskip(needed)


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    """docs/pages.py, which is no part of a package."""
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "docs"))
    return module


class Page(HTMLParser):
    """What a page has ids for, links to, and loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if "src" in found:
            self.loads.append(found["src"])
        if tag == "link" and "href" in found and found.get("rel") != "canonical":
            self.loads.append(found["href"])


def test_site(tmp_path: Path) -> None:
    """The one command of the README, from a copy: what it writes beside the documents is in no checkout."""
    for folder in ("docs", "examples"):
        ignored = shutil.ignore_patterns("reference", "course" if folder == "docs" else "", "ops.md", "extra", "output")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-b", "html", "docs", "site"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""

    found = {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}
    assert len(found) > 40
    for name, page in found.items():
        for load in page.loads:
            assert not load.startswith(("http:", "https:", "//")), f"{name} loads {load}"
            if not load.startswith(("data:", "#")):
                assert (site / name).parent.joinpath(unquote(load.split("?")[0])).exists(), f"{name} loads {load}"
        for link in page.links:
            if link.startswith(("http:", "https:", "mailto:")):
                continue
            target, _, place = unquote(link).partition("#")
            path = (site / name).parent.joinpath(target).resolve() if target else site / name
            assert path.exists(), f"{name} links to {link}"
            if place and path.suffix == ".html":
                other = found[path.relative_to(site.resolve()).as_posix()]
                assert place in other.ids, f"{name} links to {link}"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_every_public_name_is_on_a_page(pages: ModuleType) -> None:
    written = dict(pages.reference())
    for name in pages.modules():
        assert f"reference/{name}" in written
        assert f"[`{pages.shown(name)}`]({name}.md)" in written["reference/index"]
    for name in pages.entries():
        module, _, part = name.rpartition(".")
        text = written[f"reference/{module}"]
        assert any(f"{{py:{kind}}} {part}" in text for kind in ("function", "class", "data")), name


def test_every_chapter_and_program_is_on_a_page(pages: ModuleType) -> None:
    docs = ROOT / "docs"
    course, gallery = dict(pages.course(docs)), dict(pages.gallery(docs))
    assert {path.stem for path in (ROOT / "examples" / "gallery").glob("*.py")} - {"common"} <= {
        name.removeprefix("gallery/") for name in gallery
    }
    chapters = {path.stem for path in (ROOT / "examples" / "course").glob("[0-9]*.py")}
    assert {name.removeprefix("course/") for name in course} == chapters | {"index"}


def test_no_picture_is_missing(pages: ModuleType) -> None:
    """Pictures are made by running the programs, looked at, and put into docs/pictures/."""
    assert pages.missing_pictures(ROOT / "docs") == []


def test_pictures_are_small() -> None:
    for path in (ROOT / "docs" / "pictures").glob("*.png"):
        assert path.stat().st_size < 500_000, path


def test_pictures_of_the_readme(pages: ModuleType) -> None:
    text = (ROOT / "README.md").read_text()
    assert pages.readme(ROOT / "docs") == text
    for name in re.findall(r'src="([^"]+)"', text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
    "given, said",
    [
        ("Twice x.", ["Twice x."]),
        ("x * y, a_b and <c> of `x * y`.", ["x \\* y, a\\_b and \\<c\\> of `x * y`."]),
        (">>> f(1)\n1", ["", "```pycon", ">>> f(1)", "1", "```", ""]),
        (
            "Args:\n    x: of shape [n],\n        any n.\n",
            ["", "**Args**", "", "- `x`: of shape \\[n\\],", "  any n.", ""],
        ),
        ("As\n\n    y = 2 * x\n", ["As", "", "", "```python", "y = 2 * x", "```", ""]),
    ],
)
def test_docstrings_become_markdown(pages: ModuleType, given: str, said: list[str]) -> None:
    assert pages.markdown(given) == said


# Why a public name has no example in its docstring.
REASONS = {
    "other names and words for annotations": ["extend.OPS", "extend.Params", "lax.DotDimensionNumbers"]
    + ["optim.nadam", "optim.nadamw", "tree_util.KeyPath"]
    + [
        f"optim.{name}"
        for name in ("ConditionFn", "MaskOrFn", "OptState", "Params", "ScalarOrSchedule", "Schedule", "Updates")
    ]
    + [f"optim.{name}" for name in ("ShouldSkipUpdateFunction", "TransformInitFn", "TransformUpdateExtraArgsFn")]
    + ["optim.TransformUpdateFn", "optim.WrappedSchedule"],
    "an enumeration, whose members say what they are": [
        "lax.FftType",
        "lax.GatherScatterMode",
        "lax.Precision",
        "lax.RoundingMethod",
    ],
    "in the example of a whole op at the head of tg.extend and in docs/testing.md": [
        f"extend.{name}" for name in ("Op", "linear")
    ]
    + [
        f"extend.{name}"
        for name in ("along_axis", "elementwise", "implements", "locally_constant", "lowers", "multilinear")
    ],
    "in docs/testing.md, which shows the strategies at work": [
        f"testing.strategies.{name}" for name in ("Program", "arrays")
    ]
    + [
        f"testing.strategies.{name}"
        for name in ("broadcastable_shapes", "dtypes", "indices", "keys", "op_samples", "programs")
    ]
    + ["testing.strategies.pytrees", "testing.strategies.shapes", "testing.precise.Precise"],
    "in docs/training.md, where it runs": ["data.device_put", "train.LrFinder", "train.Run", "train.TensorBoard"],
    "asks for a file or a library that is not here": [
        "data.auto_mpg",
        "data.names",
        "data.penguins",
        "data.titanic",
        "nn.models.gpt2_from_huggingface",
    ],
    "in the example of what makes it": ["debug.Connections", "io.Checkpoint", "io.load_graph"]
    + [
        "lax.dtype",
        "custom_derivatives.zero_from_primal",
    ]
    + [f"lax.scatter_{name}" for name in ("apply", "max", "min", "mul", "sub")],
}


def without_example(pages: ModuleType) -> dict[str, Any]:
    """The names of no example, but for NumPy's own functions, and for records and errors, which the examples of those that return
    and raise them show."""
    found = {}
    for name, thing in pages.entries().items():
        record = isinstance(thing, type) and (
            issubclass(thing, tuple | BaseException) or dataclasses.is_dataclass(thing)
        )
        if (
            ">>>" not in pages.documentation(thing)
            and not record
            and not pages.is_numpys(thing)
            and not is_number(thing)
        ):
            found[name.removeprefix("tracegrad.")] = thing
    return found


def is_number(thing: Any) -> bool:
    """Or a table of NumPy's, or an object of a class of its own, such as `mgrid`: what no docstring is of."""
    return thing is None or type(thing) in (float, bool, dict, tuple) or type(thing).__module__.startswith("numpy")


def test_every_public_name_has_an_example_or_a_reason(pages: ModuleType) -> None:
    known = {name for names in REASONS.values() for name in names}
    assert sorted(without_example(pages).keys() ^ known) == []


def test_every_public_name_has_a_docstring(pages: ModuleType) -> None:
    silent = {
        name for name, thing in pages.entries().items() if not pages.documentation(thing) and not is_number(thing)
    }
    words = {f"tracegrad.{name}" for name in REASONS["other names and words for annotations"]}
    assert sorted(silent - words) == []
