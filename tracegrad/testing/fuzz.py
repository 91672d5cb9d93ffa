"""`python -m tracegrad.testing.fuzz --minutes 60`: random programs, each checked in every way, until the time is up; with
`--plain` NumPy's calls on exotic operands against NumPy itself (see plain/); and with `--ops N` every op of the registry
on so many drawn inputs.

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
import hypothesis.strategies as st
import numpy as np

from tracegrad.core.check import check
from tracegrad.core.op import OPS, Op
from tracegrad.core.types import ShapeDtypeStruct
from tracegrad.testing import precise
from tracegrad.testing.gradients import check_grads
from tracegrad.testing.plain import Case, check_case
from tracegrad.testing.programs import SHAPES, Program, programs
from tracegrad.testing.rules import check_rule
from tracegrad.testing.strategies import op_samples
from tracegrad.testing.variants import assert_same, check_jit, check_vmap
from tracegrad.transforms.grad import grad, value_and_grad
from tracegrad.transforms.inspect import make_graph
from tracegrad.transforms.jit.numpy import jit
from tracegrad.transforms.linearize import jvp, linearize
from tracegrad.transforms.vmap import vmap

ROUND = 100  # programs of one seed
CLOSE = 1e-8  # of the largest number: what eight steps in float64 may lose


def check_program(program: Program, seed: int = 0, backends: Sequence[str] = ("numpy",)) -> None:
    """Hold a program against itself in 60 digits and without tracegrad, where that is possible, and against difference
    quotients; every mixture of modes of its second derivative against each other; itself in batches against a loop, and
    compiled; and its Graphs."""
    rng = np.random.default_rng(seed)
    args, v = [tuple([rng.uniform(-1, 1, shape) for shape in SHAPES]) for _ in range(2)]
    batch = tuple([np.stack([x, 0.5 * x, x[::-1]]) for x in args])
    inner = lambda g: sum([np.sum(a * b) for a, b in zip(g, v, strict=True)])
    along = lambda f: lambda *xs: jvp(f, xs, v)[1]
    gradient = grad(program, (0, 1))

    value, slopes = value_and_grad(program, (0, 1))(*args)
    pushed, second = jvp(program, args, v)[1], along(along(program))(*args)
    scale = 1.0 + max([np.max(np.abs(s)) for s in slopes])

    def near(got: Any, expected: Any, what: str, size: float = scale) -> None:
        assert_same(got, expected, what, CLOSE, CLOSE * size)

    if (plain := program.plain()) is not None:
        near(value, precise.evaluate(plain, *args), "the value against mpmath's", 1.0)
        near(pushed, precise.derivative(plain, args, v), "jvp against mpmath's")
        near(second, precise.derivative(plain, args, v, 2), "jvp of jvp against mpmath's", scale**2)
    check_grads(program, args, seed=seed)
    near(inner(slopes), pushed, "vjp against jvp")
    near(linearize(program, *args)[1](*v), pushed, "linearize against jvp")
    for what, found in {
        "jvp of vjp": lambda: inner(jvp(gradient, args, v)[1]),
        "vjp of jvp": lambda: inner(grad(along(program), (0, 1))(*args)),
        "vjp of vjp": lambda: inner(grad(lambda *xs: inner(gradient(*xs)), (0, 1))(*args)),
        "jvp of vjp of jit": lambda: inner(jvp(grad(jit(program), (0, 1)), args, v)[1]),
    }.items():
        near(found(), second, f"{what} against jvp of jvp", scale**2)

    for f in (program, gradient):
        check_vmap(f, batch, rtol=CLOSE, atol=CLOSE * scale)
    rows = vmap(program, (0, None))
    each = np.stack([grad(program)(row, args[1]) for row in batch[0]])
    near(grad(lambda x: np.sum(rows(x, args[1])))(batch[0]), each, "the gradient of vmap against a loop")

    check_jit(program, args, backends=("numpy",))
    # A branch that is known without jit is differentiated op by op: sums are taken in another order.
    check_jit(gradient, args, backends=backends, rtol=CLOSE, atol=CLOSE * scale)
    near(grad(jit(program), (0, 1))(*args), slopes, "the gradient of jit")
    near(vmap(jit(program))(*batch), vmap(program)(*batch), "vmap of jit")
    if "xla" in backends:
        check_jit(program, args, backends=("xla",), rtol=CLOSE, atol=CLOSE)

    structs = [ShapeDtypeStruct(x.shape, x.dtype) for x in args]
    for f, expected in ((program, [value]), (gradient, list(slopes))):
        for given in (args, structs):
            graph = make_graph(f)(*given)
            check(graph)
            near(list(graph(*args)), expected, "the Graph, evaluated,")


def fuzz_round(seed: int, examples: int, backends: Sequence[str]) -> None:
    """Check so many programs, drawn by this seed."""

    @_drawn(seed, examples)
    @hypothesis.given(programs())
    def run(program: Program) -> None:
        check_program(program, seed, backends)

    run()


def fuzz_op(op: Op, examples: int, seed: int = 0, backends: Sequence[str] = ("numpy",)) -> int:
    """Check an op's rules on so many drawn inputs of its kinds, and return how many of them NumPy took."""
    dtypes = [
        d for d, kind in (("float64", "f"), ("float32", "f"), ("float16", "f"), ("complex128", "c")) if kind in op.kinds
    ]
    taken = 0

    @_drawn(seed, examples)
    @hypothesis.given(st.data())
    def run(data: st.DataObject) -> None:
        nonlocal taken
        sample = data.draw(op_samples(op, data.draw(st.sampled_from(dtypes or ["float64"]))))
        with np.errstate(all="ignore"):
            try:
                op.evaluate(*sample.inputs, **sample.params)
            except TypeError:
                return  # NumPy does not take the dtype
            taken += check_rule(op, [sample], seed=seed, backends=backends)

    run()
    return taken


def _drawn(seed: int, examples: int) -> Any:
    settings = hypothesis.settings(
        max_examples=examples, deadline=None, database=None, print_blob=False, report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    return lambda test: hypothesis.seed(seed)(settings(test))


def _progress(text: str) -> None:
    print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)


def _fuzz_ops(examples: int, seed: int, backends: Sequence[str]) -> None:
    count = taken = 0
    for op in OPS.values():
        if op.kinds and op.name != "stop_gradient":  # whose derivative is zero by decree
            _progress(f"{count} ops, {taken} inputs; now {op.name}")
            taken += fuzz_op(op, examples, seed, backends)
            count += 1
    print(f"\n{count} ops on {taken} drawn inputs, nothing found")


def _fuzz_programs(minutes: float, seed: int, examples: int, backends: Sequence[str]) -> None:
    end = time.monotonic() + 60 * minutes
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        try:
            fuzz_round(seed + rounds, examples, backends)
        except BaseException:
            print(f"\nround of seed {seed + rounds} failed, after {rounds * examples} programs", file=sys.stderr)
            raise
        rounds += 1
        left = max(0.0, end - time.monotonic()) / 60
        _progress(f"{rounds * examples} programs, {left:.1f} minutes left")
    print(f"\n{rounds * examples} programs, nothing found")


def _fuzz_plain(minutes: float, seed: int, backends: Sequence[str], goes_on: bool) -> int:
    end = time.monotonic() + 60 * minutes
    number = ran = found = 0
    while number == 0 or time.monotonic() < end:
        try:
            ran += check_case(Case(seed + number), backends) == "ran"
        except AssertionError as error:
            if not goes_on:
                raise
            found += 1
            print(f"\n{error}", flush=True)
        number += 1
        if number % ROUND == 0:
            _progress(f"{number} cases, {ran} of them taken; {max(0.0, end - time.monotonic()) / 60:.1f} minutes left")
    print(f"\n{number} cases, {ran} of them taken, {found or 'nothing'} found")
    return int(found > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tracegrad.testing.fuzz", description="Check random programs.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; each round takes the next")
    parser.add_argument("--examples", type=int, default=ROUND, help="programs a round (default %(default)s)")
    parser.add_argument("--ops", type=int, metavar="N", help="in place of programs, every op on N drawn inputs")
    parser.add_argument("--plain", action="store_true", help="in place of programs, NumPy's calls on exotic operands")
    parser.add_argument("--go-on", action="store_true", help="with --plain, after what is found, too")
    parser.add_argument("--xla", action="store_true", help="on XLA, too, which compiles each for a second or so")
    options = parser.parse_args(arguments)
    if options.xla and importlib.util.find_spec("jax") is None:
        parser.error("--xla needs jax: pip install 'tracegrad[xla]'")
    backends = ("numpy", "xla") if options.xla else ("numpy",)
    if options.plain:
        return _fuzz_plain(options.minutes, options.seed, backends, options.go_on)
    if options.ops is not None:
        _fuzz_ops(options.ops, options.seed, backends)
    else:
        _fuzz_programs(options.minutes, options.seed, options.examples, backends)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
