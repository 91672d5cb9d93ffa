"""Reductions over axes: sums, products, extremes and where they are, logic, means, log-sum-exp."""

from tracegrad.ops.reduce import extremes, logic, means, sums  # noqa: F401, which fill the tables
