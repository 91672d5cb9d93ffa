"""tracegrad: gradients, batching and compilation of plain NumPy functions."""

from tracegrad import ops, show, tree
from tracegrad.transforms.batch import vmap
from tracegrad.transforms.custom import custom_jvp, custom_vjp
from tracegrad.transforms.differentiate import grad, jvp, linear_transpose, linearize, value_and_grad, vjp
from tracegrad.transforms.inspect import eval_shape, make_graph
from tracegrad.transforms.jacobian import hessian, hvp, jacfwd, jacrev
from tracegrad.types import ShapeDtypeStruct, float0

__version__ = "0.1.0"
