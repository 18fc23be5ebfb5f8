"""Words that can be checked by eye."""

from kooler.core.words import duration, printable


def test_durations() -> None:
    assert [duration(seconds) for seconds in (5, 123, 3723)] == ["0:05", "2:03", "1:02:03"]


def test_nothing_in_a_printable_text_steers_a_terminal() -> None:
    assert printable("two\nlines \x1b[31m火") == "two lines  [31m火"
