"""What the documents say is so: snippets run, commands exist, links lead, both READMEs agree."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from kooler.seq2seq import cli

PROJECT = Path(__file__).parents[1]
ENGLISH = (PROJECT / "README.md").read_text("utf-8")
CHINESE = (PROJECT / "README.zh.md").read_text("utf-8")
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
NOT_FILES = {"utils.py"}  # which will never come
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
COMMENT = re.compile(r"\s+# .*$", re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert ENGLISH.count("\n") <= 150


def test_both_readmes_have_the_same_headings() -> None:
    assert heading_levels(ENGLISH) == heading_levels(CHINESE)


def test_both_readmes_show_the_same_commands_and_code() -> None:
    assert code(ENGLISH) == code(CHINESE)


def test_both_readmes_have_the_same_tables_and_links() -> None:
    assert ENGLISH.count("\n|") == CHINESE.count("\n|")
    assert set(LINK.findall(ENGLISH)) - {"README.zh.md"} == set(LINK.findall(CHINESE)) - {
        "README.md"
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    missing = [
        target
        for target in LINK.findall(document.read_text("utf-8"))
        if not (document.parent / target).exists()
    ]

    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_of_the_project_that_is_named_exists(document: Path) -> None:
    text = document.read_text("utf-8")
    folders = ("kooler", "tests", "tools", "benchmarks", "examples", "docs")
    files = [path.as_posix() for folder in folders for path in (PROJECT / folder).rglob("*.py")]

    missing = [
        name
        for name in re.findall(r"[\w./]*\w+\.py\b", text)
        if name not in NOT_FILES and not any(file.endswith(f"/{name}") for file in files)
    ]

    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_exists(document: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))

    named = {target for line in shell_lines(document, "make") for target in make_targets(line)}

    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_kooler_command_is_understood(document: Path) -> None:
    for line in shell_lines(document, "kooler"):
        _, name, *arguments = shlex.split(line.partition("<")[0])

        parse(name, arguments)


def test_a_planted_wrong_command_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --bean-size"):
        parse("generate", ["--run", "runs/first", "--bean-size", "5"])


def test_the_python_snippets_run(capsys: pytest.CaptureFixture[str]) -> None:
    generator, wrappers = blocks(ENGLISH, "python")

    exec(compile(wrappers, "README.md", "exec"), {})
    exec(compile(generator, "README.md", "exec"), {})

    last_line = capsys.readouterr().out.splitlines()[-1]
    assert re.search(r"\['(l2r|r2l|mid)' '(l2r|r2l|mid)'\]$", last_line)


def heading_levels(text: str) -> list[int]:
    """The levels of the headings in their order: 1 for #, 2 for ##."""
    return [len(marks) for marks in re.findall(r"^(#+) ", without_code(text), re.MULTILINE)]


def code(text: str) -> list[tuple[str, str]]:
    """The blocks in a language, without comments, which each README has in its own language."""
    return [(language, COMMENT.sub("", body)) for language, body in BLOCK.findall(text) if language]


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in one language."""
    return [body for found, body in BLOCK.findall(text) if found == language]


def without_code(text: str) -> str:
    """The text without its blocks of code, where # starts a comment."""
    return BLOCK.sub("", text)


def shell_lines(document: Path, command: str) -> list[str]:
    """The lines of a document's shell blocks, and its words in backticks, that call a command."""
    text = document.read_text("utf-8")
    lines = "".join(blocks(text, "sh")).splitlines() + re.findall(
        r"`([^`\n]+)`", without_code(text)
    )
    return [COMMENT.sub("", line) for line in lines if line.startswith(f"{command} ")]


def parse(name: str, arguments: list[str]) -> None:
    """Lets the command line read a command's arguments, without running it."""
    command = typer.main.get_command(cli.app).commands[name]
    if "--help" not in arguments:  # which would print, and stop
        command.make_context(name, list(arguments))


def make_targets(line: str) -> list[str]:
    """The targets in a call of make: the words that set nothing."""
    bare = re.sub(r'\w+=("[^"]*"|\S+)', "", line)
    return bare.split()[1:]
