"""The command: three files that the training reads, a profile, and complaints of one line."""

import json

import pytest

from kooler.seq2seq.cli import main
from kooler.seq2seq.corpus import read_pairs

PLACES = [
    f"{a}{b}" for a in ("Tor", "Mo", "Zam", "Ked", "Ul") for b in ("ford", "dale", "en", "ia")
]
NAMES = [f"{a}{b}" for a in ("Ni", "Ka", "Sol", "Bre") for b in ("tor", "dan", "vik", "mo", "ra")]


@pytest.fixture
def table(tmp_path):
    """A JSON lines file whose columns have names of their own."""
    path = tmp_path / "news.jsonl"
    records = [
        {"body": f"In {place} a bakery of the family {name} opens on day {i}, says its owner.",
         "head": f"{name} bakes in {place}"}
        for i, (place, name) in enumerate((p, n) for p in PLACES for n in NAMES)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def corpus(capsys, *arguments):
    code = main(["corpus", *map(str, arguments)])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def test_two_columns_become_three_files(table, tmp_path, capsys):
    output = tmp_path / "news"

    code, said, _ = corpus(
        capsys, "pairs", table, "--columns", "body,head", "--output", output, "--limit", "300"
    )

    parts = {name: list(read_pairs(output / f"{name}.tsv")) for name in ("train", "dev", "test")}
    assert code == 0
    assert len(parts["train"]) == 240
    assert 0 < len(parts["dev"]) <= 30
    assert all(pair.target.split()[1:3] == ["bakes", "in"] for p in parts.values() for pair in p)
    assert said.startswith("300 read\n")
    assert "\nIt hardly makes a title task. 240 pairs to learn from are few;" in said


def test_a_long_way_is_told(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kooler.seq2seq.harvest.build.TELL_EVERY", 150)

    _, said, _ = corpus(
        capsys, "pairs", table, "--columns", "body,head", "--output", tmp_path / "n"
    )

    assert said.splitlines()[:3] == ["150 read so far …", "300 read so far …", "400 read"]


def test_the_same_command_makes_the_same_files(table, tmp_path, capsys):
    for name in ("a", "b"):
        corpus(capsys, "pairs", table, "--columns", "body,head", "--output", tmp_path / name)

    for part in ("train.tsv", "dev.tsv", "test.tsv"):
        assert (tmp_path / "a" / part).read_bytes() == (tmp_path / "b" / part).read_bytes()


def test_a_corpus_that_is_there_is_kept(table, tmp_path, capsys):
    tmp_path.joinpath("dev.tsv").write_text("mine")

    code, _, complaint = corpus(capsys, "pairs", table, "--output", tmp_path)

    assert code == 2
    assert complaint.endswith("dev.tsv` is there already. Choose another --output folder.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pairs", "absent.csv"], "absent.csv: no such file."),
        (["pairs", "x.csv", "--columns", "a"], "--columns must name two columns, like body,head"),
        (["git", "."], "git cannot read a history in `.` ("),
        (["docstrings", "absent"], "`absent` is no folder of Python files."),
    ],
    ids=["file", "columns", "git", "folder"],
)
def test_wrong_input_is_one_line(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    code, said, complaint = corpus(capsys, *arguments, "--output", "out")

    assert (code, said) == (2, "")
    assert complaint.startswith(f"kooler: error: {message}")
    assert complaint.count("\n") == 1


def test_help_teaches_with_examples(capsys):
    assert main(["corpus", "--help"]) == 0
    overview = capsys.readouterr().out

    for command in ("git", "docstrings", "apt", "pairs"):
        assert f"kooler corpus {command}" in overview
        assert main(["corpus", command, "--help"]) == 0
        assert f"\n      kooler corpus {command}" in capsys.readouterr().out
