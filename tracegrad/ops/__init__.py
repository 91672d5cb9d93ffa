"""The op library. Importing it fills the registry, but for the ops that only `tracegrad.lax` has, which come with that."""

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
