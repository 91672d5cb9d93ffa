"""Files that are whole or not there: whatever goes wrong, the old file stays, and nothing is left beside."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.io import files
from tracegrad.io.files import clear_forgotten, needed, replacing

SUFFIXES = pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
OLD = {"w": np.arange(3.0)}
NEW = {"w": np.ones(100_000)}


@pytest.fixture
def path(tmp_path: Path, suffix: str) -> Path:
    """Where a file is already."""
    found = tmp_path / f"net{suffix}"
    tg.io.save(found, OLD)
    return found


def assert_as_it_was(path: Path) -> None:
    np.testing.assert_array_equal(tg.io.load(path)["w"], OLD["w"])
    assert os.listdir(path.parent) == [path.name]


@SUFFIXES
def test_a_file_is_replaced(path: Path) -> None:
    path.chmod(0o640)
    tg.io.save(path, NEW)
    np.testing.assert_array_equal(tg.io.load(path)["w"], NEW["w"])
    assert os.listdir(path.parent) == [path.name] and stat.S_IMODE(path.stat().st_mode) == 0o640


@SUFFIXES
def test_a_new_file_is_as_readable_as_others(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "other").touch()
    tg.io.save(tmp_path / f"net{suffix}", OLD)
    assert (tmp_path / f"net{suffix}").stat().st_mode == (tmp_path / "other").stat().st_mode


@SUFFIXES
def test_a_link_goes_on_to_point_where_it_did(path: Path) -> None:
    link = path.with_name(f"link{path.suffix}")
    link.symlink_to(path)
    tg.io.save(link, NEW)
    assert link.is_symlink() and len(tg.io.load(path)["w"]) == 100_000


LIMITED = """
import resource, sys, numpy as np, tracegrad as tg
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    tg.io.save(sys.argv[1], {"w": np.ones(100_000)})
except OSError as error:
    print(type(error).__name__, error.errno, error)
"""


@SUFFIXES
@pytest.mark.skipif(sys.platform == "win32", reason="no such limits")
def test_a_file_that_may_not_grow_so_long(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert f"OSError {errno.EFBIG}" in done.stdout and done.stderr == ""
    assert f"{path} could not be saved: File too large; the limit on the size of files is lower" in done.stdout
    assert f"{path} is as it was" in done.stdout
    assert_as_it_was(path)


@SUFFIXES
@pytest.mark.parametrize(
    "number, says",
    [
        (errno.ENOSPC, "No space left on device; make room on that disk"),
        (errno.EDQUOT, "make room in your quota"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str) -> None:
    """As it shows at the latest when what was written is brought to the disk."""

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=says) as caught:
        tg.io.save(path, NEW)
    assert caught.value.errno == number
    monkeypatch.undo()
    assert_as_it_was(path)


@SUFFIXES
def test_folders_that_may_not_be_written_into(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)  # root may write anywhere
    with pytest.raises(
        PermissionError, match=r"could not be saved: Permission denied; it or its folder is not for you to write into"
    ):
        tg.io.save(path, NEW)
    assert_as_it_was(path)


@SUFFIXES
def test_files_that_are_read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the folder would let them be replaced."""
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="is not for you to write into"):
        tg.io.save(path, NEW)
    assert_as_it_was(path)


@SUFFIXES
def test_folders_that_are_not_there(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"make its folder first, os\.makedirs\('.*/none'\)\. Nothing is left of it"
    ):
        tg.io.save(tmp_path / f"none/net{suffix}", OLD)
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder.* could not be saved: Is a directory"):
        tg.io.save(tmp_path / f"folder{suffix}", OLD)
    assert os.listdir(tmp_path) == [f"folder{suffix}"]


@SUFFIXES
@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_interrupts(path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if where == "write" and path.suffix == ".npz":
        monkeypatch.setattr(np.lib.format, "write_array", interrupted)
    elif where == "write":
        monkeypatch.setattr("safetensors.numpy.save_file", interrupted)
    elif where == "fsync":
        monkeypatch.setattr(os, "fsync", interrupted)
    else:
        monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tg.io.save(path, NEW)
    monkeypatch.undo()
    assert_as_it_was(path)


def test_what_was_written_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, then its new name, then the folder that has the name."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(number: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    def noted_replace(self: Path, target: Path) -> Path:
        done.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    tg.io.save(tmp_path / "net.npz", OLD)
    assert done == ["file", "replace", "folder"]


def test_where_it_is_written(tmp_path: Path) -> None:
    with replacing(tmp_path / "net.npz") as beside:
        assert beside.parent.parent == tmp_path
        assert beside.parent.name.startswith(f"net.npz.tmp-{os.getpid()}-")
        beside.write_bytes(b"x")
    assert (tmp_path / "net.npz").read_bytes() == b"x"


def test_what_killed_processes_left_is_cleared(tmp_path: Path) -> None:
    for name in ("step_00000010.safetensors.tmp-99-0", "step_00000020.safetensors.tmp-99-1", "mine.tmp-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    long_ago = time.time() - 2 * files._FORGOTTEN
    for entry in (tmp_path / "step_00000010.safetensors.tmp-99-0/x", tmp_path / "step_00000010.safetensors.tmp-99-0"):
        os.utime(entry, (long_ago, long_ago))
    clear_forgotten(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["mine.tmp-1", "step_00000020.safetensors.tmp-99-1"]


def test_packages_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tg.io.save(tmp_path / "net.safetensors", OLD)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    says = r"needs the package safetensors, which is not installed here: run `pip install safetensors`"
    with pytest.raises(
        ImportError, match=rf"saving .*net\.safetensors {says} \(or 'tracegrad\[train\]'\), or write \.npz"
    ):
        tg.io.save(tmp_path / "net.safetensors", OLD)
    with pytest.raises(ImportError, match=rf"reading .*net\.safetensors {says}"):
        tg.io.load(tmp_path / "net.safetensors")
    assert os.listdir(tmp_path) == ["net.safetensors"]
    tg.io.save(tmp_path / "net.npz", OLD)
    np.testing.assert_array_equal(tg.io.load(tmp_path / "net.npz")["w"], OLD["w"])
    assert needed("json", "a test", "json").__name__ == "json"


@SUFFIXES
def test_whoever_reads_while_others_write(tmp_path: Path, suffix: str) -> None:
    """Reads a whole file, the old one or the new one."""
    path = tmp_path / f"net{suffix}"
    tg.io.save(path, {"a": np.zeros(1000), "b": np.zeros(1000)})
    failures: list[BaseException] = []

    def write(start: int) -> None:
        try:
            for i in range(start, start + 60):
                tg.io.save(path, {"a": np.full(1000, i), "b": np.full(1000, float(i))})
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(start,)) for start in (0, 1000)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = tg.io.load(path)
        assert len({*found["a"].tolist(), *found["b"].tolist()}) == 1
    assert not failures and os.listdir(tmp_path) == [path.name]
