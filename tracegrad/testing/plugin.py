"""A pytest plugin, active wherever tracegrad is installed: the report of a test that a check of tracegrad.testing failed in
has a section with Python that fails in the same way. `-p no:tracegrad` leaves it out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

TITLE = "tracegrad reproducer"


def reproducers(error: BaseException) -> Iterator[str]:
    """Those of an error or else of the errors that it holds, as hypothesis has several in a group, or that it came from."""
    open_errors, seen = [error], set()
    while open_errors:
        error = open_errors.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        text = getattr(error, "reproducer", None)
        if isinstance(text, str):
            yield text
            continue
        if isinstance(error, BaseExceptionGroup):
            open_errors += error.exceptions
        origin = error.__context__ if error.__cause__ is None and not error.__suppress_context__ else error.__cause__
        open_errors += [origin] if origin is not None else []


# The old kind of wrapper, which every version of pytest takes: the plugin is active in projects that pin an older one.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.excinfo is not None:
        for text in reproducers(call.excinfo.value):
            if (TITLE, text) not in report.sections:
                report.sections.append((TITLE, text))


class Installed:
    """What the entry point registers, under the name `tracegrad`: not this module, since pytest refuses a module that
    `-p tracegrad.testing.plugin` or `pytest_plugins` has registered under its own name."""

    pytest_runtest_makereport = staticmethod(pytest_runtest_makereport)


installed = Installed()
