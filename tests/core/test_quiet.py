"""NumPy's functions in a context of their own."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest

from tracegrad.core.numpy_warnings import again
from tracegrad.core.quiet import isolated, quietly, strictly


def test_only_what_is_ignored_is_not_said() -> None:
    zeros = np.zeros(2)
    assert np.isneginf(quietly(("divide",), np.log, zeros)).all()
    assert np.isnan(quietly(("all",), np.divide, zeros, zeros)).all()
    with pytest.warns(RuntimeWarning, match="invalid"):
        again(quietly, ("divide",), np.divide, zeros, zeros)
    with pytest.raises(FloatingPointError):
        strictly(np.log, zeros)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        quietly(("over",), np.log, zeros)


def test_what_numpy_says_is_as_it_was_afterwards() -> None:
    def fails(x: object) -> None:
        np.seterr(all="raise")
        raise KeyboardInterrupt

    with np.errstate(divide="raise", over="print"):
        before = np.geterr()
        for function in (np.exp, fails):
            for call in (isolated, lambda *args: quietly(("all",), *args), strictly):
                with contextlib.suppress(KeyboardInterrupt):
                    call(function, 1.0)
                assert np.geterr() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quietly(("invalid",), np.sqrt, -1.0) != 0.0
