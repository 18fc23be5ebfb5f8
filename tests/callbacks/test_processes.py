"""The first of several processes, and whoever is alone."""

import pytest

from kooler.callbacks.processes import is_first_process
from tests.conftest import BACKEND


def test_who_is_alone_is_the_first() -> None:
    assert is_first_process()


def test_launchers_of_pytorch_say_who_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")

    assert is_first_process() is (BACKEND != "torch")
