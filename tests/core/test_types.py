"""The types of variables."""

from __future__ import annotations

import numpy as np

from tracegrad.core.types import type_of


def test_types_print() -> None:
    assert str(type_of(np.zeros((2, 3), np.float32))) == "f32[2,3]"
    assert [str(type_of(x)) for x in (1.0, 1, True, 1j)] == ["f64~[]", "i64~[]", "bool~[]", "c128~[]"]
