"""Functions and derivatives in sixty digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tracegrad.core.op import OPS, Op, Sample
from tracegrad.core.trace import bind
from tracegrad.testing import (
    precise,
)

X = np.array([0.5, 1.0, -0.3])
# Differs from its difference quotients by decree.
OVERRULED = {"stop_gradient"}


def test_precise_derivatives_agree_with_closed_forms() -> None:
    f = lambda p: {"y": np.exp(p["x"]) * np.cos(p["x"]), "n": np.arange(3)}
    args, v = ({"x": X},), ({"x": np.ones(3)},)
    exact = np.exp(X) * (np.cos(X) - np.sin(X))
    np.testing.assert_allclose(precise.derivative(f, args, v)["y"], exact, rtol=1e-15)
    np.testing.assert_allclose(precise.derivative(f, args, v, 2)["y"], -2 * np.exp(X) * np.sin(X), rtol=1e-15)
    np.testing.assert_array_equal(precise.evaluate(f, *args)["n"], np.arange(3))
    assert precise.evaluate(lambda x: x * 1j, X).dtype == np.complex128
    with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
        precise.derivative(f, args, v, 3)


def evaluated(op: Op, sample: Sample, apply: Any = None) -> tuple[list[Any], Callable[..., list[Any]]]:
    """The floats of a sample, and the op as a function of these: NumPy's evaluation, unless it is to be applied otherwise."""
    places = [i for i, x in enumerate(sample.inputs) if np.asarray(x).dtype.char in "dD"]

    def f(*given: Any) -> list[Any]:
        inputs = list(sample.inputs)
        for i, x in zip(places, given, strict=True):
            inputs[i] = x
        out = apply(op, tuple(inputs), sample.params) if apply else op.evaluate(*inputs, **sample.params)
        return list(out) if op.multiple_results else [out]

    return [np.asarray(sample.inputs[i]) for i in places], f


def takes_objects(op: Op, sample: Sample) -> bool:
    """Whether NumPy evaluates the op on objects, and to objects: not in LAPACK, SciPy or functions for floats only."""
    args, f = evaluated(op, sample)
    if any([np.asarray(o).dtype.kind not in "fc" for o in f(*args)]):
        return False
    try:
        outs = f(*map(precise.as_array, args))
    except (TypeError, AttributeError, ValueError, NotImplementedError):
        return False
    return all([isinstance(e, precise.Precise) for o in outs for e in np.asarray(o, object).flat])


def test_rules_of_the_registry_in_sixty_digits() -> None:
    rng = np.random.default_rng(0)
    held = set()
    for op in [o for o in OPS.values() if o.kinds and o.name not in OVERRULED]:
        for number, sample in enumerate(op.samples()):
            args, f = evaluated(op, sample)
            if not args or sum([x.size for x in args]) > 60 or not takes_objects(op, sample):
                continue
            held.add(op.name)
            v = [rng.normal(size=x.shape) + (1j * rng.normal(size=x.shape) if x.dtype.kind == "c" else 0) for x in args]
            value, slope = precise.evaluate(f, *args), precise.derivative(f, args, v)
            got, tangent = tg.jvp(evaluated(op, sample, bind)[1], tuple(args), tuple(v))
            for what, a, b in [("value", got, value), ("jvp", tangent, slope)]:
                for g, w in zip(a, b, strict=True):
                    size = np.max(np.abs(w), initial=0.0)
                    np.testing.assert_allclose(
                        g, w, rtol=1e-12, atol=1e-12 * size + 1e-30, err_msg=f"{what} of {op.name} {number}"
                    )
    assert len(held) > 110
    assert {"power", "prod", "einsum", "softmax", "norm", "linear_recurrence", "conv_general_dilated", "sort"} <= held
