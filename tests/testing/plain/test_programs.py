"""Programs that are drawn by a number."""

from __future__ import annotations

import numpy as np

from tracegrad.testing.plain.programs import LAYOUTS, Case, laid_out, reread, steps_of


def test_a_case_is_the_same_each_time() -> None:
    assert repr(Case(7)) == repr(Case(7)) != repr(Case(8))


def test_a_layout_holds_the_same_elements() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for layout in LAYOUTS:
        expected = np.broadcast_to(x[:1], x.shape) if layout == "broadcast" else x
        np.testing.assert_array_equal(laid_out(x, layout), expected)
    assert laid_out(x, "F").flags.f_contiguous and laid_out(x, "reversed").strides[0] < 0
    assert not laid_out(x, "read-only").flags.writeable


def test_a_program_is_run_line_by_line() -> None:
    case = Case(7)
    *_, (_, value, does) = steps_of(case, case.args())
    assert does
    np.testing.assert_array_equal(value, case.program(*case.args()))
    np.testing.assert_array_equal(value, reread(case, case.args(), lambda name, x: x)[0])
