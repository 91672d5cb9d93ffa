"""check_grads finds what is wrong, says where, and raises no false alarms; over the whole registry."""

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
from tracegrad.core.tracer import Tracer
from tracegrad.ops.families import elementwise
from tracegrad.ops.masks import filled
from tracegrad.testing import (
    GradientError,
    check_grads,
    check_vmap,
    expect_traces,
)
from tracegrad.testing.cases import Case, cases

X = np.array([0.5, 1.0, -0.3])
RNG = np.random.default_rng(0)
# Differs from its difference quotients by decree.
OVERRULED = {"stop_gradient"}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex128"])
def test_right_derivatives_pass(dtype: str) -> None:
    params = {"w": RNG.normal(size=(3, 3)).astype(dtype), "b": [X.astype(dtype)], "n": 3}
    f = lambda p, s: {"y": np.tanh(p["w"] @ p["b"][0] * s) * p["n"], "i": 1}
    assert check_grads(f, (params, 0.5), order=2 if dtype == "float16" else 3, jitted=True, vmapped=True).kinks == ()
    assert check_grads(f, (params, 0.5), modes="rev", order=1).checked == 2
    assert check_grads(lambda x: np.sum(x), (np.zeros((0, 3), dtype),)).kinks == ()


def test_large_inputs_cost_no_more_evaluations() -> None:
    count = 0

    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        return np.sum(np.sin(x) * x)

    check_grads(f, (RNG.normal(size=100_000),), order=1)
    assert count < 60


def test_a_failure_names_leaf_element_numbers_and_rule() -> None:
    @tg.custom_jvp
    def wrong(x: Any) -> Any:
        return np.sin(x)

    wrong.defjvp(lambda p, t: (np.sin(p[0]), np.cos(p[0]) * t[0] * np.array([1.0, 2.0, 1.0])))
    with pytest.raises(GradientError) as caught:
        check_grads(lambda p: {"y": wrong(p["w"]) * 3.0}, ({"w": X},))
    text = str(caught.value)
    assert "of order 1 of" in text
    assert "forward mode, of output['y'][1]" in text
    assert "ratio 2)" in text
    assert "most wrong for p['w'][1]" in text
    assert "suspected: the rule of 'wrong' with custom derivatives at" in text
    assert "test_gradients.py" in text
    with pytest.raises(GradientError, match="reverse mode"):
        check_grads(lambda p: wrong(p["w"]), ({"w": X},), modes=("rev",), order=1)


def test_a_batching_rule_of_a_derivative_is_checked_too() -> None:
    def batch(size: int, batched: Any, inputs: Any, params: Any) -> Any:
        return inputs[0] * inputs[1] * np.arange(1.0, size + 1)[:, None][::-1]  # the first of two rows is doubled

    op = elementwise("scaled_for_test", lambda x, y: x * y, lambda d, out, x, y: bind(op, (d, y)), None,
                     infer=lambda types, params: types[0], samples=lambda: [Sample((X, X))])  # fmt: skip
    try:
        op.batch = batch
        f = lambda x: bind(op, (x, np.array(3.0)))
        check_grads(f, (X,), jitted=True)
        for mode in ("fwd", "rev"):
            with pytest.raises(GradientError, match="mode under vmap"):
                check_grads(lambda x: np.sin(f(np.sin(x))), (X,), modes=mode, vmapped=True)
    finally:
        del OPS["scaled_for_test"]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="modes are 'fwd' and 'rev', got"):
        check_grads(np.sin, (X,), modes=("forward",))
    with pytest.raises(ValueError, match="order must be at least 1"):
        check_grads(np.sin, (X,), order=0)
    with pytest.raises(ValueError, match=r"sizes \[2, 3\]"):
        check_vmap(np.add, (np.ones(2), np.ones(3)))
    with pytest.raises(TypeError, match=r"tg\.jit"), expect_traces(np.sin, 1):
        pass


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.kinds and o.name not in OVERRULED], ids=lambda op: op.name)
def test_rules_of_the_registry(op: Op) -> None:
    with np.errstate(all="ignore"):
        for sample in op.samples():
            check_grads(lambda *xs, sample=sample: bind(op, xs, sample.params), sample.inputs)


def first_order(case: Case) -> None:
    with np.errstate(all="ignore"):
        check_grads(lambda *x: bind(case.op, x, case.params), case.inputs, order=1, directions=1)


class Doubled:
    """A rule with a factor of two planted into it, and whether it has made anything but zeros."""

    def __init__(self, rule: Callable[..., Any]) -> None:
        self.rule = rule
        self.touched = False

    def __call__(self, *args: Any) -> Any:
        found = self.rule(*args)
        return tuple(map(self.doubled, found)) if isinstance(found, list | tuple) else self.doubled(found)

    def doubled(self, x: Any) -> Any:
        x = filled(x)
        if x is None:
            return None
        while type(x) is Tracer and x.value is not None:
            x = x.value
        self.touched |= type(x) is Tracer or bool(np.any(x))
        return 2 * x


# Where the tolerance, which goes by the inputs' precision, is wider than what the rule makes.
TOO_COARSE = {("sph_harm_y", "float16"), ("sph_harm_y", "float32")}
# The ops that have the derivative of a decomposition's values, wherever it is recorded.
VALUES_OF = {"eigh": ["eigenvalues"], "eig": ["eigenvalues"], "svd": ["singular_values"]}


@pytest.mark.parametrize(
    "dtype", [*[pytest.param(d, marks=pytest.mark.slow) for d in ("float16", "float32")], "float64", "complex128"]
)
@pytest.mark.parametrize("op", [o for o in OPS.values() if o.kinds and o.name not in OVERRULED], ids=lambda op: op.name)
def test_a_factor_of_two_in_any_derivative_is_found(op: Op, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for which in ("jvp", "vjp"):
        rule = getattr(op, which)
        if rule is None:
            continue
        wrong = Doubled(rule)
        caught = None
        with monkeypatch.context() as patch:
            patch.setattr(op, which, wrong)
            for given in VALUES_OF.get(op.name, ()):
                patch.setattr(OPS[given], which, Doubled(getattr(OPS[given], which)))
            for case in cases(op, dtype):
                try:
                    first_order(case)
                except TypeError:  # NumPy does not take the dtype
                    continue
                except GradientError:
                    caught = case
                    break
        if caught is None:
            assert not wrong.touched or (op.name, dtype) in TOO_COARSE, which
        else:
            first_order(caught)  # which is right without the factor
