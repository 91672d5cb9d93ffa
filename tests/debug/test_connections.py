"""Why parameters get no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import lax
from tracegrad.debug.connections import why_zero

PARAMS = {"w": np.array([1.0, 2.0, 3.0]), "b": np.array([0.5, 0.7, 0.25])}


@tg.custom_vjp
def _straight(x: Any) -> Any:
    return np.round(x)


_straight.defvjp(lambda x: (np.round(x), None), lambda _, ct: (ct,))


# A loss of params p, and what is said.
CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "all_connected": (
        lambda p: np.sum(p["w"] * p["b"]),
        "all 2 parameters get a gradient",
    ),
    "unused": (
        lambda p: np.sum(p["w"]),
        "p['b'] gets no gradient: it is not used",
    ),
    "used_elsewhere": (
        lambda p: (np.sum(p["w"]), p["b"]),
        "p['b'] gets no gradient: it is used, but not for the loss",
    ),
    "argmax": (
        lambda p: p["w"][0] + np.argmax(p["b"]),
        "p['b'] gets no gradient: cut by argmax at <line>",
    ),
    "rounded": (
        lambda p: np.sum(p["w"] + np.round(p["b"])),
        "p['b'] gets no gradient: cut by round at <line>",
    ),
    "floor": (
        lambda p: np.sum(p["w"] + np.floor(p["b"])),
        "p['b'] gets no gradient: cut by floor at <line>",
    ),
    "sign": (
        lambda p: np.sum(p["w"] + np.sign(p["b"])),
        "p['b'] gets no gradient: cut by sign at <line>",
    ),
    "stopped": (
        lambda p: np.sum(p["w"] * tg.stop_gradient(p["b"])),
        "p['b'] gets no gradient: cut by stop_gradient at <line>",
    ),
    "cast": (
        lambda p: np.sum(p["w"] + p["b"].astype(int)),
        "p['b'] gets no gradient: cut by a cast to int64 at <line>",
    ),
    "compared": (
        lambda p: np.sum(np.where(p["b"] > 0, p["w"], 1.0)),
        "p['b'] gets no gradient: cut by greater at <line>",
    ),
    "cut_twice": (
        lambda p: np.sum(p["w"] + np.floor(p["b"])) + np.argmax(p["b"] * 2.0),
        "p['b'] gets no gradient: cut by floor at <line>, argmax at <line>",
    ),
    "cut_later": (
        lambda p: np.sum(p["w"] + np.sign(np.exp(p["b"]) * p["w"])),
        "p['b'] gets no gradient: cut by sign at <line>",
    ),
    "sorted_by": (
        lambda p: np.sum(p["w"][np.argsort(p["b"])]),
        "p['b'] gets no gradient: cut by argsort at <line>",
    ),
    "branch_not_taken": (
        lambda p: np.sum(np.where(p["w"] > 0, p["w"], p["b"])),
        "p['b'] gets a gradient of zeros: where does not take it for any element at <line>",
    ),
    "dead_units": (
        lambda p: np.sum(tg.nn.relu(p["w"] - 10.0) + p["b"]),
        "p['w'] gets a gradient of zeros: relu is flat for all 3 elements at <line>",
    ),
    "maximum_of_the_other": (
        lambda p: np.sum(np.maximum(p["w"] - 10.0, 0.0) + p["b"]),
        "p['w'] gets a gradient of zeros: maximum takes the other one for all 3 elements at <line>",
    ),
    "times_zero": (
        lambda p: np.sum(p["w"] * 0.0 + p["b"]),
        "p['w'] gets a gradient of zeros: multiplied by zeros in multiply at <line>",
    ),
    "matrix_of_zeros": (
        lambda p: np.sum(np.zeros((2, 3)) @ p["w"]) + np.sum(p["b"]),
        "p['w'] gets a gradient of zeros: multiplied by zeros in matmul at <line>",
    ),
    "saturated": (
        lambda p: np.sum(np.tanh(p["w"] * 1e5) + p["b"]),
        "p['w'] gets a gradient of zeros: tanh is saturated for all 3 elements at <line>",
    ),
    "saturated_where_it_counts": (
        lambda p: np.sum(np.tanh(p["w"] * np.array([1e5, 1.0, 1.0])) * np.array([1.0, 0.0, 0.0]) + p["b"]),
        "p['w'] gets a gradient of zeros: tanh is saturated for 1 of 3 elements, and nothing comes back to the others at <line>",
    ),
    "saturated_softmax": (
        lambda p: tg.nn.softmax(p["w"] * 1e4)[0] + np.sum(p["b"]),
        "p['w'] gets a gradient of zeros: softmax is saturated for all 3 elements at <line>",
    ),
    "two_parts_cancel": (
        lambda p: np.sum(p["w"]) - np.sum(p["w"] * 1.0) + np.sum(p["b"]),
        "p['w'] gets a gradient of zeros: what comes back from sum at <line>, multiply at <line> adds up to 0",
    ),
    "power_at_zero": (
        lambda p: np.sum((p["w"] - np.array([1.0, 2.0, 3.0])) ** 2 + p["b"]),
        "p['w'] gets a gradient of zeros: the derivative of power is 0 there at <line>",
    ),
    "dead_in_a_scan": (
        lambda p: lax.scan(lambda c, x: (c + tg.nn.relu(p["w"] * x - 10.0), c), p["b"], np.ones(2))[0][0],
        "p['w'] gets a gradient of zeros: relu is flat for all 3 elements at <line>",
    ),
    "dead_in_a_checkpoint": (
        lambda p: tg.checkpoint(lambda p: np.sum(tg.nn.relu(p["w"] - 10.0) + p["b"]))(p),
        "p['w'] gets a gradient of zeros: relu is flat for all 3 elements at <line>",
    ),
    "dead_in_rows": (
        lambda p: np.sum(tg.vmap(lambda w, b: tg.nn.relu(w - 10.0) + b)(p["w"], p["b"])),
        "p['w'] gets a gradient of zeros: relu is flat for all 3 elements at <line>",
    ),
    "other_elements": (
        lambda p: np.sum(p["w"]) + p["b"][0] * 0.0 + np.max(p["b"] * 0.0),
        "p['b'] gets a gradient of zeros: multiplied by 0 in multiply at <line>",
    ),
    "in_a_scan": (
        lambda p: lax.scan(lambda c, x: (c + np.floor(p["b"][0]) * x, c), np.sum(p["w"]), np.ones(3))[0],
        "p['b'] gets no gradient: cut by floor at <line>",
    ),
    "in_a_branch": (
        lambda p: lax.cond(np.sum(p["w"]) > 0, lambda p: p["w"][0] + np.sign(p["b"][0]), lambda p: p["w"][0], p),
        "p['b'] gets no gradient: cut by sign at <line>",
    ),
    "in_a_checkpoint": (
        lambda p: tg.checkpoint(lambda p: np.sum(p["w"] + np.sign(p["b"])))(p),
        "p['b'] gets no gradient: cut by sign at <line>",
    ),
    "in_a_function_with_rules": (
        lambda p: np.sum(_straight(p["w"]) + np.rint(p["b"])),
        "p['b'] gets no gradient: cut by rint at <line>",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_gets_no_gradient_is_explained(name: str) -> None:
    loss, text = CASES[name]
    found = why_zero(loss, PARAMS)
    line = loss.__code__.co_firstlineno
    assert str(found) == text.replace("<line>", f"test_connections.py:{line}")
    assert set(found) == {"p['w']", "p['b']"} and len(found) == 2
    value = lambda p: np.sum(loss(p)[0] if type(loss(p)) is tuple else loss(p))
    grads = tg.grad(value)(PARAMS)
    zero = {c.path for c in found.zero}
    assert {f"p['{k}']" for k, g in grads.items() if not np.any(g)} == zero


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_jitted_losses_are_looked_into(name: str, backend: str) -> None:
    loss, _ = CASES[name]
    found, plain = why_zero(tg.jit(loss, backend=backend), PARAMS), why_zero(loss, PARAMS)
    assert {p: (c.status, c.source) for p, c in found.items()} == {p: (c.status, c.source) for p, c in plain.items()}


def _model(params: Any, batch: Any, *, train: bool) -> Any:
    hidden = np.tanh(batch["x"] @ params["body"][0])
    label = np.argmax(hidden + params["head"]["bias"], axis=1)
    return np.mean((hidden[:, 0] - label) ** 2) if train else 0.0


def test_parameters_are_known_by_key_path() -> None:
    params = {"head": {"bias": np.zeros(2), "steps": np.arange(3)}, "body": [np.ones((3, 2))]}
    found = why_zero(_model, params, {"x": np.ones((4, 3))}, train=True)
    line = _model.__code__.co_firstlineno + 2
    assert str(found) == (
        f"params['head']['bias'] gets no gradient: cut by argmax at test_connections.py:{line}\n"
        "params['head']['steps'] gets no gradient: it is i64[3], and only floats have derivatives"
    )
    bias = found["params['head']['bias']"]
    assert (bias.status, bias.op) == ("cut", "argmax") and bias.source is not None and bias.source.line == line
    assert str(found["params['body'][0]"]) == "params['body'][0] gets a gradient"


def test_without_arguments_it_is_a_function_that_looks_at_all_of_them() -> None:
    found = why_zero(lambda w, x, n=0.0: np.sum(np.tanh(w * x * 1e5)) + n)(np.ones(2), x=np.array([1.0, 2.0]))
    assert {path: (c.status, c.op, c.share) for path, c in found.items()} == {
        "w": ("zero", "tanh", 1.0),
        "x": ("zero", "tanh", 1.0),
    }
    found = why_zero(lambda w, x, unused: np.sum(w * np.round(x)))(np.ones(2), np.ones(2), {"a": 1.0})
    assert [c.status for c in found.values()] == ["connected", "cut", "disconnected"]


def test_the_share_of_elements_that_let_nothing_through() -> None:
    x = np.array([0.1, 0.2, 1e3, 1e3])
    found = why_zero(lambda w: np.sum(np.tanh(w * x) * np.array([0.0, 0.0, 1.0, 1.0])), 1.0)["w"]
    assert (found.op, found.share) == ("tanh", 0.5)
    assert why_zero(lambda w: np.sum(w * 0.0), 1.0)["w"].share is None


@pytest.mark.parametrize("file", ["<stdin>", "<string>", "/tmp/ipykernel_7/123456.py"])
def test_code_that_is_typed_in_is_known_by_its_lines(file: str) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("import numpy as np\n\ndef f(w, x):\n    return np.sum(w * np.round(x))\n", file, "exec"), names)
    for f in (names["f"], tg.jit(names["f"])):
        found = why_zero(f)(np.ones(2), np.ones(2))["x"]
        assert found.source is not None
        assert (found.status, found.op, found.source.file, found.source.line) == ("cut", "round", file, 4)


def test_a_loss_is_a_number() -> None:
    with pytest.raises(
        ValueError, match=r"needs a loss that returns a number, or a tuple that begins with one, got f64\[3\]"
    ):
        why_zero(lambda p: p["w"], PARAMS)
    with pytest.raises(TypeError, match=r"debug.why_zero at .* takes a function, got the dict"):
        why_zero(PARAMS, PARAMS)  # type: ignore[arg-type]
