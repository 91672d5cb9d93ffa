"""SciPy's routines that call functions of the user's: jax has them run on the host, where these are NumPy's programs."""

from __future__ import annotations

import functools
from typing import Any

from tracegrad.core.backends import lowers
from tracegrad.core.op import OPS
from tracegrad.xla.host import on_host


def _on_host(name: str, params: dict[str, Any], *inputs: Any) -> Any:
    found = OPS[name].evaluate(*inputs, **params)
    return found if OPS[name].multiple_results else (found,)


def called_back(name: str, out: Any, *inputs: Any, **params: Any) -> Any:
    """What the op of this name evaluates to on the host."""
    several = OPS[name].multiple_results
    found = on_host(functools.partial(_on_host, name, params), out if several else (out,), inputs)
    return found if several else found[0]


lowers("solver")(functools.partial(called_back, "solver"))
