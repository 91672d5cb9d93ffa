"""Products that sum over shared axes. Two ops carry all of them: `matmul`, and `einsum` for whatever is not a matrix
product with broadcast batches; the other functions (numpy/products.py) say which of these they are.

Both are linear in each input, so their forward rule is themselves, applied to each tangent in turn. Nothing is
conjugated in a derivative (JAX's convention); `vdot`, `vecdot` and `vecmat` conjugate their first argument themselves.
"""

from tracegrad.ops.contract.einsum import LETTERS as LETTERS
from tracegrad.ops.contract.einsum import axis_sizes as axis_sizes
from tracegrad.ops.contract.einsum import by_einsum as by_einsum
from tracegrad.ops.contract.einsum import einsum as einsum
from tracegrad.ops.contract.einsum import einsum_op as einsum_op
from tracegrad.ops.contract.einsum import einsum_operands as einsum_operands
from tracegrad.ops.contract.einsum import explicit_subscripts as explicit_subscripts
from tracegrad.ops.contract.einsum import terms_and_output as terms_and_output
from tracegrad.ops.contract.matmul import column as column
from tracegrad.ops.contract.matmul import conjugate_of_complex as conjugate_of_complex
from tracegrad.ops.contract.matmul import flat as flat
from tracegrad.ops.contract.matmul import matmul as matmul
from tracegrad.ops.contract.matmul import matmul_op as matmul_op
from tracegrad.ops.contract.matmul import operand as operand
from tracegrad.ops.contract.matmul import outer as outer
from tracegrad.ops.contract.matmul import transposed as transposed
