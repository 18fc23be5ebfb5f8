"""A run directory: one writer, whole files, a log that rewinds, nothing of a newer kooler."""

import json

import numpy as np
import pytest

from kooler.seq2seq.run_directory import Checkpoint, RunDirectory
from kooler.seq2seq.settings import Settings
from tests.seq2seq.full_disk import file_size_limit

DATA = {"train": ["pairs.tsv"], "dev": ["dev.tsv"]}


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "some" / "run")
    with run.locked():
        run.begin(Settings(width=96), DATA)
    return run


def test_a_run_remembers_its_settings_and_its_data(run):
    assert RunDirectory(run.path).settings() == Settings(width=96)
    assert RunDirectory(run.path).data() == DATA


def test_a_run_that_has_learned_is_never_begun_twice(run):
    run.save_checkpoint(Checkpoint(10, {"a": np.zeros(2, "float32")}, {}), [])
    with pytest.raises(
        ValueError, match=r"already holds a run. Continue it with --resume, or choose"
    ):
        run.begin(Settings(), DATA)

    assert run.settings() == Settings(width=96)


def test_a_run_that_failed_before_it_learned_can_begin_again(run):
    (run.data_path / "train").mkdir()
    run.tokenizer_path.write_text("{}")
    run.begin(Settings(width=64), DATA)

    assert run.settings() == Settings(width=64)
    assert not run.tokenizer_path.exists()
    assert list(run.data_path.iterdir()) == []


@pytest.mark.parametrize("content", ['{"format": 1}', '{"format": 1, "settings": [1], "data": 2}'])
def test_settings_without_their_parts_are_a_clear_error(run, content):
    run.settings_path.write_text(content)

    with pytest.raises(ValueError, match="is damaged: `settings` must be an object, received"):
        run.settings()
    with pytest.raises(ValueError, match="is damaged: `data` must be an object, received"):
        run.data()


def test_a_directory_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("words")
    run = RunDirectory(tmp_path)

    with (
        run.locked(),
        pytest.raises(ValueError, match=r"but `.*` holds `thesis.tex`. Choose a fresh"),
    ):
        run.begin(Settings(), DATA)


def test_a_beginning_that_was_killed_can_begin_again(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".settings.json.123").write_text('{"form')
    run = RunDirectory(tmp_path)

    with run.locked():
        run.begin(Settings(), DATA)

    assert run.settings() == Settings()


def test_a_file_is_no_run_directory(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(
        ValueError, match=r"must be a directory, received `.*file`, which is a file"
    ):
        RunDirectory(tmp_path / "file").locked().__enter__()


def test_a_place_that_takes_no_directory_is_one_clear_line():
    with pytest.raises(
        ValueError,
        match=r"run directory `/proc/run` cannot be written \(No such file.* Choose a path",
    ):
        RunDirectory("/proc/run").locked().__enter__()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, r"tokenizer.json`: No such file or directory; "),
        ("{}", r"kooler tokenizer. Remove it"),
    ],
)
def test_a_tokenizer_that_is_not_usable_names_the_way_out(run, content, problem):
    if content:
        run.tokenizer_path.write_text(content)

    with pytest.raises(ValueError, match=rf"{problem}.*`kooler train --resume` makes it again"):
        run.tokenizer()


def test_only_one_training_at_a_time(run):
    with run.locked(), pytest.raises(ValueError, match=r"run` is in use by process \d+ on "):
        RunDirectory(run.path).locked().__enter__()


def test_a_directory_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(
        ValueError, match=r"is not a run directory, it has no settings.json. `kooler tr"
    ):
        RunDirectory(tmp_path).settings()
    with pytest.raises(ValueError, match="is not a run directory"):
        RunDirectory(tmp_path / "absent").weights()
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"format": 2}', "has format 2, this kooler reads formats up to 1. Install a newer"),
        ("{}", "has no format version, received format=None"),
        ("[]", r"is no JSON that kooler wrote: an object was expected, found \[\]. Restore it"),
        ('{"format"', "is no JSON that kooler wrote"),
        ('{"format": 1, "settings": {"widht": 3}}', "unknown setting `widht`; .* is `width`"),
    ],
)
def test_settings_of_another_kind_are_refused(run, text, problem):
    run.settings_path.write_text(text)

    with pytest.raises(ValueError, match=rf"settings.json`.*{problem}"):
        run.settings()


def test_checkpoints_come_back_and_only_those_to_keep_stay(run):
    for update in (10, 20, 25, 30):
        run.save_checkpoint(checkpoint(update), keep=(20,))

    assert run.checkpoints() == [20, 30]
    assert run.checkpoint(30).facts == {"best": 3.0}
    np.testing.assert_array_equal(run.checkpoint(20).arrays["model/a"], np.full(3, 20, "float32"))


def test_a_full_disk_costs_no_checkpoint(run):
    run.save_checkpoint(checkpoint(10), keep=())

    with file_size_limit(50), pytest.raises(OSError, match="could not be written"):
        run.save_checkpoint(checkpoint(20), keep=())

    assert run.checkpoints() == [10]
    assert run.checkpoint(10).update == 10


def test_a_half_written_checkpoint_of_a_killed_process_is_not_one(run):
    run.save_checkpoint(checkpoint(10), keep=())
    part = run.checkpoints_path / ".00000020.safetensors.123"
    part.write_bytes(b"\x00")

    assert run.checkpoints() == [10]
    with run.locked():
        assert not part.exists()


def test_weights_come_back_and_their_absence_is_an_error(run):
    with pytest.raises(ValueError, match="has no weights yet; the first evaluation"):
        run.weights()

    run.save_weights({"a": np.ones(2, "float32")}, {"update": 5})

    assert run.weights()[1] == {"update": 5}


def test_the_log_ends_where_the_last_whole_line_ends(run):
    assert run.log() == []
    run.append_log({"update": 1, "title": "火\u2028x"})
    with run.log_path.open("a") as file:
        file.write('{"update": 2')

    assert run.log() == [{"update": 1, "title": "火\u2028x"}]


def test_the_log_rewinds_to_an_update(run):
    for update in (1, 2, 3):
        run.append_log({"update": update})
    with run.log_path.open("a") as file:
        file.write('{"upd')

    run.rewind_log(2)
    run.append_log({"update": 3, "again": True})

    assert run.log() == [{"update": 1}, {"update": 2}, {"update": 3, "again": True}]


def test_settings_are_readable_json(run):
    content = json.loads(run.settings_path.read_text("utf-8"))

    assert content["settings"]["orders"] == ["l2r", "r2l", "mid"]
    assert content["format"] == 1


def checkpoint(update):
    return Checkpoint(update, {"model/a": np.full(3, update, "float32")}, {"best": 3.0})
