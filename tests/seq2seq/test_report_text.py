"""Text that comes from anywhere is shown and does nothing."""

import pytest

from kooler.seq2seq.report_text import columns, escape, percent, shorten


def test_markup_is_escaped():
    assert escape("<b a='1'>&\"") == "&lt;b a=&#x27;1&#x27;&gt;&amp;&quot;"
    assert escape(0.5) == "0.5"


def test_what_html_and_utf8_forbid_is_replaced():
    shown = escape("a\x00b\x1fc\x85d\ud83de\ufffef")
    assert shown == "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf"
    assert escape("tab\tline\n🎉 标题") == "tab\tline\n🎉 标题"
    assert shown.encode()


def test_chinese_takes_two_columns():
    assert columns("ab") == 2
    assert columns("标题，") == 6


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("storm", 5, "storm"), ("storms", 5, "stor…"), ("标题", 4, "标题"), ("标题栏", 4, "标…")],
)
def test_labels_are_cut_to_their_width(text, width, expected):
    assert shorten(text, width) == expected
    assert columns(expected) <= width


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, "0"),
        (0.0001, "<1"),
        (0.009, "<1"),
        (0.01, "1"),
        (0.344, "34"),
        (0.9949, "99"),
        (0.9951, ">99"),
        (1, "100"),
    ],
)
def test_nothing_is_rounded_to_sure_or_never(share, expected):
    assert percent(share) == f"{expected}\u202f%"
