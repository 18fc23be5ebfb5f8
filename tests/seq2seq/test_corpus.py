import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kooler.seq2seq import lines
from kooler.seq2seq.corpus import (
    CorpusError,
    Pair,
    Report,
    corpus_fingerprint,
    read_pairs,
    read_sources,
)

PAIRS = [Pair("a long text", "title"), Pair("江城面包厂关闭。", "面包厂关闭"), Pair("🙂 x", "é")]
AS_TSV = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
AS_JSON = "".join(json.dumps(pair._asdict()) + "\n" for pair in PAIRS)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file into the current folder, so that messages show its bare name."""
    monkeypatch.chdir(tmp_path)

    def write_file(name: str, content: str | bytes) -> str:
        data = content.encode() if isinstance(content, str) else content
        Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return name

    return write_file


def message(path, **options) -> str:
    with pytest.raises(CorpusError) as caught:
        list(read_pairs(path, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.tsv", "a.txt", "a.tsv.gz", "A.TSV"])
def test_tab_separated(write, name):
    assert list(read_pairs(write(name, AS_TSV))) == PAIRS


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
def test_json_lines(write, name):
    assert list(read_pairs([write(name, AS_JSON)])) == PAIRS


def test_several_files_are_read_in_order(write):
    files = [write("b.tsv", AS_TSV), Path(write("a.jsonl", AS_JSON))]

    assert list(read_pairs(files)) == PAIRS + PAIRS


@pytest.mark.parametrize(
    "content",
    [
        AS_TSV.replace("\n", "\r\n"),
        AS_TSV.removesuffix("\n"),
        "\ufeff" + AS_TSV,
        AS_TSV + "\n\r\n  \n",
        AS_TSV.replace("\t", " \t  "),
    ],
    ids=["windows", "no end of line", "byte order mark", "empty lines at the end", "blanks"],
)
def test_what_is_no_problem(write, content):
    assert list(read_pairs(write("a.tsv", content))) == PAIRS


@given(st.text("ab\u2028\u2029\x85\x0b\x0c\x1c\r", min_size=1))
def test_only_line_feeds_end_a_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("lines") / "a.tsv"
    path.write_bytes(f"x{text}x\tx{text}x\n".encode() * 2)

    assert list(read_pairs(path)) == [Pair(f"x{text}x", f"x{text}x")] * 2


def test_the_stream_is_lazy(write):
    pairs = read_pairs(write("a.tsv", AS_TSV + "broken\n"))

    assert [next(pairs) for _ in PAIRS] == PAIRS
    with pytest.raises(CorpusError, match=r"^a\.tsv:4: "):
        next(pairs)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"no tab", "expected one tab (source TAB target), found none"),
        (b"a\tb\tc", "expected one tab (source TAB target), found 2"),
        (b"", "the line is empty"),
        (b" \tb", "the source is empty"),
        ("a\t\u3000".encode(), "the target is empty"),
        (b"a\xff\tb", "invalid UTF-8: byte 0xFF at position 2"),
        (b"a\0\tb", "a NUL character; the file may be UTF-16, or no text"),
        (
            b"\xff\xfea\0",
            "invalid UTF-8: byte 0xFF at position 1; this looks like UTF-16, convert it to UTF-8",
        ),
        (
            gzip.compress(b"a\tb", mtime=0)[:9],
            "invalid UTF-8: byte 0x8B at position 2; this looks like gzip, whose name must end "
            "in .gz",
        ),
    ],
)
def test_broken_tab_separated_line(write, line, problem):
    path = write("a.tsv", b"x\ty\n" + line + b"\nx\ty\n")

    assert message(path) == f"a.tsv:2: {problem}; --skip-bad-lines skips such lines."


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "the line is empty"),
        ("{'source': 1}", "invalid JSON at column 2: Expecting property name enclosed in"),
        ("[", "invalid JSON at column 2: Expecting value (one object a line, no list around"),
        ('["a", "b"]', "expected a JSON object, found a list"),
        ("null", "expected a JSON object, found null"),
        ("1", "expected a JSON object, found a number"),
        ('{"source": "a"}', 'the field "target" is missing'),
        ('{"source": null, "target": "b"}', 'the field "source" is null, not a string'),
        ('{"source": "a", "target": true}', 'the field "target" is a boolean, not a string'),
        ('{"source": "a", "target": "\\n"}', "the target is empty"),
        ('{"source": "a", "target": "\\ud83d"}', "U+D83D is half a surrogate pair, not a char"),
        ('{"source": "\\u0000a", "target": "b"}', "a NUL character"),
        ("[" * 100_000, "invalid JSON: a number is too long or the nesting too deep"),
        ("1" * 10_000, "invalid JSON: a number is too long or the nesting too deep"),
    ],
)
def test_broken_json_line(write, line, problem):
    good = '{"source": "x", "target": "y", "other": 1}\n'

    assert message(write("a.jsonl", f"{good}{line}\n{good}")).startswith(f"a.jsonl:2: {problem}")


def test_a_line_that_is_too_long(write, monkeypatch):
    monkeypatch.setattr(lines, "MAXIMUM_LINE_BYTES", 10)
    path = write("a.tsv", b"1234\t67890\r\n" + b"x" * 95 + b"\ta\n" + b"1234\t67890\n")
    report = Report()

    assert message(path).startswith("a.tsv:2: the line is longer than 10 bytes")
    assert len(list(read_pairs(path, skip_bad_lines=True, report=report))) == 2
    assert report.skipped == 1


def test_bad_lines_are_skipped_and_reported(write):
    broken = write("a.tsv", "a\tb\n\nc\nd\n" + "e\n" * 1000 + "f\tg\n")
    whole = write("b.tsv", AS_TSV)
    report = Report()

    for _ in range(2):  # a second reading counts from zero
        pairs = list(read_pairs([broken, whole], skip_bad_lines=True, report=report))

    assert pairs == [Pair("a", "b"), Pair("f", "g"), *PAIRS]
    assert (report.pairs, report.skipped) == (5, 1003)
    assert report.lines() == [
        "a.tsv: skipped 1,003 of 1,005 lines (line 2: the line is empty; "
        "line 3: expected one tab (source TAB target), found none; "
        "line 4: expected one tab (source TAB target), found none; …)"
    ]


def test_no_pair_at_all(write):
    assert message(write("a.tsv", "")) == (
        "a.tsv: the file is empty; it must hold at least one pair."
    )
    assert message(write("b.tsv.gz", b"\n\n")).startswith("b.tsv.gz: the file is empty")
    assert message(write("c.tsv", "a\nb\n"), skip_bad_lines=True) == (
        "c.tsv: no usable pair, all 2 lines are bad "
        "(line 1: expected one tab (source TAB target), found none)."
    )


def test_files_that_cannot_be_read_are_named_at_once(write, tmp_path):
    for path, problem in [
        ("none.tsv", "none.tsv: no such file."),
        ("folder", "folder: there is no file in this folder."),
        (write("a.xml", AS_TSV), "a.xml: unknown suffix '.xml'; name the file .tsv or .txt"),
        (write("two\nlines", AS_TSV), "'two\\nlines': unknown suffix ''"),
    ]:
        Path("folder").mkdir(exist_ok=True)
        with pytest.raises(CorpusError) as caught:
            read_pairs(path)
        assert str(caught.value).startswith(problem)
        with pytest.raises(CorpusError) as caught:
            corpus_fingerprint(path)
        assert str(caught.value).startswith(problem)
    with pytest.raises(CorpusError, match="no corpus file was given"):
        read_pairs([])


def test_the_system_refuses(write, monkeypatch):
    path = write("a.tsv", AS_TSV)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)

    assert message(path) == "a.tsv: cannot be read: Permission denied."
    with pytest.raises(CorpusError, match=r"^a\.tsv: cannot be read: Permission denied\.$"):
        corpus_fingerprint(path)


@given(
    data=st.binary(max_size=60),
    name=st.sampled_from(["a.tsv", "a.jsonl", "a.csv", "a.tsv.gz", "a.csv.xz", "a.parquet"]),
)
def test_any_bytes_give_pairs_or_a_corpus_error(tmp_path_factory, data, name):
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(data)

    for skip in (False, True):
        try:
            pairs = list(read_pairs(path, skip_bad_lines=skip))
        except CorpusError as error:
            assert "\n" not in str(error)
        else:
            assert pairs


plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(
    st.lists(st.tuples(plain, plain).filter(lambda p: p[0].strip() and p[1].strip()), min_size=1)
)
def test_json_keeps_every_character(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    rows = [{"source": source, "target": target} for source, target in pairs]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")

    assert list(read_pairs(path)) == [(s.strip(), t.strip()) for s, t in pairs]


def test_fingerprint_follows_the_content(write):
    one = corpus_fingerprint(write("a.tsv", AS_TSV))

    assert corpus_fingerprint(write("b.tsv", AS_TSV)) == one
    others = [
        corpus_fingerprint(write("c.tsv", AS_TSV + "x\ty\n")),
        corpus_fingerprint(write("c.json", AS_TSV)),
        corpus_fingerprint(["a.tsv", "b.tsv"]),
        corpus_fingerprint(["a.tsv", "c.tsv"]),
        corpus_fingerprint(["c.tsv", "a.tsv"]),
    ]
    assert len({one, *others}) == 6


@pytest.mark.parametrize("stream", [io.BytesIO, lambda data: io.TextIOWrapper(io.BytesIO(data))])
def test_sources_one_a_line(stream):
    data = "\ufeffone\r\n\n\u2028 with\ta tab \r x\nlast 🙂".encode()

    assert list(read_sources(stream(data))) == ["one", "", "with\ta tab \r x", "last 🙂"]


def test_sources_from_text_in_memory():
    assert list(read_sources(io.StringIO("é\n\nb\u2028c\n"))) == ["é", "", "b\u2028c"]


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (io.BytesIO(b"a\nb\xff\n"), "<stdin>:2: invalid UTF-8: byte 0xFF at position 2."),
        (io.StringIO("a\n\0"), "<stdin>:2: a NUL character; the file may be UTF-16, or no text."),
        (io.StringIO("\ud800"), "<stdin>:1: invalid UTF-8: byte 0xED at position 1."),
    ],
)
def test_broken_sources(stream, problem):
    with pytest.raises(CorpusError) as caught:
        list(read_sources(stream, name="<stdin>"))

    assert str(caught.value) == problem
