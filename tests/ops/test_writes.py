"""What writes into arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import DtypeError, ShapeError, UnexpectedTracerError
from tracegrad.testing import check_grads

jax.config.update("jax_enable_x64", True)
X = np.arange(1.0, 6.0)


@pytest.mark.parametrize("transform", ["jit", "vmap", "scan", "cond", "checkpoint", "grad"])
def test_a_write_into_what_is_outside_is_refused(transform: str) -> None:
    def f(x: Any) -> Any:
        u = 2 * x

        def inner(c: Any) -> Any:
            u[0] = 1.0
            return c

        if transform == "scan":
            return tg.lax.scan(lambda c, i: (inner(c), None), x[0], np.arange(3))[0]
        if transform == "cond":
            return tg.lax.cond(x[0] > 0, inner, inner, x[0])
        if transform == "vmap":
            return np.sum(tg.vmap(inner)(x))
        return getattr(tg, transform)(inner)(x[0])

    with pytest.raises(UnexpectedTracerError, match=r"(?s)test_writes.py.*comes from outside"):
        (tg.jit if transform == "cond" else tg.grad)(f)(X)


def test_dtypes_stay() -> None:
    def f(x: Any) -> Any:
        n = np.arange(5) * (x > 0)
        n[1:] = x[1:] + 0.7
        y = x.astype(np.float32)
        y += x
        y[0] = 3
        return n, y

    for g in (tg.jit(f), lambda x: tg.vjp(f, x)[0]):
        for got, wanted in zip(g(X), f(X), strict=True):
            np.testing.assert_array_equal(got, wanted)
            assert got.dtype == wanted.dtype


@pytest.mark.parametrize(
    "wrong, error, part",
    [
        (lambda x: np.floor(x).astype(int).__iadd__(x), DtypeError, "same_kind"),
        (lambda x: x.__iadd__(np.ones((2, 5))), ShapeError, "non-broadcastable output operand"),
        (lambda x: x.__setitem__(slice(2), np.ones(3)), ValueError, "broadcast"),
        (lambda x: np.broadcast_to(x, (2, 5)).__setitem__(0, 1.0), ValueError, "read-only"),
        (lambda x: np.diagonal(np.outer(x, x)).__setitem__(0, 1.0), ValueError, "read-only"),
        (lambda x: np.copyto(np.floor(x).astype(int), x), DtypeError, "same_kind"),
        (lambda x: x.__setitem__(7, 1.0), IndexError, "out of bounds"),
    ],
)
def test_what_numpy_refuses(wrong: Callable[[Any], Any], error: type[Exception], part: str) -> None:
    with pytest.raises((TypeError, ValueError, IndexError)):
        wrong(X.copy())
    for transform in (tg.grad, tg.jit):
        with pytest.raises(error, match=part):
            transform(lambda x: np.sum(x) + (wrong(x) is None))(X)


def test_writes_end_as_writes_into_a_buffer() -> None:
    def f(u: Any) -> Any:
        u = u * 2.0
        v = u.reshape(-1, 2).T
        for i in range(20):
            u[i] = u[i] + 0.5
            v[:, i] = 1.0
        return u

    x = np.arange(1000.0)
    source = tg.jit(f).lower(x).as_text()
    assert source.count("scatter(") == 1 and source.count("] = ") == 39  # what is returned holds no other array alive
    np.testing.assert_array_equal(tg.jit(f)(x), f(x))
    backward = tg.jit(tg.grad(lambda x: np.sum(f(x) ** 2))).lower(x).as_text()
    assert backward.count("scatter(") <= 2


TWICE: list[Any] = [
    [0, 0, 2, 0],
    (np.array([1, 1]), slice(None)),
    ([1, 1], [2, 2]),
    slice(1, None),
    np.array([True, False]),
    (),
]


@pytest.mark.parametrize("ufunc", [np.hypot, np.arctan2, np.fmax, np.logaddexp, np.floor_divide, np.copysign])
def test_a_ufunc_written_at_elements_that_are_named_twice(ufunc: np.ufunc) -> None:
    for index in TWICE:
        x = X if index is TWICE[0] else np.arange(1.0, 9.0).reshape(2, 4)
        shape = x[index].shape

        def f(x: Any, v: Any, index: Any = index) -> Any:
            y = x * 1
            ufunc.at(y, index, v)
            return y

        for v in (1.5, np.random.default_rng(1).uniform(1, 2, shape)):
            for backend in ("numpy", "xla"):
                np.testing.assert_allclose(tg.jit(f, backend=backend)(x, v), f(x, v), rtol=1e-14)
        if ufunc in (np.hypot, np.arctan2, np.logaddexp):
            check_grads(f, (x, np.random.default_rng(1).uniform(1, 2, shape)), order=1)


def test_a_ufunc_written_at_traced_places() -> None:
    def f(x: Any, i: Any) -> Any:
        y = x * 1
        np.hypot.at(y, i, 2.0)
        return y

    x, i = np.array([1.0, 2.0]), np.array([1, 1])
    np.testing.assert_allclose(tg.jvp(lambda x: f(x, i), (x,), (np.ones(2),))[0], f(x, i))
    with pytest.raises(TypeError, match=r"its values must be known"):
        tg.jit(f)(x, i)


WRITTEN = {
    "x[i] = v": lambda x, v: x.__setitem__(0, v),
    "x[mask] = v": lambda x, v: x.__setitem__(x > 0, v),
    "place": lambda x, v: np.place(x, x > 0, v),
    "putmask": lambda x, v: np.putmask(x, x > 0, v),
    "copyto": lambda x, v: np.copyto(x, v),
    "copyto, where": lambda x, v: np.copyto(x, v, where=x > 0),
    "fill": lambda x, v: x.fill(v),
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_an_int_of_pythons(write: Callable[[Any, Any], None]) -> None:
    """It takes the dtype that it is written into, and is an error where that has it not, on XLA too."""

    def written(x: Any, v: int) -> Any:
        y = np.copy(x)
        write(y, v)
        return y

    for dtype in (np.uint8, np.uint64, np.float32):
        x = np.array([2, 0, 1], dtype)
        for run in (lambda f: lambda x: tg.vjp(f, x)[0], tg.jit):
            found = run(lambda x: written(x, 3))(x)
            assert found.dtype == dtype
            assert found.tolist() == written(x, 3).tolist()
    x = np.array([2, 0, 1], np.uint8)
    for run in (lambda f: f, tg.jit, lambda f: tg.jit(f, backend="xla")):
        with pytest.raises(OverflowError, match="Python integer 300 out of bounds for uint8"):
            run(lambda x: written(x, 300))(x)


def _put_together(x: Any, v: Any) -> Any:
    """Functions that make an array of a dtype of ints."""
    return {
        "a list": lambda: np.array([v, 1], dtype=x.dtype, like=x),
        "full": lambda: np.full(2, v, dtype=x.dtype, like=x),
        "full_like": lambda: np.full_like(x, v),
        "insert": lambda: np.insert(x, 1, v),
        "pad": lambda: np.pad(x, 1, constant_values=v),
    }


def _written(write: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
    def written(x: Any, v: Any) -> Any:
        y = np.copy(x)
        write(y, v)
        return y

    return written


INTO_INTS: dict[str, Callable[[Any, Any], Any]] = {
    **{name: _written(write) for name, write in WRITTEN.items()},
    "a mask": _written(lambda x, v: x.__setitem__(x > 0, v)),
    "a mask of nothing": _written(lambda x, v: x.__setitem__(x > 100, v)),
    "place": _written(lambda x, v: np.place(x, x > 0, v)),
    "putmask": _written(lambda x, v: np.putmask(x, x > 0, v)),
    "put": _written(lambda x, v: np.put(x, [0, 2], v)),
    "fill_diagonal": lambda x, v: _written(np.fill_diagonal)(np.stack([x, x, x]), v),
    "a list into a slice": _written(lambda x, v: x.__setitem__(slice(0, 2), [v, 1])),
    **{
        name: lambda x, v, name=name: _put_together(x, v)[name]()
        for name in ("a list", "full", "full_like", "insert", "pad")
    },
}


@pytest.mark.parametrize("function", INTO_INTS.values(), ids=INTO_INTS)
def test_an_int_that_is_known_at_run_time_only(function: Callable[[Any, Any], Any]) -> None:
    """On NumPy it is NumPy's error where a dtype has it not, whether it is known or not; numbers of NumPy's are cast."""
    x = np.array([2, 0, 1], np.uint8)
    for v in (300, -1):
        for run in (
            lambda v: tg.jit(function)(x, v),
            lambda v: tg.jit(lambda x: function(x, v))(x),
            lambda v: tg.vmap(function, in_axes=(0, None))(x[None], v),
        ):
            with pytest.raises(
                OverflowError, match=rf"Python integer {v} out of bounds for uint8(.|\n)*test_writes\.py"
            ):
                run(v)
    expected = function(x, 200)
    found = tg.jit(function)(x, 200)
    assert found.dtype == np.uint8 and found.tolist() == expected.tolist()
    np.testing.assert_array_equal(tg.jit(function)(x, np.array(300, np.uint16)), function(x, 44))


def test_an_int_of_run_time_on_xla() -> None:
    """There is nothing on XLA that could raise: what is known at run time only is cast."""
    function = INTO_INTS["a mask"]
    found = tg.jit(function, backend="xla")(np.array([2, 0, 1], np.uint8), 300)
    assert np.asarray(found).tolist() == [44, 0, 44]


NUMBERS: dict[str, Any] = {
    "int64": np.int64(300),
    "small int64": np.int64(3),
    "int16": np.int16(-129),
    "uint64": np.uint64(2**63),
    "float64": np.float64(300.5),
    "small float32": np.float32(3.5),
    "nan": np.float64(np.nan),
    "an array of no axes": np.array(300),
    "an array": np.array([300, 3]),
    "float of Python's": 300.5,
    "nan of Python's": float("nan"),
    "a list": [3, 300],
    "a list of floats": [3.5, 300.5],
}
INTO: dict[str, Callable[[Any, Any], Any]] = {
    "x[0:2] = v": lambda x, v: x.__setitem__(slice(0, 2), v),
    "x[[0, 1]] = v": lambda x, v: x.__setitem__([0, 1], v),
    "x[mask] = v": lambda x, v: x.__setitem__(np.array([True, True, False, False]), v),
    "place": lambda x, v: np.place(x, [True, True, False, False], v),
    "putmask": lambda x, v: np.putmask(x, [True, True, False, False], v),
    "put": lambda x, v: np.put(x, [0, 1], v),
    "flat": lambda x, v: setattr(x, "flat", v),
    "x[0] = v": lambda x, v: x.__setitem__(0, v),
    "fill": lambda x, v: x.fill(v),
}


@pytest.mark.parametrize("into", INTO)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_numbers_that_are_known_are_numpys_in_a_narrow_dtype(into: str) -> None:
    """A scalar of NumPy's is an error where it is put into an array, and cast where an array is made of it first; arrays are cast, but for
    the functions that take safe casts only."""
    written = _written(INTO[into])
    x = np.zeros(4, np.int8)
    for name, v in NUMBERS.items():
        if into in ("x[0] = v", "fill") and np.ndim(v):
            continue
        try:
            expected: Any = written(x, v)
        except (TypeError, ValueError, OverflowError) as error:
            expected = error
        for run in (tg.jit, lambda f: lambda x: tg.vjp(f, x)[0]):
            traced = run(lambda x, v=v: written(x, v))
            if isinstance(expected, Exception):
                with pytest.raises(type(expected)) as caught:
                    traced(x)
                told = "rule 'safe'" if isinstance(expected, TypeError) else str(expected)
                assert told in str(caught.value) and "test_writes.py" in str(caught.value), (name, caught.value)
            elif name != "nan":  # what NaN is cast to is the machine's
                np.testing.assert_array_equal(traced(x), expected, err_msg=name)


@pytest.mark.parametrize("write", [np.place, np.putmask])
def test_what_is_traced_is_written_by_safe_casts(write: Any) -> None:
    """An array is; what has no axes may be a number of NumPy's, which is cast."""
    written = _written(lambda x, v: write(x, np.array([True, False, True]), v))
    x, wide = np.zeros(3, np.float32), np.arange(3.0)
    for run in (written, tg.jit(written), lambda x, v: tg.vjp(written, x, v)[0]):
        with pytest.raises(TypeError, match=r"according to the rule 'safe'|casting rule 'safe'"):
            run(x, wide)
    np.testing.assert_array_equal(tg.jit(written)(x, wide.astype(np.float32)), written(x, wide.astype(np.float32)))
    np.testing.assert_array_equal(tg.jit(written)(x, wide[1]), written(x, wide[1]))
