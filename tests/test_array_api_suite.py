"""The command that runs array-api-tests, on a stand-in for a checkout of it, and the module of traced arrays that it tries."""

from __future__ import annotations

import importlib.machinery
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import array_api_suite, array_api_traced

CONFTEST = """
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--xfails-file")
    parser.addoption("--disable-data-dependent-shapes", action="store_true")


def pytest_collection_modifyitems(config, items):
    named = [x for x in Path(config.getoption("--xfails-file")).read_text().splitlines() if x and x[0] != "#"]
    for item in items:
        if any(x in item.nodeid for x in named):
            item.add_marker(pytest.mark.xfail())
"""
TESTS = """
import os
from importlib import import_module

xp = import_module(os.environ["ARRAY_API_TESTS_MODULE"])


def test_module():
    x = xp.asarray([1.0, 2.0])
    assert type(x).__module__ == ("tests.array_api_traced" if "traced" in xp.__name__ else "numpy")
    assert xp.all(x + xp.sin(x) > 0) and os.environ["ARRAY_API_TESTS_VERSION"] == "2024.12"


def test_finfo():
    raise AssertionError
"""


def stand_in(folder: Path, file: str = "test_data_type_functions.py") -> str:
    (folder / "array_api_tests").mkdir()
    (folder / "array_api_tests" / "__init__.py").touch()
    (folder / "array_api_tests" / file).write_text(TESTS)
    (folder / "conftest.py").write_text(CONFTEST)
    return str(folder)


@pytest.fixture
def ndindex(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were there, which the stand-in does not need."""
    found = array_api_suite.importlib.util.find_spec
    spec = importlib.machinery.ModuleSpec("ndindex", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "ndindex" else found(name))


@pytest.mark.usefixtures("ndindex")
def test_a_checkout_is_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert array_api_suite.main([stand_in(tmp_path), "--on", "jit", "-p", "no:cacheprovider"]) == 0
    assert "1 passed, 1 xfailed" in capfd.readouterr().out


@pytest.mark.usefixtures("ndindex")
def test_what_is_not_named_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert array_api_suite.main([stand_in(tmp_path, "test_else.py"), "-p", "no:cacheprovider"]) == 1
    assert "1 failed, 1 passed" in capfd.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        array_api_suite.main(given)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_what_there_is_no_suite_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the following arguments are required: checkout" in refused(capsys)
    missing = f"{tmp_path / 'none'} is no checkout of https://github.com/data-apis/array-api-tests"
    assert missing in refused(capsys, str(tmp_path / "none"))
    assert "git clone --recurse-submodules" in refused(capsys, str(tmp_path))
    assert "invalid choice: 'gpu'" in refused(capsys, str(tmp_path), "--on", "gpu")


def test_what_the_suite_wants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = stand_in(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "needs ndindex" in refused(capsys, checkout)
    (tmp_path / "array-api").mkdir()
    assert "git submodule update --init" in refused(capsys, checkout)


def test_exceptions_have_reasons() -> None:
    """Each paragraph of the list begins with one."""
    head, *paragraphs = array_api_suite.XFAILS.read_text().split("\n\n")
    assert "tests/array_api_suite.py" in head
    for paragraph in paragraphs:
        lines = paragraph.splitlines()
        assert lines[0].startswith("# ") and any(line.startswith("test_") for line in lines[1:]), paragraph
        assert all(line.startswith("# ") or ".py::test_" in line for line in lines), paragraph


@pytest.mark.parametrize("how", ["values", "jit"])
def test_traced_arrays(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_api_traced, "HOW", how)
    xp: Any = array_api_traced
    x = xp.asarray([[3.0, 1.0], [2.0, 4.0]])
    assert isinstance(x, xp.Array) and (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 2), 2, 4, np.float64, "cpu")
    for name in ("add", "sub", "matmul", "lt"):
        plain = getattr(operator, name)(x.value, x.value)
        assert np.array_equal(getattr(operator, name)(x, x).value, plain)
    assert (1 - x).value.tolist() == [[-2.0, 0.0], [-1.0, -3.0]] and (-x.mT)[0, 1].value == -2.0
    made = xp.linalg.slogdet(x)
    assert type(made).__name__ == "SlogdetResult" and np.isclose(float(made.logabsdet), np.log(10))
    assert xp.result_type(x, xp.float32) == np.float64 and xp.isdtype(x.dtype, "real floating") is True
    same, copy = xp.asarray(x, copy=False), xp.asarray(x, copy=True)
    x[0, 0] = 5.0
    x[:, 1] += x[0, 0]
    assert x.value.tolist() == [[5.0, 6.0], [2.0, 9.0]]
    assert same is x and float(copy[0, 0]) == 3.0
    assert [a.value.tolist() for a in xp.unstack(x)] == [[5.0, 6.0], [2.0, 9.0]]
    with pytest.raises(AttributeError, match="nothing"):
        x.nothing  # noqa: B018
