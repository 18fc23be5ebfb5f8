import os
import subprocess
import sys

import pytest

from kooler.seq2seq.large_pages import use_large_pages


class Replaced(Exception):
    """What stands for the end of this process."""


def replace(program, arguments, environment):
    raise Replaced(program, arguments, environment)


def test_the_same_command_starts_again_with_the_variable():
    with pytest.raises(Replaced) as caught:
        use_large_pages({"HOME": "/"}, ["python", "-m", "kooler", "demo"], replace, "linux")

    assert caught.value.args == (
        sys.executable,
        [sys.executable, "-m", "kooler", "demo"],
        {"HOME": "/", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    )


@pytest.mark.parametrize(
    ("environment", "platform"),
    [
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, "linux"),
        ({"GLIBC_TUNABLES": ""}, "linux"),
        ({}, "darwin"),
        ({}, "win32"),
    ],
)
def test_a_process_that_has_them_or_cannot_have_them_goes_on(environment, platform):
    use_large_pages(environment, ["python"], replace, platform)


def test_a_command_answers_as_before():
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "kooler", "generate", "--run", "/nowhere"]

    result = subprocess.run(command, env=environment, capture_output=True, text=True, input="")

    assert result.returncode == 2
    assert "/nowhere" in result.stderr
