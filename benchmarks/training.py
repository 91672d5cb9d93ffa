"""The workloads of training: what tg.nn, tg.optim, tg.io and tg.random cost beside flax, optax and NumPy, and beside the same
written without them.

Steps are jitted on both sides. A step that writes over what it is given (`donate_argnums`) goes on from its own result at each
call, as a loop of training does; the first is the one that is compared.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy

from benchmarks.jitted import at_most, jit_of, own_arrays, planned
from benchmarks.on_xla import CONV_NET
from benchmarks.timing import Contender, Sampler, Target, Thunk, Workload
from benchmarks.workloads import LIBRARIES, Array

rng = numpy.random.default_rng(0)


def drawn(*shape: int) -> Array:
    return rng.normal(size=shape).astype("float32")


# --- conv_net: the gradient of a network of two convolutions, on NumPy ----------------------------------------------


def gradient_of_conv_net(name: str) -> Thunk:
    library = LIBRARIES[name][1]()
    return library.call(jit_of(name)(CONV_NET.make(library)), *[own_arrays(library, x) for x in CONV_NET.args])


JIT_CONV_NET = Workload(
    "jit_conv_net", f"{CONV_NET.title}, jitted",
    (
        Contender("tracegrad", partial(gradient_of_conv_net, "tracegrad"), "tracegrad"),
        Contender("jax", partial(gradient_of_conv_net, "jax"), "jax", peak=partial(planned, CONV_NET.make, CONV_NET.args)),
    ),
    (at_most(1.5, "jax"),), tolerance=CONV_NET.tolerance, reference="jax", with_peaks=True,
)  # fmt: skip


# --- layers: what a layer costs besides its expressions, without jit -------------------------------------------------

LAYERS = 10


def layers() -> Thunk:
    from tracegrad import nn

    x = IMAGES_OF_LAYERS
    net = nn.serial(*[nn.Dense(4)] * LAYERS)
    return lambda: net(PARAMS_OF_LAYERS, x)


def expressions() -> Array:
    x = IMAGES_OF_LAYERS
    for layer in PARAMS_OF_LAYERS.values():
        x = x @ layer["kernel"] + layer["bias"]
    return x


IMAGES_OF_LAYERS = drawn(8, 4)
PARAMS_OF_LAYERS = {f"Dense_{i}": {"kernel": drawn(4, 4), "bias": drawn(4)} for i in range(LAYERS)}

EAGER_LAYERS = Workload(
    "eager_layers", "ten layers Dense(4) of 8 × 4 numbers, float32, not jitted, time a layer",
    (Contender("tracegrad", layers, per=LAYERS), Contender("numpy", lambda: expressions, per=LAYERS)),
    (Target("tracegrad", 4.0, of="numpy", difference=True),), tolerance=1e-6,
)  # fmt: skip


# --- adam: a step over many small leaves -----------------------------------------------------------------------------

WEIGHTS = {f"layer_{i}": drawn(64, 64) for i in range(200)}
GRADIENTS = {name: drawn(64, 64) for name in WEIGHTS}


def adam_step(name: str, donate: tuple[int, ...]) -> Thunk:
    library = LIBRARIES[name][1]()
    if name == "jax":
        import optax as optim
    else:
        from tracegrad import optim
    opt: Any = optim.adam(1e-3)

    def step(params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, state = opt.update(gradients, state, params)
        return optim.apply_updates(params, updates), state

    jitted = jit_of(name)(step, donate_argnums=donate)
    gradients = own_arrays(library, GRADIENTS)
    params = {layer: library.array(w.copy()) for layer, w in WEIGHTS.items()}
    kept = [params, opt.init(params)]

    def thunk() -> Any:
        kept[:] = library.call(jitted, *kept, gradients)()
        return kept[0]

    return thunk


ADAM = Workload(
    "jit_adam", "step of Adam for 200 arrays of 64 × 64, float32, jitted; written over the old where it says so",
    (
        Contender("tracegrad", partial(adam_step, "tracegrad", (0, 1)), "tracegrad"),
        Contender("jax", partial(adam_step, "jax", ()), "optax"),
        Contender("jax, over the old", partial(adam_step, "jax", (0, 1)), "optax"),
    ),
    (at_most(1.0, "jax"), at_most(1.0, "jax, over the old")), tolerance=1e-5, reference="jax",
)  # fmt: skip


# --- gpt: a step of training a transformer, on XLA --------------------------------------------------------------------

VOCABULARY, BLOCKS, WIDTH = 65, 6, 384
TEXTS = rng.integers(VOCABULARY, size=(2, 65)).astype("int32")


def gpt_step(name: str) -> Thunk:
    import jax
    from jax import numpy as jnp

    from tracegrad.nn import models

    net = models.gpt(VOCABULARY, layers=BLOCKS, heads=6, width=WIDTH, context=64)
    params = jax.tree.map(jnp.asarray, net.init(0, TEXTS[:, :-1]))
    texts = jnp.asarray(TEXTS)
    if name == "jax":
        import optax

        apply, opt = flax_gpt(), optax.adam(1e-3)

        def mean_loss(params: Any, texts: Any) -> Any:
            logits = apply({"params": params}, texts[:, :-1])
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, texts[:, 1:]))

        def step(params: Any, state: Any, texts: Any) -> Any:
            value, gradient = jax.value_and_grad(mean_loss)(params, texts)
            updates, state = opt.update(gradient, state, params)
            return optax.apply_updates(params, updates), state, value

        jitted = jax.jit(step)
        state: Any = opt.init(params)
    else:
        import tracegrad as tg

        ours = tg.optim.adam(1e-3)

        def mean_loss_of_ours(params: Any, texts: Any) -> Any:
            logits = net(params, texts[:, :-1])
            return numpy.mean(tg.nn.softmax_cross_entropy_with_integer_labels(logits, texts[:, 1:]))

        def step_of_ours(params: Any, state: Any, texts: Any) -> Any:
            value, gradient = tg.value_and_grad(mean_loss_of_ours)(params, texts)
            updates, state = ours.update(gradient, state, params)
            return tg.optim.apply_updates(params, updates), state, value

        jitted = tg.jit(step_of_ours, backend="xla")
        state = jax.tree.map(jnp.asarray, ours.init(params))

    def thunk() -> Any:
        _, state_after, value = jax.block_until_ready(jitted(params, state, texts))
        return value, state_after[0].mu["wte"], state_after[0].mu["ln_f"]

    return thunk


def flax_gpt() -> Callable[..., Any]:
    """`models.gpt` in flax's layers, with the same names of parameters."""
    from flax import linen

    class Block(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            h = linen.LayerNorm(1e-5, name="ln_1")(x)
            mask = linen.make_causal_mask(x[..., 0])
            x = x + linen.MultiHeadDotProductAttention(6, name="attn")(h, mask=mask)
            h = linen.gelu(linen.Dense(4 * WIDTH, name="c_fc")(linen.LayerNorm(1e-5, name="ln_2")(x)))
            return x + linen.Dense(WIDTH, name="c_proj")(h)

    class GPT(linen.Module):
        @linen.compact
        def __call__(self, tokens: Any) -> Any:
            draw = linen.initializers.normal(0.02)
            words = self.param("wte", draw, (VOCABULARY, WIDTH))
            places = self.param("wpe", draw, (64, WIDTH))
            x = words[tokens] + places[: tokens.shape[-1]]
            for i in range(BLOCKS):
                x = Block(name=f"h_{i}")(x)
            return linen.LayerNorm(1e-5, name="ln_f")(x) @ words.T

    return GPT().apply


GPT = Workload(
    "xla_gpt", f"training step of a GPT of {BLOCKS} layers, width {WIDTH}, 2 × 64 words, float32, on XLA",
    tuple([Contender(name, partial(gpt_step, name), "flax") for name in ("tracegrad", "jax")]),
    (at_most(1.03, "jax"),), unit="ms", tolerance=1e-5, reference="jax",
)  # fmt: skip


# --- stack: the time to compile does not grow with the number of blocks -----------------------------------------------


def stack_contender(blocks: int) -> Contender:
    """So many blocks of a transformer: several in one loop; a new function each time."""

    def made() -> tuple[Callable[[], Callable[..., Any]], tuple[Any, ...]]:
        import tracegrad as tg
        from tracegrad import nn

        attend = nn.residual(nn.serial(nn.LayerNorm(), nn.MultiHeadAttention(4, causal=True)))
        think = nn.residual(nn.serial(nn.LayerNorm(), nn.Dense(256), nn.gelu, nn.Dense(64)))
        net = nn.stack(nn.serial(attend, think), blocks) if blocks > 1 else nn.serial(attend, think)
        return lambda: tg.jit(lambda *args: net(*args), backend="xla"), (net.init(0, STREAM), STREAM)

    def build() -> Thunk:
        import tracegrad as tg

        make, args = made()
        return lambda: numpy.all([numpy.isfinite(x).all() for x in tg.tree.tree_leaves(make()(*args))])

    def sampler() -> Sampler:
        import jax

        make, args = made()

        def sample() -> float:
            function = make()
            start = time.perf_counter()
            jax.block_until_ready(function(*args))
            return time.perf_counter() - start

        return sample

    return Contender(f"{blocks} block{'s' * (blocks > 1)}", build, "jax", sampler=sampler)


STREAM = drawn(4, 16, 64)

STACK = Workload(
    "first_xla_stack", "transformer's blocks in nn.stack, width 64, float32, first call on XLA",
    tuple(map(stack_contender, (24, 2, 1))), (Target("24 blocks", 1.3, of="1 block"),), unit="ms",
)  # fmt: skip


# --- threefry: random numbers ----------------------------------------------------------------------------------------

NUMBERS = 1_000_000


def threefry() -> Thunk:
    import tracegrad as tg

    key = tg.random.key(0)
    return lambda: tg.random.uniform(key, (NUMBERS,))


def philox() -> Thunk:
    return lambda: numpy.random.Generator(numpy.random.Philox(0)).random(NUMBERS)


# Their numbers differ, being other generators': each is compared with itself.
THREEFRY = Workload(
    "threefry", f"{NUMBERS:,} uniform numbers, float64",
    (Contender("tracegrad", threefry, expected=lambda: threefry()()), Contender("numpy", philox)),
    (at_most(3.0, "numpy"),),
)  # fmt: skip


# --- save: a tree of many leaves ---------------------------------------------------------------------------------------


def saved() -> Thunk:
    import tracegrad as tg

    tree = {f"layer_{i}": {"kernel": numpy.full((4, 4), i, "float32")} for i in range(10_000)}
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "tree.safetensors"

    def thunk() -> Any:
        assert folder.name  # the folder goes with the thunk
        tg.io.save(path, tree)
        return numpy.array(path.exists())

    return thunk


SAVE = Workload(
    "save", "a tree of 10,000 leaves saved", (Contender("tracegrad", saved, expected=lambda: numpy.array(True)),),
    (Target("tracegrad", 1000.0),), unit="ms", reference="tracegrad",
)  # fmt: skip


TRAINING = (JIT_CONV_NET, EAGER_LAYERS, ADAM, GPT, STACK, THREEFRY, SAVE)
