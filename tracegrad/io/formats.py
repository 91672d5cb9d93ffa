"""The two kinds of files, each a dict of named arrays and a dict of texts: `.safetensors` through the package of that name, and
`.npz` by NumPy alone. Which one it is the suffix of the path decides."""

from __future__ import annotations

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
_CHUNK = 1 << 24


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
        raise ValueError(f"the suffix of {str(path)!r} decides what kind of file it is: write .safetensors, or .npz (NumPy alone)")
    return path.suffix


def require_dtype(suffix: str, dtype: np.dtype[Any], path: str) -> None:
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
    raise TypeError(f"tree{path} is an array of {dtype_name(dtype)}, for which {suffix} files have no name; {fix}")


def as_stored(x: Any) -> Array:
    """An array as files have it: in one block, in C order, and little-endian."""
    x = np.asarray(x)
    order = x.dtype.newbyteorder("<") if x.dtype.kind in "iufcUmM" and x.dtype.byteorder != "|" else x.dtype
    return np.ascontiguousarray(x, order).reshape(x.shape)  # which would have made one element of none


def checksum(dtype: str, shape: tuple[int, ...], data: Any) -> int:
    """The crc32 of a tensor: of its elements' bytes, after its dtype and shape as text."""
    return zlib.crc32(data, zlib.crc32(f"{dtype}{list(shape)}".encode()))


def as_bytes(x: Array) -> memoryview:
    """The memory of an array in one block."""
    return memoryview(x.reshape(-1).view(np.uint8))


def write(path: Path, arrays: Mapping[str, Array], texts: Mapping[str, str]) -> None:
    """A file of arrays as `as_stored` makes them."""
    suffix = suffix_of(path)
    if suffix == ".npz":
        with replacing(path) as beside:
            _write_npz(beside, arrays, texts)
        return
    numpy_of = _safetensors(f"saving {path}")
    with replacing(path) as beside:
        try:
            numpy_of.save_file(dict(arrays), beside, metadata=dict(texts))
        except numpy_of.SafetensorError as error:
            found = re.search(r"\(os error (\d+)\)", str(error))
            if found is None:
                raise ValueError(f"{path} could not be saved: safetensors says: {error}") from None
            raise OSError(int(found[1]), str(error)) from None


def _safetensors(who: str) -> Any:
    return needed("safetensors.numpy", who, "safetensors", "` (or 'tracegrad[train]'), or write .npz, which needs NumPy alone")


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
