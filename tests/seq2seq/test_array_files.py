"""Array files come back bit for bit, and everything that is none of them is a clear error."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from kooler.seq2seq.array_files import FORMAT, check_finite, read_arrays, write_arrays
from tests.seq2seq.full_disk import file_size_limit

ARRAYS = {
    "a/kernel": np.arange(6, dtype="float32").reshape(2, 3).T,  # not contiguous
    "seeds/000": np.array([7, 2**32 - 1], "uint32"),
    "iteration": np.array(3, "int32"),
}


def test_arrays_and_facts_come_back(tmp_path):
    write_arrays(tmp_path / "file", ARRAYS, {"update": 3, "best": None})

    arrays, facts = read_arrays(tmp_path / "file")

    assert facts == {"update": 3, "best": None}
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape


def test_the_same_content_makes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_arrays(tmp_path / name, ARRAYS, {"update": 3, "best": 1.5})

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_full_disk_is_an_error_that_keeps_the_old_file(tmp_path):
    write_arrays(tmp_path / "file", ARRAYS, {"update": 1})
    large = {"large": np.zeros(10_000, "float32")}

    with (
        file_size_limit(5000),
        pytest.raises(OSError, match=r"file` could not be written .File too large"),
    ):
        write_arrays(tmp_path / "file", large, {"update": 2})

    assert read_arrays(tmp_path / "file")[1] == {"update": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, kept):
    write_arrays(tmp_path / "file", ARRAYS, {})
    content = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(content[:kept])

    with pytest.raises(ValueError, match=r"file` is damaged or no weights file: .* Remove it"):
        read_arrays(tmp_path / "file")


def test_a_newer_format_and_a_foreign_file_are_refused(tmp_path):
    save_file(ARRAYS, tmp_path / "newer", {"kooler": json.dumps({"format": FORMAT + 1})})
    save_file(ARRAYS, tmp_path / "foreign", {"format": "pt"})

    with pytest.raises(
        ValueError, match=f"newer` has format {FORMAT + 1}, .* up to {FORMAT}. Inst"
    ):
        read_arrays(tmp_path / "newer")
    with pytest.raises(ValueError, match="foreign` has no format version, received format=None"):
        read_arrays(tmp_path / "foreign")


def test_a_number_that_is_not_finite_is_named():
    check_finite(ARRAYS)

    with pytest.raises(FloatingPointError, match="`b/bias` is no longer finite"):
        check_finite({**ARRAYS, "b/bias": np.array([0, np.nan], "float32")})
