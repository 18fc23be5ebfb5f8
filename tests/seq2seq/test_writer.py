"""Text in, titles out."""

import numpy as np
import pytest

from kooler.seq2seq.array_files import write_arrays
from kooler.seq2seq.casing import with_capitals
from kooler.seq2seq.generation import generate
from kooler.seq2seq.writer import Title, Writer
from tests.seq2seq.small_run import small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def writer(run):
    return Writer.load(run.path)


def test_titles_are_those_of_generate(writer):
    texts = ["The bakery in Toro closes.", "Rain."]

    titles = writer.write(texts, order="l2r", n_best=2, beam_size=3)

    found = generate(
        writer.model, writer.tokenizer.encode_batch(texts), order="l2r", n_best=2, beam_size=3
    )
    for row, ids, scores in zip(titles, found.ids.tolist(), found.scores.tolist(), strict=True):
        assert [title.text for title in row] == [writer.tokenizer.decode(tokens) for tokens in ids]
        assert [title.score for title in row] == scores
        assert {title.order for title in row} == {"l2r"}


def test_an_empty_text_gets_an_empty_title_and_the_others_keep_their_place(writer):
    both = writer.write(["", "Rain."], order="mid", beam_size=1)

    assert both[0] == [Title("", 0.0, 0.0, "mid")]
    assert both[1][0].text == writer.write(["Rain."], order="mid", beam_size=1)[0][0].text
    assert writer.write([], order="mid") == []


def test_a_long_text_is_cut_and_counted(writer):
    short, long = Writer(writer.model, writer.tokenizer, source_length=8), "word " * 100
    start = short.tokenizer.decode(short.encode(long))

    titles = [short.write([text], order="mid", beam_size=1) for text in (start, long)]

    assert short.cut == 1
    assert len(short.encode(long)) == 8
    assert titles[0] == titles[1]


def test_never_seen_characters_are_texts_like_others(writer):
    titles = writer.write(["🎉火"], order="mid", beam_size=1)

    assert isinstance(titles[0][0].text, str)


def test_weights_of_another_model_are_an_error(tmp_path):
    run = small_run(tmp_path)
    arrays, facts = run.weights()
    write_arrays(run.weights_path, {**arrays, "more": np.zeros(1, "float32")}, facts)

    with pytest.raises(ValueError, match=r"of another model: 0 missing, 1 unknown \(`more`\)"):
        Writer.load(run.path)


def test_a_title_of_small_letters_gets_the_capitals_of_its_text(tmp_path):
    writer = Writer.load(small_run(tmp_path, lower_case=True).path)
    small, large = "the bakery in toro closes.", "The Bakery in TORO closes."

    for options in ({"order": "l2r"}, {"order": "best", "n_best": 2}):
        plain, titles = (writer.write([text], **options)[0] for text in (small, large))

        assert titles == [
            title._replace(text=with_capitals(title.text.lower(), large)) for title in plain
        ]
    assert writer.decode(writer.encode("in toro the bakery"), large) == "In TORO the Bakery"
