"""Derivatives that the user gives, with what rules that ask for `symbolic_zeros` see: names as in `jax.custom_derivatives`.

>>> import numpy as np, tracegrad as tg
>>> from tracegrad.custom_derivatives import SymbolicZero
>>> @tg.custom_jvp
... def product(x, y):
...     return x * y
>>> def rule(primals, tangents):
...     (x, y), (dx, dy) = primals, tangents
...     terms = [a * t for a, t in ((y, dx), (x, dy)) if type(t) is not SymbolicZero]
...     print(len(terms), "of 2")
...     return product(x, y), sum(terms)
>>> _ = product.defjvp(rule, symbolic_zeros=True)
>>> tg.jvp(lambda x: product(x, 3.0), (2.0,), (1.0,))
1 of 2
(6.0, np.float64(3.0))
"""

from __future__ import annotations

from typing import Any

from tracegrad import tree
from tracegrad.transforms.custom.functions import custom_jvp as custom_jvp
from tracegrad.transforms.custom.functions import custom_vjp as custom_vjp
from tracegrad.transforms.custom.symbolic_zeros import CustomVJPPrimal as CustomVJPPrimal
from tracegrad.transforms.custom.symbolic_zeros import SymbolicZero as SymbolicZero

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "custom_jvp",
    "custom_vjp",
    "custom_vjp_primal_tree_values",
    "zero_from_primal",
]

zero_from_primal = SymbolicZero.from_primal_value


def custom_vjp_primal_tree_values(primals: Any) -> Any:
    """The values in a tree of `CustomVJPPrimal`s, which `fwd` gets with `symbolic_zeros`.

    >>> custom_vjp_primal_tree_values([CustomVJPPrimal(1.0, True), CustomVJPPrimal(2.0, False)])
    [1.0, 2.0]
    """
    return tree.tree_map(lambda x: x.value, primals)
