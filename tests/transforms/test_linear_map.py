"""The functions that `vjp`, `linearize` and `linear_transpose` return, as trees."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tracegrad as tg
import tracegrad.lax
from tests.compare import near
from tracegrad.transforms.linear_map import LinearMap

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def f(d: Any, n: Any = 2) -> Any:
    return {"out": np.sin(d["a"]) * d["b"] ** n, "count": n}


ARGS = ({"a": X, "b": 1.5}, 2)
CT = {"out": np.array([1.0, -2.0, 0.5]), "count": np.zeros((), tg.float0)}
TANGENTS = ({"a": X + 1, "b": -2.0}, np.zeros((), tg.float0))


def maps() -> list[tuple[LinearMap, tuple[Any, ...]]]:
    linear = lambda x: {"double": x[0] * 2.0 + np.sum(x[1]), "zero": np.zeros(2)}
    return [
        (tg.vjp(f, *ARGS)[1], (CT,)),
        (tg.linearize(f, *ARGS)[1], TANGENTS),
        (tg.linear_transpose(linear, (X, X)), ({"double": X, "zero": np.ones(2)},)),
    ]


def same(got: Any, expected: Any) -> None:
    assert tg.tree.structure(got) == tg.tree.structure(expected)
    for a, b in zip(tg.tree.leaves(got), tg.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert a.dtype == tg.float0 or np.allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("which", range(3))
def test_a_map_is_a_tree(which: int) -> None:
    linear, args = maps()[which]
    expected = linear(*args)
    leaves, structure = tg.tree.flatten(linear)
    assert all(isinstance(x, np.ndarray | np.generic | float) for x in leaves)
    same(tg.tree.unflatten(structure, leaves)(*args), expected)
    for again in (pickle.loads(pickle.dumps(linear)), copy.copy(linear), copy.deepcopy(linear)):
        same(again(*args), expected)
    other, _ = maps()[which]
    assert tg.tree.structure(other) == structure


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("which", range(3))
def test_jitted_functions_take_maps(which: int, backend: str) -> None:
    _, args = maps()[which]
    apply = tg.jit(lambda linear: [x for x in tg.tree.leaves(linear(*args)) if x.dtype != tg.float0], backend=backend)
    for linear in (maps()[which][0], maps()[which][0]):
        expected = [x for x in tg.tree.leaves(linear(*args)) if x.dtype != tg.float0]
        same(tg.tree.map(np.asarray, apply(linear)), tg.tree.map(np.asarray, expected))
    assert len(apply.trace_log) == 1


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_jitted_functions_return_maps(backend: str) -> None:
    out, pull = tg.jit(lambda x: tg.vjp(np.sin, x), backend=backend)(X)
    near(np.asarray(out), np.sin(X))
    near(np.asarray(pull(np.ones(3))[0]), np.cos(X))
    _, push = tg.jit(lambda x: tg.linearize(np.sin, x), backend=backend)(X)
    near(np.asarray(push(X)), np.cos(X) * X)
    doubled = tg.jit(lambda x: tg.linear_transpose(lambda y: x * y, x), backend=backend)(X)
    near(np.asarray(doubled(X)[0]), X * X)
    again = tg.jit(lambda pull, ct: (pull, pull(ct)), backend=backend)(pull, np.ones(3))
    near(np.asarray(again[0](np.ones(3))[0]), np.cos(X))


def test_maps_are_differentiated_and_batched_as_trees() -> None:
    # d/dx of cos(x) * ct, through a map that was made inside and one that came in as an argument
    made = lambda x: np.sum(tg.jit(lambda x: tg.vjp(np.sin, x)[1])(x)(X)[0])
    near(tg.grad(made)(X), -np.sin(X) * X)
    _, pull = tg.vjp(np.sin, X)
    given = tg.grad(lambda pull: np.sum(pull(X)[0]))(pull)
    near(tg.tree.leaves(given)[0], X)
    maps = tg.vmap(lambda x: tg.vjp(np.sin, x)[1])(X)
    near(tg.vmap(lambda pull, ct: pull(ct)[0])(maps, X), np.cos(X) * X)
    total, _ = tg.lax.scan(lambda c, pull: (c + pull(1.0)[0], None), 0.0, maps)
    near(total, np.sum(np.cos(X)))
    (value, aux), _ = tg.value_and_grad(lambda x: (np.sum(x), tg.vjp(np.sin, x)[1]), has_aux=True)(X)
    near(aux(np.ones(3))[0], np.cos(X))


def test_maps_of_jax_arrays() -> None:
    x = jnp.asarray(X)
    out, pull = tg.vjp(np.sin, x)
    assert isinstance(out, jax.Array)
    assert isinstance(pull(jnp.ones(3))[0], jax.Array)
    leaves, structure = tg.tree.flatten(pull)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    found = tg.tree.unflatten(structure, leaves)(jnp.ones(3))[0]
    assert isinstance(found, jax.Array)
    near(np.asarray(found), np.cos(X))


def test_a_map_does_not_change_with_the_arrays_that_it_was_made_of() -> None:
    x, c = X.copy(), X.copy()
    _, pull = tg.vjp(lambda x: np.sin(x) * c, x)
    x[:], c[:] = 0, 0
    leaves, structure = tg.tree.flatten(pull)
    near(pull(np.ones(3))[0], np.cos(X) * X)
    near(tg.tree.unflatten(structure, leaves)(np.ones(3))[0], np.cos(X) * X)


def test_errors_say_what_the_map_takes() -> None:
    for pull in (tg.vjp(np.sin, X)[1], pickle.loads(pickle.dumps(tg.vjp(np.sin, X)[1]))):
        with pytest.raises(ValueError, match=r"cotangent is f64\[2\], but output is f64\[3\]"):
            pull(np.ones(2))
        with pytest.raises(TypeError, match="vjp returns takes one argument, the cotangent of the output, got 2"):
            pull(X, X)
        assert repr(pull) == "<linear function made by vjp, of cotangent like the output>"
