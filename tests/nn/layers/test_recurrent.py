"""Recurrent layers against keras, whose parameters are these."""

from __future__ import annotations

import os
import warnings
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

with warnings.catch_warnings():  # of what keras imports, in older versions
    warnings.simplefilter("ignore")
    import keras

import tracegrad as tg
from tests.compare import near
from tracegrad import nn
from tracegrad.core.errors import ShapeError

# keras's variables and NumPy's copy=.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

rng = np.random.default_rng(0)
x = rng.normal(size=(2, 6, 3)).astype(np.float32)
CELLS = {"SimpleCell": keras.layers.SimpleRNN, "LSTMCell": keras.layers.LSTM, "GRUCell": keras.layers.GRU}


def ours_and_theirs(name: str, **options: Any) -> tuple[Any, Any, Any]:
    """Our layer, keras's with drawn parameters, and these as ours."""
    cell = getattr(nn, name)(4)
    theirs = CELLS[name](4, return_sequences=True, **options)
    theirs(x)
    weights = [rng.normal(size=w.shape).astype(np.float32) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    return cell, theirs, {f"{name}_0": dict(zip(["kernel", "recurrent_kernel", "bias"], weights, strict=True))}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_cells_are_those_of_keras(name: str, reverse: bool) -> None:
    cell, theirs, params = ours_and_theirs(name, go_backwards=reverse)
    net = nn.RNN(cell, reverse=reverse)
    expected = keras.ops.convert_to_numpy(theirs(x))[:, :: -1 if reverse else 1]
    shapes = tg.tree.tree_map(lambda t: t.shape, net.shapes(x))
    assert shapes == tg.tree.tree_map(np.shape, params)
    for call in (net, tg.jit(net), tg.jit(net, backend="xla"), tg.vmap(net, (None, 0))):
        near(call(params, x), expected, 2e-6)
    double = tg.tree.tree_map(lambda w: w.astype(np.float64), params)
    assert net(double, x).dtype == np.float64
    near(net(double, x), expected.astype(np.float64), 1e-5)
    tg.testing.check_grads(net, (double, x.astype(np.float64)), order=1, modes=["rev"])


@pytest.mark.parametrize("name", CELLS)
def test_lengths(name: str) -> None:
    cell, _, params = ours_and_theirs(name)
    lengths = np.array([6, 3])
    for reverse in (False, True):
        net = nn.RNN(cell, return_carry=True, reverse=reverse)
        carry, y = net(params, x, None, lengths)
        for i, n in enumerate(lengths):
            alone, part = net(params, x[i, :n])
            near(y[i, :n], part, 1e-6)
            assert not y[i, n:].any()
            near(tg.tree.tree_map(lambda c, i=i: c[i], carry), alone, 1e-6)


def test_time_major_unroll_and_carry() -> None:
    cell, _, params = ours_and_theirs("LSTMCell")
    expected = nn.RNN(cell)(params, x)
    near(nn.RNN(cell, time_major=True, unroll=4)(params, np.swapaxes(x, 0, 1)), np.swapaxes(expected, 0, 1), 1e-6)
    net = nn.RNN(cell, return_carry=True)
    carry, first = net(params, x[:, :2])
    _, second = net(params, x[:, 2:], carry)
    near(np.concatenate([first, second], 1), expected, 1e-6)


def test_bidirectional() -> None:
    onward, _, params = ours_and_theirs("GRUCell")
    back, _, others = ours_and_theirs("GRUCell")
    both = {"forward": params, "backward": others}
    net = nn.Bidirectional(onward, back)
    assert tg.tree.tree_structure(net.shapes(x)) == tg.tree.tree_structure(both)
    parts = [nn.RNN(onward)(params, x), nn.RNN(back, reverse=True)(others, x)]
    near(net(both, x), np.concatenate(parts, -1), 1e-6)
    near(nn.Bidirectional(onward, back, merge="sum")(both, x), parts[0] + parts[1], 1e-6)
    near(nn.Bidirectional(onward, back, merge="tuple")(both, x), tuple(parts), 1e-6)


def test_first_values() -> None:
    params = nn.LSTMCell(4).init(0, nn.LSTMCell(4).carry(2), (2, 3))
    assert params["bias"].tolist() == [0] * 4 + [1] * 4 + [0] * 8
    w = params["recurrent_kernel"]
    near(w @ w.T, np.eye(4, dtype=np.float32), 1e-5)


def test_errors() -> None:
    with pytest.raises(TypeError, match=r"nn\.RNN.*takes a cell such as nn\.LSTMCell\(8\), got Dense\(3\)"):
        nn.RNN(nn.Dense(3))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"RNN at .*: takes sequences \[\.\.\., time, in\], got \(3,\)"):
        nn.RNN(nn.GRUCell(3)).init(0, (3,))
    with pytest.raises(ValueError, match="merge is 'concatenate', 'sum' or 'tuple', got 'mul'"):
        nn.Bidirectional(nn.GRUCell(3), nn.GRUCell(3), merge="mul")  # type: ignore[arg-type]
