"""What holds for every test: one backend a process, fixed seeds, no network, a time budget a room.

The settings of the backends must be in the environment before the first of them is imported, so
they stand at the top of this file, which pytest reads before any test.
"""

import importlib.metadata
import os
import platform
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BACKEND_CHOSEN = "KERAS_BACKEND" in os.environ
ENVIRONMENT = {
    "KERAS_BACKEND": "jax",
    "KERAS_HOME": str(
        Path(tempfile.gettempdir(), "kooler-tests")
    ),  # not the keras.json of a person
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # its kernels round differently from one processor to the next
    # One thread a process: sums are added in the same order on every machine.
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "agg",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
BACKEND = os.environ["KERAS_BACKEND"]

import hypothesis  # noqa: E402  (after the environment)
import numpy  # noqa: E402
import pytest  # noqa: E402

from tests.time_budget import TimeBudget  # noqa: E402

PACKAGES = ("keras", "jax", "torch", "tensorflow", "tensorflow-cpu", "numpy")
SEED = 20180831

# A fixed tier gives the same verdict twice: the same examples each time, however slow the machine.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("fixed")


# A shell that starts us in the background has SIGINT ignored, which the processes that tests start
# and interrupt would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class NetworkUseError(RuntimeError):
    """A test tried to reach another machine."""


def pytest_configure(config: pytest.Config) -> None:
    """Refuses an unknown backend at the door and starts the clock of the rooms."""
    if BACKEND not in ("jax", "torch", "tensorflow"):
        raise pytest.UsageError(
            f"KERAS_BACKEND={BACKEND!r} is not a backend that kooler knows. "
            "Set it to jax, torch or tensorflow."
        )
    config.pluginmanager.register(TimeBudget(config), "time-budget")


@pytest.hookimpl(tryfirst=True)  # before those that are slow are taken out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses names that differ by process; `compiles` means slow where a backend compiles."""
    if unstable := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(
            f"The name of {unstable[0]} has an address in it, which the next process would not "
            "find. Give `parametrize` names: ids=[…]."
        )
    if os.environ["KERAS_BACKEND"] == "torch":
        return
    for item in items:
        if item.get_closest_marker("compiles"):
            item.add_marker("slow")


def pytest_report_header() -> str:
    """One line: on what these tests run."""
    choice = "" if BACKEND_CHOSEN else " (by default; set KERAS_BACKEND for another)"
    versions = [f"{name} {found}" for name in PACKAGES if (found := installed_version(name))]
    return f"backend: {BACKEND}{choice}; {', '.join(versions)}; Python {platform.python_version()}"


@pytest.fixture(autouse=True)
def seeds() -> Iterator[None]:
    """Every test starts from the same random numbers, whatever ran before it."""
    random.seed(SEED)
    numpy.random.seed(SEED)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(SEED)
    yield


def installed_version(package: str) -> str | None:
    """The version of a package, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python calls it before any socket of this process connects or asks a name."""
    if event == "socket.connect":
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None  # None: a local path
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not is_local(host):
        raise NetworkUseError(f"tests must not use the network, but one asked for {host!r}")


def is_local(host: str | bytes | None) -> bool:
    """Whether a host is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    return name in (None, "", "localhost", "::1") or str(name).startswith("127.")


sys.addaudithook(refuse_network)
