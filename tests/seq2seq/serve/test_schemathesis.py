"""Another program reads the description and asks for all that it allows and forbids.

The server is a real one, its writer a fake: what is tested is that the description and the answers
agree, not the titles.
"""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from kooler.seq2seq.serve import server
from kooler.seq2seq.serve.limits import Limits
from tests.seq2seq.serve.fakes import FakeWriter

SMALL = Limits(beam_sizes=(2, 1), texts=4, characters=200, body_bytes=2000, gather=0.0)


@pytest.mark.slow
@pytest.mark.timeout(900)  # it waits more than it computes
def test_the_server_does_what_it_describes(monkeypatch, tmp_path):
    ready, addresses, done = threading.Event(), [], []
    monkeypatch.setattr(server.Writer, "load", lambda run: None)
    monkeypatch.setattr(server, "ShapedWriter", lambda *arguments: FakeWriter())

    def tell(sentence):
        addresses.extend(re.findall(r"http://\S+?:\d+", sentence))
        if sentence.startswith("ready"):
            ready.set()

    def ask():
        try:
            assert ready.wait(60)
            url = f"{addresses[0]}/openapi.json"
            command = [sys.executable, "-c", "import schemathesis.cli as c; c.schemathesis()"]
            command += ["run", url, "--checks=all", "--max-examples=30", "--seed=1", "--no-color"]
            done.append(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    client = threading.Thread(target=ask)
    client.start()
    server.serve("run", "127.0.0.1", 0, SMALL, tell)
    client.join(60)

    assert done[0].returncode == 0, done[0].stdout[-4000:]
    assert "Tested: 4" in done[0].stdout
