"""Layers made of layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near, same_bits
from tracegrad import nn
from tracegrad.core.errors import ShapeError

x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def test_residual_and_parallel() -> None:
    dense = nn.Dense(3)
    net = nn.residual(dense)
    params = net.init(0, x)
    near(net(params, x), x + dense(params["Dense_0"], x))
    net = nn.residual(nn.Dense(2), shortcut=nn.Dense(2, use_bias=False))
    params = net.init(0, x)
    near(net(params, x), nn.Dense(2)(params["Dense_0"], x) + x @ params["Dense_1"]["kernel"])
    for combine, join in (("concatenate", lambda a, b: np.concatenate([a, b], -1)), ("sum", np.add)):
        net = (
            nn.parallel(nn.Dense(2), np.sin, combine=combine)
            if combine != "sum"
            else nn.parallel(np.cos, np.sin, combine="sum")
        )
        params = net.init(0, x)
        first = nn.Dense(2)(params["Dense_0"], x) if combine != "sum" else np.cos(x)
        near(net(params, x), join(first, np.sin(x)))
    assert len(nn.parallel(np.cos, np.sin, combine="tuple")({}, x)) == 2
    with pytest.raises(ValueError, match="combine is 'concatenate', 'sum' or 'tuple', got 'mean'"):
        nn.parallel(np.cos, combine="mean")  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [np.float64, np.float16, np.int64])
def test_functions_beside_layers_with_parameters_in_their_dtype(data: Any) -> None:
    given = np.arange(8).reshape(2, 4).astype(data)
    doubled: Any = lambda x: 2 * x[..., :2]
    for combine in ("concatenate", "sum"):
        net = nn.parallel(nn.Dense(2), doubled, combine=combine)  # type: ignore[arg-type]
        for dtype in (np.float32, np.float64):
            params = net.init(0, given, dtype=dtype)
            found = net(params, given)
            dense = nn.Dense(2)(params["Dense_0"], given)
            expected = dense + 2 * given[:, :2] if combine == "sum" else np.concatenate([dense, 2 * given[:, :2]], -1)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, expected.astype(dtype), rtol=1e-6)
            same_bits(tg.jit(net)(params, given), found)
    assert [y.dtype for y in nn.parallel(nn.Dense(2), doubled, combine="tuple")(params, given)] == [dtype, data]
    assert nn.parallel(np.cos, doubled)({}, given).dtype == np.cos(given).dtype  # no parameters, NumPy's dtypes


def test_serial_names() -> None:
    net = nn.serial(nn.Dense(3), np.tanh, head=nn.Dense(1))
    assert repr(net) == "serial(Dense(3), tanh, head=Dense(1))"
    assert sorted(net.init(0, x)) == ["Dense_0", "head"]
    assert repr(nn.repeat(lambda: nn.Dense(3), 2)) == "serial(Dense(3), Dense(3))"


@nn.layer
def block(p: Any, x: Any) -> Any:
    count = p.state("count", nn.initializers.zeros, ())
    p.update("count", count + 1)
    noise = tg.random.bits(p.key(), x.shape, np.uint8).astype(np.float32) if p.train else 0
    return x + np.tanh(p(nn.Dense(3), x)) + noise


@pytest.mark.parametrize("remat", [False, True])
def test_a_stack_is_a_loop_over_its_layers(remat: bool) -> None:
    net = nn.stack(block, 4, remat=remat)
    params, state = net.init(0, x), net.init_state(x)
    assert params["Dense_0"]["kernel"].shape == (4, 3, 3) and state["count"].shape == (4,)
    assert len({row.tobytes() for row in params["Dense_0"]["kernel"]}) == 4

    def unrolled(params: Any, x: Any) -> Any:
        for i in range(4):
            own = tg.tree.tree_map(lambda a, i=i: a[i], params)
            x, _ = block.apply(own, x, state={"count": np.zeros((), np.float32)})
        return x

    y, after = net.apply(params, x, state=state)
    near(y, unrolled(params, x))
    np.testing.assert_array_equal(after["count"], np.ones(4))
    loss = lambda f: lambda p: np.sum(f(p) ** 2)
    mine = tg.grad(loss(lambda p: net.apply(p, x, state=state)[0]))
    near(mine(params)["Dense_0"]["kernel"], tg.grad(loss(lambda p: unrolled(p, x)))(params)["Dense_0"]["kernel"], 1e-5)
    near(tg.jit(mine, backend="xla")(params)["Dense_0"]["kernel"], mine(params)["Dense_0"]["kernel"], 1e-5)
    key = tg.random.PRNGKey(0)
    noisy, _ = net.apply(params, x, state=state, key=key, train=True)
    again, _ = tg.jit(lambda p: net.apply(p, x, state=state, key=key, train=True))(params)
    np.testing.assert_array_equal(noisy, again)
    with pytest.raises(ShapeError, match="a stack needs a layer that returns the type that it takes"):
        nn.stack(nn.Dense(5), 2).init(0, x)


def test_remat_changes_what_is_kept_alone() -> None:
    plain, net = block, nn.remat(block)
    params, state = net.init(0, x), net.init_state(x)
    key = tg.random.PRNGKey(0)
    loss = lambda net: lambda p: np.sum(net.apply(p, x, state=state, key=key)[0] ** 2)
    assert tg.tree.tree_structure(params) == tg.tree.tree_structure(plain.init(0, x))
    near(tg.grad(loss(net))(params)["Dense_0"]["kernel"], tg.grad(loss(plain))(params)["Dense_0"]["kernel"])
    np.testing.assert_array_equal(net.apply(params, x, state=state)[1]["count"], 1)


def test_cast_is_differentiated() -> None:
    params = {"w": x, "n": np.arange(3), "c": np.ones(2, complex), "b": np.ones(3, np.float32)}
    half = nn.cast(params, "float16", where=lambda path, leaf: leaf.ndim > 1)
    assert {k: str(v.dtype) for k, v in half.items()} == {
        "w": "float16",
        "n": "int64",
        "c": "complex128",
        "b": "float32",
    }
    assert tg.grad(lambda w: np.sum(nn.cast({"w": w}, "float16")["w"]).astype(np.float32))(x).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float64", "int64", "bool", "float32", "float16"])
@pytest.mark.parametrize("wrap", [lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")], ids=["eager", "jit", "xla"])
def test_float32_parameters_compute_in_float32_whatever_the_data(wrap: Any, dtype: str) -> None:
    given = (4 * x).astype(dtype)
    nets = nn.residual(nn.Dense(3)), nn.stack(nn.Dense(3), 2), nn.stack(nn.residual(nn.Dense(3)), 2, remat=True)
    for net in nets:
        params = net.init(0, given)
        y = np.asarray(wrap(net)(params, given))
        assert y.dtype == np.float32
        near(y, net(params, given.astype(np.float32)), 1e-5)
        assert net(nn.cast(params, np.float64), given).dtype == np.float64
    assert nn.residual(np.sign)({}, given.astype(np.float64)).dtype == np.float64
