"""What functions, arguments and outputs are called."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

import tracegrad as tg
from tests.compare import near
from tests.transforms.test_arguments import f3

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
