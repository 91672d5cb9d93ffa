"""check_rule finds what it looks for: rules a thousandth wrong, rows mixed up, a type that is not the output's, each by the check
that is there for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.op import OPS, Op, Sample
from tracegrad.core.types import ArrayType, type_of
from tracegrad.ops.families import elementwise
from tracegrad.ops.masks import filled
from tracegrad.testing import check_rule

X = np.array([0.5, 1.0, -0.3])


def scaled(x: Any) -> Any:
    x = filled(x)
    return tuple([scaled(v) for v in x]) if isinstance(x, tuple | list) else None if x is None else x * 1.001


def wrong_derivative(rule: Any) -> Any:
    return lambda *args: scaled(rule(*args))


def wrong_for_one_input(rule: Any) -> Any:
    return lambda wanted, *args: scaled(rule(wanted, *args)) if len(wanted) == 1 else rule(wanted, *args)


def wrong_rows(rule: Any) -> Any:
    return lambda *args: np.roll(rule(*args), 1, axis=0)


def wrong_type(rule: Any) -> Any:
    return lambda *args: ArrayType(rule(*args).shape, np.dtype("float32"))


def wrong_where_zero(rule: Any) -> Any:
    def looks(wanted: Any, ct: Any, *args: Any) -> Any:
        ct = filled(ct)
        return [None if d is None else np.where(np.all(ct == 0), 0.0, d) for d in map(filled, rule(wanted, ct, *args))]

    return looks


def wrong_without_a_tangent(rule: Any) -> Any:
    def looks(primals: Any, tangents: Any, *args: Any) -> Any:
        found = rule(primals, tangents, *args)
        return scaled(found) if any([t is None for t in tangents]) else found

    return looks


def looking_at_values(rule: Any) -> Any:
    def looks(wanted: Any, ct: Any, *args: Any) -> Any:
        assert bool(np.all(filled(ct) < 1e9))
        return rule(wanted, ct, *args)

    return looks


def untransposed(x: Any) -> Any:
    """What Fortran order makes other than C order."""
    return np.reshape(np.ravel(x, "K"), np.shape(x)) if isinstance(x, np.ndarray) and x.ndim > 1 else x


def wrong_layout(rule: Any) -> Any:
    return lambda *args, **params: rule(*[untransposed(x) for x in args], **params)


def writing(rule: Any) -> Any:
    def evaluate(*args: Any, **params: Any) -> Any:
        out = rule(*args, **params)
        for x in args:
            if isinstance(x, np.ndarray) and x.flags.writeable and x.dtype == np.float64:
                x *= 1.001
        return out

    return evaluate


def wrong_for_python_scalars(rule: Any) -> Any:
    def infer(types: Any, params: Any) -> Any:
        found = rule(types, params)
        return ArrayType(found.shape, found.dtype) if any([t.weak for t in types]) else found

    return infer


def wrong_for_two_dtypes(rule: Any) -> Any:
    def uncast(wanted: Any, ct: Any, out: Any, primals: Any, params: Any) -> Any:
        found = rule(wanted, ct, out, primals, params)
        return [d if d is None else filled(d) + np.zeros((), type_of(out).dtype) for d in found]

    return uncast


def without_derivative(rule: Any) -> Any:
    return lambda *args: tg.lax.stop_gradient(rule(*args))


def declared_linear(linear: Any) -> Any:
    return (frozenset({0}),)


def wrong_when_compiled(code: Any) -> Any:
    return lambda names, types, dense, params: f"({names[0]} * 1.001)"


SIX = ["multiply", "sum", "matmul", "gather", "solve", "power"]
PLANTED: list[tuple[str, list[str], Any, str]] = [
    ("jvp", SIX, wrong_derivative, "is wrong in forward mode"),
    ("vjp", SIX, wrong_derivative, r"<vjp\(ct\), t> against <ct, jvp\(t\)>"),
    ("vjp", SIX, wrong_for_one_input, r"wanted=\(\d+,\)|<vjp\(ct\), t> against"),
    ("vjp", ["multiply", "power"], wrong_for_one_input, r"vjp with wanted=\(0,\), input 0, against wanted=\(0, 1\):"),
    ("batch", SIX, wrong_rows, "a batch of input .* against a loop:"),
    ("infer", SIX, wrong_type, "evaluation gives .*, the type rule says f32"),
    ("vjp", ["multiply", "exp"], wrong_where_zero, "vjp, differentiated where it is applied to zeros,"),
    ("jvp", ["multiply", "power"], wrong_without_a_tangent, "jvp takes None for something else than zeros:"),
    ("vjp", ["multiply", "sin"], looking_at_values, "needs the value"),
    ("evaluate", ["cumsum", "sort"], wrong_layout, "values of arrays in Fortran order:"),
    ("infer", ["positive", "negative"], wrong_for_python_scalars, "evaluation gives f64~.*, the type rule says f64"),
    ("vjp", ["multiply", "add"], wrong_for_two_dtypes, r"the cotangent of input 0, f64\[2,3\] is c128\[2,3\]"),
    ("batch", ["multiply", "matmul", "sort"], without_derivative, "jvp of vmap against a loop"),
    ("linear", ["exp", "square"], declared_linear, r"declared linear in inputs \[0\], and not:"),
    ("code", ["tanh", "cumsum"], wrong_when_compiled, r"jit\(backend='numpy'\) of '\w+ of f64"),
    ("evaluate", ["sin", "exp"], writing, "evaluation wrote into an input:"),
]


@pytest.mark.parametrize(
    "field, name, spoil, message",
    [
        pytest.param(field, name, spoil, message, id=f"{spoil.__name__}-{field}-{name}")
        for field, names, spoil, message in PLANTED
        for name in names
    ],
)
def test_a_wrong_rule_is_noticed(
    field: str, name: str, spoil: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    op = OPS[name]
    if field in ("jvp", "vjp") and getattr(op, field) is None:
        pytest.skip("this rule is derived from the other")
    monkeypatch.setattr(op, field, spoil(getattr(op, field)))
    with pytest.raises((AssertionError, ValueError, TypeError), match=f"(?s)({message})") as caught:
        check_rule(op)
    assert f"{name} of " in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


@pytest.fixture
def softsign() -> Iterator[Callable[..., Op]]:
    """An op of a user's, by what it declares beside its evaluation."""

    def declare(**fields: Any) -> Op:
        given = {"infer": lambda types, params: ArrayType(types[0].shape, types[0].dtype), "kinds": "f"} | fields
        samples = lambda: [Sample((X,)), Sample((0.25,))]
        return elementwise("softsign_for_test", lambda x: x / (1 + np.abs(x)), lambda d, out, x: d / (1 + np.abs(x)) ** 2,
                           samples=samples, **given)  # fmt: skip

    yield declare
    OPS.pop("softsign_for_test", None)


def test_an_op_of_a_user(softsign: Callable[..., Op]) -> None:
    op = softsign()
    assert check_rule(op) == 7
    assert check_rule(op, dtypes=["float64"]) == 2
    assert check_rule(op, [Sample((np.float32(X),)), Sample((X,))], order=3) == 2


def test_an_op_that_says_too_much(softsign: Callable[..., Op]) -> None:
    with pytest.raises(AssertionError, match=r"is wrong in forward mode|<vjp\(ct\), t> against"):
        check_rule(softsign(kinds="fc"))  # |x| has no complex derivative


def test_an_op_of_python_scalars(softsign: Callable[..., Op]) -> None:
    with pytest.raises(
        AssertionError,
        match=r"softsign_for_test of f64~\[\] on sample 1: evaluation gives f64\[\], the type rule says f64~\[\]",
    ):
        check_rule(softsign(infer=lambda types, params: types[0]))


def test_what_evaluation_refuses_the_type_rule_must_refuse(softsign: Callable[..., Op]) -> None:
    op = softsign()
    rule = op.evaluate

    def evaluate(x: Any) -> Any:
        if type_of(x).dtype == np.float16:
            raise TypeError("no halves")
        return rule(x)

    op.evaluate = evaluate
    with pytest.raises(
        AssertionError, match=r"of f16\[3\] on sample 0: evaluation refuses it, the type rule says f16\[3\]"
    ):
        check_rule(op)
    with pytest.raises(AssertionError, match="evaluation refuses it"):
        check_rule(op, [Sample((X.astype(np.float16),))])
    infer = op.infer

    def refuse(types: Any, params: Any) -> Any:
        if types[0].dtype == np.float16:
            raise TypeError("no halves, either")
        return infer(types, params)

    op.infer = refuse
    check_rule(op)
    with pytest.raises(TypeError, match="no halves"):
        check_rule(op, [Sample((X.astype(np.float16),))])


def test_bad_arguments() -> None:
    with pytest.raises(
        ValueError, match=r"check_rule: sin has no samples; give some with samples=\[Sample\(\(x,\), \{\}\)\]"
    ):
        check_rule(OPS["sin"], [])
    with pytest.raises(ValueError, match="check_rule: psum has no samples in float64, bool; give some"):
        check_rule(OPS["psum"], dtypes=["float64", "bool"])
    with pytest.raises(ValueError, match=r"check_rule: dtypes are float64, float32, .* and pairs of these, got 'f8'"):
        check_rule(OPS["sin"], dtypes=["f8"])
