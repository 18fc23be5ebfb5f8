"""A lock lives exactly as long as its process."""

import os
import signal
import subprocess
import sys

import pytest

from kooler.seq2seq.lock import locked

HOLD = """
import sys, pathlib, time
from kooler.seq2seq.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_has_one_holder_who_is_named_and_dies_with_it(tmp_path):
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"

    with pytest.raises(ValueError, match=f"is in use by process {holder.pid} on "), locked(lock):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()

    with locked(lock):
        assert lock.read_text().startswith(f"process {os.getpid()} on ")
    with locked(lock):  # and again, after it was let go
        pass
