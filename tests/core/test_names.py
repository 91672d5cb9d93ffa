"""What functions, arguments and outputs are called."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import tracegrad as tg
from tests.compare import near
from tests.transforms.test_arguments import f3
from tracegrad.core.graph import Graph

jax.config.update("jax_enable_x64", True)

X = np.array([0.3, -1.2, 2.0])


def test_names_and_documentation_of_transformed_functions() -> None:
    def energy(x: Any) -> Any:
        """The energy."""
        return np.sum(x**2)

    assert tg.grad(energy).__name__ == "grad(energy)"
    assert "The energy." in tg.grad(energy).__doc__
    assert tg.value_and_grad(tg.grad(energy)).__name__ == "value_and_grad(grad(energy))"
    assert tg.grad(functools.partial(energy))(X).tolist() == (2 * X).tolist()


def test_callables_other_than_functions() -> None:
    class Model:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def __call__(self, x: Any) -> Any:
            return np.sum(self.scale * x**2)

        def method(self, x: Any) -> Any:
            return self(x)

    model = Model(3.0)
    near(tg.grad(model)(X), 6 * X)
    near(tg.grad(model.method)(X), 6 * X)
    near(tg.grad(functools.partial(f3, y=X, z=1.0))(X), np.sin(X) + 1)
    near(tg.grad(np.sum)(X), np.ones(3))


def energy(x: Any) -> Any:
    return np.sum(np.sin(x) ** 2)


@tg.jit
def jitted(x: Any) -> Any:
    return energy(x)


@tg.grad
def force(x: Any) -> Any:
    return energy(x)


@tg.checkpoint(static_argnames="n")
def powered(x: Any, n: int = 2) -> Any:
    return energy(x) ** n


@tg.custom_jvp
def ruled(x: Any) -> Any:
    return np.sum(x)


@ruled.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return ruled(*primals), 3 * np.sum(tangents[0])


class Model:
    scale = 2.0

    @tg.checkpoint(static_argnums=0)
    def loss(self, x: Any) -> Any:
        return self.scale * energy(x)


MADE = [
    jitted, force, powered, ruled, tg.grad(energy), tg.grad(energy, argnums=(0,)), tg.value_and_grad(energy), tg.vmap(energy),
    tg.jit(energy), tg.checkpoint(energy), tg.hessian(energy), tg.jacfwd(np.sin), tg.jacrev(np.sin), tg.make_graph(energy),
    tg.jit(tg.vmap(tg.grad(tg.checkpoint(energy)))), tg.custom_jvp(energy), tg.custom_vjp(energy), tg.grad(jitted),
    tg.vmap(energy, in_axes=1, batch_size=1), tg.checkpoint(np.sin, policy=tg.checkpoint_policies.dots_saveable),
]  # fmt: skip


def results(f: Any) -> list[Any]:
    return [
        str(leaf) if isinstance(leaf, Graph) else np.asarray(leaf).tolist() for leaf in tg.tree.leaves(f(np.eye(2)))
    ]


@pytest.mark.parametrize("f", MADE, ids=map(str, range(len(MADE))))
def test_what_transforms_return_is_pickled(f: Any) -> None:
    again = pickle.loads(pickle.dumps(f))
    assert results(again) == results(f)
    assert (again is f) == (f in (jitted, force, powered, ruled))
    assert results(copy.copy(f)) == results(copy.deepcopy([f])[0]) == results(f)


def test_what_transforms_return_of_local_functions_is_pickled_by_value() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    f = lambda x: np.sum(x) * 3.0
    for made in (
        tg.grad(f),
        tg.vmap(f),
        tg.jit(f),
        tg.checkpoint(f),
        tg.hessian(f),
        tg.custom_jvp(f),
        tg.jit(tg.grad(f)),
    ):
        assert results(pickle.loads(cloudpickle.dumps(made))) == results(made)


def test_a_program_of_another_process(tmp_path: Path) -> None:
    """cloudpickle takes what stands in `__main__` by value, decorated or not."""
    pytest.importorskip("cloudpickle")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, cloudpickle, numpy as np, tracegrad as tg\n"
        "@tg.jit\ndef a(x): return np.sum(x) * 2.0\n"
        "@tg.custom_jvp\ndef b(x): return np.sum(x)\n"
        "b.defjvp(lambda primals, tangents: (b(*primals), 3 * np.sum(tangents[0])))\n"
        "@tg.checkpoint\ndef c(x): return a(x) * b(x)\n"
        "sys.stdout.buffer.write(cloudpickle.dumps([a, tg.grad(b), tg.jit(tg.grad(c))]))\n"
    )
    made = subprocess.run([sys.executable, str(program)], capture_output=True, check=True).stdout
    assert [results(f)[0] for f in pickle.loads(made)] == [4.0, [[3.0] * 2] * 2, [[16.0] * 2] * 2]


def test_a_method_is_still_one() -> None:
    assert Model().loss(0.5) == 2 * energy(0.5)
    assert tg.grad(Model().loss)(0.5) == 2 * tg.grad(energy)(0.5)
    assert Model.loss(Model(), 0.5) == 2 * energy(0.5)
    assert repr(tg.grad(energy)).startswith("<grad of 'energy' (")
    assert str(inspect.signature(tg.vmap(energy))) == "(x: 'Any') -> 'Any'"
