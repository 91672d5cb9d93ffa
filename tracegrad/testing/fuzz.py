"""`python -m tracegrad.testing.fuzz --minutes 60`: random programs, each checked in every way, until the time is up.

What fails is shrunk and printed as Python that can be run, with the seed of its round.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Sequence
from typing import Any

import hypothesis
import numpy as np

from tracegrad.testing.gradients import check_grads
from tracegrad.testing.strategies import SHAPES, Program, programs
from tracegrad.testing.variants import check_jit, check_vmap
from tracegrad.transforms.differentiate import grad

ROUND = 100  # programs of one seed


def check_program(program: Program, seed: int = 0, backends: Sequence[str] = ("numpy",)) -> None:
    """Hold a program and its gradient against difference quotients to second order, a loop over examples, and itself
    compiled."""
    rng = np.random.default_rng(seed)
    args = tuple([rng.uniform(-1, 1, shape) for shape in SHAPES])
    batch = tuple([np.stack([x, 0.5 * x, x[::-1]]) for x in args])
    gradient = grad(program, (0, 1))
    check_grads(program, args, seed=seed)
    check_vmap(program, batch, rtol=1e-9)
    check_vmap(gradient, batch, rtol=1e-9)
    check_jit(program, args, backends=("numpy",))
    # A branch that is known without jit is differentiated op by op: sums are taken in another order.
    check_jit(gradient, args, backends=backends, rtol=1e-9)
    if "xla" in backends:
        check_jit(program, args, backends=("xla",), rtol=1e-9)


def fuzz_round(seed: int, examples: int, backends: Sequence[str]) -> None:
    """Check so many programs, drawn by this seed."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(programs())
    def run(program: Program) -> None:
        check_program(program, seed, backends)

    run()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tracegrad.testing.fuzz", description="Check random programs.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; each round takes the next")
    parser.add_argument("--examples", type=int, default=ROUND, help="programs a round (default %(default)s)")
    parser.add_argument(
        "--xla", action="store_true", help="on XLA, too, which compiles each program for a second or so"
    )
    options = parser.parse_args(arguments)
    if options.xla and importlib.util.find_spec("jax") is None:
        parser.error("--xla needs jax: pip install 'tracegrad[xla]'")
    backends = ("numpy", "xla") if options.xla else ("numpy",)
    end = time.monotonic() + 60 * options.minutes
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        seed = options.seed + rounds
        try:
            fuzz_round(seed, options.examples, backends)
        except BaseException:
            print(f"round of seed {seed} failed, after {rounds * options.examples} programs", file=sys.stderr)
            raise
        rounds += 1
        left: Any = max(0.0, end - time.monotonic())
        print(
            f"\r{rounds * options.examples} programs, {left / 60:.1f} minutes left", end="", file=sys.stderr, flush=True
        )
    print(f"\n{rounds * options.examples} programs, nothing found")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
