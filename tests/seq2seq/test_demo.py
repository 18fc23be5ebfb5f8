"""The demo: it makes briefs, trains, shows what was written, and leaves a run with a report."""

import io

import pytest

from kooler.seq2seq import demo
from kooler.seq2seq.corpus import Pair
from kooler.seq2seq.demo import WAYS, demonstrate
from kooler.seq2seq.display import Silence
from kooler.seq2seq.report_data import Growth, GrowthStep, WrittenToken
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.writer import Title, Writer
from tests.seq2seq.small_run import SETTINGS, untrained


@pytest.fixture
def small(monkeypatch):
    """A demo that learns nothing; it writes the start of a text, from both ends nothing."""

    def write(writer, texts, *, order, **options):
        return [[Title("" if order == "mid" else text[:6], 0.0, 0.0, order)] for text in texts]

    monkeypatch.setattr(demo, "train", untrained)
    monkeypatch.setattr(Writer, "write", write)
    monkeypatch.setattr(demo, "PAIRS", {"train": 30, "dev": 4, "test": 5})
    monkeypatch.setattr(demo, "SETTINGS", SETTINGS | {"target_length": 30})


def test_it_shows_every_way_to_write_and_leaves_a_run(small, tmp_path):
    stream = io.StringIO()

    measured = demonstrate("zh", tmp_path / "run", 3, display=Silence(), stream=stream)

    shown = stream.getvalue()
    assert shown.startswith("Briefs that the model has never seen (5 of them):\n\n  ")
    for pair in measured.pairs[: demo.SHOWN]:
        assert f"\n  {pair.source}\n    its headline    {pair.target}\n" in shown
    for order, way in WAYS.items():
        title = measured.titles[order][0]
        assert f" {way:<16}{title}\n" in shown
        assert f"\n{order} " in shown  # in the table
    assert "nearest title" in shown
    assert f"Everything about it, with pictures: {tmp_path / 'run' / 'report.html'}" in shown
    run = RunDirectory(tmp_path / "run")
    assert 'lang="zh"' in run.report_path.read_text("utf-8")
    assert run.settings().seed == 3


def test_the_settings_of_the_demo_are_valid_and_learn_every_order():
    settings = Settings(**demo.SETTINGS)

    assert set(settings.orders) | {"best"} == set(WAYS)


def test_the_briefs_of_the_parts_differ_and_come_from_the_seed(small, tmp_path):
    files = {
        seed: demo._write_briefs(RunDirectory(tmp_path / str(seed)), "en", seed) for seed in (0, 1)
    }

    parts = [set(files[0][name].read_text("utf-8").splitlines()) for name in demo.PAIRS]
    assert [len(part) for part in parts] == [30, 4, 5]
    assert set.intersection(*parts) == set()
    assert files[0]["test"].read_text("utf-8") != files[1]["test"].read_text("utf-8")


def test_it_takes_the_next_free_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert str(demo._free_directory()) == "runs/demo"
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo-2").mkdir()
    assert str(demo._free_directory()) == "runs/demo-3"


def test_it_never_writes_into_a_directory_in_use(small, tmp_path):
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(
        ValueError, match=r"fresh run directory, but `.*` is not empty. Choose anoth"
    ):
        demonstrate("en", tmp_path)
    with pytest.raises(ValueError, match="`language` must be"):
        demonstrate("fr", tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_right_and_wrong_titles_are_marked():
    lines = demo._example(Pair("a text", "a title"), {"l2r": "a title", "mid": "another"})

    assert lines == [
        "  a text",
        "    its headline    a title",
        "  ✓ left to right   a title",
        "  ✗ from both ends  another",
    ]


def test_a_title_grows_with_dots_until_the_halves_meet():
    steps = [
        GrowthStep([WrittenToken(" Toro", 0.9)], [WrittenToken(" bakery", 0.9)]),
        GrowthStep([WrittenToken(" to", 0.9)], [WrittenToken(" its", 0.9)]),
        GrowthStep([WrittenToken(" close", 0.9)], [WrittenToken("", 0.9, ends=True)]),
    ]

    assert demo._stages(Growth("a text", "a title", steps)) == [
        "Toro … bakery",
        "Toro to … its bakery",
        "Toro to close its bakery",
    ]
