"""tracegrad: gradients, batching and compilation of plain NumPy functions."""

import functools
import sys
from typing import TYPE_CHECKING, Any

from tracegrad import ops, tree
from tracegrad.core.late import LOADERS, imported
from tracegrad.core.numpy_warnings import watch_ops
from tracegrad.core.scopes import named_scope
from tracegrad.core.types import ShapeDtypeStruct, float0
from tracegrad.ops import elementwise, reduce, shape  # noqa: F401, which fill the tables with what most functions use
from tracegrad.ops.structural import checkpoint_name
from tracegrad.transforms.grad import grad, value_and_grad
from tracegrad.transforms.vmap import vmap

if TYPE_CHECKING:
    from tracegrad import (
        custom_derivatives,
        data,
        debug,
        extend,
        io,
        lax,
        metrics,
        nn,
        numpy,
        optim,
        random,
        scipy,
        show,
        sklearn,
        testing,
        train,
        tree_util,
    )
    from tracegrad.numpy.numpyized import numpyize
    from tracegrad.show.drawing import draw
    from tracegrad.train.fitting import fit
    from tracegrad.transforms.control import checkpoint_policies
    from tracegrad.transforms.control.checkpoint import checkpoint, remat
    from tracegrad.transforms.custom.functions import custom_jvp, custom_vjp
    from tracegrad.transforms.external import external, pure_callback
    from tracegrad.transforms.implicit import implicit
    from tracegrad.transforms.inspect import eval_shape, make_graph
    from tracegrad.transforms.jacobian import hessian, hvp, jacfwd, jacobian, jacrev
    from tracegrad.transforms.jit.numpy import jit
    from tracegrad.transforms.jit.source import to_numpy_source
    from tracegrad.transforms.laplacian import hessian_diag, laplacian
    from tracegrad.transforms.linearize import jvp, linear_transpose, linearize, vjp
    from tracegrad.transforms.stop_gradient import stop_gradient
    from tracegrad.transforms.taylor import taylor
    from tracegrad.xla.devices import device_put, devices, to_jax
    from tracegrad.xla.from_jax import from_jax

__all__ = [
    "ShapeDtypeStruct",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "custom_derivatives",
    "custom_jvp",
    "custom_vjp",
    "data",
    "debug",
    "device_put",
    "devices",
    "draw",
    "eval_shape",
    "extend",
    "external",
    "fit",
    "float0",
    "from_jax",
    "grad",
    "hessian",
    "hessian_diag",
    "hvp",
    "implicit",
    "io",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "laplacian",
    "lax",
    "linear_transpose",
    "linearize",
    "make_graph",
    "metrics",
    "named_scope",
    "nn",
    "numpy",
    "numpyize",
    "ops",
    "optim",
    "pure_callback",
    "random",
    "remat",
    "scipy",
    "show",
    "sklearn",
    "stop_gradient",
    "taylor",
    "testing",
    "to_jax",
    "to_numpy_source",
    "train",
    "tree",
    "tree_util",
    "value_and_grad",
    "vjp",
    "vmap",
]

watch_ops()

__version__ = "0.1.0"

# What is loaded when it is first asked for: modules, and of modules the names that stand here.
_MODULES = {
    "checkpoint_policies": "transforms.control.checkpoint_policies",
    **{
        name: name
        for name in (
            "custom_derivatives",
            "data",
            "debug",
            "extend",
            "io",
            "lax",
            "metrics",
            "nn",
            "numpy",
            "optim",
            "random",
            "scipy",
            "show",
            "sklearn",
            "testing",
            "train",
            "tree_util",
        )
    },
}
_NAMES = {
    "transforms.control.checkpoint": ("checkpoint", "remat"),
    "transforms.custom.functions": ("custom_jvp", "custom_vjp"),
    "transforms.external": ("external", "pure_callback"),
    "transforms.implicit": ("implicit",),
    "transforms.inspect": ("eval_shape", "make_graph"),
    "transforms.jacobian": ("hessian", "hvp", "jacfwd", "jacobian", "jacrev"),
    "transforms.jit.numpy": ("jit",),
    "transforms.laplacian": ("hessian_diag", "laplacian"),
    "transforms.linearize": ("jvp", "linear_transpose", "linearize", "vjp"),
    "transforms.stop_gradient": ("stop_gradient",),
    "transforms.taylor": ("taylor",),
    "transforms.jit.source": ("to_numpy_source",),
    "xla.devices": ("device_put", "devices", "to_jax"),
    "xla.from_jax": ("from_jax",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names} | {
    "draw": "show.drawing",
    "fit": "train.fitting",
    "numpyize": "numpy.numpyized",
}


@functools.cache  # ops ask again and again
def _loaded(name: str) -> Any:
    """A module, with the warnings noticed of what it has brought of the op library."""
    found = imported(name)
    watch_ops()
    return found


if not TYPE_CHECKING:  # to which a misspelt name would be one of these

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            found = _loaded(f"tracegrad.{_MODULES[name]}")
        elif name in _HOMES:
            found = getattr(_loaded(f"tracegrad.{_HOMES[name]}"), name)
        else:
            # Named, so that Python can ask whether another was meant.
            raise AttributeError(f"module 'tracegrad' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _load_xla() -> Any:
    _loaded("tracegrad.xla.rules")
    found = _loaded("tracegrad.xla.emit")
    LOADERS["xla"] = lambda: found  # which each op on a jax array asks for
    return found


def _load_tables() -> None:
    """All that fills the tables of ops and functions: the op library, the namespaces, and ops that hold Graphs."""
    for name in ("ops.everything", "numpy", "lax", "random", "scipy", "lower.numpy.blocks", *_NAMES):
        _loaded(f"tracegrad.{name}")


LOADERS["xla"] = _load_xla
LOADERS["xla on cpu"] = lambda: _loaded("tracegrad.xla.cpu")
LOADERS["drawing"] = lambda: _loaded("tracegrad.show.drawing")
LOADERS["treescope"] = lambda: _loaded("tracegrad.show.treescope")
LOADERS["show"] = lambda: _loaded("tracegrad.core.show")
LOADERS["recognise"] = lambda: _loaded("tracegrad.transforms.recognise").recognise
LOADERS["spare"] = lambda: _loaded("tracegrad.transforms.sparing").spare
LOADERS["numpy"] = lambda: _loaded("tracegrad.numpy")
LOADERS["scipy"] = lambda: _loaded("tracegrad.scipy")
LOADERS["tables"] = _load_tables
