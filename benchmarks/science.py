"""The workloads of scientific programs: eager against HIPS autograd, jitted against jax.jit and hand-written NumPy.

Each block makes the same function for every library, of its numpy module, and gives the data. Loops are Python's without jit,
and `lax.scan` in what is jitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy

from benchmarks.jitted import JITTABLE as JITTABLE  # with those of this file
from benchmarks.jitted import Make, at_most, jitted
from benchmarks.timing import Contender, Target, Thunk, Workload
from benchmarks.workloads import LIBRARIES, Array, Library


def by_python(step: Callable[..., Any], carry: Any, xs: Any, length: int | None = None) -> tuple[Any, None]:
    """`lax.scan` without what the steps give out, as a loop of Python."""
    for i in range(len(xs) if length is None else length):
        carry, _ = step(carry, None if xs is None else xs[i])
    return carry, None


def eager(
    name: str,
    title: str,
    make: Make,
    args: tuple[Any, ...],
    by_hand: Thunk | None,
    target: float,
    tolerance: float = 1e-8,
) -> Workload:
    """The workload `eager_name`, whose function runs op by op. Nothing of it needs jax, which takes a second for some."""

    def thunk(library_name: str) -> Thunk:
        library = replace(LIBRARIES[library_name][1](), scan=by_python)
        return library.call(make(library), *args)

    contenders = [Contender(n, partial(thunk, n), n) for n in ("tracegrad", "autograd")]
    if by_hand is not None:
        contenders.append(Contender("numpy", lambda: by_hand))
    return Workload(
        f"eager_{name}", f"{title}, not jitted", tuple(contenders), (Target("tracegrad", target, of="autograd"),),
        tolerance=tolerance,
    )  # fmt: skip


# --- nbody: the forces between 32 bodies ------------------------------------------------------------------------------

BODIES = 32
FROM, TO = numpy.triu_indices(BODIES, 1)


def bodies() -> tuple[Array, Array]:
    rng = numpy.random.default_rng(0)
    return rng.normal(size=(BODIES, 3)), rng.uniform(0.5, 1.5, BODIES)


def nbody(library: Library) -> Callable[..., Any]:
    np = library.np

    def energy(x: Any, m: Any) -> Any:
        d = x[FROM] - x[TO]
        return -np.sum(m[FROM] * m[TO] / np.sqrt(np.sum(d * d, axis=1) + 0.01))

    return library.grad(energy)


def nbody_by_hand(x: Array, m: Array) -> Array:
    d = x[FROM] - x[TO]
    r2 = numpy.sum(d * d, axis=1) + 0.01
    force = d * (m[FROM] * m[TO] / (r2 * numpy.sqrt(r2)))[:, None]
    total = numpy.zeros_like(x)
    numpy.add.at(total, FROM, force)
    numpy.subtract.at(total, TO, force)
    return total


NBODY_TITLE = "forces between 32 bodies from their energy, by 496 pairs of indices, float64"
NBODY_BY_HAND = partial(nbody_by_hand, *bodies())
NBODY = (
    eager("nbody", NBODY_TITLE, nbody, bodies(), NBODY_BY_HAND, 0.3),
    *jitted("nbody", NBODY_TITLE, nbody, bodies(), NBODY_BY_HAND, steady=(at_most(1.0, "numpy"),)),
)


# --- gp: the likelihood of a Gaussian process -------------------------------------------------------------------------


def gp_data() -> tuple[Any, ...]:
    rng = numpy.random.default_rng(0)
    x = numpy.sort(rng.uniform(0, 10, 200))
    return [numpy.array(0.1), numpy.array(-0.2), numpy.array(-1.5)], x, numpy.sin(x) + 0.2 * rng.normal(size=200)


def gp(library: Library) -> Callable[..., Any]:
    np = library.np

    def loss(params: Any, x: Any, y: Any) -> Any:
        length, scale, noise = params
        d = (x[:, None] - x[None, :]) / np.exp(length)
        k = np.exp(2 * scale) * np.exp(-0.5 * d * d) + np.exp(2 * noise) * np.eye(len(y))
        factor = np.linalg.cholesky(k)
        half = np.linalg.solve(factor, y)
        return 0.5 * np.sum(half * half) + np.sum(np.log(np.diag(factor)))

    return library.value_and_grad(loss)


def gp_by_hand(params: Sequence[Array], x: Array, y: Array) -> Any:
    length, scale, noise = params
    d2 = ((x[:, None] - x[None, :]) / numpy.exp(length)) ** 2
    signal = numpy.exp(2 * scale) * numpy.exp(-0.5 * d2)
    k = signal + numpy.exp(2 * noise) * numpy.eye(len(y))
    factor = numpy.linalg.cholesky(k)
    half = numpy.linalg.solve(factor, y)
    inverse = numpy.linalg.inv(k)
    solved = inverse @ y
    d_k = 0.5 * (inverse - solved[:, None] * solved)
    gradient = [numpy.sum(d_k * signal * d2), 2 * numpy.sum(d_k * signal), 2 * numpy.exp(2 * noise) * numpy.trace(d_k)]
    return 0.5 * numpy.sum(half * half) + numpy.sum(numpy.log(numpy.diag(factor))), gradient


GP_TITLE = "likelihood of a Gaussian process of 200 points and its gradient, float64"
GP_BY_HAND = partial(gp_by_hand, *gp_data())
GP = (
    eager("gp", GP_TITLE, gp, gp_data(), GP_BY_HAND, 0.3),
    *jitted("gp", GP_TITLE, gp, gp_data(), GP_BY_HAND, tolerance=1e-8, steady=(at_most(0.9, "jax"),)),
)


# --- kalman: the likelihood of a Kalman filter ------------------------------------------------------------------------


def kalman_data() -> tuple[Any, ...]:
    rng = numpy.random.default_rng(0)
    moves = numpy.eye(4) + 0.1 * numpy.eye(4, k=2)
    params = {"moves": moves, "process": numpy.array(-1.0), "noise": numpy.array(-0.5)}
    return params, numpy.cumsum(rng.normal(size=(100, 2)), axis=0)


def kalman(library: Library) -> Callable[..., Any]:
    np = library.np
    seen = numpy.eye(2, 4)

    def loss(params: Any, ys: Any) -> Any:
        moves = params["moves"]
        process, noise = np.exp(params["process"]) * numpy.eye(4), np.exp(params["noise"]) * numpy.eye(2)

        def step(carry: Any, y: Any) -> Any:
            mean, cov, total = carry
            mean, cov = moves @ mean, moves @ cov @ moves.T + process
            innovation, s = y - seen @ mean, seen @ cov @ seen.T + noise
            gain = np.linalg.solve(s, seen @ cov).T
            total = total + 0.5 * (innovation @ np.linalg.solve(s, innovation) + np.linalg.slogdet(s)[1])
            return (mean + gain @ innovation, cov - gain @ s @ gain.T, total), None

        assert library.scan is not None
        (_, _, total), _ = library.scan(step, (numpy.zeros(4), numpy.eye(4), numpy.zeros(())), ys)
        return total

    return library.grad(loss)


KALMAN_TITLE = "gradient of the likelihood of a Kalman filter, 4 states, 100 steps, float64"
KALMAN = (
    eager("kalman", KALMAN_TITLE, kalman, kalman_data(), None, 0.15),
    *jitted("kalman", f"{KALMAN_TITLE}, by scan", kalman, kalman_data(), None, steady=(at_most(3.0, "jax"),)),
)


# --- pendulums: Runge and Kutta's method ------------------------------------------------------------------------------


def pendulums(library: Library) -> Callable[..., Any]:
    np = library.np
    dt = 0.01

    def slope(angle: Any, speed: Any, length: Any) -> tuple[Any, Any]:
        return speed, -9.81 / length * np.sin(angle) - 0.1 * speed

    def loss(length: Any, angle: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            a, s = carry
            a1, s1 = slope(a, s, length)
            a2, s2 = slope(a + dt / 2 * a1, s + dt / 2 * s1, length)
            a3, s3 = slope(a + dt / 2 * a2, s + dt / 2 * s2, length)
            a4, s4 = slope(a + dt * a3, s + dt * s3, length)
            return (a + dt / 6 * (a1 + 2 * a2 + 2 * a3 + a4), s + dt / 6 * (s1 + 2 * s2 + 2 * s3 + s4)), None

        assert library.scan is not None
        (angle, speed), _ = library.scan(step, (angle, np.zeros_like(angle)), None, 200)
        return np.sum(angle**2 + speed**2)

    return library.grad(loss)


PENDULUM_DATA = (numpy.linspace(0.5, 2.0, 64), numpy.linspace(-2.0, 2.0, 64))
PENDULUM_TITLE = "gradient through 200 steps of Runge and Kutta's method, 64 pendulums, float64"
PENDULUMS = (
    eager("rk4", PENDULUM_TITLE, pendulums, PENDULUM_DATA, None, 0.08),
    *jitted("rk4", f"{PENDULUM_TITLE}, by scan", pendulums, PENDULUM_DATA, None, steady=(at_most(3.0, "jax"),)),
)


# --- graph: a network on a graph --------------------------------------------------------------------------------------

NODES, EDGES, FEATURES = 500, 3_000, 16


def graph_data() -> tuple[Any, ...]:
    rng = numpy.random.default_rng(0)
    params = [
        {name: rng.normal(size=(FEATURES, FEATURES)) / FEATURES**0.5 for name in ("from", "to")} for _ in range(2)
    ]
    return params, rng.normal(size=(NODES, FEATURES)), *rng.integers(NODES, size=(2, EDGES))


def graph_network(library: Library) -> Callable[..., Any]:
    np = library.np

    def loss(params: Any, nodes: Any, sources: Any, targets: Any) -> Any:
        for layer in params:
            messages = np.tanh(nodes[sources] @ layer["from"] + nodes[targets] @ layer["to"])
            assert library.segment_sum is not None
            nodes = nodes + library.segment_sum(messages, targets, NODES)
        return np.mean(nodes * nodes)

    return library.grad(loss)


GRAPH = jitted(
    "graph", "gradient of a network on a graph of 500 nodes and 3,000 edges, width 16, float64", graph_network, graph_data(),
    None, steady=(at_most(1.2, "jax"),),
)  # fmt: skip


# --- mixture: the likelihood of a mixture of normals ------------------------------------------------------------------


def mixture_data() -> tuple[Any, ...]:
    rng = numpy.random.default_rng(0)
    return [numpy.linspace(-3, 3, 8), numpy.zeros(8), numpy.zeros(8)], rng.normal(size=100_000) * 2


def mixture(library: Library) -> Callable[..., Any]:
    np = library.np

    def loss(params: Any, x: Any) -> Any:
        means, scales, weights = params
        z = (x[:, None] - means) * np.exp(-scales)
        each = weights - np.log(np.sum(np.exp(weights))) - scales - 0.5 * z * z
        top = np.max(each, axis=1, keepdims=True)
        return -np.mean(np.log(np.sum(np.exp(each - top), axis=1)) + top[:, 0])

    return library.value_and_grad(loss)


MIXTURE = jitted(
    "mixture", "likelihood of a mixture of 8 normals, 100,000 points, and its gradient, float64", mixture, mixture_data(),
    None, steady=(at_most(1.5, "jax"),),
)  # fmt: skip


# --- adam_60: a step of Adam, written out -----------------------------------------------------------------------------


def adam_data() -> tuple[Any, ...]:
    rng = numpy.random.default_rng(0)
    params = [rng.normal(size=(16, 16) if i % 2 else 16) for i in range(60)]
    return params, [0.1 * p for p in params], [0.01 * p * p for p in params], [rng.normal(size=p.shape) for p in params]


def adam_step(np: Any) -> Callable[..., Any]:
    def step(params: Any, means: Any, squares: Any, gradients: Any) -> Any:
        new: tuple[list[Any], ...] = ([], [], [])
        for p, m, v, g in zip(params, means, squares, gradients, strict=True):
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g * g
            for kept, x in zip(new, (p - 1e-3 * (m / 0.19) / (np.sqrt(v / 0.002) + 1e-8), m, v), strict=True):
                kept.append(x)
        return new

    return step


ADAM_BY_HAND = partial(adam_step(numpy), *adam_data())
ADAM = jitted(
    "adam_60", "step of Adam for 60 arrays of 16 × 16 and of 16 numbers, float64", lambda library: adam_step(library.np), adam_data(), ADAM_BY_HAND,
    steady=(at_most(0.7, "numpy"),),
)  # fmt: skip


SCIENCE = (*NBODY, *GP, *KALMAN, *PENDULUMS, *GRAPH, *MIXTURE, *ADAM)
