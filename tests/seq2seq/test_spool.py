import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kooler.seq2seq import spool as spool_module
from kooler.seq2seq.corpus import Pair
from kooler.seq2seq.spool import Spool


def spell(texts):
    """One id a character: "a" is 6."""
    return [[6 + ord(character) - ord("a") for character in text] for text in texts]


def build(path, pairs, **changes):
    arguments = {"fingerprint": "one", "vocabulary_size": 32} | changes
    return Spool.build(path, pairs, spell, **({"source_length": 4, "target_length": 3} | arguments))


PAIRS = [Pair("abcd", "a"), Pair("b", "cab"), Pair("dddd", "zz")]


def content(spool):
    return [(source.tolist(), target.tolist()) for source, target in spool]


def test_what_went_in_comes_out(tmp_path):
    spool = build(tmp_path / "new" / "data", PAIRS)

    assert content(spool) == [([6, 7, 8, 9], [6]), ([7], [8, 6, 7]), ([9, 9, 9, 9], [31, 31])]
    assert spool[1][0].dtype == spool[1][1].dtype == np.int32
    assert len(spool) == 3
    assert spool.source_lengths.tolist() == [4, 1, 4]
    assert spool.target_lengths.tolist() == [1, 3, 2]
    assert spool.lines() == []
    assert content(Spool(tmp_path / "new" / "data")) == content(spool)


def test_access_is_random(tmp_path):
    spool = build(tmp_path, PAIRS)

    assert [spool[i][0][0] for i in (2, 0, np.int64(1), -1, -3)] == [9, 6, 7, 9, 6]
    for wrong in (3, -4):
        with pytest.raises(IndexError, match=rf"^pair {wrong} of a spool of 3 pairs$"):
            spool[wrong]
    with pytest.raises(TypeError):
        spool[0.5]


words = st.text("abcdef", min_size=1, max_size=9)


@settings(max_examples=30)  # each waits for the disk
@given(
    pairs=st.lists(st.builds(Pair, words, words), min_size=1, max_size=20),
    chunk=st.integers(1, 5),
    characters=st.integers(1, 40),
    vocabulary_size=st.sampled_from([32, 2**16, 2**16 + 1]),
)
def test_round_trip(tmp_path_factory, pairs, chunk, characters, vocabulary_size):
    path = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "CHUNK_CHARACTERS", characters)
        spool = build(
            *(path, pairs),
            chunk=chunk,
            vocabulary_size=vocabulary_size,
            source_length=9,
            target_length=9,
        )

    assert content(spool) == [tuple(spell(pair)) for pair in pairs]


def test_large_ids(tmp_path):
    def encode(texts):
        return [[70_000 + len(text)] for text in texts]

    spool = Spool.build(
        *(tmp_path, PAIRS, encode),
        fingerprint="",
        vocabulary_size=80_000,
        source_length=2,
        target_length=2,
    )

    assert content(spool)[0] == ([70_004], [70_001])


def test_long_sources_are_cut_and_long_targets_dropped(tmp_path):
    pairs = [Pair("abcdef", "abc"), Pair("a", "abcd"), Pair("b", "b"), Pair("abcde", "abcde")]

    spool = build(tmp_path, pairs)

    assert content(spool) == [([6, 7, 8, 9], [6, 7, 8]), ([7], [7])]
    assert spool.lines() == [
        "1 of 4 sources were longer than 4 tokens and cut",
        "2 of 4 targets were longer than 3 tokens, their pairs dropped",
    ]
    assert Spool(tmp_path).counts == spool.counts


def test_long_targets_can_be_cut_so_that_every_pair_keeps_its_place(tmp_path):
    pairs = [Pair("a", "abcd"), Pair("b", "b")]

    spool = build(tmp_path, pairs, long_targets="cut")

    assert content(spool) == [([6], [6, 7, 8]), ([7], [7])]
    assert spool.lines() == ["1 of 2 targets were longer than 3 tokens and cut"]


def test_texts_are_encoded_in_bounded_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "CHUNK_CHARACTERS", 10)
    seen = []

    def encode(texts):
        seen.append(list(texts))
        return spell(texts)

    texts = ["a", "b", "c", "d" * 4, "e" * 4, "f" * 30, "g"]
    Spool.build(
        *(tmp_path, [Pair(text, "x") for text in texts], encode),
        fingerprint="",
        vocabulary_size=99,
        source_length=50,
        target_length=50,
        chunk=2,
    )

    assert seen[::2] == [["a", "b"], ["c", "d" * 4], ["e" * 4], ["f" * 30], ["g"]]


def forbidden():
    raise AssertionError("the corpus was read")
    yield


def test_a_spool_is_used_again(tmp_path):
    build(tmp_path, PAIRS)

    assert content(build(tmp_path, forbidden())) == content(Spool(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "two"},
        {"source_length": 5},
        {"target_length": 4},
        {"vocabulary_size": 33},
        {"long_targets": "cut"},
    ],
)
def test_a_spool_of_something_else_is_replaced(tmp_path, change):
    old = build(tmp_path, PAIRS)

    new = build(tmp_path, PAIRS[:1], **change)

    assert len(new) == 1
    assert content(old)[2] == ([9] * 4, [31, 31])  # who has it open reads on
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("ids.bin", "lengths.bin", "spool.json")
    ]


def broken_off(pairs):
    yield from pairs
    raise KeyboardInterrupt


def test_an_unfinished_spool_is_none(tmp_path):
    build(tmp_path, PAIRS)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, broken_off(PAIRS * 5), fingerprint="two", chunk=1)

    with pytest.raises(ValueError, match="there is no finished spool; build it"):
        Spool(tmp_path)
    assert len(build(tmp_path, PAIRS, fingerprint="two")) == 3


def damage(path: Path, name: str, data: bytes | None) -> None:
    (path / name).unlink()
    if data is not None:
        (path / name).write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("ids.bin", b"123", r"ids\.bin: is missing or not of 30 bytes; build the spool again\.$"),
        ("ids.bin", None, r"ids\.bin: is missing or not of 30 bytes; build the spool again\.$"),
        ("lengths.bin", b"", r"lengths\.bin: is missing or not of 24 bytes"),
        ("spool.json", b"{", r"spool\.json is damaged; build the spool again\.$"),
        ("spool.json", b"[]", r"spool\.json is damaged; build the spool again\.$"),
        ("spool.json", b'{"version": 1}', r"spool\.json is damaged; build the spool again\.$"),
        ("spool.json", b'{"version": 2}', r"the spool has format version 2, this kooler reads 1; "),
        ("spool.json", None, r"there is no finished spool; build it\.$"),
    ],
)
def test_a_damaged_spool_is_refused_and_made_again(tmp_path, name, data, problem):
    build(tmp_path, PAIRS)
    damage(tmp_path, name, data)

    with pytest.raises(ValueError, match=problem):
        Spool(tmp_path)
    assert len(build(tmp_path, PAIRS)) == 3


@pytest.mark.parametrize(
    ("pairs", "change", "problem"),
    [
        (PAIRS, {"source_length": 0}, r"^`source_length` must be at least 1, received source_len"),
        (PAIRS, {"target_length": -1}, r"^`target_length` must be at least 1, received target_l"),
        (PAIRS, {"long_targets": "keep"}, r'^`long_targets` must be "drop" or "cut", received lo'),
        (PAIRS, {"vocabulary_size": 31}, r"^ids must be from 6 to `vocabulary_size` - 1 = 30, re"),
        ([], {}, r"^there is no pair to write to the spool\.$"),
        ([Pair("a", "")], {}, r"^a text encodes to no token: Pair\(source='a', target=''\)$"),
        (
            [Pair("a", "abcd")] * 2,
            {},
            r"^no pair is left: all 2 targets are longer than `target_length`=3 tokens\. Raise it",
        ),
    ],
)
def test_wrong_arguments(tmp_path, pairs, change, problem):
    with pytest.raises(ValueError, match=problem):
        build(tmp_path, pairs, **change)


def test_the_file_is_closed_with_the_spool(tmp_path):
    spool = build(tmp_path, PAIRS)
    descriptor = spool._file
    os.fstat(descriptor)
    del spool

    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_reserved_ids_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^ids must be from 6 to .*, received 5 to 6\."):
        Spool.build(
            *(tmp_path, PAIRS, lambda texts: [[6, 5] for _ in texts]),
            fingerprint="",
            vocabulary_size=9,
            source_length=9,
            target_length=9,
        )
