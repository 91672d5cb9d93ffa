"""The op library: a file or a folder for each family of ops, which fills the tables of `core/` when it is loaded."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from tracegrad.core.late import complete

if TYPE_CHECKING:
    from tracegrad.ops import (  # noqa: F401
        bincount,
        bits,
        collective,
        contract,
        conv,
        convolve,
        cumulative,
        dynamic,
        elementwise,
        families,
        gather,
        index,
        join,
        linalg,
        masks,
        rearrange,
        reduce,
        shape,
        softmax,
        sort,
        special,
        structural,
        threefry,
        ufuncs,
        window,
        writes,
    )
else:

    def __getattr__(name: str) -> Any:
        """A family, which is loaded with all others where it has not been."""
        complete()
        if name in globals():
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    complete()
    return sorted([name for name, x in globals().items() if type(x) is ModuleType])
