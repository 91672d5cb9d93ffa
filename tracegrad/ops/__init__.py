"""The op library. Importing it fills the registry."""

from tracegrad.ops import elementwise, protocol, reduce, structural

__all__ = ["elementwise", "protocol", "reduce", "structural"]
