"""Layer: what a function of a scope is made into, and what it says of arguments that do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn
from tracegrad.core.errors import DtypeError, ShapeError

net = nn.serial(nn.Dense(8), nn.relu, nn.Dense(2))
x = np.linspace(-1, 1, 12).reshape(4, 3)


def same(a: Any, b: Any) -> None:
    assert tg.tree.tree_structure(a) == tg.tree.tree_structure(b)
    for one, other in zip(tg.tree.tree_leaves(a), tg.tree.tree_leaves(b), strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_array_equal(one, other)


def by_hand(params: Any, x: np.ndarray[Any, Any]) -> Any:
    one, two = params["Dense_0"], params["Dense_1"]
    hidden = np.maximum(x.astype(one["kernel"].dtype) @ one["kernel"] + one["bias"], 0)
    return hidden @ two["kernel"] + two["bias"]


def test_a_net_is_the_expressions_that_it_stands_for() -> None:
    params = net.init(0, x)
    same(net(params, x), by_hand(params, x))
    same(net.apply(params, x), by_hand(params, x))
    same(tg.jit(net)(params, x), by_hand(params, x))
    loss = lambda f: lambda params: np.mean(f(params, x) ** 2)
    same(tg.grad(loss(net))(params), tg.grad(loss(by_hand))(params))
    same(
        tg.vmap(tg.grad(lambda p, x: np.sum(net(p, x))), (None, 0))(params, x),
        tg.vmap(tg.grad(lambda p, x: np.sum(by_hand(p, x))), (None, 0))(params, x),
    )


def test_init_takes_arrays_types_and_shapes() -> None:
    params = net.init(0, x)
    same(params, net.init(tg.random.PRNGKey(0), (4, 3)))
    same(params, net.init(0, tg.ShapeDtypeStruct((9, 3), "float64")))
    same(params, tg.jit(lambda key: net.init(key, x))(tg.random.PRNGKey(0)))
    assert {leaf.dtype for leaf in tg.tree.tree_leaves(params)} == {np.dtype(np.float32)}
    assert {leaf.dtype for leaf in tg.tree.tree_leaves(net.init(0, x, dtype=np.float64))} == {np.dtype(np.float64)}
    many = tg.vmap(lambda key: net.init(key, x))(tg.random.split(tg.random.PRNGKey(3), 5))
    assert many["Dense_0"]["kernel"].shape == (5, 3, 8)
    assert tg.tree.tree_map(lambda t: t.shape, net.shapes(x)) == tg.tree.tree_map(np.shape, params)


def test_init_computes_nothing_forward() -> None:
    def explode(x: Any) -> Any:
        calls.append(x)
        return x

    calls: list[Any] = []
    nn.serial(explode, nn.Dense(1)).init(0, x)
    assert [type(c).__name__ for c in calls] == ["Tracer"]


def test_another_layer_changes_no_numbers() -> None:
    @nn.layer
    def small(p: Any, x: Any) -> Any:
        return p(nn.Dense(2), p(nn.Dense(8), x, name="up"), name="down")

    @nn.layer
    def large(p: Any, x: Any) -> Any:
        return p(nn.Dense(2), p(nn.Dense(8), p(nn.Dense(8), x, name="up"), name="more"), name="down")

    a, b = small.init(0, x), large.init(0, x)
    same(a, {"up": b["up"], "down": b["down"]})
    assert not np.array_equal(b["more"]["kernel"][:3], b["up"]["kernel"])


def test_layers_compute_in_the_dtype_of_their_parameters() -> None:
    for dtype in (np.float16, np.float32, np.float64, np.complex128):
        params = net.init(0, x, dtype=dtype)
        linear = nn.Dense(3)
        assert linear(linear.init(0, x, dtype=dtype), x).dtype == dtype
        assert linear(linear.init(0, x, dtype=dtype), np.arange(3)).dtype == dtype
        assert params["Dense_0"]["kernel"].dtype == dtype


@nn.layer
def counter(p: Any, x: Any) -> Any:
    count = p.state("count", nn.initializers.zeros, (), np.int32)
    if p.train:
        p.update("count", count + 1)
    return x + count


def test_parameters_are_of_the_dtype_asked_for() -> None:
    """Whatever an initialiser returns: one of float64 would make all that comes after float64."""
    ones = lambda key, shape, dtype: np.ones(shape)
    for dtype in (np.float32, np.float64):
        params = nn.Dense(2, kernel_init=ones).init(0, x, dtype=dtype)
        assert params["kernel"].dtype == params["bias"].dtype == dtype


def test_state_goes_in_and_comes_out() -> None:
    state = counter.init_state(x)
    same(state, {"count": np.zeros((), np.int32)})
    y, after = counter.apply({}, x, state=state, train=True)
    same(after, {"count": np.array(1, np.int32)})
    same(state, {"count": np.zeros((), np.int32)})  # what was given stays as it was
    same(y, x)
    same(counter.apply({}, x, state=after), (x + 1, after))
    both = nn.serial(counter, nn.Dense(2), named=counter)
    params, state = both.init(0, x), both.init_state(x)
    assert sorted(state) == ["counter_0", "named"] and sorted(params) == ["Dense_0"]
    for call in (both.apply, tg.jit(both.apply, static_argnames="train")):
        _, after = call(params, x, state=state, train=True)
        same(after, {"counter_0": {"count": np.array(1, np.int32)}, "named": {"count": np.array(1, np.int32)}})
    same(net.apply(net.init(0, x), x, state={})[1], {})
    assert net.init_state(x) == {}


def test_keys_are_another_at_each_draw() -> None:
    @nn.layer
    def noisy(p: Any, x: Any) -> Any:
        return p.key(), p.key(), p(inner, x), p(inner, x)

    @nn.layer
    def inner(p: Any, x: Any) -> Any:
        return p.key()

    @nn.layer
    def shared(p: Any, x: Any) -> Any:
        return p(inner, x, name="one"), p(inner, x, name="one")

    key = tg.random.PRNGKey(0)
    drawn = [*noisy({}, x, key=key), *shared({}, x, key=key)]
    assert len({tuple(k) for k in drawn}) == len(drawn)
    same(noisy({}, x, key=key), noisy({}, x, key=key))
    same(noisy({}, x, key=key), tg.jit(noisy)({}, x, key=key))
    assert noisy.init(0, x) == {}


def test_jax_arrays_are_taken() -> None:
    jnp = pytest.importorskip("jax.numpy")
    params = net.init(0, x)
    out = net(tg.tree.tree_map(jnp.asarray, params), jnp.asarray(x, "float32"))
    assert type(out).__module__.startswith("jax")
    np.testing.assert_allclose(out, net(params, x), rtol=1e-5, atol=1e-6)


HERE = r"test_layer\.py:\d+ \(in <lambda>\)"


@pytest.mark.parametrize(
    "call, error, text",
    [
        (
            lambda params: net(x),
            TypeError,
            rf"serial at .*{HERE}: the first argument is the parameters, a dict, got f64\[4,3\]; write net\(params, x\)",
        ),
        (
            lambda params: net(params, np.ones((4, 5))),
            ShapeError,
            rf"serial\.Dense_0 at .*{HERE}: kernel is \(3, 8\), but the input f64\[4,5\] asks for \(5, 8\); were these params "
            "made by another net",
        ),
        (
            lambda params: net({"Dense_0": params["Dense_0"]}, x),
            ValueError,
            rf"serial\.Dense_1 at .*{HERE}: no parameter 'Dense_1\.kernel'; the parameters given have Dense_0\. Nearest: "
            r"'Dense_0\.kernel'\. Did the net change after init\?",
        ),
        (
            lambda params: net(params, x + 1j),
            DtypeError,
            rf"serial\.Dense_0 at .*{HERE}: takes real inputs, got complex128; net\.init\(key, x, dtype=np\.complex128\)",
        ),
        (lambda params: net({"Dense_0": 3.0}, x), TypeError, "params of 'Dense_0' must be a dict, got float"),
        (
            lambda params: counter({}, x),
            ValueError,
            r"counter at .*test_layer.py:\d+ \(in counter\): keeps 'count' from call to call; write y, state = net\.apply\(params, x, state=state\) with "
            r"state = net\.init_state\(x\) at first",
        ),
        (lambda params: net.apply(params, x, state=3), TypeError, r"state is a dict as made by net\.init_state"),
        (
            lambda params: counter.apply({}, x, state={}),
            ValueError,
            "no state 'count' here; the state given has nothing",
        ),
        (
            lambda params: nn.layer(lambda p, x: p.key())({}, x),
            ValueError,
            r"draws random numbers; pass key=, for example tg\.random\.fold_in\(key, step\)",
        ),
        (
            lambda params: net.check({"Dense_0": {"kernel": np.ones((3, 9))}, "Dense_5": {"bias": x}}, x),
            ValueError,
            r"serial\.check at .*: no 'Dense_0\.bias'; no 'Dense_1\.bias'; no 'Dense_1\.kernel'; params has 'Dense_5\.bias', which "
            r"nothing asked for; 'Dense_0\.kernel' is \(3, 9\), not \(3, 8\)",
        ),
        (lambda params: nn.layer(3), TypeError, r"nn\.layer.* takes a function, got the int 3"),
        (lambda params: nn.serial(3), TypeError, "a layer is a Layer or a function of arrays, got int"),
        (lambda params: nn.serial([nn.Dense(2)]), TypeError, r"got list at .*; write nn\.serial\(\*layers\)"),
        (
            lambda params: nn.serial(nn.Dense).init(0, x),
            TypeError,
            r"Dense makes a layer, and a layer is due; write Dense\(\.\.\.\)",
        ),
        (
            lambda params: net.init(x),
            TypeError,
            rf"serial\.init at .*{HERE}: a key is u32\[2\], or an int, got f64\[4,3\]; write net\.init\(0, x\)",
        ),
        (
            lambda params: nn.Dense(2, kernel_init=nn.initializers.he_normal).init(0, x),
            TypeError,
            r"the initialiser of 'kernel' returned a function: write he_normal\(\) to make one",
        ),
        (
            lambda params: nn.Dense(2, bias_init=lambda key, shape, dtype: np.zeros(3)).init(0, x),
            ShapeError,
            r"the initialiser of 'bias' returned f64\[3\], asked for the shape \(2,\)",
        ),
        (lambda params: net.init(np.random.default_rng(0), x), TypeError, "or an int, got Generator; write"),
    ],
)
def test_errors(call: Callable[[Any], Any], error: type[Exception], text: str) -> None:
    params = net.init(0, x)
    net.check(params, x)
    with pytest.raises(error, match=text) as caught:
        call(params)
    assert not re.search(r"tracegrad/nn", str(caught.value))


TAKES = rf"at .*{HERE}: takes the inputs \(x\), got 0; write net\.init\(key, x\), net\.init_state\(x\), net\.summary\(x\) and"
GIVEN: Any = {  # what a stranger writes first
    rf"serial\.Dense_0 {TAKES}": [lambda p: net(p), lambda p: net.init(0), lambda p: net.summary()],
    rf"serial\.init at .*{HERE}: a key is u32\[2\], or an int, got f64\[4,3\]; write net\.init\(0, x\)": [
        lambda p: net.init(x),
        lambda p: net.init(x, 0),
    ],
    rf"serial\.init at .*{HERE}: a key is u32\[2\], or an int, got NoneType": [lambda p: net.init(None, x)],
    rf"serial\.apply at .*{HERE}: a key is .*, got float; write net\.apply": [lambda p: net.apply(p, x, key=0.5)],
    rf"serial.* at .*{HERE}: takes arrays, got list; write np\.asarray\(x\)": [lambda p: net(p, x.tolist())],
    rf"serial.* at .*{HERE}: takes arrays, got NoneType": [lambda p: net(p, None), lambda p: net.init(0, None)],
    rf"serial.* at .*{HERE}: takes arrays, got dict": [lambda p: net(p, {"image": x}), lambda p: net.init(0, {"x": x})],
    rf"Dense at .*{HERE}: takes an array with axes, got f32\[\]": [lambda p: nn.Dense(2).init(0, np.float32(1))],
    rf"Dense at .*{HERE}: features is a whole number from 1 on, got '8'; write 8": [
        lambda p: nn.Dense("8").init(0, x)  # type: ignore[arg-type]
    ],
    r"the sizes of 'kernel' must be whole numbers from 0 on, got \(3, -1\)": [
        lambda p: nn.layer("mine")(lambda p, x: p.param("kernel", nn.initializers.zeros, (3, -1))).init(0, x)
    ],
    rf"serial\.Dense_0 at .*{HERE}: Dense makes a layer, and a layer is due; write Dense\(\.\.\.\)": [
        lambda p: nn.serial(nn.Dense).init(0, x)
    ],
    r"Dropout at .*: rate is a number, got '0\.5'; write 0\.5": [
        lambda p: nn.Dropout("0.5")  # type: ignore[arg-type]
    ],
    r"RNN at .*: takes sequences \[\.\.\., time, in\], got \(8,\)": [lambda p: nn.RNN(nn.LSTMCell(3)).init(0, (8,))],
    r"nn\.cast at .*: a floating dtype is due, such as 'bfloat16', got int32": [lambda p: nn.cast(p, "int32")],
    r"mlp at .*: sizes are those of the input and of each layer, .*, got 3": [
        lambda p: nn.models.mlp(3)  # type: ignore[arg-type]
    ],
}


@pytest.mark.parametrize("text, call", [(text, call) for text, calls in GIVEN.items() for call in calls])
def test_errors_of_what_no_layer_takes(text: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=text) as caught:
        call(net.init(0, x))
    assert "locals" not in str(caught.value)


def test_an_error_of_the_users_stays_as_it_is() -> None:
    def function(batch: Any) -> Any:
        return batch["x"].no_such_thing

    with pytest.raises(AttributeError, match="no_such_thing"):
        nn.serial(function)({}, {"x": x})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'other'"):
        nn.serial(lambda x, other: x)({}, x)


def test_an_int_is_a_key() -> None:
    drop = nn.Dropout(0.5)
    same(drop.apply({}, x, key=3, train=True), drop.apply({}, x, key=tg.random.PRNGKey(3), train=True))
    rnn = nn.RNN(nn.LSTMCell(3))
    assert rnn(rnn.init(0, (2, 4, 3)), np.ones((2, 0, 3), np.float32)).shape == (2, 0, 3)
