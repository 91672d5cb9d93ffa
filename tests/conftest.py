"""What holds for all files of tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _little_memory() -> Iterator[None]:
    """jax keeps each program that it compiles, and the thousands of the whole suite come to gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
