"""What the documents say is so: snippets run, commands exist, links lead, both READMEs agree."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ENGLISH = (PROJECT / "README.md").read_text("utf-8")
CHINESE = (PROJECT / "README.zh.md").read_text("utf-8")
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
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
def test_every_make_target_exists(document: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))

    named = {target for line in shell_lines(document, "make") for target in make_targets(line)}

    assert named <= targets


def test_the_python_snippet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = blocks(ENGLISH, "python")

    exec(compile(snippet, "README.md", "exec"), {})

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
    """The lines of a document's shell blocks that call a command."""
    lines = "".join(blocks(document.read_text("utf-8"), "sh")).splitlines()
    return [COMMENT.sub("", line) for line in lines if line.startswith(f"{command} ")]


def make_targets(line: str) -> list[str]:
    """The targets in a call of make: the words that set nothing."""
    bare = re.sub(r'\w+=("[^"]*"|\S+)', "", line)
    return bare.split()[1:]
