"""Trees saved and loaded, and compared with what is expected."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
import zlib
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tracegrad as tg
from tests.io import assert_same
from tracegrad.io import CorruptFileError, MismatchError
from tracegrad.io.trees import reading

SUFFIXES = pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
Adam = namedtuple("Adam", "count mu nu")


@tg.tree_util.register_dataclass
@dataclasses.dataclass
class Block:
    kernel: Any
    bias: Any
    name: str = dataclasses.field(default="block", metadata={"static": True})


# -- Round trips.

DTYPES = st.sampled_from(
    [*map(np.dtype, ("?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8")), np.dtype(ml_dtypes.bfloat16)]
)


@st.composite
def arrays(draw: Any) -> Any:
    dtype = draw(DTYPES)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    bits = draw(st.binary(min_size=math.prod(shape) * dtype.itemsize, max_size=math.prod(shape) * dtype.itemsize))
    if dtype.kind == "b":
        bits = bytes([b % 2 for b in bits])
    found = np.frombuffer(bits, dtype).reshape(shape)
    return found[()] if draw(st.booleans()) and shape == () else found.copy()


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
LEAVES = arrays() | st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text(max_size=5)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS | st.sampled_from(["a.b", "a", "\\", "__metadata__", ""]), inner, max_size=3)
        | st.dictionaries(st.integers(), inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=8,
)


@SUFFIXES
@given(tree=TREES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_comes_back(tmp_path: Path, suffix: str, tree: Any) -> None:
    tg.io.save(tmp_path / f"x{suffix}", tree)
    assert_same(tg.io.load(tmp_path / f"x{suffix}"), tree)
    assert_same(tg.io.load(tmp_path / f"x{suffix}", like=tree), tree)


@pytest.fixture(params=[".npz", ".safetensors"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / f"x{request.param}"


STATE = {
    "params": [Block(np.ones((2, 3), np.float32), None), Block(np.zeros(3), np.arange(3))],
    "opt": Adam(np.int32(7), {"k": np.ones(2)}, ()),
    "lr": 0.1,
}


def test_classes_come_back_by_like_alone(path: Path) -> None:
    tg.io.save(path, STATE)
    assert tg.io.load(path)["opt"].keys() == {"count", "mu", "nu"}
    assert tg.io.load(path)["params"][0].keys() == {"kernel", "bias"}
    like = tg.tree.map(lambda x: x * 0, STATE)
    found = tg.io.load(path, like)
    assert type(found["opt"]) is Adam and type(found["params"][0]) is Block and found["params"][0].name == "block"
    assert tg.tree.structure(found) == tg.tree.structure(STATE)
    for one, other in zip(tg.tree.leaves(found), tg.tree.leaves(STATE), strict=True):
        assert_same(one, other)


def test_types_alone_are_enough(path: Path) -> None:
    tg.io.save(path, {"w": np.ones((2, 3), np.float32), "n": 3})
    like = {"w": tg.ShapeDtypeStruct((2, 3), np.float32), "n": 0}
    assert_same(tg.io.load(path, like), {"w": np.ones((2, 3), np.float32), "n": 3})


def test_results_are_ones_own(path: Path) -> None:
    like = {"a": np.zeros(3)}
    tg.io.save(path, {"a": np.ones(3)})
    found = tg.io.load(path, like)
    found["a"] += 1
    assert like["a"].tolist() == [0, 0, 0] and tg.io.load(path)["a"].tolist() == [1, 1, 1]


def test_a_single_array_and_a_single_number(path: Path) -> None:
    for tree in (np.arange(3.0), 2, None, "x", {}, [], np.float32(1.5)):
        tg.io.save(path, tree)
        assert_same(tg.io.load(path), tree)
        assert_same(tg.io.load(path, tree), tree)


def test_what_is_loaded_goes_on_to_train(path: Path) -> None:
    tg.io.save(path, {"w": np.ones(3)})
    params = tg.io.load(path)
    np.testing.assert_array_equal(tg.grad(lambda p: np.sum(p["w"] ** 2))(params)["w"], [2.0, 2.0, 2.0])


# -- Names.


def test_renaming_without_like(path: Path) -> None:
    tg.io.save(path, {"body": [np.ones(1), 2], "v1.5": np.zeros(1)})
    found = tg.io.load(path, rename={"body.*": "trunk.*"})
    assert_same(found, {"trunk": {"0": np.ones(1), "1": 2}, "v1.5": np.zeros(1)})


def test_files_of_others_by_like(tmp_path: Path) -> None:
    """Their names have no escapes: dots are dots, whether `like` is nested or flat."""
    np.savez(tmp_path / "x.npz", **{"model.0.w": np.ones(2), "model.0.b": np.zeros(1)})
    nested = {"model": [{"w": np.zeros(2), "b": np.ones(1)}]}
    assert_same(tg.io.load(tmp_path / "x.npz", nested), {"model": [{"w": np.ones(2), "b": np.zeros(1)}]})
    flat = {"model.0.w": np.zeros(2), "model.0.b": np.ones(1)}
    assert_same(tg.io.load(tmp_path / "x.npz", flat), {"model.0.w": np.ones(2), "model.0.b": np.zeros(1)})
    with pytest.raises(
        MismatchError, match=r"missing: model\.0\.c, expected f64\[1\]; the nearest name is model\.0\.b"
    ):
        tg.io.load(tmp_path / "x.npz", {"model": [{"w": np.zeros(2), "c": np.ones(1)}]})
    np.savez(tmp_path / "y.npz", **{"a": np.ones(1), "a.b": np.ones(2)})
    assert sorted(tg.io.load(tmp_path / "y.npz")) == ["a", "a.b"]


# -- bfloat16.


def test_bfloat16_without_ml_dtypes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    tg.io.save(path, {"w": bits.view(ml_dtypes.bfloat16), "x": np.ones(1)})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    says = "the tensor 'w' of bfloat16 needs the package ml_dtypes, which is not installed here: run `pip install ml_dtypes`, or load"
    with pytest.raises(ImportError, match=f"{says} with bfloat16='float32'"):
        tg.io.load(path)
    found = tg.io.load(path, bfloat16="float32")["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), bits.astype(np.uint32) << 16)
    assert tg.io.load(path, {"w": np.zeros(1 << 16, np.float32), "x": np.ones(1)}, bfloat16="float32")["w"].shape == (
        1 << 16,
    )
    with pytest.raises(ValueError, match="bfloat16='float16': write 'float32'"):
        tg.io.load(path, bfloat16="float16")


# -- Metadata.


def test_metadata(path: Path) -> None:
    tg.io.save(path, {"a": 1}, metadata={"note": "ä\n", "format": "pt"})
    assert tg.io.read_metadata(path) == {"note": "ä\n", "format": "pt"}
    with pytest.raises(TypeError, match=r"metadata holds texts by name, got \{'n': 3\}; write json\.dumps"):
        tg.io.save(path, {}, metadata={"n": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="the name 'tracegrad:x' is one of tracegrad's own"):
        tg.io.save(path, {}, metadata={"tracegrad:x": ""})
    with pytest.raises(ValueError, match="its structure cannot be written as JSON"):
        tg.io.save(path, {"\ud800": np.ones(1)})


def test_sums(path: Path) -> None:
    x = np.arange(3, dtype=np.float32)
    tg.io.save(path, {"x": x})
    with reading(path) as found:
        note = found.note
    assert note is not None
    assert note["crc32"] == {"x": zlib.crc32(x.tobytes(), zlib.crc32(b"float32[3]"))}
    assert note["format"] == 1 and note["version"] == tg.__version__


def test_files_of_a_later_version(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.numpy").save_file
    save_file({}, tmp_path / "x.safetensors", metadata={"tracegrad": '{"format": 2, "version": "9.0"}'})
    with pytest.raises(ValueError, match=r"is in format 2 of tracegrad 9\.0; this version reads up to 1") as caught:
        tg.io.load(tmp_path / "x.safetensors")
    assert not isinstance(caught.value, CorruptFileError)


# -- Torn files.


@pytest.fixture
def whole(path: Path) -> bytes:
    tree = {"a": {"kernel": np.arange(200.0).reshape(10, 20), "bias": np.ones(3, np.int8)}, "step": 3, "name": "net"}
    tg.io.save(path, tree, metadata={"note": "text"})
    return path.read_bytes()


def header_length(path: Path, content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little") if path.suffix == ".safetensors" else 300


def test_truncated_files(path: Path, whole: bytes) -> None:
    """At every byte of the header, and at 200 drawn places."""
    places = [*range(header_length(path, whole)), *np.random.default_rng(0).integers(0, len(whole), 200)]
    for place in places:
        path.write_bytes(whole[:place])
        with pytest.raises(
            CorruptFileError, match=rf"{re.escape(str(path))} \({place:,} bytes\) is no whole {path.suffix} file"
        ):
            tg.io.load(path)


def test_changed_files(path: Path, whole: bytes) -> None:
    """A byte that has changed is noticed, or is one that says nothing."""
    rng = np.random.default_rng(1)
    expected = tg.io.load(path)
    header = header_length(path, whole)
    noticed = 0
    places = [*range(min(header, 700)), *rng.integers(0, len(whole), 200)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            found = tg.io.load(path)
        except (CorruptFileError, TypeError):  # a dtype that has become one of four bits
            noticed += 1
        else:
            assert_same(found, expected)
    assert noticed > 0.8 * len(places)


def test_lengthened_files(path: Path, whole: bytes) -> None:
    path.write_bytes(whole + bytes(8))
    if path.suffix == ".safetensors":
        with pytest.raises(CorruptFileError):
            tg.io.load(path)


def test_headers_that_lie_about_the_structure(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.numpy").save_file
    for note in ("", "[", "3", "[]", "{}", '{"format": "x"}', '{"format": 1, "crc32": 3}', "[" * 100_000):
        save_file({"x": np.ones(1)}, tmp_path / "x.safetensors", metadata={"tracegrad": note})
        with pytest.raises(CorruptFileError, match=r"x\.safetensors"):
            tg.io.load(tmp_path / "x.safetensors")


# -- Sizes, and other libraries.


def test_ten_thousand_leaves(path: Path) -> None:
    tree = {f"layer_{i}": {"kernel": np.full((2, 2), i, np.float32), "bias": np.zeros(2)} for i in range(5000)}
    tg.io.save(path, tree)
    found = tg.io.load(path, tree)
    assert found["layer_4999"]["kernel"].tolist() == [[4999.0] * 2] * 2


def test_flax(tmp_path: Path) -> None:
    """Variables of flax as they are, and states by way of its state dicts."""
    serialization = pytest.importorskip("flax.serialization")
    optax = pytest.importorskip("optax")
    traverse = pytest.importorskip("flax.traverse_util")
    params = {"Dense_0": {"kernel": np.ones((2, 3), np.float32), "bias": np.zeros(3, np.float32)}}
    state = optax.adam(1e-3).init(params)
    tg.io.save(tmp_path / "x.safetensors", {"params": params, "opt": state})
    found = tg.io.load(tmp_path / "x.safetensors", {"params": params, "opt": state})
    assert tg.tree.structure(found["opt"]) == tg.tree.structure(state)
    assert traverse.flatten_dict(params, sep=".").keys() == {"Dense_0.kernel", "Dense_0.bias"}
    tg.io.save(tmp_path / "y.safetensors", serialization.to_state_dict(state))
    again = serialization.from_state_dict(state, tg.io.load(tmp_path / "y.safetensors"))
    assert type(again[0]) is type(state[0])
    assert_same(np.asarray(again[0].mu["Dense_0"]["kernel"]), np.zeros((2, 3), np.float32))
    bytes_of_flax = serialization.msgpack_restore(serialization.to_bytes(params))
    assert_same(bytes_of_flax, tg.io.load(tmp_path / "x.safetensors")["params"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_orbax(tmp_path: Path) -> None:
    """Which reads .safetensors, and writes its own alone."""
    orbax = pytest.importorskip("orbax.checkpoint.experimental.v1")
    params = {"Dense_0": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.ones(3)}
    tg.io.save(tmp_path / "x.safetensors", params)
    with orbax.Context(checkpoint_layout=orbax.options.CheckpointLayout.SAFETENSORS):
        found = orbax.load_pytree(tmp_path / "x.safetensors")
    assert_same(np.asarray(found["Dense_0.kernel"]), params["Dense_0"]["kernel"])
    orbax.save_pytree(tmp_path / "orbax", params)
    tg.io.save(tmp_path / "y.npz", orbax.load_pytree(tmp_path / "orbax"))
    assert_same(tg.io.load(tmp_path / "y.npz", params), params)
