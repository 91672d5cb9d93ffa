"""What users call their functions, files, fields and keys, and what their classes print, reaches no generated source: it
meets none of the names in it, and ends no comment or string."""

from __future__ import annotations

import builtins
import contextlib
import functools
import itertools
import keyword
import linecache
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax  # for the ops that come with it
import tracegrad.random
from tests.notes import Notes
from tracegrad.core.generated import Names, comment, line, literal, string
from tracegrad.core.graph import Eqn, Graph, Literal, Var
from tracegrad.core.op import OPS, Op
from tracegrad.core.show import all_letters
from tracegrad.core.types import ArrayType
from tracegrad.lower.numpy import parts
from tracegrad.lower.numpy import writer as lowering
from tracegrad.testing import check_grads, check_jit, reproduce

lax = tg.lax
X = np.array([0.3, -1.2, 2.0])

# Characters that end a line for Python, or for str.splitlines, or that no file can hold.
BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\0", "\udce9"]
EVIL = "builtins.reached.append(1)"


@pytest.fixture
def reached() -> Any:
    """What runs that should not appends to it."""
    builtins.reached = []  # type: ignore[attr-defined]
    yield builtins.reached  # type: ignore[attr-defined]
    del builtins.reached  # type: ignore[attr-defined]


def same_bits(got: Any, expected: Any) -> None:
    for a, b in zip(tg.tree.leaves(got), tg.tree.leaves(expected), strict=True):
        assert (type(a), np.shape(a), np.asarray(a).dtype) == (type(b), np.shape(b), np.asarray(b).dtype)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


# ---------------------------------------------------------------------------------------------------------------------
# The allocator, and what quotes.


def test_names_are_given_away_once() -> None:
    names = Names({"add": np.add})
    wanted = [
        "f",
        "f_2",
        "f",
        "f_2",
        "f",
        "add",
        "add_2",
        "if",
        "print",
        "\ufb00",
        "ff",
        "__builtins__",
        "",
        "a b",
        3,
        None,
    ]
    found = [names.fresh(w) for w in wanted]
    assert found[:10] == ["f", "f_2", "f_3", "f_2_2", "f_4", "add_2", "add_2_2", "if_2", "print_2", "ff"]
    assert found[10:] == ["ff_2", "value", "value_2", "value_3", "value_4", "value_5"]
    assert names.fresh("f", besides=["f_5"]) == "f_6"
    assert names.take("g") and not names.take("g") and not names.take("a b") and not names.take("\ufb00")
    for name in found:
        assert not keyword.iskeyword(name) and not keyword.issoftkeyword(name) and not hasattr(builtins, name)
        exec(f"{name} = 1", names.values)
        assert names.values[name] == 1


@pytest.mark.parametrize("text", [*BREAKS, *[f"a{c}import os" for c in BREAKS], "it's", 'say "x"', "'\"\\", "é☃", ""])
def test_quoted_text_stays_where_it_is(text: str) -> None:
    assert eval(string(text)) == text == eval(literal(text) or "")
    for written in (line(text), comment(text), string(text)):
        assert len(written.splitlines()) <= 1 and written.encode() is not None
        assert "\0" not in written
    exec(compile(f"{comment(text)}\nx = 1  # {line(text)}\n", "<test>", "exec"), found := {})
    assert found["x"] == 1


@pytest.mark.parametrize("text", ["coding: utf-7", "vim: set fileencoding=utf-7 :", "coding:latin-1 coding=utf-7"])
def test_a_comment_declares_no_encoding(text: str) -> None:
    source = f"{comment(text)}\nx = '+AGE-'\n".encode()  # "a" in UTF-7
    exec(compile(source, "<test>", "exec"), found := {})
    assert found["x"] == "+AGE-"


class Loud(float):
    __repr__ = lambda self: EVIL  # type: ignore[assignment]


def test_only_values_of_pythons_own_types_are_literals() -> None:
    loud = type(
        "loud", (str,), {"__repr__": lambda self: EVIL, "__str__": lambda self: "\n", "isprintable": lambda self: True}
    )
    assert literal(Loud(1.0)) is None and literal(loud("a")) is None and literal(np.float64(1.0)) is None
    assert string(loud("a\n")) == '"a\\n"' and line(loud("a\n")) == "a\\n"
    assert (
        literal(10**5000) is None
        and literal(float("nan")) is None
        and literal(-0.0) == "-0.0"
        and literal(...) == "..."
    )


# ---------------------------------------------------------------------------------------------------------------------
# Programs on NumPy whose functions bear every name that generated source uses.


def generated_names() -> list[str]:
    """The names in the generated source of programs of every kind."""

    def f(p: Any, x: Any) -> Any:
        y = lax.cond(p, lambda x: np.maximum(x, np.inf) * 2.0, lambda x: x - np.float32(1.0) + (1.0 - 2.0j).real, x)
        y = (
            y
            + lax.scan(lambda c, e: (np.tanh(c) * e, c), x, np.stack([x, x]))[0]
            + lax.while_loop(lambda c: c[0] < 1.0, lambda c: c + 1.0, x)
        )
        return {"a": y, "b": np.sum(y)}

    text = tg.jit(f).lower(True, X).as_text() + tg.jit(lambda x: complex_part(x)).lower(X).as_text()
    return re.findall(r"\b[a-zA-Z_]\w*", re.sub("#.*", "", text))


def complex_part(x: Any) -> Any:
    return (x * complex(1.0, -0.0)).real, x * np.complex64(2j), np.clip(x, 0.0, 1.0)


def steps_and_blocks() -> list[str]:
    """Those in the sources of long programs, loops' steps and chains."""
    found = [f"{word}{i}" for word in ("out", "spare", "list", "chain", "v", "c", "k", "branches_") for i in range(3)]
    found += [f"{name}_part{i}" for name in ("f", "compiled") for i in (1, 2)]
    return [
        *found,
        "chain1_unguarded",
        "c2_0",
        "c1_0_float32",
        "cinf",
        "cm1_0",
        "s1_0_float32",
        "c0_5",
        "unflatten",
        "float32",
    ]


HOSTILE = [
    *itertools.islice(all_letters(), 60), *lowering.HELPERS, *OPS, *generated_names(), *steps_and_blocks(), *keyword.kwlist,
    *keyword.softkwlist, *dir(builtins), *[name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)],
    "__builtins__", "__warningregistry__", "__class__", "__f", "_", "self", "args", "np", "numpy", "ndarray", "function",
    "compiled", "axis", "axes", "keepdims", "\ufb00", "\U0001d422\U0001d41f", "\U0001d41a", "été", "ñ", "µ", "x y", "1",
    "", "a.b", "a,b", "a=1", "f(x)", "a\nb", "a\udce9", "a\0b", "a#b", "'", '"', "\\", "<lambda>", "{out}", "{", "%s",
]  # fmt: skip
HOSTILE = list(dict.fromkeys(HOSTILE))


def named(name: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    """The function under another name."""
    made = types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
    made.__name__ = made.__qualname__ = name
    return made


def programs(call: Callable[[Callable[..., Any]], Callable[..., Any]]) -> list[Callable[[Any, Any], Any]]:
    """Programs of (predicate, array), each of whose functions has been through `call`."""
    first, second = call(lambda x: x * 2.0 + np.sum(x)), call(lambda x: np.sin(x) - 1.0)
    step = call(lambda c, e: (np.tanh(c) * e + 0.5, c * 2.0))
    test, body = call(lambda c: np.sum(c) < 5.0), call(lambda c: c + np.float32(1.0))

    def ruled(x: Any) -> Any:
        rule: Any = tg.custom_jvp(call(lambda x: x * x))
        rule.defjvp(call(lambda primals, tangents: (rule(*primals), 3.0 * primals[0] * tangents[0])))
        other: Any = tg.custom_vjp(call(lambda x: x * 4.0))
        other.defvjp(call(lambda x: (other(x), x)), call(lambda x, ct: (ct * x,)))
        return np.sum(rule(x) * other(x))

    return [
        lambda p, x: lax.cond(p, first, second, x),
        lambda p, x: lax.switch(p.astype(int), [first, second, call(lambda x: x / 3.0)], x),
        lambda p, x: lax.scan(step, x, np.stack([x, x, x])),
        lambda p, x: lax.while_loop(test, body, x),
        lambda p, x: tg.grad(lambda x: np.sum(tg.checkpoint(second)(x) ** 2))(x),
        lambda p, x: (tg.grad(ruled)(x), ruled(x)),
        lambda p, x: tg.vmap(lambda y: lax.cond(y > 0, first, second, y))(x),
        lambda p, x: tg.jit(second)(x) + tg.jit(first)(x),
        call(lambda p, x: {"a": np.where(p, x, 2.0), "b": [np.maximum(x, np.inf), np.clip(x, 0.0, 1.0)]}),
    ]


EXPECTED = [f(np.array(p), X) for f in programs(lambda f: f) for p in (True, False)]


def run_all(call: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    for i, f in enumerate(programs(call)):
        jitted = tg.jit(f)
        for j, p in enumerate((True, False)):
            same_bits(jitted(np.array(p), X), EXPECTED[2 * i + j])
        assert len(str(tg.make_graph(f)(np.array(True), X)).splitlines()) > 2


@pytest.mark.parametrize("seed", range(4))
def test_functions_of_every_name(seed: int) -> None:
    """Each meets what was made from the others' names."""
    rng = np.random.default_rng(seed)
    left = Notes(rng.permutation(HOSTILE).tolist())
    while left:
        run_all(lambda f: named(left.pop() if left else "f", f))


@pytest.mark.parametrize(
    "name", ["a", "f", "c", "sin", "c2_0", "out0", "list0", "unflatten", "item", "if", "True", "print"]
)
def test_functions_of_one_name(name: str) -> None:
    run_all(lambda f: named(name, f))


class Nameless:
    """A callable without a name, or with anything for one."""

    def __init__(self, f: Callable[..., Any], **attributes: Any) -> None:
        self.f = f
        self.__dict__ |= attributes

    def __call__(self, *args: Any) -> Any:
        return self.f(*args)


class Everything(Nameless):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in (
            "__name__",
            "__qualname__",
            "__doc__",
            "__annotations__",
            "__wrapped__",
        ):
            raise AttributeError(name)
        return self


@pytest.mark.parametrize(
    "call",
    [
        functools.partial,
        Nameless,
        lambda f: Nameless(f, __name__=3, __qualname__=4),
        lambda f: Nameless(f, __name__=None, __qualname__=None, __doc__=5, __annotations__=6),
        lambda f: Nameless(f, __name__=b"a", __qualname__="b", __type_params__=7, __module__=8),
        lambda f: Nameless(f, __name__=type("s", (str,), {"__str__": lambda self: 9, "isidentifier": 10})("c2_0")),
        lambda f: Nameless(f, __name__="a\n    import os"),
        Everything,
        lambda f: named(functools.reduce(lambda a, b: a + b, map(str, range(3000)), "f"), f),
    ],
)
def test_callables_of_all_kinds(call: Any) -> None:
    run_all(call)
    f = call(lambda x: np.sum(x * x))
    for transform in (tg.grad, tg.jacrev, tg.hessian, tg.vmap, tg.checkpoint, tg.custom_jvp, tg.jit):
        transform(f)
    np.testing.assert_array_equal(tg.jit(tg.grad(f))(X), 2 * X)
    tg.eval_shape(f, X)


def test_branches_called_like_variables_and_helpers() -> None:
    def b(x: Any) -> Any:
        return x + 1.0

    def c2_0(x: Any) -> Any:
        return x * 2.0

    def unflatten(x: Any) -> Any:
        return x * x

    def branch(k: int, x: Any) -> Any:
        return x * float(k)

    f = lambda i, x: lax.switch(i, [b, c2_0, unflatten], np.sin(x)) * 2.0
    for i in range(3):
        same_bits(tg.jit(f)(i, X), f(i, X))
    # A Graph named `f` and a variable `f`.
    g = lambda i, xs: lax.switch(i // 1, [functools.partial(branch, k) for k in range(4)], xs)
    for i in range(4):
        same_bits(tg.jit(g)(i, X), g(i, X))


def test_ops_of_any_name() -> None:
    """Ops may come from elsewhere, and their functions be ufuncs of Python functions."""
    made = []
    try:
        for name in [
            "item of",
            "array",
            "a",
            "c2_0",
            "own",
            "x y",
            "1",
            "return",
            "f",
            "{out}",
            "a\nb",
            "__builtins__",
            "divide.",
        ]:
            evaluate = lambda x, plus: x + plus if type(x) is np.ndarray else tg.numpy.add(x, plus)
            made.append(Op(name, evaluate=evaluate, infer=lambda types, params: types[0]))
        made.append(Op("ufunc", evaluate=np.frompyfunc(lambda x: x, 1, 1), infer=lambda types, params: types[0]))
        x = Var(ArrayType((3,), np.dtype(float)))
        eqns, before = [], x
        for i, op in enumerate(made):
            eqns.append(Eqn(op, (before,), {} if op.name == "ufunc" else {"plus": float(i)}, (Var(x.type),)))
            before = eqns[-1].outputs[0]
            eqns.append(Eqn(OPS["multiply"], (before, Literal(2.0)), {}, (Var(x.type),)))
            before = eqns[-1].outputs[0]
        graph = Graph((x,), tuple(eqns), (before,), {}, "f")
        (got,) = lowering.lower(graph).function(X)
        expected = X
        for i, op in enumerate(made):
            expected = (expected + (0.0 if op.name == "ufunc" else float(i))) * 2.0
        same_bits(got.astype(float), expected)
        assert len(str(graph).splitlines()) == len(eqns) + 3
    finally:
        for op in made:
            del OPS[op.name]


def test_what_ops_spell_is_what_they_mean() -> None:
    """A spelling calls helpers, and its own op by its name: so that must be a name, and no helper's."""
    for op in OPS.values():
        if op.code is not None:
            assert op.name.isidentifier() and not keyword.iskeyword(op.name), op
            assert lowering.HELPERS.get(op.name, op.evaluate) is op.evaluate, op


def test_ops_that_are_called_like_pythons_functions() -> None:
    """Their names are theirs in the source, which has none of Python's."""
    f = lambda x: (lax.complex(x, x) * complex(1.0, -0.0), np.sum(x * (2.0 + 1.0j)), np.abs(x), np.round(x))
    same_bits(tg.jit(f)(X), f(X))
    same_bits(tg.jit(lambda x: np.sum(x) * 2.0)(1.5), np.sum(1.5) * 2.0)
    assert "complex(a, a)" in tg.jit(f).lower(X).as_text()


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_keys_of_every_kind(backend: str) -> None:
    if backend == "xla":
        pytest.importorskip("jax")
    keys = [*BREAKS, "it's", '"', "\\", "{a}", "#", "a\n    import os", "é", "", "__class__", "v0", "args"]
    f = lambda d: {k: v * 2.0 for k, v in d.items()}
    for d in ({k: X for k in keys}, {10**50: X, 3: X}, {True: X}, {(1, "a\n"): X}):
        jitted = tg.jit(f, backend=backend)
        for _ in range(3):
            got = jitted(d)
            for k, v in d.items():
                np.testing.assert_array_equal(got[k], v * 2.0)
        assert len(str(tg.make_graph(f)(d)).splitlines()) == len(d) + 3


# ---------------------------------------------------------------------------------------------------------------------
# Files.


def from_file(name: str, source: str) -> dict[str, Any]:
    namespace = {"np": np, "tg": tg}
    exec(compile(source, name, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("character", [c for c in BREAKS if c != "\0"])
def test_a_file_name_is_no_code(character: str, reached: Any) -> None:
    name = f"a{character}    import builtins; {EVIL}{character}    #.py"
    f = from_file(name, "def f(x): return np.sin(x) * 2.0")["f"]
    jitted = tg.jit(f)
    same_bits(jitted(X), f(X))
    text = jitted.lower(X).as_text()
    assert len(text.splitlines()) == 5 and len(str(tg.make_graph(f)(X)).splitlines()) == 5
    text.encode()
    str(tg.make_graph(f)(X)).encode()
    same_bits(tg.jit(tg.grad(lambda x: np.sum(f(x))))(X), tg.grad(lambda x: np.sum(f(x)))(X))
    loop = lambda x: lax.fori_loop(0, 3, lambda i, x: f(x), x)
    same_bits(tg.jit(loop)(X), loop(X))
    assert reached == []


def test_a_program_shows_its_lines_in_tracebacks_whatever_it_is_called() -> None:
    f = named("a\nb\0\udce9", lambda x: np.linalg.inv(x))
    with pytest.raises(np.linalg.LinAlgError) as caught:
        tg.jit(f)(np.zeros((2, 2)))
    entries = [e for e in caught.traceback if str(e.path).startswith("<tracegrad") or "tracegrad jit" in str(e.path)]
    files = [e.frame.raw.f_code.co_filename for e in caught.traceback]
    (name,) = [n for n in files if n.startswith("<tracegrad jit")]
    assert name.startswith("<tracegrad jit a\\nb\\x00\\udce9 ") and linecache.getline(name, 2)
    del entries


@pytest.mark.parametrize("name", ["a\nb", "a\udce9", "a\0b", "", "1", "é", "a b", "%", "<x>"])
def test_functions_of_such_names_on_xla(name: str) -> None:
    pytest.importorskip("jax")
    for i, f in enumerate(programs(lambda f: named(name, f))[:4]):
        got = tg.jit(f, backend="xla")(np.array(True), X)
        for a, b in zip(tg.tree.leaves(got), tg.tree.leaves(EXPECTED[2 * i]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Constants.

CONSTANTS = [
    np.longdouble("0.1"), -np.longdouble("0.0"), np.longdouble("inf"), np.longdouble("nan"), np.longdouble(1) / 3,
    np.clongdouble(2), np.clongdouble(0.1 - 0.0j), np.longdouble("0.1") * np.clongdouble(1j), 0.0, -0.0, float("inf"),
    -float("inf"), float("nan"), complex(-0.0, float("inf")), complex(0.0, -0.0), complex(float("nan"), 1.0), 1e-320, 1e308,
    np.float16(0.1), np.float16(-0.0), np.float16(65504), np.float32(0.1), np.float32(1e-45), np.float32(16777217), 0.1,
    np.complex64(0.1 - 0.0j), np.complex64(complex(float("inf"), -0.0)), np.int8(-128), np.uint64(2**64 - 1), 2**62, -(2**63),
    np.bool(True), True, np.uint8(200), np.longlong(-5),
]  # fmt: skip


@pytest.mark.parametrize("value", CONSTANTS, ids=lambda v: f"{type(v).__name__} {v}")
def test_constants_keep_value_and_dtype(value: Any) -> None:
    kinds = "efdgFDG" if np.asarray(value).dtype.kind in "fc" else "?bBhHiIlLqQefdgFDG"
    with np.errstate(all="ignore"):
        for char in kinds:
            x = np.array([0, 1], char)
            for f in (
                lambda x: x * value, lambda x: np.add(x, value), lambda x: x + value,
                lambda x: np.where(x > 0, x, value), lambda x: (value, x), lambda x: np.full(2, value),
            ):  # fmt: skip
                try:
                    expected = f(x)
                except (OverflowError, TypeError):
                    continue
                got = tg.jit(f)(x)
                for a, b in zip(tg.tree.leaves(got), tg.tree.leaves(expected), strict=True):
                    a, b = np.asarray(a), np.asarray(b)
                    assert a.dtype == b.dtype
                    np.testing.assert_array_equal(a, b)
                    for part in (np.real, np.imag):
                        signs = [np.signbit(part(v).astype("g"))[~np.isnan(part(v).astype("g"))] for v in (a, b)]
                        np.testing.assert_array_equal(*signs)


# ---------------------------------------------------------------------------------------------------------------------
# Long programs.


def test_a_variable_is_no_infinity() -> None:
    """The 59,182nd variable is called `cinf`, but for the constant of that name."""

    def f(v: Any) -> Any:
        for _ in range(59_200):
            v = np.sin(v)
        return np.maximum(v, np.inf), np.minimum(v, np.inf)

    found = tg.jit(f)(np.array(0.5))
    assert found[0] == np.inf and 0 < found[1] < 0.01


def samples_of_all_ops() -> list[tuple[Op, tuple[Any, ...], Any, Any]]:
    """(op, inputs, params, results) of each op that computes by itself: all its samples where it has a spelling of its own."""
    found = []
    for op in OPS.values():
        samples = [] if op.runs_user_code else list(op.samples())
        for sample in samples if op.code else samples[:2]:
            inputs = tuple([np.asarray(x) for x in sample.inputs])
            with np.errstate(all="ignore"), contextlib.suppress(RuntimeError):  # of a named axis that is not bound
                results = op.evaluate(*inputs, **sample.params)
                found.append((op, inputs, sample.params, results if op.multiple_results else (results,)))
    return found


@pytest.mark.parametrize("length", [20_000, 100])
def test_long_programs_of_every_spelling(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ops, with all spellings and keywords that they have, again and again, on what the first part has made."""
    if length < 20_000:
        monkeypatch.setattr(parts, "PART", 7)
    samples = samples_of_all_ops()
    assert {op.name for op, *_ in samples} >= {op.name for op in OPS.values() if op.code and list(op.samples())}
    inputs, eqns, outputs, expected, arrays = [], [], [], [], []
    copies: list[tuple[Var, ...]] = []
    for _, xs, _, _ in samples:
        for x in xs:
            inputs.append(Var(ArrayType(x.shape, x.dtype)))
            arrays.append(x)
        copies.append(tuple([Var(v.type) for v in inputs[len(inputs) - len(xs) :]]))
        for v, copied in zip(inputs[len(inputs) - len(xs) :], copies[-1], strict=True):
            eqns.append(Eqn(OPS["reshape"], (v,), {"shape": v.type.shape}, (copied,)))
    while len(eqns) < length or not outputs:
        outputs.clear()
        expected.clear()
        for (op, _, params, results), variables in zip(samples, copies, strict=True):
            made = tuple([Var(ArrayType(np.shape(r), np.asarray(r).dtype)) for r in results])
            eqns.append(Eqn(op, variables, params, made))
            outputs += made
            expected += results
    graph = Graph(tuple(inputs), tuple(eqns), tuple(outputs), {}, "f")
    as_it_is = lowering.lower(graph, any_order=True)
    assert len(as_it_is.source.splitlines()) > len(eqns) >= length
    for found in (as_it_is, lowering.lower(graph)):
        with np.errstate(all="ignore"):
            got = found.function(*arrays)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("part", [1, 5, 100])
@pytest.mark.parametrize("size", [3, 40, 130])
def test_parts_of_any_length(part: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With memory that is written over and let go."""
    monkeypatch.setattr(parts, "PART", part)
    x, y = np.random.default_rng(0).normal(size=(2, size, size)) * 0.3

    def f(x: Any, y: Any) -> Any:
        for _ in range(3):
            x = np.sum(x, axis=1, keepdims=True) * 0.1 + x
            x = np.matmul(x.T, y) / 3.0
            x = np.where(x > 0, np.maximum(x, -1.0), np.minimum(x, 1.0)) + y
            x = np.concatenate([x[:1], x[1:]], axis=0)
        return {"x": x, "y": y, "sum": np.sum(x)}

    same_bits(tg.jit(f)(x, y), f(x, y))
    loss = lambda x, y: f(x, y)["sum"]
    same_bits(tg.jit(tg.grad(loss, (0, 1)))(x, y), tg.grad(loss, (0, 1))(x, y))


# ---------------------------------------------------------------------------------------------------------------------
# Reproducers.


class EvilScalar(np.float64):
    def __repr__(self) -> str:
        return f"__import__('builtins').reached.append(1) or {EVIL}"

    __str__ = __repr__
    item = tolist = lambda self: EVIL  # type: ignore[assignment]


class Evil:
    """A value whose every text is a program."""

    name = source = f"x\n{EVIL}\n"

    def __init__(self, text: str = f"\n{EVIL}\n") -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return True


class EvilInt(int):
    __repr__ = __str__ = lambda self: EVIL  # type: ignore[assignment]


def evil_values() -> dict[str, Any]:
    spoofed = type("Program", (Evil,), {"__module__": "tracegrad.testing.programs"})
    rule: Any = type("custom_jvp)\nbuiltins.reached.append(1)\n(", (tg.custom_jvp,), {})(lambda x: x)
    numbered: Any = tg.custom_jvp(lambda n, x: x * 3.0)
    numbered.nondiff_argnums = (EvilInt(0),)
    called: Any = named(f"f\n{EVIL}\n", lambda x: x)
    called.__code__ = called.__code__.replace(co_name=f"f\n{EVIL}\n", co_filename=f"a\n{EVIL}\n")
    quoted = 'a"]); __import__("builtins").reached.append(1); (["'
    return {
        "scalar": EvilScalar(0.5),
        "strings": np.array(
            ["__import__('builtins').reached.append(1)", '__import__("builtins").reached.append(1)', quoted]
        ),
        "bytes": np.array([b"__import__('builtins').reached.append(1)"]),
        "string": np.str_(quoted),
        "object array": np.array([Evil()], object),
        "structure": np.zeros(1, [(quoted, float), ("b\n", int)]),
        "dtype": np.dtype([(quoted, float)]),
        "object": Evil(),
        "spoofed": spoofed(),
        "rule": rule,
        "numbered": numbered,
        "function": called,
        "keys": {"a\n" + EVIL: X, '"]': X, "'": [Evil()], "\udce9": X},
        "key": {Evil(): X},
        "note": Evil(f"coding: utf-7\u2028{EVIL}\x0c{EVIL}\udce9\0"),
        "tuple": type("T", (tuple,), {"__repr__": lambda self: EVIL})((1, 2)),
        "int": EvilInt(3),
        "str": type("S", (str,), {"__repr__": lambda self: EVIL})(EVIL),
        "range": range(EvilInt(3)),
        "slice": slice(Evil(), EvilInt(3)),
        "set": {Evil()},
        "module": types.ModuleType(f"math\n{EVIL}"),
        "ufunc": np.frompyfunc(named(quoted, lambda x: x), 1, 1),
        "large": 10**5000,
    }


@pytest.mark.parametrize("name", evil_values())
def test_reproducers_run_nobodys_text(name: str, reached: Any) -> None:
    value = evil_values()[name]
    for args in ((value,), ({"a": [value]},), [value]):
        text = reproduce.reproducer(check_grads, (lambda x: value, args), {"modes": value})
        text.encode()  # fits into a file
        compile(text, "<reproducer>", "exec")
        compile(text.encode(), "<reproducer>", "exec")
        with contextlib.suppress(Exception):  # `...` is no argument
            exec(compile(text, "<reproducer>", "exec"), {"__name__": "reproducer"})
        assert reached == []
        for written in text.splitlines():
            assert not written.strip().startswith(EVIL)


def test_a_note_names_what_cannot_be_written(reached: Any) -> None:
    text = reproduce.reproducer(check_jit, (np.sin, (EvilScalar(0.5),)), {})
    assert text.startswith(f"# not complete: args[0] is a {EvilScalar}; write it in place of `...`\n")
    assert "args = (...,)\n" in text
    text = reproduce.reproducer(check_jit, (np.sin, (np.zeros(1, [("a", float)]),)), {})
    assert "# not complete: args[0] is an array of dtype dtype([('a', '<f8')]); write it in place" in text
    assert reached == []


def test_modules_and_paths_are_quoted(reached: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'a"); builtins.reached.append(1) #\n'
    folder.mkdir()
    (folder / "hostile_model.py").write_text("import numpy as np\n\ndef f(x):\n    return np.sin(x)\n")
    monkeypatch.syspath_prepend(folder)
    module = __import__("hostile_model")
    try:
        text = reproduce.reproducer(check_jit, (module.f, (X,)), {})
        assert f"sys.path.insert(0, {str(folder)!r})" in text
        exec(compile(text, "<reproducer>", "exec"), {"__name__": "reproducer"})
        # A function that no module has by a name that can be written.
        for name, key in (("hostile_model", "g h"), (f"x\n{EVIL}", "g"), ("hostile_model.if", "g"), ("a.b c", "g")):
            other = types.ModuleType(name)
            other.__spec__ = module.__spec__
            monkeypatch.setitem(sys.modules, name, other)
            value = Evil()
            value.__module__ = name
            vars(other)[key] = value
            text = reproduce.reproducer(check_jit, (value, (X,)), {})
            assert "\ncheck_jit(..., args)\n" in text
            assert not re.search("^(import|from) (?!sys|numpy|tracegrad)", text, re.MULTILINE), text
            compile(text, "<reproducer>", "exec")
    finally:
        sys.modules.pop("hostile_model")
    assert reached == []


def test_an_error_that_hides_behind_its_text(reached: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ValueError(EVIL)

    for error in (ValueError(f"\n{EVIL}\u2028{EVIL}"), Unprintable()):
        monkeypatch.setattr(reproduce, "reproducer", lambda *args: (_ for _ in ()).throw(error))
        with pytest.raises(AssertionError) as caught:
            check_jit(lambda x: x * (1.0 if type(x) is np.ndarray else 2.0), (X,))
        text: str = caught.value.reproducer  # type: ignore[attr-defined]
        assert text.startswith("# A reproducer could not be written: ") and len(text.splitlines()) == 1
        exec(compile(text, "<reproducer>", "exec"))
    assert reached == []


def test_sources_with_line_ends_that_python_does_not_count(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "import numpy as np\n\x0c\n# \u2028 \x85 \x1c\n\n\ndef   f(x):\n    '''\u2028'''\n    return np.sin(x) * 2.0\n"
    )
    path = tmp_path / "own.py"
    path.write_text(source)
    f = from_file(str(path), source)["f"]
    text = reproduce.reproducer(check_jit, (f, (X,)), {})
    assert "\n\n\ndef f(x):\n    '''\u2028'''\n    return np.sin(x) * 2.0\n\n\nargs = " in text
    exec(compile(text, "<reproducer>", "exec"), {"__name__": "reproducer"})


def test_names_that_a_reproducer_uses_itself() -> None:
    def float(x: Any) -> Any:
        return np.sin(x)

    def args(x: Any) -> Any:
        return np.cos(x)

    def check_jit(x: Any) -> Any:
        return np.cos(x)

    f = lambda x: args(x) + check_jit(x)
    text = reproduce.reproducer(tg.testing.check_jit, (f, (np.inf * X,)), {})
    with np.errstate(all="ignore"):
        exec(compile(text, "<reproducer>", "exec"), found := {"__name__": "reproducer"})
    same_bits(found["f"](X), f(X))
    text = reproduce.reproducer(tg.testing.check_jit, (lambda x: float(x), (X,)), {})
    assert text.startswith("# not complete: `float` stands for several things")
    # Python's own `abs`, and another one.
    given = {"abs": lambda x: np.sin(x), "np": np}
    own = lambda x: abs(x)
    text = reproduce.reproducer(
        tg.testing.check_jit, (lambda x: own(x) + types.SimpleNamespace(**given).abs(x), (X,)), {}
    )
    assert "types" in text and "def abs" not in text
