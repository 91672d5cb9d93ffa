"""Elementwise functions, most of them NumPy's. Each op is one call: its ufunc, then for each input the map that multiplies by the
partial derivative, `(d, out, *inputs) -> d * partial`. What jit may replace an op by stands beside it.

Conventions at kinks and singular points: ties and kinks are JAX's (abs has derivative 1 at 0, max of equals gives half
to each). A partial may be infinite, and 0 * inf is NaN; the branch that `where` did not take adds nothing all the same, for its
zeros are structural (see `masks.py`). Outside of a function's domain, where evaluation has warned of its NaN, the
derivative does not warn again.
"""

from tracegrad.ops.elementwise import activations as activations
from tracegrad.ops.elementwise import arithmetic as arithmetic
from tracegrad.ops.elementwise import casting as casting
from tracegrad.ops.elementwise import choosing as choosing
from tracegrad.ops.elementwise import conventions as conventions
from tracegrad.ops.elementwise import error_function as error_function
from tracegrad.ops.elementwise import exponential as exponential
from tracegrad.ops.elementwise import extrema as extrema
from tracegrad.ops.elementwise import logic as logic
from tracegrad.ops.elementwise import parts as parts
from tracegrad.ops.elementwise import products as products
from tracegrad.ops.elementwise import rounding as rounding
from tracegrad.ops.elementwise import trigonometric as trigonometric
from tracegrad.ops.elementwise.casting import astype as astype
from tracegrad.ops.elementwise.casting import astype_op as astype_op
from tracegrad.ops.elementwise.casting import is_narrow as is_narrow
from tracegrad.ops.elementwise.casting import widened as widened
from tracegrad.ops.elementwise.choosing import where as where
from tracegrad.ops.elementwise.conventions import by_convention as by_convention
from tracegrad.ops.elementwise.conventions import share as share
from tracegrad.ops.elementwise.parts import imag as imag
from tracegrad.ops.elementwise.parts import real as real
from tracegrad.ops.elementwise.rounding import round as round
from tracegrad.ops.elementwise.rounding import round_away_from_zero as round_away_from_zero
from tracegrad.ops.elementwise.samples import binary_samples as binary_samples
from tracegrad.ops.elementwise.samples import integer_samples as integer_samples
from tracegrad.ops.elementwise.samples import unary_samples as unary_samples
