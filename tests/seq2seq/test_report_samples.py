"""Samples: what is right, what is wrong, and where."""

import re

import pytest

from kooler.seq2seq.report_data import Sample
from kooler.seq2seq.report_samples import sample_cards


def card(reference, titles, source="Source text."):
    return sample_cards([Sample(source, reference, titles)], "en")


def shown(title, reference):
    (inside,) = re.findall(
        '<span class="what"[^>]*>(.*?)</span><span class="mark">', card(reference, {"l2r": title})
    )
    return inside


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Storm hits Lisbon", "Storm hits Lisbon"),
        ("Storm hits Oslo", "Storm hits <mark>Oslo</mark>"),
        ("Storm hits old Lisbon", "Storm hits <mark>old </mark>Lisbon"),
        ("Storm Lisbon", 'Storm <span class="missing" title="missing: hits">‸</span>Lisbon'),
        ("", '<span class="missing" title="missing: Storm hits Lisbon">‸</span>'),
        ("Storm  hits Lisbon", "Storm  hits Lisbon"),
        ("Storm hits <b>", "Storm hits <mark>&lt;b&gt;</mark>"),
    ],
)
def test_differences_are_marked(title, expected):
    assert shown(title, "Storm hits Lisbon") == expected


def test_what_is_missing_is_escaped():
    assert 'title="missing: &quot;&lt;b&gt;"' in shown("a ", 'a "<b>')


def test_chinese_differences_are_marked_by_character():
    assert shown("风暴袭击京都", "风暴袭击里斯本") == "风暴袭击<mark>京都</mark>"


def test_orders_that_wrote_the_same_share_a_line():
    lines = card("a b", {"l2r": "a b", "mid": "a", "best": "a b", "r2l": " "}).split("<li ")[1:]

    assert [re.findall(r'title="[^"]*">(\w+)</abbr>', line) for line in lines] == [
        *(["l2r", "best"], ["mid"], ["r2l"]),
    ]
    assert [re.findall(r'class="mark">([^<]*)<', line)[0] for line in lines] == [
        *("✓ exact", "differs", "empty"),
    ]
    assert [line.split('"')[1] for line in lines] == ["exact", "differs", "differs"]


def test_runs_of_spaces_do_not_make_a_title_wrong():
    assert "✓ exact" in card("a b", {"l2r": "a  b "})


def test_a_long_source_opens_on_demand():
    text = card("t", {}, source="word " * 200 + "last")

    (start,) = re.findall("<summary>(.*?) …</summary>", text)
    assert start.endswith("word")
    assert 200 < len(start) < 300
    assert "word last</p></details>" in text
    assert "<details" not in card("t", {}, source="short")
    assert "<summary>&lt;b&gt;" in card("t", {}, source="<b>" * 200)
    chinese = card("t", {}, source="一 " + "标题" * 300)
    assert len(re.findall("<summary>(.*?) …</summary>", chinese)[0]) == 260


def test_an_order_of_ones_own_is_shown_as_it_is():
    assert '<abbr class="pill" title="my &amp; way">my &amp; way</abbr>' in card(
        "t", {"my & way": "t"}
    )
    assert '<abbr class="pill mid" title="from both ends">mid</abbr>' in card("t", {"mid": "t"})
