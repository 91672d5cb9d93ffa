"""Devices, and the way into jax."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.transforms.jit.test_xla import same

jax = pytest.importorskip("jax")

import tracegrad as tg  # noqa: E402

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")

X = np.linspace(-1.0, 2.0, 6).reshape(2, 3)


def test_devices() -> None:
    assert tg.devices() == jax.devices()
    tree = tg.device_put({"a": X, "n": np.int64(3)}, tg.devices()[0])
    assert (tree["a"].dtype, tree["n"].dtype) == (np.float64, np.int64)


def test_to_jax_hands_over_functions_of_numpy() -> None:
    f = tg.to_jax(lambda p, scale=1.0: {"y": np.tanh(p["x"]) * scale})
    same(f({"x": X}, scale=2.0), {"y": np.tanh(X) * 2.0})
    assert f.__wrapped__ is not None
    with pytest.raises(TypeError, match="to_jax"):
        tg.to_jax(3)


def test_arguments_stay_where_they_are() -> None:
    """No container is changed on the way, and static arguments are handed over as they are."""
    seen = []
    point = Point(np.ones(2), np.float64(2.0))
    fixed = [np.ones(2)]
    f = tg.jit(lambda s, p: (seen.append(s), p)[1], backend="xla", static_argnums=0)
    x = np.ones(3)
    out = f(fixed, {"b": [x], "a": (point, None)})
    assert seen[0] is fixed
    assert list(out) == ["b", "a"] and type(out["a"][0]) is Point
    assert out["b"][0] is not x and x.flags.writeable


class Point(NamedTuple):
    x: Any
    y: Any
