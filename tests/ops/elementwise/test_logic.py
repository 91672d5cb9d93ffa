"""Questions about elements."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numpy.test_creation import same_as_numpy

jax.config.update("jax_enable_x64", True)

ODD = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, -2.5])
QUESTIONS = [
    "isposinf", "isneginf", "isnan", "isinf", "isfinite", "signbit", "iscomplex", "isreal", "logical_not",
]  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_about_elements(name: str) -> None:
    same_as_numpy(getattr(np, name), ODD)
    if name not in ("isposinf", "isneginf", "signbit"):
        same_as_numpy(getattr(np, name), ODD + 1j * np.array([0, 1, 0, 0, 0, 0, -1.0]))
    same_as_numpy(getattr(np, name), np.array([0, 1, 2]))
