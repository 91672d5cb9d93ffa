"""Programs of XLA's of NumPy arrays: how these go in and come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import tracegrad as tg  # noqa: E402
from tracegrad.core.backends import xla  # noqa: E402
from tracegrad.xla import cpu  # noqa: E402

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")

xla()  # which loads the rules, too
X = np.linspace(-1.0, 2.0, 6)


def compiled(f: Any, *args: Any, suspects: bool = False) -> Any:
    graph = tg.make_graph(f)(*args)
    found = cpu.program(graph, graph.outputs if suspects else (), (), [False] * len(graph.outputs), lambda: True)
    assert found is not None
    return found


def test_results_are_writable_arrays_that_outlive_their_program() -> None:
    run = compiled(lambda x: (np.sin(x), x * 2, x), X)
    sin, twice, same = run(X)
    for x in (sin, twice, same):
        assert x.flags.writeable
        assert x.flags.aligned
        assert x.dtype == "float64"
        assert not np.shares_memory(x, X)
    again = run(X)
    sin[:] = 7
    del run, twice
    np.testing.assert_allclose(again[0], np.sin(X))
    assert sin.tolist() == [7.0] * 6
    jax.clear_caches()
    assert sin.tolist() == [7.0] * 6


def test_arguments_of_any_layout_are_read_and_never_written() -> None:
    matrix = np.arange(12.0).reshape(3, 4)
    run = compiled(lambda a: a @ a.T, matrix)
    odd = np.empty((3, 5))[:, 1:]  # with gaps, and its memory at an odd place
    in_columns, backwards = np.asfortranarray(matrix), matrix[::-1]
    odd[...] = matrix
    for a in (matrix, odd, in_columns, backwards):
        a.flags.writeable = False
        np.testing.assert_allclose(run(a)[0], a @ a.T)


def test_scalars_come_and_go() -> None:
    run = compiled(lambda x, s: (np.sum(x) * s, np.any(x > s), np.sum(x * 1j)), X, 2.0)
    total, which, imaginary = run(X, 2.0)
    assert (type(total), type(which), type(imaginary)) == (np.float64, np.bool_, np.complex128)
    np.testing.assert_allclose([total, imaginary], [6.0, 3.0j])
    assert which == False  # noqa: E712
    assert run(X, np.float64(1.5))[1] == True  # noqa: E712


def test_what_is_not_finite_is_in_doubt() -> None:
    run = compiled(lambda x: np.log(x), X + 2, suspects=True)
    np.testing.assert_allclose(run(X + 2)[0], np.log(X + 2))
    with pytest.raises(cpu.Doubtful):
        run(X)


def test_jaxs_flag_stays_as_it_is() -> None:
    before = jax.config.jax_enable_x64
    run = compiled(np.sin, X)
    assert run(X)[0].dtype == "float64"
    assert jax.config.jax_enable_x64 == before
    with jax.enable_x64(not before):
        assert run(X)[0].dtype == "float64"


def test_it_is_not_compiled_when_it_is_called_off() -> None:
    graph = tg.make_graph(np.sin)(X)
    assert cpu.program(graph, (), (), [False], lambda: False) is None
