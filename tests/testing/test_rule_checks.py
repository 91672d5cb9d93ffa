"""What a check finds, beside a kink and in second derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.op import OPS, Sample
from tracegrad.ops.families import elementwise
from tracegrad.testing import check_rule


def test_a_kink_is_no_error_and_what_lies_beside_it_is() -> None:
    ties = [Sample((np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0])))]
    assert check_rule(OPS["maximum"], ties, order=1) == 1
    op = elementwise("steep_for_test", lambda x: np.abs(x), lambda d, out, x: 3.0 * d, infer=lambda types, params: types[0],
                     samples=lambda: [Sample((np.zeros(2),))], kinds="f")  # fmt: skip
    try:
        with pytest.raises(AssertionError, match="is wrong in forward mode"):
            check_rule(op)
    finally:
        del OPS["steep_for_test"]


def test_a_second_derivative_of_either_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that is right itself, of which part is hidden from its derivative."""
    op = OPS["multiply"]
    hidden = lambda x: tg.lax.stop_gradient(x)
    with monkeypatch.context() as patch:
        rule = op.jvp
        patch.setattr(op, "jvp", lambda primals, *args: rule(tuple(map(hidden, primals)), *args))
        with pytest.raises(AssertionError, match=r"'jvp of multiply of .*' is wrong in forward mode"):
            check_rule(op)
    other = op.vjp
    monkeypatch.setattr(
        op, "vjp", lambda wanted, ct, out, primals, params: other(wanted, ct, out, tuple(map(hidden, primals)), params)
    )
    with pytest.raises(AssertionError, match=r"'vjp of multiply of .*' is wrong in forward mode"):
        check_rule(op)
