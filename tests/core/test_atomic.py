"""Files are the old one or the new one, whatever happens while they are written."""

import os
from pathlib import Path

import pytest

from kooler.core.atomic import check_place, replacing, write_text
from tests.seq2seq.full_disk import file_size_limit


def test_what_is_written_takes_the_place(tmp_path):
    write_text(tmp_path / "file", "old")
    write_text(tmp_path / "file", "nouveau né\n")

    assert (tmp_path / "file").read_bytes() == "nouveau né\n".encode()
    assert names(tmp_path) == ["file"]


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path):
    write_text(tmp_path / "file", "old")

    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as part:
        part.write_text("ne")
        raise KeyboardInterrupt

    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    write_text(tmp_path / "file", "old")

    with file_size_limit(1000), pytest.raises(OSError, match="File too large"):
        write_text(tmp_path / "file", "n" * 2000)

    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_place_that_takes_a_file_is_left_as_it_was(tmp_path):
    write_text(tmp_path / "old", "old")

    check_place(tmp_path / "old")
    check_place(tmp_path / "new")

    assert (tmp_path / "old").read_text() == "old"
    assert names(tmp_path) == ["old"]


def test_a_place_that_takes_no_file_is_known_before(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    places = {
        tmp_path: "it is a directory. Name a file in it.",
        tmp_path / "absent" / "file": "(No such file or directory). Name a file in a folder that",
        tmp_path / "pipe": "it is no plain file. Name another file.",
        Path("/proc/file"): "(No such file or directory)",
    }

    for path, problem in places.items():
        with pytest.raises(ValueError, match="cannot be written") as error:
            check_place(path)
        assert str(error.value).startswith(f"`{path}` cannot be written")
        assert problem in str(error.value)


def names(folder):
    return [path.name for path in folder.iterdir()]
