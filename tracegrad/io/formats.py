"""The two kinds of files, each a dict of named arrays and a dict of texts: `.safetensors` through the package of that name, and
`.npz` by NumPy alone. Which one it is the suffix of the path decides."""

from __future__ import annotations

import errno
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from tracegrad.core.late import imported
from tracegrad.core.types import dtype_name, is_added
from tracegrad.io.files import CorruptFileError, needed, replacing

Array = np.ndarray[Any, Any]

# How safetensors calls dtypes. What else it has (4 and 6 bits, packed) has no dtype in NumPy of that layout.
_SAFE = {
    "BOOL": "bool",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
_SAFE_NAMES = frozenset(_SAFE.values())
_TEXTS = "__metadata__"  # the member of an .npz that has the texts, as JSON
_DEFLATE_RATIO = 1032  # to what deflate can swell at most
_ADDED = "tracegrad:dtypes"  # in the texts of an .npz: the dtypes that NumPy has no name for
_CHUNK = 1 << 24
_OTHERWISE = " (or 'tracegrad[train]')"


class Entry(NamedTuple):
    """What a file says of a tensor: its dtype by name, its shape, and how many bytes its elements take."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int


class Opened(NamedTuple):
    """A file whose header was read and found to agree with the file's length: texts, entries, and how to read the elements of
    one into memory that is handed over."""

    path: Path
    texts: dict[str, str]
    entries: dict[str, Entry]
    read_into: Callable[[str, memoryview], None]


def suffix_of(path: Path) -> str:
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(
            f"the suffix of {str(path)!r} decides what kind of file it is: write .safetensors, or .npz (NumPy alone)"
        )
    return path.suffix


def require_dtype(suffix: str, dtype: np.dtype[Any], what: str) -> None:
    """TypeError for an array of a dtype that such files have no name for."""
    if is_added(dtype) or dtype.kind in "biufc":
        if suffix == ".npz" or dtype.name in _SAFE_NAMES:
            return
        fix = "save it as .npz, which has all of NumPy's dtypes"
        if dtype.kind == "c":
            fix += ", or save its .real and .imag"
    elif dtype.kind in "SUmM":
        if suffix == ".npz":
            return
        fix = "save it as .npz"
    else:
        fix = "files hold arrays of numbers alone, and no Python objects"
    raise TypeError(f"{what} is an array of {dtype_name(dtype)}, for which {suffix} files have no name; {fix}")


def as_stored(x: Any) -> Array:
    """An array as files have it: in one block, in C order, and little-endian."""
    x = np.asarray(x)
    order = x.dtype.newbyteorder("<") if x.dtype.kind in "iufcUmM" and x.dtype.byteorder != "|" else x.dtype
    return np.ascontiguousarray(x, order).reshape(x.shape)  # which would have made one element of none


def dtype_text(dtype: np.dtype[Any]) -> str:
    """A dtype as text that says all of it."""
    return dtype.name if is_added(dtype) or (dtype.kind in "biufc" and dtype.isnative) else dtype.str


def checksum(dtype: str, shape: tuple[int, ...], data: Any) -> int:
    """The crc32 of a tensor: of its elements' bytes, after its dtype and shape as text."""
    return zlib.crc32(data, zlib.crc32(f"{dtype}{list(shape)}".encode()))


def as_bytes(x: Array) -> memoryview:
    """The memory of an array in one block."""
    return memoryview(x.reshape(-1).view(np.uint8).data)


def write(path: Path, arrays: Mapping[str, Array], texts: Mapping[str, str]) -> None:
    """A file of arrays as `as_stored` makes them."""
    suffix = suffix_of(path)
    if suffix == ".npz":
        with replacing(path) as beside:
            _write_npz(beside, arrays, texts)
        return
    safetensors = needed(
        "safetensors", f"saving {path}", "safetensors", f"{_OTHERWISE}, or write .npz, which needs NumPy alone"
    )
    package = imported("safetensors.numpy")
    with replacing(path) as beside:
        try:
            package.save_file(dict(arrays), str(beside), metadata=dict(texts))
        except safetensors.SafetensorError as error:
            found = re.search(r"(?:os error|code:) (\d+)", str(error))
            if found is None:
                raise ValueError(
                    f"{path} could not be saved: safetensors {safetensors.__version__} says: {error}; a later one may know more: run "
                    "`pip install -U safetensors`, or save as .npz"
                ) from None
            raise OSError(int(found[1]), str(error)) from None


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a file for reading. CorruptFileError if it is torn, or its header says what cannot be."""
    suffix = suffix_of(path)
    with path.open("rb") as file:
        length = path.stat().st_size
        if suffix == ".npz":
            with _opened_npz(path, file, length) as found:
                yield found
        else:
            yield _opened_safetensors(path, file, length)


# -- .safetensors: eight bytes with the length of a header of JSON, the header, the elements.


def _opened_safetensors(path: Path, file: IO[bytes], length: int) -> Opened:
    safetensors = needed("safetensors", f"reading {path}", "safetensors", _OTHERWISE)
    try:
        with safetensors.safe_open(str(path), framework="np"):  # it looks at all of the header
            pass
    except FileNotFoundError:  # it was removed meanwhile
        raise
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CorruptFileError(f"{path} ({length:,} bytes) is no whole .safetensors file: {error}") from None
    entries, offsets = {}, {}
    try:
        size = struct.unpack("<Q", file.read(8))[0]
        if size > length - 8:
            raise ValueError(f"its header would be of {size:,} bytes")
        header = json.loads(file.read(size))
        texts = header.pop("__metadata__", {})
        for name, told in header.items():
            dtype = _SAFE.get(told["dtype"])
            if dtype is None:
                raise TypeError(f"{path}: the tensor {name!r} is of {told['dtype']}, for which NumPy has no dtype")
            begin, end = told["data_offsets"]
            shape = tuple(told["shape"])
            if not 0 <= begin <= end <= length - 8 - size or end - begin != math.prod(shape) * _itemsize(dtype):
                raise ValueError(f"the tensor {name!r} of {told} does not fit into it")
            entries[name] = Entry(dtype, shape, end - begin)
            offsets[name] = 8 + size + begin
    except (ValueError, KeyError, struct.error) as error:  # it was replaced since the package looked at it
        raise CorruptFileError(f"{path} ({length:,} bytes) is no whole .safetensors file: {error}") from None

    def read_into(name: str, memory: memoryview) -> None:
        file.seek(offsets[name])
        if file.readinto(memory) != len(memory):  # type: ignore[attr-defined]
            raise CorruptFileError(f"{path} ends in the midst of the tensor {name!r}: it was cut off while being read")

    return Opened(path, texts, entries, read_into)


def _itemsize(dtype: str) -> int:
    if dtype == "bfloat16":
        return 2
    return 1 if dtype.startswith("float8") else np.dtype(dtype).itemsize


# -- .npz: a zip file with an .npy file for each array.


def _write_npz(path: Path, arrays: Mapping[str, Array], texts: Mapping[str, str]) -> None:
    added = {name: array.dtype.name for name, array in arrays.items() if is_added(array.dtype)}
    if added:
        texts = {**texts, _ADDED: json.dumps(added)}
    noted = np.frombuffer(json.dumps(dict(texts)).encode(), np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as folder:
        for name, array in [(_TEXTS, noted), *arrays.items()]:
            member = zipfile.ZipInfo(f"{name}.npy")
            if member.filename != f"{name}.npy":
                raise ValueError(
                    f"{name!r} cannot be the name of an array in a zip file; save as .safetensors, or rename it"
                )
            with folder.open(member, "w", force_zip64=True) as into:
                bare = array.view(f"V{array.dtype.itemsize}") if name in added else array
                np.lib.format.write_array(into, bare, allow_pickle=False)


@contextmanager
def _opened_npz(path: Path, file: IO[bytes], length: int) -> Iterator[Opened]:
    with _noticing(path, length):
        folder = zipfile.ZipFile(file)
    members: dict[str, zipfile.ZipInfo] = {}
    entries: dict[str, Entry] = {}

    def read_into(name: str, memory: memoryview) -> None:
        with _noticing(path, length), folder.open(members[name]) as member:
            dtype, shape, in_fortran_order = _npy_header(member)
            for start in range(0, len(memory), _CHUNK):
                part = memory[start : start + _CHUNK]
                filled = 0
                while filled < len(part):
                    count = member.readinto(part[filled:])  # type: ignore[attr-defined]
                    if not count:
                        raise EOFError(f"the array {name!r} ends too early")
                    filled += count
            if member.read(1):  # which at the end compares zip's own sum
                raise ValueError(f"the array {name!r} is longer than it says")
            if in_fortran_order:
                turned = np.frombuffer(memory, f"V{dtype.itemsize}").reshape(shape[::-1]).T
                memory[:] = as_bytes(np.ascontiguousarray(turned))

    with folder:
        with _noticing(path, length):
            for member in folder.infolist():
                name = member.filename.removesuffix(".npy")
                if name in members:
                    raise ValueError(f"two of its arrays are called {name!r}")
                members[name] = member
            if sum([member.compress_size for member in members.values()]) > length:
                raise ValueError("its arrays overlap")
            for name, member in members.items():
                entries[name] = _npy_entry(folder, member)
            texts: dict[str, str] = {}
            if _TEXTS in entries:
                memory = bytearray(entries.pop(_TEXTS).nbytes)
                read_into(_TEXTS, memoryview(memory))
                texts = json.loads(memory)
            for name, dtype in json.loads(texts.pop(_ADDED, "{}")).items():
                entry = entries[name]
                if entry.dtype != f"|V{_itemsize(dtype)}":
                    raise ValueError(f"the array {name!r} is said to be of {dtype}, and has elements {entry.dtype}")
                entries[name] = entry._replace(dtype=dtype)
        yield Opened(path, texts, entries, read_into)


def _npy_entry(folder: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    """What the header of an array says, if it is no more than what there is of it."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"the array {member.filename!r} is compressed in a way that NumPy does not write")
    most = member.compress_size * (1 if member.compress_type == zipfile.ZIP_STORED else _DEFLATE_RATIO)
    with folder.open(member) as file:
        dtype, shape, _ = _npy_header(file)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes != member.file_size - file.tell() or member.file_size > most:
            raise ValueError(
                f"the array {member.filename!r} of shape {shape} and {dtype} takes {nbytes:,} bytes, of which there cannot be "
                f"more than {most:,} (a decompression bomb, or a torn file)"
            )
    return Entry(dtype_text(dtype), shape, nbytes)


def _npy_header(file: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array is in version {version} of NumPy's format, which has fields with names")
    shape, in_fortran_order, dtype = read(file)
    if dtype.hasobject or dtype.names or min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape} is of {dtype}, where numbers are wanted: nothing is unpickled")
    return dtype, shape, in_fortran_order


@contextmanager
def _noticing(path: Path, length: int) -> Iterator[None]:
    """Take what reading a torn zip file raises for what it is."""
    try:
        yield
    except CorruptFileError:
        raise
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):
            raise
        raise CorruptFileError(f"{path} ({length:,} bytes) is no whole .npz file: {error}") from None
    except _TORN as error:
        raise CorruptFileError(f"{path} ({length:,} bytes) is no whole .npz file: {error}") from None


_TORN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,  # of one that is encrypted
    RecursionError,
    OverflowError,
    MemoryError,
)
