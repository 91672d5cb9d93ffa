"""Importing this loads all of the op library, and so fills the tables that its files fill."""

import importlib
import pkgutil

from tracegrad import ops

for _module in pkgutil.walk_packages(ops.__path__, f"{ops.__name__}."):
    importlib.import_module(_module.name)
