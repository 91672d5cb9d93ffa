"""Dtypes and scalars are plain NumPy's and Python's: value, dtype, and whether a Python or a NumPy scalar comes out.

Traced with values, by a Graph, jitted for NumPy and for XLA, against the same function called plainly.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tracegrad.core.check import check
from tracegrad.core.graph import Graph, Literal
from tracegrad.lower import passes as simplify

DTYPES = "?bBhHiIlLefdgFDG"
PYTHON = [True, False, 3, -2, 0, 300, 2**40, 2**70, 2.5, -0.0, 1e300, 1 + 2j]
_VALUES: dict[str, list[Any]] = {"b": [True], "i": [-3, 2], "u": [3, 2], "f": [-2.5, 2.0], "c": [1.5 - 2j]}


def values(dtype: str) -> list[Any]:
    return _VALUES[np.dtype(dtype).kind]


SCALARS = [np.dtype(c).type(v) for c in DTYPES for v in values(c)]
ARRAYS = [np.array([values(c)[0], values(c)[-1], 1], c) for c in DTYPES]
NO_DIMENSIONS = [np.array(values(c)[0], c) for c in DTYPES]
OPERANDS = [*PYTHON, *SCALARS, *NO_DIMENSIONS, *ARRAYS]

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    **{
        f.__name__: f
        for f in (
            operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
            operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift, operator.eq, operator.ne,
            operator.lt, operator.le, operator.gt, operator.ge,
        )
    },
    "divmod, quotient": lambda a, b: divmod(a, b)[0],
    "divmod, remainder": lambda a, b: divmod(a, b)[1],
    **{f.__name__: f for f in vars(np).values() if isinstance(f, np.ufunc) and (f.nin, f.nout) == (2, 1)},
}  # fmt: skip
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": operator.neg, "pos": operator.pos, "abs": abs, "invert": operator.invert, "round": round,
    "round to 1": lambda x: round(x, 1), "round to -1": lambda x: round(x, -1),
    "real": lambda x: x.real, "imag": lambda x: x.imag, "conjugate": lambda x: x.conjugate(),
    "np.real": np.real, "np.imag": np.imag, "twice": lambda x: x + x, "cube": lambda x: x * x * x,
    "item": lambda x: x.item() * np.ones(2, "float32"), "square": lambda x: x**2, "reciprocal": lambda x: x**-1,
    "root": lambda x: x**0.5, "one": lambda x: x**0, "third": lambda x: x**3,
    **{f.__name__: f for f in vars(np).values() if isinstance(f, np.ufunc) and (f.nin, f.nout) == (1, 1)},
}  # fmt: skip


def refused(f: Callable[..., Any], *args: Any) -> Any:
    """What it returns, or the error that it raises."""
    try:
        return f(*args)
    except Exception as error:
        return error


def kind(x: Any) -> Any:
    """The Python type of a Python scalar; whether it has dimensions, of NumPy's."""
    return type(x) if type(x) in (bool, int, float, complex) else np.ndim(x) > 0


def same(got: Any, want: Any) -> bool:
    if type(want) is int:
        return type(got) is int and got == want
    g, w = np.asarray(got), np.asarray(want)
    if kind(got) != kind(want) or g.dtype != w.dtype or g.shape != w.shape:
        return False
    is_nan = np.isnan(w) if w.dtype.kind in "fc" else np.zeros(w.shape, bool)
    if w.dtype.kind in "fc" and not np.array_equal(np.isnan(g), is_nan):
        return False
    signs = w.dtype.kind != "f" or np.array_equal(np.signbit(g)[~is_nan], np.signbit(w)[~is_nan])
    return bool(np.array_equal(g[~is_nan], w[~is_nan]) and signs)


def is_said(args: tuple[Any, ...], want: Any, got: Any) -> bool:
    """Where it is written down that a traced Python number is not plain Python's: floats have NumPy's infinities and NaN
    where Python raises or goes on to complex numbers; an int that int64 does not hold is an error where NumPy would take
    it for an object, and so is an int to a negative traced one, a float or an int by value."""
    python = [x for x in args if type(x) in (bool, int, float, complex)]
    if isinstance(want, ArithmeticError) or (type(want) is complex and complex not in map(type, args)):
        return bool(python) and not isinstance(got, Exception)
    if isinstance(got, Exception):
        is_long = any([type(x) is int and abs(x) > 2**63 for x in args])
        return (is_long and isinstance(got, OverflowError)) or "write float(x) ** n" in str(got)
    return False


WAYS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "with values": lambda f: lambda *args: tg.vjp(f, *args)[0],
    "by types": lambda f: tg.jit(f),
    "by types, beside a number": lambda f: lambda a, *rest: tg.jit(lambda a: f(a, *rest))(a),
    "by types, behind a number": lambda f: lambda *args: tg.jit(lambda b: f(*args[:-1], b))(args[-1]),
}


def compared(name: str, f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if ("shift" in name or name in ("lshift", "rshift")) and np.max(np.abs(np.asarray(args[1], object))) > 60:
        return  # beyond the bits it is for the processor to say
    if "pow" in name and any([type(x) is int and abs(x) > 300 for x in args]):
        return  # a number of a trillion digits
    with np.errstate(all="ignore"):
        want = refused(f, *args)
        for way, transformed in list(WAYS.items())[: 2 * len(args)]:
            got = refused(transformed(f), *args)
            if isinstance(want, Exception) and isinstance(got, Exception):
                continue
            fine = not isinstance(want, Exception) and not isinstance(got, Exception) and same(got, want)
            assert fine or is_said(args, want, got), f"{name} {way} of {args!r}: {got!r}, not {want!r}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", UNARY)
def test_of_one_operand(name: str) -> None:
    """Not of arrays without axes, whose operators are not always those of NumPy's scalars: np.bool_(True) ** 2 is int64, and
    np.array(True) ** 2 int8. The two are of one type to who traces, that of the scalar."""
    has_no_type = {"item", "conjugate", "round", "round to 1", "round to -1"}  # Python's, or of a scalar alone
    for x in (*PYTHON, *SCALARS, *ARRAYS):
        if name in has_no_type and isinstance(refused(UNARY[name], x), AttributeError | TypeError):
            continue
        compared(name, UNARY[name], (x,))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_of_two_operands(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = list(BINARY)
    for _ in range(120):
        name = names[rng.integers(len(names))]
        a, b = [OPERANDS[rng.integers(len(OPERANDS))] for _ in range(2)]
        compared(name, BINARY[name], (a, b))


@pytest.mark.filterwarnings("ignore")
def test_on_xla() -> None:
    pytest.importorskip("jax")
    rng = np.random.default_rng(0)
    operands = [x for x in OPERANDS if np.asarray(x).dtype.char not in "gGO" and type(x) is not bool]
    names = [n for n in BINARY if n not in ("gcd", "lcm", "nextafter", "lshift", "rshift", "left_shift", "right_shift")]
    for _ in range(15):
        name = names[rng.integers(len(names))]
        a, b = [operands[rng.integers(len(operands))] for _ in range(2)]
        with np.errstate(all="ignore"):
            want = refused(BINARY[name], a, b)
            if isinstance(want, Exception) or np.asarray(want).dtype.char in "gGO":
                continue
            if "pow" in name and np.asarray(want).dtype.kind not in "fc":
                continue  # jax has an answer for negative powers of integers
            got = np.asarray(tg.jit(BINARY[name], backend="xla")(a, b))
        assert got.dtype == np.asarray(want).dtype, (name, a, b)
        np.testing.assert_allclose(got, want, rtol=1e-2 if got.dtype.itemsize < 4 else 1e-4, err_msg=f"{name} {a} {b}")


def test_comparisons_of_unsigned_on_xla() -> None:
    pytest.importorskip("jax")
    numbers = (300, -1, 2, 2**40)
    f = lambda x, *ns: [
        g(*pair) for n in ns for g in (operator.lt, operator.ge, operator.eq) for pair in ((x, n), (n, x))
    ]
    for dtype in ("uint8", "uint64", "int8"):
        x = np.array([2], dtype)
        want = [y.tolist() for y in f(x, *numbers)]
        for given in (tg.jit(f, backend="xla")(x, *numbers), tg.jit(lambda x: f(x, *numbers), backend="xla")(x)):
            assert [np.asarray(y).tolist() for y in given] == want


# ---------------------------------------------------------------------------------------------------------------------
# What was found, each with its right value.


def everywhere(f: Callable[..., Any], *args: Any) -> None:
    with np.errstate(invalid="ignore"):
        compared_everywhere(f, *args)


def compared_everywhere(f: Callable[..., Any], *args: Any) -> None:
    want = f(*args)
    for way, transformed in (
        ("with values", lambda f: lambda *args: tg.vjp(f, *args)[0]),
        ("a Graph", lambda f: lambda *args: tg.make_graph(f)(*args)(*args)[0]),
        ("jit", tg.jit),
        ("jit, fast", lambda f: tg.jit(f, fast=True)),
    ):
        got = transformed(f)(*args)
        assert same(got, want), f"{way}: {got!r}, not {want!r}"
    check(tg.make_graph(f)(*args))
    check(tg.jit(f).lower(*args).graph)


F4 = np.ones(2, "float32")


@pytest.mark.parametrize(
    "f, args",
    [
        (lambda a: a + a, (True,)),
        (lambda a: -a, (True,)),
        (lambda a: ~a, (5,)),
        (lambda a: a - a, (True,)),
        (lambda a, b: (a < b) + (b > a), (1, 2)),
        (lambda n: n * n * n, (2**40,)),
        (lambda n: n**5 % 1000 + (n << 70), (2**40 + 1,)),
        (lambda n: F4 * (n ^ 1), (5,)),
        (lambda n: F4 * ((n & 3) | (n >> 1)), (5,)),
        (lambda x: F4 * round(x), (2.5,)),
        (lambda x: F4 * round(x, 1), (2.675,)),
        (lambda x: F4 * (x.real + x.imag), (2.5,)),
        (lambda x: F4 * x.conjugate(), (2.5,)),
        (lambda x: F4 * abs(x), (-2.5,)),
        (lambda x: F4 * np.abs(x), (-2.5,)),
        (lambda x: F4 * np.add(x, 1), (2.5,)),
        (lambda x: F4 * np.asarray(1.0) * tnp.asarray(x), (np.float32(2),)),
        (lambda x: F4 * x[0].item(), (np.array([2.5]),)),
        (lambda x: F4 * x.item(1), (np.array([2.5, 3.5]),)),
        (lambda x: F4 * x.tolist()[1], (np.array([2.5, 3.5]),)),
        (lambda x: round(x), (np.float64(2.5),)),
        (lambda x: divmod(x, 2)[0], (7,)),
        (lambda n: n**-1, (2,)),
        (lambda b: b**2, (np.array([True]),)),
        (lambda b: np.power(b, 2), (np.array([True]),)),
        (lambda x: x**0.5, (np.array([1.5 - 2j, -np.inf]),)),
        (lambda x: x**0.5, (np.array([-np.inf, -0.0]),)),
        (lambda u: u < 300, (np.array([1], np.uint8),)),
        (lambda u: (u >= -1, u == 2**70, u != 300)[1], (np.array([1], np.uint8),)),
        (lambda u: np.clip(u, -1, 9), (np.array([1, 20], np.uint8),)),
        (lambda u: np.clip(u, -1, 900), (np.array([1, 20], np.uint8),)),
        (lambda b: np.clip(b, -5, np.int8(3)), (np.array([True]),)),
        (lambda x: np.select([x > 0], [True], 0), (np.array([1.0, -1.0]),)),
        (lambda x: np.select([x > 0, x < 0], [x, True], 0), (np.array([1.0, -1.0, 0.0], "float32"),)),
        (lambda x: np.var(x, dtype="float32"), (np.array([2**25 + 1, 2**25 + 3, 2**25 + 8]),)),
        (lambda x: np.var(x, dtype=int), (np.array([1, 2, 5]),)),
        (lambda x: np.std(x, dtype="uint8"), (np.array([1, 2, 9]),)),
        (lambda x: np.std(x, dtype="float32"), (np.array([1.0, 2.0, 9.0 + 1e-9]),)),
        (lambda x: np.mean(x, dtype="uint8"), (np.array([-3, 2, 1], np.int8),)),
        (lambda v: np.repeat(v, 2, 0), (np.float64(3),)),
        (lambda v: np.take(v, [0, 0], 0), (np.float64(3),)),
        (lambda v: np.argsort(v), (np.float64(3),)),
        (lambda v: np.cumulative_sum(v), (np.float64(3),)),
        (lambda x: np.tensordot(x, x, 27), (np.full((1,) * 27, 3.0),)),
        (lambda x: np.tensordot(x, x[0], 1), (np.full((1,) * 20 + (2, 1) * 4, 3.0),)),
        (lambda n: np.ldexp(n, 2), (3,)),
        (lambda n: np.frexp(n)[0], (np.arange(3),)),
        (lambda x: np.ravel(x, order="K"), (np.arange(3.0)[None],)),
        (lambda x: x.ravel(order="A"), (np.arange(3.0),)),
    ],
)  # fmt: skip
def test_found(f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    everywhere(f, *args)


def test_order_of_memory_is_refused() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for f in (
        lambda x: x.T.ravel(order="K"),
        lambda x: x.T.ravel(order="A"),
        lambda x: x.T.flatten(order="K"),
        lambda x: np.reshape(x.T, -1, order="A"),
    ):
        for transformed in (tg.jit(f), tg.vmap(f), lambda x, f=f: tg.vjp(f, x)):
            with pytest.raises(ValueError, match=r"order='[KA]' at .* depends on memory layout"):
                transformed(x[None].repeat(2, 0) if transformed is not None and "vmap" in repr(transformed) else x)


def test_eval_shape_of_python_scalars() -> None:
    assert tg.eval_shape(lambda a, b: a * b, 0.5, F4).dtype == np.float32
    assert tg.eval_shape(lambda a: a + a, True).dtype == np.int64
    assert tg.eval_shape(lambda a, b: a * b, 0.5, b=tg.ShapeDtypeStruct(2, "float32")).dtype == np.float32


def test_derivatives_with_integers_beside() -> None:
    x = np.array([1.0, 2.0, 4.0])
    (gradient, zero) = tg.vjp(lambda x, n: np.sum(x) * np.sum(np.frexp(n)[0]), x, np.arange(3))[1](1.0)
    assert gradient.tolist() == [np.sum(np.frexp(np.arange(3))[0])] * 3
    assert zero.dtype == tg.float0
    assert tg.vjp(lambda x, n: np.sum(x) * np.sum(np.modf(n)[1]), x, np.arange(3))[1](1.0)[0].tolist() == [3.0] * 3
    # A Python int does not overflow on the way to a derivative.
    assert tg.grad(lambda x, n: x * (n * n * n), 0)(2.0, 2**40) == 2.0**120
    assert tg.jit(tg.grad(lambda x, n: x * (n * n * n), 0))(2.0, 2**40) == 2.0**120
    # Nor does one that is an element of an array, as a number of Python's, cut the derivative off.
    assert tg.grad(lambda x: x[1].item() ** 2)(x).tolist() == [0.0, 4.0, 0.0]
    assert tg.grad(lambda x: sum(x.tolist()))(x.astype("float32")).dtype == np.float32


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[0].item() * F4,
        lambda x: (x[0].item() > 1) + (x[1].item() > 1) + F4 * 0,
        lambda x: (x[0].item() > 1) + (x[1].item() > 1),
        lambda x: (x[0].item() + True) * F4,
        lambda x: round(x[0]) * F4,
        lambda x: np.where(x[0].item() > 1, x[0].item(), F4),
        lambda x: -(x[0].item() > 1),
        lambda x: x.astype("int32")[0].item() * np.ones(2, "int8"),
        lambda x: sum(x.astype("float32").tolist()) * np.ones(2, "float16"),
    ],
)
def test_numbers_of_examples_yield(f: Callable[[Any], Any]) -> None:
    """In a batch an element that was made a Python number is as weak as it is in a loop over the examples."""
    x = np.arange(6.0).reshape(2, 3)
    loop = np.stack([f(row) for row in x])
    for mapped in (tg.vmap(f), tg.jit(tg.vmap(f)), tg.vmap(tg.jit(f))):
        assert same(mapped(x), loop)


def test_an_int_to_a_traced_negative_power() -> None:
    """In plain Python it is a float, and for other values of the exponent an int."""
    with pytest.raises(ValueError, match=r"write float\(x\) \*\* n or 2.0 \*\* n"):
        tg.jit(lambda n: 2**n)(-1)
    assert tg.jit(lambda n: 2.0**n)(-1) == 0.5


def test_division_by_zero_of_python_numbers() -> None:
    """Of ints it is Python's error; floats have NumPy's infinities."""
    for f in (lambda n: 1 // n, lambda n: 1 / n, lambda n: 1 % n):
        for transformed in (tg.jit(f), lambda n, f=f: tg.vjp(f, n)):
            with pytest.raises(ZeroDivisionError):
                transformed(0)
    with np.errstate(divide="ignore"):
        assert tg.jit(lambda x: 1 / x)(0.0) == np.inf
        assert tg.vjp(lambda x: 1 / x, -0.0)[0] == -np.inf


# ---------------------------------------------------------------------------------------------------------------------
# What jit rewrites, of every dtype and every kind of number.

NUMBERS: list[Any] = [
    *[True, 1, 2, -1, 3, 0, 4096, 1.0, -1.0, 2.0, 0.5, 0.0, -0.0, 3.0, 0.1, 300.0, 2.0**-20, 1e300, 1 + 0j, 2j],
    *[np.dtype(c).type(v) for c in "?bBhHiIqQefdgFD" for v in (0, 1, 2, 3, 100)],
    *[np.dtype(c).type(v) for c in "bhiqefdgFD" for v in (-1, -2)],
    *[np.dtype(c).type(v) for c in "efdg" for v in (0.5, 300.0, 0.1)],
]  # fmt: skip

PATTERNS: dict[str, Callable[..., Any]] = {
    "x / a": lambda x, y, a, b: x / a,
    "a / x": lambda x, y, a, b: a / x,
    "x * a * b": lambda x, y, a, b: (x * a) * b,
    "b * (a * x)": lambda x, y, a, b: b * (a * x),
    "x / a * b": lambda x, y, a, b: (x / a) * b,
    "x / a / b": lambda x, y, a, b: (x / a) / b,
    "x - a": lambda x, y, a, b: x - a,
    "x + a - b": lambda x, y, a, b: (x + a) - b,
    "y + -x": lambda x, y, a, b: y + -x,
    "-x + y": lambda x, y, a, b: -x + y,
    "y - -x": lambda x, y, a, b: y - -x,
    "-x * y": lambda x, y, a, b: -x * y,
    "-x / -y": lambda x, y, a, b: -x / -y,
    "-x * a": lambda x, y, a, b: -x * a,
    "a - -x": lambda x, y, a, b: a - -x,
    "x negated twice": lambda x, y, a, b: np.negative(-x),
    "x ** a": lambda x, y, a, b: x**a,
    "a + b beside x": lambda x, y, a, b: x * (a + b),
    "broadcast": lambda x, y, a, b: np.broadcast_to(a, (3,)) * x,
    "sum / count": lambda x, y, a, b: np.sum(x) / np.prod(x.shape),
    "mean": lambda x, y, a, b: np.mean(x) * a,
    "var": lambda x, y, a, b: np.var(x),
    "casts": lambda x, y, a, b: x.astype(type(a) if isinstance(a, np.generic) else float).astype("float32"),
    "reshape": lambda x, y, a, b: (x * a).reshape(3, 1).T,
    "twice": lambda x, y, a, b: (x * a) + (x * a),
}


def plainly(graph: Graph, args: tuple[Any, ...]) -> Any:
    with np.errstate(all="ignore"):
        return refused(lambda: graph(*args)[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_every_pass_of_every_dtype_and_number(seed: int) -> None:
    """Value, dtype and bits are those of the ops evaluated plainly, after each pass and after all; with `fast` the value is
    near."""
    rng = np.random.default_rng(seed)
    names = list(PATTERNS)
    done = 0
    while done < 120:
        f = PATTERNS[names[rng.integers(len(names))]]
        a, b = [NUMBERS[rng.integers(len(NUMBERS))] for _ in range(2)]
        dtypes = [DTYPES[rng.integers(len(DTYPES))] for _ in range(2)]
        x, y = [np.array([values(c)[0], values(c)[-1], 0 if i else 1], c) for i, c in enumerate(dtypes)]
        call = lambda x, y, f=f, a=a, b=b: f(x, y, a, b)
        with np.errstate(all="ignore"):
            want = refused(call, x, y)
        if isinstance(want, Exception):
            continue
        done += 1
        # By types: with values there would be no literals to be folded.
        graph = tg.make_graph(call)(*[tg.ShapeDtypeStruct(3, c) for c in dtypes])
        what = f"{f.__code__.co_consts} {a!r} {b!r} {x!r} {y!r}"
        for one in simplify.PASSES:
            graph = one(graph)
            check(graph)
            assert same(plainly(graph, (x, y)), want), f"{one.__name__}: {what}"
        with np.errstate(all="ignore"):
            assert same(tg.jit(call)(x, y), want), what
            near = np.asarray(tg.jit(call, fast=True)(x, y))
        dtype = np.asarray(want).dtype
        assert near.dtype == dtype
        if dtype.kind in "fc":
            eps = max([float(np.finfo(v.dtype).eps) for v in (x, y, near) if v.dtype.kind in "fc"])
            np.testing.assert_allclose(near, want, rtol=8 * eps, atol=0, err_msg=what)


def test_rewritten_numbers() -> None:
    """Inputs that were wrong: a number took the dtype that it had itself, which may be one of integers or a narrow one."""
    x = np.array([1.0, 2.0, 4.0])
    half = np.array([1, 2, 3, 4], np.float16)
    cases: list[tuple[Callable[[Any], Any], Any]] = [
        (lambda x: x / np.int64(2), x),
        (lambda x: np.sum(x) / np.prod(x.shape), np.ones(4)),
        (np.var, half),
        (np.std, half),
        (lambda x: (x * np.float16(300)) * np.float16(300), x),
        (lambda x: (x * np.int8(100)) * np.int8(100), x),
        (lambda x: x / np.uint8(3), x),
        (lambda x: x / np.float16(3), x),
        (lambda x: 2.0 * x * np.float32(3), x),
    ]
    for f, arg in cases:
        assert same(tg.jit(f)(arg), f(arg))
        np.testing.assert_allclose(tg.jit(f, fast=True)(arg), f(arg), rtol=4 * np.finfo(np.asarray(f(arg)).dtype).eps)
    gradient = tg.grad(np.var)
    assert same(tg.jit(gradient)(half), gradient(half))
    # A sum of a complex number with a negative real one keeps the sign of an imaginary zero.
    z = np.array([complex(1.0, -0.0)])
    for f in (lambda z, x: z + -x, lambda z, x: z - -x):
        assert np.signbit(tg.jit(f)(z, x).imag).tolist() == np.signbit(f(z, x).imag).tolist()


def test_rewritten_numbers_on_xla() -> None:
    pytest.importorskip("jax")
    x = np.array([1.0, 2.0, 4.0])
    for f in (lambda x: x / np.int64(2), lambda x: np.sum(x) / np.prod(x.shape), lambda x: np.var(x.astype("float16"))):
        np.testing.assert_allclose(tg.jit(f, backend="xla")(x), f(x), rtol=1e-3)


def test_literals_of_a_rewritten_number() -> None:
    for dtype, number in itertools.product("efd", [2, np.int8(2), np.float16(2), np.float64(2), 2.0]):
        x = np.ones(3, dtype)
        graph = tg.jit(lambda x, n=number: x / n).lower(x).graph
        (eqn,) = graph.eqns
        factor = eqn.inputs[1]
        assert eqn.op.name == "multiply"
        assert isinstance(factor, Literal)
        assert factor.value == 0.5
        assert factor.type.weak or factor.type.dtype == eqn.outputs[0].type.dtype
