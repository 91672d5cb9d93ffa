"""tracegrad: gradients, batching and compilation of plain NumPy functions."""

from tracegrad import lax, nn, ops, show, tree, tree_util
from tracegrad.transforms.batch import vmap
from tracegrad.transforms.custom import custom_jvp, custom_vjp
from tracegrad.transforms.differentiate import (
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
from tracegrad.transforms.jit import jit
from tracegrad.types import ShapeDtypeStruct, float0

__all__ = [
    "ShapeDtypeStruct",
    "custom_jvp",
    "custom_vjp",
    "eval_shape",
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
    "ops",
    "show",
    "stop_gradient",
    "tree",
    "tree_util",
    "value_and_grad",
    "vjp",
    "vmap",
]

__version__ = "0.1.0"
