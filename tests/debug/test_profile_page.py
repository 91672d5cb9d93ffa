"""The page of a profile."""

from __future__ import annotations

from tracegrad.core.errors import Source
from tracegrad.debug.profile_page import _pieces, page
from tracegrad.debug.profiling import shown_time


def test_lines_near_each_other_are_one_piece() -> None:
    assert _pieces([10, 12, 40]) == [range(8, 15), range(38, 43)]
    assert _pieces([0]) == [range(1)] and _pieces([1]) == [range(1, 4)]


def test_bars_and_text() -> None:
    lines = [
        (Source('<nowhere & "there">', 3, "f"), 0.75, 0.25, {"sin": 0.5, "cos": 0.25}),
        (None, 0.25, 0.0, {"<op>": 0.25}),
    ]
    text = page(lines, 1.0, 7, {"sin": 0.5, "cos": 0.25, "<op>": 0.25}, shown_time)
    assert text.startswith("<!doctype html>") and "the mean of 7 calls" in text
    assert '<span class="f" style="width:66.7%"></span><span class="b" style="width:33.3%"></span>' in text
    assert "&lt;nowhere &amp; &quot;there&quot;&gt;" in text and "&lt;op&gt;" in text and "<op>" not in text
    assert "without a line" in text and 'title="sin 500 ms, cos 250 ms"' in text
    assert page([], 0.0, 3, {}, shown_time).endswith("</html>\n")
