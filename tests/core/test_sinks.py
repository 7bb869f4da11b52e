"""Files appear whole or not at all."""

import os
import signal
import subprocess
import sys
import time

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_ee.core.sinks.base import Location


def local(path):
    return Location(LocalFileSystem(), str(path), str(path))


def test_a_file_is_written_with_its_folders_and_leaves_nothing_beside_it(tmp_path):
    local(tmp_path / "a" / "b" / "x.bin").write_bytes(b"content")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x.bin"]
    assert (tmp_path / "a" / "b" / "x.bin").read_bytes() == b"content"


def test_a_written_file_is_readable_as_the_umask_says(tmp_path):
    local(tmp_path / "x").write_bytes(b"1")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_old_file_stays_when_a_new_one_cannot_be_finished(tmp_path, monkeypatch):
    target = local(tmp_path / "x")
    target.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        target.write_bytes(b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


KILLED = """
import sys, time, pathlib
from fsspec.implementations.local import LocalFileSystem
from airflow_ee.core.sinks.base import Location
import airflow_ee.core.sinks.base as base
def slow(_):
    print("writing", flush=True)
    time.sleep(60)
base.os.fsync = slow
Location(LocalFileSystem(), sys.argv[1], sys.argv[1]).write_bytes(b"x" * 1000)
"""


def test_a_killed_writer_leaves_no_file_under_the_final_name(tmp_path):
    target = tmp_path / "x.tif"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.05)
    assert not target.exists()
    assert local(tmp_path).files() == {}, "the hidden neighbour of a dead writer must not be taken for a part"


def test_an_object_store_gets_one_upload(tmp_path):
    memory = fsspec.filesystem("memory")
    target = Location(memory, "/bucket/a/x", "memory://bucket/a/x")
    target.write_bytes(b"content")
    assert target.read_bytes() == b"content"
    assert list(Location(memory, "/bucket", "memory://bucket").files()) == ["/bucket/a/x"]
