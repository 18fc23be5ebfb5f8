"""What is gathered: commits, docstrings, packages."""

import subprocess
from pathlib import Path

import pytest

from kooler.seq2seq.harvest.apt_packages import apt_records
from kooler.seq2seq.harvest.docstrings import docstring_records
from kooler.seq2seq.harvest.git_history import git_records
from kooler.seq2seq.harvest.record import Record

CODE = '''raise SystemExit

def add(a: int, b):
    """Adds two
    numbers.

    Both of them.
    """
    return a + b

class Empty:
    """Holds nothing."""

def silent(): ...
'''


def git(folder: Path, *arguments: str, time: int = 0) -> None:
    environment = {
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(folder),
        "GIT_COMMITTER_DATE": f"{1_600_000_000 + time} +0000", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, env=environment, capture_output=True
    )


def test_commits_come_oldest_first_without_what_is_not_of_them(tmp_path):
    git(tmp_path, "init", "-q")
    messages = [
        "Add a door (#12)\n\nPeople could not\nget in.\n\nSigned-off-by: A <a@b>\nFixes: #3",
        "Revert \"Add a door\"\n\nThey got in.",
        "Paint it 红\n\nIt was grey: nobody liked that.\n\nCo-authored-by: B <b@c>",
        "fixup! Paint it",
    ]  # fmt: skip
    for time, message in enumerate(messages):
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", message, time=time)

    records = list(git_records(tmp_path))

    assert [record.target for record in records] == ["Add a door", "Paint it 红"]
    assert records[0].source.split() == ["People", "could", "not", "get", "in."]
    assert records[1].source.strip() == "It was grey: nobody liked that."
    assert records[1].time - records[0].time == 2


def test_a_folder_without_a_history_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"git cannot read a history in `.*` \(fatal: "):
        list(git_records(tmp_path))


def test_docstrings_become_pairs_and_nothing_is_run(tmp_path):
    (tmp_path / "a.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "b.py").write_text('def f():\n    """Is a test."""')

    records = {record.target: record.source for record in docstring_records([tmp_path])}

    assert set(records) == {"Adds two numbers", "Holds nothing"}
    assert records["Adds two numbers"] == "def add(a: int, b): Both of them. return a + b"
    assert records["Holds nothing"].startswith("class Empty:")


def test_a_folder_that_is_none_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"`.*absent` is no folder of Python files\."):
        list(docstring_records([tmp_path / "absent"]))


def test_packages_have_a_synopsis_and_a_description(tmp_path):
    lists, status = tmp_path / "lists", tmp_path / "status"
    lists.mkdir()
    (lists / "some_Translation-en").write_text(
        "Package: door\nDescription-md5: 1\nDescription-en: opens and closes\n It has hinges.\n .\n"
        " And a key.\n\nPackage: wall\nDescription-en: stands\n"
    )
    status.write_text("Package: roof\nDescription: keeps dry\n Of slate.\nHomepage: x\n")

    records = [Record(" ".join(r.source.split()), r.target) for r in apt_records(lists, status)]

    assert records == [
        Record("It has hinges. And a key.", "opens and closes"),
        Record("", "stands"),
        Record("Of slate.", "keeps dry"),
    ]


def test_a_machine_without_packages_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"there is no description of a package in `.*absent`"):
        list(apt_records(tmp_path / "absent", tmp_path / "none"))
