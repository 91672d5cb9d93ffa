"""What holds for all files of tests, and for the examples in docstrings, which are run as well."""

from __future__ import annotations

import doctest
import gc
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest

from tests import LATER, ROOT

OPTIONAL = ("jax", "scipy", "mpmath", "hypothesis")  # NumPy is all that tracegrad needs


def pytest_configure(config: pytest.Config) -> None:
    """Tests compute in float64 on XLA with jax's flag off, and know it. Those of the warning catch it themselves. Hypothesis draws the
    same examples everywhere, and does not ask how long one takes."""
    config.addinivalue_line("filterwarnings", "ignore::tracegrad.core.errors.PrecisionWarning")
    os.environ["TRACEGRAD_TRACEBACKS"] = "full"  # where a test fails, our own frames are what matters
    if importlib.util.find_spec("hypothesis"):
        import hypothesis

        hypothesis.settings.register_profile("everywhere", deadline=None, derandomize=True, database=None)
        hypothesis.settings.load_profile("everywhere")


def _documents_our_own(item: pytest.Item) -> bool:
    """
    Whether these aren't the examples of a function that a namespace has from NumPy. Those of functions that name their
    namespace as their module are run among the names of the file that defines them.
    """
    if isinstance(item, pytest.DoctestItem) and item.dtest is not None:
        namespace, _, name = item.dtest.name.rpartition(".")
        function = inspect.unwrap(getattr(sys.modules.get(namespace), name, None))
        if inspect.isroutine(function):
            home = sys.modules.get(function.__module__ or "")
            if home is None or not home.__name__.startswith("tracegrad"):
                return False
            item.dtest.globs = vars(home).copy()
            item.dtest.filename = home.__file__
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whole programs take minutes each: they run where they are asked for. Examples of others' functions do not run."""
    items[:] = filter(_documents_our_own, items)
    if "whole" not in config.option.markexpr:
        whole = [item for item in items if item.get_closest_marker("whole")]
        items[:] = [item for item in items if not item.get_closest_marker("whole")]
        if whole:
            config.hook.pytest_deselected(items=whole)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """An example of what needs a package that is not there is skipped. (Modules that import one are, by an option.)"""
    try:
        return (yield)
    except doctest.UnexpectedException as error:
        absent = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
        if absent and isinstance(error.exc_info[1], ImportError):
            pytest.skip(f"{error.exc_info[1]}")
        raise
    except AttributeError as error:
        # A test of what this NumPy has not got yet is skipped; that the library itself asks for it is a failure.
        missing = re.fullmatch("module 'numpy' has no attribute '(.*)'", str(error))
        asked = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(np.__path__[0])][-1]
        if missing and missing[1] in LATER and asked.filename.startswith(str(ROOT / "tests")):
            pytest.skip(str(error))
        raise


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("numpy"):
        if np.lib.NumpyVersion(np.__version__) < mark.args[0]:
            pytest.skip(
                f"NumPy {np.__version__} answers otherwise than {mark.args[0]}, which is what traced functions do"
            )


@pytest.fixture(autouse=True, scope="module")
def _little_memory() -> Iterator[None]:
    """jax keeps each program that it compiles, and the thousands of the whole suite come to gigabytes."""
    yield
    if found := sys.modules.get("jax"):
        found.clear_caches()


@pytest.fixture(scope="module")
def new_objects_alone() -> Iterator[None]:
    """The collector passes over all that is there already, which is gigabytes after some thousand tests: a second each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def jax_as_it_comes() -> Iterator[None]:
    """With 64-bit types off, which other tests switch on for good."""
    with pytest.importorskip("jax").enable_x64(False):
        yield


@pytest.fixture(scope="module")
def jax() -> Any:
    """With 64-bit types on, as most tests want it."""
    found = pytest.importorskip("jax")
    found.config.update("jax_enable_x64", True)
    return found
