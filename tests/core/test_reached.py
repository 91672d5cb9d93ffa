"""What a function reaches: names that its code reads, each thing once, and no more than is looked at."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from tracegrad.core.reached import NOTHING, Name, cells_of, codes, mentioned, names_read, walk

tools = ModuleType("tools")
tools.__file__ = __file__
vars(tools)["scale"] = 3.0
SIZE = 2


def reads(x: Any) -> Any:
    def inner(y: Any) -> Any:
        return y * SIZE

    return inner(x) * tools.scale + math.pi


def test_names_are_those_of_inner_functions_and_of_open_modules_too() -> None:
    found = {label: name.value for label, name in names_read(reads, lambda file: file == __file__)}
    assert {k: found[k] for k in ("SIZE", "tools.scale")} == {"SIZE": 2, "tools.scale": 3.0}
    assert found["tools"] is tools and found["math"] is math and "math.pi" not in found
    assert "math.pi" in dict(names_read(reads, lambda file: True))
    assert [c.co_name for c in codes(reads.__code__)] == ["reads", "inner"]
    assert {"SIZE", "tools", "scale", "math", "pi"} <= mentioned(reads.__code__)


def test_a_name_tells_what_it_is_bound_to_now() -> None:
    place: dict[str, Any] = {"a": 1}
    name = Name("a", place)
    place["a"] = 2
    assert (name.value, name.now()) == (1, 2)
    del place["a"]
    assert name.now() is NOTHING

    def late() -> Any:
        return later

    (cell,) = cells_of(late)
    assert cell.now() is NOTHING
    later = 5
    assert cell.now() == 5 == late()


def test_each_is_looked_at_once_up_to_a_limit() -> None:
    seen = []
    ring: list[Any] = []
    ring.append(ring)
    assert walk(ring, lambda label, x: seen.append(label) or [(".", part) for part in x])
    assert seen == [""]
    assert not walk(0, lambda label, x: [("", x + 1000)])  # numbers that are no constants of Python's, without an end
