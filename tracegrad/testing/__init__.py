"""Tests of derivatives and transforms, for users' functions and ops and for our own."""

from tracegrad.testing.gradients import GradientError, Kink, Report, check_grads
from tracegrad.testing.rules import check_rule
from tracegrad.testing.variants import assert_rewrites, assert_same, check_jit, check_vmap, expect_traces

__all__ = [
    "GradientError",
    "Kink",
    "Report",
    "assert_rewrites",
    "assert_same",
    "check_grads",
    "check_jit",
    "check_rule",
    "check_vmap",
    "expect_traces",
]


def __dir__() -> list[str]:
    return list(__all__)
