"""Compressed files give the bytes that went in, or an error with a place."""

import gzip
import io
import lzma
import sys
from pathlib import Path

import pytest
from backports import zstd

from kooler.seq2seq.compression import opened
from kooler.seq2seq.corpus import CorpusError, read_pairs

LINES = b"".join(b"%d\t%d\n" % (i, i * i) for i in range(10_000))
PACKED = {
    ".gz": gzip.compress(LINES),
    ".xz": lzma.compress(LINES),
    ".zst": zstd.compress(LINES),
}
NAMES = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}


@pytest.fixture(params=PACKED)
def suffix(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return request.param


def message(data, suffix):
    Path(f"a.tsv{suffix}").write_bytes(data)
    with pytest.raises(CorpusError) as caught:
        list(read_pairs(f"a.tsv{suffix}", skip_bad_lines=True))
    return str(caught.value)


def test_what_went_in_comes_out(suffix):
    Path(f"a{suffix.upper()}").write_bytes(PACKED[suffix] * 2)  # two parts, as `cat` makes them

    with opened(Path(f"a{suffix.upper()}")) as stream:
        assert stream.read() == LINES * 2


def test_nothing_is_an_empty_file(suffix):
    empty = {".gz": gzip.compress(b""), ".xz": lzma.compress(b""), ".zst": zstd.compress(b"")}

    for data in (b"", empty[suffix]):
        assert message(data, suffix).startswith(f"a.tsv{suffix}: the file is empty")


def test_a_file_that_ends_too_early_is_named_with_its_line(suffix):
    problem = message(PACKED[suffix][:-9], suffix)
    line = int(problem.split(":")[1])

    assert problem == (
        f"a.tsv{suffix}:{line}: the {NAMES[suffix]} data end here; the file is truncated."
    )
    assert 1 <= line <= 10_001


def test_a_file_that_is_damaged_is_named_with_its_line(suffix):
    data = bytearray(PACKED[suffix])
    data[len(data) // 2] ^= 255

    assert f"the {NAMES[suffix]} data are damaged here; copy or make it again." in message(
        data, suffix
    )


def test_a_file_of_another_kind_is_refused(suffix):
    assert message(LINES, suffix) == (
        f"a.tsv{suffix}: is not {NAMES[suffix]}, though its name ends in {suffix}; "
        "rename or compress it."
    )


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.tsv.zst").write_bytes(PACKED[".zst"])
    monkeypatch.setitem(sys.modules, "backports", None)

    with pytest.raises(CorpusError, match=r'zstd needs a package.*pip install "kooler\[formats\]"'):
        list(read_pairs(tmp_path / "a.tsv.zst"))


def test_an_error_of_the_reader_is_no_damage(suffix):
    Path(f"a{suffix}").write_bytes(PACKED[suffix])

    with pytest.raises(KeyError), opened(Path(f"a{suffix}")) as stream:
        assert isinstance(stream, io.BufferedReader)
        raise KeyError
