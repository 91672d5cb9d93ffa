"""The text of a failed check runs, and fails in the same way; and pytest prints it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tracegrad.testing import plugin

MODEL = """
    import hypothesis, hypothesis.strategies as st, numpy as np, pytest, tracegrad as tg
    from tracegrad.core.op import Sample
    from tracegrad.ops.families import elementwise
    from tracegrad.testing import check_grads, check_jit, check_rule

    @tg.custom_jvp
    def wrong(x):
        return np.sin(x)

    wrong.defjvp(lambda p, t: (wrong(p[0]), 2.0 * np.cos(p[0]) * t[0]))
    op = elementwise("wrong_op", lambda x: np.sin(x), lambda d, out, x: d, infer=lambda types, params: types[0],
                     samples=lambda: [Sample((np.zeros(2),)), Sample((np.ones(2),))])

    def test_cause():
        try:
            check_grads(wrong, (1.0,), order=1)
        except AssertionError as error:
            raise RuntimeError("because of") from error

    def test_rule():
        check_rule(op)

    @hypothesis.settings(database=None, derandomize=True, deadline=None)
    @hypothesis.given(st.floats(0.0, 4.0), st.integers(0, 9))
    def test_shrinks(x, n):
        check_grads(lambda x: wrong(x) if n > 3 else np.sin(x), (x,), order=1)
"""


def pytest_prints(folder: Path, *options: str, installed: bool = True, model: str = MODEL) -> list[str]:
    """The reproducers that pytest prints for a test module in a folder of its own, with the plugin installed as pip would
    have it, or not."""
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]["tracegrad"]
    about = folder / "installed" / "tracegrad-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tracegrad\nVersion: 0\n")
    (about / "entry_points.txt").write_text(f"[pytest11]\ntracegrad = {entry}\n")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-config\n")
    (folder / "test_model.py").write_text(textwrap.dedent(model))
    output = run_python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *options,
                        path=[about.parent] if installed else [])  # fmt: skip
    assert " failed" in output, output
    return re.findall(rf"^-+ {plugin.TITLE} -+\n(.*?)(?=^[-_=]{{3,}}.*[-_=]{{3,}}$)", output, re.MULTILINE | re.DOTALL)


def run_python(folder: Path, *arguments: Any, path: Sequence[Path] = ()) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    env |= {"PY_COLORS": "0", "PYTHONPATH": os.pathsep.join([str(p) for p in (ROOT, *path)])}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=env)
    return done.stdout + done.stderr


def test_pytest_prints_what_runs(tmp_path: Path) -> None:
    cause, rule, shrunk = pytest_prints(tmp_path)
    assert "from test_model import wrong\n" in cause and "from test_model import op\n" in rule
    assert "\nn = 4\n" in shrunk and "\nargs = (0.0,)\n" in shrunk
    (elsewhere := tmp_path / "elsewhere").mkdir()
    for text, of in ((cause, "wrong"), (rule, "wrong_op of f64[2] on sample 0"), (shrunk, "<lambda>")):
        (elsewhere / "again.py").write_text(text)
        assert f"GradientError: check_grads: the derivative of order 1 of '{of}'" in run_python(elsewhere, "again.py")


def test_the_section_in_the_documents(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    last = next(i for i, block in enumerate(blocks) if "def test_softsign" in block)
    (printed,) = pytest_prints(tmp_path, model="".join(blocks[: last + 1]))
    (shown,) = re.findall(rf"^-+ {plugin.TITLE} -+\n(.*?)\n```", text, re.MULTILINE | re.DOTALL)
    assert printed.strip() == shown.replace("/home/me/model", str(tmp_path))


@pytest.mark.parametrize("options, installed, active", [
    ("-p tracegrad.testing.plugin", True, 1), ("-p tracegrad.testing.plugin", False, 1), ("-p no:tracegrad", True, 0),
    pytest.param("-n1", True, 1, marks=pytest.mark.slow),
])  # fmt: skip
def test_registration(tmp_path: Path, options: str, installed: bool, active: int) -> None:
    assert len(pytest_prints(tmp_path, "-k", "cause", *options.split(), installed=installed)) == active


def test_reproducers_of_chains() -> None:
    known, handled = [ValueError() for _ in range(3)], ValueError()
    for number, error in enumerate(known):
        error.reproducer = f"{number}"  # type: ignore[attr-defined]
    group = ExceptionGroup("", [known[0], ValueError(), ExceptionGroup("", [known[1]])])
    handled.__context__, known[2].__context__ = known[2], handled
    assert [*plugin.reproducers(group), *plugin.reproducers(handled)] == ["0", "1", "2"]
    handled.__suppress_context__ = True
    assert list(plugin.reproducers(handled)) == []


def test_the_plugin_loads_neither_hypothesis_nor_jax(tmp_path: Path) -> None:
    code = "import sys, tracegrad.testing.plugin; print({'jax', 'hypothesis', 'scipy'} & set(sys.modules))"
    assert run_python(tmp_path, "-W", "error", "-c", code) == "set()\n"
