"""What writes an op: a function of arrays that is one equation of a Graph, with all that transforms ask of it.

An op is one record, `Op`, or what a short form makes of a few functions: `elementwise` takes a partial derivative for each
input, `linear` a transpose, `multilinear` one for each input, `locally_constant` nothing. Rules are written in NumPy calls
and ops, which derivatives of derivatives go through; params are keywords, hashable, and printed. `bind` applies an op;
`implements` has a NumPy function be ours where it meets tracers. `lowers` gives the lowering to XLA, without which an op is
for NumPy alone. `check_rule` holds all that an op says of itself to independent truth, on its samples.

>>> import numpy as np, tracegrad as tg
>>> from tracegrad.extend import OPS, Sample, bind, check_rule, elementwise, same_type
>>> gudermannian_op = elementwise(
...     "gudermannian",
...     lambda x: np.arctan(np.sinh(x)),  # its evaluation
...     lambda d, out, x: d / np.cosh(x),  # what d is multiplied by, forward and in reverse
...     infer=same_type,
...     samples=lambda: [Sample((np.array([-1.5, 0.0, 2.0]),))],
... )
>>> def gudermannian(x):
...     return bind(gudermannian_op, (x,))
>>> check_rule(gudermannian_op)
5
>>> [float(tg.grad(gudermannian)(0.0)), tg.grad(tg.grad(gudermannian))(0.0) == 0]
[1.0, np.True_]
>>> OPS.pop("gudermannian")  # where ops are found by name, which is theirs alone
Op(gudermannian)
"""

from tracegrad.core.backends import lowers as lowers
from tracegrad.core.late import complete
from tracegrad.core.op import OPS as OPS
from tracegrad.core.op import Op as Op
from tracegrad.core.op import Params as Params
from tracegrad.core.op import Sample as Sample
from tracegrad.core.trace import bind as bind
from tracegrad.core.types import ArrayType as ArrayType
from tracegrad.ops.families import along_axis as along_axis
from tracegrad.ops.families import elementwise as elementwise
from tracegrad.ops.families import implements as implements
from tracegrad.ops.families import linear as linear
from tracegrad.ops.families import locally_constant as locally_constant
from tracegrad.ops.families import multilinear as multilinear
from tracegrad.ops.families import same_type as same_type
from tracegrad.testing.rules import check_rule as check_rule

__all__ = [
    "OPS",
    "ArrayType",
    "Op",
    "Params",
    "Sample",
    "along_axis",
    "bind",
    "check_rule",
    "elementwise",
    "implements",
    "linear",
    "locally_constant",
    "lowers",
    "multilinear",
    "same_type",
]

complete()  # so that it is known which names are taken


def __dir__() -> list[str]:
    return list(__all__)
