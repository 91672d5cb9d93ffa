"""Transformers: numbers of parameters as published, small ones trained, decoding step by step, weights from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.nn.models.counts import count, descends, ints
from tracegrad import nn
from tracegrad.core.errors import ShapeError
from tracegrad.nn import models

COUNTS: list[tuple[str, Any, tuple[Any, ...], int]] = [
    *[
        (f"vit {name}", lambda name=name: models.vit(name), ((1, 224, 224, 3),), n)
        for name, n in {
            "Ti/16": 5_717_416, "S/16": 22_050_664, "B/16": 86_567_656, "B/32": 88_224_232, "L/16": 304_326_632,
            "H/14": 632_045_800,
        }.items()
    ],
    *[
        (f"gpt2 {name}", lambda name=name: models.gpt2(name), (ints(1, 8),), n)
        for name, n in {
            "small": 124_439_808, "medium": 354_823_168, "large": 774_030_080, "xl": 1_557_611_200,
        }.items()
    ],
    ("bert base", lambda: models.bert("base"), (ints(1, 8),), 109_482_240),
    ("bert large", lambda: models.bert("large"), (ints(1, 8),), 335_141_888),
    (
        "transformer", lambda: models.transformer("base", use_bias=False, use_norms=False), (ints(1, 8), ints(1, 9)),
        62_984_192,
    ),
]  # fmt: skip


@pytest.mark.parametrize("name, make, inputs, expected", COUNTS, ids=[row[0] for row in COUNTS])
def test_numbers_of_parameters(name: str, make: Any, inputs: Any, expected: int) -> None:
    assert count(make(), *inputs) == expected


small = models.gpt(11, layers=2, heads=2, width=8, context=16)
tokens = np.random.default_rng(0).integers(0, 11, (2, 9))


def test_a_small_gpt_learns() -> None:
    def loss(params: Any, state: Any) -> Any:
        logits = small(params, tokens[:, :-1])
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])), state

    descends(loss, small.init(0, tokens), rate=2e-2)


def test_decoding_step_by_step_is_the_whole_at_once() -> None:
    params = small.init(0, tokens)
    expected = small(params, tokens)
    net = models.gpt(11, layers=2, heads=2, width=8, context=16, decode=True)
    state = net.init_state(tokens[:, :1])
    call = tg.jit(net.apply)
    first, state = call(params, tokens[:, :4], state=state)
    near(first, expected[:, :4], 1e-4)
    for i in range(4, 9):
        logits, state = call(params, tokens[:, i : i + 1], state=state)
        near(logits[:, 0], expected[:, i], 1e-4)


def test_weights_of_hugging_face() -> None:
    """Laid out as GPT-2's there: matrices are (in, out), queries, keys and values side by side."""
    params = small.init(0, tokens)
    flat = {"wte.weight": params["wte"], "transformer.wpe.weight": params["wpe"]}
    for name, norm in (
        ("ln_f", params["ln_f"]),
        *[(f"h.{i}.{n}", params[f"h_{i}"][n]) for i in (0, 1) for n in ("ln_1", "ln_2")],
    ):
        flat |= {f"{name}.weight": norm["scale"], f"{name}.bias": norm["bias"]}
    for i in (0, 1):
        block = params[f"h_{i}"]
        three = [block["attn"][n] for n in ("query", "key", "value")]
        flat[f"h.{i}.attn.c_attn.weight"] = np.concatenate([t["kernel"].reshape(8, 8) for t in three], 1)
        flat[f"h.{i}.attn.c_attn.bias"] = np.concatenate([t["bias"].reshape(8) for t in three])
        flat[f"h.{i}.attn.c_proj.weight"] = block["attn"]["out"]["kernel"].reshape(8, 8)
        flat[f"h.{i}.attn.c_proj.bias"] = block["attn"]["out"]["bias"]
        for name in ("c_fc", "c_proj"):
            flat |= {f"h.{i}.mlp.{name}.weight": block[name]["kernel"], f"h.{i}.mlp.{name}.bias": block[name]["bias"]}
    found = models.gpt2_from_huggingface(flat, heads=2)
    assert tg.tree.tree_structure(found) == tg.tree.tree_structure(params)
    near(small(found, tokens), small(params, tokens), 0)
    del flat["h.1.mlp.c_fc.bias"]
    with pytest.raises(
        ValueError, match=r"gpt2_from_huggingface at .*: no 'h\.1\.mlp\.c_fc\.bias' among the 27 arrays given"
    ):
        models.gpt2_from_huggingface(flat, heads=2)


def test_a_small_vision_transformer_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracegrad.nn.models import transformers

    monkeypatch.setitem(transformers._VIT, "XS", (1, 2, 8))
    net = models.vit("XS/4", classes=4)
    labels = np.arange(8) % 4
    x = (np.random.default_rng(0).normal(size=(8, 8, 8, 1)) + labels[:, None, None, None]).astype(np.float32)

    def loss(params: Any, state: Any) -> Any:
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(net(params, x), labels)), state

    descends(loss, net.init(0, x), rate=1e-2)


def test_lstm_learns() -> None:
    net = models.lstm_lm(11, width=8, layers=1)

    def loss(params: Any, state: Any) -> Any:
        logits = net(params, tokens[:, :-1])
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])), state

    descends(loss, net.init(0, tokens), rate=3e-2)


def test_translation_and_masks_run() -> None:
    net = models.transformer("base", vocabulary=13, dropout_rate=0.0)
    assert count(net, ints(1, 4), ints(1, 5)) > 40_000_000
    with pytest.raises(ShapeError, match="17 places, where the context is 16"):
        small.init(0, ints(1, 17))
    with pytest.raises(ValueError, match=r"there is no gpt2\('huge'\); there are 'small', 'medium', 'large', 'xl'"):
        models.gpt2("huge")
