"""The house rules of the test run itself: they must bite."""

import os
import random
import socket
import threading
import warnings

import numpy
import pytest

from tests import conftest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)])
def test_a_connection_to_another_machine_is_refused(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET

    with (
        socket.socket(family, socket.SOCK_STREAM) as client,
        pytest.raises(conftest.NetworkUseError, match="tests must not use the network, but one"),
    ):
        client.connect(address)


def test_asking_for_the_address_of_another_machine_is_refused() -> None:
    with pytest.raises(conftest.NetworkUseError, match=r"one asked for 'example\.invalid'"):
        socket.getaddrinfo("example.invalid", 443)


def test_this_machine_may_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].close())
        answer.start()
        with socket.create_connection(("localhost", server.getsockname()[1])):
            answer.join()

    assert not answer.is_alive()


def test_a_warning_is_an_error() -> None:
    with pytest.raises(FutureWarning, match="planted"):
        warnings.warn("planted", FutureWarning, stacklevel=1)


@pytest.mark.parametrize("run", [1, 2])
def test_every_test_starts_from_the_same_random_numbers(run: int) -> None:
    expected = random.Random(conftest.SEED), numpy.random.RandomState(conftest.SEED)

    assert random.random() == expected[0].random()
    assert numpy.random.random() == expected[1].random_sample()


def test_the_header_names_backend_and_versions() -> None:
    header = conftest.pytest_report_header()

    assert header.startswith(f"backend: {os.environ['KERAS_BACKEND']}")
    assert f"numpy {numpy.__version__}" in header


def test_keras_runs_on_the_backend_of_this_process() -> None:
    import keras

    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
    assert keras.config.floatx() == "float32"
