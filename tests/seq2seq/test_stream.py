"""Lines in, titles out, with a writer that answers at once."""

import io
import json

import pytest

from kooler.seq2seq import stream
from kooler.seq2seq.stream import write_titles
from kooler.seq2seq.writer import Title, Writer


class Echo:
    """Writes each text in capitals, and a second title if the text has two words."""

    source_length = 5

    def __init__(self):
        self.cut = 0
        self.windows = []

    def write(self, texts, *, n_best=1, **options):
        self.windows.append(list(texts))
        self.cut += sum(len(text) > 5 for text in texts)
        return [
            [Title(text.upper(), -1.5, -3.0, "l2r"), Title("second", float("-inf"), -4.0, "mid")][
                : min(n_best, len(text.split()) or 1)
            ]
            for text in texts
        ]


@pytest.fixture
def echo(monkeypatch):
    writer = Echo()
    monkeypatch.setattr(Writer, "load", lambda path: writer)
    monkeypatch.setattr(stream, "WINDOW", 2)
    return writer


def written(text, **options):
    target = io.StringIO()
    note = write_titles("run", io.BytesIO(text.encode()), target, **options)
    return target.getvalue(), note


def test_one_title_a_line_in_the_order_of_the_input(echo):
    assert written("a\nb\n\nc") == ("A\nB\n\nC\n", None)
    assert echo.windows == [["a", "b"], ["", "c"]]


def test_every_text_gets_as_many_lines_as_asked_for(echo):
    assert written("a\nb c\n", n_best=2)[0] == "A\n\nB C\nsecond\n"


def test_a_title_never_breaks_a_line(echo):
    assert written("a\u2028b\n")[0] == "A B\n"


def test_json_tells_scores_and_orders(echo):
    (line,) = written("b c\n", n_best=2, jsonl=True)[0].splitlines()

    assert json.loads(line) == {
        "titles": [
            {"title": "B C", "score": -1.5, "log_prob": -3.0, "order": "l2r"},
            {"title": "second", "score": None, "log_prob": -4.0, "order": "mid"},
        ]
    }


def test_texts_that_were_cut_are_counted(echo):
    assert written("short\nmuch longer\n")[1] == (
        "1 of 2 texts were longer than the 5 tokens that the model sees, and were cut."
    )


def test_a_terminal_is_answered_line_by_line(echo):
    class Terminal(io.BytesIO):
        def isatty(self):
            return True

    write_titles("run", Terminal(b"a\nb\n"), io.StringIO())

    assert echo.windows == [["a"], ["b"]]


def test_titles_before_a_broken_line_are_written(echo):
    target = io.StringIO()

    with pytest.raises(ValueError, match=r"^stdin:2: "):
        write_titles("run", io.BytesIO(b"a\n\xff\xfe\nb\n"), target)
    assert target.getvalue() == "A\n"


def test_nothing_in_nothing_out(echo):
    assert written("") == ("", None)


def test_a_closed_stream_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="stdin and stdout must be open"):
        write_titles(tmp_path, None, io.StringIO())
    with pytest.raises(ValueError, match="stdin and stdout must be open"):
        write_titles(tmp_path, io.StringIO("a\n"), None)
