"""The checks find what is wrong, say where, and raise no false alarms; over the whole registry."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tracegrad.core.op import OPS, Op, Sample
from tracegrad.core.trace import Tracer, bind
from tracegrad.ops.families import elementwise
from tracegrad.ops.masks import filled
from tracegrad.testing import (
    GradientError,
    assert_rewrites,
    check_grads,
    check_jit,
    check_rule,
    check_vmap,
    expect_traces,
    fuzz,
    precise,
    programs,
    strategies,
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


def test_kinks_are_reported_and_what_lies_beside_them_is_not_right() -> None:
    report = check_grads(np.abs, (np.array([0.0, 1.0]),), order=1)
    assert {k.output for k in report.kinks} == {"output"}
    assert all(k.left < 0 < k.right or k.right < 0 < k.left for k in report.kinks)

    @tg.custom_jvp
    def steep(x: Any) -> Any:
        return np.abs(x)

    steep.defjvp(lambda p, t: (np.abs(p[0]), 3.0 * t[0]))
    with pytest.raises(GradientError):
        check_grads(steep, (np.array([0.0]),), order=1)


def test_at_a_jump_there_is_no_derivative_to_be_wrong() -> None:
    steps = lambda x: np.where(x > 1.0, 3.0 * x, x)  # from 1 to 3 at 1
    assert check_grads(steps, (np.array([1.0, 0.5]),)).checked == 8
    with pytest.raises(GradientError):
        check_grads(lambda x: tg.lax.stop_gradient(steps(x)), (np.array([1.0, 0.5]),))
    # The derivative of a maximum jumps at a tie.
    assert check_grads(np.maximum, (np.array([1.0, 2.0]), np.array([1.0, 3.0]))).checked == 8


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
    assert "test_testing.py" in text
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


# ---------------------------------------------------------------------------------------------------------------------
# The registry: no false alarms, and a factor of two in any rule is found.


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


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex128"])
@pytest.mark.parametrize("op", [o for o in OPS.values() if o.kinds and o.name not in OVERRULED], ids=lambda op: op.name)
def test_a_factor_of_two_in_any_derivative_is_found(op: Op, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for case in cases(op, dtype):
        try:
            first_order(case)
        except TypeError:  # NumPy does not take the dtype
            continue
        found.append(case)
    for which in ("jvp", "vjp"):
        rule = getattr(op, which)
        if rule is None:
            continue
        wrong = Doubled(rule)
        with monkeypatch.context() as patch:
            patch.setattr(op, which, wrong)
            caught = 0
            for case in found:
                try:
                    first_order(case)
                except GradientError:
                    caught += 1
        assert caught > 0 or not wrong.touched, which


# ---------------------------------------------------------------------------------------------------------------------
# The other checks.


def test_check_vmap() -> None:
    check_vmap(
        lambda x, p: {"y": x * p["s"]}, (np.ones((2, 3)), {"s": np.arange(3.0)}), in_axes=(1, {"s": 0}), out_axes=-1
    )
    check_vmap(np.outer, (np.ones((3, 2)), np.ones(4)), in_axes=(0, None))

    op = elementwise(
        "shifted_for_test",
        lambda x: +x,
        lambda d, out, x: d,
        infer=lambda types, params: types[0],
        samples=lambda: [Sample((X,))],
    )
    try:
        op.batch = lambda size, batched, inputs, params: bind(op, (np.flip(inputs[0], 0),), params)
        with pytest.raises(AssertionError, match=r"vmap of .*: output\[0, 0\] is .* expected .* elements differ"):
            check_vmap(lambda x: bind(op, (x,)), (np.arange(6.0).reshape(3, 2),))
        with pytest.raises(AssertionError, match="a batch of input 0, against a loop:"):
            check_rule(op)
    finally:
        del OPS["shifted_for_test"]


def test_check_jit() -> None:
    check_jit(lambda x, p: (np.sin(x), p["a"].T, x), (X, {"a": np.ones((2, 3))}))
    calls = iter(range(9))
    with pytest.raises(AssertionError, match=r"output is np.float64\(1.0\), expected np.float64\(0.0\)"):
        check_jit(lambda x: np.sum(x) * 0.0 + next(calls), (X,))
    pytest.importorskip("jax")
    check_jit(lambda x: (np.sin(x), np.argmax(x)), (X,), backends=("numpy", "xla"))


def test_expect_traces() -> None:
    f = tg.jit(np.sin)
    with expect_traces(f, 2):
        f(X), f(X), f(1.0)
    with pytest.raises(AssertionError, match="was traced 0 times, expected 1"), expect_traces(f, 1):
        f(X)


def test_assert_rewrites() -> None:
    assert_rewrites(lambda x: np.sin(x) * 1.0, np.sin, X)
    with pytest.raises(AssertionError, match=r"simplify make of\n(.|\n)*not\n(.|\n)*but"):
        assert_rewrites(lambda x: np.sin(x), lambda x: np.cos(x), X)


# ---------------------------------------------------------------------------------------------------------------------
# Strategies and random programs.

QUICK = hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)


@QUICK
@hypothesis.given(st.data())
def test_strategies(data: Any) -> None:
    shape = data.draw(strategies.shapes())
    dtype = data.draw(strategies.dtypes("float32", "complex128", "int64", "bool", "uint8"))
    x = data.draw(strategies.arrays(shape, dtype, low=-1.0, high=1.0))
    assert (x.shape, x.dtype) == (shape, dtype)
    if dtype.kind == "f":
        assert np.all(np.abs(x) >= 0.049)
    if dtype.kind == "u":
        assert np.all(x >= 0)
    x[data.draw(strategies.indices(shape))]
    np.broadcast_shapes(*data.draw(strategies.broadcastable_shapes(3)))
    leaves = tg.tree.leaves(data.draw(strategies.pytrees(st.just(1.5))))
    assert set(leaves) <= {1.5}


@QUICK
@hypothesis.given(strategies.keys())
def test_keys_are_those_of_jax(key: Any) -> None:
    jax = pytest.importorskip("jax")
    seed = (int(key[0]) << 32) + int(key[1])
    with jax.enable_x64(True):
        made = jax.random.PRNGKey(np.uint64(seed))
    assert key.dtype == made.dtype == np.uint32
    np.testing.assert_array_equal(key, made)


def drawn(count: int) -> hypothesis.settings:
    return hypothesis.settings(max_examples=count, deadline=None, derandomize=True, database=None,
                               suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip


@drawn(150)
@hypothesis.given(strategies.programs(registry=False), st.integers(0, 1000))
def test_random_programs(program: strategies.Program, seed: int) -> None:
    assert program.plain() is not None
    fuzz.check_program(program, seed)


@drawn(100)
@hypothesis.given(strategies.programs(), st.integers(0, 1000))
def test_random_programs_over_the_registry(program: strategies.Program, seed: int) -> None:
    fuzz.check_program(program, seed)


@drawn(12)
@hypothesis.given(strategies.programs())
def test_random_programs_on_xla(program: strategies.Program) -> None:
    pytest.importorskip("jax")
    fuzz.check_program(program, backends=("numpy", "xla"))


# What the fuzz command has found, by what was wrong: the seed, and the lines.
FOUND = {
    "a derivative of zero but for rounding errors, which differ in a batch": (
        1011, ["x2 = np.sin(x1)", "x3 = np.sum(x2)", 'x4 = near_sample("divide", 0, x3)'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FOUND)
def test_programs_that_were_found(what: str) -> None:
    seed, lines = FOUND[what]
    fuzz.check_program(strategies.Program.of(lines, ["x0", lines[-1].split()[0]]), seed)


def test_programs_apply_every_op_that_takes_floats() -> None:
    """But for those that give none, of which no derivative is taken."""
    steps = programs.registry_steps()
    applied = {step.split('"')[1] for step in steps}
    for op in OPS.values():
        if op.kinds and op.name not in applied | OVERRULED:
            for sample in op.samples():
                floats = [x for x in sample.inputs if np.asarray(x).dtype.char in "dD" and np.size(x)]
                outs = op.evaluate(*sample.inputs, **sample.params)
                assert not floats or not any(
                    [np.size(o) and np.asarray(o).dtype.kind in "fc" for o in (outs if op.several else (outs,))]
                ), op.name
    # Fuzzing found that what is rounded to float32 on the way has difference quotients of few digits.
    assert 'near_sample("astype", 0, {0})' not in steps
    for step in steps[::20]:
        fuzz.check_program(strategies.Program.of([f"x2 = {step.format('x1')}"], ["x0", "x2"]))


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.kinds and o.name not in OVERRULED], ids=lambda op: op.name)
def test_rules_of_the_registry_on_drawn_inputs(op: Op) -> None:
    assert fuzz.fuzz_op(op, 4) > 0


@drawn(60)
@hypothesis.given(st.data())
def test_drawn_inputs_of_ops_keep_what_the_samples_have(data: Any) -> None:
    (edges, _), _ = data.draw(strategies.op_samples(OPS["searchsorted"]))
    assert np.all(np.diff(edges) >= 0)
    (x, y), _ = data.draw(strategies.op_samples(OPS["add"], "complex128"))
    assert x.dtype == y.dtype == np.complex128
    np.broadcast_shapes(x.shape, y.shape)


def test_a_failing_program_shrinks_and_prints_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    op = OPS["tanh"]
    rule = op.vjp
    assert rule is not None
    monkeypatch.setattr(op, "vjp", lambda *args: [2 * d for d in rule(*args)])
    with pytest.raises(GradientError) as caught:
        fuzz.fuzz_round(0, 300, ("numpy",))
    (note,) = [n for n in caught.value.__notes__ if "program=" in n]
    source = textwrap.dedent(note.split("program=\n")[1].rsplit(",\n)", 1)[0])
    names: dict[str, Any] = {}
    exec(source, names)
    assert source.count("np.tanh") == 1
    assert len(source.split("def program(x0, x1):")[1].strip().split("\n")) <= 3  # a step or two, and the return
    with pytest.raises(GradientError):
        check_grads(names["program"], (X, np.ones((3, 3))))


def test_the_fuzz_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--minutes", "0", "--examples", "5", "--seed", "7"]) == 0
    assert "5 programs, nothing found" in capsys.readouterr().out
    assert fuzz.main(["--ops", "1"]) == 0
    assert "ops on" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------------------
# In sixty digits.


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
        return list(out) if op.several else [out]

    return [np.asarray(sample.inputs[i]) for i in places], f


def takes_objects(op: Op, sample: Sample) -> bool:
    """Whether NumPy evaluates the op on objects, and to objects: not in LAPACK, SciPy or functions for floats only."""
    args, f = evaluated(op, sample)
    if any([np.asarray(o).dtype.kind not in "fc" for o in f(*args)]):
        return False
    try:
        outs = f(*map(precise.as_array, args))
    except (TypeError, AttributeError, ValueError):
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
