"""Files that are either whole or not there: written beside, brought to the disk, and put in place in one step."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracegrad.core.errors import at, user_source
from tracegrad.core.late import imported

_numbers = itertools.count()
_TEMPORARY = re.compile(r".*\.tmp-\d+-\d+")
_FORGOTTEN = 600.0  # seconds after which nobody writes any more into what stands beside


def path_of(path: Any, what: str, call: str) -> Path:
    """A path as the user gave it; an error that shows the call for anything else, such as arguments the other way round."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{what}{at(user_source())} is a path, got {type(path).__name__}; write {call}")
    return Path(path)


class CorruptFileError(ValueError):
    """A file that is torn, fails its sums, or is none of its format."""


class MissingPackageError(ImportError):
    """A package that is asked for where it is needed, with what to install."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file to that then takes the place of `path`, or leaves what is there as it was.

    The file is written in a folder `<name>.tmp-<pid>-<n>` beside, which is on the same disk; it and the folder around are
    brought to the disk before and after it takes its place. Whatever goes wrong, an interrupt too, leaves nothing behind.
    """
    target = Path(os.path.realpath(path))  # a link goes on to point where it did
    beside = target.with_name(f"{target.name}.tmp-{os.getpid()}-{next(_numbers)}")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "is read-only", str(path))
        try:
            beside.mkdir()
            written = beside / target.name
            yield written
            _flush(written)
            written.chmod((target if target.exists() else beside).stat().st_mode & 0o666)
            written.replace(target)
            _flush(target.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise _explained(error, path) from error


def _explained(error: OSError, path: Path) -> OSError:
    """What the system says of a file that could not be written, with the file and what is left."""
    old = f"{path} is as it was" if os.path.exists(path) else "nothing is left of it"
    advice = {
        errno.ENOENT: f"; make its folder first, os.makedirs({os.path.dirname(path) or '.'!r})",
        errno.ENOSPC: "; make room on that disk, or save elsewhere",
        errno.EDQUOT: "; make room in your quota, or save elsewhere",
        errno.EFBIG: "; the limit on the size of files is lower (ulimit -f)",
        errno.EACCES: "; it or its folder is not for you to write into",
        errno.EROFS: "; that disk is read-only",
    }.get(error.errno or 0, "")
    said = os.strerror(error.errno) if error.errno else str(error)
    made = type(error)(
        error.errno or errno.EIO, f"{path} could not be saved: {said}{advice}. {old[0].upper()}{old[1:]}"
    )
    return made


def _flush(path: Path) -> None:
    """Have a file, or the entries of a folder, brought to the disk."""
    if path.is_dir() and os.name == "nt":  # where folders cannot be opened, and need not
        return
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def clear_forgotten(folder: Path) -> None:
    """Remove what processes that were killed have left half-written in a folder."""
    for entry in folder.iterdir():
        if _TEMPORARY.fullmatch(entry.name) and entry.is_dir():
            with contextlib.suppress(OSError):  # gone by now
                if all(time.time() - p.stat().st_mtime > _FORGOTTEN for p in (entry, *entry.iterdir())):
                    shutil.rmtree(entry, ignore_errors=True)


def needed(module: str, who: str, install: str, otherwise: str = "") -> Any:
    """A module of an optional package, or MissingPackageError with what to install."""
    package = module.split(".")[0]
    try:
        return imported(module)
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] != package:
            raise
        raise MissingPackageError(
            f"{who} needs the package {package}, which is not installed here: run `pip install {install}`{otherwise}",
            name=package,
        ) from None
