"""The page: sound HTML, nothing from outside, nothing from data that acts, and all of it there."""

import base64
import dataclasses
import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kooler.seq2seq.report import (
    Attention,
    Chart,
    Curve,
    Growth,
    GrowthStep,
    Report,
    WrittenToken,
    report_html,
    write_report,
)
from tests.seq2seq.report_example import BASE, CHINESE_GROWTH, ScoreRow, example_report

VOID = {"meta", "br", "input"}  # of HTML; SVG closes its own with a slash
SVG = {"rect", "path", "circle"}
EVIL = (
    "</style></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{title}}\x00\ud800"
)
TAME = EVIL.translate(str.maketrans("<>\"'&", "()***"))
EVIL_SHOWN = EVIL.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")


class Page(HTMLParser):
    """A strict reading of a page: every tag is closed in order, every attribute known."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.texts, self.scripts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG
        self._note(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        within = self.open[-1] if self.open else ""
        (self.scripts if within in ("script", "style") else self.texts).append(data)

    def _note(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append(tag)
        self.attributes.extend((tag, name, value or "") for name, value in attrs)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def page(**changes):
    return Page(report_html(example_report(**changes)))


def with_strings(value, change):
    """The same data with every string changed."""
    if isinstance(value, str):
        return change(value)
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return type(value)(**{k: with_strings(v, change) for k, v in fields.items()})
    if isinstance(value, ScoreRow):
        kept = {name: value.scores._asdict()[name] for name in ("bleu_signature", "chrf_signature")}
        scores = value.scores._replace(**{k: change(v) for k, v in kept.items()})
        return ScoreRow(change(value.name), value.kind, scores)
    if isinstance(value, dict):
        return {with_strings(k, change): with_strings(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [with_strings(item, change) for item in value]
    return value


def test_every_part_is_on_the_page():
    found = page().text

    for words in (
        "News titles A model and its titles.",
        "exact titles, best of all orders 90.0 %",
        "ROUGE-L, best baseline: lead 40.0",
        "Scores written by exact ROUGE-1",
        "l2r left to right 40.0",
        "oracle sentence",
        BASE.bleu_signature,
        "Storm 90 %",
        "Step 2: left “hits” (80 %), right “Lisbon” (<1 %).",
        "the halves have met (>99 %)",
        "A note on growth.",
        "true title Storm hits Lisbon port",
        "✓ exact",
        "last layer",
        "Storm : storm 0.80, A 0.10,",
        "Loss by order nats per token",
        "size tiny",
        "processor two cores",
        "keras 3.15.1",
    ):
        assert words in found


def test_parts_that_are_empty_are_left_out():
    bare = Page(report_html(Report("Only a title")))

    assert "section" not in bare.tags
    assert "Only a title" in bare.text
    assert "loses" not in bare.text
    assert page(growth=None, charts=[]).values("href") == [
        *("#scores", "#samples", "#attention", "#making"),
    ]


def test_links_lead_somewhere_and_names_are_unique():
    found = page()
    ids = found.values("id")

    assert len(set(ids)) == len(ids)
    assert {f"#{name}" for name in ids} >= set(found.values("href"))
    assert set(found.values("aria-labelledby")) <= set(ids)


def test_nothing_is_loaded_from_anywhere():
    text = report_html(example_report())
    found = Page(text)

    assert not {"img", "link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert not {"src", "srcset", "data", "poster"} & {name for _, name, _ in found.attributes}
    assert all(value.startswith("#") for value in found.values("href"))
    assert not re.search(r"https?:|//\w+\.|@import|url\(", text.replace("// Steps", ""))


def test_the_policy_allows_only_the_one_script():
    found = Page(report_html(example_report()))
    (script,) = re.findall("<script>(.*?)</script>", report_html(example_report()), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [value for value in found.values("content") if "default-src" in value]

    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert found.tags.count("script") == 1


def test_no_text_from_data_becomes_markup():
    rows = [ScoreRow("l2r", "model", BASE), ScoreRow("lead", "baseline", BASE._replace(bleu=41.0))]
    report = example_report(rows=rows)
    evil = with_strings(report, lambda text: text + EVIL)
    tame = with_strings(report, lambda text: text + TAME)

    found = Page(report_html(evil))
    assert Counter(found.tags) == Counter(Page(report_html(tame)).tags)
    names = {name for _, name, _ in found.attributes}
    assert all(re.fullmatch("(?!on)[a-z][a-z0-9-]*", name) for name in names)
    assert f"en{EVIL_SHOWN}" in found.values("lang")
    assert not any("alert(" in script for script in found.scripts)
    assert f"News titles{EVIL_SHOWN}" in found.texts


def test_a_title_may_name_a_place_of_the_template():
    assert "{{sections}} & {{title}}" in page(title="{{sections}} & {{title}}").text


def test_the_sentence_about_losing_appears_exactly_when_it_loses():
    assert "loses" not in page().text
    assert "verdict holds" in page().values("class")

    rows = [ScoreRow("l2r", "model", BASE), ScoreRow("lead", "baseline", BASE._replace(bleu=41.0))]
    losing = page(rows=rows)
    assert "l2r loses against lead in BLEU (40.0 to 41.0)." in losing.text
    assert "verdict loses" in losing.values("class")
    assert "40.0 ▾ below lead" in losing.text
    assert losing.text.count(BASE.bleu_signature) == 1  # the same for both rows


def test_the_best_is_bold_and_the_oracle_never():
    bold = re.findall("<b>([0-9.]+)</b>", report_html(example_report(charts=[])))
    assert Counter(bold) == {"90.0": 1, "40.0": 7 + 7 + 6 + 5}  # two of the model, two baselines


def test_what_rouge_cannot_see_is_said():
    rows = [ScoreRow("l2r", "model", BASE._replace(references_without_tokens=7))]

    assert "In 7 of the true titles ROUGE sees no token" in page(rows=rows).text
    assert "ROUGE sees no token" not in page().text


def test_pictures_and_buttons_have_names():
    text = report_html(example_report())

    for svg in re.findall("<svg[^>]*>", text):
        assert 'role="img"' in svg
        assert re.search('aria-label="[^"]{20,}"', svg)
    for attributes, inside in re.findall("<button([^>]*)>(.*?)</button>", text):
        assert inside.isalpha() or "aria-label=" in attributes or " " in inside
    assert all(re.findall('<input [^>]*aria-label="Step"', text))
    assert re.search("<html lang=", text)


def test_headings_form_an_outline():
    levels = [int(tag[1]) for tag in page().tags if re.fullmatch("h[1-6]", tag)]

    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_without_the_script_all_steps_are_visible_and_the_controls_are_not():
    text = report_html(example_report())

    assert text.count("Step 1: ") == text.count("Step 3: ") == 1
    assert '<div class="controls" hidden>' in text
    assert "hidden" not in re.search('<ol class="steps".*?</ol>', text, re.DOTALL)[0].replace(
        "aria-hidden", ""
    )


def test_chinese_keeps_its_language_and_characters():
    text = report_html(example_report(growth=CHINESE_GROWTH, language="zh"))

    assert '<strong lang="zh" dir="auto">风暴袭港</strong>' in text
    assert "第 2 步：左端“暴”（80\u202f%）、右端“袭”（100\u202f%）。" in text


def test_colours_can_be_read_in_the_light_and_in_the_dark():
    text = report_html(Report("x"))
    light, dark = (
        dict(re.findall("--([a-z-]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", text, re.DOTALL)[:2]
    )

    for palette in (light, dark):
        for ink in ("ink", "soft", "left", "right", "both", "best", "warn"):
            assert contrast(palette[ink], palette["paper"]) > 4.5
            assert contrast(palette[ink], palette["card"]) > 4.5
        for side in ("left", "right"):  # fresh tokens: card on colour; older ones: ink on tint
            assert contrast(palette["ink"], palette[f"{side}-tint"]) > 4.5
        assert contrast(palette["ink"], palette["warn-tint"]) > 4.5
        assert contrast(palette["ink"], palette["good-tint"]) > 4.5


def contrast(one, two):
    """Contrast ratio as the Web Content Accessibility Guidelines define it."""
    lighter, darker = sorted(map(luminance, (one, two)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_same_data_make_the_same_file(tmp_path):
    code = (
        "import sys; from kooler.seq2seq.report import write_report;"
        "from tests.seq2seq.report_example import example_report;"
        "write_report(sys.argv[1], example_report())"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])

    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_report_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(str(path), Report("new \ud800"))

    assert "new \ufffd" in path.read_text("utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(path, Report("new"))

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curve("l2r", [1, 2], [3.0]), r"2 x and 1 y for 'l2r'. Leave out both"),
        (
            lambda: Attention(["a"], ["b"], [[0.1, 0.2]]),
            r"1 × 1 .* 1 rows of \[2\]. Cut the padding",
        ),
        (lambda: Attention(["a"], ["b", "c"], [[0.1]]), r"2 × 1 .* 1 rows of \[1\]"),
        (lambda: Attention([], ["b"], [[]]), r"1 × 0 .* at least 1"),
        (lambda: Attention(["a"], ["b"], [[-1.0]]), r"from 0 to 1, .* Give them after the softmax"),
        (lambda: Attention(["a"], ["b"], [[float("nan")]]), r"outside or NaN"),
        (lambda: WrittenToken("a", -0.2), r"received -0.2 for 'a'. Take `exp` of"),
        (lambda: Growth("s", "t", [GrowthStep()]), r"1 steps without any. Leave `growth=None`"),
    ],
)
def test_wrong_data_are_refused_at_the_door(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_chart_without_any_number_says_so():
    assert "Nothing was measured." in page(charts=[Chart("Loss", "nats", [])]).text
