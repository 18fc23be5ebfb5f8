"""A Chinese page is Chinese throughout, and no translation can be forgotten."""

import ast
import re
import string
from pathlib import Path

import pytest

from kooler.seq2seq import report_chart, report_parts, report_scores, run_report
from kooler.seq2seq.comparison import SCORES
from kooler.seq2seq.report import Growth, GrowthStep, WrittenToken, report_html
from kooler.seq2seq.report_words import CHINESE, language_of, say, speaking
from tests.seq2seq.report_example import CHINESE_GROWTH, example_report

ROOM = Path(report_chart.__file__).parent


def said() -> list[str]:
    """Every text that the code gives to `say` as it stands."""
    calls = [
        node
        for path in ROOM.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say"
    ]
    texts = [call.args[0] for call in calls if isinstance(call.args[0], ast.Constant)]
    named = [*report_parts.ORDERS.values(), *report_scores.SHORT_SCORES.values(), *SCORES.values()]
    return [text.value for text in texts] + [text for text in named if not text.isupper()]


def places(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_text_has_a_translation_with_the_same_places() -> None:
    names = {"BLEU", "chrF", "ROUGE-1", "ROUGE-2", "ROUGE-L"}
    texts = [text for text in said() if text not in names]

    assert len(texts) > 50
    for text in texts:
        assert text in CHINESE, text
    for text, spoken in CHINESE.items():
        assert places(text) == places(spoken), text


def test_a_chinese_page_has_no_english_left() -> None:
    parts = {"title": "", "summary": "", "charts": [], "attention": None, "growth": CHINESE_GROWTH}
    page = report_html(example_report(language="zh", **parts))
    visible = re.sub(r"(?s)<(style|script)>.*?</\1>", "", page.partition("<body>")[2])
    visible = re.sub(r"(?s)<p class=\"quiet signature\">.*?</p>", "", visible)
    visible = re.sub(r'(?s)<article class="sample">.*?</article>', "", visible)
    attributes = re.findall(r'(?:title|aria-label|data-pl\w+|data-pause)="([^"]*)"', visible)
    text = " ".join([re.sub(r"<[^>]*>", " ", visible), *attributes])
    words = set(re.findall(r"[A-Za-z]{4,}", text.rpartition("制作信息")[0]))

    assert '<html lang="zh">' in page
    assert "每一步，模型同时在<em class='l'>左</em>端" in page
    assert words <= {"BLEU", "chrF", "ROUGE", "best"}


def test_an_english_page_stays_english_after_a_chinese_one() -> None:
    report_html(example_report(language="zh-CN"))
    page = report_html(example_report())

    assert '<html lang="en">' in page
    assert not re.search("[\u4e00-\u9fff]", page)


def test_the_caption_of_a_step() -> None:
    growth = Growth(
        "原文。", "甲乙", [GrowthStep([WrittenToken("甲", 0.9)], [WrittenToken("乙", 1)])]
    )

    page = report_html(example_report(language="zh", growth=growth))

    assert "第 1 步：左端“甲”（90\u202f%）、右端“乙”（100\u202f%）。" in page


def test_a_text_that_is_unknown_stays() -> None:
    with speaking("zh"):
        assert say("{nobody} says this") == "{nobody} says this"
        assert say("Scores") == "得分"
    assert say("Scores") == "Scores"


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (["安博公司收购工厂", "BERT 模型"], "zh"),
        (["Storm hits port", "港"], ""),
        (["嵐が港を襲う"], ""),  # Japanese
        (["123", ""], ""),
        ([], ""),
    ],
)
def test_the_language_is_guessed(texts: list[str], language: str) -> None:
    assert language_of(texts) == language


def test_the_machine_is_told_in_the_language_of_the_page() -> None:
    with speaking("zh"):
        assert run_report._machine([{"seconds": 90.0}])["training"] == "1.5 分钟"
