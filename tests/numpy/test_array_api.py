"""The array API standard, 2024.12: every function of array-api-strict's namespace is here, with its signature, and gives its values
and dtypes, called on plain arrays, under a trace that knows values, and in a Graph. `pytest tests/numpy/test_array_api.py` is the check.
"""

from __future__ import annotations

import inspect
import operator
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests import ROOT
from tracegrad.core.errors import TracerArrayConversionError
from tracegrad.core.tracer import Tracer

strict = pytest.importorskip("array_api_strict")

pytestmark = pytest.mark.numpy("2.3.0")  # whose own arrays are the first of that version

FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES = ["bool", *INTEGERS, *FLOATS, *COMPLEX]
SHAPES: list[tuple[int, ...]] = [(), (3,), (2, 3), (0, 2), (2, 1, 3)]

# What NumPy's own arrays fail: the function, and why. There what NumPy answers is right; nothing else may differ.
NUMPYS = {
    "can_cast": "NumPy casts bools to numbers, and integers to floats",
    "fft.fftfreq": "NumPy has no dtype=",
    "fft.rfftfreq": "NumPy has no dtype=",
}
# Of later versions of the standard, which array-api-strict has too.
LATER_VERSIONS = {"broadcast_shapes", "isin"}


def spaces() -> Iterator[tuple[str, Any, Any]]:
    """Each function of the standard: its name, array-api-strict's, and the module of ours that has it."""
    strict.set_array_api_strict_flags(api_version="2024.12")
    for prefix, theirs, ours in (
        ("", strict, tnp),
        ("linalg.", strict.linalg, tnp.linalg),
        ("fft.", strict.fft, tnp.fft),
    ):
        for name in theirs.__all__:
            found = getattr(theirs, name)
            if "strict" not in name.lower() and name not in ("Device", "__version__", *LATER_VERSIONS):
                yield prefix + name, found, ours


def test_every_name_is_here() -> None:
    missing = [name for name, _, ours in spaces() if not hasattr(ours, name.rpartition(".")[2])]
    assert not missing


FUNCTIONS = {name: found for name, found, _ in spaces() if inspect.isfunction(found) and not name.startswith("__")}


def named(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature(name: str) -> None:
    ours = named(tnp, name)
    if isinstance(getattr(ours, "_ufunc", ours), np.ufunc):
        return  # a ufunc takes its inputs by position
    found = inspect.signature(ours).parameters
    for p in inspect.signature(FUNCTIONS[name]).parameters.values():
        if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL):
            continue  # whatever it is called
        if name in NUMPYS and p.name == "dtype":
            continue
        assert p.name in found, f"{name} has no {p.name}, but {list(found)}"
        assert found[p.name].kind is not p.POSITIONAL_ONLY


# ---------------------------------------------------------------------------------------------------------------------
# Values and dtypes.

Call = tuple[tuple[Any, ...], dict[str, Any]]


def sample(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Any:
    rng = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.startswith("uint"):
        return rng.integers(1, 9, shape).astype(dtype)
    if dtype.startswith("int"):
        return rng.integers(-9, 9, shape).astype(dtype) | np.ones((), dtype)
    x = rng.uniform(-2, 2, shape)
    return (x + 1j * rng.uniform(-2, 2, shape) if dtype.startswith("complex") else x).astype(dtype)


def arrays(dtypes: list[str], shapes: list[tuple[int, ...]] = SHAPES) -> Iterator[Any]:
    for dtype in dtypes:
        for shape in shapes:
            yield sample(dtype, shape)


def one(**keywords: list[Any]) -> Callable[[], Iterator[Call]]:
    """An array of each type and shape, alone and with each value of each keyword."""

    def calls() -> Iterator[Call]:
        for x in arrays(DTYPES):
            yield (x,), {}
            for name, values in keywords.items():
                for value in values:
                    yield (x,), {name: value}

    return calls


def two() -> Iterator[Call]:
    for dtype in DTYPES:
        for a, b in [((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,)), ((0, 2), (2,))]:
            yield (sample(dtype, a), sample(dtype, b, 1)), {}
    for a, b in [
        ("int8", "int32"),
        ("uint8", "int16"),
        ("float32", "float64"),
        ("float32", "complex64"),
        ("int8", "uint8"),
    ]:
        yield (sample(a, (2, 3)), sample(b, (3,), 1)), {}
    for dtype in DTYPES:
        for scalar in (True, 2, 1.5, 1j):
            yield (sample(dtype, (3,)), scalar), {}
            yield (scalar, sample(dtype, (3,))), {}


def each(*calls: Any) -> Callable[[], Iterator[Call]]:
    """`(make_arguments, keywords)`, with arrays of each dtype."""

    def found() -> Iterator[Call]:
        for dtype in DTYPES:
            for arguments, keywords in calls:
                yield arguments(lambda *shape, dtype=dtype: sample(dtype, shape)), keywords

    return found


def square(x: Any) -> Any:
    """Far from singular."""
    return (x + 9 * np.eye(x.shape[-1])).astype(x.dtype) if x.dtype.kind in "fc" else x


def hermitian(x: Any) -> Any:
    x = square(x)
    return x + x.swapaxes(-1, -2).conj()


AXES = {"axis": [0, -1, (0, 1), ()], "keepdims": [True]}
AXIS = {"axis": [0, -1, 1]}
TO = {"dtype": [np.dtype(d) for d in ("int8", "float32", "float64", "complex128")]}

CALLS: dict[str, Callable[[], Iterator[Call]]] = {
    **dict.fromkeys(["all", "any", "max", "min", "mean", "count_nonzero"], one(**AXES)),
    **dict.fromkeys(["sum", "prod"], one(**AXES, **TO)),
    **dict.fromkeys(["std", "var"], one(**AXES, correction=[1, 0.5])),
    **dict.fromkeys(["argmax", "argmin"], one(**AXIS, keepdims=[True])),
    **dict.fromkeys(["cumulative_sum", "cumulative_prod"], one(**AXIS, **TO, include_initial=[True])),
    **dict.fromkeys(["sort", "argsort"], one(**AXIS, descending=[True], stable=[False])),
    "diff": one(**AXIS, n=[0, 2]),
    "astype": each(*[(lambda a, d=d: (a(2, 3), np.dtype(d)), {}) for d in DTYPES]),
    "clip": each(
        (lambda a: (a(4),), {}), (lambda a: (a(4), None, None), {}), (lambda a: (a(4), None, 2), {}), (lambda a: (a(4), 1, 3), {}),
        (lambda a: (a(2, 3), a(3), None), {}), (lambda a: (a(4),), {"min": 1}), (lambda a: (a(4),), {"max": 1}),
    ),
    "concat": each(
        (lambda a: ([a(2, 3), a(1, 3)],), {"axis": 0}), (lambda a: ([a(2, 3), a(3)],), {"axis": None}),
        (lambda a: ([a(3), np.ones(2, np.float32)],), {}),
    ),
    "stack": each((lambda a: ([a(2, 3), a(2, 3)],), {"axis": -1}), (lambda a: ([a(3), np.ones(3, np.int8)],), {})),
    "unstack": one(axis=[0, -1]),
    "expand_dims": one(axis=[0, -1, 1]),
    "flip": one(axis=[0, -1, (0, 1)]),
    "squeeze": one(axis=[1, (1,), 0]),
    "moveaxis": each((lambda a: (a(2, 1, 3), 0, -1), {}), (lambda a: (a(2, 1, 3), (0, 1), (-1, 0)), {})),
    "permute_dims": each((lambda a: (a(2, 1, 3), (2, 0, 1)), {}), (lambda a: (a(2, 1, 3),), {"axes": (1, 2, 0)})),
    "repeat": each(
        (lambda a: (a(2, 3), 2), {}), (lambda a: (a(2, 3), 2), {"axis": 1}), (lambda a: (a(2, 3), np.array([1, 0, 2])), {"axis": 1}),
    ),
    "reshape": each((lambda a: (a(2, 3), (3, -1)), {}), (lambda a: (a(2, 3),), {"shape": (6,), "copy": True})),
    "roll": each((lambda a: (a(2, 3), 1), {}), (lambda a: (a(2, 3), (1, -2)), {"axis": (0, 1)})),
    "tile": each((lambda a: (a(2, 3), (2, 1, 2)), {}), (lambda a: (a(2, 3), (2,)), {})),
    "broadcast_to": each((lambda a: (a(2, 1), (4, 2, 3)), {})),
    "broadcast_arrays": each((lambda a: (a(2, 1), a(3)), {})),
    "meshgrid": each((lambda a: (a(2), a(3)), {}), (lambda a: (a(2), a(3)), {"indexing": "ij"})),
    **dict.fromkeys(["tril", "triu"], one(k=[-1, 1])),
    "take": each(
        (lambda a: (a(3), np.array([2, 0, -1])), {}), (lambda a: (a(2, 3), np.array([1, 0])), {"axis": 1}),
    ),
    "take_along_axis": each((lambda a: (a(2, 3), np.array([[0, -1], [1, 2]])), {"axis": 1}), (lambda a: (a(2, 3), np.array([[0, 1]] * 2)), {})),
    "searchsorted": each(
        (lambda a: (np.sort(a(3)), a(2, 3)), {}), (lambda a: (np.sort(a(3)), a(2, 3)), {"side": "right"}),
        (lambda a: (a(3), a(4)), {"sorter": np.array([1, 0, 2])}),
    ),
    "where": lambda: (((np.array([True, False, True]), *args), keywords) for args, keywords in two()),
    "nonzero": one(),
    **dict.fromkeys(["unique_all", "unique_counts", "unique_inverse", "unique_values"], one()),
    **dict.fromkeys(["zeros_like", "ones_like"], one(**TO)),
    "full_like": each((lambda a: (a(2, 3), 2), {}), (lambda a: (a(2, 3), 1), {"dtype": np.dtype("float32")})),
    "asarray": one(copy=[True], **TO),
    "isdtype": lambda: (((np.dtype(d), k), {}) for d in DTYPES for k in ("bool", "integral", "real floating", "numeric", ("bool", "numeric"))),
    "result_type": two,
    "can_cast": lambda: (((sample(d, (2,)), np.dtype(e)), {}) for d in DTYPES for e in DTYPES),
    **dict.fromkeys(["linalg.matmul", "matmul"], each(
        (lambda a: (a(2, 3), a(3, 2)), {}), (lambda a: (a(3), a(3)), {}), (lambda a: (a(2, 2, 3), a(3)), {}), (lambda a: (a(2, 3), np.ones((3, 1), np.float32)), {}),
    )),
    **dict.fromkeys(["linalg.tensordot", "tensordot"], each(
        (lambda a: (a(2, 3), a(2, 3)), {}), (lambda a: (a(2, 3), a(3, 4)), {"axes": 1}), (lambda a: (a(2, 3), a(3, 2)), {"axes": ((0, 1), (1, 0))}),
    )),
    **dict.fromkeys(["linalg.vecdot", "vecdot"], each((lambda a: (a(2, 3), a(2, 3)), {}), (lambda a: (a(2, 3), a(2, 3)), {"axis": -1}))),
    **dict.fromkeys(["linalg.matrix_transpose", "matrix_transpose"], one()),
    "linalg.outer": each((lambda a: (a(2), a(3)), {})),
    "linalg.cross": each((lambda a: (a(2, 3), a(2, 3)), {}), (lambda a: (a(3, 2), a(3, 2)), {"axis": -2})),
    "linalg.diagonal": one(offset=[1, -1]),
    "linalg.trace": one(offset=[1], **TO),
    **dict.fromkeys(["linalg.det", "linalg.inv", "linalg.slogdet"], each((lambda a: (square(a(3, 3)),), {}), (lambda a: (square(a(2, 3, 3)),), {}))),
    "linalg.solve": each((lambda a: (square(a(3, 3)), a(3)), {}), (lambda a: (square(a(3, 3)), a(3, 2)), {}), (lambda a: (square(a(2, 3, 3)), a(2, 3, 1)), {})),
    "linalg.cholesky": each((lambda a: (hermitian(a(3, 3)),), {}), (lambda a: (hermitian(a(3, 3)),), {"upper": True})),
    **dict.fromkeys(["linalg.eigh", "linalg.eigvalsh"], each((lambda a: (hermitian(a(3, 3)),), {}))),
    "linalg.qr": each((lambda a: (a(3, 2),), {}), (lambda a: (a(3, 2),), {"mode": "complete"})),
    "linalg.svd": each((lambda a: (a(3, 2),), {}), (lambda a: (a(3, 2),), {"full_matrices": False})),
    "linalg.svdvals": each((lambda a: (a(3, 2),), {})),
    "linalg.matrix_norm": each(*[(lambda a: (a(2, 3, 2),), {"ord": o}) for o in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)], (lambda a: (a(3, 2),), {"keepdims": True})),
    "linalg.vector_norm": one(axis=[0, -1, (0, 1)], keepdims=[True], ord=[1, 0, 3, np.inf, -np.inf, 0.5]),
    "linalg.matrix_power": each(*[(lambda a, n=n: (square(a(3, 3)), n), {}) for n in (0, 1, 3, -2)]),
    "linalg.matrix_rank": each((lambda a: (a(3, 2),), {}), (lambda a: (a(3, 2),), {"rtol": 0.5})),
    "linalg.pinv": each((lambda a: (a(3, 2),), {}), (lambda a: (a(3, 2),), {"rtol": 0.1})),
    **dict.fromkeys([f"fft.{n}fft" for n in ("", "i", "r", "h")] + ["fft.irfft", "fft.ihfft"], one(n=[2, 5], axis=[0], norm=["ortho", "forward"])),
    **dict.fromkeys([f"fft.{n}fftn" for n in ("", "i", "r", "ir")], one(s=[(3,), (2, 4)], axes=[(0,), (1, 0)], norm=["ortho"])),
    **dict.fromkeys(["fft.fftshift", "fft.ifftshift"], one(axes=[0, (0, 1)])),
}  # fmt: skip
# Of which two libraries may find different ones, or in another order.
UP_TO_SIGNS = {"linalg.eigh", "linalg.svd", "linalg.qr"}
# Made of sizes and numbers alone, where there is nothing to trace.
CREATION: dict[str, list[Call]] = {
    "arange": [((4,), {}), ((1, 7, 2), {}), ((1.5, 3.0), {"step": 0.5}), ((3,), {"dtype": np.dtype("float32")}), ((0,), {"stop": 3})],
    "eye": [((3,), {}), ((2, 3), {"k": 1}), ((2,), {"dtype": np.dtype("int8")})],
    "linspace": [((0, 1, 5), {}), ((0.0, 1.0), {"num": 3, "endpoint": False}), ((1j, 2, 3), {}), ((0, 4, 3), {"dtype": np.dtype("float32")})],
    "full": [((3, 2), {}), (((2, 3), 1.5), {}), (((2,), True), {}), (((2,), 3), {"dtype": np.dtype("float32")}), (((2,), 1j), {})],
    "zeros": [((3,), {}), (((2, 3),), {"dtype": np.dtype("int8")})],
    "ones": [((3,), {}), (((2, 3),), {"dtype": np.dtype("int8")})],
    "fft.fftfreq": [((5,), {}), ((4,), {"d": 0.5})],
    "fft.rfftfreq": [((5,), {}), ((4,), {"d": 0.5})],
}  # fmt: skip
# What has values of its own kind, or none to compare.
OTHERWISE = {"empty", "empty_like", "finfo", "iinfo", "from_dlpack"}


def test_every_function_is_called() -> None:
    elementwise = {n for n in FUNCTIONS if n not in CALLS and n not in CREATION and n not in OTHERWISE}
    assert all([len(required(n)) in (1, 2) for n in elementwise]), sorted(elementwise)
    assert (CALLS.keys() | CREATION.keys() | OTHERWISE) <= FUNCTIONS.keys()


def required(name: str) -> list[Any]:
    return [p for p in inspect.signature(FUNCTIONS[name]).parameters.values() if p.default is p.empty]


def calls_of(name: str) -> Iterator[Call]:
    if name in CALLS:
        return CALLS[name]()
    return one()() if len(required(name)) == 1 else two()


def mapped(x: Any, function: Callable[[Any], Any]) -> Any:
    """With `function` of each array in arguments."""
    if isinstance(x, list | tuple):
        return type(x)([mapped(y, function) for y in x])
    if isinstance(x, dict):
        return {k: mapped(v, function) for k, v in x.items()}
    return function(x)


def to_strict(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return strict.asarray(x)
    return getattr(strict, x.name) if isinstance(x, np.dtype) else x


ITS_ARRAY = type(strict.zeros(1))
ITS_DTYPES = {getattr(strict, name): np.dtype(name) for name in DTYPES}


def flat(x: Any) -> Iterator[Any]:
    """Results one by one, as plain arrays."""
    if isinstance(x, list | tuple):
        for y in x:
            yield from flat(y)
    elif isinstance(x, ITS_ARRAY):
        yield np.asarray(x)
    else:
        yield ITS_DTYPES[x] if isinstance(x, type(strict.int8)) else x


def differs(got: Any, wanted: Any, name: str) -> str | None:
    """What is wrong with a result, if anything is."""
    got, wanted = list(flat(got)), list(flat(wanted))
    if len(got) != len(wanted):
        return f"{len(got)} results, not {len(wanted)}"
    for g, w in zip(got, wanted, strict=True):
        if name == "unique_values":
            g = np.sort(g)  # in no order, says the standard
        if isinstance(w, bool | np.dtype | int):
            if g != w:
                return f"{g}, not {w}"
            continue
        g = np.asarray(g)
        if (g.dtype, g.shape) != (w.dtype, w.shape):
            return f"{g.dtype}{list(g.shape)}, not {w.dtype}{list(w.shape)}"
        if name in UP_TO_SIGNS:
            g, w = np.abs(g), np.abs(w)
        tolerance = 2e-4 if w.dtype in (np.float32, np.complex64) else 1e-9
        if not np.allclose(g, w, tolerance, tolerance, equal_nan=True):
            return f"{g}, not {w}"
    return None


def attempts(name: str, args: Any, kwargs: Any) -> Iterator[tuple[str, Any]]:
    """The ways of calling a function of ours: on plain arrays, where values are traced, and where types are."""
    function = named(tnp, name)
    yield "plain", function(*args, **kwargs)
    places: list[Any] = []
    mapped(list(args), lambda x: places.append(x) if isinstance(x, np.ndarray) else None)

    def traced(*given: Any) -> Any:
        rest = iter(given)
        return list(
            flat(function(*mapped(list(args), lambda x: next(rest) if isinstance(x, np.ndarray) else x), **kwargs))
        )

    values: list[Any] = []

    def with_values(*given: Any) -> Any:
        values.extend(tg.tree.tree_map(lambda x: getattr(x, "value", x), traced(*given)))
        return 0.0

    tg.vjp(with_values, *places)
    yield "traced with values", values
    if name not in DATA_DEPENDENT | OF_TYPES:
        yield "traced by types", tg.make_graph(traced)(*places)(*places)


# Their results are as large as values say.
DATA_DEPENDENT = {"nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values", "repeat"}
# Their results are types, or truths about them.
OF_TYPES = {"can_cast", "isdtype", "result_type"}


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in CREATION and n not in OTHERWISE])
def test_values(name: str) -> None:
    compared = 0
    for args, kwargs in calls_of(name):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                wanted = FUNCTIONS[name](*mapped(list(args), to_strict), **mapped(kwargs, to_strict))
            except Exception:  # what the standard does not ask for
                continue
            where = f"{name}{mapped(tuple(args), lambda x: f'{x.dtype}{x.shape}' if isinstance(x, np.ndarray) else x)} {kwargs}"
            for how, got in attempts(name, args, kwargs):
                wrong = differs(got, wanted, name)
                if wrong is not None and name in NUMPYS:
                    wrong = differs(got, named(np, name)(*args, **kwargs), name)
                assert wrong is None, f"{where}, {how}: {wrong}"
                compared += 1
    assert compared


@pytest.mark.parametrize("name", CREATION)
def test_creation(name: str) -> None:
    for args, kwargs in CREATION[name]:
        wanted = FUNCTIONS[name](*args, **mapped(kwargs, to_strict))
        wrong = differs(named(tnp, name)(*args, **kwargs), wanted, name)
        assert wrong is None, f"{name}{args} {kwargs}: {wrong}"


@pytest.mark.parametrize("name", NUMPYS)
def test_numpy_itself_fails(name: str) -> None:
    """What is left out above is no more than that."""
    if "dtype" in NUMPYS[name]:
        assert "dtype" not in inspect.signature(named(np, name)).parameters
        return
    assert any(
        [
            differs(named(np, name)(*args), FUNCTIONS[name](*mapped(list(args), to_strict)), name) is not None
            for args, _ in CALLS[name]()
        ]
    )


# ---------------------------------------------------------------------------------------------------------------------
# The array object.

BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "lshift", "rshift", "lt", "le", "gt", "ge", "eq", "ne"]  # fmt: skip


@pytest.mark.parametrize("name", [*BINARY, "matmul", "neg", "pos", "abs", "invert"])
def test_operators(name: str) -> None:
    operation, compared = getattr(operator, name), 0
    for args, _ in one()() if name in ("neg", "pos", "abs", "invert") else two():
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                wanted = operation(*mapped(list(args), to_strict))
            except Exception:
                continue
            compared += 1
            for graph in (tg.make_graph(operation)(*args)(*args), tg.jit(operation)(*args)):
                wrong = differs(graph[0] if isinstance(graph, tuple) else graph, wanted, name)
                plain = differs(operation(*args), wanted, name)
                assert wrong is None or wrong == plain, f"{name} of {args}: {wrong}"
    assert compared


def test_what_an_array_has() -> None:
    wanted = {n for n in dir(ITS_ARRAY) if not n.startswith("_") or n.endswith("__")}
    missing = {n for n in wanted if not hasattr(Tracer, n)}
    assert missing <= {"__buffer__", "__weakref__"}  # which are Python's


def test_attributes_and_conversions() -> None:
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

    def f(x: Any) -> Any:
        assert (x.dtype, x.shape, x.ndim, x.size, x.device) == (np.float64, (2, 3), 2, 6, "cpu")
        assert x.to_device("cpu") is x and tnp.from_dlpack(x) is x
        assert tnp.from_dlpack(x, copy=True) is not x
        assert x.T.shape == x.mT.shape == (3, 2)
        assert tnp.finfo(x).eps == np.finfo(np.float64).eps and tnp.iinfo(tnp.argsort(x)).bits == 64
        assert tnp.isdtype(x.dtype, "real floating") and tnp.astype(x, tnp.float32).dtype == tnp.float32
        return x[0, 0]

    tg.grad(f)(x)
    tg.jit(f)(x)


def test_namespace_info() -> None:
    info = tnp.__array_namespace_info__()
    assert info.default_device() == "cpu" and "cpu" in info.devices()
    assert info.default_dtypes()["real floating"] == np.float64
    assert info.dtypes(kind="bool") == {"bool": np.dtype(bool)}
    assert info.capabilities()["boolean indexing"] and tnp.__array_api_version__ == "2024.12"


def test_versions() -> None:
    def f(x: Any, version: Any) -> Any:
        assert x.__array_namespace__(api_version=version) is tnp
        return x

    for version in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        tg.grad(lambda x, version=version: f(x, version))(1.0)
    with pytest.raises(
        ValueError, match=r"version '2030.12' of the array API standard is not one of .*2024.12 at .*test_array_api"
    ):
        tg.grad(lambda x: f(x, "2030.12"))(1.0)


def test_devices_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"x.to_device\('gpu'\) at .*know the device 'cpu' alone.*tg.device_put"):
        tg.grad(lambda x: x.to_device("gpu"))(1.0)
    with pytest.raises(ValueError, match=r"from_dlpack at .*only the device 'cpu' is known, got 'gpu'"):
        tg.grad(lambda x: tnp.from_dlpack(x, device="gpu"))(1.0)


def test_no_memory_is_handed_over() -> None:
    with pytest.raises(
        TracerArrayConversionError, match=r"DLPack .* a traced f64~\[\], the input x.*`tnp.from_dlpack\(x\)`"
    ):
        tg.grad(lambda x: np.from_dlpack(x))(1.0)


# ---------------------------------------------------------------------------------------------------------------------
# Libraries that are written to the standard: gradients of their functions against finite differences, values under jit against
# those on plain arrays. SciPy reads SCIPY_ARRAY_API when it is imported, so that each is tried in a process of its own.

TRIAL = """
import warnings

import numpy as np

import tracegrad as tg

warnings.simplefilter("ignore")
x = np.array([0.3, 1.2, 0.7, 2.1, 0.9])
y = np.array([1.3, 0.2, 1.7, 1.1, 0.4])
m = np.random.default_rng(0).uniform(0.5, 2, (5, 3))


def like(x, *arrays):
    # Plain arrays beside traced ones have another namespace, which libraries refuse.
    return [np.asarray(a, like=x) for a in arrays]


def differences(f):
    return np.array([(f(x + h) - f(x - h)) / 2e-6 for h in 1e-6 * np.eye(5)])


for name, f in FUNCTIONS.items():
    found = tg.grad(lambda x: np.sum(f(x, *like(x, y, m))))(x)
    wanted = differences(lambda x: np.sum(f(x, y, m)))
    assert np.allclose(found, wanted, 1e-4, 1e-5), (name, found, wanted)
    if name not in OF_VALUES:
        found, wanted = tg.jit(f)(x, y, m), f(x, y, m)
        assert np.allclose(found, wanted, 1e-9, 1e-12), (name, found, wanted)
for name, (f, expected) in REFUSED.items():
    try:
        tg.grad(lambda x: np.sum(f(x, y, m)))(x)
    except Exception as error:
        assert all(part in str(error) for part in expected), (name, error)
    else:
        raise AssertionError(name + " has gone through")
print("done")
"""

SCIPY = """
import scipy.fft, scipy.integrate, scipy.linalg, scipy.optimize, scipy.signal
import scipy.special as sc
import scipy.stats as st
from scipy.cluster.vq import whiten
from scipy.spatial.transform import RigidTransform, Rotation

FUNCTIONS = {
    "logsumexp": lambda x, y, m: sc.logsumexp(x, b=y),
    "softmax": lambda x, y, m: sc.softmax(x) * y,
    "log_softmax": lambda x, y, m: sc.log_softmax(x) * y,
    "softplus": lambda x, y, m: sc.softplus(x),
    "expit": lambda x, y, m: sc.expit(x),
    "gammaln": lambda x, y, m: sc.gammaln(x),
    "ndtr": lambda x, y, m: sc.ndtr(x),
    "i0e": lambda x, y, m: sc.i0e(x),
    "xlogy": lambda x, y, m: sc.xlogy(x, y),
    "rel_entr": lambda x, y, m: sc.rel_entr(x, y),
    "entropy": lambda x, y, m: st.entropy(x, y),
    "zscore": lambda x, y, m: st.zscore(x) * y,
    "zmap": lambda x, y, m: st.zmap(x, y),
    "skew": lambda x, y, m: st.skew(x),
    "kurtosis": lambda x, y, m: st.kurtosis(x),
    "moment": lambda x, y, m: st.moment(x, 3),
    "kstat": lambda x, y, m: st.kstat(x, 3),
    "kstatvar": lambda x, y, m: st.kstatvar(x),
    "lmoment": lambda x, y, m: st.lmoment(x, order=2),
    "gmean": lambda x, y, m: st.gmean(x),
    "hmean": lambda x, y, m: st.hmean(x),
    "gstd": lambda x, y, m: st.gstd(x),
    "sem": lambda x, y, m: st.sem(x),
    "trim_mean": lambda x, y, m: st.trim_mean(x, 0.2),
    "describe": lambda x, y, m: st.describe(x).variance,
    "differential_entropy": lambda x, y, m: st.differential_entropy(x),
    "circmean": lambda x, y, m: st.circmean(x),
    "circstd": lambda x, y, m: st.circstd(x),
    "directional_stats": lambda x, y, m: st.directional_stats(m * x[:, None]).mean_resultant_length,
    "trapezoid": lambda x, y, m: scipy.integrate.trapezoid(x, dx=0.1),
    "cumulative_trapezoid": lambda x, y, m: scipy.integrate.cumulative_trapezoid(x, dx=0.1) * y[1:],
    "cubature": lambda x, y, m: scipy.integrate.cubature(lambda t: np.sum(np.exp(-t * x[0]), -1), [0.0], [1.0]).estimate,
    "fft": lambda x, y, m: np.abs(scipy.fft.fft(x)) ** 2 * y,
    "irfft": lambda x, y, m: scipy.fft.irfft(x)[:5] * y,
    "fftn": lambda x, y, m: np.abs(scipy.fft.fftn(x)) * y,
    "fftshift": lambda x, y, m: scipy.fft.fftshift(x) * y,
    "fftconvolve": lambda x, y, m: scipy.signal.fftconvolve(x, y) ** 2,
    "oaconvolve": lambda x, y, m: scipy.signal.oaconvolve(x, y) ** 2,
    "hilbert": lambda x, y, m: np.abs(scipy.signal.hilbert(x)),
    "gausspulse": lambda x, y, m: scipy.signal.gausspulse(x),
    "rosen": lambda x, y, m: scipy.optimize.rosen(x),
    "rosen_der": lambda x, y, m: scipy.optimize.rosen_der(x) * y,
    "cumulative_simpson": lambda x, y, m: scipy.integrate.cumulative_simpson(x, dx=0.1) * y[1:],
    "boxcox_llf": lambda x, y, m: st.boxcox_llf(0.5, x),
    "skewtest": lambda x, y, m: st.skewtest(np.concatenate([x, y * x])).statistic,
    "block_diag": lambda x, y, m: scipy.linalg.block_diag(m * x[0], m) ** 2,
    "RigidTransform": lambda x, y, m: RigidTransform.from_translation(x[:3]).apply(y[:3]) ** 2,
    "as_quat": lambda x, y, m: Rotation.from_euler("xyz", x[:3]).as_quat(),
    "whiten": lambda x, y, m: whiten(m * x[:, None]) * m,
    "as_matrix": lambda x, y, m: Rotation.from_rotvec(x[:3]).as_matrix() * m[:3],
    "apply": lambda x, y, m: Rotation.from_quat(x[:4]).apply(y[:3]) * y[:3],
    "magnitude": lambda x, y, m: Rotation.from_rotvec(x[:3]).magnitude(),
}
OF_VALUES = {"hmean", "cubature"}  # `if` on values
mixed = "given traced arrays beside plain ones at", "np.asarray(y, like=x)"
REFUSED = {
    "xlogy beside a plain array": (lambda x, y, m: sc.xlogy(x, y), mixed),
    "dct": (lambda x, y, m: scipy.fft.dct(x), ("scipy.fft.dct wanted a plain array at", "Write `tg.scipy.fft.dct(...)`")),
    "ldl": (lambda x, y, m: scipy.linalg.ldl(m.T @ m * x[0])[0], ("scipy.linalg.ldl wanted a plain array at", "tg.external")),
    "ttest_1samp": (lambda x, y, m: st.ttest_1samp(x, 0.0).statistic, mixed),
    "expm": (lambda x, y, m: scipy.linalg.expm(m.T @ m * x[0]), ("scipy.linalg.expm wanted a plain array at",)),
}
"""

SKLEARN = """
import sklearn

sklearn.set_config(array_api_dispatch=True, assume_finite=True)  # else it looks at values

import sklearn.decomposition, sklearn.metrics, sklearn.preprocessing
import sklearn.metrics.pairwise as pairwise

FUNCTIONS = {
    "euclidean_distances": lambda x, y, m: pairwise.euclidean_distances(m * x[:, None], m + 1),
    "rbf_kernel": lambda x, y, m: pairwise.rbf_kernel(m * x[:, None], m),
    "cosine_similarity": lambda x, y, m: pairwise.cosine_similarity(m * x[:, None], m + 1),
    "linear_kernel": lambda x, y, m: pairwise.linear_kernel(m * x[:, None], m),
    "polynomial_kernel": lambda x, y, m: pairwise.polynomial_kernel(m * x[:, None], m),
    "sigmoid_kernel": lambda x, y, m: pairwise.sigmoid_kernel(m * x[:, None], m),
    "paired_euclidean_distances": lambda x, y, m: pairwise.paired_euclidean_distances(m * x[:, None], m),
    "normalize": lambda x, y, m: sklearn.preprocessing.normalize(m + x[:, None]) * m,
    "StandardScaler": lambda x, y, m: sklearn.preprocessing.StandardScaler().fit_transform(m * x[:, None]) * m,
    "MinMaxScaler": lambda x, y, m: sklearn.preprocessing.MinMaxScaler().fit_transform(m * x[:, None]) * m,
    "PCA": lambda x, y, m: sklearn.decomposition.PCA(2, svd_solver="full").fit(m * x[:, None]).explained_variance_,
}
OF_VALUES = {"StandardScaler", "MinMaxScaler"}
REFUSED = {
    "mean_squared_error": (
        lambda x, y, m: sklearn.metrics.mean_squared_error(*like(x, y), x),
        ("float() in sklearn.metrics.mean_squared_error at", "would silently lose its derivative"),
    ),
}
"""

XARRAY = """
import xarray as xr


def array(x):
    return xr.DataArray(x, dims=("t", "c"), coords={"t": np.arange(5)})


def of(f):
    return lambda x, y, m: f(array(m * x[:, None])).data


FUNCTIONS = {
    "arithmetic": of(lambda a: (a - a.mean("t")) ** 2),
    "sum": of(lambda a: (a**2).sum()),
    "std": of(lambda a: a.std("t")),
    "sel": of(lambda a: a.sel(t=1) ** 2),
    "isel": of(lambda a: a.isel(c=slice(0, 2)) ** 2),
    "concat": of(lambda a: xr.concat([a, a**2], "t")),
    "dot": of(lambda a: xr.dot(a, a, dim="c")),
    "where": of(lambda a: a.where(a > 1, 0.0).sum()),
    "exp": of(lambda a: np.exp(a)),
    "dataset": of(lambda a: xr.Dataset({"a": a}).sum()["a"]),
    "broadcast": of(lambda a: a * xr.DataArray(np.arange(5.0), dims="t")),
    "cumsum": of(lambda a: a.cumsum("t") ** 2),
    "diff": of(lambda a: a.diff("t") ** 2),
    "groupby": of(lambda a: a.groupby("t").mean()),
    "median": of(lambda a: a.median()),
    "stack": of(lambda a: a.stack(z=("t", "c")) ** 2),
    "apply_ufunc": of(lambda a: xr.apply_ufunc(np.sin, a)),
}
OF_VALUES = {}
REFUSED = {"values": (lambda x, y, m: array(m * x[:, None]).values, ("xarray's values wanted a plain array at",))}
"""

EXTRA = """
import array_api_extra as xpx

FUNCTIONS = {
    "apply_where": lambda x, y, m: xpx.apply_where(x > 0.8, (x,), np.log, np.sin),
    "create_diagonal": lambda x, y, m: xpx.create_diagonal(x) ** 2,
    "pad": lambda x, y, m: xpx.pad(x, 2) ** 2,
    "isclose": lambda x, y, m: xpx.isclose(x, y) * x,
    "atleast_nd": lambda x, y, m: xpx.atleast_nd(x, ndim=3) ** 2,
    "cov": lambda x, y, m: xpx.cov(m.T * x),
    "expand_dims": lambda x, y, m: xpx.expand_dims(x, axis=(0, 2)) ** 2,
    "kron": lambda x, y, m: xpx.kron(x, y),
    "sinc": lambda x, y, m: xpx.sinc(x),
    "at": lambda x, y, m: xpx.at(x)[1:3].set(2.0) ** 2,
}
OF_VALUES = {}
REFUSED = {}
"""


@pytest.mark.parametrize(
    "library, version, program",
    [
        ("scipy", "1.17", SCIPY),
        ("sklearn", "1.8", SKLEARN),
        ("xarray", "2025.1", XARRAY),
        ("array_api_extra", "0.9", EXTRA),
    ],
)
def test_libraries(library: str, version: str, program: str, tmp_path: Path) -> None:
    pytest.importorskip(library, version)
    before, after = TRIAL.split("for name, f in", 1)  # what functions use comes before them, and what tries them after
    file = tmp_path / "program.py"  # in which errors find what the line calls
    file.write_text(before + program + "\n\nfor name, f in" + after)
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "done", done.stderr[-3000:]
