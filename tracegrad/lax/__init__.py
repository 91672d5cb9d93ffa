"""jax.lax's names: the functions that an array program can be taken down to, with jax's arguments in jax's order.

They are stricter than NumPy in what they name (axes, sizes and dtypes are all given) and the same in what they compute. Most
are a line over an op; on plain arrays they run NumPy and return NumPy. Where jax.lax asks for equal dtypes and shapes of
elementwise functions, these promote and broadcast as NumPy does; integers are taken where jax wants floats. What speaks of
devices is not there (`accuracy`, `out_sharding`, `sharding`), and `precision` has no effect: NumPy computes to the precision
of the dtype. Indices out of range raise, but in the functions that jax says move or drop them.
"""

from numpy import abs as abs
from numpy import acos as acos
from numpy import acosh as acosh
from numpy import add as add
from numpy import asin as asin
from numpy import asinh as asinh
from numpy import atan as atan
from numpy import atan2 as atan2
from numpy import atanh as atanh
from numpy import bitwise_and as bitwise_and
from numpy import bitwise_or as bitwise_or
from numpy import bitwise_xor as bitwise_xor
from numpy import broadcast_shapes as broadcast_shapes
from numpy import cbrt as cbrt
from numpy import ceil as ceil
from numpy import cos as cos
from numpy import cosh as cosh
from numpy import equal as eq
from numpy import exp as exp
from numpy import exp2 as exp2
from numpy import expm1 as expm1
from numpy import floor as floor
from numpy import fmod as rem
from numpy import greater as gt
from numpy import greater_equal as ge
from numpy import imag as imag
from numpy import invert as bitwise_not
from numpy import isfinite as is_finite
from numpy import left_shift as shift_left
from numpy import less as lt
from numpy import less_equal as le
from numpy import log as log
from numpy import log1p as log1p
from numpy import maximum as max
from numpy import minimum as min
from numpy import negative as neg
from numpy import nextafter as nextafter
from numpy import not_equal as ne
from numpy import pow as pow
from numpy import real as real
from numpy import reciprocal as reciprocal
from numpy import sign as sign
from numpy import sin as sin
from numpy import sinh as sinh
from numpy import sqrt as sqrt
from numpy import square as square
from numpy import subtract as sub
from numpy import tan as tan
from numpy import tanh as tanh

from tracegrad.core.boxes import accept_jax
from tracegrad.lax.contractions import DotDimensionNumbers as DotDimensionNumbers, Precision as Precision, batch_matmul as batch_matmul, dot as dot, dot_general as dot_general, DotDimensionNumbers, Precision, batch_matmul, dot, dot_general
from tracegrad.lax.elementwise import RoundingMethod as RoundingMethod, conj as conj, convert_element_type as convert_element_type, div as div, dtype_of as dtype, integer_pow as integer_pow, mul as mul, population_count as population_count, round as round, select as select, select_n as select_n, shift_right_arithmetic as shift_right_arithmetic, shift_right_logical as shift_right_logical, RoundingMethod, conj, convert_element_type, div, integer_pow, mul, population_count, round, select, select_n, shift_right_arithmetic, shift_right_logical
from tracegrad.lax.loops import associative_scan as associative_scan, fori_loop as fori_loop, map as map, associative_scan, fori_loop, map
from tracegrad.lax.reductions import argmax as argmax, argmin as argmin, cumlogsumexp as cumlogsumexp, cummax as cummax, cummin as cummin, cumprod as cumprod, cumsum as cumsum, reduce as reduce, reduce_and as reduce_and, reduce_max as reduce_max, reduce_min as reduce_min, reduce_or as reduce_or, reduce_prod as reduce_prod, reduce_sum as reduce_sum, reduce_xor as reduce_xor, sort as sort, sort_key_val as sort_key_val, argmax, argmin, cumlogsumexp, cummax, cummin, cumprod, cumsum, reduce, reduce_and, reduce_max, reduce_min, reduce_or, reduce_prod, reduce_sum, reduce_xor, sort, sort_key_val
from tracegrad.lax.shapes import broadcast as broadcast, broadcast_in_dim as broadcast_in_dim, broadcast_like as broadcast_like, broadcast_to_rank as broadcast_to_rank, broadcasted_iota as broadcasted_iota, collapse as collapse, concatenate as concatenate, dynamic_index_in_dim as dynamic_index_in_dim, dynamic_slice_in_dim as dynamic_slice_in_dim, dynamic_update_index_in_dim as dynamic_update_index_in_dim, dynamic_update_slice_in_dim as dynamic_update_slice_in_dim, empty as empty, expand_dims as expand_dims, full as full, full_like as full_like, index_in_dim as index_in_dim, index_take as index_take, iota as iota, pad as pad, reshape as reshape, rev as rev, slice as slice, slice_in_dim as slice_in_dim, split as split, squeeze as squeeze, stack as stack, tile as tile, transpose as transpose, unstack as unstack, broadcast, broadcast_in_dim, broadcast_like, broadcast_to_rank, broadcasted_iota, collapse, concatenate, dynamic_index_in_dim, dynamic_slice_in_dim, dynamic_update_index_in_dim, dynamic_update_slice_in_dim, empty, expand_dims, full, full_like, index_in_dim, index_take, iota, pad, reshape, rev, slice, slice_in_dim, split, squeeze, stack, tile, transpose, unstack
from tracegrad.ops.bits import bitcast_convert_type as bitcast_convert_type, clz as clz, bitcast_convert_type, clz
from tracegrad.ops.collective import all_gather as all_gather, all_to_all as all_to_all, axis_index as axis_index, axis_size as axis_size, pmax as pmax, pmean as pmean, pmin as pmin, ppermute as ppermute, pshuffle as pshuffle, psum as psum, psum_scatter as psum_scatter, pswapaxes as pswapaxes, all_gather, all_to_all, axis_index, axis_size, pmax, pmean, pmin, ppermute, pshuffle, psum, psum_scatter, pswapaxes
from tracegrad.ops.conv import as ConvDimensionNumbers, as conv, as conv_dimension_numbers, as conv_general_dilated, as conv_transpose, as conv_with_general_padding
from tracegrad.ops.dynamic import dynamic_slice as dynamic_slice, dynamic_update_slice as dynamic_update_slice, dynamic_slice, dynamic_update_slice
from tracegrad.ops.elementwise.activations import logistic as logistic, logistic
from tracegrad.ops.elementwise.casting import reduce_precision as reduce_precision, reduce_precision
from tracegrad.ops.elementwise.error_function import erf as erf, erfc as erfc, erf, erfc
from tracegrad.ops.elementwise.exponential import rsqrt as rsqrt, rsqrt
from tracegrad.ops.elementwise.extrema import clamp as clamp, clamp
from tracegrad.lax.convolutions import ConvDimensionNumbers, conv, conv_dimension_numbers, conv_general_dilated, conv_transpose, conv_with_general_padding
from tracegrad.ops.elementwise.parts import from_parts as complex
from tracegrad.ops.gather import GatherDimensionNumbers as GatherDimensionNumbers
from tracegrad.ops.gather import GatherScatterMode as GatherScatterMode
from tracegrad.ops.gather import ScatterDimensionNumbers as ScatterDimensionNumbers
from tracegrad.ops.gather import gather as gather
from tracegrad.ops.gather import scatter as scatter
from tracegrad.ops.gather import scatter_add as scatter_add
from tracegrad.ops.gather import scatter_apply as scatter_apply
from tracegrad.ops.gather import scatter_max as scatter_max
from tracegrad.ops.gather import scatter_min as scatter_min
from tracegrad.ops.gather import scatter_mul as scatter_mul
from tracegrad.ops.gather import scatter_sub as scatter_sub
from tracegrad.ops.sort import top_k as top_k
from tracegrad.ops.special_functions import bessel_i0e as bessel_i0e
from tracegrad.ops.special_functions import bessel_i1e as bessel_i1e
from tracegrad.ops.special_functions import betainc as betainc
from tracegrad.ops.special_functions import digamma as digamma
from tracegrad.ops.special_functions import erf_inv as erf_inv
from tracegrad.ops.special_functions import igamma as igamma
from tracegrad.ops.special_functions import igamma_grad_a as igamma_grad_a
from tracegrad.ops.special_functions import igammac as igammac
from tracegrad.ops.special_functions import lgamma as lgamma
from tracegrad.ops.special_functions import polygamma as polygamma
from tracegrad.ops.special_functions import random_gamma_grad as random_gamma_grad
from tracegrad.ops.special_functions import zeta as zeta
from tracegrad.ops.window import reduce_window as reduce_window
from tracegrad.transforms.control.scan import scan as scan
from tracegrad.transforms.control.switch import cond as cond
from tracegrad.transforms.control.switch import switch as switch
from tracegrad.transforms.control.while_loop import while_loop as while_loop
from tracegrad.transforms.grad import stop_gradient as stop_gradient

__all__ = accept_jax(globals())
