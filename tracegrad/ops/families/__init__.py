"""How ops are declared: one function for each common kind, so that most ops are one call with their derivative in it.

`elementwise`   gives for each input a function `(d, out, *inputs)` that multiplies `d` by the partial derivative. The
                same function serves tangents and cotangents: a diagonal map is its own transpose.
`linear`        gives the transpose with respect to its one array input.
`multilinear`   gives one transpose for each input.
`locally_constant`  has no derivative.
`Op`            anything else: the record itself, with a jvp or vjp rule.

Rules are written in NumPy calls: these reach arrays directly, and tracers through NumPy's protocols.
"""

from tracegrad.ops.families.arguments import implements as implements
from tracegrad.ops.families.arguments import is_of_a_scalar as is_of_a_scalar
from tracegrad.ops.families.arguments import is_tracer as is_tracer
from tracegrad.ops.families.arguments import normalize_axes as normalize_axes
from tracegrad.ops.families.arguments import normalize_axis as normalize_axis
from tracegrad.ops.families.arguments import of_axis as of_axis
from tracegrad.ops.families.arguments import reject as reject
from tracegrad.ops.families.arguments import require_held as require_held
from tracegrad.ops.families.broadcasting import add_tangents as add_tangents
from tracegrad.ops.families.broadcasting import all_batched as all_batched
from tracegrad.ops.families.broadcasting import broadcast_shapes as broadcast_shapes
from tracegrad.ops.families.broadcasting import cast as cast
from tracegrad.ops.families.broadcasting import conform as conform
from tracegrad.ops.families.broadcasting import lined_up as lined_up
from tracegrad.ops.families.broadcasting import shape_of as shape_of
from tracegrad.ops.families.broadcasting import total as total
from tracegrad.ops.families.broadcasting import unbroadcast as unbroadcast
from tracegrad.ops.families.elementwise import Partial as Partial
from tracegrad.ops.families.elementwise import elementwise as elementwise
from tracegrad.ops.families.elementwise import elementwise_batch as elementwise_batch
from tracegrad.ops.families.elementwise import else_numpy as else_numpy
from tracegrad.ops.families.elementwise import promoted as promoted
from tracegrad.ops.families.elementwise import ufunc_type as ufunc_type
from tracegrad.ops.families.linear import linear as linear
from tracegrad.ops.families.linear import multilinear as multilinear
from tracegrad.ops.families.rules import along_axis as along_axis
from tracegrad.ops.families.rules import first_of as first_of
from tracegrad.ops.families.rules import locally_constant as locally_constant
from tracegrad.ops.families.rules import neutral as neutral
from tracegrad.ops.families.rules import same_type as same_type
from tracegrad.ops.families.rules import shape_in_params as shape_in_params
