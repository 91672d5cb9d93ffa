"""The op library. Importing it fills the registry."""

from tracegrad.ops import (
    collective,
    contract,
    create,
    cumulative,
    elementwise,
    index,
    join,
    linalg,
    protocol,
    rearrange,
    reduce,
    rounding_and_logic,
    shape,
    sort,
    special,
    structural,
)

__all__ = [
    "collective",
    "contract",
    "create",
    "cumulative",
    "elementwise",
    "index",
    "join",
    "linalg",
    "protocol",
    "rearrange",
    "reduce",
    "rounding_and_logic",
    "shape",
    "sort",
    "special",
    "structural",
]
