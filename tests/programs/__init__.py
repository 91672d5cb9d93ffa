"""Programs as people write them in plain NumPy, a file for each group of fields: nothing in them was written for tracegrad.

Each file imports NumPy, and `Program` to say what its functions are called with. Those of which an array that NumPy makes empty is
filled with what is traced are run through `tg.numpyize`, and say so (`creates=True`): NumPy asks nobody when it makes an array.
`test_programs.py` holds all of them, under each transform, to what plain NumPy computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Program:
    """A function and what it is called with.

    Attributes:
        subject: the field that it comes from.
        f: the function, of arrays and pytrees of them.
        args: positional arguments, which are traced; those of floats and complex numbers are differentiated.
        static: keyword arguments that are no arrays (sizes, names, functions), and stay as they are.
        creates: whether it fills arrays that `np.zeros` and its kin make, which `tg.numpyize` lets it do.
        refused: the transforms ("jit", "vmap") that cannot run it, since it asks for values, with what the error advises.
        rounds: what is made of other sums when it is traced, so that the last digits differ from plain NumPy's ("np.gradient").
        rtol: how close what XLA and batches compute must be to plain NumPy's, relative to the largest element.
    """

    subject: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    static: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    creates: bool = False
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rounds: str = ""
    rtol: float = 1e-9
