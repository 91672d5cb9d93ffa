"""Static arguments: told apart by value, named by position or by name."""

from __future__ import annotations

import zlib
from typing import Any

import ml_dtypes  # noqa: F401, which gives NumPy bfloat16
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.transforms.test_signatures import STATIC, Layer, X
from tracegrad.core.static import frozen

values = st.recursive(
    st.sampled_from(
        [*STATIC, float("nan"), 0j, -0j, np.float64(0.0), np.float64(-0.0), np.int64(1), range(0), range(1, 1)]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.sampled_from(["a", "b", 1, True, 1.0]), inner, max_size=2),
        st.builds(Layer, inner, inner),
        st.lists(st.sampled_from([0, 1, -0.0, 0.0, True]), max_size=2).map(np.array),
        st.lists(inner, min_size=1, max_size=2).map(lambda xs: np.fromiter(xs, object)),
    ),
    max_leaves=4,
)


@given(values, values)
@settings(max_examples=150, derandomize=True, deadline=None, database=None)
def test_static_values(a: Any, b: Any) -> None:
    """By what they print, which shows types but for arrays within."""
    text = lambda x: repr(x) if not isinstance(x, np.ndarray) else repr((x.dtype, x.tolist()))
    jitted = tg.jit(lambda x, s: x * float(zlib.crc32(text(s).encode())), static_argnums=1)
    for s in (a, b, a, b):
        np.testing.assert_array_equal(jitted(X, s), X * float(zlib.crc32(text(s).encode())))
    assert len(jitted.trace_log) == 1 + (frozen(a) != frozen(b))
    assert hash(frozen(a)) == hash(frozen(a)) and frozen(a) == frozen(a)


def scaled(x: Any, times: Any = 1, *, sign: Any = 1) -> Any:
    assert type(times) is int
    return x * sign if times == 1 else x * times


@pytest.mark.parametrize("static", [{"static_argnums": 1}, {"static_argnums": -1}, {"static_argnames": "times"}])
@pytest.mark.parametrize("backend", ["numpy", "xla", None])
def test_a_static_argument_by_position_and_by_name(static: Any, backend: str | None) -> None:
    transformed = tg.checkpoint(scaled, **static) if backend is None else tg.jit(scaled, backend=backend, **static)
    assert float(transformed(2.0, 3)) == float(transformed(2.0, times=3)) == float(transformed(x=2.0, times=3)) == 6.0
    assert float(transformed(2.0)) == float(transformed(2.0, sign=1)) == 2.0
    assert float(tg.grad(lambda x: transformed(x, times=3))(2.0)) == 3.0
