"""Arrays as text. What is traced is printed as such: its type, and its value where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.ops.families import implements
from tracegrad.typing import ArrayLike


@implements(np.array_repr)
def array_repr(
    arr: ArrayLike, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """The text of `repr(arr)`.

    >>> array_repr(np.array([1, 2]))
    'array([1, 2])'
    """
    return repr(arr)


@implements(np.array_str)
def array_str(
    a: ArrayLike, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """The text of `str(a)`.

    >>> array_str(np.array([1, 2]))
    '[1 2]'
    """
    return str(a)


@implements(np.array2string)
def array2string(a: ArrayLike, *args: Any, **kwargs: Any) -> str:
    """The elements as text, laid out as `np.array2string` says.

    >>> array2string(np.array([1, 2]), separator=", ")
    '[1, 2]'
    """
    return str(a)
