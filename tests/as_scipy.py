"""Functions of ours against SciPy's of the same name: cases are functions of a module like SciPy's and of arrays, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad import tree
from tracegrad.testing import check_grads

Cases = dict[str, tuple[Callable[..., Any], list[Any]]]


def leaves(x: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in tree.leaves(x)]


def alike(got: Any, expected: Any, tolerance: float) -> None:
    """Shapes and dtypes are equal, and values but for rounding."""
    for x, y in zip(leaves(got), leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def weighted(x: Any) -> Any:
    """A number that depends on all leaves, real and imaginary parts."""
    total: Any = 0.0
    for i, leaf in enumerate(tree.leaves(x)):
        w = np.cos(np.arange(np.size(leaf)) + i).reshape(np.shape(leaf))
        total = total + np.sum(np.real(leaf) * w) + 0.7 * np.sum(np.imag(leaf) * w)
    return total


def values(ours: Any, scipys: Any, cases: Cases) -> None:
    """What is traced has SciPy's values."""
    for name, (f, args) in cases.items():
        try:
            alike(tg.vjp(lambda *xs, f=f: f(ours, *xs), *args)[0], f(scipys, *args), 1e-11)
        except Exception as error:
            error.add_note(name)
            raise


def derivatives(ours: Any, cases: Cases, order: int = 1) -> None:
    """By differences, under jit, and of batches."""
    for name, (f, args) in cases.items():
        try:
            of_ours = lambda *xs, f=f: f(ours, *xs)
            check_grads(of_ours, args, order=order, directions=1, rtol=1e-5, atol=1e-6)
            gradient = tg.grad(lambda *xs, f=of_ours: weighted(f(*xs)), tuple(range(len(args))))
            alike(tg.jit(gradient)(*args), gradient(*args), 1e-12)
            batches(of_ours, args)
        except Exception as error:
            error.add_note(name)
            raise


def batches(f: Callable[..., Any], args: Sequence[Any]) -> None:
    """Of all arguments, and of each alone."""
    stacked = [np.stack([x, x * 1.05]) for x in args]
    for chosen in {tuple(range(len(args))), *[(i,) for i in range(len(args))]}:
        given = [s if i in chosen else x for i, (x, s) in enumerate(zip(args, stacked, strict=True))]
        out = tg.vmap(f, [0 if i in chosen else None for i in range(len(args))])(*given)
        expected = f(*[x[1] if i in chosen else x for i, x in enumerate(given)])
        for got, wanted in zip(leaves(out), leaves(expected), strict=True):
            np.testing.assert_allclose(got[1], wanted, rtol=1e-10, atol=1e-10)


def on_xla(ours: Any, cases: Cases) -> None:
    """All in one program, values and gradients."""

    def program(given: dict[str, Any]) -> Any:
        return {
            name: tg.value_and_grad(lambda *ys, name=name: weighted(cases[name][0](ours, *ys)), tuple(range(len(xs))))(
                *xs
            )
            for name, xs in given.items()
        }

    arguments = {name: args for name, (_, args) in cases.items()}
    expected = program(arguments)
    for name, got in tg.jit(program, backend="xla")(arguments).items():
        for x, y in zip(leaves(got), leaves(expected[name]), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9, err_msg=name)
