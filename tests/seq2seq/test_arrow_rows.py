"""Datasets as HuggingFace's `save_to_disk` lays them out."""

import json

import pyarrow
import pytest

from kooler.seq2seq.corpus import CorpusError, Pair, read_pairs

PAIRS = [Pair(f"text {i}", f"title {i * i}") for i in range(2_500)]


def save(folder, pairs=PAIRS, shards=2, names=("source", "target")):
    """What `Dataset.save_to_disk(folder, num_shards=shards)` leaves."""
    folder.mkdir(parents=True)
    table = pyarrow.table(dict(zip(names, zip(*pairs, strict=True), strict=True)))
    size = -(-len(pairs) // shards)
    for index in range(shards):
        path = folder / f"data-{index:05}-of-{shards:05}.arrow"
        with pyarrow.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table.slice(index * size, size), max_chunksize=700)
    (folder / "state.json").write_text(json.dumps({"_split": "train"}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def problem(path):
    with pytest.raises(CorpusError) as caught:
        list(read_pairs(path))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def test_a_saved_dataset_is_its_rows(tmp_path):
    assert list(read_pairs(save(tmp_path / "news"))) == PAIRS


def test_a_single_file_and_other_columns(tmp_path):
    folder = save(tmp_path / "news", shards=1, names=("body", "headline"))
    file = folder / "data-00000-of-00001.arrow"

    assert list(read_pairs(file, columns=("body", "headline"))) == PAIRS
    assert problem(file) == (
        ": there is no column 'source' in ['body', 'headline']; the columns must be named "
        "source and target."
    )


def test_several_splits_are_named(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / "news" / split)
    (tmp_path / "news" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')

    assert problem(tmp_path / "news") == (
        ": this is a dataset of several splits, test, train; name one of them, such as "
        f"{tmp_path / 'news' / 'test'}."
    )


def test_what_is_no_arrow_is_told(tmp_path):
    file = tmp_path / "data.arrow"
    file.write_bytes(b"source\ttarget\n")

    assert problem(file).startswith(":1: the Arrow data cannot be read here: ")
