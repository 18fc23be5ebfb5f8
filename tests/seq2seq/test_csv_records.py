"""CSV as `csv.writer` writes it, and what people write instead."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kooler.seq2seq import csv_records as room
from kooler.seq2seq.corpus import CorpusError, Pair, Report, read_pairs

HEADER = "id,source,target\n"
cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1)


def pairs_of(tmp_path, text, **options):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    return list(read_pairs(path, **options))


@given(rows=st.lists(st.tuples(cell, cell).filter(lambda p: p[0].strip() and p[1].strip())))
def test_what_python_writes_is_read(tmp_path_factory, rows):
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([("target", "source"), ("t", "s"), *(row[::-1] for row in rows)])

    found = pairs_of(tmp_path_factory.mktemp("csv"), stream.getvalue())

    assert found == [("s", "t"), *((spaced(one), spaced(other)) for one, other in rows)]


def spaced(text):
    """A text as it is read: a line of blanks only is an empty one."""
    lines = text.split("\n")
    return "\n".join("" if not line.strip(" ") else line for line in lines).strip()


def test_quotes_commas_and_line_ends_in_cells(tmp_path):
    text = '1,"a ""text"", in quotes",a title\r\n2,"two\r\nlines",x\r\n'

    assert pairs_of(tmp_path, "\ufeff" + HEADER + text) == [
        Pair('a "text", in quotes', "a title"),
        Pair("two\nlines", "x"),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2,x", "expected 3 cells as in the header, found 2"),
        ("2,x,y,z", "expected 3 cells as in the header, found 4"),
        ("", "the line is empty"),
        ("2,,y", "the source is empty"),
        ('2,"x" x,y', "invalid CSV: quotes do not match (a cell with a quote is put in"),
        ('2,"x,y', "invalid CSV: quotes do not match"),
        ("2,x\rx,y", "invalid CSV: a carriage return outside of quotes"),
        ("2,x\0,y", "a NUL character"),
    ],
)
def test_a_broken_record_costs_one_line(tmp_path, line, problem):
    text = f'{HEADER}1,"a\na",b\n{line}\n3,c,"d"\n'
    report = Report()

    with pytest.raises(CorpusError) as caught:
        pairs_of(tmp_path, text)
    found = pairs_of(tmp_path, text, skip_bad_lines=True, report=report)

    assert str(caught.value).startswith(f"{tmp_path}/a.csv:4: {problem}")
    assert found == [("a\na", "b"), ("c", "d")]
    assert report.skipped == 1


def test_many_quotes_that_are_never_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MAXIMUM_RECORD_LINES", 3)
    text = HEADER + '1,"a,b\n2,c,d\n3,e,f\n4,g,h\n' + '5,i"i,"j\n6,k,l\n' * 2_000
    report = Report()

    found = pairs_of(tmp_path, text, skip_bad_lines=True, report=report)

    assert found == [("c", "d"), ("e", "f"), ("g", "h"), *[("k", "l")] * 2_000]
    assert report.skipped == 2_001


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id;source;target\n1;a;b\n", ":1: the header has no column 'source', it names ['id;so"),
        ("source,target,source\n", ":1: the header has more than one column 'source'"),
        ('"source,target\na,b\n', ":1: invalid CSV: quotes do not match ("),
        (HEADER, ": the file is empty; it must hold at least one pair."),
        ("", ": the file is empty; it must hold at least one pair."),
    ],
)
def test_a_header_is_needed(tmp_path, text, problem):
    with pytest.raises(CorpusError) as caught:
        pairs_of(tmp_path, text, skip_bad_lines=True)

    assert str(caught.value).startswith(f"{tmp_path}/a.csv{problem}")


def test_a_long_cell_is_no_problem_and_changes_no_limit_of_others(tmp_path):
    before = csv.field_size_limit()

    assert pairs_of(tmp_path, f"source,target\n{'x' * 300_000},y\n") == [("x" * 300_000, "y")]
    assert csv.field_size_limit() == before
