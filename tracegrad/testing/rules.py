"""check_rule: all that an op declares, held against evaluation, difference quotients, loops and compiled code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.op import Op, Sample
from tracegrad.testing.gradients import check_grads
from tracegrad.testing.reproduce import attach
from tracegrad.testing.variants import check_jit, check_vmap
from tracegrad.trace import bind
from tracegrad.types import is_inexact, type_of


def check_rule(
    op: Op,
    samples: Iterable[Sample] | None = None,
    *,
    order: int = 2,
    backends: Sequence[str] = ("numpy",),
    seed: int = 0,
) -> int:
    """Hold an op's rules against independent truth, on its own samples or on others.

    The type rule is held against evaluation; both derivatives against difference quotients and each other, up to an order;
    the batching rule against a loop; compiled code against evaluation.

    Args:
        op: the op, with at least an evaluation and a type rule.
        samples: `Sample(inputs, params)`; the op's own, if not given.
        order: of the derivatives.
        backends: what compiles it; "xla" needs its `xla` rule.
        seed: of the random directions.

    Returns:
        The number of samples.

    Raises:
        AssertionError: what is wrong on which sample.
        ValueError: no samples.

    >>> import tracegrad as tg
    >>> from tracegrad.op import OPS
    >>> from tracegrad.testing import check_rule
    >>> check_rule(OPS["tanh"]) > 0
    True
    """
    count = 0
    for number, sample in enumerate(op.samples() if samples is None else samples):
        count += 1
        try:
            inputs, params = tuple(sample.inputs), dict(sample.params)

            def applied(*xs: Any, params: Any = params) -> Any:
                return bind(op, xs, params)

            applied.__name__ = f"{op.name} on sample {number}"
            out = applied(*inputs)
            inferred: Any = op.infer([type_of(x) for x in inputs], params)
            for got, wanted in zip(out if op.several else (out,), inferred if op.several else (inferred,), strict=True):
                if type_of(got) != wanted:
                    raise AssertionError(f"{applied.__name__}: evaluation gives {type_of(got)}, the type rule {wanted}")
            if (op.jvp or op.vjp) and any([is_inexact(type_of(x).dtype) for x in inputs]):
                check_grads(applied, inputs, order=order, seed=seed)
            arrays = [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray | np.generic)]
            if op.batch is not None and arrays:
                # Rows that differ, and stay where the op is defined.
                other = [
                    x * x.dtype.type(0.9) if i in arrays and x.dtype.kind in "fc" else x for i, x in enumerate(inputs)
                ]
                stacked = [
                    np.stack([x, y]) if i in arrays else x for i, (x, y) in enumerate(zip(inputs, other, strict=True))
                ]
                check_vmap(applied, stacked, tuple([0 if i in arrays else None for i in range(len(inputs))]))
            check_jit(applied, inputs, backends=backends)
        except Exception as error:
            attach(error, check_rule, (op, [sample]), {"order": order, "backends": backends, "seed": seed})
            raise
    if not count:
        raise ValueError(f"check_rule: {op.name} has no samples; give some with samples=[Sample((x,), {{}})]")
    return count
