"""Files are the old one or the new one, whatever happens while they are written."""

import pytest

from kooler.seq2seq.atomic import replacing, write_text
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


def names(folder):
    return [path.name for path in folder.iterdir()]
