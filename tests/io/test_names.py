"""Names of tensors: key paths joined by dots, and rules that rename them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracegrad.io.names import joined, nearest, parted, plain, renamed


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=4))
def test_names_part_into_the_keys_they_were_joined_from(keys: list[str]) -> None:
    assert parted(joined(keys)) == keys


@given(st.lists(st.lists(st.sampled_from(["a", ".", "\\", "a.b", "\\.", ""]), min_size=1, max_size=3), max_size=3))
def test_different_paths_have_different_names(paths: list[list[str]]) -> None:
    assert len({joined(path) for path in paths}) == len({tuple(path) for path in paths})


def test_spelling() -> None:
    assert joined(["params", "block_0", "up", "kernel"]) == "params.block_0.up.kernel"
    assert joined(["a.b", "c\\d"]) == "a\\.b.c\\\\d"
    assert plain("a\\.b.c\\\\d") == "a.b.c\\d"
    assert joined(["__metadata__"]) == "\\__metadata__" and parted("\\__metadata__") == ["__metadata__"]
    assert joined(["__metadata__", "x"]) == "__metadata__.x"


def test_renaming() -> None:
    names = ["body.0.w", "body.1.w", "head.w"]
    assert renamed(names, {"body.*": "trunk.*"}) == {
        "body.0.w": "trunk.0.w",
        "body.1.w": "trunk.1.w",
        "head.w": "head.w",
    }
    assert renamed(names, {"*.*.w": "*.kernel_*", "head.w": "head"})["body.1.w"] == "body.kernel_1"
    with pytest.raises(ValueError, match=r"rename: no name fits 'boddy\.\*'; the nearest one is 'body\.\d\.w'"):
        renamed(names, {"boddy.*": "trunk.*"})
    with pytest.raises(ValueError, match=r"rename: 'body\.0\.w' and 'body\.1\.w' both become 'w'"):
        renamed(names, {"body.*": "w"})
    with pytest.raises(ValueError, match="each \\* of the new name must be one of the old name"):
        renamed(names, {"head.w": "head.*"})


def test_nearest() -> None:
    assert nearest("params.kernal", ["params.kernel", "params.bias"]) == "params.kernel"
    assert nearest("x", ["params.kernel"]) is None
