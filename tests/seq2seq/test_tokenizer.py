import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kooler.seq2seq import pieces
from kooler.seq2seq.reserved_ids import RESERVED
from kooler.seq2seq.tokenizer import Tokenizer

TEXTS = [
    "The bakery in Torvin closes amid weak demand.",
    "Kolasa buys the bakery for 4.2m, its rival sells the harbour.",
    "<pad> <eos> <unk> <0x41> <0x41>",
    "江城面包厂关闭，面包厂出售。 Ünïcödé façade",
] * 3

KINDS = ["bpe", "characters"]
TOKENIZERS = {kind: Tokenizer.train(TEXTS, 400, kind) for kind in KINDS}
WORDS = Tokenizer.train(TEXTS, 100, "words")

any_text = st.text(st.characters(exclude_categories=["Cs"]))
spaces = st.text(" \n\t\r\0\u3000\u2028")
known_text = st.lists(
    st.sampled_from(["<pad>", "<eos>", "<0x41>", "bakery", " bakery", "面包厂", "🙂", "4.2m", "▁"])
).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.one_of(any_text, spaces, known_text, st.tuples(spaces, any_text).map("".join)))
def test_lossless(kind, text):
    tokenizer = TOKENIZERS[kind]

    ids = tokenizer.encode(text)

    assert tokenizer.decode(ids) == text
    assert all(RESERVED <= i < tokenizer.size for i in ids)


@given(st.lists(any_text, max_size=5))
def test_batch_is_one_by_one(texts):
    for tokenizer in [*TOKENIZERS.values(), WORDS]:
        assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_a_word_is_spelled_alike_at_the_start_and_inside():
    tokenizer = TOKENIZERS["bpe"]

    first, inside = tokenizer.pieces(tokenizer.encode("bakery bakery"))

    assert first == inside == "▁bakery"


def test_digits_stand_alone():
    tokenizer = TOKENIZERS["bpe"]

    assert tokenizer.pieces(tokenizer.encode("4.2m"))[:3] == ["▁4", ".", "2"]


def test_one_character_a_token():
    tokenizer = TOKENIZERS["characters"]

    assert tokenizer.pieces(tokenizer.encode("面包 厂")) == ["面", "包", "▁", "厂"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_piece_is_spelled_in_bytes(kind):
    tokenizer = TOKENIZERS[kind]

    names = tokenizer.pieces(tokenizer.encode("🙂"))

    assert names[-4:] == ["<0xF0>", "<0x9F>", "<0x99>", "<0x82>"]
    assert tokenizer.encode("🙂")[-4:] == [6 + byte for byte in "🙂".encode()]


def test_rare_characters_have_no_piece():
    tokenizer = Tokenizer.train(["aaab", "cc"], 6 + 256 + 2, "characters")

    assert tokenizer.pieces(tokenizer.encode("abc")) == ["a", "<0x62>", "c"]
    assert tokenizer.size == 264


def test_words():
    tokenizer = Tokenizer.train(["a@@ b  c", "c <unk>"], 10, "words")

    assert (tokenizer.size, len(tokenizer)) == (10, 10)
    assert tokenizer.encode(" c new\tb <unk>\n") == [7, 6, 9, 6]
    assert tokenizer.decode([7, 0, 6, 9, 1]) == "c <unk> b"
    assert Tokenizer.train(["a b b"], 8, "words").pieces(range(8))[6:] == ["<unk>", "b"]


def test_reserved_ids_are_ignored_by_decode_and_have_names():
    tokenizer = TOKENIZERS["bpe"]
    ids = tokenizer.encode("the bakery")

    assert tokenizer.decode([2, *ids[:1], 0, *ids[1:], 1, 0, 0]) == "the bakery"
    assert tokenizer.decode([]) == ""
    assert tokenizer.pieces(range(7)) == [
        *("<pad>", "<eos>", "<l2r>", "<r2l>", "<mid-left>", "<mid-right>", "<0x00>")
    ]


def test_decode_takes_arrays_and_never_fails_on_bytes():
    tokenizer = TOKENIZERS["bpe"]

    assert tokenizer.decode(np.array(tokenizer.encode("é"), np.int32)) == "é"
    assert tokenizer.decode([6 + 0xF0, 6 + 0x41]) == "\ufffdA"


@pytest.mark.parametrize("wrong", [-1, 400_000])
def test_ids_of_another_tokenizer(wrong):
    tokenizer = TOKENIZERS["bpe"]
    text = rf"^the id {wrong} is not in the vocabulary, whose ids are 0 … {tokenizer.size - 1}\. "

    for use in (lambda: tokenizer.decode([wrong]), lambda: tokenizer.token(wrong)):
        with pytest.raises(ValueError, match=text):
            use()


@pytest.mark.parametrize("kind", [*KINDS, "words"])
def test_half_a_surrogate_pair(kind):
    tokenizer = TOKENIZERS.get(kind, WORDS)
    text = r"^U\+D83D at position 1 of the text is half a surrogate pair"

    for use in (tokenizer.encode, lambda text: Tokenizer.train([text], 500, kind)):
        with pytest.raises(ValueError, match=text):
            use("a\ud83d")
    with pytest.raises(ValueError, match=text):
        tokenizer.encode_batch(["fine", "a\ud83d"])


def test_no_text():
    for tokenizer in (*TOKENIZERS.values(), WORDS):
        with pytest.raises(TypeError, match=r"^a text must be a str, received int\.$"):
            tokenizer.encode_batch(["a", 1])


@given(st.sampled_from([*KINDS, "words"]), st.integers(263, 400), st.lists(any_text))
def test_size_is_a_limit(kind, size, texts):
    tokenizer = Tokenizer.train([*texts, "a"], size, kind)

    assert tokenizer.size <= size
    assert tokenizer.decode(tokenizer.encode("a")) in ("a", "<unk>")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((262, "bpe"), r"`size` must be at least 263 for kind='bpe', received size=262: 6 reserv"),
        ((7, "words"), r"`size` must be at least 8 for kind='words', received size=7: 6 reserved"),
        ((0, "bytes"), r"`kind` must be one of bpe, characters, words, received kind='bytes'\."),
    ],
)
def test_wrong_arguments(arguments, problem):
    with pytest.raises(ValueError, match=f"^{problem}"):
        Tokenizer.train(TEXTS, *arguments)


@pytest.mark.parametrize("kind", [*KINDS, "words"])
def test_save_and_load(kind, tmp_path):
    tokenizer = TOKENIZERS.get(kind, WORDS)
    path = tmp_path / "tokenizer.json"

    tokenizer.save(path)
    tokenizer.save(str(path))
    again = Tokenizer.load(path)

    assert again == tokenizer
    assert hash(again) == hash(tokenizer)
    assert again.fingerprint == tokenizer.fingerprint
    assert (again.kind, again.size) == (kind, tokenizer.size)
    assert again.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)
    assert list(tmp_path.iterdir()) == [path]


def test_equality():
    other = Tokenizer.train(TEXTS[1:2], 400)

    assert other != TOKENIZERS["bpe"]
    assert other.fingerprint != TOKENIZERS["bpe"].fingerprint
    assert other != "bpe"
    assert repr(WORDS) == f"Tokenizer(kind='words', size={WORDS.size})"


def valid(**changes) -> str:
    fields = {"format": "kooler tokenizer", "version": 1, "kind": "bpe"}
    return json.dumps(fields | {"pieces": ["a", "b", "ab"], "merges": [["a", "b"]]} | changes)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (valid(version=2), "has format version 2, but this kooler reads up to 1; upgrade kooler."),
        (valid()[:-9], "is damaged or no tokenizer: it is not JSON."),
        (b"\xff\xfe", "is damaged or no tokenizer: it is not JSON."),
        ("[" * 100_000, "is damaged or no tokenizer: it is not JSON."),
        ("[]", "is not a kooler tokenizer."),
        (valid(format="other"), "is not a kooler tokenizer."),
        (valid(kind="new"), "is damaged: it names no kind or no version that there is."),
        (valid(version="1"), "is damaged: it names no kind or no version that there is."),
        (valid(pieces=None), "is damaged: the pieces are not a list of different texts."),
        (valid(pieces=["a", "a"]), "is damaged: the pieces are not a list of different texts."),
        (valid(pieces=["a", ""]), "is damaged: the pieces are not a list of different texts."),
        (valid(pieces=["a", 1]), "is damaged: the pieces are not a list of different texts."),
        (valid(merges=5), "is damaged: the merges are not pairs of its pieces."),
        (valid(merges=[["a", "c"]]), "is damaged: the merges are not pairs of its pieces."),
        (valid(merges=[["b", "a"]]), "is damaged: the merges are not pairs of its pieces."),
        (valid(merges=[["a"]]), "is damaged: the merges are not pairs of its pieces."),
        (valid(pieces=["a", "\ud800"]), "is damaged: the pieces are not a list of different t"),
        (valid(pieces=["a", "<0x41>"]), "is damaged: the pieces are not a list of different t"),
    ],
)
def test_unusable_files(tmp_path, content, problem):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ValueError) as caught:
        Tokenizer.load(path)

    assert str(caught.value).startswith(f"{path}: {problem}")


def test_the_valid_file_is_valid(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(valid())

    assert Tokenizer.load(path).encode("ab") == [6 + ord(" "), 264]
    with pytest.raises(FileNotFoundError):
        Tokenizer.load(tmp_path / "none.json")


def test_the_same_for_every_hash_seed_and_number_of_cores(tmp_path):
    script = (
        "import sys; from kooler.seq2seq.tokenizer import Tokenizer\n"
        "texts = [chr(97 + i % 26) * 3 + chr(0x4E00 + i % 999) for i in range(3000)]\n"
        "for kind in ('bpe', 'characters', 'words'):\n"
        "    print(Tokenizer.train(texts, 500, kind).fingerprint)\n"
        "print(sorted(set(sys.modules) & {'keras', 'jax', 'torch', 'tensorflow'}))\n"
    )

    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1
    assert outputs.pop().endswith("\n[]\n")


def test_training_reads_a_stream_once(monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE_CHARACTERS", 20_000)

    for kind in (*KINDS, "words"):
        tokenizer = Tokenizer.train((f"{i % 7} a" for i in range(5000)), 300, kind)
        assert "a" in tokenizer.decode(tokenizer.encode("a"))


def test_bpe_learns_from_a_share_and_the_others_from_all(monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE_CHARACTERS", 20_000)
    texts = [chr(0x4E00 + i) for i in range(2000)]

    sizes = {kind: Tokenizer.train(texts, 5000, kind).size for kind in (*KINDS, "words")}

    assert sizes["characters"] == 262 + 2000
    assert sizes["words"] == 7 + 2000
    assert 262 + 50 < sizes["bpe"] < 262 + 250


@pytest.mark.parametrize("kind", [*KINDS, "words"])
def test_lower_case(kind, tmp_path):
    tokenizer = Tokenizer.train(TEXTS, 400, kind, lower_case=True)

    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")

    assert loaded.lower_case
    assert loaded == tokenizer
    small = Tokenizer.train([text.lower() for text in TEXTS], 400, kind)
    assert tokenizer.pieces(range(len(tokenizer))) == small.pieces(range(len(small)))
    for text in TEXTS[:2]:
        assert loaded.encode(text) == loaded.encode(text.lower())
        assert loaded.decode(loaded.encode(text)) == loaded.as_read(text) == text.lower()


def test_without_lower_case_the_file_does_not_name_it(tmp_path):
    TOKENIZERS["bpe"].save(tmp_path / "tokenizer.json")

    assert "lower_case" not in json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert TOKENIZERS["bpe"].as_read("Ab") == "Ab"


def test_a_file_whose_lower_case_is_no_truth_value(tmp_path):
    path = tmp_path / "tokenizer.json"
    TOKENIZERS["bpe"].save(path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"lower_case": "no"}))

    with pytest.raises(ValueError, match="is damaged: `lower_case` is neither true nor false"):
        Tokenizer.load(path)
