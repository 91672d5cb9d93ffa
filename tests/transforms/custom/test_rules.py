"""What is made of rules in general: of arrays that may be None, and of two rules as one."""

from __future__ import annotations

from typing import Any

from tracegrad.transforms.custom.rules import Later, pull_of, without_none


def test_none_is_left_out_on_the_way_in_and_out() -> None:
    seen: list[Any] = []

    def run(flat: Any, known: Any) -> Any:
        seen.append(list(known))
        return flat(*[[1.0, 2.0, 3.0][i] for i in known])

    assert without_none(lambda xs: [xs[2], None, xs[0]], [1.0, None, 3.0], run) == [3.0, None, 1.0]
    assert seen == [[0, 2]]


def test_a_backward_pass_whose_forward_rule_runs_with_it() -> None:
    fwd = lambda primals, perturbed, out: (out, (primals[0], perturbed))
    bwd = lambda residuals, primals, cts: [residuals[0] * cts[0] if residuals[1][0] else None, None]
    assert pull_of(fwd, bwd, 2, Later((True, False), [0.0]))([3.0, 4.0, 0.0, 2.0]) == [6.0, None]
    assert pull_of(fwd, bwd, 2, Later((False, True), [0.0]))([3.0, 4.0, 0.0, 2.0]) == [None, None]
