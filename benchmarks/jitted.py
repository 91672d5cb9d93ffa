"""The workloads of jit: steady state against jax.jit and hand-written NumPy, and the first call against jax's first.

`jit_x` times a function that has been compiled; `first_x` a new function each time, from the call to its result: tracing,
compiling, running. jax finds nothing in a cache there, since each sample jits a function that did not exist before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy

from benchmarks.timing import Contender, Sampler, Target, Thunk, Workload
from benchmarks.workloads import (
    LIBRARIES,
    POINT,
    Array,
    Library,
    Params,
    bare_chain_by_hand,
    descend,
    network_by_hand,
    network_data,
    network_loss,
)

# Makes the function to be jitted, a new one at each call, for a library.
Make = Callable[[Library], Callable[..., Any]]


class Jittable(NamedTuple):
    """A function to be jitted, its arguments, and how far its results on different libraries may differ."""

    name: str
    title: str
    make: Make
    args: tuple[Any, ...]
    tolerance: float


JITTABLE: list[Jittable] = []  # all of those below, which are run on XLA, too


def jit_of(name: str) -> Callable[..., Any]:
    if name == "jax":
        import jax

        return jax.jit
    import tracegrad

    return tracegrad.jit


def own_arrays(library: Library, x: Any) -> Any:
    """Arguments as the library's own arrays."""
    if isinstance(x, dict):
        return {k: own_arrays(library, v) for k, v in x.items()}
    return [own_arrays(library, v) for v in x] if isinstance(x, list) else library.array(x)


def planned(make: Make, args: tuple[Any, ...]) -> float:
    """The bytes that XLA says a call of the function takes in jax, which nobody sees it allocate."""
    library = LIBRARIES["jax"][1]()
    own = [own_arrays(library, x) for x in args]
    sizes = jit_of("jax")(make(library)).lower(*own).compile().memory_analysis()
    return float(sizes.temp_size_in_bytes + sizes.output_size_in_bytes)


def first_calls(library: Library, jit: Callable[..., Any], make: Make, args: Sequence[Any]) -> Sampler:
    """A sampler of first calls, each of a function made anew."""
    own = [own_arrays(library, x) for x in args]

    def sample() -> float:
        function = make(library)
        start = time.perf_counter()
        library.call(jit(function), *own)()
        return time.perf_counter() - start

    return sample


def jitted(
    name: str, title: str, make: Make, args: tuple[Any, ...], by_hand: Thunk | None, *, tolerance: float = 1e-10,
    steady: tuple[Target, ...] = (), first: float = 1 / 20,
) -> tuple[Workload, Workload]:  # fmt: skip
    """The workloads `jit_name` and `first_name`."""
    JITTABLE.append(Jittable(name, title, make, args, tolerance))

    def thunk(library_name: str) -> Thunk:
        library = LIBRARIES[library_name][1]()
        own = [own_arrays(library, x) for x in args]
        return library.call(jit_of(library_name)(make(library)), *own)

    def first_call(library_name: str) -> Sampler:
        return first_calls(LIBRARIES[library_name][1](), jit_of(library_name), make, args)

    names = ("tracegrad", "jax")
    peaks = {"tracegrad": None, "jax": partial(planned, make, args)}
    hand = () if by_hand is None else (Contender("numpy", lambda: by_hand),)
    return (
        Workload(
            f"jit_{name}", f"{title}, jitted",
            (*[Contender(n, partial(thunk, n), n, peak=peaks[n]) for n in names], *hand), steady,
            tolerance=tolerance, with_peaks=True,
        ),
        Workload(
            f"first_{name}", f"{title}, first call of a jitted function",
            (*[Contender(n, partial(thunk, n), n, sampler=partial(first_call, n)) for n in names], *hand),
            (Target("tracegrad", first, of="jax"),), unit="ms", tolerance=tolerance,
        ),
    )  # fmt: skip


def at_most(ratio: float, of: str) -> Target:
    return Target("tracegrad", ratio, of=of)


# --- the smallest gradient ------------------------------------------------------------------------------------------


def sin_sum(library: Library) -> Callable[..., Any]:
    np = library.np
    return library.grad(lambda x: np.sum(np.sin(x)))


SIN_SUM = jitted(
    "sin_sum", "gradient of sum(sin(x)), 3 elements, float64", sin_sum, (POINT,), lambda: numpy.cos(POINT),
    steady=(at_most(1.0, "jax"),),
)  # fmt: skip


# --- training steps of networks -------------------------------------------------------------------------------------


def network_step(library: Library) -> Callable[..., Any]:
    gradient_of = library.value_and_grad(partial(network_loss, library.np))

    def step(params: Params, inputs: Any, targets: Any) -> tuple[Any, Params]:
        loss, gradient = gradient_of(params, inputs, targets)
        return loss, descend(params, gradient)

    return step


def deep_by_hand(params: Params, inputs: Array, targets: Array) -> tuple[Any, Params]:
    """`network_by_hand` for any number of layers."""
    kept = [inputs]
    for layer in params[:-1]:
        kept.append(numpy.tanh(kept[-1] @ layer["W"] + layer["b"]))
    logits = kept[-1] @ params[-1]["W"] + params[-1]["b"]
    exp = numpy.exp(logits)
    total = exp.sum(axis=1, keepdims=True)
    loss = (numpy.log(total[:, 0]) - (logits * targets).sum(axis=1)).mean()
    d = (exp / total - targets) / inputs.dtype.type(len(inputs))
    gradient = []
    for number in range(len(params) - 1, -1, -1):
        gradient.append({"W": kept[number].T @ d, "b": d.sum(axis=0)})
        if number:
            d = d @ params[number]["W"].T * (1 - kept[number] * kept[number])
    return loss, descend(params, gradient[::-1])


def network(name: str, title: str, sizes: tuple[int, ...], points: int, dtype: str, **options: Any) -> Any:
    args = network_data(sizes, points, dtype)
    by_hand = partial(network_by_hand if len(sizes) == 3 else deep_by_hand, *args)
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    return jitted(name, title, network_step, args, by_hand, tolerance=tolerance, **options)


PERCEPTRON = network(
    "perceptron", "training step of a 2-2-2 network, 100 points, float64", (2, 2, 2), 100, "float64",
    steady=(at_most(1.0, "numpy"), at_most(0.6, "jax")),
)  # fmt: skip
MLP = network(
    "mlp", "training step of a 64-128-10 network, batch of 64, float32", (64, 128, 10), 64, "float32",
    steady=(at_most(1.0, "numpy"), at_most(1.0, "jax")),
)  # fmt: skip
WIDE = network(
    "wide", "training step of a 784-512-512-10 network, batch of 128, float32", (784, 512, 512, 10), 128, "float32",
    steady=(at_most(1.0, "numpy"),), first=1 / 10,
)  # fmt: skip


# --- the gradient of each example's loss ----------------------------------------------------------------------------


def per_example(library: Library) -> Callable[..., Any]:
    np = library.np

    def loss(params: Params, x: Any, target: Any) -> Any:
        for layer in params[:-1]:
            x = np.tanh(x @ layer["W"] + layer["b"])
        logits = x @ params[-1]["W"] + params[-1]["b"]
        return np.log(np.sum(np.exp(logits))) - np.sum(logits * target)

    assert library.vmap is not None
    return library.vmap(library.grad(loss), (None, 0, 0))


def per_example_by_hand(params: Params, inputs: Array, targets: Array) -> Params:
    first, second = params
    hidden = numpy.tanh(inputs @ first["W"] + first["b"])
    exp = numpy.exp(hidden @ second["W"] + second["b"])
    d_logits = exp / exp.sum(axis=1, keepdims=True) - targets
    d_hidden = d_logits @ second["W"].T * (1 - hidden * hidden)
    return [
        {"W": inputs[:, :, None] * d_hidden[:, None, :], "b": d_hidden},
        {"W": hidden[:, :, None] * d_logits[:, None, :], "b": d_logits},
    ]


PER_EXAMPLE = jitted(
    "per_example", "gradients of each of 64 examples' losses, 64-128-10 network, float32", per_example,
    network_data((64, 128, 10), 64, "float32"), partial(per_example_by_hand, *network_data((64, 128, 10), 64, "float32")),
    tolerance=1e-4, steady=(at_most(1.5, "jax"), at_most(1.2, "numpy")),
)  # fmt: skip


# --- a recurrent network, unrolled ----------------------------------------------------------------------------------

STEPS, BATCH, WIDTH = 64, 16, 64


def rnn_data() -> tuple[Array, Array, Array, Array]:
    rng = numpy.random.default_rng(0)
    w, u = [(0.5 * rng.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5).astype("float32") for _ in range(2)]
    return w, u, numpy.zeros(WIDTH, "float32"), rng.normal(size=(STEPS, BATCH, WIDTH)).astype("float32")


def rnn(library: Library) -> Callable[..., Any]:
    np = library.np

    def loss(w: Any, u: Any, b: Any, xs: Any) -> Any:
        h = np.zeros((BATCH, WIDTH), "float32")
        for t in range(STEPS):
            h = np.tanh(h @ w + xs[t] @ u + b)
        return np.sum(h * h)

    def gradient(w: Any, u: Any, b: Any, xs: Any) -> Any:
        def of_params(p: Any) -> Any:
            return loss(*p, xs)

        return library.grad(of_params)([w, u, b])

    return gradient


def rnn_by_hand(w: Array, u: Array, b: Array, xs: Array) -> list[Array]:
    hs = [numpy.zeros((BATCH, WIDTH), "float32")]
    for t in range(STEPS):
        hs.append(numpy.tanh(hs[-1] @ w + xs[t] @ u + b))
    dw, du, db = numpy.zeros_like(w), numpy.zeros_like(u), numpy.zeros_like(b)
    d = 2 * hs[-1]
    for t in range(STEPS - 1, -1, -1):
        d = d * (1 - hs[t + 1] * hs[t + 1])
        dw += hs[t].T @ d
        du += xs[t].T @ d
        db += d.sum(axis=0)
        d = d @ w.T
    return [dw, du, db]


RNN = jitted(
    "rnn", "gradient of a 64-step tanh RNN, unrolled, batch of 16, width 64, float32", rnn, rnn_data(),
    partial(rnn_by_hand, *rnn_data()), tolerance=1e-4, steady=(at_most(1.0, "numpy"),),
)  # fmt: skip


def rnn_by_scan(library: Library) -> Callable[..., Any]:
    np = library.np

    def loss(p: Any, xs: Any) -> Any:
        w, u, b = p

        def step(h: Any, x: Any) -> Any:
            return np.tanh(h @ w + x @ u + b), None

        h, _ = library.scan(step, np.zeros((BATCH, WIDTH), "float32"), xs)
        return np.sum(h * h)

    return lambda w, u, b, xs: library.grad(lambda p: loss(p, xs))([w, u, b])


RNN_SCAN = jitted(
    "rnn_scan", "gradient of a 64-step tanh RNN by scan, batch of 16, width 64, float32", rnn_by_scan, rnn_data(),
    partial(rnn_by_hand, *rnn_data()), tolerance=1e-4, steady=(at_most(1.1, "numpy"),),
)  # fmt: skip


# --- second derivatives ---------------------------------------------------------------------------------------------


def rosenbrock(library: Library) -> Callable[..., Any]:
    np = library.np
    return library.hessian(lambda x: np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))


def rosenbrock_by_hand(x: Array) -> Array:
    diagonal = numpy.zeros_like(x)
    diagonal[:-1] = 1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0
    diagonal[1:] += 200.0
    hessian = numpy.diag(diagonal)
    i = numpy.arange(x.size - 1)
    hessian[i, i + 1] = hessian[i + 1, i] = -400.0 * x[:-1]
    return hessian


ROSENBROCK = jitted(
    "rosenbrock", "Hessian of the Rosenbrock function of 50 variables, float64", rosenbrock,
    (numpy.linspace(-1.0, 1.0, 50),), partial(rosenbrock_by_hand, numpy.linspace(-1.0, 1.0, 50)),
    steady=(at_most(1.0, "jax"),), first=1 / 10,
)  # fmt: skip


# --- long elementwise chains on large arrays ------------------------------------------------------------------------


def options_data() -> tuple[Array, ...]:
    """Spot, strike, years, volatility and interest rate of a million options."""
    rng = numpy.random.default_rng(0)
    bounds = [(80.0, 120.0), (80.0, 120.0), (0.1, 2.0), (0.1, 0.5), (0.0, 0.05)]
    return tuple([rng.uniform(low, high, 1_000_000) for low, high in bounds])


def black_scholes(library: Library) -> Callable[..., Any]:
    """Prices of calls, and their derivatives with respect to spot, years, volatility and rate."""
    np = library.np

    def price(s: Any, k: Any, t: Any, v: Any, r: Any) -> Any:
        d1 = (np.log(s / k) + (r + v * v / 2) * t) / (v * np.sqrt(t))
        d2 = d1 - v * np.sqrt(t)
        return s * library.ndtr(d1) - k * np.exp(-r * t) * library.ndtr(d2)

    def total(*args: Any) -> Any:
        prices = price(*args)
        return np.sum(prices), prices

    def price_and_greeks(*args: Any) -> Any:
        greeks, prices = library.grad(total, (0, 2, 3, 4), has_aux=True)(*args)
        return prices, greeks

    return price_and_greeks


def black_scholes_by_hand(s: Array, k: Array, t: Array, v: Array, r: Array) -> Any:
    import scipy.special

    root = numpy.sqrt(t)
    spread = v * root
    d1 = (numpy.log(s / k) + (r + v * v / 2) * t) / spread
    d2 = d1 - spread
    delta, exercised = scipy.special.ndtr(d1), scipy.special.ndtr(d2)
    paid = k * numpy.exp(-r * t) * exercised
    vega = s * numpy.exp(d1 * d1 / -2) * root / numpy.sqrt(2 * numpy.pi)
    return s * delta - paid, (delta, vega * v / (2 * t) + r * paid, vega, t * paid)


BLACK_SCHOLES = jitted(
    "black_scholes", "Black-Scholes prices and four greeks of 1,000,000 options, float64", black_scholes,
    options_data(), partial(black_scholes_by_hand, *options_data()), steady=(at_most(0.5, "numpy"),), first=1 / 5,
)  # fmt: skip


# --- many ops on small arrays ---------------------------------------------------------------------------------------

SQUARE = numpy.linspace(-1.0, 1.0, 64).reshape(8, 8)


def sin_chain(library: Library) -> Callable[..., Any]:
    np = library.np

    def chain(x: Any) -> Any:
        for _ in range(1000):
            x = np.sin(x) * 1.01
        return np.sum(x)

    return library.grad(chain)


def sin_chain_by_hand() -> Array:
    x, derivative = SQUARE, numpy.ones_like(SQUARE)
    for _ in range(1000):
        derivative = derivative * (numpy.cos(x) * 1.01)
        x = numpy.sin(x) * 1.01
    return derivative


SIN_CHAIN = jitted(
    "sin_chain", "gradient of 1,000 steps of x = sin(x) * 1.01, 8 × 8, float64", sin_chain, (SQUARE,),
    sin_chain_by_hand, steady=(at_most(0.9, "numpy"),), first=1 / 10,
)  # fmt: skip


# --- compile_scaling: the time an op does not grow with the length of the chain --------------------------------------


def compiled_chain(ops: int) -> Callable[[], Callable[..., Any]]:
    """Makes a new jitted gradient of a chain of sines."""
    import tracegrad

    def chain(x: Any) -> Any:
        for _ in range(ops):
            x = numpy.sin(x)
        return numpy.sum(x)

    return lambda: tracegrad.jit(tracegrad.grad(lambda x: chain(x)))


def chain_contender(ops: int) -> Contender:
    def sampler() -> Sampler:
        make = compiled_chain(ops)

        def sample() -> float:
            function = make()
            start = time.perf_counter()
            function(POINT)
            return time.perf_counter() - start

        return sample

    build = lambda: partial(compiled_chain(ops)(), POINT)
    return Contender(f"{ops:,} ops", build, "tracegrad", ops, partial(bare_chain_by_hand, ops), sampler)


COMPILE_SCALING = Workload(
    name="compile_scaling",
    title="trace, differentiate, compile and run chains of sin, 3 elements, float64, time an op",
    contenders=tuple(map(chain_contender, (1_000, 10_000, 100_000))),
    targets=(Target("100,000 ops", 1.5, of="1,000 ops"),),
    unit="µs an op",
    tolerance=1e-8,  # the rounding of 100,000 factors
)


JITTED = (
    *SIN_SUM,
    *PERCEPTRON,
    *MLP,
    *WIDE,
    *PER_EXAMPLE,
    *RNN,
    *RNN_SCAN,
    *ROSENBROCK,
    *BLACK_SCHOLES,
    *SIN_CHAIN,
    COMPILE_SCALING,
)
