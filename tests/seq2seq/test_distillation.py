import pytest

from kooler.seq2seq import distillation
from kooler.seq2seq.corpus import Pair
from kooler.seq2seq.distillation import distilled
from kooler.seq2seq.writer import Title, Writer


class Teacher:
    """Writes the second half of a text; nothing for a short one."""

    def __init__(self):
        self.asked = []

    def write(self, texts, **options):
        self.asked.append((len(texts), options))
        return [
            [Title(text[len(text) // 2 :] if len(text) > 1 else "", 0, 0, "l2r")] for text in texts
        ]


def test_targets_are_the_teachers_and_its_silence_leaves_the_true_one(monkeypatch):
    teacher = Teacher()
    monkeypatch.setattr(Writer, "load", lambda path: teacher)
    monkeypatch.setattr(distillation, "WINDOW", 2)
    pairs = [Pair("abcd", "x"), Pair("e", "y"), Pair("fg", "z")]

    assert list(distilled(iter(pairs), "run", beam_size=3)) == [
        Pair("abcd", "cd"), Pair("e", "y"), Pair("fg", "g"),
    ]  # fmt: skip
    assert teacher.asked == [(2, {"beam_size": 3}), (1, {"beam_size": 3})]


def test_a_teacher_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a run directory"):
        next(distilled([Pair("a", "b")], str(tmp_path)))
