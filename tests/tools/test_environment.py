"""What a person reads when the environment cannot be made: the cause and the way out."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools import environment

UNREACHABLE = """Looking in indexes: http://127.0.0.1:9/simple
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip>: Failed to
establish a new connection: [Errno 111] Connection refused')': /simple/keras/
ERROR: Could not find a version that satisfies the requirement keras>=3.15 (from kooler)
ERROR: No matching distribution found for keras>=3.15
"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (UNREACHABLE, "downloading keras>=3.15 failed: the package index cannot be reached"),
        ("ERROR: [Errno 28] No space left on device", "the disk is full.\nFree some space"),
        (
            "ERROR: No matching distribution found for jaxlib==0.10.2 (from jax)",
            "there is no jaxlib==0.10.2 for this system with Python "
            f"{environment.version_text()}.\nTake another Python",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES",
            "a download arrived damaged.\nEmpty pip's cache",
        ),
        (
            "OSError: no readme\nerror: metadata-generation-failed\nhint: See above",
            "pip failed: OSError: no readme",
        ),
        ("", "pip failed: nothing"),
    ],
)
def test_a_failing_installation_names_cause_and_remedy(log: str, expected: str) -> None:
    assert environment.explanation(log).startswith(expected)


def test_an_old_python_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        environment.SetupError, match=r"3\.11 or newer is needed, .* is 3\.9\. Name another one"
    ):
        environment.require_python((3, 9))


def test_a_python_that_makes_no_environments_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\necho ensurepip is not available\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(environment.sys, "executable", str(broken))

    with pytest.raises(
        environment.SetupError,
        match=r"`venv` could not create .* apt install python3-venv.*ensurepip is not available",
    ):
        environment.create(tmp_path / "environment")


def test_the_environment_tool_is_read_by_an_old_python() -> None:
    # The refusal must be reached: syntax newer than Python 3.8 would end in a SyntaxError before.
    source = Path(environment.__file__).read_text("utf-8")

    ast.parse(source, feature_version=(3, 8))

    assert "from __future__ import annotations" in source


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  Downloading jaxlib-0.10.2-cp311-cp311-linux.whl (80.1 MB)", "jaxlib 0.10.2 (80.1 MB)"),
        ("Downloading torch-2.13.0-cp311-cp311-linux.whl (1.1 GB)", "torch 2.13.0 (1.1 GB)"),
        ("  Downloading rich-15.0.0-py3-none-any.whl (243 kB)", None),
        ("  Downloading numpy-2.4.6-cp311-cp311-linux.whl (16.9 MB)", None),
    ],
)
def test_only_large_downloads_are_shown(
    line: str, shown: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.show_large_download(line)

    assert capsys.readouterr().out == (f"kooler:   downloading {shown}\n" if shown else "")


def test_an_index_that_is_down_ends_in_three_lines(tmp_path: Path) -> None:
    # The folder of this interpreter stands in for a finished environment, so that only pip runs.
    # Port 9 of this machine is "discard": nothing listens there.
    script = (
        "import sys; from pathlib import Path; from tools import environment\n"
        f"environment.python_of = lambda folder: Path({sys.executable!r})\n"
        f"environment.PROJECT = Path({str(tmp_path)!r})\n"
        "sys.exit(environment.main(sys.argv[1:]))"
    )
    (tmp_path / "constraints.txt").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["no-such-backend"]\nbuild-backend = "no_such_backend"\n'
    )
    offline = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_RETRIES": "1",
        "PYTHONPATH": str(Path(environment.__file__).parents[1]),
    }

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), "jax"],
        capture_output=True,
        text=True,
        env=offline,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "kooler: downloading no-such-backend failed: the package index cannot be reached, or broke "
        "off.\nCheck the network (HTTPS_PROXY names a proxy, PIP_INDEX_URL a mirror), then run the "
        f"same command again.\nAll that pip said is in {tmp_path / 'install.log'}."
    )
