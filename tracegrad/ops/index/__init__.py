"""Indexing: reading and writing parts of arrays.

`expression.py` makes data of an index expression, `slices.py`, `gathers.py` and `scatters.py` have the ops that take it, all linear, and
in pairs of which one is the transpose of the other; `at.py` is what assignment is to arrays that do not change, `x.at[index].set(v)`.
"""

from tracegrad.ops.index.at import at as at
from tracegrad.ops.index.expression import region as region
from tracegrad.ops.index.expression import slice_entry as slice_entry
from tracegrad.ops.index.expression import wide as wide
from tracegrad.ops.index.gathers import gather_op as gather_op
from tracegrad.ops.index.gathers import scatter_add_op as scatter_add_op
from tracegrad.ops.index.gathers import take as take
from tracegrad.ops.index.scatters import scatter_op as scatter_op
from tracegrad.ops.index.slices import slice_op as slice_op
from tracegrad.ops.index.slices import unslice as unslice
