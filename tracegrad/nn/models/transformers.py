"""Transformers of text and of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tracegrad import nn
from tracegrad.core.arguments import Share
from tracegrad.core.errors import ShapeError, at, user_source
from tracegrad.nn import initializers
from tracegrad.nn.layer import Layer, layer
from tracegrad.nn.making import maker
from tracegrad.nn.models.images import _one_of
from tracegrad.nn.scope import Scope


def _feed_forward(p: Scope, x: Any, features: int, rate: float) -> Any:
    """Two Dense layers, the first of them wide."""
    h = nn.gelu(p(nn.Dense(features), x, name="up"))
    return p(nn.Dropout(rate), p(nn.Dense(x.shape[-1]), h, name="down"))


# ---------------------------------------------------------------------------------------------------------------------
# Language models.

_GPT2 = {"small": (12, 12, 768), "medium": (24, 16, 1024), "large": (36, 20, 1280), "xl": (48, 25, 1600)}


@maker
def gpt2(name: str = "small", **options: Any) -> Layer:
    """GPT-2, of tokens [..., places] a logit for each word at each place. 124,439,808 parameters as "small", 354,823,168,
    774,030,080 and 1,557,611,200 as "medium", "large" and "xl".

    Args:
        name: which of them.
        **options: of `gpt`, which this is with the sizes of the paper.

    Source: Radford et al., "Language models are unsupervised multitask learners", 2019.

    >>> from tracegrad.nn import models
    >>> import tracegrad as tg, numpy as np
    >>> models.gpt2("small").summary(tg.ShapeDtypeStruct((1, 8), "int32")).parameters
    124439808
    """
    layers, heads, width = _one_of(_GPT2, name, "gpt2")
    return gpt(50257, layers=layers, heads=heads, width=width, **options)


@maker
def gpt(
    vocabulary: int,
    *,
    layers: int = 6,
    heads: int = 6,
    width: int = 384,
    context: int = 1024,
    dropout_rate: Share = 0.0,
    decode: bool = False,
) -> Layer:
    """A decoder-only transformer in the form of GPT-2: norms before, learnt positions, the table of words for the logits too.
    Takes tokens, integers [..., places], and returns logits [..., places, vocabulary].

    Args:
        vocabulary: how many words.
        layers, heads, width: of the blocks.
        context: how many places there may be.
        dropout_rate: in training, of embeddings, attention and what blocks add.
        decode: whether to keep keys and values as state: each call's tokens are the next ones.

    >>> import numpy as np
    >>> from tracegrad.nn import models
    >>> net = models.gpt(65, layers=2, heads=2, width=8, context=16)
    >>> tokens = np.zeros((1, 16), int)
    >>> net(net.init(0, tokens), tokens).shape
    (1, 16, 65)
    """
    small = initializers.normal(0.02)
    last = initializers.normal(0.02 / np.sqrt(2 * layers))  # of what is added to the stream, 2 * layers times

    @layer("block")
    def block(p: Scope, x: Any) -> Any:
        attention = nn.MultiHeadAttention(
            heads, causal=True, dropout_rate=dropout_rate, kernel_init=small, decode=context if decode else None
        )
        h = p(attention, p(nn.LayerNorm(1e-5), x, name="ln_1"), name="attn")
        x = x + p(nn.Dropout(dropout_rate), h)
        h = nn.gelu(p(nn.Dense(4 * width, kernel_init=small), p(nn.LayerNorm(1e-5), x, name="ln_2"), name="c_fc"))
        return x + p(nn.Dropout(dropout_rate), p(nn.Dense(width, kernel_init=last), h, name="c_proj"))

    @layer("gpt")
    def gpt(p: Scope, tokens: Any) -> Any:
        length = tokens.shape[-1]
        if length > context:
            raise ShapeError(f"gpt{at(user_source())}: {length} places, where the context is {context}")
        words = p.param("wte", small, (vocabulary, width))
        places = p.param("wpe", small, (context, width))
        start: Any = 0
        if decode:
            start = p.state("position", initializers.zeros, (), np.int32)
            p.update("position", start + length)
            here = np.take(places, start + np.arange(length), axis=0)
        else:
            here = places[:length]
        x = p(nn.Dropout(dropout_rate), words[tokens] + here)
        for i in range(layers):
            x = p(block, x, name=f"h_{i}")
        return p(nn.LayerNorm(1e-5), x, name="ln_f") @ words.T

    return gpt


def gpt2_from_huggingface(weights: Mapping[str, Any], heads: int | None = None) -> dict[str, Any]:
    """Parameters for `gpt2` of the arrays of a GPT-2 in Hugging Face's format, as `tg.io.load("model.safetensors")` or
    `safetensors.numpy.load_file` give them, by names such as "h.0.attn.c_attn.weight".

    Args:
        weights: the arrays.
        heads: how many heads there are, one for each 64 features if nothing is said, as in all of GPT-2.

    Returns:
        A dict for the `gpt2` of the same size. The arrays' values are as they are; those of attention have an axis for heads.

    Raises:
        ValueError: names that are missing.
    """
    found = {name.removeprefix("transformer."): np.asarray(x) for name, x in weights.items()}

    def take(name: str) -> Any:
        if name not in found:
            raise ValueError(
                f"gpt2_from_huggingface{at(user_source())}: no {name!r} among the {len(found)} arrays given"
            )
        return found[name]

    def norm(name: str) -> dict[str, Any]:
        return {"scale": take(f"{name}.weight"), "bias": take(f"{name}.bias")}

    def dense(name: str) -> dict[str, Any]:
        return {"kernel": take(f"{name}.weight"), "bias": take(f"{name}.bias")}  # (in, out) there too

    width = take("wte.weight").shape[1]
    heads = width // 64 if heads is None else heads
    params = {"wte": take("wte.weight"), "wpe": take("wpe.weight"), "ln_f": norm("ln_f")}
    i = 0
    while f"h.{i}.ln_1.weight" in found:
        kernels = np.split(take(f"h.{i}.attn.c_attn.weight"), 3, 1)
        biases = np.split(take(f"h.{i}.attn.c_attn.bias"), 3)
        attention: dict[str, Any] = {
            part: {"kernel": k.reshape(width, heads, -1), "bias": b.reshape(heads, -1)}
            for part, k, b in zip(("query", "key", "value"), kernels, biases, strict=True)
        }
        out = dense(f"h.{i}.attn.c_proj")
        attention["out"] = {"kernel": out["kernel"].reshape(heads, -1, width), "bias": out["bias"]}
        params[f"h_{i}"] = {
            "ln_1": norm(f"h.{i}.ln_1"), "attn": attention, "ln_2": norm(f"h.{i}.ln_2"),
            "c_fc": dense(f"h.{i}.mlp.c_fc"), "c_proj": dense(f"h.{i}.mlp.c_proj"),
        }  # fmt: skip
        i += 1
    if not i:
        take("h.0.ln_1.weight")
    return params


_BERT = {"base": (12, 12, 768), "large": (24, 16, 1024)}


@maker
def bert(name: str = "base", vocabulary: int = 30522, context: int = 512, dropout_rate: Share = 0.1) -> Layer:
    """BERT with its pooler. Called `(tokens, types=None, mask=None)`, integers [..., places] of words and of which text they are
    in, and booleans of which places are text; it returns `(places' features, pooled features)`. 109,482,240 parameters as
    "base", 335,141,888 as "large".

    Args:
        name: "base" or "large".
        vocabulary: how many words.
        context: how many places there may be.
        dropout_rate: in training.

    Source: Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding", NAACL 2019.

    >>> from tracegrad.nn import models
    >>> import tracegrad as tg
    >>> models.bert("base").summary(tg.ShapeDtypeStruct((1, 8), "int32")).parameters
    109482240
    """
    layers, heads, width = _one_of(_BERT, name, "bert")
    small = initializers.truncated_normal(0.02)

    @layer("block")
    def block(p: Scope, x: Any, mask: Any) -> Any:
        attention = nn.MultiHeadAttention(heads, dropout_rate=dropout_rate, kernel_init=small)
        h = p(nn.Dropout(dropout_rate), p(attention, x, None, mask, name="attention"))
        x = p(nn.LayerNorm(1e-12), x + h)
        h = nn.gelu(p(nn.Dense(4 * width, kernel_init=small), x, name="up"), approximate=False)
        return p(
            nn.LayerNorm(1e-12), x + p(nn.Dropout(dropout_rate), p(nn.Dense(width, kernel_init=small), h, name="down"))
        )

    @layer("bert")
    def bert(p: Scope, tokens: Any, types: Any = None, mask: Any = None) -> Any:
        x = p.param("words", small, (vocabulary, width))[tokens]
        x = x + p.param("positions", small, (context, width))[: tokens.shape[-1]]
        kinds = p.param("types", small, (2, width))
        x = p(nn.Dropout(dropout_rate), p(nn.LayerNorm(1e-12), x + (kinds[0] if types is None else kinds[types])))
        seen = None if mask is None else mask[..., None, None, :]
        for _ in range(layers):
            x = p(block, x, seen)
        return x, np.tanh(p(nn.Dense(width, kernel_init=small), x[..., 0, :], name="pooler"))

    return bert


_TRANSFORMER = {"base": (6, 8, 512, 2048), "big": (6, 16, 1024, 4096)}


@maker
def transformer(
    name: str = "base",
    vocabulary: int = 37000,
    dropout_rate: Share = 0.1,
    use_bias: bool = True,
    use_norms: bool = True,
) -> Layer:
    """The transformer of translations. Called `(source, target)`, tokens [..., places]; it returns logits for the words of the
    target, each from those before it (of which the caller puts a beginning in front). Without biases and norms "base" has
    62,984,192 parameters.

    Args:
        name: "base" or "big".
        vocabulary: how many words, of both languages together.
        dropout_rate: in training.
        use_bias: whether projections have biases.
        use_norms: whether what blocks add is followed by LayerNorm.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017.

    >>> import tracegrad as tg
    >>> from tracegrad.nn import models
    >>> tokens = tg.ShapeDtypeStruct((1, 6), "int32")
    >>> models.transformer(vocabulary=50).summary(tokens, tokens).parameters
    44164096
    """
    layers, heads, width, inner = _one_of(_TRANSFORMER, name, "transformer")

    def added(p: Scope, x: Any, h: Any) -> Any:
        x = x + p(nn.Dropout(dropout_rate), h)
        return p(nn.LayerNorm(), x) if use_norms else x

    def feed_forward(p: Scope, x: Any) -> Any:
        h = nn.relu(p(nn.Dense(inner, use_bias=use_bias), x, name="up"))
        return p(nn.Dense(width, use_bias=use_bias), h, name="down")

    @layer("encoder_block")
    def encoder_block(p: Scope, x: Any) -> Any:
        x = added(p, x, p(nn.MultiHeadAttention(heads, use_bias=use_bias), x))
        return added(p, x, feed_forward(p, x))

    @layer("decoder_block")
    def decoder_block(p: Scope, x: Any, source: Any) -> Any:
        x = added(p, x, p(nn.MultiHeadAttention(heads, use_bias=use_bias, causal=True), x))
        x = added(p, x, p(nn.MultiHeadAttention(heads, use_bias=use_bias), x, source))
        return added(p, x, feed_forward(p, x))

    @layer("transformer")
    def transformer(p: Scope, source: Any, target: Any) -> Any:
        words = p.param("words", initializers.normal(width**-0.5), (vocabulary, width))

        def embedded(tokens: Any) -> Any:
            places = nn.sinusoidal(tokens.shape[-1], width).astype(words.dtype)
            x = words[tokens] * np.asarray(width**0.5, words.dtype) + places
            return p(nn.Dropout(dropout_rate), x)

        x, y = embedded(source), embedded(target)
        for _ in range(layers):
            x = p(encoder_block, x)
        for _ in range(layers):
            y = p(decoder_block, y, x)
        return y @ words.T

    return transformer


@maker
def lstm_lm(vocabulary: int, width: int = 256, layers: int = 2, dropout_rate: Share = 0.2) -> Layer:
    """A language model of LSTMs: of tokens [..., places] logits [..., places, vocabulary]. The table of words is used for the
    logits too.

    Args:
        vocabulary: how many words.
        width: of embeddings and cells.
        layers: how many LSTMs.
        dropout_rate: in training.

    Source: Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization", 2014, arXiv:1409.2329; Press and Wolf 2017
    for the table.

    >>> import numpy as np
    >>> from tracegrad.nn import models
    >>> net, tokens = models.lstm_lm(65, width=8), np.zeros((1, 16), int)
    >>> net(net.init(0, tokens), tokens).shape
    (1, 16, 65)
    """

    @layer("lstm_lm")
    def lstm_lm(p: Scope, tokens: Any) -> Any:
        words = p.param("words", initializers.normal(0.05), (vocabulary, width))
        x = p(nn.Dropout(dropout_rate), words[tokens])
        for _ in range(layers):
            x = p(nn.Dropout(dropout_rate), p(nn.RNN(nn.LSTMCell(width)), x))
        return x @ words.T + p.param("bias", initializers.zeros, (vocabulary,))

    return lstm_lm


# ---------------------------------------------------------------------------------------------------------------------
# Images.

_VIT = {"Ti": (12, 3, 192), "S": (12, 6, 384), "B": (12, 12, 768), "L": (24, 16, 1024), "H": (32, 16, 1280)}


@maker
def vit(name: str = "B/16", classes: int = 1000, dropout_rate: Share = 0.0) -> Layer:
    """A vision transformer of images [..., height, width, channels]. For 224 x 224 pixels 5,717,416 parameters as "Ti/16", 22,050,664
    as "S/16", 86,567,656 as "B/16", 88,224,232 as "B/32", 304,326,632 as "L/16", 632,045,800 as "H/14".

    Args:
        name: the size, and of how many pixels patches are.
        classes: how many logits.
        dropout_rate: in training.

    Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021.

    >>> from tracegrad.nn import models
    >>> models.vit("B/16").summary((1, 224, 224, 3)).parameters
    86567656
    """
    kind, _, patch = name.partition("/")
    layers, heads, width = _one_of(_VIT, kind, "vit")
    size = int(patch)

    @layer("block")
    def block(p: Scope, x: Any) -> Any:
        h = p(nn.MultiHeadAttention(heads, dropout_rate=dropout_rate), p(nn.LayerNorm(), x))
        x = x + p(nn.Dropout(dropout_rate), h)
        return x + _feed_forward(p, p(nn.LayerNorm(), x), 4 * width, dropout_rate)

    @layer("vit")
    def vit(p: Scope, x: Any) -> Any:
        x = p(nn.Conv(width, size, size, padding="VALID"), x, name="patches")
        x = np.reshape(x, (*x.shape[:-3], -1, width))
        first = np.broadcast_to(p.param("class", initializers.zeros, (width,)), (*x.shape[:-2], 1, width))
        x = np.concatenate([first, x], -2)
        x = p(nn.Dropout(dropout_rate), x + p.param("positions", initializers.normal(0.02), x.shape[-2:]))
        for _ in range(layers):
            x = p(block, x)
        return p(nn.Dense(classes), p(nn.LayerNorm(), x)[..., 0, :], name="head")

    return vit
