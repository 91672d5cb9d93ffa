"""The op library: a file or a folder for each family of ops, which fills the tables of `core/` when it is loaded."""

from typing import Any

from tracegrad.core.late import complete


def __getattr__(name: str) -> Any:
    """A family, which is loaded with all others where it has not been."""
    complete()
    if name in globals():
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
