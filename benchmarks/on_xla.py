"""The workloads of jit on XLA: `tracegrad.jit(..., backend="xla")` of a function in NumPy against `jax.jit` of the same in
jax.numpy, on the same device and data.

`xla_x` times a function that has been compiled; `first_xla_x` a new function each time, from the call to its result. To
the workloads that run on NumPy as well come the gradients of a convolutional network and of a small transformer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy

from benchmarks.jitted import Jittable, first_calls, own_arrays
from benchmarks.science import JITTABLE
from benchmarks.timing import Contender, Sampler, Target, Thunk, Workload
from benchmarks.workloads import LIBRARIES, Array, Library


def library_on_xla(name: str) -> tuple[Library, Callable[..., Any]]:
    """A library with jax's arrays for its data, and its jit. Both wait for results in the same way."""
    theirs = LIBRARIES["jax"][1]()
    if name == "jax":
        import jax

        return theirs, jax.jit
    import tracegrad

    ours = LIBRARIES["tracegrad"][1]()
    return replace(ours, array=theirs.array, call=theirs.call), partial(tracegrad.jit, backend="xla")


def jitted_on_xla(work: Jittable, name: str) -> Thunk:
    library, jit = library_on_xla(name)
    return library.call(jit(work.make(library)), *[own_arrays(library, x) for x in work.args])


def first_on_xla(work: Jittable, name: str) -> Sampler:
    return first_calls(*library_on_xla(name), work.make, work.args)


def on_xla(work: Jittable, first: float = 1.0) -> tuple[Workload, Workload]:
    thunk, first_call = partial(jitted_on_xla, work), partial(first_on_xla, work)
    names = ("tracegrad", "jax")
    return (
        Workload(
            f"xla_{work.name}", f"{work.title}, on XLA", tuple([Contender(n, partial(thunk, n), "jax") for n in names]),
            (Target("tracegrad", 1.03, of="jax"),), tolerance=work.tolerance, reference="jax",
        ),
        Workload(
            f"first_xla_{work.name}", f"{work.title}, first call on XLA",
            tuple([Contender(n, partial(thunk, n), "jax", sampler=partial(first_call, n)) for n in names]),
            (Target("tracegrad", first, of="jax"),), unit="ms", tolerance=work.tolerance, reference="jax",
        ),
    )  # fmt: skip


# --- a convolutional network ----------------------------------------------------------------------------------------


def images() -> tuple[Any, ...]:
    rng = numpy.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        return (rng.normal(size=shape) / numpy.prod(shape[1:]) ** 0.5).astype("float32")

    params = [{"W": drawn(16, 1, 3, 3)}, {"W": drawn(32, 16, 3, 3)}, {"W": drawn(10, 32 * 7 * 7).T.copy()}]
    return params, drawn(32, 1, 28, 28), numpy.eye(10, dtype="float32")[rng.integers(10, size=32)]


def conv_net(library: Library) -> Callable[..., Any]:
    np, conv = library.np, library.conv
    assert conv is not None

    def loss(params: Any, x: Any, targets: Any) -> Any:
        for layer in params[:-1]:
            x = np.maximum(conv(x, layer["W"], (1, 1), "SAME"), 0)
            n, channels, height, width = x.shape
            x = np.mean(np.reshape(x, (n, channels, height // 2, 2, width // 2, 2)), axis=(3, 5))
        logits = np.reshape(x, (x.shape[0], -1)) @ params[-1]["W"]
        return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - np.sum(logits * targets, axis=1))

    return library.grad(loss)


CONV_NET = Jittable(
    "conv_net", "gradient of a network of two convolutions, 32 images of 28 × 28, float32", conv_net, images(), 1e-4
)


# --- a transformer --------------------------------------------------------------------------------------------------

HEADS, WIDE, LENGTH, WORDS = 4, 64, 32, 128


def text() -> tuple[Any, ...]:
    rng = numpy.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        return (rng.normal(size=shape) / shape[0] ** 0.5).astype("float32")

    layers = [
        {
            "qkv": drawn(WIDE, 3 * WIDE), "out": drawn(WIDE, WIDE), "up": drawn(WIDE, 4 * WIDE), "down": drawn(4 * WIDE, WIDE),
            "scale1": numpy.ones(WIDE, "float32"), "scale2": numpy.ones(WIDE, "float32"),
        }
        for _ in range(2)
    ]  # fmt: skip
    params = {"embed": drawn(WORDS, WIDE), "places": drawn(LENGTH, WIDE), "layers": layers}
    return params, rng.integers(WORDS, size=(8, LENGTH + 1)).astype("int32")


def transformer(library: Library) -> Callable[..., Any]:
    np = library.np

    def normalized(x: Any, scale: Any) -> Any:
        x = x - np.mean(x, axis=-1, keepdims=True)
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5) * scale

    def attention(x: Any, layer: Any) -> Any:
        batch, length, width = x.shape
        parts = np.reshape(x @ layer["qkv"], (batch, length, 3, HEADS, width // HEADS))
        q, k, v = [np.moveaxis(parts[:, :, i], 2, 1) for i in range(3)]
        scores = q @ np.swapaxes(k, -1, -2) / (width // HEADS) ** 0.5
        seen = numpy.tril(numpy.ones((length, length), bool))
        scores = np.where(seen, scores, -1e9)
        weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        weights = weights / np.sum(weights, axis=-1, keepdims=True)
        return np.reshape(np.moveaxis(weights @ v, 1, 2), x.shape) @ layer["out"]

    def loss(params: Any, words: Any) -> Any:
        given, wanted = words[:, :-1], words[:, 1:]
        x = params["embed"][given] + params["places"]
        for layer in params["layers"]:
            x = x + attention(normalized(x, layer["scale1"]), layer)
            hidden = normalized(x, layer["scale2"]) @ layer["up"]
            x = x + (hidden / (1 + np.exp(-1.702 * hidden))) @ layer["down"]
        logits = x @ params["embed"].T
        logits = logits - np.max(logits, axis=-1, keepdims=True)
        chosen = np.take_along_axis(logits, wanted[..., None], axis=-1)[..., 0]
        return np.mean(np.log(np.sum(np.exp(logits), axis=-1)) - chosen)

    return library.grad(loss)


TRANSFORMER = Jittable(
    "transformer", "gradient of a transformer of two layers, width 64, 8 texts of 32 words, float32", transformer, text(),
    1e-3,
)  # fmt: skip

# What is long is emitted op by op: where passes remove ops, jax has more to trace and XLA to compile.
FIRST = {"rnn": 0.7, "sin_chain": 0.7}

ON_XLA = tuple(
    [workload for work in (*JITTABLE, CONV_NET, TRANSFORMER) for workload in on_xla(work, FIRST.get(work.name, 1.0))]
)
