"""An explanation: the title of `generate`, every step of every beam, and nothing from elsewhere."""

import html
import re

import numpy as np
import pytest

from kooler.seq2seq.explain import _is_continued, _leads_to, _steps, explain
from kooler.seq2seq.generation import Hypothesis
from kooler.seq2seq.inside import between_of
from kooler.seq2seq.watching import Halves, Moment
from kooler.seq2seq.writer import Writer
from tests.seq2seq.small_model import small_pair
from tests.seq2seq.small_run import small_run

TEXT, TITLE = "The <bakery> in Toro closes.", "Toro to close"


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return Writer.load(small_run(tmp_path_factory.mktemp("run")).path)


@pytest.fixture(scope="module")
def page(writer):
    return explain(writer, TEXT, beam_size=2, max_length=4)


@pytest.mark.compiles
def test_the_title_is_that_of_generate(writer, page):
    ((best,),) = writer.write([TEXT], beam_size=2, max_length=4)

    shown = re.search(r'<p class="result"><strong[^>]*>(.*?)</strong>', page)[1]
    assert shown == (best.text or "empty")


@pytest.mark.compiles
def test_the_title_may_be_the_one_that_is_most_like_the_others(writer, page):
    chosen = {"beam_size": 4, "max_length": 4, "rank_by": "consensus"}
    ((best,),) = writer.write([TEXT], **chosen)
    ((likeliest,),) = writer.write([TEXT], beam_size=4, max_length=4)
    assert best.text != likeliest.text  # else the test shows nothing

    found = explain(writer, TEXT, **chosen)

    shown = re.search(r'<p class="result"><strong[^>]*>(.*?)</strong>', found)[1]
    assert html.unescape(shown) == (best.text or "empty")
    assert "most like the others" in found
    assert "most like the others" not in page


def test_an_unknown_ranking_is_refused(writer):
    with pytest.raises(ValueError, match=r"`rank_by` must be one of score, consensus, received"):
        explain(writer, TEXT, rank_by="likeness")


@pytest.mark.compiles
def test_every_order_has_its_beam_and_the_page_loads_nothing(page):
    assert re.findall(r'<abbr class="pill (\w+)"', page.split('id="beams"')[1])[:3] == [
        "mid",
        "l2r",
        "r2l",
    ]
    assert "&lt;bakery&gt;" in page
    assert "<bakery>" not in page
    assert "{" + "{" not in page
    assert not re.search(r"(src|href)=[\"'](?!#)|@import|url\(", page)


@pytest.mark.compiles
@pytest.mark.parametrize("leaky", [False, True], ids=["one by one", "together"])
def test_lstms_are_explained_too(tmp_path, leaky):
    lstms = {"architecture": "recurrent", "feedforward": None, "leaky": leaky}
    page = explain(Writer.load(small_run(tmp_path, **lstms).path), TEXT, max_length=4)

    pills = re.findall(r'<abbr class="pill (\w+)"', page.split('id="beams"')[1])
    assert set(pills[:2]) == {"l2r", "r2l"}
    assert ("while the other direction was seen" in page) == leaky


def test_a_text_without_a_token_is_refused(writer):
    with pytest.raises(ValueError, match=r"a text to explain must hold at least one token"):
        explain(writer, " ")


@pytest.mark.compiles
@pytest.mark.parametrize("title", [TITLE, TITLE + " it"])
def test_what_an_end_looks_at_is_written_before(writer, title):
    attention, shares = between_of(writer, TEXT, title)

    count = len(attention.title_tokens)
    weights = np.array(attention.weights)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-4)
    # the outermost tokens are written first: they see nothing but the start tags
    np.testing.assert_allclose(weights[[0, count - 1], :2].sum(axis=1), 1.0, rtol=1e-5)
    assert attention.source_tokens[:3] == ["⟨left⟩", "⟨right⟩", attention.title_tokens[0]]
    assert all(0 <= share <= 1 for share in shares)


def test_a_step_says_what_is_new_what_is_dropped_and_what_wins(writer):
    decode, count = writer.tokenizer.decode, writer.tokenizer.size
    a, b, c = (next(i for i in range(6, count) if decode([i, i]) == 2 * x) for x in "abc")
    first = Moment("mid", 1, [Halves((a,), (c,), -0.5), Halves((b,), (c,), -2.0)], [])
    found = Hypothesis((a, b, c), -0.2, -0.6, "mid")
    last = Moment("mid", 2, [], [found])

    before, after = _steps([first, last], writer.tokenizer)

    assert [(row.left_new, row.right_new) for row in before.rows] == [("a", "c"), ("b", "c")]
    assert [(row.goes_on, row.wins) for row in before.rows] == [(True, True), (False, False)]
    assert [(row.left, row.finished, row.wins) for row in after.rows] == [("abc", True, True)]
    assert before.rows[0].probability == pytest.approx(np.exp(-0.5))


def test_a_hypothesis_leads_to_what_begins_and_ends_like_it():
    halves = Halves((1, 2), (5,), 0.0)
    later = Moment("mid", 3, [Halves((1, 2, 3), (4, 5), 0.0)], [])

    assert _leads_to(halves, (1, 2, 5))
    assert not _leads_to(halves, (1, 5))  # one token cannot be at both ends
    assert not _leads_to(halves, (1, 2, 6))
    assert _is_continued(halves, later)
    assert not _is_continued(Halves((1, 3), (5,), 0.0), later)


@pytest.mark.compiles
def test_the_beams_of_two_streams_are_drawn(writer):
    pair = Writer(small_pair(writer.tokenizer.size, layers=1), writer.tokenizer, 40)
    ((best,),) = pair.write([TEXT], beam_size=2, max_length=4)

    page = explain(pair, TEXT, beam_size=2, max_length=4)

    shown = re.search(r'<p class="result"><strong[^>]*>(.*?)</strong>', page)[1]
    assert html.unescape(shown) == (best.text or "empty")
    pills = re.findall(r'<abbr class="pill (\w+)"', page.split('id="beams"')[1])
    assert pills[:2] == ["l2r", "r2l"]
    assert "while the other direction was seen" in page
