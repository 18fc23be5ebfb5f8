"""Clean records: one line each, long enough, once."""

from kooler.seq2seq.harvest.cleaning import Bounds, Counts, clean
from kooler.seq2seq.harvest.record import Record

TEXT = "A body that is long enough to be kept, whatever it says."


def test_white_space_and_what_cannot_be_written_go():
    records = [Record(f" {TEXT}\n\n\tmore\0\ud800 ", "A good\n title ", 7)]

    (kept,) = clean(records, Counts())

    assert kept == Record(f"{TEXT} more", "A good title", 7)


def test_every_record_that_is_left_out_is_counted_with_its_reason():
    counts = Counts()
    records = [
        Record(TEXT, "A good title"),
        Record(TEXT.upper() + "!", "Another title"),
        Record("short", "A good title"),
        Record(TEXT + " 2", "tiny"),
        Record(TEXT + " 3", "long " * 40),
        Record(f"A good title. {TEXT}", "A Good Title!"),
    ]

    kept = list(clean(records, counts))

    assert kept == records[:1]
    assert counts == {
        "read": 6,
        "the same text twice": 1,
        "too short a text": 1,
        "too short or too long a title": 2,
        "the text begins with its title": 1,
    }


def test_a_long_text_is_cut():
    (kept,) = clean([Record("ab " * 100, "A title")], Counts(), Bounds(4, 7, 4, 10))

    assert kept.source == "ab ab a"
