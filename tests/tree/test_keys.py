"""Keys of paths: equal by kind and what they hold, and as text."""

from __future__ import annotations

from tests.tree import both
from tracegrad import tree


def test_keys_as_jax():
    both(lambda library: library.keystr(("mine", 3)) + library.keystr(("mine", 3), simple=True, separator="."))
    both(lambda library: [library.DictKey(0) == library.SequenceKey(0), library.DictKey(0) == library.DictKey(0)])
    assert len({tree.DictKey("a"), tree.DictKey("a"), tree.GetAttrKey("a")}) == 2
