"""What NumPy's functions are called with in tests, made of an array `x`: by `tests/numpy/test_numpy.py` for their values, and by
`tests/coverage.py` for what becomes of tracers in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

DTYPES = ["float64", "float32", "float16", "complex128", "complex64", "int64", "int8", "uint8", "bool"]
SHAPES = [(3, 3), (4,), (), (2, 3, 3), (0, 3)]

# What the generic arguments of `calls` do not suit, or would make ambiguous.
ARGUMENTS: dict[str, Callable[[Any], list[tuple[Any, ...]]]] = {
    "astype": lambda x: [(x, "float32"), (x, bool)],
    "reshape": lambda x: [(x, -1)],
    **dict.fromkeys(["split", "array_split", "hsplit", "vsplit"], lambda x: [(x, 2), (x, [1])]),
    "take_along_axis": lambda x: [(x, np.zeros(x.shape, int), 0), (x, np.array([0, -1]), None)],
    "einsum": lambda x: [("...i->...", x), ("i...,i...", x, x)],
    "einsum_path": lambda x: [("ij,jk", x, x)],
    "fromiter": lambda x: [(x, x.dtype)],
    "kaiser": lambda x: [(4, x), (3, 2.0)],
    "swapaxes": lambda x: [(x, 0, -1)],
    "dot": lambda x: [(x, x)],
    "full": lambda x: [((2, 3), x)],
    "arange": lambda x: [(4, None, 1, x.dtype)],
    "trim_zeros": lambda x: [(x,)],
    "argsort": lambda x: [(x, -1, "stable"), (x, None, "stable"), (x, 0, "stable")],
    "dsplit": lambda x: [(x, 3), (x, [1])],
    "moveaxis": lambda x: [(x, 0, -1), (x, (0, 1), (-1, 0))],
    "linalg.tensorinv": lambda x: [(x, 1)],
    "apply_along_axis": lambda x: [(np.cumsum, 0, x), (np.sum, -1, x)],
    "piecewise": lambda x: [(x, (x > 1,), (lambda v: v * v, 2))],
    "polyfit": lambda x: [(np.arange(len(x)) if x.ndim else x, x, 1)],
    **dict.fromkeys(["quantile", "nanquantile"], lambda x: [(x, 0.3), (x, np.array([0.2, 0.7])), (x, 0.5, 0)]),
}


def sample(dtype: str, shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 3, shape)
    if shape[-2:] == (3, 3):
        x += 9 * np.eye(3)  # far from singular
    if dtype == "bool":
        return x > 1.5
    return (x + 1j * rng.uniform(0, 1, shape) if dtype.startswith("complex") else x).astype(dtype)


def named(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def calls(name: str, x: Any) -> list[tuple[Any, ...]]:
    """What a function of NumPy's is called with."""
    if name in ARGUMENTS:
        return ARGUMENTS[name](x)
    function = named(np, name)
    if isinstance(function, np.ufunc):
        return [(x,)] if function.nin == 1 else [(x, x), (x, 0), (x, 1.5), (2, x)]
    return [(x,), (x, x), (x, 0), (x, 1.5), (x, x, x), ([x, x],)]


def with_tracer(arguments: Sequence[Any], x: Any, t: Any) -> list[Any]:
    """The arguments with a tracer in place of `x`."""
    return [[t, t] if type(a) is list else t if a is x else a for a in arguments]


def flat(x: Any) -> Iterator[Any]:
    if isinstance(x, list | tuple):
        for item in x:
            yield from flat(item)
    else:
        yield x
