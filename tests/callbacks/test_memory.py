"""Bytes, and not pages or kilobytes."""

import sys

import pytest

from kooler.callbacks.memory import memory_in_use


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it in /proc")
def test_memory_is_told_in_bytes() -> None:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    assert 2**25 < memory_in_use()["memory"] <= 1.1 * peak
