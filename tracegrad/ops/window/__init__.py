"""Windows that slide over an array: their geometry, which convolution shares, and `reduce_window`.

Along each axis, in this order: `base_dilation - 1` holes are put between neighbours, `padding` holes in front and behind
(a negative number cuts off), and a window of `size` elements, `dilation` apart, stands at every `stride`-th place at
which it fits. Holes hold what changes nothing: zeros in a sum, minus infinity in a maximum.
"""

from tracegrad.ops.window.combining import Windows as Windows
from tracegrad.ops.window.geometry import Pads as Pads
from tracegrad.ops.window.geometry import dilated as dilated
from tracegrad.ops.window.geometry import landing as landing
from tracegrad.ops.window.geometry import one_per_axis as one_per_axis
from tracegrad.ops.window.geometry import padded_and_dilated as padded_and_dilated
from tracegrad.ops.window.geometry import padding_pairs as padding_pairs
from tracegrad.ops.window.geometry import refused as refused
from tracegrad.ops.window.geometry import transposed_padding as transposed_padding
from tracegrad.ops.window.geometry import window_count as window_count
from tracegrad.ops.window.geometry import window_view as window_view
from tracegrad.ops.window.reduce import highest as highest
from tracegrad.ops.window.reduce import lowest as lowest
from tracegrad.ops.window.reduce import reduce_window as reduce_window
from tracegrad.ops.window.sliding import places_in_windows as places_in_windows
