"""The two kinds of files: dtypes, layouts, and headers that say what cannot be."""

from __future__ import annotations

import io
import json
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import tracegrad as tg
from tracegrad.io import CorruptFileError
from tracegrad.io.formats import opened

SUFFIXES = pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
IN_BOTH = [
    "?",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "f2",
    "f4",
    "f8",
    "c8",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
]
IN_NPZ = ["c16", "g", "G", "S3", "U3", "M8[s]", "m8[ms]", "float8_e3m4", "int4", "float4_e2m1fn"]


def drawn(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    values = np.asarray(np.arange(int(np.prod(shape))).reshape(shape) % 4)
    return np.asarray(values.astype(str).astype(dtype) if dtype.kind in "SU" else values.astype(dtype), dtype)


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.mark.parametrize(
    "dtype, suffix", [*[(d, s) for d in IN_BOTH for s in (".npz", ".safetensors")], *[(d, ".npz") for d in IN_NPZ]]
)
def test_dtypes(tmp_path: Path, dtype: str, suffix: str) -> None:
    arrays = [drawn(dtype_of(dtype), shape) for shape in ((), (3,), (2, 3), (0, 2), (2, 0), (1, 1, 4))]
    tg.io.save(tmp_path / f"x{suffix}", arrays)
    for found, array in zip(tg.io.load(tmp_path / f"x{suffix}"), arrays, strict=True):
        assert type(found) is np.ndarray and found.dtype == array.dtype and found.shape == array.shape
        assert found.tobytes() == array.tobytes() and found.flags.writeable


@SUFFIXES
def test_bits_are_kept(tmp_path: Path, suffix: str) -> None:
    """NaNs with what they carry, and the sign of zero."""
    bits = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 0x7F800000, 0x00000001], np.uint32)
    tg.io.save(tmp_path / f"x{suffix}", bits.view(np.float32))
    np.testing.assert_array_equal(tg.io.load(tmp_path / f"x{suffix}").view(np.uint32), bits)


@SUFFIXES
def test_layouts(tmp_path: Path, suffix: str) -> None:
    """safetensors by itself writes the memory of an array, in whatever order that is."""
    x = np.arange(24.0).reshape(2, 3, 4)
    views = [
        x.T,
        x[:, ::-1],
        x[::2, 1:],
        np.asfortranarray(x[0]),
        x[..., 1],
        np.broadcast_to(x[0, 0], (2, 4)),
        x[0, 0, 0, None],
    ]
    views += [view.astype(view.dtype.newbyteorder(">")) for view in views]
    tg.io.save(tmp_path / f"x{suffix}", views)
    for found, view in zip(tg.io.load(tmp_path / f"x{suffix}"), views, strict=True):
        np.testing.assert_array_equal(found, view, strict=False)
        assert found.dtype == np.float64 and found.dtype.isnative and found.flags.c_contiguous


@SUFFIXES
def test_subclasses_and_maps(tmp_path: Path, suffix: str) -> None:
    np.arange(5.0).tofile(tmp_path / "raw")
    tg.io.save(tmp_path / f"x{suffix}", np.memmap(tmp_path / "raw", np.float64, "r"))
    found = tg.io.load(tmp_path / f"x{suffix}")
    assert type(found) is np.ndarray and found.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "x, says",
    [
        (np.ones(2, "c16"), r"tree\['x'\] is an array of c128, for which \.safetensors files have no name; save it as \.npz, .* or save its \.real and \.imag"),
        (np.ones(2, "g"), r"an array of f128, .* save it as \.npz"),
        (np.array(["a"]), r"an array of str32, .*; save it as \.npz"),
        (np.ones(2, ml_dtypes.int4), r"an array of int4, .*; save it as \.npz"),
        (np.array([object()]), r"an array of object, .*; files hold arrays of numbers alone, and no Python objects"),
        (np.zeros(2, [("a", "f4")]), r"files hold arrays of numbers alone"),
    ],
    ids=lambda x: str(getattr(x, "dtype", "")),
)  # fmt: skip
def test_dtypes_that_safetensors_has_no_name_for(tmp_path: Path, x: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        tg.io.save(tmp_path / "x.safetensors", {"x": x})
    assert not list(tmp_path.iterdir())


def test_objects_are_never_pickled(tmp_path: Path) -> None:
    for x in (np.array([object()]), np.array(["a"], np.dtypes.StringDType())):
        with pytest.raises(TypeError, match="no Python objects"):
            tg.io.save(tmp_path / "x.npz", x)
    np.savez(tmp_path / "x.npz", x=np.array([print]))
    with pytest.raises(CorruptFileError, match="where numbers are wanted: nothing is unpickled"):
        tg.io.load(tmp_path / "x.npz")


def test_other_suffixes(tmp_path: Path) -> None:
    for name in ("x.pt", "x", "x.npy"):
        with pytest.raises(
            ValueError, match=r"the suffix of '.*x.*' decides what kind of file it is: write \.safetensors, or \.npz"
        ):
            tg.io.save(tmp_path / name, 1)
        with pytest.raises(ValueError, match="decides what kind of file"):
            tg.io.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        tg.io.load(tmp_path / "x.npz")


def test_names_that_zip_files_cannot_have(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"'a\\x00b' cannot be the name of an array in a zip file; save as \.safetensors"
    ):
        tg.io.save(tmp_path / "x.npz", {"a\0b": np.ones(1)})
    tg.io.save(tmp_path / "x.safetensors", {"a\0b": np.ones(1), "__metadata__": np.zeros(1), "": np.ones(2)})
    assert sorted(tg.io.load(tmp_path / "x.safetensors")) == ["", "__metadata__", "a\0b"]
    assert len(list(tmp_path.iterdir())) == 1


# -- Headers that say what cannot be.


def safe(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 2**40) + b"{}",
        safe(b"[1, 2"),
        safe(b"[" * 100_000),
        safe({"x": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 8]}}, bytes(8)),
        safe({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(8)),
        safe({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(8)),
        safe({"x": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, bytes(8)),
        safe({"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8)),
        safe({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(9)),
        safe(
            {
                "x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "y": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            },
            bytes(12),
        ),
        safe({"x": {"dtype": "OBJECT", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        safe({"x": 3}),
    ],
)
def test_headers_of_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"x\.safetensors"):
        tg.io.load(tmp_path / "x.safetensors")


def test_four_bits(tmp_path: Path) -> None:
    header = {"x": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}
    (tmp_path / "x.safetensors").write_bytes(safe(header, bytes(2)))
    with pytest.raises(TypeError, match=r"the tensor 'x' is of F4, for which NumPy has no dtype"):
        tg.io.load(tmp_path / "x.safetensors")


def npy(shape: tuple[int, ...], data: bytes, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as folder:
        for name, content in members.items():
            folder.writestr(name, content)


@pytest.mark.parametrize(
    "content, says",
    [
        (npy((2**50,), bytes(16)), "takes 9,007,199,254,740,992 bytes, of which there cannot be more than"),
        (npy((4,), bytes(16)), r"shape \(4,\) and float64 takes 32 bytes"),
        (npy((1,), bytes(16)), "takes 8 bytes"),
        (npy((-2,), bytes(16)), "where numbers are wanted"),
        (npy((2,), bytes(16), "'|O'"), "nothing is unpickled"),
        (npy((2,), bytes(16), "[('a', '<f8')]"), "where numbers are wanted"),
        (npy((2,), bytes(16), "__import__('os')"), "malformed node"),
        (b"\x93NUMPY\x03\x00" + npy((2,), bytes(16))[8:], r"version \(3, 0\)"),
        (b"not one of NumPy's", "magic string"),
        (b"", "EOF"),
    ],
)
def test_headers_of_npz(tmp_path: Path, content: bytes, says: str) -> None:
    zipped(tmp_path / "x.npz", {"x.npy": content})
    with pytest.raises(CorruptFileError, match=rf"x\.npz .*{says}"):
        tg.io.load(tmp_path / "x.npz")


def test_decompression_bombs(tmp_path: Path) -> None:
    """What swells more than deflate can has a header that lies; nothing is allocated for it."""
    path = tmp_path / "x.npz"
    zipped(path, {"x.npy": npy((1000,), bytes(8000))})
    tg.io.load(path)  # is compressed well, but no bomb
    content = bytearray(path.read_bytes())
    size = 2**50
    for mark, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # the sizes in both headers
        struct.pack_into("<L", content, content.index(mark) + offset, 2**31)
    path.write_bytes(content)
    with pytest.raises(CorruptFileError):
        tg.io.load(path)
    zipped(path, {"x.npy": npy((size,), bytes(8))}, zipfile.ZIP_LZMA)
    with pytest.raises(CorruptFileError, match="compressed in a way that NumPy does not write"):
        tg.io.load(path)


def test_members_of_zip_files(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as folder:
        folder.writestr("x.npy", npy((1,), bytes(8)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            folder.writestr("x.npy", npy((1,), bytes(8)))
    with pytest.raises(CorruptFileError, match="two of its arrays are called 'x'"):
        tg.io.load(path)
    inner = io.BytesIO()
    np.save(inner, np.ones((3, 2), order="F"))
    zipped(path, {"../../x.npy": inner.getvalue()})
    assert sorted(tg.io.load(path, like={"../../x": np.zeros((3, 2))})) == ["../../x"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_what_numpy_writes(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3).T,
        "b": np.float32(3),
        "c": np.zeros((0, 2), ">i4"),
        "d": np.array(["x"]),
    }
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", **arrays)
        found = tg.io.load(tmp_path / "x.npz")
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    tg.io.save(tmp_path / "x.npz", {"a": {"b.c": np.ones((2, 3))}, "file": np.arange(3)}, metadata={"k": "v"})
    with np.load(tmp_path / "x.npz") as found:
        assert sorted(found.files) == ["__metadata__", "a.b\\.c", "file"]
        np.testing.assert_array_equal(found["a.b\\.c"], np.ones((2, 3)))
        assert json.loads(found["__metadata__"].tobytes())["k"] == "v"


def test_nothing_but_what_is_read_is_allocated(tmp_path: Path) -> None:
    """The header of a file is enough to know what it has."""
    tg.io.save(tmp_path / "x.safetensors", {"x": np.ones((3, 4), np.float32)})
    with opened(tmp_path / "x.safetensors") as file:
        assert file.entries == {"x": ("float32", (3, 4), 48)}
        memory = bytearray(48)
        file.read_into("x", memoryview(memory))
        assert np.frombuffer(memory, np.float32).tolist() == [1.0] * 12


# -- Other libraries.


def test_files_of_safetensors(tmp_path: Path) -> None:
    arrays = {
        "model.layers.0.weight": np.ones((2, 3), np.float16),
        "model.norm": np.arange(3),
        "b": np.ones(2, ml_dtypes.bfloat16),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = tg.io.load(tmp_path / "x.safetensors")
    assert found["model"]["layers"]["0"]["weight"].dtype == np.float16 and found["b"].dtype == ml_dtypes.bfloat16
    assert tg.io.read_metadata(tmp_path / "x.safetensors") == {"format": "pt"}
    tg.io.save(tmp_path / "y.safetensors", found)
    back = safetensors.numpy.load_file(tmp_path / "y.safetensors")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].tobytes() == array.tobytes() and back[name].dtype == array.dtype


@pytest.mark.skipif(sys.byteorder == "big", reason="the bytes are written as they lie here")
def test_files_as_torch_writes_them(tmp_path: Path) -> None:
    """A header with spaces at its end, tensors in another order than their names, shapes without dimensions."""
    header = {
        "__metadata__": {"format": "pt"},
        "b.weight": {"dtype": "BF16", "shape": [2], "data_offsets": [8, 12]},
        "a": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]},
    }
    content = safe(json.dumps(header).encode() + b"    ", np.int64(7).tobytes() + b"\x80\x3f\x00\xc0")
    (tmp_path / "x.safetensors").write_bytes(content)
    found = tg.io.load(tmp_path / "x.safetensors", bfloat16="float32")
    assert found["a"].shape == () and found["a"] == 7
    assert found["b"]["weight"].dtype == np.float32 and found["b"]["weight"].tolist() == [1.0, -2.0]
