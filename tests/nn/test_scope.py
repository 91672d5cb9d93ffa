"""Scope: names, sharing, binding, and errors that name the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn
from tracegrad.core.errors import ShapeError
from tracegrad.nn.scope import hashed

x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def test_names_count_within_their_layer() -> None:
    @nn.layer
    def inner(p: Any, x: Any) -> Any:
        return p(nn.Dense(3), p(nn.Dense(3), x))

    @nn.layer
    def outer(p: Any, x: Any) -> Any:
        return p(inner, p(inner, p(nn.Dense(3), x)), name="last") + p(np.tanh, x)

    params = outer.init(0, x)
    names = {".".join(str(k.key) for k in path) for path, _ in tg.tree.tree_flatten_with_path(params)[0]}
    kinds = ("bias", "kernel")
    assert names == {f"Dense_0.{k}" for k in kinds} | {
        f"{layer}.Dense_{i}.{k}" for layer in ("inner_0", "last") for i in (0, 1) for k in kinds
    }


def test_a_key_is_folded_along_the_path() -> None:
    @nn.layer
    def outer(p: Any, x: Any) -> Any:
        return p(nn.layer(lambda p, x: x + p.param("w", drawn, (2,))), x, name="inner")

    def drawn(key: Any, shape: Any, dtype: Any) -> Any:
        return np.asarray(key)

    key = tg.random.PRNGKey(5)
    expected = tg.random.fold_in(tg.random.fold_in(key, hashed("inner")), hashed("w"))
    np.testing.assert_array_equal(outer.init(key, (2,))["inner"]["w"], expected)


def test_the_same_layer_shares_and_another_is_refused() -> None:
    dense = nn.Dense(3)

    @nn.layer
    def tied(p: Any, x: Any) -> Any:
        return p(dense, p(dense, x, name="one"), name="one")

    params = tied.init(0, x)
    assert sorted(params) == ["one"]
    np.testing.assert_array_equal(tied(params, x), dense(params["one"], dense(params["one"], x)))

    @nn.layer
    def clash(p: Any, x: Any) -> Any:
        h = p(nn.Dense(3), x, name="up")
        return p(nn.Dense(3), h, name="up")

    with pytest.raises(
        ValueError, match=r"clash at .*test_scope.py:\d+ .*two layers are called 'up', the other at .*:\d+ "
    ):
        clash.init(0, x)

    @nn.layer
    def both(p: Any, x: Any) -> Any:
        return p(nn.Dense(3), x, name="w") + p.param("w", nn.initializers.ones, (3,))

    with pytest.raises(ValueError, match="'w' is the name of a layer here"):
        both.init(0, x)


@pytest.mark.parametrize("name", ["", "a.b", 3])
def test_names_are_texts_without_dots(name: Any) -> None:
    with pytest.raises(ValueError, match="the name of a layer is a text without dots"):
        nn.layer(lambda p, x: p(nn.Dense(3), x, name=name)).init(0, x)
    with pytest.raises(ValueError, match="the name of a parameter is a text without dots"):
        nn.layer(lambda p, x: p.param(name, nn.initializers.ones, (3,))).init(0, x)


def test_bound_layers_run_in_loops() -> None:
    @nn.layer
    def recurrent(p: Any, xs: Any) -> Any:
        cell = p.bind(nn.Dense(3), xs[0])
        return tg.lax.scan(lambda h, x: (np.tanh(cell(h + x)), None), np.zeros_like(xs[0]), xs)[0]

    params = recurrent.init(0, x)
    h = np.zeros(3, np.float32)
    for row in x:
        h = np.tanh((h + row) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    np.testing.assert_allclose(recurrent(params, x), h, rtol=1e-6)
    np.testing.assert_allclose(tg.jit(recurrent)(params, x), h, rtol=1e-6)

    @nn.layer
    def unbound(p: Any, xs: Any) -> Any:
        return tg.lax.scan(lambda h, x: (p(nn.Dense(3), h + x), None), np.zeros_like(xs[0]), xs)[0]

    with pytest.raises(
        ValueError, match=r"parameters cannot be made inside lax.scan: make 'kernel' outside, with f = p\.bind"
    ):
        unbound.init(0, x)


def test_an_error_inside_says_in_which_layer() -> None:
    @nn.layer
    def outer(p: Any, x: Any) -> Any:
        return p(nn.serial(lambda x: x @ np.ones((7, 7))), x, name="body")

    with pytest.raises(ValueError, match="matmul") as caught:
        outer({}, x)
    assert [note for note in caught.value.__notes__ if "layer" in note] == ["in layer outer.body.lambda_0"]


def test_updates_keep_their_type() -> None:
    @nn.layer
    def keeps(p: Any, x: Any) -> Any:
        p.state("mean", nn.initializers.zeros, (3,))
        p.update("mean", np.mean(x.astype(np.float64), 0))
        return p.state("mean", nn.initializers.zeros, (3,))

    state = keeps.init_state(x)
    y, after = keeps.apply({}, x, state=state)
    assert after["mean"].dtype == np.float32
    np.testing.assert_array_equal(y, after["mean"])
    grad = tg.grad(lambda x: np.sum(keeps.apply({}, x, state=state)[0]))
    np.testing.assert_array_equal(grad(x), np.zeros_like(x))

    @nn.layer
    def wrong(p: Any, x: Any) -> Any:
        p.state("mean", nn.initializers.zeros, (3,))
        p.update("mean", x)

    with pytest.raises(ShapeError, match=r"state 'mean' is \(3,\), and cannot become \(4, 3\)"):
        wrong.apply({}, x, state=state)
    with pytest.raises(ValueError, match="no state 'mean' to update"):
        nn.layer(lambda p, x: p.update("mean", x)).apply({}, x, state={})


def test_tables_of_parameters_are_indexed_by_what_is_traced() -> None:
    @nn.layer
    def embed(p: Any, tokens: Any) -> Any:
        return p.param("table", nn.initializers.lecun_normal(), (5, 2))[tokens]

    tokens = np.array([1, 4, 4])
    params = embed.init(0, tokens)
    expected = params["table"][tokens]
    np.testing.assert_array_equal(embed(params, tokens), expected)
    np.testing.assert_array_equal(tg.jit(lambda tokens: embed(params, tokens))(tokens), expected)
    np.testing.assert_array_equal(tg.vmap(lambda t: embed(params, t))(tokens), expected)


def test_bind_of_layers_within_layers() -> None:
    """Layers without state keep none, however deep they are."""
    net = nn.layer(lambda p, x: p.bind(nn.serial(nn.Dense(3), nn.serial(nn.Dense(2))), x)(x))
    x = np.ones((4, 5))
    assert net(net.init(0, x), x).shape == (4, 2)
    keeps = nn.layer(lambda p, x: p.bind(nn.serial(nn.Dense(3), nn.BatchNorm()), x)(x))
    with pytest.raises(ValueError, match=r"serial_0.*: keeps BatchNorm_0 from call to call, so it cannot be bound"):
        keeps.init(0, x)
