"""How each op is lowered to `jax.lax`, in a file for each family of ops: see `tracegrad/core/backends.py` for the form."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
