"""The workloads, one block each: data, the work as every contender does it, what is claimed. `WORKLOADS` lists them.

The same function body runs on every library: it takes the library's numpy module as `np`, which for tracegrad is NumPy
itself. Data are made into the library's own arrays beforehand, and jax's results are waited for. jax is run with 64-bit
types switched on (`float64_in_jax`), or its float64 workloads would silently be float32 ones.

To add a workload, write one block and name it in `WORKLOADS`. To add a contender everywhere (a jitted tracegrad, say),
write one function that makes its `Library` and name it in `LIBRARIES`; in one place only, a `Contender` in that block.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy

from benchmarks.timing import Contender, Sampler, Target, Thunk, Workload

Array = numpy.ndarray
Params = list[dict[str, Any]]


# --- the libraries --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """What a workload needs of a library: its numpy module, its transforms, its arrays, and how a call is timed."""

    np: Any
    grad: Callable[..., Any]
    value_and_grad: Callable[..., Any]
    array: Callable[[Array], Any] = lambda array: array
    call: Callable[..., Thunk] = partial  # (function, *args) -> thunk
    ndtr: Callable[[Any], Any] | None = None  # the normal distribution function
    hessian: Callable[..., Any] | None = None
    scan: Callable[..., Any] | None = None
    vmap: Callable[..., Any] | None = None
    conv: Callable[..., Any] | None = None  # lax.conv_general_dilated
    segment_sum: Callable[..., Any] | None = None  # of rows, by the segment of each, and their number


def tracegrad_library() -> Library:
    import scipy.special

    import tracegrad

    def segment_sum(rows: Any, segments: Any, count: int) -> Any:
        total = tracegrad.numpy.zeros((count, *rows.shape[1:]), rows.dtype)
        numpy.add.at(total, segments, rows)
        return total

    return Library(
        numpy, tracegrad.grad, tracegrad.value_and_grad, ndtr=scipy.special.ndtr, vmap=tracegrad.vmap, segment_sum=segment_sum,
        hessian=tracegrad.hessian, scan=tracegrad.lax.scan, conv=tracegrad.lax.conv_general_dilated,
    )  # fmt: skip


def autograd_library() -> Library:
    import autograd
    import autograd.numpy

    return Library(autograd.numpy, autograd.grad, autograd.value_and_grad)


def jax_library() -> Library:
    import jax
    import jax.scipy.special

    def call(function: Callable[..., Any], *args: Any) -> Thunk:
        return lambda: jax.block_until_ready(function(*args))

    return Library(
        jax.numpy, jax.grad, jax.value_and_grad, jax.numpy.asarray, call, ndtr=jax.scipy.special.ndtr, vmap=jax.vmap,
        segment_sum=jax.ops.segment_sum, hessian=jax.hessian, scan=jax.lax.scan, conv=jax.lax.conv_general_dilated,
    )  # fmt: skip


# name -> (the module it needs, what loads it). Nothing is imported before a contender is built.
LIBRARIES: dict[str, tuple[str, Callable[[], Library]]] = {
    "tracegrad": ("tracegrad", tracegrad_library),
    "autograd": ("autograd", autograd_library),
    "jax": ("jax", jax_library),  # without jit: each op is dispatched on its own
}


def on_libraries(work: Callable[[Library], Thunk], by_hand: Thunk) -> tuple[Contender, ...]:
    """The contenders that do `work` on each library, and the one that does it in NumPy without any."""

    def contender(name: str) -> Contender:
        requires, load = LIBRARIES[name]
        return Contender(name, lambda: work(load()), requires)

    return (*map(contender, LIBRARIES), Contender("numpy", lambda: by_hand))


def float64_in_jax() -> AbstractContextManager[Any]:
    """The context in which jax has 64-bit types; the process's own setting is left as it is."""
    if importlib.util.find_spec("jax") is None:
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def versions() -> str:
    """One line: Python, the libraries that are timed or run underneath, processors."""
    found = []
    for name in ("numpy", *LIBRARIES):
        if importlib.util.find_spec(name) is not None:
            try:
                found.append(f"{name} {importlib.metadata.version(name)}")
            except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
                found.append(name)
    return f"Python {platform.python_version()}, {', '.join(found)}; {os.cpu_count()} processors"


# --- sin_sum: the smallest gradient there is, so the overhead of one call -------------------------------------------

POINT = numpy.array([0.3, -1.2, 2.5])


def sin_sum(library: Library) -> Thunk:
    np = library.np
    return library.call(library.grad(lambda x: np.sum(np.sin(x))), library.array(POINT))


SIN_SUM = Workload(
    name="sin_sum",
    title="gradient of sum(sin(x)), 3 elements, float64",
    contenders=on_libraries(sin_sum, by_hand=lambda: numpy.cos(POINT)),
    targets=(Target("tracegrad", 1 / 3, of="autograd"),),
)


# --- perceptron, mlp: one step of gradient descent on a network of tanh layers --------------------------------------


def network_loss(np: Any, params: Params, inputs: Any, targets: Any) -> Any:
    """Mean cross entropy of a network with tanh hidden layers. `targets` (n, classes) are one-hot.

    log(sum(exp(z))) goes without its usual shift by the maximum: these logits stay within a few units of 0, and the
    shift's own derivative, which cancels, is not what is to be timed.
    """
    for layer in params[:-1]:
        inputs = np.tanh(inputs @ layer["W"] + layer["b"])
    logits = inputs @ params[-1]["W"] + params[-1]["b"]
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - np.sum(logits * targets, axis=1))


def descend(params: Params, gradient: Params, rate: float = 0.1) -> Params:
    """One step of gradient descent, the same few lines of Python for every contender."""
    return [{name: p[name] - rate * g[name] for name in p} for p, g in zip(params, gradient, strict=True)]


def network_by_hand(params: Params, inputs: Array, targets: Array) -> tuple[Any, Params]:
    """The step as one writes it with pencil, paper and NumPy: two layers, loss and parameters after the step."""
    first, second = params
    hidden = numpy.tanh(inputs @ first["W"] + first["b"])
    logits = hidden @ second["W"] + second["b"]
    exp = numpy.exp(logits)
    total = exp.sum(axis=1, keepdims=True)
    loss = (numpy.log(total[:, 0]) - (logits * targets).sum(axis=1)).mean()
    d_logits = (exp / total - targets) / len(inputs)
    d_hidden = d_logits @ second["W"].T * (1 - hidden * hidden)
    gradient = [
        {"W": inputs.T @ d_hidden, "b": d_hidden.sum(axis=0)},
        {"W": hidden.T @ d_logits, "b": d_logits.sum(axis=0)},
    ]
    return loss, descend(params, gradient)


def network_data(sizes: tuple[int, ...], points: int, dtype: str) -> tuple[Params, Array, Array]:
    rng = numpy.random.default_rng(0)
    params = [
        {"W": (rng.normal(size=(n, m)) / n**0.5).astype(dtype), "b": numpy.zeros(m, dtype)} for n, m in pairwise(sizes)
    ]
    inputs = rng.normal(size=(points, sizes[0])).astype(dtype)
    labels = rng.integers(sizes[-1], size=points)
    return params, inputs, numpy.eye(sizes[-1], dtype=dtype)[labels]


def network_contenders(sizes: tuple[int, ...], points: int, dtype: str) -> tuple[Contender, ...]:
    params, inputs, targets = network_data(sizes, points, dtype)

    def step(library: Library) -> Thunk:
        gradient_of = library.value_and_grad(partial(network_loss, library.np))

        def one_step(params: Params, inputs: Any, targets: Any) -> tuple[Any, Params]:
            loss, gradient = gradient_of(params, inputs, targets)
            return loss, descend(params, gradient)

        own_params = [{name: library.array(leaf) for name, leaf in layer.items()} for layer in params]
        return library.call(one_step, own_params, library.array(inputs), library.array(targets))

    return on_libraries(step, by_hand=partial(network_by_hand, params, inputs, targets))


PERCEPTRON = Workload(
    name="perceptron",
    title="training step of a 2-2-2 softmax network, all of 100 points, float64",
    contenders=network_contenders((2, 2, 2), 100, "float64"),
    targets=(Target("tracegrad", 1 / 4, of="autograd"),),
)

MLP = Workload(
    name="mlp",
    title="training step of a 64-128-10 softmax network, batch of 64, float32",
    contenders=network_contenders((64, 128, 10), 64, "float32"),
    tolerance=1e-4,
)


# --- sin_chain: many ops on small arrays, so the overhead of one op -------------------------------------------------


def sin_chain(library: Library) -> Thunk:
    np = library.np

    def chain(x: Any) -> Any:
        for _ in range(1000):
            x = np.sin(x) * 1.01
        return np.sum(x)

    return library.call(library.grad(chain), library.array(POINT))


def sin_chain_by_hand() -> Array:
    """Each element depends on its own start alone, so the derivative can be carried along and nothing need be kept."""
    x, derivative = POINT, numpy.ones_like(POINT)
    for _ in range(1000):
        derivative = derivative * (numpy.cos(x) * 1.01)
        x = numpy.sin(x) * 1.01
    return derivative


SIN_CHAIN = Workload(
    name="sin_chain",
    title="gradient of 1,000 steps of x = sin(x) * 1.01, 3 elements, float64",
    contenders=on_libraries(sin_chain, by_hand=sin_chain_by_hand),
    targets=(Target("tracegrad", 1 / 2, of="autograd"),),
)


# --- chain_scaling: the time an op does not grow with the length of the chain ---------------------------------------

# A chain of bare sines: its derivative falls only as a power of the length (like n ** -1.5), where that of sin_chain
# falls exponentially and would spend the longest chain on denormal numbers and zeros.


def bare_chain(ops: int) -> Thunk:
    import tracegrad

    def chain(x: Any) -> Any:
        for _ in range(ops):
            x = numpy.sin(x)
        return numpy.sum(x)

    return partial(tracegrad.grad(chain), POINT)


def bare_chain_by_hand(ops: int) -> Array:
    x, derivative = POINT, numpy.ones_like(POINT)
    for _ in range(ops):
        x, derivative = numpy.sin(x), derivative * numpy.cos(x)
    return derivative


CHAIN_SCALING = Workload(
    name="chain_scaling",
    title="gradient of chains of sin, 3 elements, float64, time an op",
    contenders=tuple(
        Contender(f"{ops:,} ops", partial(bare_chain, ops), "tracegrad", ops, partial(bare_chain_by_hand, ops))
        for ops in (1_000, 10_000, 100_000)
    ),
    targets=(Target("100,000 ops", 1.5, of="1,000 ops"),),
    unit="µs an op",
    tolerance=1e-8,  # the rounding of 100,000 factors
)


# --- import: what `import tracegrad` adds to `import numpy` ---------------------------------------------------------

OPTIONAL = ("autograd", "hypothesis", "jax", "jaxlib", "scipy")  # none is tracegrad's to load before it is needed


def fresh_import(module: str, before: str) -> tuple[float, list[str]]:
    """In a new process, imports `before`, then `module`: that import's seconds, and which of `OPTIONAL` are loaded."""
    program = (
        f"import sys, json, time, {before}\nstart = time.perf_counter()\nimport {module}\n"
        f"print(json.dumps([time.perf_counter() - start, [m for m in {OPTIONAL} if m in sys.modules]]))"
    )
    root = Path(__file__).resolve().parent.parent  # so that a checkout that is not installed is found too
    # Compiled modules are cached, as for a user: what is not cached yet, the check before the timing caches.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    seconds, loaded = json.loads(done.stdout)
    return seconds, loaded


def import_contender(name: str, module: str, before: str) -> Contender:
    def sampler() -> Sampler:
        return lambda: fresh_import(module, before)[0]

    # The result that is checked is the set of optional modules that got loaded: none, so no leaves.
    def loaded() -> dict[str, bool]:
        return dict.fromkeys(fresh_import(module, before)[1], True)

    return Contender(name, lambda: loaded, module, expected=dict, sampler=sampler)


IMPORT = Workload(
    name="import",
    title="import tracegrad after import numpy, in fresh processes; loads neither jax nor scipy",
    contenders=(import_contender("tracegrad", "tracegrad", "numpy"), import_contender("numpy", "numpy", "json")),
    targets=(Target("tracegrad", 30),),
    unit="ms",
)


WORKLOADS = (SIN_SUM, PERCEPTRON, SIN_CHAIN, CHAIN_SCALING, MLP, IMPORT)
