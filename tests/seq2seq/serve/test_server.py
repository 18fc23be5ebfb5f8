"""The process: it listens, answers, and after a signal answers what it has and ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kooler.seq2seq.serve import server
from kooler.seq2seq.serve.limits import Limits
from kooler.seq2seq.serve.server import is_loopback, serve
from tests.seq2seq.serve.fakes import FakeWriter
from tests.seq2seq.small_run import small_run

WAIT = 60.0


@pytest.fixture
def fake(monkeypatch):
    """Serves titles of a fake writer; the sentences that are told are its list."""
    writer = FakeWriter(seconds=0.05)
    monkeypatch.setattr(server.Writer, "load", lambda run: None)
    monkeypatch.setattr(server, "ShapedWriter", lambda *arguments: writer)
    return writer


class Told(list):
    """Sentences, of which one can be waited for."""

    def append(self, sentence):
        super().append(sentence)
        if sentence.startswith("ready"):
            self.ready.set()

    def __init__(self):
        super().__init__()
        self.ready = threading.Event()

    @property
    def address(self):
        return re.search(r"http://\S+?:\d+", self[0])[0]


def ask(address, text="a", wait=WAIT):
    """The status of an answer, and the first title."""
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(
        f"{address}/generate", body, {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=wait) as answer:
            return answer.status, json.load(answer)["results"][0]["titles"][0]["text"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_under_load_ends_it_after_its_answers(fake, number):
    told, answers = Told(), []

    def load():
        assert told.ready.wait(WAIT)
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(ask, told.address, f"t{i}") for i in range(8)]
            while not fake.batches:
                time.sleep(0.001)
            os.kill(os.getpid(), number)
            answers.extend(future.result(WAIT) for future in waiting)

    client = threading.Thread(target=load)
    client.start()
    error = serve("run", "127.0.0.1", 0, Limits(rows=1), told.append)
    client.join(WAIT)

    assert error is None
    assert answers == [(200, f"T{i}") for i in range(8)]
    assert [sentence.split(" ")[0] for sentence in told] == ["listening", "ready", "stopped."]


def test_a_warm_up_that_breaks_ends_the_server(fake, monkeypatch):
    def broken():
        raise MemoryError("too large")
        yield

    monkeypatch.setattr(fake, "warm_up", broken)

    error = serve("run", "127.0.0.1", 0, Limits(), lambda sentence: None)

    assert isinstance(error, MemoryError)


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(monkeypatch):
    monkeypatch.setattr(server.Writer, "load", lambda run: pytest.fail("loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ValueError, match=r"cannot listen on 127.0.0.1, port \d+ \(Address alr"):
            serve("run", "127.0.0.1", port, Limits(), lambda sentence: None)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("no such host", 0)])
def test_an_address_that_is_none_is_told(host, port):
    with pytest.raises(ValueError, match=rf"cannot listen on {host}, port {port} \("):
        serve("run", host, port, Limits(), lambda sentence: None)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("kooler.example", False)],
)  # fmt: skip
def test_the_loopback_is_known(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.slow
def test_the_command_serves_a_run_and_ends_with_0(tmp_path):
    run = small_run(tmp_path)
    command = [sys.executable, "-m", "kooler", "serve", "--run", str(run.path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        lines = iter(process.stderr.readline, "")
        address = next(m[0] for line in lines if (m := re.search(r"http://\S+?:\d+", line)))
        early, _ = ask(address)
        next(line for line in lines if "ready" in line)
        status, title = ask(address, "The bakery in Toro closes.")
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()

    assert early in (200, 503)
    assert (status, bool(title)) == (200, True)
    assert (process.returncode, rest) == (0, "kooler: stopped.\n")


def test_the_client_of_the_documentation_gets_titles(fake, capsys):
    page = Path(__file__).parents[3].joinpath("docs", "serve.md").read_text("utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    told = Told()

    def client():
        assert told.ready.wait(WAIT)
        try:
            exec(snippet.replace("http://127.0.0.1:8000", told.address), {})
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=client)
    thread.start()
    serve("run", "127.0.0.1", 0, Limits(), told.append)
    thread.join(WAIT)

    assert capsys.readouterr().out == "FIRST TEXT. -2.0\nSECOND TEXT. -2.0\n"
