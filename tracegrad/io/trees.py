"""Trees of arrays in files: `save` and `load`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import clip
from tracegrad.core.tracebacks import trimming
from tracegrad.io import formats
from tracegrad.io.files import CorruptFileError, needed, path_of
from tracegrad.io.formats import Array, Entry
from tracegrad.io.matching import Difference, LeafType, as_like, compared, mismatch, type_of_leaf
from tracegrad.io.names import parted, plain, renamed
from tracegrad.io.structure import Spec, by_dots, leaf_specs, name_of, put_together, taken_apart, tensor_name
from tracegrad.typing import PyTree

FORMAT = 1
_NOTE, _SUM = "tracegrad", "tracegrad:crc32"
_OF_ML_DTYPES = re.compile(r"bfloat16|float[468]_\w+|u?int[124]")


class Contents(NamedTuple):
    """An open file, and what `save` has noted in it, None in a file of another's."""

    file: formats.Opened
    note: dict[str, Any] | None


# -- Writing.


@trimming
def save(path: str | os.PathLike[str], tree: PyTree, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write a tree of arrays into one file, which is whole or not there.

    The suffix decides its kind: `.safetensors` (by the package safetensors; what Hugging Face, torch and MLX read), or `.npz`
    (NumPy alone, and all of its dtypes of numbers, dates and strings). Each array is under its key path,
    `params.block_0.kernel`, and the structure beside as JSON. No class and no code is in a file, and nothing is pickled.

    Args:
        path: where to. A file that is there is replaced when the new one is on the disk, and stays as it was if something
            goes wrong.
        tree: arrays (NumPy's, jax's), Python's numbers, strings and None, in dicts, lists, tuples, namedtuples and
            registered types.
        metadata: texts to go with it, as `read_metadata` returns them.

    Raises:
        OSError: if it cannot be written, with the reason.
        TypeError: for a leaf or a dtype that such files have no form for, with its path.
        ImportError: where safetensors is not installed.

    >>> import numpy as np, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     save(path, {"dense": {"kernel": np.ones((2, 3), np.float32)}, "step": 7})
    ...     load(path)["step"], load(path)["dense"]["kernel"].shape
    (7, (2, 3))
    """
    found = path_of(path, "save: the first argument", "save(path, tree)")
    write_tree(found, *prepared(found, tree), metadata)


def prepared(path: Path, x: PyTree, copy: bool = False) -> tuple[Spec, dict[str, Array]]:
    """The structure of a tree and its arrays as they will be written to a file of that suffix."""
    suffix = formats.suffix_of(path)
    found = taken_apart(x)
    arrays = {}
    for name, leaf in found.arrays.items():
        try:
            array = np.asarray(leaf.value)
        except RuntimeError as error:  # of jax, of an array of which a part is elsewhere, or that was donated
            raise RuntimeError(f"tree{leaf.path} cannot be saved: {error}") from None
        formats.require_dtype(suffix, array.dtype, f"tree{leaf.path}")
        stored = formats.as_stored(array)
        arrays[name] = stored.copy() if copy and np.may_share_memory(stored, array) else stored
    return found.spec, arrays


def write_tree(
    path: Path,
    spec: Spec,
    arrays: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write what `prepared` returns, with texts and what else is to be noted."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise TypeError(
            f"metadata is a dict of texts by name, got {clip(repr(metadata))}; write metadata={{'note': '...'}}"
        )
    texts = dict(metadata or {})
    for key, text in texts.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(
                f"metadata holds texts by name, got {clip(repr({key: text}))}; write json.dumps(...) or str(...)"
            )
        if key.partition(":")[0] == _NOTE:
            raise ValueError(f"metadata: the name {key!r} is one of tracegrad's own; choose another")
    sums = {
        name: formats.checksum(formats.dtype_text(x.dtype), x.shape, formats.as_bytes(x)) for name, x in arrays.items()
    }
    note = {
        "format": FORMAT,
        "version": sys.modules["tracegrad"].__version__,
        "tree": spec,
        "crc32": sums,
        **(more or {}),
    }
    try:
        texts[_NOTE] = json.dumps(note, allow_nan=False, separators=(",", ":"))
        texts[_SUM] = str(_sum(texts))
        for text in (*texts, *texts.values(), *arrays):
            text.encode()
    except ValueError as error:  # half of a surrogate pair, a number of more digits than Python writes
        raise ValueError(f"{path} could not be saved: its structure cannot be written as JSON: {error}") from None
    formats.write(path, arrays, texts)


def _sum(texts: Mapping[str, str]) -> int:
    """The crc32 of all texts but itself."""
    return zlib.crc32(json.dumps([[key, texts[key]] for key in sorted(texts) if key != _SUM]).encode())


# -- Reading.


@overload
def load(
    path: str | os.PathLike[str],
    like: PyTree = None,
    *,
    strict: Literal[True] = True,
    rename: Mapping[str, str] | None = None,
    bfloat16: str | None = None,
) -> Any: ...
@overload
def load(
    path: str | os.PathLike[str],
    like: PyTree = None,
    *,
    strict: Literal[False],
    rename: Mapping[str, str] | None = None,
    bfloat16: str | None = None,
) -> tuple[Any, list[Difference]]: ...
@trimming
def load(
    path: str | os.PathLike[str],
    like: PyTree = None,
    *,
    strict: bool = True,
    rename: Mapping[str, str] | None = None,
    bfloat16: str | None = None,
) -> Any:
    """The tree in a file.

    Without `like` a file that `save` wrote comes back as the containers that were saved, of NumPy arrays; namedtuples,
    dataclasses and registered types come as dicts of their fields, since a file names no class. A file of another's
    (Hugging Face, torch, `np.savez`) comes as nested dicts, its names parted at dots; as a flat one where a name is the
    beginning of another.

    With `like` the result has its structure: each leaf is what the file has under that key path, of the same shape and dtype,
    as a NumPy array, or where `like` has a jax array as one of that sharding. A Python number of `like` stands for any single
    number of its kind. Leaves may be `ShapeDtypeStruct`s.

    Args:
        path: a `.safetensors` or an `.npz` file.
        like: a tree of the structure, shapes and dtypes expected.
        strict: whether anything missing, surplus, or of another shape or dtype is an error. If not, the result is a pair:
            a tree with what fits, and for the rest the leaves of `like`, and the list of `Difference`s.
        rename: new names for those in the file, `{"old.*": "new.*"}`; the first rule that fits counts.
        bfloat16: "float32" to have tensors of bfloat16 as float32, exactly, which needs no ml_dtypes.

    Raises:
        MismatchError: a file that does not fit `like`, with all that differs, by name.
        CorruptFileError: a file that is torn, fails its sums, or says what cannot be.
        FileNotFoundError: no such file.
        ImportError: where safetensors or ml_dtypes is needed and not installed.

    >>> import numpy as np, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     save(path, {"w": np.ones(3), "old": np.zeros(2)})
    ...     found, differences = load(path, like={"w": np.zeros(3), "b": np.zeros(2)}, strict=False)
    >>> print(found["w"], *differences, sep="\\n")
    [1. 1. 1.]
    missing: b, expected f64[2]
    surplus: old, f64[2] in the file
    """
    with reading(path_of(path, "load: the first argument", "load(path)")) as found:
        return read(found, None, like, strict=strict, rename=rename, bfloat16=bfloat16)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts in a file: what `save` was given as `metadata`, or another's such as {"format": "pt"}.

    >>> import numpy as np, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     save(path, np.ones(3), metadata={"trained on": "digits"})
    ...     read_metadata(path)
    {'trained on': 'digits'}
    """
    with reading(path_of(path, "read_metadata: the first argument", "read_metadata(path)")) as found:
        texts = found.file.texts
    return {key: text for key, text in texts.items() if key.partition(":")[0] != _NOTE}


@contextlib.contextmanager
def reading(path: Path, as_it_was: Contents | None = None) -> Iterator[Contents]:
    """Open a file, and look at all but its tensors; again, if it is still as it was. It is read through one handle, so that
    nothing is mixed with the file that takes its place."""
    with formats.opened(path) as file:
        found = Contents(file, _note_in(file))
        if as_it_was is not None and found.note != as_it_was.note:
            raise CorruptFileError(f"{path} was replaced since it was opened; open it again")
        yield found


def _note_in(file: formats.Opened) -> dict[str, Any] | None:
    if _NOTE not in file.texts:
        if _SUM in file.texts:
            raise CorruptFileError(f"{file.path}: what tracegrad noted in it is not there")
        return None
    try:
        note = json.loads(file.texts[_NOTE])
        newer = note["format"] > FORMAT
        sums = set() if newer else {*note["crc32"]}
        right = file.texts.get(_SUM) == str(_sum(file.texts))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptFileError(f"{file.path}: what tracegrad noted in it cannot be read: {error!r}") from None
    if newer:
        raise ValueError(
            f"{file.path} is in format {note['format']} of tracegrad {note.get('version')}; this version reads up to {FORMAT}: "
            "run `pip install -U tracegrad`"
        )
    if not right:
        raise CorruptFileError(
            f"{file.path}: the sum of its header is not what was noted: it has changed since it was saved"
        )
    if absent := sums ^ {*file.entries}:
        raise CorruptFileError(f"{file.path}: the tensors {sorted(absent)} are not both in the file and in its sums")
    return note


def verify(found: Contents) -> None:
    """Read all tensors of a file and compare their sums; CorruptFileError for one that is not right."""
    for name in found.file.entries:
        _bytes_of(found, name)


def tensor_of(found: Contents, name: str, bfloat16: str | None = None) -> Array:
    """A tensor of a file."""
    return _as_array(_bytes_of(found, name), found.file.entries[name], found.file.path, name, bfloat16)


def _bytes_of(found: Contents, name: str) -> Array:
    """The bytes of a tensor, whose sum is right."""
    entry = found.file.entries[name]
    data = np.empty(entry.nbytes, np.uint8)
    found.file.read_into(name, data.data)
    if found.note is not None and formats.checksum(entry.dtype, entry.shape, data) != found.note["crc32"][name]:
        raise CorruptFileError(
            f"{found.file.path}: the tensor {name!r} has changed since it was saved: its crc32 is not what was noted"
        )
    return data


def read(
    found: Contents,
    part: str | None = None,
    like: PyTree = None,
    *,
    strict: bool = True,
    rename: Mapping[str, str] | None = None,
    bfloat16: str | None = None,
) -> Any:
    """The tree of an open file, or what is in that under a key."""
    if rename is not None and not isinstance(rename, Mapping):
        raise TypeError(
            f"load: rename is a dict of new names by old ones, got {clip(repr(rename))}; write {{'old.*': 'new.*'}}"
        )
    if bfloat16 not in (None, "float32"):
        raise ValueError(f"bfloat16={bfloat16!r}: write 'float32', or nothing for arrays of bfloat16 (by ml_dtypes)")

    def tensor(name: str) -> Array:
        return tensor_of(found, name, bfloat16)

    ours = found.note is not None
    try:
        spec: Spec = found.note["tree"] if found.note is not None else None
        if part is not None:
            spec = dict(zip(*spec["dict"], strict=True))[part]
        specs = dict(leaf_specs(spec, part)) if ours else {name: name for name in found.file.entries}
        if like is None and ours and not rename:
            result = put_together(spec, tensor)
            return result if strict else (result, [])
    except CorruptFileError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise CorruptFileError(f"{found.file.path}: its structure is not well-formed: {error!r}") from None
    names = renamed(specs, rename) if rename else {name: name for name in specs}
    available = {new: specs[old] for old, new in names.items()}
    if like is None:
        keys = {name: parted(name) if ours else name.split(".") for name in available}
        result = by_dots(keys, lambda name: put_together(available[name], tensor))
        return result if strict else (result, [])
    return _fitted(found, available, like, part, strict, bfloat16)


def _as_array(data: Array, entry: Entry, path: Path, name: str, bfloat16: str | None) -> Array:
    """The bytes of a tensor as an array of its dtype."""
    if entry.dtype == "bfloat16" and bfloat16 == "float32":  # whose bits are the upper half of a float32
        wide = np.ascontiguousarray(data).view("<u2").astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32).reshape(entry.shape)
    otherwise = ", or load with bfloat16='float32'" if entry.dtype == "bfloat16" else ""
    dtype = dtype_of(entry.dtype, f"{path}: the tensor {name!r}", otherwise)
    if sys.byteorder == "big" and dtype.isnative:
        return data.view(dtype.newbyteorder("<")).astype(dtype).reshape(entry.shape)
    return data.view(dtype).reshape(entry.shape)


def dtype_of(text: str, who: str = "a file", otherwise: str = "") -> np.dtype[Any]:
    """The dtype that `formats.dtype_text` wrote."""
    if not _OF_ML_DTYPES.fullmatch(text):
        return np.dtype(text)
    return np.dtype(getattr(needed("ml_dtypes", f"{who} of {text}", "ml_dtypes", otherwise), text))


def _fitted(
    found: Contents,
    available: Mapping[str, Spec],
    like: PyTree,
    part: str | None,
    strict: bool,
    bfloat16: str | None,
) -> Any:
    """`like` with what the file has for its leaves, the specs that are available by name."""
    keyed, structure = tree.tree_flatten_with_path(like)
    start = () if part is None else (tree.DictKey(part),)
    wanted: dict[str, Any] = {}
    types: dict[str, LeafType] = {}
    for path, leaf in keyed:
        name = name_of((*start, *path))
        if found.note is None:  # whose names have no escapes
            name = plain(name)
        if name in wanted:
            raise ValueError(f"like has two leaves that are called {name!r} in a file; use keys that differ as text")
        wanted[name] = leaf
        try:
            types[name] = type_of_leaf(leaf)
        except TypeError as error:
            raise TypeError(f"like{tree.keystr(path)} is {error}") from None
    theirs = {name: _type_in_file(spec, found, bfloat16) for name, spec in available.items() if spec is not None}
    differences = compared(types, theirs)
    if differences and strict:
        raise mismatch(found.file.path, differences)
    unfit = {difference.name for difference in differences}

    def tensor(name: str) -> Array:
        return tensor_of(found, name, bfloat16)

    leaves = [x if n in unfit else as_like(put_together(available[n], tensor), x) for n, x in wanted.items()]
    result = tree.tree_unflatten(structure, leaves)
    return result if strict else (result, differences)


def _type_in_file(spec: Spec, found: Contents, bfloat16: str | None) -> LeafType:
    name = tensor_name(spec)
    if name is None:
        return LeafType((), "", type(put_together(spec, found.file.entries.__getitem__)))
    entry = found.file.entries[name]
    return LeafType(entry.shape, "float32" if bfloat16 and entry.dtype == "bfloat16" else entry.dtype)
