"""What a function leaves behind while it is traced, for a test to see how often that happened and with what."""

from __future__ import annotations

from typing import Any


class Notes(list[Any]):
    """A list for that: where a traced function changes one of Python's own, that is an ImpureTraceError."""
