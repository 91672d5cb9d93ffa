"""check_rule: all that an op declares, held against evaluation, difference quotients, loops and compiled code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracegrad.core.op import Op, Sample
from tracegrad.core.trace import bind
from tracegrad.core.types import is_inexact, type_of
from tracegrad.testing.gradients import check_grads
from tracegrad.testing.reproduce import attach
from tracegrad.testing.variants import check_jit, check_vmap
from tracegrad.transforms.grad import jvp, vjp


def check_rule(
    op: Op,
    samples: Iterable[Sample] | None = None,
    *,
    order: int = 2,
    backends: Sequence[str] = ("numpy",),
    seed: int = 0,
) -> int:
    """Hold an op's rules against independent truth, on its own samples or on others.

    The type rule is held against evaluation; both derivatives against difference quotients and each other, up to an order,
    and against themselves where a tangent or cotangent is zero; the batching rule against a loop; compiled code against
    evaluation.

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
    >>> from tracegrad.core.op import OPS
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
                check_linear_at_zero(*_of_floats(applied, inputs), seed, applied.__name__)
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


def _of_floats(function: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Callable[..., Any], list[Any]]:
    """A function of the inputs that are floating, with its floating outputs; and these inputs."""
    positions = [i for i, x in enumerate(inputs) if is_inexact(type_of(x).dtype)]

    def floating(*xs: Any) -> tuple[Any, ...]:
        full = list(inputs)
        for i, x in zip(positions, xs, strict=True):
            full[i] = x
        out = function(*full)
        return tuple([o for o in (out if isinstance(out, tuple | list) else (out,)) if is_inexact(type_of(o).dtype)])

    return floating, [inputs[i] for i in positions]


def check_linear_at_zero(
    function: Callable[..., Any], inputs: Sequence[Any], seed: int, name: str, tolerance: float = 1e-9
) -> None:
    """Hold the derivatives of a function with a tuple of outputs to be linear maps where they are applied to zeros, too.

    A rule that looks at the numbers in a tangent or cotangent (`where(ct == 0, …)`) is right at first, and wrong as soon as
    it is differentiated again. So both maps are differentiated in what they are applied to, at zero and where every
    other element is zero, which has to give the map itself; and in the inputs, which at zero has to give zero.

    Raises:
        AssertionError: the map, and what it gives.
    """
    rng = np.random.default_rng(seed)

    def drawn(like: Any) -> Any:
        found = type_of(like)
        values = rng.uniform(-1, 1, found.shape)
        return np.asarray(values + 1j * rng.uniform(-1, 1, found.shape) if found.dtype.kind == "c" else values).astype(
            found.dtype
        )[()]

    def with_zeros(x: Any) -> Any:
        return np.where(np.arange(x.size).reshape(x.shape) % 2, x, 0).astype(x.dtype)[()]

    outs = function(*inputs)
    if not outs:
        return
    moved = tuple([drawn(x) for x in inputs])
    for direction, seeds, apply in (
        ("forward", inputs, lambda xs, ts: jvp(function, tuple(xs), ts)[1]),
        ("reverse", outs, lambda xs, cts: vjp(function, *xs)[1](cts)),
    ):
        some = tuple([drawn(s) for s in seeds])
        zeros = tuple([0 * s for s in some])
        for at in (zeros, tuple([with_zeros(s) for s in some])):
            expected = apply(inputs, some)
            _, found = jvp(lambda *ds, apply=apply: apply(inputs, ds), at, some)
            _close(
                found,
                expected,
                f"{name}: the {direction} derivative, differentiated where it is applied to zeros,",
                tolerance,
            )
        _, found = jvp(lambda *xs, apply=apply, zeros=zeros: apply(xs, zeros), tuple(inputs), moved)
        _close(
            found,
            [0 * f for f in found],
            f"{name}: the {direction} derivative of zero, differentiated in the inputs,",
            tolerance,
        )


def _close(found: Any, expected: Any, what: str, tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        scale = max(1.0, np.max(np.abs(b), initial=0.0))
        if not np.all(np.abs(np.subtract(a, b)) <= tolerance * scale):
            raise AssertionError(f"{what} gives {a}, and not {b}")
