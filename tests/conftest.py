"""What holds for all files of tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Tests compute in float64 on XLA with jax's flag off, and know it. Those of the warning catch it themselves."""
    config.addinivalue_line("filterwarnings", "ignore::tracegrad.core.errors.PrecisionWarning")


@pytest.fixture(autouse=True, scope="module")
def _little_memory() -> Iterator[None]:
    """jax keeps each program that it compiles, and the thousands of the whole suite come to gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
