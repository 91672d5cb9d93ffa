"""`python -m benchmarks.gpu`: on one GPU, the workloads of jit on XLA and a training step of a GPT-like network in
bfloat16, against the same functions in jax, as a Markdown table with the device's name. Without a GPU it says so.

`--device cpu --small` runs a small network on the processor instead, to see that it runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy

from benchmarks.gpt import LARGE, SMALL, Config, data, training_step
from benchmarks.on_xla import ON_XLA, library_on_xla
from benchmarks.timing import minimum_of_rounds, number
from benchmarks.workloads import float64_in_jax, versions

# The most that a device computes in bfloat16, in operations a second, dense, as its maker says.
PEAK = {
    "A100": 312e12, "H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "B200": 2250e12, "L4": 121e12, "L40": 181e12,
    "V100": 125e12,
}  # fmt: skip


def peak_of(kind: str) -> float | None:
    """By the longest name that is part of the device's."""
    names = [name for name in PEAK if all([word in kind for word in name.split()])]
    return PEAK[max(names, key=len)] if names else None


def gpt_contender(name: str, config: Config, dtype: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A call that makes a step, and the losses so far."""
    import jax

    library, jit = library_on_xla(name)
    step = jit(training_step(library, jax.tree_util.tree_map, config, dtype), donate_argnums=(0, 1, 2))
    params, texts = data(config)
    on_device = partial(jax.tree_util.tree_map, jax.numpy.asarray)
    zeros = partial(jax.tree_util.tree_map, numpy.zeros_like)
    state = [on_device(params), on_device(zeros(params)), on_device(zeros(params))]
    texts = jax.numpy.asarray(texts)
    losses: list[Any] = []

    def run() -> None:
        *state[:], value = step(*state, texts)
        losses.append(float(jax.block_until_ready(value)))

    return run, lambda: losses


def gpt_rows(config: Config, dtype: Any, rounds: int, kind: str) -> list[str]:
    """Rows of the table for the training step, after holding the losses of the two against each other."""
    samplers, first, losses = {}, {}, {}
    for name in ("tracegrad", "jax"):
        start = time.perf_counter()
        run, losses[name] = gpt_contender(name, config, dtype)
        run()
        first[name] = time.perf_counter() - start

        def sample(run: Callable[[], Any] = run) -> float:
            start = time.perf_counter()
            for _ in range(3):
                run()
            return (time.perf_counter() - start) / 3

        samplers[name] = sample
    best = minimum_of_rounds(samplers, rounds)
    ours, theirs = [numpy.array(losses[name]()) for name in ("tracegrad", "jax")]
    shared = min(len(ours), len(theirs), 10)
    # The two round differently, bfloat16 has 8 bits, and steps of training move apart what differs.
    numpy.testing.assert_allclose(ours[:shared], theirs[:shared], rtol=2e-2)
    title = f"GPT, {config.parameters / 1e6:.0f} M parameters, {config.batch} × {config.length} words, {numpy.dtype(dtype).name}"
    ratio = best["tracegrad"] / best["jax"]
    rows = [
        f"| {title}, training step, ms | {number(best['tracegrad'] * 1e3)} | {number(best['jax'] * 1e3)} | {ratio:.3f} |"
    ]
    peak = peak_of(kind)
    if peak is not None:
        used = [100 * config.flops / best[name] / peak for name in ("tracegrad", "jax")]
        rows.append(f"| model FLOP utilisation of {peak / 1e12:.0f} TFLOP/s, % | {used[0]:.1f} | {used[1]:.1f} | |")
    rows.append(
        f"| its first call, s | {number(first['tracegrad'])} | {number(first['jax'])} | {first['tracegrad'] / first['jax']:.3f} |"
    )
    return rows


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description="Time tracegrad against jax on a GPU."
    )
    parser.add_argument("names", nargs="*", help="workloads, such as xla_mlp or gpt; all without a name")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="gpu", help="the kind of device (default %(default)s)")
    parser.add_argument("--small", action="store_true", help="a small network in place of the large one")
    options = parser.parse_args(arguments)
    import jax

    try:
        device = jax.devices(options.device)[0]
    except RuntimeError:
        print(
            f"jax finds no {options.device} here, only {', '.join(sorted({d.device_kind for d in jax.devices()}))}: nothing was run"
        )
        return 0
    rows = [f"{device.device_kind}; {versions()}", "", "| | tracegrad | jax | ratio |", "|---|---|---|---|"]
    with jax.default_device(device):
        chosen = [w for w in ON_XLA if not options.names or w.name in options.names]
        for workload in chosen:
            with float64_in_jax():
                seconds = workload.measure(options.rounds)
            unit = {"µs": 1e6, "ms": 1e3}[workload.unit]
            ours, theirs = seconds["tracegrad"], seconds["jax"]
            rows.append(
                f"| {workload.title}, {workload.unit} | {number(ours * unit)} | {number(theirs * unit)} | {ours / theirs:.3f} |"
            )
            print(rows[-1], file=sys.stderr, flush=True)
        if not options.names or "gpt" in options.names:
            config = SMALL if options.small else LARGE
            rows += gpt_rows(config, jax.numpy.bfloat16, options.rounds, device.device_kind)
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
