"""What a file has compared with the tree that is expected of it."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.io import assert_same
from tracegrad.io import Difference, MismatchError
from tracegrad.io.matching import LeafType, type_of_leaf


@pytest.fixture(params=[".npz", ".safetensors"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / f"x{request.param}"


def test_numbers_of_python_and_arrays_of_one(path: Path) -> None:
    """A state as it begins has Python's numbers where a step leaves arrays."""
    tg.io.save(path, {"step": 3, "lr": 0.1, "on": True})
    like = {"step": np.int32(0), "lr": np.zeros((), np.float32), "on": np.zeros((), bool)}
    assert_same(tg.io.load(path, like), {"step": np.int32(3), "lr": np.array(0.1, np.float32), "on": np.array(True)})
    tg.io.save(path, {"step": np.int32(3), "lr": np.array(0.1, np.float32), "on": True})
    found = tg.io.load(path, {"step": 0, "lr": 0.0, "on": False})
    assert_same(found, {"step": np.int32(3), "lr": np.array(0.1, np.float32), "on": True})
    with pytest.raises(MismatchError, match=r"dtype: lr is f32\[\] in the file, expected a Python int"):
        tg.io.load(path, {"step": 0, "lr": 0, "on": False})
    with pytest.raises(MismatchError, match=r"shape: lr is f32\[\] in the file, expected f32\[2\]"):
        tg.io.load(path, {"step": 0, "lr": np.zeros(2, np.float32), "on": False})
    with pytest.raises(MismatchError, match="dtype: on is a Python bool in the file, expected a Python str"):
        tg.io.load(path, {"step": 0, "lr": 0.0, "on": ""})


def test_arrays_of_jax(path: Path, jax_as_it_comes: None) -> None:
    jax = pytest.importorskip("jax")
    tree = {"w": jax.numpy.arange(3.0), "n": tg.device_put(np.arange(3.0)), "b": jax.numpy.ones(2, "bfloat16")}
    tg.io.save(path, tree)
    assert_same(tg.io.load(path)["w"], np.arange(3, dtype=np.float32))
    found = tg.io.load(path, tree)
    for name, x in tree.items():
        assert (
            isinstance(found[name], jax.Array) and found[name].dtype == x.dtype and found[name].sharding == x.sharding
        )
        assert np.asarray(found[name]).tobytes() == np.asarray(x).tobytes()
    assert_same(tg.io.load(path, {**tree, "n": np.zeros(3)})["n"], np.arange(3.0))
    tree["w"].delete()
    with pytest.raises(RuntimeError, match=r"tree\['w'\] cannot be saved: .*deleted"):
        tg.io.save(path, tree)


def test_differences(path: Path) -> None:
    tg.io.save(
        path, {"a": {"kernel": np.ones((2, 3)), "old": np.ones(3)}, "z": np.ones(2, np.float32), "w": np.ones((2, 3))}
    )
    like = {"a": {"kernal": np.ones((2, 3)), "b": np.zeros(4)}, "z": np.ones(2), "w": np.zeros((3, 2), np.float32)}
    with pytest.raises(MismatchError) as caught:
        tg.io.load(path, like)
    assert str(caught.value) == (
        f"{path} does not fit like:\n"
        "  missing: a.b, expected f64[4]\n"
        "  missing: a.kernal, expected f64[2,3]; the nearest name is a.kernel\n"
        "  surplus: a.kernel, f64[2,3] in the file; the nearest name is a.kernal\n"
        "  surplus: a.old, f64[3] in the file\n"
        "  shape: w is f64[2,3] in the file, expected f32[3,2]\n"
        "  dtype: z is f32[2] in the file, expected f64[2]\n"
        "Rename what the file has, rename={'old.*': 'new.*'}, or take what fits, strict=False."
    )
    assert caught.value.differences[1] == Difference("missing", "a.kernal", "f64[2,3]", None, "a.kernel")
    found, differences = tg.io.load(path, like, strict=False, rename={"*.kernel": "*.kernal"})
    assert_same(found["a"]["kernal"], np.ones((2, 3)))
    assert found["w"] is like["w"] and found["z"] is like["z"] and found["a"]["b"] is like["a"]["b"]
    assert [d.kind for d in differences] == ["missing", "surplus", "shape", "dtype"]
    assert tg.io.load(path, strict=False)[1] == []


def test_differences_of_many_names(path: Path) -> None:
    """Complete, and in a time that does not grow with the square."""
    tg.io.save(path, {f"old_{i}": np.zeros(0) for i in range(2000)})
    with pytest.raises(MismatchError) as caught:
        tg.io.load(path, {f"new_{i}": np.zeros(0) for i in range(2000)})
    assert len(caught.value.differences) == 4000


def test_none_is_a_tree_without_leaves(path: Path) -> None:
    tg.io.save(path, {"a": None, "b": np.ones(1)})
    assert tg.io.load(path, {"b": np.ones(1), "c": None, "d": {}}) == {"b": np.ones(1), "c": None, "d": {}}
    with pytest.raises(MismatchError, match=r"missing: a, expected f64\[1\]"):
        tg.io.load(path, {"a": np.ones(1), "b": np.ones(1)})


def test_like_of_no_arrays(path: Path) -> None:
    tg.io.save(path, {"a": np.ones(1)})
    with pytest.raises(TypeError, match=r"like\['a'\] is <function .* where an array is wanted, a ShapeDtypeStruct"):
        tg.io.load(path, {"a": test_like_of_no_arrays})


def test_kinds_of_numbers() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kinds: dict[Any, str] = {
        "?": "b",
        "i1": "i",
        "u8": "i",
        "f2": "f",
        "c8": "c",
        "g": "f",
        ">f4": "f",
        "U3": "U",
        "M8[s]": "M",
    }
    kinds |= {ml_dtypes.bfloat16: "f", ml_dtypes.float8_e5m2: "f", ml_dtypes.int4: "i", ml_dtypes.uint4: "i"}
    for dtype, kind in kinds.items():
        assert type_of_leaf(np.empty((), dtype)).kind == kind
    whole = enum.IntEnum("whole", "a").a
    for x, kind in ((True, "b"), (1, "i"), (whole, "i"), (1.0, "f"), (1j, "c"), ("x", "U")):
        assert type_of_leaf(x).kind == kind
    assert str(LeafType((2, 3), "float32")) == "f32[2,3]" and str(LeafType((), "", int)) == "a Python int"
