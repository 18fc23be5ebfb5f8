"""Both ends: each step shows what is there, in the order in which it will read."""

import re

from kooler.seq2seq.report_data import Growth, GrowthStep, WrittenToken
from kooler.seq2seq.report_growth import growing_title
from tests.seq2seq.report_example import CHINESE_GROWTH, GROWTH


def stages(growth):
    """For each step (class, text) of its tokens and free places, in the order of the page."""
    pieces = r'<span class="([^"]*)"[^>]*><(?:bdi|i)>([^<]*)<'
    return [re.findall(pieces, item) for item in growing_title(growth, "en").split("<li>")[1:]]


def test_tokens_appear_at_their_final_places():
    first, second, third = stages(GROWTH)

    for stage in (first, second, third):
        assert [text for _, text in stage] == ["Storm", "hits", "end", "Lisbon", "port"]
    assert [kind.split()[0] for kind, _ in first] == ["token", "hole", "hole", "hole", "token"]
    assert [kind.split()[0] for kind, _ in second] == ["token", "token", "hole", "token", "token"]
    assert [kind.split()[0] for kind, _ in third] == ["token"] * 5


def test_sides_and_fresh_tokens_are_told_apart():
    _, second, third = stages(GROWTH)

    assert [kind for kind, _ in second] == [
        *("token l", "token l new apart", "hole end apart", "token r new apart", "token r apart"),
    ]
    assert [text for kind, text in third if "new" in kind] == ["end"]


def test_only_titles_of_words_have_gaps():
    assert 'class="title words"' in growing_title(GROWTH, "en")
    assert 'class="title"' in growing_title(CHINESE_GROWTH, "zh")


def test_free_places_are_not_read_aloud():
    text = growing_title(GROWTH, "en")
    assert text.count('class="hole') == text.count('aria-hidden="true"') == 3 + 1


def test_several_tokens_a_step_are_ordered_from_outside_to_inside():
    def written(*texts):
        return [WrittenToken(text, 0.5) for text in texts]

    growth = Growth(
        "s",
        "abcdefg",
        [
            GrowthStep(written("a", "b"), written("g", "f")),
            GrowthStep(written("c"), written("e", "d")),
        ],
    )

    assert "".join(text for _, text in stages(growth)[-1]) == "abcdefg"
    assert "Step 2: left “c” (50" in growing_title(growth, "en")


def test_probabilities_are_escaped_and_never_rounded_away():
    text = growing_title(GROWTH, "en")

    assert "<small>&lt;1\u202f%</small>" in text
    assert "--sure:0.750" in text
    assert "right “Lisbon” (&lt;1\u202f%)." in text


def test_the_player_knows_how_many_steps_there_are():
    text = growing_title(CHINESE_GROWTH, "zh")

    assert 'min="0" max="2"' in text
    assert "<output>1 of 3</output>" in text
    assert 'lang="zh"' in text


def test_a_token_that_is_only_a_space_is_visible():
    assert "␠" in growing_title(Growth("s", "t", [GrowthStep([WrittenToken(" ", 1.0)])]), "en")
    assert growing_title(None, "en") == ""
