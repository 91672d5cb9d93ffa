"""Tests of files."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(found: Any, expected: Any) -> None:
    """Of the same types, to the last bit."""
    assert type(found) is type(expected), (found, expected)
    if isinstance(expected, np.ndarray | np.generic):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert repr(found) == repr(expected)
