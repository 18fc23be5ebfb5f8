"""One update, two updates."""

from kooler.seq2seq.counted import counted


def test_only_one_is_singular():
    assert [counted(n, "pair") for n in (0, 1, 2, 1234)] == [
        "0 pairs",
        "1 pair",
        "2 pairs",
        "1,234 pairs",
    ]
