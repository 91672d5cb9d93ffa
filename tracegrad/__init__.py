"""tracegrad: gradients, batching and compilation of plain NumPy functions."""

import importlib
from typing import Any

from tracegrad import debug, nn, numpy, ops, tree, tree_util
from tracegrad.core import show
from tracegrad.core.backends import LOADERS
from tracegrad.core.types import ShapeDtypeStruct, float0
from tracegrad.ops.structural import checkpoint_name
from tracegrad.transforms.control import checkpoint_policies
from tracegrad.transforms.control.checkpoint import checkpoint
from tracegrad.transforms.custom import custom_jvp, custom_vjp
from tracegrad.transforms.grad import (
    grad,
    jvp,
    linear_transpose,
    linearize,
    stop_gradient,
    value_and_grad,
    vjp,
)
from tracegrad.transforms.inspect import eval_shape, make_graph
from tracegrad.transforms.jacobian import hessian, hvp, jacfwd, jacrev
from tracegrad.transforms.jit.numpy import jit
from tracegrad.transforms.recognise import recognise_spectral_functions
from tracegrad.transforms.vmap import vmap
from tracegrad.xla.devices import device_put, devices, to_jax


def _load_xla() -> Any:
    importlib.import_module("tracegrad.xla.rules")
    return importlib.import_module("tracegrad.xla.emit")


LOADERS["xla"] = _load_xla
recognise_spectral_functions()
remat = checkpoint

__all__ = [
    "ShapeDtypeStruct",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "device_put",
    "devices",
    "eval_shape",
    "extend",
    "float0",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "make_graph",
    "nn",
    "numpy",
    "ops",
    "random",
    "remat",
    "show",
    "stop_gradient",
    "testing",
    "to_jax",
    "tree",
    "tree_util",
    "value_and_grad",
    "vjp",
    "vmap",
]

_LATE = ("extend", "lax", "random", "testing")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`lax`, which with its ops is a quarter of the library, and what not everyone needs are loaded when asked for."""
    if name in _LATE:
        return importlib.import_module(f"tracegrad.{name}")
    raise AttributeError(f"module 'tracegrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATE])
