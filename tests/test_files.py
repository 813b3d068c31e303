"""Files are replaced as a whole or not at all."""

import os

import pytest

from kstep_integrators.files import atomic_file, write_text_atomically


def test_a_file_is_replaced_only_at_the_end(tmp_path):
    path = tmp_path / "x.json"
    write_text_atomically(path, "old")
    with atomic_file(path) as handle:
        handle.write(b"new")
        handle.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_there_was(error, tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")

    def fail():
        with atomic_file(path) as handle:
            handle.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["x.json"]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls = []
    synced, replaced = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), synced(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replaced(a, b))[1])
    write_text_atomically(tmp_path / "x", "text")
    assert calls == ["fsync", "rename", "fsync"]  # the file, its name, the folder


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / "x.partial").write_text("half")
    write_text_atomically(tmp_path / "x", "text")
    assert [found.name for found in tmp_path.iterdir()] == ["x"]


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text_atomically(tmp_path / "no" / "x", "text")
