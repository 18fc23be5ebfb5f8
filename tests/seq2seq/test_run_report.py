"""The report of a run holds what its log, its scores and its model tell."""

import pytest

from kooler.seq2seq import run_report
from kooler.seq2seq.comparison import ScoreRow
from kooler.seq2seq.corpus import Pair
from kooler.seq2seq.evaluate import evaluate_titles
from kooler.seq2seq.measure import Measured
from kooler.seq2seq.run_report import write_run_report
from kooler.seq2seq.writer import Writer
from tests.seq2seq.small_run import small_run

PAIRS = [Pair("Rain fell.", "Rain"), Pair("Snow fell in Toro.", "Snow in Toro")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def reports(monkeypatch):
    """What would be written."""
    written = []
    monkeypatch.setattr(run_report, "write_report", lambda path, report: written.append(report))
    return written


def measured(**titles):
    rows = [ScoreRow(name, "model", evaluate_titles(t, ["a", "b"])) for name, t in titles.items()]
    return Measured(PAIRS, rows, titles, [])


def test_the_report_holds_everything(run, reports):
    scores = measured(mid=["Rain", "x"], best=["y", "Snow in Toro"])

    write_run_report(run, Writer.load(run.path), scores, title="News", language="en")

    (report,) = reports
    assert (report.title, report.language, report.rows) == ("News", "en", scores.rows)
    assert report.growth.title == report.growth.source[:4] + " in Toro"  # the one that is right
    assert "".join(report.attention.title_tokens) == " Snow in Toro"
    assert [sample.titles for sample in report.samples] == [
        {"mid": "Rain", "best": "y"},
        {"mid": "x", "best": "Snow in Toro"},
    ]
    assert report.settings["width"] == 8
    assert report.machine["training"] == "1.0 minutes"  # 60 seconds in the log
    assert {"kooler", "Python", "keras", "numpy"} < set(report.versions)
    assert "unknown" not in report.versions.values()


def test_the_charts_are_those_of_the_log(run, reports):
    run.append_log({**run.log()[-1], "averaged": [20, 40], "exact": 99})  # no point of a curve

    write_run_report(run, Writer.load(run.path), measured(best=["", ""]), title="News")

    charts = {chart.title: chart.curves for chart in reports[0].charts}
    assert [(c.name, c.x, c.y) for c in charts["On the dev set"]] == [
        (order, [20, 40], [3.0, 1.5]) for order in ("l2r", "r2l", "mid")
    ]
    assert charts["Exact titles of the dev set"][0].y == [20.0, 40.0]
    assert charts["Learning rate"][0].y == [1e-3, 1e-3]


def test_a_run_that_writes_nothing_has_a_report_too(run, reports):
    write_run_report(run, Writer.load(run.path), measured(best=["", ""]), title="News")

    assert reports[0].growth is None
    assert reports[0].attention is None


def test_the_file_lies_in_the_run_or_where_it_is_wanted(run, tmp_path):
    writer, scores = Writer.load(run.path), measured(best=["", ""])

    assert write_run_report(run, writer, scores, title="News") == run.path / "report.html"
    write_run_report(run, writer, scores, title="News", path=tmp_path / "other.html")

    assert "<title>News" in (run.path / "report.html").read_text("utf-8")
    assert (tmp_path / "other.html").exists()
