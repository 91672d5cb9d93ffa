"""The namespace: it has what the ops implement, and is NumPy on plain arrays."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.numpy as tnp
from tests import LATER
from tests.numpy_calls import DTYPES, SHAPES, calls, flat, named, sample, with_tracer
from tracegrad.core.functions import FUNCTIONS, UFUNCS


def test_every_implemented_function_has_its_name() -> None:
    assert not {
        f.__name__
        for f in (*FUNCTIONS, *UFUNCS)
        if getattr(np, getattr(f, "__name__", ""), None) is f and not hasattr(tnp, f.__name__)
    }


def test_functions_without_an_op_are_there_once_tracegrad_is() -> None:
    code = "import numpy as np, tracegrad; print(tracegrad.grad(np.median)(np.array([3.0, 1.0, 2.0])))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0. 0. 1.]"


def test_joining() -> None:
    x = np.array([2.0, 3.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.stack([x, x**2]) * [[1.0], [2.0]]))(x), 1 + 4 * x)
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.roll(x, 1) * [5.0, 7.0]))(x), [7.0, 5.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.flip(x) * [5.0, 7.0]))(x), [7.0, 5.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(np.split(x, 2)[1]))(x), [0.0, 1.0])
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(tnp.array([x[0] * x[1], x[1] ** 2])))(x), [3.0, 8.0])
    for f in (np.hstack, np.vstack, np.column_stack):
        np.testing.assert_array_equal(tg.make_graph(lambda x, f=f: f([x, x]))(x)(x)[0], f([x, x]))


@pytest.mark.parametrize("name", ["sin", "add", "matmul", "sum", "reshape", "sort", "cumsum"])
def test_plain_arrays_get_numpys_answer(name: str) -> None:
    x = np.array([[3.0, 1.0], [2.0, 5.0]])
    arguments = {"add": (x, x), "matmul": (x, x), "reshape": (x, 4)}.get(name, (x,))
    got = getattr(tnp, name)(*arguments)
    assert type(got) is type(getattr(np, name)(*arguments))
    np.testing.assert_array_equal(got, getattr(np, name)(*arguments))


def test_linalg() -> None:
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(tg.grad(tnp.linalg.det)(a), np.linalg.det(a) * np.linalg.inv(a).T)


# ---------------------------------------------------------------------------------------------------------------------
# Every function, traced, against NumPy's, on all dtypes.

# These answer with a Python value (tested with tracers in test_shape.py), or write into an argument (test_views.py).
WITHOUT_ARRAYS = {
    "allclose", "array2string", "array_equal", "array_equiv", "array_repr", "array_str", "can_cast", "common_type", "copyto", "einsum_path", "fill_diagonal", "iscomplexobj", "isrealobj", "may_share_memory",
    "min_scalar_type", "ndim", "place", "put", "put_along_axis", "putmask", "result_type", "shape", "shares_memory", "size",
}  # fmt: skip
# What NumPy answers otherwise before this version.
SINCE = {"insert": "2.2.0", "trim_zeros": "2.2.0"}
TYPES_ONLY = {"empty", "empty_like", "argpartition", "partition", "unique_values"}  # the rest is for NumPy to choose
# Complex when traced wherever there is an eigenvalue, whatever the values are.
ALWAYS_COMPLEX = {"linalg.eig", "linalg.eigvals", "roots"}
BY_WAY_OF_INFINITY = {"i0"}  # in float16, where NumPy's exponential of it overflows
# NumPy gives up on nothing at all in a type of its own.
NOT_OF_NOTHING = {"corrcoef", "cov", "linalg.pinv"}


def functions() -> list[str]:
    names = [name for name in tnp.__all__ if callable(getattr(tnp, name))]
    names += [f"linalg.{name}" for name in tnp.linalg.__all__ if hasattr(np.linalg, name)]
    return [n for n in names if not isinstance(named(tnp, n), type)]


def is_plain(name: str) -> bool:
    """Whether a function is NumPy's own, and nothing that NumPy hands to tracers: it has nothing to trace."""
    if name in LATER:
        return False
    function, ours = named(np, name), named(tnp, name)
    if isinstance(function, np.ufunc):
        return function not in UFUNCS and function not in FUNCTIONS
    while ours is not function and hasattr(ours, "__wrapped__"):
        ours = ours.__wrapped__
    return ours is function and function not in FUNCTIONS


def test_every_name_is_numpys() -> None:
    assert {n for n in tnp.__all__ if not hasattr(np, n)} - LATER == {"at"}
    for name in set(tnp.__all__) - set(functions()):
        x = getattr(tnp, name)
        assert x is getattr(np, name, None) or name in ("at", "c_", "fft", "linalg", "polynomial", "r_", "vectorize")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.numpy(SINCE[name])] if name in SINCE else [])
        for name in sorted(set(functions()) - WITHOUT_ARRAYS)
        if not is_plain(name)
    ],
)
def test_traced_as_numpy(name: str) -> None:
    """Where NumPy takes the arguments, so does the traced function, with the same shapes, dtypes and values; or it
    refuses them with an error of its own."""
    compared = 0
    for dtype in DTYPES:
        for shape in SHAPES:
            if (0 in shape and name in NOT_OF_NOTHING) or (dtype == "float16" and name in BY_WAY_OF_INFINITY):
                continue
            x = sample(dtype, shape)
            for arguments in calls(name, x):
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    compared += compare(name, x, arguments)
    assert compared


def compare(name: str, x: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether NumPy and the trace both took the arguments, having agreed."""
    try:
        wanted = list(flat(named(np, name)(*arguments)))
    except Exception:  # what NumPy refuses, however it does, is not asked for
        return False
    if not all(isinstance(w, np.ndarray | np.generic) for w in wanted):
        return False

    def traced(t: Any) -> Any:
        return named(tnp, name)(*with_tracer(arguments, x, t))

    try:
        graph = tg.make_graph(lambda t: list(flat(traced(t))))(x)
    except (TypeError, ValueError, IndexError, NotImplementedError, OverflowError):
        return False
    got = graph(x)
    where = f"{name} of {x.dtype}{x.shape}, {len(arguments)} arguments"
    assert len(got) == len(wanted), where
    for g, w in zip(got, wanted, strict=True):
        g, w = np.asarray(g), np.asarray(w)
        assert g.shape == w.shape, where
        if name in ALWAYS_COMPLEX and g.dtype.kind == "c":
            w = w.astype(np.result_type(w, np.complex64))
        assert g.dtype == w.dtype, where
        if name not in TYPES_ONLY:
            tolerance = 1e-2 if "float16" in (x.dtype.name, w.dtype.name) else 1e-4
            np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance, err_msg=where)
    return True
