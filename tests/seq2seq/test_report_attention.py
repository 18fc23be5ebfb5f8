"""The attention picture: the right cell has the right strength and the right labels."""

import re

import pytest

from kooler.seq2seq.report_attention import (
    CELL,
    SOURCE_COLUMNS,
    attention_picture,
    attention_section,
    kept_columns,
    strongest,
)
from kooler.seq2seq.report_data import Attention

SMALL = Attention(["A", " storm", " hit"], ["Storm", " hits"], [[0.0, 0.8, 0.2], [0.1, 0.001, 0.4]])


def cells(svg):
    pattern = r'<rect x="([\d.]+)" y="([\d.]+)" [^>]*fill-opacity="([\d.]+)"><title>([^<]*)<'
    return [(float(x), float(y), float(o), text) for x, y, o, text in re.findall(pattern, svg)]


def test_cells_lie_in_row_and_column_and_are_as_strong_as_their_weight():
    drawn = {
        text.split(":")[0]: (x, y, opacity)
        for x, y, opacity, text in cells(attention_picture(SMALL))
    }

    assert drawn.keys() == {"Storm ← storm", "Storm ← hit", "hits ← A", "hits ← hit"}
    x, y, strength = drawn["Storm ← storm"]
    frame = re.search('class="frame" x="([0-9.]+)" y="([0-9.]+)"', attention_picture(SMALL))
    assert (x, y) == pytest.approx((float(frame[1]) + CELL + 1, float(frame[2]) + 1))
    assert strength == 1
    assert drawn["hits ← hit"] == (x + CELL, y + CELL, 0.5)
    assert drawn["hits ← A"] == (x - CELL, y + CELL, 0.12)


def test_long_sources_keep_what_is_looked_at_most_in_order():
    weights = [[0.0] * 100, [0.0] * 100]
    weights[0][90], weights[1][95], weights[0][3] = 0.5, 0.9, 0.2
    attention = Attention([f"w{i}" for i in range(100)], ["a", "b"], weights)

    kept = kept_columns(attention)
    assert len(kept) == SOURCE_COLUMNS
    assert kept == sorted(kept)
    assert {3, 90, 95} <= set(kept)
    right_edge = float(re.search('width="([0-9]+)"', attention_picture(attention))[1])
    assert max(x for x, _, _, _ in cells(attention_picture(attention))) < right_edge
    assert "Of 100 source tokens the 40 that" in attention_section(attention, "en")
    assert "source tokens the" not in attention_section(SMALL, "en")


def test_chinese_labels_stand_upright_and_words_lean():
    chinese = attention_picture(Attention(["风", "暴"], ["风"], [[0.5, 0.5]]))

    assert ">暴</text>" in chinese
    assert "rotate" not in chinese
    assert attention_picture(SMALL).count("rotate") == 3


def test_every_label_lies_inside_the_picture():
    long = Attention(["extraordinarily long"], ["an even longer token of the title"], [[1.0]])
    svg = attention_picture(long)

    (x,) = re.findall(r'<text x="([\d.]+)" [^>]*text-anchor="end">an even longer …<', svg)
    assert float(x) > 16 * 7
    assert "extraordinarily…" in svg


def test_the_same_in_words():
    assert strongest(SMALL, 1, 2) == [(" hit", 0.4), ("A", 0.1)]
    section = attention_section(SMALL, "en")
    assert (
        "<li><bdi>Storm</bdi>: <bdi>storm</bdi> 0.80, <bdi>hit</bdi> 0.20, <bdi>A</bdi>" in section
    )
    assert "<li><bdi>hits</bdi>: <bdi>hit</bdi> 0.40, <bdi>A</bdi> 0.10" in section
    assert "Each title token looks most: Storm at storm; hits at hit." in section
    assert '<span class="ramp"></span> 0.80' in section


def test_no_attention_at_all_draws_nothing():
    assert cells(attention_picture(Attention(["a"], ["b"], [[0.0]]))) == []
    assert attention_section(None, "en") == ""
