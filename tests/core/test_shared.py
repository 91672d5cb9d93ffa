"""What threads share, without a lock."""

from __future__ import annotations

import threading
from typing import Any

from tracegrad.core.shared import Recent, cached


def test_the_latest_used_are_kept() -> None:
    kept: Recent[str] = Recent()
    for key in "abc":
        assert kept.keep(key, key.upper(), 3) == key.upper()
    assert kept.get("a") == "A" and kept.get("d") is None
    kept.keep("d", "D", 3)
    assert [kept.get(key) for key in "abcd"] == ["A", None, "C", "D"] and len(kept) == 3


def test_the_first_to_come_is_kept() -> None:
    kept: Recent[str] = Recent()
    assert kept.keep("a", "first", 3) == "first" == kept.keep("a", "second", 3)
    kept.drop("a", "second")
    assert kept.get("a") == "first"
    kept.drop("a", "first")
    kept.drop("a", "first")
    assert kept.get("a") is None and kept.keep("a", "second", 3) == "second"


class Key:
    """One whose comparison waits for another thread's use of the same dict."""

    def __init__(self, kept: Recent[str]) -> None:
        self.kept = kept

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        thread = threading.Thread(target=self.kept.keep, args=("b", "B", 3), daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        return type(other) is Key


def test_keys_may_be_compared_by_code_that_waits_for_other_threads() -> None:
    kept: Recent[str] = Recent()
    assert kept.keep(Key(kept), "first", 3) == "first"
    assert kept.get(Key(kept)) == "first" == kept.keep(Key(kept), "second", 3)
    assert kept.get("b") == "B"


def test_threads_get_the_same_attribute() -> None:
    both = threading.Barrier(2)

    class Made:
        @cached
        def value(self) -> list[Any]:
            """What it is."""
            both.wait(60)
            return []

    made, found = Made(), []
    threads = [threading.Thread(target=lambda: found.append(made.value), daemon=True) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(found) == 2 and found[0] is found[1] is made.value
    assert Made.value.__doc__ == "What it is."
