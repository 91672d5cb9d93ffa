"""Checkpoints by policies: what each keeps."""

from __future__ import annotations

from typing import Any

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.transforms.control.test_checkpoint import POLICIES, network
from tracegrad.core.op import OPS
from tracegrad.core.types import ArrayType
from tracegrad.lax import conv_general_dilated

jax.config.update("jax_enable_x64", True)

P = tg.checkpoint_policies
X = np.array([0.3, -1.2, 2.0])
W = np.random.default_rng(0).normal(size=(3, 3))
OURS, THEIRS = network(np, tg.checkpoint_name), network(jnp, jax.ad_checkpoint.checkpoint_name)
# What the backward pass of `network` reads: x, w, x @ w (for the cosine), hidden, logits (for the sine and for itself),
# and the exponential. The sine of the logits it makes itself.
KEPT = {
    "None": ["x", "w"],
    "everything_saveable": ["x", "w", "matmul", "checkpoint_name", "checkpoint_name", "exp"],
    "nothing_saveable": ["x", "w"],
    "dots_saveable": ["x", "w", "matmul", "matmul"],
    "checkpoint_dots": ["x", "w", "matmul", "matmul"],
    "dots_with_no_batch_dims_saveable": ["x", "w", "matmul", "matmul"],
    "checkpoint_dots_with_no_batch_dims": ["x", "w", "matmul", "matmul"],
    "save_only_these_names": ["x", "w", "checkpoint_name"],
    "save_any_names_but_these": ["x", "w", "checkpoint_name"],
    "save_anything_except_these_names": ["x", "w", "matmul", "sin", "checkpoint_name", "exp"],
    "save_from_both_policies": ["x", "w", "matmul", "checkpoint_name", "matmul"],
}


@pytest.mark.parametrize("policy", POLICIES)
def test_what_each_policy_keeps(policy: str) -> None:
    f = tg.checkpoint(OURS, policy=POLICIES[policy](P))
    structs = [tg.ShapeDtypeStruct(a.shape, a.dtype) for a in (X, W)]
    for args in ((X, W), structs):
        found = tg.debug.residuals(f, *args)
        assert [r.made_by for r in found] == KEPT[policy]
        assert [r.shape for r in found] == [(3,), (3, 3), *[(3,)] * (len(found) - 2)]
        assert found.total == sum(r.bytes for r in found) == 8 * (3 + 9 + 3 * (len(found) - 2))
        assert all((r.source is None) == (r.made_by in ("x", "w")) for r in found)
    assert [r.made_by for r in tg.debug.residuals(tg.jit(f), X, W)] == KEPT[policy]


def test_dots() -> None:
    def f(x: Any) -> Any:
        products = np.einsum("bij,bjk->bik", x, np.sin(x))  # a product for each example
        shared = np.sin(products) @ np.cos(x[0])
        kernels = conv_general_dilated(np.sin(shared), x[:, :, :1], (1,), "SAME")
        return np.sin(kernels) * np.sin(np.sum(np.einsum("bij->bi", np.sin(x))))

    def kept(policy: Any) -> list[str]:
        found = tg.debug.residuals(tg.checkpoint(f, policy=policy), np.ones((2, 3, 3)))
        return [r.made_by for r in found][1:]

    assert kept(P.dots_saveable) == ["einsum", "matmul", "conv_general_dilated"]
    assert kept(P.dots_with_no_batch_dims_saveable) == ["matmul"]


@pytest.mark.parametrize(
    "left, right, expected",
    [((2, 3), (3, 4), (24, False)), ((5, 2, 3), (3, 4), (120, False)), ((5, 2, 3), (5, 3, 4), (120, True)),
     ((1, 2, 3), (1, 3, 4), (24, False)), ((7, 1, 2, 3), (5, 3, 4), (840, False)), ((3,), (3,), (3, False)),
     ((7, 5, 2, 3), (5, 3, 4), (840, True))],
)  # fmt: skip
def test_how_much_a_product_is(left: Any, right: Any, expected: Any) -> None:
    types = [ArrayType(s, np.dtype(float)) for s in (left, right)]
    rule = OPS["matmul"].contraction
    assert rule is not None
    assert rule(types, {}) == expected


def test_a_policy_is_asked_with_op_types_and_params() -> None:
    asked = []

    def policy(op: Any, *types: Any, **params: Any) -> bool:
        asked.append((op.name, types, params))
        return bool(op.name == "sum")

    f = tg.checkpoint(lambda x: np.sin(np.sum(x, axis=0)), policy=policy)
    assert [r.made_by for r in tg.debug.residuals(f, W)] == ["sum"]
    assert asked == [
        ("sum", (ArrayType((3, 3), W.dtype),), {"axes": (0,), "keepdims": False}),
        ("sin", (ArrayType((3,), W.dtype),), {}),
    ]


def test_names_and_printing() -> None:
    assert float(tg.checkpoint_name(3.0, "a")) == 3.0
    near(tg.checkpoint_name({"a": X, "b": [W]}, "a"), {"a": X, "b": [W]})
    f = tg.checkpoint(lambda x: np.sin(tg.checkpoint_name(x * 2.0, "twice")), policy=P.save_only_these_names("b", "a"))
    text = str(tg.make_graph(f)(X))
    assert "b:f64[3] = checkpoint[graph=<lambda>.2, policy=save_only_these_names('a', 'b')] a" in text
    assert "c:f64[3] = checkpoint_name[name='twice'] b" in text
    assert "policy=dots_saveable]" in str(tg.make_graph(tg.checkpoint(np.sin, policy=P.dots_saveable))(X))
    assert "memory=1000]" in str(tg.make_graph(tg.checkpoint(np.sin, memory="1KB"))(X))
    assert repr(P.save_any_names_but_these("a")) == "save_any_names_but_these('a')"
    assert repr(P.save_anything_except_these_names("a")) == "save_anything_except_these_names('a')"
    assert P.save_only_these_names("a", "b") == P.save_only_these_names("b", "a")
    assert tg.remat is tg.checkpoint
