"""Spectral functions. XLA cannot raise: where there is no derivative it is NaN."""

from __future__ import annotations

from typing import Any

from tracegrad.core.backends import lowers
from tracegrad.transforms.spectral import leading_inputs, value_and_ties
from tracegrad.xla.values import in_numpy


@lowers("spectral_derivative")
def _spectral_derivative(out: Any, *inputs: Any, **params: Any) -> Any:
    return in_numpy(lambda *arrays: value_and_ties(arrays, params)[0], inputs, {})


@lowers("spectral")
def _spectral(out: Any, *inputs: Any, **params: Any) -> Any:
    return inputs[leading_inputs(params)]
