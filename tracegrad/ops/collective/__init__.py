"""Collectives: what the examples of a named axis do together, under `vmap(f, axis_name="i")`. Names, arguments and
meanings are those of jax.lax, and every function takes a pytree of arrays.

Each op is over one named axis. Its inputs are the array and the example's index in that axis, which says nothing that
the op would not know, but ties it to the trace that maps over the axis, whatever the array depends on. What becomes of
it there, its rule `collective` says; under another axis' `vmap` it goes on to its own by its batching rule.

A derivative taken inside `vmap` is that of the sum of all examples' results: example j gets from each i the cotangent of
what i made of j's value. So psum is its own transpose, that of all_gather is psum_scatter, and all is as if the
derivative had been taken outside.

An axis may be jax's as well (`jax.shard_map`, `jax.vmap`), around a function of ours on jax's tracers: the ops then are
jax's collectives, by their rules in `xla/rules/`.
"""

from tracegrad.ops.collective.exchanges import all_gather as all_gather
from tracegrad.ops.collective.exchanges import all_to_all as all_to_all
from tracegrad.ops.collective.exchanges import ppermute as ppermute
from tracegrad.ops.collective.exchanges import pshuffle as pshuffle
from tracegrad.ops.collective.exchanges import psum_scatter as psum_scatter
from tracegrad.ops.collective.exchanges import pswapaxes as pswapaxes
from tracegrad.ops.collective.named_axes import axis_index as axis_index
from tracegrad.ops.collective.named_axes import axis_index_op as axis_index_op
from tracegrad.ops.collective.named_axes import axis_size as axis_size
from tracegrad.ops.collective.reductions import pmax as pmax
from tracegrad.ops.collective.reductions import pmean as pmean
from tracegrad.ops.collective.reductions import pmin as pmin
from tracegrad.ops.collective.reductions import psum as psum
