"""The workloads of `tracegrad.jit(..., backend="auto")`, which begins on NumPy and ends on the faster of NumPy and XLA.

`auto_x` times the function when it is settled what runs it, beside the same with either backend, XLA's with its data on the device;
`first_auto_x` a new function each time, from the call to its result, beside `jax.jit`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.jitted import Jittable, first_calls, own_arrays
from benchmarks.on_xla import CONV_NET, TRANSFORMER, first_on_xla, jitted_on_xla
from benchmarks.science import JITTABLE
from benchmarks.timing import Contender, Sampler, Target, Thunk, Workload
from benchmarks.workloads import LIBRARIES


def settled(function: Any, *args: Any) -> Thunk:
    """A call of it, when nothing is open any more."""
    function(*args)
    function.wait()
    while function.tier == "compiling":
        function(*args)
    return partial(function, *args)


def on_numpy(work: Jittable, backend: str) -> Thunk:
    import tracegrad

    library = LIBRARIES["tracegrad"][1]()
    function: Any = tracegrad.jit(work.make(library), backend=backend)
    return settled(function, *[own_arrays(library, x) for x in work.args])


def first_call(work: Jittable) -> Sampler:
    import tracegrad

    return first_calls(LIBRARIES["tracegrad"][1](), partial(tracegrad.jit, backend="auto"), work.make, work.args)


def two_tiers(work: Jittable) -> tuple[Workload, Workload]:
    return (
        Workload(
            f"auto_{work.name}", f"{work.title}, on the faster of two",
            (
                Contender("auto", partial(on_numpy, work, "auto"), "jax"),
                Contender("numpy", partial(on_numpy, work, "numpy")),
                Contender("xla", partial(jitted_on_xla, work, "tracegrad"), "jax"),
            ),
            (Target("auto", 1.05, of="numpy"), Target("auto", 1.05, of="xla")), tolerance=work.tolerance,
        ),
        Workload(
            f"first_auto_{work.name}", f"{work.title}, first call, which is on NumPy",
            (
                Contender("auto", partial(on_numpy, work, "auto"), "jax", sampler=partial(first_call, work)),
                Contender("jax", partial(jitted_on_xla, work, "jax"), "jax", sampler=partial(first_on_xla, work, "jax")),
            ),
            (Target("auto", 1 / 20, of="jax", or_units=5.0),), unit="ms", tolerance=work.tolerance, reference="jax",
        ),
    )  # fmt: skip


TWO_TIERS = tuple([workload for work in (*JITTABLE, CONV_NET, TRANSFORMER) for workload in two_tiers(work)])
