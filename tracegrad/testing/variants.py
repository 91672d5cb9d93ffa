"""One function in several ways, which must agree: batched and in a loop, eager and compiled; and how often it is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracegrad import tree
from tracegrad.core.check import check
from tracegrad.core.errors import described, require_callable
from tracegrad.core.graph import Graph
from tracegrad.core.types import is_inexact, type_of
from tracegrad.lower.passes import simplify
from tracegrad.testing.reproduce import reproducible
from tracegrad.transforms.inspect import make_graph
from tracegrad.transforms.jit.numpy import jit
from tracegrad.transforms.vmap import vmap

# Relative to the largest value in a leaf, by bytes of a real number: what another order of summation may change.
RTOL = {2: 1e-2, 4: 1e-4, 8: 1e-10}


def assert_same(
    got: Any, expected: Any, what: str = "the result", rtol: float | None = None, atol: float | None = None
) -> None:
    """Hold that two trees have equal structures, shapes and dtypes and close values; NaNs and integers must be equal.

    Args:
        got, expected: pytrees of arrays.
        what: that they are of, for the message.
        rtol: how close, relative to the largest value in a leaf; by dtype, if None.
        atol: and absolutely; a millionth of `rtol`, if None.

    Raises:
        AssertionError: with key path, element and both values.

    >>> import numpy as np
    >>> from tracegrad.testing import assert_same
    >>> assert_same({"w": np.array([0.1 + 0.2])}, {"w": np.array([0.3])}, "a sum")
    """
    found, structure = tree.tree_flatten_with_path(got)
    wanted, expected_structure = tree.tree_flatten_with_path(expected)
    if structure != expected_structure:
        raise AssertionError(f"{what}: the structure is {structure}, expected {expected_structure}")
    for (path, g), (_, w) in zip(found, wanted, strict=True):
        g, w = np.asarray(g), np.asarray(w)
        where = f"{what}: output{tree.keystr(path)}"
        if (g.shape, g.dtype) != (w.shape, w.dtype):
            raise AssertionError(f"{where} is {type_of(g)}, expected {type_of(w)}")
        if not is_inexact(w.dtype):
            wrong = g != w
        else:
            bytes_of_a_number = w.dtype.itemsize // (1 + (w.dtype.kind == "c"))
            relative = RTOL.get(bytes_of_a_number, 1e-10) if rtol is None else rtol
            absolute = 1e-6 * relative if atol is None else atol
            with np.errstate(all="ignore"):
                allowed = absolute + relative * np.max(np.abs(w), initial=1e-300, where=np.isfinite(w))
                wrong = ~((np.abs(g - w) <= allowed) | (g == w) | (np.isnan(g) & np.isnan(w)))
        if np.any(wrong):
            index = tuple(map(int, np.argwhere(np.atleast_1d(wrong))[0]))
            element = list(index) if g.ndim else ""
            raise AssertionError(
                f"{where}{element} is {np.atleast_1d(g)[index]!r}, expected {np.atleast_1d(w)[index]!r} ({np.count_nonzero(wrong)} "
                f"of {g.size} elements differ)"
            )


@reproducible
def check_vmap(
    f: Callable[..., Any],
    args: Sequence[Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    *,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Hold `vmap(f, in_axes, out_axes)(*args)` against a loop over the examples, whose results are stacked.

    Args:
        f: a function of arrays and pytrees of them.
        args: its arguments, batched.
        in_axes, out_axes: as for `vmap`.
        rtol: how close, relative to the largest value in a leaf; by dtype, if None.
        atol: and absolutely; a millionth of `rtol`, if None.

    Raises:
        AssertionError: with key path, element and both values.

    >>> import numpy as np
    >>> from tracegrad.testing import check_vmap
    >>> check_vmap(lambda x, y: np.outer(x, y), (np.ones((3, 2)), np.ones(4)), in_axes=(0, None))
    """
    require_callable(f, "check_vmap", "(f, args)")
    leaves, structure = tree.tree_flatten(tuple(args))
    prefix = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    axes = tree.flatten_axes("in_axes", structure, prefix)
    sizes = {np.shape(x)[a] for x, a in zip(leaves, axes, strict=True) if a is not None}
    if len(sizes) != 1:
        raise ValueError(
            f"check_vmap: the mapped axes of {described(f)}'s arguments have sizes {sorted(sizes)}; one size is needed"
        )
    (size,) = sizes
    got = vmap(f, in_axes, out_axes)(*args)

    def row(i: int) -> Any:
        chosen = [x if a is None else np.take(np.asarray(x), i, axis=a) for x, a in zip(leaves, axes, strict=True)]
        return f(*tree.tree_unflatten(structure, chosen))

    if size == 0:
        return
    rows = [tree.tree_flatten(row(i)) for i in range(size)]
    out_structure = rows[0][1]
    targets = tree.flatten_axes("out_axes", out_structure, out_axes)
    stacked = [
        np.asarray(rows[0][0][k]) if target is None else np.stack([np.asarray(r[0][k]) for r in rows], axis=target)
        for k, target in enumerate(targets)
    ]
    assert_same(got, tree.tree_unflatten(out_structure, stacked), f"vmap of {described(f)}", rtol, atol)


@reproducible
def check_jit(
    f: Callable[..., Any],
    args: Sequence[Any],
    *,
    backends: Sequence[str] = ("numpy",),
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Hold a function jitted against the function itself: values, shapes and dtypes; that no argument is written to; that
    results share memory neither with arguments nor with each other, nor are written over by a later call; and that a
    second call with the same types traces nothing.

    Args:
        f: a function of arrays and pytrees of them.
        args: its arguments.
        backends: "numpy" gives the same bits, "xla" values that are close.
        rtol: how close, relative to the largest value in a leaf; by dtype, if None.
        atol: and absolutely; a millionth of `rtol`, if None.

    >>> import numpy as np
    >>> from tracegrad.testing import check_jit
    >>> check_jit(lambda x: (np.sin(x), x.T), (np.ones((2, 3)),))
    """
    require_callable(f, "check_jit", "(f, args)")
    before = tree.tree_map(lambda x: np.array(x, copy=True), tuple(args))
    expected = f(*args)
    for backend in backends:
        what = f"jit(backend={backend!r}) of {described(f)}"
        jitted = jit(f, backend=backend)
        first = jitted(*args)
        kept = tree.tree_map(lambda x: np.array(x, copy=True), first)
        second = jitted(*args)
        assert_same(first, expected, what, 0.0 if backend == "numpy" and rtol is None else rtol, atol)
        for label, other in (("a second call", second), ("the first result, after a second call,", kept)):
            assert_same(first, other, f"{label} of {what}", 0.0)
        assert_same(tuple(args), before, f"the arguments of {what}, after the call", 0.0)
        if len(jitted.trace_log) != 1:
            raise AssertionError(
                f"{what} was traced {len(jitted.trace_log)} times for one signature: {jitted.trace_log}"
            )
        if backend == "numpy":
            arrays = [x for x in tree.tree_leaves((first, second, tuple(args))) if isinstance(x, np.ndarray)]
            results = len([x for x in tree.tree_leaves((first, second)) if isinstance(x, np.ndarray)])
            for i, x in enumerate(arrays[:results]):
                if any([np.shares_memory(x, other) for other in arrays[i + 1 :]]):
                    raise AssertionError(f"{what}: result {i} shares memory with another result or an argument")


def assert_rewrites(
    f: Callable[..., Any],
    to: Callable[..., Any],
    *args: Any,
    passes: Sequence[Callable[[Graph], Graph]] = (simplify,),
) -> None:
    """Hold that passes make of f's Graph the Graph of `to`, and that values are unchanged.

    Args:
        f, to: functions of arrays.
        *args: arguments for both.
        passes: functions from Graph to Graph, applied in order; all of jit's, if not given.

    Raises:
        AssertionError: with both listings.

    >>> import numpy as np
    >>> from tracegrad.testing import assert_rewrites
    >>> assert_rewrites(lambda x: np.sin(x) * 1.0, np.sin, np.ones(3))
    """
    graph, wanted = make_graph(f)(*args), make_graph(to)(*args)
    found = graph
    for one in passes:
        found = one(found)
        check(found)
    if found != wanted:
        names = ", ".join([getattr(p, "__name__", repr(p)) for p in passes])
        raise AssertionError(f"{names} make of\n{graph}\nnot\n{wanted}\nbut\n{found}")
    flat = tree.tree_leaves(args)
    assert_same(list(found(*flat)), list(graph(*flat)), f"{described(f)} rewritten", 0.0)


@contextmanager
def expect_traces(f: Any, n: int) -> Iterator[None]:
    """Hold that a jitted function is traced exactly `n` times in the block.

    >>> import numpy as np, tracegrad as tg
    >>> from tracegrad.testing import expect_traces
    >>> f = tg.jit(np.sin)
    >>> with expect_traces(f, 1):
    ...     _ = f(np.ones(3)), f(np.zeros(3))
    """
    log = getattr(f, "trace_log", None)
    if log is None:
        raise TypeError(f"expect_traces needs a jitted function, which has a trace_log; got {f!r}: write tg.jit(f)")
    before = len(log)
    yield
    new = f.trace_log[before:]
    if len(new) != n:
        raise AssertionError(f"{described(f)} was traced {len(new)} times, expected {n}: {new}")
