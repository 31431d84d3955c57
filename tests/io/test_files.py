"""Atomic writing: the file is whole, or as it was before."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from truevox.errors import FileError
from truevox.files import atomic_path, read_json, write_csv, write_json


def write_half(path: Path, error: Exception) -> None:
    """A write that fails in the middle."""
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyError):
        write_half(target, KeyError("stop"))
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_disk_full_names_the_file_and_a_remedy(tmp_path: Path) -> None:
    target = tmp_path / "a.nii.gz"
    with pytest.raises(FileError, match="the disk is full") as caught:
        write_half(target, OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.file == str(target)
    assert "free some space" in str(caught.value.remedy)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_stops_in_the_middle(tmp_path: Path) -> None:
    # The system itself stops the write here: no file of this process may pass 20 kB.
    code = f"""
import resource, signal, numpy as np
from truevox.errors import FileError
from truevox.files import write_csv
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_csv({str(tmp_path / "a.csv")!r}, ({{"x": k}} for k in range(100_000)), ["x"])
except FileError as error:
    print(error.file)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="a file, not a folder") as caught:
        write_json(tmp_path / "file" / "a.json", {})
    assert caught.value.file == str(tmp_path / "file" / "a.json")


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(FileError, match="permission denied") as caught:
        write_json(tmp_path / "a.json", {})
    assert "choose a folder" in str(caught.value.remedy)
    assert list(tmp_path.iterdir()) == []


def test_errors_about_other_files_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "elsewhere" / "b.txt").read_text()


def test_folders_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "eval" / "deep" / "a.json", {"values": [1.5, float("inf")], "path": Path("x")})
    assert read_json(tmp_path / "eval" / "deep" / "a.json") == {"values": [1.5, None], "path": "x"}


def test_csv_floats_read_back_exactly(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-300, float("nan"), None, 'a,"b"', 3]
    write_csv(tmp_path / "a.csv", [{"x": v, "y": "é"} for v in values], ["y", "x"])
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["y", "x"]
    assert [float(row[1]) for row in rows[1:3]] == values[:2]
    assert [row[1] for row in rows[3:]] == ["nan", "", 'a,"b"', "3"]


def test_csv_columns_are_held(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'z'"):
        write_csv(tmp_path / "a.csv", [{"x": 1, "z": 2}], ["x"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "\x00"])
def test_json_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FileError, match="not JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileError, match="can't be read"):
        read_json(tmp_path / "b.json")


def write_folder(path: Path, error: Exception | None = None) -> None:
    """A folder with one file, which may fail then."""
    with atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
        if error is not None:
            raise error


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    for name in ("one", "two"):
        with atomic_path(target) as temporary:
            (temporary / "deep").mkdir(parents=True)
            (temporary / "deep" / name).write_text(name)
    assert [p.name for p in target.rglob("*")] == ["deep", "two"]
    with pytest.raises(KeyError):
        write_folder(target, KeyError("stop"))
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zarr", "deep", "two"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.zarr"
    target.mkdir()
    (target / "old").touch()
    plain = os.replace

    def refuse(source: Path, to: Path) -> None:
        if Path(to) == target and (Path(source) / "new").exists():
            raise OSError(errno.EACCES, "Permission denied")
        plain(source, to)

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(FileError, match="permission denied"):
        write_folder(target)
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zarr", "old"]
