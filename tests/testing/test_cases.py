"""What ops are tried on."""

from __future__ import annotations

from tracegrad.core.op import OPS
from tracegrad.testing.cases import KIND_OF, cases


def test_every_op_is_tried_in_every_kind() -> None:
    tried = {
        (op.name, kind) for op in OPS.values() for dtype, kind in KIND_OF.items() if any(True for _ in cases(op, dtype))
    }
    assert {(op.name, kind) for op in OPS.values() for kind in op.kinds} == tried
