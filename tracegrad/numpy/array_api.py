"""What the array API standard asks of a namespace besides NumPy's functions: https://data-apis.org/array-api/2024.12."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.errors import at, user_source
from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.ops.families import implements
from tracegrad.ops.shape import copied
from tracegrad.typing import Array

__array_api_version__ = "2024.12"

# That of NumPy, whose dtypes, defaults and device are ours. Shapes that depend on values are there wherever values are.
__array_namespace_info__: Any = getattr(np, "__array_namespace_info__", None)


@implements(np.from_dlpack)
def from_dlpack(x: Any, /, *, device: Any = None, copy: Any = None) -> Array:
    """An array of another library's as one of NumPy's that shares its memory; a traced array, or one of jax's, as it is, or a copy.

    >>> from_dlpack(np.array([3.0, 1.0, 2.0])).tolist()
    [3.0, 1.0, 2.0]
    """
    if device not in (None, "cpu"):
        raise ValueError(f"from_dlpack{at(user_source())}: only the device 'cpu' is known, got {device!r}")
    return copied(x, "K") if copy else x


class _Special:
    """What SciPy asks the namespace of arrays that are not NumPy's for, where the environment has SCIPY_ARRAY_API: what its
    scipy.special.expit is, xp.special.expit, which is not of the standard yet."""

    def __getattr__(self, name: str) -> Any:
        found = SCIPY_FUNCTIONS.get(name)
        if found is None:
            raise AttributeError(f"tracegrad.numpy.special has no {name!r}, which is not traced")
        return found

    def __dir__(self) -> list[str]:
        return sorted(SCIPY_FUNCTIONS)


special = _Special()
