"""The backend: what is chosen counts, what is installed is taken, nothing is left to chance."""

import json
import os
import subprocess
import sys

import pytest

from kooler.seq2seq.backend import BACKENDS, UNTOUCHED, choose_backend, installed


def test_the_environment_decides(tmp_path):
    environment = {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path)}

    assert choose_backend(environment, "jax", having("torch", "jax")) == ("torch", True)


def test_then_the_run_then_keras_json(tmp_path):
    environment = {"KERAS_HOME": str(tmp_path)}
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch"}))

    assert choose_backend(environment, "tensorflow", having(*BACKENDS)) == ("tensorflow", True)
    assert choose_backend(environment, None, having(*BACKENDS)) == ("torch", True)


@pytest.mark.parametrize(
    "content",
    [None, json.dumps(UNTOUCHED), "{", "[]", '{"backend": "mlx"}', '{"backend": "torch"}'],
)
def test_without_a_choice_the_first_installed_one_is_taken(tmp_path, content):
    if content is not None:
        (tmp_path / "keras.json").write_text(content)

    found = choose_backend({"KERAS_HOME": str(tmp_path)}, None, having("tensorflow", "jax"))

    assert found == ("jax", False)


def test_keras_writes_what_we_take_for_untouched(tmp_path):
    # the same whatever the backend; NumPy is there at once
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "numpy"}

    subprocess.run([sys.executable, "-c", "import keras"], env=environment, check=True)

    assert json.loads((tmp_path / "keras.json").read_text()) == UNTOUCHED


def test_a_choice_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(
        ValueError, match=r"backend torch is chosen but not installed.*pip install t"
    ):
        choose_backend({"KERAS_BACKEND": "torch"}, None, having("jax"))
    with pytest.raises(ValueError, match=r"one of jax, torch, tensorflow, received 'numpy'"):
        choose_backend({"KERAS_BACKEND": "numpy"}, None, having("jax"))


def test_no_backend_at_all_is_one_clear_line(tmp_path):
    with pytest.raises(ValueError, match="no backend for Keras is installed") as error:
        choose_backend({"KERAS_HOME": str(tmp_path)}, None, having())

    assert "pip install jax" in str(error.value)


def test_installed_looks_without_importing():
    assert installed("json")
    assert not installed("no_such_package")


def having(*names):
    return lambda backend: backend in names
